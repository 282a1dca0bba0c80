//! Whole messages: their payloads by kind, and the SK payload sealed and opened.

pub mod fragment;
pub mod inventory;
pub mod parts;
pub mod protect;

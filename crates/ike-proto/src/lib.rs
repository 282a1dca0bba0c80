//! The IKEv2 protocol engine of Coati (RFC 7296).
//!
//! It has no sockets, clock, operating-system randomness or threads: time, randomness, cryptography and the kernel's SA
//! database are arguments, and all it wants sent, computed or said leaves through one ordered queue.

#![warn(clippy::indexing_slicing, clippy::cast_possible_wrap)]

pub mod config;
pub mod crypto;
pub mod endpoint;
pub mod error;
pub mod ids;
pub mod ike_sa;
pub mod message;
pub mod output;
pub mod policy;
pub mod rng;
pub mod secret;
pub mod time;
pub mod wire;

//! What RFC 7296 and its companions ask for, requirement by requirement (docs/rfc-coverage.md), where no other test has it.

mod children;
mod crashes;
mod fragments;
mod handshake;
mod hints;
mod messages;
mod nat;
mod rekeys;
pub mod table;

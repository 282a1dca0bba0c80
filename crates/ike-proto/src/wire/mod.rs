//! The octets on the wire: every payload of RFC 7296 §3, read and written.

pub mod registry;

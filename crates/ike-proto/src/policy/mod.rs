//! What is allowed: identities, peers (RFC 4301's PAD), the kernel's policies as the engine sees them, proposals, narrowing.

pub mod identity;
pub mod peer;
pub mod peer_db;
pub mod proposal;
pub mod sad;
pub mod selector;
pub mod spd;

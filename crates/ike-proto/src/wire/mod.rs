//! The octets on the wire: every payload of RFC 7296 §3, read and written.
//!
//! Reading never panics and never stores more than a fixed multiple of what came. What is written reads as the same
//! value. Nothing here decides: a value that is well-formed and useless is for the layers above to refuse.

pub mod announce;
pub mod auth;
#[cfg(test)]
mod captured;
pub mod cert;
pub mod cp;
pub mod delete;
pub mod encrypted;
pub mod error;
pub mod header;
pub mod id;
pub mod ke;
pub mod name;
pub mod nonce;
pub mod notify;
mod octets;
pub mod payload;
pub mod pretty;
pub mod registry;
pub mod sa;
#[cfg(test)]
mod strategies;
pub mod ts;
pub mod udp_encap;
pub mod vendor;

pub use auth::Auth;
pub use cert::{Cert, CertReq};
pub use cp::{Cp, CpAttribute};
pub use delete::Delete;
pub use encrypted::{Draft, Located, Sealed, SealedKind, locate};
pub use error::{Fault, WireError};
pub use header::{Flags, Header};
pub use id::Id;
pub use ke::Ke;
pub use nonce::Nonce;
pub use notify::Notify;
pub use payload::{MAX_PAYLOADS, Payload, Unknown, read_chain, write_chain};
pub use sa::{Attribute, AttributeValue, Proposal, Sa, Transform};
pub use ts::{IpSelector, TrafficSelector, Ts};
pub use vendor::Vendor;

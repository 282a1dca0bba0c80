//! Keys that sign and verify, and the AUTH payloads made with them (RFC 7296 §2.15, RFC 7427, RFC 8420, RFC 4754).

mod algorithm;
mod auth;
mod private;
mod public;

pub use algorithm::{Hash, SignatureAlgorithm, UnknownAlgorithm};
pub use auth::{AuthRefusal, CannotSign, SUPPORTED_HASHES, choose, sign_auth, verify_auth};
pub use private::{RsaNumbers, SigningKey};
pub(crate) use public::PublicKey;
pub use public::{KeyError, KeyType, VerifyError, VerifyingKey};

#[cfg(test)]
mod vectors;

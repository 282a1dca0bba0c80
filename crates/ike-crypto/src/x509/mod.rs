//! Certificates: read, chained to configured authorities, bound to an identity (RFC 5280, RFC 4945).
//!
//! webpki builds the chain and checks signatures (with the keys and algorithms of [`crate::sign`]), validity, basic and name
//! constraints and unknown critical extensions. What it leaves open is checked here, on each chain it proposes: key usage, the
//! authority's own dates and path length, revocation. Nothing is fetched, and no clock is read: the time is an argument, in
//! seconds since 1970-01-01 00:00 UTC.

mod certificate;
mod crl;
mod identity;
mod name;
mod path;
mod problem;
mod schemes;
mod trust;

pub use certificate::{AltName, Certificate, CertificateError, MAX_CERTIFICATE};
pub use crl::{Crl, CrlError, MAX_CRL};
pub use identity::{Wildcards, binds};
pub use name::{DistinguishedName, NameError};
pub use path::{MAX_CHAIN, Validated};
pub use problem::{Problem, Unchecked, Utc, Warning};
pub use trust::{Revocation, TrustStore, check_pinned};

#[cfg(test)]
mod attacks;
#[cfg(test)]
pub(crate) mod testing;

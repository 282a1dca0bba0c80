//! What is wrong with a certificate, for the log of this end; the peer is told AUTHENTICATION_FAILED, whatever it is.

use core::fmt;

use der::asn1::ObjectIdentifier;

use super::certificate::CertificateError;
use super::path::MAX_CHAIN;
use crate::sign::{KeyError, UnknownAlgorithm};

/// Why a certificate is not accepted. Names are those of the certificate in question, escaped and bounded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The peer sent so many certificates, more than [`MAX_CHAIN`].
    TooMany(usize),
    /// The peer's own certificate cannot be read.
    Unreadable(CertificateError),
    /// After its last second.
    Expired {
        /// Whose certificate.
        subject: String,
        /// Its last second.
        not_after: u64,
    },
    /// Before its first second.
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// Its first second.
        not_before: u64,
    },
    /// The certified key is weak or of a kind that is not used.
    Key(String, KeyError),
    /// It is signed with an algorithm that is not accepted, SHA-1 for one.
    SignedWith(String, UnknownAlgorithm),
    /// The key may not sign (keyUsage without digitalSignature and nonRepudiation, RFC 4945 §5.1.3.2).
    NotForSigning(String),
    /// The key is for other protocols alone (extKeyUsage, RFC 4945 §5.1.3.12).
    OtherUse(String),
    /// The peer's own certificate is an authority's.
    AuthorityAsHost(String),
    /// A certificate in the chain was issued by one who is no authority.
    NotAuthority(String),
    /// An authority whose key may not sign certificates (keyUsage without keyCertSign).
    NoCertSign(String),
    /// Nobody in the configuration or among the certificates sent has the issuer's name: subject and issuer.
    UnknownIssuer(String, String),
    /// Issued by itself, and not pinned.
    SelfSigned(String),
    /// More authorities below one than it allows.
    PathLength(String),
    /// A name is outside the constraints of an authority.
    NameConstraint(String),
    /// A critical extension that is not understood.
    CriticalExtension(String, ObjectIdentifier),
    /// A signature in the chain is wrong.
    Signature(String),
    /// More work than is done for one chain.
    TooMuchWork(String),
    /// The authority's list names it.
    Revoked(String),
    /// Revocation could not be checked, and the policy is strict.
    Unchecked(Warning),
    /// It does not name the identity: the identity, and the names it has.
    Identity(String, String),
    /// It is not the certificate, and has not the key, that the configuration pins.
    NotPinned(String),
    /// Anything else, in webpki's words.
    Other(String, String),
}

/// Something to be said of a certificate that was accepted all the same (policy `soft`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Whose certificate was not checked for revocation.
    pub subject: String,
    /// Who would say whether it is revoked.
    pub issuer: String,
    /// Why it was not checked.
    pub why: Unchecked,
}

/// Why revocation could not be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unchecked {
    /// There is no list of this issuer.
    Missing,
    /// There is one with the issuer's name, but not with its signature.
    WrongSignature,
    /// The newest one should have been replaced at this second.
    Expired(u64),
    /// The newest one is of a later second than now.
    Future(u64),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(count) => write!(f, "{count} certificates; at most {MAX_CHAIN} are looked at"),
            Self::Unreadable(error) => write!(f, "the peer's certificate: {error}"),
            Self::Expired { subject, not_after } => {
                write!(f, "the certificate of {subject} expired at {}", Utc(*not_after))
            }
            Self::NotYetValid { subject, not_before } => {
                write!(f, "the certificate of {subject} is not valid before {}", Utc(*not_before))
            }
            Self::Key(subject, error) => write!(f, "the certificate of {subject}: {error}"),
            Self::SignedWith(subject, unknown) => {
                write!(f, "the certificate of {subject} is signed so: {unknown}")
            }
            Self::NotForSigning(subject) => {
                write!(f, "the key usage of the certificate of {subject} has no digitalSignature")
            }
            Self::OtherUse(subject) => write!(
                f,
                "the extended key usage of the certificate of {subject} has none of ipsecIKE, serverAuth, clientAuth"
            ),
            Self::AuthorityAsHost(subject) => {
                write!(f, "the certificate of {subject} is an authority's, not a host's")
            }
            Self::NotAuthority(subject) => write!(f, "{subject} issued a certificate and is no authority"),
            Self::NoCertSign(subject) => {
                write!(f, "the key of {subject} may not sign certificates (key usage)")
            }
            Self::UnknownIssuer(subject, issuer) => {
                write!(f, "no chain from {subject} to a configured authority: {issuer} is not known")
            }
            Self::SelfSigned(subject) => {
                write!(f, "the certificate of {subject} is self-signed and not pinned")
            }
            Self::PathLength(subject) => write!(f, "more authorities below {subject} than it allows"),
            Self::NameConstraint(subject) => {
                write!(f, "a name of {subject} is outside the constraints of an authority")
            }
            Self::CriticalExtension(subject, oid) => {
                write!(f, "critical extension {oid} in the certificate of {subject} is not understood")
            }
            Self::Signature(subject) => write!(f, "a wrong signature in the chain of {subject}"),
            Self::TooMuchWork(subject) => write!(f, "the chain of {subject} is too deep or too tangled"),
            Self::Revoked(subject) => write!(f, "the certificate of {subject} is revoked"),
            Self::Unchecked(warning) => fmt::Display::fmt(warning, f),
            Self::Identity(identity, names) => {
                write!(f, "the certificate does not name {identity}; it names {names}")
            }
            Self::NotPinned(subject) => write!(f, "the certificate of {subject} is not the pinned one"),
            Self::Other(subject, what) => write!(f, "the chain of {subject}: {what}"),
        }
    }
}

impl core::error::Error for Problem {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, issuer, why } = self;
        write!(f, "{subject} was not checked for revocation: ")?;
        match why {
            Unchecked::Missing => write!(f, "there is no CRL of {issuer}"),
            Unchecked::WrongSignature => write!(f, "the CRL in the name of {issuer} has not its signature"),
            Unchecked::Expired(when) => write!(f, "the CRL of {issuer} expired at {}", Utc(*when)),
            Unchecked::Future(when) => write!(f, "the CRL of {issuer} is of {}, later than now", Utc(*when)),
        }
    }
}

/// Seconds since 1970, shown as a date and a time (RFC 3339).
#[derive(Clone, Copy, Debug)]
pub struct Utc(pub u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match der::DateTime::from_unix_duration(core::time::Duration::from_secs(self.0)) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "second {}", self.0),
        }
    }
}

//! The doors to private keys and to what decides whether a peer's signature proves who it is.
//!
//! Behind them are certificates, raw public keys, files, a TPM: the engine knows none of that. Signing and verifying are slow
//! and leave as jobs ([`crate::crypto::job`]); what a job needs goes with it, and it runs on any thread.

use core::fmt::Debug;
use std::net::IpAddr;

use crate::time::WallTime;
use crate::wire::announce::Announcement;
use crate::wire::registry::{AuthMethod, SignatureHash};
use crate::wire::{Auth, Cert, CertReq, Id};

/// Hashes of signatures that are verified (RFC 7427 §4, RFC 8420 §2). SHA-1 is not among them.
pub const HASHES: [SignatureHash; 4] =
    [SignatureHash::SHA2_256, SignatureHash::SHA2_384, SignatureHash::SHA2_512, SignatureHash::IDENTITY];

/// CERT payloads of one message that are looked at; one that has more is refused.
pub const MOST_CERTS: usize = 8;

/// What a peer says it verifies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verifies {
    /// Its SIGNATURE_HASH_ALGORITHMS; empty if it does not know RFC 7427.
    pub hashes: Vec<SignatureHash>,
    /// Its SUPPORTED_AUTH_METHODS (RFC 9593); `None` if it does not say.
    pub methods: Option<Vec<Announcement>>,
}

impl Verifies {
    /// Whether it takes `method`, as far as it says.
    #[must_use]
    pub fn takes(&self, method: AuthMethod) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.iter().any(|one| one.method == method))
    }
}

/// A private key of ours, and what tells a peer of its public half.
pub trait OwnKey: Send + Sync + Debug {
    /// The CERT payloads that go with it, its own first.
    fn certs(&self) -> &[Cert];

    /// Whether a CERTREQ of the peer asks for it: an authority above it, or its encoding.
    fn is_asked_for(&self, asked: &CertReq) -> bool;

    /// Whether it signs by a method that the peer verifies.
    fn suits(&self, peer: &Verifies) -> bool;

    /// The AUTH payload over `octets` (RFC 7296 §2.15). Slow.
    ///
    /// # Errors
    /// Why there is none, for the log.
    fn sign(&self, peer: &Verifies, octets: &[u8]) -> Result<Auth, String>;

    /// The last second at which what goes with it is valid, if that ends.
    fn not_after(&self) -> Option<WallTime>;
}

/// A peer's claim of an identity, as it came in IKE_AUTH.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Who it says it is.
    pub id: Id,
    /// Its CERT payloads, at most [`MOST_CERTS`].
    pub certs: Vec<Cert>,
    /// Its AUTH payload.
    pub auth: Auth,
    /// What it must have signed.
    pub octets: Vec<u8>,
}

/// What proved a peer's identity by a signature. It is kept as long as the SA, so that it can be looked at again when
/// authorities, lists of revoked certificates or the time have changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// The peer's certificate and those between it and the authority, or its raw public key.
    pub certs: Vec<Cert>,
    /// Addresses that a configured authority, or a pinned certificate, says are the peer's.
    pub addresses: Vec<IpAddr>,
    /// What it is, for people: a subject, or a kind of key.
    pub shown: String,
}

/// What became of a [`Claim`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// What proved it.
    pub proof: Proof,
    /// The last second at which that is valid, if it ends.
    pub not_after: Option<WallTime>,
    /// What could not be checked and did not have to be, for the log.
    pub warnings: Vec<String>,
}

/// Whom an end believes: authorities, lists of revoked certificates, pinned keys.
pub trait Trust: Send + Sync + Debug {
    /// What our CERTREQ payloads ask for (RFC 7296 §3.7, RFC 7670 §3).
    fn requests(&self) -> &[CertReq];

    /// The methods and algorithms that are verified (RFC 9593).
    fn announces(&self) -> &[Announcement];

    /// Verifies a claim at `now`. Slow, and bounded for whatever the peer sent.
    ///
    /// # Errors
    /// Why it proves nothing, for the log: the peer is told AUTHENTICATION_FAILED, whatever it was.
    fn verify(&self, claim: &Claim, now: WallTime) -> Result<Verified, String>;

    /// Looks again at what proved `id`: whether it would be believed at `now`. Gives the last second at which it is valid.
    ///
    /// # Errors
    /// Why it would not be.
    fn check(&self, id: &Id, proof: &Proof, now: WallTime) -> Result<Option<WallTime>, String>;

    /// Whether the key itself is configured, and not only an authority above it.
    fn pins(&self, proof: &Proof) -> bool;
}

/// Identities that are described and not listed: distinguished names, which are not compared by their octets.
pub trait NamePattern: Send + Sync + Debug {
    /// Whether it describes `id`.
    fn matches(&self, id: &Id) -> bool;
}

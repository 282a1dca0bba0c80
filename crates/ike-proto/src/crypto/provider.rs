//! The doors through which the engine reaches algorithms: small traits, implemented by `ike-crypto` and by the simulator.

use crate::rng::Seed;
use crate::secret::Secret;
use crate::wire::registry::{EncrId, IntegId, KeId, PrfId};

/// Why an algorithm could not give a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The peer's public value is not one the group allows (RFC 6989, RFC 8031, RFC 7296 §2.12).
    PublicValue,
    /// A ciphertext or signature does not verify.
    Unauthentic,
    /// The algorithm is not one this provider has.
    Unsupported,
    /// An input has a length the algorithm does not take.
    Length,
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::PublicValue => "the public value is not valid in its group",
            Self::Unauthentic => "the authenticity check failed",
            Self::Unsupported => "the algorithm is not available",
            Self::Length => "the input has a wrong length",
        })
    }
}

impl core::error::Error for Fault {}

/// A set of algorithms. What it does not have it answers with `None`, and the engine does not propose it.
pub trait Provider: Send + Sync {
    /// A pseudo-random function.
    fn prf(&self, id: PrfId) -> Option<&dyn Prf>;

    /// Protection of SK payloads: an AEAD (`integ` is `None`), or a cipher with an integrity algorithm.
    ///
    /// `key_bits` is the Key Length attribute, absent for algorithms of one length (RFC 7296 §3.3.5).
    fn protection(
        &self,
        encr: EncrId,
        key_bits: Option<u16>,
        integ: Option<IntegId>,
    ) -> Option<&dyn Protection>;

    /// A key exchange method.
    fn key_exchange(&self, id: KeId) -> Option<&dyn KeyExchange>;

    /// SHA-1 over the concatenation of `parts`: NAT detection (RFC 7296 §2.23) and CERTREQ (§3.7) fix it.
    fn sha1(&self, parts: &[&[u8]]) -> [u8; 20];
}

/// A pseudo-random function (RFC 7296 §2.13).
pub trait Prf: Send + Sync {
    /// Its transform.
    fn id(&self) -> PrfId;

    /// Preferred key length and output length, in octets.
    fn output_len(&self) -> usize;

    /// `prf(key, parts concatenated)`; `key` may have any length.
    fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret;
}

/// Keys of one direction of an IKE SA: `SK_e` (for an AEAD with its salt at the end, RFC 5282 §7.1) and `SK_a`.
pub struct ProtectionKeys {
    /// `SK_ei` or `SK_er`.
    pub encr: Secret,
    /// `SK_ai` or `SK_ar`; empty for an AEAD.
    pub integ: Secret,
}

/// Encryption and integrity of SK payloads (RFC 7296 §3.14, RFC 5282).
pub trait Protection: Send + Sync {
    /// Octets of `SK_e`, salt included.
    fn encr_key_len(&self) -> usize;

    /// Octets of `SK_a`; zero for an AEAD.
    fn integ_key_len(&self) -> usize;

    /// Octets of the explicit initialization vector.
    fn iv_len(&self) -> usize;

    /// The plaintext with its padding is a multiple of this many octets.
    fn block_len(&self) -> usize;

    /// Octets of the integrity check value.
    fn icv_len(&self) -> usize;

    /// The initialization vector for message number `sequence` under `keys`, appended to `out`.
    ///
    /// An AEAD takes the number itself; CBC encrypts it, so that the vector cannot be foretold (RFC 3602 §3).
    /// Two numbers never give the same vector.
    fn initialization_vector(&self, keys: &ProtectionKeys, sequence: u64, out: &mut Vec<u8>);

    /// Encrypts `text` in place and returns the integrity check value over it and what precedes it.
    ///
    /// `associated` is the message from its first octet to the last one before `iv`.
    ///
    /// # Errors
    /// [`Fault::Length`] for keys, `iv` or `text` of a wrong length.
    fn seal(
        &self,
        keys: &ProtectionKeys,
        iv: &[u8],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<Vec<u8>, Fault>;

    /// Checks `icv` in constant time and decrypts `text` in place; `text` is not to be used after an error.
    ///
    /// # Errors
    /// [`Fault::Unauthentic`] if `icv` does not fit, [`Fault::Length`] as for [`Protection::seal`].
    fn open(
        &self,
        keys: &ProtectionKeys,
        iv: &[u8],
        associated: &[u8],
        text: &mut [u8],
        icv: &[u8],
    ) -> Result<(), Fault>;
}

/// A key exchange method in the shape of a KEM: Diffie-Hellman groups fit it, and so does ML-KEM (RFC 9370).
pub trait KeyExchange: Send + Sync {
    /// Its transform.
    fn id(&self) -> KeId;

    /// Octets of the initiator's public value.
    fn public_len(&self) -> usize;

    /// Octets of the responder's public value.
    fn reply_len(&self) -> usize;

    /// The initiator's first step: a private value and the public value to send. The same seed gives the same values.
    ///
    /// # Errors
    /// A [`Fault`] of the method.
    fn start(&self, seed: &Seed) -> Result<(Secret, Vec<u8>), Fault>;

    /// The responder's only step: from the initiator's public value to the reply and the shared secret.
    ///
    /// # Errors
    /// [`Fault::Length`] or [`Fault::PublicValue`] if `public` is not acceptable.
    fn respond(&self, seed: &Seed, public: &[u8]) -> Result<(Vec<u8>, Secret), Fault>;

    /// The initiator's second step: the shared secret.
    ///
    /// # Errors
    /// [`Fault::Length`] or [`Fault::PublicValue`] if `reply` is not acceptable.
    fn finish(&self, private: &Secret, reply: &[u8]) -> Result<Secret, Fault>;
}

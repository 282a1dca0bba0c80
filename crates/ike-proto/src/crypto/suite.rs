//! One table of what each transform is: names, key lengths, where it may stand. What is not in it is never chosen.

use core::fmt;

use crate::wire::registry::{EncrId, IntegId, KeId, PrfId};

/// An encryption transform with its Key Length attribute, if it has one (RFC 7296 §3.3.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Encr {
    /// The algorithm.
    pub id: EncrId,
    /// Bits of the key without its salt; `None` for algorithms of one length.
    pub key_bits: Option<u16>,
}

/// What the engine knows of an encryption algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct EncrRow {
    id: EncrId,
    aead: bool,
    /// Allowed Key Length attributes; empty: the attribute must be absent and `fixed` holds the length.
    key_bits: &'static [u16],
    fixed: u16,
    /// Octets of salt that follow the key in the key material.
    salt: usize,
}

const AES_BITS: &[u16] = &[128, 192, 256];

const ENCR: &[EncrRow] = &[
    EncrRow { id: EncrId::AES_GCM_16, aead: true, key_bits: AES_BITS, fixed: 0, salt: 4 },
    EncrRow { id: EncrId::CHACHA20_POLY1305, aead: true, key_bits: &[], fixed: 256, salt: 4 },
    EncrRow { id: EncrId::AES_CBC, aead: false, key_bits: AES_BITS, fixed: 0, salt: 0 },
];

impl Encr {
    /// AES-256-GCM, the default.
    pub const AES_256_GCM: Self = Self { id: EncrId::AES_GCM_16, key_bits: Some(256) };
    /// AES-128-GCM.
    pub const AES_128_GCM: Self = Self { id: EncrId::AES_GCM_16, key_bits: Some(128) };
    /// ChaCha20-Poly1305 (RFC 7634).
    pub const CHACHA20_POLY1305: Self = Self { id: EncrId::CHACHA20_POLY1305, key_bits: None };
    /// AES-128-CBC.
    pub const AES_128_CBC: Self = Self { id: EncrId::AES_CBC, key_bits: Some(128) };
    /// AES-256-CBC.
    pub const AES_256_CBC: Self = Self { id: EncrId::AES_CBC, key_bits: Some(256) };

    fn row(self) -> Option<&'static EncrRow> {
        let row = ENCR.iter().find(|row| row.id == self.id)?;
        let fits = match self.key_bits {
            Some(bits) => row.key_bits.contains(&bits),
            None => row.key_bits.is_empty(),
        };
        fits.then_some(row)
    }

    /// Whether the table has this algorithm with this key length.
    #[must_use]
    pub fn is_known(self) -> bool {
        self.row().is_some()
    }

    /// Whether it authenticates too; such a transform goes without an integrity transform. `false` if not known.
    #[must_use]
    pub fn is_aead(self) -> bool {
        self.row().is_some_and(|row| row.aead)
    }

    /// Octets of key material it takes, salt included; zero if not known.
    #[must_use]
    pub fn key_len(self) -> usize {
        self.row().map_or(0, |row| usize::from(self.key_bits.unwrap_or(row.fixed)) / 8 + row.salt)
    }
}

impl fmt::Display for Encr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key_bits {
            Some(bits) => write!(f, "{}-{bits}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

/// Octets of an integrity algorithm's key; `None` for what is not in the table.
#[must_use]
pub fn integ_key_len(id: IntegId) -> Option<usize> {
    match id {
        IntegId::HMAC_SHA2_256_128 => Some(32),
        IntegId::HMAC_SHA2_384_192 => Some(48),
        IntegId::HMAC_SHA2_512_256 => Some(64),
        _ => None,
    }
}

/// Octets a pseudo-random function gives, which is also its preferred key length; `None` for what is not in the table.
#[must_use]
pub fn prf_len(id: PrfId) -> Option<usize> {
    match id {
        PrfId::HMAC_SHA2_256 => Some(32),
        PrfId::HMAC_SHA2_384 => Some(48),
        PrfId::HMAC_SHA2_512 => Some(64),
        _ => None,
    }
}

/// Octets of the two public values of a key exchange method (initiator's, responder's); `None` for what is never accepted.
#[must_use]
pub fn ke_lens(id: KeId) -> Option<(usize, usize)> {
    let len = match id {
        KeId::MODP2048 => 256,
        KeId::MODP3072 => 384,
        KeId::MODP4096 => 512,
        KeId::MODP6144 => 768,
        KeId::MODP8192 => 1024,
        KeId::ECP256 => 64,
        KeId::ECP384 => 96,
        KeId::ECP521 => 132,
        KeId::CURVE25519 => 32,
        _ => return None,
    };
    Some((len, len))
}

/// The algorithms of an IKE SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IkeSuite {
    /// Encryption of SK payloads.
    pub encr: Encr,
    /// Pseudo-random function.
    pub prf: PrfId,
    /// Integrity of SK payloads; `None` with an AEAD.
    pub integ: Option<IntegId>,
    /// Key exchange method.
    pub ke: KeId,
}

impl fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.encr)?;
        if let Some(integ) = self.integ {
            write!(f, "{integ}/")?;
        }
        write!(f, "{}/{}", self.prf, self.ke)
    }
}

/// The algorithms of a pair of ESP SAs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EspSuite {
    /// Encryption.
    pub encr: Encr,
    /// Integrity; `None` with an AEAD.
    pub integ: Option<IntegId>,
    /// Key exchange method of its own (PFS); `None` when it is keyed from the IKE SA alone.
    pub ke: Option<KeId>,
    /// Extended (64-bit) sequence numbers.
    pub esn: bool,
}

impl EspSuite {
    /// Octets of encryption key (salt included) and of integrity key, one direction.
    #[must_use]
    pub fn key_lens(&self) -> (usize, usize) {
        (self.encr.key_len(), self.integ.and_then(integ_key_len).unwrap_or(0))
    }
}

impl fmt::Display for EspSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.encr)?;
        if let Some(integ) = self.integ {
            write!(f, "/{integ}")?;
        }
        if let Some(ke) = self.ke {
            write!(f, "/{ke}")?;
        }
        f.write_str(if self.esn { "/ESN" } else { "/NO_ESN" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_lengths_are_those_of_the_rfcs() {
        assert_eq!(Encr::AES_256_GCM.key_len(), 36); // RFC 4106 §8.1: salt of four octets
        assert_eq!(Encr::AES_128_CBC.key_len(), 16);
        assert_eq!(Encr::CHACHA20_POLY1305.key_len(), 36); // RFC 7634 §2
        assert_eq!(integ_key_len(IntegId::HMAC_SHA2_384_192), Some(48)); // RFC 4868 §2.1.1
    }

    #[test]
    fn a_key_length_that_is_not_the_algorithms_makes_it_unknown() {
        for (id, key_bits) in [
            (EncrId::AES_GCM_16, None),
            (EncrId::AES_GCM_16, Some(0)),
            (EncrId::AES_CBC, Some(160)),
            (EncrId::CHACHA20_POLY1305, Some(256)),
            (EncrId::TRIPLE_DES, None),
        ] {
            assert!(!Encr { id, key_bits }.is_known(), "{id} {key_bits:?}");
        }
    }

    #[test]
    fn weak_groups_are_never_there() {
        for id in [1, 2, 5, 22, 23, 24] {
            assert_eq!(ke_lens(KeId(id)), None, "group {id}");
        }
    }
}

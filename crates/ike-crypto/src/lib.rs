//! The default provider of algorithms for `ike-proto`: nothing but algorithms, from the RustCrypto and dalek crates.
//!
//! What is not here is not proposed: no MD5, DES or 3DES, no SHA-1 but for the two hashes the protocol itself fixes, and
//! none of the groups 1, 2, 5, 22, 23 and 24 (RFC 8247 §2.4).
//!
//! [`DefaultProvider`] is what the engine calls. [`sign`] has the keys and the AUTH payloads made with them, [`x509`] the
//! certificates, [`pki`] makes them.

mod aead;
mod cbc_hmac;
pub mod credential;
mod dh;
mod ec;
mod modp;
mod pem;
pub mod pki;
mod prf;
pub mod sign;
mod x25519;
pub mod x509;

use aes::{Aes128, Aes192, Aes256};
use ike_proto::crypto::provider::{KeyExchange, Prf, Protection, Provider};
use ike_proto::wire::registry::{EncrId, IntegId, KeId, PrfId};
use sha1::{Digest, Sha1};

/// The provider a daemon uses; it has no state.
#[derive(Clone, Copy, Default, Debug)]
pub struct DefaultProvider;

impl Provider for DefaultProvider {
    fn prf(&self, id: PrfId) -> Option<&dyn Prf> {
        match id {
            PrfId::HMAC_SHA2_256 => Some(&prf::HMAC_SHA2_256),
            PrfId::HMAC_SHA2_384 => Some(&prf::HMAC_SHA2_384),
            PrfId::HMAC_SHA2_512 => Some(&prf::HMAC_SHA2_512),
            _ => None,
        }
    }

    fn protection(
        &self,
        encr: EncrId,
        key_bits: Option<u16>,
        integ: Option<IntegId>,
    ) -> Option<&dyn Protection> {
        // An AEAD may come with an integrity algorithm of NONE, which says the same as none (RFC 7296 §3.3).
        let integ = integ.filter(|id| *id != IntegId::NONE);
        match (encr, key_bits, integ) {
            (EncrId::AES_GCM_16, Some(128), None) => Some(&aead::AES_GCM_128),
            (EncrId::AES_GCM_16, Some(192), None) => Some(&aead::AES_GCM_192),
            (EncrId::AES_GCM_16, Some(256), None) => Some(&aead::AES_GCM_256),
            (EncrId::CHACHA20_POLY1305, None, None) => Some(&aead::CHACHA20_POLY1305),
            (EncrId::AES_CBC, Some(128), Some(id)) => cbc_hmac::with::<Aes128>(id),
            (EncrId::AES_CBC, Some(192), Some(id)) => cbc_hmac::with::<Aes192>(id),
            (EncrId::AES_CBC, Some(256), Some(id)) => cbc_hmac::with::<Aes256>(id),
            _ => None,
        }
    }

    fn key_exchange(&self, id: KeId) -> Option<&dyn KeyExchange> {
        match id {
            KeId::MODP2048 => Some(&modp::MODP2048),
            KeId::MODP3072 => Some(&modp::MODP3072),
            KeId::MODP4096 => Some(&modp::MODP4096),
            KeId::MODP6144 => Some(&modp::MODP6144),
            KeId::MODP8192 => Some(&modp::MODP8192),
            KeId::ECP256 => Some(&ec::ECP256),
            KeId::ECP384 => Some(&ec::ECP384),
            KeId::ECP521 => Some(&ec::ECP521),
            KeId::CURVE25519 => Some(&x25519::CURVE25519),
            _ => None,
        }
    }

    fn sha1(&self, parts: &[&[u8]]) -> [u8; 20] {
        let mut hash = Sha1::new();
        for part in parts {
            hash.update(part);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod testing {
    use ike_proto::crypto::provider::ProtectionKeys;
    use ike_proto::secret::Secret;

    /// The octets of hexadecimal digits; white space is for the reader.
    pub(crate) fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
        assert!(digits.len().is_multiple_of(2), "odd number of digits: {text}");
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// Key files; `testdata/README.md` says how they were made.
    pub(crate) mod key_files {
        pub(crate) const RSA_2048: &[u8] = include_bytes!("../testdata/rsa2048.pem");
        pub(crate) const RSA_2048_PKCS1: &[u8] = include_bytes!("../testdata/rsa2048-pkcs1.pem");
        pub(crate) const RSA_2048_PUBLIC: &[u8] = include_bytes!("../testdata/rsa2048-public.pem");
        pub(crate) const RSA_2048_SHA1_SIGNATURE: &[u8] = include_bytes!("../testdata/rsa2048-sha1.sig");
        pub(crate) const RSA_1024: &[u8] = include_bytes!("../testdata/rsa1024.pem");
        pub(crate) const RSA_E3: &[u8] = include_bytes!("../testdata/rsa-e3.pem");
        pub(crate) const P256: &[u8] = include_bytes!("../testdata/p256.pem");
        pub(crate) const P256_PUBLIC: &[u8] = include_bytes!("../testdata/p256-public.pem");
        pub(crate) const P256_SEC1: &[u8] = include_bytes!("../testdata/p256-sec1.pem");
        pub(crate) const P384: &[u8] = include_bytes!("../testdata/p384.pem");
        pub(crate) const P521: &[u8] = include_bytes!("../testdata/p521.pem");
        pub(crate) const P521_PUBLIC: &[u8] = include_bytes!("../testdata/p521-public.pem");
        pub(crate) const ED25519: &[u8] = include_bytes!("../testdata/ed25519.pem");
        pub(crate) const ED25519_PUBLIC: &[u8] = include_bytes!("../testdata/ed25519-public.pem");
        pub(crate) const K256: &[u8] = include_bytes!("../testdata/k256.pem");
        pub(crate) const ENCRYPTED: &[u8] = include_bytes!("../testdata/encrypted.pem");
        pub(crate) const ENCRYPTED_PKCS1: &[u8] = include_bytes!("../testdata/encrypted-pkcs1.pem");
    }

    pub(crate) fn keys(encr: &[u8], integ: &[u8]) -> ProtectionKeys {
        ProtectionKeys { encr: Secret::from_slice(encr), integ: Secret::from_slice(integ) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    #[test]
    fn only_the_named_algorithms_are_there() {
        let groups: Vec<_> =
            (0..=u16::MAX).map(KeId).filter(|id| DefaultProvider.key_exchange(*id).is_some()).collect();
        assert_eq!(groups.iter().map(|id| id.0).collect::<Vec<_>>(), [14, 15, 16, 17, 18, 19, 20, 21, 31]);

        let prfs: Vec<_> =
            (0..=u16::MAX).map(PrfId).filter(|id| DefaultProvider.prf(*id).is_some()).collect();
        assert_eq!(prfs, [PrfId::HMAC_SHA2_256, PrfId::HMAC_SHA2_384, PrfId::HMAC_SHA2_512]);

        let integs = (0..=20).map(|id| Some(IntegId(id))).chain([None]);
        let suites: Vec<_> = integs
            .flat_map(|integ| (0..=40).map(move |encr| (EncrId(encr), integ)))
            .flat_map(|(encr, integ)| {
                [None, Some(64), Some(128), Some(192), Some(256)].map(|k| (encr, k, integ))
            })
            .filter(|&(encr, key_bits, integ)| DefaultProvider.protection(encr, key_bits, integ).is_some())
            .collect();
        // Three key lengths with three hashes; four AEADs, each with no integrity algorithm and with NONE.
        assert_eq!(suites.iter().filter(|(encr, ..)| *encr == EncrId::AES_CBC).count(), 9);
        assert_eq!(suites.iter().filter(|(encr, ..)| *encr == EncrId::AES_GCM_16).count(), 6);
        assert_eq!(suites.iter().filter(|(encr, ..)| *encr == EncrId::CHACHA20_POLY1305).count(), 2);
        assert_eq!(suites.len(), 17);
    }

    #[test]
    fn each_algorithm_names_itself() {
        for id in KeId::KNOWN {
            assert!(DefaultProvider.key_exchange(*id).is_none_or(|group| group.id() == *id), "{id}");
        }
        for id in PrfId::KNOWN {
            assert!(DefaultProvider.prf(*id).is_none_or(|prf| prf.id() == *id), "{id}");
        }
    }

    /// FIPS 180-2, appendix A.1.
    #[test]
    fn sha1_hashes_its_parts_in_order() {
        let abc = hex("a9993e36 4706816a ba3e2571 7850c26c 9cd0d89d");
        assert_eq!(DefaultProvider.sha1(&[b"abc"]).as_slice(), abc);
        assert_eq!(DefaultProvider.sha1(&[b"a", b"", b"bc"]).as_slice(), abc);
    }
}

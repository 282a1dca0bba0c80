//! What holds for every protection of SK payloads.

use ike_crypto::DefaultProvider;
use ike_proto::crypto::provider::{Fault, Protection, ProtectionKeys, Provider};
use ike_proto::rng::{Rng, Seed};
use ike_proto::secret::Secret;
use ike_proto::wire::registry::{EncrId, IntegId};
use proptest::prelude::*;

/// Octets of SK_e, SK_a, the initialization vector, a block and the ICV.
type Lengths = (usize, usize, usize, usize, usize);

/// Every protection with its lengths (RFC 5282 §7, RFC 7634 §4, RFC 3602 §2, RFC 4868 §2.6).
fn suites() -> Vec<(&'static dyn Protection, Lengths)> {
    let suite =
        |encr, bits, integ| DefaultProvider.protection(encr, bits, integ).expect("the provider has it");
    let mut suites = vec![(suite(EncrId::CHACHA20_POLY1305, None, None), (36, 0, 8, 1, 16))];
    for (bits, len) in [(128, 16), (192, 24), (256, 32)] {
        suites.push((suite(EncrId::AES_GCM_16, Some(bits), None), (len + 4, 0, 8, 1, 16)));
        for (integ, integ_len, icv_len) in [
            (IntegId::HMAC_SHA2_256_128, 32, 16),
            (IntegId::HMAC_SHA2_384_192, 48, 24),
            (IntegId::HMAC_SHA2_512_256, 64, 32),
        ] {
            let cbc = suite(EncrId::AES_CBC, Some(bits), Some(integ));
            suites.push((cbc, (len, integ_len, 16, 16, icv_len)));
        }
    }
    suites
}

fn keys(suite: &dyn Protection, seed: u64) -> ProtectionKeys {
    let mut rng = Rng::new(&Seed::from_u64(seed));
    ProtectionKeys {
        encr: Secret::new(rng.octets(suite.encr_key_len())),
        integ: Secret::new(rng.octets(suite.integ_key_len())),
    }
}

fn vector(suite: &dyn Protection, keys: &ProtectionKeys, sequence: u64) -> Vec<u8> {
    let mut out = Vec::new();
    suite.initialization_vector(keys, sequence, &mut out);
    out
}

#[test]
fn lengths_are_those_of_the_rfcs() {
    let suites = suites();
    assert_eq!(suites.len(), 13);
    for (suite, lengths) in suites {
        let (encr, integ, iv) = (suite.encr_key_len(), suite.integ_key_len(), suite.iv_len());
        assert_eq!((encr, integ, iv, suite.block_len(), suite.icv_len()), lengths);
        assert_eq!(vector(suite, &keys(suite, 1), 1).len(), suite.iv_len());
    }
}

proptest! {
    #[test]
    fn what_is_sealed_opens(seed: u64, sequence: u64, associated: Vec<u8>, blocks in 1usize..20) {
        for (suite, _) in suites() {
            let keys = keys(suite, seed);
            let iv = vector(suite, &keys, sequence);
            let clear = Rng::new(&Seed::from_u64(!seed)).octets(blocks * suite.block_len());
            let mut text = clear.clone();
            let icv = suite.seal(&keys, &iv, &associated, &mut text).unwrap();
            prop_assert_eq!(icv.len(), suite.icv_len());
            prop_assert!(text != clear || clear.len() < 8);
            prop_assert_eq!(suite.open(&keys, &iv, &associated, &mut text, &icv), Ok(()));
            prop_assert_eq!(text, clear);
        }
    }

    #[test]
    fn two_numbers_never_give_one_vector(seed: u64, one: u64, other: u64) {
        prop_assume!(one != other);
        for (suite, _) in suites() {
            let keys = keys(suite, seed);
            prop_assert_ne!(vector(suite, &keys, one), vector(suite, &keys, other));
        }
    }
}

/// Exhaustive: each bit of the header, the vector, the text and the ICV of a small message.
#[test]
fn every_flipped_bit_is_refused() {
    for (suite, _) in suites() {
        let keys = keys(suite, 1);
        let iv = vector(suite, &keys, 2);
        let mut text = vec![0x5a; 32];
        let icv = suite.seal(&keys, &iv, b"header", &mut text).unwrap();
        let parts = [b"header".to_vec(), iv, text, icv];
        for (part, octets) in parts.iter().enumerate() {
            for bit in 0..8 * octets.len() {
                let mut flipped = parts.clone();
                flipped[part][bit / 8] ^= 1 << (bit % 8);
                let [associated, iv, text, icv] = &mut flipped;
                let before = text.clone();
                assert_eq!(suite.open(&keys, iv, associated, text, icv), Err(Fault::Unauthentic));
                assert_eq!(*text, before, "nothing is decrypted before it is authentic");
            }
        }
    }
}

#[test]
fn another_key_or_a_cut_icv_is_refused() {
    for (suite, _) in suites() {
        let sealing = keys(suite, 1);
        let iv = vector(suite, &sealing, 2);
        let mut text = vec![0x5a; 32];
        let icv = suite.seal(&sealing, &iv, b"header", &mut text).unwrap();
        let open =
            |keys: &ProtectionKeys, icv: &[u8]| suite.open(keys, &iv, b"header", &mut text.clone(), icv);
        assert_eq!(open(&keys(suite, 2), &icv), Err(Fault::Unauthentic));
        for cut in [&[][..], &icv[..1], &icv[..icv.len() - 1], &icv[1..], &[&icv[..], &[0]].concat()] {
            assert_eq!(open(&sealing, cut), Err(Fault::Unauthentic));
        }
        assert_eq!(open(&sealing, &icv), Ok(()));
    }
}

#[test]
fn wrong_lengths_are_faults_and_never_panics() {
    for (suite, _) in suites() {
        let right = keys(suite, 1);
        let iv = vector(suite, &right, 2);
        let both = |keys: &ProtectionKeys, iv: &[u8]| {
            let mut text = vec![0; 32];
            let sealed = suite.seal(keys, iv, b"header", &mut text).map(drop);
            (sealed, suite.open(keys, iv, b"header", &mut text, &vec![0; suite.icv_len()]))
        };
        let refused = (Err(Fault::Length), Err(Fault::Length));
        for iv in [&[][..], &iv[1..], &[&iv[..], &[0]].concat()] {
            assert_eq!(both(&right, iv), refused);
        }
        for (encr, integ) in [(-1, 0), (1, 0), (-4, 0), (0, 1), (0, -1)] {
            let sized = |len: usize, by| Secret::new(vec![7; len.saturating_add_signed(by)]);
            let wrong = ProtectionKeys {
                encr: sized(suite.encr_key_len(), encr),
                integ: sized(suite.integ_key_len(), integ),
            };
            if (wrong.encr.len(), wrong.integ.len()) != (suite.encr_key_len(), suite.integ_key_len()) {
                assert_eq!(both(&wrong, &iv), refused);
            }
        }
        let none = ProtectionKeys { encr: Secret::default(), integ: Secret::default() };
        assert_eq!(both(&none, &iv), refused);
        suite.initialization_vector(&none, 1, &mut Vec::new());
    }
}

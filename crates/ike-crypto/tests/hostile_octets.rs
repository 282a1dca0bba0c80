//! Whatever octets come, reading them ends in a value or a refusal.

use ike_crypto::sign::{SignatureAlgorithm, SigningKey, VerifyingKey, verify_auth};
use ike_crypto::x509::{Certificate, Crl, DistinguishedName, TrustStore};
use ike_proto::wire::registry::AuthMethod;
use proptest::prelude::*;

const ROOT: &[u8] = include_bytes!("../testdata/old-root.pem");
const HOST: &[u8] = include_bytes!("../testdata/pss-host.pem");
const KEY: &[u8] = include_bytes!("../testdata/p256.pem");
/// A second at which both certificates are valid.
const THEN: u64 = 1_830_000_000;

fn first(file: &[u8]) -> Certificate {
    Certificate::from_file(file).expect("the file of a certificate").remove(0)
}

/// Octets of `good`, of which some are others and the end may be missing.
fn changed(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let len = good.len();
    let changes = prop::collection::vec((0..len, any::<u8>()), 1..4);
    (changes, prop_oneof![3 => Just(len), 1 => 0..len]).prop_map(move |(changes, len)| {
        let mut octets = good.clone();
        for (at, octet) in changes {
            octets[at] = octet;
        }
        octets.truncate(len);
        octets
    })
}

proptest! {
    #[test]
    fn arbitrary_octets_are_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = SignatureAlgorithm::from_der(&octets);
        let _ = VerifyingKey::from_spki(&octets);
        let _ = VerifyingKey::from_rfc3110(&octets);
        let _ = SigningKey::from_file(&octets);
        let _ = DistinguishedName::from_der(&octets);
        let _ = Certificate::from_file(&octets);
        let _ = Crl::from_file(&octets);
    }

    #[test]
    fn arbitrary_text_is_a_name_or_none(text in "[A-Za-z0-9.=,\\\\ *+#\u{e4}]{0,60}") {
        if let Ok(name) = DistinguishedName::from_text(&text) {
            prop_assert_eq!(DistinguishedName::from_der(name.der()).unwrap(), name);
        }
    }

    #[test]
    fn a_changed_certificate_is_never_accepted(octets in changed(first(HOST).der().to_vec())) {
        let mut trusted = TrustStore::default();
        trusted.add_authority(first(ROOT)).unwrap();
        prop_assert!(trusted.validate(&[first(HOST).der()], THEN).is_ok());
        prop_assume!(octets != first(HOST).der());
        prop_assert!(trusted.validate(&[&octets], THEN).is_err());
    }

    #[test]
    fn a_changed_authority_certifies_nobody_or_the_same_key(octets in changed(first(ROOT).der().to_vec())) {
        let Ok(authority) = Certificate::from_der(&octets) else { return Ok(()) };
        let mut trusted = TrustStore::default();
        if trusted.add_authority(authority.clone()).is_ok() && trusted.validate(&[first(HOST).der()], THEN).is_ok() {
            prop_assert_eq!(authority.authority_hash(), first(ROOT).authority_hash());
        }
    }

    #[test]
    fn arbitrary_proofs_prove_nothing(method in any::<u8>(), octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let key = SigningKey::from_file(KEY).unwrap();
        prop_assert!(verify_auth(key.public(), AuthMethod(method), &octets, b"octets").is_err());
    }
}

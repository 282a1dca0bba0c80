//! What is believed, and what is not.

use std::sync::Arc;

use ike_proto::crypto::credential::{Claim, HASHES, NamePattern, OwnKey, Trust, Verifies};
use ike_proto::policy::identity::Identity;
use ike_proto::time::WallTime;
use ike_proto::wire::announce::Announcement;
use ike_proto::wire::registry::{AuthMethod, CertEncoding, IdType, SignatureHash};
use ike_proto::wire::{Auth, Cert, CertReq, Id};

use super::{Believed, OtherKey, OwnCredential, Pin, SubjectPattern};
use crate::pki::{KeyKind, Validity, make_authority, make_host};
use crate::sign::{SUPPORTED_HASHES, SignatureAlgorithm, SigningKey};
use crate::testing::key_files;
use crate::x509::{AltName, Certificate, Crl, DistinguishedName, Revocation, TrustStore, Wildcards};

const NOW: u64 = 1_800_000_000;
const YEAR: Validity = Validity { from: NOW - 10, to: NOW + 365 * 86_400 };
const OCTETS: &[u8] = b"RealMessage1 | NonceRData | MACedIDForI";

fn wall() -> WallTime {
    WallTime(NOW)
}

fn everything() -> Verifies {
    Verifies { hashes: HASHES.to_vec(), methods: None }
}

fn store(authority: &str) -> Arc<TrustStore> {
    let mut store = TrustStore::new(Revocation::Soft);
    store.add_authority(Certificate::from_file(authority.as_bytes()).unwrap().remove(0)).unwrap();
    Arc::new(store)
}

/// An authority, its store, and a host's credential of it.
fn host_of(authority: &str, key: &[u8], names: &[AltName]) -> OwnCredential {
    let issued = make_host(authority.as_bytes(), key, names, KeyKind::P256, YEAR).unwrap();
    let chain = Certificate::from_file(issued.certificate.as_bytes()).unwrap();
    let key = SigningKey::from_file(issued.key.expose()).unwrap();
    OwnCredential::with_certificate(key, chain, store(authority)).unwrap()
}

fn box_a() -> (Arc<TrustStore>, OwnCredential) {
    let root = make_authority("Root", KeyKind::P256, YEAR).unwrap();
    let names = [AltName::Dns("a.example.org".to_owned()), AltName::Address("192.0.2.1".parse().unwrap())];
    let own = host_of(&root.certificate, root.key.expose(), &names);
    (store(&root.certificate), own)
}

fn claim(own: &OwnCredential, id: &Identity) -> Claim {
    let auth = own.sign(&everything(), OCTETS).unwrap();
    Claim { id: id.payload(), certs: own.certs().to_vec(), auth, octets: OCTETS.to_vec() }
}

fn a() -> Identity {
    Identity::fqdn("a.example.org")
}

#[test]
fn what_the_engine_announces_is_what_is_verified() {
    assert_eq!(HASHES, SUPPORTED_HASHES);
    let believed = Believed::new(None, Vec::new(), Wildcards::Refused);
    let signatures = believed.announces().iter().filter(|one| one.method == AuthMethod::DIGITAL_SIGNATURE);
    let known: Vec<_> = signatures.map(|one| SignatureAlgorithm::from_der(&one.algorithm).unwrap()).collect();
    let all = SignatureAlgorithm::ALL.into_iter().filter(|one| *one != super::UNANNOUNCED);
    assert_eq!(known, all.collect::<Vec<_>>());
    assert!(believed.announces().contains(&Announcement::of(AuthMethod::ECDSA_384)));
    assert!(believed.announces().contains(&Announcement::of(AuthMethod::RSA)));
}

#[test]
fn a_certificate_of_an_authority_proves_the_names_it_has() {
    let (store, own) = box_a();
    let believed = Believed::new(Some(store), Vec::new(), Wildcards::Refused);
    for id in [a(), Identity::address("192.0.2.1".parse().unwrap())] {
        let verified = believed.verify(&claim(&own, &id), wall()).unwrap();
        assert_eq!(verified.proof.addresses, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(verified.not_after, Some(WallTime(YEAR.to)));
        assert_eq!(verified.proof.certs, own.certs(), "the root is not kept");
        assert!(!believed.pins(&verified.proof));
        assert_eq!(believed.check(&id.payload(), &verified.proof, wall()), Ok(Some(WallTime(YEAR.to))));
        let late = believed.check(&id.payload(), &verified.proof, WallTime(YEAR.to + 1)).unwrap_err();
        assert!(late.contains("expired"), "{late}");
    }
    let other = believed.verify(&claim(&own, &Identity::fqdn("b.example.org")), wall()).unwrap_err();
    assert!(other.contains("does not name b.example.org"), "{other}");
}

#[test]
fn what_is_not_signed_right_proves_nothing() {
    let (store, own) = box_a();
    let believed = Believed::new(Some(store), Vec::new(), Wildcards::Refused);
    let refuse = |change: &dyn Fn(&mut Claim)| {
        let mut claim = claim(&own, &a());
        change(&mut claim);
        believed.verify(&claim, wall()).unwrap_err()
    };
    assert!(refuse(&|claim| claim.octets.push(0)).contains("signature is wrong"));
    assert!(refuse(&|claim| *claim.auth.data.last_mut().unwrap() ^= 1).contains("wrong"));
    assert!(refuse(&|claim| claim.auth.method = AuthMethod::ECDSA_256).contains("wrong"));
    assert!(refuse(&|claim| claim.auth.method = AuthMethod::NULL).contains("not accepted"));
    assert!(refuse(&|claim| claim.certs.clear()).contains("no certificate"));
    // The octets of a certificate under the name of a raw key, and the other way round.
    assert!(!refuse(&|claim| claim.certs[0].encoding = CertEncoding::RAW_PUBLIC_KEY).is_empty());
}

#[test]
fn a_pinned_key_is_enough_with_its_certificate_without_it_and_raw() {
    let (_, own) = box_a();
    let certificate = own.certificate().unwrap().clone();
    let key = certificate.key().unwrap().clone();
    for pin in [Pin::Certificate(Box::new(certificate)), Pin::Key(Box::new(key.clone()))] {
        let has_addresses = matches!(pin, Pin::Certificate(_));
        let believed = Believed::new(None, vec![pin], Wildcards::Refused);
        let mut sent = claim(&own, &Identity::key_id(b"whoever"));
        for certs in [own.certs().to_vec(), Vec::new(), vec![super::raw(&key).unwrap()]] {
            sent.certs = certs;
            let verified = believed.verify(&sent, wall()).unwrap();
            assert!(believed.pins(&verified.proof));
            assert_eq!(verified.proof.addresses.is_empty(), !has_addresses);
            assert!(believed.check(&sent.id, &verified.proof, wall()).is_ok());
        }
        let (_, stranger) = box_a();
        for certs in [stranger.certs().to_vec(), Vec::new()] {
            let mut sent = claim(&stranger, &a());
            sent.certs = certs;
            assert!(believed.verify(&sent, wall()).is_err());
        }
    }
}

/// The holder of a pinned key makes another certificate for it, that lives longer and names another's address.
#[test]
fn of_a_pinned_certificate_the_configured_copy_counts() {
    let root = make_authority("Root", KeyKind::P256, YEAR).unwrap();
    let key = SigningKey::from_file(root.key.expose()).unwrap();
    let own = Certificate::from_file(root.certificate.as_bytes()).unwrap().remove(0);
    let mut params = rcgen::CertificateParams::new(vec!["a.example.org".to_owned()]).unwrap();
    params.subject_alt_names.push(rcgen::SanType::IpAddress("192.0.2.66".parse().unwrap()));
    let pair = rcgen::KeyPair::from_pem(core::str::from_utf8(root.key.expose()).unwrap()).unwrap();
    let forged = params.self_signed(&pair).unwrap();

    let believed = Believed::new(None, vec![Pin::Certificate(Box::new(own))], Wildcards::Refused);
    let credential = OwnCredential::raw(key);
    let mut sent = claim(&credential, &a());
    sent.certs = vec![super::x509(forged.der()).unwrap()];
    // A key that signs certificates alone does not sign for its holder.
    let refused = believed.verify(&sent, wall()).unwrap_err();
    assert!(refused.contains("digitalSignature"), "{refused}");

    let (_, own) = box_a();
    let certificate = own.certificate().unwrap().clone();
    let believed = Believed::new(None, vec![Pin::Certificate(Box::new(certificate))], Wildcards::Refused);
    let verified = believed.verify(&claim(&own, &a()), wall()).unwrap();
    assert_eq!(verified.proof.addresses, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
    let late = believed.verify(&claim(&own, &a()), WallTime(YEAR.to + 1)).unwrap_err();
    assert!(late.contains("expired"), "{late}");
}

#[test]
fn a_revoked_certificate_and_a_removed_authority_are_found_at_the_next_look() {
    let (store, own) = box_a();
    let believed = Believed::new(Some(Arc::clone(&store)), Vec::new(), Wildcards::Refused);
    let proof = believed.verify(&claim(&own, &a()), wall()).unwrap().proof;
    let none = Believed::new(Some(Arc::default()), Vec::new(), Wildcards::Refused);
    assert!(none.check(&a().payload(), &proof, wall()).unwrap_err().contains("no chain"));
    let other = Believed::new(Some(box_a().0), Vec::new(), Wildcards::Refused);
    assert!(other.check(&a().payload(), &proof, wall()).is_err());
    // Old and new authority side by side.
    let mut both = TrustStore::clone(&store);
    both.add_authority(box_a().0.authorities().next().unwrap().clone()).unwrap();
    let both = Believed::new(Some(Arc::new(both)), Vec::new(), Wildcards::Refused);
    assert!(both.check(&a().payload(), &proof, wall()).is_ok());
}

#[test]
fn a_list_of_revoked_certificates_that_comes_later_counts() {
    use crate::x509::testing::{NOW, Pki, host};
    let pki = Pki::new();
    let (certificate, _) = pki.issue(host("a.example.org"));
    let proof = super::Proof {
        certs: vec![super::x509(certificate.der()).unwrap()],
        addresses: Vec::new(),
        shown: String::new(),
    };
    let mut store = TrustStore::default();
    store.add_authority(pki.root().clone()).unwrap();
    let before = Believed::new(Some(Arc::new(store.clone())), Vec::new(), Wildcards::Refused);
    assert!(before.check(&a().payload(), &proof, WallTime(NOW)).is_ok());
    store.add_crl(Crl::from_der(&pki.crl(&[&certificate], NOW - 1, NOW + 1)).unwrap());
    let after = Believed::new(Some(Arc::new(store)), Vec::new(), Wildcards::Refused);
    assert!(after.check(&a().payload(), &proof, WallTime(NOW)).unwrap_err().contains("revoked"));
}

#[test]
fn a_pinned_certificate_may_have_to_lead_to_an_authority_too() {
    let (store, own) = box_a();
    let pin = || vec![Pin::Certificate(Box::new(own.certificate().unwrap().clone()))];
    let strict = |store| Believed::new(Some(store), pin(), Wildcards::Refused).with_chains();
    assert!(strict(Arc::clone(&store)).verify(&claim(&own, &a()), wall()).is_ok());
    let refused = strict(box_a().0).verify(&claim(&own, &a()), wall()).unwrap_err();
    assert!(refused.contains("signature in the chain"), "{refused}");
    // One of the same authority that is not pinned is not let in.
    let names = [AltName::Dns("b.example.org".to_owned())];
    let root = make_authority("Root", KeyKind::P256, YEAR).unwrap();
    let other = host_of(&root.certificate, root.key.expose(), &names);
    let both = Believed::new(Some(super::tests::store(&root.certificate)), pin(), Wildcards::Refused);
    let id = Identity::fqdn("b.example.org");
    assert!(both.verify(&claim(&other, &id), wall()).is_ok());
    let refused = both.with_chains().verify(&claim(&other, &id), wall()).unwrap_err();
    assert!(refused.contains("not the pinned one"), "{refused}");
}

#[test]
fn a_request_for_certificates_names_the_authorities_or_nobody() {
    let (store, own) = box_a();
    let believed = Believed::new(Some(Arc::clone(&store)), Vec::new(), Wildcards::Refused);
    assert_eq!(
        believed.requests(),
        [CertReq { encoding: CertEncoding::X509_SIGNATURE, authorities: store.certreq() }]
    );
    assert!(own.is_asked_for(&believed.requests()[0]));
    let cut = CertReq { authorities: store.certreq()[..19].to_vec(), ..believed.requests()[0].clone() };
    assert!(!own.is_asked_for(&cut));
    let key = own.certificate().unwrap().key().unwrap().clone();
    let certificate = Pin::Certificate(Box::new(own.certificate().unwrap().clone()));
    let pinned = Believed::new(None, vec![certificate, Pin::Key(Box::new(key))], Wildcards::Refused);
    let any = |encoding| CertReq { encoding, authorities: Vec::new() };
    assert_eq!(pinned.requests(), [any(CertEncoding::X509_SIGNATURE), any(CertEncoding::RAW_PUBLIC_KEY)]);
    assert!(!own.is_asked_for(&any(CertEncoding::RAW_PUBLIC_KEY)));
    let raw = OwnCredential::raw(SigningKey::from_file(key_files::P256).unwrap());
    assert!(
        raw.is_asked_for(&any(CertEncoding::RAW_PUBLIC_KEY)) && !raw.is_asked_for(&believed.requests()[0])
    );
}

#[test]
fn a_key_suits_a_peer_that_verifies_what_it_signs() {
    let raw = |file| OwnCredential::raw(SigningKey::from_file(file).unwrap());
    let named = |hashes: &[SignatureHash], methods: Option<Vec<Announcement>>| Verifies {
        hashes: hashes.to_vec(),
        methods,
    };
    let ed25519 = vec![Announcement::signature(SignatureAlgorithm::Ed25519.to_der().to_vec())];
    let bare = vec![Announcement::of(AuthMethod::DIGITAL_SIGNATURE)];
    let psk = vec![Announcement::of(AuthMethod::SHARED_KEY)];
    for (file, peer, suits) in [
        (key_files::RSA_2048, named(&[], None), false),
        (key_files::ED25519, named(&[], None), false),
        (key_files::P384, named(&[], None), true),
        (key_files::RSA_2048, named(&[SignatureHash::SHA2_512], None), true),
        (key_files::RSA_2048, named(&[SignatureHash::SHA1], None), false),
        (key_files::ED25519, named(&[SignatureHash::SHA2_512], None), false),
        (key_files::ED25519, named(&HASHES, Some(ed25519.clone())), true),
        (key_files::RSA_2048, named(&HASHES, Some(ed25519)), false),
        (key_files::RSA_2048, named(&HASHES, Some(bare)), true),
        (key_files::RSA_2048, named(&HASHES, Some(psk)), false),
    ] {
        let key = raw(file);
        assert_eq!(key.suits(&peer), suits, "{key:?} {peer:?}");
        assert_eq!(key.sign(&peer, OCTETS).is_ok(), suits, "{key:?} {peer:?}");
    }
}

#[test]
fn a_key_and_another_keys_certificate_are_refused() {
    let (store, own) = box_a();
    let key = SigningKey::from_file(key_files::P256).unwrap();
    let chain = vec![own.certificate().unwrap().clone()];
    let refused = OwnCredential::with_certificate(key, chain, store).unwrap_err();
    assert_eq!(refused, OtherKey("CN=a.example.org".to_owned()));
}

#[test]
fn hostile_claims_prove_nothing_and_end() {
    let (store, own) = box_a();
    let believed = Believed::new(Some(store), Vec::new(), Wildcards::Refused);
    let cert = |encoding, data: &[u8]| Cert { encoding, data: data.to_vec() };
    for certs in [
        vec![cert(CertEncoding::X509_SIGNATURE, &[])],
        vec![cert(CertEncoding::X509_SIGNATURE, &[0x30; 30_000])],
        vec![cert(CertEncoding::RAW_PUBLIC_KEY, &[0x30; 30_000])],
        vec![cert(CertEncoding(99), own.certs()[0].data.get(..9).unwrap())],
        vec![own.certs()[0].clone(); 100],
    ] {
        let auth = Auth { method: AuthMethod::DIGITAL_SIGNATURE, data: vec![255; 64] };
        let claim = Claim { id: a().payload(), certs, auth, octets: OCTETS.to_vec() };
        assert!(believed.verify(&claim, wall()).is_err());
    }
}

#[test]
fn patterns_of_subjects_look_at_distinguished_names_alone() {
    let name = DistinguishedName::from_text("C=DE, O=Example, CN=a").unwrap();
    let dn = Id { id_type: IdType::DER_ASN1_DN, reserved: [0; 3], data: name.der().to_vec() };
    let pattern = |text| SubjectPattern(Some(DistinguishedName::from_text(text).unwrap()));
    assert!(SubjectPattern(None).matches(&dn) && pattern("C=DE, O=Example, CN=*").matches(&dn));
    assert!(!pattern("C=DE, O=Other, CN=*").matches(&dn));
    assert!(!SubjectPattern(None).matches(&Id { data: vec![0xff], ..dn }));
    assert!(!SubjectPattern(None).matches(&a().payload()));
}

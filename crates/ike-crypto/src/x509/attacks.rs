//! What a peer may try with certificates, and what happens then.

use rcgen::{
    CidrSubnet, ExtendedKeyUsagePurpose, GeneralSubtree, KeyUsagePurpose, NameConstraints, PublicKeyData,
};

use super::path::usable;
use super::testing::{Authority, NOW, Pki, authority, crl, host};
use super::{
    Certificate, Crl, MAX_CHAIN, Problem, Revocation, TrustStore, Unchecked, Validated, check_pinned,
};
use crate::pem;
use crate::sign::{KeyError, SignatureAlgorithm, SigningKey, VerifyingKey};
use crate::testing::key_files;

fn store(authorities: &[&Certificate]) -> TrustStore {
    let mut store = TrustStore::default();
    for authority in authorities {
        store.add_authority((*authority).clone()).unwrap();
    }
    store
}

fn validate(store: &TrustStore, chain: &[&Certificate]) -> Result<Validated, Problem> {
    let ders: Vec<&[u8]> = chain.iter().map(|certificate| certificate.der()).collect();
    store.validate(&ders, NOW)
}

fn refusal(store: &TrustStore, chain: &[&Certificate]) -> Problem {
    validate(store, chain).map(|good| good.certificate).expect_err("accepted")
}

/// `Pki`, and an authority below it.
fn with_intermediate() -> (Pki, Certificate, Authority) {
    let pki = Pki::new();
    let (certificate, issuer) = pki.issue(authority("Test Intermediate", None));
    (pki, certificate, issuer)
}

#[test]
fn a_certificate_of_a_configured_authority_is_accepted() {
    let pki = Pki::new();
    let (own, _) = pki.issue(host("a.example.org"));
    let good = validate(&store(&[pki.root()]), &[&own]).unwrap();
    assert_eq!(good.certificate.der(), own.der());
    assert_eq!(&good.key, own.key().unwrap());
    assert_eq!(good.not_after, own.not_after());
    assert_eq!(good.authorities.len(), 1);
}

#[test]
fn an_intermediate_leads_to_the_root_in_whatever_order_and_among_whatever_else() {
    let (pki, middle, issuer) = with_intermediate();
    let (own, _) = host("a.example.org").issued_by(&issuer);
    let (stranger, _) = Pki::new().issue(host("b.example.org"));
    let trusted = store(&[pki.root()]);
    for chain in
        [vec![&own, &middle], vec![&own, &stranger, pki.root(), &middle], vec![&own, &middle, &middle]]
    {
        let good = validate(&trusted, &chain).unwrap();
        let names: Vec<_> =
            good.authorities.iter().map(|authority| authority.subject().to_string()).collect();
        assert_eq!(names, ["CN=Test Intermediate", "CN=Test Root"]);
    }
    assert_eq!(
        refusal(&trusted, &[&own]),
        Problem::UnknownIssuer("CN=a.example.org".to_owned(), "CN=Test Intermediate".to_owned())
    );
    // An authority below a root may itself be the one that is trusted.
    assert!(validate(&store(&[&middle]), &[&own]).is_ok());
    // Octets that are no certificate beside it do not matter.
    assert!(trusted.validate(&[own.der(), b"\x30\x00", middle.der()], NOW).is_ok());
}

#[test]
fn an_authority_that_is_not_configured_is_not_trusted_because_it_is_sent() {
    let ours = Pki::new();
    let theirs = Pki::new();
    let (own, _) = theirs.issue(host("a.example.org"));
    // Both roots have one name; the signature tells them apart.
    assert_eq!(
        refusal(&store(&[ours.root()]), &[&own, theirs.root()]),
        Problem::Signature("CN=a.example.org".to_owned())
    );
    assert!(matches!(refusal(&TrustStore::default(), &[&own, theirs.root()]), Problem::UnknownIssuer(..)));
}

#[test]
fn old_and_new_authority_of_one_name_may_overlap() {
    let (old, new) = (Pki::new(), Pki::new());
    let trusted = store(&[old.root(), new.root()]);
    for pki in [&old, &new] {
        assert!(validate(&trusted, &[&pki.issue(host("a.example.org")).0]).is_ok());
    }
    assert_eq!(trusted.certreq().len(), 40);
}

#[test]
fn a_changed_certificate_is_refused_wherever_it_was_changed() {
    let pki = Pki::new();
    let (own, _) = pki.issue(host("a.example.org"));
    let trusted = store(&[pki.root()]);
    for at in 0..own.der().len() {
        let mut changed = own.der().to_vec();
        changed[at] ^= 1;
        assert!(trusted.validate(&[&changed], NOW).is_err(), "octet {at}");
    }
}

#[test]
fn dates_of_every_certificate_in_the_chain_count() {
    let pki = Pki::new();
    let trusted = store(&[pki.root()]);
    let (own, _) = pki.issue(host("a.example.org").valid(NOW - 10, NOW + 10));
    let at = |now| trusted.validate(&[own.der()], now).map(|_| ());
    let subject = || "CN=a.example.org".to_owned();
    assert_eq!(at(NOW - 10), Ok(()));
    assert_eq!(at(NOW + 10), Ok(()));
    assert_eq!(at(NOW - 11), Err(Problem::NotYetValid { subject: subject(), not_before: NOW - 10 }));
    assert_eq!(at(NOW + 11), Err(Problem::Expired { subject: subject(), not_after: NOW + 10 }));

    let (middle, issuer) = pki.issue(authority("Expired Intermediate", None).valid(NOW - 20, NOW - 10));
    let (own, _) = host("a.example.org").issued_by(&issuer);
    let expired = Problem::Expired { subject: "CN=Expired Intermediate".to_owned(), not_after: NOW - 10 };
    assert_eq!(refusal(&trusted, &[&own, &middle]), expired);

    let pki = Pki::of(authority("Future Root", None).valid(NOW + 5, NOW + 10));
    let (own, _) = pki.issue(host("a.example.org"));
    let future = Problem::NotYetValid { subject: "CN=Future Root".to_owned(), not_before: NOW + 5 };
    assert_eq!(refusal(&store(&[pki.root()]), &[&own]), future);
    assert_eq!(
        future.to_string(),
        "the certificate of CN=Future Root is not valid before 2027-01-15T08:00:05Z"
    );
}

#[test]
fn a_host_cannot_issue() {
    let pki = Pki::new();
    let (first, issuer) = pki.issue(host("a.example.org").usages(&[]));
    let (own, _) = host("b.example.org").issued_by(&issuer);
    let refused = refusal(&store(&[pki.root()]), &[&own, &first]);
    assert_eq!(refused, Problem::NotAuthority("CN=a.example.org".to_owned()));
    assert!(TrustStore::default().add_authority(first).unwrap_err().to_string().contains("no CA flag"));
}

#[test]
fn an_authority_whose_key_may_not_sign_certificates_cannot_issue() {
    let pki = Pki::new();
    let crl_only =
        authority("CRL Signer", None).usages(&[KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature]);
    let (middle, issuer) = pki.issue(crl_only);
    let (own, _) = host("a.example.org").issued_by(&issuer);
    let refused = refusal(&store(&[pki.root()]), &[&own, &middle]);
    assert_eq!(refused, Problem::NoCertSign("CN=CRL Signer".to_owned()));
    assert!(TrustStore::default().add_authority(middle).is_err());
}

#[test]
fn an_authority_is_no_host() {
    let pki = Pki::new();
    let (middle, _) = pki.issue(authority("Test Intermediate", None));
    assert_eq!(
        refusal(&store(&[pki.root()]), &[&middle]),
        Problem::AuthorityAsHost("CN=Test Intermediate".to_owned())
    );
}

#[test]
fn path_lengths_of_authorities_hold_the_configured_one_included() {
    let pki = Pki::new();
    let (first, issuer) = pki.issue(authority("First", Some(0)));
    let (second, below) = authority("Second", None).issued_by(&issuer);
    let (own, _) = host("a.example.org").issued_by(&below);
    let trusted = store(&[pki.root()]);
    assert_eq!(refusal(&trusted, &[&own, &first, &second]), Problem::PathLength("CN=First".to_owned()));
    assert!(validate(&trusted, &[&host("b.example.org").issued_by(&issuer).0, &first]).is_ok());

    let pki = Pki::of(authority("Short Root", Some(0)));
    let (middle, issuer) = pki.issue(authority("Test Intermediate", None));
    let (own, _) = host("a.example.org").issued_by(&issuer);
    let trusted = store(&[pki.root()]);
    assert_eq!(refusal(&trusted, &[&own, &middle]), Problem::PathLength("CN=Short Root".to_owned()));
    assert!(validate(&trusted, &[&pki.issue(host("b.example.org")).0]).is_ok());
}

#[test]
fn names_outside_the_constraints_of_an_authority_are_refused() {
    let constraints = NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("example.org".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::V4([192, 0, 2, 0], [255, 255, 255, 0])),
        ],
        excluded_subtrees: vec![GeneralSubtree::DnsName("secret.example.org".to_owned())],
    };
    let root = authority("Constrained Root", None).constrained(constraints.clone());
    let constrained_root = Pki::of(root);
    let free_root = Pki::new();
    let (middle, issuer) = free_root.issue(authority("Constrained", None).constrained(constraints));
    for (template, taken) in [
        (host("a.example.org").address("192.0.2.7"), true),
        (host("a.example.com"), false),
        (host("example.org.evil.example"), false),
        (host("a.secret.example.org"), false),
        (host("a.example.org").address("192.0.3.7"), false),
    ] {
        let (own, _) = constrained_root.issue(template.clone());
        let (below, _) = template.issued_by(&issuer);
        let by_root = validate(&store(&[constrained_root.root()]), &[&own]);
        let by_middle = validate(&store(&[free_root.root()]), &[&below, &middle]);
        for judged in [by_root, by_middle] {
            match judged {
                Ok(_) => assert!(taken, "{own:?}"),
                Err(problem) => assert!(!taken && matches!(problem, Problem::NameConstraint(_)), "{problem}"),
            }
        }
    }
}

#[test]
fn a_chain_of_a_hundred_is_not_looked_at() {
    let pki = Pki::new();
    let (own, _) = pki.issue(host("a.example.org"));
    let many = vec![own.der(); 100];
    assert_eq!(store(&[pki.root()]).validate(&many, NOW).map(|_| ()), Err(Problem::TooMany(100)));
}

#[test]
fn a_chain_is_as_long_as_it_may_be_and_no_longer() {
    let pki = Pki::new();
    let mut above = Vec::new();
    let (first, mut issuer) = pki.issue(authority("Level 0", None));
    above.push(first);
    for level in 1..MAX_CHAIN {
        let (certificate, next) = authority(&format!("Level {level}"), None).issued_by(&issuer);
        let (own, _) = host("a.example.org").issued_by(&issuer);
        let mut chain = vec![&own];
        chain.extend(&above);
        let judged = validate(&store(&[pki.root()]), &chain);
        // The host, `level` authorities, the root.
        assert_eq!(judged.is_ok(), level + 2 <= MAX_CHAIN, "{level} between: {judged:?}");
        above.push(certificate);
        issuer = next;
    }
}

#[test]
fn loops_end() {
    let (one, one_issuer) = authority("One", None).self_signed();
    let (two, two_issuer) = authority("Two", None).self_signed();
    let one_by_two = authority("One", None).for_key(one_issuer.key(), &two_issuer);
    let two_by_one = authority("Two", None).for_key(two_issuer.key(), &one_issuer);
    let (own, _) = host("a.example.org").issued_by(&one_issuer);
    let chain = [&own, &one_by_two, &two_by_one, &one, &two];
    assert!(matches!(refusal(&store(&[Pki::new().root()]), &chain), Problem::UnknownIssuer(..)));
    assert!(validate(&store(&[&two]), &chain).is_ok());
}

/// Seven authorities of one name: each could have issued each, and their paths are 7! in number.
#[test]
fn of_authorities_of_one_name_two_are_tried() {
    let pki = Pki::new();
    let (_, first) = authority("Tangle", None).self_signed();
    let tangle: Vec<Certificate> =
        (1..MAX_CHAIN).map(|_| authority("Tangle", None).issued_by(&first).0).collect();
    let ders: Vec<&[u8]> = tangle.iter().map(Certificate::der).collect();
    let kept: Vec<Vec<u8>> = usable(&ders).iter().map(|certificate| certificate.der().to_vec()).collect();
    assert_eq!(kept, ders[..2]);

    let (own, _) = host("a.example.org").issued_by(&first);
    let chain: Vec<&Certificate> = core::iter::once(&own).chain(&tangle).collect();
    assert!(matches!(refusal(&store(&[pki.root()]), &chain), Problem::UnknownIssuer(..)));
}

#[test]
fn a_self_signed_certificate_is_accepted_only_where_its_key_is_pinned() {
    let (own, _) = host("a.example.org").self_signed();
    assert_eq!(
        refusal(&store(&[Pki::new().root()]), &[&own]),
        Problem::SelfSigned("CN=a.example.org".to_owned())
    );
    let pin = own.key().unwrap();
    assert_eq!(check_pinned(&own, pin, NOW), Ok(()));
    assert!(matches!(check_pinned(&own, pin, own.not_after() + 1), Err(Problem::Expired { .. })));
    let (other, _) = host("a.example.org").self_signed();
    assert_eq!(check_pinned(&other, pin, NOW), Err(Problem::NotPinned("CN=a.example.org".to_owned())));
    let (mute, _) = host("a.example.org").usages(&[KeyUsagePurpose::KeyEncipherment]).self_signed();
    assert!(matches!(check_pinned(&mute, mute.key().unwrap(), NOW), Err(Problem::NotForSigning(_))));
    // What `openssl req -x509` makes says that it is an authority; the pin is of the key.
    let (both, _) = authority("a.example.org", None).usages(&[]).self_signed();
    assert_eq!(check_pinned(&both, both.key().unwrap(), NOW), Ok(()));
}

#[test]
fn a_critical_extension_that_is_not_understood_refuses_the_certificate_it_is_in() {
    let pki = Pki::new();
    let trusted = store(&[pki.root()]);
    let (own, _) = pki.issue(host("a.example.org").critical(&[1, 2, 3, 4]));
    let refused = refusal(&trusted, &[&own]);
    assert!(
        refused.to_string().starts_with("critical extension 1.2.3.4 in the certificate of CN=a.example.org")
    );

    let (middle, issuer) = pki.issue(authority("Odd", None).critical(&[1, 2, 3, 4]));
    let (own, _) = host("a.example.org").issued_by(&issuer);
    assert!(validate(&trusted, &[&own, &middle]).is_err());
    let (root, _) = authority("Odd Root", None).critical(&[1, 2, 3, 4]).self_signed();
    assert!(TrustStore::default().add_authority(root).unwrap_err().to_string().contains("1.2.3.4"));
}

#[test]
fn a_key_that_may_not_sign_authenticates_nobody() {
    let pki = Pki::new();
    let trusted = store(&[pki.root()]);
    let (own, _) = pki.issue(host("a.example.org").usages(&[KeyUsagePurpose::KeyEncipherment]));
    assert_eq!(refusal(&trusted, &[&own]), Problem::NotForSigning("CN=a.example.org".to_owned()));
    for usages in [&[][..], &[KeyUsagePurpose::DigitalSignature], &[KeyUsagePurpose::ContentCommitment]] {
        assert!(validate(&trusted, &[&pki.issue(host("a.example.org").usages(usages)).0]).is_ok());
    }
}

#[test]
fn a_certificate_for_other_protocols_alone_is_refused() {
    let pki = Pki::new();
    let trusted = store(&[pki.root()]);
    let ike = || ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]);
    for (uses, taken) in [
        (vec![ExtendedKeyUsagePurpose::ServerAuth], true),
        (vec![ExtendedKeyUsagePurpose::ClientAuth], true),
        (vec![ExtendedKeyUsagePurpose::Any], true),
        (vec![ExtendedKeyUsagePurpose::CodeSigning, ike()], true),
        (vec![ExtendedKeyUsagePurpose::CodeSigning], false),
        (vec![ExtendedKeyUsagePurpose::EmailProtection, ExtendedKeyUsagePurpose::OcspSigning], false),
    ] {
        let (own, _) = pki.issue(host("a.example.org").extended(&uses));
        assert_eq!(validate(&trusted, &[&own]).is_ok(), taken, "{uses:?}");
        let (middle, issuer) = pki.issue(authority("Test Intermediate", None).extended(&uses));
        let (own, _) = host("a.example.org").issued_by(&issuer);
        assert_eq!(validate(&trusted, &[&own, &middle]).is_ok(), taken, "{uses:?} above");
    }
}

/// `openssl x509 -req -sha1` and, by the same authority, `-sha256` with RSASSA-PSS.
#[test]
fn a_certificate_signed_with_sha1_is_refused_by_name() {
    const THEN: u64 = 1_830_000_000;
    let read = |file: &[u8]| Certificate::from_file(file).unwrap().remove(0);
    let trusted = store(&[&read(include_bytes!("../../testdata/old-root.pem"))]);
    let own = read(include_bytes!("../../testdata/sha1-host.pem"));
    let refused = trusted.validate(&[own.der()], THEN).map(|_| ()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the certificate of CN=sha1.example.org is signed so: sha1WithRSAEncryption is never accepted"
    );
    let own = read(include_bytes!("../../testdata/pss-host.pem"));
    assert!(trusted.validate(&[own.der()], THEN).is_ok());
}

struct RsaPublic(Vec<u8>);

impl PublicKeyData for RsaPublic {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

#[test]
fn a_certified_key_with_a_small_exponent_is_refused_in_every_place() {
    let pki = Pki::new();
    let spki = pem::ders(include_bytes!("../../testdata/rsa-e3-public.pem"), &["PUBLIC KEY"]).remove(0);
    assert_eq!(VerifyingKey::from_spki(&spki), Err(KeyError::RsaExponent));
    // The RSAPublicKey behind the AlgorithmIdentifier and the head of the BIT STRING.
    let key = RsaPublic(spki[24..].to_vec());
    let own = host("a.example.org").for_key(&key, pki.issuer());
    let trusted = store(&[pki.root()]);
    assert_eq!(
        refusal(&trusted, &[&own]),
        Problem::Key("CN=a.example.org".to_owned(), KeyError::RsaExponent)
    );

    let middle = authority("Weak", None).for_key(&key, pki.issuer());
    assert!(TrustStore::default().add_authority(middle.clone()).is_err());
    // Signed in the name of the weak authority with another RSA key, as a forger would who can only multiply.
    let signer = rcgen::KeyPair::from_pem(core::str::from_utf8(key_files::RSA_2048).unwrap()).unwrap();
    let forger = rcgen::Issuer::new(weak_params(), signer);
    let forged = host("b.example.org").for_key(&rcgen::KeyPair::generate().unwrap(), &forger);
    let refused = refusal(&trusted, &[&forged, &middle]);
    assert_eq!(refused, Problem::Key("CN=Weak".to_owned(), KeyError::RsaExponent));
}

fn weak_params() -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Weak");
    params
}

#[test]
fn a_proof_must_be_made_with_the_certified_key() {
    let pki = Pki::new();
    let key = SigningKey::from_file(key_files::ED25519).unwrap();
    let thief = SigningKey::from_file(key_files::P256).unwrap();
    let (own, _) = pki.issue(host("a.example.org"));
    let good = validate(&store(&[pki.root()]), &[&own]).unwrap();
    for signer in [&key, &thief] {
        for algorithm in SignatureAlgorithm::ALL {
            if let Ok(signature) = signer.sign(algorithm, b"octets") {
                assert!(good.key.verify(algorithm, b"octets", &signature).is_err());
            }
        }
    }
}

#[test]
fn a_revoked_certificate_is_refused_by_either_policy_even_when_the_list_is_old() {
    let pki = Pki::new();
    let (own, _) = pki.issue(host("a.example.org"));
    let (other, _) = pki.issue(host("b.example.org"));
    for policy in [Revocation::Soft, Revocation::Strict] {
        for next_update in [NOW + 10, NOW - 5] {
            let mut trusted = TrustStore::new(policy);
            trusted.add_authority(pki.root().clone()).unwrap();
            trusted.add_crl(Crl::from_der(&pki.crl(&[&own], NOW - 10, next_update)).unwrap());
            assert_eq!(refusal(&trusted, &[&own]), Problem::Revoked("CN=a.example.org".to_owned()));
            assert_eq!(
                validate(&trusted, &[&other]).is_ok(),
                policy == Revocation::Soft || next_update > NOW
            );
        }
    }
}

#[test]
fn an_authority_in_the_middle_can_be_revoked() {
    let (pki, middle, issuer) = with_intermediate();
    let (own, _) = host("a.example.org").issued_by(&issuer);
    let mut trusted = store(&[pki.root()]);
    trusted.add_crl(Crl::from_der(&pki.crl(&[&middle], NOW - 10, NOW + 10)).unwrap());
    assert_eq!(refusal(&trusted, &[&own, &middle]), Problem::Revoked("CN=Test Intermediate".to_owned()));
}

#[test]
fn what_could_not_be_checked_is_a_warning_or_a_refusal() {
    let pki = Pki::new();
    let other = Pki::of(authority("Other Root", None));
    let namesake = Pki::new();
    let (own, _) = pki.issue(host("a.example.org"));
    let future = pki.crl(&[], NOW + 5, NOW + 10);
    for (list, why) in [
        (None, Some(Unchecked::Missing)),
        (Some(other.crl(&[&own], NOW - 10, NOW + 10)), Some(Unchecked::Missing)),
        (Some(namesake.crl(&[&own], NOW - 10, NOW + 10)), Some(Unchecked::WrongSignature)),
        (Some(pki.crl(&[], NOW - 10, NOW - 5)), Some(Unchecked::Expired(NOW - 5))),
        (Some(future), Some(Unchecked::Future(NOW + 5))),
        (Some(pki.crl(&[], NOW - 10, NOW + 10)), None),
    ] {
        let mut soft = TrustStore::new(Revocation::Soft);
        let mut strict = TrustStore::new(Revocation::Strict);
        for store in [&mut soft, &mut strict] {
            store.add_authority(pki.root().clone()).unwrap();
            list.iter().for_each(|list| store.add_crl(Crl::from_der(list).unwrap()));
        }
        let warnings = validate(&soft, &[&own]).unwrap().warnings;
        assert_eq!(warnings.first().map(|warning| warning.why), why);
        match why {
            None => assert!(validate(&strict, &[&own]).is_ok()),
            Some(_) => assert_eq!(refusal(&strict, &[&own]), Problem::Unchecked(warnings[0].clone())),
        }
    }
}

#[test]
fn the_newest_list_counts() {
    let (pki, middle, issuer) = with_intermediate();
    let (own, _) = host("a.example.org").issued_by(&issuer);
    let mut trusted = store(&[pki.root()]);
    trusted.add_crl(Crl::from_der(&crl(&issuer, &[&own], NOW - 5, NOW + 10)).unwrap());
    trusted.add_crl(Crl::from_der(&crl(&issuer, &[], NOW - 10, NOW + 10)).unwrap());
    assert_eq!(refusal(&trusted, &[&own, &middle]), Problem::Revoked("CN=a.example.org".to_owned()));
    trusted.add_crl(Crl::from_der(&crl(&issuer, &[], NOW - 1, NOW + 10)).unwrap());
    assert!(validate(&trusted, &[&own, &middle]).is_ok(), "taken off the list again");
}

#[test]
fn the_chain_that_a_peer_asks_for_is_found_through_authorities_it_does_not_name() {
    let (pki, middle, issuer) = with_intermediate();
    let (own, _) = host("a.example.org").issued_by(&issuer);
    let trusted = store(&[pki.root()]);
    let chain = [own, middle];
    let sorted = |mut hashes: Vec<[u8; 20]>| {
        hashes.sort_unstable();
        hashes
    };
    let both = sorted(vec![chain[1].authority_hash(), pki.root().authority_hash()]);
    assert_eq!(trusted.hashes_above(&chain), both);
    // Authorities of other names, and of the same name with another key.
    let (twin, stranger) = (Pki::new(), Pki::of(authority("Other Root", None)));
    assert_eq!(twin.root().subject(), pki.root().subject());
    assert_eq!(store(&[twin.root(), stranger.root(), pki.root()]).hashes_above(&chain), both);
    assert_eq!(store(&[twin.root()]).hashes_above(&chain), [chain[1].authority_hash()]);
    assert!(trusted.hashes_above(&[]).is_empty());
}

#[test]
fn nothing_sent_is_nothing_proved() {
    let pki = Pki::new();
    assert!(matches!(store(&[pki.root()]).validate(&[], NOW).map(|_| ()), Err(Problem::Unreadable(_))));
}

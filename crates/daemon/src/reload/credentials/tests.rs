//! What the certificate directives become, and what is refused.

use std::path::PathBuf;

use coati_config::diag::Diagnostics;
use coati_config::files::{FileFacts, Memory};
use ike_crypto::pki::{Issued, KeyKind, Validity, make_authority, make_crl, make_host};
use ike_crypto::x509::{AltName, Certificate};
use ike_proto::crypto::credential::{Claim, Proof, Verifies};
use ike_proto::policy::identity::Identity;
use ike_proto::policy::peer::{LocalId, PeerConfig, Proving};
use ike_proto::time::WallTime;
use ike_proto::wire::Cert;
use ike_proto::wire::registry::{CertEncoding, IdType, SignatureHash};

use crate::reload::{Configuration, FileNames, load};

const YEARS: Validity = Validity { from: 1_700_000_000, to: 2_000_000_000 };
const X509: &str = "certificate_type x509 \"own.pem\" \"own.key\";";

/// An authority and a host's certificate of it.
struct Pki {
    authority: Issued,
    host: Issued,
}

fn pki() -> Pki {
    let authority = make_authority("Test Root", KeyKind::P256, YEARS).unwrap();
    let names = [AltName::Dns("a.example.org".to_owned()), AltName::Address("192.0.2.1".parse().unwrap())];
    let (certificate, key) = (authority.certificate.as_bytes(), authority.key.expose());
    let host = make_host(certificate, key, &names, KeyKind::P256, YEARS).unwrap();
    Pki { authority, host }
}

/// A racoon.conf whose one remote has these options and ways of authentication, one proposal each.
fn racoon(remote: &str, options: &str, methods: &[&str]) -> String {
    let proposals: String = methods
        .iter()
        .map(|method| {
            format!(
                "proposal {{ encryption_algorithm aes; hash_algorithm sha256; authentication_method {method}; dh_group modp3072; }}\n"
            )
        })
        .collect();
    format!(
        "path pre_shared_key \"psk.txt\"; path certificate \"/certs\";
remote {remote} {{ exchange_mode main; {options}\n{proposals} }}
sainfo anonymous {{ encryption_algorithm aes; authentication_algorithm hmac_sha256; compression_algorithm deflate; }}"
    )
}

fn files(pki: &Pki) -> Memory {
    let public = FileFacts { regular: true, owner: 0, mode: 0o644 };
    Memory::new()
        .with("/etc/psk.txt", "")
        .with_facts("/certs/0123abcd.0", public, &pki.authority.certificate)
        .with_facts("/certs/own.pem", public, &pki.host.certificate)
        .with("/certs/own.key", pki.host.key.expose())
}

fn names() -> FileNames {
    FileNames { racoon: PathBuf::from("/etc/racoon.conf"), policies: Vec::new(), ..FileNames::default() }
}

fn read(files: &Memory, racoon: &str) -> Result<(Configuration, Diagnostics), String> {
    load(&names(), &files.clone().with("/etc/racoon.conf", racoon)).map_err(|refusal| refusal.to_string())
}

fn peer(files: &Memory, racoon: &str) -> (PeerConfig, String) {
    let (configuration, said) = read(files, racoon).unwrap_or_else(|said| panic!("{said}"));
    let (peers, _) = configuration.peers([]);
    let peer = peers.by_address("192.0.2.2".parse().unwrap()).unwrap();
    (PeerConfig::clone(peer), said.to_string())
}

fn refusal(files: &Memory, racoon: &str) -> String {
    read(files, racoon).expect_err("it was taken")
}

#[test]
fn a_certificate_its_key_and_the_directory_of_authorities_reach_the_engine() {
    let pki = pki();
    let text = racoon("192.0.2.2", &format!("{X509} my_identifier fqdn \"a.example.org\";"), &["rsasig"]);
    let (peer, said) = peer(&files(&pki), &text);
    let [Proving::Key(own)] = peer.auth.prove.as_slice() else { panic!("{:?}", peer.auth) };
    assert_eq!(own.certs()[0].encoding, CertEncoding::X509_SIGNATURE);
    let trust = peer.auth.trust.as_ref().unwrap();
    assert_eq!(trust.requests()[0].authorities.len(), 20);
    assert!(own.is_asked_for(&trust.requests()[0]));
    assert!(!peer.auth.accept_shared_key && peer.auth.send_cert && peer.auth.send_certreq);
    assert!(peer.auth.binds_address);
    assert_eq!(peer.local_id, LocalId::Fixed(Identity::fqdn("a.example.org")));
    assert!(!said.contains("does not name"), "{said}");
}

#[test]
fn both_ways_of_authentication_are_taken_and_the_first_is_shown() {
    let pki = pki();
    let two = |methods: &[&str]| peer(&files(&pki), &racoon("anonymous", X509, methods)).0;
    let psk_first = two(&["pre_shared_key", "rsasig"]);
    assert!(matches!(psk_first.auth.prove.as_slice(), [Proving::SharedKey, Proving::Key(_)]));
    assert!(psk_first.auth.accept_shared_key && psk_first.auth.trust.is_some());
    assert_eq!(psk_first.offers.len(), 1, "they differ in nothing that IKEv2 negotiates");
    let key_first = two(&["rsasig", "pre_shared_key"]);
    assert!(matches!(key_first.auth.prove.as_slice(), [Proving::Key(_), Proving::SharedKey]));
    let psk_alone = two(&["pre_shared_key"]);
    assert_eq!(psk_alone.auth.prove, [Proving::SharedKey]);
    assert!(psk_alone.auth.trust.is_none());
    assert!(!key_first.auth.binds_address, "an anonymous remote says nothing of addresses");
}

/// The peer of a coati.toml with these lines at its top and in its one peer.
fn peer_of_toml(files: &Memory, top: &str, settings: &str) -> Result<PeerConfig, String> {
    let text = format!(
        "local = \"192.0.2.1\"\nca-dir = \"/certs\"\n{top}\n[peer.b]\naddress = \"192.0.2.2\"\n{settings}\n"
    );
    let names = FileNames { racoon: PathBuf::from("/etc/coati.toml"), ..names() };
    let read = load(&names, &files.clone().with("/etc/coati.toml", text.as_str()));
    let (configuration, _) = read.map_err(|refusal| refusal.to_string())?;
    let (peers, _) = configuration.peers([]);
    Ok(PeerConfig::clone(peers.by_address("192.0.2.2".parse().unwrap()).unwrap()))
}

const OWN: &str = "certificate = \"/certs/own.pem\"\nkey = \"/certs/own.key\"";

#[test]
fn the_two_directions_may_differ() {
    let pki = pki();
    let keys = "192.0.2.2 0x9d507d3c6fd6c78d17d5438c5d2d4138a90f99980ea3248615ed94ad886d8412\n";
    let files = files(&pki).with("/etc/psk.txt", keys);
    let we_sign = format!("auth = \"certificate\"\npeer-auth = \"psk\"\n{OWN}");
    let we_sign = peer_of_toml(&files, "", &we_sign).unwrap().auth;
    assert!(matches!(we_sign.prove.as_slice(), [Proving::Key(_)]), "{we_sign:?}");
    assert!(we_sign.accept_shared_key && we_sign.trust.is_none());
    let peer_signs = peer_of_toml(&files, "", "auth = \"psk\"\npeer-auth = \"certificate\"").unwrap().auth;
    assert_eq!(peer_signs.prove, [Proving::SharedKey]);
    assert!(!peer_signs.accept_shared_key && peer_signs.trust.is_some());
    // The key is needed in either direction.
    let keyless = files.with("/etc/psk.txt", "192.0.2.9 short of nothing, but for another\n");
    for settings in [
        "peer-auth = \"certificate\"".to_owned(),
        format!("auth = \"certificate\"\npeer-auth = \"psk\"\n{OWN}"),
    ] {
        let said = peer_of_toml(&keyless, "", &settings).unwrap_err();
        assert!(said.contains("no key for 192.0.2.2"), "{said}");
    }
}

#[test]
fn lists_of_revoked_certificates_are_read_where_they_are_named_and_may_be_a_must() {
    const NOW: u64 = 1_800_000_000;
    let pki = pki();
    let host = Certificate::from_file(pki.host.certificate.as_bytes()).unwrap().remove(0);
    let (ca, key) = (pki.authority.certificate.as_bytes(), pki.authority.key.expose());
    let list = |revoked: &[Certificate]| make_crl(ca, key, None, revoked, YEARS).unwrap();
    let verdict = |top: &str, crl: Option<&str>| {
        let files = crl.iter().fold(files(&pki), |files, crl| files.with("/etc/ca.crl", *crl));
        let peer = peer_of_toml(&files, top, &format!("auth = \"certificate\"\n{OWN}"))?;
        let cert = Cert { encoding: CertEncoding::X509_SIGNATURE, data: host.der().to_vec() };
        let id = Identity::address("192.0.2.1".parse().unwrap()).payload();
        let proof = Proof { certs: vec![cert], addresses: Vec::new(), shown: String::new() };
        peer.auth.trust.unwrap().check(&id, &proof, WallTime(NOW)).map(drop)
    };
    let named = "crl = \"ca.crl\"";
    let strict = "crl = \"ca.crl\"\ncrl-policy = \"strict\"";
    let (none, revoked) = (list(&[]), list(core::slice::from_ref(&host)));
    assert_eq!(verdict("", None), Ok(()), "soft, and without a list");
    assert!(verdict("crl-policy = \"strict\"", None).is_err(), "strict, and without a list");
    assert_eq!(verdict(strict, Some(&none)), Ok(()));
    for top in [named, strict] {
        let said = verdict(top, Some(&revoked)).unwrap_err();
        assert!(said.contains("revoked"), "{said}");
    }
    let said = verdict(named, None).unwrap_err();
    assert!(said.contains("/etc/coati.toml:3:7") && said.contains("/etc/ca.crl"), "{said}");
}

#[test]
fn distinguished_names_are_the_certificates_or_as_written() {
    let pki = pki();
    let options = |id: &str| {
        format!(
            "{X509} my_identifier asn1dn {id}; verify_identifier on; peers_identifier asn1dn \"C=DE, CN=*\";"
        )
    };
    for id in ["", "\"CN=A.example.org\""] {
        let (peer, said) = peer(&files(&pki), &racoon("192.0.2.2", &options(id), &["rsasig"]));
        let LocalId::Fixed(own) = &peer.local_id else { panic!("{id}") };
        assert_eq!(own.id_type, IdType::DER_ASN1_DN);
        assert!(own.data.windows(13).any(|text| text == b"a.example.org"), "as in the certificate: {own}");
        assert!(!said.contains("does not name"), "{said}");
        let name = |text| {
            let name = ike_crypto::x509::DistinguishedName::from_text(text).unwrap();
            Identity { id_type: IdType::DER_ASN1_DN, data: name.der().to_vec() }
        };
        assert!(peer.expects(&name("C=DE, CN=anything")) && !peer.expects(&name("C=AT, CN=anything")));
        assert!(!peer.expects(&Identity::fqdn("C=DE, CN=anything")));
    }
    let (_, said) = peer(&files(&pki), &racoon("192.0.2.2", &options("\"CN=other\""), &["rsasig"]));
    assert!(said.contains("does not name"), "{said}");
}

#[test]
fn a_pinned_certificate_is_enough_only_where_chains_are_not_asked_for() {
    let pki = pki();
    let other = self::pki();
    let files = files(&pki).with("/certs/peer.pem", &other.host.certificate);
    for (verify, chained) in [("on", true), ("off", false)] {
        let options = format!("{X509} peers_certfile x509 \"peer.pem\"; verify_cert {verify};");
        let (peer, _) = peer(&files, &racoon("192.0.2.2", &options, &["rsasig"]));
        let shown = format!("{:?}", peer.auth.trust.unwrap());
        assert!(shown.contains("1 pinned"), "{shown}");
        assert_eq!(shown.contains("1 authorities"), chained, "{verify}: {shown}");
    }
    let options = format!("{X509} peers_certfile x509 \"peer.pem\"; verify_cert off;");
    let (_, said) = peer(&files, &racoon("anonymous", &options, &["rsasig"]));
    assert!(said.contains("opens none by itself"), "{said}");
}

#[test]
fn a_ca_of_the_remote_stands_beside_the_directory() {
    let pki = pki();
    let other = self::pki();
    let files = files(&pki).with("/certs/ca.pem", &other.authority.certificate);
    let options = format!("{X509} ca_type x509 \"ca.pem\"; send_cr off;");
    let (peer, _) = peer(&files, &racoon("192.0.2.2", &options, &["rsasig"]));
    assert_eq!(peer.auth.trust.as_ref().unwrap().requests()[0].authorities.len(), 40);
    assert!(!peer.auth.send_certreq);
}

#[test]
fn what_cannot_be_used_is_refused_with_its_place_and_a_reason() {
    let pki = pki();
    let other = self::pki();
    let text = racoon("192.0.2.2", X509, &["rsasig"]);
    let weak = FileFacts { regular: true, owner: 0, mode: 0o640 };
    let foreign = FileFacts { regular: true, owner: 7, mode: 0o600 };
    let encrypted = include_bytes!("../../../../ike-crypto/testdata/encrypted.pem");
    let key = pki.host.key.expose();
    for (files, why) in [
        (files(&pki).with_facts("/certs/own.key", weak, key), "weak file permission 0640"),
        (files(&pki).with_facts("/certs/own.key", foreign, key), "invalid owner uid 7"),
        (files(&pki).with("/certs/own.key", encrypted), "encrypted with a passphrase"),
        (files(&pki).with("/certs/own.key", other.host.key.expose()), "is not the one of the certificate"),
        (files(&pki).with("/certs/own.key", "nothing"), "own.key: not a valid private key"),
        (files(&pki).with("/certs/own.pem", "nothing"), "own.pem: not a certificate"),
        (files(&pki).with("/certs/own.pem", ""), "own.pem: not a certificate"),
    ] {
        let said = refusal(&files, &text);
        assert!(said.contains(why), "{why}:\n{said}");
        assert!(!said.contains("MIG"), "a key is shown:\n{said}");
    }
    let missing = racoon("192.0.2.2", "certificate_type x509 \"x.pem\" \"x.key\";", &["rsasig"]);
    let said = refusal(&files(&pki), &missing);
    assert!(
        said.contains("racoon.conf:2:") && said.contains("cannot read the certificate /certs/x.pem"),
        "{said}"
    );
    for (option, why) in [
        ("ca_type x509 \"own.pem\";", "has no CA flag"),
        ("ca_type x509 \"none.pem\";", "cannot read the CA certificate /certs/none.pem"),
        ("peers_certfile x509 \"own.key\";", "there is no certificate in the file"),
        ("peers_certfile plain_rsa \"own.pem\";", "own.pem"),
    ] {
        let said = refusal(&files(&pki), &racoon("192.0.2.2", &format!("{X509} {option}"), &["rsasig"]));
        assert!(said.contains(why), "{option}:\n{said}");
    }
    let unnamed = "my_identifier asn1dn; certificate_type plain_rsa \"own.key\";";
    let said = refusal(&files(&pki), &racoon("192.0.2.2", unnamed, &["rsasig"]));
    assert!(said.contains("the certificate's subject, but there is no certificate"), "{said}");
}

#[test]
fn several_certificates_are_kept_in_their_order_and_a_bad_one_is_refused_at_its_place() {
    let (one, two) = (pki(), pki());
    let both = files(&one)
        .with("/etc/two.pem", &two.host.certificate)
        .with("/etc/two.key", two.host.key.expose())
        .with("/etc/ca.pem", &two.authority.certificate);
    let settings = "auth = \"certificate\"\nca = \"ca.pem\"\ncertificates = [\n  { certificate = \"/certs/own.pem\", key = \"/certs/own.key\" },\n  { certificate = \"two.pem\", key = \"two.key\" }]";
    let auth = peer_of_toml(&both, "", settings).unwrap().auth;
    let keys: Vec<_> = auth.keys().collect();
    let der = |pem: &str| Certificate::from_file(pem.as_bytes()).unwrap()[0].der().to_vec();
    let shown: Vec<_> = keys.iter().map(|key| key.certs()[0].data.clone()).collect();
    assert_eq!(shown, [der(&one.host.certificate), der(&two.host.certificate)]);
    // Whoever knows the second authority only asks for the second.
    let stranger = files(&two).with("/etc/own.pem", &two.host.certificate);
    let asks =
        peer_of_toml(&stranger, "", &format!("auth = \"certificate\"\n{OWN}")).unwrap().auth.trust.unwrap();
    let asked: Vec<_> = keys.iter().map(|key| key.is_asked_for(&asks.requests()[0])).collect();
    assert_eq!(asked, [false, true]);

    for (path, octets, place) in [
        ("/etc/two.pem", &b"nothing"[..], "/etc/coati.toml:10:19: error: /etc/two.pem: not a certificate"),
        ("/etc/two.key", b"nothing", "/etc/coati.toml:10:36: error: /etc/two.key: not a valid private key"),
        (
            "/etc/two.key",
            one.host.key.expose(),
            "/etc/coati.toml:10:36: error: /etc/two.key: the private key is not",
        ),
        ("/certs/own.pem", b"nothing", "/etc/coati.toml:9:19: error: /certs/own.pem: not a certificate"),
    ] {
        let said = peer_of_toml(&both.clone().with(path, octets), "", settings).unwrap_err();
        assert!(said.contains(place), "{place}\n{said}");
    }
    // Many peers have the same: what is wrong with it is said once.
    let many = settings.to_owned() + "\n[peer.c]\naddress = \"192.0.2.3\"\n" + settings;
    let shared = format!("[defaults]\n{settings}\n");
    let bad = both.clone().with("/etc/two.key", "nothing");
    let said = peer_of_toml(&bad, &shared, "[peer.c]\naddress = \"192.0.2.3\"").unwrap_err();
    assert_eq!(said.matches("not a valid private key").count(), 1, "{said}");
    let said = peer_of_toml(&bad, "", &many).unwrap_err();
    assert_eq!(said.matches("not a valid private key").count(), 2, "{said}");
}

#[test]
fn the_subject_as_identity_is_that_of_every_certificate() {
    let (one, two) = (pki(), pki());
    let names = [AltName::Dns("b.example.org".to_owned())];
    let (ca, key) = (two.authority.certificate.as_bytes(), two.authority.key.expose());
    let other = make_host(ca, key, &names, KeyKind::P256, YEARS).unwrap();
    for (second, good) in [(&two.host, true), (&other, false)] {
        let files =
            files(&one).with("/etc/two.pem", &second.certificate).with("/etc/two.key", second.key.expose());
        let settings = "auth = \"certificate\"\nid = \"dn\"\ncertificates = [{ certificate = \"/certs/own.pem\", key = \"/certs/own.key\" }, { certificate = \"two.pem\", key = \"two.key\" }]";
        let read = peer_of_toml(&files, "", settings);
        assert_eq!(read.is_ok(), good);
        if let Err(said) = read {
            assert!(said.contains("one is of CN=a.example.org, another of CN=b.example.org"), "{said}");
        }
    }
}

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ike-crypto/testdata/");

fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{DATA}{name}")).unwrap()
}

/// The octets of PEM's first block.
fn der(pem: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = std::str::from_utf8(pem).unwrap();
    let letters = text.lines().filter(|line| !line.starts_with('-')).flat_map(str::bytes);
    let values: Vec<u32> = letters
        .filter_map(|letter| LETTERS.iter().position(|known| *known == letter))
        .map(|value| u32::try_from(value).unwrap())
        .collect();
    let octets = values.chunks(4).flat_map(|group| {
        let bits = group.iter().fold(0, |bits, value| bits << 6 | value) << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    });
    octets.collect()
}

#[test]
fn raw_keys_are_pem_or_der_of_every_kind_and_pin_one_another() {
    for (own, public) in [
        ("ed25519.pem", "ed25519-public.pem"),
        ("p521.pem", "p521-public.pem"),
        ("rsa2048-pkcs1.pem", "rsa2048-public.pem"),
        ("rsa2048.pem", "rsa2048-public.pem"),
    ] {
        let (own, public) = (data(own), data(public));
        for (own, public) in [(own.clone(), public.clone()), (der(&own), der(&public))] {
            let files = files(&pki()).with("/etc/own.key", &*own).with("/etc/b.pub", &*public);
            let settings = "auth = \"raw-key\"\nkey = \"own.key\"\npeer-key = \"b.pub\"";
            let auth = peer_of_toml(&files, "", settings).unwrap().auth;
            let [Proving::Key(key)] = auth.prove.as_slice() else { panic!("{auth:?}") };
            assert_eq!(key.certs()[0].encoding, CertEncoding::RAW_PUBLIC_KEY);
            assert_eq!(key.certs()[0].data, if public[0] == b'-' { der(&public) } else { public });
            let proof = Proof { certs: key.certs().to_vec(), addresses: Vec::new(), shown: String::new() };
            let trust = auth.trust.unwrap();
            let id = Identity::address("192.0.2.2".parse().unwrap()).payload();
            assert_eq!(trust.check(&id, &proof, WallTime(1_800_000_000)), Ok(None));
            assert!(trust.pins(&proof) && auth.binds_address);
        }
    }
}

#[test]
fn several_raw_keys_of_a_peer_may_be_in_several_files_or_in_one() {
    let (one, two) = (data("ed25519-public.pem"), data("p256-public.pem"));
    let files = files(&pki())
        .with("/etc/own.key", &*data("p384.pem"))
        .with("/etc/one", &*one)
        .with("/etc/two", &*two)
        .with("/etc/both", [one, two].concat());
    for (peer_key, count) in [("\"one\"", 1), ("[\"one\", \"two\"]", 2), ("\"both\"", 2)] {
        let settings = format!("auth = \"raw-key\"\nkey = \"own.key\"\npeer-key = {peer_key}");
        let trust = peer_of_toml(&files, "", &settings).unwrap().auth.trust.unwrap();
        assert_eq!(format!("{trust:?}"), format!("Believed(0 authorities, {count} pinned keys)"));
    }
}

#[test]
fn what_is_no_raw_key_is_refused_at_its_place_with_what_it_is() {
    let pki = pki();
    let public = FileFacts { regular: true, owner: 0, mode: 0o644 };
    let good =
        files(&pki).with("/etc/own.key", &*data("ed25519.pem")).with("/etc/b.pub", &*data("p256-public.pem"));
    let settings = "auth = \"raw-key\"\nkey = \"own.key\"\npeer-key = \"b.pub\"";
    assert!(peer_of_toml(&good, "", settings).is_ok());
    let weak = good.clone().with_facts("/etc/own.key", public, data("ed25519.pem"));
    let of = |path: &str, octets: Vec<u8>| good.clone().with(path, octets);
    for (files, why) in [
        (weak, "weak file permission 0644"),
        (
            of("/etc/own.key", data("encrypted.pem")),
            "coati.toml:7:7: error: /etc/own.key: the key is encrypted",
        ),
        (of("/etc/own.key", data("rsa1024.pem")), "an RSA key of 1024 bits"),
        (of("/etc/own.key", data("ed25519-public.pem")), "/etc/own.key: there is no key in the file"),
        (of("/etc/own.key", Vec::new()), "/etc/own.key: error: there is no private key in this file"),
        (of("/etc/b.pub", data("ed25519.pem")), "coati.toml:8:12: error: /etc/b.pub: this is a private key"),
        (of("/etc/b.pub", der(&data("p521.pem"))), "/etc/b.pub: this is a private key"),
        (
            of("/etc/b.pub", pki.host.certificate.clone().into()),
            "/etc/b.pub: this is a certificate and no raw key",
        ),
        (of("/etc/b.pub", vec![0x30, 3, 2, 1, 0]), "/etc/b.pub: not a valid SubjectPublicKeyInfo"),
        (of("/etc/b.pub", b": PUB 0s".to_vec()), "/etc/b.pub:1:7: error: expected a number"),
    ] {
        let said = peer_of_toml(&files, "", settings).unwrap_err();
        assert!(said.contains(why), "{why}\n{said}");
    }
    let said = peer_of_toml(&good, "", &settings.replace("b.pub", "none")).unwrap_err();
    assert!(said.contains("coati.toml:8:12: error: cannot read the public key /etc/none"), "{said}");
}

/// FreeS/WAN's file of a private key in PKCS #1, whose numbers it lists (RFC 8017 appendix A.1.2).
fn plain_rsa(pkcs1: &[u8]) -> String {
    let len = |octets: &[u8]| match *octets {
        [0x82, high, low, ..] => (usize::from(u16::from_be_bytes([high, low])), 3),
        [0x81, len, ..] => (usize::from(len), 2),
        [len, ..] => (usize::from(len), 1),
        [] => panic!("too short"),
    };
    let mut rest = &pkcs1[1 + len(&pkcs1[1..]).1..];
    let mut text = ": RSA {\n".to_owned();
    for name in [
        "",
        "Modulus",
        "PublicExponent",
        "PrivateExponent",
        "Prime1",
        "Prime2",
        "Exponent1",
        "Exponent2",
        "Coefficient",
    ] {
        assert_eq!(rest[0], 2);
        let (len, header) = len(&rest[1..]);
        let number = &rest[1 + header..1 + header + len];
        rest = &rest[1 + header + len..];
        if !name.is_empty() {
            let hex: String = number.iter().map(|octet| format!("{octet:02x}")).collect();
            text += &format!("  {name}: 0x{hex}\n");
        }
    }
    text + "  }\n"
}

#[test]
fn a_private_key_of_racoons_plain_rsa_signs_as_the_same_key_in_pem_does() {
    let pkcs1 = der(&data("rsa2048-pkcs1.pem"));
    let text = plain_rsa(&pkcs1);
    let files = files(&pki()).with("/certs/own.rsa", &text).with("/certs/b.rsa", &text);
    let options = "certificate_type plain_rsa \"own.rsa\"; peers_certfile plain_rsa \"b.rsa\";";
    let (peer, said) = peer(&files, &racoon("192.0.2.2", options, &["rsasig"]));
    let [Proving::Key(own)] = peer.auth.prove.as_slice() else { panic!("{said}") };
    assert_eq!(own.certs()[0].data, der(&data("rsa2048-public.pem")));
    let verifies = Verifies { hashes: vec![SignatureHash::SHA2_256], methods: None };
    let octets = b"the octets to be signed".to_vec();
    let auth = own.sign(&verifies, &octets).unwrap();
    // The private key in the peer's file counts by its public half.
    let id = Identity::address("192.0.2.2".parse().unwrap()).payload();
    let claim = |octets| Claim { id: id.clone(), certs: Vec::new(), auth: auth.clone(), octets };
    let trust = peer.auth.trust.unwrap();
    assert!(trust.verify(&claim(octets), WallTime(1_800_000_000)).is_ok());
    assert!(trust.verify(&claim(b"other octets".to_vec()), WallTime(1_800_000_000)).is_err());
    assert!(!peer.auth.send_cert && !peer.auth.send_certreq);
}

#[test]
fn a_bad_file_in_the_directory_is_named_and_passed_over() {
    let pki = pki();
    let files = files(&pki)
        .with("/certs/99999999.0", "nothing")
        .with("/certs/99999999.r0", "nothing")
        .with("/certs/88888888.0", &pki.host.certificate)
        .with("/certs/notes.txt", "nothing");
    let (peer, said) = peer(&files, &racoon("192.0.2.2", X509, &["rsasig"]));
    assert_eq!(peer.auth.trust.unwrap().requests()[0].authorities.len(), 20);
    for name in ["99999999.0", "99999999.r0", "88888888.0"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert!(!said.contains("notes.txt"), "{said}");
}

#[test]
fn a_remote_that_lets_nobody_in_is_said_so() {
    let pki = pki();
    let files = files(&pki).with("/certs/0123abcd.0", "");
    let (_, said) = peer(&files, &racoon("192.0.2.2", X509, &["rsasig"]));
    assert!(said.contains("no authority is configured"), "{said}");
}

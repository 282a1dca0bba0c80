//! What a peer may try in order to be taken for another one: each attempt gets AUTHENTICATION_FAILED and nothing else, whatever was
//! wrong, and nobody else's SA suffers. Issue by issue with real cryptography where a signature is concerned.

use std::sync::Arc;

use coati_sim::host::WALL;
use coati_sim::null_credential::{NullCertificate, NullKey, NullTrust};
use coati_sim::scenario::{Crypto, Goal, Scenario};
use coati_sim::script::{Fate, Match, Rule, Spoiled};
use coati_sim::trace::Sight;
use coati_sim::{TwoHosts, World, run};
use ike_crypto::DefaultProvider;
use ike_crypto::credential::{Believed, OwnCredential, Pin};
use ike_crypto::pki::{Issued, KeyKind, Validity, make_authority, make_host};
use ike_crypto::sign::SigningKey;
use ike_crypto::x509::{AltName, Certificate, Revocation, TrustStore, Wildcards};
use ike_proto::crypto::credential::{OwnKey, Trust, Verifies};
use ike_proto::output::What;
use ike_proto::policy::identity::Identity;
use ike_proto::policy::peer::{AuthConfig, LocalId, Proving};
use ike_proto::time::{Duration, WallTime};
use ike_proto::wire::registry::{AuthMethod, CertEncoding, ExchangeType, NotifyType};
use ike_proto::wire::{Auth, Cert, CertReq, Header, Payload};

const VALID: Validity = Validity { from: WALL - 100, to: WALL + 1_000_000 };

struct Pki {
    root: Issued,
}

impl Pki {
    fn new() -> Self {
        Self { root: make_authority("Root", KeyKind::P256, VALID).expect("the test's own") }
    }

    fn store(&self) -> Arc<TrustStore> {
        let mut store = TrustStore::new(Revocation::Soft);
        store
            .add_authority(
                Certificate::from_file(self.root.certificate.as_bytes()).expect("the test's own").remove(0),
            )
            .expect("the test's own");
        Arc::new(store)
    }

    /// A host's key and certificate: its name, and its address.
    fn host(&self, name: &str, address: &str, validity: Validity) -> Arc<dyn OwnKey> {
        let names =
            [AltName::Dns(name.to_owned()), AltName::Address(address.parse().expect("the test's own"))];
        let (certificate, key) = (self.root.certificate.as_bytes(), self.root.key.expose());
        let issued = make_host(certificate, key, &names, KeyKind::P256, validity).expect("the test's own");
        let key = SigningKey::from_file(issued.key.expose()).expect("the test's own");
        let chain = Certificate::from_file(issued.certificate.as_bytes()).expect("the test's own");
        Arc::new(OwnCredential::with_certificate(key, chain, self.store()).expect("the test's own"))
    }

    fn believed(&self) -> Arc<dyn Trust> {
        Arc::new(Believed::new(Some(self.store()), Vec::new(), Wildcards::Refused))
    }
}

/// Alpha begins as `alpha.example` at 192.0.2.1 and beta answers, each with a certificate of one authority.
fn two_hosts(pki: &Pki) -> TwoHosts {
    let mut two = TwoHosts::plain();
    for (host, name) in ["alpha.example", "beta.example"].into_iter().enumerate() {
        let address = two.own()[host].to_string();
        two.peers[host].local_id = LocalId::Fixed(Identity::fqdn(name));
        two.peers[host].auth = AuthConfig {
            prove: vec![Proving::Key(pki.host(name, &address, VALID))],
            accept_shared_key: false,
            trust: Some(pki.believed()),
            ..AuthConfig::default()
        };
    }
    two
}

/// A run with real cryptography.
fn real(two: &TwoHosts) -> World {
    let crypto = Crypto::Real(Arc::new(DefaultProvider));
    let limit = Duration::from_secs(20);
    let scenario = Scenario { crypto, goal: Goal::Elapsed, limit, ..two.scenario() };
    run(1, &scenario).verdict().unwrap_or_else(|failure| panic!("{failure}"))
}

fn reasons(world: &World, host: usize) -> Vec<String> {
    let sights = world.trace().sights();
    let said = sights.filter_map(|(_, sight)| match sight {
        Sight::Said { host: by, event, .. } if *by == host => match &event.what {
            What::HandshakeFailed { cause } => Some(cause.clone()),
            _ => None,
        },
        _ => None,
    });
    said.collect()
}

/// How long the answers to IKE_AUTH are that a host sent.
fn answers(world: &World, from: usize) -> Vec<usize> {
    let sights = world.trace().sights();
    let sent = sights.filter_map(|(_, sight)| {
        let Sight::Sent { from: sender, datagram, .. } = sight else { return None };
        let header = Header::read(coati_sim::trace::strip_marker(datagram)).ok()?;
        let answer = header.exchange == ExchangeType::IKE_AUTH && header.flags.is_response();
        (*sender == from && answer).then_some(datagram.len())
    });
    sent.collect()
}

/// The responder refused: nothing was made, its log has the reason, and its answers are as long as the one that says
/// AUTHENTICATION_FAILED and nothing else.
fn assert_refused(what: &str, world: &World, why: &str) {
    assert_eq!((world.counts().ike_sas, world.counts().children), (0, 0), "{what}");
    let said = reasons(world, 1);
    assert!(said.iter().any(|cause| cause.contains(why)), "{what}: {why} is not in {said:?}");
    assert!(said.iter().all(|cause| cause.contains("AUTHENTICATION_FAILED")), "{what}: {said:?}");
    // Header, SK, IV, a Notify of eight octets, the padding and the check value; the marker in front.
    let lengths = answers(world, 1);
    assert!(
        !lengths.is_empty() && lengths.iter().all(|len| *len == 28 + 4 + 8 + 8 + 1 + 16 + 4),
        "{what}: {lengths:?}"
    );
    let told = reasons(world, 0);
    assert!(told.iter().all(|cause| cause.contains("AUTHENTICATION_FAILED")), "{what}: {told:?}");
}

/// A key that does something else than it should.
#[derive(Debug)]
struct Evil {
    inner: Arc<dyn OwnKey>,
    certs: Vec<Cert>,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// As it should.
    Honest,
    /// One bit of the signature is another.
    Flipped,
    /// A signature over other octets.
    Replayed,
    /// The signature under another method.
    Method(AuthMethod),
    /// These octets.
    Octets(AuthMethod, &'static [u8]),
}

impl OwnKey for Evil {
    fn certs(&self) -> &[Cert] {
        &self.certs
    }

    fn is_asked_for(&self, asked: &CertReq) -> bool {
        self.inner.is_asked_for(asked)
    }

    fn suits(&self, _: &Verifies) -> bool {
        true
    }

    fn sign(&self, peer: &Verifies, octets: &[u8]) -> Result<Auth, String> {
        Ok(match self.how {
            How::Honest => self.inner.sign(peer, octets)?,
            How::Flipped => {
                let mut auth = self.inner.sign(peer, octets)?;
                *auth.data.last_mut().expect("the test's own") ^= 1;
                auth
            }
            How::Replayed => self.inner.sign(peer, &[octets, b"!"].concat())?,
            How::Method(method) => Auth { method, ..self.inner.sign(peer, octets)? },
            How::Octets(method, data) => Auth { method, data: data.to_vec() },
        })
    }

    fn not_after(&self) -> Option<WallTime> {
        None
    }
}

/// Alpha with another key, or another certificate.
fn with(two: &TwoHosts, inner: Arc<dyn OwnKey>, certs: Vec<Cert>, how: How) -> TwoHosts {
    let mut two = two.clone();
    two.peers[0].auth.prove = vec![Proving::Key(Arc::new(Evil { inner, certs, how }))];
    two
}

fn x509(der: &[u8]) -> Cert {
    Cert { encoding: CertEncoding::X509_SIGNATURE, data: der.to_vec() }
}

#[test]
fn honest_hosts_of_one_authority_are_let_in_whatever_their_keys_are_called() {
    let world = real(&two_hosts(&Pki::new()));
    assert_eq!((world.counts().ike_sas, world.counts().children), (2, 2));
}

#[test]
fn a_signature_that_is_wrong_or_over_other_octets_or_under_another_method_proves_nothing() {
    let pki = Pki::new();
    let two = two_hosts(&pki);
    let own = pki.host("alpha.example", "192.0.2.1", VALID);
    // What `openssl dgst -sha1` made, under sha1WithRSAEncryption.
    const SHA1: &[u8] = b"\x0f\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00signature";
    const ECDSA_SHA1: &[u8] =
        b"\x0b\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01\x30\x06\x02\x01\x01\x02\x01\x01";
    for (how, why) in [
        (How::Flipped, "signature is wrong"),
        (How::Replayed, "signature is wrong"),
        (How::Method(AuthMethod::ECDSA_256), "signature is wrong"),
        (How::Method(AuthMethod::RSA), "does not go with a key"),
        (How::Method(AuthMethod::NULL), "is not accepted here"),
        (How::Method(AuthMethod::SHARED_KEY), "a signature is expected"),
        (How::Octets(AuthMethod::DIGITAL_SIGNATURE, SHA1), "sha1WithRSAEncryption is never accepted"),
        (How::Octets(AuthMethod::DIGITAL_SIGNATURE, ECDSA_SHA1), "ecdsa-with-SHA1 is never accepted"),
        (How::Octets(AuthMethod::DIGITAL_SIGNATURE, b"\xff"), "not an algorithm and a signature"),
    ] {
        let world = real(&with(&two, Arc::clone(&own), own.certs().to_vec(), how));
        assert_refused(&format!("{how:?}"), &world, why);
    }
}

/// The octets that beta signs are those of the other direction: what it sends back is no proof of alpha.
#[test]
fn a_signature_of_the_other_side_is_none_of_ours() {
    let pki = Pki::new();
    let mut two = two_hosts(&pki);
    // Alpha has beta's key and certificate, and signs as alpha: the certificate names beta.
    let betas = pki.host("beta.example", "192.0.2.2", VALID);
    two.peers[0].auth.prove = vec![Proving::Key(betas)];
    assert_refused("beta's key", &real(&two), "does not name alpha.example");
}

#[test]
fn certificates_of_others_or_of_other_times_or_by_nobody_are_refused() {
    let pki = Pki::new();
    let two = two_hosts(&pki);
    let own = pki.host("alpha.example", "192.0.2.1", VALID);
    let expired = pki.host("alpha.example", "192.0.2.1", Validity { from: WALL - 90, to: WALL - 10 });
    let early = pki.host("alpha.example", "192.0.2.1", Validity { from: WALL + 500, to: WALL + 900 });
    let named = pki.host("mallory.example", "192.0.2.1", VALID);
    let stranger = Pki::new().host("alpha.example", "192.0.2.1", VALID);
    for (key, why) in [
        (&expired, "expired"),
        (&early, "not valid before"),
        (&named, "does not name alpha.example"),
        (&stranger, "signature in the chain"),
    ] {
        let world = real(&with(&two, Arc::clone(key), key.certs().to_vec(), How::Honest));
        assert_refused(why, &world, why);
    }
    // Self-signed, an authority's own, one that issues without being an authority, somebody else's with our signature.
    let alone = rcgen::generate_simple_self_signed(vec!["alpha.example".to_owned()]).unwrap();
    let root = Certificate::from_file(pki.root.certificate.as_bytes()).unwrap().remove(0);
    let below = {
        let own_key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["alpha.example".to_owned()]).unwrap();
        let issuer = rcgen::Issuer::from_params(&params, &alone.signing_key);
        params.signed_by(&own_key, &issuer).unwrap()
    };
    for (certs, why) in [
        (vec![x509(alone.cert.der())], "self-signed"),
        (vec![x509(root.der())], "is an authority's"),
        (vec![x509(below.der()), x509(alone.cert.der())], "is no authority"),
        (vec![named.certs()[0].clone(), own.certs()[0].clone()], "does not name"),
        (vec![x509(&[0x30, 0x03, 1, 2, 3])], "not a certificate"),
        (Vec::new(), "no certificate"),
        (vec![own.certs()[0].clone(); 9], "9 certificates"),
        (vec![own.certs()[0].clone(); 100], "too many payloads"),
    ] {
        let world = real(&with(&two, Arc::clone(&own), certs, How::Honest));
        assert_refused(why, &world, why);
    }
}

/// What is to be fetched, and what is of an encoding that nobody knows, is passed over: nothing is fetched.
#[test]
fn certificates_of_other_encodings_are_passed_over() {
    let pki = Pki::new();
    let two = two_hosts(&pki);
    let own = pki.host("alpha.example", "192.0.2.1", VALID);
    let other = |encoding| Cert { encoding, data: b"01234567890123456789http://192.0.2.9/cert".to_vec() };
    let certs = vec![
        other(CertEncoding::HASH_AND_URL),
        other(CertEncoding::PKCS7_X509),
        own.certs()[0].clone(),
        other(CertEncoding::HASH_AND_URL_BUNDLE),
        other(CertEncoding::OCSP),
        other(CertEncoding(200)),
    ];
    let world = real(&with(&two, Arc::clone(&own), certs, How::Honest));
    assert_eq!((world.counts().ike_sas, world.counts().children), (2, 2));
    let world = real(&with(&two, own, vec![other(CertEncoding::HASH_AND_URL)], How::Honest));
    assert_refused("hash and URL", &world, "no certificate");
}

#[test]
fn an_rsa_key_with_exponent_3_and_a_forged_signature_is_refused_pinned_or_not() {
    let pki = Pki::new();
    let two = two_hosts(&pki);
    let own = pki.host("alpha.example", "192.0.2.1", VALID);
    let pem = include_str!("../../ike-crypto/testdata/rsa-e3-public.pem");
    let der = pem_rfc7468::decode_vec(pem.as_bytes()).unwrap().1;
    let certs = vec![Cert { encoding: CertEncoding::RAW_PUBLIC_KEY, data: der }];
    const FORGED: &[u8] = include_bytes!("../../ike-crypto/testdata/rsa-e3-forged.sig");
    let world = real(&with(&two, own, certs, How::Octets(AuthMethod::RSA, FORGED)));
    assert_refused("e = 3", &world, "exponent");
}

#[test]
fn a_pinned_key_lets_its_holder_in_and_nobody_else() {
    let pki = Pki::new();
    let own = SigningKey::from_file(include_bytes!("../../ike-crypto/testdata/ed25519.pem")).unwrap();
    let other = SigningKey::from_file(include_bytes!("../../ike-crypto/testdata/p256.pem")).unwrap();
    let pins = vec![Pin::Key(Box::new(own.public().clone()))];
    let mut two = two_hosts(&pki);
    two.peers[1].auth.trust = Some(Arc::new(Believed::new(None, pins, Wildcards::Refused)));
    two.peers[0].auth.prove = vec![Proving::Key(Arc::new(OwnCredential::raw(own)))];
    // A raw key says nothing of addresses: the entry for the address does.
    let world = real(&two);
    assert_eq!((world.counts().ike_sas, world.counts().children), (2, 0));
    two.peers[1].auth.binds_address = true;
    let world = real(&two);
    assert_eq!((world.counts().ike_sas, world.counts().children), (2, 2));
    two.peers[0].auth.prove = vec![Proving::Key(Arc::new(OwnCredential::raw(other)))];
    assert_refused("another raw key", &real(&two), "is not pinned");
    two.peers[0].auth.prove = vec![Proving::Key(pki.host("alpha.example", "192.0.2.1", VALID))];
    assert_refused("a certificate", &real(&two), "is not the pinned one");
}

/// A peer with a good certificate of its own calls from another peer's address.
#[test]
fn a_good_certificate_of_another_address_gets_an_ike_sa_and_no_child() {
    let pki = Pki::new();
    let mut two = two_hosts(&pki);
    two.peers[0].local_id = LocalId::Fixed(Identity::fqdn("mallory.example"));
    two.peers[0].auth.prove = vec![Proving::Key(pki.host("mallory.example", "192.0.2.66", VALID))];
    let world = real(&two);
    assert_eq!((world.counts().ike_sas, world.counts().children), (2, 0));
    // Where the entry for the address names alpha, mallory is not even let in.
    two.peers[1].expected_ids = vec![Identity::fqdn("alpha.example")];
    assert_refused("mallory", &real(&two), "another identity is expected");
}

/// A pre-shared key where a certificate is asked for, and a certificate where a pre-shared key is.
#[test]
fn one_way_of_authentication_is_not_taken_for_the_other() {
    let pki = Pki::new();
    let mut two = two_hosts(&pki);
    two.peers[0].auth.prove = vec![Proving::SharedKey];
    assert_refused("a shared key", &real(&two), "a signature is expected");
    // Where alpha has both, beta's announcement decides (RFC 9593).
    let own = pki.host("alpha.example", "192.0.2.1", VALID);
    two.peers[0].auth.prove = vec![Proving::SharedKey, Proving::Key(Arc::clone(&own))];
    let world = real(&two);
    assert_eq!((world.counts().ike_sas, world.counts().children), (2, 2));

    let mut two = two_hosts(&pki);
    two.peers[1].auth = AuthConfig::default();
    let own = pki.host("alpha.example", "192.0.2.1", VALID);
    let world = real(&with(&two, Arc::clone(&own), own.certs().to_vec(), How::Honest));
    assert_refused("a certificate", &world, "a pre-shared key is expected");
}

/// Two hosts whose certificates are null ones, so that somebody with the keys can change what is sealed.
fn null_hosts() -> TwoHosts {
    let mut two = TwoHosts::plain();
    for host in 0..2 {
        let certificate = NullCertificate {
            key: u64::try_from(host).expect("0 or 1"),
            issuer: 7,
            not_after: WALL + 1_000_000,
            address: two.own()[host],
            id: Identity::address(two.own()[host]),
            padding: 100,
        };
        two.peers[host].auth = AuthConfig {
            prove: vec![Proving::Key(NullKey::certified_by(certificate))],
            accept_shared_key: false,
            trust: Some(NullTrust::in_authorities(&[7], &[])),
            ..AuthConfig::default()
        };
    }
    two
}

#[test]
fn auth_missing_or_twice_an_endless_identity_and_a_heap_of_certificates_get_the_same_answer() {
    for (spoiled, why) in [
        (Spoiled::NoAuth, "EAP"),
        (Spoiled::TwoAuths, "two AUTH payloads"),
        (Spoiled::Method(AuthMethod::SHARED_KEY), "a signature is expected"),
        (Spoiled::Method(AuthMethod::RSA), "the signature is wrong"),
        (Spoiled::Identity(300), "the certificate names"),
        (Spoiled::Identity(4_096), "the certificate names"),
        (Spoiled::Identity(4_097), "identification data"),
        (Spoiled::Identity(65_000), "identification data"),
        (Spoiled::Certs(8), "9 certificates"),
    ] {
        let limit = Duration::from_secs(20);
        let mut scenario = Scenario { goal: Goal::Elapsed, limit, ..null_hosts().scenario() };
        let when = Match::request(0, ExchangeType::IKE_AUTH);
        scenario.script.rules.push(Rule::always(when, Fate::Spoil(spoiled)));
        let world = run(1, &scenario).verdict().unwrap_or_else(|failure| panic!("{failure}"));
        assert_refused(&format!("{spoiled:?}"), &world, why);
        let payloads = world.trace().sights().find_map(|(_, sight)| {
            let Sight::Sent { from: 1, datagram, .. } = sight else { return None };
            let (header, payloads) = world.trace().message(datagram)?;
            (header.exchange == ExchangeType::IKE_AUTH).then_some(payloads?)
        });
        let Some([Payload::Notify(only)]) = payloads.as_deref() else { panic!("{spoiled:?}: {payloads:?}") };
        assert_eq!((only.notify_type, only.data.len()), (NotifyType::AUTHENTICATION_FAILED, 0));
    }
}

/// A peer that sets the SA up anew under another name does not take the place of the first one.
#[test]
fn an_identity_that_differs_at_the_next_handshake_replaces_nobody() {
    let pki = Pki::new();
    let mut two = two_hosts(&pki);
    let crypto = Crypto::Real(Arc::new(DefaultProvider));
    let scenario = Scenario { crypto, goal: Goal::Elapsed, ..two.scenario() };
    let mut world = World::new(1, &scenario);
    world.run_for(Duration::from_secs(10));
    two.peers[0].local_id = LocalId::Fixed(Identity::fqdn("mallory.example"));
    two.peers[0].auth.prove = vec![Proving::Key(pki.host("mallory.example", "192.0.2.66", VALID))];
    let mut db = ike_proto::policy::peer_db::PeerDb::new(ike_proto::policy::peer_db::PskTable::default());
    db.insert(Some(two.own()[1]), two.peers[0].clone());
    world.reload(0, Arc::new(db));
    world.act(coati_sim::script::Action::Reauthenticate { host: 0, policy: 0 });
    world.run_for(Duration::from_secs(60));
    let pairs = world.hosts()[1].endpoint.pairs();
    let names: Vec<String> = pairs[0]
        .ike_sas
        .iter()
        .filter(|sa| sa.state == "established")
        .filter_map(|sa| sa.remote_id.as_ref().map(ToString::to_string))
        .collect();
    assert!(names.contains(&"alpha.example".to_owned()), "{names:?}");
    assert!(world.is_flowing() || world.flows()[0].crossed(100), "traffic of the first goes on");
}

//! Who each end is: what is signed, how we prove ourselves, and what a peer's AUTH payload proves (RFC 7296 §2.15, RFC 7427).
//!
//! A pre-shared key is made and verified on the spot, for it costs less than a job. One error and one path for every way in
//! which either can fail.

use std::net::IpAddr;
use std::sync::Arc;

use crate::crypto::credential::{Claim, HASHES, MOST_CERTS, OwnKey, Trust, Verifies};
use crate::crypto::keymat::{SkP, shared_key_auth};
use crate::crypto::provider::Prf;
use crate::error::Error;
use crate::ike_sa::core::Core;
use crate::message::parts::Parts;
use crate::policy::identity::Identity;
use crate::policy::peer::{AuthConfig, Proving};
use crate::policy::peer_db::Credential;
use crate::secret::{self, Secret};
use crate::wire::announce::{self, Announcement};
use crate::wire::registry::{AuthMethod, CertEncoding, NotifyType};
use crate::wire::{Auth, Cert, CertReq, Id, Notify, Payload};

/// CERTREQ payloads of one message that are looked at.
const MOST_CERTREQS: usize = 8;

/// What one end's AUTH is computed over.
pub struct Signed<'a> {
    /// The end's first message.
    pub message: &'a [u8],
    /// The other end's nonce.
    pub nonce: &'a [u8],
    /// The end's identity, as it is on the wire.
    pub id: &'a Id,
    /// The end's `SK_p`.
    pub sk_p: &'a SkP,
}

impl Signed<'_> {
    /// The octets that are signed.
    #[must_use]
    pub fn octets(&self, prf: &dyn Prf) -> Vec<u8> {
        self.sk_p.signed_octets(prf, self.message, self.nonce, &self.id.body())
    }

    fn shared_key(&self, prf: &dyn Prf, key: &Secret) -> Secret {
        shared_key_auth(prf, key, &self.octets(prf))
    }

    /// Our AUTH payload by a pre-shared key.
    #[must_use]
    pub fn by_shared_key(&self, prf: &dyn Prf, key: &Secret) -> Auth {
        Auth { method: AuthMethod::SHARED_KEY, data: self.shared_key(prf, key).expose().to_vec() }
    }

    /// The credential among `keys` that fits the peer's AUTH.
    ///
    /// Without a key, one is made up and fails like a wrong one: nobody learns which identities have keys.
    ///
    /// # Errors
    /// AUTHENTICATION_FAILED.
    pub fn verify(&self, prf: &dyn Prf, auth: &Auth, keys: &[Arc<Secret>]) -> Result<Credential, Error> {
        let unknown = [Arc::new(Secret::new(vec![0; 32]))];
        let tried = if keys.is_empty() { &unknown[..] } else { keys };
        let mut fitting = None;
        for key in tried {
            let same = secret::same(self.shared_key(prf, key).expose(), &auth.data);
            if same && auth.method == AuthMethod::SHARED_KEY && !keys.is_empty() && fitting.is_none() {
                fitting = Some(Credential::SharedKey(Arc::clone(key)));
            }
        }
        fitting.ok_or_else(|| {
            let why = if keys.is_empty() {
                "there is no pre-shared key for the peer".to_owned()
            } else if auth.method != AuthMethod::SHARED_KEY {
                format!("the peer authenticates by {}, a pre-shared key is expected", auth.method)
            } else {
                "the peer's pre-shared key is another one".to_owned()
            };
            Error::authentication(why)
        })
    }
}

/// What a peer says of the proofs that it likes; in IKE_SA_INIT nobody has authenticated it yet, but the AUTH payloads cover it.
#[derive(Debug, Default)]
pub struct Wishes {
    verifies: Verifies,
    asked: Vec<CertReq>,
}

impl Wishes {
    /// Takes in what a message of the peer says.
    pub fn take(&mut self, parts: &Parts) {
        if let Some(notify) = parts.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS) {
            self.verifies.hashes = announce::hashes(notify);
        }
        // RFC 9593 §3.1: an empty notify announces that another one comes, in an exchange that is not done here.
        let methods = parts.notifies().filter(|one| one.notify_type == NotifyType::SUPPORTED_AUTH_METHODS);
        let methods: Vec<Announcement> = methods.flat_map(announce::announced).collect();
        if !methods.is_empty() {
            self.verifies.methods = Some(methods);
        }
        self.asked.extend(parts.certreqs().take(MOST_CERTREQS).cloned());
        self.asked.truncate(MOST_CERTREQS);
    }
}

/// How we prove ourselves in one handshake.
pub enum Means {
    /// By this pre-shared key.
    SharedKey(Arc<Secret>),
    /// By this key, and what the peer verifies.
    Key(Arc<dyn OwnKey>, Verifies),
}

/// Chooses how we prove ourselves: the first way of the configuration that the peer takes; of several keys, one that it asks
/// for. `psk` is the pre-shared key for the peer.
///
/// Where the peer announces (RFC 9593) none of our ways, the first is tried all the same: nobody has authenticated the
/// announcement, and a refusal lets both ends say what is wrong.
///
/// # Errors
/// There is none.
pub fn choose(core: &Core, wishes: &Wishes, psk: impl Fn() -> Option<Arc<Secret>>) -> Result<Means, Error> {
    let announced = wishes.verifies.clone();
    let bare = Verifies { methods: None, ..announced.clone() };
    let found = [announced, bare].into_iter().find_map(|verifies| way(core, wishes, &verifies, &psk));
    found.ok_or_else(|| {
        let ways: Vec<String> = core
            .peer
            .auth
            .prove
            .iter()
            .map(|way| match way {
                Proving::SharedKey => format!("there is no pre-shared key for {}", core.path.remote()),
                Proving::Key(key) => format!("the peer verifies no signature of {key:?}"),
            })
            .collect();
        Error::authentication(ways.join("; "))
    })
}

fn way(
    core: &Core,
    wishes: &Wishes,
    verifies: &Verifies,
    psk: &impl Fn() -> Option<Arc<Secret>>,
) -> Option<Means> {
    let suitable = || core.peer.auth.keys().filter(|key| key.suits(verifies));
    let asked = |key: &&Arc<dyn OwnKey>| wishes.asked.iter().any(|asked| key.is_asked_for(asked));
    core.peer.auth.prove.iter().find_map(|way| match way {
        Proving::SharedKey => psk().filter(|_| verifies.takes(AuthMethod::SHARED_KEY)).map(Means::SharedKey),
        Proving::Key(_) => {
            let chosen = suitable().find(asked).or_else(|| suitable().next())?;
            Some(Means::Key(Arc::clone(chosen), verifies.clone()))
        }
    })
}

/// Who the peer is by its AUTH payload, or what has to be verified for that.
pub enum Judged {
    /// It proved itself by a shared key.
    Proved(Credential),
    /// It shows a signature: a job.
    Slow(Arc<dyn Trust>, Box<Claim>),
}

/// Judges the peer's AUTH payload; `keys` are the pre-shared keys that may prove it.
///
/// # Errors
/// AUTHENTICATION_FAILED.
pub fn judge(
    auth_config: &AuthConfig,
    prf: &dyn Prf,
    signed: &Signed<'_>,
    parts: &Parts,
    keys: impl FnOnce() -> Vec<Arc<Secret>>,
) -> Result<Judged, Error> {
    let auth = parts.auth().map_err(|error| Error::authentication(error.to_string()))?;
    match &auth_config.trust {
        Some(trust) if auth.method != AuthMethod::SHARED_KEY => {
            let claim = Claim {
                id: signed.id.clone(),
                certs: certs(parts)?,
                auth: auth.clone(),
                octets: signed.octets(prf),
            };
            Ok(Judged::Slow(Arc::clone(trust), Box::new(claim)))
        }
        Some(_) if !auth_config.accept_shared_key => {
            Err(Error::authentication("the peer authenticates by a pre-shared key, a signature is expected"))
        }
        _ => signed.verify(prf, auth, &keys()).map(Judged::Proved),
    }
}

/// The certificates and raw keys among the CERT payloads. What is to be fetched from somewhere is not (RFC 7296 §3.6), and
/// what is of another encoding does not matter.
fn certs(parts: &Parts) -> Result<Vec<Cert>, Error> {
    let known = [CertEncoding::X509_SIGNATURE, CertEncoding::RAW_PUBLIC_KEY];
    let usable = || parts.certs().filter(|cert| known.contains(&cert.encoding));
    let count = usable().count();
    if count > MOST_CERTS {
        let why = format!("the peer sent {count} certificates; at most {MOST_CERTS} are looked at");
        return Err(Error::authentication(why));
    }
    Ok(usable().cloned().collect())
}

/// Checks that the peer is one whom the configuration expects at its address.
///
/// # Errors
/// AUTHENTICATION_FAILED.
pub fn expect(core: &Core, identity: &Identity) -> Result<(), Error> {
    core.peer
        .expects(identity)
        .then_some(())
        .ok_or_else(|| Error::authentication(format!("the peer is {identity}, another identity is expected")))
}

/// `N(SIGNATURE_HASH_ALGORITHMS)`, where either end may sign (RFC 7427 §4).
#[must_use]
pub fn hashes(auth: &AuthConfig) -> Option<Payload> {
    auth.uses_signatures().then(|| Payload::Notify(announce::signature_hash_algorithms(&HASHES)))
}

/// `[CERTREQ+,] [N(SUPPORTED_AUTH_METHODS)]`, where the peer may sign, within `room` octets: the requests go first, shortened
/// to the bare wish for a certificate if the list of authorities is too long.
#[must_use]
pub fn requests(auth: &AuthConfig, mut room: usize) -> Vec<Payload> {
    let Some(trust) = &auth.trust else { return Vec::new() };
    let mut payloads = Vec::new();
    let mut add = |payload: Payload, len: usize| {
        let fits = room.checked_sub(len);
        room = fits.unwrap_or(room);
        if fits.is_some() {
            payloads.push(payload);
        }
        fits.is_some()
    };
    for wish in trust.requests().iter().filter(|_| auth.send_certreq) {
        if !add(Payload::CertReq(wish.clone()), 5 + wish.authorities.len()) {
            add(Payload::CertReq(CertReq { encoding: wish.encoding, authorities: Vec::new() }), 5);
        }
    }
    let own = auth.accept_shared_key.then(|| Announcement::of(AuthMethod::SHARED_KEY));
    let methods: Vec<Announcement> = own.into_iter().chain(trust.announces().iter().cloned()).collect();
    let notify: Notify = announce::supported_auth_methods(&methods);
    let len = 8 + notify.data.len();
    add(Payload::Notify(notify), len);
    payloads
}

/// Why a handshake with this peer cannot even begin; `None` if it can.
#[must_use]
pub fn hopeless(
    auth: &AuthConfig,
    peers: &crate::policy::peer_db::PeerDb,
    expected: Option<&Identity>,
    remote: IpAddr,
) -> Option<String> {
    let listed = !peers.keys_for(expected, remote).is_empty();
    let can_prove = auth.keys().next().is_some()
        || (listed && auth.prove.iter().any(|way| matches!(way, Proving::SharedKey)));
    let can_believe = auth.trust.is_some() || (listed && auth.accept_shared_key);
    (!can_prove || !can_believe).then(|| match listed {
        false if auth.keys().next().is_none() || auth.trust.is_none() => {
            format!("couldn't find the pskey for {remote}")
        }
        _ => format!("nothing is configured by which {remote} and this end could prove themselves"),
    })
}

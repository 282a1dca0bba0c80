//! IKE_SA_INIT, both roles (RFC 7296 §1.2, §1.3, §2.6, §2.23).

use crate::crypto::job::Job;
use crate::crypto::keymat::{AuthKeys, Nonces, SkeySeed};
use crate::crypto::suite::{self, IkeSuite};
use crate::error::Error;
use crate::ids::{JobId, Role};
use crate::ike_sa::core::{Common, Core};
use crate::ike_sa::env::{Env, Wanted};
use crate::ike_sa::handshake::auth::{initiator, responder};
use crate::ike_sa::handshake::prove::{self, Wishes};
use crate::ike_sa::handshake::{Handshake, Step};
use crate::ike_sa::path;
use crate::ike_sa::task::NONCE_LEN;
use crate::message::parts::Parts;
use crate::output::{Flow, What};
use crate::policy::proposal::{self, Choice, Offer};
use crate::secret::Secret;
use crate::wire::registry::{ExchangeType, KeId, NotifyType, ProtocolId};
use crate::wire::{Header, Ke, Nonce, Notify, Payload, Sa, write_chain};

/// Cookies a responder may ask for in one attempt.
const MOST_COOKIES: u8 = 3;

/// A message in clear, as it came.
pub struct Received<'a> {
    /// Its header.
    pub header: &'a Header,
    /// Where it came from.
    pub flow: Flow,
    /// Its octets, without the non-ESP marker.
    pub datagram: &'a [u8],
    /// Its payloads.
    pub parts: &'a Parts,
}

/// The first message in its present form, kept while it may have to be sent in another.
struct Attempt {
    wanted: Option<Wanted>,
    ke: KeId,
    /// Its forms so far, each with a key of another method, the last one first. An answer to an older one is as good: who
    /// asked for another method is not authenticated.
    sent: Vec<Sent>,
    ni: Vec<u8>,
    /// The source hash of forced encapsulation: a form with a cookie differs in nothing else (RFC 7296 §2.6).
    forced: Vec<u8>,
    cookie: Option<Vec<u8>>,
    cookies: u8,
    /// What an unauthenticated notify said (RFC 7296 §2.21.1: a hint, not an end).
    hint: Option<String>,
}

/// A form of the first message that was sent.
struct Sent {
    ke: KeId,
    private: Secret,
    public: Vec<u8>,
    request: Vec<u8>,
}

/// Awaiting our key pair.
pub struct Starting {
    attempt: Attempt,
    job: JobId,
}

/// Awaiting the response of IKE_SA_INIT.
pub struct InitSent {
    attempt: Attempt,
}

/// Awaiting the shared secret.
pub struct Finishing {
    wanted: Option<Wanted>,
    job: JobId,
    nonces: Nonces,
    request: Vec<u8>,
    response: Vec<u8>,
    wishes: Wishes,
}

/// Begins a handshake; `wanted` is its first child.
#[must_use]
pub fn initiate(env: &mut Env<'_>, core: &Core, wanted: Option<Wanted>) -> Option<Handshake> {
    let ke = *core.peer.offers.first()?.ke.first()?;
    let ni = env.rng.octets(NONCE_LEN);
    let forced = path::forced_hash(env.rng);
    let attempt = Attempt { wanted, ke, sent: Vec::new(), ni, forced, cookie: None, cookies: 0, hint: None };
    Some(attempt.start(env, core))
}

impl Attempt {
    fn start(self, env: &mut Env<'_>, core: &Core) -> Handshake {
        let job = Job::KeStart { method: self.ke, seed: env.rng.fork() };
        let job = env.job(core.id, job);
        Handshake::Starting(Starting { attempt: self, job })
    }

    /// `HDR, [N(COOKIE),] SAi1, KEi, Ni, N(NAT_DETECTION_*)`.
    fn send(mut self, env: &mut Env<'_>, common: &mut Common, private: Secret, public: Vec<u8>) -> Handshake {
        // An earlier form may be waiting: this one takes its place, and its message id.
        common.window.withdraw();
        let core = &common.core;
        let mut payloads = Vec::new();
        if let Some(cookie) = &self.cookie {
            payloads.push(Payload::Notify(Notify::status(NotifyType::COOKIE, cookie.clone())));
        }
        payloads.extend([
            Payload::Sa(proposal::to_payload(&core.peer.offers, ProtocolId::IKE, &[])),
            Payload::Ke(Ke { method: self.ke, data: public.clone() }),
            Payload::Nonce(Nonce(self.ni.clone())),
        ]);
        let spis = (core.spi_i, core.spi_r);
        let (flow, encap) = (&core.path.flow, core.peer.encap);
        payloads.extend(path::nat_detection(env.provider, &self.forced, spis, flow, encap));
        if core.peer.fragmentation {
            payloads.push(fragmentation_supported());
        }
        payloads.extend(prove::hashes(&core.peer.auth));
        let request = plain(&core.header(ExchangeType::IKE_SA_INIT, 0, false), &payloads);
        Core::transmit(env, core.path.flow, std::slice::from_ref(&request));
        let settings = &env.config.retransmission;
        common.window.sent(env.now, ExchangeType::IKE_SA_INIT, vec![request.clone()], settings, env.rng);
        self.sent.insert(0, Sent { ke: self.ke, private, public, request });
        Handshake::InitSent(InitSent { attempt: self })
    }
}

fn fragmentation_supported() -> Payload {
    Payload::Notify(Notify::status(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new()))
}

/// A responder that makes an IKE SA without a child (RFC 6023 §3).
fn childless_supported() -> Payload {
    Payload::Notify(Notify::status(NotifyType::CHILDLESS_IKEV2_SUPPORTED, Vec::new()))
}

/// Whether both ends put long messages in fragments (RFC 7383 §2.3).
fn agrees_to_fragments(core: &Core, theirs: &Parts) -> bool {
    core.peer.fragmentation && theirs.has(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED)
}

/// A message whose payloads are in clear.
#[must_use]
pub fn plain(header: &Header, payloads: &[Payload]) -> Vec<u8> {
    let mut body = Vec::new();
    let first = write_chain(payloads, &mut body);
    // What we send in clear is a few hundred octets.
    let length = u32::try_from(Header::LEN + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(Header::LEN + body.len());
    Header { first, length, ..*header }.write(&mut message);
    message.extend_from_slice(&body);
    message
}

impl Starting {
    pub(super) const fn job(&self) -> JobId {
        self.job
    }

    pub(super) fn started(
        self,
        env: &mut Env<'_>,
        common: &mut Common,
        private: Secret,
        public: Vec<u8>,
    ) -> Step {
        Step::Await(self.attempt.send(env, common, private, public))
    }

    pub(super) fn into_wanted(self) -> Option<Wanted> {
        self.attempt.wanted
    }

    /// A response came, to an earlier form, while the key of another method is made.
    #[must_use]
    pub fn handle(self, env: &mut Env<'_>, common: &mut Common, received: &Received<'_>) -> Handshake {
        match self.attempt.judge(env, &common.core.peer.offers, received) {
            Ok(found) => self.attempt.accept(env, common, received, found),
            Err(_) => Handshake::Starting(self),
        }
    }
}

/// What an acceptable response holds: the algorithms, the responder's key and its nonce.
type Answer = (Choice<IkeSuite>, Ke, Vec<u8>);

impl InitSent {
    pub(super) fn hint(&self) -> Option<&str> {
        self.attempt.hint.as_deref()
    }

    pub(super) fn into_wanted(self) -> Option<Wanted> {
        self.attempt.wanted
    }

    /// A response came. Nobody has authenticated it: whatever is wrong with it, the attempt goes on.
    #[must_use]
    pub fn handle(mut self, env: &mut Env<'_>, common: &mut Common, received: &Received<'_>) -> Handshake {
        let parts = received.parts;
        if let Some(cookie) = parts.notify(NotifyType::COOKIE).filter(|_| !parts.has_sa()) {
            return self.with_cookie(env, common, cookie.data.clone());
        }
        if let Some(wanted) = parts.notifies().find_map(Notify::wanted_ke).filter(|_| !parts.has_sa()) {
            return self.with_method(env, common, wanted);
        }
        if let Some(notify) = parts.error() {
            self.attempt.hint = Some(format!("the peer answered {} (not authenticated)", notify.notify_type));
            common.core.say(env, What::Note(format!("{} in IKE_SA_INIT, waiting on", notify.notify_type)));
            return Handshake::InitSent(self);
        }
        match self.attempt.judge(env, &common.core.peer.offers, received) {
            Ok(found) => self.attempt.accept(env, common, received, found),
            Err(error) => {
                self.attempt.hint = Some(error.to_string());
                common.core.say(env, What::Note(format!("IKE_SA_INIT response ignored: {error}")));
                Handshake::InitSent(self)
            }
        }
    }

    /// The same request again, the cookie in front (RFC 7296 §2.6).
    fn with_cookie(mut self, env: &mut Env<'_>, common: &mut Common, cookie: Vec<u8>) -> Handshake {
        let attempt = &mut self.attempt;
        let fits = (1..=64).contains(&cookie.len());
        if !fits
            || attempt.cookies >= MOST_COOKIES
            || attempt.cookie.as_ref() == Some(&cookie)
            || attempt.sent.is_empty()
        {
            return Handshake::InitSent(self);
        }
        attempt.cookies += 1;
        attempt.cookie = Some(cookie);
        let Sent { private, public, .. } = attempt.sent.remove(0);
        self.attempt.send(env, common, private, public)
    }

    /// The same proposals with a key of the method the responder likes, if we offered it (RFC 7296 §1.2).
    fn with_method(mut self, env: &mut Env<'_>, common: &mut Common, ke: KeId) -> Handshake {
        let offered = common.core.peer.offers.iter().any(|offer| offer.ke.contains(&ke));
        let tried = self.attempt.sent.iter().any(|sent| sent.ke == ke);
        if !offered || tried {
            self.attempt.hint = Some(format!("the peer wants key exchange method {ke}"));
            return Handshake::InitSent(self);
        }
        self.attempt.ke = ke;
        self.attempt.start(env, &common.core)
    }
}

impl Attempt {
    fn judge(&self, env: &Env<'_>, offers: &[Offer], received: &Received<'_>) -> Result<Answer, Error> {
        let parts = received.parts;
        if received.header.spi_r == crate::ids::IkeSpi::ZERO {
            return Err(Error::malformed("the responder's SPI is zero"));
        }
        let refused =
            || Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, "the peer chose what was not offered");
        let choice = proposal::accept_ike(offers, parts.sa()?).ok_or_else(refused)?;
        let ke = parts.ke()?;
        let (_, reply_len) = suite::ke_lens(ke.method).ok_or_else(refused)?;
        let tried = self.sent.iter().any(|sent| sent.ke == ke.method);
        if ke.method != choice.suite.ke || !tried || ke.data.len() != reply_len {
            return Err(Error::malformed("the KE payload does not fit the chosen method"));
        }
        if env.provider.key_exchange(ke.method).is_none() {
            return Err(refused());
        }
        Ok((choice, ke.clone(), parts.nonce()?.0.clone()))
    }

    fn accept(
        mut self,
        env: &mut Env<'_>,
        common: &mut Common,
        received: &Received<'_>,
        (choice, ke, nr): Answer,
    ) -> Handshake {
        common.window.acknowledge(env.now);
        let core = &mut common.core;
        core.spi_r = received.header.spi_r;
        core.suite = Some(choice.suite);
        core.fragmentation = agrees_to_fragments(core, received.parts);
        core.takes_childless = received.parts.has(NotifyType::CHILDLESS_IKEV2_SUPPORTED);
        let found = path::detect(env.provider, received.parts, core.spis(), &received.flow);
        core.path.decide(found, core.peer.encap);
        if core.path.encap {
            core.path.float(env.config.ports_with(core.path.flow.local.port()).natt);
        }
        // `judge` has found the form this answers.
        let place = self.sent.iter().position(|sent| sent.ke == ke.method).unwrap_or_default();
        let Sent { private, request, .. } = self.sent.swap_remove(place);
        let job = Job::KeFinish { method: ke.method, private, reply: ke.data };
        let job = env.job(core.id, job);
        let mut wishes = Wishes::default();
        wishes.take(received.parts);
        Handshake::Finishing(Finishing {
            wanted: self.wanted,
            job,
            nonces: Nonces { ni: self.ni, nr },
            request,
            response: received.datagram.to_vec(),
            wishes,
        })
    }
}

impl Finishing {
    pub(super) const fn job(&self) -> JobId {
        self.job
    }

    pub(super) fn into_wanted(self) -> Option<Wanted> {
        self.wanted
    }

    pub(super) fn finished(self, env: &mut Env<'_>, common: &mut Common, shared: Secret) -> Step {
        match derive(env, &mut common.core, &self.nonces, shared, Role::Initiator) {
            Some(keys) => {
                let agreed = initiator::Agreed { keys, nonces: self.nonces, response: self.response };
                initiator::begin(env, common, agreed, &self.request, &self.wishes, self.wanted)
            }
            None => Step::Failed(Error::malformed("an algorithm of the suite is missing"), self.wanted),
        }
    }
}

/// SKEYSEED and what follows from it (RFC 7296 §2.14).
fn derive(env: &Env<'_>, core: &mut Core, nonces: &Nonces, shared: Secret, role: Role) -> Option<AuthKeys> {
    let suite = core.suite?;
    let prf = env.provider.prf(suite.prf)?;
    let seed = SkeySeed::initial(prf, nonces, &[shared]);
    let keys = seed.expand(env.provider, &suite, nonces, core.spi_i, core.spi_r)?;
    let (sa, auth) = keys.split(role);
    core.lowest_nonce = nonces.ni.as_slice().min(nonces.nr.as_slice()).to_vec();
    core.keys = Some(sa);
    Some(auth)
}

/// A first request found acceptable; the responder's SA is made from it.
pub struct Request {
    /// The choice among its proposals.
    pub choice: Choice<IkeSuite>,
    /// The initiator's public value.
    pub ke: Ke,
    /// The initiator's nonce.
    pub ni: Vec<u8>,
}

/// Judges a first request, without state and without Diffie-Hellman.
///
/// # Errors
/// INVALID_KE_PAYLOAD, NO_PROPOSAL_CHOSEN, or what is malformed.
pub fn judge_request(peer: &crate::policy::peer::PeerConfig, parts: &Parts) -> Result<Request, Error> {
    let ke = parts.ke()?;
    let ni = parts.nonce()?.0.clone();
    let choice = proposal::choose_ike(&peer.offers, parts.sa()?, Some(ke.method)).ok_or_else(|| {
        Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, "none of the peer's IKE proposals is acceptable")
    })?;
    proposal::expect_key(choice.suite.ke, Some(ke))?;
    Ok(Request { choice, ke: ke.clone(), ni })
}

/// Awaiting our reply's key and the shared secret.
pub struct Responding {
    job: JobId,
    ke: KeId,
    ni: Vec<u8>,
    answer: Sa,
    request: Vec<u8>,
    wishes: Wishes,
}

/// Takes a first request into work, as responder.
#[must_use]
pub fn respond(
    env: &mut Env<'_>,
    common: &mut Common,
    request: Request,
    received: &Received<'_>,
) -> Handshake {
    let core = &mut common.core;
    core.suite = Some(request.choice.suite);
    core.fragmentation = agrees_to_fragments(core, received.parts);
    // The responder's SPI was not known when the initiator made its hashes.
    let spis = (core.spi_i, crate::ids::IkeSpi::ZERO);
    let found = path::detect(env.provider, received.parts, spis, &received.flow);
    core.path.decide(found, core.peer.encap);
    let ke = request.ke.method;
    let job = Job::KeRespond { method: ke, seed: env.rng.fork(), public: request.ke.data };
    let job = env.job(core.id, job);
    common.window.begin();
    let answer = Sa { proposals: vec![request.choice.answer] };
    let mut wishes = Wishes::default();
    wishes.take(received.parts);
    let (ni, request) = (request.ni, received.datagram.to_vec());
    Handshake::Responding(Responding { job, ke, ni, answer, request, wishes })
}

impl Responding {
    pub(super) const fn job(&self) -> JobId {
        self.job
    }

    /// The octets of the request, by which a repetition is known.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// `HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*), [CERTREQ+]`. Nobody is authenticated yet: what asks for proofs is left out, or
    /// shortened, where the answer would be more than twice as long as the request.
    pub(super) fn responded(
        self,
        env: &mut Env<'_>,
        common: &mut Common,
        reply: Vec<u8>,
        shared: Secret,
    ) -> Step {
        let nonces = Nonces { ni: self.ni, nr: env.rng.octets(NONCE_LEN) };
        let core = &mut common.core;
        let Some(keys) = derive(env, core, &nonces, shared, Role::Responder) else {
            return Step::Failed(Error::malformed("an algorithm of the suite is missing"), None);
        };
        let mut payloads = vec![
            Payload::Sa(self.answer),
            Payload::Ke(Ke { method: self.ke, data: reply }),
            Payload::Nonce(Nonce(nonces.nr.clone())),
        ];
        let (spis, flow) = (core.spis(), core.path.flow);
        let forced = path::forced_hash(env.rng);
        payloads.extend(path::nat_detection(env.provider, &forced, spis, &flow, core.peer.encap));
        if core.fragmentation {
            payloads.push(fragmentation_supported());
        }
        payloads.push(childless_supported());
        payloads.extend(prove::hashes(&core.peer.auth));
        let header = core.header(ExchangeType::IKE_SA_INIT, 0, true);
        let mut response = plain(&header, &payloads);
        let wishes =
            prove::requests(&core.peer.auth, (2 * self.request.len()).saturating_sub(response.len()));
        if !wishes.is_empty() {
            payloads.extend(wishes);
            response = plain(&header, &payloads);
        }
        Core::transmit(env, flow, std::slice::from_ref(&response));
        common.window.answered(vec![response.clone()]);
        let agreed = responder::Agreed { keys, nonces, request: self.request, response, wishes: self.wishes };
        Step::Await(Handshake::AuthAwaited(responder::AuthAwaited(agreed)))
    }
}

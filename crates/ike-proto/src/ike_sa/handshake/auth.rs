//! IKE_AUTH with the first child, both roles (RFC 7296 §1.2, §2.15, §2.21.2).

use std::sync::Arc;

use crate::crypto::keymat::{AuthKeys, Nonces};
use crate::error::Error;
use crate::ike_sa::core::{self, Common, Core};
use crate::ike_sa::env::{Env, Signal, Wanted};
use crate::ike_sa::handshake::verify::Signed;
use crate::ike_sa::handshake::{Handshake, Step};
use crate::ike_sa::negotiate::{self, Install, Keyed, Plan};
use crate::message::inventory;
use crate::message::parts::Parts;
use crate::output::{Flow, What};
use crate::policy::identity::Identity;
use crate::policy::peer_db::Credential;
use crate::policy::proposal::Offer;
use crate::secret::Secret;
use crate::wire::registry::{ExchangeType, NotifyType};
use crate::wire::{Notify, Payload};

/// Awaiting the response of IKE_AUTH.
pub struct AuthSent {
    keys: AuthKeys,
    nonces: Nonces,
    response: Vec<u8>,
    psk: Arc<Secret>,
    plan: Option<Plan>,
}

/// The peer's ESP offers as IKE_AUTH has them.
fn first_child_offers(common: &Common) -> Vec<Offer> {
    common.core.peer.child.offers.iter().map(Offer::without_ke).collect()
}

impl AuthSent {
    /// `HDR, SK {IDi, [IDr,] AUTH, [SAi2, TSi, TSr, N(USE_TRANSPORT_MODE)]}`.
    pub(super) fn send(
        env: &mut Env<'_>,
        common: &mut Common,
        keys: AuthKeys,
        nonces: Nonces,
        request: &[u8],
        response: Vec<u8>,
        wanted: Option<Wanted>,
    ) -> Step {
        let core = &common.core;
        let expected = core.peer.expected_ids.first();
        let found = env.peers.keys_for(expected, core.path.remote()).into_iter().next();
        let (Some(psk), Some(prf)) = (found, core.prf(env)) else {
            let why = format!("there is no pre-shared key for {}", core.path.remote());
            return Step::Failed(Error::authentication(why), wanted);
        };
        let id = core.local_id.payload();
        let signed = Signed { message: request, nonce: &nonces.nr, id: &id, sk_p: &keys.own };
        let auth = signed.sign(prf, &psk);
        let mut payloads = vec![Payload::IdI(id)];
        if let [only] = core.peer.expected_ids.as_slice() {
            payloads.push(Payload::IdR(only.payload()));
        }
        payloads.push(Payload::Auth(auth));
        if core.initial_contact {
            payloads.push(Payload::Notify(Notify::status(NotifyType::INITIAL_CONTACT, Vec::new())));
        }
        payloads.extend(crash_token(env, core));
        let plan = match wanted.map(|wanted| Plan::reserve(env, core, wanted, first_child_offers(common))) {
            None => None,
            Some(Ok(plan)) => Some(plan),
            Some(Err(refused)) => {
                let (wanted, error) = *refused;
                if !core.takes_childless {
                    return Step::Failed(error, Some(wanted));
                }
                // RFC 6023: the IKE SA is made without it, and the child is tried again on it.
                child_failed(env, common, Some(wanted), &error.to_string());
                None
            }
        };
        if plan.is_none() && !common.core.takes_childless {
            return Step::Failed(
                Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, "no child is wanted"),
                None,
            );
        }
        payloads.extend(plan.iter().flat_map(Plan::payloads));
        payloads.push(inventory::vendor());
        common.request(env, ExchangeType::IKE_AUTH, &payloads);
        Step::Await(Handshake::AuthSent(Self { keys, nonces, response, psk, plan }))
    }

    pub(super) fn into_wanted(self, env: &mut Env<'_>, common: &Common) -> Option<Wanted> {
        self.plan.map(|plan| plan.abandon(env, &common.core))
    }

    /// The response, its protection verified.
    pub fn handle(self, env: &mut Env<'_>, common: &mut Common, parts: &Parts) -> Step {
        common.window.acknowledge(env.now);
        let (remote_id, credential) = match self.authenticate(env, common, parts) {
            Ok(found) => found,
            Err(refused) => {
                let wanted = self.plan.map(|plan| plan.abandon(env, &common.core));
                return match refused {
                    Refused::ByPeer(error) => Step::Failed(error, wanted),
                    Refused::ByUs(error) => Step::Close(error, wanted),
                };
            }
        };
        common.core.remote_id = Some(remote_id);
        common.core.credential = Some(credential);
        common.core.take_token(parts);
        common.core.take_vendors(parts);
        established(env, common);
        if let Some(plan) = self.plan {
            let keyed = Keyed { nonces: &self.nonces, shared: &[] };
            complete_child(env, common, plan, parts, &keyed);
        }
        Step::Established
    }

    fn authenticate(
        &self,
        env: &Env<'_>,
        common: &Common,
        parts: &Parts,
    ) -> Result<(Identity, Credential), Refused> {
        // An error instead of AUTH: the peer has no SA (RFC 7296 §2.21.2).
        if let (Some(notify), Err(_)) = (parts.error(), parts.auth()) {
            let what = "the peer refused IKE_AUTH";
            return Err(Refused::ByPeer(Error::misbehaved(notify.notify_type, what)));
        }
        let verify = || {
            let (id, auth) = (parts.id_r()?, parts.auth()?);
            let prf = common.core.prf(env).ok_or_else(|| Error::authentication("no keys yet"))?;
            let signed =
                Signed { message: &self.response, nonce: &self.nonces.ni, id, sk_p: &self.keys.peer };
            let credential = signed.verify(prf, auth, std::slice::from_ref(&self.psk))?;
            let identity = Identity::of(id);
            if !common.core.peer.expects(&identity) {
                let why = format!("the peer is {identity}, another identity is expected");
                return Err(Error::authentication(why));
            }
            Ok((identity, credential))
        };
        verify().map_err(Refused::ByUs)
    }
}

/// Which end did not believe the other.
enum Refused {
    ByPeer(Error),
    ByUs(Error),
}

/// Our token for this SA (RFC 6290 §3), where there is a secret to make it with.
pub fn crash_token(env: &Env<'_>, core: &Core) -> Option<Payload> {
    let token = core::token(env.provider, env.qcd_secret?, core.spis())?;
    Some(Payload::Notify(Notify::status(NotifyType::QUICK_CRASH_DETECTION, token)))
}

/// Says that both ends are authenticated.
fn established(env: &mut Env<'_>, common: &mut Common) {
    let core = &mut common.core;
    core.since = env.now;
    core.arm(env);
    if let (Some(suite), Some(remote_id)) = (core.suite, core.remote_id.clone()) {
        let (role, flow, local_id) = (core.role, core.path.flow, core.local_id.clone());
        core.say(env, What::IkeSaUp { role, flow, local_id, remote_id, suite });
    }
    env.signals.push(Signal::Established);
}

/// Installs the child the peer agreed to, or says why there is none; a child the peer alone has is deleted there.
pub fn complete_child(env: &mut Env<'_>, common: &mut Common, plan: Plan, parts: &Parts, keyed: &Keyed<'_>) {
    let choice = plan.accept(parts);
    let peer_has_it = parts.error().is_none() && parts.has_sa();
    let spi_in = plan.spi_in();
    let made =
        choice.and_then(|choice| plan.complete(env, &common.core, parts, &choice, keyed, Install::Both));
    match made {
        Ok(child) => common.children.add(env, &common.core, child),
        Err(error) => {
            let wanted = plan.abandon(env, &common.core);
            if peer_has_it {
                common.tasks.delete_child(spi_in);
            }
            match wanted.single_pair(error.notify()) {
                Ok(single) => common.tasks.create_child(single),
                Err(wanted) => child_failed(env, common, Some(*wanted), &error.to_string()),
            }
        }
    }
}

/// Says that a child could not be made.
pub fn child_failed(env: &mut Env<'_>, common: &Common, wanted: Option<Wanted>, cause: &str) {
    let selector = wanted.as_ref().map(|wanted| wanted.selector);
    common.core.say(env, What::ChildFailed { selector, cause: cause.to_owned() });
    if let Some(wanted) = wanted {
        env.signals.push(Signal::ChildFailed(wanted, cause.to_owned()));
    }
}

/// Awaiting the request of IKE_AUTH.
pub struct AuthAwaited {
    keys: AuthKeys,
    nonces: Nonces,
    request: Vec<u8>,
    response: Vec<u8>,
}

impl AuthAwaited {
    pub(super) const fn new(keys: AuthKeys, nonces: Nonces, request: Vec<u8>, response: Vec<u8>) -> Self {
        Self { keys, nonces, request, response }
    }

    /// The octets of the first request, by which a repetition is known.
    #[must_use]
    pub fn first_request(&self) -> &[u8] {
        &self.request
    }

    /// The request, its protection verified; it is answered in any case.
    pub fn handle(self, env: &mut Env<'_>, common: &mut Common, flow: Flow, parts: &Parts) -> Step {
        // From here on the initiator is where its protected message came from (RFC 7296 §2.23).
        common.core.path.flow = flow;
        match self.authenticate(env, common, parts) {
            Ok(payloads) => {
                common.respond(env, flow, ExchangeType::IKE_AUTH, &payloads);
                Step::Established
            }
            Err(error) => {
                common.respond(env, flow, ExchangeType::IKE_AUTH, &[Payload::Notify(error.told())]);
                Step::Failed(error, None)
            }
        }
    }

    fn authenticate(
        self,
        env: &mut Env<'_>,
        common: &mut Common,
        parts: &Parts,
    ) -> Result<Vec<Payload>, Error> {
        let id = parts.id_i()?;
        if !parts.has_auth() {
            // An initiator that wants EAP leaves AUTH out (RFC 7296 §2.16).
            return Err(Error::authentication("the peer wants EAP, which is not done here"));
        }
        let auth = parts.auth()?;
        let identity = Identity::of(id);
        let prf = common.core.prf(env).ok_or_else(|| Error::authentication("no keys yet"))?;
        let keys = env.peers.keys_for(Some(&identity), common.core.path.remote());
        let signed = Signed { message: &self.request, nonce: &self.nonces.nr, id, sk_p: &self.keys.peer };
        let credential = signed
            .verify(prf, auth, &keys)
            .map_err(|error| Error::authentication(format!("{identity}: {error}")))?;
        if !common.core.peer.expects(&identity) {
            return Err(Error::authentication(format!(
                "the peer is {identity}, another identity is expected"
            )));
        }
        let Credential::SharedKey(psk) = &credential;
        let own = common.core.local_id.payload();
        let signed =
            Signed { message: &self.response, nonce: &self.nonces.ni, id: &own, sk_p: &self.keys.own };
        let mut payloads = vec![Payload::Auth(signed.sign(prf, psk))];
        payloads.insert(0, Payload::IdR(own));
        common.core.remote_id = Some(identity);
        common.core.credential = Some(credential);
        common.core.take_token(parts);
        common.core.take_vendors(parts);
        established(env, common);
        if parts.has(NotifyType::INITIAL_CONTACT) {
            env.signals.push(Signal::InitialContact);
        }
        payloads.extend(crash_token(env, &common.core));
        payloads.extend(self.first_child(env, common, parts));
        payloads.push(inventory::vendor());
        Ok(payloads)
    }

    /// The child's payloads, or the error that stands in their place: the IKE SA is there in any case (RFC 7296 §1.2).
    fn first_child(&self, env: &mut Env<'_>, common: &mut Common, parts: &Parts) -> Vec<Payload> {
        if !parts.has_sa() {
            return Vec::new();
        }
        let keyed = Keyed { nonces: &self.nonces, shared: &[] };
        let offers = first_child_offers(common);
        // The initiator has it when our answer has come; until then another SA of the pair may carry the traffic, if it knows of one.
        let beside = common.core.beside && !parts.has(NotifyType::INITIAL_CONTACT);
        let install = if beside { Install::Beside } else { Install::Both };
        let made = negotiate::judge(env, &common.core, parts, &offers, None)
            .and_then(|accepted| accepted.install(env, &common.core, &keyed, install));
        match made {
            Ok((child, payloads)) => {
                common.children.add(env, &common.core, child);
                payloads
            }
            Err(error) => {
                common.core.say(env, What::ChildFailed { selector: None, cause: error.to_string() });
                let known = error.notify() != NotifyType::INVALID_SYNTAX;
                let notify = if known { error.notify() } else { NotifyType::TS_UNACCEPTABLE };
                vec![Payload::Notify(Notify::status(notify, error.data().to_vec()))]
            }
        }
    }
}

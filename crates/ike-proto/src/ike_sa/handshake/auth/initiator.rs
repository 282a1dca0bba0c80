//! IKE_AUTH as initiator.
//!
//! ```text
//! AuthSigning    we prove ourselves by a key: job
//! AuthSent       --- HDR, SK {IDi, [CERT+,] [CERTREQ+,] AUTH, SAi2, TSi, TSr} -->
//! AuthVerifying <--- HDR, SK {IDr, [CERT+,] AUTH, SAr2, TSi, TSr} ---     the peer shows a signature: job
//! established
//! ```
//!
//! With pre-shared keys the first and the third are left out. While the signature is verified the peer believes in an SA: its
//! requests are not answered, and come again.

use std::sync::Arc;

use super::{
    Authenticated, broken, child_failed, complete_child, crash_token, established, first_child_offers,
};
use crate::crypto::credential::{OwnKey, Verifies};
use crate::crypto::job::{Job, JobDone};
use crate::crypto::keymat::{AuthKeys, Nonces};
use crate::crypto::provider::Fault;
use crate::error::Error;
use crate::ids::JobId;
use crate::ike_sa::core::{Common, Core};
use crate::ike_sa::env::{Env, Wanted};
use crate::ike_sa::handshake::prove::{self, Judged, Means, Signed, Wishes};
use crate::ike_sa::handshake::{Handshake, Step};
use crate::ike_sa::negotiate::{Keyed, Plan};
use crate::ike_sa::standing::Used;
use crate::message::inventory;
use crate::message::parts::Parts;
use crate::policy::identity::Identity;
use crate::secret::Secret;
use crate::wire::registry::{ExchangeType, NotifyType};
use crate::wire::{Auth, Notify, Payload};

/// Octets that our CERTREQ and SUPPORTED_AUTH_METHODS may take in a request that is encrypted, and may be fragmented.
const ROOM: usize = 8192;

/// What IKE_SA_INIT left.
pub struct Agreed {
    /// Keys of the AUTH payloads.
    pub keys: AuthKeys,
    /// Both nonces.
    pub nonces: Nonces,
    /// The responder's first message.
    pub response: Vec<u8>,
}

/// Awaiting our signature.
pub struct AuthSigning {
    agreed: Agreed,
    own: Arc<dyn OwnKey>,
    wanted: Option<Wanted>,
    job: JobId,
}

/// Awaiting the response of IKE_AUTH.
pub struct AuthSent {
    agreed: Agreed,
    /// What the response has to be made with, if we proved ourselves by it.
    psk: Option<Arc<Secret>>,
    own: Option<Used>,
    plan: Option<Plan>,
}

/// Awaiting the verdict on the responder's signature.
pub struct AuthVerifying {
    nonces: Nonces,
    identity: Identity,
    parts: Parts,
    own: Option<Used>,
    plan: Option<Plan>,
    job: JobId,
}

/// Begins IKE_AUTH: with our signature, or at once.
pub fn begin(
    env: &mut Env<'_>,
    common: &mut Common,
    agreed: Agreed,
    request: &[u8],
    wishes: &Wishes,
    wanted: Option<Wanted>,
) -> Step {
    let core = &common.core;
    let Some(prf) = core.prf(env) else {
        return Step::Failed(Error::authentication("no keys yet"), wanted);
    };
    let id = core.local_id.payload();
    let signed = Signed { message: request, nonce: &agreed.nonces.nr, id: &id, sk_p: &agreed.keys.own };
    let listed = || {
        let expected = core.peer.expected_ids.first();
        env.peers.keys_for(expected, core.path.remote()).into_iter().next()
    };
    match prove::choose(core, wishes, listed) {
        Err(error) => Step::Failed(error, wanted),
        Ok(Means::SharedKey(psk)) => {
            let auth = signed.by_shared_key(prf, &psk);
            let sent = AuthSent { agreed, psk: Some(psk), own: None, plan: None };
            sent.send(env, common, auth, wanted)
        }
        Ok(Means::Key(own, verifies)) => {
            let octets = signed.octets(prf);
            Step::Await(Handshake::AuthSigning(AuthSigning::start(
                env, core, agreed, own, verifies, octets, wanted,
            )))
        }
    }
}

impl AuthSigning {
    fn start(
        env: &mut Env<'_>,
        core: &Core,
        agreed: Agreed,
        own: Arc<dyn OwnKey>,
        verifies: Verifies,
        octets: Vec<u8>,
        wanted: Option<Wanted>,
    ) -> Self {
        let job = super::sign(env, core, &own, verifies, octets);
        Self { agreed, own, wanted, job }
    }

    pub(in crate::ike_sa::handshake) const fn job(&self) -> JobId {
        self.job
    }

    pub(in crate::ike_sa::handshake) fn into_wanted(self) -> Option<Wanted> {
        self.wanted
    }

    /// Our signature is there, or there is none.
    pub fn signed(self, env: &mut Env<'_>, common: &mut Common, done: Result<JobDone, Fault>) -> Step {
        match done {
            Ok(JobDone::Signed(Ok(signed))) => {
                let own = Some((self.own, signed.left));
                let sent = AuthSent { agreed: self.agreed, psk: None, own, plan: None };
                sent.send(env, common, signed.auth, self.wanted)
            }
            Ok(JobDone::Signed(Err(why))) => Step::Failed(Error::authentication(why), self.wanted),
            Ok(_) => Step::Failed(broken(Fault::Unsupported), self.wanted),
            Err(fault) => Step::Failed(broken(fault), self.wanted),
        }
    }
}

impl AuthSent {
    /// `HDR, SK {IDi, [IDr,] [CERT+,] AUTH, [CERTREQ+,] [SAi2, TSi, TSr, N(USE_TRANSPORT_MODE)]}`.
    fn send(mut self, env: &mut Env<'_>, common: &mut Common, auth: Auth, wanted: Option<Wanted>) -> Step {
        let core = &common.core;
        let mut payloads = vec![Payload::IdI(core.local_id.payload())];
        payloads.extend(core.peer.only_id().map(|only| Payload::IdR(only.payload())));
        let own = self.own.as_ref().map(|(own, _)| own.as_ref());
        payloads.extend(super::proof(core, auth, own));
        payloads.extend(prove::requests(&core.peer.auth, ROOM));
        if core.initial_contact {
            payloads.push(Payload::Notify(Notify::status(NotifyType::INITIAL_CONTACT, Vec::new())));
        }
        payloads.extend(crash_token(env, core));
        match wanted.map(|wanted| Plan::reserve(env, core, wanted, first_child_offers(common))) {
            None => {}
            Some(Ok(plan)) => self.plan = Some(plan),
            Some(Err(refused)) => {
                let (wanted, error) = *refused;
                if !core.takes_childless {
                    return Step::Failed(error, Some(wanted));
                }
                // RFC 6023: the IKE SA is made without it, and the child is tried again on it.
                child_failed(env, common, Some(wanted), &error.to_string());
            }
        }
        if self.plan.is_none() && !common.core.takes_childless {
            return Step::Failed(
                Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, "no child is wanted"),
                None,
            );
        }
        payloads.extend(self.plan.iter().flat_map(Plan::payloads));
        payloads.push(inventory::vendor());
        common.request(env, ExchangeType::IKE_AUTH, &payloads);
        Step::Await(Handshake::AuthSent(self))
    }

    pub(in crate::ike_sa::handshake) fn into_wanted(
        self,
        env: &mut Env<'_>,
        common: &Common,
    ) -> Option<Wanted> {
        self.plan.map(|plan| plan.abandon(env, &common.core))
    }

    /// The response, its protection verified.
    pub fn handle(self, env: &mut Env<'_>, common: &mut Common, parts: Parts) -> Step {
        common.window.acknowledge(env.now);
        let refused = |env: &mut Env<'_>, common: &Common, plan: Option<Plan>, refused| {
            let wanted = plan.map(|plan| plan.abandon(env, &common.core));
            match refused {
                Refused::ByPeer(error) => Step::Failed(error, wanted),
                Refused::ByUs(error) => Step::Close(error, wanted),
            }
        };
        match self.judge(env, common, &parts) {
            Err(why) => refused(env, common, self.plan, why),
            Ok((identity, Judged::Slow(trust, claim))) => {
                let job = env.job(common.core.id, Job::Verify { trust, claim });
                let Self { agreed, own, plan, .. } = self;
                let nonces = agreed.nonces;
                Step::Await(Handshake::AuthVerifying(AuthVerifying {
                    nonces,
                    identity,
                    parts,
                    own,
                    plan,
                    job,
                }))
            }
            Ok((identity, Judged::Proved(credential))) => {
                let Self { agreed, own, plan, .. } = self;
                let who = Authenticated::by_shared_key(identity, credential, own);
                finish(env, common, who, &agreed.nonces, plan, &parts)
            }
        }
    }

    fn judge(&self, env: &Env<'_>, common: &Common, parts: &Parts) -> Result<(Identity, Judged), Refused> {
        // An error instead of AUTH: the peer has no SA (RFC 7296 §2.21.2).
        if let (Some(notify), Err(_)) = (parts.error(), parts.auth()) {
            let what = "the peer refused IKE_AUTH";
            return Err(Refused::ByPeer(Error::misbehaved(notify.notify_type, what)));
        }
        let judge = || {
            let core = &common.core;
            let id = parts.id_r()?;
            let prf = core.prf(env).ok_or_else(|| Error::authentication("no keys yet"))?;
            let identity = Identity::of(id);
            let Agreed { keys, nonces, response } = &self.agreed;
            let signed = Signed { message: response, nonce: &nonces.ni, id, sk_p: &keys.peer };
            let listed = || match &self.psk {
                Some(psk) => vec![Arc::clone(psk)],
                None => env.peers.keys_for(Some(&identity), core.path.remote()),
            };
            let judged = prove::judge(&core.peer.auth, prf, &signed, parts, listed)?;
            if matches!(judged, Judged::Proved(_)) {
                prove::expect(core, &identity)?;
            }
            Ok((identity, judged))
        };
        judge().map_err(Refused::ByUs)
    }
}

impl AuthVerifying {
    pub(in crate::ike_sa::handshake) const fn job(&self) -> JobId {
        self.job
    }

    pub(in crate::ike_sa::handshake) fn into_wanted(
        self,
        env: &mut Env<'_>,
        common: &Common,
    ) -> Option<Wanted> {
        self.plan.map(|plan| plan.abandon(env, &common.core))
    }

    /// The verdict is there.
    pub fn verified(self, env: &mut Env<'_>, common: &mut Common, done: Result<JobDone, Fault>) -> Step {
        let Self { nonces, identity, parts, own, plan, .. } = self;
        match super::proved(env, &common.core, identity, done) {
            Ok(who) => finish(env, common, Authenticated { own, ..who }, &nonces, plan, &parts),
            Err(error) => Step::Close(error, plan.map(|plan| plan.abandon(env, &common.core))),
        }
    }
}

fn finish(
    env: &mut Env<'_>,
    common: &mut Common,
    who: Authenticated,
    nonces: &Nonces,
    plan: Option<Plan>,
    parts: &Parts,
) -> Step {
    established(env, common, who, parts);
    if let Some(plan) = plan {
        complete_child(env, common, plan, parts, &Keyed { nonces, shared: &[] });
    }
    Step::Established
}

/// Which end did not believe the other.
enum Refused {
    ByPeer(Error),
    ByUs(Error),
}

//! CREATE_CHILD_SA for a new child, both roles (RFC 7296 §1.3.1).
//!
//! ```text
//! initiator                                        responder
//! Keying    (key pair: job, with PFS)
//! Requested  --- SK {SA, Ni, [KEi,] TSi, TSr} -->   Answering (reply and secret: job, with PFS)
//! Agreeing  <--- SK {SA, Nr, [KEr,] TSi, TSr} ---   installed
//!           (secret: job, with PFS)
//! installed
//! ```

use crate::crypto::job::{Job, JobDone};
use crate::crypto::keymat::Nonces;
use crate::crypto::provider::Fault;
use crate::crypto::suite::{self, EspSuite};
use crate::error::Error;
use crate::ids::{JobId, PolicyIndex};
use crate::ike_sa::children::{self, Accepted, Keyed, Plan};
use crate::ike_sa::core::Common;
use crate::ike_sa::env::{Env, Wanted};
use crate::ike_sa::handshake::auth::{child_failed, complete_child};
use crate::message::parts::Parts;
use crate::output::Flow;
use crate::policy::proposal::Choice;
use crate::secret::Secret;
use crate::wire::registry::{ExchangeType, KeId, NotifyType, ProtocolId};
use crate::wire::{Ke, Nonce, Notify, Payload};

/// Octets of our nonces.
const NONCE_LEN: usize = 32;

/// A child of ours in the making.
pub struct Creating {
    plan: Plan,
    ni: Vec<u8>,
    /// Methods that were tried: each is tried once.
    tried: Vec<KeId>,
    stage: Making,
}

enum Making {
    /// Awaiting our key pair.
    Keying(JobId, KeId),
    /// Awaiting the response; with PFS, our method and private value.
    Requested(Option<(KeId, Secret)>),
    /// Awaiting the shared secret; the response is kept.
    Agreeing(JobId, Parts),
}

/// Begins; without PFS the request is sent at once.
pub fn start(env: &mut Env<'_>, common: &mut Common, wanted: Wanted) -> Option<Creating> {
    let offers = common.core.peer.child.offers.clone();
    let pfs = offers.first().and_then(|offer| offer.ke.first().copied());
    let plan = match Plan::reserve(env, &common.core, wanted, offers) {
        Ok(plan) => plan,
        Err(refused) => {
            let (wanted, error) = *refused;
            child_failed(env, common, Some(wanted), &error.to_string());
            return None;
        }
    };
    let ni = env.rng.octets(NONCE_LEN);
    let creating = Creating { plan, ni, tried: Vec::new(), stage: Making::Requested(None) };
    match pfs {
        Some(method) => Some(creating.key(env, common, method)),
        None => Some(creating.send(env, common, None)),
    }
}

impl Creating {
    /// The policy it is for.
    #[must_use]
    pub const fn policy(&self) -> PolicyIndex {
        self.plan.wanted.policy
    }

    /// The job it waits for.
    #[must_use]
    pub const fn job(&self) -> Option<JobId> {
        match &self.stage {
            Making::Keying(job, _) | Making::Agreeing(job, _) => Some(*job),
            Making::Requested(_) => None,
        }
    }

    fn key(mut self, env: &mut Env<'_>, common: &Common, method: KeId) -> Self {
        let job = Job::KeStart { method, seed: env.rng.fork() };
        self.tried.push(method);
        self.stage = Making::Keying(env.job(common.core.id, job), method);
        self
    }

    fn send(mut self, env: &mut Env<'_>, common: &mut Common, own: Option<(Ke, Secret)>) -> Self {
        let mut payloads = self.plan.payloads();
        payloads.insert(1, Payload::Nonce(Nonce(self.ni.clone())));
        let mut kept = None;
        if let Some((ke, private)) = own {
            kept = Some((ke.method, private));
            payloads.insert(2, Payload::Ke(ke));
        }
        common.request(env, ExchangeType::CREATE_CHILD_SA, &payloads);
        self.stage = Making::Requested(kept);
        self
    }

    /// Gives up.
    pub fn abandon(self, env: &mut Env<'_>, common: &Common) -> Wanted {
        self.plan.abandon(env, &common.core)
    }

    fn fail(self, env: &mut Env<'_>, common: &Common, cause: &str) -> Option<Self> {
        let wanted = self.plan.abandon(env, &common.core);
        child_failed(env, common, Some(wanted), cause);
        None
    }

    /// The response came; gives back what is still awaited.
    pub fn handle_response(self, env: &mut Env<'_>, common: &mut Common, parts: &Parts) -> Option<Self> {
        let Making::Requested(own) = self.stage else { return Some(self) };
        let creating = Self { stage: Making::Requested(None), ..self };
        if let Some(wanted) = parts.notifies().find_map(Notify::wanted_ke).filter(|_| !parts.has_sa()) {
            return creating.with_method(env, common, wanted);
        }
        match creating.agree(parts, own) {
            Err(error) => {
                let (has_it, spi) = (parts.has_sa(), creating.plan.spi_in());
                if has_it {
                    common.tasks.delete_child(spi);
                }
                creating.fail(env, common, &error.to_string())
            }
            Ok(Some((choice, private, reply))) => {
                let job = Job::KeFinish { method: choice, private, reply };
                let job = env.job(common.core.id, job);
                Some(Self { stage: Making::Agreeing(job, parts.clone()), ..creating })
            }
            Ok(None) => creating.complete(env, common, parts, &[]),
        }
    }

    /// INVALID_KE_PAYLOAD: the same child once more with a key of the method the peer likes (RFC 7296 §1.3).
    fn with_method(self, env: &mut Env<'_>, common: &Common, method: KeId) -> Option<Self> {
        let offered = common.core.peer.child.offers.iter().any(|offer| offer.ke.contains(&method));
        if offered && !self.tried.contains(&method) {
            return Some(self.key(env, common, method));
        }
        self.fail(env, common, &format!("the peer wants key exchange method {method}"))
    }

    /// Checks the response's algorithms; with PFS, gives what the shared secret is to be made from.
    fn agree(
        &self,
        parts: &Parts,
        own: Option<(KeId, Secret)>,
    ) -> Result<Option<(KeId, Secret, Vec<u8>)>, Error> {
        let choice: Choice<EspSuite> = self.plan.accept(parts)?;
        parts.nonce()?;
        let theirs = parts.optional_ke()?;
        match (choice.suite.ke, own, theirs) {
            (None, _, _) => Ok(None),
            (Some(method), Some((tried, private)), Some(ke))
                if method == tried
                    && ke.method == method
                    && suite::ke_lens(method).is_some_and(|(_, reply)| reply == ke.data.len()) =>
            {
                Ok(Some((method, private, ke.data.clone())))
            }
            _ => Err(Error::malformed("the KE payload does not fit the chosen method")),
        }
    }

    fn complete(
        self,
        env: &mut Env<'_>,
        common: &mut Common,
        parts: &Parts,
        shared: &[Secret],
    ) -> Option<Self> {
        let nr = parts.nonce().map(|nonce| nonce.0.clone()).unwrap_or_default();
        let nonces = Nonces { ni: self.ni, nr };
        complete_child(env, common, self.plan, parts, &Keyed { nonces: &nonces, shared });
        None
    }

    /// A job is done; gives back what is still awaited.
    pub fn handle_job(
        self,
        env: &mut Env<'_>,
        common: &mut Common,
        done: Result<JobDone, Fault>,
    ) -> Option<Self> {
        let Self { plan, ni, tried, stage } = self;
        let creating = Self { plan, ni, tried, stage: Making::Requested(None) };
        match (stage, done) {
            (Making::Keying(_, method), Ok(JobDone::KeStarted { private, public })) => {
                Some(creating.send(env, common, Some((Ke { method, data: public }, private))))
            }
            (Making::Agreeing(_, parts), Ok(JobDone::KeFinished { shared })) => {
                creating.complete(env, common, &parts, &[shared])
            }
            (stage, Err(fault)) => {
                if matches!(stage, Making::Agreeing(..)) {
                    common.tasks.delete_child(creating.plan.spi_in());
                }
                creating.fail(env, common, &format!("key exchange: {fault}"))
            }
            (_, Ok(_)) => creating.fail(env, common, "a job gave what was not asked for"),
        }
    }
}

/// A peer's child whose key exchange is being computed.
pub struct Answering {
    job: JobId,
    method: KeId,
    flow: Flow,
    accepted: Accepted,
    ni: Vec<u8>,
}

/// Judges a request for a new child; without PFS it is answered at once.
///
/// # Errors
/// The error the peer is to be told.
pub fn answer(
    env: &mut Env<'_>,
    common: &mut Common,
    flow: Flow,
    parts: &Parts,
) -> Result<Option<Answering>, Error> {
    let rekey = parts.has(NotifyType::REKEY_SA)
        || parts.sa()?.proposals.iter().any(|proposal| proposal.protocol == ProtocolId::IKE);
    if rekey {
        // RFC 7296 §4: an implementation that does not rekey says so, and the SA is made anew when it ends.
        let what = "an SA is rekeyed by making a new one";
        return Err(Error::incompatible(NotifyType::NO_ADDITIONAL_SAS, what));
    }
    let ni = parts.nonce()?.0.clone();
    let accepted = children::judge(env, &common.core, parts, &common.core.peer.child.offers)?;
    let Some(method) = accepted.ke() else {
        finish(env, common, flow, accepted, ni, None)?;
        return Ok(None);
    };
    let wrong_method = || {
        let what = format!("a key of method {method} is wanted");
        let data = method.0.to_be_bytes().to_vec();
        Error::incompatible(NotifyType::INVALID_KE_PAYLOAD, what).with_data(data)
    };
    let ke = parts.optional_ke()?.filter(|ke| ke.method == method).ok_or_else(wrong_method)?;
    if suite::ke_lens(method).is_none_or(|(public, _)| public != ke.data.len()) {
        return Err(Error::malformed("the KE payload's length is not its method's"));
    }
    let job = Job::KeRespond { method, seed: env.rng.fork(), public: ke.data.clone() };
    let job = env.job(common.core.id, job);
    Ok(Some(Answering { job, method, flow, accepted, ni }))
}

/// Installs the child and answers.
fn finish(
    env: &mut Env<'_>,
    common: &mut Common,
    flow: Flow,
    accepted: Accepted,
    ni: Vec<u8>,
    own: Option<(Ke, Secret)>,
) -> Result<(), Error> {
    let nonces = Nonces { ni, nr: env.rng.octets(NONCE_LEN) };
    let (ke, shared) = own.unzip();
    let shared: Vec<Secret> = shared.into_iter().collect();
    let keyed = Keyed { nonces: &nonces, shared: &shared };
    let (child, mut payloads) = accepted.install(env, &common.core, &keyed)?;
    payloads.insert(1, Payload::Nonce(Nonce(nonces.nr.clone())));
    if let Some(ke) = ke {
        payloads.insert(2, Payload::Ke(ke));
    }
    common.children.add(env, &common.core, child);
    common.respond(env, flow, ExchangeType::CREATE_CHILD_SA, &payloads);
    Ok(())
}

impl Answering {
    /// The job it waits for.
    #[must_use]
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// The job is done: the request is answered.
    pub fn handle_job(self, env: &mut Env<'_>, common: &mut Common, done: Result<JobDone, Fault>) {
        let Self { method, flow, accepted, ni, .. } = self;
        let made = match done {
            Ok(JobDone::KeResponded { reply, shared }) => {
                let own = (Ke { method, data: reply }, shared);
                finish(env, common, flow, accepted, ni, Some(own))
            }
            Ok(_) => Err(super::temporary_failure()),
            // A public value outside its group is the peer's mistake, but not one to end the IKE SA for.
            Err(fault) => {
                Err(Error::misbehaved(NotifyType::INVALID_SYNTAX, format!("key exchange: {fault}")))
            }
        };
        if let Err(error) = made {
            common.refuse(env, flow, ExchangeType::CREATE_CHILD_SA, &error);
        }
    }
}

//! CREATE_CHILD_SA for a child, new or in the place of another, both roles (RFC 7296 §1.3.1).
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
use crate::crypto::suite;
use crate::error::Error;
use crate::ids::{ChildId, JobId, PolicyIndex};
use crate::ike_sa::core::Common;
use crate::ike_sa::env::{Env, Signal, Wanted};
use crate::ike_sa::handshake::auth::child_failed;
use crate::ike_sa::negotiate::{self, Accepted, Install, Keyed, Plan};
use crate::ike_sa::task::{After, NONCE_LEN, collision, rekey_child, temporary_failure};
use crate::message::parts::Parts;
use crate::output::Flow;
use crate::policy::proposal;
use crate::secret::Secret;
use crate::wire::registry::{ExchangeType, KeId, NotifyType, ProtocolId};
use crate::wire::{Ke, Nonce, Notify, Payload};

/// A child of ours in the making.
pub struct Creating {
    plan: Plan,
    ni: Vec<u8>,
    /// Methods that were tried: each is tried once.
    tried: Vec<KeId>,
    /// The child in whose place it is made.
    replaces: Option<ChildId>,
    /// What the peer made in the same place meanwhile.
    crossing: Option<Crossing>,
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

/// A child the peer made while ours was under way.
struct Crossing {
    child: ChildId,
    nonces: Nonces,
}

/// Begins a child that takes no other's place.
pub fn start(env: &mut Env<'_>, common: &mut Common, wanted: Wanted) -> Option<Creating> {
    begin(env, common, wanted, None)
}

/// Begins a child; without PFS the request is sent at once.
pub fn begin(
    env: &mut Env<'_>,
    common: &mut Common,
    wanted: Wanted,
    replaces: Option<ChildId>,
) -> Option<Creating> {
    let offers = common.core.peer.child.offers.clone();
    let pfs = offers.first().and_then(|offer| offer.ke.first().copied());
    let plan = match Plan::reserve(env, &common.core, wanted, offers) {
        Ok(plan) => plan,
        Err(refused) => {
            let (wanted, error) = *refused;
            match replaces {
                Some(old) => rekey_child::refused(env, common, old, wanted, NotifyType::TEMPORARY_FAILURE),
                None => child_failed(env, common, Some(wanted), &error.to_string()),
            }
            return None;
        }
    };
    let mut plan = plan;
    plan.at_least = replaces.and_then(|old| common.children.get(old)).map(|old| old.selector);
    let ni = env.rng.octets(NONCE_LEN);
    let stage = Making::Requested(None);
    let creating = Creating { plan, ni, tried: Vec::new(), replaces, crossing: None, stage };
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

    /// The child in whose place it is made.
    #[must_use]
    pub const fn replaces(&self) -> Option<ChildId> {
        self.replaces
    }

    /// The child that the peer made in the same place meanwhile.
    #[must_use]
    pub fn crossing_child(&self) -> Option<ChildId> {
        self.crossing.as_ref().map(|crossing| crossing.child)
    }

    /// Whether its request has been sent.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        !matches!(self.stage, Making::Keying(..))
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
        // A new exchange has a new nonce (RFC 7296 §3.9).
        self.ni = env.rng.octets(NONCE_LEN);
        self.tried.push(method);
        self.stage = Making::Keying(env.job(common.core.id, job), method);
        self
    }

    fn send(mut self, env: &mut Env<'_>, common: &mut Common, own: Option<(Ke, Secret)>) -> Self {
        let old = self.replaces.and_then(|old| common.children.get(old)).map(|child| child.spi_in);
        let mut payloads = Vec::new();
        if let Some(spi) = old {
            let rekey = Notify::about_child(NotifyType::REKEY_SA, ProtocolId::ESP, spi);
            payloads.push(Payload::Notify(rekey));
        } else {
            // What was to be replaced is gone meanwhile: then this is a new child.
            self.replaces = None;
        }
        let mut rest = self.plan.payloads().into_iter();
        payloads.extend(rest.next());
        payloads.push(Payload::Nonce(Nonce(self.ni.clone())));
        let mut kept = None;
        if let Some((ke, private)) = own {
            kept = Some((ke.method, private));
            payloads.push(Payload::Ke(ke));
        }
        payloads.extend(rest);
        common.request(env, ExchangeType::CREATE_CHILD_SA, &payloads);
        self.stage = Making::Requested(kept);
        self
    }

    /// Gives up; what was wanted comes back, unless it was only to replace what is there.
    pub fn abandon(self, env: &mut Env<'_>, common: &Common) -> Option<Wanted> {
        let replaces = self.replaces;
        Some(self.plan.abandon(env, &common.core)).filter(|_| replaces.is_none())
    }

    fn fail(self, env: &mut Env<'_>, common: &mut Common, error: &Error) -> Option<Self> {
        let (replaces, crossed) = (self.replaces, self.crossing.is_some());
        let wanted = self.plan.abandon(env, &common.core);
        match replaces {
            Some(old) if crossed => common.children.supersede(env, old),
            Some(old) => rekey_child::refused(env, common, old, wanted, error.notify()),
            // The peer has made what we wanted.
            None if crossed => {}
            None => match wanted.single_pair(error.notify()) {
                Ok(single) => common.tasks.create_child(single),
                Err(wanted) => {
                    child_failed(env, common, Some(*wanted), &error.to_string());
                    common.note_refusal(env, error.notify());
                }
            },
        }
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
                if parts.has_sa() {
                    common.tasks.delete_child(creating.plan.spi_in());
                }
                creating.fail(env, common, &error)
            }
            Ok(Some((method, private, reply))) => {
                let job = env.job(common.core.id, Job::KeFinish { method, private, reply });
                Some(Self { stage: Making::Agreeing(job, parts.clone()), ..creating })
            }
            Ok(None) => creating.complete(env, common, parts, &[]),
        }
    }

    /// INVALID_KE_PAYLOAD: the same child once more with a key of the method the peer likes (RFC 7296 §1.3).
    fn with_method(self, env: &mut Env<'_>, common: &mut Common, method: KeId) -> Option<Self> {
        let offered = common.core.peer.child.offers.iter().any(|offer| offer.ke.contains(&method));
        // Where the peer has made a successor meanwhile, nothing is left to ask for.
        if offered && self.crossing.is_none() && !self.tried.contains(&method) {
            return Some(self.key(env, common, method));
        }
        let what = format!("the peer wants key exchange method {method}");
        self.fail(env, common, &Error::incompatible(NotifyType::INVALID_KE_PAYLOAD, what))
    }

    /// Checks the response's algorithms; with PFS, gives what the shared secret is to be made from.
    fn agree(
        &self,
        parts: &Parts,
        own: Option<(KeId, Secret)>,
    ) -> Result<Option<(KeId, Secret, Vec<u8>)>, Error> {
        let choice = self.plan.accept(parts)?;
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

    /// Both ends have what they need. Of two children in one place, the one with the lowest nonce is deleted by who made it
    /// (RFC 7296 §2.8.1), and the old one by who made the other.
    fn complete(
        self,
        env: &mut Env<'_>,
        common: &mut Common,
        parts: &Parts,
        shared: &[Secret],
    ) -> Option<Self> {
        let Self { plan, ni, replaces, crossing, .. } = self;
        let nr = parts.nonce().map(|nonce| nonce.0.clone()).unwrap_or_default();
        let nonces = Nonces { ni, nr };
        let crossing = crossing.filter(|crossing| common.children.get(crossing.child).is_some());
        let loses = crossing.as_ref().is_some_and(|crossing| {
            let theirs = (crossing.nonces.ni.as_slice(), crossing.nonces.nr.as_slice());
            collision::ours_loses((&nonces.ni, &nonces.nr), theirs)
        });
        let install = if loses { Install::InboundOnly } else { Install::Both };
        let keyed = Keyed { nonces: &nonces, shared };
        let made = plan
            .accept(parts)
            .and_then(|choice| plan.complete(env, &common.core, parts, &choice, &keyed, install));
        match made {
            Ok(child) => {
                let id = child.id;
                common.note_service();
                common.children.add(env, &common.core, child);
                if loses {
                    common.tasks.retire_child(id);
                    // The peer's successor stays, and the peer deletes the old one.
                    if let Some(old) = replaces {
                        common.children.supersede(env, old);
                    }
                } else {
                    if let Some(crossing) = crossing {
                        common.children.supersede(env, crossing.child);
                    }
                    if let Some(old) = replaces {
                        common.children.supersede(env, old);
                        common.tasks.retire_child(old);
                    }
                }
            }
            Err(error) => {
                common.tasks.delete_child(plan.spi_in());
                let stage = Making::Requested(None);
                let tried = Vec::new();
                let failed = Self { plan, ni: nonces.ni, tried, replaces, crossing, stage };
                return failed.fail(env, common, &error);
            }
        }
        None
    }

    /// A job is done; gives back what is still awaited.
    pub fn handle_job(
        self,
        env: &mut Env<'_>,
        common: &mut Common,
        done: Result<JobDone, Fault>,
    ) -> Option<Self> {
        let Self { plan, ni, tried, replaces, crossing, stage } = self;
        let creating = Self { plan, ni, tried, replaces, crossing, stage: Making::Requested(None) };
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
                creating.fail(env, common, &Error::malformed(format!("key exchange: {fault}")))
            }
            (_, Ok(_)) => creating.fail(env, common, &Error::malformed("a job gave what was not asked for")),
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
    rekey: Option<Notify>,
}

/// Judges a request for a child; without PFS it is answered at once.
///
/// # Errors
/// The error the peer is to be told.
pub fn answer(
    env: &mut Env<'_>,
    common: &mut Common,
    flow: Flow,
    parts: &Parts,
) -> Result<Option<Answering>, Error> {
    if common.tasks.rekeys_ike() {
        // RFC 7296 §2.25.2: the child would be made on an SA that is about to go.
        return Err(temporary_failure());
    }
    if !parts.has(NotifyType::REKEY_SA) && common.children.are_many(env, &common.core) {
        return Err(Error::incompatible(NotifyType::NO_ADDITIONAL_SAS, "the IKE SA has enough children"));
    }
    if let Some(predecessor) = common.core.predecessor {
        // Both ends rekeyed the IKE SA, and the peer knows already which successor stays.
        env.signals.push(Signal::Claim(predecessor));
        return Err(temporary_failure());
    }
    let rekey = parts.notify(NotifyType::REKEY_SA).cloned();
    let mut replaces = None;
    if let Some(notify) = &rekey {
        let (old, crosses) = rekey_child::judge(common, notify)?;
        replaces = common.children.get(old).map(|child| child.selector);
        // What we have not asked for yet, we need not ask for any more.
        if crosses
            && let Some(unsent) = common.tasks.drop_unsent()
            && unsent.replaces() == Some(old)
        {
            unsent.abandon(env, common);
        }
    }
    let ni = parts.nonce()?.0.clone();
    let accepted = negotiate::judge(env, &common.core, parts, &common.core.peer.child.offers, replaces)?;
    let Some(method) = accepted.ke() else {
        finish(env, common, flow, accepted, ni, rekey.as_ref(), None)?;
        return Ok(None);
    };
    let ke = proposal::expect_key(method, parts.optional_ke()?)?;
    let job = Job::KeRespond { method, seed: env.rng.fork(), public: ke.data.clone() };
    let job = env.job(common.core.id, job);
    Ok(Some(Answering { job, method, flow, accepted, ni, rekey }))
}

/// Installs the child and answers.
fn finish(
    env: &mut Env<'_>,
    common: &mut Common,
    flow: Flow,
    accepted: Accepted,
    ni: Vec<u8>,
    rekey: Option<&Notify>,
    own: Option<(Ke, Secret)>,
) -> Result<(), Error> {
    // Judged anew: while the key was computed, ours may have come to its end.
    let old = rekey.map(|notify| rekey_child::judge(common, notify)).transpose()?;
    let nonces = Nonces { ni, nr: env.rng.octets(NONCE_LEN) };
    let (ke, shared) = own.unzip();
    let shared: Vec<Secret> = shared.into_iter().collect();
    let keyed = Keyed { nonces: &nonces, shared: &shared };
    let install = match old {
        Some(_) => Install::InboundFirst,
        None => accepted.install_at_once(env, &common.core, &common.children),
    };
    let (child, mut payloads) = accepted.install(env, &common.core, &keyed, install)?;
    payloads.insert(1, Payload::Nonce(Nonce(nonces.nr.clone())));
    if let Some(ke) = ke {
        payloads.insert(2, Payload::Ke(ke));
    }
    let (id, policy, selector) = (child.id, child.policy, child.selector);
    let twins = common.children.iter().filter(|twin| twin.policy == policy && twin.selector == selector);
    let twins: Vec<ChildId> = twins.filter(|twin| twin.serves()).map(|twin| twin.id).collect();
    common.children.add(env, &common.core, child);
    let same = |creating: &Creating| match old {
        Some((old, _)) => creating.replaces == Some(old),
        None => creating.replaces.is_none() && creating.policy() == policy,
    };
    // Ours may have begun while the peer's key was computed; what is not asked for yet need not be any more.
    let unsent = common.tasks.creating().is_some_and(|creating| same(creating) && !creating.is_sent());
    if let Some(unsent) = unsent.then(|| common.tasks.drop_unsent()).flatten() {
        unsent.abandon(env, common);
    }
    if let Some(creating) = common.tasks.creating().filter(|creating| same(creating)) {
        // Ours is under way: which of the two stays is known when its answer comes.
        creating.crossing = Some(Crossing { child: id, nonces });
    } else {
        match old {
            Some((old, _)) => common.children.supersede(env, old),
            // The peer wants a second child where it has one: it has lost the first.
            None => twins.into_iter().for_each(|twin| common.children.supersede(env, twin)),
        }
    }
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
    pub fn handle_job(self, env: &mut Env<'_>, common: &mut Common, done: Result<JobDone, Fault>) -> After {
        let Self { method, flow, accepted, ni, rekey, .. } = self;
        let made = match done {
            Ok(JobDone::KeResponded { reply, shared }) => {
                let own = (Ke { method, data: reply }, shared);
                finish(env, common, flow, accepted, ni, rekey.as_ref(), Some(own))
            }
            Ok(_) => Err(temporary_failure()),
            // RFC 6989 §2.5: a public value outside its group is fatal for the IKE SA.
            Err(fault) => Err(Error::malformed(format!("key exchange: {fault}"))),
        };
        match made {
            Ok(()) => After::GoOn,
            Err(error) => common.refuse(env, flow, ExchangeType::CREATE_CHILD_SA, &error),
        }
    }
}

//! CREATE_CHILD_SA that rekeys the IKE SA, both roles (RFC 7296 §1.3.2, §2.8, §2.18).
//!
//! ```text
//! initiator                                        responder
//! Keying    (key pair: job)
//! Requested  --- SK {SA, Ni, KEi} -->              Answering (reply and secret: job)
//! Agreeing  <--- SK {SA, Nr, KEr} ---              has the successor, which takes the children
//!           (secret: job)
//! has the successor, which takes the children
//!            --- SK {D(IKE)} -->                   the old SA is gone
//!           <--- SK {} ---
//! ```
//!
//! In the successor, the initiator is the one of this exchange, whoever it was before.

use crate::crypto::job::{Job, JobDone};
use crate::crypto::keymat::{Nonces, SkeySeed};
use crate::crypto::provider::Fault;
use crate::crypto::suite::{self, IkeSuite};
use crate::error::Error;
use crate::ids::{IkeSpi, JobId, Role, SaId};
use crate::ike_sa::IkeSa;
use crate::ike_sa::core::{Common, Core, told_token};
use crate::ike_sa::env::{Env, Signal};
use crate::ike_sa::handshake::auth::crash_token;
use crate::ike_sa::task::collision::{self, Ours, Theirs, Verdict};
use crate::ike_sa::task::{After, NONCE_LEN, temporary_failure};
use crate::message::parts::Parts;
use crate::output::{Flow, What};
use crate::policy::proposal::{self, Choice};
use crate::secret::Secret;
use crate::wire::registry::{ExchangeType, KeId, NotifyType, ProtocolId};
use crate::wire::{Ke, Nonce, Notify, Payload, Sa};

/// Our successor of the IKE SA in the making.
pub struct Rekeying {
    spi: IkeSpi,
    ni: Vec<u8>,
    tried: Vec<KeId>,
    crossing: Option<Crossing>,
    /// Whether the peer has deleted the old SA meanwhile.
    outlived: bool,
    stage: Making,
}

enum Making {
    /// Awaiting our key pair.
    Keying(JobId, KeId),
    /// Awaiting the response.
    Requested(KeId, Secret),
    /// Awaiting the shared secret.
    Agreeing(JobId, Box<Agreed>),
}

/// What the response said.
struct Agreed {
    choice: Choice<IkeSuite>,
    nr: Vec<u8>,
    /// The peer's token for the successor (RFC 6290).
    token: Option<Secret>,
}

/// The successor the peer made while ours was under way.
struct Crossing {
    sa: SaId,
    nonces: Nonces,
}

/// Begins.
pub fn start(env: &mut Env<'_>, common: &Common) -> Option<Rekeying> {
    let method = *common.core.peer.offers.first()?.ke.first()?;
    let ni = env.rng.octets(NONCE_LEN);
    let spi = env.ike_spi();
    Some(
        Rekeying {
            spi,
            ni,
            tried: Vec::new(),
            crossing: None,
            outlived: false,
            stage: key(env, common, method),
        }
        .tries(method),
    )
}

fn key(env: &mut Env<'_>, common: &Common, method: KeId) -> Making {
    let job = Job::KeStart { method, seed: env.rng.fork() };
    Making::Keying(env.job(common.core.id, job), method)
}

/// The successor's SPI in a proposal of the peer.
fn spi_of(octets: &[u8]) -> Result<IkeSpi, Error> {
    let spi = <[u8; 8]>::try_from(octets).map(u64::from_be_bytes).unwrap_or_default();
    if spi == 0 { Err(Error::malformed("the successor's SPI is not one")) } else { Ok(IkeSpi(spi)) }
}

/// The successor: keys from the old SK_d (RFC 7296 §2.18), everything else as it was.
fn successor(
    env: &mut Env<'_>,
    old: &Core,
    role: Role,
    spis: (IkeSpi, IkeSpi),
    suite: IkeSuite,
    nonces: &Nonces,
    shared: Secret,
) -> Option<IkeSa> {
    let old_prf = old.prf(env)?;
    let seed = SkeySeed::rekeyed(old_prf, &old.keys.as_ref()?.sk_d, nonces, &[shared]);
    let keys = seed.expand(env.provider, &suite, nonces, spis.0, spis.1)?;
    let (keys, _) = keys.split(role);
    let core = Core::successor(env, old, role, spis, suite, keys);
    Some(IkeSa::established(core))
}

impl Rekeying {
    fn tries(mut self, method: KeId) -> Self {
        self.tried.push(method);
        self
    }

    /// The job it waits for.
    #[must_use]
    pub const fn job(&self) -> Option<JobId> {
        match &self.stage {
            Making::Keying(job, _) | Making::Agreeing(job, ..) => Some(*job),
            Making::Requested(..) => None,
        }
    }

    /// The old SA is deleted by the peer. Tells whether the successor is to come all the same: the peer has it already.
    pub const fn outlive(&mut self) -> bool {
        self.outlived = matches!(self.stage, Making::Agreeing(..));
        self.outlived
    }

    /// Our SPI in the successor.
    #[must_use]
    pub const fn spi(&self) -> IkeSpi {
        self.spi
    }

    /// The successor the peer made meanwhile.
    #[must_use]
    pub fn crossing_sa(&self) -> Option<SaId> {
        self.crossing.as_ref().map(|crossing| crossing.sa)
    }

    fn send(mut self, env: &mut Env<'_>, common: &mut Common, ke: Ke, private: Secret) -> Self {
        let spi = self.spi.0.to_be_bytes();
        let method = ke.method;
        let payloads = [
            Payload::Sa(proposal::to_payload(&common.core.peer.offers, ProtocolId::IKE, &spi)),
            Payload::Nonce(Nonce(self.ni.clone())),
            Payload::Ke(ke),
        ];
        common.request(env, ExchangeType::CREATE_CHILD_SA, &payloads);
        self.stage = Making::Requested(method, private);
        self
    }

    /// It came to nothing: the peer's successor takes its place if there is one, else it is tried again after a pause.
    fn fail(self, env: &mut Env<'_>, common: &mut Common, error: &Error) -> (Option<Self>, After) {
        if let Some(crossing) = self.crossing {
            env.signals.push(Signal::HandOver(crossing.sa));
            return (None, if self.outlived { After::Gone } else { After::Yield });
        }
        if self.outlived {
            return (None, After::Lost("deleted by the peer".to_owned()));
        }
        // Children first: theirs is the traffic, and they have a hard limit.
        let refusals = common.core.refusals.saturating_add(2);
        common.core.refusals = refusals;
        common.core.rekey_at = common.try_again(env, refusals, error.notify());
        common.note_refusal(env, error.notify());
        common.core.say(env, What::Note(format!("the rekey of the IKE SA is put off: {error}")));
        (None, After::GoOn)
    }

    /// The response came; gives back what is still awaited, and what became of the old SA.
    pub fn handle_response(
        self,
        env: &mut Env<'_>,
        common: &mut Common,
        parts: &Parts,
    ) -> (Option<Self>, After) {
        let Self { spi, ni, tried, crossing, outlived, stage } = self;
        let Making::Requested(method, private) = stage else {
            return (Some(Self { spi, ni, tried, crossing, outlived, stage }), After::GoOn);
        };
        let wanted = parts.notifies().find_map(Notify::wanted_ke).filter(|_| !parts.has_sa());
        let offers = &common.core.peer.offers;
        if let Some(wanted) = wanted
            && offers.iter().any(|offer| offer.ke.contains(&wanted))
            && !tried.contains(&wanted)
        {
            let stage = key(env, common, wanted);
            return (Some(Self { spi, ni, tried, crossing, outlived, stage }.tries(wanted)), After::GoOn);
        }
        let agree = || {
            if let Some(notify) = parts.error() {
                return Err(Error::incompatible(
                    notify.notify_type,
                    "the peer refused the rekey of the IKE SA",
                ));
            }
            let refused =
                || Error::misbehaved(NotifyType::NO_PROPOSAL_CHOSEN, "the peer chose what was not offered");
            let choice = proposal::accept_ike(offers, parts.sa()?).ok_or_else(refused)?;
            spi_of(&choice.spi)?;
            let ke = parts.ke()?;
            let fits = suite::ke_lens(method).is_some_and(|(_, reply)| reply == ke.data.len());
            if choice.suite.ke != method || ke.method != method || !fits {
                return Err(Error::malformed("the KE payload does not fit the chosen method"));
            }
            Ok((choice, ke.data.clone(), parts.nonce()?.0.clone()))
        };
        match agree() {
            Ok((choice, reply, nr)) => {
                let job = env.job(common.core.id, Job::KeFinish { method, private, reply });
                let token = told_token(parts);
                let stage = Making::Agreeing(job, Box::new(Agreed { choice, nr, token }));
                (Some(Self { spi, ni, tried, crossing, outlived, stage }), After::GoOn)
            }
            Err(error) => {
                let failed =
                    Self { spi, ni, tried, crossing, outlived, stage: Making::Requested(method, private) };
                failed.fail(env, common, &error)
            }
        }
    }

    /// A job is done; gives back what is still awaited, and what became of the old SA.
    pub fn handle_job(
        self,
        env: &mut Env<'_>,
        common: &mut Common,
        done: Result<JobDone, Fault>,
    ) -> (Option<Self>, After) {
        let Self { spi, ni, tried, crossing, outlived, stage } = self;
        match (stage, done) {
            (Making::Keying(_, method), Ok(JobDone::KeStarted { private, public })) => {
                let stage = Making::Requested(method, Secret::default());
                let rekeying = Self { spi, ni, tried, crossing, outlived, stage };
                (Some(rekeying.send(env, common, Ke { method, data: public }, private)), After::GoOn)
            }
            (Making::Agreeing(_, agreed), Ok(JobDone::KeFinished { shared })) => {
                let Agreed { choice, nr, token } = *agreed;
                let made = Made { spi, nonces: Nonces { ni, nr }, choice, shared, peer_token: token };
                let after = made.complete(env, common, crossing.as_ref());
                // There is nothing left to delete.
                let gone = outlived && matches!(after, After::Retire | After::Yield);
                (None, if gone { After::Gone } else { after })
            }
            (stage, _) => {
                let failed = Self { spi, ni, tried, crossing, outlived, stage };
                failed.fail(env, common, &temporary_failure())
            }
        }
    }
}

/// All that the successor is made from.
struct Made {
    spi: IkeSpi,
    nonces: Nonces,
    choice: Choice<IkeSuite>,
    shared: Secret,
    peer_token: Option<Secret>,
}

impl Made {
    /// Both ends have what they need. Of two successors, the one with the lowest nonce is deleted by who made it (§2.8.1).
    fn complete(self, env: &mut Env<'_>, common: &Common, crossing: Option<&Crossing>) -> After {
        let Ok(spi_r) = spi_of(&self.choice.spi) else { return After::GoOn };
        let (spis, suite) = ((self.spi, spi_r), self.choice.suite);
        let made = successor(env, &common.core, Role::Initiator, spis, suite, &self.nonces, self.shared);
        let Some(mut sa) = made else { return After::GoOn };
        sa.common.core.peer_token = self.peer_token;
        sa.common.window.learn(&common.window);
        sa.common.tasks.give_token();
        let lost_to = crossing.filter(|crossing| {
            let theirs = (crossing.nonces.ni.as_slice(), crossing.nonces.nr.as_slice());
            collision::ours_loses((&self.nonces.ni, &self.nonces.nr), theirs)
        });
        match lost_to {
            Some(crossing) => {
                sa.delete(env, "both ends rekeyed, the other successor stays");
                env.signals.push(Signal::Successor { sa: Box::new(sa), inherits: false });
                env.signals.push(Signal::HandOver(crossing.sa));
                After::Yield
            }
            None => {
                env.signals.push(Signal::Successor { sa: Box::new(sa), inherits: true });
                // The peer may never learn of it: if our answer is lost, our DELETE of the old SA ends its asking.
                env.signals.extend(crossing.map(|crossing| Signal::Lost(crossing.sa)));
                After::Retire
            }
        }
    }
}

/// A peer's successor whose key exchange is being computed.
pub struct Answering {
    job: JobId,
    flow: Flow,
    ni: Vec<u8>,
    choice: Choice<IkeSuite>,
}

/// How a peer's rekey of the IKE SA is served; `Ok(true)` if ours is under way too.
fn judge(common: &Common) -> Result<bool, Error> {
    let ours = if common.tasks.rekeys_ike() { Ours::Rekeying } else { Ours::Idle };
    match collision::ike(ours, Theirs::Rekey, common.tasks.is_about_a_child()) {
        Verdict::Serve => Ok(false),
        Verdict::ServeAndCompare => Ok(true),
        Verdict::Refuse(notify) => Err(Error::incompatible(notify, "an exchange about a child is under way")),
        Verdict::AnswerEmpty | Verdict::ServeAndForgetRekey => Err(temporary_failure()),
    }
}

/// Judges a request to rekey the IKE SA; it is answered when its key is computed.
///
/// # Errors
/// The error the peer is to be told.
pub fn answer(env: &mut Env<'_>, common: &Common, flow: Flow, parts: &Parts) -> Result<Answering, Error> {
    judge(common)?;
    let ke = parts.ke()?;
    let offers = &common.core.peer.offers;
    let choice = proposal::choose_ike(offers, parts.sa()?, Some(ke.method)).ok_or_else(|| {
        Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, "none of the peer's IKE proposals is acceptable")
    })?;
    spi_of(&choice.spi)?;
    let method = choice.suite.ke;
    proposal::expect_key(method, Some(ke))?;
    let ni = parts.nonce()?.0.clone();
    let job = Job::KeRespond { method, seed: env.rng.fork(), public: ke.data.clone() };
    Ok(Answering { job: env.job(common.core.id, job), flow, ni, choice })
}

impl Answering {
    /// The job it waits for.
    #[must_use]
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// The job is done: the request is answered.
    pub fn handle_job(self, env: &mut Env<'_>, common: &mut Common, done: Result<JobDone, Fault>) -> After {
        let flow = self.flow;
        match self.finish(env, common, done) {
            Ok(after) => after,
            Err(error) => common.refuse(env, flow, ExchangeType::CREATE_CHILD_SA, &error),
        }
    }

    fn finish(
        self,
        env: &mut Env<'_>,
        common: &mut Common,
        done: Result<JobDone, Fault>,
    ) -> Result<After, Error> {
        // Judged anew: while the key was computed, ours may have begun or come to its end.
        let crosses = judge(common)?;
        let (reply, shared) = match done {
            Ok(JobDone::KeResponded { reply, shared }) => (reply, shared),
            Ok(_) => return Err(temporary_failure()),
            Err(fault) => {
                // RFC 6989 §2.5: fatal for the old SA too.
                return Err(Error::malformed(format!("key exchange: {fault}")));
            }
        };
        let nonces = Nonces { ni: self.ni, nr: env.rng.octets(NONCE_LEN) };
        let (spi_i, spi_r) = (spi_of(&self.choice.spi)?, env.ike_spi());
        let suite = self.choice.suite;
        let mut sa = successor(env, &common.core, Role::Responder, (spi_i, spi_r), suite, &nonces, shared)
            .ok_or_else(temporary_failure)?;
        sa.common.window.learn(&common.window);
        let mut answer = self.choice.answer;
        answer.spi = spi_r.0.to_be_bytes().to_vec();
        let mut payloads = vec![
            Payload::Sa(Sa { proposals: vec![answer] }),
            Payload::Nonce(Nonce(nonces.nr.clone())),
            Payload::Ke(Ke { method: suite.ke, data: reply }),
        ];
        payloads.extend(crash_token(env, &sa.common.core));
        common.respond(env, self.flow, ExchangeType::CREATE_CHILD_SA, &payloads);
        let id = sa.common.core.id;
        sa.common.core.predecessor = crosses.then_some(common.core.id);
        env.signals.push(Signal::Successor { sa: Box::new(sa), inherits: !crosses });
        if crosses && let Some(rekeying) = common.tasks.rekeying_ike() {
            rekeying.crossing = Some(Crossing { sa: id, nonces });

            return Ok(After::GoOn);
        }
        Ok(After::Yield)
    }
}

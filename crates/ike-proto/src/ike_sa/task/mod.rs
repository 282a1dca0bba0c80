//! Exchanges of an established SA: a queue by priority, at most one of ours under way, one file for each exchange.

pub mod collision;
pub mod create_child;
pub mod delete;
pub mod liveness;
pub mod rekey_child;
pub mod rekey_ike;

use std::collections::VecDeque;

use crate::crypto::job::JobDone;
use crate::crypto::provider::Fault;
use crate::error::{self, Error, Reaction, Stage};
use crate::ids::{ChildId, ChildSpi, IkeSpi, JobId, PolicyIndex};
use crate::ike_sa::core::Common;
use crate::ike_sa::env::{Env, Signal, Wanted};
use crate::message::parts::Parts;
use crate::output::{Flow, What};
use crate::time::{Duration, Instant};
use crate::wire::Payload;
use crate::wire::registry::{ExchangeType, NotifyType, ProtocolId};

/// Octets of our nonces: at least half of the longest prf key (RFC 7296 §2.10).
pub const NONCE_LEN: usize = 32;

/// Something to be done with a request of ours.
#[derive(Debug)]
enum Todo {
    /// Tell the peer that we do not send on an SA any more and are about not to receive on it.
    DeleteChild(ChildSpi),
    /// Delete a child that has a successor.
    RetireChild(ChildId),
    /// Ask whether the peer is there.
    Liveness,
    /// Give the peer our token for a successor.
    Token,
    /// Make the IKE SA's successor.
    RekeyIke,
    /// Make a child's successor.
    RekeyChild(ChildId),
    /// Make a child.
    CreateChild(Wanted),
}

impl Todo {
    /// Lower goes first: delete, liveness, rekey, create.
    const fn priority(&self) -> u8 {
        match self {
            Self::DeleteChild(_) | Self::RetireChild(_) => 0,
            Self::Liveness | Self::Token => 1,
            Self::RekeyIke | Self::RekeyChild(_) => 2,
            Self::CreateChild(_) => 3,
        }
    }
}

/// What is under way as our request.
enum Active {
    Creating(Box<create_child::Creating>),
    RekeyingIke(Box<rekey_ike::Rekeying>),
    DeletingChild(ChildSpi),
    RetiringChild(ChildId),
    Liveness,
}

impl Active {
    fn job(&self) -> Option<JobId> {
        match self {
            Self::Creating(creating) => creating.job(),
            Self::RekeyingIke(rekeying) => rekeying.job(),
            Self::DeletingChild(_) | Self::RetiringChild(_) | Self::Liveness => None,
        }
    }
}

/// A peer's request whose answer waits for a job.
enum Answering {
    Child(Box<create_child::Answering>),
    Ike(Box<rekey_ike::Answering>),
}

impl Answering {
    const fn job(&self) -> JobId {
        match self {
            Self::Child(answering) => answering.job(),
            Self::Ike(answering) => answering.job(),
        }
    }
}

/// What an exchange means for the IKE SA itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum After {
    /// Nothing.
    GoOn,
    /// It ends; the peer knows.
    End(String),
    /// The peer has ended it because something is wrong with it.
    Lost(String),
    /// It has a successor, and we delete it.
    Retire,
    /// It has a successor, and the peer deletes it.
    Yield,
    /// It is deleted, and its successor has all that was its.
    Gone,
}

/// The exchanges of one IKE SA.
#[derive(Default)]
pub struct Tasks {
    queue: VecDeque<Todo>,
    active: Option<Active>,
    inbound: Option<Answering>,
}

impl Tasks {
    fn push(&mut self, todo: Todo) {
        let place = self.queue.iter().position(|queued| queued.priority() > todo.priority());
        self.queue.insert(place.unwrap_or(self.queue.len()), todo);
    }

    /// Queues a DELETE of the child we receive on under `spi`, on which nothing is sent any more.
    pub fn delete_child(&mut self, spi: ChildSpi) {
        self.push(Todo::DeleteChild(spi));
    }

    /// Queues a DELETE of a child that is still in the kernel.
    pub fn retire_child(&mut self, id: ChildId) {
        if !self.queue.iter().any(|todo| matches!(todo, Todo::RetireChild(queued) if *queued == id)) {
            self.push(Todo::RetireChild(id));
        }
    }

    /// Queues a question whether the peer is there; one is enough, and any request of ours is one.
    pub fn check_liveness(&mut self) {
        if self.is_idle() {
            self.push(Todo::Liveness);
        }
    }

    /// Queues our token of quick crash detection, which the rekey's request could not hold.
    pub fn give_token(&mut self) {
        self.push(Todo::Token);
    }

    /// Queues the IKE SA's rekey; one is enough.
    pub fn rekey_ike(&mut self) {
        let active = matches!(self.active, Some(Active::RekeyingIke(_)));
        if !active && !self.queue.iter().any(|todo| matches!(todo, Todo::RekeyIke)) {
            self.push(Todo::RekeyIke);
        }
    }

    /// Queues a child's rekey; one is enough.
    pub fn rekey_child(&mut self, id: ChildId) {
        if !self.rekeys(id)
            && !self.queue.iter().any(|todo| matches!(todo, Todo::RekeyChild(child) if *child == id))
        {
            self.push(Todo::RekeyChild(id));
        }
    }

    /// Queues a child; one for the same policy that is queued or under way is enough.
    pub fn create_child(&mut self, wanted: Wanted) {
        if !self.makes(wanted.policy) {
            self.push(Todo::CreateChild(wanted));
        }
    }

    /// Whether a child for `policy` is queued or under way.
    #[must_use]
    pub fn makes(&self, policy: PolicyIndex) -> bool {
        matches!(&self.active, Some(Active::Creating(creating)) if creating.policy() == policy)
            || self
                .queue
                .iter()
                .any(|todo| matches!(todo, Todo::CreateChild(wanted) if wanted.policy == policy))
    }

    /// Whether our rekey of this child is under way.
    #[must_use]
    pub fn rekeys(&self, child: ChildId) -> bool {
        matches!(&self.active, Some(Active::Creating(creating)) if creating.replaces() == Some(child))
    }

    /// Whether our DELETE of this child, which has a successor, is under way.
    #[must_use]
    pub fn retires(&self, child: ChildId) -> bool {
        matches!(self.active, Some(Active::RetiringChild(retiring)) if retiring == child)
    }

    /// Whether our rekey of this child is under way and the peer has made a successor too.
    #[must_use]
    pub fn has_crossed(&self, child: ChildId) -> bool {
        self.rekeys(child)
            && matches!(&self.active, Some(Active::Creating(creating)) if creating.crossing_child().is_some())
    }

    /// Whether our rekey of the IKE SA is under way.
    #[must_use]
    pub const fn rekeys_ike(&self) -> bool {
        matches!(self.active, Some(Active::RekeyingIke(_)))
    }

    /// Whether `spi` is to be ours in a successor of the IKE SA that is being made.
    #[must_use]
    pub fn proposes(&self, spi: IkeSpi) -> bool {
        matches!(&self.active, Some(Active::RekeyingIke(rekeying)) if rekeying.spi() == spi)
    }

    /// Whether a request of ours about a child is under way.
    #[must_use]
    const fn is_about_a_child(&self) -> bool {
        matches!(self.active, Some(Active::Creating(_) | Active::DeletingChild(_) | Active::RetiringChild(_)))
    }

    /// Whether anything about a child is under way or queued, at either end's wish.
    #[must_use]
    pub fn touch_children(&self) -> bool {
        let queued = |todo: &Todo| !matches!(todo, Todo::Liveness | Todo::Token);
        self.is_about_a_child()
            || self.rekeys_ike()
            || self.inbound.is_some()
            || self.queue.iter().any(queued)
    }

    /// The child we are making, if that is what is under way.
    fn creating(&mut self) -> Option<&mut create_child::Creating> {
        match &mut self.active {
            Some(Active::Creating(creating)) => Some(creating),
            _ => None,
        }
    }

    /// The IKE SA we are making, if that is what is under way.
    fn rekeying_ike(&mut self) -> Option<&mut rekey_ike::Rekeying> {
        match &mut self.active {
            Some(Active::RekeyingIke(rekeying)) => Some(rekeying),
            _ => None,
        }
    }

    /// Gives up what is under way if its request has not been sent.
    fn drop_unsent(&mut self) -> Option<create_child::Creating> {
        match self
            .active
            .take_if(|active| matches!(active, Active::Creating(creating) if !creating.is_sent()))
        {
            Some(Active::Creating(creating)) => Some(*creating),
            _ => None,
        }
    }

    /// Takes what is queued, for the IKE SA's successor.
    #[must_use]
    pub fn hand_over(&mut self) -> Self {
        Self { queue: std::mem::take(&mut self.queue), ..Self::default() }
    }

    /// Takes over what a predecessor had queued.
    pub fn inherit(&mut self, predecessor: Self) {
        predecessor
            .queue
            .into_iter()
            .filter(|todo| !matches!(todo, Todo::RekeyIke))
            .for_each(|todo| self.push(todo));
    }

    /// Whether `job` is waited for here.
    #[must_use]
    pub fn awaits(&self, job: JobId) -> bool {
        self.active.as_ref().and_then(Active::job) == Some(job)
            || self.inbound.as_ref().is_some_and(|answering| answering.job() == job)
    }

    /// Whether nothing is queued or under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.active.is_none() && self.inbound.is_none()
    }

    /// Whether what is under way is only the question whether the peer is there.
    #[must_use]
    pub const fn is_checking(&self) -> bool {
        matches!(self.active, Some(Active::Liveness))
    }
}

impl Common {
    /// Starts what is next in the queue, if nothing of ours is under way.
    pub fn advance(&mut self, env: &mut Env<'_>) {
        while self.tasks.active.is_none() && !self.window.is_busy() {
            // The peer's successor of the IKE SA is being made: what can wait is begun there.
            let hold = matches!(self.tasks.inbound, Some(Answering::Ike(_)));
            if self.tasks.queue.front().is_some_and(|todo| hold && todo.priority() > 1) {
                return;
            }
            let Some(todo) = self.tasks.queue.pop_front() else { return };
            // Nearly always empty in thousands of SAs: it holds no memory then.
            if self.tasks.queue.is_empty() {
                self.tasks.queue = VecDeque::new();
            }
            self.tasks.active = match todo {
                Todo::DeleteChild(spi) => {
                    delete::request_child(env, self, spi);
                    Some(Active::DeletingChild(spi))
                }
                Todo::RetireChild(id) => {
                    delete::retire_child(env, self, id).then_some(Active::RetiringChild(id))
                }
                Todo::Liveness => {
                    liveness::request(env, self);
                    Some(Active::Liveness)
                }
                Todo::Token => liveness::give_token(env, self).then_some(Active::Liveness),
                Todo::RekeyIke => rekey_ike::start(env, self).map(|new| Active::RekeyingIke(Box::new(new))),
                Todo::RekeyChild(id) => {
                    rekey_child::start(env, self, id).map(|new| Active::Creating(Box::new(new)))
                }
                Todo::CreateChild(wanted) => {
                    create_child::start(env, self, wanted).map(|new| Active::Creating(Box::new(new)))
                }
            };
        }
    }

    /// A response to our request came.
    pub fn handle_response(&mut self, env: &mut Env<'_>, parts: &Parts) -> After {
        self.window.acknowledge(env.now);
        if let Some(fatal) = parts.error().filter(|notify| notify.notify_type == NotifyType::INVALID_SYNTAX) {
            // RFC 7296 §2.21.3: it has deleted the SA, without an exchange of its own.
            return After::Lost(format!("the peer answered {}", fatal.notify_type));
        }
        let mut after = After::GoOn;
        self.tasks.active = match self.tasks.active.take() {
            Some(Active::Creating(creating)) => {
                creating.handle_response(env, self, parts).map(|next| Active::Creating(Box::new(next)))
            }
            Some(Active::RekeyingIke(rekeying)) => {
                let (next, then) = rekeying.handle_response(env, self, parts);
                after = then;
                next.map(|next| Active::RekeyingIke(Box::new(next)))
            }
            Some(Active::RetiringChild(id)) => {
                after = delete::retired(env, self, id);
                None
            }
            Some(Active::Liveness) => {
                liveness::answered(env, self, parts);
                None
            }
            Some(Active::DeletingChild(spi)) => {
                self.children.stop_receiving(env.now, |child| child.spi_in == spi);
                None
            }
            None => None,
        };
        self.go_on(env, after)
    }

    /// A request of the peer came; it is answered now, or when its job is done.
    pub fn handle_request(
        &mut self,
        env: &mut Env<'_>,
        flow: Flow,
        exchange: ExchangeType,
        parts: &Parts,
    ) -> After {
        match exchange {
            ExchangeType::CREATE_CHILD_SA => {
                let ike = |proposal: &crate::wire::Proposal| proposal.protocol == ProtocolId::IKE;
                let answered = match parts.sa() {
                    Ok(sa) if sa.proposals.iter().any(ike) => rekey_ike::answer(env, self, flow, parts)
                        .map(|answering| Some(Answering::Ike(Box::new(answering)))),
                    Ok(_) => create_child::answer(env, self, flow, parts)
                        .map(|answering| answering.map(|waiting| Answering::Child(Box::new(waiting)))),
                    Err(error) => Err(error),
                };
                match answered {
                    Ok(answering) => self.tasks.inbound = answering,
                    Err(error) => return self.refuse(env, flow, exchange, &error),
                }
                After::GoOn
            }
            ExchangeType::INFORMATIONAL => delete::handle_informational(env, self, flow, parts),
            _ => {
                let error = Error::malformed(format!("{exchange} has no place in an established SA"));
                self.refuse(env, flow, exchange, &error)
            }
        }
    }

    /// Answers a request with the error it deserves.
    pub fn refuse(&mut self, env: &mut Env<'_>, flow: Flow, exchange: ExchangeType, error: &Error) -> After {
        self.respond(env, flow, exchange, &[Payload::Notify(error.told())]);
        self.core.say(env, What::Note(format!("{exchange} refused: {error}")));
        match error::reaction(error, Stage::Request) {
            Reaction::NotifyAndClose => After::End(error.to_string()),
            _ => After::GoOn,
        }
    }

    /// Goes on with a job's result.
    pub fn handle_task_job(&mut self, env: &mut Env<'_>, job: JobId, done: Result<JobDone, Fault>) -> After {
        match self.tasks.inbound.take_if(|answering| answering.job() == job) {
            Some(Answering::Child(answering)) => {
                let after = answering.handle_job(env, self, done);
                return self.go_on(env, after);
            }
            Some(Answering::Ike(answering)) => {
                let after = answering.handle_job(env, self, done);
                return self.go_on(env, after);
            }
            None => {}
        }
        let mut after = After::GoOn;
        self.tasks.active = match self.tasks.active.take() {
            Some(Active::Creating(creating)) if creating.job() == Some(job) => {
                creating.handle_job(env, self, done).map(|next| Active::Creating(Box::new(next)))
            }
            Some(Active::RekeyingIke(rekeying)) if rekeying.job() == Some(job) => {
                let (next, then) = rekeying.handle_job(env, self, done);
                after = then;
                next.map(|next| Active::RekeyingIke(Box::new(next)))
            }
            other => other,
        };
        self.go_on(env, after)
    }

    /// Begins what is next, unless the SA is at its end.
    fn go_on(&mut self, env: &mut Env<'_>, after: After) -> After {
        if after == After::GoOn {
            self.advance(env);
        }
        after
    }

    /// Gives up all exchanges; what was wanted comes back, and reservations are released.
    pub fn abandon_tasks(&mut self, env: &mut Env<'_>) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        if let Some(Active::Creating(creating)) = self.tasks.active.take() {
            wanted.extend(creating.abandon(env, self));
        }
        for todo in self.tasks.queue.drain(..) {
            if let Todo::CreateChild(queued) = todo {
                wanted.push(queued);
            }
        }
        self.tasks.inbound = None;
        wanted
    }

    /// The peer deletes the IKE SA whose successor we are about to have, because it has it already. Tells whether that is so.
    pub fn outlive(&mut self) -> bool {
        self.tasks.rekeying_ike().is_some_and(|rekeying| rekeying.outlive())
    }

    /// The IKE SA that our rekey crossed with, if the peer made one.
    #[must_use]
    pub fn crossing_ike(&mut self) -> Option<crate::ids::SaId> {
        self.tasks.rekeying_ike().and_then(|rekeying| rekeying.crossing_sa())
    }
}

/// The notify for a request that cannot be served now (RFC 7296 §2.25).
#[must_use]
pub fn temporary_failure() -> Error {
    Error::incompatible(NotifyType::TEMPORARY_FAILURE, "not now")
}

/// Shortest and longest first pause before a rekey that could not be done now is tried again; between them, four round trips.
const SOON: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(4)];
/// Pause before a rekey that the peer does not want is tried again, and the longest of all.
const MUCH_LATER: Duration = Duration::from_secs(60);
/// A peer that puts everything off for so long has a fault: the IKE SA is made anew (RFC 7296 §2.25).
const TOO_LONG: Duration = Duration::from_secs(180);

impl Common {
    /// When what was refused with `notify`, `refusals` times in a row before, is tried again.
    fn try_again(&self, env: &mut Env<'_>, refusals: u8, notify: NotifyType) -> Instant {
        let pause = if notify == NotifyType::TEMPORARY_FAILURE {
            let [least, most] = SOON;
            let first =
                self.window.round_trip().map_or(least * 2, |measured| measured * 4).clamp(least, most);
            first.saturating_mul(1 << refusals.min(8)).min(MUCH_LATER)
        } else {
            MUCH_LATER
        };
        env.now + env.rng.jitter_down(pause, 50)
    }

    /// The peer refuses an exchange about SAs: if it will never serve one, or has not for long, another IKE SA is needed.
    fn note_refusal(&mut self, env: &mut Env<'_>, notify: NotifyType) {
        let put_off = notify == NotifyType::TEMPORARY_FAILURE;
        let endless = put_off && *self.core.put_off_since.get_or_insert(env.now) + TOO_LONG <= env.now;
        if (endless || notify == NotifyType::NO_ADDITIONAL_SAS) && !self.core.replaced {
            self.core.replaced = true;
            env.signals.push(Signal::Reestablish(format!("the peer answers {notify}")));
        }
    }

    /// The peer has served an exchange about SAs.
    const fn note_service(&mut self) {
        self.core.put_off_since = None;
        self.core.refusals = 0;
    }
}

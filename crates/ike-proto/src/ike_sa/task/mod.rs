//! Exchanges of an established SA: a queue by priority, at most one of ours under way, one file for each exchange.

pub mod create_child;
pub mod delete;

use std::collections::VecDeque;

use crate::crypto::job::JobDone;
use crate::crypto::provider::Fault;
use crate::error::{self, Error, Reaction, Stage};
use crate::ids::{ChildSpi, JobId, PolicyIndex};
use crate::ike_sa::core::Common;
use crate::ike_sa::env::{Env, Wanted};
use crate::message::parts::Parts;
use crate::output::{Flow, What};
use crate::wire::registry::{ExchangeType, NotifyType};
use crate::wire::{Notify, Payload};

/// Something to be done with a request of ours.
#[derive(Debug)]
enum Todo {
    /// Tell the peer that the SA we would receive on is gone.
    DeleteChild(ChildSpi),
    /// Make a child.
    CreateChild(Wanted),
}

impl Todo {
    /// Lower goes first: delete, (liveness, rekey,) create.
    const fn priority(&self) -> u8 {
        match self {
            Self::DeleteChild(_) => 0,
            Self::CreateChild(_) => 3,
        }
    }
}

/// What is under way as our request.
enum Active {
    CreateChild(Box<create_child::Creating>),
    DeleteChild,
}

impl Active {
    fn creating(creating: create_child::Creating) -> Self {
        Self::CreateChild(Box::new(creating))
    }
}

/// The exchanges of one IKE SA.
#[derive(Default)]
pub struct Tasks {
    queue: VecDeque<Todo>,
    active: Option<Active>,
    /// A peer's request whose answer waits for a job.
    inbound: Option<create_child::Answering>,
}

impl Tasks {
    fn push(&mut self, todo: Todo) {
        let place = self.queue.iter().position(|queued| queued.priority() > todo.priority());
        self.queue.insert(place.unwrap_or(self.queue.len()), todo);
    }

    /// Queues a DELETE of the child we would receive on under `spi`.
    pub fn delete_child(&mut self, spi: ChildSpi) {
        self.push(Todo::DeleteChild(spi));
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
        let active = match &self.active {
            Some(Active::CreateChild(creating)) => creating.policy() == policy,
            Some(Active::DeleteChild) | None => false,
        };
        active
            || self.queue.iter().any(|todo| match todo {
                Todo::CreateChild(wanted) => wanted.policy == policy,
                Todo::DeleteChild(_) => false,
            })
    }

    /// Whether `job` is waited for here.
    #[must_use]
    pub fn awaits(&self, job: JobId) -> bool {
        let active = match &self.active {
            Some(Active::CreateChild(creating)) => creating.job() == Some(job),
            Some(Active::DeleteChild) | None => false,
        };
        active || self.inbound.as_ref().is_some_and(|answering| answering.job() == job)
    }

    /// Whether nothing is queued or under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.active.is_none() && self.inbound.is_none()
    }
}

impl Common {
    /// Starts what is next in the queue, if nothing of ours is under way.
    pub fn advance(&mut self, env: &mut Env<'_>) {
        while self.tasks.active.is_none() && !self.window.is_busy() {
            let Some(todo) = self.tasks.queue.pop_front() else { return };
            self.tasks.active = match todo {
                Todo::DeleteChild(spi) => {
                    delete::request_child(env, self, spi);
                    Some(Active::DeleteChild)
                }
                Todo::CreateChild(wanted) => create_child::start(env, self, wanted).map(Active::creating),
            };
        }
    }

    /// A response to our request came.
    pub fn handle_response(&mut self, env: &mut Env<'_>, parts: &Parts) {
        self.window.acknowledge();
        self.tasks.active = match self.tasks.active.take() {
            Some(Active::CreateChild(creating)) => {
                creating.handle_response(env, self, parts).map(Active::creating)
            }
            Some(Active::DeleteChild) | None => None,
        };
        self.advance(env);
    }

    /// A request of the peer came; it is answered now, or when its job is done. Tells whether the SA ends by it.
    pub fn handle_request(
        &mut self,
        env: &mut Env<'_>,
        flow: Flow,
        exchange: ExchangeType,
        parts: &Parts,
    ) -> Option<String> {
        match exchange {
            ExchangeType::CREATE_CHILD_SA => {
                match create_child::answer(env, self, flow, parts) {
                    Ok(answering) => self.tasks.inbound = answering,
                    Err(error) => return self.refuse(env, flow, exchange, &error),
                }
                None
            }
            ExchangeType::INFORMATIONAL => delete::handle_informational(env, self, flow, parts),
            _ => {
                let error = Error::malformed(format!("{exchange} has no place in an established SA"));
                self.refuse(env, flow, exchange, &error)
            }
        }
    }

    /// Answers a request with the error it deserves. Tells whether the SA ends by it.
    pub fn refuse(
        &mut self,
        env: &mut Env<'_>,
        flow: Flow,
        exchange: ExchangeType,
        error: &Error,
    ) -> Option<String> {
        let notify = Notify::status(error.notify(), error.data().to_vec());
        self.respond(env, flow, exchange, &[Payload::Notify(notify)]);
        self.core.say(env, What::Note(format!("{exchange} refused: {error}")));
        let closes = error::reaction(error, Stage::Request) == Reaction::NotifyAndClose;
        closes.then(|| error.to_string())
    }

    /// Goes on with a job's result.
    pub fn handle_task_job(&mut self, env: &mut Env<'_>, job: JobId, done: Result<JobDone, Fault>) {
        if let Some(answering) = self.tasks.inbound.take_if(|answering| answering.job() == job) {
            answering.handle_job(env, self, done);
            return;
        }
        self.tasks.active = match self.tasks.active.take() {
            Some(Active::CreateChild(creating)) if creating.job() == Some(job) => {
                creating.handle_job(env, self, done).map(Active::creating)
            }
            other => other,
        };
        self.advance(env);
    }

    /// Gives up all exchanges; what was wanted comes back, and reservations are released.
    pub fn abandon_tasks(&mut self, env: &mut Env<'_>) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        if let Some(Active::CreateChild(creating)) = self.tasks.active.take() {
            wanted.push(creating.abandon(env, self));
        }
        for todo in self.tasks.queue.drain(..) {
            if let Todo::CreateChild(queued) = todo {
                wanted.push(queued);
            }
        }
        self.tasks.inbound = None;
        wanted
    }
}

/// The notify for a request that cannot be served now (RFC 7296 §2.25).
#[must_use]
pub fn temporary_failure() -> Error {
    Error::incompatible(NotifyType::TEMPORARY_FAILURE, "not now")
}

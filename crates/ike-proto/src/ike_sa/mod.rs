//! One IKE SA: phase × window × tasks × children. "A request is outstanding" is not a phase.
//!
//! ```text
//! Handshake --authenticated--> Established --we delete--> Closing --answered, or too late--> Closed
//!     |                             |--the peer deletes, or does not answer--> Lingering --later--> Closed
//!     |--refused by us--> Lingering (repeats its last answer)
//!     '--given up--> Closed
//! ```

pub mod children;
pub mod core;
pub mod env;
pub mod handshake;
pub mod path;
pub mod task;
pub mod window;

use self::core::{Common, Core};
use self::env::{Env, Signal, Wanted};
use self::handshake::init::Received;
use self::handshake::{Handshake, Step};
use self::task::delete;
use self::window::{Expired, Inbound};
use crate::crypto::job::JobDone;
use crate::crypto::provider::Fault;
use crate::error::Error;
use crate::ids::{ChildSpi, JobId, Role};
use crate::message::parts::Parts;
use crate::message::protect::Unopened;
use crate::output::{Flow, What};
use crate::time::Instant;
use crate::wire::registry::ExchangeType;
use crate::wire::{Header, Located, Sealed, SealedKind, locate};

/// How far an IKE SA is.
enum Phase {
    /// Not authenticated yet; given up at `until`.
    Handshake { state: Box<Handshake>, until: Instant },
    /// Both ends are authenticated.
    Established,
    /// We delete it; at `until` it is gone, answered or not.
    Closing { asked: bool, until: Instant },
    /// It is gone; until then its last answer is repeated to who asks again.
    Lingering { until: Instant },
    /// It is gone.
    Closed,
}

/// One IKE SA.
pub struct IkeSa {
    /// All but the phase.
    pub common: Common,
    phase: Phase,
}

impl IkeSa {
    /// Begins a handshake; `None` if the peer's configuration has no proposal to make.
    #[must_use]
    pub fn initiate(env: &mut Env<'_>, core: Core, wanted: Option<Wanted>) -> Option<Self> {
        let state = handshake::init::initiate(env, &core, wanted)?;
        let until = env.now + env.config.handshake_lifetime;
        Some(Self { common: Common::new(core), phase: Phase::Handshake { state: Box::new(state), until } })
    }

    /// Takes a first request into work.
    #[must_use]
    pub fn respond(
        env: &mut Env<'_>,
        core: Core,
        request: handshake::init::Request,
        received: &Received<'_>,
    ) -> Self {
        let mut common = Common::new(core);
        let state = handshake::init::respond(env, &mut common, request, received);
        let until = env.now + env.config.handshake_lifetime;
        Self { common, phase: Phase::Handshake { state: Box::new(state), until } }
    }

    /// Whether both ends are authenticated and it is not being deleted.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established)
    }

    /// Whether it is in its handshake.
    #[must_use]
    pub const fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Handshake { .. })
    }

    /// Whether nothing is left of it.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether only its last answer is left.
    #[must_use]
    pub const fn is_lingering(&self) -> bool {
        matches!(self.phase, Phase::Lingering { .. })
    }

    /// The phase's name.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match self.phase {
            Phase::Handshake { .. } => "handshake",
            Phase::Established => "established",
            Phase::Closing { .. } => "deleting",
            Phase::Lingering { .. } => "deleted",
            Phase::Closed => "closed",
        }
    }

    /// Whether this first request is the one that this SA answers.
    #[must_use]
    pub fn answers(&self, datagram: &[u8]) -> bool {
        let Phase::Handshake { state, .. } = &self.phase else { return false };
        match state.as_ref() {
            Handshake::Responding(state) => state.request() == datagram,
            Handshake::AuthAwaited(state) => state.first_request() == datagram,
            _ => false,
        }
    }

    /// Repeats the answer to a first request that came again.
    pub fn repeat_first_answer(&self, env: &mut Env<'_>, flow: Flow) {
        if let Inbound::Answered(packets) = self.common.window.classify(0) {
            Core::transmit(env, flow, packets);
        }
    }

    /// Asks for a child on an established SA.
    pub fn create_child(&mut self, env: &mut Env<'_>, wanted: Wanted) {
        self.common.tasks.create_child(wanted);
        if self.is_established() {
            self.common.advance(env);
        }
    }

    /// Deletes the SA: its children at once, the SA when the peer has answered.
    pub fn delete(&mut self, env: &mut Env<'_>, cause: &str) {
        match self.phase {
            Phase::Handshake { .. } => self.fail(env, cause.to_owned(), None),
            Phase::Established => self.close(env, cause),
            Phase::Closing { .. } | Phase::Lingering { .. } | Phase::Closed => {}
        }
    }

    /// Removes the child we receive on under `spi_in` and tells the peer.
    pub fn delete_child(&mut self, env: &mut Env<'_>, spi_in: ChildSpi, cause: &str) {
        let common = &mut self.common;
        let gone = common.children.remove(env, &common.core, cause, |child| child.spi_in == spi_in);
        for child in gone {
            env.signals.push(Signal::ChildDown(child.policy, cause.to_owned()));
            common.tasks.delete_child(child.spi_in);
        }
        if self.is_established() {
            self.common.advance(env);
        }
    }

    /// When [`IkeSa::handle_timeout`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Handshake { until, .. } | Phase::Closing { until, .. } | Phase::Lingering { until } => {
                Some(until)
            }
            Phase::Established | Phase::Closed => None,
        };
        let window = if self.is_lingering() { None } else { self.common.window.deadline() };
        phase.into_iter().chain(window).min()
    }

    /// A deadline has come.
    pub fn handle_timeout(&mut self, env: &mut Env<'_>) {
        match self.phase {
            Phase::Handshake { until, .. } if until <= env.now => {
                let hint = self.hint();
                self.fail(env, format!("due to time up{hint}"), None);
                return;
            }
            Phase::Lingering { until } | Phase::Closing { until, .. } if until <= env.now => {
                self.phase = Phase::Closed;
                return;
            }
            Phase::Lingering { .. } | Phase::Closed => return,
            _ => {}
        }
        match self.common.window.handle_timeout(env.now, &env.config.retransmission, env.rng) {
            Expired::Nothing => {}
            Expired::Resend => {
                if let Some(waiting) = self.common.window.outstanding() {
                    Core::transmit(env, self.common.core.path.flow, &waiting.packets);
                }
            }
            Expired::GiveUp => {
                let hint = self.hint();
                let exchange = self.common.window.outstanding().map(|waiting| waiting.exchange.to_string());
                let cause = format!("no answer to {}{hint}", exchange.unwrap_or_default());
                match self.phase {
                    Phase::Established => self.end(env, &cause, None),
                    Phase::Closing { .. } => self.phase = Phase::Closed,
                    _ => self.fail(env, cause, None),
                }
            }
        }
    }

    fn hint(&self) -> String {
        match &self.phase {
            Phase::Handshake { state, .. } => {
                state.hint().map(|hint| format!("; {hint}")).unwrap_or_default()
            }
            _ => String::new(),
        }
    }

    /// A job is done.
    pub fn handle_job(&mut self, env: &mut Env<'_>, job: JobId, done: Result<JobDone, Fault>) {
        if let Some((state, until)) = self.take_handshake(|state| state.job() == Some(job)) {
            let step = state.handle_job(env, &mut self.common, done);
            self.take_step(env, step, until);
        } else if self.is_established() && self.common.tasks.awaits(job) {
            self.common.handle_task_job(env, job, done);
        }
    }

    /// Takes the handshake out, if there is one and it is the right one; it is to be put back, or its successor.
    fn take_handshake(&mut self, right: impl Fn(&Handshake) -> bool) -> Option<(Handshake, Instant)> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Handshake { state, until } if right(&state) => Some((*state, until)),
            other => {
                self.phase = other;
                None
            }
        }
    }

    fn take_step(&mut self, env: &mut Env<'_>, step: Step, until: Instant) {
        match step {
            Step::Await(state) => self.phase = Phase::Handshake { state: Box::new(state), until },
            Step::Established => {
                self.phase = Phase::Established;
                self.common.advance(env);
            }
            Step::Failed(error, wanted) => self.fail(env, error.to_string(), wanted),
            Step::Close(error, wanted) => {
                self.fail(env, error.to_string(), wanted);
                // The peer believes in an SA; it is told, though nobody waits for its answer long.
                delete::request_sa(env, &mut self.common);
                self.phase = Phase::Closing { asked: true, until: env.now + env.config.delete_patience };
            }
        }
    }

    /// A message for this SA came.
    pub fn handle_message(&mut self, env: &mut Env<'_>, flow: Flow, header: &Header, datagram: &mut [u8]) {
        match locate(datagram, header) {
            Ok(Located::Plain(payloads)) => {
                let parts = Parts(payloads);
                self.handle_plain(env, &Received { header, flow, datagram, parts: &parts });
            }
            Ok(Located::Sealed(sealed)) => self.handle_sealed(env, flow, &sealed, datagram),
            Err(error) => self.common.core.say(env, What::Note(format!("dropped: {error}"))),
        }
    }

    /// In clear, only the response of IKE_SA_INIT means anything.
    fn handle_plain(&mut self, env: &mut Env<'_>, received: &Received<'_>) {
        let header = received.header;
        let awaited = header.flags.is_response()
            && !header.flags.is_initiator()
            && header.exchange == ExchangeType::IKE_SA_INIT
            && self.common.window.awaits(header.message_id, header.exchange);
        if !awaited {
            self.common.core.say(env, What::Note(format!("{} in clear dropped", header.exchange)));
            return;
        }
        if let Some((state, until)) = self.take_handshake(|state| matches!(state, Handshake::InitSent(_))) {
            let state = match state {
                Handshake::InitSent(state) => state.handle(env, &mut self.common, received),
                other => other,
            };
            self.phase = Phase::Handshake { state: Box::new(state), until };
        }
    }

    fn handle_sealed(&mut self, env: &mut Env<'_>, flow: Flow, sealed: &Sealed, datagram: &mut [u8]) {
        let header = &sealed.header;
        let from_initiator = self.common.core.role == Role::Responder;
        if header.flags.is_initiator() != from_initiator || sealed.kind != SealedKind::Whole {
            return;
        }
        let opened = match self.common.core.open(env, sealed, datagram) {
            Err(Unopened::Unverified(fault)) => {
                self.common.core.say(env, What::Note(format!("{} dropped: {fault}", header.exchange)));
                return;
            }
            Ok(parts) => Ok(parts),
            Err(Unopened::Malformed(error)) => Err(error),
        };
        if header.flags.is_response() {
            if self.common.window.awaits(header.message_id, header.exchange) {
                self.handle_response(env, opened);
            }
            return;
        }
        match self.common.window.classify(header.message_id) {
            Inbound::New => self.handle_request(env, flow, header.exchange, opened),
            Inbound::Answered(packets) => Core::transmit(env, flow, packets),
            Inbound::InProgress | Inbound::Outside => {}
        }
    }

    fn handle_response(&mut self, env: &mut Env<'_>, opened: Result<Parts, Error>) {
        match (&self.phase, opened) {
            (Phase::Handshake { .. }, opened) => self.handle_auth_response(env, opened),
            (Phase::Established, Ok(parts)) => self.common.handle_response(env, &parts),
            // RFC 7296 §2.21.3: a peer that seals what cannot be read has a defect that does not go away.
            (Phase::Established, Err(error)) => self.close(env, &error.to_string()),
            (Phase::Closing { asked: true, .. }, _) => self.phase = Phase::Closed,
            (Phase::Closing { asked: false, until }, _) => {
                let until = *until;
                self.common.window.acknowledge();
                delete::request_sa(env, &mut self.common);
                self.phase = Phase::Closing { asked: true, until };
            }
            (Phase::Lingering { .. } | Phase::Closed, _) => {}
        }
    }

    fn handle_auth_response(&mut self, env: &mut Env<'_>, opened: Result<Parts, Error>) {
        let Some((state, until)) = self.take_handshake(|state| matches!(state, Handshake::AuthSent(_)))
        else {
            return;
        };
        let step = match (state, opened) {
            (Handshake::AuthSent(state), Ok(parts)) => state.handle(env, &mut self.common, &parts),
            (state, Err(error)) => {
                self.common.window.acknowledge();
                let wanted = state.into_wanted(env, &self.common);
                Step::Close(error, wanted)
            }
            (state, Ok(_)) => Step::Await(state),
        };
        self.take_step(env, step, until);
    }

    fn handle_request(
        &mut self,
        env: &mut Env<'_>,
        flow: Flow,
        exchange: ExchangeType,
        opened: Result<Parts, Error>,
    ) {
        match self.phase {
            Phase::Handshake { .. } if exchange == ExchangeType::IKE_AUTH => {
                self.handle_auth_request(env, flow, opened);
            }
            Phase::Established => {
                self.common.window.begin();
                let ends = match opened {
                    Ok(parts) => self.common.handle_request(env, flow, exchange, &parts),
                    Err(error) => self.common.refuse(env, flow, exchange, &error),
                };
                match ends {
                    Some(cause) => self.end(env, &cause, Some(env.now + env.config.linger)),
                    None => self.common.advance(env),
                }
            }
            Phase::Closing { .. } => {
                // Both ends may delete at once; whatever else the peer wants, there is nothing left to do it with.
                self.common.window.begin();
                if exchange == ExchangeType::INFORMATIONAL {
                    self.common.respond(env, flow, exchange, &[]);
                } else {
                    self.common.refuse(env, flow, exchange, &task::temporary_failure());
                }
            }
            Phase::Handshake { .. } | Phase::Lingering { .. } | Phase::Closed => {}
        }
    }

    fn handle_auth_request(&mut self, env: &mut Env<'_>, flow: Flow, opened: Result<Parts, Error>) {
        let Some((state, until)) = self.take_handshake(|state| matches!(state, Handshake::AuthAwaited(_)))
        else {
            return;
        };
        self.common.window.begin();
        let step = match (state, opened) {
            (Handshake::AuthAwaited(state), Ok(parts)) => state.handle(env, &mut self.common, flow, &parts),
            (_, Err(error)) => {
                self.common.refuse(env, flow, ExchangeType::IKE_AUTH, &error);
                Step::Failed(error, None)
            }
            (state, Ok(_)) => Step::Await(state),
        };
        self.take_step(env, step, until);
    }

    /// The handshake is over without an SA. A responder goes on repeating its answer.
    fn fail(&mut self, env: &mut Env<'_>, cause: String, wanted: Option<Wanted>) {
        let state = self.take_handshake(|_| true);
        let wanted = wanted.or_else(|| state.and_then(|(state, _)| state.into_wanted(env, &self.common)));
        self.common.core.say(env, What::HandshakeFailed { cause: cause.clone() });
        for wanted in wanted.into_iter().chain(self.common.abandon_tasks(env)) {
            env.signals.push(Signal::ChildFailed(wanted, cause.clone()));
        }
        env.signals.push(Signal::HandshakeFailed(cause));
        self.phase = match self.common.core.role {
            Role::Responder => Phase::Lingering { until: env.now + env.config.linger },
            Role::Initiator => Phase::Closed,
        };
    }

    /// The SA ends without a DELETE of ours; with `linger`, its last answer is repeated until then.
    fn end(&mut self, env: &mut Env<'_>, cause: &str, linger: Option<Instant>) {
        self.tear_down(env, cause);
        self.phase = match linger {
            Some(until) => Phase::Lingering { until },
            None => Phase::Closed,
        };
    }

    /// The SA ends by a DELETE of ours, sent when our request under way is answered.
    fn close(&mut self, env: &mut Env<'_>, cause: &str) {
        self.tear_down(env, cause);
        let asked = !self.common.window.is_busy();
        if asked {
            delete::request_sa(env, &mut self.common);
        }
        self.phase = Phase::Closing { asked, until: env.now + env.config.delete_patience };
    }

    fn tear_down(&mut self, env: &mut Env<'_>, cause: &str) {
        for wanted in self.common.abandon_tasks(env) {
            env.signals.push(Signal::ChildFailed(wanted, cause.to_owned()));
        }
        let gone = self.common.children.remove(env, &self.common.core, cause, |_| true);
        self.common.core.say(env, What::IkeSaDown { cause: cause.to_owned() });
        for child in gone {
            env.signals.push(Signal::ChildDown(child.policy, cause.to_owned()));
        }
        env.signals.push(Signal::Down(cause.to_owned()));
    }
}

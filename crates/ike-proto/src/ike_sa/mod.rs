//! One IKE SA: phase × window × tasks × children. "A request is outstanding" is not a phase.
//!
//! ```text
//! Handshake --authenticated--> Established --we delete--> Closing --answered, or too late--> Closed
//!     |                             |--the peer rekeyed it--> Superseded --deleted--> Lingering, or Closing
//!     |                             |--the peer deletes, does not answer, or has lost it--> Lingering --later--> Closed
//!     |--refused by us--> Lingering (repeats its last answer)
//!     '--given up--> Closed
//! ```

pub mod children;
pub mod core;
mod ending;
pub mod env;
pub mod handshake;
pub mod keepalive;
pub mod negotiate;
pub mod path;
mod receive;
pub mod standing;
pub mod task;
pub mod watch;
pub mod window;

use std::collections::BTreeMap;

use self::children::{Child, Due};
use self::core::{Common, Core};
use self::env::{End, Env, Signal, Wanted};
use self::handshake::init::Received;
use self::handshake::{Handshake, Step};
use self::standing::Look;
use self::task::{After, delete};
use self::watch::Counts;
use self::window::{Expired, Inbound};
use crate::crypto::job::JobDone;
use crate::crypto::provider::Fault;
use crate::ids::{ChildSpi, JobId, Role};
use crate::output::{Flow, What, cause};
use crate::policy::sad::SaKey;
use crate::time::{Duration, Instant};

/// How far an IKE SA is.
enum Phase {
    /// Not authenticated yet; given up at `until`.
    Handshake { state: Box<Handshake>, until: Instant },
    /// Both ends are authenticated.
    Established,
    /// It has a successor; if the peer has not deleted it at `until`, we do.
    Superseded { until: Instant },
    /// We delete it; at `until` it is gone, answered or not.
    Closing { asked: bool, until: Instant },
    /// It is gone; until then its last answer is repeated to who asks again.
    Lingering { until: Instant },
    /// It is gone.
    Closed,
}

/// An SA that the peer was to delete after a rekey is deleted by us after this.
const OVERDUE: Duration = Duration::from_secs(20);

/// A hint that nobody authenticated is followed once in this time.
const HINTS: Duration = Duration::from_secs(10);

/// One IKE SA.
pub struct IkeSa {
    /// All but the phase; apart, for an SA is moved often.
    pub common: Box<Common>,
    phase: Phase,
    /// When a hint was followed last.
    hinted_at: Instant,
    /// The deadline its endpoint waits for.
    pub armed: Option<Instant>,
}

impl IkeSa {
    /// Begins a handshake; `None` if the peer's configuration has no proposal to make.
    #[must_use]
    pub fn initiate(env: &mut Env<'_>, core: Core, wanted: Option<Wanted>) -> Option<Self> {
        let state = handshake::init::initiate(env, &core, wanted)?;
        let until = env.now + env.config.handshake_lifetime;
        Some(Self {
            common: Box::new(Common::new(core)),
            phase: Phase::Handshake { state: Box::new(state), until },
            hinted_at: Instant::ZERO,
            armed: None,
        })
    }

    /// Takes a first request into work.
    #[must_use]
    pub fn respond(
        env: &mut Env<'_>,
        core: Core,
        request: handshake::init::Request,
        received: &Received<'_>,
    ) -> Self {
        let mut common = Box::new(Common::new(core));
        let state = handshake::init::respond(env, &mut common, request, received);
        let until = env.now + env.config.handshake_lifetime;
        let phase = Phase::Handshake { state: Box::new(state), until };
        Self { common, phase, hinted_at: Instant::ZERO, armed: None }
    }

    /// An SA that a rekey made.
    #[must_use]
    pub fn established(core: Core) -> Self {
        Self {
            common: Box::new(Common::new(core)),
            phase: Phase::Established,
            hinted_at: Instant::ZERO,
            armed: None,
        }
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

    /// Whether it is in a handshake that we began.
    #[must_use]
    pub fn is_initiating(&self) -> bool {
        self.is_handshaking() && self.common.core.role == Role::Initiator
    }

    /// Whether the next step of the handshake that we began sends IKE_AUTH.
    #[must_use]
    pub fn is_about_to_authenticate(&self) -> bool {
        matches!(&self.phase, Phase::Handshake { state, .. } if matches!(**state, Handshake::Finishing(_)))
    }

    /// There is new reason to think that the peer can be reached.
    pub fn hurry_request(&mut self, env: &mut Env<'_>) {
        self.common.window.hurry(env.now, &env.config.retransmission);
        self.handle_timeout(env);
    }

    /// Ends our own handshake if its IKE_AUTH is not out yet; what it was for comes back.
    pub fn step_back(&mut self, env: &mut Env<'_>) -> Option<Wanted> {
        let (state, _) = self.take_handshake(Handshake::is_before_auth)?;
        self.common.core.say(env, What::Note("stepping back: the pair has an SA".to_owned()));
        state.into_wanted(env, &self.common)
    }

    /// A handshake that is not done at `at_the_latest` is given up.
    pub fn hurry(&mut self, at_the_latest: Instant) {
        if let Phase::Handshake { until, .. } = &mut self.phase {
            *until = (*until).min(at_the_latest);
        }
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
            Phase::Superseded { .. } => "rekeyed",
            Phase::Closing { .. } => "deleting",
            Phase::Lingering { .. } => "deleted",
            Phase::Closed => "closed",
        }
    }

    /// Whether this first request is the one that this SA answers.
    #[must_use]
    pub fn answers(&self, datagram: &[u8]) -> bool {
        let Phase::Handshake { state, .. } = &self.phase else { return false };
        state.first_request() == Some(datagram)
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

    /// Deletes the child we receive on under `spi_in`: nothing is sent on it any more, and it goes when the peer has answered.
    pub fn delete_child(&mut self, env: &mut Env<'_>, spi_in: ChildSpi, cause: &str) {
        let until = env.now + env.config.delete_patience;
        let common = &mut self.common;
        // Of one that is draining the peer knows already.
        let such = |child: &Child| child.spi_in == spi_in;
        for (spi_in, policy) in common.children.stop_sending(env, &common.core, until, cause, such) {
            common.children.promote(env, &common.core, policy);
            env.signals.push(Signal::ChildDown(policy, cause.to_owned()));
            common.tasks.delete_child(spi_in);
        }
        if self.is_established() {
            self.common.advance(env);
        }
    }

    /// Removes a child that the kernel has lost, tells the peer, and makes another in its place if a policy wants it.
    pub fn replace_child(&mut self, env: &mut Env<'_>, spi_in: ChildSpi, cause: &str) {
        let policy =
            self.common.children.by_spi_in(spi_in).filter(|child| child.serves()).map(|child| child.policy);
        self.delete_child(env, spi_in, cause);
        if let Some(policy) = policy.and_then(|index| env.policies.get(index))
            && !self.common.children.serve(policy.index)
        {
            self.create_child(env, Wanted::by(policy, None));
        }
    }

    /// Of the child we receive on under `spi_in`, the kernel has lost a half: another takes its place.
    pub fn restore_child(&mut self, env: &mut Env<'_>, spi_in: ChildSpi) {
        let Some(child) = self.common.children.by_spi_in(spi_in) else { return };
        let (id, waits) = (child.id, matches!(child.stage, children::Stage::Half { .. }));
        self.common
            .core
            .say(env, What::Trouble(format!("the kernel has lost IPsec-SA 0x{spi_in}: it is made anew")));
        if waits || !self.is_established() {
            self.replace_child(env, spi_in, "the kernel has lost it");
        } else {
            self.common.tasks.rekey_child(id);
            self.common.advance(env);
        }
    }

    /// Looks whether the children's packets flow both ways; `packets` are those the kernel's SAs have carried.
    pub fn watch_children(&mut self, env: &mut Env<'_>, packets: &BTreeMap<SaKey, u64>) {
        let common = &mut self.common;
        let path = common.core.path;
        for (child, finding) in common.children.watch(env.now, |child| {
            let [inbound, outbound] = child.keys(&path);
            Some(Counts { received: *packets.get(&inbound)?, sent: *packets.get(&outbound)? })
        }) {
            common.follow_finding(env, child, finding);
        }
        if let Some(surplus) = common.children.surplus(env.now).filter(|_| !common.tasks.touch_children()) {
            common.core.say(env, What::Note("two children carry the same: one goes".to_owned()));
            common.children.supersede(env, surplus);
            common.tasks.retire_child(surplus);
        }
        common.advance(env);
    }

    /// The peer is to delete it; if it does not, we do.
    pub fn supersede(&mut self, env: &mut Env<'_>) {
        if self.is_established() {
            self.phase = Phase::Superseded { until: env.now + OVERDUE };
        }
    }

    /// Takes over what was its predecessor's.
    pub fn inherit(&mut self, env: &mut Env<'_>, children: Vec<Child>, tasks: task::Tasks) {
        self.common.core.predecessor = None;
        if let Some(suite) = self.common.core.suite {
            let flow = self.common.core.path.flow;
            self.common.core.say(env, What::IkeSaRekeyed { flow, suite });
        }
        self.common.children.inherit(env.now, children);
        self.common.tasks.inherit(tasks);
        if self.is_established() {
            self.common.advance(env);
        }
    }

    /// When [`IkeSa::handle_timeout`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Handshake { until, .. } | Phase::Superseded { until } | Phase::Closing { until, .. } => {
                Some(until)
            }
            // What is draining goes at its own time.
            Phase::Lingering { until } => {
                Some(until.min(self.common.children.deadline().unwrap_or(Instant::MAX)))
            }
            Phase::Established => {
                let core = &self.common.core;
                let children = self.common.children.deadline().unwrap_or(Instant::MAX);
                let own = core.rekey_at.min(core.expires_at).min(core.liveness_at).min(core.keepalive.at());
                let standing = core.standing.as_ref().map_or(Instant::MAX, |standing| standing.due());
                Some(own.min(children).min(standing))
            }
            Phase::Closed => None,
        };
        let window = if self.is_lingering() { None } else { self.common.window.deadline() };
        phase.into_iter().chain(window).min()
    }

    /// A deadline has come.
    pub fn handle_timeout(&mut self, env: &mut Env<'_>) {
        match self.phase {
            Phase::Handshake { until, .. } if until <= env.now => {
                let hint = self.hint();
                self.fail(env, format!("{}{hint}", cause::TIME_UP), None);
                // Nobody waits for a last answer.
                if self.is_lingering() {
                    self.phase = Phase::Closed;
                }
                return;
            }
            Phase::Lingering { until } | Phase::Closing { until, .. } if until <= env.now => {
                self.common.children.remove(env, &self.common.core, "gone", |_| true);
                self.phase = Phase::Closed;
                return;
            }
            Phase::Superseded { until } if until <= env.now => {
                self.retire(env);
                return;
            }
            Phase::Lingering { .. } => {
                self.common.children.handle_timeout(env, &self.common.core);
                return;
            }
            Phase::Closed => return,
            Phase::Established => self.look_after(env),
            _ => {}
        }
        match self.common.window.handle_timeout(env.now, &env.config.retransmission, env.rng) {
            Expired::Nothing => {}
            Expired::Resend => {
                if let Some(waiting) = self.common.window.outstanding() {
                    self.common.core.transmit_request(env, &waiting.packets);
                }
            }
            Expired::GiveUp => {
                let hint = self.hint();
                let exchange = self.common.window.outstanding().map(|waiting| waiting.exchange.to_string());
                let cause = format!("{} {}{hint}", cause::NO_ANSWER, exchange.unwrap_or_default());
                match self.phase {
                    Phase::Established => self.vanish(env, &cause, End::Fault),
                    Phase::Superseded { .. } | Phase::Closing { .. } => self.finish(env),
                    _ => self.fail(env, cause, None),
                }
            }
        }
    }

    /// Times of an established SA: its rekey, its children, and whether the peer is there.
    fn look_after(&mut self, env: &mut Env<'_>) {
        if self.common.core.expires_at <= env.now {
            self.expire(env);
            if !self.is_established() {
                return;
            }
        }
        self.look_at_credentials(env);
        if !self.is_established() {
            return;
        }
        let common = &mut self.common;
        for due in common.children.handle_timeout(env, &common.core) {
            match due {
                Due::Rekey(child) => common.tasks.rekey_child(child),
                Due::Delete(child) => common.tasks.retire_child(child),
            }
        }
        if common.core.rekey_at <= env.now || common.window.is_worn() {
            // Asked once; if it comes to nothing, it is asked again.
            common.core.rekey_at = env.now + OVERDUE;
            // One that is about to go is left as it is.
            if !common.core.graceful {
                common.tasks.rekey_ike();
            }
        }
        if common.core.keepalive.at() <= env.now {
            common.keep_alive(env);
        }
        if common.core.liveness_at <= env.now {
            let received = common.children.have_received(env, &common.core);
            common.core.heard(env);
            if !received {
                common.tasks.check_liveness();
            }
        }
        common.advance(env);
    }

    /// The peer's certificate is looked at again when it is time, and renewed before it or ours expires.
    fn look_at_credentials(&mut self, env: &mut Env<'_>) {
        let Common { core, children, .. } = &mut *self.common;
        let Some(mut standing) = core.standing.take_if(|standing| standing.due() <= env.now) else { return };
        let look = standing.look(env, core, children.iter().next().is_some());
        if standing.take_renewal(env, core) {
            let cause = "before a certificate expires or because it was replaced";
            env.signals.push(Signal::Reestablish(cause.to_owned()));
        }
        core.standing = Some(standing);
        self.follow_look(env, look);
    }

    fn follow_look(&mut self, env: &mut Env<'_>, look: Look) {
        if let Look::Ends(cause) = look {
            self.tear_down(env, &cause, End::Fault);
            self.say_goodbye(env);
        }
    }

    /// The configuration has changed; `distrusted` if so has whom it believes. What was proved by pre-shared keys stays.
    pub fn configuration_changed(&mut self, env: &mut Env<'_>, distrusted: bool) {
        let core = &mut self.common.core;
        if let Some(mut standing) = core.standing.take() {
            standing.configuration_changed(env, core, distrusted);
            core.standing = Some(standing);
        }
    }

    /// A limit of the kernel came near: the child is rekeyed now.
    pub fn rekey_child(&mut self, env: &mut Env<'_>, spi_in: ChildSpi) {
        let found =
            self.common.children.by_spi_in(spi_in).filter(|child| child.serves()).map(|child| child.id);
        if let Some(child) = found.filter(|_| self.is_established()) {
            self.common.tasks.rekey_child(child);
            self.common.advance(env);
        }
    }

    /// Asks whether the peer is there, because something hints that it is not.
    pub fn check_liveness(&mut self, env: &mut Env<'_>) {
        if self.is_established() {
            self.common.tasks.check_liveness();
            self.common.advance(env);
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
            let after = self.common.handle_task_job(env, job, done);
            self.follow(env, after);
        } else if self.is_established()
            && let Some(standing) = self.common.core.standing.as_mut().filter(|own| own.awaits(job))
        {
            let look = standing.looked(env, done);
            self.follow_look(env, look);
        }
    }

    /// What an exchange means for the phase.
    fn follow(&mut self, env: &mut Env<'_>, after: After) {
        match after {
            After::GoOn => {}
            After::End(cause) => self.end(env, &cause),
            After::Lost(cause) => self.vanish(env, &cause, End::Fault),
            After::Retire => self.retire(env),
            After::Yield => self.phase = Phase::Superseded { until: env.now + OVERDUE },
            After::Gone => self.depart(env),
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
}

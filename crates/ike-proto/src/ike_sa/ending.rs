//! How an IKE SA ends: by a DELETE of ours or of the peer's, for want of a peer, or because it has a successor.

use super::children::{self, Child};
use super::env::{End, Env, Signal, Wanted};
use super::handshake::Handshake;
use super::task::delete;
use super::{IkeSa, Phase};
use crate::ids::{PolicyIndex, Role};
use crate::output::{What, cause};
use crate::time::Duration;

/// How long children outlive an SA that the peer has lost, at the most.
const OUTLIVED: Duration = Duration::from_secs(6);

impl IkeSa {
    /// Deletes the SA: nothing is sent on its children any more, and all goes when the peer has answered.
    pub fn delete(&mut self, env: &mut Env<'_>, cause: &str) {
        match self.phase {
            Phase::Handshake { .. } => self.fail(env, cause.to_owned(), None),
            Phase::Established => self.close(env, cause),
            Phase::Superseded { .. } => self.retire(env),
            Phase::Lingering { .. } => {
                self.common.children.remove(env, &self.common.core, cause, |_| true);
            }
            Phase::Closing { .. } | Phase::Closed => {}
        }
    }

    /// The handshake is over without an SA. A responder goes on repeating its answer.
    pub(super) fn fail(&mut self, env: &mut Env<'_>, cause: String, wanted: Option<Wanted>) {
        let state = self.take_handshake(|_| true);
        // Anybody can begin a handshake and leave it: that is not worth a warning.
        let left = matches!(state, Some((Handshake::AuthAwaited(_), _)));
        let what = match left {
            true => What::Note(format!("the peer's handshake is given up: {cause}")),
            false => What::HandshakeFailed { cause: cause.clone() },
        };
        let wanted = wanted.or_else(|| state.and_then(|(state, _)| state.into_wanted(env, &self.common)));
        self.common.core.say(env, what);
        for wanted in wanted.into_iter().chain(self.common.abandon_tasks(env)) {
            env.signals.push(Signal::ChildFailed(wanted, cause.clone()));
        }
        env.signals.push(Signal::HandshakeFailed(cause));
        self.phase = match self.common.core.role {
            Role::Responder => Phase::Lingering { until: env.now + env.config.linger },
            Role::Initiator => Phase::Closed,
        };
    }

    /// The SA ends without a DELETE of ours, and the peer knows; the last answer is repeated for a while.
    pub(super) fn end(&mut self, env: &mut Env<'_>, cause: &str) {
        self.tear_down(env, cause, End::Meant);
        self.phase = Phase::Lingering { until: env.now + env.config.linger };
    }

    /// The peer has proved that it restarted.
    pub(super) fn end_restarted(&mut self, env: &mut Env<'_>) {
        let cause = "the peer has lost it (quick crash detection)";
        if self.common.core.graceful {
            self.forget(env, cause);
        } else {
            self.vanish(env, cause, End::Restart);
        }
    }

    /// The peer does not have the SA any more: it carries nothing, and there is nobody to wait for.
    pub(super) fn vanish(&mut self, env: &mut Env<'_>, cause: &str, end: End) {
        self.common.core.graceful = false;
        self.tear_down(env, cause, end);
        self.phase = Phase::Closed;
    }

    /// The peer does not have the SA any more: there is nothing to be said on it. The pair has another one, and until that one's
    /// children carry, or for some seconds, those of this one do: they go with [`IkeSa::relieve`].
    pub fn forget(&mut self, env: &mut Env<'_>, cause: &str) {
        if !self.is_established() {
            return;
        }
        self.abandon(env, cause);
        self.common.core.graceful = true;
        self.common.core.say(env, What::IkeSaDown { cause: cause.to_owned() });
        self.phase = Phase::Lingering { until: env.now + OUTLIVED + children::GRACE };
    }

    /// Whether its children carry though it is gone.
    #[must_use]
    pub fn outlived(&self) -> bool {
        self.is_lingering() && self.common.children.iter().any(Child::is_current)
    }

    /// Whether nothing is to be done for it any more, and nothing waited for but packets that another SA of the pair replaces.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.is_lingering() && (self.common.core.graceful || self.common.children.iter().next().is_none())
    }

    /// Of the children that have outlived it, those go whose policies are `carried` by others. They still take in what is under way.
    pub fn relieve(&mut self, env: &mut Env<'_>, cause: &str, carried: impl Fn(PolicyIndex) -> bool) {
        let common = &mut self.common;
        let relieved = |child: &Child| child.is_current() && carried(child.policy);
        common.children.drain_all(env, &common.core, cause, relieved);
    }

    /// The SA ends by a DELETE of ours, sent when our request under way is answered.
    pub(super) fn close(&mut self, env: &mut Env<'_>, cause: &str) {
        self.stop(env, cause);
        self.say_goodbye(env);
    }

    /// Sends the DELETE of what has nothing left.
    pub(super) fn say_goodbye(&mut self, env: &mut Env<'_>) {
        let asked = !self.common.window.is_busy();
        if asked {
            delete::request_sa(env, &mut self.common);
        }
        self.phase = Phase::Closing { asked, until: env.now + env.config.delete_patience };
    }

    /// The peer sends nothing on it any more: packets under way are waited for, longer where the pair has another SA.
    pub(super) fn finish(&mut self, env: &mut Env<'_>) {
        let wait = if self.common.core.graceful {
            children::GRACE
        } else {
            self.common.children.stop_receiving(env.now, |_| true);
            children::OVERTAKEN
        };
        self.phase = match self.common.children.iter().next() {
            Some(_) => Phase::Lingering { until: env.now + wait },
            None => Phase::Closed,
        };
    }

    /// The SA has a successor, which has its children: it is deleted without any.
    pub(super) fn retire(&mut self, env: &mut Env<'_>) {
        self.say_goodbye(env);
        self.common.core.say(env, What::IkeSaDown { cause: cause::REKEYED.to_owned() });
    }

    /// The SA has a successor, and the peer has deleted it.
    pub(super) fn depart(&mut self, env: &mut Env<'_>) {
        self.common.core.say(env, What::IkeSaDown { cause: cause::REKEYED.to_owned() });
        self.phase = Phase::Lingering { until: env.now + env.config.linger };
    }

    /// Its rekeys have failed for too long (RFC 7296 §2.8): another takes its place, or it ends.
    pub(super) fn expire(&mut self, env: &mut Env<'_>) {
        let cause = "its lifetime is over";
        let core = &mut self.common.core;
        // The handshake that was to take its place may have failed at this very moment.
        if core.is_over || core.replaced {
            self.tear_down(env, cause, End::Fault);
            self.say_goodbye(env);
        } else {
            (core.is_over, core.replaced) = (true, true);
            core.expires_at = env.now + env.config.handshake_lifetime;
            env.signals.push(Signal::Reestablish(cause.to_owned()));
        }
    }

    /// What is asked for or about to be will not come of this SA.
    fn abandon(&mut self, env: &mut Env<'_>, cause: &str) {
        for wanted in self.common.abandon_tasks(env) {
            env.signals.push(Signal::ChildFailed(wanted, cause.to_owned()));
        }
    }

    /// Nothing is sent on the children any more; what the peer sends until it knows still comes in.
    fn stop(&mut self, env: &mut Env<'_>, cause: &str) {
        self.abandon(env, cause);
        if self.common.core.graceful {
            return self.drain(env, cause);
        }
        let until = env.now + env.config.delete_patience;
        let common = &mut self.common;
        let stopped = common.children.stop_sending(env, &common.core, until, cause, |_| true);
        self.take_leave(env, stopped.into_iter().map(|(_, policy)| policy), cause, End::Meant);
    }

    /// The children go at once, unless the pair has another SA.
    pub(super) fn tear_down(&mut self, env: &mut Env<'_>, cause: &str, end: End) {
        self.abandon(env, cause);
        if self.common.core.graceful {
            return self.drain(env, cause);
        }
        let gone = self.common.children.remove(env, &self.common.core, cause, |_| true);
        self.take_leave(env, gone.into_iter().map(|child| child.policy), cause, end);
    }

    /// The pair has another SA that carries the same: what is under way may still come.
    fn drain(&mut self, env: &mut Env<'_>, cause: &str) {
        self.common.children.drain_all(env, &self.common.core, cause, |_| true);
        self.common.core.say(env, What::IkeSaDown { cause: cause.to_owned() });
    }

    /// The SA is down, and so is what these policies had of it.
    fn take_leave(
        &self,
        env: &mut Env<'_>,
        policies: impl Iterator<Item = PolicyIndex>,
        cause: &str,
        end: End,
    ) {
        self.common.core.say(env, What::IkeSaDown { cause: cause.to_owned() });
        env.signals.extend(policies.map(|policy| Signal::ChildDown(policy, cause.to_owned())));
        env.signals.push(Signal::Down { cause: cause.to_owned(), end });
    }
}

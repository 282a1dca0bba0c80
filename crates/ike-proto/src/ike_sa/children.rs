//! The CHILD_SAs of one IKE SA, from their installation to the last packet that may still come (RFC 7296 §2.8).
//!
//! ```text
//! Half --traffic comes, the old one is deleted, or 15 s-> Live --rekeyed--> Superseded --deleted--> Draining --> gone
//!  ^ made by the peer's rekey: inbound only                |                                          inbound only
//!                                                          '--we delete, until the answer--> Draining
//!                                                          '--the peer deletes--> gone
//! ```
//!
//! A superseded one whose successor goes first is live again.

use std::collections::BTreeSet;

use crate::crypto::suite::EspSuite;
use crate::ids::{ChildId, ChildSpi, PolicyIndex, Reqid};
use crate::ike_sa::core::Core;
use crate::ike_sa::env::{Env, Signal};
use crate::ike_sa::path::Path;
use crate::ike_sa::watch::{Counts, Finding, Watch};
use crate::output::What;
use crate::policy::sad::{Mode, SaKey, SaSpec};
use crate::policy::selector::Selector;
use crate::time::{Duration, Instant};

/// A half child goes live after this, whatever has come by then. Its predecessor carries the traffic that long, so this is
/// only for peers that never delete that: a response that is lost a few times must not make us send what the peer has no SA for.
pub const HALF_LIFE: Duration = Duration::from_secs(15);
/// The same for the first child of an IKE SA where another one of its pair, or another daemon's SA, may carry the traffic. If the
/// peer has lost that, it must not wait for long.
pub const BESIDE: Duration = Duration::from_secs(1);
/// How often a half child is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long packets under way may still come in on a child that is deleted after a rekey.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long packets may be overtaken by the answer to a DELETE that was sent after them.
pub const OVERTAKEN: Duration = Duration::from_millis(250);
/// A superseded child that the peer was to delete is deleted by us after this.
const OVERDUE: Duration = Duration::from_secs(20);

/// Children of one IKE SA that are always allowed.
const LEAST_CAP: usize = 8;

/// Two children that carry the same are a crossing until both are this old.
const SETTLED: Duration = Duration::from_secs(15);

/// Where a child is in its life.
#[derive(Debug)]
pub enum Stage {
    /// Both halves are in the kernel.
    Live,
    /// The peer may send on it; we send on its predecessor until the peer can receive (RFC 7296 §2.8).
    Half {
        /// Our half, to be installed.
        outbound: Box<SaSpec>,
        /// When it is installed at the latest.
        until: Instant,
    },
    /// It has a successor, and is about to be deleted by whoever made that.
    Superseded {
        /// When we delete it if nobody has.
        until: Instant,
    },
    /// Deleted; only packets under way may still come.
    Draining {
        /// When it is gone.
        until: Instant,
    },
}

impl Stage {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Half { .. } => "half",
            Self::Superseded { .. } => "superseded",
            Self::Draining { .. } => "draining",
        }
    }
}

/// An installed CHILD_SA.
#[derive(Debug)]
pub struct Child {
    /// The engine's number.
    pub id: ChildId,
    /// The policy it serves.
    pub policy: PolicyIndex,
    /// Exactly what it carries.
    pub selector: Selector,
    /// Transport or tunnel.
    pub mode: Mode,
    /// Of the policy's template.
    pub reqid: Reqid,
    /// SPI we receive on.
    pub spi_in: ChildSpi,
    /// SPI we send on.
    pub spi_out: ChildSpi,
    /// Algorithms.
    pub suite: EspSuite,
    /// Whether ESP is inside UDP.
    pub encap: bool,
    /// When it was installed.
    pub since: Instant,
    /// When it is to be rekeyed.
    pub rekey_at: Instant,
    /// Rekeys of it that were put off in a row.
    pub refusals: u8,
    /// Where it is in its life.
    pub stage: Stage,
    /// Whether our DELETE of it is queued or out.
    pub deleting: bool,
    /// Packets it had received when it was looked at last.
    pub seen: u64,
    /// Whether its packets flow both ways.
    pub watch: Watch,
}

impl Child {
    /// Whether it is the one that carries its traffic, or will in a moment.
    #[must_use]
    pub const fn serves(&self) -> bool {
        matches!(self.stage, Stage::Live | Stage::Half { .. }) && !self.deleting
    }

    /// How its inbound and its outbound half are found in the kernel.
    #[must_use]
    pub const fn keys(&self, path: &Path) -> [SaKey; 2] {
        [
            SaKey { destination: path.local(), spi: self.spi_in },
            SaKey { destination: path.remote(), spi: self.spi_out },
        ]
    }

    /// Whether its outbound half is in the kernel.
    #[must_use]
    pub const fn sends(&self) -> bool {
        matches!(self.stage, Stage::Live | Stage::Superseded { .. })
    }

    /// Whether it counts as an SA of the pair; what is draining does not.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        !matches!(self.stage, Stage::Draining { .. })
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.stage {
            Stage::Live if self.deleting => None,
            Stage::Live => Some(self.rekey_at),
            Stage::Half { until, .. } => Some((now + LOOK).min(*until)),
            Stage::Superseded { .. } if self.deleting => None,
            Stage::Superseded { until } | Stage::Draining { until } => Some(*until),
        }
    }
}

/// What a child's deadline asks of the tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// Rekey it.
    Rekey(ChildId),
    /// Delete it: it is superseded and still there.
    Delete(ChildId),
}

/// The CHILD_SAs of one IKE SA.
#[derive(Default)]
pub struct Children {
    list: Vec<Child>,
    next_look: Option<Instant>,
}

impl Children {
    /// Whether the peer has so many that it makes them without end: a few for each policy are enough for every crossing.
    #[must_use]
    pub fn are_many(&self, env: &Env<'_>, core: &Core) -> bool {
        let policies = env.policies.between(core.path.local(), core.path.remote()).count();
        self.list.iter().filter(|child| child.is_current()).count() >= LEAST_CAP.max(4 * policies)
    }

    /// All of them, in every stage.
    pub fn iter(&self) -> impl Iterator<Item = &Child> {
        self.list.iter()
    }

    /// Whether one serves `policy`.
    #[must_use]
    pub fn serve(&self, policy: PolicyIndex) -> bool {
        self.list.iter().any(|child| child.policy == policy && child.serves())
    }

    /// The child with this number.
    #[must_use]
    pub fn get(&self, id: ChildId) -> Option<&Child> {
        self.list.iter().find(|child| child.id == id)
    }

    /// The child with this number.
    pub fn get_mut(&mut self, id: ChildId) -> Option<&mut Child> {
        self.list.iter_mut().find(|child| child.id == id)
    }

    /// The one we receive on under `spi`.
    #[must_use]
    pub fn by_spi_in(&self, spi: ChildSpi) -> Option<&Child> {
        self.list.iter().find(|child| child.spi_in == spi)
    }

    /// The one we send on under `spi`.
    #[must_use]
    pub fn by_spi_out(&self, spi: ChildSpi) -> Option<&Child> {
        self.list.iter().find(|child| child.spi_out == spi)
    }

    /// Adds an installed child and says so.
    pub fn add(&mut self, env: &mut Env<'_>, core: &Core, mut child: Child) {
        let place = self.list.iter().find(|old| old.policy == child.policy && old.serves());
        if let Some(old) = place {
            child.watch = old.watch.successor(env.now);
        }
        core.say(
            env,
            What::ChildUp {
                selector: child.selector,
                mode: child.mode,
                spi_in: child.spi_in,
                spi_out: child.spi_out,
                suite: child.suite,
                flow: core.path.flow,
                encap: child.encap,
            },
        );
        env.signals.push(Signal::ChildUp(child.policy));
        // Nearly every IKE SA has one: room for more would be most of what it holds.
        self.list.reserve_exact(1);
        self.list.push(child);
        self.arm(env.now);
    }

    /// Takes all of them out, for the IKE SA's successor; the kernel's SAs stay as they are.
    #[must_use]
    pub fn hand_over(&mut self) -> Vec<Child> {
        self.next_look = None;
        std::mem::take(&mut self.list)
    }

    /// Takes over a predecessor's children.
    pub fn inherit(&mut self, now: Instant, mut children: Vec<Child>) {
        for child in &mut children {
            // A response on the old IKE SA is not waited for any more.
            if let Stage::Draining { until } = &mut child.stage {
                *until = (now + GRACE).min(*until);
            }
        }
        self.list.extend(children);
        self.arm(now);
    }

    /// A child is to be rekeyed at `at`.
    pub fn put_off(&mut self, now: Instant, id: ChildId, at: Instant) {
        if let Some(child) = self.get_mut(id) {
            child.rekey_at = at;
            child.refusals = child.refusals.saturating_add(1);
        }
        self.arm(now);
    }

    /// `old` has a successor now.
    pub fn supersede(&mut self, env: &mut Env<'_>, old: ChildId) {
        let until = env.now + OVERDUE;
        if let Some(child) = self.get_mut(old).filter(|child| child.is_current()) {
            // A pending outbound half is dropped with the stage: nothing is to be sent on it any more.
            child.stage = Stage::Superseded { until };
        }
        self.arm(env.now);
    }

    /// Installs a half child's outbound half; the kernel sends on it from now on.
    pub fn go_live(&mut self, env: &mut Env<'_>, core: &Core, id: ChildId) {
        let Some(child) = self.get_mut(id) else { return };
        if let Stage::Half { outbound, .. } = &child.stage {
            let added = env.sad.add_outbound(outbound);
            child.stage = Stage::Live;
            if let Err(error) = added {
                core.say(env, What::Trouble(format!("the kernel refuses the new outbound SA: {error}")));
            }
        }
        self.arm(env.now);
    }

    /// Nothing of `policy` goes out any more but what waits for its turn: that goes live now.
    pub fn promote(&mut self, env: &mut Env<'_>, core: &Core, policy: PolicyIndex) {
        if !self.list.iter().any(|child| child.policy == policy && child.sends()) {
            self.go_live_for(env, core, policy);
        }
    }

    /// The successor of a child of `policy` has gone before that: it carries on, if it has been sent on.
    pub fn reinstate(&mut self, env: &mut Env<'_>, core: &Core, policy: PolicyIndex) {
        if self.serve(policy) {
            return;
        }
        let superseded = self.list.iter_mut().filter(|child| {
            child.policy == policy && matches!(child.stage, Stage::Superseded { .. }) && !child.deleting
        });
        for child in superseded {
            let [_, outbound] = child.keys(&core.path);
            if env.sad.query(&outbound).is_ok() {
                child.stage = Stage::Live;
                break;
            }
        }
        self.arm(env.now);
    }

    /// All of `policy` that wait for their turn go live.
    pub fn go_live_for(&mut self, env: &mut Env<'_>, core: &Core, policy: PolicyIndex) {
        let waits = |child: &&Child| child.policy == policy && matches!(child.stage, Stage::Half { .. });
        for half in self.list.iter().filter(waits).map(|child| child.id).collect::<Vec<_>>() {
            self.go_live(env, core, half);
        }
    }

    /// Of two children that carry the same, one is surplus: the one with the lowest of the four SPIs, so that both ends mean
    /// the same. It comes to that when one end's rekey and the other's new child cross, and messages are lost for long.
    #[must_use]
    pub fn surplus(&self, now: Instant) -> Option<ChildId> {
        let settled = |child: &&Child| {
            matches!(child.stage, Stage::Live) && !child.deleting && child.since + SETTLED <= now
        };
        let live: Vec<&Child> = self.list.iter().filter(settled).collect();
        let twins = |child: &&&Child| {
            let same = |other: &&&Child| (other.policy, other.selector) == (child.policy, child.selector);
            live.iter().filter(same).count() > 1
        };
        let lowest = |child: &&&Child| child.spi_in.min(child.spi_out);
        live.iter().filter(twins).min_by_key(lowest).map(|child| child.id)
    }

    /// Removes the outbound half of a superseded child; its inbound half stays for packets under way.
    pub fn drain(&mut self, env: &mut Env<'_>, core: &Core, id: ChildId, cause: &str) {
        let until = env.now + GRACE;
        match self.get_mut(id).map(|child| &mut child.stage) {
            // Its outbound half went with the peer's own DELETE.
            Some(Stage::Draining { until: drained }) => *drained = until.min(*drained),
            Some(_) => self.close_outbound(env, core, id, until, cause),
            None => {}
        }
        self.arm(env.now);
    }

    /// The peer deletes a child while our own DELETE of it is out: the outbound half goes now, and the inbound half with the
    /// response (RFC 7296 §1.4.1), or with the IKE SA if none comes.
    pub fn await_drain(&mut self, env: &mut Env<'_>, core: &Core, id: ChildId, cause: &str) {
        if self.get(id).is_some_and(Child::is_current) {
            self.close_outbound(env, core, id, Instant::MAX, cause);
        }
    }

    fn close_outbound(&mut self, env: &mut Env<'_>, core: &Core, id: ChildId, until: Instant, cause: &str) {
        let Some(child) = self.get_mut(id) else { return };
        let (spi_in, mode) = (child.spi_in, child.mode);
        let [_, outbound] = child.keys(&core.path);
        child.stage = Stage::Draining { until };
        let _ = env.sad.remove(&outbound);
        core.say(env, What::ChildDown { mode, spi_in, cause: cause.to_owned() });
        self.arm(env.now);
    }

    /// Nothing is sent any more on those that are `such`. What the peer sends until it knows still comes in, until it has answered
    /// ([`Children::stop_receiving`]) or until `until`. Gives the SPIs they receive on and their policies.
    pub fn stop_sending(
        &mut self,
        env: &mut Env<'_>,
        core: &Core,
        until: Instant,
        cause: &str,
        such: impl Fn(&Child) -> bool,
    ) -> Vec<(ChildSpi, PolicyIndex)> {
        let current = self.list.iter().filter(|child| child.is_current() && such(child));
        let ending: Vec<_> = current.map(|child| (child.id, child.spi_in, child.policy)).collect();
        ending.iter().for_each(|(id, ..)| self.close_outbound(env, core, *id, until, cause));
        ending.into_iter().map(|(_, spi_in, policy)| (spi_in, policy)).collect()
    }

    /// The peer has answered the DELETE of those that are `such`, and sends nothing on them any more: they go when what its answer
    /// has overtaken is in.
    pub fn stop_receiving(&mut self, now: Instant, such: impl Fn(&Child) -> bool) {
        for child in self.list.iter_mut().filter(|child| such(child)) {
            if let Stage::Draining { until } = &mut child.stage {
                *until = (now + OVERTAKEN).min(*until);
            }
        }
        self.arm(now);
    }

    /// Takes out the children `which` and removes their SAs from the kernel.
    pub fn remove(
        &mut self,
        env: &mut Env<'_>,
        core: &Core,
        cause: &str,
        which: impl Fn(&Child) -> bool,
    ) -> Vec<Child> {
        let (gone, kept): (Vec<Child>, Vec<Child>) =
            std::mem::take(&mut self.list).into_iter().partition(which);
        self.list = kept;
        self.list.shrink_to_fit();
        for child in &gone {
            for key in child.keys(&core.path).iter().rev() {
                // An SA that has expired meanwhile is as gone as one that is removed.
                let _ = env.sad.remove(key);
            }
            if child.is_current() {
                let (spi_in, mode) = (child.spi_in, child.mode);
                core.say(env, What::ChildDown { mode, spi_in, cause: cause.to_owned() });
            }
        }
        self.arm(env.now);
        gone
    }

    fn arm(&mut self, now: Instant) {
        self.next_look = self.list.iter().filter_map(|child| child.deadline(now)).min();
    }

    /// When [`Children::handle_timeout`] is due.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.next_look
    }

    /// Looks after every child whose time has come.
    pub fn handle_timeout(&mut self, env: &mut Env<'_>, core: &Core) -> Vec<Due> {
        if self.next_look.is_none_or(|at| at > env.now) {
            return Vec::new();
        }
        let mut due = Vec::new();
        for id in self.list.iter().map(|child| child.id).collect::<Vec<_>>() {
            due.extend(self.look(env, core, id));
        }
        self.arm(env.now);
        due
    }

    fn look(&mut self, env: &mut Env<'_>, core: &Core, id: ChildId) -> Option<Due> {
        let child = self.get_mut(id)?;
        match &child.stage {
            Stage::Live if child.rekey_at <= env.now && !child.deleting => {
                // Asked once; if it comes to nothing, it is asked again.
                child.rekey_at = env.now + OVERDUE;
                return Some(Due::Rekey(id));
            }
            Stage::Half { until, .. } => {
                let [inbound, _] = child.keys(&core.path);
                let received = env.sad.query(&inbound).is_ok_and(|usage| usage.packets > 0);
                if received || *until <= env.now {
                    self.go_live(env, core, id);
                }
            }
            Stage::Superseded { until } if *until <= env.now && !child.deleting => {
                child.deleting = true;
                return Some(Due::Delete(id));
            }
            Stage::Draining { until } if *until <= env.now => {
                let [inbound, _] = child.keys(&core.path);
                let _ = env.sad.remove(&inbound);
                self.list.retain(|child| child.id != id);
                self.list.shrink_to_fit();
            }
            _ => {}
        }
        None
    }

    /// Encapsulated ESP goes to the path's port from now on.
    pub fn follow_port(&mut self, env: &mut Env<'_>, core: &Core) {
        let Some(encap) = core.path.esp_encap() else { return };
        for child in self.list.iter_mut().filter(|child| child.encap) {
            for key in child.keys(&core.path) {
                // A half that is not in the kernel has nothing to move.
                let _ = env.sad.move_ports(&key, encap);
            }
            if let Stage::Half { outbound, .. } = &mut child.stage {
                outbound.encap = Some(encap);
            }
        }
    }

    /// The policies that they serve.
    pub fn served(&self) -> impl Iterator<Item = PolicyIndex> + '_ {
        self.list.iter().filter(|child| child.serves()).map(|child| child.policy)
    }

    /// The policies of which a child has carried anything yet; one that waits for its turn does not carry what we send.
    pub fn carrying(&self, env: &mut Env<'_>, core: &Core) -> BTreeSet<PolicyIndex> {
        let sending = self.list.iter().filter(|child| child.serves() && child.sends());
        let mut carries = |child: &&Child| {
            let mut halves = child.keys(&core.path).into_iter();
            halves.any(|key| env.sad.query(&key).is_ok_and(|usage| usage.packets > 0))
        };
        sending.filter(|child| carries(child)).map(|child| child.policy).collect()
    }

    /// Drains those that are `such`: the pair has another SA that carries the same.
    pub fn drain_all(&mut self, env: &mut Env<'_>, core: &Core, cause: &str, such: impl Fn(&Child) -> bool) {
        for id in self.list.iter().filter(|child| such(child)).map(|child| child.id).collect::<Vec<_>>() {
            self.drain(env, core, id, cause);
        }
    }

    /// Looks at the counters of all that serve; `counts` knows them.
    pub fn watch(
        &mut self,
        now: Instant,
        counts: impl Fn(&Child) -> Option<Counts>,
    ) -> Vec<(ChildId, Finding)> {
        let live = self.list.iter_mut().filter(|child| matches!(child.stage, Stage::Live) && !child.deleting);
        live.filter_map(|child| Some((child.id, child.watch.look(now, counts(child)?)))).collect()
    }

    /// Whether any child has received packets since this was asked last: the peer is there.
    pub fn have_received(&mut self, env: &mut Env<'_>, core: &Core) -> bool {
        let mut received = false;
        for child in &mut self.list {
            let [inbound, _] = child.keys(&core.path);
            if let Ok(usage) = env.sad.query(&inbound) {
                received |= usage.packets > child.seen;
                child.seen = usage.packets;
            }
        }
        received
    }
}

/// The stage of a child that the peer has begun and may not have yet; after `life` it goes live whatever has come.
#[must_use]
pub fn half(now: Instant, outbound: SaSpec, life: Duration) -> Stage {
    Stage::Half { outbound: Box::new(outbound), until: now + life }
}

//! Pairs: what two hosts want of each other, whatever SAs they have at the moment.
//!
//! A pair is named by its two addresses as this end sees them. It wants a child for each policy that asked, retries
//! until it has it, waits longer each time up to a cap, and begins at once when traffic asks again. There is no "given up".

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::config::Ports;
use crate::endpoint::{ApiMisuse, Chore, Context, Endpoint};
use crate::ids::{PolicyIndex, Role, SaId};
use crate::ike_sa::IkeSa;
use crate::ike_sa::children::Child;
use crate::ike_sa::core::Core;
use crate::ike_sa::env::{End, Signal, Wanted};
use crate::ike_sa::handshake::prove;
use crate::ike_sa::path::Path;
use crate::output::{Event, Flow, What};
use crate::policy::sad::{Acquire, SaKey, SadError};
use crate::time::{Duration, Instant};

/// Two addresses, as this end sees them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct PairKey {
    /// Ours.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
}

/// How long a policy that an engine before this one made stays without an SA: longer than a peer takes to find out.
const ADOPTED: Duration = Duration::from_secs(180);
/// First pause after a failed attempt; it doubles up to the configured cap.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long a handshake that the peer seems to have begun is waited for.
const GIVE_WAY: Duration = Duration::from_secs(2);

/// The end that is not to begin waits this long for the other one.
const AFTER_YOU: Duration = Duration::from_secs(1);

/// Where the peer may be on other ports too, it has this long to answer on these.
const ELSEWHERE: Duration = Duration::from_secs(4);

/// A child that has been there for so long ends a row of failures.
const PROVED: Duration = Duration::from_secs(10);

/// What is known and wanted of a pair.
pub(super) struct Pair {
    /// Its IKE SAs in every phase.
    pub sas: BTreeSet<SaId>,
    /// Children that are wanted and not there.
    wanted: BTreeMap<PolicyIndex, Wanted>,
    /// Attempts that failed in a row.
    failures: u32,
    /// When the next attempt is made, if one waits.
    pub(super) retry_at: Option<Instant>,
    /// When the last attempt failed.
    failed_at: Option<Instant>,
    /// The last failure.
    pub(super) last_error: Option<(Instant, String)>,
    /// When its state last changed.
    pub(super) since: Instant,
    /// Crossings of both ends' handshakes in a row, and when the last one was.
    pub(super) duels: (u32, Instant),
    /// Since when a child has been there, as far as no failure has counted it yet.
    up_since: Option<Instant>,
    /// Whether we are the end that begins when nobody has to: the lower identity, once both are known.
    preferred: bool,
    /// Whether it has waited for a handshake that the peer seems to have begun.
    gave_way: bool,
    /// Where the peer was reached last, or is tried next; `None`: where every pair is tried first.
    ports: Option<Ports>,
    /// Policies that were made because the peer asked for them.
    made: BTreeSet<PolicyIndex>,
}

impl Pair {
    const fn new(now: Instant) -> Self {
        Self {
            sas: BTreeSet::new(),
            wanted: BTreeMap::new(),
            failures: 0,
            retry_at: None,
            failed_at: None,
            last_error: None,
            since: now,
            duels: (0, Instant::ZERO),
            up_since: None,
            preferred: true,
            gave_way: false,
            ports: None,
            made: BTreeSet::new(),
        }
    }

    /// Whether a child was there for long enough, which ends a row of failures; that is told once.
    fn has_held(&mut self, now: Instant) -> bool {
        let held = self.up_since.is_some_and(|since| since + PROVED <= now);
        if held {
            (self.up_since, self.failures) = (None, 0);
        }
        held
    }
}

impl Endpoint {
    /// The pair of two addresses, made if it is new.
    pub(super) fn pair(&mut self, now: Instant, local: IpAddr, remote: IpAddr) -> &mut Pair {
        self.pairs.entry(PairKey { local, remote }).or_insert_with(|| Pair::new(now))
    }

    /// The kernel asks for an SA.
    pub(super) fn handle_acquire(&mut self, cx: &mut Context<'_>, acquire: Acquire) {
        let key = PairKey { local: acquire.local, remote: acquire.remote };
        let known = self.policies.get(acquire.policy).or_else(|| {
            self.policies
                .between(acquire.local, acquire.remote)
                .find(|policy| (policy.template.mode, policy.template.reqid) == (acquire.mode, acquire.reqid))
        });
        let Some(wanted) =
            known.map(|policy| Wanted::by(policy, Some(acquire))).filter(|_| !self.shutting_down)
        else {
            cx.sad.release_acquire(&acquire);
            return;
        };
        let established = self.has_established(key);
        // Straight after a failure, traffic does not begin again before the pause is over: each packet would.
        let pair = self.pair(cx.now, key.local, key.remote);
        let early = pair.failed_at.map(|at| at + FIRST_PAUSE).filter(|at| cx.now < *at);
        if established && pair.retry_at.is_some() && pair.wanted.contains_key(&wanted.policy) {
            // The peer is there and has refused it: packets do not change that.
            pair.wanted.insert(wanted.policy, wanted);
            return;
        }
        if let Some((waits, at)) = pair.retry_at.zip(early) {
            pair.wanted.insert(wanted.policy, wanted);
            if at < waits {
                pair.retry_at = Some(at);
                self.chores.remove(&(waits, Chore::Retry(key)));
                self.chores.insert((at, Chore::Retry(key)));
            }
            return;
        }
        self.want(cx, key, wanted, "traffic");
    }

    /// Adds a wish and begins at once.
    fn want(&mut self, cx: &mut Context<'_>, key: PairKey, wanted: Wanted, cause: &str) {
        self.pair(cx.now, key.local, key.remote).wanted.insert(wanted.policy, wanted);
        self.pursue(cx, key, cause);
    }

    /// Adds a wish that is pursued when there is occasion.
    pub(super) fn wish(&mut self, cx: &mut Context<'_>, key: PairKey, wanted: Wanted) {
        self.pair(cx.now, key.local, key.remote).wanted.entry(wanted.policy).or_insert(wanted);
    }

    /// Does what the pair's wishes need: children on its SA, or a handshake if it has none.
    pub(super) fn pursue(&mut self, cx: &mut Context<'_>, key: PairKey, cause: &str) {
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        if let Some(at) = pair.retry_at.take() {
            self.chores.remove(&(at, Chore::Retry(key)));
        }
        let sas: Vec<SaId> = pair.sas.iter().copied().collect();
        let is =
            |which: fn(&IkeSa) -> bool| sas.iter().copied().find(|id| self.sas.get(id).is_some_and(which));
        if let Some(id) = is(IkeSa::is_established) {
            let wanted =
                self.pairs.get_mut(&key).map(|pair| std::mem::take(&mut pair.wanted)).unwrap_or_default();
            for wanted in wanted.into_values() {
                // What is carried already need not be made. A packet may have asked before the child came; the kernel knows.
                let carried = match &wanted.acquire {
                    Some(acquire) => self.releases(cx, key, &wanted, acquire),
                    None => self.has_child(key, wanted.policy),
                };
                if !carried {
                    self.with_sa(cx, id, |sa, env| sa.create_child(env, wanted));
                }
            }
        } else if let Some(id) = is(IkeSa::is_initiating) {
            self.with_sa(cx, id, IkeSa::hurry_request);
        } else if !self.gives_way(cx, key) {
            self.begin(cx, key, cause);
        }
    }

    /// Whether a child is there for what a packet asked for. Where the kernel sends on it by now, it need not wait any more; a
    /// child that is half there ends the waiting when it goes live.
    fn releases(&self, cx: &mut Context<'_>, key: PairKey, wanted: &Wanted, acquire: &Acquire) -> bool {
        let asked = acquire.packet.unwrap_or_else(|| wanted.between((key.local, key.remote)));
        let sas = self.pairs.get(&key).into_iter().flat_map(|pair| &pair.sas);
        let children = sas.filter_map(|id| self.sas.get(id)).flat_map(|sa| sa.common.children.iter());
        let fit = |child: &&Child| child.policy == wanted.policy && child.selector.covers(&asked);
        let fitting: Vec<&Child> = children.filter(fit).collect();
        let sent = |spi| SaKey { destination: key.remote, spi };
        let mut sending = fitting.iter().filter(|child| child.sends());
        if sending.any(|child| cx.sad.query(&sent(child.spi_out)).is_ok()) {
            cx.sad.release_acquire(acquire);
            return true;
        }
        fitting.iter().any(|child| child.serves() && !child.sends())
    }

    /// The peer seems to have begun: it is given a moment, once. Nobody has authenticated it, so it is not waited for longer.
    fn gives_way(&mut self, cx: &mut Context<'_>, key: PairKey) -> bool {
        let begun =
            |pair: &Pair| pair.sas.iter().filter_map(|id| self.sas.get(id)).any(IkeSa::is_handshaking);
        if !self.pairs.get(&key).is_some_and(|pair| !pair.gave_way && begun(pair)) {
            return false;
        }
        let at = cx.now + GIVE_WAY;
        let pair = self.pair(cx.now, key.local, key.remote);
        (pair.gave_way, pair.retry_at) = (true, Some(at));
        self.chores.insert((at, Chore::Retry(key)));
        true
    }

    /// Begins a handshake for the first of the pair's wishes.
    fn begin(&mut self, cx: &mut Context<'_>, key: PairKey, cause: &str) {
        let Some(first) = self.pairs.get(&key).and_then(|pair| pair.wanted.keys().next().copied()) else {
            return;
        };
        let Some(peer) = self.peers.by_address(key.remote).cloned() else {
            self.refuse_wishes(cx, key, &format!("{} is no configured peer", key.remote));
            return;
        };
        if peer.passive {
            self.refuse_wishes(cx, key, &format!("{} is passive: it only answers", peer.name));
            return;
        }
        let expected = peer.expected_ids.first();
        if let Some(why) = prove::hopeless(&peer.auth, &self.peers, expected, key.remote) {
            self.refuse_wishes(cx, key, &why);
            return;
        }
        let ports = self.pairs.get(&key).and_then(|pair| pair.ports);
        let port = ports.unwrap_or(self.config.ports).ike;
        let local = SocketAddr::new(key.local, port);
        let remote = SocketAddr::new(key.remote, peer.port.unwrap_or(port));
        let flow = Flow { local, remote, natt: false };
        let (id, spi) = (self.next_sa(), self.free_spi());
        let spis = (spi, crate::ids::IkeSpi::ZERO);
        let mut core = Core::new(id, Role::Initiator, spis, peer, Path::new(flow), cx.now);
        core.beside = self.has_established(key);
        let wanted = self.pairs.get_mut(&key).and_then(|pair| pair.wanted.remove(&first));
        let what = What::Initiating { cause: cause.to_owned() };
        let (local, remote) = (key.local, key.remote);
        self.out.event(Event { local, remote, sa: None, spis: None, flow: Some(flow), what });
        let mut signals = Vec::new();
        let Some(mut sa) = IkeSa::initiate(&mut self.env(cx, &mut signals), core, wanted) else {
            self.refuse_wishes(cx, key, "the peer's configuration has no proposal");
            return;
        };
        if self.config.also.is_some() {
            sa.hurry(cx.now + ELSEWHERE);
        }
        let pair = self.pair(cx.now, key.local, key.remote);
        pair.sas.insert(id);
        (pair.since, pair.gave_way) = (cx.now, false);
        self.take_in(cx, id, sa, signals);
    }

    /// Nothing can be done for the pair's wishes until the configuration changes or traffic asks again.
    fn refuse_wishes(&mut self, cx: &mut Context<'_>, key: PairKey, cause: &str) {
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        pair.last_error = Some((cx.now, cause.to_owned()));
        let wanted = std::mem::take(&mut pair.wanted);
        self.say(key, What::HandshakeFailed { cause: cause.to_owned() });
        for acquire in wanted.into_values().filter_map(|wanted| wanted.acquire) {
            cx.sad.release_acquire(&acquire);
        }
    }

    /// What an SA tells.
    pub(super) fn handle_signal(&mut self, cx: &mut Context<'_>, key: PairKey, id: SaId, signal: Signal) {
        match signal {
            Signal::Established => {
                self.half_open.remove(id);
                let preferred = self.sas.get(&id).is_none_or(|sa| sa.common.core.is_preferred());
                let port = self.sas.get(&id).map(|sa| sa.common.core.path.flow.local.port());
                let ports = port.map(|port| self.config.ports_with(port));
                let pair = self.pair(cx.now, key.local, key.remote);
                (pair.preferred, pair.since, pair.gave_way) = (preferred, cx.now, false);
                pair.ports = ports;
                self.contact_made(cx, key);
                self.settle(cx, key, id);
                self.pursue(cx, key, "established");
            }
            Signal::HandshakeFailed(cause) => {
                self.half_open.remove(id);
                self.handshake_failed(cx, key, cause);
            }
            Signal::Hint => self.follow_hint(cx, key),
            Signal::Reestablish(cause) => self.reestablish(cx, key, &cause),
            Signal::Down { cause, end } => self.sa_down(cx, key, cause, end),
            Signal::Successor { sa, inherits } => {
                let successor = sa.common.core.id;
                self.pair(cx.now, key.local, key.remote).sas.insert(successor);
                self.take_in(cx, successor, *sa, Vec::new());
                if inherits {
                    self.hand_over(cx, key, id, successor);
                }
            }
            Signal::Claim(predecessor) => self.hand_over(cx, key, predecessor, id),
            Signal::Lost(sa) => self.with_sa(cx, sa, IkeSa::supersede),
            Signal::HandOver(successor) => self.hand_over(cx, key, id, successor),
            Signal::ChildUp(policy) => {
                let pair = self.pair(cx.now, key.local, key.remote);
                pair.since = cx.now;
                pair.up_since.get_or_insert(cx.now);
                pair.wanted.remove(&policy);
            }
            Signal::PolicyMade(policy) => {
                self.pair(cx.now, key.local, key.remote).made.insert(policy.index);
                self.policies = std::sync::Arc::new(self.policies.with(*policy));
            }
            Signal::ChildFailed(wanted, cause) => self.child_failed(cx, key, wanted, cause),
            Signal::ChildDown(..) => {}
            Signal::InitialContact => self.initial_contact(cx, key, id),
        }
    }

    /// Nobody has authenticated it, but something says that the peer may have lost what it has with us: it is asked.
    pub(super) fn follow_hint(&mut self, cx: &mut Context<'_>, key: PairKey) {
        let sas = self.pairs.get(&key).map(|pair| pair.sas.clone()).unwrap_or_default();
        for sa in sas {
            self.with_sa(cx, sa, IkeSa::follow_hint);
        }
    }

    /// Children and queued exchanges go from an IKE SA to its successor.
    fn hand_over(&mut self, cx: &mut Context<'_>, key: PairKey, old: SaId, successor: SaId) {
        if !self.sas.contains_key(&successor) {
            return;
        }
        let Some(sa) = self.sas.get_mut(&old) else { return };
        let (children, tasks) = (sa.common.children.hand_over(), sa.common.tasks.hand_over());
        self.follow_duel(key, old, successor);
        self.with_sa(cx, successor, |sa, env| sa.inherit(env, children, tasks));
    }

    /// An SA ended; if nobody wanted that, what it carried is wanted again: at once, after a moment if the other end is to
    /// begin, and after a longer one if it did not hold.
    fn sa_down(&mut self, cx: &mut Context<'_>, key: PairKey, cause: String, end: End) {
        let pair = self.pair(cx.now, key.local, key.remote);
        pair.since = cx.now;
        pair.last_error = Some((cx.now, cause.clone()));
        if !self.has_established(key) {
            self.unmake_policies(cx, key);
        }
        if end == End::Meant || self.shutting_down || self.has_established(key) {
            return;
        }
        self.wish_all(cx, key);
        let pair = self.pair(cx.now, key.local, key.remote);
        // One that did not hold is made again at once, but only once in a row.
        let at_once = pair.has_held(cx.now) || pair.failures == 0;
        pair.failures = pair.failures.max(1);
        match (at_once, pair.preferred || end == End::Restart) {
            (true, true) => self.pursue(cx, key, "the SA was lost"),
            (true, false) => {
                self.chores.insert((cx.now + AFTER_YOU, Chore::Initiate(key)));
            }
            (false, _) => self.failed(cx, key, cause),
        }
    }

    /// Policies that an engine before this one made for peers: their peers have some time to come back, and until then nothing
    /// passes in clear.
    pub(super) fn adopt_policies(&mut self, cx: &mut Context<'_>) {
        let policies = std::sync::Arc::clone(&self.policies);
        for policy in policies.iter().filter(|policy| policy.made) {
            let Some((local, remote)) = policy.endpoints() else { continue };
            if self.pair(cx.now, local, remote).made.insert(policy.index) {
                self.chores.insert((cx.now + ADOPTED, Chore::Unmake(PairKey { local, remote })));
            }
        }
    }

    /// The pair has no SA any more: the policies that were made for its peer go, and with them all that they ask for.
    pub(super) fn unmake_policies(&mut self, cx: &mut Context<'_>, key: PairKey) {
        let Some(pair) = self.pairs.get_mut(&key).filter(|pair| !pair.made.is_empty()) else { return };
        let made = std::mem::take(&mut pair.made);
        pair.wanted.retain(|policy, _| !made.contains(policy));
        self.policies = std::sync::Arc::new(self.policies.without(&made));
        for policy in made {
            match cx.sad.remove_policy(policy) {
                Ok(()) | Err(SadError::NotFound) => {}
                Err(error) => {
                    let trouble = format!("the policy that was made for the peer stays: {error}");
                    self.say(key, What::Trouble(trouble));
                }
            }
        }
    }

    /// Wishes for all that the pair's policies ask for.
    fn wish_all(&mut self, cx: &mut Context<'_>, key: PairKey) {
        let policies = std::sync::Arc::clone(&self.policies);
        for policy in policies.between(key.local, key.remote) {
            self.wish(cx, key, Wanted::by(policy, None));
        }
    }

    /// Begins another IKE SA in the place of one that is still there.
    fn reestablish(&mut self, cx: &mut Context<'_>, key: PairKey, cause: &str) {
        let begun = |pair: &Pair| pair.sas.iter().filter_map(|id| self.sas.get(id)).any(IkeSa::is_initiating);
        if !self.shutting_down && !self.pairs.get(&key).is_some_and(begun) {
            self.wish_all(cx, key);
            self.begin(cx, key, cause);
        }
    }

    /// Makes the pair's IKE SA anew, beside the one that is there.
    pub(super) fn reauthenticate(&mut self, cx: &mut Context<'_>, key: PairKey) -> Result<(), ApiMisuse> {
        if !self.has_established(key) {
            return Err(ApiMisuse::NoSa(key.local, key.remote));
        }
        self.reestablish(cx, key, "reauthentication was asked for");
        Ok(())
    }

    /// A handshake came to nothing: where another SA is there it was not needed, or is to be tried again by that.
    fn handshake_failed(&mut self, cx: &mut Context<'_>, key: PairKey, cause: String) {
        if !self.has_established(key) {
            self.turn_ports(cx, key);
            self.failed(cx, key, cause);
            return;
        }
        let sas = self.pairs.get(&key).map(|pair| pair.sas.clone()).unwrap_or_default();
        for id in sas {
            if let Some(sa) = self.sas.get_mut(&id) {
                sa.common.core.replaced = false;
            }
        }
    }

    /// The next attempt is made on the other ports, if there are any.
    fn turn_ports(&mut self, cx: &mut Context<'_>, key: PairKey) {
        let first = self.config.ports;
        let tried = self.pair(cx.now, key.local, key.remote).ports.unwrap_or(first);
        let next = self.config.next_ports(tried);
        self.pair(cx.now, key.local, key.remote).ports = Some(next);
    }

    /// Whether the pair has an authenticated IKE SA.
    pub(super) fn has_established(&self, key: PairKey) -> bool {
        let sas = self.pairs.get(&key).into_iter().flat_map(|pair| &pair.sas);
        sas.filter_map(|id| self.sas.get(id)).any(IkeSa::is_established)
    }

    /// A wish that failed stays one; its waiting packet is let go, so that the next one asks again.
    fn child_failed(&mut self, cx: &mut Context<'_>, key: PairKey, mut wanted: Wanted, cause: String) {
        if let Some(acquire) = wanted.acquire.take() {
            cx.sad.release_acquire(&acquire);
        }
        let still = self.policies.get(wanted.policy).is_some() && !self.shutting_down;
        let pair = self.pair(cx.now, key.local, key.remote);
        if still {
            pair.wanted.entry(wanted.policy).or_insert(wanted);
        }
        self.failed(cx, key, cause);
    }

    /// Notes a failure and, if the pair still wants something, when to try again.
    fn failed(&mut self, cx: &mut Context<'_>, key: PairKey, cause: String) {
        let cap = self.config.backoff_cap;
        let pair = self.pair(cx.now, key.local, key.remote);
        pair.has_held(cx.now);
        pair.last_error = Some((cx.now, cause));
        pair.failed_at = Some(cx.now);
        pair.since = cx.now;
        if pair.wanted.is_empty() || pair.retry_at.is_some() {
            return;
        }
        let wait = if pair.preferred { Duration::ZERO } else { AFTER_YOU };
        let pause = (FIRST_PAUSE.saturating_mul(1 << pair.failures.min(16)) + wait).min(cap);
        pair.failures = pair.failures.saturating_add(1);
        let at = cx.now + self.rng.jitter_down(pause, 25);
        self.pair(cx.now, key.local, key.remote).retry_at = Some(at);
        self.chores.insert((at, Chore::Retry(key)));
    }

    /// The pause is over.
    pub(super) fn retry(&mut self, cx: &mut Context<'_>, key: PairKey) {
        if let Some(pair) = self.pairs.get_mut(&key) {
            pair.retry_at = None;
            self.pursue(cx, key, "trying again");
        }
    }

    /// An SA of the kernel came to a limit: near it, the child is rekeyed; behind it, it is deleted at the peer too and
    /// made anew.
    pub(super) fn handle_expire(&mut self, cx: &mut Context<'_>, key: SaKey, hard: bool) {
        let found = self.sas.iter().find_map(|(id, sa)| {
            let path = &sa.common.core.path;
            let hit = sa.common.children.iter().find(|child| child.keys(path).contains(&key));
            hit.map(|child| (id, child.spi_in))
        });
        let Some((id, spi_in)) = found else { return };
        if hard {
            self.with_sa(cx, id, |sa, env| sa.replace_child(env, spi_in, "expired"));
        } else {
            self.with_sa(cx, id, |sa, env| sa.rekey_child(env, spi_in));
        }
    }

    /// ESP of this SA came from another port: a question there brings an authenticated message from there (RFC 7296 §2.23).
    pub(super) fn handle_mapping(&mut self, cx: &mut Context<'_>, key: SaKey, remote: SocketAddr) {
        let found = self.sas.iter().find_map(|(id, sa)| {
            let ours = sa.common.core.path.local() == key.destination;
            (ours && sa.common.children.by_spi_in(key.spi).is_some()).then_some(id)
        });
        if let Some(id) = found {
            self.with_sa(cx, id, |sa, env| sa.follow_mapping(env, remote));
        }
    }

    /// Sets up every pair that the policies name, one a millisecond; not those whose peer is to begin.
    pub(super) fn initiate_all(&mut self, cx: &mut Context<'_>) {
        let pairs: BTreeSet<PairKey> = self
            .policies
            .iter()
            .filter_map(|policy| policy.endpoints())
            .map(|(local, remote)| PairKey { local, remote })
            .filter(|key| !self.peers.by_address(key.remote).is_some_and(|peer| peer.passive))
            .collect();
        let mut at = cx.now;
        for key in pairs {
            self.chores.insert((at, Chore::Initiate(key)));
            at = at + Duration::from_millis(1);
        }
    }

    /// Sets a pair up at the start, unless the peer is about to.
    pub(super) fn initiate_unless_begun(&mut self, cx: &mut Context<'_>, key: PairKey) {
        let sas =
            self.pairs.get(&key).into_iter().flat_map(|pair| &pair.sas).filter_map(|id| self.sas.get(id));
        if sas.into_iter().any(IkeSa::is_handshaking) {
            self.chores.insert((cx.now + FIRST_PAUSE * 2, Chore::Initiate(key)));
        } else if !self.has_established(key) {
            // There is nobody to tell if a policy has gone meanwhile.
            let _ = self.initiate_pair(cx, key);
        }
    }

    /// Sets the pair up, for each policy between its addresses that has no child.
    pub(super) fn initiate_pair(&mut self, cx: &mut Context<'_>, key: PairKey) -> Result<(), ApiMisuse> {
        let wishes: Vec<Wanted> = self
            .policies
            .between(key.local, key.remote)
            .filter(|policy| !self.has_child(key, policy.index))
            .map(|policy| Wanted::by(policy, None))
            .collect();
        if wishes.is_empty() && self.policies.between(key.local, key.remote).next().is_none() {
            return Err(ApiMisuse::NoPolicy(key.local, key.remote));
        }
        for wanted in wishes {
            self.want(cx, key, wanted, "asked for");
        }
        Ok(())
    }

    fn has_child(&self, key: PairKey, policy: PolicyIndex) -> bool {
        let sas = self.pairs.get(&key).into_iter().flat_map(|pair| &pair.sas);
        // A child of an SA that is about to go is as good as gone.
        let staying = sas.filter_map(|id| self.sas.get(id)).filter(|sa| !sa.common.core.graceful);
        staying.into_iter().any(|sa| sa.common.children.serve(policy))
    }

    /// Deletes the pair's SAs and wishes.
    pub(super) fn delete_pair(&mut self, cx: &mut Context<'_>, key: PairKey) -> Result<(), ApiMisuse> {
        let Some(pair) = self.pairs.get_mut(&key).filter(|pair| !pair.sas.is_empty()) else {
            return Err(ApiMisuse::NoSa(key.local, key.remote));
        };
        pair.wanted.clear();
        let sas: Vec<SaId> = pair.sas.iter().copied().collect();
        for id in sas {
            self.with_sa(cx, id, |sa, env| sa.delete(env, "deleted by command"));
        }
        Ok(())
    }

    /// Deletes everything and begins nothing any more; policies stay as they are.
    pub(super) fn shut_down(&mut self, cx: &mut Context<'_>) {
        self.shutting_down = true;
        self.chores.clear();
        self.held.clear();
        for pair in self.pairs.values_mut() {
            pair.wanted.clear();
            pair.retry_at = None;
        }
        let sas: Vec<SaId> = self.sas.ids().collect();
        for id in sas {
            self.with_sa(cx, id, |sa, env| sa.delete(env, "shutting down"));
        }
    }

    /// Ends what no policy asks for any more.
    pub(super) fn drop_unwanted(&mut self, cx: &mut Context<'_>) {
        let policies = std::sync::Arc::clone(&self.policies);
        for pair in self.pairs.values_mut() {
            pair.wanted.retain(|index, _| policies.get(*index).is_some());
        }
        let orphans = |sa: &IkeSa| -> Vec<_> {
            let children = sa.common.children.iter();
            // A policy that was replaced has another index and still covers what the child carries.
            let path = sa.common.core.path;
            let covered = |child: &Child| {
                policies.between(path.local(), path.remote()).any(|policy| {
                    policy.selector.covers(&child.selector) && policy.template.reqid == child.reqid
                })
            };
            children.filter(|child| !covered(child)).map(|child| child.spi_in).collect()
        };
        let found: Vec<_> = self.sas.iter().map(|(id, sa)| (id, orphans(sa))).collect();
        for (id, orphans) in found {
            for spi_in in orphans {
                self.with_sa(cx, id, |sa, env| {
                    sa.delete_child(env, spi_in, "no policy asks for it any more")
                });
            }
        }
    }
}

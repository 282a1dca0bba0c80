//! The world: one queue of things to come, ordered by virtual time and by the order in which they were asked for.

mod carry;
mod perform;

use core::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ike_proto::ids::JobId;
use ike_proto::output::{Event, Output, What};
use ike_proto::policy::peer_db::PeerDb;
use ike_proto::policy::sad::SaKey;
use ike_proto::rng::{Rng, Seed};
use ike_proto::time::{Duration, Instant};

use crate::flood::{Flood, FloodSpec};
use crate::host::Host;
use crate::impostor::{Impostor, Telling};
use crate::link::Conditions;
use crate::network::{Network, Site};
use crate::null_crypto::Digest;
use crate::oracle::{self, Broken, Oracle, Place, Unrest, Violation};
use crate::packet::Packet;
use crate::sad::Notice;
use crate::scenario::{Crypto, HostSpec, Scenario};
use crate::script::{Action, Fate, Rule};
use crate::trace::{Sight, Trace};
use crate::traffic::Flow;

/// Steps at one instant after which the engine is said to spin.
const STEPS_PER_INSTANT: usize = 20_000;

/// The sender of what no host sends.
const NOBODY: usize = usize::MAX;

/// Something that is to happen.
enum Due {
    /// A packet reaches the end of the link.
    Arrive { from: usize, site: Site, packet: Packet },
    /// A host wanted to be woken.
    Wake { host: usize, boot: u32 },
    /// A job is done.
    Job { host: usize, boot: u32, id: JobId },
    /// A kernel's notice reaches its daemon.
    Hear { host: usize, boot: u32, notice: Notice },
    /// A driver compares its kernel with its engine.
    Compare { host: usize, boot: u32 },
    /// A flow sends.
    Send(usize),
    /// A flood sends.
    Flood(usize),
    /// The script acts.
    Act(Action),
}

/// What a run counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Steps.
    pub steps: u64,
    /// Datagrams of IKE that hosts sent.
    pub datagrams: u64,
    /// Those of them that were sent before, octet for octet.
    pub repeated: u64,
    /// Keepalives that hosts sent (RFC 3948 §2.3).
    pub keepalives: u64,
    /// Datagrams of IKE that reached a daemon.
    pub taken: u64,
    /// Jobs computed.
    pub jobs: u64,
    /// IKE SAs authenticated, each end counted.
    pub ike_sas: u64,
    /// Children installed, each end counted.
    pub children: u64,
    /// IKE SAs and children that a successor replaced, each end counted.
    pub rekeyed: u64,
    /// Clear packets between protected hosts that crossed the link.
    pub leaked: u64,
}

/// A simulation under way.
pub struct World {
    now: Instant,
    queue: BTreeMap<(Instant, u64), Due>,
    sequence: u64,
    hosts: Vec<Host>,
    network: Network,
    weather: Conditions,
    /// SAs whose packets the link loses: by sender, receiver's address and SPI.
    jammed: BTreeSet<(usize, SaKey)>,
    impostor: Impostor,
    rules: Vec<Rule>,
    flows: Vec<Flow>,
    floods: Vec<Flood>,
    scenario: Scenario,
    oracle: Oracle,
    trace: Trace,
    counts: Counts,
    seen: BTreeSet<(usize, Digest)>,
    link_rng: Rng,
    delay_rng: Rng,
    /// Datagrams of IKE on the link, jobs and notices under way.
    pending: usize,
    stalled: usize,
    violation: Option<Violation>,
    /// Where there was no rest when this was last looked at.
    restless: Cell<Place>,
    /// For each host the steps until all of its pairs are judged again.
    unswept: Vec<usize>,
}

impl World {
    /// The scenario at its beginning; all that is random follows from `seed`.
    #[must_use]
    pub fn new(seed: u64, scenario: &Scenario) -> Self {
        let mut rng = Rng::new(&Seed::from_u64(seed));
        let refuses = |rule: &Rule| matches!(rule.fate, Fate::Refuse(_) | Fate::Spoil(_));
        let telling = scenario.script.rules.iter().any(refuses).then(|| Arc::new(Telling::new()));
        let provider = match &telling {
            Some(telling) => Arc::<Telling>::clone(telling),
            None => scenario.crypto.provider(),
        };
        let start = |spec: &HostSpec| {
            Host::start(spec.clone(), Arc::clone(&provider), Rng::new(&rng.fork()), Instant::ZERO)
        };
        let hosts: Vec<Host> = scenario.hosts.iter().map(start).collect();
        let flood = |spec: &FloodSpec| Flood::new(spec.clone(), Arc::clone(&provider));
        let names = scenario.hosts.iter().map(|host| host.name.clone()).collect();
        let mut world = Self {
            now: Instant::ZERO,
            queue: BTreeMap::new(),
            sequence: 0,
            hosts,
            network: Network::new(scenario),
            weather: scenario.link,
            jammed: BTreeSet::new(),
            impostor: Impostor::new(telling),
            rules: scenario.script.rules.clone(),
            flows: scenario.flows.iter().copied().map(Flow::new).collect(),
            floods: scenario.floods.iter().filter_map(flood).collect(),
            scenario: scenario.clone(),
            oracle: Oracle::default(),
            trace: Trace::new(names, matches!(scenario.crypto, Crypto::Null)),
            counts: Counts::default(),
            seen: BTreeSet::new(),
            link_rng: Rng::new(&rng.fork()),
            delay_rng: Rng::new(&rng.fork()),
            pending: 0,
            stalled: 0,
            violation: None,
            restless: Cell::default(),
            unswept: vec![0; scenario.hosts.len()],
        };
        for (flow, spec) in scenario.flows.iter().enumerate() {
            world.push(Instant::ZERO + spec.start, Due::Send(flow));
        }
        for flood in 0..world.floods.len() {
            world.push(Instant::ZERO + world.floods[flood].spec.start, Due::Flood(flood));
        }
        for (at, action) in &scenario.script.actions {
            world.push(Instant::ZERO + *at, Due::Act(*action));
        }
        for host in 0..world.hosts.len() {
            world.settle(host);
            world.compare_later(host);
        }
        world
    }

    /// Virtual time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now.since(Instant::ZERO)
    }

    /// The hosts.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The flows with their counts.
    #[must_use]
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// Whether packets and answers cross all flows, and all is at rest.
    #[must_use]
    pub fn is_flowing(&self) -> bool {
        self.flows.iter().all(|flow| flow.crossed(3)) && self.at_rest().is_ok()
    }

    /// Packets and answers of all flows that the hosts lost, not the link.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.flows.iter().map(Flow::dropped).sum()
    }

    /// What was counted.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was seen.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The rule that was broken, if one was; nothing happens after that.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// The pair of hosts a person should look at: the one a rule was broken in, or the first that is not at rest.
    #[must_use]
    pub fn suspects(&self) -> (usize, usize) {
        let (host, peer) = match (&self.violation, self.at_rest()) {
            (Some(violation), _) => (violation.host, violation.peer),
            (None, Err(unrest)) => (unrest.place.host, unrest.peer),
            (None, Ok(())) => (0, None),
        };
        let neighbour = usize::from(host == 0);
        (host, peer.or_else(|| self.trace.last_partner(host)).unwrap_or(neighbour))
    }

    /// Does something now.
    pub fn act(&mut self, action: Action) {
        self.push(self.now, Due::Act(action));
    }

    /// A host reads its files again.
    pub fn reload(&mut self, host: usize, peers: Arc<PeerDb>) {
        self.trace.see(self.now, Sight::Done(Some(host), "reload".to_owned()));
        self.hosts[host].set_peers(self.now, peers);
        self.settle(host);
    }

    /// Whether nothing is under way and all hosts have exactly what their policies want.
    ///
    /// # Errors
    /// What is missing.
    pub fn at_rest(&self) -> Result<(), Unrest> {
        if self.pending > 0 {
            let what = format!("{} messages, jobs or notices are under way", self.pending);
            return Err(Unrest { place: Place::default(), peer: None, what });
        }
        let rest = oracle::at_rest(&self.hosts, &self.network, self.restless.get());
        if let Err(unrest) = &rest {
            self.restless.set(unrest.place);
        }
        rest
    }

    /// Steps until `done` or until `limit` after the beginning; whether it is done.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        while self.violation.is_none() {
            if done(self) {
                return true;
            }
            if !self.step(Instant::ZERO + limit) {
                break;
            }
        }
        false
    }

    /// Lets `span` pass.
    pub fn run_for(&mut self, span: Duration) {
        let limit = self.elapsed() + span;
        self.run_until(limit, |_| false);
    }

    /// Does the next thing, if it is due by `limit`; else the clock moves there.
    fn step(&mut self, limit: Instant) -> bool {
        let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= limit) else {
            self.now = limit;
            return false;
        };
        let ((at, _), due) = entry.remove_entry();
        self.stalled = if at == self.now { self.stalled + 1 } else { 0 };
        self.now = at;
        self.counts.steps += 1;
        self.handle(due);
        if self.stalled > STEPS_PER_INSTANT + self.flows.len() {
            self.broken(0, None, format!("{} steps at one instant", self.stalled));
        }
        true
    }

    fn handle(&mut self, due: Due) {
        match due {
            Due::Arrive { from, site, packet } => self.arrive(from, site, packet),
            Due::Wake { host, boot } => {
                let awaited = self.is_boot(host, boot) && self.hosts[host].wake == Some(self.now);
                if awaited {
                    self.hosts[host].wake(self.now);
                    self.settle(host);
                }
            }
            Due::Job { host, boot, id } => {
                self.pending -= 1;
                if self.is_boot(host, boot) {
                    self.counts.jobs += 1;
                    self.hosts[host].finish(self.now, id);
                    self.settle(host);
                }
            }
            Due::Hear { host, boot, notice } => {
                self.pending -= 1;
                if self.is_boot(host, boot) {
                    self.hosts[host].hear(self.now, notice);
                    self.settle(host);
                }
            }
            Due::Compare { host, boot } => {
                if self.is_boot(host, boot) {
                    self.hosts[host].reconcile(self.now);
                    self.settle(host);
                    self.compare_later(host);
                }
            }
            Due::Send(flow) => self.send_flow(flow),
            Due::Flood(flood) => self.send_flood(flood),
            Due::Act(action) => self.perform(action),
        }
    }

    fn compare_later(&mut self, host: usize) {
        if let Some(span) = self.hosts[host].spec.reconcile {
            let boot = self.hosts[host].boot;
            self.push(self.now + span, Due::Compare { host, boot });
        }
    }

    fn is_boot(&self, host: usize, boot: u32) -> bool {
        self.hosts[host].up && self.hosts[host].boot == boot
    }

    fn push(&mut self, at: Instant, due: Due) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), due);
    }

    fn broken(&mut self, host: usize, peer: Option<usize>, what: String) {
        let at = self.now;
        self.violation.get_or_insert(Violation { at, host, peer, what });
    }

    fn judge(&mut self, host: usize, peer: Option<usize>, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.broken(host, peer, what);
        }
    }

    /// The host that an address means to another, if it is only one.
    fn named(&self, viewer: usize, address: IpAddr) -> Option<usize> {
        match self.network.known_as(viewer, address).as_slice() {
            [host] => Some(*host),
            _ => None,
        }
    }

    /// Carries out what a host's engine asked for, in its order; hands on its kernel's notices; lets the oracle look.
    fn settle(&mut self, host: usize) {
        // Its keys are known before anything is said.
        for key in self.hosts[host].sad.take_installed() {
            let verdict = self.oracle.installed(&self.hosts, &self.network, host, &key);
            let remote = self.hosts[host].sad.get(&key).map(|sa| sa.spec.remote);
            let peer = remote.and_then(|remote| self.named(host, remote));
            self.judge(host, peer, verdict);
        }
        let mut outputs = 0;
        while let Some(output) = self.hosts[host].output() {
            outputs += 1;
            match output {
                Output::Transmit(transmit) => self.transmit(host, transmit),
                Output::Job(id, job) => {
                    let boot = self.hosts[host].boot;
                    self.hosts[host].jobs.insert(id, job);
                    let at = self.now + self.scenario.job_delay.draw(&mut self.delay_rng);
                    self.pending += 1;
                    self.push(at, Due::Job { host, boot, id });
                }
                Output::Event(event) => self.said(host, event),
            }
        }
        self.forward_notices(host);
        self.look(host, outputs);
        self.stop_if_quiet(host);
        self.arm(host);
    }

    /// Judges the pairs a step had to do with; from time to time, as often as a host has pairs, all of them.
    fn look(&mut self, host: usize, outputs: usize) {
        let touched = self.hosts[host].take_touched();
        self.judge(host, None, oracle::step(touched.len(), outputs));
        self.unswept[host] = self.unswept[host].saturating_sub(1);
        let verdict: Result<(), Broken> = if self.unswept[host] == 0 {
            oracle::sweep(&self.hosts[host]).map(|pairs| self.unswept[host] = pairs)
        } else {
            touched.into_iter().try_for_each(|ends| oracle::pair(&self.hosts[host], ends))
        };
        if let Err(((_, remote), what)) = verdict {
            let peer = self.named(host, remote);
            self.broken(host, peer, what);
        }
    }

    fn forward_notices(&mut self, host: usize) {
        while let Some(notice) = self.hosts[host].sad.notice() {
            if let Notice::Expire { key, hard: true } = notice {
                self.hosts[host].lapsed.insert(key, false);
            }
            if self.hosts[host].deaf {
                self.trace.see(self.now, Sight::Done(Some(host), format!("{notice:?} is lost")));
                continue;
            }
            let boot = self.hosts[host].boot;
            let at = self.now + self.scenario.notice_delay.draw(&mut self.delay_rng);
            self.pending += 1;
            self.push(at, Due::Hear { host, boot, notice });
        }
    }

    /// An engine that was told to stop and has nothing left to do takes its host down; its kernel must be empty then.
    fn stop_if_quiet(&mut self, host: usize) {
        let stopped = &mut self.hosts[host];
        if !stopped.up || !stopped.stopping || !stopped.endpoint.is_quiet() {
            return;
        }
        stopped.up = false;
        let left = stopped.sad.live().next().map(|sa| sa.spec.spi);
        self.trace.see(self.now, Sight::Done(Some(host), format!("{} is down", stopped.spec.name)));
        if let Some(spi) = left {
            self.broken(host, None, format!("an orderly stop left SA {spi}"));
        }
    }

    fn arm(&mut self, host: usize) {
        let Some(at) = self.hosts[host].deadline().filter(|_| self.hosts[host].up) else {
            self.hosts[host].wake = None;
            return;
        };
        let at = at.max(self.now);
        if self.hosts[host].wake != Some(at) {
            self.hosts[host].wake = Some(at);
            let boot = self.hosts[host].boot;
            self.push(at, Due::Wake { host, boot });
        }
    }

    fn said(&mut self, host: usize, event: Event) {
        let peer = self.named(host, event.remote);
        let verdict = self.oracle.said(&self.hosts[host], &event);
        self.judge(host, peer, verdict);
        match &event.what {
            What::IkeSaUp { .. } => self.counts.ike_sas += 1,
            What::ChildUp { .. } => self.counts.children += 1,
            What::IkeSaDown { cause } | What::ChildDown { cause, .. } if cause == "rekeyed" => {
                self.counts.rekeyed += 1;
            }
            _ => {}
        }
        self.trace.see(self.now, Sight::Said { host, peer, event: Box::new(event) });
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use ike_proto::policy::sad::Sad;

    use super::*;
    use crate::packet::{Body, Inner};
    use crate::scenario::TwoHosts;

    fn settled() -> World {
        let scenario = TwoHosts::plain().scenario();
        let mut world = World::new(1, &scenario);
        assert!(world.run_until(scenario.limit, |world| world.at_rest().is_ok()));
        world
    }

    fn seen(world: &World) -> &str {
        world.violation().map_or("", |violation| &violation.what)
    }

    #[test]
    fn an_sa_that_vanishes_behind_the_engines_back_is_seen_at_its_next_step() {
        let mut world = settled();
        let key = world.hosts[0].sad.live().next().unwrap().spec.key();
        world.hosts[0].sad.remove(&key).unwrap();
        world.act(Action::Initiate { host: 0, policy: 0 });
        world.run_for(Duration::from_secs(1));
        assert!(seen(&world).contains("is not in the kernel"), "{}", seen(&world));
    }

    #[test]
    fn an_sa_that_vanishes_is_made_anew_when_the_kernel_is_compared() {
        let mut world = settled();
        world.perform(Action::Deafen { host: 0, deaf: true });
        world.perform(Action::Expire { host: 0, policy: 0, hard: true });
        let why = world.at_rest().unwrap_err();
        assert!(why.what.contains("1 SAs for 1 children"), "{why}");
        world.perform(Action::Deafen { host: 0, deaf: false });
        world.act(Action::LoseNotices(0));
        world.run_for(Duration::from_secs(20));
        assert_eq!((seen(&world), world.at_rest()), ("", Ok(())));
    }

    #[test]
    fn an_sa_that_only_one_end_has_is_not_rest() {
        let mut world = settled();
        world.perform(Action::Reboot(1));
        let why = world.at_rest().unwrap_err();
        assert!(why.what.contains("is not at the peer"), "{why}");
        assert_eq!((why.place.host, why.peer), (0, Some(1)));
        assert_eq!(world.hosts[1].sad.live().count(), 0);
    }

    #[test]
    fn a_protected_packet_in_clear_is_seen() {
        let mut world = settled();
        let selector = world.hosts[0].spec.policies[0].selector;
        let (source, destination) = (selector.local.net.address, selector.remote.net.address);
        let inner = Inner {
            source,
            destination,
            protocol: 17,
            source_port: 1,
            destination_port: 2,
            flow: 0,
            number: 1,
            reply: false,
        };
        let end = |address| SocketAddr::new(address, 0);
        let packet = Packet { source: end(source), destination: end(destination), body: Body::Clear(inner) };
        world.arrive(0, None, packet);
        assert!(seen(&world).contains("in clear"), "{}", seen(&world));
    }

    #[test]
    fn answers_to_jobs_of_a_daemon_that_is_gone_are_nobodys() {
        let mut world = World::new(1, &TwoHosts::plain().scenario());
        assert!(world.run_until(Duration::from_secs(1), |world| !world.hosts[0].jobs.is_empty()));
        world.perform(Action::Reboot(0));
        world.act(Action::Run { flow: 0, running: false });
        world.run_for(Duration::from_secs(5));
        assert_eq!((world.counts.jobs, world.counts.datagrams, world.pending), (0, 0, 0));
    }

    #[test]
    fn a_clock_that_jumps_brings_deadlines_forward() {
        let mut world = settled();
        let before = world.hosts[0].local(world.now);
        world.perform(Action::ClockJump { host: 0, by: Duration::from_secs(3600) });
        assert_eq!(world.hosts[0].local(world.now).since(before), Duration::from_secs(3600));
        let later = before + Duration::from_secs(7200);
        assert_eq!(world.hosts[0].world(later).since(world.now), Duration::from_secs(3600));
    }
}

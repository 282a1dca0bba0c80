//! The kernel's SA database, modelled: what Linux does with SAs, reservations and acquires, as far as an IKE daemon sees it.

mod sa;
mod states;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use ike_proto::ids::{ChildSpi, PolicyIndex, Reqid};
use ike_proto::policy::sad::{
    Acquire, Direction, Encap, Lifetimes, Mode, NewPolicy, SaKey, SaSpec, SaUsage, Sad, SadError, SpiRequest,
};
use ike_proto::policy::selector::Selector;
use ike_proto::policy::spd::{Policy, Template};
use ike_proto::rng::Rng;
use ike_proto::time::{Duration, Instant};

pub use self::sa::{Sa, covers};
use self::states::{State, States};
use crate::packet::{Esp, Inner, Packet};

/// What each packet of the modelled traffic counts.
const PACKET_OCTETS: u64 = 100;

/// How long a reservation and an acquire wait (`net.core.xfrm_acq_expires`).
pub const ACQUIRE_EXPIRES: Duration = Duration::from_secs(30);

/// What the kernel tells the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A packet met a policy and no SA.
    Acquire(Acquire),
    /// A limit is reached.
    Expire {
        /// Of this SA.
        key: SaKey,
        /// Whether it is gone.
        hard: bool,
    },
    /// The peer's packets come from another port.
    Mapping {
        /// The inbound SA they come on.
        key: SaKey,
        /// From here.
        remote: SocketAddr,
    },
    /// Notices were lost.
    Lost,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// No SA has its SPI.
    NoState,
    /// It is in UDP and the SA is not, or the other way round.
    Encapsulation,
    /// It was sealed with other keys.
    Keys,
    /// It came before.
    Replay,
    /// The SA is not for such packets.
    Selector,
}

/// What happened to a packet that is to be sent.
#[derive(Clone, Debug)]
pub enum Sending {
    /// It goes out like this.
    Sealed(Packet),
    /// There is no SA; an acquire is raised or waits already.
    NoSa,
}

/// The database.
#[derive(Debug)]
pub struct ModelSad {
    now: Instant,
    rng: Rng,
    states: States,
    /// SAs of the daemon before this one.
    left: States,
    acquires: BTreeMap<PolicyIndex, Waiting>,
    /// When each of the acquires lapses.
    patience: BTreeSet<(Instant, PolicyIndex)>,
    installs: u64,
    acquire_sequence: u32,
    notices: VecDeque<Notice>,
    installed: Vec<SaKey>,
    limits: Lifetimes,
    /// Reservations that are refused from now on.
    refusing: u32,
    /// Whether another daemon's SAs carry what ours do not.
    others: bool,
    /// Policies that were made because a peer asked, and whether that has changed since it was last asked.
    made: Vec<Policy>,
    made_changed: bool,
    removals: usize,
    /// The number of the last one.
    last_made: u32,
}

/// The priority of policies that are made: behind all others.
const MADE_PRIORITY: u32 = u32::MAX;
/// Their numbers, and reqids if they have some of their own, are above this.
const MADE_ABOVE: u32 = 1_000_000;

#[derive(Debug)]
struct Waiting {
    acquire: Acquire,
    selector: Selector,
    until: Instant,
}

impl ModelSad {
    /// An empty database; SPIs follow from `rng`. Each SA has the lower of its own limits and `limits`.
    #[must_use]
    pub fn new(rng: Rng, limits: Lifetimes) -> Self {
        Self {
            now: Instant::ZERO,
            rng,
            states: States::default(),
            left: States::default(),
            acquires: BTreeMap::new(),
            patience: BTreeSet::new(),
            installs: 0,
            acquire_sequence: 0,
            notices: VecDeque::new(),
            installed: Vec::new(),
            limits,
            refusing: 0,
            others: false,
            made: Vec::new(),
            made_changed: false,
            removals: 0,
            last_made: MADE_ABOVE,
        }
    }

    /// Another daemon has come: the SAs stay, and are not its own.
    pub fn be_left(&mut self, rng: Rng) {
        let (left, installs) = (core::mem::take(&mut self.states), self.installs);
        *self = Self { left, installs, ..Self::new(rng, self.limits) };
    }

    /// The policies that were made because a peer asked.
    #[must_use]
    pub fn made(&self) -> &[Policy] {
        &self.made
    }

    /// How often the removal of a policy was asked for.
    #[must_use]
    pub const fn removals(&self) -> usize {
        self.removals
    }

    /// From now on another daemon's SAs carry what ours do not.
    pub const fn be_carried(&mut self) {
        self.others = true;
    }

    /// Whether policies were made or removed since this was last asked.
    pub fn take_made_changed(&mut self) -> bool {
        core::mem::take(&mut self.made_changed)
    }

    /// The next so many reservations are refused.
    pub const fn refuse_spis(&mut self, count: u32) {
        self.refusing = count;
    }

    /// Sets the clock; what has lapsed by now goes.
    pub fn set_now(&mut self, now: Instant) {
        self.now = now;
        while let Some((_, policy)) = self.patience.first().copied().filter(|(until, _)| *until <= now) {
            self.end_wait(policy);
        }
        let lapsed = self.states.lapse(now);
        self.notices.extend(lapsed.into_iter().map(|key| Notice::Expire { key, hard: true }));
    }

    /// When [`ModelSad::set_now`] is next needed for an SA to lapse in time.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.states.first_lapse()
    }

    /// All SAs, reservations left out.
    pub fn live(&self) -> impl Iterator<Item = &Sa> {
        self.states.all()
    }

    /// The SAs between two addresses, reservations left out.
    pub fn between(&self, local: IpAddr, remote: IpAddr) -> impl Iterator<Item = &Sa> {
        self.states.between(local, remote)
    }

    /// The SAs with this SPI, whichever end it is of.
    pub fn by_spi(&self, spi: ChildSpi) -> impl Iterator<Item = &Sa> {
        self.states.by_spi(spi)
    }

    /// The SA with this key.
    #[must_use]
    pub fn get(&self, key: &SaKey) -> Option<&Sa> {
        self.states.live(key)
    }

    /// SPIs that are reserved and not used yet.
    #[must_use]
    pub fn reservations(&self) -> usize {
        self.states.reservations()
    }

    /// SPIs that are reserved between two addresses and not used yet.
    #[must_use]
    pub fn reservations_between(&self, local: IpAddr, remote: IpAddr) -> usize {
        self.states.reservations_between(local, remote)
    }

    /// The next notice for the daemon.
    pub fn notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// The SAs installed since this was last asked.
    pub fn take_installed(&mut self) -> Vec<SaKey> {
        core::mem::take(&mut self.installed)
    }

    /// The pairs of addresses whose SAs or reservations came or went since this was last asked.
    pub fn take_touched(&mut self) -> BTreeSet<(IpAddr, IpAddr)> {
        self.states.take_touched()
    }

    /// Sends a packet that `policy` wants protected: on the newest SA that fits, else an acquire is raised.
    pub fn send(&mut self, policy: &Policy, inner: Inner) -> Sending {
        let (local, remote) = policy.template.endpoints.unwrap_or((inner.source, inner.destination));
        let newest = |states: &States| {
            let fitting = states.between(local, remote).filter(|sa| sa.sends(policy, &inner));
            fitting.max_by_key(|sa| sa.order).map(|sa| sa.spec.key())
        };
        let (ours, left) = (newest(&self.states), newest(&self.left));
        let states = if ours.is_some() { &mut self.states } else { &mut self.left };
        let Some((key, sa)) = ours.or(left).and_then(|key| Some((key, states.live_mut(&key)?))) else {
            self.raise(policy, &inner);
            return Sending::NoSa;
        };
        sa.sequence += 1;
        let packet = sa.seal(inner);
        self.count(key);
        Sending::Sealed(packet)
    }

    /// Takes a packet in; gives what was inside, its addresses as this host sees them.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn receive(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        esp: &Esp,
    ) -> Result<Inner, Refusal> {
        let key = SaKey { destination: destination.ip(), spi: esp.spi };
        let states = if self.states.live(&key).is_some() { &mut self.states } else { &mut self.left };
        let Some(sa) = states.live_mut(&key) else { return Err(Refusal::NoState) };
        if sa.spec.direction != Direction::In {
            return Err(Refusal::NoState);
        }
        if sa.spec.encap.is_some() != (source.port() != 0) {
            return Err(Refusal::Encapsulation);
        }
        if sa.keys != esp.keys {
            return Err(Refusal::Keys);
        }
        if !sa.is_fresh(esp.sequence) {
            return Err(Refusal::Replay);
        }
        if let Some(encap) = sa.spec.encap {
            let moved = source.port() != encap.remote || source.ip() != sa.spec.remote;
            if moved && sa.mapped != Some(source) {
                sa.mapped = Some(source);
                self.notices.push_back(Notice::Mapping { key, remote: source });
            }
        }
        let inner = match esp.mode {
            Mode::Transport => Inner { source: source.ip(), destination: destination.ip(), ..esp.inner },
            Mode::Tunnel => esp.inner,
        };
        let fits = covers(&sa.spec.selector, &inner, Direction::In);
        self.count(key);
        if fits { Ok(inner) } else { Err(Refusal::Selector) }
    }

    /// Counts one packet on an SA and looks at its limits.
    fn count(&mut self, key: SaKey) {
        let Some(sa) = self.states.live_mut(&key) else { return };
        sa.usage.packets += 1;
        sa.usage.bytes += PACKET_OCTETS;
        let limits = sa.spec.lifetimes;
        let over = |bytes: Option<u64>, packets: Option<u64>| {
            bytes.is_some_and(|most| sa.usage.bytes >= most)
                || packets.is_some_and(|most| sa.usage.packets >= most)
        };
        if over(limits.hard_bytes, limits.hard_packets) {
            self.states.remove(&key);
            self.notices.push_back(Notice::Expire { key, hard: true });
        } else if over(limits.soft_bytes, limits.soft_packets) && !sa.soft_told {
            sa.soft_told = true;
            self.notices.push_back(Notice::Expire { key, hard: false });
        }
    }

    /// The newest inbound SA for `selector` comes to a limit, as if it had carried that much.
    pub fn expire(&mut self, selector: &Selector, hard: bool) {
        let inbound =
            self.live().filter(|sa| sa.spec.direction == Direction::In && selector.covers(&sa.spec.selector));
        let Some(key) = inbound.max_by_key(|sa| sa.order).map(|sa| sa.spec.key()) else { return };
        if hard {
            self.states.remove(&key);
        }
        self.notices.push_back(Notice::Expire { key, hard });
    }

    fn raise(&mut self, policy: &Policy, inner: &Inner) {
        if self.acquires.contains_key(&policy.index) {
            return;
        }
        self.acquire_sequence += 1;
        let (local, remote) = policy.template.endpoints.unwrap_or((inner.source, inner.destination));
        let acquire = Acquire {
            policy: policy.index,
            local,
            remote,
            sequence: self.acquire_sequence,
            reqid: policy.template.reqid,
            mode: policy.template.mode,
            packet: Some(inner.selector()),
        };
        let until = self.now + ACQUIRE_EXPIRES;
        self.acquires.insert(policy.index, Waiting { acquire, selector: policy.selector, until });
        self.patience.insert((until, policy.index));
        self.notices.push_back(Notice::Acquire(acquire));
    }

    fn install(&mut self, spec: &SaSpec) {
        self.installs += 1;
        let key = spec.key();
        let sa = Sa::new(spec, &self.limits, self.installs, self.now);
        self.states.insert(key, State::Live(Box::new(sa)));
        self.installed.push(key);
    }

    fn end_wait(&mut self, policy: PolicyIndex) {
        if let Some(waiting) = self.acquires.remove(&policy) {
            self.patience.remove(&(waiting.until, policy));
        }
    }
}

impl Sad for ModelSad {
    fn reserve_spi(&mut self, request: &SpiRequest) -> Result<ChildSpi, SadError> {
        if let Some(left) = self.refusing.checked_sub(1) {
            self.refusing = left;
            return Err(SadError::Refused("no SPI is free".to_owned()));
        }
        loop {
            // 0 to 255 are reserved (RFC 4303 §2.1).
            let spi = ChildSpi(u32::try_from(self.rng.below(1 << 32)).unwrap_or(0));
            let key = SaKey { destination: request.local, spi };
            if spi.0 > 255 && self.states.get(&key).is_none() {
                let (ends, until) = ((request.local, request.remote), self.now + ACQUIRE_EXPIRES);
                self.states.insert(key, State::Larval { ends, until });
                return Ok(spi);
            }
        }
    }

    fn add_inbound(&mut self, sa: &SaSpec) -> Result<(), SadError> {
        // An update of the reservation; where that has lapsed, an addition with the same SPI.
        match self.states.get(&sa.key()) {
            Some(State::Live(_)) => Err(SadError::Exists),
            Some(State::Larval { .. }) | None => {
                self.install(sa);
                Ok(())
            }
        }
    }

    fn add_outbound(&mut self, sa: &SaSpec) -> Result<(), SadError> {
        if self.states.get(&sa.key()).is_some() {
            return Err(SadError::Exists);
        }
        self.install(sa);
        // What the daemon before this one sent on goes at once; what the peer sends on its SAs comes in.
        let of_left = self.left.between(sa.local, sa.remote);
        let same = |left: &&Sa| {
            left.spec.direction == Direction::Out
                && left.spec.selector == sa.selector
                && left.spec.reqid == sa.reqid
        };
        let of_left = of_left.filter(same).map(|left| left.spec.key());
        for key in of_left.collect::<Vec<_>>() {
            self.left.remove(&key);
        }
        // The waiting state that an acquire left goes when an SA comes that it waited for.
        let awaited = |waiting: &Waiting| {
            let awaited = waiting.acquire;
            (awaited.local, awaited.remote, awaited.reqid, awaited.mode)
                == (sa.local, sa.remote, sa.reqid, sa.mode)
                && waiting.selector.covers(&sa.selector)
        };
        let come = self.acquires.iter().filter(|(_, waiting)| awaited(waiting)).map(|(policy, _)| *policy);
        for policy in come.collect::<Vec<_>>() {
            self.end_wait(policy);
        }
        Ok(())
    }

    fn move_ports(&mut self, key: &SaKey, encap: Encap) -> Result<(), SadError> {
        let Some(sa) = self.states.live_mut(key) else { return Err(SadError::NotFound) };
        if sa.spec.encap.is_none() {
            return Err(SadError::Refused("the SA has no encapsulation".to_owned()));
        }
        sa.spec.encap = Some(encap);
        sa.mapped = None;
        Ok(())
    }

    fn remove(&mut self, key: &SaKey) -> Result<(), SadError> {
        self.states.remove(key).map(drop).ok_or(SadError::NotFound)
    }

    fn query(&mut self, key: &SaKey) -> Result<SaUsage, SadError> {
        match self.states.get(key) {
            Some(State::Live(sa)) => Ok(sa.usage),
            Some(State::Larval { .. }) => Ok(SaUsage::default()),
            None => Err(SadError::NotFound),
        }
    }

    fn is_carried(&mut self, local: IpAddr, remote: IpAddr) -> bool {
        self.others || self.left.between(local, remote).any(|sa| sa.spec.direction == Direction::Out)
    }

    fn release_acquire(&mut self, acquire: &Acquire) {
        let waits = self.acquires.get(&acquire.policy);
        if waits.is_some_and(|waiting| waiting.acquire.sequence == acquire.sequence) {
            self.end_wait(acquire.policy);
        }
    }

    fn make_policy(&mut self, wish: &NewPolicy) -> Result<Policy, SadError> {
        if self.made.iter().any(|policy| policy.selector == wish.selector) {
            return Err(SadError::Exists);
        }
        self.last_made += 1;
        let reqid = Reqid(if wish.unique { self.last_made } else { 0 });
        let policy = Policy {
            index: PolicyIndex(self.last_made),
            selector: wish.selector,
            priority: MADE_PRIORITY,
            template: Template { mode: Mode::Transport, reqid, endpoints: None, optional: false },
            made: true,
        };
        self.made.push(policy.clone());
        self.made_changed = true;
        Ok(policy)
    }

    fn remove_policy(&mut self, policy: PolicyIndex) -> Result<(), SadError> {
        self.removals += 1;
        let before = self.made.len();
        self.made.retain(|made| made.index != policy);
        self.made_changed |= self.made.len() < before;
        if self.made.len() < before { Ok(()) } else { Err(SadError::NotFound) }
    }
}

#[cfg(test)]
mod tests;

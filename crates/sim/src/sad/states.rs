//! The database's table, found by key, by peer, by SPI and by when entries go of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ike_proto::ids::ChildSpi;
use ike_proto::policy::sad::SaKey;
use ike_proto::time::Instant;

use super::Sa;

/// An entry.
#[derive(Debug)]
pub(super) enum State {
    /// A reserved SPI.
    Larval {
        /// Our address and the peer's.
        ends: (IpAddr, IpAddr),
        /// When it lapses.
        until: Instant,
    },
    /// An SA.
    Live(Box<Sa>),
}

impl State {
    fn ends(&self) -> (IpAddr, IpAddr) {
        match self {
            Self::Larval { ends, .. } => *ends,
            Self::Live(sa) => (sa.spec.local, sa.spec.remote),
        }
    }
}

/// All entries. A host of a mesh has hundreds, and only a few of them concern any one packet.
#[derive(Debug, Default)]
pub(super) struct States {
    by_key: BTreeMap<SaKey, State>,
    by_ends: BTreeSet<(IpAddr, IpAddr, SaKey)>,
    by_spi: BTreeSet<(ChildSpi, IpAddr)>,
    /// Reservations.
    larval: BTreeSet<(Instant, SaKey)>,
    /// SAs with a hard time limit.
    lapsing: BTreeSet<(Instant, SaKey)>,
    /// Pairs of addresses whose entries came or went since this was last asked.
    touched: BTreeSet<(IpAddr, IpAddr)>,
}

impl States {
    /// Adds an entry, in place of one with the same key.
    pub(super) fn insert(&mut self, key: SaKey, state: State) {
        self.remove(&key);
        let (local, remote) = state.ends();
        self.by_ends.insert((local, remote, key));
        self.by_spi.insert((key.spi, key.destination));
        match &state {
            State::Larval { until, .. } => self.larval.insert((*until, key)),
            State::Live(sa) => sa.lapses().is_some_and(|at| self.lapsing.insert((at, key))),
        };
        self.touched.insert((local, remote));
        self.by_key.insert(key, state);
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: &SaKey) -> Option<State> {
        let state = self.by_key.remove(key)?;
        let (local, remote) = state.ends();
        self.by_ends.remove(&(local, remote, *key));
        self.by_spi.remove(&(key.spi, key.destination));
        match &state {
            State::Larval { until, .. } => self.larval.remove(&(*until, *key)),
            State::Live(sa) => sa.lapses().is_some_and(|at| self.lapsing.remove(&(at, *key))),
        };
        self.touched.insert((local, remote));
        Some(state)
    }

    /// The entry with this key.
    pub(super) fn get(&self, key: &SaKey) -> Option<&State> {
        self.by_key.get(key)
    }

    /// The SA with this key.
    pub(super) fn live(&self, key: &SaKey) -> Option<&Sa> {
        match self.by_key.get(key)? {
            State::Live(sa) => Some(sa),
            State::Larval { .. } => None,
        }
    }

    /// The SA with this key. Its addresses and its hard time limit are not to be changed.
    pub(super) fn live_mut(&mut self, key: &SaKey) -> Option<&mut Sa> {
        match self.by_key.get_mut(key)? {
            State::Live(sa) => Some(sa),
            State::Larval { .. } => None,
        }
    }

    /// All SAs.
    pub(super) fn all(&self) -> impl Iterator<Item = &Sa> {
        self.by_key.keys().filter_map(|key| self.live(key))
    }

    /// The SAs between two addresses.
    pub(super) fn between(&self, local: IpAddr, remote: IpAddr) -> impl Iterator<Item = &Sa> {
        self.keys_between(local, remote).filter_map(|key| self.live(&key))
    }

    /// The SAs with this SPI, whichever end it is of.
    pub(super) fn by_spi(&self, spi: ChildSpi) -> impl Iterator<Item = &Sa> {
        let from = (spi, IpAddr::from([0; 4]));
        let with_spi = self.by_spi.range(from..).take_while(move |(other, _)| *other == spi);
        with_spi.filter_map(|(spi, destination)| self.live(&SaKey { destination: *destination, spi: *spi }))
    }

    /// Reservations.
    pub(super) fn reservations(&self) -> usize {
        self.larval.len()
    }

    /// Reservations between two addresses.
    pub(super) fn reservations_between(&self, local: IpAddr, remote: IpAddr) -> usize {
        let is_larval = |key: &SaKey| matches!(self.by_key.get(key), Some(State::Larval { .. }));
        self.keys_between(local, remote).filter(is_larval).count()
    }

    /// When the first SA comes to its hard time limit.
    pub(super) fn first_lapse(&self) -> Option<Instant> {
        self.lapsing.first().map(|(at, _)| *at)
    }

    /// Takes out what has lapsed by `now`; gives the keys of SAs.
    pub(super) fn lapse(&mut self, now: Instant) -> Vec<SaKey> {
        while let Some((_, key)) = self.larval.first().copied().filter(|(at, _)| *at <= now) {
            self.remove(&key);
        }
        let mut gone = Vec::new();
        while let Some((_, key)) = self.lapsing.first().copied().filter(|(at, _)| *at <= now) {
            self.remove(&key);
            gone.push(key);
        }
        gone
    }

    /// Takes what was touched.
    pub(super) fn take_touched(&mut self) -> BTreeSet<(IpAddr, IpAddr)> {
        core::mem::take(&mut self.touched)
    }

    fn keys_between(&self, local: IpAddr, remote: IpAddr) -> impl Iterator<Item = SaKey> {
        let first = SaKey { destination: IpAddr::from([0; 4]), spi: ChildSpi(0) };
        let of_pair = self.by_ends.range((local, remote, first)..);
        of_pair.take_while(move |(own, peer, _)| (*own, *peer) == (local, remote)).map(|(_, _, key)| *key)
    }
}

#[cfg(test)]
mod tests {
    use ike_proto::time::Duration;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_index_follows_what_comes_and_goes() {
        let (own, peer, other) = (address("192.0.2.1"), address("192.0.2.2"), address("2001:db8::2"));
        let key = |spi| SaKey { destination: own, spi: ChildSpi(spi) };
        let until = Instant::ZERO + Duration::from_secs(30);
        let larval = |peer| State::Larval { ends: (own, peer), until };
        let mut states = States::default();
        for (spi, peer) in [(300, peer), (301, peer), (302, other)] {
            states.insert(key(spi), larval(peer));
        }
        assert_eq!(states.take_touched(), [(own, peer), (own, other)].into());
        assert_eq!((states.reservations(), states.reservations_between(own, peer)), (3, 2));
        states.remove(&key(301));
        assert_eq!(states.take_touched(), [(own, peer)].into());
        assert_eq!((states.reservations(), states.reservations_between(own, peer)), (2, 1));
        assert_eq!(states.lapse(until), []);
        assert_eq!((states.reservations(), states.by_ends.len(), states.by_spi.len()), (0, 0, 0));
    }
}

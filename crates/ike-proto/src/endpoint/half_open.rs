//! Handshakes that wait for their peer's IKE_AUTH, counted in all, by source, and by lane.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::ids::SaId;

/// The lane of a handshake: peers for whose address there is a policy, and strangers. Neither can fill the other's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lane {
    /// A policy names the address.
    Known,
    /// None does.
    Stranger,
}

/// Responders whose peer is not authenticated yet.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    waiting: BTreeMap<SaId, (IpAddr, Lane)>,
    by_source: BTreeMap<IpAddr, usize>,
    known: usize,
}

impl HalfOpen {
    /// Counts one more.
    pub(super) fn insert(&mut self, id: SaId, source: IpAddr, lane: Lane) {
        self.waiting.insert(id, (source, lane));
        *self.by_source.entry(source).or_default() += 1;
        self.known += usize::from(lane == Lane::Known);
    }

    /// It waits no more: it is authenticated, or gone.
    pub(super) fn remove(&mut self, id: SaId) {
        let Some((source, lane)) = self.waiting.remove(&id) else { return };
        self.known = self.known.saturating_sub(usize::from(lane == Lane::Known));
        if let Some(count) = self.by_source.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }

    /// All that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Those of one source.
    pub(super) fn of_source(&self, source: IpAddr) -> usize {
        self.by_source.get(&source).copied().unwrap_or_default()
    }

    /// Those of one lane.
    pub(super) fn of_lane(&self, lane: Lane) -> usize {
        match lane {
            Lane::Known => self.known,
            Lane::Stranger => self.waiting.len().saturating_sub(self.known),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_what_comes_and_goes() {
        let mut half_open = HalfOpen::default();
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        half_open.insert(SaId(1), source, Lane::Known);
        half_open.insert(SaId(2), source, Lane::Stranger);
        assert_eq!((half_open.len(), half_open.of_source(source)), (2, 2));
        assert_eq!((half_open.of_lane(Lane::Known), half_open.of_lane(Lane::Stranger)), (1, 1));
        half_open.remove(SaId(1));
        half_open.remove(SaId(1));
        assert_eq!((half_open.of_source(source), half_open.of_lane(Lane::Known)), (1, 0));
        half_open.remove(SaId(2));
        assert!(half_open.by_source.is_empty() && half_open.len() == 0);
    }
}

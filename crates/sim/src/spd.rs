//! A host's outbound policies, found by the packets they cover: a mesh has hundreds a host, and one for each packet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ike_proto::policy::sad::Direction;
use ike_proto::policy::spd::{Policy, PolicySet};

use crate::packet::Inner;
use crate::sad::covers;

/// A policy and its place among all of them: of two that cover a packet, the earlier one counts.
type Placed = (usize, Policy);

/// The policies of a host's kernel.
#[derive(Debug)]
pub struct Spd {
    set: Arc<PolicySet>,
    in_order: Vec<Policy>,
    /// Those between two single addresses.
    by_hosts: BTreeMap<(IpAddr, IpAddr), Vec<Placed>>,
    /// The others.
    wide: Vec<Placed>,
}

impl Spd {
    /// Indexes `policies`.
    #[must_use]
    pub fn new(policies: Vec<Policy>) -> Self {
        let set = Arc::new(PolicySet::new(policies));
        let mut by_hosts = BTreeMap::<_, Vec<Placed>>::new();
        let mut wide = Vec::new();
        for (place, policy) in set.iter().cloned().enumerate() {
            let (local, remote) = (policy.selector.local.net, policy.selector.remote.net);
            if local.is_host() && remote.is_host() {
                by_hosts.entry((local.address, remote.address)).or_default().push((place, policy));
            } else {
                wide.push((place, policy));
            }
        }
        Self { in_order: set.iter().cloned().collect(), set, by_hosts, wide }
    }

    /// All of them, as the engine is told.
    #[must_use]
    pub const fn set(&self) -> &Arc<PolicySet> {
        &self.set
    }

    /// All of them, the best priority first.
    #[must_use]
    pub fn in_order(&self) -> &[Policy] {
        &self.in_order
    }

    /// The first policy that covers a packet leaving here.
    #[must_use]
    pub fn covering(&self, inner: &Inner) -> Option<&Policy> {
        let hosts = self.by_hosts.get(&(inner.source, inner.destination)).map_or(&[][..], Vec::as_slice);
        let all = hosts.iter().chain(&self.wide);
        let covering = all.filter(|(_, policy)| covers(&policy.selector, inner, Direction::Out));
        covering.min_by_key(|(place, _)| *place).map(|(_, policy)| policy)
    }
}

#[cfg(test)]
mod tests {
    use ike_proto::ids::PolicyIndex;
    use ike_proto::policy::selector::{Net, Side};

    use super::*;
    use crate::scenario::host_policy;

    #[test]
    fn the_better_priority_covers_a_packet_whatever_its_width() {
        let [own, peer, other] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|text| text.parse().unwrap());
        let mut wide = host_policy(1, own, other, 0);
        wide.priority = 50;
        let everyone = Side { net: Net::new("10.0.0.0".parse().unwrap(), 8), port: None };
        wide.selector.local = everyone;
        wide.selector.remote = everyone;
        wide.selector.protocol = 6;
        let spd = Spd::new(vec![host_policy(2, own, peer, 0), wide]);
        let packet = |destination, protocol| Inner {
            source: own,
            destination,
            protocol,
            source_port: 1,
            destination_port: 2,
            flow: 0,
            number: 1,
            reply: false,
        };
        let index = |inner: &Inner| spd.covering(inner).map(|policy| policy.index);
        assert_eq!(index(&packet(peer, 6)), Some(PolicyIndex(1)));
        assert_eq!(index(&packet(peer, 17)), Some(PolicyIndex(2)));
        assert_eq!(index(&packet(other, 17)), None);
    }
}

//! The kernel's policies as the engine sees them: a read-only copy, made anew by whoever changes them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::ids::{PolicyIndex, Reqid};
use crate::policy::sad::Mode;
use crate::policy::selector::{Net, Selector};

/// An outbound policy that asks for ESP (the engine needs no others).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The kernel's index.
    pub index: PolicyIndex,
    /// What it covers; `local` is the policy's source, `remote` its destination.
    pub selector: Selector,
    /// The kernel's priority: lower comes first.
    pub priority: u32,
    /// What the SA must be.
    pub template: Template,
    /// Made because a peer asked (racoon's `generate_policy`): it goes with the pair's last SA, and nothing is begun for it.
    pub made: bool,
}

/// The one ESP template of a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Template {
    /// Transport or tunnel.
    pub mode: Mode,
    /// The SA must carry this number.
    pub reqid: Reqid,
    /// Tunnel end points (local, remote); `None` in transport mode, where the selector's addresses are the end points.
    pub endpoints: Option<(IpAddr, IpAddr)>,
    /// Level `use`: traffic passes in clear until there is an SA.
    pub optional: bool,
}

impl Template {
    /// What of `selector` an SA between these two ends carries.
    #[must_use]
    pub fn limit(&self, mut selector: Selector, (local, remote): (IpAddr, IpAddr)) -> Selector {
        if self.mode == Mode::Transport {
            selector.local.net = Net::host(local);
            selector.remote.net = Net::host(remote);
        }
        selector
    }
}

impl Policy {
    /// The two addresses between which its SA runs, where the policy alone tells them.
    #[must_use]
    pub fn endpoints(&self) -> Option<(IpAddr, IpAddr)> {
        if self.template.endpoints.is_some() {
            return self.template.endpoints;
        }
        let (local, remote) = (self.selector.local.net, self.selector.remote.net);
        (local.is_host() && remote.is_host()).then_some((local.address, remote.address))
    }

    /// What of it an SA between these two ends carries: in transport mode only their own packets (RFC 7296 §2.23.1), however wide
    /// the policy is.
    #[must_use]
    pub fn between(&self, ends: (IpAddr, IpAddr)) -> Selector {
        self.template.limit(self.selector, ends)
    }

    /// Whether an SA between `local` and `remote` can serve it.
    #[must_use]
    pub fn serves(&self, local: IpAddr, remote: IpAddr) -> bool {
        match self.template.endpoints {
            Some(endpoints) => endpoints == (local, remote),
            None => self.selector.local.net.contains(local) && self.selector.remote.net.contains(remote),
        }
    }
}

/// All outbound ESP policies, found by index, by end points, or by what they cover.
#[derive(Debug, Default)]
pub struct PolicySet {
    policies: Vec<Policy>,
    by_index: BTreeMap<PolicyIndex, usize>,
    /// Policies between two single addresses: nearly all of a mesh.
    by_hosts: BTreeMap<(IpAddr, IpAddr), Vec<usize>>,
    /// The others.
    wide: Vec<usize>,
}

impl PolicySet {
    /// Indexes `policies`, best priority first.
    #[must_use]
    pub fn new(mut policies: Vec<Policy>) -> Self {
        policies.sort_by_key(|policy| (policy.priority, policy.index));
        let mut set = Self::default();
        for (place, policy) in policies.iter().enumerate() {
            set.by_index.insert(policy.index, place);
            match policy.endpoints() {
                Some(hosts) => set.by_hosts.entry(hosts).or_default().push(place),
                None => set.wide.push(place),
            }
        }
        set.policies = policies;
        set
    }

    /// The same, and one more.
    #[must_use]
    pub fn with(&self, policy: Policy) -> Self {
        let mut policies = self.without(&BTreeSet::from([policy.index])).policies;
        policies.push(policy);
        Self::new(policies)
    }

    /// The same without some.
    #[must_use]
    pub fn without(&self, indices: &BTreeSet<PolicyIndex>) -> Self {
        Self::new(self.policies.iter().filter(|policy| !indices.contains(&policy.index)).cloned().collect())
    }

    /// The policy with this index.
    #[must_use]
    pub fn get(&self, index: PolicyIndex) -> Option<&Policy> {
        self.policies.get(*self.by_index.get(&index)?)
    }

    /// Policies an SA between `local` and `remote` can serve, best priority first.
    pub fn between(&self, local: IpAddr, remote: IpAddr) -> impl Iterator<Item = &Policy> {
        let hosts = self.by_hosts.get(&(local, remote)).map_or(&[][..], Vec::as_slice);
        let mut places: Vec<usize> = hosts.iter().chain(&self.wide).copied().collect();
        places.sort_unstable();
        places
            .into_iter()
            .filter_map(|place| self.policies.get(place))
            .filter(move |policy| policy.serves(local, remote))
    }

    /// All policies, best priority first.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::selector::Side;

    fn policy(index: u32, priority: u32, local: &str, remote: &str, prefix: u8) -> Policy {
        let side = |text: &str| Side { net: Net::new(text.parse().unwrap(), prefix), port: None };
        Policy {
            index: PolicyIndex(index),
            selector: Selector { local: side(local), remote: side(remote), protocol: 0 },
            priority,
            template: Template { mode: Mode::Transport, reqid: Reqid(0), endpoints: None, optional: false },
            made: false,
        }
    }

    #[test]
    fn the_better_priority_comes_first_whatever_its_width() {
        let set = PolicySet::new(vec![
            policy(9, 20, "10.0.0.1", "10.0.0.2", 32),
            policy(17, 10, "10.0.0.0", "10.0.0.0", 8),
            policy(25, 5, "10.0.0.1", "10.0.0.3", 32),
        ]);
        let found: Vec<_> = set
            .between("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap())
            .map(|policy| policy.index.0)
            .collect();
        assert_eq!(found, [17, 9]);
        assert_eq!(set.get(PolicyIndex(25)).map(|policy| policy.priority), Some(5));
    }

    #[test]
    fn a_set_grows_and_shrinks_by_index() {
        let set = PolicySet::new(vec![policy(9, 20, "10.0.0.1", "10.0.0.2", 32)]);
        let grown = set
            .with(policy(17, 10, "10.0.0.1", "10.0.0.2", 32))
            .with(policy(17, 30, "10.0.0.1", "10.0.0.2", 32));
        assert_eq!(
            grown.iter().map(|policy| (policy.index.0, policy.priority)).collect::<Vec<_>>(),
            [(9, 20), (17, 30)]
        );
        let shrunk = grown.without(&BTreeSet::from([PolicyIndex(9), PolicyIndex(1)]));
        assert_eq!(shrunk.iter().map(|policy| policy.index.0).collect::<Vec<_>>(), [17]);
    }
}

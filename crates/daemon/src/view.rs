//! What the engine sees of the kernel's policies.

use std::collections::BTreeSet;
use std::sync::Arc;

use ike_proto::policy::spd::PolicySet;
use xfrm_sys::{Direction, Level, Policy};

use crate::status::Pair;
use crate::translate::{self, Reading};

/// The kernel's policies as they stood at one moment.
#[derive(Debug)]
pub struct View {
    /// Those the engine keys.
    pub set: Arc<PolicySet>,
    /// What the operator should know of the others.
    pub warnings: Vec<String>,
    /// Whether IPv4 or IPv6 traffic is to be protected.
    pub families: Families,
    /// Pairs from whose peer clear text may come in: the `in` policy is of level `use`.
    pub open: BTreeSet<Pair>,
}

/// Address families that some policy protects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Families {
    /// Those of policies that ask for SAs.
    pub fn of<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Self {
        let mut families = Self::default();
        for policy in policies.into_iter().filter(|policy| !policy.templates.is_empty()) {
            if policy.selector.destination.address.is_ipv6() {
                families.v6 = true
            } else {
                families.v4 = true
            }
        }
        families
    }
}

/// Reads a dump. Where policies `move` to our SAs (see [`coati_spd::MOVED_REQID`]), those that can are seen as moved.
#[must_use]
pub fn read(dump: &[Policy], moves: bool) -> View {
    let mut keyed = Vec::new();
    let mut warnings = Vec::new();
    for policy in dump.iter().filter(|policy| policy.direction == Direction::OUT) {
        let seen = if moves && coati_spd::may_move(policy) { &coati_spd::moved(policy) } else { policy };
        match translate::policy(seen) {
            Reading::Keyed(policy) => keyed.push(policy),
            Reading::Unkeyed(why) => {
                warnings.push(format!("policy {} ({policy}) gets no SAs from Coati: {why}", policy.index));
            }
            Reading::Other => {}
        }
    }
    if !coati_spd::neighbour_discovery_passes(&dump.iter().collect::<Vec<_>>()) {
        warnings.push(
            "the kernel's policies catch IPv6 neighbour discovery: add `none` policies for icmp6 types 133 to 137, \
             in and out, with a higher priority"
                .to_owned(),
        );
    }
    let is_open = |policy: &&Policy| {
        policy.direction == Direction::IN
            && !policy.templates.is_empty()
            && policy.templates.iter().all(|template| template.level == Level::Optional)
    };
    let pair = |policy: &Policy| (policy.selector.destination.address, policy.selector.source.address);
    let open = dump.iter().filter(is_open).map(pair).collect();
    View { set: Arc::new(PolicySet::new(keyed)), warnings, families: Families::of(dump), open }
}

#[cfg(test)]
mod tests {
    use xfrm_sys::{FakeKernel, Xfrm};

    use super::*;
    use crate::testing::set_of;
    use coati_spd::{Plan, wanted};

    fn dump(text: &str) -> Vec<Policy> {
        let mut fake = FakeKernel::new();
        Plan::new(&wanted(&set_of(text), &[]), &[], true, &[]).apply(&mut fake).unwrap();
        fake.dump_policies().unwrap()
    }

    #[test]
    fn outbound_esp_policies_are_seen_with_the_kernels_index() {
        let dump = dump(
            "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
             spdadd 192.0.2.2 192.0.2.1 any -P in ipsec esp/transport//require;
             spdadd 192.0.2.1 192.0.2.3 any -P out ipsec esp/transport//unique:9;
             spdadd 0.0.0.0/0 0.0.0.0/0 icmp -P out none;",
        );
        let view = read(&dump, false);
        assert_eq!(view.warnings, Vec::<String>::new());
        assert_eq!(view.families, Families { v4: true, v6: false });
        assert_eq!(view.set.len(), 2);
        for policy in view.set.iter() {
            let kernel = dump.iter().find(|kernel| kernel.index == policy.index.0).unwrap();
            assert_eq!(kernel.templates[0].reqid, policy.template.reqid.0);
            assert_eq!(kernel.direction, Direction::OUT);
        }
        // Beside another daemon those without a reqid are seen as they will be.
        let reqids = read(&dump, true).set.iter().map(|policy| policy.template.reqid.0).collect::<Vec<_>>();
        assert_eq!(reqids, [coati_spd::MOVED_REQID, 9]);
    }

    #[test]
    fn pairs_from_which_clear_text_may_come_are_known() {
        let dump = dump(
            "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//use;
             spdadd 192.0.2.2 192.0.2.1 any -P in ipsec esp/transport//use;
             spdadd 192.0.2.3 192.0.2.1 any -P in ipsec esp/transport//require;",
        );
        let pair: Pair = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!(read(&dump, false).open, BTreeSet::from([pair]));
    }

    #[test]
    fn what_gets_no_sas_is_named() {
        let view = read(
            &dump(
                "spdadd 10.0.0.0/8 10.0.0.0/8 any -P out ipsec esp/tunnel/192.0.2.1-192.0.2.2/require;
             spdadd 192.0.2.1 192.0.2.3 any -P out ipsec ah/transport//require;",
            ),
            false,
        );
        assert!(view.set.is_empty());
        assert_eq!(view.warnings.len(), 2, "{:?}", view.warnings);
        assert!(view.warnings.iter().any(|said| said.ends_with("it asks for a tunnel")));
    }

    #[test]
    fn neighbour_discovery_that_is_caught_is_a_warning() {
        let mut policies = dump("spdadd 2001:db8::1 2001:db8::2 any -P out ipsec esp/transport//require;");
        let view = read(&policies, false);
        assert_eq!((view.warnings.len(), view.families), (0, Families { v4: false, v6: true }));
        policies.retain(|policy| !policy.templates.is_empty());
        let warnings = read(&policies, false).warnings;
        assert!(warnings[0].contains("IPv6 neighbour discovery"), "{warnings:?}");
    }
}

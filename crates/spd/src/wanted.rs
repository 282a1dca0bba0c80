//! From setkey's words to the kernel's policies.

use std::collections::{BTreeMap, BTreeSet};

use coati_config::diag::Place;
use coati_config::net::IpNet;
use coati_config::setkey::PolicySet;
use coati_config::setkey::model::{
    Direction as Way, Level as Strictness, Mode as RuleMode, PolicyAction, Rule, RuleProtocol, SpdPolicy,
    SpdSelector,
};
use xfrm_sys::{Action, Direction, Level, Mode, Policy, PortMatch, Prefix, Protocol, Selector, Template};

use crate::moved::MOVED_REQID;
use crate::neighbour;

/// Reqids up to here may be given by hand (setkey's `unique:N`).
const LARGEST_MANUAL_REQID: u32 = 0x3fff;

/// A policy that is to be in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The policy; the kernel chooses its index.
    pub policy: Policy,
    /// Where it is written; `None` for the daemon's own.
    pub place: Option<Place>,
}

/// The policies that `set` asks for, in its order, given what is in the kernel already; behind them the daemon's own,
/// which keep IPv6 neighbour discovery out of IPsec.
#[must_use]
pub fn wanted(set: &PolicySet, present: &[Policy]) -> Vec<Wanted> {
    let mut reqids = Reqids::of(present);
    let mut all: Vec<Wanted> = set
        .policies
        .iter()
        .map(|policy| Wanted {
            policy: kernel_policy(policy, &mut reqids),
            place: Some(policy.place.clone()),
        })
        .collect();
    let kept = present.iter().filter(|_| !set.replaces);
    let after: Vec<&Policy> = all.iter().map(|wanted| &wanted.policy).chain(kept).collect();
    let own = neighbour::exceptions(&after);
    all.extend(own.into_iter().map(|policy| Wanted { policy, place: None }));
    all
}

/// What one written policy is in the kernel.
pub(super) fn kernel_policy(written: &SpdPolicy, reqids: &mut Reqids) -> Policy {
    let direction = direction(&written.selector);
    let mut policy = Policy::new(selector(&written.selector), direction);
    policy.priority = written.priority;
    match &written.action {
        PolicyAction::None => {}
        PolicyAction::Discard => policy.action = Action::BLOCK,
        PolicyAction::Ipsec(rules) => {
            for rule in rules {
                let reqid = match rule.level {
                    Strictness::Unique(None) if direction == Direction::OUT => reqids.next_for(&policy),
                    level => level.reqid(),
                };
                policy.templates.push(template(rule, &policy.selector, reqid));
            }
        }
    }
    policy
}

/// The kernel's direction.
pub(super) const fn direction(written: &SpdSelector) -> Direction {
    match written.direction {
        Way::In => Direction::IN,
        Way::Out => Direction::OUT,
        Way::Fwd => Direction::FWD,
    }
}

/// The kernel's selector.
pub(super) fn selector(written: &SpdSelector) -> Selector {
    let prefix = |net: IpNet| Prefix { address: net.first(), length: net.prefix };
    let port = |port: Option<u16>| port.map_or(PortMatch::ANY, PortMatch::exactly);
    Selector {
        protocol: Protocol(written.protocol),
        source_port: port(written.sport),
        destination_port: port(written.dport),
        ..Selector::new(prefix(written.src), prefix(written.dst))
    }
}

fn template(rule: &Rule, selector: &Selector, reqid: u32) -> Template {
    let protocol = match rule.protocol {
        RuleProtocol::Esp => Protocol::ESP,
        RuleProtocol::Ah => Protocol::AH,
        RuleProtocol::Ipcomp => Protocol::IPCOMP,
    };
    let level = match rule.level {
        Strictness::Use => Level::Optional,
        Strictness::Default | Strictness::Require | Strictness::Unique(_) => Level::Required,
    };
    let ends = match &rule.mode {
        // In transport mode the kernel takes the packet's own addresses, whatever is written.
        RuleMode::Transport(_) => Template::esp_transport(selector.destination.address),
        RuleMode::Tunnel { src, dst } => Template::esp_tunnel(src.addr, dst.addr),
    };
    let mode = match rule.mode {
        RuleMode::Transport(_) => Mode::TRANSPORT,
        RuleMode::Tunnel { .. } => Mode::TUNNEL,
    };
    Template { protocol, level, mode, reqid, ..ends }
}

/// Gives reqids to policies of level `unique` that name none: the one they have in the kernel, else a free one. What may
/// be written by hand is smaller.
#[derive(Clone, Debug)]
pub(super) struct Reqids {
    /// Of policies in the kernel, by direction, selector and place of the template.
    had: BTreeMap<(u8, Selector, usize), u32>,
    taken: BTreeSet<u32>,
    next: u32,
}

impl Reqids {
    /// Knows those in the kernel.
    pub(super) fn of(present: &[Policy]) -> Self {
        let templates = present.iter().flat_map(|policy| {
            let key = (policy.direction.0, policy.selector);
            policy
                .templates
                .iter()
                .enumerate()
                .map(move |(at, template)| ((key.0, key.1, at), template.reqid))
        });
        let given = |reqid: u32| reqid > LARGEST_MANUAL_REQID && reqid != MOVED_REQID;
        let had: BTreeMap<_, _> = templates.filter(|(_, reqid)| given(*reqid)).collect();
        let taken = had.values().copied().collect();
        Self { had, taken, next: LARGEST_MANUAL_REQID + 1 }
    }

    fn next_for(&mut self, policy: &Policy) -> u32 {
        let key = (policy.direction.0, policy.selector, policy.templates.len());
        if let Some(had) = self.had.get(&key) {
            return *had;
        }
        let free = (self.next..u32::MAX).find(|reqid| !self.taken.contains(reqid)).unwrap_or(u32::MAX);
        self.next = free.saturating_add(1);
        // The same policy may be written again.
        self.had.insert(key, free);
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::set_of;

    fn policies(text: &str, present: &[Policy]) -> Vec<Policy> {
        wanted(&set_of(text), present).into_iter().map(|wanted| wanted.policy).collect()
    }

    fn shown(policies: &[Policy]) -> Vec<String> {
        policies
            .iter()
            .map(|policy| {
                let templates = policy.templates.iter().map(|t| {
                    format!(
                        " {}/{}/{}-{}/{:?}:{}",
                        t.protocol, t.mode, t.source, t.destination, t.level, t.reqid
                    )
                });
                format!("{policy}{}", templates.collect::<String>())
            })
            .collect()
    }

    #[test]
    fn the_examples_words_become_the_kernels() {
        let all = policies(
            "spdadd 0.0.0.0/0 0.0.0.0/0[22] tcp -P out prio def + 100 none;
             spdadd 0.0.0.0/0 0.0.0.0/0 icmp -P in prio def + 100 none;
             spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
             spdadd 192.0.2.2 192.0.2.1 any -P in ipsec esp/transport//use;
             spdadd 192.0.2.77/24 198.51.100.0/24 any -P out discard;",
            &[],
        );
        assert_eq!(
            shown(&all),
            [
                "out 0.0.0.0/0 > 0.0.0.0/0[22] tcp allow priority 2147483548",
                "in 0.0.0.0/0 > 0.0.0.0/0 icmp allow priority 2147483548",
                "fwd 0.0.0.0/0 > 0.0.0.0/0 icmp allow priority 2147483548",
                "out 192.0.2.1/32 > 192.0.2.2/32 allow priority 2147483648 \
                 esp/transport/0.0.0.0-0.0.0.0/Required:0",
                "in 192.0.2.2/32 > 192.0.2.1/32 allow priority 2147483648 \
                 esp/transport/0.0.0.0-0.0.0.0/Optional:0",
                "fwd 192.0.2.2/32 > 192.0.2.1/32 allow priority 2147483648 \
                 esp/transport/0.0.0.0-0.0.0.0/Optional:0",
                "out 192.0.2.0/24 > 198.51.100.0/24 block priority 2147483648",
            ]
        );
    }

    #[test]
    fn a_reqid_stands_where_it_was_written_and_unique_gets_one_that_it_keeps() {
        let text = "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//unique:7;
             spdadd 192.0.2.1 192.0.2.3 any -P out ipsec esp/transport//unique;
             spdadd 192.0.2.1 192.0.2.4 any -P out ipsec esp/transport//unique;
             spdadd 192.0.2.4 192.0.2.1 any -P in ipsec esp/transport//unique;";
        let reqids = |policies: &[Policy]| -> Vec<u32> {
            policies.iter().map(|policy| policy.templates[0].reqid).collect()
        };
        let first = policies(text, &[]);
        assert_eq!(reqids(&first), [7, 16_384, 16_385, 0, 0]);
        let mut changed = first.clone();
        changed[2].templates[0].reqid = 20_000;
        changed.remove(1);
        assert_eq!(reqids(&policies(text, &changed)), [7, 16_384, 20_000, 0, 0]);
    }

    #[test]
    fn ipv6_policies_for_whole_hosts_bring_exceptions_for_neighbour_discovery() {
        let all =
            wanted(&set_of("spdadd 2001:db8::1 2001:db8::2 any -P out ipsec esp/transport//require;"), &[]);
        assert_eq!(all.len(), 11);
        assert!(all[1..].iter().all(|wanted| wanted.place.is_none()));
        let present: Vec<Policy> = all.into_iter().map(|wanted| wanted.policy).collect();
        let v4 = set_of("spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;");
        assert_eq!(wanted(&v4, &[]).len(), 1);
        // What stays in the kernel counts too.
        assert_eq!(wanted(&v4, &present[..1]).len(), 11);
        let replacing = PolicySet { replaces: true, ..v4 };
        assert_eq!(wanted(&replacing, &present[..1]).len(), 1);
    }
}

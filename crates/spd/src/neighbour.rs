//! IPv6 neighbour discovery (RFC 4861) is never caught by a policy that covers whole hosts: an SA needs the neighbour's
//! link-layer address, and that would need the SA.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use xfrm_sys::{Action, Direction, Policy, PortMatch, Prefix, Protocol, Selector};

/// ICMPv6 types of router and neighbour solicitations and advertisements, and of redirects.
const TYPES: RangeInclusive<u16> = 133..=137;

/// setkey's `prio high`.
const HIGH: u32 = 0x4000_0000;

const EVERYWHERE: Prefix = Prefix { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), length: 0 };

/// The policies that let neighbour discovery pass beside `policies`; none if nothing there catches it.
pub(super) fn exceptions(policies: &[&Policy]) -> Vec<Policy> {
    let Some(first) = first_to_catch(policies) else { return Vec::new() };
    let priority = first.saturating_sub(1).min(HIGH);
    let both = [Direction::IN, Direction::OUT];
    let all =
        both.into_iter().flat_map(|direction| TYPES.map(move |kind| exception(direction, kind, priority)));
    // A policy that is written for the same messages is what the operator wants of them.
    all.filter(|own| !policies.iter().any(|written| written.is_same_as(own) && *written != own)).collect()
}

/// Whether neighbour discovery passes by policies of its own before anything catches it.
pub fn passes(policies: &[&Policy]) -> bool {
    let Some(first) = first_to_catch(policies) else { return true };
    let let_pass = |direction, kind| {
        policies.iter().any(|policy| {
            policy.direction == direction
                && policy.action == Action::ALLOW
                && policy.templates.is_empty()
                && policy.priority <= first
                && policy.selector.source == EVERYWHERE
                && policy.selector.destination == EVERYWHERE
                && is_about(&policy.selector, kind)
        })
    };
    TYPES.into_iter().all(|kind| let_pass(Direction::IN, kind) && let_pass(Direction::OUT, kind))
}

fn exception(direction: Direction, kind: u16, priority: u32) -> Policy {
    let selector = Selector {
        protocol: Protocol::ICMPV6,
        source_port: PortMatch::exactly(kind),
        ..Selector::new(EVERYWHERE, EVERYWHERE)
    };
    Policy { priority, ..Policy::new(selector, direction) }
}

/// The best priority of a policy that asks for SAs for neighbour discovery.
fn first_to_catch(policies: &[&Policy]) -> Option<u32> {
    let catches = |policy: &&&Policy| {
        policy.selector.source.address.is_ipv6()
            && !policy.templates.is_empty()
            && !policy.direction.is_socket()
            && TYPES.into_iter().any(|kind| is_about(&policy.selector, kind))
    };
    policies.iter().filter(catches).map(|policy| policy.priority).min()
}

fn is_about(selector: &Selector, kind: u16) -> bool {
    match selector.protocol {
        Protocol::ANY => true,
        Protocol::ICMPV6 => selector.source_port.contains(kind),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use xfrm_sys::Template;

    use super::*;

    fn ipsec(protocol: Protocol, kind: Option<u16>, priority: u32) -> Policy {
        let host = |text: &str| Prefix::host(text.parse().unwrap());
        let selector = Selector {
            protocol,
            source_port: kind.map_or(PortMatch::ANY, PortMatch::exactly),
            ..Selector::new(host("2001:db8::1"), host("2001:db8::2"))
        };
        let mut policy = Policy { priority, ..Policy::new(selector, Direction::OUT) };
        policy.templates = vec![Template::esp_transport("::".parse().unwrap())];
        policy
    }

    #[test]
    fn only_what_catches_neighbour_discovery_asks_for_exceptions() {
        for (protocol, kind, count) in [
            (Protocol::ANY, None, 10),
            (Protocol::ICMPV6, None, 10),
            (Protocol::ICMPV6, Some(135), 10),
            (Protocol::ICMPV6, Some(128), 0),
            (Protocol::TCP, None, 0),
        ] {
            let policy = ipsec(protocol, kind, 0x8000_0000);
            assert_eq!(exceptions(&[&policy]).len(), count, "{protocol} {kind:?}");
        }
    }

    #[test]
    fn exceptions_come_before_all_that_catches() {
        for (given, expected) in [(0x8000_0000, HIGH), (HIGH, HIGH - 1), (7, 6), (0, 0)] {
            let (early, late) = (ipsec(Protocol::ANY, None, given), ipsec(Protocol::ANY, None, u32::MAX));
            let found = exceptions(&[&late, &early]);
            assert!(found.iter().all(|policy| policy.priority == expected), "{given}");
        }
    }

    #[test]
    fn exceptions_that_are_there_are_enough_and_are_found_again() {
        let policy = ipsec(Protocol::ANY, None, 0x8000_0000);
        assert!(!passes(&[&policy]));
        let own = exceptions(&[&policy]);
        let all: Vec<&Policy> = own.iter().chain([&policy]).collect();
        assert!(passes(&all));
        assert_eq!(exceptions(&all), own);
        assert!(!passes(&all[1..]));
    }

    #[test]
    fn what_the_operator_wrote_for_these_messages_stays() {
        let mut block = exception(Direction::IN, 137, 5);
        block.action = Action::BLOCK;
        let found = exceptions(&[&ipsec(Protocol::ANY, None, 9), &block]);
        assert_eq!(found.len(), 9);
        assert!(!found.iter().any(|policy| policy.is_same_as(&block)));
    }
}

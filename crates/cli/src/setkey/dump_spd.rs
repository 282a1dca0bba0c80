//! `setkey -DP`: the kernel's policies as setkey printed them. Scripts read this text: not an octet of it is free.

use std::fmt::Write as _;
use std::net::IpAddr;

use xfrm_sys::{
    Action, Direction, Error, Level, Mode, Policy, PortMatch, Prefix, Protocol, Selector, Template, Xfrm,
};

use super::dump_sa::{Ports, end};
use super::scene::Scene;

/// PF_KEY's "any protocol".
const ANY: u8 = 255;
/// ICMP, GRE, ICMPv6 and mobility headers have no ports, but types, codes and keys in their place.
const GRE: u8 = 47;
const MOBILITY_HEADER: u8 = 135;

/// A reqid that may have been given by hand; the kernel counts up above it.
const LARGEST_MANUAL_REQID: u32 = 0x3fff;

const HIGH: u32 = 0x4000_0000;
const DEFAULT: u32 = 0x8000_0000;
const LOW: u32 = 0xC000_0000;

/// Which policies are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketPolicies {
    /// Those of sockets too.
    Shown,
    /// Not those of sockets (`-N`).
    Hidden,
}

/// The text of `setkey -DP`.
///
/// # Errors
/// The kernel's refusal to list them.
pub fn dump_policies(
    xfrm: &mut impl Xfrm,
    sockets: SocketPolicies,
    scene: &Scene,
    ports: Ports,
) -> Result<String, Error> {
    Ok(policies_text(&xfrm.dump_policies()?, sockets, scene, ports))
}

/// The text of a dump of these policies, those of the main database; `No SPD entries.` if there is none.
#[must_use]
pub fn policies_text(policies: &[Policy], sockets: SocketPolicies, scene: &Scene, ports: Ports) -> String {
    let is_shown = |policy: &&Policy| {
        policy.is_main() && (sockets == SocketPolicies::Shown || !policy.direction.is_socket())
    };
    let shown: Vec<&Policy> = policies.iter().filter(is_shown).collect();
    if shown.is_empty() {
        return "No SPD entries.\n".to_owned();
    }
    let mut text = String::new();
    for (number, policy) in shown.iter().enumerate() {
        // The last one is numbered 0: the end of the dump.
        let number = if number + 1 == shown.len() { 0 } else { number + 1 };
        // Writing to a string does not fail.
        let _ = write_policy(&mut text, policy, scene, ports, number);
    }
    text
}

fn write_policy(
    to: &mut String,
    policy: &Policy,
    scene: &Scene,
    ports: Ports,
    number: usize,
) -> std::fmt::Result {
    match policy.direction.is_socket() {
        true => to.push_str("(per-socket policy) \n"),
        false => {
            let number =
                if policy.selector.protocol == Protocol::ANY { ANY } else { policy.selector.protocol.0 };
            writeln!(to, "{}", selector_text(&policy.selector, &scene.protocol(number)))?;
        }
    }
    let direction = match policy.direction {
        direction if !direction.is_socket() => direction.to_string(),
        Direction(3) => "in(socket)".to_owned(),
        _ => "out(socket)".to_owned(),
    };
    writeln!(to, "\t{direction}{} {}", priority_text(policy.priority), action_text(policy))?;
    for template in &policy.templates {
        writeln!(to, "\t{}", rule_text(template, ports))?;
    }
    let (usage, limits) = (&policy.usage, &policy.limits);
    writeln!(to, "\tcreated: {}  lastused: {}", scene.date(usage.add_time), scene.date(usage.use_time))?;
    writeln!(to, "\tlifetime: {}(s) validtime: {}(s)", limits.hard_add_seconds, limits.hard_use_seconds)?;
    writeln!(to, "\tspid={} seq={number} pid={}", policy.index, scene.pid())?;
    writeln!(to, "\trefcnt=1")
}

/// A policy in the words of `spdadd`, on one line.
#[must_use]
pub fn policy_line(policy: &Policy) -> String {
    let selector = selector_text(&policy.selector, &policy.selector.protocol.to_string());
    let rules =
        policy.templates.iter().map(|template| " ".to_owned() + &rule_text(template, Ports::WhereUsed));
    let (priority, action) = (priority_text(policy.priority), action_text(policy));
    format!("{selector} {}{priority} {action}{}", policy.direction, rules.collect::<String>())
}

fn action_text(policy: &Policy) -> &'static str {
    match (policy.action, policy.templates.is_empty()) {
        (Action::ALLOW, true) => "none",
        (Action::ALLOW, false) => "ipsec",
        _ => "discard",
    }
}

/// `SRC DST PROTO`, with ports, types or keys; `name` is the protocol's.
fn selector_text(selector: &Selector, name: &str) -> String {
    let protocol = selector.protocol.0;
    let is_icmp = [Protocol::ICMP.0, Protocol::ICMPV6.0, MOBILITY_HEADER].contains(&protocol);
    let has_ports = !is_icmp && protocol != GRE;
    let side = |prefix: Prefix, port: PortMatch| {
        let mut text = prefix.address.to_string();
        if prefix.length != Prefix::host(prefix.address).length {
            let _ = write!(text, "/{}", prefix.length);
        }
        match (has_ports, port.mask) {
            (false, _) => {}
            (true, 0) => text.push_str("[any]"),
            (true, _) => {
                let _ = write!(text, "[{}]", port.port);
            }
        }
        text
    };
    let source = side(selector.source, selector.source_port);
    let destination = side(selector.destination, selector.destination_port);
    let mut text = format!("{source} {destination} {name}");
    let (first, second) = (selector.source_port, selector.destination_port);
    if (first.mask, second.mask) != (0, 0) {
        let _ = match protocol {
            GRE => write!(text, " {}", u32::from(first.port) << 16 | u32::from(second.port)),
            _ if is_icmp => write!(text, " {},{}", first.port, second.port),
            _ => Ok(()),
        };
    }
    text
}

/// ` prio BASE`, ` prio BASE + N`, ` prio BASE - N`; nothing for 0. What is higher here is a lower number.
pub(super) fn priority_text(priority: u32) -> String {
    let (name, base) = match priority {
        0 => return String::new(),
        1..0x6000_0000 => ("high", HIGH),
        0x6000_0000..0xA000_0000 => ("def", DEFAULT),
        _ => ("low", LOW),
    };
    match (base.checked_sub(priority), priority.saturating_sub(base)) {
        (Some(0), _) => format!(" prio {name}"),
        (Some(above), _) => format!(" prio {name} + {above}"),
        (None, below) => format!(" prio {name} - {below}"),
    }
}

/// `PROTO/MODE/A-B/LEVEL`; a transport rule names no addresses, nor has it any.
fn rule_text(template: &Template, ports: Ports) -> String {
    let protocol = match template.protocol {
        Protocol::ESP => "esp".to_owned(),
        Protocol::AH => "ah".to_owned(),
        Protocol::IPCOMP => "ipcomp".to_owned(),
        other => other.to_string(),
    };
    let (mode, ends) = match template.mode {
        Mode::TRANSPORT => ("transport".to_owned(), String::new()),
        mode => {
            // The kernel's templates have no ports.
            let port = (ports == Ports::Always).then_some(0);
            let side = |address: IpAddr| end(address, port);
            (mode.to_string(), format!("{}-{}", side(template.source), side(template.destination)))
        }
    };
    let level = match (template.level, template.reqid) {
        (Level::Optional, _) => "use",
        (Level::Required, 0) => "require",
        (Level::Required, _) => "unique",
    };
    let reqid = match template.reqid {
        0 => String::new(),
        reqid @ 1..=LARGEST_MANUAL_REQID => format!(":{reqid}"),
        reqid => format!("#{reqid}"),
    };
    format!("{protocol}/{mode}/{ends}/{level}{reqid}")
}

//! Policies: pairs of `out` and `in` that differ in the other end only become one `[[policy]]`, what is rarer stays in
//! setkey's language.

use core::fmt::Write as _;

use super::{Writer, list, quoted};
use crate::diag::Place;
use crate::native::policy::PRIORITY;
use crate::native::words;
use crate::net::IpNet;
use crate::setkey::model::{
    Action, Direction, Level, Mode, PolicyAction, PolicyFile, Rule, RuleProtocol, SpdPolicy,
};
use crate::setkey::{FwdCopies, PolicySet};

/// A policy as `[[policy]]` says it, without its remote end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    local: IpNet,
    protocol: u8,
    local_port: Option<u16>,
    remote_port: Option<u16>,
    action: Simple,
    priority: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Simple {
    Bypass,
    Drop,
    Protect(Level),
}

/// A run of policies of one shape.
struct Run {
    place: Place,
    shape: Shape,
    directions: Vec<Direction>,
    remotes: Vec<IpNet>,
}

impl Writer {
    pub(super) fn policies(&mut self, files: &[PolicyFile]) {
        for command in files.iter().flat_map(|file| &file.commands) {
            let what = match &command.action {
                Action::Add(_) => "`add`: manual SAs stay with setkey",
                Action::Delete(_) | Action::DeleteAll { .. } => "a command that deletes SAs",
                Action::Get(_) | Action::Dump(_) | Action::SpdDump => "a command that prints",
                Action::Flush(_)
                | Action::SpdFlush
                | Action::SpdAdd(_)
                | Action::SpdUpdate(_)
                | Action::SpdDelete(_) => continue,
            };
            self.lose(&command.place, what);
        }
        let (set, _) = PolicySet::of(files, FwdCopies::NotMade);
        let mut rest = set.policies.as_slice();
        let mut run: Option<Run> = None;
        while let Some((first, behind)) = rest.split_first() {
            let Some((shape, remote)) = shape(first) else {
                self.flush(run.take());
                self.setkey(first);
                rest = behind;
                continue;
            };
            let mut directions = vec![first.selector.direction];
            rest = behind;
            if let Some((second, behind)) = rest.split_first()
                && second.selector.direction != first.selector.direction
                && self::shape(second) == Some((shape.clone(), remote))
            {
                directions.push(second.selector.direction);
                rest = behind;
            }
            match &mut run {
                Some(run) if (&run.shape, &run.directions) == (&shape, &directions) => {
                    run.remotes.push(remote)
                }
                _ => {
                    self.flush(run.take());
                    run = Some(Run { place: first.place.clone(), shape, directions, remotes: vec![remote] });
                }
            }
        }
        self.flush(run);
    }

    fn flush(&mut self, run: Option<Run>) {
        let Some(Run { place, shape, directions, remotes }) = run else { return };
        self.header("[[policy]]", Some(&place));
        self.key("local", &quoted(&net(shape.local)));
        let remotes: Vec<String> = remotes.into_iter().map(net).collect();
        match remotes.as_slice() {
            [one] => self.key("remote", &quoted(one)),
            several if several.len() <= 4 => self.key("remote", &list(several)),
            several => {
                let lines: String =
                    several.iter().map(|remote| format!("    {},\n", quoted(remote))).collect();
                self.key("remote", &format!("[\n{lines}]"));
            }
        }
        if shape.protocol != 0 {
            self.key("protocol", &quoted(&words::write_protocol(shape.protocol)));
        }
        for (name, port) in [("local-port", shape.local_port), ("remote-port", shape.remote_port)] {
            if let Some(port) = port {
                self.key(name, &port.to_string());
            }
        }
        if directions != [Direction::Out, Direction::In] {
            let names: Vec<String> = directions.iter().map(ToString::to_string).collect();
            self.key("direction", &list(&names));
        }
        match shape.action {
            Simple::Bypass => self.key("action", &quoted("bypass")),
            Simple::Drop => self.key("action", &quoted("drop")),
            Simple::Protect(Level::Require) => {}
            Simple::Protect(level) => self.key("level", &quoted(&level_text(level))),
        }
        if shape.priority != PRIORITY {
            self.key("priority", &shape.priority.to_string());
        }
    }

    fn setkey(&mut self, policy: &SpdPolicy) {
        self.header("[[policy]]", Some(&policy.place));
        self.key("setkey", &quoted(&command(policy)));
    }
}

fn net(net: IpNet) -> String {
    net.to_string()
}

fn level_text(level: Level) -> String {
    match level {
        Level::Default => "default".to_owned(),
        Level::Use => "use".to_owned(),
        Level::Require => "require".to_owned(),
        Level::Unique(None) => "unique".to_owned(),
        Level::Unique(Some(reqid)) => format!("unique:{reqid}"),
    }
}

/// The shape and the remote end, if `[[policy]]` can say them.
fn shape(policy: &SpdPolicy) -> Option<(Shape, IpNet)> {
    let selector = &policy.selector;
    let (local, local_port, remote, remote_port) = match selector.direction {
        Direction::Out => (selector.src, selector.sport, selector.dst, selector.dport),
        Direction::In => (selector.dst, selector.dport, selector.src, selector.sport),
        Direction::Fwd => return None,
    };
    let action = match &policy.action {
        PolicyAction::None => Simple::Bypass,
        PolicyAction::Discard => Simple::Drop,
        PolicyAction::Ipsec(rules) => match rules.as_slice() {
            [Rule { protocol: RuleProtocol::Esp, mode: Mode::Transport(None), level, .. }] => {
                Simple::Protect(*level)
            }
            _ => return None,
        },
    };
    let ports = [local_port, remote_port];
    let has_strange_port =
        ports.contains(&Some(0)) || (ports != [None, None] && !words::has_ports(selector.protocol));
    let has_host_bits = [local, remote].iter().any(|net| net.network() != *net);
    if has_strange_port || has_host_bits || selector.context.is_some() {
        return None;
    }
    let priority = policy.priority;
    Some((Shape { local, protocol: selector.protocol, local_port, remote_port, action, priority }, remote))
}

/// A policy in setkey's language.
fn command(policy: &SpdPolicy) -> String {
    let selector = &policy.selector;
    let is_named = matches!(selector.protocol, 1 | 47 | 58 | 135);
    let end = |net: IpNet, port: Option<u16>| match port.filter(|_| !is_named) {
        None => format!("{}/{}", net.addr, net.prefix),
        Some(port) => format!("{}/{}[{port}]", net.addr, net.prefix),
    };
    let mut text =
        format!("spdadd {} {}", end(selector.src, selector.sport), end(selector.dst, selector.dport));
    let _ = match selector.protocol {
        0 => write!(text, " any"),
        protocol => write!(text, " {protocol}"),
    };
    if let (Some(high), Some(low), true) = (selector.sport, selector.dport, is_named) {
        let _ = match selector.protocol {
            47 => write!(text, " {}", u32::from(high) << 16 | u32::from(low)),
            _ => write!(text, " {high},{low}"),
        };
    }
    if let Some(context) = &selector.context {
        let _ = write!(text, " -ctx {} {} \"{}\"", context.doi, context.algorithm, context.label);
    }
    let _ = write!(text, " -P {}", selector.direction);
    // What is written higher is a lower number.
    let offset = i64::from(PRIORITY) - i64::from(policy.priority);
    if offset != 0 {
        let _ = write!(text, " prio {offset}");
    }
    match &policy.action {
        PolicyAction::None => text += " none",
        PolicyAction::Discard => text += " discard",
        PolicyAction::Ipsec(rules) => {
            text += " ipsec";
            for rule in rules {
                let _ = write!(text, " {}", rule_text(rule));
            }
        }
    }
    text + ";"
}

fn rule_text(rule: &Rule) -> String {
    let protocol = match rule.protocol {
        RuleProtocol::Esp => "esp",
        RuleProtocol::Ah => "ah",
        RuleProtocol::Ipcomp => "ipcomp",
    };
    let level = level_text(rule.level);
    match &rule.mode {
        Mode::Transport(None) => format!("{protocol}/transport//{level}"),
        Mode::Transport(Some((src, dst))) => format!("{protocol}/transport/{src}-{dst}/{level}"),
        Mode::Tunnel { src, dst } => format!("{protocol}/tunnel/{src}-{dst}/{level}"),
    }
}

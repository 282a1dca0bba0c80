//! The policies of a coati.toml: of peers and groups, of `exclude`, of `[[policy]]`.

use core::ops::Range;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::reader::{Located, Reader, Table, has};
use super::settings::{Protect, policy_level};
use super::words::{self, Service};
use crate::diag::Place;
use crate::files::Files;
use crate::net::IpNet;
use crate::setkey;
use crate::setkey::model::{
    Action, Command, Direction, Level, Mode, PolicyAction, Rule, RuleProtocol, SpdPolicy, SpdSelector,
};

/// The kernel's priority of a policy that names none.
pub(super) const PRIORITY: u32 = 0x8000_0000;
/// Exclusions stand before what they are excluded from.
const EXCLUSION_PRIORITY: u32 = PRIORITY - 100;
/// Networks stand behind single addresses, and the larger ones behind the smaller ones.
const NETWORK_PRIORITY: u32 = PRIORITY + 1000;

/// Both ends of a pair's policies, and what they are about.
#[derive(Clone, Copy)]
struct Ends {
    local: IpNet,
    remote: IpNet,
    protocol: u8,
    local_port: Option<u16>,
    remote_port: Option<u16>,
}

impl Ends {
    const fn all(local: IpNet, remote: IpNet) -> Self {
        Self { local, remote, protocol: 0, local_port: None, remote_port: None }
    }

    const fn selector(self, direction: Direction) -> SpdSelector {
        let ((src, sport), (dst, dport)) = match direction {
            Direction::Out => ((self.local, self.local_port), (self.remote, self.remote_port)),
            Direction::In | Direction::Fwd => {
                ((self.remote, self.remote_port), (self.local, self.local_port))
            }
        };
        SpdSelector { src, sport, dst, dport, protocol: self.protocol, direction, context: None }
    }
}

/// Commands that make the policies, in order.
#[derive(Debug, Default)]
pub(super) struct Policies {
    pub(super) commands: Vec<Command>,
}

impl Policies {
    fn add(&mut self, place: &Place, ends: Ends, direction: Direction, priority: u32, action: PolicyAction) {
        let selector = ends.selector(direction);
        let policy = SpdPolicy { place: place.clone(), selector, priority, action };
        self.commands.push(Command { place: place.clone(), action: Action::SpdAdd(policy) });
    }

    fn both(&mut self, place: &Place, ends: Ends, priority: u32, action: &PolicyAction) {
        for direction in [Direction::Out, Direction::In] {
            self.add(place, ends, direction, priority, action.clone());
        }
    }

    /// A service at either end.
    fn service(&mut self, place: &Place, ends: Ends, service: Service, priority: u32, action: &PolicyAction) {
        let protocol = match (service.protocol, ends.local.addr) {
            (1, IpAddr::V6(_)) => 58,
            (protocol, _) => protocol,
        };
        let ends = Ends { protocol, ..ends };
        match service.port {
            None => self.both(place, ends, priority, action),
            Some(port) => {
                self.both(place, Ends { remote_port: Some(port), ..ends }, priority, action);
                self.both(place, Ends { local_port: Some(port), ..ends }, priority, action);
            }
        }
    }

    /// `exclude`, for the families of our addresses; for both if we name none.
    pub(super) fn exclude(&mut self, place: &Place, service: Service, locals: &[Located<IpAddr>]) {
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        for address in any {
            let of_family = |local: &Located<IpAddr>| local.value.is_ipv4() == address.is_ipv4();
            // ICMPv6 is for IPv6 alone.
            let fits = service.protocol != 58 || address.is_ipv6();
            if fits && (locals.is_empty() || locals.iter().any(of_family)) {
                let net = IpNet { addr: address, prefix: 0 };
                self.service(place, Ends::all(net, net), service, EXCLUSION_PRIORITY, &PolicyAction::None);
            }
        }
    }

    /// What a peer or group asks for between one of our addresses and one of its own.
    pub(super) fn protect(
        &mut self,
        place: &Place,
        local: IpAddr,
        remote: IpNet,
        protect: &Protect,
        level: Level,
    ) {
        let ends = Ends::all(IpNet::host(local), remote);
        let width = if remote.is_host() { 0 } else { IpNet::host(remote.addr).prefix - remote.prefix };
        let priority = if width == 0 { PRIORITY } else { NETWORK_PRIORITY + u32::from(width) };
        let action = esp(place, level);
        match protect {
            Protect::Nothing => {}
            Protect::All => self.both(place, ends, priority, &action),
            Protect::Only(services) => {
                for service in services {
                    self.service(place, ends, *service, priority, &action);
                }
            }
        }
    }

    /// Of a group's network, addresses that are no peers.
    pub(super) fn except(&mut self, place: &Place, local: IpAddr, remote: IpNet) {
        let width = IpNet::host(remote.addr).prefix - remote.prefix;
        let priority = NETWORK_PRIORITY - 500 + u32::from(width);
        self.both(place, Ends::all(IpNet::host(local), remote), priority, &PolicyAction::None);
    }
}

/// ESP in transport mode.
pub(super) fn esp(place: &Place, level: Level) -> PolicyAction {
    let mode = Mode::Transport(None);
    PolicyAction::Ipsec(vec![Rule { place: place.clone(), protocol: RuleProtocol::Esp, mode, level }])
}

impl Reader<'_> {
    /// One `[[policy]]`.
    pub(super) fn policy(
        &mut self,
        table: &Located<Table<'_>>,
        locals: &[Located<IpAddr>],
        policies: &mut Policies,
        files: &dyn Files,
    ) {
        let entry = table.value;
        if has(entry, "setkey") {
            self.setkey_text(table, policies, files);
            return;
        }
        let local = match self.list(entry, "local", words::network) {
            Some(written) => written.value,
            None => locals.iter().map(|local| local.clone().map(IpNet::host)).collect(),
        };
        let remote = self.list(entry, "remote", words::network);
        let ends = self.policy_ends(entry);
        let directions = self.directions(entry);
        let action = self.policy_action(entry, &self.place(&table.span));
        let priority = self.number(entry, "priority", 0..=u32::MAX).map_or(PRIORITY, |number| number.value);
        if local.is_empty() {
            self.error_with_help(
                &table.span,
                "this policy has no `local`",
                "write `local` here or at the top of the file",
            );
            return;
        }
        let Some(remote) = remote.filter(|remote| !remote.value.is_empty()) else {
            self.error(&table.span, "this policy has no `remote`");
            return;
        };
        let before = policies.commands.len();
        for local in &local {
            for remote in &remote.value {
                if local.value.addr.is_ipv4() != remote.value.addr.is_ipv4() {
                    continue;
                }
                let ends = Ends { local: local.value, remote: remote.value, ..ends };
                for direction in &directions {
                    let place = self.place(&remote.span);
                    policies.add(&place, ends, *direction, priority, action.clone());
                }
            }
        }
        if policies.commands.len() == before {
            self.error(&remote.span, "no `local` is of the family of `remote`");
        }
    }

    fn policy_ends(&mut self, table: Table<'_>) -> Ends {
        let protocol = self.parsed(table, "protocol", words::protocol).map_or(0, |protocol| protocol.value);
        let mut port = |name| {
            let port = self.number(table, name, 1..=0xffff)?;
            if !words::has_ports(protocol) {
                let help = "write `protocol = \"tcp\"` or another one with ports";
                self.error_with_help(&port.span, "a port needs a protocol that has ports", help);
            }
            u16::try_from(port.value).ok()
        };
        let (local_port, remote_port) = (port("local-port"), port("remote-port"));
        let nowhere = IpNet::host(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Ends { local: nowhere, remote: nowhere, protocol, local_port, remote_port }
    }

    fn directions(&mut self, table: Table<'_>) -> Vec<Direction> {
        let written = self.list(table, "direction", |text| match text {
            "out" => Ok(Direction::Out),
            "in" => Ok(Direction::In),
            _ => Err("expected `out` or `in`; `fwd` goes with `in` by itself".to_owned()),
        });
        match written {
            None => vec![Direction::Out, Direction::In],
            Some(written) => {
                if written.value.is_empty() {
                    self.error(&written.span, "a policy has a direction");
                }
                written.value.into_iter().map(|direction| direction.value).collect()
            }
        }
    }

    fn policy_action(&mut self, table: Table<'_>, place: &Place) -> PolicyAction {
        let level = self.parsed(table, "level", policy_level);
        let action = self.parsed(table, "action", |text| match text {
            "protect" => Ok(None),
            "bypass" => Ok(Some(PolicyAction::None)),
            "drop" => Ok(Some(PolicyAction::Discard)),
            _ => Err("expected `protect`, `bypass` or `drop`".to_owned()),
        });
        match (action.and_then(|action| action.value), level) {
            (None, level) => esp(place, level.map_or(Level::Require, |level| level.value)),
            (Some(action), None) => action,
            (Some(action), Some(level)) => {
                self.error(&level.span, "only what is protected has a level");
                action
            }
        }
    }

    /// `setkey = "..."`: policies in setkey's language, which are added to the others.
    fn setkey_text(&mut self, table: &Located<Table<'_>>, policies: &mut Policies, files: &dyn Files) {
        let entry = table.value;
        if entry.entries.len() > 1 {
            self.error(&table.span, "`setkey` says everything about its policies: leave the other keys out");
            return;
        }
        let Some(text) = self.text(entry, "setkey") else { return };
        let name = format!("{} (`setkey` at line {})", self.source.name(), self.place(&text.span).line);
        let (file, said) = setkey::parse(&name, text.value.as_bytes(), files);
        self.diagnostics.append(said);
        for command in file.into_iter().flat_map(|file| file.commands) {
            match &command.action {
                Action::SpdAdd(_) | Action::SpdUpdate(_) => policies.commands.push(command),
                _ => {
                    let message = "only `spdadd` and `spdupdate` have a meaning here";
                    self.error(&text.span, message);
                    return;
                }
            }
        }
    }

    /// Says what is wrong with an address that may be ours alone.
    pub(super) fn unicast(&mut self, address: IpAddr, span: &Range<usize>) -> bool {
        let is_bad =
            address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST);
        if is_bad {
            self.error(span, format!("{address} is no address of one host"));
        }
        !is_bad
    }
}

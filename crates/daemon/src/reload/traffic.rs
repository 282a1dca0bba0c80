//! Which `remote`, `sainfo` and key are for the traffic of a policy.

use core::fmt;
use std::net::IpAddr;

use coati_config::diag::{Diagnostic, Diagnostics, Place, Severity};
use coati_config::net::IpNet;
use coati_config::psk::HostKeys;
use coati_config::racoon::SaInfoQuery;
use coati_config::racoon::model::{SaInfo, SaInfoId, Selector};
use coati_config::setkey::model::{Direction, Level, PolicyAction, RuleProtocol, SpdPolicy};
use ike_proto::policy::peer::PeerConfig;
use ike_proto::policy::selector::Net;
use ike_proto::policy::spd;

use super::Configuration;

/// What an outbound policy protects.
pub(super) struct Traffic {
    local: Selector,
    remote: Selector,
    /// The address of the other end, if the policy is for one.
    peer: Option<IpAddr>,
    /// In clear until there is an SA.
    optional: bool,
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {} <=> {}", self.local.net, self.remote.net)
    }
}

impl Traffic {
    /// Of a policy as the kernel has it.
    pub(super) fn of_kernel(policy: &spd::Policy) -> Self {
        let side = |net: Net| Selector {
            net: IpNet { addr: net.address, prefix: net.prefix },
            protocol: policy.selector.protocol,
        };
        let (local, remote) = (side(policy.selector.local.net), side(policy.selector.remote.net));
        let named = policy.template.endpoints.map(|(_, remote)| remote);
        let peer = named.or_else(|| remote.net.is_host().then_some(remote.net.addr));
        Self { local, remote, peer, optional: policy.template.optional }
    }

    /// Our end's address, if the policy is for one.
    pub(super) fn own_address(&self) -> Option<IpAddr> {
        self.local.net.is_host().then_some(self.local.net.addr)
    }

    /// Of a policy as a file has it; `None` for one that asks for no ESP in transport mode.
    fn of_file(policy: &SpdPolicy) -> Option<Self> {
        let PolicyAction::Ipsec(rules) = &policy.action else { return None };
        let [rule] = rules.as_slice() else { return None };
        let is_transport = matches!(rule.mode, coati_config::setkey::model::Mode::Transport(_));
        if policy.selector.direction != Direction::Out || rule.protocol != RuleProtocol::Esp || !is_transport
        {
            return None;
        }
        let protocol = policy.selector.protocol;
        let side = |net: IpNet| Selector { net: net.network(), protocol };
        let remote = side(policy.selector.dst);
        Some(Self {
            local: side(policy.selector.src),
            remote,
            peer: remote.net.is_host().then_some(remote.net.addr),
            optional: rule.level == Level::Use,
        })
    }
}

/// The peer's address, and the numbers of its remote and of its sainfo.
type Chosen = (IpAddr, usize, usize);

impl Configuration {
    /// Checks the policies of the files: whether there is a remote, a sainfo and a key for each.
    pub(super) fn check_policies(&self, said: &mut Diagnostics) {
        let Some(set) = &self.policies else { return };
        let traffics: Vec<Traffic> = set.policies.iter().filter_map(Traffic::of_file).collect();
        let keys = self.psks.for_host(&self.own_names(&traffics));
        let mut special: std::collections::BTreeMap<IpAddr, (usize, Place)> =
            std::collections::BTreeMap::new();
        for policy in &set.policies {
            let Some(traffic) = Traffic::of_file(policy) else { continue };
            let mut say = |severity, why: &str| {
                let message = format!("{traffic}: {why}");
                said.push(Diagnostic::about_place(severity, policy.place.clone(), message));
            };
            match self.choose(&traffic) {
                Err(why) => say(Severity::Error, &why),
                Ok(None) => {}
                Ok(Some((address, _, child))) => {
                    let (first, place) = special.entry(address).or_insert((child, policy.place.clone()));
                    if *first != child {
                        say(Severity::Error, &format!("{} (see {place})", self.conflict(*first, child)));
                    }
                }
            }
            if let Some(why) = self.keyless(&traffic, &keys) {
                // Traffic that may pass in clear is not lost for want of a key.
                say(if traffic.optional { Severity::Warning } else { Severity::Error }, &why);
            }
        }
    }

    /// Why no key can be found for this traffic's peer, if so.
    pub(super) fn keyless(&self, traffic: &Traffic, keys: &HostKeys<'_>) -> Option<String> {
        if self.has_signatures(traffic) {
            return None;
        }
        let listed = match traffic.peer {
            Some(peer) => keys.lookup_any([peer.to_string()]).is_some(),
            None => {
                let net = traffic.remote.net;
                let inside = |id: &[u8]| {
                    let address = core::str::from_utf8(id).ok().and_then(|text| text.parse().ok());
                    address.is_some_and(|address| net.contains(address))
                };
                self.psks.wildcard().is_some()
                    || keys.by_net().any(|(keyed, _)| keyed.contains(net.first()) || net.contains(keyed.addr))
                    || keys.by_identity().any(|(id, _)| inside(id))
            }
        };
        let file = self.racoon.pre_shared_key.display();
        let who = traffic.peer.map_or_else(|| traffic.remote.net.to_string(), |peer| peer.to_string());
        (!listed).then(|| format!("{file} has no key for {who}"))
    }

    /// Whether this traffic's peer and this end can both prove themselves by signatures; of many peers, one can.
    fn has_signatures(&self, traffic: &Traffic) -> bool {
        let signs = |peer: &PeerConfig| peer.auth.trust.is_some() && peer.auth.keys().next().is_some();
        match traffic.peer {
            Some(peer) => {
                self.remote_number(peer).ok().and_then(|number| self.peers.get(number)).is_some_and(signs)
            }
            None => self.peers.iter().any(signs),
        }
    }

    /// The remote and the sainfo for this traffic; nothing if it is for no single peer and the usual ones will do.
    pub(super) fn choose(&self, traffic: &Traffic) -> Result<Option<Chosen>, String> {
        let Some(peer) = traffic.peer else { return self.choose_for_many(traffic) };
        let remote = self.remote_number(peer)?;
        let child = self
            .sainfo_number(traffic, peer, remote)
            .ok_or("failed to get sainfo: no sainfo is for this traffic")?;
        Ok(Some((peer, remote, child)))
    }

    /// A policy for whole networks: its peers are known when they come.
    fn choose_for_many(&self, traffic: &Traffic) -> Result<Option<Chosen>, String> {
        let inside = |remote: &coati_config::racoon::model::Remote| {
            remote.selector.address().is_none_or(|endpoint| traffic.remote.net.contains(endpoint.addr))
        };
        let mut candidates =
            self.racoon.remotes.iter().enumerate().filter(|(_, remote)| inside(remote)).peekable();
        if candidates.peek().is_none() {
            return Err("no remote is for peers in this network".to_owned());
        }
        for (number, remote) in candidates {
            let peer = remote.selector.address().map_or(traffic.remote.net.addr, |endpoint| endpoint.addr);
            let chosen = self
                .sainfo_number(traffic, peer, number)
                .ok_or("failed to get sainfo: no sainfo is for this traffic")?;
            if Some(chosen) != self.default_child(number) {
                return Err("a policy for a whole network needs `sainfo anonymous`".to_owned());
            }
        }
        Ok(None)
    }

    /// The number of the remote for a peer.
    pub(super) fn remote_number(&self, peer: IpAddr) -> Result<usize, String> {
        let remote = self.racoon.remote_for(peer).map_err(|ambiguous| ambiguous.to_string())?;
        let remote = remote.ok_or_else(|| format!("no remote is for {peer}"))?;
        let number = self.racoon.remotes.iter().position(|other| core::ptr::eq(other, remote));
        number.ok_or_else(|| format!("no remote is for {peer}"))
    }

    fn sainfo_number(&self, traffic: &Traffic, peer: IpAddr, remote: usize) -> Option<usize> {
        let remote = self.racoon.remotes.get(remote)?;
        let peer_id = match remote.peers_identifiers.as_slice() {
            [only] => Some(only),
            _ => None,
        };
        let query =
            SaInfoQuery { local: traffic.local, remote: traffic.remote, peer, peer_id, ph1id: remote.ph1id };
        let sainfo = self.racoon.sainfo_for(&query)?;
        self.racoon.sainfos.iter().position(|other| core::ptr::eq(other, sainfo))
    }

    /// The number of the sainfo that a remote's peers get for any traffic: an anonymous one.
    pub(super) fn default_child(&self, remote: usize) -> Option<usize> {
        let remote = self.racoon.remotes.get(remote)?;
        let is_default = |sainfo: &SaInfo| {
            let from =
                sainfo.from.as_ref().is_none_or(|from| remote.peers_identifiers.as_slice() == [from.clone()]);
            sainfo.local == SaInfoId::Any
                && sainfo.remote == SaInfoId::Any
                && from
                && (sainfo.remoteid == 0 || sainfo.remoteid == remote.ph1id)
        };
        self.racoon.sainfos.iter().position(is_default)
    }

    /// What is wrong with two policies of one peer that need two sainfos.
    pub(super) fn conflict(&self, first: usize, second: usize) -> String {
        let place = |number: usize| self.racoon.sainfos.get(number).map(|sainfo| sainfo.place.to_string());
        format!(
            "the sainfos at {} and {} are for one peer: coatid can use one sainfo a peer",
            place(first).unwrap_or_default(),
            place(second).unwrap_or_default()
        )
    }
}

//! Who can be reached where: hosts in the open or behind NAT boxes, and paths that are cut.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ike_proto::time::Instant;

use crate::nat::{NatBox, NatSpec};
use crate::packet::Packet;
use crate::scenario::Scenario;

/// Where a packet is: behind this NAT box, or in the open.
pub type Site = Option<usize>;

/// The map, and the NAT boxes' mappings.
#[derive(Clone, Debug)]
pub struct Network {
    boxes: Vec<NatBox>,
    homes: BTreeMap<(Site, IpAddr), usize>,
    sites: Vec<Site>,
    cuts: BTreeSet<(usize, usize)>,
}

impl Network {
    /// The scenario's map; nothing is cut.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let homes = scenario.hosts.iter().enumerate().flat_map(|(number, host)| {
            host.addresses.iter().map(move |address| ((host.site, *address), number))
        });
        Self {
            boxes: scenario.sites.iter().cloned().map(NatBox::new).collect(),
            homes: homes.collect(),
            sites: scenario.hosts.iter().map(|host| host.site).collect(),
            cuts: BTreeSet::new(),
        }
    }

    /// Takes a packet from its sender to where the link begins; `None` if there is no way.
    pub fn leave(&mut self, now: Instant, from: usize, packet: &mut Packet) -> Option<Site> {
        let site = self.sites[from];
        if self.homes.contains_key(&(site, packet.destination.ip())) {
            return Some(site);
        }
        let Some(number) = site else { return Some(None) };
        self.boxes[number].outbound(now, packet).then_some(None)
    }

    /// Takes a packet from where the link ends to a host; `None` if there is no way.
    pub fn enter(&mut self, now: Instant, from: usize, site: Site, packet: &mut Packet) -> Option<usize> {
        let host = match self.homes.get(&(site, packet.destination.ip())) {
            Some(host) => *host,
            None if site.is_some() => return None,
            None => {
                let number = self.boxes.iter().position(|nat| nat.spec().owns(packet.destination.ip()))?;
                if !self.boxes[number].inbound(now, packet) {
                    return None;
                }
                *self.homes.get(&(Some(number), packet.destination.ip()))?
            }
        };
        (!self.is_cut(from, host)).then_some(host)
    }

    /// The hosts that `address` may mean to `viewer`; several where they share an outside address.
    #[must_use]
    pub fn known_as(&self, viewer: usize, address: IpAddr) -> Vec<usize> {
        for site in [self.sites[viewer], None] {
            if let Some(host) = self.homes.get(&(site, address)) {
                return vec![*host];
            }
        }
        let Some(number) = self.boxes.iter().position(|nat| nat.spec().owns(address)) else {
            return Vec::new();
        };
        let inside = self.homes.iter().filter(|((site, _), _)| *site == Some(number));
        match self.boxes[number].spec() {
            NatSpec::OneToOne { addresses } => {
                let own = addresses.iter().find(|(_, outside)| *outside == address).map(|(own, _)| *own);
                inside.filter(|((_, home), _)| Some(*home) == own).map(|(_, host)| *host).collect()
            }
            NatSpec::Masquerade { .. } => inside.map(|(_, host)| *host).collect(),
        }
    }

    /// Cuts or mends the path between two hosts.
    pub fn cut(&mut self, one: usize, other: usize, cut: bool) {
        let pair = (one.min(other), one.max(other));
        if cut {
            self.cuts.insert(pair);
        } else {
            self.cuts.remove(&pair);
        }
    }

    /// Makes a box forget its mappings.
    pub fn restart(&mut self, number: usize) {
        self.boxes[number].restart();
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cuts.contains(&(one.min(other), one.max(other)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::packet::Body;
    use crate::scenario::{Topology, TwoHosts};

    fn network(topology: Topology) -> (Network, [IpAddr; 2], [IpAddr; 2]) {
        let two = TwoHosts { topology, ..TwoHosts::plain() };
        (Network::new(&two.scenario()), two.own(), two.seen())
    }

    fn packet(source: IpAddr, destination: IpAddr) -> Packet {
        Packet {
            source: SocketAddr::new(source, 500),
            destination: SocketAddr::new(destination, 500),
            body: Body::Ike([0; 4].into()),
        }
    }

    #[test]
    fn a_packet_crosses_both_boxes_and_each_end_sees_public_addresses() {
        let (mut network, own, seen) = network(Topology::OneToOne);
        let mut packet = packet(own[0], seen[1]);
        let site = network.leave(Instant::ZERO, 0, &mut packet).unwrap();
        assert_eq!((site, packet.source.ip(), packet.destination.ip()), (None, seen[0], seen[1]));
        assert_eq!(network.enter(Instant::ZERO, 0, site, &mut packet), Some(1));
        assert_eq!((packet.source.ip(), packet.destination.ip()), (seen[0], own[1]));
        assert_eq!(network.known_as(0, seen[1]), [1]);
        assert_eq!(network.known_as(0, own[1]), []);
    }

    #[test]
    fn a_private_address_of_another_site_is_nowhere() {
        let (mut network, own, _) = network(Topology::OneToOne);
        let mut packet = packet(own[0], own[1]);
        let site = network.leave(Instant::ZERO, 0, &mut packet).unwrap();
        assert_eq!(network.enter(Instant::ZERO, 0, site, &mut packet), None);
    }

    #[test]
    fn a_cut_path_carries_nothing_until_it_is_mended() {
        let (mut network, own, _) = network(Topology::Direct);
        network.cut(1, 0, true);
        assert_eq!(network.enter(Instant::ZERO, 0, None, &mut packet(own[0], own[1])), None);
        network.cut(0, 1, false);
        assert_eq!(network.enter(Instant::ZERO, 0, None, &mut packet(own[0], own[1])), Some(1));
    }
}

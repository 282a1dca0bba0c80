//! Verdicts on captures: what crossed protected, what crossed in clear, and whether that was allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::failure::Result;
use crate::traffic::Marker;
use crate::wire::{Kind, Seen};
use crate::{ensure, fail};

/// Clear text that a policy leaves out of IPsec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clear {
    /// ICMP of the pair's family.
    Icmp,
    /// TCP to or from this port.
    Tcp(u16),
}

impl Clear {
    fn allows(self, kind: Kind) -> bool {
        match self {
            Clear::Icmp => matches!(kind, Kind::Icmp | Kind::Icmp6),
            Clear::Tcp(port) => kind == Kind::Tcp { port },
        }
    }
}

/// How many packets of each kind crossed between two addresses, and under which SPIs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crossed {
    /// Packets of ESP in UDP, by direction: from the first address, from the second.
    pub esp: [u64; 2],
    /// SPIs seen, both directions together.
    pub spis: BTreeSet<u32>,
    /// IKE messages, both directions together.
    pub ike: u64,
    /// Packets in clear that the policies leave out, by what they are.
    pub clear: BTreeMap<String, u64>,
}

/// Checks that between two addresses nothing crossed but IKE, ESP in UDP, neighbour discovery and what `allowed` says.
///
/// # Errors
/// Names the first packet that should not have been there.
pub fn crossed(packets: &[Seen], one: IpAddr, other: IpAddr, allowed: &[Clear]) -> Result<Crossed> {
    let mut sum = Crossed::default();
    for packet in packets.iter().filter(|packet| packet.is_between(one, other)) {
        match packet.kind {
            Kind::EspInUdp { spi } => {
                sum.esp[usize::from(packet.source == other)] += 1;
                sum.spis.insert(spi);
            }
            Kind::Ike | Kind::Keepalive => sum.ike += 1,
            Kind::NeighbourDiscovery => {}
            kind if allowed.iter().any(|clear| clear.allows(kind)) => {
                *sum.clear.entry(kind.to_string()).or_default() += 1;
            }
            kind => fail!("a packet from {} to {} crossed as {kind}", packet.source, packet.destination),
        }
    }
    Ok(sum)
}

/// Checks that a marker is in no packet of the capture, whatever its addresses.
///
/// # Errors
/// Names the packet that has it.
pub fn never_in_clear(packets: &[Seen], marker: &Marker) -> Result<()> {
    match packets.iter().find(|packet| packet.contains(marker.octets())) {
        None => Ok(()),
        Some(packet) => fail!(
            "payload that must be protected crossed readable, from {} to {} ({})",
            packet.source,
            packet.destination,
            packet.kind
        ),
    }
}

/// Checks that a marker is readable in the capture: the traffic that carried it is left out of IPsec.
///
/// # Errors
/// When no packet has it.
pub fn readable(packets: &[Seen], marker: &Marker) -> Result<()> {
    let seen = packets.iter().any(|packet| packet.contains(marker.octets()));
    ensure!(seen, "payload that the policies leave out of IPsec is nowhere readable in the capture");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn packet(source: IpAddr, destination: IpAddr, kind: Kind, octets: &[u8]) -> Seen {
        Seen { source, destination, kind, octets: octets.to_vec() }
    }

    #[test]
    fn esp_is_counted_by_direction() {
        let esp = |spi| Kind::EspInUdp { spi };
        let capture = [packet(A, B, esp(1), &[]), packet(B, A, esp(2), &[]), packet(A, B, esp(1), &[])];
        let sum = crossed(&capture, A, B, &[]).unwrap();
        assert_eq!((sum.esp, sum.spis), ([2, 1], BTreeSet::from([1, 2])));
    }

    #[test]
    fn clear_text_is_refused_unless_left_out_by_policy() {
        let capture = [packet(A, B, Kind::Tcp { port: 22 }, &[]), packet(B, A, Kind::Icmp, &[])];
        assert!(crossed(&capture, A, B, &[Clear::Icmp]).is_err());
        assert!(crossed(&capture, A, B, &[Clear::Tcp(22)]).is_err());
        assert_eq!(crossed(&capture, A, B, &[Clear::Icmp, Clear::Tcp(22)]).unwrap().clear.len(), 2);
    }

    #[test]
    fn esp_without_udp_and_fragments_are_refused() {
        for kind in [Kind::Esp, Kind::Fragment, Kind::Udp { port: 9 }, Kind::Tcp { port: 80 }] {
            assert!(crossed(&[packet(A, B, kind, &[])], A, B, &[Clear::Icmp, Clear::Tcp(22)]).is_err());
        }
    }

    #[test]
    fn a_marker_is_found_whatever_the_addresses() {
        let marker = Marker::new("m").unwrap();
        let stray = [packet(B, B, Kind::EspInUdp { spi: 1 }, &marker.payload(80))];
        assert!(never_in_clear(&stray, &marker).is_err());
        assert!(readable(&stray, &marker).is_ok());
        assert!(never_in_clear(&[], &marker).is_ok());
        assert!(readable(&[], &marker).is_err());
    }
}

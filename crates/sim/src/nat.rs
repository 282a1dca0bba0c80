//! NAT boxes: one to one as clouds have them, and masquerading with mappings that time out.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ike_proto::time::{Duration, Instant};

use crate::packet::{Body, Packet};

/// What a box does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NatSpec {
    /// Each inside address has an outside address of its own; ports and protocols are kept.
    OneToOne {
        /// Inside and outside address.
        addresses: Vec<(IpAddr, IpAddr)>,
    },
    /// All inside addresses share one; only UDP passes, and from outside only what a mapping expects.
    Masquerade {
        /// The shared address.
        outside: IpAddr,
        /// Idle time after which a mapping is gone.
        timeout: Duration,
        /// Whether the inside port is kept where it is free.
        keep_ports: bool,
    },
}

impl NatSpec {
    /// The address by which the world outside knows `inside`, if the box has it.
    #[must_use]
    pub fn outside_of(&self, inside: IpAddr) -> Option<IpAddr> {
        match self {
            Self::OneToOne { addresses } => {
                addresses.iter().find(|(own, _)| *own == inside).map(|(_, outside)| *outside)
            }
            Self::Masquerade { outside, .. } => Some(*outside),
        }
    }

    /// Whether packets to `address` arrive at this box.
    #[must_use]
    pub fn owns(&self, address: IpAddr) -> bool {
        match self {
            Self::OneToOne { addresses } => addresses.iter().any(|(_, outside)| *outside == address),
            Self::Masquerade { outside, .. } => *outside == address,
        }
    }
}

/// A box with its mappings.
#[derive(Clone, Debug)]
pub struct NatBox {
    spec: NatSpec,
    /// By inside end and remote end: a mapping serves one remote end only.
    mappings: BTreeMap<(SocketAddr, SocketAddr), Mapping>,
    next_port: u16,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    port: u16,
    used: Instant,
}

impl NatBox {
    /// A box without mappings.
    #[must_use]
    pub const fn new(spec: NatSpec) -> Self {
        Self { spec, mappings: BTreeMap::new(), next_port: 40_000 }
    }

    /// What it does.
    #[must_use]
    pub const fn spec(&self) -> &NatSpec {
        &self.spec
    }

    /// Forgets all mappings, as a box does that restarts.
    pub fn restart(&mut self) {
        self.mappings.clear();
    }

    /// Rewrites a packet that leaves; `false` if the box drops it.
    pub fn outbound(&mut self, now: Instant, packet: &mut Packet) -> bool {
        match &self.spec {
            NatSpec::OneToOne { .. } => match self.spec.outside_of(packet.source.ip()) {
                Some(outside) => packet.source.set_ip(outside),
                None => return false,
            },
            NatSpec::Masquerade { outside, timeout, keep_ports } => {
                if has_no_ports(packet) {
                    return false;
                }
                let (outside, timeout, keep_ports) = (*outside, *timeout, *keep_ports);
                self.mappings.retain(|_, mapping| now.since(mapping.used) < timeout);
                let port = self.map(now, packet.source, packet.destination, keep_ports);
                packet.source = SocketAddr::new(outside, port);
            }
        }
        true
    }

    /// Rewrites a packet that comes to the outside; `false` if the box drops it.
    pub fn inbound(&mut self, now: Instant, packet: &mut Packet) -> bool {
        match &self.spec {
            NatSpec::OneToOne { addresses } => {
                let found = addresses.iter().find(|(_, outside)| *outside == packet.destination.ip());
                let Some((inside, _)) = found else { return false };
                packet.destination.set_ip(*inside);
            }
            NatSpec::Masquerade { timeout, .. } => {
                let timeout = *timeout;
                self.mappings.retain(|_, mapping| now.since(mapping.used) < timeout);
                let port = packet.destination.port();
                let found = self
                    .mappings
                    .iter_mut()
                    .find(|((_, remote), mapping)| *remote == packet.source && mapping.port == port);
                let Some(((inside, _), mapping)) = found else { return false };
                mapping.used = now;
                packet.destination = *inside;
            }
        }
        true
    }

    fn map(&mut self, now: Instant, inside: SocketAddr, remote: SocketAddr, keep_ports: bool) -> u16 {
        if let Some(mapping) = self.mappings.get_mut(&(inside, remote)) {
            mapping.used = now;
            return mapping.port;
        }
        let taken: Vec<u16> = self.mappings.values().map(|mapping| mapping.port).collect();
        let mut port = inside.port();
        if !keep_ports || taken.contains(&port) {
            loop {
                port = self.next_port;
                self.next_port = self.next_port.checked_add(1).unwrap_or(40_000);
                if !taken.contains(&port) {
                    break;
                }
            }
        }
        self.mappings.insert((inside, remote), Mapping { port, used: now });
        port
    }
}

fn has_no_ports(packet: &Packet) -> bool {
    match packet.body {
        Body::Ike(_) => false,
        Body::Esp(_) => packet.source.port() == 0,
        Body::Clear(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(source: &str, destination: &str) -> Packet {
        Packet {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            body: Body::Ike([1, 2, 3].into()),
        }
    }

    fn masquerade(keep_ports: bool) -> NatBox {
        NatBox::new(NatSpec::Masquerade {
            outside: "203.0.113.9".parse().unwrap(),
            timeout: Duration::from_secs(30),
            keep_ports,
        })
    }

    #[test]
    fn one_to_one_keeps_ports_both_ways() {
        let (inside, outside) = ("10.0.0.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
        let mut nat = NatBox::new(NatSpec::OneToOne { addresses: vec![(inside, outside)] });
        let mut out = packet("10.0.0.1:500", "192.0.2.2:500");
        assert!(nat.outbound(Instant::ZERO, &mut out));
        assert_eq!(out.source.to_string(), "198.51.100.1:500");
        let mut back = packet("192.0.2.9:4500", "198.51.100.1:4500");
        assert!(nat.inbound(Instant::ZERO, &mut back));
        assert_eq!(back.destination.to_string(), "10.0.0.1:4500");
        assert!(!nat.outbound(Instant::ZERO, &mut packet("10.0.0.2:500", "192.0.2.2:500")));
    }

    #[test]
    fn a_masquerading_box_lets_in_only_answers() {
        let mut nat = masquerade(true);
        let mut stranger = packet("192.0.2.2:500", "203.0.113.9:500");
        assert!(!nat.inbound(Instant::ZERO, &mut stranger));
        let mut out = packet("10.0.0.1:500", "192.0.2.2:500");
        assert!(nat.outbound(Instant::ZERO, &mut out));
        assert_eq!(out.source.to_string(), "203.0.113.9:500");
        assert!(nat.inbound(Instant::ZERO, &mut stranger));
        assert_eq!(stranger.destination.to_string(), "10.0.0.1:500");
        assert!(!nat.inbound(Instant::ZERO, &mut packet("192.0.2.2:4500", "203.0.113.9:500")));
    }

    #[test]
    fn two_inside_hosts_get_two_ports() {
        let mut nat = masquerade(true);
        let (mut first, mut second) =
            (packet("10.0.0.1:500", "192.0.2.2:500"), packet("10.0.0.2:500", "192.0.2.2:500"));
        assert!(nat.outbound(Instant::ZERO, &mut first) && nat.outbound(Instant::ZERO, &mut second));
        assert_ne!(first.source, second.source);
    }

    #[test]
    fn a_mapping_that_timed_out_is_made_anew_with_another_port() {
        let mut nat = masquerade(false);
        let mut first = packet("10.0.0.1:500", "192.0.2.2:500");
        assert!(nat.outbound(Instant::ZERO, &mut first));
        let later = Instant::ZERO + Duration::from_secs(29);
        let mut kept = packet("10.0.0.1:500", "192.0.2.2:500");
        assert!(nat.outbound(later, &mut kept));
        assert_eq!(kept.source, first.source);
        let gone = later + Duration::from_secs(30);
        let mut answer = packet("192.0.2.2:500", &first.source.to_string());
        assert!(!nat.inbound(gone, &mut answer));
        let mut anew = packet("10.0.0.1:500", "192.0.2.2:500");
        assert!(nat.outbound(gone, &mut anew));
        assert_ne!(anew.source, first.source);
    }
}

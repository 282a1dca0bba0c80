//! What a captured packet is, as anyone on the wire would see it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IKE's two ports (RFC 7296 §2), and Coati's beside racoon.
const IKE: [u16; 2] = [500, 1500];
const NATT: [u16; 2] = [4500, 14_500];

/// One IP packet of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The source address in the IP header.
    pub source: IpAddr,
    /// The destination address in the IP header.
    pub destination: IpAddr,
    /// What it carries.
    pub kind: Kind,
    /// The IP packet, from its header's first octet.
    pub octets: Vec<u8>,
}

/// What an IP packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// IKE on port 500 (or 1500), or on 4500 (14500) behind the non-ESP marker (RFC 3948 §2.2).
    Ike,
    /// A single octet 0xff on port 4500 (RFC 3948 §2.3).
    Keepalive,
    /// ESP in UDP on port 4500: the first four octets are an SPI (RFC 3948 §2.1).
    EspInUdp {
        /// The SPI.
        spi: u32,
    },
    /// ESP right above IP.
    Esp,
    /// ICMP of IPv4.
    Icmp,
    /// ICMPv6 apart from neighbour discovery.
    Icmp6,
    /// ICMPv6 types 133 to 137 (RFC 4861), multicast listener reports beside them (130 to 132, 143).
    NeighbourDiscovery,
    /// TCP in clear.
    Tcp {
        /// The lower of the two ports: the service, whichever way the packet goes.
        port: u16,
    },
    /// UDP in clear, apart from IKE's ports.
    Udp {
        /// The lower of the two ports.
        port: u16,
    },
    /// A later fragment, or one without a whole header.
    Fragment,
    /// Another protocol, by its number.
    Other(u8),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Ike => f.write_str("IKE"),
            Kind::Keepalive => f.write_str("NAT keepalive"),
            Kind::EspInUdp { .. } => f.write_str("ESP in UDP"),
            Kind::Esp => f.write_str("ESP without UDP"),
            Kind::Icmp => f.write_str("ICMP"),
            Kind::Icmp6 => f.write_str("ICMPv6"),
            Kind::NeighbourDiscovery => f.write_str("neighbour discovery"),
            Kind::Tcp { port } => write!(f, "TCP port {port} in clear"),
            Kind::Udp { port } => write!(f, "UDP port {port} in clear"),
            Kind::Fragment => f.write_str("fragment"),
            Kind::Other(protocol) => write!(f, "protocol {protocol}"),
        }
    }
}

impl Seen {
    /// Reads an Ethernet frame; `None` if it is not IP (ARP, for one) or too short to be.
    pub fn from_ethernet(frame: &[u8]) -> Option<Self> {
        let packet = frame.get(14..)?;
        match (frame.get(12)?, frame.get(13)?) {
            (0x08, 0x00) => Self::from_v4(packet),
            (0x86, 0xdd) => Self::from_v6(packet),
            _ => None,
        }
    }

    /// Whether the packet goes between these two addresses, either way.
    pub fn is_between(&self, one: IpAddr, other: IpAddr) -> bool {
        (self.source, self.destination) == (one, other) || (self.source, self.destination) == (other, one)
    }

    /// Whether these octets stand anywhere in the packet.
    pub fn contains(&self, needle: &[u8]) -> bool {
        self.octets.windows(needle.len().max(1)).any(|window| window == needle)
    }

    /// Whether this is a fragment of an IKE_AUTH message (RFC 7383 §2.5): exchange type 35, first payload 53.
    pub fn is_ike_auth_fragment(&self) -> bool {
        let ip = match self.octets.first().map(|first| first >> 4) {
            Some(4) => usize::from(self.octets[0] & 0x0f) * 4,
            _ => 40,
        };
        let data = self.octets.get(ip + 8..).unwrap_or_default();
        let message = data.strip_prefix(&[0; 4]).unwrap_or(data);
        self.kind == Kind::Ike && message.get(16) == Some(&53) && message.get(18) == Some(&35)
    }

    fn from_v4(packet: &[u8]) -> Option<Self> {
        let header = usize::from(packet.first()? & 0x0f) * 4;
        let length = usize::from(short(packet, 2)?);
        let octets = packet.get(..length).unwrap_or(packet);
        let (source, destination) = (v4(packet, 12)?, v4(packet, 16)?);
        let fragment_offset = short(packet, 6)? & 0x1fff;
        let protocol = *packet.get(9)?;
        let kind = if fragment_offset == 0 { kind(protocol, octets.get(header..)?) } else { Kind::Fragment };
        Some(Seen { source: source.into(), destination: destination.into(), kind, octets: octets.to_vec() })
    }

    fn from_v6(packet: &[u8]) -> Option<Self> {
        let length = 40 + usize::from(short(packet, 4)?);
        let octets = packet.get(..length).unwrap_or(packet);
        let (source, destination) = (v6(packet, 8)?, v6(packet, 24)?);
        let mut next = *packet.get(6)?;
        let mut at = 40;
        // Hop-by-hop options stand before multicast listener reports; nothing else is sent here before the payload.
        if next == 0 {
            next = *octets.get(at)?;
            at += 8 + usize::from(*octets.get(at + 1)?) * 8;
        }
        let kind = if next == 44 { Kind::Fragment } else { kind(next, octets.get(at..)?) };
        Some(Seen { source: source.into(), destination: destination.into(), kind, octets: octets.to_vec() })
    }
}

fn kind(protocol: u8, payload: &[u8]) -> Kind {
    match protocol {
        1 => Kind::Icmp,
        6 => ports(payload).map_or(Kind::Fragment, |(one, other)| Kind::Tcp { port: one.min(other) }),
        17 => ports(payload).map_or(Kind::Fragment, |ports| udp(ports, payload.get(8..).unwrap_or_default())),
        50 => Kind::Esp,
        58 => match payload.first() {
            Some(130..=137 | 143) => Kind::NeighbourDiscovery,
            _ => Kind::Icmp6,
        },
        other => Kind::Other(other),
    }
}

fn udp((one, other): (u16, u16), data: &[u8]) -> Kind {
    if let Some(natt) = NATT.into_iter().find(|natt| [one, other].contains(natt)) {
        return match data {
            [0, 0, 0, 0, _, ..] => Kind::Ike,
            [0xff] => Kind::Keepalive,
            [a, b, c, d, _, ..] => Kind::EspInUdp { spi: u32::from_be_bytes([*a, *b, *c, *d]) },
            _ => Kind::Udp { port: natt },
        };
    }
    let is_ike = IKE.into_iter().any(|ike| [one, other].contains(&ike));
    if is_ike { Kind::Ike } else { Kind::Udp { port: one.min(other) } }
}

fn ports(payload: &[u8]) -> Option<(u16, u16)> {
    Some((short(payload, 0)?, short(payload, 2)?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn v4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?.into())
}

fn v6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ethernet frame with an IPv4 packet from 192.0.2.1 to 192.0.2.2.
    fn frame(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
        let ip = [0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..], &ip, payload].concat()
    }

    fn udp_payload(source: u16, destination: u16, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + data.len()).unwrap();
        [&source.to_be_bytes()[..], &destination.to_be_bytes(), &length.to_be_bytes(), &[0, 0], data].concat()
    }

    fn kind_of(frame: &[u8]) -> Kind {
        Seen::from_ethernet(frame).unwrap().kind
    }

    #[test]
    fn port_4500_is_told_apart_by_its_first_octets() {
        let ike = frame(17, &udp_payload(4500, 4500, &[0, 0, 0, 0, 1, 2, 3, 4]));
        let esp = frame(17, &udp_payload(4500, 40001, &[0xc1, 2, 3, 4, 0, 0, 0, 1]));
        let keepalive = frame(17, &udp_payload(4500, 4500, &[0xff]));
        assert_eq!(kind_of(&ike), Kind::Ike);
        assert_eq!(kind_of(&esp), Kind::EspInUdp { spi: 0xc102_0304 });
        assert_eq!(kind_of(&keepalive), Kind::Keepalive);
        let beside = frame(17, &udp_payload(14_500, 14_500, &[0xc1, 2, 3, 4, 0, 0, 0, 1]));
        assert_eq!(kind_of(&beside), Kind::EspInUdp { spi: 0xc102_0304 });
        assert_eq!(kind_of(&frame(17, &udp_payload(1500, 1500, &[1; 28]))), Kind::Ike);
    }

    #[test]
    fn a_fragment_of_ike_auth_is_told_from_a_whole_message_and_from_other_exchanges() {
        let is_fragment = |first: u8, exchange: u8| {
            let header = [&[0xaa; 16][..], &[first, 0x20, exchange, 0x08]].concat();
            let seen = |port, data: &[u8]| Seen::from_ethernet(&frame(17, &udp_payload(port, port, data)));
            let [plain, marked] = [header.clone(), [&[0; 4][..], &header].concat()];
            [seen(500, &plain), seen(4500, &marked)].map(|seen| seen.unwrap().is_ike_auth_fragment())
        };
        assert_eq!(is_fragment(53, 35), [true; 2]);
        assert_eq!([is_fragment(46, 35), is_fragment(53, 37)], [[false; 2]; 2]);
    }

    #[test]
    fn clear_text_is_named_by_its_service() {
        assert_eq!(kind_of(&frame(6, &udp_payload(51000, 22, b"SSH"))), Kind::Tcp { port: 22 });
        assert_eq!(kind_of(&frame(17, &udp_payload(51000, 9000, b"x"))), Kind::Udp { port: 9000 });
        assert_eq!(kind_of(&frame(1, &[8, 0])), Kind::Icmp);
        assert_eq!(kind_of(&frame(50, &[1, 2, 3, 4])), Kind::Esp);
    }

    #[test]
    fn a_later_fragment_is_never_taken_for_ports() {
        let mut later = frame(17, &udp_payload(4500, 4500, &[1, 2, 3, 4, 5]));
        later[14 + 7] = 1;
        assert_eq!(kind_of(&later), Kind::Fragment);
    }

    #[test]
    fn neighbour_discovery_is_not_mere_icmp() {
        let addresses = [[0x20; 16], [0x30; 16]].concat();
        let packet = |next: u8, payload: &[u8]| {
            let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
            [&[0; 12][..], &[0x86, 0xdd, 0x60, 0, 0, 0, length[0], length[1], next, 255], &addresses, payload]
                .concat()
        };
        assert_eq!(kind_of(&packet(58, &[135, 0])), Kind::NeighbourDiscovery);
        assert_eq!(kind_of(&packet(58, &[128, 0])), Kind::Icmp6);
        let report = [&[58, 0, 5, 2, 0, 0, 0, 0][..], &[143, 0]].concat();
        assert_eq!(kind_of(&packet(0, &report)), Kind::NeighbourDiscovery);
    }

    #[test]
    fn a_marker_is_found_wherever_it_stands() {
        let seen = Seen::from_ethernet(&frame(6, b"....needle..")).unwrap();
        assert!(seen.contains(b"needle"));
        assert!(!seen.contains(b"needles"));
    }
}

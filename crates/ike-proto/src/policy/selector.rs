//! Selectors as the kernel can hold them (a prefix, a protocol, one port or all), and their meeting with traffic selectors.

use core::fmt;
use std::net::IpAddr;

use crate::wire::ts::{IpSelector, TrafficSelector, Ts};

/// A set of addresses: a network with its prefix length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Net {
    /// The network's first address; bits behind the prefix are zero.
    pub address: IpAddr,
    /// 0 to 32 or 0 to 128.
    pub prefix: u8,
}

impl Net {
    /// The network that holds `address`, bits behind the prefix cleared and the prefix clamped to the family's length.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let width = family_bits(address);
        let prefix = prefix.min(width);
        let bits = bits_of(address) & !host_mask(prefix, width);
        Self { address: address_of(bits, address.is_ipv4()), prefix }
    }

    /// One address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix: family_bits(address) }
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.prefix == family_bits(self.address)
    }

    /// The first and the last address, both inclusive.
    #[must_use]
    pub fn range(&self) -> (IpAddr, IpAddr) {
        let last = bits_of(self.address) | host_mask(self.prefix, family_bits(self.address));
        (self.address, address_of(last, self.address.is_ipv4()))
    }

    /// The network that is exactly the addresses `start` to `end`, if there is one.
    #[must_use]
    pub fn of_range(start: IpAddr, end: IpAddr) -> Option<Self> {
        if start.is_ipv4() != end.is_ipv4() {
            return None;
        }
        let width = family_bits(start);
        let differing = bits_of(start) ^ bits_of(end);
        let host_bits = u8::try_from(128 - differing.leading_zeros()).ok()?;
        let net = Self::new(start, width.checked_sub(host_bits)?);
        (net.range() == (start, end)).then_some(net)
    }

    /// Whether `address` is inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, last) = self.range();
        address.is_ipv4() == first.is_ipv4() && first <= address && address <= last
    }
}

const fn family_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address_of(bits: u128, v4: bool) -> IpAddr {
    // An IPv4 value has only 32 bits set: it came from `bits_of` of an IPv4 address and masks of 32 bits.
    match u32::try_from(bits) {
        Ok(bits) if v4 => IpAddr::V4(bits.into()),
        _ => IpAddr::V6(bits.into()),
    }
}

/// Ones in the low `width - prefix` bits.
fn host_mask(prefix: u8, width: u8) -> u128 {
    let host_bits = u32::from(width.saturating_sub(prefix));
    u128::MAX.checked_shr(128 - host_bits.min(128)).unwrap_or(0)
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.prefix)
        }
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One side of a policy or of an SA: addresses and ports of that side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Side {
    /// Its addresses.
    pub net: Net,
    /// Its port; `None` is all of them. For ICMP the source side has the type and the destination side the code.
    pub port: Option<u16>,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}[{port}]", self.net),
            None => write!(f, "{}", self.net),
        }
    }
}

/// What traffic is meant, seen from this host: `local` and `remote` side and the upper-layer protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// This host's side.
    pub local: Side,
    /// The peer's side.
    pub remote: Side,
    /// The IP protocol number; zero is all of them.
    pub protocol: u8,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <=> {}", self.local, self.remote)?;
        if self.protocol == 0 { f.write_str(" any") } else { write!(f, " proto {}", self.protocol) }
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const PROTO_ICMP: u8 = 1;
const PROTO_ICMPV6: u8 = 58;
const PROTO_MH: u8 = 135;

/// Whether the protocol's selectors hold a type and a code in the port fields (RFC 7296 §3.13.1).
const fn has_type_and_code(protocol: u8) -> bool {
    matches!(protocol, PROTO_ICMP | PROTO_ICMPV6 | PROTO_MH)
}

/// The traffic selector of one side (RFC 7296 §3.13.1); for ICMP type and code, which stand on the two sides, see [`Selector::ts`].
fn side_ts(side: &Side, protocol: u8) -> IpSelector {
    let (start, end) = side.net.range();
    let (start_port, end_port) = side.port.map_or((0, u16::MAX), |port| (port, port));
    IpSelector { protocol, start_port, end_port, start, end }
}

impl Selector {
    /// Its two sides as traffic selectors: local, remote.
    ///
    /// The kernel keeps an ICMP type on the source side and a code on the destination side; in a traffic selector both
    /// stand in each port field, type in the high octet. A type without a code is the range of all its codes.
    #[must_use]
    pub fn ts(&self) -> (IpSelector, IpSelector) {
        let mut local = side_ts(&self.local, self.protocol);
        let mut remote = side_ts(&self.remote, self.protocol);
        if has_type_and_code(self.protocol)
            && let Some(icmp_type) = self.local.port
        {
            let high = icmp_type.checked_shl(8).unwrap_or(0);
            let (start, end) = match self.remote.port {
                Some(code) => (high | (code & 0xff), high | (code & 0xff)),
                None => (high, high | 0xff),
            };
            for ts in [&mut local, &mut remote] {
                (ts.start_port, ts.end_port) = (start, end);
            }
        }
        (local, remote)
    }

    /// The part of this selector that the peer's traffic selectors also cover, as one selector the kernel can hold.
    ///
    /// RFC 7296 §2.9 lets a responder narrow, no further than its policy asks for: to the first pair of selectors that meet
    /// in something that is a prefix with one port or all (the packet that asked, from many initiators), or to a wider
    /// one that has the first in it. Never wider than `self`.
    #[must_use]
    pub fn narrow(&self, local: &Ts, remote: &Ts) -> Option<Self> {
        let (own_local, own_remote) = self.ts();
        let mut widest: Option<Self> = None;
        for theirs_local in ip_selectors(local) {
            let Some(met_local) = intersect(&own_local, theirs_local) else { continue };
            for theirs_remote in ip_selectors(remote) {
                let Some(met_remote) = intersect(&own_remote, theirs_remote) else { continue };
                if let Some(found) = of_ts(&met_local, &met_remote)
                    && widest.is_none_or(|widest| found.covers(&widest))
                {
                    widest = Some(found);
                }
            }
        }
        widest
    }

    /// Whether every packet `inner` means is also meant by `self`.
    #[must_use]
    pub fn covers(&self, inner: &Self) -> bool {
        let side = |outer: &Side, inner: &Side| {
            let (first, last) = inner.net.range();
            outer.net.contains(first)
                && outer.net.contains(last)
                && (outer.port.is_none() || outer.port == inner.port)
        };
        (self.protocol == 0 || self.protocol == inner.protocol)
            && side(&self.local, &inner.local)
            && side(&self.remote, &inner.remote)
    }
}

/// The selectors of a payload that name IP addresses.
pub fn ip_selectors(ts: &Ts) -> impl Iterator<Item = &IpSelector> {
    ts.selectors.iter().filter_map(|selector| match selector {
        TrafficSelector::Ip(ip) => Some(ip),
        TrafficSelector::Unknown { .. } => None,
    })
}

/// What both selectors mean.
fn intersect(a: &IpSelector, b: &IpSelector) -> Option<IpSelector> {
    if a.start.is_ipv4() != b.start.is_ipv4() {
        return None;
    }
    let protocol = match (a.protocol, b.protocol) {
        (x, y) if x == y => x,
        (0, x) | (x, 0) => x,
        _ => return None,
    };
    let met = IpSelector {
        protocol,
        start_port: a.start_port.max(b.start_port),
        end_port: a.end_port.min(b.end_port),
        start: a.start.max(b.start),
        end: a.end.min(b.end),
    };
    (met.start <= met.end && met.start_port <= met.end_port).then_some(met)
}

/// The kernel's form of two traffic selectors, if they have one.
fn of_ts(local: &IpSelector, remote: &IpSelector) -> Option<Selector> {
    let protocol = match (local.protocol, remote.protocol) {
        (x, y) if x == y => x,
        (0, x) | (x, 0) => x,
        _ => return None,
    };
    let (local_net, remote_net) =
        (Net::of_range(local.start, local.end)?, Net::of_range(remote.start, remote.end)?);
    let all = |ts: &IpSelector| (ts.start_port, ts.end_port) == (0, u16::MAX);
    let (local_port, remote_port) = if has_type_and_code(protocol) {
        let told = if all(local) { remote } else { local };
        type_and_code(told)?
    } else {
        (one_port(local)?, one_port(remote)?)
    };
    Some(Selector {
        local: Side { net: local_net, port: local_port },
        remote: Side { net: remote_net, port: remote_port },
        protocol,
    })
}

/// `Some(None)` for all ports, `Some(Some(port))` for one, `None` for a range the kernel cannot hold.
fn one_port(ts: &IpSelector) -> Option<Option<u16>> {
    match (ts.start_port, ts.end_port) {
        (0, u16::MAX) => Some(None),
        (start, end) if start == end => Some(Some(start)),
        _ => None,
    }
}

fn type_and_code(ts: &IpSelector) -> Option<(Option<u16>, Option<u16>)> {
    let (start_type, start_code) = (ts.start_port >> 8, ts.start_port & 0xff);
    let (end_type, end_code) = (ts.end_port >> 8, ts.end_port & 0xff);
    match (start_code, end_code) {
        (0, 0xff) if start_type == 0 && end_type == 0xff => Some((None, None)),
        (0, 0xff) if start_type == end_type => Some((Some(start_type), None)),
        (start, end) if start == end && start_type == end_type => Some((Some(start_type), Some(start))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::registry::TsType;

    fn net(text: &str) -> Net {
        let (address, prefix) = text.split_once('/').unwrap();
        Net::new(address.parse().unwrap(), prefix.parse().unwrap())
    }

    fn selector(local: &str, remote: &str, protocol: u8) -> Selector {
        Selector {
            local: Side { net: net(local), port: None },
            remote: Side { net: net(remote), port: None },
            protocol,
        }
    }

    fn ts(selectors: &[IpSelector]) -> Ts {
        Ts { selectors: selectors.iter().cloned().map(TrafficSelector::Ip).collect() }
    }

    #[test]
    fn selectors_of_unknown_types_are_left_out() {
        let policy = selector("192.0.2.0/24", "198.51.100.0/24", 6);
        let (local, remote) = selector("192.0.2.1/32", "198.51.100.2/32", 6).ts();
        let unknown =
            TrafficSelector::Unknown { ts_type: TsType::SECLABEL, protocol: 0, octets: b"label".to_vec() };
        let mixed = |ip| Ts { selectors: vec![unknown.clone(), TrafficSelector::Ip(ip), unknown.clone()] };
        let found = policy.narrow(&mixed(local), &mixed(remote));
        assert_eq!(found, Some(selector("192.0.2.1/32", "198.51.100.2/32", 6)));
        let alone = Ts { selectors: vec![unknown.clone()] };
        assert_eq!(policy.narrow(&alone, &mixed(remote)), None);
    }

    #[test]
    fn a_network_is_its_range_and_back() {
        for text in [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "192.0.2.1/32",
            "2001:db8::/32",
            "::/0",
            "2001:db8::1/128",
            "0.0.0.0/32",
        ] {
            let net = net(text);
            let (start, end) = net.range();
            assert_eq!(Net::of_range(start, end), Some(net), "{text}");
        }
        let end = "10.0.0.6".parse().unwrap();
        assert_eq!(Net::of_range("10.0.0.1".parse().unwrap(), end), None);
        assert_eq!(Net::of_range("10.0.0.0".parse().unwrap(), end), None);
    }

    #[test]
    fn a_peer_that_asks_for_everything_gets_the_policy() {
        let policy = selector("192.0.2.1/32", "192.0.2.2/32", 0);
        let everything = selector("0.0.0.0/0", "0.0.0.0/0", 0).ts();
        assert_eq!(policy.narrow(&ts(&[everything.0]), &ts(&[everything.1])), Some(policy));
    }

    #[test]
    fn a_peer_that_asks_for_less_gets_what_it_asks() {
        let policy = selector("10.0.0.0/8", "10.0.0.0/8", 0);
        let mut wish = selector("10.1.2.0/24", "10.9.9.9/32", 17);
        wish.local.port = Some(53);
        let (local, remote) = wish.ts();
        assert_eq!(policy.narrow(&ts(&[local]), &ts(&[remote])), Some(wish));
    }

    #[test]
    fn a_peer_that_names_its_packet_first_still_gets_all_it_asks() {
        let policy = selector("203.0.113.2/32", "203.0.113.1/32", 0);
        let mut packet = selector("203.0.113.2/32", "203.0.113.1/32", 6);
        (packet.local.port, packet.remote.port) = (Some(7100), Some(40000));
        let (all, first) = (policy.ts(), packet.ts());
        let narrowed = policy.narrow(&ts(&[first.0, all.0]), &ts(&[first.1, all.1]));
        assert_eq!(narrowed, Some(policy));
    }

    #[test]
    fn a_later_selector_without_the_first_in_it_is_not_taken() {
        let policy = selector("10.0.0.0/8", "10.0.0.0/8", 0);
        let (near, far) =
            (selector("10.1.0.0/24", "10.9.9.9/32", 0).ts(), selector("10.2.0.0/16", "10.9.9.9/32", 0).ts());
        let narrowed = policy.narrow(&ts(&[near.0, far.0]), &ts(&[near.1]));
        assert_eq!(narrowed, Some(selector("10.1.0.0/24", "10.9.9.9/32", 0)));
    }

    #[test]
    fn what_the_kernel_cannot_hold_or_the_policy_does_not_cover_is_not_given() {
        let policy = selector("10.0.0.0/8", "10.0.0.0/8", 0);
        let (mut local, remote) = policy.ts();
        local.start = "10.0.0.3".parse().unwrap();
        assert_eq!(policy.narrow(&ts(&[local]), &ts(&[remote])), None);
        let outside = selector("11.0.0.0/8", "10.0.0.0/8", 0).ts();
        assert_eq!(policy.narrow(&ts(&[outside.0]), &ts(&[remote])), None);
        let v6 = selector("::/0", "::/0", 0).ts();
        assert_eq!(policy.narrow(&ts(&[v6.0]), &ts(&[v6.1])), None);
    }

    #[test]
    fn icmp_type_and_code_survive_the_way_to_the_wire_and_back() {
        for (icmp_type, code) in [(None, None), (Some(8), None), (Some(8), Some(0)), (Some(3), Some(4))] {
            let mut policy = selector("192.0.2.1/32", "192.0.2.2/32", PROTO_ICMP);
            (policy.local.port, policy.remote.port) = (icmp_type, code);
            let (local, remote) = policy.ts();
            assert_eq!(policy.narrow(&ts(&[local]), &ts(&[remote])), Some(policy), "{icmp_type:?} {code:?}");
        }
    }

    #[test]
    fn narrowing_never_widens() {
        proptest::proptest!(|(a in 0u32.., b in 0u32.., p in 0u8..=32, q in 0u8..=32, proto in 0u8..3, other in 0u8..3)| {
            let policy = Selector {
                local: Side { net: Net::new(IpAddr::V4(a.into()), p), port: None },
                remote: Side { net: Net::new(IpAddr::V4(b.into()), q), port: None },
                protocol: proto,
            };
            let wish = Selector {
                local: Side { net: Net::new(IpAddr::V4(a.into()), q), port: None },
                remote: Side { net: Net::new(IpAddr::V4(b.into()), p), port: None },
                protocol: other,
            };
            let (local, remote) = wish.ts();
            if let Some(found) = policy.narrow(&ts(&[local]), &ts(&[remote])) {
                proptest::prop_assert!(policy.covers(&found) && wish.covers(&found), "{found}");
            } else {
                proptest::prop_assert!(proto != other && proto != 0 && other != 0);
            }
        });
    }
}

//! `struct xfrm_selector`: which packets an SA or a policy is for.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::codec::{Malformed, Reader, Writer, family_of, family_or};
use crate::constants::{AF_INET6, AF_UNSPEC};
use crate::newtype::registry;

registry! {
    /// An IP protocol, of an SA or of the packets a selector is for.
    Protocol(u8) {
        /// Any protocol, in a selector; the protocol of no SA.
        ANY = 0 => "any",
        /// ICMP.
        ICMP = 1 => "icmp",
        /// TCP.
        TCP = 6 => "tcp",
        /// UDP.
        UDP = 17 => "udp",
        /// ESP (RFC 4303).
        ESP = 50 => "esp",
        /// AH (RFC 4302).
        AH = 51 => "ah",
        /// ICMPv6.
        ICMPV6 = 58 => "ipv6-icmp",
        /// IPComp (RFC 3173).
        IPCOMP = 108 => "comp",
        /// `IPSEC_PROTO_ANY`: SAs of all three protocols, in a flush or a filter.
        IPSEC_ANY = 255 => "ipsec-any",
    }
}

/// An address and the number of its leading bits that count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// The prefix length: up to 32 or 128.
    pub length: u8,
}

impl Prefix {
    /// One host.
    pub const fn host(address: IpAddr) -> Self {
        let length = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { address, length }
    }

    /// Whether it is one host's.
    pub const fn is_host(&self) -> bool {
        self.length == Self::host(self.address).length
    }

    /// Whether `address` is of this prefix's family and shares its leading bits.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let ignored = u32::from(width - self.length.min(width));
        (ours ^ theirs).checked_shr(ignored).unwrap_or(0) == 0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A port compared under a mask. For ICMP the source port is the type and the destination port the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PortMatch {
    /// The port.
    pub port: u16,
    /// The bits of it that count: 0xffff for one port, 0 for any.
    pub mask: u16,
}

impl PortMatch {
    /// Any port.
    pub const ANY: Self = Self { port: 0, mask: 0 };

    /// Just this port.
    pub const fn exactly(port: u16) -> Self {
        Self { port, mask: u16::MAX }
    }

    /// Whether `port` passes.
    pub const fn contains(self, port: u16) -> bool {
        (self.port ^ port) & self.mask == 0
    }
}

/// Which packets an SA or a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// Where the packets come from.
    pub source: Prefix,
    /// Where they go.
    pub destination: Prefix,
    /// Their protocol, or [`Protocol::ANY`].
    pub protocol: Protocol,
    /// Their source port, or ICMP type.
    pub source_port: PortMatch,
    /// Their destination port, or ICMP code.
    pub destination_port: PortMatch,
    /// The interface's index, or 0 for any.
    pub interface: i32,
    /// The user's id; the kernel ignores it.
    pub user: u32,
    /// `AF_UNSPEC` instead of the addresses' family. The kernel's own larval SAs are like that, and so is the
    /// selector of an SA that was given none.
    pub any_family: bool,
}

impl Selector {
    /// Everything from `source` to `destination`.
    pub const fn new(source: Prefix, destination: Prefix) -> Self {
        Self {
            source,
            destination,
            protocol: Protocol::ANY,
            source_port: PortMatch::ANY,
            destination_port: PortMatch::ANY,
            interface: 0,
            user: 0,
            any_family: false,
        }
    }

    /// No selector: all zeros, of the same address family as `like`.
    pub const fn unspecified(like: IpAddr) -> Self {
        let address = match like {
            IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let all = Prefix { address, length: 0 };
        Self { any_family: true, ..Self::new(all, all) }
    }

    /// Whether both addresses are of one family and neither prefix is longer than its address.
    pub fn is_consistent(&self) -> bool {
        let fits = |prefix: Prefix| prefix.length <= Prefix::host(prefix.address).length;
        family_of(self.source.address) == family_of(self.destination.address)
            && fits(self.source)
            && fits(self.destination)
    }

    /// Reads 56 octets. Addresses of a selector without a family are read as of `family`.
    pub(crate) fn read(from: &mut Reader<'_>, family: u16) -> Result<Self, Malformed> {
        const WHAT: &str = "xfrm_selector";
        let mut from = from.part(WHAT, 56)?;
        let destination = from.address()?;
        let source = from.address()?;
        let destination_port = PortMatch { port: from.be16()?, mask: from.be16()? };
        let source_port = PortMatch { port: from.be16()?, mask: from.be16()? };
        let own_family = from.u16()?;
        let destination_length = from.u8()?;
        let source_length = from.u8()?;
        let protocol = Protocol(from.u8()?);
        from.skip(3)?;
        let interface = from.i32()?;
        let user = from.u32()?;
        let family = family_or(family_or(own_family, family), AF_INET6);
        Ok(Self {
            source: Prefix { address: source.of(WHAT, family)?, length: source_length },
            destination: Prefix { address: destination.of(WHAT, family)?, length: destination_length },
            protocol,
            source_port,
            destination_port,
            interface,
            user,
            any_family: own_family == AF_UNSPEC,
        })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.address(self.destination.address);
        to.address(self.source.address);
        for port in [self.destination_port, self.source_port] {
            to.be16(port.port);
            to.be16(port.mask);
        }
        to.u16(self.family());
        to.u8(self.destination.length);
        to.u8(self.source.length);
        to.u8(self.protocol.0);
        to.zeros(3);
        to.i32(self.interface);
        to.u32(self.user);
    }

    pub(crate) fn family(&self) -> u16 {
        if self.any_family { AF_UNSPEC } else { family_of(self.destination.address) }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        write_port(f, self.source_port)?;
        write!(f, " > {}", self.destination)?;
        write_port(f, self.destination_port)?;
        if self.protocol != Protocol::ANY {
            write!(f, " {}", self.protocol)?;
        }
        Ok(())
    }
}

fn write_port(f: &mut fmt::Formatter<'_>, port: PortMatch) -> fmt::Result {
    match port.mask {
        0 => Ok(()),
        u16::MAX => write!(f, "[{}]", port.port),
        mask => write!(f, "[{}/{mask:#06x}]", port.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str, length: u8) -> Prefix {
        Prefix { address: address.parse().unwrap(), length }
    }

    #[test]
    fn a_prefix_contains_what_shares_its_leading_bits() {
        for (address, length, inside, outside) in [
            ("10.1.2.3", 32, "10.1.2.3", "10.1.2.2"),
            ("10.1.2.3", 9, "10.127.0.0", "10.128.0.0"),
            ("fd00::1", 128, "fd00::1", "fd00::"),
            ("fd00::1", 127, "fd00::", "fd00::2"),
            ("0.0.0.0", 0, "255.255.255.255", "::"),
            ("::", 0, "ffff::", "0.0.0.0"),
            // Longer than an address: as long as one.
            ("10.1.2.3", 200, "10.1.2.3", "10.1.2.2"),
        ] {
            assert!(
                prefix(address, length).contains(inside.parse().unwrap()),
                "{inside} in {address}/{length}"
            );
            assert!(
                !prefix(address, length).contains(outside.parse().unwrap()),
                "{outside} in {address}/{length}"
            );
        }
    }

    #[test]
    fn a_selector_reads_like_a_sentence() {
        let mut selector = Selector::new(prefix("10.0.0.1", 32), prefix("10.0.0.0", 8));
        assert_eq!(selector.to_string(), "10.0.0.1/32 > 10.0.0.0/8");
        selector.protocol = Protocol::TCP;
        selector.source_port = PortMatch { port: 0x1000, mask: 0xf000 };
        selector.destination_port = PortMatch::exactly(22);
        assert_eq!(selector.to_string(), "10.0.0.1/32[4096/0xf000] > 10.0.0.0/8[22] tcp");
        assert_eq!(
            (Protocol(99).to_string(), format!("{:?}", Protocol::ESP)),
            ("99".into(), "Protocol(esp)".into())
        );
    }

    #[test]
    fn families_are_not_mixed_and_prefixes_not_too_long() {
        let v4 = prefix("10.0.0.1", 32);
        assert!(Selector::new(v4, v4).is_consistent());
        assert!(!Selector::new(v4, prefix("::", 0)).is_consistent());
        assert!(!Selector::new(prefix("10.0.0.1", 33), v4).is_consistent());
        assert!(!Selector::new(prefix("::", 0), prefix("::", 129)).is_consistent());
    }

    #[test]
    fn a_port_is_compared_under_its_mask() {
        assert!(
            PortMatch::ANY.contains(7)
                && PortMatch::exactly(7).contains(7)
                && !PortMatch::exactly(7).contains(8)
        );
        assert!(PortMatch { port: 0x1000, mask: 0xf000 }.contains(0x1fff));
    }
}

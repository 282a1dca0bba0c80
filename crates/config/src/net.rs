//! Addresses as the configuration files write them: prefixes, ranges, scopes and ports.

use core::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and how many of its leading bits count.
///
/// The host bits are kept as written; [`IpNet::contains`] and [`IpNet::network`] ignore them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpNet {
    /// The address as written.
    pub addr: IpAddr,
    /// Leading bits that count: 0 to 32 for IPv4, 0 to 128 for IPv6.
    pub prefix: u8,
}

impl IpNet {
    /// One host: a prefix of full length.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        Self { addr, prefix: full_prefix(addr) }
    }

    /// A network, or nothing if `prefix` is longer than the address.
    #[must_use]
    pub const fn new(addr: IpAddr, prefix: u8) -> Option<Self> {
        if prefix <= full_prefix(addr) { Some(Self { addr, prefix }) } else { None }
    }

    /// Whether it is one address.
    #[must_use]
    pub const fn is_host(self) -> bool {
        self.prefix == full_prefix(self.addr)
    }

    /// The first address, host bits cleared.
    #[must_use]
    pub fn first(self) -> IpAddr {
        match self.addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from(u32::from(a) & self.mask_v4())),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from(u128::from(a) & self.mask_v6())),
        }
    }

    /// The last address, host bits set.
    #[must_use]
    pub fn last(self) -> IpAddr {
        match self.addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from(u32::from(a) | !self.mask_v4())),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from(u128::from(a) | !self.mask_v6())),
        }
    }

    /// The same network with its host bits cleared.
    #[must_use]
    pub fn network(self) -> Self {
        Self { addr: self.first(), prefix: self.prefix }
    }

    /// Whether `addr` is of this family and inside.
    #[must_use]
    pub fn contains(self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.addr.is_ipv4() && Self { addr, prefix: self.prefix }.first() == self.first()
    }

    fn mask_v4(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }

    fn mask_v6(self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0)
    }
}

/// The length of a whole address of `addr`'s family: 32 or 128.
#[must_use]
pub const fn full_prefix(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { write!(f, "{}", self.addr) } else { write!(f, "{}/{}", self.addr, self.prefix) }
    }
}

impl fmt::Debug for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A numeric address with what may stand beside it: an interface for a link-local address, a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub addr: IpAddr,
    /// The interface of `fe80::1%eth0`.
    pub scope: Option<String>,
    /// The port of `192.0.2.1 [500]`.
    pub port: Option<u16>,
}

impl Endpoint {
    /// An address without interface and port.
    #[must_use]
    pub const fn new(addr: IpAddr) -> Self {
        Self { addr, scope: None, port: None }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addr)?;
        if let Some(scope) = &self.scope {
            write!(f, "%{scope}")?;
        }
        if let Some(port) = self.port {
            write!(f, "[{port}]")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a numeric address with an optional `%scope` (no port, no prefix).
#[must_use]
pub fn parse_address(text: &str) -> Option<Endpoint> {
    match text.split_once('%') {
        None => text.parse().ok().map(Endpoint::new),
        Some((_, "")) => None,
        Some((addr, scope)) => {
            let addr: Ipv6Addr = addr.parse().ok()?;
            Some(Endpoint { addr: addr.into(), scope: Some(scope.to_owned()), port: None })
        }
    }
}

/// Reads `192.0.2.0/24`, or an address alone.
#[must_use]
pub fn parse_net(text: &str) -> Option<IpNet> {
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address = address.parse().ok()?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let prefix =
        prefix.map_or(Some(full_prefix(address)), |text| text.parse().ok().filter(|_| is_number(text)))?;
    IpNet::new(address, prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        let (addr, prefix) = text.split_once('/').unwrap();
        IpNet::new(addr.parse().unwrap(), prefix.parse().unwrap()).unwrap()
    }

    #[test]
    fn containment_ignores_host_bits_and_minds_the_family() {
        assert!(net("10.1.2.3/8").contains("10.200.0.1".parse().unwrap()));
        assert!(!net("10.1.2.3/16").contains("10.200.0.1".parse().unwrap()));
        assert!(net("0.0.0.0/0").contains("255.255.255.255".parse().unwrap()));
        assert!(!net("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(net("2001:db8::/32").contains("2001:db8:ffff::1".parse().unwrap()));
        assert!(!net("2001:db8::1/128").contains("2001:db8::2".parse().unwrap()));
    }

    #[test]
    fn a_network_has_a_first_and_a_last_address() {
        assert_eq!(net("192.0.2.77/24").first().to_string(), "192.0.2.0");
        assert_eq!(net("192.0.2.77/24").last().to_string(), "192.0.2.255");
        assert_eq!(net("::/0").last(), IpAddr::V6(Ipv6Addr::from(u128::MAX)));
        assert_eq!(IpNet::new("192.0.2.1".parse().unwrap(), 33), None);
    }

    #[test]
    fn a_scope_belongs_to_an_ipv6_address() {
        assert_eq!(parse_address("fe80::1%eth0").unwrap().scope.as_deref(), Some("eth0"));
        assert_eq!(parse_address("192.0.2.1%eth0"), None);
        assert_eq!(parse_address("fe80::1%"), None);
        assert_eq!(parse_address("192.0.2.1").unwrap().to_string(), "192.0.2.1");
    }
}

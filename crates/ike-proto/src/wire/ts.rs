//! The Traffic Selector payloads (RFC 7296 §3.13).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::{Fault, WireError};
use super::octets::{Reader, length8, with_length16};
use super::registry::TsType;

/// The selectors of one direction: a packet that fits any of them fits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ts {
    /// 1 to 255 of them.
    pub selectors: Vec<TrafficSelector>,
}

/// One selector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrafficSelector {
    /// A range of addresses.
    Ip(IpSelector),
    /// A type that is not known here, such as a security label; it never matches.
    Unknown {
        /// Its type.
        ts_type: TsType,
        /// The octet where an address range has its protocol.
        protocol: u8,
        /// What follows the length.
        octets: Vec<u8>,
    },
}

/// A range of addresses of one family, a protocol and a range of ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpSelector {
    /// The IP protocol; 0 is any.
    pub protocol: u8,
    /// First port, inclusive. For ICMP the type in the upper octet and the code in the lower one (RFC 7296 §3.13.1).
    pub start_port: u16,
    /// Last port, inclusive. Lower than `start_port` only in OPAQUE: 65535 to 0.
    pub end_port: u16,
    /// First address, inclusive.
    pub start: IpAddr,
    /// Last address, inclusive; of the family of `start`, and not before it.
    pub end: IpAddr,
}

impl Ts {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let count = reader.u8("number of traffic selectors")?;
        if count == 0 {
            return Err(reader.fault(Fault::Missing("traffic selector")));
        }
        reader.array::<3>("reserved field")?;
        let selectors = (0..count).map(|_| TrafficSelector::read(reader)).collect::<Result<_, _>>()?;
        Ok(Self { selectors })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend([length8(self.selectors.len()), 0, 0, 0]);
        for selector in &self.selectors {
            with_length16(out, 2, |out| selector.write(out));
        }
    }
}

impl TrafficSelector {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let at = reader.clone();
        let ts_type = TsType(reader.u8("traffic selector")?);
        let protocol = reader.u8("traffic selector")?;
        let length = usize::from(reader.u16("selector length")?);
        let Some(len) = length.checked_sub(4) else {
            return Err(at.fault(Fault::Length("traffic selector")));
        };
        let mut inside = reader.part(len, "traffic selector")?;
        let selector = match ts_type {
            TsType::IPV4_ADDR_RANGE => {
                let address = |inside: &mut Reader<'_>| inside.array::<4>("address").map(Ipv4Addr::from);
                Self::Ip(IpSelector::read(protocol, &mut inside, address)?)
            }
            TsType::IPV6_ADDR_RANGE => {
                let address = |inside: &mut Reader<'_>| inside.array::<16>("address").map(Ipv6Addr::from);
                Self::Ip(IpSelector::read(protocol, &mut inside, address)?)
            }
            _ => Self::Unknown { ts_type, protocol, octets: inside.take(len, "traffic selector")?.to_vec() },
        };
        inside.finish()?;
        Ok(selector)
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ip(selector) => selector.write(out),
            Self::Unknown { ts_type, protocol, octets } => {
                out.extend([ts_type.0, *protocol, 0, 0]);
                out.extend(octets);
            }
        }
    }
}

impl IpSelector {
    /// Everything between two addresses, whatever the protocol and the ports.
    #[must_use]
    pub const fn all_between(start: IpAddr, end: IpAddr) -> Self {
        Self { protocol: 0, start_port: 0, end_port: u16::MAX, start, end }
    }

    /// Everything to and from one address.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Self::all_between(address, address)
    }

    /// Whether it stands for packets whose ports cannot be seen (RFC 7296 §3.13.1: 65535 to 0).
    #[must_use]
    pub const fn is_opaque(&self) -> bool {
        self.start_port == u16::MAX && self.end_port == 0
    }

    fn read<A: Into<IpAddr> + Ord>(
        protocol: u8,
        reader: &mut Reader<'_>,
        address: impl Fn(&mut Reader<'_>) -> Result<A, WireError>,
    ) -> Result<Self, WireError> {
        let at = reader.clone();
        let start_port = reader.u16("port")?;
        let end_port = reader.u16("port")?;
        let start = address(reader)?;
        let end = address(reader)?;
        let backwards = start > end;
        let selector = Self { protocol, start_port, end_port, start: start.into(), end: end.into() };
        if backwards {
            return Err(at.fault(Fault::Value("address range")));
        }
        if start_port > end_port && !selector.is_opaque() {
            return Err(at.fault(Fault::Value("port range")));
        }
        Ok(selector)
    }

    /// A selector of two families cannot be read, and is not made here; in a release build it would be written with
    /// the reserved type 0, which matches nothing.
    fn write(&self, out: &mut Vec<u8>) {
        debug_assert_eq!(self.start.is_ipv4(), self.end.is_ipv4(), "a range has one family");
        let ts_type = match (self.start, self.end) {
            (IpAddr::V4(_), IpAddr::V4(_)) => TsType::IPV4_ADDR_RANGE,
            (IpAddr::V6(_), IpAddr::V6(_)) => TsType::IPV6_ADDR_RANGE,
            _ => TsType(0),
        };
        out.extend([ts_type.0, self.protocol, 0, 0]);
        out.extend(self.start_port.to_be_bytes());
        out.extend(self.end_port.to_be_bytes());
        for address in [self.start, self.end] {
            match address {
                IpAddr::V4(v4) => out.extend(v4.octets()),
                IpAddr::V6(v6) => out.extend(v6.octets()),
            }
        }
    }
}

impl fmt::Display for Ts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, selector) in self.selectors.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{selector}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(selector) => selector.fmt(f),
            Self::Unknown { ts_type, octets, .. } => write!(f, "{ts_type}({} octets)", octets.len()),
        }
    }
}

impl fmt::Display for IpSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.start)?;
        if self.start != self.end {
            write!(f, "-{}", self.end)?;
        }
        if self.protocol != 0 {
            write!(f, " proto {}", self.protocol)?;
        }
        match (self.start_port, self.end_port) {
            (0, u16::MAX) => Ok(()),
            (u16::MAX, 0) => f.write_str(" port opaque"),
            (start, end) if start == end => write!(f, " port {start}"),
            (start, end) => write!(f, " port {start}-{end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::captured::octets;
    use crate::wire::registry::PayloadType;
    use crate::wire::{Payload, strategies};

    fn v4(start: [u8; 4], end: [u8; 4]) -> IpSelector {
        IpSelector { protocol: 6, start_port: 80, end_port: 90, start: start.into(), end: end.into() }
    }

    #[test]
    fn each_field_is_where_the_rfc_draws_it() {
        // RFC 7296 §3.13 and §3.13.1; the second selector is of type TS_SECLABEL (RFC 9478 §2).
        let body = octets("02 000000 07 06 0010 0050 005a c0000201 c00002fe 0a 00 0007 616263");
        let label =
            TrafficSelector::Unknown { ts_type: TsType::SECLABEL, protocol: 0, octets: b"abc".to_vec() };
        let range = TrafficSelector::Ip(v4([192, 0, 2, 1], [192, 0, 2, 254]));
        let ts = Ts { selectors: vec![range, label] };
        assert_eq!(ts.to_string(), "[192.0.2.1-192.0.2.254 proto 6 port 80-90, TS_SECLABEL(3 octets)]");
        assert_eq!(Payload::read(PayloadType::TS_R, &body), Ok(Payload::TsR(ts)));
    }

    #[test]
    fn the_reserved_field_is_ignored() {
        let zero = octets("01 000000 07 06 0010 0050 005a c0000201 c00002fe");
        let other = octets("01 a5ff01 07 06 0010 0050 005a c0000201 c00002fe");
        let read = Payload::read(PayloadType::TS_I, &other);
        assert!(read.is_ok());
        assert_eq!(read, Payload::read(PayloadType::TS_I, &zero));
    }

    #[test]
    fn a_selector_that_cannot_be_is_refused() {
        for (what, hex) in [
            ("none", "00 000000"),
            ("fewer than counted", "02 000000 07 06 0010 0050 005a c0000201 c00002fe"),
            ("more than counted", "01 000000 07 06 0010 0050 005a c0000201 c00002fe 00"),
            ("a length below its own head", "01 000000 0a 00 0003"),
            (
                "IPv4 of the length of IPv6",
                "01 000000 07 06 0028 0050 005a c0000201 c00002fe 000000000000000000000000000000000000000000000000",
            ),
            ("IPv6 of the length of IPv4", "01 000000 08 06 0010 0050 005a c0000201 c00002fe"),
            ("an address range backwards", "01 000000 07 06 0010 0050 005a c00002fe c0000201"),
            ("a port range backwards", "01 000000 07 06 0010 005a 0050 c0000201 c00002fe"),
        ] {
            assert!(Payload::read(PayloadType::TS_I, &octets(hex)).is_err(), "{what}");
        }
    }

    #[test]
    fn opaque_is_the_one_backward_port_range() {
        let body = octets("01 000000 07 06 0010 ffff 0000 c0000201 c0000201");
        let Ok(Payload::TsI(ts)) = Payload::read(PayloadType::TS_I, &body) else { panic!("not read") };
        assert_eq!(ts.to_string(), "[192.0.2.1 proto 6 port opaque]");
        assert!(matches!(ts.selectors[..], [TrafficSelector::Ip(selector)] if selector.is_opaque()));
    }

    #[test]
    fn as_many_selectors_as_the_count_can_say_are_written() {
        let ts = Ts { selectors: vec![TrafficSelector::Ip(IpSelector::host([192, 0, 2, 1].into())); 255] };
        let mut out = Vec::new();
        ts.write(&mut out);
        assert_eq!(Payload::read(PayloadType::TS_I, &out), Ok(Payload::TsI(ts)));
    }

    #[test]
    fn a_trace_leaves_out_what_is_open() {
        let host = IpSelector::host([192, 0, 2, 1].into());
        assert_eq!(host.to_string(), "192.0.2.1");
        let port = IpSelector { protocol: 17, start_port: 53, end_port: 53, ..host };
        assert_eq!(port.to_string(), "192.0.2.1 proto 17 port 53");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(ts in strategies::ts()) {
            let mut out = Vec::new();
            ts.write(&mut out);
            prop_assert_eq!(Payload::read(PayloadType::TS_I, &out), Ok(Payload::TsI(ts)));
        }
    }
}

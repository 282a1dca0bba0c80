//! The Identification payloads (RFC 7296 §3.5).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::{Fault, WireError};
use super::name;
use super::octets::Reader;
use super::pretty::{Escaped, Hex};
use super::registry::IdType;

/// Who one end claims to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Id {
    /// How to read `data`.
    pub id_type: IdType,
    /// Ignored, but covered by the AUTH payload as it was received.
    pub reserved: [u8; 3],
    /// The identity: at most [`Id::MAX_DATA`] octets, 4 for an IPv4 address, 16 for an IPv6 address.
    pub data: Vec<u8>,
}

impl Id {
    /// Octets of the longest identity that is read.
    pub const MAX_DATA: usize = 4096;

    /// An identity of this end's own; `None` if `data` is too long, or not of the length its type has.
    #[must_use]
    pub fn new(id_type: IdType, data: Vec<u8>) -> Option<Self> {
        has_length(id_type, data.len()).then_some(Self { id_type, reserved: [0; 3], data })
    }

    /// The identity that is an address.
    #[must_use]
    pub fn from_ip(address: IpAddr) -> Self {
        let (id_type, data) = match address {
            IpAddr::V4(v4) => (IdType::IPV4_ADDR, v4.octets().to_vec()),
            IpAddr::V6(v6) => (IdType::IPV6_ADDR, v6.octets().to_vec()),
        };
        Self { id_type, reserved: [0; 3], data }
    }

    /// The address, if the identity is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        let octets = self.data.as_slice();
        match self.id_type {
            IdType::IPV4_ADDR => <[u8; 4]>::try_from(octets).ok().map(|v4| Ipv4Addr::from(v4).into()),
            IdType::IPV6_ADDR => <[u8; 16]>::try_from(octets).ok().map(|v6| Ipv6Addr::from(v6).into()),
            _ => None,
        }
    }

    /// All octets behind the generic payload header: the RFC's `RestOfInitIDPayload`, the input of MACedIDForI.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.write(&mut body);
        body
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let id_type = IdType(reader.u8("ID type")?);
        let reserved = reader.array("reserved field")?;
        if !has_length(id_type, reader.left()) {
            return Err(reader.fault(Fault::Length("identification data")));
        }
        Ok(Self { id_type, reserved, data: reader.rest(0..=Self::MAX_DATA, "identification data")? })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.id_type.0);
        out.extend(self.reserved);
        out.extend(&self.data);
    }
}

fn has_length(id_type: IdType, len: usize) -> bool {
    match id_type {
        IdType::IPV4_ADDR => len == 4,
        IdType::IPV6_ADDR => len == 16,
        _ => len <= Id::MAX_DATA,
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.ip() {
            return write!(f, "{address}");
        }
        match self.id_type {
            IdType::FQDN | IdType::RFC822_ADDR => write!(f, "{}", Escaped(&self.data)),
            IdType::KEY_ID => write!(f, "key id {}", Escaped(&self.data)),
            IdType::DER_ASN1_DN => write!(f, "\"{}\"", name::Shown(&self.data)),
            IdType::NULL => f.write_str("nobody"),
            other => write!(f, "{other} {}", Hex(&self.data)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::registry::PayloadType;
    use crate::wire::{Payload, strategies};

    #[test]
    fn each_field_is_where_the_rfc_draws_it() {
        // RFC 7296 §3.5: ID type, three reserved octets, identification data.
        let body = [2, 0xa, 0xb, 0xc, b'h', b'o', b's', b't'];
        let id = Id { id_type: IdType::FQDN, reserved: [0xa, 0xb, 0xc], data: b"host".to_vec() };
        assert_eq!(id.body(), body);
        assert_eq!(Payload::read(PayloadType::ID_R, &body), Ok(Payload::IdR(id)));
    }

    #[test]
    fn an_address_has_the_length_of_its_family() {
        for (id_type, len, fits) in [
            (IdType::IPV4_ADDR, 4, true),
            (IdType::IPV4_ADDR, 5, false),
            (IdType::IPV6_ADDR, 16, true),
            (IdType::IPV6_ADDR, 17, false),
            (IdType::NULL, 0, true),
            (IdType::KEY_ID, Id::MAX_DATA, true),
            (IdType::KEY_ID, Id::MAX_DATA + 1, false),
        ] {
            let id = Id { id_type, reserved: [0; 3], data: vec![1; len] };
            assert_eq!(Payload::read(PayloadType::ID_I, &id.body()).is_ok(), fits, "{id_type} {len}");
            assert_eq!(Id::new(id_type, id.data.clone()), fits.then_some(id), "{id_type} {len}");
        }
    }

    #[test]
    fn addresses_survive_the_round_trip() {
        for address in ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap()) {
            assert_eq!(Id::from_ip(address).ip(), Some(address));
            assert_eq!(Id::from_ip(address).to_string(), address.to_string());
        }
        assert_eq!(Id::new(IdType::FQDN, vec![1, 2, 3, 4]).unwrap().ip(), None);
    }

    #[test]
    fn a_trace_escapes_what_the_peer_calls_itself() {
        let show = |id_type, data: &[u8]| Id::new(id_type, data.to_vec()).unwrap().to_string();
        assert_eq!(show(IdType::FQDN, b"a\x1b[2J\n\"b"), r#""a\x1b[2J\x0a\"b""#);
        assert_eq!(show(IdType::KEY_ID, b"k"), r#"key id "k""#);
        assert_eq!(show(IdType::DER_ASN1_DN, &[0x30, 0]), r#""(no name)""#);
        assert_eq!(show(IdType(200), &[0x30, 0]), "200 3000");
        assert_eq!(show(IdType::NULL, b""), "nobody");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(id in strategies::id()) {
            let mut out = Vec::new();
            id.write(&mut out);
            prop_assert_eq!(Payload::read(PayloadType::ID_I, &out), Ok(Payload::IdI(id)));
        }
    }
}

//! Identities as peers claim them and as configuration expects them (RFC 7296 §3.5).

use core::fmt;
use std::net::IpAddr;

use crate::wire::id::Id;
use crate::wire::name;
use crate::wire::registry::IdType;

/// An identity: its type and its octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// How `data` is to be read.
    pub id_type: IdType,
    /// The octets after the payload's reserved field.
    pub data: Vec<u8>,
}

impl Identity {
    /// ID_IPV4_ADDR or ID_IPV6_ADDR.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self { id_type: IdType::IPV4_ADDR, data: v4.octets().to_vec() },
            IpAddr::V6(v6) => Self { id_type: IdType::IPV6_ADDR, data: v6.octets().to_vec() },
        }
    }

    /// ID_FQDN.
    #[must_use]
    pub fn fqdn(name: &str) -> Self {
        Self { id_type: IdType::FQDN, data: name.as_bytes().to_vec() }
    }

    /// ID_RFC822_ADDR, racoon's `user_fqdn`.
    #[must_use]
    pub fn rfc822(address: &str) -> Self {
        Self { id_type: IdType::RFC822_ADDR, data: address.as_bytes().to_vec() }
    }

    /// ID_KEY_ID.
    #[must_use]
    pub fn key_id(octets: &[u8]) -> Self {
        Self { id_type: IdType::KEY_ID, data: octets.to_vec() }
    }

    /// The address, if it is one of the two address types with the right number of octets.
    #[must_use]
    pub fn as_address(&self) -> Option<IpAddr> {
        match self.id_type {
            IdType::IPV4_ADDR => <[u8; 4]>::try_from(self.data.as_slice()).ok().map(IpAddr::from),
            IdType::IPV6_ADDR => <[u8; 16]>::try_from(self.data.as_slice()).ok().map(IpAddr::from),
            _ => None,
        }
    }

    /// The payload that says it.
    #[must_use]
    pub fn payload(&self) -> Id {
        Id { id_type: self.id_type, reserved: [0; 3], data: self.data.clone() }
    }

    /// The identity a payload says.
    #[must_use]
    pub fn of(payload: &Id) -> Self {
        Self { id_type: payload.id_type, data: payload.data.clone() }
    }

    /// The text under which psk.txt lists it: an address, a name, a key id as text; `None` for a distinguished name.
    #[must_use]
    pub fn key_text(&self) -> Option<String> {
        if let Some(address) = self.as_address() {
            return Some(address.to_string());
        }
        match self.id_type {
            IdType::FQDN | IdType::RFC822_ADDR | IdType::KEY_ID => String::from_utf8(self.data.clone()).ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Identity {
    /// Peer octets are escaped and bounded, to 64 or, in a distinguished name, to 256 characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        if let Some(address) = self.as_address() {
            return write!(f, "{address}");
        }
        let shown = self.data.get(..SHOWN).unwrap_or(&self.data);
        let more = if self.data.len() > SHOWN { "..." } else { "" };
        match self.id_type {
            IdType::FQDN | IdType::RFC822_ADDR => write!(f, "{}{more}", shown.escape_ascii()),
            IdType::KEY_ID => write!(f, "keyid:{}{more}", shown.escape_ascii()),
            IdType::DER_ASN1_DN => write!(f, "{}", name::Shown(&self.data)),
            other => {
                write!(f, "{other}:")?;
                shown.iter().try_for_each(|octet| write!(f, "{octet:02x}"))?;
                f.write_str(more)
            }
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_escaped_and_bounded() {
        let id = Identity { id_type: IdType::FQDN, data: [b"\x1b[31m\n".as_slice(), &[b'a'; 300]].concat() };
        let shown = id.to_string();
        assert!(shown.is_ascii() && !shown.contains('\n') && shown.len() < 300, "{shown}");
    }

    #[test]
    fn a_distinguished_name_is_shown_as_one() {
        let der = b"0\x0f1\x0d0\x0b\x06\x03\x55\x04\x03\x0c\x04host".to_vec();
        assert_eq!(Identity { id_type: IdType::DER_ASN1_DN, data: der }.to_string(), "CN=host");
        let none = Identity { id_type: IdType::DER_ASN1_DN, data: vec![1, 2] };
        assert_eq!(none.to_string(), "ID_DER_ASN1_DN:0102");
    }

    #[test]
    fn an_address_type_with_a_wrong_length_is_no_address() {
        let id = Identity { id_type: IdType::IPV4_ADDR, data: vec![1, 2, 3] };
        assert_eq!(id.as_address(), None);
        assert_eq!(id.key_text(), None);
    }
}

//! `struct xfrm_encap_tmpl`: ESP in UDP.

use std::net::IpAddr;

use crate::codec::{Malformed, Reader, Writer};
use crate::constants::UDP_ENCAP_ESPINUDP;
use crate::newtype::registry;

registry! {
    /// The kind of encapsulation (`UDP_ENCAP_*`, `TCP_ENCAP_ESPINTCP`).
    EncapType(u16) {
        /// RFC 3948's draft 00.
        ESPINUDP_NON_IKE = 1 => "espinudp-nonike",
        /// RFC 3948.
        ESPINUDP = 2 => "espinudp",
        /// RFC 9329.
        ESPINTCP = 7 => "espintcp",
    }
}

const _: () = assert!(EncapType::ESPINUDP.0 as i32 == UDP_ENCAP_ESPINUDP);

/// The encapsulation of an SA's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encap {
    /// ESP in UDP, as a rule.
    pub kind: EncapType,
    /// The source port of the packets.
    pub source_port: u16,
    /// Their destination port.
    pub destination_port: u16,
    /// The peer's address before the NAT; the kernel makes no use of it.
    pub original_address: Option<IpAddr>,
}

impl Encap {
    /// ESP in UDP (RFC 3948).
    pub const fn udp(source_port: u16, destination_port: u16) -> Self {
        Self { kind: EncapType::ESPINUDP, source_port, destination_port, original_address: None }
    }

    /// Reads 24 octets; the address is of the SA's `family`.
    pub(crate) fn read(mut from: Reader<'_>, family: u16) -> Result<Self, Malformed> {
        let kind = EncapType(from.u16()?);
        let source_port = from.be16()?;
        let destination_port = from.be16()?;
        from.skip(2)?;
        let address = from.address()?;
        let original_address =
            if address.is_zero() { None } else { Some(address.of("xfrm_encap_tmpl", family)?) };
        Ok(Self { kind, source_port, destination_port, original_address })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.u16(self.kind.0);
        to.be16(self.source_port);
        to.be16(self.destination_port);
        to.zeros(2);
        match self.original_address {
            Some(address) => to.address(address),
            None => to.zeros(16),
        }
    }
}

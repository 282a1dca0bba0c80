//! The Notify payload (RFC 7296 §3.10).

use core::fmt;

use super::error::WireError;
use super::octets::{Reader, length8};
use super::pretty::Hex;
use super::registry::{KeId, NotifyType, PayloadType, ProtocolId};
use crate::ids::ChildSpi;

/// An error, or a statement about state or ability.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notify {
    /// The protocol of the SA that `spi` names; `NONE` without an SPI.
    pub protocol: ProtocolId,
    /// The SA it is about, as its receiver's SPI: 4 octets for ESP and AH, else none. At most 255 octets.
    pub spi: Vec<u8>,
    /// What it says.
    pub notify_type: NotifyType,
    /// The rest of it, at most [`Notify::MAX_DATA`] octets.
    pub data: Vec<u8>,
}

impl Notify {
    /// Octets of the longest data that is read.
    pub const MAX_DATA: usize = 8192;

    /// A notify that concerns no particular child SA.
    #[must_use]
    pub const fn status(notify_type: NotifyType, data: Vec<u8>) -> Self {
        Self { protocol: ProtocolId::NONE, spi: Vec::new(), notify_type, data }
    }

    /// An error without data that concerns no particular child SA.
    #[must_use]
    pub const fn error(notify_type: NotifyType) -> Self {
        Self::status(notify_type, Vec::new())
    }

    /// A notify about the child SA that this end receives on under `spi` (REKEY_SA, CHILD_SA_NOT_FOUND).
    #[must_use]
    pub fn about_child(notify_type: NotifyType, protocol: ProtocolId, spi: ChildSpi) -> Self {
        Self { protocol, spi: spi.0.to_be_bytes().to_vec(), notify_type, data: Vec::new() }
    }

    /// INVALID_KE_PAYLOAD, naming the method that would be accepted (RFC 7296 §1.3).
    #[must_use]
    pub fn invalid_ke_payload(wanted: KeId) -> Self {
        Self::status(NotifyType::INVALID_KE_PAYLOAD, wanted.0.to_be_bytes().to_vec())
    }

    /// UNSUPPORTED_CRITICAL_PAYLOAD, naming the type that is not known (RFC 7296 §2.5).
    #[must_use]
    pub fn unsupported_critical_payload(payload: PayloadType) -> Self {
        Self::status(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![payload.0])
    }

    /// The method that an INVALID_KE_PAYLOAD asks for.
    #[must_use]
    pub fn wanted_ke(&self) -> Option<KeId> {
        let data = <[u8; 2]>::try_from(self.data.as_slice()).ok()?;
        (self.notify_type == NotifyType::INVALID_KE_PAYLOAD).then_some(KeId(u16::from_be_bytes(data)))
    }

    /// The SPI, if it is that of a child SA.
    #[must_use]
    pub fn child_spi(&self) -> Option<ChildSpi> {
        let spi = <[u8; 4]>::try_from(self.spi.as_slice()).ok()?;
        matches!(self.protocol, ProtocolId::ESP | ProtocolId::AH).then_some(ChildSpi(u32::from_be_bytes(spi)))
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let protocol = ProtocolId(reader.u8("protocol id")?);
        let spi_size = usize::from(reader.u8("SPI size")?);
        let notify_type = NotifyType(reader.u16("notify message type")?);
        let spi = reader.take(spi_size, "SPI")?.to_vec();
        Ok(Self { protocol, spi, notify_type, data: reader.rest(0..=Self::MAX_DATA, "notification data")? })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.protocol.0, length8(self.spi.len())]);
        out.extend(self.notify_type.0.to_be_bytes());
        out.extend(&self.spi);
        out.extend(&self.data);
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "N({}", self.notify_type)?;
        if !self.spi.is_empty() {
            write!(f, " {} {}", self.protocol, Hex(&self.spi))?;
        }
        if let Some(wanted) = self.wanted_ke() {
            write!(f, " {wanted}")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Payload, strategies};

    #[test]
    fn each_field_is_where_the_rfc_draws_it() {
        // RFC 7296 §3.10: protocol, SPI size, type, SPI, data.
        let body = [3, 4, 0x40, 0x09, 1, 2, 3, 4, 9];
        let notify = Notify {
            protocol: ProtocolId::ESP,
            spi: vec![1, 2, 3, 4],
            notify_type: NotifyType::REKEY_SA,
            data: vec![9],
        };
        assert_eq!(notify.child_spi(), Some(ChildSpi(0x0102_0304)));
        assert_eq!(Payload::read(PayloadType::NOTIFY, &body), Ok(Payload::Notify(notify)));
    }

    #[test]
    fn an_spi_does_not_reach_beyond_the_payload() {
        assert!(Payload::read(PayloadType::NOTIFY, &[3, 5, 0x40, 0x09, 1, 2, 3, 4]).is_err());
        assert!(Payload::read(PayloadType::NOTIFY, &[3, 255, 0x40, 0x09]).is_err());
    }

    #[test]
    fn the_data_is_bounded() {
        assert!(Payload::read(PayloadType::NOTIFY, &[0; 4 + Notify::MAX_DATA]).is_ok());
        assert!(Payload::read(PayloadType::NOTIFY, &[0; 5 + Notify::MAX_DATA]).is_err());
    }

    #[test]
    fn constructors_write_what_the_rfc_asks_for() {
        let body = |notify: Notify| {
            let mut out = Vec::new();
            notify.write(&mut out);
            out
        };
        assert_eq!(body(Notify::error(NotifyType::NO_PROPOSAL_CHOSEN)), [0, 0, 0, 14]);
        assert_eq!(body(Notify::invalid_ke_payload(KeId::ECP384)), [0, 0, 0, 17, 0, 20]);
        assert_eq!(body(Notify::unsupported_critical_payload(PayloadType(200))), [0, 0, 0, 1, 200]);
        let rekey = Notify::about_child(NotifyType::REKEY_SA, ProtocolId::ESP, ChildSpi(7));
        assert_eq!(body(rekey), [3, 4, 0x40, 0x09, 0, 0, 0, 7]);
    }

    #[test]
    fn only_an_invalid_ke_payload_of_two_octets_names_a_method() {
        assert_eq!(Notify::invalid_ke_payload(KeId::ECP521).wanted_ke(), Some(KeId::ECP521));
        assert_eq!(Notify::status(NotifyType::INVALID_KE_PAYLOAD, vec![1]).wanted_ke(), None);
        assert_eq!(Notify::status(NotifyType::COOKIE, vec![0, 19]).wanted_ke(), None);
    }

    #[test]
    fn only_four_octets_of_esp_or_ah_are_a_child_spi() {
        let named = |protocol, spi: &[u8]| Notify {
            protocol,
            spi: spi.to_vec(),
            ..Notify::error(NotifyType::CHILD_SA_NOT_FOUND)
        };
        assert_eq!(named(ProtocolId::AH, &[0, 0, 0, 9]).child_spi(), Some(ChildSpi(9)));
        assert_eq!(named(ProtocolId::ESP, &[0, 0, 9]).child_spi(), None);
        assert_eq!(named(ProtocolId::ESP, &[0, 0, 0, 0, 9]).child_spi(), None);
        assert_eq!(named(ProtocolId::NONE, &[0, 0, 0, 9]).child_spi(), None);
    }

    #[test]
    fn a_trace_names_type_and_spi() {
        let rekey = Notify::about_child(NotifyType::REKEY_SA, ProtocolId::ESP, ChildSpi(7));
        assert_eq!(rekey.to_string(), "N(REKEY_SA ESP 00000007)");
        assert_eq!(Notify::invalid_ke_payload(KeId(99)).to_string(), "N(INVALID_KE_PAYLOAD 99)");
        assert_eq!(Notify::status(NotifyType(50000), vec![65]).to_string(), "N(50000)");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(notify in strategies::notify()) {
            let mut out = Vec::new();
            notify.write(&mut out);
            prop_assert_eq!(Payload::read(PayloadType::NOTIFY, &out), Ok(Payload::Notify(notify)));
        }
    }
}

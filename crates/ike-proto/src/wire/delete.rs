//! The Delete payload (RFC 7296 §3.11).

use core::fmt;

use super::error::{Fault, WireError};
use super::octets::{Reader, length16};
use super::registry::ProtocolId;
use crate::ids::ChildSpi;

/// SAs that the sender has removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delete {
    /// `IKE` for the IKE SA itself.
    pub protocol: ProtocolId,
    /// The SPIs the sender received on; none for the IKE SA. At most [`Delete::MAX_SPIS`].
    pub spis: Vec<ChildSpi>,
}

impl Delete {
    /// SPIs that are read of one payload.
    pub const MAX_SPIS: usize = 1024;

    /// The end of the IKE SA, which takes its child SAs along.
    #[must_use]
    pub const fn ike_sa() -> Self {
        Self { protocol: ProtocolId::IKE, spis: Vec::new() }
    }

    /// The end of the ESP SA that this end received on under `spi`.
    #[must_use]
    pub fn esp_sa(spi: ChildSpi) -> Self {
        Self { protocol: ProtocolId::ESP, spis: vec![spi] }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let protocol = ProtocolId(reader.u8("protocol id")?);
        let spi_size = usize::from(reader.u8("SPI size")?);
        let count = usize::from(reader.u16("number of SPIs")?);
        if count > Self::MAX_SPIS {
            return Err(reader.fault(Fault::TooMany("SPIs")));
        }
        if spi_size != size_for(protocol) {
            return Err(reader.fault(Fault::Value("SPI size")));
        }
        if (protocol == ProtocolId::IKE) != (count == 0) {
            return Err(reader.fault(Fault::Value("number of SPIs")));
        }
        let spis = (0..count).map(|_| reader.u32("SPI").map(ChildSpi)).collect::<Result<_, _>>()?;
        Ok(Self { protocol, spis })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.protocol.0);
        out.push(if self.protocol == ProtocolId::IKE { 0 } else { 4 });
        out.extend(length16(self.spis.len()));
        out.extend(self.spis.iter().flat_map(|spi| spi.0.to_be_bytes()));
    }
}

/// Octets of an SPI in this payload: an IKE SA is named by the header alone.
const fn size_for(protocol: ProtocolId) -> usize {
    match protocol {
        ProtocolId::IKE => 0,
        _ => 4,
    }
}

impl fmt::Display for Delete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "D({}", self.protocol)?;
        self.spis.iter().try_for_each(|spi| write!(f, " {spi}"))?;
        f.write_str(")")
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
        // RFC 7296 §3.11: protocol, SPI size, number of SPIs, SPIs.
        let body = [3, 4, 0, 2, 0, 0, 1, 1, 0xff, 0, 0, 2];
        let delete = Delete { protocol: ProtocolId::ESP, spis: vec![ChildSpi(0x101), ChildSpi(0xff00_0002)] };
        assert_eq!(delete.to_string(), "D(ESP 00000101 ff000002)");
        assert_eq!(Payload::read(PayloadType::DELETE, &body), Ok(Payload::Delete(delete)));
    }

    #[test]
    fn size_and_number_fit_the_protocol() {
        for body in [
            &[1, 0, 0, 1][..], // the IKE SA has no SPI
            &[1, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            &[1, 4, 0, 0],
            &[3, 4, 0, 0], // nothing deleted
            &[3, 0, 0, 1], // an SPI of no octets
            &[3, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1],
            &[3, 4, 0, 2, 0, 0, 1, 1],    // one missing
            &[3, 4, 0, 1, 0, 0, 1, 1, 0], // one octet left over
            &[3, 4, 0xff, 0xff, 0, 0, 1, 1],
        ] {
            assert!(Payload::read(PayloadType::DELETE, body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn the_number_is_bounded() {
        for (count, fits) in [(Delete::MAX_SPIS, true), (Delete::MAX_SPIS + 1, false)] {
            let mut out = Vec::new();
            Delete { protocol: ProtocolId::AH, spis: vec![ChildSpi(300); count] }.write(&mut out);
            assert_eq!(Payload::read(PayloadType::DELETE, &out).is_ok(), fits, "{count}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(delete in strategies::delete()) {
            let mut out = Vec::new();
            delete.write(&mut out);
            prop_assert_eq!(Payload::read(PayloadType::DELETE, &out), Ok(Payload::Delete(delete)));
        }
    }
}

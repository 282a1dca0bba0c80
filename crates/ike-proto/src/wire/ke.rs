//! The Key Exchange payload (RFC 7296 §3.4).

use core::fmt;

use super::error::WireError;
use super::octets::Reader;
use super::registry::KeId;

/// One end's public value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ke {
    /// The key exchange method (the RFC's Diffie-Hellman group number).
    pub method: KeId,
    /// The public value, 1 to [`Ke::MAX_DATA`] octets; whether the length is that of the method is for its owner to say.
    pub data: Vec<u8>,
}

impl Ke {
    /// Octets of the longest public value that is read: MODP8192 has 1,024, ML-KEM-1024 has 1,568.
    pub const MAX_DATA: usize = 4096;

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let method = KeId(reader.u16("key exchange method")?);
        reader.u16("reserved field")?;
        Ok(Self { method, data: reader.rest(1..=Self::MAX_DATA, "key exchange data")? })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.method.0.to_be_bytes());
        out.extend([0, 0]);
        out.extend(&self.data);
    }
}

impl fmt::Display for Ke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KE({})", self.method)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::captured::octets;
    use crate::wire::registry::PayloadType;
    use crate::wire::{Payload, strategies};

    #[test]
    fn the_payload_of_rfc_5903_is_read() {
        // RFC 5903 §8.1, "The KEi payload", behind its generic header (00000048).
        let body = octets(
            "00130000 DAD0B653 94221CF9 B051E1FE CA5787D0 98DFE637 FC90B9EF 945D0C37 72581180
             5271A046 1CDB8252 D61F1C45 6FA3E59A B1F45B33 ACCF5F58 389E0577 B8990BB3",
        );
        let ke = Ke { method: KeId::ECP256, data: body[4..].to_vec() };
        assert_eq!(ke.data.len(), 64);
        assert_eq!(Payload::read(PayloadType::KE, &body), Ok(Payload::Ke(ke)));
    }

    #[test]
    fn the_reserved_field_is_ignored_and_the_data_bounded() {
        let ke = Ke { method: KeId::CURVE25519, data: vec![7] };
        assert_eq!(Payload::read(PayloadType::KE, &[0, 31, 0xff, 0xff, 7]), Ok(Payload::Ke(ke)));
        assert!(Payload::read(PayloadType::KE, &[0, 31, 0, 0]).is_err());
        assert!(Payload::read(PayloadType::KE, &[0; 4 + Ke::MAX_DATA]).is_ok());
        assert!(Payload::read(PayloadType::KE, &[0; 5 + Ke::MAX_DATA]).is_err());
    }

    #[test]
    fn a_trace_names_the_method_and_not_the_value() {
        assert_eq!(Ke { method: KeId::ECP384, data: vec![65; 96] }.to_string(), "KE(ECP384)");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(ke in strategies::ke()) {
            let mut out = Vec::new();
            ke.write(&mut out);
            prop_assert_eq!(Payload::read(PayloadType::KE, &out), Ok(Payload::Ke(ke)));
        }
    }
}

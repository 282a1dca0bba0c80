//! The Configuration payload (RFC 7296 §3.15).

use core::fmt;

use super::error::{Fault, WireError};
use super::octets::{Reader, length16};
use super::registry::CfgType;

/// Addresses and other settings asked for or given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cp {
    /// Which of the four messages it is.
    pub cfg_type: CfgType,
    /// At most [`Cp::MAX_ATTRIBUTES`].
    pub attributes: Vec<CpAttribute>,
}

/// One setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpAttribute {
    /// Its type, 15 bits.
    pub kind: u16,
    /// Its value; empty in a request that leaves it open.
    pub value: Vec<u8>,
}

const RESERVED_BIT: u16 = 0x8000;

impl Cp {
    /// Attributes that are read of one payload.
    pub const MAX_ATTRIBUTES: usize = 256;

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let cfg_type = CfgType(reader.u8("CFG type")?);
        reader.array::<3>("reserved field")?;
        let mut attributes = Vec::new();
        while !reader.is_done() {
            if attributes.len() == Self::MAX_ATTRIBUTES {
                return Err(reader.fault(Fault::TooMany("attributes")));
            }
            let kind = reader.u16("attribute type")? & !RESERVED_BIT;
            let len = usize::from(reader.u16("attribute length")?);
            attributes.push(CpAttribute { kind, value: reader.take(len, "attribute value")?.to_vec() });
        }
        Ok(Self { cfg_type, attributes })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.cfg_type.0, 0, 0, 0]);
        for attribute in &self.attributes {
            out.extend((attribute.kind & !RESERVED_BIT).to_be_bytes());
            out.extend(length16(attribute.value.len()));
            out.extend(&attribute.value);
        }
    }
}

impl fmt::Display for Cp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CP({}", self.cfg_type)?;
        self.attributes.iter().try_for_each(|attribute| write!(f, " {}", attribute.kind))?;
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
        // RFC 7296 §3.15: CFG type, three reserved octets; per attribute a reserved bit and type, length, value.
        let body = [1, 9, 9, 9, 0x80, 1, 0, 0, 0, 3, 0, 4, 192, 0, 2, 53];
        let attributes =
            vec![CpAttribute { kind: 1, value: vec![] }, CpAttribute { kind: 3, value: vec![192, 0, 2, 53] }];
        let cp = Cp { cfg_type: CfgType::REQUEST, attributes };
        assert_eq!(cp.to_string(), "CP(CFG_REQUEST 1 3)");
        assert_eq!(Payload::read(PayloadType::CONFIGURATION, &body), Ok(Payload::Cp(cp)));
    }

    #[test]
    fn a_value_does_not_reach_beyond_the_payload() {
        assert!(Payload::read(PayloadType::CONFIGURATION, &[1, 0, 0, 0, 0, 1, 0, 5, 1, 2, 3, 4]).is_err());
        assert!(Payload::read(PayloadType::CONFIGURATION, &[1, 0, 0, 0, 0, 1, 0]).is_err());
    }

    #[test]
    fn the_number_of_attributes_is_bounded() {
        for (count, fits) in [(Cp::MAX_ATTRIBUTES, true), (Cp::MAX_ATTRIBUTES + 1, false)] {
            let body = vec![0; 4 + 4 * count];
            assert_eq!(Payload::read(PayloadType::CONFIGURATION, &body).is_ok(), fits, "{count}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(cp in strategies::cp()) {
            let mut out = Vec::new();
            cp.write(&mut out);
            prop_assert_eq!(Payload::read(PayloadType::CONFIGURATION, &out), Ok(Payload::Cp(cp)));
        }
    }
}

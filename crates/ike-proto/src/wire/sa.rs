//! The Security Association payload: proposals, transforms, attributes (RFC 7296 §3.3).

use core::fmt;

use super::error::{Fault, WireError};
use super::octets::{Reader, length8, with_length16};
use super::pretty::Hex;
use super::registry::{EncrId, EsnId, IntegId, KeId, PrfId, ProtocolId, TransformType};

/// An SA payload: what is offered, or the one proposal that was chosen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sa {
    /// In order of preference; never empty when read.
    pub proposals: Vec<Proposal>,
}

/// One proposal: a protocol and, for each kind of transform it needs, the alternatives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// Number by which the answer refers to it, from 1.
    pub number: u8,
    /// The protocol to be keyed.
    pub protocol: ProtocolId,
    /// The sender's SPI: none for an initial IKE SA, 8 octets for a rekeyed one, 4 for ESP and AH. At most 255 octets.
    pub spi: Vec<u8>,
    /// In order of preference within each kind. At most 255.
    pub transforms: Vec<Transform>,
}

/// One algorithm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transform {
    /// What it is for.
    pub kind: TransformType,
    /// The algorithm, in the registry of its kind.
    pub id: u16,
    /// The Key Length attribute, in bits.
    pub key_bits: Option<u16>,
    /// All further attributes. A transform that has any must not be chosen (RFC 7296 §3.3.6).
    pub other_attributes: Vec<Attribute>,
}

/// A transform attribute (RFC 7296 §3.3.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    /// Its type, 15 bits.
    pub kind: u16,
    /// Its value.
    pub value: AttributeValue,
}

/// The two forms of an attribute's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttributeValue {
    /// Type/value: two octets.
    Short(u16),
    /// Type/length/value.
    Long(Vec<u8>),
}

/// The one attribute of the RFC.
pub const KEY_LENGTH: u16 = 14;

/// Proposals that are read of one payload.
pub const MAX_PROPOSALS: usize = 64;

/// Attributes that are read of one transform.
pub const MAX_ATTRIBUTES: usize = 16;

const SHORT_FORM: u16 = 0x8000;
const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;

impl Sa {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut proposals = Vec::new();
        loop {
            if proposals.len() == MAX_PROPOSALS {
                return Err(reader.fault(Fault::TooMany("proposals")));
            }
            let (mut inside, last) = substructure(reader, MORE_PROPOSALS, "proposal")?;
            proposals.push(Proposal::read(&mut inside)?);
            if last {
                return Ok(Self { proposals });
            }
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut left = self.proposals.len();
        for proposal in &self.proposals {
            left = left.saturating_sub(1);
            let more = if left > 0 { MORE_PROPOSALS } else { 0 };
            with_length16(out, 2, |out| {
                out.extend([more, 0, 0, 0]);
                proposal.write(out);
            });
        }
    }
}

/// The common head of a proposal and of a transform: `0 or more | reserved | length`. Returns what it encloses, and
/// whether it is the last; it says so exactly when nothing follows.
fn substructure<'a>(
    reader: &mut Reader<'a>,
    more: u8,
    field: &'static str,
) -> Result<(Reader<'a>, bool), WireError> {
    let at = reader.clone();
    let marker = reader.u8(field)?;
    reader.u8(field)?;
    let length = usize::from(reader.u16(field)?);
    let Some(inside) = length.checked_sub(4) else {
        return Err(at.fault(Fault::Length(field)));
    };
    let inside = reader.part(inside, field)?;
    match marker {
        0 => reader.finish()?,
        _ if marker == more => {}
        _ => return Err(at.fault(Fault::Value(field))),
    }
    Ok((inside, marker == 0))
}

impl Proposal {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let number = reader.u8("proposal number")?;
        let protocol = ProtocolId(reader.u8("protocol id")?);
        let spi_size = usize::from(reader.u8("SPI size")?);
        let count = reader.u8("number of transforms")?;
        let spi = reader.take(spi_size, "SPI")?.to_vec();
        let mut transforms = Vec::new();
        for left in (0..count).rev() {
            let (mut inside, last) = substructure(reader, MORE_TRANSFORMS, "transform")?;
            if last != (left == 0) {
                return Err(inside.fault(Fault::Value("number of transforms")));
            }
            transforms.push(Transform::read(&mut inside)?);
        }
        reader.finish()?;
        Ok(Self { number, protocol, spi, transforms })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.number, self.protocol.0, length8(self.spi.len()), length8(self.transforms.len())]);
        out.extend(&self.spi);
        let mut left = self.transforms.len();
        for transform in &self.transforms {
            left = left.saturating_sub(1);
            let more = if left > 0 { MORE_TRANSFORMS } else { 0 };
            with_length16(out, 2, |out| {
                out.extend([more, 0, 0, 0]);
                transform.write(out);
            });
        }
    }
}

impl Transform {
    /// A transform without attributes.
    #[must_use]
    pub const fn new(kind: TransformType, id: u16) -> Self {
        Self { kind, id, key_bits: None, other_attributes: Vec::new() }
    }

    /// A transform with a key of `key_bits`.
    #[must_use]
    pub const fn with_key(kind: TransformType, id: u16, key_bits: u16) -> Self {
        Self { kind, id, key_bits: Some(key_bits), other_attributes: Vec::new() }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = TransformType(reader.u8("transform type")?);
        reader.u8("transform")?;
        let mut transform = Self::new(kind, reader.u16("transform id")?);
        let mut attributes = 0;
        while !reader.is_done() {
            if attributes == MAX_ATTRIBUTES {
                return Err(reader.fault(Fault::TooMany("attributes")));
            }
            attributes += 1;
            match Attribute::read(reader)? {
                Attribute { kind: KEY_LENGTH, value: AttributeValue::Short(bits) }
                    if transform.key_bits.is_none() =>
                {
                    transform.key_bits = Some(bits);
                }
                other => transform.other_attributes.push(other),
            }
        }
        Ok(transform)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.kind.0, 0]);
        out.extend(self.id.to_be_bytes());
        if let Some(bits) = self.key_bits {
            Attribute { kind: KEY_LENGTH, value: AttributeValue::Short(bits) }.write(out);
        }
        for attribute in &self.other_attributes {
            attribute.write(out);
        }
    }
}

impl Attribute {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let head = reader.u16("attribute type")?;
        let second = reader.u16("attribute length")?;
        let value = if head & SHORT_FORM != 0 {
            AttributeValue::Short(second)
        } else {
            AttributeValue::Long(reader.take(usize::from(second), "attribute value")?.to_vec())
        };
        Ok(Self { kind: head & !SHORT_FORM, value })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let kind = self.kind & !SHORT_FORM;
        match &self.value {
            AttributeValue::Short(value) => {
                out.extend((kind | SHORT_FORM).to_be_bytes());
                out.extend(value.to_be_bytes());
            }
            AttributeValue::Long(value) => {
                out.extend(kind.to_be_bytes());
                out.extend(super::octets::length16(value.len()));
                out.extend(value);
            }
        }
    }
}

impl fmt::Display for Sa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SA[")?;
        for (index, proposal) in self.proposals.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{proposal}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.protocol)?;
        if !self.spi.is_empty() {
            write!(f, " {}", Hex(&self.spi))?;
        }
        self.transforms.iter().try_for_each(|transform| write!(f, " {transform}"))
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TransformType::ENCR => EncrId(self.id).fmt(f)?,
            TransformType::PRF => PrfId(self.id).fmt(f)?,
            TransformType::INTEG => IntegId(self.id).fmt(f)?,
            TransformType::KE => KeId(self.id).fmt(f)?,
            TransformType::ESN => EsnId(self.id).fmt(f)?,
            other => write!(f, "{other}={}", self.id)?,
        }
        if let Some(bits) = self.key_bits {
            write!(f, "-{bits}")?;
        }
        if self.other_attributes.is_empty() { Ok(()) } else { f.write_str("+?") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::captured::octets;
    use crate::wire::registry::PayloadType;
    use crate::wire::{Payload, strategies};

    /// RFC 7296 §3.3.1, §3.3.2 and §3.3.5, drawn by hand: one ESP proposal, AES-GCM with 256 bits, an unknown transform
    /// with an unknown attribute, no ESN.
    const BODY: &str = "00 00 002e 05 03 04 03 c1020304
        03 00 000c 01 00 0014 800e 0100
        03 00 000e f1 00 0007 4011 0002 beef
        00 00 0008 05 00 0000";

    fn read(hex: &str) -> Result<Payload, WireError> {
        Payload::read(PayloadType::SA, &octets(hex))
    }

    #[test]
    fn each_field_is_where_the_rfc_draws_it() {
        let odd = Attribute { kind: 0x4011, value: AttributeValue::Long(vec![0xbe, 0xef]) };
        let proposal = Proposal {
            number: 5,
            protocol: ProtocolId::ESP,
            spi: vec![0xc1, 2, 3, 4],
            transforms: vec![
                Transform::with_key(TransformType::ENCR, EncrId::AES_GCM_16.0, 256),
                Transform { other_attributes: vec![odd], ..Transform::new(TransformType(0xf1), 7) },
                Transform::new(TransformType::ESN, EsnId::NO_ESN.0),
            ],
        };
        let sa = Sa { proposals: vec![proposal] };
        assert_eq!(sa.to_string(), "SA[5 ESP c1020304 ENCR_AES_GCM_16-256 241=7+? NO_ESN]");
        let mut out = Vec::new();
        sa.write(&mut out);
        assert_eq!(out, octets(BODY));
        assert_eq!(read(BODY), Ok(Payload::Sa(sa)));
    }

    #[test]
    fn reserved_fields_are_ignored() {
        // Of the proposal, of a transform's head, and behind its type.
        for (from, to) in
            [("00 00 002e", "00 a5 002e"), ("03 00 000c", "03 5a 000c"), ("01 00 0014", "01 ff 0014")]
        {
            assert!(BODY.contains(from), "{from}");
            assert_eq!(read(&BODY.replacen(from, to, 1)), read(BODY), "{to}");
        }
        assert!(read(BODY).is_ok());
    }

    #[test]
    fn lengths_counts_and_markers_must_agree() {
        let (length, value) = (Fault::Length, Fault::Value);
        for (what, from, to, offset, fault) in [
            ("another proposal is to follow", "00 00 002e", "02 00 002e", 46, Fault::Truncated("proposal")),
            ("neither marker", "00 00 002e", "01 00 002e", 0, value("proposal")),
            ("longer than there is", "002e 05", "002f 05", 4, Fault::Truncated("proposal")),
            ("shorter than the transforms", "002e 05", "002d 05", 45, Fault::Trailing),
            ("shorter than its own head", "002e 05", "0003 05", 0, length("proposal")),
            ("fewer transforms than there are", "04 03 c1", "04 02 c1", 28, value("number of transforms")),
            ("more transforms than there are", "04 03 c1", "04 04 c1", 42, value("number of transforms")),
            ("an SPI beyond the proposal", "04 03 c1", "ff 03 c1", 8, Fault::Truncated("SPI")),
            ("a transform that says it is the last", "03 00 000c", "00 00 000c", 24, Fault::Trailing),
            ("a last one that says it is not", "00 00 0008", "03 00 0008", 42, value("number of transforms")),
            ("an attribute cut", "000c 01", "000b 01", 22, Fault::Truncated("attribute length")),
            (
                "a value beyond the transform",
                "4011 0002",
                "4011 0003",
                36,
                Fault::Truncated("attribute value"),
            ),
        ] {
            assert!(BODY.contains(from), "{from}");
            let error = WireError::Malformed { payload: PayloadType::SA, offset, fault };
            assert_eq!(read(&BODY.replacen(from, to, 1)), Err(error), "{what}");
        }
        assert!(read("").is_err(), "no proposal");
    }

    #[test]
    fn octets_behind_the_last_proposal_are_refused() {
        assert!(read(&format!("{BODY} 00")).is_err());
        assert!(read(&format!("{BODY} {BODY}")).is_err());
    }

    #[test]
    fn a_second_key_length_makes_a_transform_unusable() {
        let sa = read("00 00 0018 01 01 00 01  00 00 0010 01 00 000c 800e 0080 800e 0100").unwrap();
        let Payload::Sa(sa) = sa else { panic!("{sa}") };
        let transform = &sa.proposals[0].transforms[0];
        assert_eq!(transform.key_bits, Some(128));
        assert_eq!(
            transform.other_attributes,
            [Attribute { kind: KEY_LENGTH, value: AttributeValue::Short(256) }]
        );
    }

    #[test]
    fn a_key_length_in_the_long_form_is_not_taken_for_one() {
        let sa = read("00 00 0016 01 01 00 01  00 00 000e 01 00 000c 000e 0002 0080").unwrap();
        let Payload::Sa(sa) = sa else { panic!("{sa}") };
        assert_eq!(sa.proposals[0].transforms[0].key_bits, None);
        assert_eq!(sa.proposals[0].transforms[0].other_attributes.len(), 1);
    }

    #[test]
    fn a_proposal_without_transforms_is_read() {
        let Ok(Payload::Sa(sa)) = read("00 00 0008 01 01 00 00") else { panic!("not read") };
        assert_eq!(sa.proposals[0].transforms, []);
        assert!(read("00 00 0009 01 01 00 00 00").is_err(), "an octet more than that");
    }

    #[test]
    fn only_its_own_marker_says_that_a_proposal_follows() {
        let two = |marker: &str| read(&format!("{marker} 00 0008 01 01 00 00  00 00 0008 02 01 00 00"));
        assert!(two("02").is_ok());
        assert!(two("03").is_err() && two("01").is_err());
    }

    #[test]
    fn numbers_are_bounded() {
        let proposal = |count| {
            let empty = Proposal { number: 1, protocol: ProtocolId::IKE, spi: vec![], transforms: vec![] };
            Sa { proposals: vec![empty; count] }
        };
        let attributes = |count| {
            let odd = Attribute { kind: 1, value: AttributeValue::Short(1) };
            let transform =
                Transform { other_attributes: vec![odd; count], ..Transform::new(TransformType::PRF, 1) };
            let mut sa = proposal(1);
            sa.proposals[0].transforms = vec![transform; 255];
            sa
        };
        for (sa, fits) in [
            (proposal(MAX_PROPOSALS), true),
            (proposal(MAX_PROPOSALS + 1), false),
            (attributes(MAX_ATTRIBUTES), true),
            (attributes(MAX_ATTRIBUTES + 1), false),
        ] {
            let mut out = Vec::new();
            sa.write(&mut out);
            assert_eq!(Payload::read(PayloadType::SA, &out).is_ok(), fits);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(sa in strategies::sa()) {
            let mut out = Vec::new();
            sa.write(&mut out);
            prop_assert_eq!(Payload::read(PayloadType::SA, &out), Ok(Payload::Sa(sa)));
        }
    }
}

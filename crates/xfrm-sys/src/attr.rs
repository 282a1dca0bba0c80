//! Netlink attributes: their framing, and the ones that several objects share.

use std::fmt;

use zeroize::Zeroizing;

use crate::codec::{Fault, Malformed, Reader, Writer};
use crate::constants::NLA_TYPE_MASK;

/// An attribute this crate has no type for, kept as it came. Its value may be a key of a kind not known yet: it is
/// wiped on drop and not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The kind (`XFRMA_*`), with the flags of its upper two bits.
    pub kind: u16,
    /// The octets, without padding.
    pub value: Zeroizing<Vec<u8>>,
}

impl Attribute {
    pub(crate) fn write(&self, to: &mut Writer) {
        to.attribute(self.kind, |to| to.put(&self.value));
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attribute({}, {} octets)", self.kind, self.value.len())
    }
}

/// `struct xfrm_mark`: a value compared under a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The bits wanted.
    pub value: u32,
    /// The bits looked at.
    pub mask: u32,
}

impl Mark {
    pub(crate) fn read(mut from: Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { value: from.u32()?, mask: from.u32()? })
    }

    pub(crate) fn write(self, to: &mut Writer) {
        to.u32(self.value);
        to.u32(self.mask);
    }
}

/// One attribute as it stands in a message.
pub(crate) struct Raw<'a> {
    /// The kind without its flags.
    pub(crate) kind: u16,
    full_kind: u16,
    value: &'a [u8],
}

impl<'a> Raw<'a> {
    pub(crate) fn reader(&self, what: &'static str) -> Reader<'a> {
        Reader::new(what, self.value)
    }

    pub(crate) fn u32(&self, what: &'static str) -> Result<u32, Malformed> {
        self.reader(what).u32()
    }

    pub(crate) fn kept(&self) -> Attribute {
        Attribute { kind: self.full_kind, value: Zeroizing::new(self.value.to_vec()) }
    }
}

/// All attributes from here to the end of the message.
pub(crate) fn attributes<'a>(from: Reader<'a>) -> impl Iterator<Item = Result<Raw<'a>, Malformed>> {
    let mut from = from.named("nlattr");
    let mut broken = false;
    std::iter::from_fn(move || {
        if broken || from.is_empty() {
            return None;
        }
        let attribute = read_one(&mut from);
        broken = attribute.is_err();
        Some(attribute)
    })
}

fn read_one<'a>(from: &mut Reader<'a>) -> Result<Raw<'a>, Malformed> {
    let length = from.u16()?;
    let full_kind = from.u16()?;
    let size = usize::from(length).checked_sub(4).ok_or(from.fault(Fault::Length(length.into())))?;
    let value = from.take(size)?;
    // The last attribute of a message may lack its padding.
    let padding = size.next_multiple_of(4) - size;
    from.skip(padding.min(from.rest().len()))?;
    Ok(Raw { kind: full_kind & NLA_TYPE_MASK, full_kind, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_behind_a_broken_attribute() {
        let mut to = Writer::new();
        to.attribute(1, |to| to.put(b"sound"));
        to.put(&[3, 0, 2, 0]);
        to.attribute(3, |to| to.put(b"sound"));
        let from = Reader::new("test", to.octets().unwrap());
        let read: Vec<_> = attributes(from).take(9).map(|attribute| attribute.map(|raw| raw.kind)).collect();
        assert_eq!(read, [Ok(1), Err(Malformed { what: "nlattr", why: Fault::Length(3) })]);
    }

    #[test]
    fn the_flags_of_a_kind_do_not_hide_it_and_are_kept() {
        let mut to = Writer::new();
        to.attribute(0xc007, |to| to.u8(9));
        let raw = attributes(Reader::new("test", to.octets().unwrap())).next().unwrap().unwrap();
        assert_eq!((raw.kind, raw.kept().kind, raw.kept().value.to_vec()), (7, 0xc007, vec![9]));
        assert_eq!(format!("{:?}", raw.kept()), "Attribute(49159, 1 octets)");
    }
}

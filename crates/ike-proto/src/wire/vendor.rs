//! The Vendor ID payload (RFC 7296 §3.12).

use core::fmt;

use super::error::WireError;
use super::octets::Reader;
use super::pretty::Escaped;

/// Octets by which implementations recognise each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vendor(pub Vec<u8>);

impl Vendor {
    /// Octets of the longest vendor id that is read.
    pub const MAX: usize = 1024;

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.rest(0..=Self::MAX, "vendor id").map(Self)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(&self.0);
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V({})", Escaped(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Payload;
    use crate::wire::registry::PayloadType;

    #[test]
    fn the_whole_body_is_the_id() {
        let vendor = Payload::Vendor(Vendor(b"strongSwan".to_vec()));
        assert_eq!(Payload::read(PayloadType::VENDOR, b"strongSwan"), Ok(vendor));
        assert_eq!(Payload::read(PayloadType::VENDOR, b""), Ok(Payload::Vendor(Vendor(vec![]))));
    }

    #[test]
    fn its_length_is_bounded() {
        assert!(Payload::read(PayloadType::VENDOR, &[0; Vendor::MAX]).is_ok());
        assert!(Payload::read(PayloadType::VENDOR, &[0; Vendor::MAX + 1]).is_err());
    }

    #[test]
    fn a_trace_escapes_it() {
        assert_eq!(Vendor(b"a\r\xff".to_vec()).to_string(), r#"V("a\x0d\xff")"#);
    }
}

//! The IKE header (RFC 7296 §3.1).

use core::fmt;

use super::error::WireError;
use super::octets::Reader;
use super::registry::{ExchangeType, PayloadType};
use crate::ids::IkeSpi;

/// The 28 octets that begin every message.
///
/// ```text
///  0                   1                   2                   3
/// |                       IKE SA Initiator's SPI                  |
/// |                                                               |
/// |                       IKE SA Responder's SPI                  |
/// |                                                               |
/// |  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
/// |                          Message ID                           |
/// |                            Length                             |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The original initiator's SPI.
    pub spi_i: IkeSpi,
    /// The original responder's SPI; zero in the first request.
    pub spi_r: IkeSpi,
    /// Type of the first payload.
    pub first: PayloadType,
    /// Major version, 4 bits.
    pub major: u8,
    /// Minor version, 4 bits.
    pub minor: u8,
    /// The exchange this message belongs to.
    pub exchange: ExchangeType,
    /// Who sent it, and whether it answers.
    pub flags: Flags,
    /// Number of the request, and of its response.
    pub message_id: u32,
    /// Octets of the whole message, this header included.
    pub length: u32,
}

impl Header {
    /// Octets of the header.
    pub const LEN: usize = 28;

    /// The major version spoken here.
    pub const MAJOR: u8 = 2;

    /// Reads the header in front of `datagram`. Version and length are the caller's to judge: a message of a higher
    /// version has an answer of its own (RFC 7296 §2.5).
    ///
    /// # Errors
    /// If there are fewer than 28 octets.
    pub fn read(datagram: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(PayloadType::NONE, datagram, 0);
        let spi_i = IkeSpi(reader.u64("initiator's SPI")?);
        let spi_r = IkeSpi(reader.u64("responder's SPI")?);
        let first = PayloadType(reader.u8("next payload")?);
        let version = reader.u8("version")?;
        Ok(Self {
            spi_i,
            spi_r,
            first,
            major: version >> 4,
            minor: version & 0x0f,
            exchange: ExchangeType(reader.u8("exchange type")?),
            flags: Flags(reader.u8("flags")?),
            message_id: reader.u32("message id")?,
            length: reader.u32("length")?,
        })
    }

    /// Appends the header to `out`. Of the version numbers the lower 4 bits count.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.spi_i.0.to_be_bytes());
        out.extend(self.spi_r.0.to_be_bytes());
        out.push(self.first.0);
        out.push((self.major << 4) | (self.minor & 0x0f));
        out.push(self.exchange.0);
        out.push(self.flags.0);
        out.extend(self.message_id.to_be_bytes());
        out.extend(self.length.to_be_bytes());
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.exchange, self.flags, self.message_id)?;
        write!(f, " {}_i {}_r", self.spi_i, self.spi_r)?;
        if (self.major, self.minor) != (Self::MAJOR, 0) {
            write!(f, " version {}.{}", self.major, self.minor)?;
        }
        Ok(())
    }
}

/// The header's flags; bits without a meaning are ignored when read and zero when made here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub u8);

impl Flags {
    /// Set by the original initiator of the IKE SA in all it sends.
    pub const INITIATOR: u8 = 0x08;
    /// Set by an end that could speak a higher major version; Coati never sets it.
    pub const VERSION: u8 = 0x10;
    /// Set in responses.
    pub const RESPONSE: u8 = 0x20;

    /// Flags of a message sent by the original `initiator` (or responder), as a `response` (or request).
    #[must_use]
    pub const fn new(initiator: bool, response: bool) -> Self {
        let initiator = if initiator { Self::INITIATOR } else { 0 };
        let response = if response { Self::RESPONSE } else { 0 };
        Self(initiator | response)
    }

    /// Whether the original initiator of the IKE SA sent the message.
    #[must_use]
    pub const fn is_initiator(self) -> bool {
        self.0 & Self::INITIATOR != 0
    }

    /// Whether the message is a response.
    #[must_use]
    pub const fn is_response(self) -> bool {
        self.0 & Self::RESPONSE != 0
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_response() { "response" } else { "request" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::error::Fault;

    /// Written out by hand from the diagram in RFC 7296 §3.1.
    const OCTETS: [u8; 28] = [
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 46,
        0x2f, 35, 0x28, 0, 0, 1, 2, 0, 0, 0x12, 0x34,
    ];

    #[test]
    fn each_field_is_where_the_rfc_draws_it() {
        let header = Header::read(&OCTETS).unwrap();
        assert_eq!(header.spi_i, IkeSpi(0x1112_1314_1516_1718));
        assert_eq!(header.spi_r, IkeSpi(0x2122_2324_2526_2728));
        assert_eq!(header.first, PayloadType::ENCRYPTED);
        assert_eq!((header.major, header.minor), (2, 15));
        assert_eq!(header.exchange, ExchangeType::IKE_AUTH);
        assert!(header.flags.is_initiator() && header.flags.is_response());
        assert_eq!(header.message_id, 0x0102);
        assert_eq!(header.length, 0x1234);
        let mut out = Vec::new();
        header.write(&mut out);
        assert_eq!(out, OCTETS);
    }

    #[test]
    fn no_prefix_of_a_header_is_one() {
        for len in 0..Header::LEN {
            let error = Header::read(&OCTETS[..len]).unwrap_err();
            assert!(matches!(error, WireError::Malformed { fault: Fault::Truncated(_), .. }), "{len}");
        }
    }

    #[test]
    fn flags_say_who_and_which_way() {
        assert_eq!(Flags::new(true, false), Flags(0x08));
        assert_eq!(Flags::new(false, true), Flags(0x20));
        assert!(!Flags(Flags::VERSION).is_initiator() && !Flags(Flags::VERSION).is_response());
    }

    #[test]
    fn a_trace_names_exchange_direction_and_spis() {
        let header = Header { minor: 0, ..Header::read(&OCTETS).unwrap() };
        assert_eq!(header.to_string(), "IKE_AUTH response 258 1112131415161718_i 2122232425262728_r");
    }

    proptest! {
        #[test]
        fn any_28_octets_are_written_as_they_were_read(octets: [u8; 28]) {
            let mut out = Vec::new();
            Header::read(&octets).unwrap().write(&mut out);
            prop_assert_eq!(out, octets);
        }
    }
}

//! The Nonce payload (RFC 7296 §3.9).

use core::fmt;

use super::error::WireError;
use super::octets::Reader;

/// One end's random octets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nonce(pub Vec<u8>);

impl Nonce {
    /// The fewest octets of a nonce.
    pub const MIN: usize = 16;
    /// The most octets of a nonce.
    pub const MAX: usize = 256;

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.rest(Self::MIN..=Self::MAX, "nonce").map(Self)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(&self.0);
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::registry::PayloadType;
    use crate::wire::{Payload, strategies};

    #[test]
    fn a_nonce_has_16_to_256_octets() {
        for (len, fits) in [(0, false), (15, false), (16, true), (256, true), (257, false)] {
            assert_eq!(Payload::read(PayloadType::NONCE, &vec![1; len]).is_ok(), fits, "{len}");
        }
    }

    #[test]
    fn a_trace_does_not_show_the_octets() {
        assert_eq!(Nonce(vec![65; 32]).to_string(), "Nonce");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(nonce in strategies::nonce()) {
            let mut out = Vec::new();
            nonce.write(&mut out);
            prop_assert_eq!(Payload::read(PayloadType::NONCE, &out), Ok(Payload::Nonce(nonce)));
        }
    }
}

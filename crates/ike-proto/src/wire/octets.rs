//! A cursor that cannot run past its end, and the writing of length fields.

use core::ops::RangeInclusive;

use super::error::{Fault, WireError};
use super::registry::PayloadType;

/// A cursor over octets that came from a peer; knows where it is for the sake of the error.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    octets: &'a [u8],
    offset: usize,
    payload: PayloadType,
}

impl<'a> Reader<'a> {
    /// Reads `octets`, whose first one stands at `offset` in the whole, on behalf of `payload`.
    pub(crate) const fn new(payload: PayloadType, octets: &'a [u8], offset: usize) -> Self {
        Self { octets, offset, payload }
    }

    /// Octets not read yet.
    pub(crate) const fn left(&self) -> usize {
        self.octets.len()
    }

    /// Whether everything has been read.
    pub(crate) const fn is_done(&self) -> bool {
        self.octets.is_empty()
    }

    /// Offset of the next octet in the whole.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    /// The error that `fault` is at the present place.
    pub(crate) const fn fault(&self, fault: Fault) -> WireError {
        WireError::Malformed { payload: self.payload, offset: self.offset, fault }
    }

    /// The next `len` octets.
    pub(crate) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let Some((taken, rest)) = self.octets.split_at_checked(len) else {
            return Err(self.fault(Fault::Truncated(field)));
        };
        self.octets = rest;
        self.offset = self.offset.saturating_add(len);
        Ok(taken)
    }

    /// The next `N` octets.
    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let Some((taken, rest)) = self.octets.split_first_chunk::<N>() else {
            return Err(self.fault(Fault::Truncated(field)));
        };
        self.octets = rest;
        self.offset = self.offset.saturating_add(N);
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        self.array::<1>(field).map(|[octet]| octet)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, WireError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, WireError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// All that is left, if its length is within `bounds`.
    pub(crate) fn rest(
        &mut self,
        bounds: RangeInclusive<usize>,
        field: &'static str,
    ) -> Result<Vec<u8>, WireError> {
        if !bounds.contains(&self.left()) {
            return Err(self.fault(Fault::Length(field)));
        }
        self.take(self.left(), field).map(<[u8]>::to_vec)
    }

    /// A reader over the next `len` octets; this one goes on behind them.
    pub(crate) fn part(&mut self, len: usize, field: &'static str) -> Result<Self, WireError> {
        let offset = self.offset;
        self.take(len, field).map(|octets| Self::new(self.payload, octets, offset))
    }

    /// The same place, on behalf of another payload.
    pub(crate) const fn on_behalf_of(&self, payload: PayloadType) -> Self {
        Self::new(payload, self.octets, self.offset)
    }

    /// # Errors
    /// If octets are left over.
    pub(crate) const fn finish(&self) -> Result<(), WireError> {
        if self.is_done() { Ok(()) } else { Err(self.fault(Fault::Trailing)) }
    }
}

/// A length as a 16-bit field.
///
/// No value that the codec's own bounds allow is longer than the field can say. Should one be built all the same, that
/// is a fault of this program: a debug build stops, and a release build writes zero, which no receiver takes for a
/// length (every length counts its own header), so that the message is refused and not misread.
pub(crate) fn length16(length: usize) -> [u8; 2] {
    let field = u16::try_from(length);
    debug_assert!(field.is_ok(), "a structure of {length} octets was to be written");
    field.unwrap_or(0).to_be_bytes()
}

/// A count or a short length as an 8-bit field; as [`length16`] for what does not fit.
pub(crate) fn length8(length: usize) -> u8 {
    let field = u8::try_from(length);
    debug_assert!(field.is_ok(), "{length} items were to be written");
    field.unwrap_or(0)
}

/// Writes a structure whose 16-bit length field, `length_at` octets from its start, counts the whole of it.
pub(crate) fn with_length16(out: &mut Vec<u8>, length_at: usize, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    let length = length16(out.len().saturating_sub(start));
    let field = out.get_mut(start..).and_then(|whole| whole.get_mut(length_at..));
    if let Some(field) = field.and_then(|from| from.first_chunk_mut::<2>()) {
        *field = length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_when_too_little_is_left() {
        let mut reader = Reader::new(PayloadType::KE, &[1, 2, 3], 40);
        assert_eq!(reader.u8("field"), Ok(1));
        let error = WireError::Malformed {
            payload: PayloadType::KE,
            offset: 41,
            fault: Fault::Truncated("long field"),
        };
        assert_eq!(reader.u32("long field"), Err(error));
        assert_eq!(reader.take(usize::MAX, "long field"), Err(error));
        assert_eq!(reader.u16("field"), Ok(0x0203));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_part_ends_where_it_was_told_to() {
        let mut reader = Reader::new(PayloadType::KE, &[1, 2, 3, 4], 0);
        let mut part = reader.part(2, "part").unwrap();
        assert_eq!(part.u16("field"), Ok(0x0102));
        assert!(part.u8("field").is_err());
        assert_eq!(reader.offset(), 2);
        assert_eq!(reader.finish(), Err(reader.fault(Fault::Trailing)));
    }

    #[test]
    fn the_rest_is_bounded() {
        let reader = Reader::new(PayloadType::NONCE, &[0; 17], 0);
        assert!(reader.clone().rest(18..=20, "nonce").is_err());
        assert!(reader.clone().rest(1..=16, "nonce").is_err());
        assert_eq!(reader.clone().rest(17..=17, "nonce"), Ok(vec![0; 17]));
    }

    #[test]
    fn a_length_field_counts_its_own_structure() {
        let mut out = vec![9];
        with_length16(&mut out, 2, |out| out.extend([1, 2, 0, 0, 5]));
        assert_eq!(out, [9, 1, 2, 0, 5, 5]);
    }
}

//! The Encrypted payload and the Encrypted Fragment payload (RFC 7296 §3.14, RFC 7383 §2.5): where the sealed octets
//! of a message begin, and the octets around them. Sealing and opening is done above.

use super::error::{Fault, WireError};
use super::header::Header;
use super::octets::{Reader, length16};
use super::payload::{Chain, Payload, is_encrypted, read_chain_at};
use super::registry::PayloadType;

/// A message, as far as it can be read without keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Located {
    /// All its payloads are in clear.
    Plain(Vec<Payload>),
    /// It ends in an SK or SKF payload.
    Sealed(Sealed),
}

/// A message whose last payload is SK or SKF, located but not decrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The message's header.
    pub header: Header,
    /// Types of the payloads in clear in front of it. RFC 7296 puts none there; they are not read, and have no meaning.
    pub outer: Vec<PayloadType>,
    /// SK or SKF.
    pub kind: SealedKind,
    /// Type of the first payload inside; of a fragment, only the first one's counts (RFC 7383 §2.5).
    pub first: PayloadType,
    /// Octets from the message's start to the last before the IV: the associated data of an AEAD.
    pub associated_len: usize,
}

/// Which of the two encrypted payloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealedKind {
    /// SK: the whole message.
    Whole,
    /// SKF: a part of it.
    Fragment {
        /// Number of this fragment, from 1 to `total`.
        number: u16,
        /// How many there are.
        total: u16,
    },
}

/// Finds out what of `datagram` is sealed, and reads the payloads if nothing is.
///
/// # Errors
/// If the header's length is not that of the datagram, the chain of payloads is malformed, or an SK or SKF payload is not
/// the last.
pub fn locate(datagram: &[u8], header: &Header) -> Result<Located, WireError> {
    let mut reader = Reader::new(PayloadType::NONE, datagram, 0);
    if usize::try_from(header.length) != Ok(datagram.len()) {
        return Err(reader.fault(Fault::Length("message")));
    }
    reader.take(Header::LEN, "header")?;
    let octets = reader.take(reader.left(), "payloads")?;

    let mut outer = Vec::new();
    let mut chain = Chain::new(header.first, octets, Header::LEN);
    while let Some(item) = chain.next_item()? {
        if !is_encrypted(item.payload_type) {
            outer.push(item.payload_type);
            continue;
        }
        // Behind an encrypted payload the chain is over: this fails if octets are left.
        chain.next_item()?;
        let mut body = item.body;
        let kind = SealedKind::read(item.payload_type, &mut body)?;
        let associated_len = body.offset();
        return Ok(Located::Sealed(Sealed {
            header: *header,
            outer,
            kind,
            first: item.next,
            associated_len,
        }));
    }
    read_chain_at(header.first, octets, Header::LEN).map(Located::Plain)
}

impl SealedKind {
    /// The payload's type.
    #[must_use]
    pub const fn payload_type(self) -> PayloadType {
        match self {
            Self::Whole => PayloadType::ENCRYPTED,
            Self::Fragment { .. } => PayloadType::ENCRYPTED_FRAGMENT,
        }
    }

    /// Octets from the start of the payload to the last before the IV.
    #[must_use]
    pub const fn head_len(self) -> usize {
        match self {
            Self::Whole => 4,
            Self::Fragment { .. } => 8,
        }
    }

    fn read(payload_type: PayloadType, body: &mut Reader<'_>) -> Result<Self, WireError> {
        if payload_type != PayloadType::ENCRYPTED_FRAGMENT {
            return Ok(Self::Whole);
        }
        let at = body.clone();
        let number = body.u16("fragment number")?;
        let total = body.u16("total fragments")?;
        if number == 0 || number > total {
            return Err(at.fault(Fault::Value("fragment number")));
        }
        Ok(Self::Fragment { number, total })
    }
}

/// A message being sealed: the header and the head of its one payload are written, the rest is to be appended.
///
/// ```text
/// Draft::begin          header | SK head
/// the caller appends    IV | plaintext | padding | pad length      (append_padding)
/// Draft::finish         both lengths are right, room for the ICV is there
/// the caller encrypts   in place, with the associated data of Draft::split
/// ```
#[derive(Debug)]
#[must_use]
pub struct Draft {
    start: usize,
    kind: SealedKind,
}

impl Draft {
    /// Appends to `out` the header (its `first` and `length` are not looked at) and the head of an SK or SKF payload whose
    /// first payload inside is `first`.
    pub fn begin(header: &Header, kind: SealedKind, first: PayloadType, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        Header { first: kind.payload_type(), length: 0, ..*header }.write(out);
        out.extend([first.0, 0, 0, 0]);
        if let SealedKind::Fragment { number, total } = kind {
            out.extend(number.to_be_bytes());
            out.extend(total.to_be_bytes());
        }
        Self { start, kind }
    }

    /// Octets of the associated data.
    #[must_use]
    pub const fn associated_len(&self) -> usize {
        Header::LEN + self.kind.head_len()
    }

    /// Appends `icv_len` zero octets, the place of the ICV, and writes the two lengths, which are part of what the ICV
    /// covers. The message is to stay below 65,536 octets, which the path allows for in any case.
    pub fn finish(&self, icv_len: usize, out: &mut Vec<u8>) {
        out.resize(out.len().saturating_add(icv_len), 0);
        let message = out.len().saturating_sub(self.start);
        let payload = length16(message.saturating_sub(Header::LEN));
        let message = u32::try_from(message).unwrap_or(0).to_be_bytes();
        self.patch(out, Header::LEN - 4, &message);
        self.patch(out, Header::LEN + 2, &payload);
    }

    /// The associated data, and what is behind it: IV, plaintext, padding, ICV.
    #[must_use]
    pub fn split<'a>(&self, out: &'a mut [u8]) -> (&'a [u8], &'a mut [u8]) {
        let message = out.get_mut(self.start..).unwrap_or_default();
        let at = self.associated_len().min(message.len());
        let (associated, body) = message.split_at_mut(at);
        (associated, body)
    }

    fn patch(&self, out: &mut [u8], at: usize, octets: &[u8]) {
        let message = out.get_mut(self.start..).and_then(|message| message.get_mut(at..));
        if let Some(field) = message.and_then(|from| from.get_mut(..octets.len())) {
            field.copy_from_slice(octets);
        }
    }
}

/// Appends the padding and the pad length that make `plaintext_len` octets a multiple of `block`; `out` ends with
/// them. The least that does is taken: an AEAD or counter mode, with `block` 1, has none but the length octet.
///
/// `block` is 1 to 256.
pub fn append_padding(plaintext_len: usize, block: usize, out: &mut Vec<u8>) {
    debug_assert!((1..=256).contains(&block), "a block of {block} octets");
    let over = plaintext_len.wrapping_add(1).checked_rem(block).unwrap_or(0);
    let pad = if over == 0 { 0 } else { block.saturating_sub(over) };
    let pad_length = u8::try_from(pad).unwrap_or(0);
    out.extend(core::iter::repeat_n(0, usize::from(pad_length)));
    out.push(pad_length);
}

/// What decrypted octets hold in front of padding and pad length.
///
/// # Errors
/// If the pad length is missing or says more than there is.
pub fn strip_padding(decrypted: &[u8]) -> Result<&[u8], WireError> {
    let fault = |fault| WireError::Malformed {
        payload: PayloadType::ENCRYPTED,
        offset: decrypted.len().saturating_sub(1),
        fault,
    };
    let (&pad_length, padded) = decrypted.split_last().ok_or(fault(Fault::Missing("pad length")))?;
    let len = padded.len().checked_sub(usize::from(pad_length)).ok_or(fault(Fault::Value("pad length")))?;
    padded.get(..len).ok_or(fault(Fault::Value("pad length")))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::ids::IkeSpi;
    use crate::wire::captured::{AUTH_REQUEST, INIT_REQUEST, octets};
    use crate::wire::registry::ExchangeType;
    use crate::wire::{Flags, Unknown, Vendor, write_chain};

    fn header(first: PayloadType, length: usize) -> Header {
        Header {
            spi_i: IkeSpi(1),
            spi_r: IkeSpi(2),
            first,
            major: 2,
            minor: 0,
            exchange: ExchangeType::INFORMATIONAL,
            flags: Flags::new(true, false),
            message_id: 7,
            length: u32::try_from(length).unwrap(),
        }
    }

    /// A message of `payloads`, and behind them `tail`, an encrypted payload of type `kind`.
    fn message(payloads: &[Payload], kind: PayloadType, tail: &[u8]) -> (Header, Vec<u8>) {
        let mut body = Vec::new();
        let first = write_chain(payloads, &mut body);
        // The last payload of the chain says what follows it.
        let last = payloads.iter().rev().skip(1).fold(0, |at, payload| {
            let mut one = Vec::new();
            payload.write(&mut one);
            at + 4 + one.len()
        });
        let first = if payloads.is_empty() { kind } else { first };
        if let Some(next) = body.get_mut(last) {
            *next = kind.0;
        }
        body.extend(tail);
        let header = header(first, Header::LEN + body.len());
        let mut out = Vec::new();
        header.write(&mut out);
        out.extend(body);
        (header, out)
    }

    #[test]
    fn the_length_in_the_header_is_that_of_the_datagram() {
        let message = octets(INIT_REQUEST);
        let header = Header::read(&message).unwrap();
        for length in [0, 28, 295, 297, u32::MAX] {
            let error = locate(&message, &Header { length, ..header }).unwrap_err();
            assert!(
                matches!(error, WireError::Malformed { fault: Fault::Length("message"), .. }),
                "{length}"
            );
        }
        assert!(locate(&[0; 27], &Header { length: 27, ..header }).is_err());
    }

    #[test]
    fn payloads_in_clear_beside_sk_are_counted_and_not_read() {
        let outer = [Payload::Vendor(Vendor(vec![1, 2])), Payload::Vendor(Vendor(vec![]))];
        let (header, message) = message(&outer, PayloadType::ENCRYPTED, &[41, 0, 0, 6, 1, 2]);
        let Ok(Located::Sealed(sealed)) = locate(&message, &header) else { panic!("not located") };
        assert_eq!(sealed.outer, [PayloadType::VENDOR, PayloadType::VENDOR]);
        assert_eq!(sealed.first, PayloadType::NOTIFY);
        assert_eq!(sealed.associated_len, message.len() - 2);
        assert_eq!(sealed.header, header);
    }

    #[test]
    fn a_critical_unknown_payload_beside_sk_is_refused() {
        let unknown = Unknown { payload_type: PayloadType(99), critical: true, body: vec![] };
        let (header, message) = message(&[Payload::Unknown(unknown)], PayloadType::ENCRYPTED, &[41, 0, 0, 4]);
        let error = WireError::UnsupportedCritical(PayloadType(99));
        assert_eq!(locate(&message, &header), Err(error));
    }

    #[test]
    fn nothing_may_follow_an_encrypted_payload() {
        for tail in [&[41, 0, 0, 4, 0][..], &[41, 0, 0, 5], &[41, 0, 0, 3], &[41, 0, 0]] {
            let (header, message) = message(&[], PayloadType::ENCRYPTED, tail);
            assert!(locate(&message, &header).is_err(), "{tail:?}");
        }
    }

    #[test]
    fn a_fragment_has_a_number_within_the_total() {
        for (number, total, fits) in [(1, 1, true), (3, 3, true), (0, 3, false), (4, 3, false), (0, 0, false)]
        {
            let (header, message) =
                message(&[], PayloadType::ENCRYPTED_FRAGMENT, &[0, 0, 0, 8, 0, number, 0, total]);
            assert_eq!(locate(&message, &header).is_ok(), fits, "{number} of {total}");
        }
        let (header, message) = message(&[], PayloadType::ENCRYPTED_FRAGMENT, &[0, 0, 0, 7, 0, 1, 0]);
        assert!(locate(&message, &header).is_err(), "too short for its numbers");
    }

    #[test]
    fn a_draft_is_what_a_peer_would_have_written() {
        let mut datagram = octets(AUTH_REQUEST);
        let captured = datagram.split_off(4);
        let header = Header::read(&captured).unwrap();
        let mut out = vec![0; 4];
        let unfinished = Header { first: PayloadType::NONE, length: 99, ..header };
        let draft = Draft::begin(&unfinished, SealedKind::Whole, PayloadType::ID_I, &mut out);
        out.extend(&captured[32..captured.len() - 16]);
        draft.finish(16, &mut out);
        assert_eq!(out.len(), 4 + captured.len());
        let (associated, body) = draft.split(&mut out);
        assert_eq!(associated, &captured[..32]);
        assert_eq!(body[..8], captured[32..40]);
        assert_eq!(body[body.len() - 16..], [0; 16]);
    }

    #[test]
    fn padding_reaches_the_next_block_and_no_further() {
        for (plaintext_len, block, padding) in
            [(0, 16, 15), (14, 16, 1), (15, 16, 0), (16, 16, 15), (5, 1, 0), (5, 4, 2), (0, 256, 255)]
        {
            let mut out = Vec::new();
            append_padding(plaintext_len, block, &mut out);
            assert_eq!(out.len(), padding + 1, "{plaintext_len} in blocks of {block}");
            assert_eq!(out.last().copied().map(usize::from), Some(padding));
        }
    }

    #[test]
    fn padding_longer_than_the_octets_is_refused() {
        assert!(strip_padding(&[]).is_err());
        assert!(strip_padding(&[1]).is_err());
        assert!(strip_padding(&[9, 9, 3]).is_err());
        assert_eq!(strip_padding(&[9, 9, 2]), Ok(&[][..]));
        assert_eq!(strip_padding(&[0]), Ok(&[][..]));
        assert_eq!(strip_padding(&[7, 8, 0, 1]), Ok(&[7, 8][..]));
    }

    proptest! {
        #[test]
        fn a_finished_draft_is_located(
            inside in vec(any::<u8>(), 0..=300),
            icv_len in 0..=32_usize,
            before in 0..=4_usize,
            first: u8,
            fragment: Option<(u16, u16)>,
        ) {
            let kind = match fragment {
                None => SealedKind::Whole,
                Some((a, b)) => SealedKind::Fragment { number: a.min(b).max(1), total: a.max(b).max(1) },
            };
            let mut out = vec![0; before];
            let begun = header(PayloadType::NONE, 0);
            let draft = Draft::begin(&begun, kind, PayloadType(first), &mut out);
            out.extend(&inside);
            draft.finish(icv_len, &mut out);
            let message = &out[before..];
            let header = Header::read(message).unwrap();
            let associated_len = draft.associated_len();
            let expected =
                Sealed { header, outer: vec![], kind, first: PayloadType(first), associated_len };
            prop_assert_eq!(locate(message, &header), Ok(Located::Sealed(expected)));
            prop_assert_eq!(message.len(), associated_len + inside.len() + icv_len);
            prop_assert_eq!(&message[associated_len..associated_len + inside.len()], inside);
        }

        #[test]
        fn padding_is_taken_off_again(plaintext in vec(any::<u8>(), 0..=300), block in 1..=256_usize) {
            let mut padded = plaintext.clone();
            append_padding(plaintext.len(), block, &mut padded);
            prop_assert_eq!(padded.len() % block, 0);
            prop_assert!(padded.len() - plaintext.len() <= block);
            prop_assert_eq!(strip_padding(&padded), Ok(&plaintext[..]));
        }
    }
}

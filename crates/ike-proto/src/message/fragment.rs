//! IKE fragmentation (RFC 7383): a message too long for the path is sealed in parts, and put together from parts.
//!
//! A part is stored only after it is verified, and only if it belongs to the message that is awaited: who does not have the keys
//! cannot fill a reassembly.

use crate::crypto::provider::{Fault, Protection, ProtectionKeys};
use crate::message::protect::seal_octets;
use crate::wire::registry::PayloadType;
use crate::wire::{Header, SealedKind};

/// Fragments of one message.
pub const MOST_FRAGMENTS: u16 = 64;
/// Octets of one message, put together.
pub const MOST_OCTETS: usize = 64 * 1024;

/// Longest IKE message that is sent whole: 1280 octets less an IPv6 header, a UDP header and the non-ESP marker.
pub const LIMIT: usize = 1280 - 40 - 8 - 4;

/// Octets of text that fit a fragment of at most `limit` octets.
#[must_use]
pub fn room(protection: &dyn Protection, limit: usize) -> usize {
    let head = Header::LEN + SealedKind::Fragment { number: 1, total: 1 }.head_len();
    let around = head + protection.iv_len() + protection.icv_len();
    let padded = limit.saturating_sub(around) / protection.block_len() * protection.block_len();
    padded.saturating_sub(1).max(protection.block_len())
}

/// Whether `text` makes a message longer than `limit` if it is sent whole.
#[must_use]
pub fn is_too_long(protection: &dyn Protection, text: usize, limit: usize) -> bool {
    let padded = (text + 1).next_multiple_of(protection.block_len());
    Header::LEN + 4 + protection.iv_len() + padded + protection.icv_len() > limit
}

/// Seals a chain of payloads in parts; `sequence` gives each part a number of its own.
///
/// # Errors
/// A [`Fault`] if the keys do not fit the algorithm or there would be too many parts.
pub fn seal(
    protection: &dyn Protection,
    keys: &ProtectionKeys,
    header: &Header,
    (first, text): (PayloadType, &[u8]),
    limit: usize,
    mut sequence: impl FnMut() -> Option<u64>,
) -> Result<Vec<Vec<u8>>, Fault> {
    let pieces = text.chunks(room(protection, limit));
    let total =
        u16::try_from(pieces.len()).ok().filter(|total| *total <= MOST_FRAGMENTS).ok_or(Fault::Length)?;
    pieces
        .zip(1..=total)
        .map(|(piece, number)| {
            // RFC 7383 §2.5: only the first fragment says what the first payload is.
            let first = if number == 1 { first } else { PayloadType::NONE };
            let kind = SealedKind::Fragment { number, total };
            seal_octets(protection, keys, header, kind, first, piece, sequence().ok_or(Fault::Length)?)
        })
        .collect()
}

/// The parts of one message, as far as they have come.
#[derive(Debug)]
pub struct Reassembly {
    message_id: u32,
    response: bool,
    first: PayloadType,
    pieces: Vec<Option<Vec<u8>>>,
    missing: usize,
    octets: usize,
}

/// A whole message: type of its first payload, and its octets.
pub type Assembled = (PayloadType, Vec<u8>);

/// Adds a verified part to `slot`; gives the message when it is complete, and empties the slot.
///
/// One message at a time is put together. A part of another message, or with a greater total, begins anew; one with a
/// smaller total is dropped (RFC 7383 §2.6).
pub fn add(
    slot: &mut Option<Reassembly>,
    header: &Header,
    (number, total): (u16, u16),
    first: PayloadType,
    piece: &[u8],
) -> Option<Assembled> {
    if total > MOST_FRAGMENTS {
        return None;
    }
    let (message_id, response) = (header.message_id, header.flags.is_response());
    let current = slot
        .as_ref()
        .filter(|held| (held.message_id, held.response) == (message_id, response))
        .map(|held| held.pieces.len());
    match current {
        Some(held) if usize::from(total) < held => return None,
        Some(held) if usize::from(total) == held => {}
        _ => {
            *slot = Some(Reassembly {
                message_id,
                response,
                first: PayloadType::NONE,
                pieces: vec![None; usize::from(total)],
                missing: usize::from(total),
                octets: 0,
            });
        }
    }
    let held = slot.as_mut()?;
    let place = held.pieces.get_mut(usize::from(number).checked_sub(1)?)?;
    if place.is_some() {
        return None;
    }
    held.octets += piece.len();
    if held.octets > MOST_OCTETS {
        *slot = None;
        return None;
    }
    *place = Some(piece.to_vec());
    held.missing -= 1;
    if number == 1 {
        held.first = first;
    }
    if held.missing > 0 {
        return None;
    }
    let whole = slot.take()?;
    Some((whole.first, whole.pieces.into_iter().flatten().flatten().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::IkeSpi;
    use crate::wire::Flags;
    use crate::wire::registry::ExchangeType;

    fn header(message_id: u32) -> Header {
        Header {
            spi_i: IkeSpi(1),
            spi_r: IkeSpi(2),
            first: PayloadType::NONE,
            major: 2,
            minor: 0,
            exchange: ExchangeType::IKE_AUTH,
            flags: Flags::new(true, false),
            message_id,
            length: 0,
        }
    }

    #[test]
    fn parts_in_any_order_and_twice_make_the_message_once() {
        let mut slot = None;
        let part = |slot: &mut _, number: u16, text: &str| {
            let first = if number == 1 { PayloadType::ID_I } else { PayloadType::NONE };
            add(slot, &header(1), (number, 3), first, text.as_bytes())
        };
        assert_eq!(part(&mut slot, 3, "c"), None);
        assert_eq!(part(&mut slot, 1, "a"), None);
        assert_eq!(part(&mut slot, 3, "c"), None);
        assert_eq!(part(&mut slot, 2, "b"), Some((PayloadType::ID_I, b"abc".to_vec())));
        assert!(slot.is_none());
    }

    #[test]
    fn a_greater_total_begins_anew_and_a_smaller_one_is_dropped() {
        let mut slot = None;
        let none = PayloadType::NONE;
        assert_eq!(add(&mut slot, &header(1), (1, 2), none, b"a"), None);
        assert_eq!(add(&mut slot, &header(1), (1, 3), none, b"x"), None);
        assert_eq!(add(&mut slot, &header(1), (2, 2), none, b"b"), None);
        assert_eq!(add(&mut slot, &header(1), (2, 3), none, b"y"), None);
        assert_eq!(add(&mut slot, &header(1), (3, 3), none, b"z"), Some((none, b"xyz".to_vec())));
    }

    #[test]
    fn another_message_begins_anew() {
        let mut slot = None;
        let none = PayloadType::NONE;
        assert_eq!(add(&mut slot, &header(1), (1, 2), none, b"a"), None);
        assert_eq!(add(&mut slot, &header(2), (2, 2), none, b"b"), None);
        assert_eq!(add(&mut slot, &header(1), (2, 2), none, b"b"), None);
    }

    #[test]
    fn what_is_too_much_is_not_stored() {
        let mut slot = None;
        let none = PayloadType::NONE;
        assert_eq!(add(&mut slot, &header(1), (1, MOST_FRAGMENTS + 1), none, b"a"), None);
        assert!(slot.is_none());
        let long = vec![0; MOST_OCTETS / 2 + 1];
        assert_eq!(add(&mut slot, &header(1), (1, 3), none, &long), None);
        assert_eq!(add(&mut slot, &header(1), (2, 3), none, &long), None);
        assert!(slot.is_none());
    }
}

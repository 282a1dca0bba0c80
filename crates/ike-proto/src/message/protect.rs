//! Sealing and opening of SK payloads (RFC 7296 §3.14, RFC 5282).

use crate::crypto::provider::{Fault, Protection, ProtectionKeys};
use crate::wire::encrypted::{append_padding, strip_padding};
use crate::wire::registry::PayloadType;
use crate::wire::{Draft, Header, Payload, Sealed, SealedKind, write_chain};

/// Seals `payloads` into one message; `sequence` makes its IV and is never used twice with the same keys.
///
/// # Errors
/// A [`Fault`] if the keys do not fit the algorithm.
pub fn seal(
    protection: &dyn Protection,
    keys: &ProtectionKeys,
    header: &Header,
    payloads: &[Payload],
    sequence: u64,
) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    let first = write_chain(payloads, &mut text);
    seal_octets(protection, keys, header, SealedKind::Whole, first, &text, sequence)
}

/// Seals octets that are a chain of payloads, or a part of one; `sequence` makes the IV and is never used twice with the same
/// keys.
///
/// # Errors
/// A [`Fault`] if the keys do not fit the algorithm.
pub fn seal_octets(
    protection: &dyn Protection,
    keys: &ProtectionKeys,
    header: &Header,
    kind: SealedKind,
    first: PayloadType,
    text: &[u8],
    sequence: u64,
) -> Result<Vec<u8>, Fault> {
    let mut message = Vec::with_capacity(Header::LEN + 64 + text.len());
    let draft = Draft::begin(header, kind, first, &mut message);
    protection.initialization_vector(keys, sequence, &mut message);
    message.extend_from_slice(text);
    append_padding(text.len(), protection.block_len(), &mut message);
    draft.finish(protection.icv_len(), &mut message);
    let (associated, body) = draft.split(&mut message);
    let body_len = body.len().checked_sub(protection.icv_len()).ok_or(Fault::Length)?;
    let (body, place) = body.split_at_mut_checked(body_len).ok_or(Fault::Length)?;
    let (iv, text) = body.split_at_mut_checked(protection.iv_len()).ok_or(Fault::Length)?;
    let icv = protection.seal(keys, iv, associated, text)?;
    if icv.len() != place.len() {
        return Err(Fault::Length);
    }
    place.copy_from_slice(&icv);
    Ok(message)
}

/// Opens a located message in place and returns the decrypted octets without padding, not yet read.
///
/// # Errors
/// [`Fault::Unauthentic`] if it is not the peer's, [`Fault::Length`] if it is too short.
pub fn open_octets<'a>(
    protection: &dyn Protection,
    keys: &ProtectionKeys,
    sealed: &Sealed,
    datagram: &'a mut [u8],
) -> Result<&'a [u8], Fault> {
    let (associated, body) = datagram.split_at_mut_checked(sealed.associated_len).ok_or(Fault::Length)?;
    let text_len = body.len().checked_sub(protection.icv_len()).ok_or(Fault::Length)?;
    let (body, icv) = body.split_at_mut_checked(text_len).ok_or(Fault::Length)?;
    let (iv, text) = body.split_at_mut_checked(protection.iv_len()).ok_or(Fault::Length)?;
    if text.is_empty() || !text.len().is_multiple_of(protection.block_len()) {
        return Err(Fault::Length);
    }
    protection.open(keys, iv, associated, text, icv)?;
    // The text is the peer's; a bad pad length is its own mistake, and the message is as good as none.
    strip_padding(text).map_err(|_| Fault::Length)
}

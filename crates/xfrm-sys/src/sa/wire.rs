//! The octets of an SA.

use super::{Encap, Mode, Replay, ReplayEsn, Sa, SaDirection, SaFlags, SaId, Stats};
use crate::algo::{Aead, Authentication, Encryption};
use crate::attr::{Mark, Raw, attributes};
use crate::codec::{Malformed, Reader, Writer, family_of};
use crate::constants::{
    XFRMA_ALG_AEAD, XFRMA_ALG_AUTH, XFRMA_ALG_AUTH_TRUNC, XFRMA_ALG_CRYPT, XFRMA_ENCAP, XFRMA_IF_ID,
    XFRMA_LASTUSED, XFRMA_MARK, XFRMA_PAD, XFRMA_REPLAY_ESN_VAL, XFRMA_REPLAY_VAL, XFRMA_SA_DIR,
    XFRMA_SA_EXTRA_FLAGS, XFRMA_SA_PCPU, XFRMA_SET_MARK, XFRMA_SET_MARK_MASK, XFRMA_TFCPAD,
};
use crate::lifetime::{Limits, Usage};
use crate::selector::{Protocol, Selector};

/// The size of `struct xfrm_usersa_info`.
pub(crate) const INFO_LEN: usize = 224;

/// An SA of which only `struct xfrm_usersa_info` was read so far.
pub(crate) struct Info {
    pub(crate) sa: Sa,
}

impl Info {
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        const WHAT: &str = "xfrm_usersa_info";
        let mut from = from.part(WHAT, INFO_LEN)?;
        let mut selector = from.part("xfrm_selector", 56)?;
        let destination = from.address()?;
        let spi = from.be32()?;
        let protocol = Protocol(from.u8()?);
        from.skip(3)?;
        let source = from.address()?;
        let limits = Limits::read(&mut from)?;
        let usage = Usage::read(&mut from)?;
        let stats = Stats { replay_window: from.u32()?, replay: from.u32()?, integrity_failed: from.u32()? };
        let seq = from.u32()?;
        let reqid = from.u32()?;
        let family = from.u16()?;
        let mode = Mode(from.u8()?);
        let replay_window = from.u8()?;
        let flags = SaFlags(from.u8()?);
        let id = SaId { destination: destination.of(WHAT, family)?, spi, protocol };
        let selector = Selector::read(&mut selector, family)?;
        let sa = Sa::new(source.of(WHAT, family)?, id);
        Ok(Self { sa: Sa { selector, mode, reqid, seq, flags, replay_window, limits, usage, stats, ..sa } })
    }

    /// Completes the SA from the attributes behind it. Where one is repeated the last counts, as in the kernel.
    pub(crate) fn with_attributes(self, from: Reader<'_>) -> Result<Sa, Malformed> {
        let mut sa = self.sa;
        let mut plain_authentication = None;
        let mut set_mark = None;
        let mut set_mark_mask = None;
        for attribute in attributes(from) {
            let attribute = attribute?;
            match attribute.kind {
                XFRMA_ALG_AUTH => {
                    plain_authentication = Some(Authentication::read(attribute.reader("XFRMA_ALG_AUTH"))?);
                }
                XFRMA_SET_MARK => set_mark = Some(attribute.u32("XFRMA_SET_MARK")?),
                XFRMA_SET_MARK_MASK => set_mark_mask = Some(attribute.u32("XFRMA_SET_MARK_MASK")?),
                _ => read_attribute(&mut sa, &attribute)?,
            }
        }
        // The kernel dumps both forms; the one with the truncation length says more.
        sa.authentication = sa.authentication.or(plain_authentication);
        // Without a mask all bits count; a mask without a mark does nothing.
        sa.output_mark = set_mark.map(|value| Mark { value, mask: set_mark_mask.unwrap_or(u32::MAX) });
        Ok(sa)
    }
}

fn read_attribute(sa: &mut Sa, attribute: &Raw<'_>) -> Result<(), Malformed> {
    match attribute.kind {
        XFRMA_ALG_AEAD => sa.aead = Some(Aead::read(attribute.reader("XFRMA_ALG_AEAD"))?),
        XFRMA_ALG_CRYPT => sa.encryption = Some(Encryption::read(attribute.reader("XFRMA_ALG_CRYPT"))?),
        XFRMA_ALG_AUTH_TRUNC => {
            sa.authentication =
                Some(Authentication::read_truncated(attribute.reader("XFRMA_ALG_AUTH_TRUNC"))?);
        }
        XFRMA_ENCAP => {
            sa.encap = Some(Encap::read(attribute.reader("XFRMA_ENCAP"), family_of(sa.id.destination))?);
        }
        XFRMA_REPLAY_VAL => sa.replay = Some(Replay::read(attribute.reader("XFRMA_REPLAY_VAL"))?),
        XFRMA_REPLAY_ESN_VAL => {
            sa.replay_esn = Some(ReplayEsn::read(attribute.reader("XFRMA_REPLAY_ESN_VAL"))?)
        }
        XFRMA_LASTUSED => sa.last_used = Some(attribute.reader("XFRMA_LASTUSED").u64()?),
        XFRMA_MARK => sa.mark = Some(Mark::read(attribute.reader("XFRMA_MARK"))?),
        XFRMA_IF_ID => sa.if_id = Some(attribute.u32("XFRMA_IF_ID")?),
        XFRMA_SA_EXTRA_FLAGS => sa.extra_flags = Some(attribute.u32("XFRMA_SA_EXTRA_FLAGS")?),
        XFRMA_SA_DIR => sa.direction = Some(SaDirection(attribute.reader("XFRMA_SA_DIR").u8()?)),
        XFRMA_SA_PCPU => sa.pcpu = Some(attribute.u32("XFRMA_SA_PCPU")?),
        XFRMA_TFCPAD => sa.tfc_pad = Some(attribute.u32("XFRMA_TFCPAD")?),
        XFRMA_PAD => {}
        _ => sa.other.push(attribute.kept()),
    }
    Ok(())
}

impl Sa {
    /// Reads `struct xfrm_usersa_info` and the attributes up to the end of the message.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Info::read(from)?.with_attributes(*from)
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        write_info(self, to);
        self.write_attributes(to);
    }

    /// Writes the attributes in the kernel's order.
    pub(crate) fn write_attributes(&self, to: &mut Writer) {
        write_word(to, XFRMA_SA_EXTRA_FLAGS, self.extra_flags);
        if let Some(seconds) = self.last_used {
            to.attribute(XFRMA_LASTUSED, |to| to.u64(seconds));
        }
        if let Some(aead) = &self.aead {
            to.attribute(XFRMA_ALG_AEAD, |to| aead.write(to));
        }
        if let Some(authentication) = &self.authentication {
            let truncated = authentication.truncation_bits.is_some();
            let kind = if truncated { XFRMA_ALG_AUTH_TRUNC } else { XFRMA_ALG_AUTH };
            to.attribute(kind, |to| authentication.write(to));
        }
        if let Some(encryption) = &self.encryption {
            to.attribute(XFRMA_ALG_CRYPT, |to| encryption.write(to));
        }
        if let Some(encap) = &self.encap {
            to.attribute(XFRMA_ENCAP, |to| encap.write(to));
        }
        write_word(to, XFRMA_TFCPAD, self.tfc_pad);
        if let Some(mark) = self.mark {
            to.attribute(XFRMA_MARK, |to| mark.write(to));
        }
        write_word(to, XFRMA_SET_MARK, self.output_mark.map(|mark| mark.value));
        write_word(to, XFRMA_SET_MARK_MASK, self.output_mark.map(|mark| mark.mask));
        if let Some(replay) = &self.replay_esn {
            to.attribute(XFRMA_REPLAY_ESN_VAL, |to| replay.write(to));
        }
        if let Some(replay) = self.replay {
            to.attribute(XFRMA_REPLAY_VAL, |to| replay.write(to));
        }
        write_word(to, XFRMA_IF_ID, self.if_id);
        if let Some(direction) = self.direction {
            to.attribute(XFRMA_SA_DIR, |to| to.u8(direction.0));
        }
        write_word(to, XFRMA_SA_PCPU, self.pcpu);
        for attribute in &self.other {
            attribute.write(to);
        }
    }

    /// Whether the addresses are of one family.
    pub(crate) fn is_consistent(&self) -> bool {
        family_of(self.source) == family_of(self.id.destination) && self.selector.is_consistent()
    }
}

fn write_word(to: &mut Writer, kind: u16, word: Option<u32>) {
    if let Some(word) = word {
        to.attribute(kind, |to| to.u32(word));
    }
}

/// Writes `struct xfrm_usersa_info`.
pub(crate) fn write_info(sa: &Sa, to: &mut Writer) {
    sa.selector.write(to);
    to.address(sa.id.destination);
    to.be32(sa.id.spi);
    to.u8(sa.id.protocol.0);
    to.zeros(3);
    to.address(sa.source);
    sa.limits.write(to);
    sa.usage.write(to);
    to.u32(sa.stats.replay_window);
    to.u32(sa.stats.replay);
    to.u32(sa.stats.integrity_failed);
    to.u32(sa.seq);
    to.u32(sa.reqid);
    to.u16(family_of(sa.id.destination));
    to.u8(sa.mode.0);
    to.u8(sa.replay_window);
    to.u8(sa.flags.0);
    to.zeros(7);
}

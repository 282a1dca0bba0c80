//! `struct xfrm_replay_state` and `struct xfrm_replay_state_esn` (RFC 4303 §3.4.3 and appendix A).

use crate::codec::{Fault, Malformed, Reader, Writer};
use crate::constants::XFRMA_REPLAY_ESN_MAX;

/// The state of a replay window of at most 32 packets (`XFRMA_REPLAY_VAL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Replay {
    /// The last sequence number sent.
    pub oseq: u32,
    /// The highest sequence number received.
    pub seq: u32,
    /// Which of the packets up to `seq` were received, bit 0 for `seq`.
    pub bitmap: u32,
}

impl Replay {
    pub(crate) fn read(mut from: Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { oseq: from.u32()?, seq: from.u32()?, bitmap: from.u32()? })
    }

    pub(crate) fn write(self, to: &mut Writer) {
        to.u32(self.oseq);
        to.u32(self.seq);
        to.u32(self.bitmap);
    }
}

/// The state of a replay window of up to 4096 packets, with or without extended sequence numbers
/// (`XFRMA_REPLAY_ESN_VAL`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayEsn {
    /// The low half of the last sequence number sent.
    pub oseq: u32,
    /// The low half of the highest sequence number received.
    pub seq: u32,
    /// The high half of `oseq`.
    pub oseq_hi: u32,
    /// The high half of `seq`.
    pub seq_hi: u32,
    /// The width of the window, in packets.
    pub window: u32,
    /// Which packets in the window were received, 32 a word.
    pub bitmap: Vec<u32>,
}

impl ReplayEsn {
    /// A new window of `window` packets. The kernel refuses more than 4096, and 0 with extended sequence numbers.
    pub fn new(window: u32) -> Self {
        let words = window.min(XFRMA_REPLAY_ESN_MAX).div_ceil(32);
        Self { oseq: 0, seq: 0, oseq_hi: 0, seq_hi: 0, window, bitmap: (0..words).map(|_| 0).collect() }
    }

    pub(crate) fn read(mut from: Reader<'_>) -> Result<Self, Malformed> {
        let words = from.u32()?;
        let mut state = Self {
            oseq: from.u32()?,
            seq: from.u32()?,
            oseq_hi: from.u32()?,
            seq_hi: from.u32()?,
            window: from.u32()?,
            bitmap: Vec::new(),
        };
        if from.is_empty() && words <= XFRMA_REPLAY_ESN_MAX / 32 {
            // The kernel lets a request leave out an empty bitmap, and iproute2 does.
            state.bitmap = (0..words).map(|_| 0).collect();
            return Ok(state);
        }
        let size = usize::try_from(words).ok().and_then(|words| words.checked_mul(4));
        let mut bitmap = from.part("replay bitmap", size.ok_or(from.fault(Fault::Length(words.into())))?)?;
        while !bitmap.is_empty() {
            state.bitmap.push(bitmap.u32()?);
        }
        Ok(state)
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.length32(self.bitmap.len());
        to.u32(self.oseq);
        to.u32(self.seq);
        to.u32(self.oseq_hi);
        to.u32(self.seq_hi);
        to.u32(self.window);
        for word in &self.bitmap {
            to.u32(*word);
        }
    }
}

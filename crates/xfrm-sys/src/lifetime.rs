//! `struct xfrm_lifetime_cfg` and `struct xfrm_lifetime_cur`: what an SA or a policy may use, and has used.

use crate::codec::{Malformed, Reader, Writer};
use crate::constants::XFRM_INF;

/// The limits of an SA or a policy. At a soft limit the kernel raises an expire event, at a hard limit it also
/// removes the object.
///
/// Octets and packets: no limit is [`XFRM_INF`], and 0 expires with the first packet.
/// Seconds, of the wall clock: no limit is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets until the soft expire.
    pub soft_bytes: u64,
    /// Octets until the hard expire.
    pub hard_bytes: u64,
    /// Packets until the soft expire.
    pub soft_packets: u64,
    /// Packets until the hard expire.
    pub hard_packets: u64,
    /// Seconds since it was added until the soft expire.
    pub soft_add_seconds: u64,
    /// Seconds since it was added until the hard expire.
    pub hard_add_seconds: u64,
    /// Seconds since its first use until the soft expire.
    pub soft_use_seconds: u64,
    /// Seconds since its first use until the hard expire.
    pub hard_use_seconds: u64,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self {
        soft_bytes: XFRM_INF,
        hard_bytes: XFRM_INF,
        soft_packets: XFRM_INF,
        hard_packets: XFRM_INF,
        soft_add_seconds: 0,
        hard_add_seconds: 0,
        soft_use_seconds: 0,
        hard_use_seconds: 0,
    };

    /// Reads 64 octets.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut from = from.part("xfrm_lifetime_cfg", 64)?;
        Ok(Self {
            soft_bytes: from.u64()?,
            hard_bytes: from.u64()?,
            soft_packets: from.u64()?,
            hard_packets: from.u64()?,
            soft_add_seconds: from.u64()?,
            hard_add_seconds: from.u64()?,
            soft_use_seconds: from.u64()?,
            hard_use_seconds: from.u64()?,
        })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.u64(self.soft_bytes);
        to.u64(self.hard_bytes);
        to.u64(self.soft_packets);
        to.u64(self.hard_packets);
        to.u64(self.soft_add_seconds);
        to.u64(self.hard_add_seconds);
        to.u64(self.soft_use_seconds);
        to.u64(self.hard_use_seconds);
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::NONE
    }
}

/// What an SA or a policy has used. The kernel fills it in; what a request says of it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Octets carried.
    pub bytes: u64,
    /// Packets carried.
    pub packets: u64,
    /// When it was added: seconds of the wall clock since 1970.
    pub add_time: u64,
    /// When it was first used (an SA) or last used (a policy): seconds of the wall clock since 1970, 0 for never.
    pub use_time: u64,
}

impl Usage {
    /// Reads 32 octets.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut from = from.part("xfrm_lifetime_cur", 32)?;
        Ok(Self { bytes: from.u64()?, packets: from.u64()?, add_time: from.u64()?, use_time: from.u64()? })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.u64(self.bytes);
        to.u64(self.packets);
        to.u64(self.add_time);
        to.u64(self.use_time);
    }
}

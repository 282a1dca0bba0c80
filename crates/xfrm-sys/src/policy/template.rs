//! `struct xfrm_user_tmpl`: an SA that a policy asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Share;
use crate::codec::{Malformed, Reader, Writer, family_of, family_or};
use crate::sa::Mode;
use crate::selector::Protocol;

/// Whether packets must go through the SA (setkey's `require` and `use`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// They must.
    Required,
    /// They do if there is one.
    Optional,
}

/// An SA that a policy asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// The SA's destination; for transport mode unspecified, which means the packet's.
    pub destination: IpAddr,
    /// The SA's SPI, or 0 for any.
    pub spi: u32,
    /// The SA's protocol.
    pub protocol: Protocol,
    /// The SA's source; for transport mode unspecified, which means the packet's.
    pub source: IpAddr,
    /// The SA's reqid. Outbound it is compared as it is, 0 too; inbound 0 means any.
    pub reqid: u32,
    /// The SA's mode.
    pub mode: Mode,
    /// Who may share the SA.
    pub share: Share,
    /// Whether it must be there.
    pub level: Level,
    /// A bit for each integrity algorithm allowed (PF_KEY's numbers).
    pub aalgos: u32,
    /// A bit for each cipher allowed.
    pub ealgos: u32,
    /// A bit for each compression algorithm allowed.
    pub calgos: u32,
}

impl Template {
    /// A required transport-mode ESP SA with any algorithms, for packets of the same family as `like`.
    pub const fn esp_transport(like: IpAddr) -> Self {
        let unspecified = match like {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self {
            destination: unspecified,
            spi: 0,
            protocol: Protocol::ESP,
            source: unspecified,
            reqid: 0,
            mode: Mode::TRANSPORT,
            share: Share::ANY,
            level: Level::Required,
            aalgos: u32::MAX,
            ealgos: u32::MAX,
            calgos: u32::MAX,
        }
    }

    /// A required tunnel-mode ESP SA with any algorithms.
    pub const fn esp_tunnel(source: IpAddr, destination: IpAddr) -> Self {
        Self { source, destination, mode: Mode::TUNNEL, ..Self::esp_transport(destination) }
    }

    /// Reads 64 octets; where they name no family it is the policy's, as in the kernel.
    pub(crate) fn read(from: &mut Reader<'_>, family: u16) -> Result<Self, Malformed> {
        const WHAT: &str = "xfrm_user_tmpl";
        let mut from = from.part(WHAT, 64)?;
        let destination = from.address()?;
        let spi = from.be32()?;
        let protocol = Protocol(from.u8()?);
        from.skip(3)?;
        let family = family_or(from.u16()?, family);
        from.skip(2)?;
        let source = from.address()?;
        let reqid = from.u32()?;
        let mode = Mode(from.u8()?);
        let share = Share(from.u8()?);
        let level = if from.u8()? == 0 { Level::Required } else { Level::Optional };
        from.skip(1)?;
        Ok(Self {
            destination: destination.of(WHAT, family)?,
            spi,
            protocol,
            source: source.of(WHAT, family)?,
            reqid,
            mode,
            share,
            level,
            aalgos: from.u32()?,
            ealgos: from.u32()?,
            calgos: from.u32()?,
        })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.address(self.destination);
        to.be32(self.spi);
        to.u8(self.protocol.0);
        to.zeros(3);
        to.u16(family_of(self.destination));
        to.zeros(2);
        to.address(self.source);
        to.u32(self.reqid);
        to.u8(self.mode.0);
        to.u8(self.share.0);
        to.u8(match self.level {
            Level::Required => 0,
            Level::Optional => 1,
        });
        to.zeros(1);
        to.u32(self.aalgos);
        to.u32(self.ealgos);
        to.u32(self.calgos);
    }

    /// Whether both addresses are of one family.
    pub(crate) fn is_consistent(&self) -> bool {
        family_of(self.source) == family_of(self.destination)
    }
}

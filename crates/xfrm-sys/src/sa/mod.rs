//! Security associations: `struct xfrm_usersa_info` and its attributes.

mod encap;
mod id;
mod replay;
mod wire;

use std::fmt;
use std::net::IpAddr;

pub use encap::{Encap, EncapType};
pub use id::{SaFilter, SaId, SaQuery, SpiRequest};
pub use replay::{Replay, ReplayEsn};
pub(crate) use wire::{INFO_LEN, Info, write_info};

use crate::algo::{Aead, Authentication, Encryption};
use crate::attr::{Attribute, Mark};
use crate::constants::{NLA_TYPE_MASK, XFRMA_ALG_COMP};
use crate::lifetime::{Limits, Usage};
use crate::newtype::{flags, registry};
use crate::selector::Selector;

registry! {
    /// How an SA wraps packets (`XFRM_MODE_*`).
    Mode(u8) {
        /// The payload of an IP packet.
        TRANSPORT = 0 => "transport",
        /// A whole IP packet.
        TUNNEL = 1 => "tunnel",
        /// Mobile IPv6 route optimization.
        ROUTEOPTIMIZATION = 2 => "ro",
        /// Mobile IPv6.
        IN_TRIGGER = 3 => "in_trigger",
        /// Bound end-to-end tunnel.
        BEET = 4 => "beet",
    }
}

registry! {
    /// Which way an SA carries packets (`XFRMA_SA_DIR`, Linux 6.10).
    SaDirection(u8) {
        /// Inbound.
        IN = 1 => "in",
        /// Outbound.
        OUT = 2 => "out",
    }
}

flags! {
    /// `XFRM_STATE_*`.
    SaFlags(u8) {
        /// Leave ECN alone.
        NOECN = 1,
        /// Copy DSCP to the inner header.
        DECAP_DSCP = 2,
        /// No path MTU discovery.
        NOPMTUDISC = 4,
        /// Wildcard receive.
        WILDRECV = 8,
        /// ICMP errors may use it.
        ICMP = 16,
        /// The selector may be of either family.
        AF_UNSPEC = 32,
        /// AH with 4-octet alignment.
        ALIGN4 = 64,
        /// Extended sequence numbers (RFC 4303 §2.2.1); needs [`ReplayEsn`].
        ESN = 128,
    }
}

/// One SA, all of what `XFRM_MSG_NEWSA` says of it.
///
/// Written in a request, `usage`, `stats` and `last_used` are ignored by the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sa {
    /// Destination, SPI and protocol.
    pub id: SaId,
    /// Source.
    pub source: IpAddr,
    /// Which inner packets it is for.
    pub selector: Selector,
    /// Transport or tunnel.
    pub mode: Mode,
    /// The id a policy's template asks for, or 0.
    pub reqid: u32,
    /// The sequence number of the acquire it answers, or 0: adding it then removes the acquire's larval state.
    pub seq: u32,
    /// Its flags.
    pub flags: SaFlags,
    /// `XFRMA_SA_EXTRA_FLAGS`.
    pub extra_flags: Option<u32>,
    /// AEAD; excludes the next two.
    pub aead: Option<Aead>,
    /// Cipher.
    pub encryption: Option<Encryption>,
    /// Integrity.
    pub authentication: Option<Authentication>,
    /// UDP encapsulation.
    pub encap: Option<Encap>,
    /// The old replay window in packets, at most 32; 0 where `replay_esn` is given.
    pub replay_window: u8,
    /// The state of the old replay window.
    pub replay: Option<Replay>,
    /// The state of a replay window with or without ESN, up to 4096 packets.
    pub replay_esn: Option<ReplayEsn>,
    /// When it expires.
    pub limits: Limits,
    /// What it has carried.
    pub usage: Usage,
    /// What it has refused.
    pub stats: Stats,
    /// When it was last used: seconds of the wall clock since 1970.
    pub last_used: Option<u64>,
    /// Only packets with this mark.
    pub mark: Option<Mark>,
    /// The mark it gives to the packets it made.
    pub output_mark: Option<Mark>,
    /// The xfrm interface's id.
    pub if_id: Option<u32>,
    /// Which way it carries packets, where the kernel is told.
    pub direction: Option<SaDirection>,
    /// The CPU it is for (RFC 9611).
    pub pcpu: Option<u32>,
    /// Traffic flow confidentiality padding, in octets.
    pub tfc_pad: Option<u32>,
    /// Attributes this crate has no type for.
    pub other: Vec<Attribute>,
}

impl Sa {
    /// A transport-mode SA without keys or limits.
    pub const fn new(source: IpAddr, id: SaId) -> Self {
        Self {
            id,
            source,
            selector: Selector::unspecified(id.destination),
            mode: Mode::TRANSPORT,
            reqid: 0,
            seq: 0,
            flags: SaFlags(0),
            extra_flags: None,
            aead: None,
            encryption: None,
            authentication: None,
            encap: None,
            replay_window: 0,
            replay: None,
            replay_esn: None,
            limits: Limits::NONE,
            usage: Usage { bytes: 0, packets: 0, add_time: 0, use_time: 0 },
            stats: Stats { replay_window: 0, replay: 0, integrity_failed: 0 },
            last_used: None,
            mark: None,
            output_mark: None,
            if_id: None,
            direction: None,
            pcpu: None,
            tfc_pad: None,
            other: Vec::new(),
        }
    }

    /// Whether it has no algorithm, compression included: a state the kernel made for an acquire, or that an SPI was
    /// reserved with.
    pub fn is_larval(&self) -> bool {
        self.aead.is_none()
            && self.encryption.is_none()
            && self.authentication.is_none()
            && !self.other.iter().any(|other| other.kind & NLA_TYPE_MASK == XFRMA_ALG_COMP)
    }
}

/// `struct xfrm_stats`: packets that an SA refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Packets older than the window.
    pub replay_window: u32,
    /// Packets seen before.
    pub replay: u32,
    /// Packets whose integrity check failed.
    pub integrity_failed: u32,
}

impl fmt::Display for Sa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} {} reqid {}", self.id, self.source, self.mode, self.reqid)
    }
}

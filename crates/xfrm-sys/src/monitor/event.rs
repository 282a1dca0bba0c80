//! What the kernel tells of its own accord.

use std::net::IpAddr;

use crate::attr::Attribute;
use crate::codec::{Malformed, Reader, Writer, family_of};
use crate::constants::{NLA_TYPE_MASK, XFRMA_SA_DIR, XFRMA_SA_PCPU};
use crate::message::{Body, Message};
use crate::policy::{Policy, PolicyQuery};
use crate::sa::{Sa, SaDirection, SaId, SpiRequest};
use crate::selector::{Protocol, Selector};

/// A packet met a policy and no SA (`XFRM_MSG_ACQUIRE`). The kernel keeps a larval state for it, and raises no other
/// acquire for these addresses and template until that state is replaced, deleted or `net.core.xfrm_acq_expires`
/// seconds old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// The SA wanted: its destination and protocol; the SPI is 0, or the template's.
    pub id: SaId,
    /// Its source.
    pub source: IpAddr,
    /// The packet, as the larval state's selector.
    pub selector: Selector,
    /// The policy, with its templates, mark and xfrm interface.
    pub policy: Policy,
    /// The integrity algorithms allowed, as in the template.
    pub aalgos: u32,
    /// The ciphers allowed.
    pub ealgos: u32,
    /// The compression algorithms allowed.
    pub calgos: u32,
    /// The acquire's number, never 0: for [`Sa::seq`] and [`SpiRequest::seq`].
    pub seq: u32,
    /// The larval state's direction, where the kernel says it (Linux 6.10).
    pub direction: Option<SaDirection>,
    /// The CPU the packet was sent on, for a policy that wants to know it (Linux 6.13).
    pub pcpu: Option<u32>,
}

impl Acquire {
    /// What gives the acquire's larval state an SPI between `min` and `max`, both included.
    pub fn spi_request(&self, min: u32, max: u32) -> SpiRequest {
        let template = self.policy.templates.iter().find(|template| template.protocol == self.id.protocol);
        let request = SpiRequest::esp(self.source, self.id.destination);
        SpiRequest {
            protocol: self.id.protocol,
            mode: template.map_or(request.mode, |template| template.mode),
            reqid: template.map_or(request.reqid, |template| template.reqid),
            min,
            max,
            seq: self.seq,
            mark: self.policy.mark,
            if_id: self.policy.if_id,
            direction: self.direction,
            pcpu: self.pcpu,
            ..request
        }
    }

    /// Reads `struct xfrm_user_acquire` and the attributes up to the end of the message.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        const WHAT: &str = "xfrm_user_acquire";
        let mut info = from.part(WHAT, 280)?;
        let destination = info.address()?;
        let spi = info.be32()?;
        let protocol = Protocol(info.u8()?);
        info.skip(3)?;
        let source = info.address()?;
        let mut selector = info.part("xfrm_selector", 56)?;
        let mut policy = Policy::read_info(&mut info)?.with_attributes(*from)?;
        let (direction, pcpu) = take_larval(&mut policy.other)?;
        // No field says the addresses' family: it is the template's, which for a tunnel is not the packet's.
        let template = policy.templates.iter().find(|template| template.protocol == protocol);
        let family =
            family_of(template.map_or(policy.selector.destination.address, |template| template.destination));
        let selector = Selector::read(&mut selector, family_of(policy.selector.destination.address))?;
        Ok(Self {
            id: SaId { destination: destination.of(WHAT, family)?, spi, protocol },
            source: source.of(WHAT, family)?,
            selector,
            policy,
            aalgos: info.u32()?,
            ealgos: info.u32()?,
            calgos: info.u32()?,
            seq: info.u32()?,
            direction,
            pcpu,
        })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.address(self.id.destination);
        to.be32(self.id.spi);
        to.u8(self.id.protocol.0);
        to.zeros(3);
        to.address(self.source);
        self.selector.write(to);
        self.policy.write_info(to);
        to.u32(self.aalgos);
        to.u32(self.ealgos);
        to.u32(self.calgos);
        to.u32(self.seq);
        self.policy.write_attributes(to);
        if let Some(direction) = self.direction {
            to.attribute(XFRMA_SA_DIR, |to| to.u8(direction.0));
        }
        if let Some(pcpu) = self.pcpu {
            to.attribute(XFRMA_SA_PCPU, |to| to.u32(pcpu));
        }
    }
}

/// Takes what is about the larval state out of the attributes that were no policy's.
fn take_larval(other: &mut Vec<Attribute>) -> Result<(Option<SaDirection>, Option<u32>), Malformed> {
    let (mut direction, mut pcpu) = (None, None);
    for attribute in other.iter() {
        match attribute.kind & NLA_TYPE_MASK {
            XFRMA_SA_DIR => {
                direction = Some(SaDirection(Reader::new("XFRMA_SA_DIR", &attribute.value).u8()?));
            }
            XFRMA_SA_PCPU => pcpu = Some(Reader::new("XFRMA_SA_PCPU", &attribute.value).u32()?),
            _ => {}
        }
    }
    other.retain(|attribute| !matches!(attribute.kind & NLA_TYPE_MASK, XFRMA_SA_DIR | XFRMA_SA_PCPU));
    Ok((direction, pcpu))
}

/// An SA reached a limit (`XFRM_MSG_EXPIRE`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expire {
    /// The SA, without its algorithms.
    pub sa: Sa,
    /// Whether it is gone.
    pub hard: bool,
}

/// A policy reached a limit (`XFRM_MSG_POLEXPIRE`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyExpire {
    /// The policy.
    pub policy: Policy,
    /// Whether it is gone.
    pub hard: bool,
}

/// Authentic ESP in UDP came from a new address or port (`XFRM_MSG_MAPPING`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The inbound SA.
    pub id: SaId,
    /// Its reqid.
    pub reqid: u32,
    /// Its source.
    pub old_source: IpAddr,
    /// Where the packet came from.
    pub new_source: IpAddr,
    /// The port in its encapsulation.
    pub old_port: u16,
    /// The port the packet came from.
    pub new_port: u16,
}

impl Mapping {
    /// Reads `struct xfrm_user_mapping`, 64 octets.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        const WHAT: &str = "xfrm_user_mapping";
        let mut from = from.part(WHAT, 64)?;
        let id = SaId::read(&mut from)?;
        let family = family_of(id.destination);
        Ok(Self {
            id,
            reqid: from.u32()?,
            old_source: from.address()?.of(WHAT, family)?,
            new_source: from.address()?.of(WHAT, family)?,
            old_port: from.be16()?,
            new_port: from.be16()?,
        })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        self.id.write(to);
        to.u32(self.reqid);
        to.address(self.old_source);
        to.address(self.new_source);
        to.be16(self.old_port);
        to.be16(self.new_port);
    }
}

/// What the kernel, or its netlink socket, has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet waits for an SA.
    Acquire(Box<Acquire>),
    /// An SA reached a limit.
    Expire(Box<Expire>),
    /// A peer behind a NAT moved.
    Mapping(Mapping),
    /// An SA was added, by anyone.
    NewSa(Box<Sa>),
    /// An SA was updated.
    UpdatedSa(Box<Sa>),
    /// An SA was deleted; its last state where the kernel tells it.
    DeletedSa(SaId, Option<Box<Sa>>),
    /// All SAs of a protocol were deleted.
    FlushedSas(Protocol),
    /// A policy was added.
    NewPolicy(Box<Policy>),
    /// A policy was added or replaced.
    UpdatedPolicy(Box<Policy>),
    /// A policy was deleted; what it was where the kernel tells it.
    DeletedPolicy(PolicyQuery, Option<Box<Policy>>),
    /// All policies were deleted.
    FlushedPolicies,
    /// A policy reached a limit.
    PolicyExpire(Box<PolicyExpire>),
    /// Events were lost (`ENOBUFS`): what is known of the kernel's state must be dumped anew.
    Lost,
    /// An event of another kind (`XFRM_MSG_*`).
    Other(u16),
    /// A message that could not be read.
    Unreadable(Malformed),
}

impl From<Message> for Event {
    fn from(message: Message) -> Self {
        let kind = message.kind();
        match message.body {
            Body::Acquire(acquire) => Self::Acquire(acquire),
            Body::Expire(expire) => Self::Expire(expire),
            Body::Mapping(mapping) => Self::Mapping(mapping),
            Body::NewSa(sa) => Self::NewSa(sa),
            Body::UpdateSa(sa) => Self::UpdatedSa(sa),
            Body::DeleteSa(query, sa) => Self::DeletedSa(query.id, sa),
            Body::FlushSas(protocol) => Self::FlushedSas(protocol),
            Body::NewPolicy(policy) => Self::NewPolicy(policy),
            Body::UpdatePolicy(policy) => Self::UpdatedPolicy(policy),
            Body::DeletePolicy(query, policy) => Self::DeletedPolicy(query, policy),
            Body::FlushPolicies(_) => Self::FlushedPolicies,
            Body::PolicyExpire(expire) => Self::PolicyExpire(expire),
            Body::Overrun => Self::Lost,
            Body::Noop
            | Body::Done(_)
            | Body::Error(_)
            | Body::DumpSas(_)
            | Body::GetSa(_)
            | Body::AllocSpi(_)
            | Body::DumpPolicies
            | Body::GetPolicy(_)
            | Body::Unknown { .. } => Self::Other(kind),
        }
    }
}

//! What names an SA, and what asks for one.

use std::fmt;
use std::net::IpAddr;

use super::{Mode, SaDirection};
use crate::attr::{Mark, attributes};
use crate::codec::{Malformed, Reader, Writer, family_of};
use crate::constants::{
    AF_UNSPEC, XFRMA_ADDRESS_FILTER, XFRMA_IF_ID, XFRMA_MARK, XFRMA_PROTO, XFRMA_SA_DIR, XFRMA_SA_PCPU,
    XFRMA_SRCADDR,
};
use crate::selector::{Prefix, Protocol};

/// What names an SA (RFC 4301 §4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaId {
    /// The destination address.
    pub destination: IpAddr,
    /// The SPI; 0 for an acquire's larval state.
    pub spi: u32,
    /// ESP, AH or IPComp.
    pub protocol: Protocol,
}

impl SaId {
    /// An ESP SA.
    pub const fn esp(destination: IpAddr, spi: u32) -> Self {
        Self { destination, spi, protocol: Protocol::ESP }
    }

    /// Reads `struct xfrm_usersa_id`, 24 octets.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        const WHAT: &str = "xfrm_usersa_id";
        let mut from = from.part(WHAT, 24)?;
        let destination = from.address()?;
        let spi = from.be32()?;
        let family = from.u16()?;
        let protocol = Protocol(from.u8()?);
        Ok(Self { destination: destination.of(WHAT, family)?, spi, protocol })
    }

    /// Writes `struct xfrm_usersa_id`.
    pub(crate) fn write(&self, to: &mut Writer) {
        to.address(self.destination);
        to.be32(self.spi);
        to.u16(family_of(self.destination));
        to.u8(self.protocol.0);
        to.zeros(1);
    }
}

impl fmt::Display for SaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:#010x} to {}", self.protocol, self.spi, self.destination)
    }
}

impl fmt::Debug for SaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which SA to get or delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaQuery {
    /// Destination, SPI and protocol.
    pub id: SaId,
    /// The packet mark the SA must accept; none is 0.
    pub mark: Option<Mark>,
    /// The source, for the protocols that have no SPI.
    pub source: Option<IpAddr>,
}

impl From<SaId> for SaQuery {
    fn from(id: SaId) -> Self {
        Self { id, mark: None, source: None }
    }
}

impl SaQuery {
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut query = Self::from(SaId::read(from)?);
        for attribute in attributes(*from) {
            let attribute = attribute?;
            match attribute.kind {
                XFRMA_MARK => query.mark = Some(Mark::read(attribute.reader("XFRMA_MARK"))?),
                XFRMA_SRCADDR => {
                    let source = attribute.reader("XFRMA_SRCADDR").address()?;
                    query.source = Some(source.of("XFRMA_SRCADDR", family_of(query.id.destination))?);
                }
                _ => {}
            }
        }
        Ok(query)
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        self.id.write(to);
        if let Some(mark) = self.mark {
            to.attribute(XFRMA_MARK, |to| mark.write(to));
        }
        if let Some(source) = self.source {
            to.attribute(XFRMA_SRCADDR, |to| to.address(source));
        }
    }
}

/// Which SAs to dump. [`SaFilter::ALL`] is all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SaFilter {
    /// Only this protocol.
    pub protocol: Option<Protocol>,
    /// Only SAs whose source is in the first prefix and whose destination is in the second (one family).
    pub addresses: Option<(Prefix, Prefix)>,
}

impl SaFilter {
    /// Every SA.
    pub const ALL: Self = Self { protocol: None, addresses: None };

    /// Only ESP.
    pub const ESP: Self = Self { protocol: Some(Protocol::ESP), addresses: None };

    pub(crate) fn read(from: Reader<'_>) -> Result<Self, Malformed> {
        let mut filter = Self::ALL;
        for attribute in attributes(from) {
            let attribute = attribute?;
            match attribute.kind {
                XFRMA_PROTO => filter.protocol = Some(Protocol(attribute.reader("XFRMA_PROTO").u8()?)),
                XFRMA_ADDRESS_FILTER => {
                    filter.addresses = read_filter(attribute.reader("xfrm_address_filter"))?
                }
                _ => {}
            }
        }
        Ok(filter)
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        if let Some(protocol) = self.protocol {
            to.attribute(XFRMA_PROTO, |to| to.u8(protocol.0));
        }
        if let Some((source, destination)) = self.addresses {
            to.attribute(XFRMA_ADDRESS_FILTER, |to| {
                to.address(source.address);
                to.address(destination.address);
                to.u16(family_of(destination.address));
                to.u8(source.length);
                to.u8(destination.length);
            });
        }
    }
}

/// Reads `struct xfrm_address_filter`; one without a family lets everything pass.
fn read_filter(mut from: Reader<'_>) -> Result<Option<(Prefix, Prefix)>, Malformed> {
    const WHAT: &str = "xfrm_address_filter";
    let source = from.address()?;
    let destination = from.address()?;
    let family = from.u16()?;
    if family == AF_UNSPEC {
        return Ok(None);
    }
    let source = Prefix { address: source.of(WHAT, family)?, length: from.u8()? };
    let destination = Prefix { address: destination.of(WHAT, family)?, length: from.u8()? };
    Ok(Some((source, destination)))
}

/// What `XFRM_MSG_ALLOCSPI` asks: an SPI for a larval state, which lives for `net.core.xfrm_acq_expires` seconds.
///
/// The kernel looks for a larval state without an SPI: the acquire numbered `seq`, if that is not 0 and the
/// destination is the same; else one with the same mode, reqid, protocol, addresses and mark; else it makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiRequest {
    /// The source of the SA to be.
    pub source: IpAddr,
    /// Its destination: this host, for an inbound SA.
    pub destination: IpAddr,
    /// ESP, AH or IPComp.
    pub protocol: Protocol,
    /// Transport or tunnel.
    pub mode: Mode,
    /// The reqid of the template.
    pub reqid: u32,
    /// The lowest SPI wanted; below 0x100 they are IANA's.
    pub min: u32,
    /// The highest, inclusive. With `min == max` just that one.
    pub max: u32,
    /// The sequence number of the acquire to adopt, or 0.
    pub seq: u32,
    /// The mark of the larval state.
    pub mark: Option<Mark>,
    /// Its xfrm interface.
    pub if_id: Option<u32>,
    /// Its direction (Linux 6.10). An update that names a direction must name the one given here.
    pub direction: Option<SaDirection>,
    /// Its CPU (Linux 6.13).
    pub pcpu: Option<u32>,
}

impl SpiRequest {
    /// Any SPI outside IANA's range, for a transport-mode ESP SA.
    pub const fn esp(source: IpAddr, destination: IpAddr) -> Self {
        Self {
            source,
            destination,
            protocol: Protocol::ESP,
            mode: Mode::TRANSPORT,
            reqid: 0,
            min: 0x100,
            max: u32::MAX,
            seq: 0,
            mark: None,
            if_id: None,
            direction: None,
            pcpu: None,
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let info = super::wire::Info::read(&mut from.part("xfrm_userspi_info", 224)?)?;
        let (min, max) = (from.u32()?, from.u32()?);
        let mut request = Self {
            mode: info.sa.mode,
            reqid: info.sa.reqid,
            seq: info.sa.seq,
            protocol: info.sa.id.protocol,
            min,
            max,
            ..Self::esp(info.sa.source, info.sa.id.destination)
        };
        for attribute in attributes(*from) {
            let attribute = attribute?;
            match attribute.kind {
                XFRMA_MARK => request.mark = Some(Mark::read(attribute.reader("XFRMA_MARK"))?),
                XFRMA_IF_ID => request.if_id = Some(attribute.u32("XFRMA_IF_ID")?),
                XFRMA_SA_DIR => request.direction = Some(SaDirection(attribute.reader("XFRMA_SA_DIR").u8()?)),
                XFRMA_SA_PCPU => request.pcpu = Some(attribute.u32("XFRMA_SA_PCPU")?),
                _ => {}
            }
        }
        Ok(request)
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        let mut sa = super::Sa::new(
            self.source,
            SaId { destination: self.destination, spi: 0, protocol: self.protocol },
        );
        sa.mode = self.mode;
        sa.reqid = self.reqid;
        sa.seq = self.seq;
        super::wire::write_info(&sa, to);
        to.u32(self.min);
        to.u32(self.max);
        if let Some(mark) = self.mark {
            to.attribute(XFRMA_MARK, |to| mark.write(to));
        }
        if let Some(if_id) = self.if_id {
            to.attribute(XFRMA_IF_ID, |to| to.u32(if_id));
        }
        if let Some(direction) = self.direction {
            to.attribute(XFRMA_SA_DIR, |to| to.u8(direction.0));
        }
        if let Some(pcpu) = self.pcpu {
            to.attribute(XFRMA_SA_PCPU, |to| to.u32(pcpu));
        }
    }

    /// Whether both addresses are IPv4 or both IPv6.
    pub(crate) fn is_consistent(&self) -> bool {
        family_of(self.source) == family_of(self.destination)
    }
}

//! What travels: IKE as the octets the engine made, ESP as a description of the packet the kernel would make.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ike_proto::ids::ChildSpi;
use ike_proto::policy::sad::Mode;
use ike_proto::policy::selector::{Net, Selector, Side};

use crate::null_crypto::Digest;

/// One packet on the wire.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Where it says it comes from; port 0 if it has no UDP header.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// What is inside.
    pub body: Body,
}

/// What a packet carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// A datagram of IKE, with the non-ESP marker if it has one.
    Ike(Arc<[u8]>),
    /// ESP, inside UDP if the packet has ports.
    Esp(Esp),
    /// A packet nobody protected.
    Clear(Inner),
}

/// An ESP packet.
#[derive(Clone, Copy, Debug)]
pub struct Esp {
    /// SPI of its receiver.
    pub spi: ChildSpi,
    /// Sequence number.
    pub sequence: u64,
    /// The keys it was sealed with.
    pub keys: Digest,
    /// How it is carried.
    pub mode: Mode,
    /// What is inside.
    pub inner: Inner,
}

/// A packet of the modelled traffic. In transport mode the addresses are those of the packet around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    /// Its source, as its sender wrote it.
    pub source: IpAddr,
    /// Its destination, as its sender wrote it.
    pub destination: IpAddr,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// The flow it belongs to.
    pub flow: usize,
    /// Its number in its flow.
    pub number: u64,
    /// Whether it answers the packet of this number.
    pub reply: bool,
}

impl Inner {
    /// Exactly this packet's kind of traffic, seen from its sender.
    #[must_use]
    pub fn selector(&self) -> Selector {
        let side = |address, port| Side { net: Net::host(address), port: Some(port) };
        Selector {
            local: side(self.source, self.source_port),
            remote: side(self.destination, self.destination_port),
            protocol: self.protocol,
        }
    }
}

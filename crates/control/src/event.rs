//! What `Watch` gives.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// When: RFC 3339, in UTC, to the second.
    pub at: String,
    /// Our address and port.
    pub local: Option<SocketAddr>,
    /// The peer's address and port.
    pub remote: Option<SocketAddr>,
    /// The initiator's SPI, sixteen hexadecimal digits.
    pub spi_i: Option<String>,
    /// The responder's SPI, sixteen hexadecimal digits; zeros until it is known.
    pub spi_r: Option<String>,
    /// SPI we receive on, eight hexadecimal digits.
    pub spi_in: Option<String>,
    /// SPI we send on, eight hexadecimal digits.
    pub spi_out: Option<String>,
    /// Whether it happened because the peer is silent.
    pub dead_peer: bool,
    /// Why.
    pub cause: Option<String>,
    /// The line of the log.
    pub message: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The daemon ends; nothing follows.
    DaemonEnded,
    /// An IKE SA is authenticated.
    IkeSaEstablished,
    /// An IKE SA has taken the place and the children of the one before it.
    IkeSaRekeyed,
    /// An IKE SA ended.
    IkeSaDeleted,
    /// A handshake ended without an SA.
    IkeSaFailed,
    /// A pair of ESP SAs is installed.
    ChildEstablished,
    /// A pair of ESP SAs ended.
    ChildDeleted,
    /// A pair of ESP SAs could not be made.
    ChildFailed,
}

//! The kernel's SA database as a trait: synchronous calls, made in the engine's order.

use core::fmt;
use std::net::IpAddr;

use crate::crypto::keymat::EspKeys;
use crate::crypto::suite::EspSuite;
use crate::ids::{ChildSpi, PolicyIndex, Reqid};
use crate::policy::selector::Selector;
use crate::policy::spd::Policy;

/// Mode of an SA (RFC 4301 §4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mode {
    /// The packet's own addresses.
    Transport,
    /// The packet inside another.
    Tunnel,
}

/// Direction of an SA.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// The UDP ports around ESP (RFC 3948), as this host sees them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Encap {
    /// Our port.
    pub local: u16,
    /// The peer's port.
    pub remote: u16,
}

/// Limits the kernel watches; time-based rekeys are the engine's own (ARCHITECTURE.md, decision 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lifetimes {
    /// Octets after which the kernel asks for a rekey.
    pub soft_bytes: Option<u64>,
    /// Octets after which the SA is dead.
    pub hard_bytes: Option<u64>,
    /// Packets after which the kernel asks for a rekey.
    pub soft_packets: Option<u64>,
    /// Packets after which the SA is dead.
    pub hard_packets: Option<u64>,
    /// Seconds after which the SA is dead: a backstop.
    pub hard_seconds: Option<u64>,
}

/// How an SA is found: its destination and its SPI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SaKey {
    /// Address of the end that receives on it.
    pub destination: IpAddr,
    /// That end's SPI.
    pub spi: ChildSpi,
}

/// Both directions of a CHILD_SA share all but SPI, keys and direction.
#[derive(Debug)]
pub struct SaSpec {
    /// Whether we receive or send on it.
    pub direction: Direction,
    /// SPI of the receiving end.
    pub spi: ChildSpi,
    /// Our address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// Transport or tunnel.
    pub mode: Mode,
    /// Of the template that asked for it.
    pub reqid: Reqid,
    /// Exactly the narrowed traffic selectors.
    pub selector: Selector,
    /// Algorithms.
    pub suite: EspSuite,
    /// Keys of this direction.
    pub keys: EspKeys,
    /// UDP encapsulation.
    pub encap: Option<Encap>,
    /// Packets of the replay window.
    pub replay_window: u32,
    /// Limits.
    pub lifetimes: Lifetimes,
}

impl SaSpec {
    /// How it is found.
    #[must_use]
    pub const fn key(&self) -> SaKey {
        let destination = match self.direction {
            Direction::In => self.local,
            Direction::Out => self.remote,
        };
        SaKey { destination, spi: self.spi }
    }
}

/// What a new inbound SPI is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpiRequest {
    /// Our address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// Mode of the SA to come.
    pub mode: Mode,
    /// Reqid of the SA to come.
    pub reqid: Reqid,
}

/// The kernel asks for an SA: a packet met a policy and no SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acquire {
    /// The policy that asks.
    pub policy: PolicyIndex,
    /// Source address of the SA wanted.
    pub local: IpAddr,
    /// Destination address of the SA wanted.
    pub remote: IpAddr,
    /// The kernel's number of this request, by which its waiting state is found again.
    pub sequence: u32,
    /// Of the template that asks.
    pub reqid: Reqid,
    /// Of the template that asks.
    pub mode: Mode,
    /// The packet that asks, as far as it is known.
    pub packet: Option<Selector>,
}

/// A policy that a peer asks for where there is none (racoon's `generate_policy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewPolicy {
    /// Between two single addresses, for transport mode.
    pub selector: Selector,
    /// Whether only its own SAs may carry its traffic: its reqid is its own.
    pub unique: bool,
}

/// How much an SA has carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SaUsage {
    /// Octets.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

/// An SA of the kernel's dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SaCount {
    /// Which.
    pub key: SaKey,
    /// Packets it has carried.
    pub packets: u64,
    /// Octets it has carried.
    pub bytes: u64,
}

/// Why the database refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SadError {
    /// There is no such SA.
    NotFound,
    /// There is one already.
    Exists,
    /// Anything else, in the database's own words; no key material.
    Refused(String),
}

impl fmt::Display for SadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such SA"),
            Self::Exists => f.write_str("the SA exists already"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for SadError {}

/// The SA database. Each call is done when it returns.
pub trait Sad {
    /// Reserves an SPI on which the peer will send to us.
    ///
    /// # Errors
    /// What the kernel says.
    fn reserve_spi(&mut self, request: &SpiRequest) -> Result<ChildSpi, SadError>;

    /// Installs the inbound half; a reservation of its SPI that has lapsed meanwhile is no error.
    ///
    /// # Errors
    /// What the kernel says; then nothing is installed.
    fn add_inbound(&mut self, sa: &SaSpec) -> Result<(), SadError>;

    /// Installs the outbound half; from now on the kernel sends on it.
    ///
    /// # Errors
    /// What the kernel says; then nothing is installed.
    fn add_outbound(&mut self, sa: &SaSpec) -> Result<(), SadError>;

    /// Installs both halves in one batch, inbound first.
    ///
    /// # Errors
    /// What the kernel says; then neither is installed.
    fn add_pair(&mut self, inbound: &SaSpec, outbound: &SaSpec) -> Result<(), SadError> {
        self.add_inbound(inbound)?;
        self.add_outbound(outbound).inspect_err(|_| {
            // The inbound half alone would be an SA of no child.
            let _ = self.remove(&inbound.key());
        })
    }

    /// Moves an SA to other UDP ports of the same addresses.
    ///
    /// # Errors
    /// [`SadError::NotFound`] or what the kernel says.
    fn move_ports(&mut self, key: &SaKey, encap: Encap) -> Result<(), SadError>;

    /// Removes an SA or a reservation.
    ///
    /// # Errors
    /// [`SadError::NotFound`] or what the kernel says.
    fn remove(&mut self, key: &SaKey) -> Result<(), SadError>;

    /// What an SA has carried.
    ///
    /// # Errors
    /// [`SadError::NotFound`] or what the kernel says.
    fn query(&mut self, key: &SaKey) -> Result<SaUsage, SadError>;

    /// Whether packets to the peer can leave on an SA that the engine did not make: of another keying daemon, or of the daemon
    /// before this one. Where nobody can tell, there is none.
    fn is_carried(&mut self, _local: IpAddr, _remote: IpAddr) -> bool {
        false
    }

    /// Ends the kernel's waiting for an SA that will not come, so that the next packet asks again.
    fn release_acquire(&mut self, acquire: &Acquire);

    /// Puts a policy for a peer that asks for one: both directions, ESP in transport mode at level `require`, behind all other
    /// policies. Gives the outbound one.
    ///
    /// # Errors
    /// What the kernel says, or that no policies are made here; then nothing is there.
    fn make_policy(&mut self, wish: &NewPolicy) -> Result<Policy, SadError> {
        let Selector { local, remote, .. } = wish.selector;
        Err(SadError::Refused(format!("no policy is made for {local} <=> {remote} here")))
    }

    /// Removes what [`Sad::make_policy`] made, both directions.
    ///
    /// # Errors
    /// [`SadError::NotFound`] or what the kernel says.
    fn remove_policy(&mut self, _: PolicyIndex) -> Result<(), SadError> {
        Err(SadError::NotFound)
    }
}

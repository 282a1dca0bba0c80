//! The keying daemons under test: Coati and its peers, behind one face.

pub mod certified;
pub mod charon_log;
pub mod coati;
pub mod list_sas;
pub mod manager;
pub mod racoon;
pub mod racoon_place;
pub mod strongswan;

use std::net::IpAddr;

use crate::failure::Result;
use crate::judge::Clear;
use crate::net::Host;
use crate::stage::Stage;
use crate::suite::Suite;

pub use coati::Coati;
pub use strongswan::StrongSwan;

/// A key of 256 bits for the pairs of these tests.
pub const KEY: &str = "0x5f1b0e6c2f5a4f0d9a3f7c1e8b6d24a09c3e5d7f1a2b4c6d8e0f1a3b5c7d9e0f";

/// Which daemon keys a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Coati,
    /// strongSwan 5.9, the interoperability baseline.
    StrongSwan,
}

impl Kind {
    /// Its name in scenario names.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Coati => "coati",
            Kind::StrongSwan => "strongswan",
        }
    }
}

/// What one end protects, as it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Its own address.
    pub local: IpAddr,
    /// The other's address as this end sees it.
    pub remote: IpAddr,
    /// The identity it shows: its own address.
    pub local_id: IpAddr,
    /// The identity the other end shows: the other's own address, a NAT notwithstanding.
    pub remote_id: IpAddr,
    /// Their pre-shared key.
    pub key: String,
}

impl Pair {
    /// A pair without a NAT between, with the key of these tests.
    pub fn new(local: IpAddr, remote: IpAddr) -> Self {
        Pair { local, remote, local_id: local, remote_id: remote, key: KEY.to_owned() }
    }
}

/// What a daemon is to do on its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The algorithms.
    pub suite: Suite,
    /// The pairs to protect.
    pub pairs: Vec<Pair>,
    /// What is left out of IPsec.
    pub clear: Vec<Clear>,
    /// How long keys live, and how long a silent peer is believed to be there.
    pub times: Times,
}

/// Times in seconds. Where there is none, Coati has what the example mesh says and strongSwan its own default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// After which a child is rekeyed. Coati begins up to a tenth earlier, strongSwan a second earlier every other time.
    pub child: Option<u64>,
    /// After which an IKE SA is rekeyed, likewise.
    pub ike: Option<u64>,
    /// After which a peer of which nothing is heard is asked whether it is there. strongSwan's default is never.
    pub silence: Option<u64>,
}

impl Config {
    /// One pair, with SSH and ICMP left out as the example mesh has it.
    pub fn one(suite: Suite, pair: Pair) -> Self {
        let clear = vec![Clear::Icmp, Clear::Tcp(22)];
        Config { suite, pairs: vec![pair], clear, times: Times::default() }
    }
}

/// A running daemon of either kind.
#[derive(Debug)]
pub enum Peer {
    /// Ours.
    Coati(Coati),
    /// strongSwan.
    StrongSwan(StrongSwan),
}

impl Peer {
    /// Starts a daemon that protects its pairs on demand.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(kind: Kind, stage: &Stage, host: &Host, config: &Config) -> Result<Self> {
        match kind {
            Kind::Coati => {
                Coati::start(stage, host, &coati::Files::write(stage, host, config)?).map(Peer::Coati)
            }
            Kind::StrongSwan => StrongSwan::start(stage, host, config).map(Peer::StrongSwan),
        }
    }

    /// Everything its log says so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn said(&self) -> Result<String> {
        match self {
            Peer::Coati(coati) => coati.said(),
            Peer::StrongSwan(swan) => swan.said(),
        }
    }
}

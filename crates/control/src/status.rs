//! What `Status` gives: the JSON of `coati status --json`, field by field.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The daemon and its pairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub since: Time,
    /// Outbound policies that ask for ESP, as the kernel has them.
    pub policies: u64,
    /// What in the kernel was not as it ought to be and was put right, since the daemon's start.
    pub corrections: Corrections,
    /// Every pair, in order of its addresses.
    pub pairs: Vec<Pair>,
}

/// How often the kernel's databases had to be put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrections {
    /// Configured policies that were missing or had been changed.
    pub policies_restored: u64,
    /// Policies of ours that nobody wanted any more.
    pub policies_deleted: u64,
    /// Children of which an SA was missing: they were made anew.
    pub children_restored: u64,
    /// SAs of ours that belonged to no child.
    pub sas_deleted: u64,
}

/// A point in time and how long ago that was; the age counts time that the host was asleep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// RFC 3339, in UTC, to the second.
    pub at: String,
    /// Whole seconds from then to this answer.
    pub age_seconds: u64,
}

/// Two addresses between which a policy asks for protection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Our address.
    pub local: IpAddr,
    /// The peer's address, as this host sees it.
    pub remote: IpAddr,
    /// Whether it can carry traffic.
    pub state: PairState,
    /// When it came into this state.
    pub since: Time,
    /// Seconds to the next attempt, while `retrying`.
    pub retry_in_seconds: Option<u64>,
    /// What went wrong last, if anything did.
    pub last_error: Option<Failure>,
    /// Whether its traffic may pass in clear while there is no SA: one of its policies is of level `use`.
    pub clear_text: bool,
    /// Whether the kernel has SAs between its addresses that are not this daemon's: another keying daemon's, or made by hand.
    pub other_sas: bool,
    /// Its IKE SAs: one at rest.
    pub ike_sas: Vec<IkeSa>,
}

/// Whether a pair can carry traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairState {
    /// Nothing has asked for it yet.
    Idle,
    /// A handshake is under way.
    Connecting,
    /// It has keys.
    Up,
    /// The two ends know each other, and have no ESP SAs.
    Childless,
    /// An attempt failed; another follows.
    Retrying,
}

/// Why something went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub when: Time,
    /// Why.
    pub cause: String,
}

/// One IKE SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeSa {
    /// `handshake`, `established` or `deleting`.
    pub state: String,
    /// `initiator` or `responder`.
    pub role: String,
    /// When it came into this state.
    pub since: Time,
    /// The initiator's SPI, sixteen hexadecimal digits.
    pub spi_i: String,
    /// The responder's SPI, sixteen hexadecimal digits; zeros until it is known.
    pub spi_r: String,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Our identity.
    pub local_id: String,
    /// The peer's, once it has shown it.
    pub remote_id: Option<String>,
    /// Its algorithms, once agreed.
    pub algorithms: Option<String>,
    /// Seconds until it is rekeyed.
    #[serde(default)]
    pub rekey_in_seconds: Option<u64>,
    /// Seconds until the peer is asked whether it lives, if nothing comes from it before.
    #[serde(default)]
    pub check_in_seconds: Option<u64>,
    /// Seconds until it is given up, if no rekey succeeds before.
    #[serde(default)]
    pub expires_in_seconds: Option<u64>,
    /// Its pairs of ESP SAs: one a selector at rest.
    pub children: Vec<Child>,
}

/// One pair of ESP SAs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Our side of its selector: addresses, and `[port]` where it is for one port.
    pub local: String,
    /// The peer's side of its selector.
    pub remote: String,
    /// The selector's IP protocol; 0 is any.
    pub protocol: u8,
    /// `transport` or `tunnel`.
    pub mode: String,
    /// Of the policy it is for.
    pub reqid: u32,
    /// SPI we receive on, eight hexadecimal digits.
    pub spi_in: String,
    /// SPI we send on, eight hexadecimal digits.
    pub spi_out: String,
    /// Octets received, as the kernel counts them; null if the kernel has no such SA.
    pub bytes_in: Option<u64>,
    /// Packets received.
    pub packets_in: Option<u64>,
    /// Octets sent.
    pub bytes_out: Option<u64>,
    /// Packets sent.
    pub packets_out: Option<u64>,
    /// Its algorithms.
    pub algorithms: String,
    /// Whether ESP is inside UDP.
    pub udp_encapsulation: bool,
    /// Nothing has come back on it for long, and making it anew did not help: perhaps its traffic goes one way only.
    pub one_way: bool,
    /// When it was installed.
    pub since: Time,
    /// Seconds until it is rekeyed.
    #[serde(default)]
    pub rekey_in_seconds: Option<u64>,
}

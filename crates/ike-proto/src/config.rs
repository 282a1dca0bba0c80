//! What holds for the whole endpoint.

use crate::time::Duration;

/// Retransmission of requests (RFC 7296 §2.1): an interval that grows, with jitter, and an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retransmission {
    /// First interval.
    pub initial: Duration,
    /// Each interval is this many per cent of the one before.
    pub growth_percent: u32,
    /// No interval is longer.
    pub longest: Duration,
    /// Sendings of one request, the first included, before the peer is given up.
    pub tries: u32,
}

impl Default for Retransmission {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            growth_percent: 180,
            longest: Duration::from_secs(15),
            tries: 9,
        }
    }
}

/// The two UDP ports of one daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Of plain IKE.
    pub ike: u16,
    /// Of encapsulated IKE and ESP.
    pub natt: u16,
}

/// Settings of an endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointConfig {
    /// The UDP ports, ours and by default the peers'.
    pub ports: Ports,
    /// Ports on which some peers are still to be found, and we are to be found as well: a pair that was never reached is tried on
    /// `ports`, then on these, and so on in turn until it answers.
    pub also: Option<Ports>,
    /// High half of every IV's number: different after each start of the daemon, so that a key kept over a restart never
    /// sees an IV twice (ARCHITECTURE.md, decision 10).
    pub boot_epoch: u32,
    /// Retransmission.
    pub retransmission: Retransmission,
    /// How long a responder waits for IKE_AUTH, and an initiator for the whole handshake.
    pub handshake_lifetime: Duration,
    /// How long the end of an SA is remembered, so that repeated requests are answered.
    pub linger: Duration,
    /// How long a DELETE is waited for when the daemon stops, and when an SA is deleted.
    pub delete_patience: Duration,
    /// Time without a packet of ours after which a NAT in front of us is sent a keepalive (RFC 3948 §4); zero: none.
    pub natt_keepalive: Duration,
    /// Longest pause between two attempts to reach a pair.
    pub backoff_cap: Duration,
    /// Octets of the longest IKE message that is sent whole to a peer that takes fragments (RFC 7383).
    pub fragment_limit: usize,
    /// Handshakes of all strangers, or of all known peers, that wait for their IKE_AUTH at one time; above it, new ones of
    /// that lane are dropped.
    pub half_open_limit: usize,
    /// Handshakes that wait at one time, above which every new one is asked for a cookie first.
    pub cookie_threshold: usize,
    /// The same for those of one source address.
    pub cookie_threshold_per_source: usize,
    /// Set up every pair the policies name when they are first set (a host that starts brings its pairs back at once).
    pub initiate_at_start: bool,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            ports: Ports { ike: 500, natt: 4500 },
            also: None,
            boot_epoch: 0,
            retransmission: Retransmission::default(),
            handshake_lifetime: Duration::from_secs(60),
            linger: Duration::from_secs(30),
            delete_patience: Duration::from_secs(5),
            natt_keepalive: Duration::from_secs(20),
            backoff_cap: Duration::from_secs(60),
            fragment_limit: crate::message::fragment::LIMIT,
            half_open_limit: 10_000,
            cookie_threshold: 64,
            cookie_threshold_per_source: 8,
            initiate_at_start: false,
        }
    }
}

impl EndpointConfig {
    /// The ports that are tried after these.
    #[must_use]
    pub fn next_ports(&self, tried: Ports) -> Ports {
        if tried == self.ports { self.also.unwrap_or(self.ports) } else { self.ports }
    }

    /// Those of our ports that this one belongs to.
    #[must_use]
    pub fn ports_with(&self, port: u16) -> Ports {
        self.also.filter(|also| also.ike == port || also.natt == port).unwrap_or(self.ports)
    }
}

//! The way between the two ends: addresses, ports, NAT, UDP encapsulation (RFC 7296 §2.23).

use std::net::{IpAddr, SocketAddr};

use crate::crypto::provider::Provider;
use crate::ids::IkeSpi;
use crate::message::parts::Parts;
use crate::output::Flow;
use crate::policy::peer::UdpEncap;
use crate::policy::sad::Encap;
use crate::policy::selector::{Net, Selector, Side};
use crate::rng::Rng;
use crate::wire::registry::NotifyType;
use crate::wire::{Notify, Payload};

/// Which end is behind a NAT, as NAT detection found, or claims to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Nat {
    /// We are.
    pub local: bool,
    /// The peer is.
    pub remote: bool,
}

/// Where an IKE SA's messages and its children's packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Addresses and ports.
    pub flow: Flow,
    /// NAT.
    pub nat: Nat,
    /// Whether both ends took part in NAT detection.
    pub nat_known: bool,
    /// Whether ESP is put into UDP.
    pub encap: bool,
}

impl Path {
    /// A path of which nothing is known yet.
    #[must_use]
    pub const fn new(flow: Flow) -> Self {
        Self { flow, nat: Nat { local: false, remote: false }, nat_known: false, encap: false }
    }

    /// Our address.
    #[must_use]
    pub const fn local(&self) -> IpAddr {
        self.flow.local.ip()
    }

    /// The peer's address.
    #[must_use]
    pub const fn remote(&self) -> IpAddr {
        self.flow.remote.ip()
    }

    /// Both addresses, ours first.
    #[must_use]
    pub const fn ends(&self) -> (IpAddr, IpAddr) {
        (self.local(), self.remote())
    }

    /// All traffic between the two ends.
    #[must_use]
    pub fn everything(&self) -> Selector {
        let side = |address| Side { net: Net::host(address), port: None };
        Selector { local: side(self.local()), remote: side(self.remote()), protocol: 0 }
    }

    /// Whether the peer's end may move to where `flow` goes: only its port, and only if a NAT is in front of it and none of us.
    #[must_use]
    pub fn may_follow(&self, flow: Flow) -> bool {
        let same =
            (flow.local, flow.remote.ip(), flow.natt) == (self.flow.local, self.remote(), self.flow.natt);
        same && flow.remote != self.flow.remote && self.nat.remote && !self.nat.local
    }

    /// Takes over what NAT detection found; `None`: the peer does not take part in it.
    pub fn decide(&mut self, found: Option<Nat>, encap: UdpEncap) {
        self.nat = found.unwrap_or_default();
        self.nat_known = found.is_some();
        self.encap = match encap {
            UdpEncap::Force => found.is_some(),
            UdpEncap::Auto => self.nat.local || self.nat.remote,
            UdpEncap::Off => false,
        };
    }

    /// Moves to the encapsulating ports, if it is not there (RFC 7296 §2.23: as soon as a NAT is found).
    pub fn float(&mut self, natt_port: u16) {
        if !self.flow.natt {
            self.flow.local.set_port(natt_port);
            self.flow.remote.set_port(natt_port);
            self.flow.natt = true;
        }
    }

    /// The ports of encapsulated ESP, where it is encapsulated.
    #[must_use]
    pub fn esp_encap(&self) -> Option<Encap> {
        (self.encap && self.flow.natt)
            .then(|| Encap { local: self.flow.local.port(), remote: self.flow.remote.port() })
    }
}

/// A source hash that fits nothing.
#[must_use]
pub fn forced_hash(rng: &mut Rng) -> Vec<u8> {
    rng.octets(20)
}

/// `SHA1(SPIi | SPIr | IP address | port)` (RFC 7296 §2.23).
fn hash(provider: &dyn Provider, spis: (IkeSpi, IkeSpi), address: SocketAddr) -> Vec<u8> {
    let (spi_i, spi_r) = (spis.0.0.to_be_bytes(), spis.1.0.to_be_bytes());
    let port = address.port().to_be_bytes();
    let digest = match address.ip() {
        IpAddr::V4(v4) => provider.sha1(&[&spi_i, &spi_r, &v4.octets(), &port]),
        IpAddr::V6(v6) => provider.sha1(&[&spi_i, &spi_r, &v6.octets(), &port]),
    };
    digest.to_vec()
}

/// The two NAT detection notifies of a message sent on `flow`; none if encapsulation is off.
///
/// Forced encapsulation is a source hash that fits nothing, `forced`: the peer then sees a NAT in front of us.
#[must_use]
pub fn nat_detection(
    provider: &dyn Provider,
    forced: &[u8],
    spis: (IkeSpi, IkeSpi),
    flow: &Flow,
    encap: UdpEncap,
) -> Vec<Payload> {
    let source = match encap {
        UdpEncap::Off => return Vec::new(),
        UdpEncap::Force => forced.to_vec(),
        UdpEncap::Auto => hash(provider, spis, flow.local),
    };
    let destination = hash(provider, spis, flow.remote);
    vec![
        Payload::Notify(Notify::status(NotifyType::NAT_DETECTION_SOURCE_IP, source)),
        Payload::Notify(Notify::status(NotifyType::NAT_DETECTION_DESTINATION_IP, destination)),
    ]
}

/// What a peer's NAT detection notifies say about the way its message came; `None` if it has none.
#[must_use]
pub fn detect(provider: &dyn Provider, parts: &Parts, spis: (IkeSpi, IkeSpi), flow: &Flow) -> Option<Nat> {
    let told = |kind| parts.notifies().filter(move |notify| notify.notify_type == kind);
    let fits = |kind, address| {
        let expected = hash(provider, spis, address);
        told(kind).any(|notify| notify.data == expected)
    };
    let (source, destination) =
        (NotifyType::NAT_DETECTION_SOURCE_IP, NotifyType::NAT_DETECTION_DESTINATION_IP);
    if !parts.has(source) || !parts.has(destination) {
        return None;
    }
    Some(Nat { local: !fits(destination, flow.local), remote: !fits(source, flow.remote) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(natt: bool) -> Path {
        let address = |text: &str| text.parse().unwrap();
        Path::new(Flow { local: address("192.0.2.1:500"), remote: address("192.0.2.2:500"), natt })
    }

    #[test]
    fn encapsulation_follows_what_was_found_and_what_is_configured() {
        let nat = Some(Nat { local: true, remote: false });
        let none = Some(Nat::default());
        for (found, mode, expected) in [
            (nat, UdpEncap::Auto, true),
            (none, UdpEncap::Auto, false),
            (none, UdpEncap::Force, true),
            (None, UdpEncap::Force, false),
            (None, UdpEncap::Auto, false),
            (nat, UdpEncap::Off, false),
        ] {
            let mut path = path(false);
            path.decide(found, mode);
            assert_eq!(path.encap, expected, "{found:?} {mode:?}");
        }
    }

    #[test]
    fn esp_is_encapsulated_only_on_the_encapsulating_ports() {
        let mut path = path(false);
        path.decide(Some(Nat::default()), UdpEncap::Force);
        assert_eq!(path.esp_encap(), None);
        path.float(4500);
        assert_eq!(path.esp_encap(), Some(Encap { local: 4500, remote: 4500 }));
    }
}

//! One SA: which packets it carries, how it seals them, and which it takes.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ike_proto::crypto::keymat::EspKeys;
use ike_proto::policy::sad::{Direction, Lifetimes, SaSpec, SaUsage};
use ike_proto::policy::selector::{Selector, Side};
use ike_proto::policy::spd::Policy;
use ike_proto::time::{Duration, Instant};

use crate::null_crypto::{Digest, Mixer};
use crate::packet::{Body, Esp, Inner, Packet};

/// An SA as the database has it.
#[derive(Debug)]
pub struct Sa {
    /// What was asked for.
    pub spec: SaSpec,
    /// What its keys are, for comparing.
    pub keys: Digest,
    /// What it carried.
    pub usage: SaUsage,
    /// The database's count of installations when it came: of two, the higher is the newer.
    pub order: u64,
    pub(super) installed: Instant,
    pub(super) sequence: u64,
    seen: BTreeSet<u64>,
    pub(super) soft_told: bool,
    /// The peer's end as it was last reported to have moved to.
    pub(super) mapped: Option<SocketAddr>,
}

impl Sa {
    /// An SA that is installed now, as the database's `order`-th, with the lower of its own limits and `limits`.
    pub(super) fn new(spec: &SaSpec, limits: &Lifetimes, order: u64, now: Instant) -> Self {
        Self {
            spec: SaSpec { lifetimes: lower(&spec.lifetimes, limits), ..copy(spec) },
            keys: digest(&spec.keys),
            usage: SaUsage::default(),
            order,
            installed: now,
            sequence: 0,
            seen: BTreeSet::new(),
            soft_told: false,
            mapped: None,
        }
    }

    /// When it is gone by its hard time limit.
    pub(super) fn lapses(&self) -> Option<Instant> {
        let seconds = self.spec.lifetimes.hard_seconds?;
        Some(self.installed + Duration::from_secs(seconds))
    }

    /// Whether packets under `policy` may leave on it.
    pub(super) fn sends(&self, policy: &Policy, inner: &Inner) -> bool {
        let template = policy.template;
        let ends = template.endpoints.unwrap_or((inner.source, inner.destination));
        self.spec.direction == Direction::Out
            && (self.spec.local, self.spec.remote) == ends
            && (self.spec.mode, self.spec.reqid) == (template.mode, template.reqid)
            && covers(&self.spec.selector, inner, Direction::Out)
    }

    /// The packet that carries `inner`, with the sequence number set before.
    pub(super) fn seal(&self, inner: Inner) -> Packet {
        let (from, to) = self.spec.encap.map_or((0, 0), |encap| (encap.local, encap.remote));
        Packet {
            source: SocketAddr::new(self.spec.local, from),
            destination: SocketAddr::new(self.spec.remote, to),
            body: Body::Esp(Esp {
                spi: self.spec.spi,
                sequence: self.sequence,
                keys: self.keys,
                mode: self.spec.mode,
                inner,
            }),
        }
    }

    /// Whether a sequence number did not come before and is inside the window, which moves by it.
    pub(super) fn is_fresh(&mut self, sequence: u64) -> bool {
        let window = u64::from(self.spec.replay_window);
        let newest = self.seen.last().copied().unwrap_or(0);
        let fresh = sequence + window > newest && self.seen.insert(sequence);
        let oldest = self.seen.last().copied().unwrap_or(0).saturating_sub(window);
        self.seen = self.seen.split_off(&oldest);
        fresh
    }
}

/// Whether a selector means a packet that goes in `direction`.
#[must_use]
pub fn covers(selector: &Selector, inner: &Inner, direction: Direction) -> bool {
    let side = |side: &Side, address: IpAddr, port: u16| {
        side.net.contains(address) && side.port.is_none_or(|own| own == port)
    };
    let source = (inner.source, inner.source_port);
    let destination = (inner.destination, inner.destination_port);
    let (local, remote) = match direction {
        Direction::Out => (source, destination),
        Direction::In => (destination, source),
    };
    (selector.protocol == 0 || selector.protocol == inner.protocol)
        && side(&selector.local, local.0, local.1)
        && side(&selector.remote, remote.0, remote.1)
}

fn lower(own: &Lifetimes, limits: &Lifetimes) -> Lifetimes {
    let least = |own: Option<u64>, limit: Option<u64>| own.into_iter().chain(limit).min();
    Lifetimes {
        soft_bytes: least(own.soft_bytes, limits.soft_bytes),
        hard_bytes: least(own.hard_bytes, limits.hard_bytes),
        soft_packets: least(own.soft_packets, limits.soft_packets),
        hard_packets: least(own.hard_packets, limits.hard_packets),
        hard_seconds: least(own.hard_seconds, limits.hard_seconds),
    }
}

fn digest(keys: &EspKeys) -> Digest {
    let mut mixer = Mixer::new(keys.encr.expose());
    mixer.absorb(keys.integ.expose());
    mixer.digest()
}

fn copy(spec: &SaSpec) -> SaSpec {
    SaSpec {
        keys: EspKeys { encr: spec.keys.encr.duplicate(), integ: spec.keys.integ.duplicate() },
        selector: spec.selector,
        lifetimes: spec.lifetimes,
        ..*spec
    }
}

//! The judge: what must hold after every step, whatever the network did, and what must hold at rest.

use core::fmt;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ike_proto::endpoint::status::{ChildStatus, PairState, PairStatus};
use ike_proto::ids::{ChildSpi, IkeSpi};
use ike_proto::output::Event;
use ike_proto::policy::sad::{Direction, Mode, SaKey};
use ike_proto::policy::selector::{Selector, Side};
use ike_proto::policy::spd::Policy;
use ike_proto::secret::Secret;
use ike_proto::time::Instant;
use ike_proto::wire::registry::ExchangeType;
use ike_proto::wire::{Header, Located, locate};

use crate::host::Host;
use crate::network::Network;
use crate::null_crypto::Digest;
use crate::sad::Sa;
use crate::trace::strip_marker;

/// Unfinished handshakes a pair may have at one time.
const HANDSHAKES_PER_PAIR: usize = 8;

/// Outputs one call may leave, beside a few for each pair.
const OUTPUTS_PER_CALL: usize = 32;

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// The host it was seen at.
    pub host: usize,
    /// Which rule, and how.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:?}, host {}: {}", self.at, self.host, self.what)
    }
}

/// Whose key it is: SPIs of the IKE SA, and whether its original initiator sends with it.
type SendingKey = (IkeSpi, IkeSpi, bool);

/// What the judge remembers of a run.
#[derive(Debug, Default)]
pub struct Oracle {
    /// For each key and IV the message sealed with them.
    sealed: BTreeMap<(SendingKey, u64), Digest>,
    /// For each request the answer to it.
    answers: BTreeMap<(SendingKey, u32), Digest>,
    /// For each receiving host and SPI the keys either end had for it.
    keys: BTreeMap<(usize, ChildSpi), Digest>,
    /// For each host, direction and keys the SPI they came with.
    uses: BTreeMap<(usize, Direction, Digest), ChildSpi>,
}

impl Oracle {
    /// A message leaves a host.
    ///
    /// # Errors
    /// If a key meets an IV twice, or a request gets a second answer.
    pub fn sent(&mut self, datagram: &[u8]) -> Result<(), String> {
        let message = strip_marker(datagram);
        let header = Header::read(message).map_err(|error| format!("sends what is no message: {error}"))?;
        let key = (header.spi_i, header.spi_r, header.flags.is_initiator());
        let located =
            locate(message, &header).map_err(|error| format!("sends what cannot be read: {error}"))?;
        let digest = Digest::of(message);
        let sealed = matches!(located, Located::Sealed(_));
        if let Located::Sealed(sealed) = located {
            let iv = message.get(sealed.associated_len..).and_then(<[u8]>::first_chunk);
            let iv = u64::from_be_bytes(*iv.ok_or("sends an SK payload without an IV")?);
            if *self.sealed.entry((key, iv)).or_insert(digest) != digest {
                return Err(format!("seals two messages with one key and IV: {header}"));
            }
        }
        let stateful = header.exchange != ExchangeType::IKE_SA_INIT || header.spi_r != IkeSpi::ZERO;
        let answers = header.flags.is_response() && stateful;
        if answers && (sealed || header.exchange == ExchangeType::IKE_SA_INIT) {
            let first = *self.answers.entry((key, header.message_id)).or_insert(digest);
            if first != digest {
                return Err(format!("answers one request in two ways: {header}"));
            }
        }
        Ok(())
    }

    /// An SA was installed at `host`.
    ///
    /// # Errors
    /// If its keys were used before, or the peer has others.
    pub fn installed(
        &mut self,
        hosts: &[Host],
        network: &Network,
        host: usize,
        key: &SaKey,
    ) -> Result<(), String> {
        let Some(sa) = hosts[host].sad.get(key) else { return Ok(()) };
        let (direction, spi) = (sa.spec.direction, sa.spec.spi);
        if let Some(before) = self.uses.insert((host, direction, sa.keys), spi) {
            return Err(format!("the keys of {direction:?} SA {spi} were those of SA {before} before"));
        }
        let other = if direction == Direction::In { Direction::Out } else { Direction::In };
        if self.uses.contains_key(&(host, other, sa.keys)) {
            return Err(format!("SA {spi} has the keys of an SA of the other direction"));
        }
        let peers = network.known_as(host, sa.spec.remote);
        let receiver = match (direction, peers.as_slice()) {
            (Direction::In, _) => Some(host),
            (Direction::Out, [peer]) => Some(*peer),
            (Direction::Out, _) => None,
        };
        if let Some(receiver) = receiver
            && *self.keys.entry((receiver, spi)).or_insert(sa.keys) != sa.keys
        {
            return Err(format!("the two ends have different keys for SA {spi}"));
        }
        match counterpart(hosts, network, host, sa) {
            Some((peer, theirs)) => compare(network, (host, sa), (peer, theirs)),
            None => Ok(()),
        }
    }

    /// A host's engine said something.
    ///
    /// # Errors
    /// If it holds a pre-shared key, or a key of one of the host's SAs.
    pub fn said(&self, host: &Host, event: &Event) -> Result<(), String> {
        let text = format!("{event} {event:?}").to_lowercase();
        let shows = |secret: &[u8]| {
            let hex: String = secret.iter().take(8).map(|octet| format!("{octet:02x}")).collect();
            !secret.is_empty() && text.contains(&hex)
        };
        let told = host
            .spec
            .secrets
            .iter()
            .any(|secret| text.contains(&secret.to_lowercase()) || shows(secret.as_bytes()));
        let keys = host.sad.live().flat_map(|sa| [&sa.spec.keys.encr, &sa.spec.keys.integ]);
        if told || keys.map(Secret::expose).any(shows) {
            return Err(format!("a secret is in what was said about {}", event.remote));
        }
        Ok(())
    }

    /// A host has finished a step and asked for `outputs` things.
    ///
    /// # Errors
    /// If its engine and its kernel disagree, or something grows beyond its bound.
    pub fn step(&self, host: &Host, pairs: &[PairStatus], outputs: usize) -> Result<(), String> {
        if outputs > OUTPUTS_PER_CALL + 8 * pairs.len() {
            return Err(format!("one call left {outputs} outputs"));
        }
        for pair in pairs {
            let halves = pair.ike_sas.iter().filter(|sa| sa.state == "handshake").count();
            if halves > HANDSHAKES_PER_PAIR {
                return Err(format!("{halves} unfinished handshakes with {}", pair.remote));
            }
        }
        let mut wanted = BTreeMap::new();
        for pair in pairs {
            for child in pair.ike_sas.iter().flat_map(|sa| &sa.children) {
                let inbound = SaKey { destination: pair.local, spi: child.spi_in };
                let outbound = SaKey { destination: pair.remote, spi: child.spi_out };
                wanted.insert(inbound, (Direction::In, child));
                // A child that waits for its turn, or is drained, has no outbound half; one that is superseded may have.
                if matches!(child.stage, "live" | "superseded") {
                    wanted.insert(outbound, (Direction::Out, child));
                }
            }
        }
        for sa in host.sad.live() {
            let key = sa.spec.key();
            let Some((direction, child)) = wanted.remove(&key) else {
                return Err(format!("{:?} SA {} belongs to no child", sa.spec.direction, key.spi));
            };
            belongs(sa, direction, child)?;
        }
        let due = |(key, (direction, child)): &(&SaKey, &(Direction, &ChildStatus))| {
            let optional = *direction == Direction::Out && child.stage == "superseded";
            !host.lapsed.contains(key) && !optional
        };
        match wanted.iter().find(due).map(|(key, _)| key) {
            Some(key) => Err(format!("a child's SA {} is not in the kernel", key.spi)),
            None => Ok(()),
        }
    }
}

fn belongs(sa: &Sa, direction: Direction, child: &ChildStatus) -> Result<(), String> {
    let spec = &sa.spec;
    let same = spec.direction == direction
        && spec.selector == child.selector
        && (spec.mode, spec.reqid) == (child.mode, child.reqid)
        && spec.suite == child.suite
        && spec.encap.is_some() == child.encap;
    let lens = (spec.keys.encr.len(), spec.keys.integ.len());
    if !same {
        return Err(format!("SA {} is not what its child says: {spec:?} {child:?}", spec.spi));
    }
    if lens != spec.suite.key_lens() {
        return Err(format!("SA {} has keys of {lens:?} octets for {}", spec.spi, spec.suite));
    }
    Ok(())
}

/// The other half of an SA, at whichever host it is.
fn counterpart<'a>(hosts: &'a [Host], network: &Network, host: usize, sa: &Sa) -> Option<(usize, &'a Sa)> {
    network.known_as(host, sa.spec.remote).into_iter().find_map(|peer| {
        let theirs = hosts[peer].sad.live().find(|theirs| {
            theirs.spec.spi == sa.spec.spi
                && theirs.spec.direction != sa.spec.direction
                && network.known_as(peer, theirs.spec.remote).contains(&host)
        })?;
        Some((peer, theirs))
    })
}

fn compare(network: &Network, one: (usize, &Sa), other: (usize, &Sa)) -> Result<(), String> {
    let (ours, theirs) = (&one.1.spec, &other.1.spec);
    if one.1.keys != other.1.keys {
        return Err(format!("the two ends have different keys for SA {}", ours.spi));
    }
    if (ours.suite, ours.mode, ours.encap.is_some()) != (theirs.suite, theirs.mode, theirs.encap.is_some()) {
        return Err(format!("the two ends disagree about SA {}: {ours:?} {theirs:?}", ours.spi));
    }
    if mirrored(network, one.0, &ours.selector, other.0, &theirs.selector, ours.mode) {
        Ok(())
    } else {
        Err(format!("selectors do not meet: {} and {}", ours.selector, theirs.selector))
    }
}

/// Whether two selectors mean the same packets, seen from the two ends; transport mode's addresses are each end's own view.
fn mirrored(
    network: &Network,
    one: usize,
    ours: &Selector,
    other: usize,
    theirs: &Selector,
    mode: Mode,
) -> bool {
    let side = |here: &Side, there: &Side, owner: usize, viewer: usize| {
        let means = |address: IpAddr| network.known_as(viewer, address).contains(&owner);
        let hosts = mode == Mode::Transport && here.net.is_host() && there.net.is_host();
        here.port == there.port && if hosts { means(there.net.address) } else { here.net == there.net }
    };
    ours.protocol == theirs.protocol
        && side(&ours.local, &theirs.remote, one, other)
        && side(&theirs.local, &ours.remote, other, one)
}

/// Why there is no rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unrest {
    /// The host that has not what it should have.
    pub host: usize,
    /// The host it should have it with, if one is concerned.
    pub peer: Option<usize>,
    /// What is missing, or too much.
    pub what: String,
}

impl fmt::Display for Unrest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Whether all hosts that run are at rest with exactly what their policies want. The look begins at `first`: whoever was
/// not at rest before is likely not to be yet, and a large mesh is looked at after every step.
///
/// # Errors
/// The first that is not.
pub fn at_rest(hosts: &[Host], network: &Network, first: usize) -> Result<(), Unrest> {
    let (before, from) = hosts.split_at(first.min(hosts.len()));
    let order = from.iter().zip(first..).chain(before.iter().zip(0..));
    for (host, number) in order.filter(|(host, _)| host.up) {
        host_at_rest(hosts, network, number).map_err(|(remote, why)| {
            let peer = remote.and_then(|remote| network.known_as(number, remote).first().copied());
            Unrest { host: number, peer, what: format!("{}: {why}", host.spec.name) }
        })?;
    }
    Ok(())
}

/// What is wrong, and with which address.
type Wrong = (Option<IpAddr>, String);

fn host_at_rest(hosts: &[Host], network: &Network, number: usize) -> Result<(), Wrong> {
    let host = &hosts[number];
    let pairs = host.endpoint.pairs();
    for policy in host.policies().iter() {
        let ends = policy.endpoints();
        let (local, remote) =
            ends.ok_or((None, "a policy without end points cannot be judged".to_owned()))?;
        policy_at_rest(&pairs, policy, local, remote).map_err(|why| (Some(remote), why))?;
    }
    let children = pairs.iter().flat_map(|pair| &pair.ike_sas).map(|sa| sa.children.len()).sum::<usize>();
    if children != host.policies().len() {
        return Err((None, format!("{children} children for {} policies", host.policies().len())));
    }
    if let Some(sa) = host.sad.live().find(|sa| counterpart(hosts, network, number, sa).is_none()) {
        let why = format!("{:?} SA {} is not at the peer", sa.spec.direction, sa.spec.spi);
        return Err((Some(sa.spec.remote), why));
    }
    match host.sad.reservations() {
        0 => Ok(()),
        left => Err((None, format!("{left} reserved SPIs are left over"))),
    }
}

fn policy_at_rest(
    pairs: &[PairStatus],
    policy: &Policy,
    local: IpAddr,
    remote: IpAddr,
) -> Result<(), String> {
    let pair = pairs.iter().find(|pair| (pair.local, pair.remote) == (local, remote));
    let pair = pair.ok_or_else(|| format!("there is no pair for {}", policy.selector))?;
    if !matches!(pair.state, PairState::Up) {
        return Err(format!("the pair with {remote} is {:?}", pair.state));
    }
    let live: Vec<_> = pair.ike_sas.iter().filter(|sa| sa.state != "deleted").collect();
    let [sa] = live.as_slice() else {
        return Err(format!("{} IKE SAs with {remote}", live.len()));
    };
    if sa.state != "established" {
        return Err(format!("the IKE SA with {remote} is {}", sa.state));
    }
    match sa.children.iter().filter(|child| policy.selector.covers(&child.selector)).count() {
        1 => Ok(()),
        served => Err(format!("{served} children for {}", policy.selector)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ike_proto::crypto::keymat::EspKeys;
    use ike_proto::crypto::provider::{ProtectionKeys, Provider};
    use ike_proto::crypto::suite::{Encr, EspSuite};
    use ike_proto::ids::Reqid;
    use ike_proto::message::protect::seal;
    use ike_proto::output::What;
    use ike_proto::policy::sad::{Encap, Lifetimes, SaSpec, Sad};
    use ike_proto::rng::{Rng, Seed};
    use ike_proto::wire::registry::{EncrId, NotifyType, PayloadType};
    use ike_proto::wire::{Flags, Notify, Payload};

    use super::*;
    use crate::null_crypto::NullProvider;
    use crate::scenario::{Topology, TwoHosts};

    fn response(message_id: u32, sequence: u64, payloads: &[Payload]) -> Vec<u8> {
        let header = Header {
            spi_i: IkeSpi(1),
            spi_r: IkeSpi(2),
            first: PayloadType::NONE,
            major: 2,
            minor: 0,
            exchange: ExchangeType::INFORMATIONAL,
            flags: Flags::new(false, true),
            message_id,
            length: 0,
        };
        let protection = NullProvider.protection(EncrId::AES_GCM_16, Some(256), None).unwrap();
        let keys = ProtectionKeys { encr: Secret::new(vec![1; 36]), integ: Secret::default() };
        seal(protection, &keys, &header, payloads, sequence).unwrap()
    }

    fn notify(kind: NotifyType) -> [Payload; 1] {
        [Payload::Notify(Notify::error(kind))]
    }

    #[test]
    fn a_key_that_meets_an_iv_twice_is_seen_and_a_repetition_is_none() {
        let mut oracle = Oracle::default();
        let first = response(1, 7, &[]);
        assert_eq!(oracle.sent(&first), Ok(()));
        assert_eq!(oracle.sent(&first), Ok(()));
        assert_eq!(oracle.sent(&response(2, 8, &[])), Ok(()));
        assert!(oracle.sent(&response(3, 7, &[])).unwrap_err().contains("one key and IV"));
    }

    #[test]
    fn a_request_that_is_answered_in_two_ways_is_seen() {
        let mut oracle = Oracle::default();
        assert_eq!(oracle.sent(&response(1, 7, &notify(NotifyType::TS_UNACCEPTABLE))), Ok(()));
        let other = response(1, 8, &notify(NotifyType::TEMPORARY_FAILURE));
        assert!(oracle.sent(&other).unwrap_err().contains("two ways"));
    }

    /// Two hosts behind their NATs with an SA each, both halves of one direction.
    struct Pair {
        hosts: Vec<Host>,
        network: Network,
        oracle: Oracle,
    }

    fn pair() -> (Pair, [SaSpec; 2]) {
        let two = TwoHosts { topology: Topology::OneToOne, ..TwoHosts::plain() };
        let scenario = two.scenario();
        let start = |spec: &crate::scenario::HostSpec| {
            Host::start(spec.clone(), Arc::new(NullProvider), Rng::new(&Seed::from_u64(1)), Instant::ZERO)
        };
        let hosts: Vec<Host> = scenario.hosts.iter().map(start).collect();
        let half = |host: usize, direction| SaSpec {
            direction,
            spi: ChildSpi(500),
            local: two.own()[host],
            remote: two.seen()[1 - host],
            mode: Mode::Transport,
            reqid: Reqid(0),
            selector: scenario.hosts[host].policies[0].selector,
            suite: EspSuite { encr: Encr::AES_256_GCM, integ: None, ke: None, esn: true },
            keys: EspKeys { encr: Secret::new(vec![3; 36]), integ: Secret::default() },
            encap: Some(Encap { local: 4500, remote: 4500 }),
            replay_window: 32,
            lifetimes: Lifetimes::default(),
        };
        let halves = [half(0, Direction::Out), half(1, Direction::In)];
        let network = Network::new(&scenario);
        (Pair { hosts, network, oracle: Oracle::default() }, halves)
    }

    impl Pair {
        fn install(&mut self, host: usize, spec: &SaSpec) -> Result<(), String> {
            match spec.direction {
                Direction::In => self.hosts[host].sad.add_inbound(spec),
                Direction::Out => self.hosts[host].sad.add_outbound(spec),
            }
            .unwrap();
            self.oracle.installed(&self.hosts, &self.network, host, &spec.key())
        }
    }

    #[test]
    fn halves_that_meet_are_fine_through_two_nats() {
        let (mut pair, [out, inbound]) = pair();
        assert_eq!(pair.install(0, &out), Ok(()));
        assert_eq!(pair.install(1, &inbound), Ok(()));
    }

    #[test]
    fn ends_that_disagree_are_seen() {
        type Change = fn(&mut SaSpec);
        let changes: [(&str, Change); 5] = [
            ("different keys", |sa| sa.keys.encr = Secret::new(vec![4; 36])),
            ("selectors do not meet", |sa| sa.selector.protocol = 17),
            ("selectors do not meet", |sa| sa.selector.remote.port = Some(80)),
            ("disagree", |sa| sa.suite.esn = false),
            ("disagree", |sa| sa.encap = None),
        ];
        for (what, change) in changes {
            let (mut pair, [out, mut inbound]) = pair();
            change(&mut inbound);
            assert_eq!(pair.install(0, &out), Ok(()));
            let seen = pair.install(1, &inbound).unwrap_err();
            assert!(seen.contains(what), "{seen}");
        }
    }

    #[test]
    fn keys_are_never_installed_twice() {
        let (mut pair, [out, _]) = pair();
        assert_eq!(pair.install(0, &out), Ok(()));
        pair.hosts[0].sad.remove(&out.key()).unwrap();
        let (_, [again, _]) = self::pair();
        let again = SaSpec { spi: ChildSpi(501), ..again };
        assert!(pair.install(0, &again).unwrap_err().contains("were those of SA"));
    }

    #[test]
    fn an_sa_of_no_child_and_a_flood_are_seen() {
        let (mut pair, [out, _]) = pair();
        let pairs = pair.hosts[0].endpoint.pairs();
        assert_eq!(pair.oracle.step(&pair.hosts[0], &pairs, 3), Ok(()));
        assert!(pair.oracle.step(&pair.hosts[0], &pairs, 33).unwrap_err().contains("33 outputs"));
        pair.install(0, &out).unwrap();
        let seen = pair.oracle.step(&pair.hosts[0], &pairs, 0).unwrap_err();
        assert!(seen.contains("belongs to no child"), "{seen}");
    }

    #[test]
    fn hosts_without_sas_are_not_at_rest() {
        let (pair, _) = pair();
        assert!(at_rest(&pair.hosts, &pair.network, 0).unwrap_err().what.contains("there is no pair"));
    }

    #[test]
    fn a_secret_in_what_is_said_is_seen() {
        let (mut pair, [out, _]) = pair();
        pair.install(0, &out).unwrap();
        let host = &pair.hosts[0];
        let said = |text: &str| {
            let what = What::Note(text.to_owned());
            let event = Event { local: out.local, remote: out.remote, sa: None, spis: None, what };
            pair.oracle.said(host, &event)
        };
        assert_eq!(said("all is well"), Ok(()));
        assert!(said("tried the key of alpha and beta").is_err());
        assert!(said("keys 0303030303030303...").is_err());
    }
}

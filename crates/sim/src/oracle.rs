//! The judge: what must hold after every step, whatever the network did, and what must hold at rest.

mod rest;

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ike_proto::endpoint::status::{ChildStatus, PairStatus};
use ike_proto::ids::{ChildSpi, IkeSpi};
use ike_proto::output::Event;
use ike_proto::policy::sad::{Direction, Mode, SaKey};
use ike_proto::policy::selector::{Selector, Side};
use ike_proto::secret::Secret;
use ike_proto::time::Instant;
use ike_proto::wire::registry::ExchangeType;
use ike_proto::wire::udp_encap::KEEPALIVE;
use ike_proto::wire::{Header, Located, Sealed, SealedKind, locate};

pub use self::rest::{Place, Unrest, at_rest};
use crate::host::Host;
use crate::network::Network;
use crate::null_crypto::Digest;
use crate::sad::Sa;
use crate::trace::strip_marker;

/// Unfinished handshakes a pair may have at one time.
const HANDSHAKES_PER_PAIR: usize = 8;

/// Outputs one call may leave, beside a few for each pair it had to do with.
const OUTPUTS_PER_CALL: usize = 32;

/// Octets at the beginning of a key by which it is known again in a text.
const MARK: usize = 8;

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// The host it was seen at.
    pub host: usize,
    /// The host it concerns too, where one is known.
    pub peer: Option<usize>,
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

/// The answer to the request with this message id, or the part of it with this number of so many (RFC 7383).
type Answer = (SendingKey, u32, Option<(u16, u16)>);

/// What the judge remembers of a run.
#[derive(Debug, Default)]
pub struct Oracle {
    /// For each key and IV the message sealed with them.
    sealed: BTreeMap<(SendingKey, u64), Digest>,
    /// For each request the answer to it, or the parts of the answer.
    answers: BTreeMap<Answer, Digest>,
    /// For each receiving host and SPI the keys either end had for it.
    keys: BTreeMap<(usize, ChildSpi), Digest>,
    /// For each host, direction and keys the SPI they came with.
    uses: BTreeMap<(usize, Direction, Digest), ChildSpi>,
    /// The first octets of all keys that were ever installed.
    marks: BTreeSet<[u8; MARK]>,
}

/// A rule that is broken between two addresses, as a host sees them.
pub type Broken = ((IpAddr, IpAddr), String);

impl Oracle {
    /// A message leaves a host.
    ///
    /// # Errors
    /// If a key meets an IV twice, or a request gets a second answer.
    pub fn sent(&mut self, datagram: &[u8]) -> Result<(), String> {
        if *datagram == KEEPALIVE {
            return Ok(());
        }
        let message = strip_marker(datagram);
        let header = Header::read(message).map_err(|error| format!("sends what is no message: {error}"))?;
        let key = (header.spi_i, header.spi_r, header.flags.is_initiator());
        let located =
            locate(message, &header).map_err(|error| format!("sends what cannot be read: {error}"))?;
        let digest = Digest::of(message);
        let (sealed, fragment) = match &located {
            Located::Sealed(Sealed { kind: SealedKind::Fragment { number, total }, .. }) => {
                (true, Some((*number, *total)))
            }
            Located::Sealed(_) => (true, None),
            Located::Plain(_) => (false, None),
        };
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
            let first = *self.answers.entry((key, header.message_id, fragment)).or_insert(digest);
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
        let secrets = [&sa.spec.keys.encr, &sa.spec.keys.integ].map(Secret::expose);
        self.marks.extend(secrets.into_iter().filter_map(|secret| secret.first_chunk().copied()));
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
    /// If it holds a pre-shared key of the host, or a key of any SA there ever was.
    pub fn said(&self, host: &Host, event: &Event) -> Result<(), String> {
        let text = format!("{event} {event:?}").to_lowercase();
        let hex =
            |secret: &str| secret.bytes().take(MARK).map(|octet| format!("{octet:02x}")).collect::<String>();
        let mut shared = host.spec.secrets.iter();
        let told = shared.any(|secret| text.contains(&secret.to_lowercase()) || text.contains(&hex(secret)));
        if told || octets_in(&text).iter().any(|run| run.windows(MARK).any(|mark| self.is_key(mark))) {
            return Err(format!("a secret is in what was said about {}", event.remote));
        }
        Ok(())
    }

    fn is_key(&self, mark: &[u8]) -> bool {
        mark.first_chunk().is_some_and(|mark| self.marks.contains(mark))
    }
}

/// A host has finished a step and asked for `outputs` things; the step had to do with `pairs` pairs.
///
/// # Errors
/// If it asked for too much.
pub fn step(pairs: usize, outputs: usize) -> Result<(), String> {
    if outputs > OUTPUTS_PER_CALL + 8 * pairs {
        return Err(format!("one call left {outputs} outputs"));
    }
    Ok(())
}

/// Judges what a host has of one pair, after every step that had to do with it.
///
/// # Errors
/// If its engine and its kernel disagree, or something grows beyond its bound.
pub fn pair(host: &Host, (local, remote): (IpAddr, IpAddr)) -> Result<(), Broken> {
    let status = host.endpoint.pair_status(local, remote);
    judge(host, (local, remote), status.as_ref()).map_err(|what| ((local, remote), what))
}

/// Judges all that a host has, of whichever pair; how many pairs that are.
///
/// # Errors
/// If its engine and its kernel disagree, or something grows beyond its bound.
pub fn sweep(host: &Host) -> Result<usize, Broken> {
    let pairs = host.endpoint.pairs();
    let known: BTreeMap<_, _> = pairs.iter().map(|pair| ((pair.local, pair.remote), pair)).collect();
    let with_sas = host.sad.live().map(|sa| (sa.spec.local, sa.spec.remote));
    let all: BTreeSet<_> = known.keys().copied().chain(with_sas).collect();
    for ends in &all {
        judge(host, *ends, known.get(ends).copied()).map_err(|what| (*ends, what))?;
    }
    Ok(all.len())
}

fn judge(host: &Host, (local, remote): (IpAddr, IpAddr), pair: Option<&PairStatus>) -> Result<(), String> {
    let ike_sas = || pair.into_iter().flat_map(|pair| &pair.ike_sas);
    let halves = ike_sas().filter(|sa| sa.state == "handshake").count();
    if halves > HANDSHAKES_PER_PAIR {
        return Err(format!("{halves} unfinished handshakes with {remote}"));
    }
    let mut wanted = BTreeMap::new();
    for child in ike_sas().flat_map(|sa| &sa.children) {
        let inbound = SaKey { destination: local, spi: child.spi_in };
        let outbound = SaKey { destination: remote, spi: child.spi_out };
        wanted.insert(inbound, (Direction::In, child));
        // A child that waits for its turn, or is drained, has no outbound half; one that is superseded may have.
        if matches!(child.stage, "live" | "superseded") {
            wanted.insert(outbound, (Direction::Out, child));
        }
    }
    for sa in host.sad.between(local, remote) {
        let key = sa.spec.key();
        let Some((direction, child)) = wanted.remove(&key) else {
            return Err(format!("{:?} SA {} belongs to no child", sa.spec.direction, key.spi));
        };
        belongs(sa, direction, child)?;
    }
    let due = |(key, (direction, child)): &(&SaKey, &(Direction, &ChildStatus))| {
        let optional = *direction == Direction::Out && child.stage == "superseded";
        // What has a successor may be left to its end after its SA lapsed; what serves may not.
        let excused =
            host.lapsed.get(key).is_some_and(|told| !told || !matches!(child.stage, "live" | "half"));
        !excused && !optional
    };
    match wanted.iter().find(due).map(|(key, _)| key) {
        Some(key) => Err(format!("a child's SA {} is not in the kernel", key.spi)),
        None => Ok(()),
    }
}

/// The runs of octets that a text may show: pairs of hexadecimal digits, and lists of decimal numbers.
fn octets_in(text: &str) -> Vec<Vec<u8>> {
    let digits = text.split(|letter: char| !letter.is_ascii_hexdigit()).filter(|run| run.len() >= 2 * MARK);
    let hex = digits.flat_map(|run| {
        // A run may begin before the key does.
        [run, &run[1..]].map(|run| {
            let pairs = run.as_bytes().chunks_exact(2).filter_map(|pair| core::str::from_utf8(pair).ok());
            pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
        })
    });
    let lists = text.split(|letter: char| !(letter.is_ascii_digit() || ", ".contains(letter)));
    let decimal = lists.map(|list| list.split(", ").filter_map(|number| number.parse().ok()).collect());
    hex.chain(decimal).collect()
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
        let theirs = hosts[peer].sad.by_spi(sa.spec.spi).find(|theirs| {
            theirs.spec.direction != sa.spec.direction
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
        assert_eq!((step(0, 3), step(1, 40)), (Ok(()), Ok(())));
        assert!(step(0, 33).unwrap_err().contains("33 outputs"));
        assert_eq!(sweep(&pair.hosts[0]), Ok(0));
        pair.install(0, &out).unwrap();
        let ends = (out.local, out.remote);
        for seen in [super::pair(&pair.hosts[0], ends), sweep(&pair.hosts[0]).map(drop)] {
            let (between, what) = seen.unwrap_err();
            assert_eq!(between, ends);
            assert!(what.contains("belongs to no child"), "{what}");
        }
    }

    #[test]
    fn hosts_without_sas_are_not_at_rest() {
        let (pair, _) = pair();
        assert!(
            at_rest(&pair.hosts, &pair.network, Place::default())
                .unwrap_err()
                .what
                .contains("there is no pair")
        );
    }

    #[test]
    fn a_secret_in_what_is_said_is_seen() {
        let (mut pair, [out, _]) = pair();
        pair.install(0, &out).unwrap();
        let host = &pair.hosts[0];
        let said = |text: &str| {
            let what = What::Note(text.to_owned());
            let event =
                Event { local: out.local, remote: out.remote, sa: None, spis: None, flow: None, what };
            pair.oracle.said(host, &event)
        };
        assert_eq!(said("all is well"), Ok(()));
        assert!(said("tried the key of alpha and beta").is_err());
        assert!(said("keys 0303030303030303...").is_err());
        assert!(said("keys 40303030303030303").is_err());
        assert!(said("keys [3, 3, 3, 3, 3, 3, 3, 3, ..]").is_err());
        assert_eq!(said("keys [4, 3, 3, 3, 3, 3, 3, 4]"), Ok(()));
    }
}

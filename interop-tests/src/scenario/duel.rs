//! Two hosts and one pair: every role, family, suite and way between them. The matrix.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::{Kernel, Parties, Runs, Scenario};
use crate::capture::Capture;
use crate::failure::{Context, Result};
use crate::judge::{self, Clear};
use crate::net::{Host, Lan, NatBox, Port};
use crate::peer::{Config, Kind, Pair, Peer};
use crate::stage::Stage;
use crate::suite::{self, Suite};
use crate::traffic::{self, Marker};
use crate::{ensure, xfrm};

/// UDP datagrams sent each way, each of which both kernels must have counted.
const DATAGRAMS: u32 = 20;
/// Octets sent each way over TCP.
const STREAM: usize = 64 * 1024;
/// A service that is nobody's exception.
const SERVICE: u16 = 7100;
const SSH: u16 = 22;

/// What lies between the two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One network, IPv4.
    V4,
    /// One network, IPv6.
    V6,
    /// A masquerading box in front of the initiator, IPv4.
    Nat,
}

/// One cell of the matrix.
#[derive(Debug, Clone, Copy)]
struct Duel {
    initiator: Kind,
    responder: Kind,
    way: Way,
    suite: Suite,
}

/// One of the two hosts.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: Host,
    pub(super) port: Port,
    /// Its own address and the other's as it sees it.
    pub(super) pair: Pair,
}

/// Every cell: roles, ways, suites.
pub(super) fn all() -> Vec<Scenario> {
    let roles = [
        (Kind::StrongSwan, Kind::StrongSwan),
        (Kind::Coati, Kind::Coati),
        (Kind::Coati, Kind::StrongSwan),
        (Kind::StrongSwan, Kind::Coati),
    ];
    let mut all = Vec::new();
    for (initiator, responder) in roles {
        for way in [Way::V4, Way::V6, Way::Nat] {
            for suite in suite::ALL {
                all.push(Duel { initiator, responder, way, suite }.into_scenario());
            }
        }
    }
    all
}

impl Duel {
    fn into_scenario(self) -> Scenario {
        let Duel { initiator, responder, way, suite } = self;
        let roles = match (initiator, responder) {
            (Kind::Coati, Kind::Coati) => "coati-coati".to_owned(),
            (Kind::StrongSwan, Kind::StrongSwan) => "control-strongswan".to_owned(),
            (from, to) => format!("{}-to-{}", from.name(), to.name()),
        };
        let (way_name, between) = match way {
            Way::V4 => ("v4", "over IPv4"),
            Way::V6 => ("v6", "over IPv6"),
            Way::Nat => ("nat", "from behind a NAT box"),
        };
        let kinds = [initiator, responder];
        Scenario {
            name: format!("{roles}-{way_name}-{}", suite.name),
            claim: format!(
                "{} keys a pair with {} {between}, {}",
                initiator.name(),
                responder.name(),
                suite.name
            ),
            runs: self.runs(),
            kernel: Kernel::Any,
            parties: Parties {
                coati: kinds.contains(&Kind::Coati),
                strongswan: kinds.contains(&Kind::StrongSwan),
            },
            limit: Duration::from_secs(90),
            play: Box::new(move |stage| self.play(stage)),
        }
    }

    /// Which cells always run: every role with every way and every suite, not every combination.
    fn runs(&self) -> Runs {
        let first = self.suite == suite::AES256GCM_X25519;
        let cbc = self.suite == suite::AES128CBC_MODP3072;
        let always = match (self.initiator, self.responder, self.way) {
            (Kind::StrongSwan, Kind::StrongSwan, way) => first && way != Way::V6,
            (Kind::Coati, Kind::Coati, Way::V4) => true,
            (_, _, Way::V4) => !cbc,
            (_, _, Way::V6) => cbc,
            (_, _, Way::Nat) => first,
        };
        if always { Runs::Always } else { Runs::InFull }
    }

    fn play(&self, stage: &Stage) -> Result<()> {
        let [first, second] = match self.way {
            Way::V4 => lan(["203.0.113.1", "203.0.113.2"])?,
            Way::V6 => lan(["2001:db8::1", "2001:db8::2"])?,
            Way::Nat => behind_nat()?,
        };
        // The responder first: an initiator that starts at once finds somebody there.
        let responder = Peer::start(self.responder, stage, &second.host, &self.config(&second))?;
        let initiator = Peer::start(self.initiator, stage, &first.host, &self.config(&first))?;
        let captures = [stage.capture(&first.port)?, stage.capture(&second.port)?];

        let secret = Marker::new("secret")?;
        traffic::tcp(&first.host, &second.host, to(&first, SERVICE), &secret, 1024)?;
        self.check_initiator(&initiator, &responder)?;
        self.check_states(&[&first, &second])?;
        protected_traffic(&first, &second, &secret)?;
        let open = Marker::new("open")?;
        traffic::tcp(&first.host, &second.host, to(&first, SSH), &open, 1024)?;
        traffic::ping(&first.host, first.pair.remote)?;
        self.check_states(&[&first, &second])?;

        check_status(&initiator, &first, "initiator")?;
        check_status(&responder, &second, "responder")?;
        judge_captures(captures, [&first, &second], &secret, &open)?;
        stage.keep_kernel_view(&first.host);
        stage.keep_kernel_view(&second.host);
        Ok(())
    }

    fn config(&self, end: &End) -> Config {
        Config::one(self.suite, end.pair.clone())
    }

    /// strongSwan's log tells who began; two Coatis tell it by having nobody else.
    fn check_initiator(&self, initiator: &Peer, responder: &Peer) -> Result<()> {
        if self.initiator == Kind::StrongSwan {
            ensure!(
                initiator.said()?.contains("initiating IKE_SA"),
                "strongSwan was to initiate, and did not"
            );
        }
        if self.responder == Kind::StrongSwan {
            ensure!(responder.said()?.contains("is initiating an IKE_SA"), "nobody initiated at strongSwan");
        }
        Ok(())
    }

    /// Each kernel has one SA each way, of this suite, in transport mode, in UDP; both have the same two.
    fn check_states(&self, ends: &[&End]) -> Result<()> {
        let mut spis = Vec::new();
        for end in ends {
            let name = end.host.name();
            let states = xfrm::states(&end.host)?;
            ensure!(states.len() == 2, "{name} has {} ESP SAs, not one each way", states.len());
            for state in &states {
                let ports = state.encapsulation.map(|(from, to)| [from, to]);
                ensure!(
                    ports.is_some_and(|ports| ports.contains(&4500)),
                    "{name} has an SA that is not in UDP"
                );
                ensure!(state.mode == "transport", "{name} has an SA in {} mode", state.mode);
                let wanted = self.suite.kernel;
                ensure!(state.algorithms == wanted, "{name} has {:?}, not {wanted:?}", state.algorithms);
            }
            let mut own: Vec<u32> = states.iter().map(|state| state.spi).collect();
            own.sort_unstable();
            spis.push(own);
        }
        ensure!(
            spis.windows(2).all(|two| two[0] == two[1]),
            "the ends do not have the same SPIs: {spis:08x?}"
        );
        Ok(())
    }
}

/// `coati status --json` says what the kernel says: one IKE SA, one child, its SPIs, its octets.
fn check_status(peer: &Peer, end: &End, role: &str) -> Result<()> {
    let Peer::Coati(coati) = peer else { return Ok(()) };
    let text = coati.status(&["--json"])?;
    let status: Value = serde_json::from_str(&text).context(|| "coati status --json".to_owned())?;
    let remote = end.pair.remote.to_string();
    let pairs = status["pairs"].as_array().context(|| format!("no pairs in {text}"))?;
    let pair =
        pairs.iter().find(|pair| pair["remote"] == *remote).context(|| format!("no pair in {text}"))?;
    ensure!(
        pair["state"] == "up" && pair["last_error"].is_null(),
        "the pair with {remote} is not up: {pair}"
    );
    let sas =
        [&pair["ike_sas"], &pair["ike_sas"][0]["children"]].map(|list| list.as_array().map_or(0, Vec::len));
    ensure!(sas == [1, 1], "the pair with {remote} has {sas:?} IKE SAs and children: {pair}");
    ensure!(pair["ike_sas"][0]["role"] == role, "{} is not the {role}: {pair}", end.host.name());
    let child = &pair["ike_sas"][0]["children"][0];
    for state in xfrm::states(&end.host)? {
        let way = if state.destination == end.pair.local { "in" } else { "out" };
        let spi = format!("{:08x}", state.spi);
        ensure!(
            child[format!("spi_{way}")] == *spi,
            "the kernel has SPI {spi} {way}, coati status says {child}"
        );
        let bytes = child[format!("bytes_{way}")].as_u64().unwrap_or(0);
        ensure!(
            bytes > 0 && bytes <= state.bytes,
            "{} octets went {way}, coati status says {child}",
            state.bytes
        );
    }
    Ok(())
}

/// Sends datagrams and streams both ways and checks that the counters of all four SAs grew by the datagrams at least.
pub(super) fn protected_traffic(first: &End, second: &End, secret: &Marker) -> Result<()> {
    for (from, at) in [(first, second), (second, first)] {
        let sent = || xfrm::packets(&from.host, from.pair.local, from.pair.remote);
        let received = || xfrm::packets(&at.host, at.pair.remote, at.pair.local);
        let before = (sent()?, received()?);
        let arrived = traffic::udp(&from.host, &at.host, to(from, SERVICE), secret, DATAGRAMS, 200)?;
        ensure!(arrived == DATAGRAMS, "{arrived} of {DATAGRAMS} datagrams arrived at {}", at.host.name());
        let after = (sent()?, received()?);
        let grown = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
        let all = u64::from(DATAGRAMS);
        ensure!(
            grown.0 >= all,
            "{} sent {all} datagrams, its ESP counter grew by {}",
            from.host.name(),
            grown.0
        );
        ensure!(
            grown.1 >= all,
            "{} got {all} datagrams, its ESP counter grew by {}",
            at.host.name(),
            grown.1
        );
        traffic::tcp(&from.host, &at.host, to(from, SERVICE), secret, STREAM)?;
    }
    Ok(())
}

/// The verdict on both ends of the wire. A NAT box in the middle changes the addresses, so each end has its own.
fn judge_captures(captures: [Capture; 2], ends: [&End; 2], secret: &Marker, open: &Marker) -> Result<()> {
    for (capture, end) in captures.into_iter().zip(ends) {
        let packets = capture.finish()?;
        judge::never_in_clear(&packets, secret)?;
        judge::readable(&packets, open)?;
        let Pair { local, remote, .. } = end.pair;
        let sum = judge::crossed(&packets, local, remote, &[Clear::Icmp, Clear::Tcp(SSH)])?;
        eprintln!("between {local} and {remote}: {sum:?}");
        let enough = u64::from(DATAGRAMS);
        ensure!(sum.esp.iter().all(|count| *count > enough), "too little ESP crossed: {:?}", sum.esp);
        ensure!(sum.spis.len() == 2, "packets of {} SAs crossed, not of two", sum.spis.len());
        ensure!(sum.ike >= 4, "{} IKE messages crossed, IKE_SA_INIT and IKE_AUTH have four", sum.ike);
        ensure!(sum.clear.len() == 2, "ICMP and SSH were to cross in clear, seen were {:?}", sum.clear);
    }
    Ok(())
}

/// Where one end reaches the other.
pub(super) fn to(end: &End, port: u16) -> SocketAddr {
    SocketAddr::new(end.pair.remote, port)
}

/// Two hosts on one network.
pub(super) fn lan(addresses: [&str; 2]) -> Result<[End; 2]> {
    let lan = Lan::new("lan")?;
    let [one, other] = addresses;
    Ok([end(&lan, "alice", one, other)?, end(&lan, "bob", other, one)?])
}

/// A host on a network, with a pair to an address on it.
pub(super) fn end(lan: &Lan, name: &str, own: &str, other: &str) -> Result<End> {
    let host = Host::new(name)?;
    let length = if own.contains(':') { 64 } else { 24 };
    let port = lan.join(&host, "eth0", &[&format!("{own}/{length}")])?;
    Ok(End { host, port, pair: Pair::new(address(own)?, address(other)?) })
}

/// alice at 192.0.2.10 behind a box whose outer address is 203.0.113.1, bob outside at 203.0.113.2.
fn behind_nat() -> Result<[End; 2]> {
    let (inside, outside) = (Lan::new("inside")?, Lan::new("outside")?);
    NatBox::new("nat", (&inside, "192.0.2.1/24"), (&outside, "203.0.113.1/24"))?;
    let alice = end(&inside, "alice", "192.0.2.10", "203.0.113.2")?;
    alice.host.ip("route add default via 192.0.2.1")?;
    let mut bob = end(&outside, "bob", "203.0.113.2", "203.0.113.1")?;
    bob.pair.remote_id = alice.pair.local;
    Ok([alice, bob])
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().context(|| format!("{text} is no address"))
}

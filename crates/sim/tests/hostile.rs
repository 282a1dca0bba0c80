//! Peers that are not who they say or want what is not theirs, and people on the path without keys.

use std::sync::Arc;

use coati_sim::link::Conditions;
use coati_sim::scenario::{Goal, HostSpec, Scenario, host_policy, psks};
use coati_sim::script::{Fate, Forgery, Match, Rule};
use coati_sim::trace::Sight;
use coati_sim::{Failure, TwoHosts, World, draw, run, sweep};
use ike_proto::config::EndpointConfig;
use ike_proto::output::What;
use ike_proto::policy::identity::Identity;
use ike_proto::policy::peer::{LocalId, PeerConfig};
use ike_proto::policy::peer_db::PeerDb;
use ike_proto::policy::sad::{Lifetimes, Mode};
use ike_proto::policy::selector::{Net, Side};
use ike_proto::policy::spd::Policy;
use ike_proto::time::{Duration, Instant};
use ike_proto::wire::Payload;
use ike_proto::wire::registry::{ExchangeType, KeId, NotifyType};

fn passed<T>(result: Result<T, Failure>) -> T {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

/// A run to its time limit; only a broken rule fails it.
fn watched(seed: u64, scenario: &Scenario) -> World {
    let limit = Duration::from_secs(100);
    passed(run(seed, &Scenario { goal: Goal::Elapsed, limit, ..scenario.clone() }).verdict())
}

/// Whether a host sent a notify of this type.
fn notified(world: &World, from: usize, wanted: NotifyType) -> bool {
    world.trace().sights().any(|(_, sight)| {
        let Sight::Sent { from: sender, datagram, .. } = sight else { return false };
        let payloads = world.trace().message(datagram).and_then(|(_, payloads)| payloads);
        *sender == from
            && payloads
                .unwrap_or_default()
                .iter()
                .any(|payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == wanted))
    })
}

fn has_nothing(world: &World) -> bool {
    world.counts().children == 0 && world.hosts().iter().all(|host| host.sad.live().next().is_none())
}

#[test]
fn a_peer_with_a_wrong_key_gets_nothing() {
    for seed in 0..50 {
        let two = TwoHosts { keys: ["the key of alpha and beta", "another key"], ..draw::two_hosts(seed) };
        let link = Conditions { loss: seed % 4 * 50, ..Conditions::rough(0) };
        let world = watched(seed, &Scenario { link, ..two.scenario() });
        assert!(has_nothing(&world), "seed {seed}\n{}", world.trace().ladder(0, 1));
        assert_eq!(world.counts().ike_sas, 0, "seed {seed}");
        assert!(notified(&world, 1 - two.starter, NotifyType::AUTHENTICATION_FAILED), "seed {seed}");
    }
}

/// Mallory sits at alpha's address and has a good key, but it is not alpha's.
#[test]
fn a_good_key_from_another_peers_address_gets_ts_unacceptable_and_no_sa() {
    let mut two = TwoHosts::plain();
    two.peers[0].local_id = LocalId::Fixed(Identity::fqdn("mallory.example"));
    two.keys = ["mallory's key", "alpha's key"];
    let mut scenario = two.scenario();
    let alpha = two.own()[0];
    let mut peers =
        PeerDb::new(psks(&[(&alpha.to_string(), "alpha's key"), ("mallory.example", "mallory's key")]));
    peers.insert(None, PeerConfig::with_defaults("anonymous"));
    scenario.hosts[1].peers = Arc::new(peers);
    for seed in 0..20 {
        let world = watched(seed, &scenario);
        assert!(has_nothing(&world), "{}", world.trace().ladder(0, 1));
        assert!(notified(&world, 1, NotifyType::TS_UNACCEPTABLE), "{}", world.trace().ladder(0, 1));
    }
}

/// Gamma has a key and a policy of its own at beta, and asks for the network that beta reaches through alpha.
#[test]
fn a_peer_that_asks_for_another_peers_network_gets_ts_unacceptable_and_no_sa() {
    let [gamma, beta, alpha] = ["192.0.2.3", "192.0.2.2", "192.0.2.1"].map(|text| text.parse().unwrap());
    let network = Net::new("10.9.0.0".parse().unwrap(), 16);
    let tunnel = |index, local, remote, behind_local: Net, behind_remote: Net| {
        let mut policy = host_policy(index, local, remote, 0);
        policy.template.mode = Mode::Tunnel;
        policy.template.endpoints = Some((local, remote));
        policy.selector.local = Side { net: behind_local, port: None };
        policy.selector.remote = Side { net: behind_remote, port: None };
        policy
    };
    let host = |name: &str, address, policies: Vec<Policy>, lines: &[(&str, &str)]| {
        let mut peers = PeerDb::new(psks(lines));
        peers.insert(None, PeerConfig::with_defaults("anonymous"));
        HostSpec {
            name: name.to_owned(),
            addresses: vec![address],
            site: None,
            policies,
            peers: Arc::new(peers),
            config: EndpointConfig::default(),
            secrets: lines.iter().map(|(_, key)| (*key).to_owned()).collect(),
            limits: Lifetimes::default(),
            quick_crash_detection: false,
            reconcile: None,
        }
    };
    let wish = tunnel(1, gamma, beta, network, Net::host(beta));
    let theirs = vec![host_policy(1, beta, gamma, 0), tunnel(2, beta, alpha, Net::host(beta), network)];
    let hosts = vec![
        host("gamma", gamma, vec![wish], &[("192.0.2.2", "gamma's key")]),
        host("beta", beta, theirs, &[("192.0.2.3", "gamma's key"), ("192.0.2.1", "alpha's key")]),
    ];
    let flows = TwoHosts::plain().scenario().flows;
    let world = watched(1, &Scenario { hosts, flows, ..Scenario::empty() });
    assert!(has_nothing(&world), "{}", world.trace().ladder(0, 1));
    assert!(notified(&world, 1, NotifyType::TS_UNACCEPTABLE), "{}", world.trace().ladder(0, 1));
    assert_eq!(world.counts().ike_sas, 2, "the IKE SA stays without a child");
}

/// When a host said something of a kind.
fn said(world: &World, host: usize, kind: fn(&What) -> bool) -> Vec<Instant> {
    let sights = world.trace().sights();
    let hit = |sight: &Sight| matches!(sight, Sight::Said { host: by, event, .. } if *by == host && kind(&event.what));
    sights.filter(|(_, sight)| hit(sight)).map(|(at, _)| *at).collect()
}

#[test]
fn forged_answers_never_end_an_attempt() {
    let forgeries = [
        Forgery::Error(NotifyType::NO_PROPOSAL_CHOSEN),
        Forgery::Error(NotifyType::INVALID_SYNTAX),
        Forgery::Error(NotifyType::AUTHENTICATION_FAILED),
        Forgery::Error(NotifyType::INVALID_IKE_SPI),
        Forgery::Error(NotifyType::INVALID_MAJOR_VERSION),
        Forgery::Token(32),
        // One that was not offered, one never accepted, one that was offered.
        Forgery::InvalidKe(KeId::MODP2048),
        Forgery::InvalidKe(KeId::MODP1024),
        Forgery::InvalidKe(KeId::ECP384),
        Forgery::Noise(0),
        Forgery::Noise(3),
        Forgery::Noise(200),
        Forgery::SealedNoise(9),
        Forgery::SealedNoise(200),
    ];
    for exchange in [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_AUTH] {
        for forgery in forgeries {
            for seed in 0..10 {
                let mut scenario = TwoHosts::plain().scenario();
                let when = Match::request(0, exchange);
                scenario.script.rules.push(Rule::always(when, Fate::Forge(forgery)));
                let world = passed(run(seed, &scenario).verdict());
                let ladder = world.trace().ladder(0, 1);
                let attempts = said(&world, 0, |what| matches!(what, What::Initiating { .. }));
                let up = said(&world, 0, |what| matches!(what, What::ChildUp { .. }));
                assert_eq!(attempts.len(), 1, "{forgery:?} at {exchange}\n{ladder}");
                // No answer was lost: nobody had to wait for a time to run out.
                let soon = Instant::ZERO + Duration::from_secs(5);
                assert!(up.len() == 1 && up[0] < soon, "{forgery:?} at {exchange}\n{ladder}");
            }
        }
    }
}

#[test]
fn flipped_bits_are_never_believed() {
    passed(sweep(0..2_000, |seed| {
        let link = Conditions { corrupt: 20 + seed % 10 * 10, loss: seed % 11 * 10, ..Conditions::rough(0) };
        let limit = Duration::from_secs(1800);
        let scenario = Scenario { link, limit, ..draw::two_hosts(seed).scenario() };
        let world = run(seed, &scenario).verdict()?;
        assert_eq!(world.counts().leaked, 0);
        Ok(())
    }));
}

/// Each bit of each message of the handshake, one at a time.
#[test]
fn no_single_flipped_bit_of_the_handshake_panics_or_installs_anything_wrong() {
    let exchanges = [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_AUTH];
    let places = exchanges.into_iter().flat_map(|exchange| [(0, exchange, false), (1, exchange, true)]);
    let cases: Vec<_> = places.flat_map(|place| (0..3_000).step_by(7).map(move |bit| (place, bit))).collect();
    let count = u64::try_from(cases.len()).unwrap();
    passed(sweep(0..count, |number| {
        let ((from, exchange, response), bit) = cases[usize::try_from(number).unwrap()];
        let mut scenario = TwoHosts::plain().scenario();
        let when =
            Match { from: Some(from), exchange: Some(exchange), response: Some(response), message_id: None };
        scenario.script.rules.push(Rule::once(when, Fate::Flip(bit)));
        scenario.limit = Duration::from_secs(300);
        run(number, &scenario).verdict().map(drop)
    }));
}

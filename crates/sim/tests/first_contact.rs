//! INITIAL_CONTACT to a peer that is reached by two addresses: such a peer may take it for a word about both pairs, so
//! nothing else authenticates to it while it is on its way.

use std::net::IpAddr;
use std::sync::Arc;

use coati_sim::link::Conditions;
use coati_sim::scenario::{Goal, HostSpec, Scenario, host_policy, psks};
use coati_sim::trace::Sight;
use coati_sim::{Failure, TwoHosts, World, run, sweep};
use ike_proto::policy::peer::PeerConfig;
use ike_proto::policy::peer_db::PeerDb;
use ike_proto::time::{Duration, Instant};
use ike_proto::wire::registry::{ExchangeType, NotifyType};
use ike_proto::wire::{Header, Payload};

const KEY: &str = "the one key of both";

/// Alpha sets up two pairs at once, with both addresses of beta. `lines` is alpha's psk.txt.
fn two_addresses(lines: &[(&str, &str)], link: Conditions) -> Scenario {
    let plain = TwoHosts::plain().scenario();
    let [alpha, beta] = [address("192.0.2.1"), address("192.0.2.2")];
    let other = address("192.0.2.3");
    let host = |spec: &HostSpec, peers: PeerDb, addresses: Vec<IpAddr>, policies| HostSpec {
        addresses,
        policies,
        peers: Arc::new(peers),
        secrets: vec![KEY.to_owned()],
        ..spec.clone()
    };
    let mut peers = PeerDb::new(psks(lines));
    peers.insert(None, PeerConfig::with_defaults("beta"));
    let policies = vec![host_policy(1, alpha, beta, 0), host_policy(2, alpha, other, 0)];
    let mut first = host(&plain.hosts[0], peers, vec![alpha], policies);
    first.config.initiate_at_start = true;
    let mut peers = PeerDb::new(psks(&[("192.0.2.1", KEY)]));
    peers.insert(None, PeerConfig::with_defaults("alpha"));
    let policies = vec![host_policy(1, beta, alpha, 0), host_policy(2, other, alpha, 0)];
    let second = host(&plain.hosts[1], peers, vec![beta, other], policies);
    let flow = |policy| coati_sim::traffic::FlowSpec { policy, ..plain.flows[0] };
    Scenario { hosts: vec![first, second], flows: vec![flow(0), flow(1)], link, ..plain }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address literal of this file")
}

/// Every request of IKE_AUTH that alpha sent, again or for the first time, and every answer it took: when, of which SA,
/// whether it is an answer, and whether it says INITIAL_CONTACT.
fn authentications(world: &World) -> Vec<(Instant, Header, bool, bool)> {
    let read = |datagram: &Arc<[u8]>, is_answer: bool| {
        let (header, payloads) = world.trace().message(datagram)?;
        let says = |payload: &Payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == NotifyType::INITIAL_CONTACT);
        let is_one = header.exchange == ExchangeType::IKE_AUTH && header.flags.is_response() == is_answer;
        is_one.then(|| (header, is_answer, payloads.unwrap_or_default().iter().any(says)))
    };
    let sights = world.trace().sights().filter_map(|(at, sight)| {
        let (header, is_answer, says) = match sight {
            Sight::Sent { from: 0, datagram, .. } => read(datagram, false)?,
            Sight::Took { host: 0, datagram, .. } => read(datagram, true)?,
            _ => return None,
        };
        Some((*at, header, is_answer, says))
    });
    sights.collect()
}

#[test]
fn nothing_authenticates_to_the_same_peer_while_initial_contact_is_on_its_way() {
    let lines = [("192.0.2.2", KEY), ("192.0.2.3", KEY)];
    sweep(0..200, |seed| {
        let scenario = two_addresses(&lines, Conditions::rough(seed % 3 * 50));
        let world = run(seed, &scenario).verdict()?;
        let seen = authentications(&world);
        let (told, teller) = seen
            .iter()
            .find_map(|(at, header, _, says)| says.then_some((*at, header.spi_i)))
            .ok_or_else(|| Failure::of(seed, "nobody said INITIAL_CONTACT".to_owned(), &world))?;
        let answered = seen.iter().find(|(_, header, is_answer, _)| *is_answer && header.spi_i == teller);
        let over = answered.map_or(told + Duration::from_secs(3), |(at, ..)| *at);
        for (at, header, is_answer, says) in &seen {
            let other = !is_answer && header.spi_i != teller;
            if other && (*says || (*at >= told && *at < over.min(told + Duration::from_secs(3)))) {
                let what = format!("SA {} authenticates at {at:?}, {says}", header.spi_i);
                return Err(Failure::of(seed, what, &world));
            }
        }
        Ok(())
    })
    .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_first_contact_that_is_never_answered_holds_the_other_pair_for_seconds_only() {
    let lines = [("192.0.2.2", KEY), ("192.0.2.3", KEY)];
    let mut other_was_up_first = 0;
    for seed in 0..60 {
        // Every third message is lost: many a first contact is asked and answered late.
        let limit = Duration::from_secs(300);
        let scenario = Scenario { limit, ..two_addresses(&lines, Conditions::rough(330)) };
        let world = run(seed, &scenario).verdict().unwrap_or_else(|failure| panic!("{failure}"));
        let seen = authentications(&world);
        let teller = seen.iter().find_map(|(_, header, _, says)| says.then_some(header.spi_i)).unwrap();
        let answered = seen.iter().find(|(_, _, is_answer, _)| *is_answer).unwrap();
        other_was_up_first += u32::from(answered.1.spi_i != teller);
    }
    assert!(other_was_up_first > 0, "a held handshake never overtook the one it waited for");
}

#[test]
fn a_key_for_all_peers_names_none_of_them_and_nobody_waits() {
    let scenario = Scenario {
        goal: Goal::Converged { settle: Duration::from_secs(1), crossed: 3 },
        ..two_addresses(&[("*", KEY)], Conditions::calm())
    };
    for seed in 0..20 {
        let world = run(seed, &scenario).verdict().unwrap_or_else(|failure| panic!("{failure}"));
        assert!(authentications(&world).iter().all(|(_, _, _, says)| !says), "seed {seed}");
    }
}

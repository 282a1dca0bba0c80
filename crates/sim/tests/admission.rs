//! Floods of first requests: they cost no key exchange and no memory for long, and known peers get through (RFC 7296 §2.6).

use std::net::IpAddr;
use std::sync::Arc;

use coati_sim::flood::FloodSpec;
use coati_sim::link::Conditions;
use coati_sim::scenario::{Scenario, psks};
use coati_sim::trace::Sight;
use coati_sim::{Failure, TwoHosts, World, reach, sweep};
use ike_proto::policy::peer::PeerConfig;
use ike_proto::policy::peer_db::PeerDb;
use ike_proto::time::Duration;
use ike_proto::wire::registry::{KeId, NotifyType};
use ike_proto::wire::{Located, Payload, locate};

/// Requests of the flood.
const REQUESTS: u32 = 3_000;

/// Alpha, and a flood of requests such as the alpha of `like` makes, want SAs of beta, who takes anybody (racoon's `remote anonymous`).
fn flooded(two: &TwoHosts, like: &TwoHosts, source: Option<IpAddr>) -> Scenario {
    let mut scenario = two.scenario();
    let [alpha, _] = two.own();
    let mut peers =
        PeerDb::new(psks(&[(&alpha.to_string(), two.keys[1]), ("*", "the key of everybody else")]));
    peers.insert(Some(alpha), two.peers[1].clone());
    peers.insert(None, PeerConfig { name: "anonymous".to_owned(), ..two.peers[1].clone() });
    scenario.hosts[1].peers = Arc::new(peers);
    scenario.flows[0].start = Duration::from_millis(700);
    scenario.floods.push(FloodSpec {
        like: like.scenario().hosts.swap_remove(0),
        policy: 0,
        start: Duration::ZERO,
        every: Duration::from_millis(2),
        count: REQUESTS,
        source,
    });
    scenario
}

/// Handshakes that wait at beta.
fn waiting(world: &World) -> usize {
    let pairs = world.hosts()[1].endpoint.pairs();
    pairs.iter().flat_map(|pair| &pair.ike_sas).filter(|sa| sa.state == "handshake").count()
}

/// Steps until alpha has its child; the most handshakes that waited at beta at one time, looked at now and then.
fn until_alpha_is_in(seed: u64, world: &mut World, within: Duration) -> Result<usize, Failure> {
    let (mut most, mut steps) = (0, 0_u32);
    reach(seed, world, within, |world| {
        steps += 1;
        if steps.is_multiple_of(100) {
            most = most.max(waiting(world));
        }
        world.hosts()[0].sad.live().count() == 2
    })?;
    Ok(most)
}

/// Notifies of a type that a host took in answers to its first requests.
fn told(world: &World, host: usize, wanted: NotifyType) -> usize {
    let of = |sight: &Sight| match sight {
        Sight::Took { host: by, datagram, .. } if *by == host => world.trace().message(datagram),
        _ => None,
    };
    let payloads = world.trace().sights().filter_map(|(_, sight)| of(sight)?.1).flatten();
    payloads.filter(|payload| matches!(payload, Payload::Notify(it) if it.notify_type == wanted)).count()
}

#[test]
fn one_address_that_floods_is_asked_for_cookies_before_others_are() {
    sweep(0..40, |seed| {
        let two = TwoHosts::plain();
        let mut scenario = flooded(&two, &two, Some("250.0.0.1".parse().unwrap()));
        scenario.link = Conditions { loss: seed % 3 * 50, ..Conditions::rough(0) };
        let mut world = World::new(seed, &scenario);
        let most = until_alpha_is_in(seed, &mut world, Duration::from_secs(40))?;
        let cookies = told(&world, 0, NotifyType::COOKIE);
        if cookies > 0 || most > scenario.hosts[1].config.cookie_threshold_per_source + 1 {
            let what = format!("{most} handshakes at one time, {cookies} cookies for alpha");
            return Err(Failure::of(seed, what, &world));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn strangers_that_fill_their_lane_keep_no_known_peer_out() {
    sweep(0..40, |seed| {
        let mut two = TwoHosts::plain();
        // No cookies: the lane alone keeps the places of known peers.
        (two.config.cookie_threshold, two.config.cookie_threshold_per_source) = (usize::MAX, usize::MAX);
        two.config.half_open_limit = 50;
        let scenario = flooded(&two, &two, None);
        let mut world = World::new(seed, &scenario);
        let most = until_alpha_is_in(seed, &mut world, Duration::from_secs(3))?;
        if !(50..=51).contains(&most) {
            return Err(Failure::of(seed, format!("{most} handshakes at one time"), &world));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_answer_to_a_first_request_is_at_most_twice_as_long() {
    let two = TwoHosts::plain();
    let mut world = World::new(1, &flooded(&two, &two, None));
    world.run_for(Duration::from_secs(5));
    let len = |sight: &Sight| match sight {
        Sight::Took { host: 1, datagram, .. } => Some((false, datagram.len())),
        Sight::Sent { from: 1, datagram, .. } => {
            let (header, _) = world.trace().message(datagram)?;
            let first = matches!(locate(datagram, &header), Ok(Located::Plain(_)));
            (first && header.flags.is_response()).then_some((true, datagram.len()))
        }
        _ => None,
    };
    let lens: Vec<_> = world.trace().sights().filter_map(|(_, sight)| len(sight)).collect();
    let shortest = lens.iter().filter(|(answer, _)| !answer).map(|(_, len)| *len).min().unwrap();
    let answers: Vec<usize> = lens.iter().filter(|(answer, _)| *answer).map(|(_, len)| *len).collect();
    assert!(answers.len() > 1_000);
    assert!(answers.iter().all(|len| *len <= 2 * shortest), "{shortest} {:?}", answers.iter().max());
}

#[test]
fn a_flood_from_forged_addresses_costs_few_key_exchanges_leaves_nothing_and_known_peers_get_through() {
    let cookies = sweep(0..60, |seed| {
        let mut two = TwoHosts::plain();
        if seed.is_multiple_of(2) {
            // Alpha's first guess is refused, so that it has a cookie and another group to bring.
            two.peers[0].offers[0].ke = vec![KeId::CURVE25519, KeId::ECP256];
            two.peers[1].offers[0].ke = vec![KeId::ECP256];
        }
        // The flood guesses right.
        let mut like = two.clone();
        like.peers[0].offers = two.peers[1].offers.clone();
        let mut scenario = flooded(&two, &like, None);
        scenario.link = Conditions { loss: seed % 3 * 50, ..Conditions::rough(0) };
        let mut world = World::new(seed, &scenario);
        let most = until_alpha_is_in(seed, &mut world, Duration::from_secs(40))?;
        world.run_for(Duration::from_secs(100));
        reach(seed, &mut world, Duration::from_secs(20), |world| world.at_rest().is_ok())?;
        let threshold = scenario.hosts[1].config.cookie_threshold;
        let jobs = world.counts().jobs;
        // Each request that is admitted costs beta one key exchange; what alpha and beta do to each other is a few more.
        let few = u64::try_from(threshold).unwrap() + 40;
        let left = world.hosts()[1].endpoint.pairs().len();
        if most > threshold + 1 || jobs > few || left != 1 {
            let what = format!("{most} handshakes at one time, {jobs} jobs, {left} pairs are left");
            return Err(Failure::of(seed, what, &world));
        }
        Ok(told(&world, 0, NotifyType::COOKIE))
    });
    let asked = cookies.unwrap().iter().filter(|cookies| **cookies > 0).count();
    assert!(asked > 50, "alpha is asked for cookies too: {asked}");
}

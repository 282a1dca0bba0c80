//! SAs that are replaced again and again while traffic flows: one IKE SA and one child stay, and no packet is lost by it.
//!
//! The rule that no packet is lost which the link did not lose is held here for child and IKE rekeys by time, on calm, lossy
//! and slow links, one end or both at a time, with groups that are refused at first; in `limits` for rekeys by packets and
//! octets; in `fragments` for rekeys in many parts; in `crossings` for every crossing of rekeys; in `large_meshes` for a mesh.
//! Three families cannot have it. After a reboot the host has no SA for what its peer still sends. After a delete by hand,
//! or at a hard limit of the kernel, an end has taken its SA away before there is another. And when a rekey's messages are
//! lost for longer than the kernel's hard time limit leaves, the SA ends before its successor comes: so lifetimes here are
//! long enough for the losses.

use coati_sim::link::{Conditions, Span};
use coati_sim::scenario::{Goal, Scenario};
use coati_sim::script::Action;
use coati_sim::{Failure, TwoHosts, World, draw, reach, sweep};
use ike_proto::ids::IkeSpi;
use ike_proto::time::Duration;
use ike_proto::wire::registry::KeId;

/// Fails with the seed and the ladder, as they are printed.
fn passed<T>(result: Result<T, Failure>) -> T {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

/// Two hosts of `seed` whose child lives 20 to 60 s and whose IKE SA 60 to 180 s; both ends may have the same times.
fn short_lived(seed: u64) -> TwoHosts {
    let mut two = draw::two_hosts(seed);
    for (host, peer) in two.peers.iter_mut().enumerate() {
        // In half of all seeds both ends rekey at the same time; else one end is always first.
        let later = if host == 1 && seed % 4 >= 2 { 5 } else { 0 };
        peer.child.lifetime = Duration::from_secs(20 + seed % 5 * 10 + later);
        peer.lifetime = Duration::from_secs(60 + seed % 7 * 20 + 3 * later);
    }
    two
}

/// The initiator's SPI of alpha's one IKE SA.
fn ike_spi(world: &World) -> IkeSpi {
    world.hosts()[0].endpoint.pairs()[0].ike_sas[0].spi_i
}

/// Brings a scenario up, lets it rekey for `span`, and holds that nothing is lost and all is at rest again.
fn rekeys_quietly(seed: u64, scenario: &Scenario, span: Duration) -> Result<World, Failure> {
    let mut world = World::new(seed, scenario);
    reach(seed, &mut world, Duration::from_secs(120), World::is_flowing)?;
    // What was on its way when the pair came up has arrived.
    world.run_for(Duration::from_secs(5));
    let (before, made, first) = (world.dropped(), *world.counts(), ike_spi(&world));
    world.run_for(span);
    let after = world.dropped();
    reach(seed, &mut world, Duration::from_secs(60), |world| world.at_rest().is_ok())?;
    let lost = after.max(world.dropped()) - before;
    if lost > 0 {
        let tallies: Vec<_> = world.flows().iter().map(|flow| (&flow.out, &flow.back)).collect();
        return Err(Failure::of(seed, format!("{lost} packets are lost by the hosts: {tallies:?}"), &world));
    }
    if world.counts().children < made.children + 4 || ike_spi(&world) == first {
        return Err(Failure::of(seed, format!("too few rekeys: {:?}", world.counts()), &world));
    }
    Ok(world)
}

#[test]
fn rekeys_lose_nothing_and_leave_one_pair() {
    passed(sweep(0..300, |seed| {
        let scenario = Scenario { goal: Goal::Elapsed, ..short_lived(seed).scenario() };
        rekeys_quietly(seed, &scenario, Duration::from_secs(300)).map(drop)
    }));
}

#[test]
fn rekeys_on_a_network_that_reorders_and_duplicates_lose_nothing() {
    passed(sweep(1_000..1_200, |seed| {
        let scenario = Scenario { link: Conditions::rough(0), ..short_lived(seed).scenario() };
        rekeys_quietly(seed, &scenario, Duration::from_secs(300)).map(drop)
    }));
}

#[test]
fn rekeys_under_loss_lose_only_what_the_link_loses() {
    passed(sweep(2_000..2_300, |seed| {
        let link = Conditions { loss: 50 + seed % 3 * 50, ..Conditions::rough(0) };
        let scenario = Scenario { link, ..short_lived(seed).scenario() };
        rekeys_quietly(seed, &scenario, Duration::from_secs(300)).map(drop)
    }));
}

#[test]
fn child_rekeys_on_slow_paths_cross_and_lose_nothing() {
    passed(sweep(3_000..3_200, |seed| {
        // A round trip takes about as long as the jitter of a lifetime of twenty seconds.
        let slow = Conditions { delay: Span::millis(400, 700), ..Conditions::calm() };
        let mut two = short_lived(seed);
        for peer in &mut two.peers {
            peer.child.lifetime = Duration::from_secs(20);
            // Half of them rekey the IKE SA in the midst of it, and refuse each other's children.
            peer.lifetime = Duration::from_secs(if seed % 2 == 0 { 200 } else { 60 });
        }
        let scenario = Scenario { link: slow, ..two.scenario() };
        rekeys_quietly(seed, &scenario, Duration::from_secs(300)).map(drop)
    }));
}

/// Both ends like other groups best, so that every first guess of one of them is answered by INVALID_KE_PAYLOAD.
fn at_odds(seed: u64) -> TwoHosts {
    let mut two = TwoHosts { starter: usize::from(seed % 2 == 1), ..TwoHosts::plain() };
    for (host, peer) in two.peers.iter_mut().enumerate() {
        let groups =
            if host == 0 { vec![KeId::CURVE25519, KeId::ECP256] } else { vec![KeId::ECP384, KeId::ECP256] };
        for offer in peer.offers.iter_mut().chain(&mut peer.child.offers) {
            offer.ke.clone_from(&groups);
        }
        peer.child.lifetime = Duration::from_secs(20 + seed % 3);
        peer.lifetime = Duration::from_secs(60 + seed % 5);
    }
    two
}

#[test]
fn a_rekey_whose_group_the_peer_refuses_is_repeated_with_another() {
    passed(sweep(4_000..4_100, |seed| {
        let link = if seed.is_multiple_of(2) { Conditions::calm() } else { Conditions::rough(0) };
        let scenario = Scenario { link, ..at_odds(seed).scenario() };
        rekeys_quietly(seed, &scenario, Duration::from_secs(300)).map(drop)
    }));
}

/// Two hosts whose rekeys cross, on a network that loses up to 10 %, and a moment when they are in the midst of it.
fn in_the_middle_of_a_rekey(seed: u64) -> (Scenario, Duration) {
    let mut two = short_lived(seed);
    for peer in &mut two.peers {
        peer.child.lifetime = Duration::from_secs(20);
        peer.lifetime = Duration::from_secs(25);
    }
    let link = Conditions { loss: seed % 3 * 50, ..Conditions::rough(0) };
    (Scenario { link, ..two.scenario() }, Duration::from_millis(18_000 + seed % 40 * 200))
}

#[test]
fn a_pair_deleted_in_the_middle_of_a_rekey_comes_back_with_traffic() {
    passed(sweep(5_000..5_200, |seed| {
        let (mut scenario, at) = in_the_middle_of_a_rekey(seed);
        scenario.script.actions.push((at, Action::Delete { host: usize::from(seed % 4 >= 2), policy: 0 }));
        let mut world = World::new(seed, &scenario);
        world.run_for(Duration::from_secs(60));
        reach(seed, &mut world, Duration::from_secs(120), |world| world.at_rest().is_ok())
    }));
}

#[test]
fn a_reboot_in_the_middle_of_a_rekey_heals() {
    passed(sweep(6_000..6_200, |seed| {
        let (mut scenario, at) = in_the_middle_of_a_rekey(seed);
        scenario.script.actions.push((at, Action::Reboot(usize::from(seed % 4 >= 2))));
        let mut world = World::new(seed, &scenario);
        world.run_for(at + Duration::from_secs(1));
        reach(seed, &mut world, Duration::from_secs(180), World::is_flowing)
    }));
}

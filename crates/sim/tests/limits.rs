//! The kernel's limits: near a soft one the child is rekeyed and nothing is lost; a hard one ends it when a rekey could not.

use coati_sim::link::Conditions;
use coati_sim::scenario::{Goal, Scenario};
use coati_sim::script::{Action, Fate, Match, Rule};
use coati_sim::{Failure, TwoHosts, World, draw, reach, sweep};
use ike_proto::policy::sad::Lifetimes;
use ike_proto::time::Duration;
use ike_proto::wire::registry::ExchangeType;

/// Runs traffic over children that live so long; how often they were replaced.
fn wears_out(seed: u64, limits: Lifetimes) -> Result<u64, Failure> {
    let two = TwoHosts { limits, ..draw::two_hosts(seed) };
    let link = Conditions { loss: seed % 4 * 40, ..Conditions::rough(0) };
    let mut world = World::new(seed, &Scenario { link, goal: Goal::Elapsed, ..two.scenario() });
    reach(seed, &mut world, Duration::from_secs(120), World::is_flowing)?;
    world.run_for(Duration::from_secs(5));
    let (before, made) = (world.dropped(), world.counts().children);
    world.run_for(Duration::from_secs(120));
    world.act(Action::Run { flow: 0, running: false });
    world.run_for(Duration::from_secs(25));
    reach(seed, &mut world, Duration::from_secs(30), |world| world.at_rest().is_ok())?;
    match world.dropped() - before {
        0 => Ok((world.counts().children - made) / 2),
        lost => Err(Failure::of(seed, format!("{lost} packets are lost by the hosts"), &world)),
    }
}

#[test]
fn children_that_wear_out_by_packets_are_rekeyed_and_nothing_is_lost() {
    let limits = Lifetimes { soft_packets: Some(100), hard_packets: Some(400), ..Lifetimes::default() };
    let rekeys = sweep(0..120, |seed| wears_out(seed, limits)).unwrap();
    assert!(rekeys.iter().all(|count| (3..30).contains(count)), "{rekeys:?}");
}

#[test]
fn children_that_wear_out_by_octets_are_rekeyed_and_nothing_is_lost() {
    // A packet counts 100 octets.
    let limits = Lifetimes { soft_bytes: Some(10_000), hard_bytes: Some(40_000), ..Lifetimes::default() };
    let rekeys = sweep(200..320, |seed| wears_out(seed, limits)).unwrap();
    assert!(rekeys.iter().all(|count| (3..30).contains(count)), "{rekeys:?}");
}

#[test]
fn a_hard_limit_ends_a_child_that_could_not_be_rekeyed_and_another_comes() {
    sweep(0..60, |seed| {
        let limits = Lifetimes { soft_packets: Some(50), hard_packets: Some(150), ..Lifetimes::default() };
        let two = TwoHosts { limits, ..draw::two_hosts(seed) };
        let mut scenario = Scenario { goal: Goal::Elapsed, ..two.scenario() };
        // No rekey comes through for a while: requests are lost until the peer is given up or the rule has had enough.
        for from in 0..2 {
            let requests = Match::request(from, ExchangeType::CREATE_CHILD_SA);
            scenario.script.rules.push(Rule { when: requests, skip: 0, times: 7, fate: Fate::Drop });
        }
        let mut world = World::new(seed, &scenario);
        reach(seed, &mut world, Duration::from_secs(120), World::is_flowing)?;
        let hard =
            |world: &World| world.hosts().iter().all(|host| host.sad.live().all(|sa| sa.usage.packets < 150));
        world.run_for(Duration::from_secs(60));
        assert!(hard(&world), "seed {seed}: no SA carries more than its hard limit");
        let before: Vec<u64> = world.flows().iter().map(|flow| flow.back.delivered).collect();
        world.run_for(Duration::from_secs(30));
        let after: Vec<u64> = world.flows().iter().map(|flow| flow.back.delivered).collect();
        if after.iter().zip(&before).any(|(after, before)| *after < before + 50) {
            return Err(Failure::of(seed, format!("traffic stands still: {before:?} {after:?}"), &world));
        }
        reach(seed, &mut world, Duration::from_secs(60), |world| world.at_rest().is_ok())
    })
    .unwrap();
}

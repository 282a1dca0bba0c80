//! Packets that flow one way only: a fault is told from a flow that is so by nature, and a rekey heals it.

use coati_sim::link::Conditions;
use coati_sim::scenario::{Goal, Scenario};
use coati_sim::script::Action;
use coati_sim::{Failure, TwoHosts, World, draw, reach, sweep};
use ike_proto::output::What;
use ike_proto::time::Duration;

/// Two hosts of `seed` that compare kernel and engine every twenty seconds, up.
fn up(seed: u64, echo: bool) -> Result<World, Failure> {
    let two = TwoHosts { reconcile: Some(Duration::from_secs(20)), ..draw::two_hosts(seed) };
    let link = Conditions { loss: seed % 3 * 20, ..Conditions::rough(0) };
    let mut scenario = Scenario { link, goal: Goal::Elapsed, ..two.scenario() };
    scenario.flows[0].echo = echo;
    let mut world = World::new(seed, &scenario);
    reach(seed, &mut world, Duration::from_secs(120), |world| {
        world.flows()[0].crossed(3) && world.at_rest().is_ok()
    })?;
    world.run_for(Duration::from_secs(30));
    Ok(world)
}

#[test]
fn a_child_whose_packets_do_not_arrive_is_rekeyed_on_the_same_ike_sa_and_heals() {
    sweep(0..100, |seed| {
        let mut world = up(seed, true)?;
        let made = world.counts().ike_sas;
        // In half of all seeds the packets of the end that asks are lost, in the others the answers.
        world.act(Action::Jam(usize::from(seed % 4 >= 2)));
        world.run_for(Duration::from_millis(1));
        let before = world.flows()[0].back.delivered;
        let healed = |world: &World| world.flows()[0].back.delivered > before + 10;
        reach(seed, &mut world, Duration::from_secs(180), healed)?;
        if world.counts().ike_sas != made {
            return Err(Failure::of(seed, "another IKE SA was made".to_owned(), &world));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_flow_that_is_one_way_by_nature_causes_no_rekey() {
    sweep(0..60, |seed| {
        let mut world = up(seed, false)?;
        let made = *world.counts();
        world.run_for(Duration::from_secs(900));
        let children = world.counts().children - made.children;
        let begun =
            (0..2).map(|host| world.trace().said(host, |what| matches!(what, What::Initiating { .. })).len());
        if children > 0 || begun.sum::<usize>() > 2 || world.counts().ike_sas != made.ike_sas {
            return Err(Failure::of(seed, format!("{children} children were made"), &world));
        }
        Ok(())
    })
    .unwrap();
}

//! A daemon is replaced by another one, and its kernel goes on: nobody notices who only sends packets.

use coati_sim::link::{Conditions, Span};
use coati_sim::scenario::{Goal, Scenario, Topology};
use coati_sim::script::Action;
use coati_sim::traffic::FlowSpec;
use coati_sim::{Failure, TwoHosts, World, draw, reach, sweep};
use ike_proto::time::Duration;

/// Two hosts with a policy for each protocol and traffic both ways, both of which begin their pairs when they start.
fn busy(seed: u64, two: &TwoHosts) -> Scenario {
    let mut scenario = two.scenario();
    let every = Duration::from_millis(11);
    let flow = |from, policy| FlowSpec { from, policy, every, echo: false, ..scenario.flows[0] };
    scenario.flows = (0..2).flat_map(|policy| [flow(0, policy), flow(1, policy)]).collect();
    for host in &mut scenario.hosts {
        host.config.initiate_at_start = true;
    }
    // A new child waits for its initiator for a second: an answer that takes longer costs what is sent meanwhile.
    let winding = Conditions { detour: Span::millis(50, 300), ..Conditions::rough(0) };
    scenario.link = if seed.is_multiple_of(2) { Conditions::calm() } else { winding };
    Scenario { goal: Goal::Elapsed, ..scenario }
}

fn up(seed: u64, scenario: &Scenario) -> Result<World, Failure> {
    let mut world = World::new(seed, scenario);
    let flowing = |world: &World| world.flows().iter().all(|flow| flow.crossed(3)) && world.at_rest().is_ok();
    reach(seed, &mut world, Duration::from_secs(120), flowing)?;
    Ok(world)
}

#[test]
fn nothing_is_lost_when_a_daemon_takes_anothers_place_and_its_kernel_keeps_the_sas() {
    sweep(0..150, |seed| {
        let two = TwoHosts { protocols: vec![6, 17], ..draw::two_hosts(seed) };
        let scenario = busy(seed, &two);
        // Nobody can call who is behind a NAT.
        let callable = !matches!(two.topology, Topology::Masquerade { .. });
        let mut world = up(seed, &scenario)?;
        let before = world.dropped();
        for round in 0..3 {
            // The one, the other, the one again.
            world.act(Action::Relaunch(usize::from(callable && (seed / 2 + round).is_multiple_of(2))));
            world.run_for(Duration::from_millis(1));
            reach(seed, &mut world, Duration::from_secs(60), |world| world.at_rest().is_ok())?;
        }
        let lost = world.dropped() - before;
        if lost > 0 || !world.is_flowing() {
            return Err(Failure::of(
                seed,
                format!("{lost} packets were lost by the hosts: {:?}", world.flows()),
                &world,
            ));
        }
        Ok(())
    })
    .unwrap_or_else(|failure| panic!("{failure}"));
}

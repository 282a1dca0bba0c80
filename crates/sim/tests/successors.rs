//! A daemon is replaced by another one, and its kernel goes on: nobody notices who only sends packets.

use coati_sim::link::{Conditions, Span};
use coati_sim::scenario::{Goal, Scenario, Topology};
use coati_sim::script::Action;
use coati_sim::trace::Sight;
use coati_sim::traffic::FlowSpec;
use coati_sim::{Failure, TwoHosts, World, draw, reach, sweep};
use ike_proto::output::What;
use ike_proto::time::Duration;

const EVERY: Duration = Duration::from_millis(11);

/// The hosts begin their pairs when they start, and have much to say.
fn busy(seed: u64, scenario: Scenario) -> Scenario {
    let mut scenario = Scenario { goal: Goal::Elapsed, ..scenario };
    scenario.flows.iter_mut().for_each(|flow| flow.every = EVERY);
    scenario.hosts.iter_mut().for_each(|host| host.config.initiate_at_start = true);
    // A new child waits for its initiator for a second: an answer that takes longer costs what is sent meanwhile.
    let winding = Conditions { detour: Span::millis(50, 300), ..Conditions::rough(0) };
    scenario.link = if seed.is_multiple_of(2) { Conditions::calm() } else { winding };
    scenario
}

/// Replaces the daemons of these hosts, one when the other's pairs are up again; nothing may be lost by it.
fn replace(seed: u64, scenario: &Scenario, hosts: &[usize]) -> Result<World, Failure> {
    let mut world = World::new(seed, scenario);
    let flowing = |world: &World| world.flows().iter().all(|flow| flow.crossed(3)) && world.at_rest().is_ok();
    reach(seed, &mut world, Duration::from_secs(120), flowing)?;
    let before = world.dropped();
    for host in hosts {
        world.act(Action::Relaunch(*host));
        world.run_for(Duration::from_millis(1));
        reach(seed, &mut world, Duration::from_secs(60), |world| world.at_rest().is_ok())?;
    }
    let lost = world.dropped() - before;
    if lost > 0 || !world.is_flowing() {
        return Err(Failure::of(seed, format!("{lost} packets were lost by the hosts"), &world));
    }
    Ok(world)
}

#[test]
fn nothing_is_lost_when_a_daemon_takes_anothers_place_and_its_kernel_keeps_the_sas() {
    sweep(0..150, |seed| {
        let two = TwoHosts { protocols: vec![6, 17], ..draw::two_hosts(seed) };
        let mut scenario = busy(seed, two.scenario());
        let flow = |from, policy| FlowSpec { from, policy, echo: false, ..scenario.flows[0] };
        scenario.flows = (0..2).flat_map(|policy| [flow(0, policy), flow(1, policy)]).collect();
        // Nobody can call who is behind a NAT.
        let callable = !matches!(two.topology, Topology::Masquerade { .. });
        let second = usize::from(callable);
        let hosts = if seed % 4 < 2 { [0, second, 0] } else { [second, 0, second] };
        replace(seed, &scenario, &hosts).map(drop)
    })
    .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn nor_where_one_key_is_for_all_and_only_a_token_says_that_the_daemon_is_another() {
    sweep(0..60, |seed| {
        let world = replace(seed, &busy(seed, Scenario::mesh(3)), &[0, 1, 2, 0])?;
        let ends = world.trace().sights().filter(|(_, sight)| {
            matches!(sight, Sight::Said { event, .. }
                if matches!(&event.what, What::IkeSaDown { cause } if cause.contains("quick crash detection")))
        });
        // Four daemons with two pairs each.
        assert_eq!(ends.count(), 8, "seed {seed}");
        Ok::<_, Failure>(())
    })
    .unwrap_or_else(|failure| panic!("{failure}"));
}

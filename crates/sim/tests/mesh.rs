//! Meshes: every host brings up all its pairs at once, and exactly one SA pair for each pair of hosts is left.

use coati_sim::link::Conditions;
use coati_sim::scenario::{Goal, Scenario};
use coati_sim::script::Action;
use coati_sim::{Failure, run, sweep};
use ike_proto::time::Duration;

/// Fails with the seed and the ladder, as they are printed.
fn passed<T>(result: Result<T, Failure>) -> T {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

/// By then a mesh is at rest: an unfinished handshake that its initiator has left goes after five seconds.
const AT_REST: Duration = Duration::from_secs(60);

/// `hosts` hosts that all initiate all their pairs when they start, with 5 % loss.
fn at_once(hosts: u16) -> Scenario {
    let mut mesh = Scenario { link: Conditions::rough(50), ..Scenario::mesh(hosts) };
    for host in &mut mesh.hosts {
        host.config.initiate_at_start = true;
    }
    mesh.limit = AT_REST;
    // Rare packets: what is to be seen is the handshakes.
    for flow in &mut mesh.flows {
        flow.every = Duration::from_secs(1);
    }
    mesh
}

#[test]
fn eight_hosts_that_start_at_once_have_one_sa_pair_for_each_pair() {
    passed(sweep(0..40, |seed| {
        let world = run(seed, &at_once(8)).verdict()?;
        let sas: usize = world.hosts().iter().map(|host| host.sad.live().count()).sum();
        assert_eq!(sas, 8 * 7 * 2, "seed {seed}");
        Ok(())
    }));
}

#[test]
fn twenty_hosts_that_start_at_once_have_one_sa_pair_for_each_pair() {
    passed(sweep(0..4, |seed| {
        let world = run(seed, &at_once(20)).verdict()?;
        let sas: usize = world.hosts().iter().map(|host| host.sad.live().count()).sum();
        assert_eq!(sas, 20 * 19 * 2, "seed {seed}");
        Ok(())
    }));
}

#[test]
fn a_host_of_a_mesh_that_restarts_brings_all_its_pairs_back() {
    passed(sweep(100..120, |seed| {
        let mut mesh = at_once(8);
        mesh.script.actions.push((Duration::from_secs(60), Action::Reboot(3)));
        mesh.goal = Goal::Converged { settle: Duration::from_secs(90), crossed: 3 };
        mesh.limit += Duration::from_secs(120);
        run(seed, &mesh).verdict().map(drop)
    }));
}

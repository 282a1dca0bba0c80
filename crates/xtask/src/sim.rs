//! `cargo xtask sim`: a mesh of simulated hosts that all start at once, and how it fared.

use std::time::Instant;

use coati_sim::link::Conditions;
use coati_sim::scenario::{Goal, Scenario};
use coati_sim::{Failure, World};
use ike_proto::endpoint::status::PairState;
use ike_proto::time::Duration;
use interop_tests::ensure;
use interop_tests::failure::Result;

/// What to simulate.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Hosts; every two of them are a pair.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=1000))]
    hosts: u16,
    /// Packets the network loses, in per cent.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=90))]
    loss: u8,
    /// The number everything random follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Virtual seconds.
    #[arg(long = "for", default_value_t = 120)]
    span: u64,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let scenario = mesh(arguments);
    let begun = Instant::now();
    let mut world = World::new(arguments.seed, &scenario);
    let converged = world.run_until(scenario.limit, |world| world.at_rest().is_ok()).then(|| world.elapsed());
    world.run_until(scenario.limit, |_| false);
    let real = begun.elapsed();
    let wrong = world.violation().map(ToString::to_string).or_else(|| {
        let unrest = world.at_rest().err().filter(|_| converged.is_none());
        unrest.map(|unrest| format!("not at rest in time: {unrest}"))
    });
    print(&world, converged, real);
    let failure = wrong.map(|what| Failure::of(arguments.seed, what, &world).to_string());
    ensure!(failure.is_none(), "{}", failure.unwrap_or_default());
    Ok(())
}

/// All hosts initiate all their pairs when they start; each pair has a packet every two seconds.
fn mesh(arguments: &Arguments) -> Scenario {
    let loss = u64::from(arguments.loss) * 10;
    let mut mesh = Scenario {
        link: Conditions { loss, ..Conditions::rough(0) },
        goal: Goal::Elapsed,
        limit: Duration::from_secs(arguments.span),
        ..Scenario::mesh(arguments.hosts)
    };
    for host in &mut mesh.hosts {
        host.config.initiate_at_start = true;
    }
    for flow in &mut mesh.flows {
        flow.every = Duration::from_secs(2);
    }
    mesh
}

fn print(world: &World, converged: Option<Duration>, real: Duration) {
    let hosts = world.hosts().len();
    let wanted = hosts * hosts.saturating_sub(1);
    let states = world.hosts().iter().flat_map(|host| host.endpoint.pairs());
    let up = states.filter(|pair| pair.state == PairState::Up).count();
    let counts = world.counts();
    let converged = converged.map_or_else(|| "never".to_owned(), |at| format!("{:.1} s", seconds(at)));
    let rows = [
        // Each pair has two ends, and so has each handshake and each rekey.
        ("pairs up", format!("{} of {}", up / 2, wanted / 2)),
        ("handshakes", (counts.ike_sas / 2).to_string()),
        ("messages", counts.datagrams.to_string()),
        ("retransmissions", counts.repeated.to_string()),
        ("rekeys", (counts.rekeyed / 2).to_string()),
        ("virtual time to converge", converged),
        ("virtual time", format!("{:.1} s", seconds(world.elapsed()))),
        ("real time", format!("{:.1} s", real.as_secs_f64())),
    ];
    for (name, value) in rows {
        println!("{name:<26}{value:>16}");
    }
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

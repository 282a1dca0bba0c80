//! `cargo xtask sim`: a mesh of simulated hosts that all start at once, and how it fared; or many seeds of two hosts.

use std::time::Instant;

use coati_sim::link::Conditions;
use coati_sim::scenario::{Goal, Scenario};
use coati_sim::script::Action;
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
    /// Instead of a mesh, so many seeds of two hosts, from `--seed` on: drawn addresses, NATs, suites and networks, short
    /// lifetimes, and a restart, a cut or a forgetful NAT in the midst of it.
    #[arg(long)]
    sweep: Option<u64>,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(seeds) = arguments.sweep {
        return sweep(arguments, seeds);
    }
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

/// Runs the seeds; the first that fails shows its ladder.
fn sweep(arguments: &Arguments, seeds: u64) -> Result<()> {
    let begun = Instant::now();
    let end = arguments.seed.saturating_add(seeds);
    let span = Duration::from_secs(arguments.span);
    let done = coati_sim::sweep(arguments.seed..end, |seed| two_hosts(seed, span));
    let failed = done.as_ref().err().map(ToString::to_string);
    ensure!(failed.is_none(), "{}", failed.unwrap_or_default());
    let counts = done.into_iter().flatten();
    let (rekeys, messages) =
        counts.fold((0, 0), |sum, (rekeys, messages)| (sum.0 + rekeys, sum.1 + messages));
    let rows = [
        ("seeds", seeds.to_string()),
        ("rekeys", (rekeys / 2).to_string()),
        ("messages", messages.to_string()),
        ("virtual time of each", format!("{} s and what it takes to rest", arguments.span)),
        ("real time", format!("{:.1} s", begun.elapsed().as_secs_f64())),
    ];
    for (name, value) in rows {
        println!("{name:<26}{value:>16}");
    }
    Ok(())
}

/// One seed: both hosts rekey while something breaks, and all is at rest when it is mended. Gives rekeys and messages.
fn two_hosts(seed: u64, span: Duration) -> std::result::Result<(u64, u64), Failure> {
    let mut two = coati_sim::draw::two_hosts(seed);
    for (host, peer) in two.peers.iter_mut().enumerate() {
        let later = if host == 1 { seed % 3 } else { 0 };
        peer.child.lifetime = Duration::from_secs(20 + seed % 5 * 10 + later);
        peer.lifetime = Duration::from_secs(60 + seed % 7 * 20 + 3 * later);
    }
    let link = Conditions { loss: seed % 4 * 50, ..Conditions::rough(0) };
    let mut scenario = Scenario { link, goal: Goal::Elapsed, ..two.scenario() };
    let host = usize::try_from(seed / 8 % 2).unwrap_or(0);
    let at = |thousandths: u64| span * u32::try_from(thousandths).unwrap_or(0) / 1000;
    let breaks = match seed % 5 {
        0 => vec![(at(seed % 1000), Action::Reboot(host))],
        1 | 2 => {
            let cut = |cut| Action::Cut { one: 0, other: 1, cut };
            vec![(at(seed % 500), cut(true)), (at(seed % 500 + seed % 7 * 70), cut(false))]
        }
        3 if !scenario.sites.is_empty() => vec![(at(seed % 1000), Action::RestartNat(0))],
        _ => vec![(at(seed % 1000), Action::LoseNotices(host))],
    };
    scenario.script.actions = breaks;
    let mut world = World::new(seed, &scenario);
    world.run_for(span);
    let limit = Duration::from_secs(240);
    coati_sim::reach(seed, &mut world, limit, World::is_flowing)?;
    Ok((world.counts().rekeyed, world.counts().datagrams))
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

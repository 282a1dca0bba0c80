//! Meshes that are cut, reboot host by host, or rekey all the time: at rest each pair of hosts has exactly one SA pair.

use coati_sim::link::Conditions;
use coati_sim::scenario::{Goal, Scenario};
use coati_sim::script::Action;
use coati_sim::{Failure, World, reach, run, sweep};
use ike_proto::config::EndpointConfig;
use ike_proto::policy::peer::PeerConfig;
use ike_proto::policy::peer_db::PeerDb;
use ike_proto::time::Duration;

/// `hosts` hosts that all initiate all their pairs when they start, with `loss` thousandths lost and a packet a second.
fn mesh(hosts: u16, loss: u64) -> Scenario {
    let mut mesh = Scenario { link: Conditions::rough(loss), goal: Goal::Elapsed, ..Scenario::mesh(hosts) };
    for host in &mut mesh.hosts {
        host.config.initiate_at_start = true;
    }
    for flow in &mut mesh.flows {
        flow.every = Duration::from_secs(1);
    }
    mesh
}

/// SAs in all kernels.
fn sas(world: &World) -> usize {
    world.hosts().iter().map(|host| host.sad.live().count()).sum()
}

/// Waits until every pair is at rest, and holds that there is nothing but one SA pair for each.
fn one_sa_pair_each(seed: u64, world: &mut World, within: Duration) -> Result<(), Failure> {
    reach(seed, world, within, |world| world.at_rest().is_ok())?;
    let hosts = world.hosts().len();
    match sas(world) {
        count if count == hosts * (hosts - 1) * 2 => Ok(()),
        count => Err(Failure::of(seed, format!("{count} SAs in all"), world)),
    }
}

/// An unfinished handshake that its initiator has left goes after twenty seconds, one nobody left after sixty.
const AT_REST: Duration = Duration::from_secs(90);

#[test]
fn a_hundred_hosts_that_start_at_once_have_one_sa_pair_for_each_pair() {
    let seed = 1;
    let mut world = World::new(seed, &mesh(100, 50));
    one_sa_pair_each(seed, &mut world, AT_REST).unwrap();
    let handshakes = world.counts().ike_sas / 2;
    // 4,950 pairs; what crosses is made twice.
    assert!(handshakes < 4_950 * 2, "{handshakes} handshakes");
}

#[test]
fn a_mesh_that_is_cut_in_two_heals_without_a_hand() {
    sweep(0..4, |seed| {
        let mut world = World::new(seed, &mesh(20, 30));
        one_sa_pair_each(seed, &mut world, AT_REST)?;
        let halves = |cut: bool, world: &mut World| {
            for one in 0..10 {
                for other in 10..20 {
                    world.act(Action::Cut { one, other, cut });
                }
            }
        };
        halves(true, &mut world);
        // From a cut that nobody may notice to one in which everybody has long been given up.
        world.run_for(Duration::from_secs([10, 60, 400, 3600][usize::try_from(seed).unwrap_or(0)]));
        halves(false, &mut world);
        world.run_for(EndpointConfig::default().backoff_cap + Duration::from_secs(20));
        one_sa_pair_each(seed, &mut world, AT_REST)?;
        let before: Vec<u64> = world.flows().iter().map(|flow| flow.back.delivered).collect();
        world.run_for(Duration::from_secs(12));
        let still =
            world.flows().iter().zip(before).filter(|(flow, before)| flow.back.delivered < before + 3);
        match still.count() {
            0 => Ok(()),
            count => Err(Failure::of(seed, format!("{count} flows stand still"), &world)),
        }
    })
    .unwrap();
}

#[test]
fn a_mesh_whose_hosts_reboot_one_after_the_other_is_whole_again() {
    sweep(0..4, |seed| {
        let mut mesh = mesh(20, 50);
        for host in 0..20 {
            // Two in a row are down for each other now and then.
            let at = Duration::from_secs(60) + Duration::from_millis(host * (1_000 + seed * 700));
            mesh.script.actions.push((at, Action::Reboot(usize::try_from(host).unwrap_or(0))));
        }
        let mut world = World::new(seed, &mesh);
        world.run_for(Duration::from_secs(60 + 20 * (1 + seed)));
        one_sa_pair_each(seed, &mut world, AT_REST * 2)
    })
    .unwrap();
}

#[test]
fn a_mesh_that_rekeys_all_the_time_loses_only_what_the_link_loses() {
    sweep(0..4, |seed| {
        let mut mesh = mesh(20, 30);
        for host in &mut mesh.hosts {
            let mut anonymous = PeerConfig::with_defaults("anonymous");
            anonymous.child.lifetime = Duration::from_secs(40);
            anonymous.lifetime = Duration::from_secs(100);
            let mut peers = PeerDb::new(coati_sim::scenario::psks(&[("*", "the key of the whole mesh")]));
            peers.insert(None, anonymous);
            host.peers = std::sync::Arc::new(peers);
        }
        let mut world = World::new(seed, &mesh);
        world.run_for(AT_REST);
        let (before, rekeyed) = (world.dropped(), world.counts().rekeyed);
        world.run_for(Duration::from_secs(200));
        let lost = world.dropped() - before;
        let rekeys = (world.counts().rekeyed - rekeyed) / 2;
        if lost > 0 || rekeys < 190 * 5 {
            return Err(Failure::of(
                seed,
                format!("{lost} packets are lost by the hosts, {rekeys} rekeys"),
                &world,
            ));
        }
        // With so many pairs one is always about to rekey: each is looked at alone, in the oracle, and the counts here.
        reach(seed, &mut world, Duration::from_secs(1), |world| sas(world) >= 20 * 19 * 2)
    })
    .unwrap();
}

#[test]
fn a_mesh_without_traffic_comes_up_and_stays() {
    sweep(0..3, |seed| {
        let mut mesh = mesh(20, 50);
        mesh.flows.clear();
        mesh.goal = Goal::Converged { settle: Duration::from_secs(120), crossed: 0 };
        mesh.limit = AT_REST;
        run(seed, &mesh).verdict().map(drop)
    })
    .unwrap();
}

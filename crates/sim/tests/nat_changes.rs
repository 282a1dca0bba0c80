//! NAT boxes that forget: the inside host's port changes in the middle of everything, IKE and ESP follow together.

use coati_sim::link::Conditions;
use coati_sim::nat::NatSpec;
use coati_sim::scenario::{Goal, Scenario, Topology};
use coati_sim::script::Action;
use coati_sim::{Failure, TwoHosts, World, draw, reach, sweep};
use ike_proto::policy::peer::UdpEncap;
use ike_proto::time::Duration;

/// Alpha behind a box that gives a new port to each new mapping.
fn behind_a_box(seed: u64) -> TwoHosts {
    let topology = Topology::Masquerade { keep_ports: false };
    let mut two = TwoHosts { topology, starter: 0, ..draw::two_hosts(seed * 2) };
    for peer in &mut two.peers {
        peer.encap = if seed % 4 >= 2 { UdpEncap::Auto } else { UdpEncap::Force };
    }
    two
}

/// Waits until packets and answers cross that were sent from now on.
fn crosses_again(seed: u64, world: &mut World, within: Duration) -> Result<(), Failure> {
    let delivered = |world: &World| world.flows()[0].back.delivered;
    let before = delivered(world);
    reach(seed, world, within, |world| delivered(world) > before + 3 && world.at_rest().is_ok())
}

/// The ports beta sends to: of IKE, and of the encapsulated SA to alpha.
fn ports(world: &World) -> (u16, u16) {
    let beta = &world.hosts()[1];
    let ike = beta.endpoint.pairs()[0].ike_sas[0].flow.remote.port();
    let outbound = |sa: &&coati_sim::sad::Sa| sa.spec.direction == ike_proto::policy::sad::Direction::Out;
    let esp = beta.sad.live().find(outbound).and_then(|sa| sa.spec.encap).map_or(0, |encap| encap.remote);
    (ike, esp)
}

#[test]
fn ike_and_esp_follow_a_new_port_and_keep_their_sas() {
    sweep(0..120, |seed| {
        let link = Conditions { loss: seed % 3 * 30, ..Conditions::rough(0) };
        let scenario = Scenario { link, goal: Goal::Elapsed, ..behind_a_box(seed).scenario() };
        let mut world = World::new(seed, &scenario);
        reach(seed, &mut world, Duration::from_secs(120), World::is_flowing)?;
        world.run_for(Duration::from_secs(3));
        let made = *world.counts();
        for _ in 0..3 {
            let before = ports(&world);
            world.act(Action::RestartNat(0));
            world.run_for(Duration::from_millis(1));
            // Beta's kernel sees packets from the new port, and beta asks there: the answer moves IKE and ESP.
            crosses_again(seed, &mut world, Duration::from_secs(8))?;
            let (ike, esp) = ports(&world);
            if ike == before.0 || ike != esp {
                return Err(Failure::of(seed, format!("ports {before:?}, then {ike} and {esp}"), &world));
            }
        }
        if world.counts().ike_sas != made.ike_sas || world.counts().children != made.children {
            return Err(Failure::of(seed, format!("{made:?}, then {:?}", world.counts()), &world));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_port_may_change_in_the_middle_of_handshakes_and_rekeys() {
    sweep(0..200, |seed| {
        let mut two = behind_a_box(seed);
        for peer in &mut two.peers {
            peer.child.lifetime = Duration::from_secs(20);
            peer.lifetime = Duration::from_secs(45);
        }
        let link = Conditions { loss: seed % 3 * 30, ..Conditions::rough(0) };
        let mut scenario = Scenario { link, goal: Goal::Elapsed, ..two.scenario() };
        for time in 0..8 {
            let at = if time == 0 { seed * 4 } else { time * 19_000 + seed * 31 };
            scenario.script.actions.push((Duration::from_millis(at), Action::RestartNat(0)));
        }
        let mut world = World::new(seed, &scenario);
        world.run_for(Duration::from_secs(170));
        crosses_again(seed, &mut world, Duration::from_secs(120))
    })
    .unwrap();
}

#[test]
fn a_mapping_that_times_out_in_silence_comes_back_with_traffic() {
    sweep(0..60, |seed| {
        let mut two = behind_a_box(seed);
        for peer in &mut two.peers {
            // Nobody asks whether the other is there.
            peer.liveness = None;
        }
        let mut scenario = Scenario { goal: Goal::Elapsed, ..two.scenario() };
        for site in &mut scenario.sites {
            if let NatSpec::Masquerade { timeout, .. } = site {
                *timeout = Duration::from_secs(30);
            }
        }
        let mut world = World::new(seed, &scenario);
        reach(seed, &mut world, Duration::from_secs(120), World::is_flowing)?;
        world.act(Action::Run { flow: 0, running: false });
        world.run_for(Duration::from_secs(300));
        world.act(Action::Run { flow: 0, running: true });
        world.run_for(Duration::from_millis(1));
        crosses_again(seed, &mut world, Duration::from_secs(30))
    })
    .unwrap();
}

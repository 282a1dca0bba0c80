//! Hosts that lose everything: quick crash detection brings a pair back at the peer's next message (RFC 6290), in both
//! roles, with nobody initiating at a start. Packets sent meanwhile are lost: one end has no SA for them.

use coati_sim::link::{Conditions, Span};
use coati_sim::scenario::{Goal, Scenario};
use coati_sim::script::{Action, Fate, Forgery, Match, Rule};
use coati_sim::{Failure, TwoHosts, World, draw, reach, sweep};
use ike_proto::output::What;
use ike_proto::time::Duration;
use ike_proto::wire::registry::{ExchangeType, NotifyType};

/// Brings the pair up and lets its traffic end.
fn up_and_quiet(seed: u64, scenario: &Scenario) -> Result<World, Failure> {
    let mut world = World::new(seed, scenario);
    reach(seed, &mut world, Duration::from_secs(120), |world| {
        world.flows()[0].crossed(3) && world.at_rest().is_ok()
    })?;
    world.act(Action::Run { flow: 0, running: false });
    // Longer than a rekey's leftovers, shorter than the silence after which liveness is checked.
    world.run_for(Duration::from_secs(5));
    Ok(world)
}

/// How long it takes to be back after `lost` rebooted and its peer had something to say two seconds later.
fn back_after(seed: u64, two: &TwoHosts, lost: usize, within: Duration) -> Result<Duration, Failure> {
    let scenario = Scenario { link: Conditions::calm(), goal: Goal::Elapsed, ..two.scenario() };
    let mut world = up_and_quiet(seed, &scenario)?;
    world.act(Action::Reboot(lost));
    world.run_for(Duration::from_secs(2));
    let asked = world.elapsed();
    // The peer's kernel wants a new child: a CREATE_CHILD_SA request on the SA that the other end has lost.
    world.act(Action::Expire { host: 1 - lost, policy: 0, hard: false });
    world.run_for(Duration::from_millis(1));
    reach(seed, &mut world, within, |world| world.at_rest().is_ok())?;
    Ok(world.elapsed().saturating_sub(asked))
}

#[test]
fn without_the_secret_it_takes_until_the_peer_is_given_up() {
    sweep(0..20, |seed| {
        let two = TwoHosts { quick_crash_detection: false, ..TwoHosts::plain() };
        let took = back_after(seed, &two, usize::from(seed % 2 == 1), Duration::from_secs(120))?;
        assert!(took > Duration::from_secs(10), "seed {seed}: {took:?}");
        Ok::<_, Failure>(())
    })
    .unwrap();
}

#[test]
fn a_silent_pair_is_back_after_the_next_liveness_check() {
    sweep(0..100, |seed| {
        let mut two = draw::two_hosts(seed);
        two.topology = coati_sim::scenario::Topology::Direct;
        let scenario = Scenario { link: Conditions::rough(seed % 3 * 50), ..two.scenario() };
        let mut world = up_and_quiet(seed, &scenario)?;
        let lost = usize::from(seed % 4 >= 2);
        world.act(Action::Reboot(lost));
        // Silence is noticed within twice twenty seconds; without the token it takes the peer 25 s more to give up.
        world.run_for(Duration::from_millis(1));
        reach(seed, &mut world, Duration::from_secs(50), |world| world.at_rest().is_ok())
    })
    .unwrap();
}

#[test]
fn a_forged_token_or_error_never_ends_an_sa() {
    let forgeries = [
        Forgery::Token(32),
        Forgery::Token(16),
        Forgery::Token(128),
        Forgery::Error(NotifyType::INVALID_IKE_SPI),
        Forgery::Error(NotifyType::INVALID_SPI),
    ];
    for forgery in forgeries {
        sweep(0..20, |seed| {
            let mut two = TwoHosts::plain();
            for peer in &mut two.peers {
                peer.child.lifetime = Duration::from_secs(30);
                peer.lifetime = Duration::from_secs(80);
            }
            let mut scenario = Scenario { goal: Goal::Elapsed, ..two.scenario() };
            for exchange in [ExchangeType::CREATE_CHILD_SA, ExchangeType::INFORMATIONAL] {
                let requests =
                    Match { from: None, exchange: Some(exchange), response: Some(false), message_id: None };
                scenario.script.rules.push(Rule::always(requests, Fate::Forge(forgery)));
            }
            let mut world = World::new(seed, &scenario);
            world.run_for(Duration::from_secs(200));
            reach(seed, &mut world, Duration::from_secs(20), |world| world.at_rest().is_ok())?;
            let begun = world.trace().said(0, |what| matches!(what, What::Initiating { .. }));
            if begun.len() != 1 || world.dropped() > 2 || world.counts().rekeyed < 8 {
                let what = format!("{forgery:?}: {begun:?}, {} packets lost", world.dropped());
                return Err(Failure::of(seed, what, &world));
            }
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn a_reboot_at_any_moment_of_handshakes_and_rekeys_heals() {
    sweep(0..400, |seed| {
        let mut two = draw::two_hosts(seed);
        for peer in &mut two.peers {
            peer.child.lifetime = Duration::from_secs(20);
            peer.lifetime = Duration::from_secs(25);
        }
        // The first seeds reboot in the handshake, the others in the middle of rekeys.
        let at = if seed < 100 { seed * 10 } else { 17_000 + seed * 25 };
        let link = Conditions { delay: Span::millis(1, 100), ..Conditions::rough(seed % 3 * 50) };
        let mut scenario = Scenario { link, ..two.scenario() };
        let lost = usize::from(seed % 4 >= 2);
        scenario.script.actions.push((Duration::from_millis(at), Action::Reboot(lost)));
        let mut world = World::new(seed, &scenario);
        world.run_for(Duration::from_millis(at + 1));
        reach(seed, &mut world, Duration::from_secs(120), |world| {
            world.flows()[0].crossed(3) && world.at_rest().is_ok()
        })
    })
    .unwrap();
}

#[test]
fn the_peers_next_message_brings_a_pair_back_at_once_whoever_began_it() {
    sweep(0..200, |seed| {
        let mut two = draw::two_hosts(seed);
        if matches!(two.topology, coati_sim::scenario::Topology::Masquerade { .. }) {
            // Only the host inside can begin there.
            two.topology = coati_sim::scenario::Topology::Direct;
        }
        let lost = usize::from(seed % 4 >= 2);
        back_after(seed, &two, lost, Duration::from_secs(2)).map(drop)
    })
    .unwrap();
}

//! Two hosts reach exactly one IKE SA and one child, whatever the network does; what else they do to each other then.

use std::collections::BTreeMap;
use std::sync::Arc;

use coati_sim::link::{Conditions, Span};
use coati_sim::sad::Refusal;
use coati_sim::scenario::{Goal, Scenario};
use coati_sim::script::{Action, Fate, Match, Rule};
use coati_sim::trace::{Sight, strip_marker};
use coati_sim::traffic::FlowSpec;
use coati_sim::world::Counts;
use coati_sim::{Failure, TwoHosts, World, draw, reach, run, sweep};
use ike_crypto::DefaultProvider;
use ike_proto::crypto::provider::Provider;
use ike_proto::endpoint::status::PairState;
use ike_proto::ids::Role;
use ike_proto::output::What;
use ike_proto::time::{Duration, Instant};
use ike_proto::wire::Header;
use ike_proto::wire::registry::ExchangeType;

fn converged(seed: u64, scenario: &Scenario) -> Result<World, Failure> {
    run(seed, scenario).verdict()
}

/// Fails with the seed and the ladder, as they are printed.
fn passed<T>(result: Result<T, Failure>) -> T {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

/// The role each host has in its one IKE SA.
fn role(world: &World, host: usize) -> Role {
    world.hosts()[host].endpoint.pairs()[0].ike_sas[0].role
}

/// When a host said something of this kind.
fn said(world: &World, host: usize, kind: fn(&What) -> bool) -> Vec<Instant> {
    let sights = world.trace().sights();
    let hit = |sight: &Sight| matches!(sight, Sight::Said { host: by, event, .. } if *by == host && kind(&event.what));
    sights.filter(|(_, sight)| hit(sight)).map(|(at, _)| *at).collect()
}

#[test]
fn ten_thousand_seeds_reach_one_ike_sa_and_one_child() {
    let begun_by = passed(sweep(0..10_000, |seed| {
        // The real algorithms have 200 seeds of their own.
        let world = converged(seed, &draw::scenario(seed, None))?;
        let beginner = usize::from(seed % 2 == 1);
        // Where loss lets the other end think that nobody has begun, it begins too, and its SA may be the one that stays.
        let began = |host: usize| {
            let starts = said(&world, host, |what| matches!(what, What::Initiating { .. }));
            starts.into_iter().min()
        };
        assert!(began(beginner).is_some(), "seed {seed}");
        assert!(began(1 - beginner).is_none_or(|other| Some(other) > began(beginner)), "seed {seed}");
        if began(1 - beginner).is_none() {
            assert_eq!(role(&world, beginner), Role::Initiator, "seed {seed}");
        }
        assert_eq!(world.counts().leaked, 0, "seed {seed}");
        Ok(beginner)
    }));
    assert_eq!(begun_by.iter().sum::<usize>(), 5_000);
}

#[test]
fn two_hundred_seeds_with_real_cryptography_do_so_too() {
    let counts: Vec<Counts> = passed(sweep(100_000..100_200, |seed| {
        let real: Arc<dyn Provider> = Arc::new(DefaultProvider);
        Ok(*converged(seed, &draw::scenario(seed, Some(real)))?.counts())
    }));
    assert!(counts.iter().all(|counts| counts.jobs >= 3), "each handshake has three jobs");
}

#[test]
fn one_seed_gives_one_run() {
    for seed in 0..50 {
        let scenario = draw::scenario(seed, None);
        let (one, other) = (run(seed, &scenario).world, run(seed, &scenario).world);
        assert_eq!(one.counts(), other.counts());
        assert_eq!(one.trace().ladder(0, 1).to_string(), other.trace().ladder(0, 1).to_string());
        let another = run(seed + 1, &scenario).world;
        assert_ne!(one.trace().ladder(0, 1).to_string(), another.trace().ladder(0, 1).to_string());
    }
}

#[test]
fn a_failed_seed_prints_its_number_and_the_ladder() {
    let mut two = TwoHosts::plain();
    two.keys = ["one key", "another key"];
    let scenario = Scenario { limit: Duration::from_secs(10), ..two.scenario() };
    let failure = run(4711, &scenario).verdict().err().unwrap().to_string();
    assert!(failure.starts_with("seed 4711 failed: not at rest at 10"), "{failure}");
    for part in
        ["alpha -> beta  IKE_SA_INIT request 0", "beta -> alpha  IKE_AUTH response 1", "KE(CURVE25519)"]
    {
        assert!(failure.contains(part), "{part} is missing in\n{failure}");
    }
}

#[test]
fn the_plain_handshake_is_four_messages_and_three_jobs() {
    let world = passed(converged(1, &TwoHosts::plain().scenario()));
    let Counts { datagrams, repeated, taken, jobs, ike_sas, children, .. } = *world.counts();
    assert_eq!((datagrams, repeated, taken, jobs, ike_sas, children), (4, 0, 4, 3, 2, 2));
}

#[test]
fn a_second_policy_of_the_pair_gets_its_child_under_loss() {
    passed(sweep(0..1_500, |seed| {
        let two = TwoHosts { protocols: vec![6, 17], ..draw::two_hosts(seed) };
        let Scenario { link, job_delay, .. } = draw::scenario(seed, None);
        let mut scenario = Scenario { link, job_delay, ..two.scenario() };
        // The second flow is silent until the first child is up; then either end may ask for the second child.
        scenario.script.actions.push((Duration::ZERO, Action::Run { flow: 1, running: false }));
        if seed % 3 == 0 {
            scenario.flows[1].from = 1 - two.starter;
        }
        let mut world = World::new(seed, &scenario);
        let first_up = |world: &World| {
            world
                .hosts()
                .iter()
                .all(|host| host.endpoint.pairs().first().is_some_and(|pair| pair.state == PairState::Up))
        };
        if !world.run_until(scenario.limit, first_up) {
            return Err(Failure::of(seed, "the first child does not come".to_owned(), &world));
        }
        world.act(Action::Run { flow: 1, running: true });
        let limit = world.elapsed() + scenario.limit;
        let both =
            |world: &World| world.at_rest().is_ok() && world.flows().iter().all(|flow| flow.crossed(3));
        if !world.run_until(limit, both) {
            let why = world.violation().map_or_else(|| format!("{:?}", world.at_rest()), ToString::to_string);
            return Err(Failure::of(seed, why, &world));
        }
        Ok(())
    }));
}

#[test]
fn an_orderly_stop_deletes_at_the_peer_under_loss() {
    let cleaned = passed(sweep(0..500, |seed| {
        let link = Conditions { loss: seed % 4 * 100, ..Conditions::rough(0) };
        let scenario = Scenario { link, ..draw::two_hosts(seed).scenario() };
        let mut world = converged(seed, &scenario)?;
        let stopping = usize::from(seed % 4 >= 2);
        let peer = 1 - stopping;
        world.act(Action::Run { flow: 0, running: false });
        // What is on its way must not ask for a new SA.
        world.run_for(Duration::from_secs(5));
        let before = Instant::ZERO + world.elapsed();
        world.act(Action::Shutdown(stopping));
        world.run_for(Duration::from_secs(20));
        let told = world
            .trace()
            .sights()
            .any(|(at, sight)| *at >= before && matches!(sight, Sight::Took { host, .. } if *host == peer));
        let left = world.hosts()[peer].sad.live().count();
        if world.hosts()[stopping].up || world.violation().is_some() || told != (left == 0) {
            let what = format!("stopped: {:?}, told: {told}, SAs left: {left}", world.violation());
            return Err(Failure::of(seed, what, &world));
        }
        Ok(told)
    }));
    let told = cleaned.iter().filter(|told| **told).count();
    assert!(told >= 490, "the DELETE is repeated: {told} of 500 peers heard it");
}

/// The responses of one exchange that a host sent, each with how often it did.
fn responses(world: &World, from: usize, exchange: ExchangeType) -> Vec<usize> {
    let mut sent: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (_, sight) in world.trace().sights() {
        let Sight::Sent { from: sender, datagram, .. } = sight else { continue };
        let header = Header::read(strip_marker(datagram)).expect("an engine sends messages");
        if *sender == from && header.exchange == exchange && header.flags.is_response() {
            *sent.entry(datagram).or_default() += 1;
        }
    }
    sent.into_values().collect()
}

#[test]
fn repeated_requests_get_the_same_octets_again_and_cost_nothing() {
    let mut scenario = TwoHosts { protocols: vec![6, 17], ..TwoHosts::plain() }.scenario();
    // Each exchange has its time: only the last request's answer is repeated.
    scenario.flows[1].start = Duration::from_secs(3);
    scenario.goal = Goal::Converged { settle: Duration::from_secs(6), crossed: 3 };
    let exchanges = [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_AUTH, ExchangeType::CREATE_CHILD_SA];
    for exchange in exchanges {
        let repeat = Fate::Repeat { copies: 4, every: Duration::from_millis(100) };
        scenario.script.rules.push(Rule::always(Match::request(0, exchange), repeat));
    }
    let world = passed(converged(3, &scenario));
    for exchange in [ExchangeType::IKE_AUTH, ExchangeType::CREATE_CHILD_SA] {
        let sent = responses(&world, 1, exchange);
        assert_eq!(sent.len(), 1, "{exchange} has one answer");
        assert!(sent[0] >= 2, "{exchange} is answered again: {sent:?}");
    }
    assert_eq!(responses(&world, 1, ExchangeType::IKE_SA_INIT).len(), 1);
    assert_eq!(world.counts().jobs, 6, "three for the IKE SA, three for the second child's PFS");
}

#[test]
fn a_first_request_that_comes_again_late_begins_nothing() {
    let mut scenario = TwoHosts::plain().scenario();
    let late = Fate::Repeat { copies: 30, every: Duration::from_secs(2) };
    scenario.script.rules.push(Rule::once(Match::request(0, ExchangeType::IKE_SA_INIT), late));
    scenario.goal = Goal::Converged { settle: Duration::from_secs(70), crossed: 3 };
    let world = passed(converged(5, &scenario));
    assert_eq!((world.counts().jobs, world.counts().ike_sas), (3, 2));
}

#[test]
fn a_mesh_of_eight_hosts_with_loss_has_one_sa_a_pair() {
    passed(sweep(0..10, |seed| {
        let scenario = Scenario { link: Conditions::rough(50), ..Scenario::mesh(8) };
        let world = converged(seed, &scenario)?;
        assert_eq!(world.flows().len(), 28);
        Ok(())
    }));
}

#[test]
fn a_child_that_lapses_in_the_kernel_is_made_anew() {
    passed(sweep(0..200, |seed| {
        let mut two = draw::two_hosts(seed);
        for peer in &mut two.peers {
            // The kernel's hard limit is a backstop at one and a half lifetimes.
            peer.child.lifetime = Duration::from_secs(40);
        }
        let scenario = Scenario {
            link: Conditions { loss: seed % 4 * 50, ..Conditions::rough(0) },
            goal: Goal::Converged { settle: Duration::from_secs(200), crossed: 100 },
            ..two.scenario()
        };
        let world = converged(seed, &scenario)?;
        assert!(world.counts().children >= 6, "seed {seed}: {:?}", world.counts());
        Ok(())
    }));
}

#[test]
fn the_end_that_begins_comes_back_after_a_reboot_and_replaces_its_old_sa() {
    passed(sweep(0..500, |seed| {
        let mut scenario =
            Scenario { link: draw::scenario(seed, None).link, ..draw::two_hosts(seed).scenario() };
        let starter = scenario.flows[0].from;
        // In the middle of the handshake, right after it, and later.
        let at = Duration::from_millis(50 + seed % 10 * 400);
        scenario.script.actions.push((at, Action::Reboot(starter)));
        scenario.goal = Goal::Converged { settle: Duration::from_secs(10), crossed: 10 };
        converged(seed, &scenario).map(drop)
    }));
}

#[test]
fn a_cut_of_three_minutes_heals_by_itself() {
    passed(sweep(0..200, |seed| {
        let mut scenario = draw::two_hosts(seed).scenario();
        let cut = |cut| Action::Cut { one: 0, other: 1, cut };
        let begins = Duration::from_millis(seed % 10 * 5);
        let mends = begins + Duration::from_secs(180);
        scenario.script.actions = vec![(begins, cut(true)), (mends, cut(false))];
        // The longest pause between two attempts is a minute, and one that began before may take a minute to fail.
        scenario.goal = Goal::Elapsed;
        scenario.limit = mends + Duration::from_secs(130);
        let world = converged(seed, &scenario)?;
        if let Err(unrest) = world.at_rest() {
            return Err(Failure::of(seed, unrest.what, &world));
        }
        Ok(())
    }));
}

#[test]
fn a_deleted_pair_is_gone_at_both_ends_and_comes_back_with_traffic() {
    passed(sweep(0..200, |seed| {
        let scenario = draw::two_hosts(seed).scenario();
        let mut world = converged(seed, &scenario)?;
        let by = usize::from(seed % 4 >= 2);
        world.act(Action::Run { flow: 0, running: false });
        world.run_for(Duration::from_secs(2));
        world.act(Action::Delete { host: by, policy: 0 });
        world.run_for(Duration::from_secs(10));
        let left: usize = world.hosts().iter().map(|host| host.sad.live().count()).sum();
        world.act(Action::Run { flow: 0, running: true });
        let limit = world.elapsed() + Duration::from_secs(60);
        let back = world.run_until(limit, |world| world.at_rest().is_ok());
        if left > 0 || !back {
            let what = format!("{left} SAs left, back: {:?} {:?}", world.at_rest(), world.violation());
            return Err(Failure::of(seed, what, &world));
        }
        Ok(())
    }));
}

#[test]
fn what_is_under_way_to_an_end_that_deletes_comes_in() {
    passed(sweep(0..40, |seed| {
        let mut scenario = TwoHosts::plain().scenario();
        let every = Duration::from_millis(3);
        let flow = |from| FlowSpec { from, every, echo: false, ..scenario.flows[0] };
        scenario.flows = vec![flow(0), flow(1)];
        if seed % 2 == 1 {
            // The DELETE, its answer and the packets overtake each other.
            scenario.link = Conditions { detour: Span::millis(20, 200), ..Conditions::rough(0) };
        }
        let mut world = converged(seed, &scenario)?;
        let by = usize::from(seed % 4 >= 2);
        let refused = |world: &World| world.flows()[1 - by].out.refused.get(&Refusal::NoState).copied();
        for _ in 0..2 {
            let before = refused(&world);
            world.act(Action::Delete { host: by, policy: 0 });
            // What is sent from now on asks for another SA.
            (0..2).for_each(|flow| world.act(Action::Run { flow, running: false }));
            world.run_for(Duration::from_secs(2));
            if refused(&world) != before {
                let what = format!("refused {before:?}, then {:?}", refused(&world));
                return Err(Failure::of(seed, what, &world));
            }
            (0..2).for_each(|flow| world.act(Action::Run { flow, running: true }));
            reach(seed, &mut world, Duration::from_secs(60), |world| world.at_rest().is_ok())?;
        }
        Ok(())
    }));
}

#[test]
fn a_failed_mesh_shows_the_pair_that_broke() {
    let mut scenario = Scenario { limit: Duration::from_secs(20), ..Scenario::mesh(4) };
    scenario.script.actions.push((Duration::ZERO, Action::Cut { one: 1, other: 3, cut: true }));
    let failure = run(1, &scenario).verdict().err().unwrap().to_string();
    assert!(failure.contains("host1 -> host3  IKE_SA_INIT"), "{failure}");
    assert!(!failure.contains("host0 ->"), "{failure}");
}

#[test]
fn a_pair_that_was_asked_for_once_is_tried_until_it_is_there() {
    passed(sweep(0..200, |seed| {
        let mut scenario = draw::two_hosts(seed).scenario();
        let starter = scenario.flows[0].from;
        // No traffic reminds the engine.
        scenario.flows.clear();
        let cut = |cut| Action::Cut { one: 0, other: 1, cut };
        scenario.script.actions = vec![
            (Duration::ZERO, cut(true)),
            (Duration::ZERO, Action::Initiate { host: starter, policy: 0 }),
            (Duration::from_secs(500), cut(false)),
        ];
        // An attempt takes a minute to fail, the longest pause is another.
        scenario.limit = Duration::from_secs(500 + 130);
        converged(seed, &scenario).map(drop)
    }));
}

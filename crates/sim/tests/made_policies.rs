//! Policies that are made of what a peer asks for (racoon's `generate_policy`): for the peer's own address only, as long as the
//! pair has an SA, and never in the place of what the host's own policies say.

use std::sync::Arc;

use coati_sim::link::Conditions;
use coati_sim::scenario::{Goal, Scenario, host_policy, psks};
use coati_sim::script::Action;
use coati_sim::{Failure, TwoHosts, World, draw, run, sweep};
use ike_proto::ids::Reqid;
use ike_proto::output::What;
use ike_proto::policy::identity::Identity;
use ike_proto::policy::peer::{LocalId, MakePolicies, PeerConfig};
use ike_proto::policy::peer_db::PeerDb;
use ike_proto::policy::selector::{Net, Selector, Side};
use ike_proto::time::Duration;

/// Fails with the seed and the ladder, as they are printed.
fn passed<T>(result: Result<T, Failure>) -> T {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

/// Alpha has policies and begins; beta has none and makes them.
fn asked(two: TwoHosts, make_policies: MakePolicies) -> Scenario {
    let mut two = TwoHosts { starter: 0, ..two };
    two.peers[1].make_policies = make_policies;
    let mut scenario = two.scenario();
    scenario.hosts[1].policies.clear();
    scenario
}

/// What beta has made.
fn made(world: &World) -> Vec<(Selector, Reqid)> {
    world.hosts()[1].sad.made().iter().map(|policy| (policy.selector, policy.template.reqid)).collect()
}

/// Runs until nothing of the pair is left at beta.
fn until_gone(world: &mut World, within: Duration) -> bool {
    let limit = world.elapsed() + within;
    world.run_until(limit, |world| world.hosts()[1].sad.live().count() == 0 && made(world).is_empty())
}

#[test]
fn a_policy_is_made_for_the_peers_own_address_and_goes_with_the_sa_whatever_the_network_does() {
    passed(sweep(0..400, |seed| {
        let unique = seed % 2 == 1;
        let wish = if unique { MakePolicies::Unique } else { MakePolicies::Shared };
        let mut scenario = asked(draw::two_hosts(seed), wish);
        scenario.link = Conditions { loss: seed % 4 * 50, ..Conditions::rough(0) };
        scenario.goal = Goal::Converged { settle: Duration::from_secs(5), crossed: 5 };
        let mut world = run(seed, &scenario).verdict()?;
        let policies = made(&world);
        let ends = world.hosts()[1].endpoint.pairs();
        let (local, remote) = (ends[0].local, ends[0].remote);
        assert_eq!(policies.len(), 1, "seed {seed}");
        let (selector, reqid) = policies[0];
        let side = |address| Side { net: Net::host(address), port: None };
        assert_eq!(
            selector,
            Selector { local: side(local), remote: side(remote), protocol: 0 },
            "seed {seed}"
        );
        assert_eq!(reqid != Reqid(0), unique, "seed {seed}");

        world.act(Action::Run { flow: 0, running: false });
        world.run_for(Duration::from_secs(2));
        // Either end may want it gone.
        if seed % 4 < 2 {
            world.act(Action::Delete { host: 0, policy: 0 });
        } else {
            world.act(Action::Shutdown(1));
        }
        if !until_gone(&mut world, Duration::from_secs(60)) {
            return Err(Failure::of(seed, format!("beta keeps {:?}", made(&world)), &world));
        }
        let begun = world.trace().said(1, |what| matches!(what, What::Initiating { .. }));
        assert!(begun.is_empty(), "seed {seed}: beta began something");
        Ok(())
    }));
}

/// Whichever of the two would begin anew after a loss.
#[test]
fn a_policy_of_a_peer_that_has_died_goes_and_nothing_is_begun_for_it() {
    for own in [None, Some("10.0.0.1")] {
        let mut two = TwoHosts::plain();
        if let Some(lower) = own {
            two.peers[1].local_id = LocalId::Fixed(Identity::address(lower.parse().unwrap()));
        }
        let mut scenario = asked(two, MakePolicies::Shared);
        scenario.goal = Goal::Converged { settle: Duration::from_secs(2), crossed: 3 };
        let mut world = passed(run(3, &scenario).verdict());
        world.act(Action::Cut { one: 0, other: 1, cut: true });
        assert!(until_gone(&mut world, Duration::from_secs(200)), "{:?}", made(&world));
        world.run_for(Duration::from_secs(120));
        assert!(world.trace().said(1, |what| matches!(what, What::Initiating { .. })).is_empty(), "{own:?}");
        assert_eq!((made(&world), world.violation().cloned()), (Vec::new(), None));
    }
}

#[test]
fn rekeys_and_a_new_start_of_the_peer_keep_it() {
    passed(sweep(0..100, |seed| {
        let mut two = draw::two_hosts(seed);
        for peer in &mut two.peers {
            (peer.lifetime, peer.child.lifetime) = (Duration::from_secs(60), Duration::from_secs(25));
        }
        let mut scenario = asked(two, MakePolicies::Unique);
        scenario.script.actions.push((Duration::from_secs(40), Action::Reboot(0)));
        scenario.goal = Goal::Converged { settle: Duration::from_secs(150), crossed: 50 };
        let world = run(seed, &scenario).verdict()?;
        assert_eq!(made(&world).len(), 1, "seed {seed}");
        Ok(())
    }));
}

#[test]
fn each_wish_that_is_not_covered_gets_a_policy_of_its_own() {
    let two = TwoHosts { protocols: vec![6, 17], ..TwoHosts::plain() };
    let mut scenario = asked(two, MakePolicies::Shared);
    scenario.goal = Goal::Converged { settle: Duration::from_secs(5), crossed: 3 };
    let world = passed(run(9, &scenario).verdict());
    let mut protocols: Vec<u8> = made(&world).iter().map(|(selector, _)| selector.protocol).collect();
    protocols.sort_unstable();
    assert_eq!(protocols, [6, 17]);
}

/// One that was made for TCP is no answer to a wish for everything.
#[test]
fn a_wish_that_is_covered_in_part_gets_a_whole_policy() {
    let two = TwoHosts { protocols: vec![6, 0], ..TwoHosts::plain() };
    let mut scenario = asked(two, MakePolicies::Shared);
    scenario.flows.clear();
    scenario.script.actions.push((Duration::ZERO, Action::Initiate { host: 0, policy: 0 }));
    scenario.goal = Goal::Elapsed;
    scenario.limit = Duration::from_secs(10);
    let world = passed(run(9, &scenario).verdict());
    let mut protocols: Vec<u8> = made(&world).iter().map(|(selector, _)| selector.protocol).collect();
    protocols.sort_unstable();
    assert_eq!(protocols, [0, 6]);
}

/// Beta's own policy comes first; none is made beside it, for it covers a part of the wish (RFC 7296 §2.9).
#[test]
fn a_policy_of_ones_own_is_narrowed_to_and_none_is_made() {
    let mut scenario = asked(TwoHosts::plain(), MakePolicies::Shared);
    let [alpha, beta] = TwoHosts::plain().own();
    scenario.hosts[1].policies = vec![host_policy(1, beta, alpha, 6)];
    scenario.goal = Goal::Elapsed;
    scenario.limit = Duration::from_secs(5);
    let world = passed(run(1, &scenario).verdict());
    assert_eq!(made(&world), []);
    let children: Vec<u8> = world.hosts()[1].sad.live().map(|sa| sa.spec.selector.protocol).collect();
    assert!(!children.is_empty() && children.iter().all(|protocol| *protocol == 6), "{children:?}");
}

#[test]
fn who_is_not_known_by_its_address_gets_none() {
    let own = TwoHosts::plain().own();
    // The key that alpha uses is listed under a name; its address has another.
    let mut scenario = asked(TwoHosts::plain(), MakePolicies::Shared);
    let mut two = TwoHosts::plain();
    two.peers[1].make_policies = MakePolicies::Shared;
    let key = two.keys[0];
    let mut peers = PeerDb::new(psks(&[(&own[0].to_string(), "another key"), ("alpha.example", key)]));
    peers.insert(Some(own[0]), two.peers[1].clone());
    scenario.hosts[1].peers = Arc::new(peers);
    let mut known = PeerDb::new(psks(&[(&own[1].to_string(), key)]));
    let name = Identity::fqdn("alpha.example");
    let as_name = PeerConfig { local_id: LocalId::Fixed(name), ..two.peers[0].clone() };
    known.insert(Some(own[1]), as_name);
    scenario.hosts[0].peers = Arc::new(known);
    scenario.goal = Goal::Elapsed;
    scenario.limit = Duration::from_secs(5);
    let world = passed(run(1, &scenario).verdict());
    let refused = |what: &What| matches!(what, What::ChildFailed { cause, .. } if cause.contains("is not the one listed for"));
    assert!(!world.trace().said(1, refused).is_empty(), "it is authenticated, and gets no child");
    assert_eq!((made(&world).len(), world.hosts()[1].sad.live().count()), (0, 0));
}

#[test]
fn without_the_option_no_policy_is_made() {
    let mut scenario = asked(TwoHosts::plain(), MakePolicies::Never);
    scenario.goal = Goal::Elapsed;
    scenario.limit = Duration::from_secs(5);
    let world = passed(run(1, &scenario).verdict());
    assert_eq!((made(&world).len(), world.hosts()[1].sad.live().count()), (0, 0));
}

/// The kernel still has what an engine before this one made: nothing passes in clear before the peer has had time to come back.
#[test]
fn what_a_dead_daemon_made_is_kept_for_a_while_and_taken_over_by_the_peer_that_comes() {
    for comes in [true, false] {
        let mut scenario = asked(TwoHosts::plain(), MakePolicies::Shared);
        scenario.goal = Goal::Elapsed;
        scenario.limit = Duration::from_secs(1);
        scenario.flows.clear();
        let [alpha, beta] = TwoHosts::plain().own();
        let left = ike_proto::policy::spd::Policy { made: true, ..host_policy(77, beta, alpha, 0) };
        scenario.hosts[1].policies = vec![left];
        let mut world = passed(run(1, &scenario).verdict());
        if comes {
            world.act(Action::Initiate { host: 0, policy: 0 });
        }
        world.run_for(Duration::from_secs(170));
        let wants = |world: &World| world.hosts()[1].endpoint.pairs().len();
        assert_eq!(wants(&world), 1, "comes: {comes}");
        world.run_for(Duration::from_secs(20));
        let children = world.hosts()[1].sad.live().count();
        assert_eq!((children > 0, made(&world).len()), (comes, 0), "it uses what is there and makes none");
        let begun = world.trace().said(1, |what| matches!(what, What::Initiating { .. }));
        assert!(begun.is_empty(), "beta began something");
        let tried = world.hosts()[1].sad.removals();
        assert_eq!(tried, usize::from(!comes), "comes: {comes}");
    }
}

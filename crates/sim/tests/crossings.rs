//! Exchanges that cross, case by case: what the two ends begin at about the same time, and what happens to one message of it.
//!
//! After each case there is one IKE SA with one child, both ends have the same keys (the oracle looks at every step), and
//! where nobody took an SA away on purpose no packet is lost that the link did not lose.

use coati_sim::link::{Conditions, Span};
use coati_sim::scenario::{Goal, Scenario};
use coati_sim::script::{Action, Fate, Match, Rule};
use coati_sim::traffic::Flow;
use coati_sim::{Failure, TwoHosts, World, sweep};
use ike_proto::time::Duration;
use ike_proto::wire::registry::ExchangeType;

/// When the two ends begin what crosses: the pair is up and quiet by then.
const BEGIN: Duration = Duration::from_secs(10);

/// Each case is run with this many seeds: nonces, and with them the loser, differ.
const SEEDS: u64 = 12;

/// What one end does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    RekeyChild,
    RekeyIke,
    /// The kernel drops the child at its hard limit; the end tells the peer.
    LoseChild,
    DeleteIke,
    Reboot,
}

impl Deed {
    /// How it is brought about at one end.
    fn action(self, host: usize) -> Action {
        match self {
            Self::RekeyChild => Action::Expire { host, policy: 0, hard: false },
            // The IKE SA is due within this time, and nothing else.
            Self::RekeyIke => Action::ClockJump { host, by: Duration::from_secs(15) },
            Self::LoseChild => Action::Expire { host, policy: 0, hard: true },
            Self::DeleteIke => Action::Delete { host, policy: 0 },
            Self::Reboot => Action::Reboot(host),
        }
    }

    /// Whether packets may be lost by it.
    const fn breaks(self) -> bool {
        matches!(self, Self::LoseChild | Self::DeleteIke | Self::Reboot)
    }
}

/// The messages that may be hindered, by name.
const HINDERED: [(&str, ExchangeType, bool); 4] = [
    ("request", ExchangeType::CREATE_CHILD_SA, false),
    ("response", ExchangeType::CREATE_CHILD_SA, true),
    ("delete", ExchangeType::INFORMATIONAL, false),
    ("answer to the delete", ExchangeType::INFORMATIONAL, true),
];

/// A case: who does what when, and what happens to a message.
struct Case {
    name: String,
    deeds: Vec<(Duration, Action)>,
    rules: Vec<Rule>,
    /// The IKE SA's lifetime.
    lifetime: Duration,
    /// Whether packets may be lost.
    breaks: bool,
}

/// All cases in which alpha does `ours` and beta does `theirs`: nothing hindered, and each message lost or delayed.
fn family(name: &str, ours: Deed, theirs: Deed) -> Vec<Case> {
    let case = |what: &str, later: u64, rules: Vec<Rule>| Case {
        name: format!("{name}: {what}"),
        deeds: vec![(BEGIN, ours.action(0)), (BEGIN + Duration::from_millis(later), theirs.action(1))],
        rules,
        lifetime: Duration::from_secs(if [ours, theirs].contains(&Deed::RekeyIke) { 25 } else { 3600 }),
        breaks: ours.breaks() || theirs.breaks(),
    };
    let mut cases = vec![
        case("at once", 0, Vec::new()),
        case("beta while alpha's request travels", 30, Vec::new()),
        case("beta while its response travels", 75, Vec::new()),
        case("beta while alpha's delete travels", 130, Vec::new()),
    ];
    for (host, end) in ["alpha", "beta"].into_iter().enumerate() {
        for (message, exchange, response) in HINDERED {
            let when = Match {
                from: Some(host),
                exchange: Some(exchange),
                response: Some(response),
                message_id: None,
            };
            let lost = vec![Rule::once(when, Fate::Drop)];
            cases.push(case(&format!("{end}'s {message} is lost"), 0, lost));
            let late = vec![Rule::once(when, Fate::Delay(Duration::from_millis(1700)))];
            cases.push(case(&format!("{end}'s {message} is late"), 0, late));
        }
    }
    cases
}

/// Runs a case with a few seeds.
fn holds(case: &Case) -> Result<(), String> {
    let run = |seed: u64| {
        let mut two = TwoHosts { starter: usize::from(seed % 2 == 1), ..TwoHosts::plain() };
        for peer in &mut two.peers {
            peer.lifetime = case.lifetime;
            peer.liveness = None;
            if seed.is_multiple_of(3) {
                peer.child.offers[0].ke.clear();
            }
        }
        let calm = Conditions { delay: Span::millis(40, 60), ..Conditions::calm() };
        let mut scenario = Scenario { link: calm, goal: Goal::Elapsed, ..two.scenario() };
        scenario.script.actions.clone_from(&case.deeds);
        scenario.script.rules.clone_from(&case.rules);
        let mut world = World::new(seed, &scenario);
        world.run_until(BEGIN.saturating_sub(Duration::from_secs(1)), |_| false);
        let dropped = |world: &World| world.flows().iter().map(Flow::dropped).sum::<u64>();
        let before = dropped(&world);
        if let Err(unrest) = world.at_rest() {
            return Err(Failure::of(seed, format!("not up in time: {unrest}"), &world));
        }
        world.run_for(Duration::from_secs(40));
        let limit = world.elapsed() + Duration::from_secs(60);
        if !world.run_until(limit, |world| world.at_rest().is_ok()) {
            let why = world.violation().map_or_else(|| format!("{:?}", world.at_rest()), ToString::to_string);
            return Err(Failure::of(seed, why, &world));
        }
        let lost = dropped(&world) - before;
        if lost > 0 && !case.breaks {
            return Err(Failure::of(seed, format!("{lost} packets are lost by the hosts"), &world));
        }
        Ok(())
    };
    sweep(0..SEEDS, run).map(drop).map_err(|failure| format!("{}: {failure}", case.name))
}

/// Runs all cases of a family; the names of those that fail come first, then the first one's ladder.
fn all_hold(cases: &[Case]) {
    let failures: Vec<(&str, String)> =
        cases.iter().filter_map(|case| Some((case.name.as_str(), holds(case).err()?))).collect();
    let names: Vec<&str> = failures.iter().map(|(name, _)| *name).collect();
    assert!(failures.is_empty(), "{} of {}: {names:#?}\n{}", names.len(), cases.len(), failures[0].1);
}

#[test]
fn child_rekey_against_child_rekey() {
    all_hold(&family("child/child", Deed::RekeyChild, Deed::RekeyChild));
}

#[test]
fn child_rekey_against_child_delete() {
    all_hold(&family("child/delete", Deed::RekeyChild, Deed::LoseChild));
}

#[test]
fn child_rekey_against_ike_rekey() {
    all_hold(&family("child/IKE", Deed::RekeyChild, Deed::RekeyIke));
}

#[test]
fn child_rekey_against_ike_delete() {
    all_hold(&family("child/IKE delete", Deed::RekeyChild, Deed::DeleteIke));
}

#[test]
fn ike_rekey_against_child_delete() {
    all_hold(&family("IKE/child delete", Deed::RekeyIke, Deed::LoseChild));
}

#[test]
fn ike_rekey_against_ike_delete() {
    all_hold(&family("IKE/IKE delete", Deed::RekeyIke, Deed::DeleteIke));
}

#[test]
fn a_peer_that_restarts_in_the_middle_of_a_child_rekey() {
    all_hold(&family("child/restart", Deed::RekeyChild, Deed::Reboot));
}

#[test]
fn ike_rekey_against_ike_rekey() {
    all_hold(&family("IKE/IKE", Deed::RekeyIke, Deed::RekeyIke));
}

/// The winner's DELETE of the old SA may come while the loser computes the keys of its own successor: that one must be made all
/// the same, to be deleted by who made it, or the winner waits for its DELETE (RFC 7296 §2.8.1).
#[test]
fn who_made_a_redundant_ike_sa_deletes_it_though_the_old_one_is_gone() {
    let seeds = sweep(0..60, |seed| {
        let mut two = TwoHosts::plain();
        two.peers.iter_mut().for_each(|peer| peer.lifetime = Duration::from_secs(25));
        let calm = Conditions { delay: Span::millis(10, 12), ..Conditions::calm() };
        let mut scenario = Scenario { link: calm, goal: Goal::Elapsed, ..two.scenario() };
        scenario.job_delay = Span::millis(0, 150);
        scenario.script.actions = vec![(BEGIN, Deed::RekeyIke.action(0)), (BEGIN, Deed::RekeyIke.action(1))];
        let mut world = World::new(seed, &scenario);
        // Long before what nobody deletes is cleared away.
        world.run_until(BEGIN + Duration::from_secs(8), |_| false);
        world.at_rest().map_err(|unrest| Failure::of(seed, unrest.to_string(), &world))
    });
    seeds.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_peer_that_restarts_in_the_middle_of_an_ike_rekey() {
    all_hold(&family("IKE/restart", Deed::RekeyIke, Deed::Reboot));
}

/// Every order in which two requests and their responses can arrive: a response comes after its request.
fn orders() -> Vec<[&'static str; 4]> {
    vec![
        ["alpha's request", "beta's request", "alpha's response", "beta's response"],
        ["alpha's request", "beta's request", "beta's response", "alpha's response"],
        ["beta's request", "alpha's request", "alpha's response", "beta's response"],
        ["beta's request", "alpha's request", "beta's response", "alpha's response"],
        ["alpha's request", "beta's response", "beta's request", "alpha's response"],
        ["beta's request", "alpha's response", "alpha's request", "beta's response"],
    ]
}

#[test]
fn both_ends_initiate_at_once_in_every_order_of_the_messages() {
    let mut failures = Vec::new();
    for exchange in [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_AUTH] {
        for order in orders() {
            let name = format!("{exchange}: {}", order.join(", "));
            // The first message of the order takes 100 ms, each next one arrives 150 ms after the one before.
            let rules = order.iter().zip(1..).map(|(message, place)| {
                let from = usize::from(message.starts_with("beta"));
                let response = message.ends_with("response");
                let own = Match {
                    from: Some(from),
                    exchange: Some(exchange),
                    response: Some(response),
                    message_id: None,
                };
                // A response's way begins when its request has arrived.
                let request = if from == 0 { "beta's request" } else { "alpha's request" };
                let asked = order.iter().position(|other| *other == request).unwrap_or(0);
                let left = if response { place - 1 - u64::try_from(asked).unwrap_or(0) } else { place };
                Rule::once(own, Fate::Delay(Duration::from_millis(150 * left - 50)))
            });
            let rules: Vec<Rule> = rules.collect();
            let run = |seed: u64| {
                let calm = Conditions { delay: Span::millis(40, 60), ..Conditions::calm() };
                let mut scenario =
                    Scenario { link: calm, job_delay: Span::millis(0, 5), ..TwoHosts::plain().scenario() };
                let initiate = |host| (Duration::from_millis(1), Action::Initiate { host, policy: 0 });
                scenario.script.actions = vec![initiate(0), initiate(1)];
                scenario.script.rules.clone_from(&rules);
                coati_sim::run(seed, &scenario).verdict().map(drop)
            };
            if let Err(failure) = sweep(0..SEEDS, run) {
                failures.push(format!("{name}: {failure}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} fail\n{}", failures.len(), failures[0]);
}

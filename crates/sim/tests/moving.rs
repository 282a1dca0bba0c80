//! Hosts that are not all on the same ports yet, as a fleet's are while it comes from another daemon.

use coati_sim::link::{Conditions, Span};
use coati_sim::scenario::Scenario;
use coati_sim::traffic::FlowSpec;
use coati_sim::{Failure, TwoHosts, run, sweep};
use ike_proto::config::Ports;
use ike_proto::time::Duration;

const USUAL: Ports = Ports { ike: 500, natt: 4500 };
const BESIDE: Ports = Ports { ike: 1500, natt: 14_500 };

/// A host's ports, and its second ones.
type On = (Ports, Option<Ports>);

const BESIDE_ONLY: On = (BESIDE, None);
const BOTH: On = (USUAL, Some(BESIDE));
const USUAL_ONLY: On = (USUAL, None);

fn two(hosts: [On; 2], starter: usize) -> Scenario {
    let mut scenario = TwoHosts { starter, ..TwoHosts::plain() }.scenario();
    for (host, (ports, also)) in scenario.hosts.iter_mut().zip(hosts) {
        (host.config.ports, host.config.also) = (ports, also);
    }
    scenario
}

/// Each step of the way, whichever end begins: who beside racoon, who on both, who on the usual ports only.
const STEPS: [[On; 2]; 5] = [
    [BESIDE_ONLY, BESIDE_ONLY],
    [BESIDE_ONLY, BOTH],
    [BOTH, BOTH],
    [BOTH, USUAL_ONLY],
    [USUAL_ONLY, USUAL_ONLY],
];

#[test]
fn hosts_find_each_other_at_every_step_from_one_pair_of_ports_to_another() {
    sweep(0..100, |seed| {
        for hosts in STEPS {
            for starter in [0, 1] {
                let world = run(seed, &two(hosts, starter)).verdict()?;
                let common = hosts.map(|(ports, also)| [Some(ports), also]);
                let flow = world.hosts()[0].endpoint.pairs()[0].ike_sas[0].flow;
                let met = [flow.local, flow.remote].map(|end| end.port());
                let is_common = |ports: &Ports| met == [ports.natt; 2];
                let shared = common[0].iter().flatten().filter(|ports| common[1].contains(&Some(**ports)));
                if !shared.into_iter().any(is_common) {
                    let said = format!("{hosts:?} met on {met:?}");
                    return Err(Failure::of(seed, said, &world));
                }
            }
        }
        Ok(())
    })
    .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn traffic_that_passes_in_clear_until_there_is_an_sa_is_not_lost_when_there_is_one() {
    sweep(0..1_000, |seed| {
        let mut scenario = TwoHosts { starter: 0, ..TwoHosts::plain() }.scenario();
        for host in &mut scenario.hosts {
            host.policies[0].template.optional = true;
        }
        // Both ends have something to say, and ask for an SA, within a few round trips.
        let every = Duration::from_millis(3);
        let flow = FlowSpec { every, echo: false, ..scenario.flows[0] };
        let later = flow.start + Duration::from_millis(seed % 50);
        scenario.flows = vec![flow, FlowSpec { from: 1, start: later, ..flow }];
        // An end waits for the other for a second: an answer that takes longer costs what is sent meanwhile.
        let winding = Conditions { detour: Span::millis(50, 300), ..Conditions::rough(0) };
        scenario.link = if seed % 2 == 0 { Conditions::calm() } else { winding };
        let world = run(seed, &scenario).verdict()?;
        if world.dropped() > 0 {
            return Err(Failure::of(
                seed,
                format!("{} packets were lost by the hosts", world.dropped()),
                &world,
            ));
        }
        // A wish of the end that answered is met by the child that is only half there.
        let counts = world.counts();
        if counts.ike_sas == 2 && counts.children != 2 {
            return Err(Failure::of(seed, format!("{} children", counts.children), &world));
        }
        Ok(())
    })
    .unwrap_or_else(|failure| panic!("{failure}"));
}

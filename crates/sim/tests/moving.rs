//! Hosts that are not all on the same ports yet, as a fleet's are while it comes from another daemon.

use coati_sim::scenario::Scenario;
use coati_sim::{Failure, TwoHosts, run, sweep};
use ike_proto::config::Ports;

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

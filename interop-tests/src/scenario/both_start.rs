//! Coati and strongSwan begin a pair at once. One IKE SA and one child are left, whichever end's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::accord::{self, Accord};
use super::pairs::Hosts;
use super::{Kernel, Parties, Runs, Scenario};
use crate::failure::{Failure, Result};
use crate::net::Lan;
use crate::peer::{Coati, StrongSwan, Times, coati};
use crate::stage::Stage;
use crate::{ensure, fail};

/// So many pairs that neither end wins all of them.
const PAIRS: u8 = 8;
/// The way of a packet: longer than it takes to begin at both ends.
const FAR: Duration = Duration::from_secs(1);
/// How often both ends begin anew: one time more in a row, and Coati would take it that the peer does not agree.
const ROUNDS: usize = 3;
/// For the loser to go.
const SOON: Duration = Duration::from_secs(30);

pub(super) fn all() -> Vec<Scenario> {
    let scenario = |name: &str, claim: &str, runs, play: fn(&Stage) -> Result<()>| Scenario {
        name: name.to_owned(),
        claim: claim.to_owned(),
        runs,
        kernel: Kernel::Any,
        parties: Parties::BOTH,
        limit: Duration::from_secs(180),
        play: Box::new(play),
    };
    vec![
        scenario(
            "strongswan-both-start",
            "Coati and strongSwan start and begin every pair at once: one IKE SA and one child of each is left",
            Runs::InFull,
            both_start,
        ),
        scenario(
            "strongswan-both-initiate",
            "both ends' handshakes cross, again and again; whichever end's SA wins, it is the only one left",
            Runs::InFull,
            both_initiate,
        ),
    ]
}

/// Both daemons start, far from each other, and begin every pair.
fn both_start(stage: &Stage) -> Result<()> {
    let hosts = hosts()?;
    hosts.impair(FAR, 0)?;
    let files = coati::Files::write(stage, &hosts.coatis, &hosts.coatis_config())?.at_start();
    let (coati, swan) = std::thread::scope(|scope| {
        let swan = scope.spawn(|| StrongSwan::start_and_initiate(stage, &hosts.swans, &hosts.swans_config()));
        let coati = Coati::start(stage, &hosts.coatis, &files);
        (coati, swan.join().map_err(|_| Failure::new("the thread that starts charon panicked")))
    });
    let (coati, swan) = (coati?, swan??);
    hosts.impair(Duration::ZERO, 0)?;
    // Chance may give all to one end: then both begin once more.
    let mut seen = BTreeSet::new();
    for round in 0..3 {
        if round > 0 {
            begin_at_both_ends(&hosts, &coati, &swan)?;
        }
        let accords = judge(stage, &hosts, &coati, &swan)?;
        seen.extend(accords.iter().map(|accord| accord.by_coati));
        if seen.len() == 2 {
            return Ok(());
        }
    }
    fail!("in three rounds only one end's SAs have won")
}

/// Both daemons run already and are told to begin, again and again.
fn both_initiate(stage: &Stage) -> Result<()> {
    let hosts = hosts()?;
    let swan = StrongSwan::start(stage, &hosts.swans, &hosts.swans_config())?;
    let files = coati::Files::write(stage, &hosts.coatis, &hosts.coatis_config())?;
    let coati = Coati::start(stage, &hosts.coatis, &files)?;
    let mut won = [0, 0];
    for _ in 0..ROUNDS {
        let before = swan.established()?;
        begin_at_both_ends(&hosts, &coati, &swan)?;
        let accords = judge(stage, &hosts, &coati, &swan)?;
        let after = swan.established()?;
        for (number, accord) in accords.iter().enumerate() {
            let made =
                |counts: &BTreeMap<String, usize>| counts.get(&format!("pair{number}")).copied().unwrap_or(0);
            // Where neither end has stepped back in time both SAs were made, and one of them has won.
            if made(&after) == made(&before) + 2 {
                won[usize::from(accord.by_coati)] += 1;
            }
        }
    }
    let [charon, coatid] = won;
    stage
        .say(&format!("of two SAs that crossed, charon's has won {charon} times, coatid's {coatid} times"))?;
    ensure!(charon > 0 && coatid > 0, "only one end has won");
    Ok(())
}

/// Deletes what SAs there are, and has both ends begin every pair at the same time, far from each other.
fn begin_at_both_ends(hosts: &Hosts, coati: &Coati, swan: &StrongSwan) -> Result<()> {
    // Of a handshake from which Coati has stepped back charon keeps half an SA, unnamed, for half a minute.
    for sa in swan.sas()?.into_iter().filter(|sa| sa.state == "ESTABLISHED") {
        swan.terminate(&sa.name)?;
    }
    hosts.impair(FAR, 0)?;
    std::thread::scope(|scope| {
        for number in 0..hosts.count() {
            let [end, _] = hosts.ends(number);
            // Only what comes of it counts: a charon whose SA goes may say that it has failed.
            scope.spawn(move || swan.initiate(number));
            scope.spawn(move || coati.initiate(end.pair.local, end.pair.remote));
        }
    });
    hosts.impair(Duration::ZERO, 0)
}

fn hosts() -> Result<Hosts> {
    Hosts::new(&Lan::new("lan")?, ["alice", "bob"], 1, PAIRS, Times::default())
}

fn judge(stage: &Stage, hosts: &Hosts, coati: &Coati, swan: &StrongSwan) -> Result<Vec<Accord>> {
    let accords = hosts.accords((coati, swan), accord::at_rest, SOON)?;
    let by_coati = accords.iter().filter(|accord| accord.by_coati).count();
    stage.say(&format!("{by_coati} of {} IKE SAs are of coatid's making", accords.len()))?;
    hosts.check_traffic()?;
    Ok(accords)
}

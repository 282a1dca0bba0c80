//! A fleet comes from racoon, host by host, with traffic on every pair: each of the ways of docs/racoon-migration.md.
//!
//! racoon itself is not there: its ports are held and its SAs made by hand. The control is a pair that stays as it is.

mod fleet;

use std::time::Duration;

use super::{Runs, Scenario};
use crate::failure::{Context, Result};
use crate::stage::Stage;
use crate::{ensure, process, wait, xfrm};
use fleet::{ClearText, Family, Fleet, PAIRS};

/// Coati's ports beside racoon.
const BESIDE: (u16, u16) = (14_500, 14_500);
const USUAL: (u16, u16) = (4500, 4500);
const BESIDE_RACOON: &[&str] = &["--beside-racoon"];
const ON_BOTH: &[&str] = &["--also-ports", "1500:14500", "--take-over"];

pub(super) fn all() -> Vec<Scenario> {
    let scenario = |name: &str, claim: &str, family, runs, play: fn(&Stage, Family) -> Result<()>| Scenario {
        runs,
        ..Scenario::of_coatis(name, claim, 180, move |stage| play(stage, family))
    };
    let v4 = |name, claim, play| scenario(name, claim, Family::V4, Runs::Always, play);
    let v6 = |name, claim, runs, play| scenario(name, claim, Family::V6, runs, play);
    vec![
        v4(
            "fleet-moves-beside-racoon",
            "three hosts move from racoon one by one while both daemons run, and back, and on to ports 500 and 4500: no packet is lost, and nothing is ever in clear",
            beside,
        ),
        v4(
            "fleet-moves-in-place",
            "Coati takes racoon's ports on one host after the other: the old SAs carry until both ends have moved, no packet is lost or in clear",
            in_place,
        ),
        v4(
            "fleet-moves-by-level-use",
            "with policies of level `use` a pair speaks in clear while one end has moved, and of level `require` it never does after",
            by_level_use,
        ),
        v6("fleet-moves-beside-racoon-v6", "the same, with IPv6", Runs::InFull, beside),
        v6("fleet-moves-in-place-v6", "the same, with IPv6", Runs::Always, in_place),
        v6("fleet-moves-by-level-use-v6", "the same, with IPv6", Runs::InFull, by_level_use),
    ]
}

/// (a) Side by side, (d) the way back, and the end of it.
fn beside(stage: &Stage, family: Family) -> Result<()> {
    let mut fleet = Fleet::new(stage, family, "require")?;
    let watched = fleet.watch(stage)?;
    fleet.start_coati(stage, 0, BESIDE_RACOON)?;
    ensure!(fleet.members[0].count("--legacy")? == 2, "nobody else has moved");
    fleet.start_coati(stage, 1, BESIDE_RACOON)?;
    fleet.wait_moved([0, 1], BESIDE)?;
    ensure!(fleet.members[0].count("--legacy")? == 1, "one pair is still racoon's");

    // The way back: what Coati had goes to racoon's SAs again, at both ends.
    let before = xfrm::packets(&fleet.members[1].host, fleet.members[1].address, fleet.members[0].address)?;
    fleet.members[0].coati()?.stop()?;
    watched.wait_flowing()?;
    for member in [0, 1] {
        let host = &fleet.members[member].host;
        wait::until(
            Duration::from_secs(15),
            "the policies to be as they were, and Coati's SAs gone",
            || {
                let moved = xfrm::policies(host)?.iter().any(|policy| !policy.contains("reqid 0 "));
                let gone = xfrm::states(host)?.iter().all(|sa| sa.encapsulation == Some(USUAL));
                Ok((!moved && gone).then_some(()))
            },
        )?;
    }
    watched.wait_flowing()?;
    ensure!(before > 0, "nothing was sent");

    // On again, and the last one.
    fleet.start_coati(stage, 0, BESIDE_RACOON)?;
    fleet.start_coati(stage, 2, BESIDE_RACOON)?;
    PAIRS.iter().try_for_each(|pair| fleet.wait_moved(*pair, BESIDE))?;
    for member in 0..3 {
        ensure!(fleet.members[member].count("--legacy")? == 0, "all have moved");
        // The policies' files still say what they said, and nothing that they name is to change. (With IPv6 they would also
        // exclude neighbour discovery, which `setkey -f` does not do.)
        let files = fleet.members[member].write_policies(stage, "require")?;
        let mut plan = fleet.members[member].host.command(stage.programs.join("coati"));
        let plan = plan.args(["policy", "plan", "--file"]).arg(files).output();
        let plan = plan.context(|| "coati policy plan".to_owned())?;
        let said = String::from_utf8_lossy(&plan.stdout);
        let code = if family == Family::V4 { 0 } else { 2 };
        let is_same = said.contains("changed: 0\n") && said.contains("old: 0\n");
        ensure!(is_same && plan.status.code() == Some(code), "{}: {said}", plan.status);
    }

    watched.wait_flowing()?;
    watched.judge(stage, ClearText::Never)?;

    // racoon is not needed any more; one host after the other takes the usual ports, and lets go of the others.
    let watched = fleet.watch(stage)?;
    for member in 0..3 {
        fleet.kill_racoon(member);
        fleet.start_coati(stage, member, ON_BOTH)?;
        // The later of two ends finds the other one on the usual ports.
        let ports = |pair: &[usize; 2]| if pair[1] <= member { USUAL } else { BESIDE };
        let with = PAIRS.iter().filter(|pair| pair.contains(&member));
        with.into_iter().try_for_each(|pair| fleet.wait_moved(*pair, ports(pair)))?;
    }
    for member in 0..3 {
        fleet.start_coati(stage, member, &["--take-over"])?;
        let with = PAIRS.iter().filter(|pair| pair.contains(&member));
        with.into_iter().try_for_each(|pair| fleet.wait_moved(*pair, USUAL))?;
    }
    watched.wait_flowing()?;
    watched.judge(stage, ClearText::Never)
}

/// (b) In place: within the lives of racoon's SAs.
fn in_place(stage: &Stage, family: Family) -> Result<()> {
    let mut fleet = Fleet::new(stage, family, "require")?;
    let watched = fleet.watch(stage)?;
    for member in 0..3 {
        fleet.start_coati(stage, member, &["--take-over"])?;
        watched.wait_flowing()?;
        fleet.kill_racoon(member);
        watched.wait_flowing()?;
        let moved =
            PAIRS.iter().filter(|pair| pair.contains(&member) && pair.iter().all(|end| *end <= member));
        moved.into_iter().try_for_each(|pair| fleet.wait_moved(*pair, USUAL))?;
        ensure!(fleet.members[member].count("--legacy")? == 2 - member, "so many are left");
    }
    // What is left of racoon's SAs is not missed.
    PAIRS.iter().try_for_each(|pair| fleet.end_racoons_sas(*pair))?;
    watched.wait_flowing()?;
    watched.judge(stage, ClearText::Never)
}

/// (c) Level `use` as long as a pair is mixed.
fn by_level_use(stage: &Stage, family: Family) -> Result<()> {
    let mut fleet = Fleet::new(stage, family, "use")?;
    let watched = fleet.watch(stage)?;
    for member in 0..3 {
        fleet.start_coati(stage, member, &["--take-over"])?;
        fleet.kill_racoon(member);
        // The SAs of pairs with hosts that have not moved end: nobody renews them.
        let unmoved = PAIRS.iter().filter(|pair| pair[0] == member);
        unmoved.into_iter().try_for_each(|pair| fleet.end_racoons_sas(*pair))?;
        watched.wait_flowing()?;
        ensure!(fleet.members[member].count("--unprotected")? == 2, "all of its pairs may speak in clear");
        let moved = PAIRS.iter().filter(|pair| pair[1] == member);
        moved.into_iter().try_for_each(|pair| fleet.wait_moved(*pair, USUAL))?;
    }
    PAIRS.iter().try_for_each(|pair| fleet.wait_moved(*pair, USUAL))?;
    for member in &fleet.members[..3] {
        let files = member.write_policies(stage, "require")?;
        let mut sync = member.host.command(stage.programs.join("coati"));
        process::output(sync.args(["policy", "sync", "--file"]).arg(files))?;
        wait::until(Duration::from_secs(10), "coatid to see that nothing may pass in clear", || {
            Ok((member.count("--unprotected")? == 0).then_some(()))
        })?;
    }
    let after = fleet.watch_only(stage)?;
    watched.wait_flowing()?;
    let marker = watched.marker.clone();
    watched.judge(stage, ClearText::WhileMixed)?;
    for capture in after {
        crate::judge::never_in_clear(&capture.finish()?, &marker)?;
    }
    Ok(())
}

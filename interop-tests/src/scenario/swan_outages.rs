//! strongSwan hangs, dies or is cut off, and Coati and it find together again without a hand.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::pairs::Hosts;
use super::{Kernel, Parties, Runs, Scenario, accord};
use crate::failure::Result;
use crate::net::Lan;
use crate::peer::{Coati, StrongSwan, Times};
use crate::stage::Stage;
use crate::traffic::Marker;
use crate::{ensure, wait, xfrm};

/// Packets a second, each way.
const PACE: u32 = 20;
/// A silent peer is asked after two seconds.
const WATCHFUL: Times = Times { child: None, ike: None, silence: Some(2) };
/// For a silent peer to be given up: the time after which it is asked, and racoon's five questions of five seconds.
const NOTICED: Duration = Duration::from_secs(45);
/// The longest pause between two attempts to reach a pair.
const BACK_OFF_CAP: Duration = Duration::from_secs(60);
/// Both ends come to one IKE SA and one child.
const SETTLED: Duration = Duration::from_secs(40);

pub(super) fn all() -> Vec<Scenario> {
    let scenario = |name: &str, claim: &str, runs, limit, play: fn(&Stage) -> Result<()>| Scenario {
        name: name.to_owned(),
        claim: claim.to_owned(),
        runs,
        kernel: Kernel::Any,
        parties: Parties::BOTH,
        limit: Duration::from_secs(limit),
        play: Box::new(play),
    };
    vec![
        scenario(
            "strongswan-dpd-hangs",
            "a strongSwan that hangs is noticed, and the pair is there again when it goes on",
            Runs::InFull,
            240,
            hangs,
        ),
        scenario(
            "strongswan-dpd-dies",
            "a strongSwan that died is noticed, and the pair is there again when it is started",
            Runs::InFull,
            240,
            dies,
        ),
        scenario(
            "strongswan-cut",
            "two minutes without a network heal by themselves in less than the back-off cap",
            Runs::InFull,
            360,
            cut,
        ),
        scenario(
            "strongswan-restart-initiates",
            "a strongSwan that was killed, its SAs gone, begins anew when it is started: back in sync at once",
            Runs::InFull,
            120,
            |stage| restart(stage, Restart { initiates: true, flushed: true }),
        ),
        scenario(
            "strongswan-restart-initiates-kept",
            "a strongSwan that was killed begins anew beside its old SAs: back in sync at once",
            Runs::InFull,
            120,
            |stage| restart(stage, Restart { initiates: true, flushed: false }),
        ),
        scenario(
            "strongswan-restart-answers",
            "a strongSwan that was killed, its SAs gone, and begins nothing is back in sync by Coati's doing",
            Runs::InFull,
            180,
            |stage| restart(stage, Restart { initiates: false, flushed: true }),
        ),
        scenario(
            "strongswan-restart-answers-kept",
            "a strongSwan that was killed and begins nothing, with its old SAs, is back in sync when its traffic pauses",
            Runs::InFull,
            180,
            |stage| restart(stage, Restart { initiates: false, flushed: false }),
        ),
    ]
}

/// How strongSwan comes back after `kill -9`.
#[derive(Debug, Clone, Copy)]
struct Restart {
    /// It sets the pair up when it starts, else it waits for traffic and for Coati.
    initiates: bool,
    /// Its kernel's SAs are gone, as after a reboot.
    flushed: bool,
}

fn hosts(times: Times) -> Result<Hosts> {
    Hosts::new(&Lan::new("lan")?, ["alice", "bob"], 1, 1, times)
}

fn hangs(stage: &Stage) -> Result<()> {
    let hosts = hosts(WATCHFUL)?;
    let (coati, swan) = hosts.start(stage)?;
    swan.signal(Signal::SIGSTOP)?;
    wait_noticed(stage, &hosts, &coati)?;
    swan.signal(Signal::SIGCONT)?;
    heals(stage, &hosts, &coati, &swan)
}

fn dies(stage: &Stage) -> Result<()> {
    let mut hosts = hosts(WATCHFUL)?;
    let (coati, swan) = hosts.start(stage)?;
    swan.kill()?;
    hosts.strays = xfrm::states(&hosts.swans)?.iter().map(|state| state.spi).collect();
    wait_noticed(stage, &hosts, &coati)?;
    let swan = StrongSwan::start(stage, &hosts.swans, &hosts.swans_config())?;
    heals(stage, &hosts, &coati, &swan)
}

/// Coati deletes the SAs of a peer that does not answer, and goes on trying to reach it.
fn wait_noticed(stage: &Stage, hosts: &Hosts, coati: &Coati) -> Result<()> {
    let begin = Instant::now();
    wait::until(NOTICED, "coatid to give its silent peer up", || {
        Ok(xfrm::states(&hosts.coatis)?.is_empty().then_some(()))
    })?;
    stage.say(&format!("coatid has noticed after {:.1} s", begin.elapsed().as_secs_f64()))?;
    wait::until(Duration::from_secs(5), "coatid to begin anew", || {
        let begun = coati.said()?.matches("initiate new phase 1 negotiation").count();
        Ok((begun >= 2).then_some(()))
    })
}

/// Without anybody's traffic there is one IKE SA and one child again in less than the longest pause; then traffic flows.
fn heals(stage: &Stage, hosts: &Hosts, coati: &Coati, swan: &StrongSwan) -> Result<()> {
    let begin = Instant::now();
    hosts.accords((coati, swan), accord::at_rest, BACK_OFF_CAP)?;
    stage.say(&format!("healed after {:.1} s", begin.elapsed().as_secs_f64()))?;
    hosts.check_traffic()
}

fn cut(stage: &Stage) -> Result<()> {
    const CUT: Duration = Duration::from_secs(120);
    let hosts = hosts(Times { silence: Some(20), ..Times::default() })?;
    let (coati, swan) = hosts.start(stage)?;
    let stream = hosts.stream(0, PACE, &Marker::new("stream")?)?;
    std::thread::sleep(Duration::from_secs(2));
    hosts.impair(Duration::ZERO, 1000)?;
    std::thread::sleep(CUT);
    let before = stream.arrived();
    hosts.impair(Duration::ZERO, 0)?;
    let took = stream.wait_flowing(BACK_OFF_CAP)?;
    let ways = stream.finish()?;
    stage.say(&format!("traffic flows {:.1} s after the cut", took.as_secs_f64()))?;
    for (way, before) in ways.iter().zip(before) {
        ensure!(before < 200, "the network was not cut: {before} packets arrived before its end: {way}");
    }
    hosts.accords((&coati, &swan), accord::at_rest, SETTLED)?;
    hosts.check_traffic()
}

fn restart(stage: &Stage, how: Restart) -> Result<()> {
    let mut hosts = hosts(WATCHFUL)?;
    let (coati, swan) = hosts.start(stage)?;
    let stream = hosts.stream(0, PACE, &Marker::new("stream")?)?;
    std::thread::sleep(Duration::from_secs(2));
    let first = accord_now(&hosts, &coati, &swan)?;
    swan.kill()?;
    if how.flushed {
        hosts.swans.ip("xfrm state flush")?;
    } else {
        hosts.strays = xfrm::states(&hosts.swans)?.iter().map(|state| state.spi).collect();
    }
    // ESP that goes on shows that the peer is there (RFC 7296 §2.4): Coati asks when the traffic pauses.
    let stream = Some(stream).filter(|_| how.flushed || how.initiates);
    let begin = Instant::now();
    let config = hosts.swans_config();
    let swan = match how.initiates {
        true => StrongSwan::start_and_initiate(stage, &hosts.swans, &config)?,
        false => StrongSwan::start(stage, &hosts.swans, &config)?,
    };
    let accord = wait::until(BACK_OFF_CAP, "another IKE SA", || {
        Ok(accord_now(&hosts, &coati, &swan).ok().filter(|accord| *accord != first))
    })?;
    let agreed = begin.elapsed().as_secs_f64();
    if let Some(stream) = stream {
        stream.wait_flowing(BACK_OFF_CAP)?;
        for way in stream.finish()? {
            stage.say(&way.to_string())?;
        }
    }
    let by = if accord[0].by_coati { "coatid" } else { "charon" };
    stage.say(&format!("both ends agree {agreed:.1} s after charon was started anew; {by} began"))?;
    hosts.accords((&coati, &swan), accord::at_rest, SETTLED)?;
    hosts.check_traffic()
}

fn accord_now(hosts: &Hosts, coati: &Coati, swan: &StrongSwan) -> Result<Vec<accord::Accord>> {
    hosts.accords((coati, swan), accord::between_rekeys, Duration::ZERO)
}

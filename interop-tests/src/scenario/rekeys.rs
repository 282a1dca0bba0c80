//! Rekeys between Coati and strongSwan, started by either and by both at once, under traffic: no packet is lost.
//!
//! Several pairs between two hosts rekey side by side. Beside them, a pair of two other hosts carries the same traffic
//! and rekeys nothing: the control.

use std::time::Duration;

use super::pairs::Hosts;
use super::{Kernel, Parties, Runs, Scenario, accord};
use crate::failure::Result;
use crate::net::Lan;
use crate::peer::charon_log::{self, Count, What};
use crate::peer::{StrongSwan, Times};
use crate::stage::Stage;
use crate::stream::{self, Stream};
use crate::traffic::Marker;
use crate::{ensure, wait};

/// Packets a second each way, all pairs together.
const PACE: u32 = 120;
/// For what always runs: rekeys soon, none of which is refused.
const SHORT: Times = Times { child: Some(4), ike: Some(5), silence: None };
/// Where rekeys are refused for a while, a shorter life could end by the kernel's backstop of one and a half lifetimes.
const LONGER: Times = Times { child: Some(10), ike: Some(11), silence: None };

/// How much is rekeyed, and how.
#[derive(Debug, Clone, Copy)]
struct Plan {
    pairs: u8,
    times: Times,
    /// Each packet's way to a host takes this long: the longer, the more rekeys cross.
    delay: Duration,
    /// Rekeys of children to wait for, all pairs together.
    children: Count,
    /// Those of IKE SAs.
    ikes: Count,
}

pub(super) fn all() -> Vec<Scenario> {
    let scenario = |name: &str, claim: &str, runs, limit, plan: Plan| Scenario {
        name: name.to_owned(),
        claim: claim.to_owned(),
        runs,
        kernel: Kernel::Any,
        parties: Parties::BOTH,
        limit: Duration::from_secs(limit),
        play: Box::new(move |stage| play(stage, plan)),
    };
    let each = |by_each, crossings| Count { by_charon: by_each, by_peer: by_each, crossings };
    let (near, far) = (Duration::ZERO, Duration::from_millis(300));
    vec![
        scenario(
            "strongswan-rekeys",
            "child and IKE rekeys with strongSwan, started by either end, lose no packet",
            Runs::Always,
            120,
            Plan { pairs: 3, times: SHORT, delay: near, children: each(1, 0), ikes: each(1, 0) },
        ),
        scenario(
            "strongswan-rekeys-many",
            "20 child rekeys and 5 IKE rekeys started by each end lose no packet",
            Runs::InFull,
            400,
            Plan { pairs: 6, times: LONGER, delay: near, children: each(20, 0), ikes: each(5, 0) },
        ),
        scenario(
            "strongswan-rekeys-crossing",
            "20 child rekeys and 5 IKE rekeys that both ends start at once lose no packet and leave one of each",
            Runs::InFull,
            400,
            Plan { pairs: 6, times: LONGER, delay: far, children: each(20, 20), ikes: each(5, 5) },
        ),
    ]
}

fn play(stage: &Stage, plan: Plan) -> Result<()> {
    let lan = Lan::new("lan")?;
    let rekeyed = Hosts::new(&lan, ["alice", "bob"], 1, plan.pairs, plan.times)?;
    let control = Hosts::new(&lan, ["carol", "dave"], 50, 1, Times::default())?;
    let (coati, swan) = rekeyed.start(stage)?;
    let _others = control.start(stage)?;
    for hosts in [&rekeyed, &control] {
        hosts.impair(plan.delay, 0)?;
    }
    let pace = PACE / u32::from(plan.pairs);
    let streams = [streams(&rekeyed, pace)?, streams(&control, pace)?];

    let done = wait_rekeys(stage, &swan, plan)
        .and_then(|()| rekeyed.accords((&coati, &swan), accord::between_rekeys, Duration::from_secs(30)));
    streams.iter().flatten().for_each(Stream::stop);
    let [under_rekeys, without] = streams.map(finish);
    let (under_rekeys, without) = (under_rekeys?, without?);
    for way in under_rekeys.iter().chain(&without) {
        stage.say(&way.to_string())?;
    }
    done?;
    let lost_without = without.iter().map(|way| way.lost().len()).max().unwrap_or(0);
    for way in &under_rekeys {
        ensure!(way.sent > 150, "too short: {way}");
        ensure!(way.lost().len() <= lost_without, "{way}; the control lost {lost_without}");
        ensure!(way.repeated == 0, "{way}");
    }
    Ok(())
}

fn streams(hosts: &Hosts, pace: u32) -> Result<Vec<Stream>> {
    let marker = Marker::new("stream")?;
    (0..hosts.count()).map(|number| hosts.stream(number, pace, &marker)).collect()
}

fn finish(streams: Vec<Stream>) -> Result<Vec<stream::Way>> {
    let mut ways = Vec::new();
    for stream in streams {
        ways.extend(stream.finish()?);
    }
    Ok(ways)
}

/// Waits until charon's log has the rekeys that are to happen.
fn wait_rekeys(stage: &Stage, swan: &StrongSwan, plan: Plan) -> Result<()> {
    let count = || -> Result<[Count; 2]> {
        let rekeys = swan.rekeys()?;
        Ok([What::Child, What::Ike].map(|what| charon_log::count(&rekeys, what)))
    };
    let waited = wait::until(Duration::from_secs(300), "enough rekeys", || {
        let [children, ikes] = count()?;
        Ok((children.is_at_least(plan.children) && ikes.is_at_least(plan.ikes)).then_some(()))
    });
    let refused: Vec<_> = swan.rekeys()?.into_iter().filter(|rekey| rekey.refusal.is_some()).collect();
    let [children, ikes] = count()?;
    stage.say(&format!("children: {children}; IKE SAs: {ikes}; refused: {}", refused.len()))?;
    refused.iter().for_each(|rekey| eprintln!("{rekey:?}"));
    waited
}

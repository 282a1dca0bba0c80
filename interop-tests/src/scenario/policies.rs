//! Policies that somebody else has put into the kernel, and what no policy may catch.

use std::time::Duration;

use super::{Scenario, duel};
use crate::failure::Result;
use crate::judge;
use crate::peer::coati::Files;
use crate::peer::{Coati, Config, Kind, Peer, racoon};
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{ensure, wait, xfrm};

pub(super) fn all() -> Vec<Scenario> {
    let scenario =
        |name: &str, claim: &str, play: fn(&Stage) -> Result<()>| Scenario::of_coatis(name, claim, 90, play);
    vec![
        scenario(
            "policies-found-in-the-kernel",
            "coatid without --policy keys the policies that `ip xfrm` has put into the kernel, and leaves them as they are",
            found,
        ),
        scenario(
            "neighbour-discovery-stays-outside",
            "IPv6 policies for everything between two hosts do not catch neighbour discovery",
            neighbour_discovery,
        ),
        scenario(
            "policies-made-for-a-peer",
            "generate_policy: a host without policies makes those that its peer asks for, both directions are ESP, they go with the \
             SA, and a daemon that died leaves them to the next one, which takes them over or away",
            made,
        ),
    ]
}

fn found(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let mut running = Vec::new();
    let mut before = Vec::new();
    for end in &ends {
        let config = Config { clear: Vec::new(), ..Config::one(AES256GCM_X25519, end.pair.clone()) };
        for line in racoon::ip_xfrm_policies(&config) {
            end.host.ip(&line)?;
        }
        before.push(xfrm::policies(&end.host)?);
        let files = Files::write(stage, &end.host, &config)?.without_policies();
        running.push(Coati::start(stage, &end.host, &files)?);
    }
    let capture = stage.capture(&ends[1].port)?;
    let secret = Marker::new("secret")?;
    traffic::tcp(&ends[0].host, &ends[1].host, duel::to(&ends[0], 7000), &secret, 1024)?;
    duel::protected_traffic(&ends[0], &ends[1], &secret)?;

    let packets = capture.finish()?;
    judge::never_in_clear(&packets, &secret)?;
    let sum = judge::crossed(&packets, ends[1].pair.local, ends[1].pair.remote, &[])?;
    ensure!(sum.esp.iter().all(|count| *count > 20), "too little ESP crossed: {:?}", sum.esp);
    for (end, before) in ends.iter().zip(before) {
        let after = xfrm::policies(&end.host)?;
        ensure!(after == before, "{} had the policies {before:#?} and has {after:#?}", end.host.name());
    }
    Ok(())
}

fn neighbour_discovery(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["2001:db8::1", "2001:db8::2"])?;
    let mut running = Vec::new();
    for end in &ends {
        // Nothing is left out by these policies, ICMPv6 included.
        let config = Config { clear: Vec::new(), ..Config::one(AES256GCM_X25519, end.pair.clone()) };
        running.push(Peer::start(Kind::Coati, stage, &end.host, &config)?);
    }
    let capture = stage.capture(&ends[1].port)?;
    let secret = Marker::new("secret")?;
    for [from, at] in [[&ends[0], &ends[1]], [&ends[1], &ends[0]]] {
        // Without its neighbour's link address a host must ask for it, and get an answer.
        from.host.ip("neigh flush dev eth0")?;
        at.host.ip("neigh flush dev eth0")?;
        traffic::tcp(&from.host, &at.host, duel::to(from, 7000), &secret, 1024)?;
        traffic::ping(&from.host, from.pair.remote)?;
    }
    let packets = capture.finish()?;
    judge::never_in_clear(&packets, &secret)?;
    // An echo request that crossed in clear would be an error here; neighbour discovery is not.
    judge::crossed(&packets, ends[1].pair.local, ends[1].pair.remote, &[])?;
    Ok(())
}

/// How long something that is seconds away may take.
const SOON: Duration = Duration::from_secs(20);

/// The first host has policies and begins; the second has none, and `generate_policy unique`.
fn made(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let [asks, makes] = &ends;
    let config =
        |end: &duel::End| Config { clear: Vec::new(), ..Config::one(AES256GCM_X25519, end.pair.clone()) };
    let asking = Files::write(stage, &asks.host, &config(asks))?;
    let making = Files::write(stage, &makes.host, &config(makes))?.without_policies();
    Files::replace(
        &making.racoon,
        "exchange_mode main;",
        "exchange_mode main; generate_policy unique; passive on;",
    )?;
    let mut maker = Coati::start(stage, &makes.host, &making)?;
    let mut asker = Coati::start(stage, &asks.host, &asking)?;
    let there = || xfrm::policies(&makes.host);
    ensure!(there()?.is_empty(), "{} has policies already", makes.host.name());

    let capture = stage.capture(&makes.port)?;
    let secret = Marker::new("secret")?;
    traffic::tcp(&asks.host, &makes.host, duel::to(asks, 7000), &secret, 1024)?;
    let policies = there()?;
    ensure!(policies.len() == 2, "an `in` and an `out` policy were to be made: {policies:#?}");
    for way in ["dir in", "dir out"] {
        ensure!(policies.iter().any(|policy| policy.contains(way)), "there is no `{way}`: {policies:#?}");
    }
    // From its own side too: what it begins goes through the SA.
    traffic::tcp(&makes.host, &asks.host, duel::to(makes, 7001), &secret, 1024)?;

    // A daemon that dies leaves policies and SAs: nothing passes in clear, and the next one takes them over when the peer comes.
    maker.kill()?;
    ensure!(there()?.len() == 2, "the policies have gone with the daemon");
    let mut maker = Coati::start(stage, &makes.host, &making)?;
    ensure!(there()?.len() == 2, "the policies have gone with the new daemon");
    asker.stop()?;
    let mut asker = Coati::start(stage, &asks.host, &asking)?;
    traffic::tcp(&asks.host, &makes.host, duel::to(asks, 7002), &secret, 1024)?;
    ensure!(there()?.len() == 2, "the policies that were left serve: {:#?}", there()?);
    let packets = capture.finish()?;
    judge::never_in_clear(&packets, &secret)?;
    let sum = judge::crossed(&packets, makes.pair.local, makes.pair.remote, &[])?;
    ensure!(sum.esp.iter().all(|count| *count > 10), "too little ESP crossed: {:?}", sum.esp);

    // They go when the peer's SA does, and at the end of a daemon that is told to stop.
    asker.stop()?;
    wait::until(SOON, "the end of the policies", || Ok(there()?.is_empty().then_some(())))?;
    let mut asker = Coati::start(stage, &asks.host, &asking)?;
    traffic::tcp(&asks.host, &makes.host, duel::to(asks, 7003), &secret, 1024)?;
    ensure!(there()?.len() == 2, "no policies were made again");
    maker.stop()?;
    ensure!(there()?.is_empty(), "a daemon that stops leaves the policies it has made: {:#?}", there()?);
    asker.stop()
}

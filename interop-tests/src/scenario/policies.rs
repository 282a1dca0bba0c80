//! Policies that somebody else has put into the kernel, and what no policy may catch.

use std::time::Duration;

use super::{Kernel, Parties, Runs, Scenario, duel};
use crate::failure::Result;
use crate::judge;
use crate::peer::coati::Files;
use crate::peer::{Coati, Config, Kind, Peer, racoon};
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{ensure, xfrm};

pub(super) fn all() -> Vec<Scenario> {
    let scenario = |name: &str, claim: &str, play: fn(&Stage) -> Result<()>| Scenario {
        name: name.to_owned(),
        claim: claim.to_owned(),
        runs: Runs::Always,
        kernel: Kernel::Any,
        parties: Parties::COATI,
        limit: Duration::from_secs(90),
        play: Box::new(play),
    };
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

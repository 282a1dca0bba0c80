//! An orderly stop: the peer is told, the policies stay, nothing leaks.

use std::time::Duration;

use super::{Kernel, Parties, Runs, Scenario, duel};
use crate::failure::Result;
use crate::peer::{Coati, Config, Kind, Peer, coati};
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{ensure, judge, wait, xfrm};

pub(super) fn all() -> Vec<Scenario> {
    let scenario = |peer: Kind, parties| Scenario {
        name: format!("stop-tells-{}", peer.name()),
        claim: format!(
            "SIGTERM deletes the SAs at a {} peer, leaves the policies, and nothing crosses in clear",
            peer.name()
        ),
        runs: Runs::Always,
        kernel: Kernel::Any,
        parties,
        limit: Duration::from_secs(90),
        play: Box::new(move |stage| stop(stage, peer)),
    };
    vec![scenario(Kind::Coati, Parties::COATI), scenario(Kind::StrongSwan, Parties::BOTH)]
}

fn stop(stage: &Stage, peer: Kind) -> Result<()> {
    let [stopping, staying] = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let config = |end: &duel::End| Config::one(AES256GCM_X25519, end.pair.clone());
    let _peer = Peer::start(peer, stage, &staying.host, &config(&staying))?;
    let files = coati::Files::write(stage, &stopping.host, &config(&stopping))?;
    let mut coati = Coati::start(stage, &stopping.host, &files)?;
    let policies = xfrm::policies(&stopping.host)?;
    ensure!(!policies.is_empty(), "coatid has loaded no policies");
    let capture = stage.capture(&staying.port)?;
    let secret = Marker::new("secret")?;
    traffic::tcp(&stopping.host, &staying.host, duel::to(&stopping, 7000), &secret, 1024)?;

    coati.stop()?;
    let left = xfrm::states(&stopping.host)?;
    ensure!(left.is_empty(), "coatid has ended and left {} SAs of its own", left.len());
    wait::until(Duration::from_secs(5), "the peer to delete its SAs", || {
        Ok(xfrm::states(&staying.host)?.is_empty().then_some(()))
    })?;
    let after = xfrm::policies(&stopping.host)?;
    ensure!(after == policies, "the policies were {policies:#?} and are {after:#?}");

    traffic::udp_blind(&stopping.host, duel::to(&stopping, 7001), &secret, 10)?;
    traffic::udp_blind(&staying.host, duel::to(&staying, 7001), &secret, 10)?;
    let packets = capture.finish()?;
    judge::never_in_clear(&packets, &secret)?;
    Ok(())
}

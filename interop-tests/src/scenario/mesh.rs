//! The example mesh: boxes behind 1:1 NAT, private and public pairs of the same boxes up together.

use std::time::Duration;

use super::{Kernel, Parties, Runs, Scenario, duel};
use crate::capture::Capture;
use crate::failure::{Context, Result};
use crate::judge::{self, Clear};
use crate::net::{Cloud, Host, Port};
use crate::peer::coati::Files;
use crate::peer::{Coati, Config, Pair, StrongSwan};
use crate::scenario::duel::End;
use crate::stage::Stage;
use crate::suite::AES128CBC_MODP3072;
use crate::traffic::{self, Marker};
use crate::{ensure, wait, xfrm};

const SSH: u16 = 22;

pub(super) fn all() -> Vec<Scenario> {
    let scenario = |name: &str, claim: &str, parties, play: fn(&Stage) -> Result<()>| Scenario {
        name: name.to_owned(),
        claim: claim.to_owned(),
        runs: Runs::Always,
        kernel: Kernel::Any,
        parties,
        limit: Duration::from_secs(180),
        play: Box::new(play),
    };
    let control = Parties { coati: false, strongswan: true };
    vec![
        scenario(
            "control-strongswan-mesh",
            "two strongSwans key their private and their public pair through 1:1 NAT at both ends",
            control,
            strongswan_pair,
        ),
        scenario(
            "mesh-coati",
            "three boxes with the example files key every private and every public pair at once",
            Parties::COATI,
            three_boxes,
        ),
        scenario(
            "mesh-coati-to-strongswan",
            "box01 with the example files keys both its pairs with a strongSwan at box02",
            Parties::BOTH,
            coati_to_strongswan,
        ),
        scenario(
            "mesh-strongswan-to-coati",
            "a strongSwan at box01 keys both its pairs with box02, which has the example files",
            Parties::BOTH,
            strongswan_to_coati,
        ),
    ]
}

fn three_boxes(stage: &Stage) -> Result<()> {
    let cloud = Cloud::new(3)?;
    let mut running = Vec::new();
    for (host, _) in cloud.boxes() {
        running.push(Coati::start(stage, host, &Files::example(stage, host)?.at_start())?);
    }
    for (host, _) in cloud.boxes() {
        wait::until(Duration::from_secs(45), "every pair to be up without traffic, once", || {
            Ok((xfrm::states(host)?.len() == expected_states(&cloud)).then_some(()))
        })?;
    }
    judge_mesh(stage, &cloud, &[(1, 2), (1, 3), (2, 3)])
}

fn strongswan_pair(stage: &Stage) -> Result<()> {
    let cloud = Cloud::new(2)?;
    let _second = strongswan(stage, &cloud, 2, 1)?;
    let _first = strongswan(stage, &cloud, 1, 2)?;
    judge_mesh(stage, &cloud, &[(1, 2)])
}

fn coati_to_strongswan(stage: &Stage) -> Result<()> {
    let cloud = Cloud::new(2)?;
    let _second = strongswan(stage, &cloud, 2, 1)?;
    let (host, _) = place(&cloud, 1)?;
    let _first = Coati::start(stage, host, &Files::example(stage, host)?.at_start())?;
    judge_mesh(stage, &cloud, &[(1, 2)])
}

fn strongswan_to_coati(stage: &Stage) -> Result<()> {
    let cloud = Cloud::new(2)?;
    let (host, _) = place(&cloud, 2)?;
    let _second = Coati::start(stage, host, &Files::example(stage, host)?)?;
    let _first = strongswan(stage, &cloud, 1, 2)?;
    judge_mesh(stage, &cloud, &[(1, 2)])
}

fn place(cloud: &Cloud, number: u8) -> Result<&(Host, Port)> {
    cloud.boxes().get(usize::from(number) - 1).context(|| format!("there is no box {number}"))
}

/// A strongSwan with the private and the public pair of two boxes, and the key that the example files give them.
fn strongswan(stage: &Stage, cloud: &Cloud, own: u8, other: u8) -> Result<StrongSwan> {
    let (host, _) = place(cloud, own)?;
    let file = stage.root.join(format!("examples/mesh/{}/psk.txt", host.name()));
    let keys = std::fs::read_to_string(&file).context(|| format!("cannot read {}", file.display()))?;
    let address = Cloud::private(other).to_string();
    let entry = keys.lines().find_map(|line| line.strip_prefix(&address)?.strip_prefix(' '));
    let key = entry.context(|| format!("{} has no key for {address}", file.display()))?.to_owned();

    let private = Pair { key, ..Pair::new(Cloud::private(own).into(), Cloud::private(other).into()) };
    let public = Pair { remote: Cloud::public(other).into(), ..private.clone() };
    let config = Config { pairs: vec![private.clone(), public], ..Config::one(AES128CBC_MODP3072, private) };
    StrongSwan::start(stage, host, &config)
}

/// Of each host: with every other one a private and a public pair, an SA each way.
fn expected_states(cloud: &Cloud) -> usize {
    (cloud.boxes().len() - 1) * 2 * 2
}

/// The two ends of one pair of boxes: by private addresses, or by public ones, which each end knows only of the other.
fn ends(cloud: &Cloud, (one, other): (u8, u8), public: bool) -> Result<[End; 2]> {
    let end = |own: u8, peer: u8| -> Result<End> {
        let (host, port) = place(cloud, own)?.clone();
        let remote = if public { Cloud::public(peer) } else { Cloud::private(peer) };
        Ok(End { host, port, pair: Pair::new(Cloud::private(own).into(), remote.into()) })
    };
    Ok([end(one, other)?, end(other, one)?])
}

/// Sends traffic over every pair, all of them staying up, and judges the kernels and every box's cable.
fn judge_mesh(stage: &Stage, cloud: &Cloud, pairs: &[(u8, u8)]) -> Result<()> {
    let boxes = cloud.boxes();
    let captures = boxes.iter().map(|(_, port)| stage.capture(port)).collect::<Result<Vec<Capture>>>()?;
    let (secret, open) = (Marker::new("secret")?, Marker::new("open")?);
    let mut all = Vec::new();
    for pair in pairs {
        for public in [false, true] {
            all.push(ends(cloud, *pair, public)?);
        }
    }
    // Every pair is set up before any is judged: none may have cost another its SAs.
    for [one, other] in &all {
        traffic::tcp(&one.host, &other.host, duel::to(one, 7000), &secret, 1024)?;
    }
    for [one, other] in &all {
        duel::protected_traffic(one, other, &secret)?;
        traffic::tcp(&one.host, &other.host, duel::to(one, SSH), &open, 256)?;
        traffic::ping(&one.host, one.pair.remote)?;
    }
    let expected = expected_states(cloud);
    for (host, _) in boxes {
        let states = xfrm::states(host)?;
        ensure!(states.len() == expected, "{} has {} ESP SAs, not {expected}", host.name(), states.len());
        let suite = states.iter().all(|state| state.algorithms == AES128CBC_MODP3072.kernel);
        ensure!(suite, "{} has an SA of another suite than the example files say", host.name());
        stage.keep_kernel_view(host);
    }
    for (capture, (host, _)) in captures.into_iter().zip(boxes) {
        let packets = capture.finish()?;
        judge::never_in_clear(&packets, &secret)?;
        judge::readable(&packets, &open)?;
        for End { pair, .. } in all.iter().flatten().filter(|end| end.host == *host) {
            let sum = judge::crossed(&packets, pair.local, pair.remote, &[Clear::Icmp, Clear::Tcp(SSH)])?;
            eprintln!("between {} and {}: {sum:?}", pair.local, pair.remote);
            ensure!(sum.esp.iter().all(|count| *count > 20), "too little ESP crossed to {}", pair.remote);
            ensure!(
                sum.spis.len() == 2,
                "packets of {} SAs crossed to {}, not of two",
                sum.spis.len(),
                pair.remote
            );
            ensure!(sum.clear.len() == 2, "ICMP and SSH were to cross in clear, seen were {:?}", sum.clear);
        }
    }
    Ok(())
}

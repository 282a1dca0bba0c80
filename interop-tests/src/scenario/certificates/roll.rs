//! A roll of the authority under traffic. Beside it, a pair of two other hosts carries the same traffic and rolls nothing:
//! the control.

use std::path::PathBuf;
use std::time::Duration;

use super::scenario;
use crate::failure::Result;
use crate::net::Lan;
use crate::peer::certified::{self, Proofs};
use crate::peer::{Coati, Kind, Peer, StrongSwan, Times};
use crate::pki::{CoatiPki, Credentials};
use crate::scenario::pairs::Hosts;
use crate::scenario::{Parties, Runs, Scenario, accord};
use crate::stage::Stage;
use crate::stream::Stream;
use crate::traffic::Marker;
use crate::{ensure, wait};

/// Packets a second each way, and pair.
const PACE: u32 = 60;

pub(super) fn all() -> Vec<Scenario> {
    vec![scenario(
        "certs-roll".to_owned(),
        "a new authority and new certificates on both ends, then the old ones gone, cost no packet"
            .to_owned(),
        Runs::InFull,
        Parties::BOTH,
        play,
    )]
}

/// What both ends have at one step of the roll: of which authority their own certificates are, and whom they believe.
struct Step<'a> {
    own: &'a CoatiPki,
    believed: Vec<PathBuf>,
}

fn play(stage: &Stage) -> Result<()> {
    let lan = Lan::new("lan")?;
    let rolled = Hosts::new(&lan, ["alice", "bob"], 1, 1, Times::default())?;
    let control = Hosts::new(&lan, ["carol", "dave"], 50, 1, Times::default())?;
    let (old, new) = (CoatiPki::new(stage, "old", "p256")?, CoatiPki::new(stage, "new", "ed25519")?);
    for pki in [&old, &new] {
        for hosts in [&rolled, &control] {
            for end in hosts.ends(0) {
                pki.issue(end.host.name(), end.pair.local, "p256")?;
            }
        }
    }
    let before = Step { own: &old, believed: vec![old.certificate()] };
    let (coati, swan) = start(stage, &rolled, &before)?;
    let _others = start(stage, &control, &before)?;
    for hosts in [&rolled, &control] {
        hosts.check_traffic()?;
    }
    let marker = Marker::new("stream")?;
    let streams = [rolled.stream(0, PACE, &marker)?, control.stream(0, PACE, &marker)?];
    let done = roll(stage, &rolled, (&coati, &swan), [&old, &new], &streams[0]);
    streams.iter().for_each(Stream::stop);
    let [under_roll, without] = streams.map(Stream::finish);
    let (under_roll, without) = (under_roll?, without?);
    for way in under_roll.iter().chain(&without) {
        stage.say(&way.to_string())?;
    }
    done?;
    let lost_without = without.iter().map(|way| way.lost().len()).max().unwrap_or(0);
    for way in &under_roll {
        ensure!(way.sent > 300, "too short: {way}");
        ensure!(way.lost().len() <= lost_without, "{way}; the control lost {lost_without}");
    }
    Ok(())
}

fn start(stage: &Stage, hosts: &Hosts, step: &Step<'_>) -> Result<(Coati, StrongSwan)> {
    let [coatis, swans] = step.credentials(hosts);
    let with = |credentials| (credentials, Proofs::CERTIFICATES);
    let swan = certified::start(Kind::StrongSwan, stage, &hosts.swans, &hosts.swans_config(), with(&swans))?;
    let coati = certified::start(Kind::Coati, stage, &hosts.coatis, &hosts.coatis_config(), with(&coatis))?;
    match (coati, swan) {
        (Peer::Coati(coati), Peer::StrongSwan(swan)) => Ok((coati, swan)),
        _ => crate::fail!("these are not the daemons that were started"),
    }
}

impl Step<'_> {
    /// Of coatid's host and of charon's. The certificates are there since the beginning.
    fn credentials(&self, hosts: &Hosts) -> [Credentials; 2] {
        [&hosts.coatis, &hosts.swans].map(|host| Credentials {
            own: self.own.issued(host.name()),
            chain: Vec::new(),
            authorities: self.believed.clone(),
            crls: Vec::new(),
        })
    }

    /// Gives both ends what they have in this step: charon first, whose certificate coatid's next handshake is to show.
    fn take(&self, stage: &Stage, hosts: &Hosts, (coati, swan): (&Coati, &StrongSwan)) -> Result<()> {
        let [coatis, swans] = self.credentials(hosts);
        certified::give_strongswan(stage, &hosts.swans, &swans)?;
        swan.reload()?;
        certified::give_coati(stage, &hosts.coatis, &coatis)?;
        coati.hang_up()
    }
}

/// Old and new authority overlap; then both ends have certificates of the new one; then the old one goes.
fn roll(
    stage: &Stage,
    hosts: &Hosts,
    both: (&Coati, &StrongSwan),
    [old, new]: [&CoatiPki; 2],
    stream: &Stream,
) -> Result<()> {
    let (coati, swan) = both;
    let overlap = vec![old.certificate(), new.certificate()];
    let first = hosts.accords(both, accord::at_rest, Duration::from_secs(20))?;
    Step { own: old, believed: overlap.clone() }.take(stage, hosts, both)?;
    stream.wait_flowing(Duration::from_secs(5))?;
    Step { own: new, believed: overlap }.take(stage, hosts, both)?;
    // coatid makes another IKE SA with its new certificate, the old one goes when that carries the traffic.
    let second = wait::until(Duration::from_secs(40), "an IKE SA of the new certificates", || {
        let now = hosts.accords(both, accord::at_rest, Duration::from_secs(40))?;
        Ok((now[0].ike != first[0].ike).then_some(now))
    })?;
    Step { own: new, believed: vec![new.certificate()] }.take(stage, hosts, both)?;
    // All SAs are looked at again within 5 s of a reload.
    std::thread::sleep(Duration::from_secs(8));
    stream.wait_flowing(Duration::from_secs(5))?;
    let third = hosts.accords(both, accord::at_rest, Duration::from_secs(20))?;
    ensure!(
        third == second,
        "the SA of the new certificates went with the old authority: {second:?} {third:?}"
    );
    let said = coati.said()?;
    ensure!(!said.contains("is not known"), "coatid has found a certificate of the old authority");
    let chain = swan.said()?.lines().any(|line| line.contains("trusted ca certificate \"CN=new\""));
    ensure!(chain, "charon has never used the new authority");
    Ok(())
}

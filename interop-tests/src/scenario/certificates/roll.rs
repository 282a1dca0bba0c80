//! A roll of the authority under traffic. Beside it, a pair of two other hosts carries the same traffic and rolls nothing:
//! the control.

use std::path::PathBuf;
use std::time::Duration;

use super::scenario;
use crate::failure::{Context, Result};
use crate::net::Lan;
use crate::peer::certified::{self, Proofs};
use crate::peer::{Coati, Config, Kind, Peer, StrongSwan, Times};
use crate::pki::{CoatiPki, Credentials};
use crate::scenario::duel::{self, End};
use crate::scenario::pairs::{Hosts, SERVICE};
use crate::scenario::{Parties, Runs, Scenario, accord};
use crate::stage::Stage;
use crate::stream::{self, Stream};
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{ensure, wait};

/// Packets a second each way, and pair.
const PACE: u32 = 60;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        scenario(
            "certs-roll".to_owned(),
            "a new authority and new certificates on both ends, then the old ones gone, cost no packet"
                .to_owned(),
            Runs::InFull,
            Parties::BOTH,
            play,
        ),
        scenario(
            "certs-roll-coatis".to_owned(),
            "two Coatis roll authority and certificates, one after the other, and lose no packet".to_owned(),
            Runs::InFull,
            Parties::COATI,
            between_coatis,
        ),
    ]
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
    nothing_lost(stage, streams, done)
}

/// The stream under the roll has lost no more than the one beside it, and the roll went as it should.
fn nothing_lost(stage: &Stage, streams: [Stream; 2], done: Result<()>) -> Result<()> {
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
        [&hosts.coatis, &hosts.swans].map(|host| self.of(host.name()))
    }

    /// Of the host of this name.
    fn of(&self, host: &str) -> Credentials {
        Credentials {
            own: self.own.issued(host),
            chain: Vec::new(),
            authorities: self.believed.clone(),
            crls: Vec::new(),
        }
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

fn between_coatis(stage: &Stage) -> Result<()> {
    let lan = Lan::new("lan")?;
    let ends = |names: [&str; 2], [one, other]: [&str; 2]| -> Result<[End; 2]> {
        Ok([duel::end(&lan, names[0], one, other)?, duel::end(&lan, names[1], other, one)?])
    };
    let rolled = ends(["alice", "bob"], ["203.0.113.1", "203.0.113.2"])?;
    let control = ends(["carol", "dave"], ["203.0.113.3", "203.0.113.4"])?;
    let (old, new) = (CoatiPki::new(stage, "old", "p256")?, CoatiPki::new(stage, "new", "ed25519")?);
    for pki in [&old, &new] {
        for end in rolled.iter().chain(&control) {
            pki.issue(end.host.name(), end.pair.local, "p256")?;
        }
    }
    let before = Step { own: &old, believed: vec![old.certificate()] };
    let start = |ends: &[End; 2]| -> Result<Vec<Coati>> {
        let one = |end: &End| {
            let config = Config::one(AES256GCM_X25519, end.pair.clone());
            let credentials = before.of(end.host.name());
            let files =
                certified::coati_files(stage, &end.host, &config, (&credentials, Proofs::CERTIFICATES))?;
            Coati::start(stage, &end.host, &files)
        };
        let both = ends.iter().map(one).collect::<Result<Vec<_>>>()?;
        traffic::tcp(
            &ends[0].host,
            &ends[1].host,
            duel::to(&ends[0], SERVICE),
            &Marker::new("check")?,
            1024,
        )?;
        Ok(both)
    };
    let coatis = start(&rolled)?;
    let _others = start(&control)?;
    let marker = Marker::new("stream")?;
    let stream = |[one, other]: &[End; 2]| {
        Stream::start(
            [
                stream::End { host: &one.host, pair: &one.pair },
                stream::End { host: &other.host, pair: &other.pair },
            ],
            SERVICE,
            PACE,
            &marker,
        )
    };
    let streams = [stream(&rolled)?, stream(&control)?];
    let done = roll_coatis(stage, &rolled, &coatis, [&old, &new], &streams[0]);
    nothing_lost(stage, streams, done)
}

/// Old and new authority overlap; then one end has its new certificate, then the other; then the old authority goes.
fn roll_coatis(
    stage: &Stage,
    ends: &[End; 2],
    coatis: &[Coati],
    [old, new]: [&CoatiPki; 2],
    stream: &Stream,
) -> Result<()> {
    let take = |number: usize, step: &Step<'_>| -> Result<()> {
        let host = &ends[number].host;
        certified::give_coati(stage, host, &step.of(host.name()))?;
        coatis[number].hang_up()
    };
    let overlap = vec![old.certificate(), new.certificate()];
    let (own, believed) = (old, overlap.clone());
    let step = Step { own, believed };
    (0..2).try_for_each(|number| take(number, &step))?;
    let mut ike = one_ike_sa(&coatis[0])?;
    for number in 0..2 {
        take(number, &Step { own: new, believed: overlap.clone() })?;
        ike = wait::until(Duration::from_secs(40), "an IKE SA of the new certificate", || {
            Ok(one_ike_sa(&coatis[0]).ok().filter(|now| *now != ike))
        })?;
        stream.wait_flowing(Duration::from_secs(5))?;
    }
    let step = Step { own: new, believed: vec![new.certificate()] };
    (0..2).try_for_each(|number| take(number, &step))?;
    // All SAs are looked at again within 5 s of a reload.
    std::thread::sleep(Duration::from_secs(8));
    stream.wait_flowing(Duration::from_secs(5))?;
    ensure!(one_ike_sa(&coatis[0])? == ike, "the SA of the new certificates went with the old authority");
    for (coati, [own, other]) in coatis.iter().zip([[0, 1], [1, 0]]) {
        let [local, remote] = [&ends[own], &ends[other]].map(|end| end.pair.local);
        let shown = coati.peer_certificate(local, remote)?;
        let issued = new.issued(ends[other].host.name()).certificate;
        let issued = std::fs::read_to_string(issued).context(|| "a new certificate".to_owned())?;
        ensure!(shown.trim() == issued.trim(), "{} has another certificate of its peer", coati.host().name());
        ensure!(!coati.said()?.contains("is not known"), "a certificate of the old authority was found");
    }
    Ok(())
}

/// The initiator's SPI of the only IKE SA, if there is just one.
fn one_ike_sa(coati: &Coati) -> Result<String> {
    let text = coati.status(&["--json"])?;
    let status: serde_json::Value =
        serde_json::from_str(&text).context(|| "coati status --json".to_owned())?;
    let all = status["pairs"][0]["ike_sas"].as_array().map(Vec::as_slice).unwrap_or_default();
    // One that is gone is kept for a while, to answer what was on its way.
    let all: Vec<_> = all.iter().filter(|ike| ike["state"] != "deleted").collect();
    let [only] = all.as_slice() else { crate::fail!("there are {} IKE SAs", all.len()) };
    Ok(only["spi_i"].as_str().unwrap_or_default().to_owned())
}

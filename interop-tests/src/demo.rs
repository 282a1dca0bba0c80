//! The demonstration: three hosts with the example files, and what a person would want to see of them.

use std::time::Duration;

use crate::capture::Capture;
use crate::ensure;
use crate::failure::{Context, Result};
use crate::judge::{self, Clear};
use crate::net::{Cloud, Host};
use crate::peer::Coati;
use crate::peer::coati::Files;
use crate::scenario::{Kernel, Parties, Runs, Scenario};
use crate::stage::Stage;
use crate::traffic::{self, Marker};
use crate::wire::{Kind, Seen};
use crate::xfrm;

const STREAM: usize = 64 * 1024;
const SERVICE: u16 = 8080;

/// The scenario behind `cargo xtask demo`.
pub fn scenario() -> Scenario {
    Scenario {
        name: "demo".to_owned(),
        claim: "three hosts with the example files, shown to a person".to_owned(),
        runs: Runs::ByName,
        kernel: Kernel::Any,
        parties: Parties { coati: true, strongswan: false },
        limit: Duration::from_secs(120),
        play: Box::new(play),
    }
}

fn play(stage: &Stage) -> Result<()> {
    let cloud = Cloud::new(3)?;
    let [(box01, cable01), (box02, cable02), (box03, _)] = cloud.boxes() else {
        crate::fail!("three boxes were to be there")
    };
    let capture = stage.capture(cable01)?;
    let mut running = start(stage, &cloud)?;
    show_pairs(stage, box01)?;
    let secret = Marker::new("SECRET")?;

    stage.say("# TCP between them")?;
    let private = (Cloud::private(2), box02, "its private address");
    let public = (Cloud::public(3), box03, "its public address, through 1:1 NAT at both ends");
    for (address, host, by) in [private, public] {
        traffic::tcp(box01, host, (address, SERVICE).into(), &secret, STREAM)?;
        stage.say(&format!("+ {STREAM} octets from box01 to {}, by {by}", host.name()))?;
    }

    stage.say("# What crossed the wire, captured outside the hosts")?;
    let seen = capture.finish()?;
    judge::never_in_clear(&seen, &secret)?;
    for address in [Cloud::private(2), Cloud::public(3)] {
        show_wire(stage, &seen, address)?;
    }
    stage.say("+ the octets sent are nowhere readable in the capture")?;

    show_icmp(stage, box01, stage.capture(cable02)?)?;
    show_sas(stage, box01)?;

    stage.say("# coati status, on box01")?;
    let first = running.first_mut().context(|| "no daemon".to_owned())?;
    for line in first.status(&[])?.lines() {
        stage.say(line)?;
    }
    show_stop(stage, first, box01, &[box02, box03])?;
    for coati in running.iter_mut().skip(1) {
        coati.stop()?;
    }
    Ok(())
}

fn start(stage: &Stage, cloud: &Cloud) -> Result<Vec<Coati>> {
    stage.say("# Three hosts with the files in examples/mesh, as racoon has them")?;
    let mut running = Vec::new();
    for ((host, _), number) in cloud.boxes().iter().zip(1..) {
        running.push(Coati::start(stage, host, &Files::example(stage, host)?.at_start())?);
        let (own, known) = (Cloud::private(number), Cloud::public(number));
        stage.say(&format!("+ {}: {own}, to the others also {known}; coatid is up", host.name()))?;
    }
    stage.say("  each by: coatid -f racoon.conf --policy ipsec-tools.conf")?;
    Ok(running)
}

/// Waits for the pairs that the three set up by themselves: with each of two boxes one by its private address, and one by
/// its public address.
fn show_pairs(stage: &Stage, host: &Host) -> Result<()> {
    const SAS: usize = 2 * 2 * 2;
    crate::wait::until(Duration::from_secs(45), "all pairs", || {
        Ok((xfrm::states(host)?.len() == SAS).then_some(()))
    })?;
    stage.say("+ every pair is up before anybody sends anything")
}

/// The sum of what crossed between box01 and `address`, and the first packets of ESP.
fn show_wire(stage: &Stage, seen: &[Seen], address: std::net::Ipv4Addr) -> Result<()> {
    let own = Cloud::private(1).into();
    let sum = judge::crossed(seen, own, address.into(), &[Clear::Icmp])?;
    ensure!(sum.esp.iter().all(|count| *count > 0), "no ESP crossed between {own} and {address}");
    let [out, back] = sum.esp;
    stage.say(&format!(
        "+ {own} and {address}: {} IKE messages, then {out} packets of ESP in UDP out, {back} back",
        sum.ike
    ))?;
    let esp = seen.iter().filter(|packet| packet.is_between(own, address.into()));
    let esp = esp.filter_map(|packet| match packet.kind {
        Kind::EspInUdp { spi } => Some((packet, spi)),
        _ => None,
    });
    for (packet, spi) in esp.take(2) {
        let Seen { source, destination, octets, .. } = packet;
        let payload: String = octets.iter().skip(36).take(12).map(|octet| format!("{octet:02x}")).collect();
        stage.say(&format!(
            "    {source}.4500 > {destination}.4500  ESP spi {spi:#010x}  {} octets  {payload}…",
            octets.len()
        ))?;
    }
    Ok(())
}

fn show_icmp(stage: &Stage, box01: &Host, capture: Capture) -> Result<()> {
    stage.say("# ICMP, which these files leave out of IPsec")?;
    traffic::ping(box01, Cloud::private(2).into())?;
    let seen = capture.finish()?;
    let sum = judge::crossed(&seen, Cloud::private(1).into(), Cloud::private(2).into(), &[Clear::Icmp])?;
    let crossed = sum.clear.values().sum::<u64>();
    ensure!(crossed == 6, "three echoes and their answers were to cross in clear, {crossed} did");
    stage.say("+ three echo requests and their answers crossed in clear, as told")
}

/// The kernel's SAs without their keys.
fn show_sas(stage: &Stage, host: &Host) -> Result<()> {
    stage.say(&format!("# The kernel's SAs on {}", host.name()))?;
    for state in xfrm::states(host)? {
        let names: Vec<&str> = state.algorithms.iter().filter_map(|name| name.split(' ').next()).collect();
        let (source, destination, spi) = (state.source.to_string(), state.destination.to_string(), state.spi);
        stage.say(&format!(
            "{source:>13} > {destination:<13} spi {spi:#010x}  {}  {:>6} octets in {:>3} packets",
            names.join(" "),
            state.bytes,
            state.packets
        ))?;
    }
    Ok(())
}

fn show_stop(stage: &Stage, coati: &mut Coati, own: &Host, others: &[&Host]) -> Result<()> {
    stage.say("# box01 stops")?;
    let policies = xfrm::policies(own)?;
    coati.stop()?;
    let address = std::net::IpAddr::from(Cloud::private(1));
    crate::wait::until(Duration::from_secs(5), "the peers to delete their SAs", || {
        for host in others {
            if xfrm::states(host)?.iter().any(|state| state.source == address || state.destination == address)
            {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    ensure!(xfrm::policies(own)? == policies, "the policies of box01 have changed");
    stage
        .say("+ its peers have deleted their SAs with it; its policies stay, so that nothing leaves in clear")
}

//! Three hosts that racoon has keyed, and two more that stay racoon's: the control.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::capture::Capture;
use crate::failure::{Context, Result};
use crate::net::{Host, Lan, Port};
use crate::peer::coati::Files;
use crate::peer::racoon_place::{RacoonsPorts, RacoonsSa};
use crate::peer::{Coati, Config, Pair, Times, racoon};
use crate::scenario::setkey::Setkey;
use crate::stage::Stage;
use crate::stream::{End, Stream, Way};
use crate::suite::AES256GCM_X25519;
use crate::traffic::Marker;
use crate::{ensure, judge, wait, xfrm};

/// Packets a second each way, and pair.
const PACE: u32 = 50;
const SERVICE: u16 = 7300;
/// How long a pair may take to move.
const SOON: Duration = Duration::from_secs(30);

/// The pairs of the fleet, by their hosts' numbers.
pub(super) const PAIRS: [[usize; 2]; 3] = [[0, 1], [0, 2], [1, 2]];
/// The pair that stays racoon's.
const CONTROL: [usize; 2] = [3, 4];

/// One host.
pub(super) struct Member {
    pub(super) host: Host,
    pub(super) address: IpAddr,
    port: Port,
    /// Addresses of the hosts it has policies with.
    others: Vec<IpAddr>,
    pub(super) racoon: Option<RacoonsPorts>,
    pub(super) coati: Option<Coati>,
}

/// Whether the hosts that move may speak in clear.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClearText {
    Never,
    WhileMixed,
}

/// The address of a member.
fn address(family: Family, number: usize) -> IpAddr {
    let host = u8::try_from(number).unwrap_or(u8::MAX).saturating_add(1);
    match family {
        Family::V4 => Ipv4Addr::new(203, 0, 113, host).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()).into(),
    }
}

/// Which addresses the fleet has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// All hosts, and racoon's SAs of each pair: from its first host, from its second.
pub(super) struct Fleet {
    pub(super) members: Vec<Member>,
    sas: Vec<([usize; 2], [RacoonsSa; 2])>,
    _lan: Lan,
}

/// What runs over the pairs all the while, and is captured.
pub(super) struct Watched {
    streams: Vec<([usize; 2], Stream)>,
    captures: Vec<Capture>,
    /// The addresses of the pairs that move.
    pairs: [[IpAddr; 2]; 3],
    pub(super) marker: Marker,
}

impl Fleet {
    /// Every pair is keyed by racoon, its policies at this level.
    pub(super) fn new(stage: &Stage, family: Family, level: &str) -> Result<Self> {
        let lan = Lan::new("lan")?;
        let names = ["box01", "box02", "box03", "box04", "box05"];
        let mut members = Vec::new();
        for (number, name) in names.into_iter().enumerate() {
            let host = Host::new(name)?;
            let own = address(family, number);
            let length = if family == Family::V4 { 24 } else { 64 };
            let port = lan.join(&host, "eth0", &[&format!("{own}/{length}")])?;
            let range = if number < 3 { 0..3 } else { 3..5 };
            let others = range.filter(|other| *other != number);
            let others = others.map(|other| address(family, other)).collect();
            let racoon = Some(RacoonsPorts::take(&host, own)?);
            members.push(Member { host, address: own, port, others, racoon, coati: None });
        }
        let mut fleet = Fleet { members, sas: Vec::new(), _lan: lan };
        // The files begin with `flush`.
        for member in &fleet.members {
            Setkey::new(stage, &member.host)?.load(&member.policies(level))?;
        }
        for (pair, spi) in PAIRS.into_iter().chain([CONTROL]).zip((0x0c0a_0000..).step_by(2)) {
            let [one, other] = pair.map(|member| fleet.members[member].address);
            let sas = [RacoonsSa::new(one, other, spi)?, RacoonsSa::new(other, one, spi + 1)?];
            for member in pair {
                sas.iter().try_for_each(|sa| sa.add(&fleet.members[member].host))?;
            }
            fleet.sas.push((pair, sas));
        }
        Ok(fleet)
    }

    /// Sends over every pair, the control too, and captures on every cable.
    pub(super) fn watch(&self, stage: &Stage) -> Result<Watched> {
        let marker = Marker::new("secret")?;
        let captures: Result<Vec<Capture>> =
            self.members.iter().map(|member| stage.capture(&member.port)).collect();
        let mut streams = Vec::new();
        for (pair, port) in PAIRS.into_iter().chain([CONTROL]).zip(SERVICE..) {
            let [one, other] = pair.map(|member| &self.members[member]);
            let seen = [Pair::new(one.address, other.address), Pair::new(other.address, one.address)];
            let ends = [End { host: &one.host, pair: &seen[0] }, End { host: &other.host, pair: &seen[1] }];
            streams.push((pair, Stream::start(ends, port, PACE, &marker)?));
        }
        let pairs = PAIRS.map(|pair| pair.map(|member| self.members[member].address));
        let watched = Watched { streams, captures: captures?, pairs, marker };
        watched.wait_flowing()?;
        Ok(watched)
    }

    /// Captures on every cable of the hosts that move.
    pub(super) fn watch_only(&self, stage: &Stage) -> Result<Vec<Capture>> {
        self.members.iter().take(3).map(|member| stage.capture(&member.port)).collect()
    }

    /// racoon on this host is killed: SAs and policies stay.
    pub(super) fn kill_racoon(&mut self, number: usize) {
        self.members[number].racoon = None;
    }

    /// The SAs of a pair end, as racoon's do when their time is up: nobody sends on what the other end has not any more.
    pub(super) fn end_racoons_sas(&self, pair: [usize; 2]) -> Result<()> {
        let (_, sas) = self.sas.iter().find(|(of, _)| *of == pair).context(|| format!("SAs of {pair:?}"))?;
        for (sender, sa) in pair.into_iter().zip(sas) {
            sa.delete(&self.members[sender].host)?;
        }
        // What is under way may still come.
        std::thread::sleep(Duration::from_millis(300));
        let [one, other] = pair;
        for (receiver, sa) in [other, one].into_iter().zip(sas) {
            sa.delete(&self.members[receiver].host)?;
        }
        Ok(())
    }

    /// Starts Coati on a host, with these arguments and racoon's files; one that runs there is to end.
    pub(super) fn start_coati(&mut self, stage: &Stage, number: usize, arguments: &[&str]) -> Result<()> {
        let member = &mut self.members[number];
        let files = Files::write(stage, &member.host, &member.config())?;
        let files = files.without_policies().at_start().with_arguments(arguments);
        member.coati = Some(match member.coati.take() {
            Some(before) => Coati::succeed(stage, before, &files)?,
            None => Coati::start(stage, &member.host, &files)?,
        });
        Ok(())
    }

    /// Waits until the SAs that a pair sends on are Coati's, on these ports.
    pub(super) fn wait_moved(&self, pair: [usize; 2], ports: (u16, u16)) -> Result<()> {
        let [one, other] = pair.map(|member| &self.members[member]);
        wait::until(
            SOON,
            &format!("{} and {} to be keyed by Coati", one.host.name(), other.host.name()),
            || {
                let moved = |from: &Member, to: &Member| -> Result<bool> {
                    let listed = from.pairs(&[])?;
                    let is_up = listed.iter().any(|pair| {
                        pair["remote"] == to.address.to_string().as_str() && pair["keyed_by"] == "coati"
                    });
                    let states = xfrm::states(&from.host)?;
                    let mut ours = states.iter().filter(|sa| {
                        sa.source == from.address
                            && sa.destination == to.address
                            && sa.encapsulation == Some(ports)
                    });
                    Ok(is_up && ours.any(|sa| sa.packets > 0 && sa.algorithms == ["rfc4106(gcm(aes)) 288"]))
                };
                Ok((moved(one, other)? && moved(other, one)?).then_some(()))
            },
        )
    }
}

impl Member {
    /// ipsec-tools.conf.
    pub(super) fn policies(&self, level: &str) -> String {
        racoon::ipsec_tools_conf(&self.config()).replace("//require", &format!("//{level}"))
    }

    fn config(&self) -> Config {
        let pairs: Vec<Pair> = self.others.iter().map(|other| Pair::new(self.address, *other)).collect();
        let clear = Vec::new();
        Config { suite: AES256GCM_X25519, pairs, clear, times: Times::default() }
    }

    /// Writes ipsec-tools.conf at this level where `coati policy` is to find it.
    pub(super) fn write_policies(&self, stage: &Stage, level: &str) -> Result<PathBuf> {
        let file = stage.work(&self.host)?.join(format!("{level}.conf"));
        std::fs::write(&file, self.policies(level)).context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    pub(super) fn coati(&mut self) -> Result<&mut Coati> {
        self.coati.as_mut().context(|| format!("Coati on {}", self.host.name()))
    }

    /// `coati mesh pairs --json`: the pairs, as long as the exit code says what they do.
    pub(super) fn pairs(&self, filter: &[&str]) -> Result<Vec<Value>> {
        let coati = self.coati.as_ref().context(|| format!("Coati on {}", self.host.name()))?;
        let output = coati.mesh_pairs(filter)?;
        let listing: Value = serde_json::from_slice(&output.stdout)
            .context(|| format!("mesh pairs: {}", String::from_utf8_lossy(&output.stderr)))?;
        let pairs = listing["pairs"].as_array().context(|| format!("no pairs in {listing}"))?.clone();
        let expected = if filter.is_empty() || pairs.is_empty() { 0 } else { 2 };
        ensure!(output.status.code() == Some(expected), "{filter:?} ended with {}", output.status);
        Ok(pairs)
    }

    /// How many pairs a filter of `coati mesh pairs` leaves.
    pub(super) fn count(&self, filter: &str) -> Result<usize> {
        Ok(self.pairs(&[filter])?.len())
    }
}

impl Watched {
    /// Waits until packets of every stream arrive that were sent after this.
    pub(super) fn wait_flowing(&self) -> Result<()> {
        self.streams.iter().try_for_each(|(_, stream)| stream.wait_flowing(SOON).map(drop))
    }

    /// Ends it: nothing more was lost than in the control, and nothing crossed in clear that must not.
    pub(super) fn judge(self, stage: &Stage, clear_text: ClearText) -> Result<()> {
        self.streams.iter().for_each(|(_, stream)| stream.stop());
        let (mut moved, mut control): (Vec<Way>, Vec<Way>) = (Vec::new(), Vec::new());
        for (pair, stream) in self.streams {
            (if pair == CONTROL { &mut control } else { &mut moved }).extend(stream.finish()?);
        }
        for way in moved.iter().chain(&control) {
            stage.say(&way.to_string())?;
        }
        for capture in self.captures {
            let packets = capture.finish()?;
            if clear_text == ClearText::Never {
                judge::never_in_clear(&packets, &self.marker)?;
                for [one, other] in self.pairs {
                    judge::crossed(&packets, one, other, &[])?;
                }
            }
        }
        let lost_without = control.iter().map(|way| way.lost().len()).max().unwrap_or(0);
        for way in &moved {
            ensure!(way.sent > 200, "too short: {way}");
            ensure!(way.lost().len() <= lost_without, "{way}; the control lost {lost_without}");
        }
        Ok(())
    }
}

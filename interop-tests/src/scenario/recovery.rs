//! What a mesh's operator was woken up for: keys that change under load, a host that dies and comes back, hosts that
//! all start at once, and somebody who flushes the kernel's databases. Coati at every end.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Kernel, Runs, Scenario, duel};
use crate::failure::{Context, Result};
use crate::net::Lan;
use crate::peer::coati::Files;
use crate::peer::manager::Manager;
use crate::peer::{Coati, Config, Pair, Times};
use crate::scenario::duel::End;
use crate::stage::Stage;
use crate::stream::{self, Stream, Way};
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{ensure, judge, wait, xfrm};

/// A service that is nobody's exception.
const SERVICE: u16 = 7200;
/// Packets a second each way while something goes on.
const LOAD: u32 = 100;
/// How long keys change under load.
const UNDER_LOAD: Duration = Duration::from_secs(30);
/// A restarted host is back after this time.
const BACK: Duration = Duration::from_secs(2);

pub(super) fn all() -> Vec<Scenario> {
    let scenario = |name: &str, claim: &str, limit: u64, runs, play: fn(&Stage) -> Result<()>| Scenario {
        runs,
        ..Scenario::of_coatis(name, claim, limit, play)
    };
    vec![
        scenario(
            "rekeys-under-load",
            "100 packets a second for 30 s, the child rekeyed every 3 s and the IKE SA every 9 s: no more is lost than \
             by a pair beside it that keeps its keys",
            120,
            Runs::Always,
            rekeys_under_load,
        ),
        scenario(
            "kill-restart",
            "a host whose coatid is killed and whose SAs are flushed has its traffic back within 2 s of coatid's next start",
            90,
            Runs::Always,
            kill_restart,
        ),
        scenario(
            "kill-restart-on-demand",
            "the same where nothing is set up at start: the peer's next message meets quick crash detection",
            90,
            Runs::Always,
            kill_restart_on_demand,
        ),
        scenario(
            "kill-restart-unflushed",
            "where the SAs stay in the kernel, traffic is back with coatid's sockets, and its next start replaces them",
            120,
            Runs::InFull,
            kill_restart_unflushed,
        ),
        scenario(
            "restart-by-service-manager",
            "a service manager that keeps the sockets restarts a coatid, and starts it again when it has crashed: nothing is lost, \
             though no coatid runs for seconds",
            120,
            Runs::Always,
            restart_by_service_manager,
        ),
        scenario(
            "flushed-databases-heal",
            "SAs and policies that somebody flushes are back in a moment, and nothing crosses in clear",
            90,
            Runs::Always,
            flushed_databases_heal,
        ),
        at_once("six", 6, Runs::Always),
        at_once("twelve", 12, Runs::InFull),
        at_once("twenty", 20, Runs::InFull),
        Scenario { kernel: Kernel::Disposable, ..at_once("forty", 40, Runs::InFull) },
    ]
}

fn at_once(word: &str, hosts: u8, runs: Runs) -> Scenario {
    let claim = format!(
        "{word} hosts that all start all their pairs at once end with one IKE SA and one child a pair"
    );
    let limit = 90 + 10 * u64::from(hosts);
    let play = move |stage: &Stage| all_at_once(stage, hosts);
    Scenario { runs, ..Scenario::of_coatis(format!("{word}-at-once"), claim, limit, play) }
}

/// Two pairs on one network: one changes its keys all the time, the other is the control.
fn rekeys_under_load(stage: &Stage) -> Result<()> {
    let lan = Lan::new("lan")?;
    let ends = |one: (&str, &str), other: (&str, &str)| -> Result<[End; 2]> {
        Ok([duel::end(&lan, one.0, one.1, other.1)?, duel::end(&lan, other.0, other.1, one.1)?])
    };
    let rekeyed = ends(("alice", "203.0.113.1"), ("bob", "203.0.113.2"))?;
    let control = ends(("carol", "203.0.113.3"), ("dave", "203.0.113.4"))?;
    let short = Times { child: Some(3), ike: Some(9), ..Times::default() };
    let daemons = [started(stage, &rekeyed, short)?, started(stage, &control, Times::default())?];
    let capture = stage.capture(&rekeyed[1].port)?;
    let secret = Marker::new("secret")?;

    let streams = [stream(&rekeyed, &secret)?, stream(&control, &secret)?];
    for stream in &streams {
        stream.wait_flowing(Duration::from_secs(10))?;
    }
    let mut seen = daemons.each_ref().map(|pair| pair.each_ref().map(|_| Keys::default()));
    while streams[0].elapsed() < UNDER_LOAD {
        for (coati, seen) in daemons.iter().flatten().zip(seen.iter_mut().flatten()) {
            seen.note(coati)?;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let [with, without] = streams.map(Stream::finish);
    let (with, without) = (with?, without?);
    for way in with.iter().chain(&without) {
        stage.say(&way.to_string())?;
    }
    let [changing, kept] = &seen;
    for (coati, keys) in daemons.iter().flatten().zip(seen.iter().flatten()) {
        stage.say(&format!("{}: {keys}", coati.host().name()))?;
    }
    for Keys { children, ike, .. } in changing {
        let [children, ike] = [children.saturating_sub(1), ike.len().saturating_sub(1)];
        ensure!(children >= 9, "the child was to be rekeyed every 3 s, and was {children} times in 30 s");
        ensure!(ike >= 3, "the IKE SA was to be rekeyed every 9 s, and was {ike} times in 30 s");
    }
    let one = |keys: &Keys| (keys.children, keys.ike.len()) == (1, 1);
    ensure!(kept.iter().all(one), "the control was to keep its keys");
    let lost = |ways: &[Way; 2]| ways.iter().map(|way| way.lost().len()).sum::<usize>();
    ensure!(
        lost(&with) <= lost(&without),
        "{} packets were lost under rekeys, {} without",
        lost(&with),
        lost(&without)
    );
    // A look may fall into the moment in which a successor is there and its predecessor still is.
    wait::until(Duration::from_secs(5), "one IKE SA and one child", || {
        Ok(one_of_each(&daemons[0], 1).is_ok().then_some(()))
    })?;
    judge::never_in_clear(&capture.finish()?, &secret)
}

/// What a daemon has had one after the other.
#[derive(Debug, Default)]
struct Keys {
    /// Children: the first, and those that it has told of since it was first asked.
    children: usize,
    told_at_first: Option<usize>,
    /// SPIs of IKE SAs that were in use when it was asked.
    ike: BTreeSet<String>,
}

impl Keys {
    fn note(&mut self, coati: &Coati) -> Result<()> {
        let status = status(coati)?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let sas = list(&status["pairs"]).into_iter().flat_map(|pair| list(&pair["ike_sas"]));
        let used = sas.filter(|sa| sa["state"] == "established");
        self.ike.extend(used.map(|sa| sa["spi_i"].to_string()));
        let told = coati.said()?.matches("IPsec-SA established").count();
        self.children = 1 + told - *self.told_at_first.get_or_insert(told);
        Ok(())
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} children and {} IKE SAs, one after the other", self.children, self.ike.len())
    }
}

fn kill_restart(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let [mut alice, bob] = started(stage, &ends, Times::default())?;
    let capture = stage.capture(&ends[1].port)?;
    let secret = Marker::new("secret")?;
    let stream = stream(&ends, &secret)?;
    stream.wait_flowing(Duration::from_secs(10))?;

    alice.kill()?;
    ends[0].host.ip("xfrm state flush")?;
    std::thread::sleep(Duration::from_secs(3));
    let gap = stream.elapsed();
    let alice = launched_again(stage, alice)?;
    let took = stream.wait_flowing(Duration::from_secs(30))?;
    stage.say(&format!("traffic flows both ways {:.2} s after the start of coatid", took.as_secs_f64()))?;
    ensure!(took <= BACK, "it took {took:?}, and was to take no more than {BACK:?}");
    let ways = stream.finish_after(gap + Duration::from_secs(5))?;
    for way in &ways {
        stage.say(&way.to_string())?;
        let again = way.lost().into_iter().filter(|number| way.pace * *number > gap + took).count();
        ensure!(again == 0, "{again} packets were lost after traffic was back: {way}");
    }
    one_of_each(&[alice, bob], 1)?;
    judge::never_in_clear(&capture.finish()?, &secret)
}

fn kill_restart_on_demand(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    // The peer's next message: it asks after a second of silence.
    let times = Times { silence: Some(1), ..Times::default() };
    let start = |end: &End| {
        let config = Config { times, ..Config::one(AES256GCM_X25519, end.pair.clone()) };
        Coati::start(stage, &end.host, &Files::write(stage, &end.host, &config)?)
    };
    let (mut alice, bob) = (start(&ends[0])?, start(&ends[1])?);
    let capture = stage.capture(&ends[1].port)?;
    let secret = Marker::new("secret")?;
    bob.initiate(ends[1].pair.local, ends[1].pair.remote)?;
    wait::until(Duration::from_secs(20), "the pair to be up", || all_up(&ends, 1))?;

    // At once: the peer has heard of us just now, and asks when we are there again.
    alice.kill()?;
    ends[0].host.ip("xfrm state flush")?;
    let restart = Instant::now();
    let alice = launched_again(stage, alice)?;
    // Nothing is sent from here: only the peer can bring the pair back.
    let back = || Ok((xfrm::states(&ends[0].host)?.len() == 2).then(|| restart.elapsed()));
    let took = wait::until(Duration::from_secs(30), "the pair to be back", back)?;
    stage.say(&format!("the pair is back {:.2} s after the start of coatid", took.as_secs_f64()))?;
    ensure!(took <= BACK, "it took {took:?}, and was to take no more than {BACK:?}");
    ensure!(bob.said()?.contains("quick crash detection"), "it was not quick crash detection that did it");
    ensure!(!alice.said()?.contains("initiate new phase 1"), "alice was to begin nothing");
    wait_mirrored(&ends)?;
    duel::protected_traffic(&ends[1], &ends[0], &secret)?;
    one_of_each(&[alice, bob], 1)?;
    judge::never_in_clear(&capture.finish()?, &secret)
}

fn kill_restart_unflushed(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let [mut alice, bob] = started(stage, &ends, Times::default())?;
    wait_mirrored(&ends)?;
    let capture = stage.capture(&ends[1].port)?;
    let secret = Marker::new("secret")?;
    let stream = stream(&ends, &secret)?;
    stream.wait_flowing(Duration::from_secs(10))?;

    let old = spis(&ends[0])?;
    // ESP in UDP comes in by a socket of coatid's: without it the SAs are of no use.
    alice.kill()?;
    let alice = launched_again(stage, alice)?;
    let took = stream.wait_flowing(Duration::from_secs(30))?;
    stage.say(&format!("traffic flows both ways {:.2} s after the start of coatid", took.as_secs_f64()))?;
    ensure!(took <= BACK, "it took {took:?}, and was to take no more than {BACK:?}");
    let gone = || Ok(spis(&ends[0])?.is_disjoint(&old).then_some(()));
    wait::until(Duration::from_secs(60), "the SAs of the killed daemon to be replaced", gone)?;
    stream.wait_flowing(BACK)?;
    for way in stream.finish()? {
        stage.say(&way.to_string())?;
        ensure!(way.longest_gap() <= BACK, "nothing arrived for {:?}: {way}", way.longest_gap());
    }
    wait_mirrored(&ends)?;
    one_of_each(&[alice, bob], 1)?;
    judge::never_in_clear(&capture.finish()?, &secret)
}

fn restart_by_service_manager(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let files = |end: &End| {
        let config = Config::one(AES256GCM_X25519, end.pair.clone());
        Files::write(stage, &end.host, &config).map(Files::at_start)
    };
    let bob = Coati::start(stage, &ends[1].host, &files(&ends[1])?)?;
    let mut manager = Manager::new(stage, &ends[0].host)?;
    let mut alice = manager.start(stage, &ends[0].host, &files(&ends[0])?)?;
    ensure!(
        manager.keeps() == 4,
        "{} sockets are kept, not those of two ports and families",
        manager.keeps()
    );
    wait_mirrored(&ends)?;
    let capture = stage.capture(&ends[1].port)?;
    let secret = Marker::new("secret")?;
    let stream = stream(&ends, &secret)?;
    stream.wait_flowing(Duration::from_secs(10))?;
    for end in [Coati::leave, Coati::kill] {
        let old = spis(&ends[0])?;
        end(&mut alice)?;
        // As long as systemd waits before it starts a service again that has failed.
        std::thread::sleep(Duration::from_secs(2));
        stream.wait_flowing(Duration::from_millis(200))?;
        ensure!(spis(&ends[0])? == old, "the SAs were to stay");
        alice = manager.start_again(stage, alice)?;
        let new = || {
            let states = xfrm::states(&ends[0].host)?;
            let carry = states.iter().filter(|state| !old.contains(&state.spi) && state.packets > 0);
            Ok((carry.count() == 2).then_some(()))
        };
        wait::until(Duration::from_secs(30), "the SAs of the daemon before to be replaced", new)?;
        ensure!(manager.keeps() == 4, "{} sockets are kept", manager.keeps());
    }
    wait_mirrored(&ends)?;
    for way in stream.finish()? {
        stage.say(&way.to_string())?;
        ensure!(way.lost().is_empty(), "nothing was to be lost: {way}");
    }
    one_of_each(&[alice, bob], 1)?;
    judge::never_in_clear(&capture.finish()?, &secret)
}

fn flushed_databases_heal(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let daemons = started(stage, &ends, Times::default())?;
    let [alice, _] = &ends;
    let policies = xfrm::policies(&alice.host)?;
    let capture = stage.capture(&ends[1].port)?;
    let secret = Marker::new("secret")?;
    let stream = stream(&ends, &secret)?;
    stream.wait_flowing(Duration::from_secs(10))?;

    alice.host.ip("xfrm state flush")?;
    let took = stream.wait_flowing(Duration::from_secs(25))?;
    stage.say(&format!("traffic flows {:.2} s after `ip xfrm state flush`", took.as_secs_f64()))?;
    for way in stream.finish_after(Duration::ZERO)? {
        stage.say(&way.to_string())?;
    }
    wait_mirrored(&ends)?;

    // Nothing is sent meanwhile: without policies the kernel would let it pass, whoever deleted them.
    let sas = spis(alice)?;
    let begin = Instant::now();
    alice.host.ip("xfrm policy deleteall")?;
    let back = || Ok((xfrm::policies(&alice.host)? == policies).then(|| begin.elapsed()));
    let took = wait::until(Duration::from_secs(61), "the policies to be back", back)?;
    stage.say(&format!(
        "all policies are back {:.2} s after `ip xfrm policy deleteall`",
        took.as_secs_f64()
    ))?;
    ensure!(spis(alice)? == sas, "the policies were to come back before the SAs went");
    duel::protected_traffic(&ends[0], &ends[1], &secret)?;

    let status = status(&daemons[0])?;
    let counted = |what: &str| status["corrections"][what].as_u64().unwrap_or(0);
    ensure!(counted("children_restored") == 1, "one child was lost: {status}");
    ensure!(counted("policies_restored") >= 2, "the policies were lost: {status}");
    ensure!(status["corrections"]["policies_deleted"] == 0, "nothing was to be deleted: {status}");
    one_of_each(&daemons, 1)?;
    judge::never_in_clear(&capture.finish()?, &secret)
}

fn all_at_once(stage: &Stage, hosts: u8) -> Result<()> {
    let lan = Lan::new("lan")?;
    let address = |number: u8| IpAddr::from([203, 0, 113, number]);
    let mut ends = Vec::new();
    for number in 1..=hosts {
        let neighbour = address(number % hosts + 1);
        ends.push(duel::end(
            &lan,
            &format!("host{number}"),
            &address(number).to_string(),
            &neighbour.to_string(),
        )?);
    }
    let mut daemons = Vec::new();
    let begin = Instant::now();
    for end in &ends {
        let own = end.pair.local;
        let others = (1..=hosts).map(address).filter(|other| *other != own);
        let config = Config {
            pairs: others.map(|other| Pair::new(own, other)).collect(),
            ..Config::one(AES256GCM_X25519, end.pair.clone())
        };
        let files = Files::write(stage, &end.host, &config)?.at_start();
        daemons.push(Coati::launch(
            stage,
            &end.host,
            &files,
            end.host.command(stage.programs.join("coatid")),
        )?);
    }
    let others = usize::from(hosts) - 1;
    let limit = Duration::from_secs(60 + 5 * u64::from(hosts));
    wait::until(limit, "every pair to be up", || all_up(&ends, others))?;
    let up = begin.elapsed();
    wait::until(limit, "one SA each way a pair", || at_rest(&ends, others))?;
    let rest = begin.elapsed();
    one_of_each(&daemons, others)?;
    let mut crossed = 0;
    for coati in &daemons {
        crossed += coati.said()?.matches("the pair has another IKE SA").count();
    }
    stage.say(&format!(
        "{} pairs: all up after {:.1} s, nothing surplus after {:.1} s; {crossed} IKE SAs lost to another",
        usize::from(hosts) * others / 2,
        up.as_secs_f64(),
        rest.as_secs_f64()
    ))?;
    mirrored(&ends)?;
    let secret = Marker::new("secret")?;
    for (one, other) in ends.iter().zip(ends.iter().skip(1)) {
        let target = (other.pair.local, SERVICE).into();
        let arrived = traffic::udp(&one.host, &other.host, target, &secret, 20, 200)?;
        ensure!(arrived == 20, "{arrived} of 20 datagrams arrived at {}", other.host.name());
    }
    // At rest it stays as it is.
    std::thread::sleep(Duration::from_secs(5));
    ensure!(at_rest(&ends, others)?.is_some(), "SAs have come or gone after all was at rest");
    one_of_each(&daemons, others)
}

/// Whether every host sends to every other on some SA.
fn all_up(ends: &[End], others: usize) -> Result<Option<()>> {
    for end in ends {
        let states = xfrm::states(&end.host)?;
        let reached: BTreeSet<IpAddr> =
            states.iter().filter(|s| s.source == end.pair.local).map(|s| s.destination).collect();
        if reached.len() < others {
            return Ok(None);
        }
    }
    Ok(Some(()))
}

/// Whether every host has one SA each way with every other.
fn at_rest(ends: &[End], others: usize) -> Result<Option<()>> {
    for end in ends {
        if xfrm::states(&end.host)?.len() != 2 * others {
            return Ok(None);
        }
    }
    Ok(Some(()))
}

/// Both ends of every pair have the same two SAs: each SA of a host is at exactly one other host too.
fn mirrored(ends: &[End]) -> Result<()> {
    let mut all: Vec<(IpAddr, u32)> = Vec::new();
    for end in ends {
        all.extend(xfrm::states(&end.host)?.iter().map(|state| (state.destination, state.spi)));
    }
    all.sort_unstable();
    let odd = all.chunk_by(|one, other| one == other).find(|same| same.len() != 2);
    ensure!(odd.is_none(), "an SA is not at both its ends: {odd:x?}");
    Ok(())
}

fn wait_mirrored(ends: &[End; 2]) -> Result<()> {
    wait::until(Duration::from_secs(45), "both ends to have the same two SAs", || {
        Ok((at_rest(ends, 1)?.is_some() && mirrored(ends).is_ok()).then_some(()))
    })
}

fn spis(end: &End) -> Result<BTreeSet<u32>> {
    Ok(xfrm::states(&end.host)?.iter().map(|state| state.spi).collect())
}

fn launched_again(stage: &Stage, before: Coati) -> Result<Coati> {
    let command = before.host().command(stage.programs.join("coatid"));
    Coati::launch_again(stage, before, command)
}

/// Both ends' daemons, each setting its pair up at start, and the pair up.
fn started(stage: &Stage, ends: &[End; 2], times: Times) -> Result<[Coati; 2]> {
    let start = |end: &End| {
        let config = Config { times, ..Config::one(AES256GCM_X25519, end.pair.clone()) };
        Coati::start(stage, &end.host, &Files::write(stage, &end.host, &config)?.at_start())
    };
    let daemons = [start(&ends[0])?, start(&ends[1])?];
    wait::until(Duration::from_secs(20), "the pair to be up", || all_up(ends, 1))?;
    Ok(daemons)
}

fn stream(ends: &[End; 2], secret: &Marker) -> Result<Stream> {
    Stream::start(
        ends.each_ref().map(|end| stream::End { host: &end.host, pair: &end.pair }),
        SERVICE,
        LOAD,
        secret,
    )
}

fn status(coati: &Coati) -> Result<Value> {
    let text = coati.status(&["--json"])?;
    serde_json::from_str(&text).context(|| "coati status --json".to_owned())
}

/// Every daemon says that each of its pairs has one IKE SA in use and one child on it that sends.
fn one_of_each(daemons: &[Coati], pairs: usize) -> Result<()> {
    for coati in daemons {
        let status = status(coati)?;
        let all = status["pairs"].as_array().context(|| format!("no pairs in {status}"))?;
        ensure!(all.len() == pairs, "{} has {} pairs, not {pairs}", coati.host().name(), all.len());
        for pair in all {
            let sas = pair["ike_sas"].as_array().map_or(&[][..], Vec::as_slice);
            let used: Vec<&Value> = sas.iter().filter(|sa| sa["state"] == "established").collect();
            // One that was rekeyed receives for a moment longer, and sends no more.
            let sends = |child: &&Value| !child["bytes_out"].is_null();
            let children = used.iter().filter_map(|sa| sa["children"].as_array()).flatten().filter(sends);
            let children = children.count();
            ensure!(
                pair["state"] == "up" && used.len() == 1 && children == 1,
                "{} has {} IKE SAs and {children} children with one peer: {pair}",
                coati.host().name(),
                used.len()
            );
        }
    }
    Ok(())
}

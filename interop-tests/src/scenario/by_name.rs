//! The drop-in: racoon's files, racoon's commands, racoon's signals and nothing else of ours.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Scenario, duel};
use crate::failure::{Context, Result};
use crate::peer::{Config, racoon};
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{ensure, judge, process, wait, xfrm};

/// How long something that is seconds away may take.
const SOON: Duration = Duration::from_secs(20);
/// racoon's words in the log.
const UP: &str = "INFO: ISAKMP-SA established ";

pub(super) fn all() -> Vec<Scenario> {
    let claim = "setkey -f, racoon -f, racoonctl and kill do what they did: two hosts (one with privsep), traffic, show-sa, flush-sa, \
                 vpn-disconnect, vpn-connect, HUP, TERM, hooks, pid file";
    let chroot_claim = "privsep with a chroot: traffic flows, what is written is below the new root, a reload that cannot \
                        find its files changes nothing";
    let scenario =
        |name: &str, claim: &str, play: fn(&Stage) -> Result<()>| Scenario::of_coatis(name, claim, 150, play);
    vec![
        scenario("racoon-by-name", claim, play),
        scenario("racoon-in-a-chroot", chroot_claim, play_below_another_root),
    ]
}

/// A host with racoon's files, below one directory.
struct Site<'a> {
    end: &'a duel::End,
    directory: PathBuf,
    log: PathBuf,
}

impl<'a> Site<'a> {
    fn new(stage: &Stage, end: &'a duel::End, more: &str) -> Result<Self> {
        let directory = stage.work(&end.host)?;
        let this = Self { end, log: stage.log(&format!("{}.racoon.log", end.host.name())), directory };
        // Whoever the daemon becomes writes here.
        fs::set_permissions(&this.directory, fs::Permissions::from_mode(0o777))
            .context(|| "cannot open the directory of hooks".to_owned())?;
        let config = Config::one(AES256GCM_X25519, end.pair.clone());
        let conf = racoon::racoon_conf(&config.suite, config.times);
        let at = |name: &str| this.directory.join(name).display().to_string();
        let conf = format!(
            "path pidfile \"{}\";\nlisten {{ adminsock \"{}\"; }}\npath script \"{}\";\n{more}\n{}",
            at("racoon.pid"),
            at("racoon.sock"),
            this.directory.display(),
            conf.replace(
                "exchange_mode main;",
                "exchange_mode main;\n    script \"hook.sh\" phase1_up;\n    script \"hook.sh\" phase1_down;"
            )
        );
        this.write("racoon.conf", &conf, 0o644)?;
        this.write("psk.txt", &racoon::psk_txt(&config.pairs), 0o600)?;
        this.write("ipsec-tools.conf", &racoon::ipsec_tools_conf(&config), 0o644)?;
        let hook =
            format!("#!/bin/sh\necho \"$1 $LOCAL_ADDR $REMOTE_ADDR $REMOTE_ID\" >> {}\n", at("hooks.txt"));
        this.write("hook.sh", &hook, 0o755)?;
        for name in ["racoon", "racoonctl", "setkey"] {
            symlink(stage.programs.join("coati"), this.directory.join(name))
                .context(|| format!("cannot call coati {name}"))?;
        }
        Ok(this)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, text).context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .context(|| format!("cannot change {}", path.display()))
    }

    fn read(&self, path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Starts racoon as an init script does: it has to come back with the daemon up.
    fn start(&self) -> Result<Output> {
        self.start_with(&["-l", &self.log.display().to_string()])
    }

    fn start_with(&self, more: &[&str]) -> Result<Output> {
        let mut command = self.end.host.command(self.directory.join("racoon"));
        command.current_dir(&self.directory);
        // A relative name: it counts from here, wherever the daemon goes. The hosts share a file system, so each needs a
        // state directory of its own, and who begins is for the scenario to say.
        command.args(["-f", "racoon.conf"]).args(more);
        command.args(["--initiate", "on-demand", "--state-dir", "state"]);
        let shown = process::show(&command);
        command.stdin(Stdio::null()).output().context(|| format!("cannot run {shown}"))
    }

    /// What setkey.service does.
    fn load_policies(&self) -> Result<()> {
        let mut setkey = self.end.host.command(self.directory.join("setkey"));
        process::output(setkey.arg("-f").arg(self.directory.join("ipsec-tools.conf")))?;
        Ok(())
    }

    fn ctl(&self, line: &str) -> Command {
        let mut command = self.end.host.command(self.directory.join("racoonctl"));
        let (options, words): (Vec<&str>, Vec<&str>) =
            line.split(' ').partition(|word| word.starts_with("-l"));
        command.args(options).arg("-s").arg(self.directory.join("racoon.sock")).args(words);
        command
    }

    fn said(&self, line: &str) -> Result<String> {
        process::output(&mut self.ctl(line))
    }

    fn pid(&self) -> Result<Pid> {
        let text = self.read(&self.directory.join("racoon.pid"));
        text.trim().parse().map(Pid::from_raw).context(|| format!("the pid file holds {text:?}"))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid()?, signal).context(|| format!("cannot send {signal} to racoon"))
    }

    /// The cookies of the one IKE SA.
    fn cookies(&self) -> Result<String> {
        let text = self.said("show-sa isakmp")?;
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let peer = format!("{}.4500", self.end.pair.remote);
        match lines.as_slice() {
            [line] if line.starts_with(&peer) => {
                Ok(line.split_whitespace().nth(1).unwrap_or_default().to_owned())
            }
            _ => crate::fail!("one IKE SA with {peer} was to be there:\n{text}"),
        }
    }

    /// Whether hooks have run, one line each, in this order.
    fn await_hooks(&self, events: &[&str]) -> Result<()> {
        let (local, remote) = (self.end.pair.local, self.end.pair.remote);
        let expected: String =
            events.iter().map(|event| format!("{event} {local} {remote} {remote}\n")).collect();
        let hooks = || self.read(&self.directory.join("hooks.txt"));
        let done = wait::until(SOON, "hooks", || Ok((hooks() == expected).then_some(())));
        done.context(|| format!("{} had the hooks\n{}not\n{expected}", self.end.host.name(), hooks()))
    }

    fn await_no_sas(&self) -> Result<()> {
        wait::until(SOON, "no SAs", || Ok(xfrm::states(&self.end.host)?.is_empty().then_some(())))
    }
}

fn play(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let alice = Site::new(stage, &ends[0], "")?;
    let bob = Site::new(stage, &ends[1], "privsep { user \"nobody\"; group \"nogroup\"; }")?;
    for host in [&alice, &bob] {
        host.load_policies()?;
        let started = host.start()?;
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        ensure!(started.status.success() && said.is_empty(), "racoon ended with {}: {said}", started.status);
    }
    let again = alice.start()?;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    let pid = alice.pid()?;
    ensure!(!again.status.success() && said.contains(&format!("another daemon (pid {pid}) runs")), "{said}");
    privileges_are_dropped(&bob)?;

    let capture = stage.capture(&ends[1].port)?;
    let secret = Marker::new("secret")?;
    traffic::tcp(&ends[0].host, &ends[1].host, duel::to(&ends[0], 7000), &secret, 1024)?;
    duel::protected_traffic(&ends[0], &ends[1], &secret)?;
    let long = alice.said("-l show-sa isakmp")?;
    ensure!(
        long.lines().nth(1).is_some_and(|line| line.ends_with("      1 ")),
        "one child was to be there:\n{long}"
    );
    let dump = alice.said("show-sa esp")?;
    ensure!(dump.matches("\tesp-udp mode=transport spi=").count() == 2, "two SAs were to be shown:\n{dump}");
    alice.await_hooks(&["phase1_up"])?;
    bob.await_hooks(&["phase1_up"])?;
    let log = alice.read(&alice.log);
    ensure!(
        log.lines().any(|line| line.contains(UP) && line.contains("[203.0.113.2] ")),
        "{UP} is not in\n{log}"
    );

    reloads(&[&alice, &bob])?;
    flushes(&alice, &bob, &secret)?;

    alice.signal(Signal::SIGTERM)?;
    alice.await_no_sas()?;
    bob.await_no_sas()?;
    let name = alice.directory.join("racoon.pid");
    wait::until(SOON, "the pid file to go", || Ok((!name.exists()).then_some(())))?;
    for host in [&alice, &bob] {
        host.await_hooks(&["phase1_up", "phase1_down"].repeat(3))?;
    }
    traffic::udp_blind(&ends[0].host, duel::to(&ends[0], 7001), &secret, 10)?;
    judge::never_in_clear(&capture.finish()?, &secret)?;
    bob.signal(Signal::SIGTERM)
}

fn play_below_another_root(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let root = stage.work(&ends[1].host)?.join("root");
    fs::create_dir_all(&root).context(|| format!("cannot make {}", root.display()))?;
    let privsep = format!("privsep {{ user \"nobody\"; group \"nogroup\"; chroot \"{}\"; }}", root.display());
    let alice = Site::new(stage, &ends[0], "")?;
    let bob = Site::new(stage, &ends[1], &privsep)?;
    for host in [&alice, &bob] {
        host.load_policies()?;
    }
    // The log's file would have to be below the new root too: bob has syslog.
    for started in [alice.start()?, bob.start_with(&[])?] {
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        ensure!(started.status.success() && said.is_empty(), "racoon ended with {}: {said}", started.status);
    }
    privileges_are_dropped(&bob)?;
    let own = format!("/proc/{}/root", bob.pid()?);
    let found = fs::read_link(&own).context(|| format!("cannot read {own}"))?;
    ensure!(found == root, "bob's root is {}", found.display());

    let secret = Marker::new("secret")?;
    traffic::tcp(&ends[0].host, &ends[1].host, duel::to(&ends[0], 7000), &secret, 1024)?;
    duel::protected_traffic(&ends[0], &ends[1], &secret)?;
    let state = bob.directory.join("state/sas");
    let state = root.join(state.strip_prefix("/").context(|| "an absolute path".to_owned())?);
    wait::until(SOON, "the list of SAs below the new root", || {
        Ok(bob.read(&state).contains(&ends[1].pair.remote.to_string()).then_some(()))
    })?;

    let cookies = bob.cookies()?;
    let refused = bob.ctl("reload-config").output().context(|| "racoonctl".to_owned())?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        refused.status.code() == Some(1) && said.contains("racoon.conf"),
        "a reload has found its files: {said}"
    );
    ensure!(bob.cookies()? == cookies, "a refused reload has changed the IKE SA");
    duel::protected_traffic(&ends[0], &ends[1], &secret)?;
    bob.signal(Signal::SIGTERM)?;
    bob.await_no_sas()?;
    alice.await_no_sas()?;
    alice.await_hooks(&["phase1_up", "phase1_down"])?;
    alice.signal(Signal::SIGTERM)
}

/// bob's daemon is nobody, with two capabilities.
fn privileges_are_dropped(bob: &Site<'_>) -> Result<()> {
    let status = bob.read(Path::new(&format!("/proc/{}/status", bob.pid()?)));
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    ensure!(
        field("Uid:") == ["65534"; 4] && field("Gid:") == ["65534"; 4],
        "racoon is not nobody:\n{status}"
    );
    // CAP_NET_BIND_SERVICE is 10, CAP_NET_ADMIN 12; CAP_DAC_READ_SEARCH, 2, is at hand for a reload.
    ensure!(field("CapEff:") == ["0000000000001400"], "other capabilities are in effect:\n{status}");
    ensure!(field("CapPrm:") == ["0000000000001404"], "other capabilities are permitted:\n{status}");
    Ok(())
}

/// A reload keeps the SAs, with privileges dropped too; a bad file changes nothing.
fn reloads(hosts: &[&Site<'_>]) -> Result<()> {
    for host in hosts {
        let cookies = host.cookies()?;
        let read = |host: &Site<'_>| host.read(&host.log).matches("the configuration is read").count();
        let before = read(host);
        host.signal(Signal::SIGHUP)?;
        wait::until(SOON, "a reload", || Ok((read(host) > before).then_some(())))?;
        host.said("reload-config")?;
        ensure!(host.cookies()? == cookies, "a reload has changed the IKE SA");
        let conf = host.directory.join("racoon.conf");
        let good = host.read(&conf);
        fs::write(&conf, good.clone() + "nonsense;\n").context(|| "racoon.conf".to_owned())?;
        let refused = host.ctl("rc").output().context(|| "racoonctl".to_owned())?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(
            refused.status.code() == Some(1) && said.contains("racoon.conf:"),
            "a bad file was taken: {said}"
        );
        fs::write(&conf, good).context(|| "racoon.conf".to_owned())?;
        ensure!(host.cookies()? == cookies, "a refused reload has changed the IKE SA");
    }
    Ok(())
}

/// flush-sa, vpn-disconnect, vpn-connect, delete-sa: what goes goes at both ends, and what is wanted comes back.
fn flushes(alice: &Site<'_>, bob: &Site<'_>, secret: &Marker) -> Result<()> {
    let spis = |host: &Site<'_>| -> Result<Vec<u32>> {
        let mut spis: Vec<u32> = xfrm::states(&host.end.host)?.iter().map(|state| state.spi).collect();
        spis.sort_unstable();
        Ok(spis)
    };
    let (cookies, old) = (alice.cookies()?, spis(alice)?);
    alice.said("flush-sa ipsec")?;
    wait::until(SOON, "other SAs at both ends", || {
        let (at_alice, at_bob) = (spis(alice)?, spis(bob)?);
        let is_new =
            at_alice.len() == 2 && at_alice == at_bob && !at_alice.iter().any(|spi| old.contains(spi));
        Ok(is_new.then_some(()))
    })?;
    ensure!(alice.cookies()? == cookies, "the IKE SA was not to be flushed");
    duel::protected_traffic(alice.end, bob.end, secret)?;

    alice.said("flush-sa isakmp")?;
    alice.await_no_sas()?;
    bob.await_no_sas()?;
    bob.await_hooks(&["phase1_up", "phase1_down"])?;
    let gateway = bob.end.pair.local;
    let said = alice.said(&format!("vpn-connect {gateway}"))?;
    ensure!(said == "VPN connexion established\n", "vpn-connect said {said:?}");
    let other = alice.cookies()?;
    ensure!(other != cookies, "the IKE SA is the one that was flushed");
    let said = alice.said(&format!("es -w esp inet {} {gateway} any", alice.end.pair.local))?;
    ensure!(said == "VPN connexion established\n", "establish-sa said {said:?}");
    duel::protected_traffic(alice.end, bob.end, secret)?;

    alice.said(&format!("vd {gateway}"))?;
    alice.await_no_sas()?;
    bob.await_no_sas()?;
    alice.said(&format!("vd {gateway}"))?;
    let mut gone = alice.ctl(&format!("ds isakmp inet {} {gateway}", alice.end.pair.local));
    let gone = gone.output().context(|| "racoonctl".to_owned())?;
    ensure!(gone.status.code() == Some(1) && !gone.stderr.is_empty(), "what is not there was deleted");
    // TCP first: a datagram that asks for the SA is lost.
    traffic::tcp(&bob.end.host, &alice.end.host, duel::to(bob.end, 7000), secret, 1024)?;
    duel::protected_traffic(bob.end, alice.end, secret)?;
    alice.await_hooks(&["phase1_up", "phase1_down", "phase1_up", "phase1_down", "phase1_up"])
}

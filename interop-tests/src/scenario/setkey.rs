//! `setkey` and `coati policy` in a real kernel: what they load is what `ip xfrm` shows, and it carries traffic.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::pairs::Hosts;
use super::{Scenario, duel};
use crate::failure::{Context, Result};
use crate::judge::{self, Clear};
use crate::net::{Host, Lan};
use crate::peer::coati::Files;
use crate::peer::{Coati, Config, Times, racoon};
use crate::stage::Stage;
use crate::stream::Way;
use crate::suite::AES256GCM_X25519;
use crate::traffic::Marker;
use crate::wire::Kind;
use crate::{ensure, process, wait, xfrm};

pub(super) fn all() -> Vec<Scenario> {
    let scenario =
        |name: &str, claim: &str, play: fn(&Stage) -> Result<()>| Scenario::of_coatis(name, claim, 120, play);
    vec![
        scenario(
            "setkey-loads-and-dumps",
            "SAs and policies that setkey loads agree with those of `ip xfrm`, carry traffic, and are printed as scripts want them",
            loads_and_dumps,
        ),
        scenario(
            "setkey-loads-all-or-nothing",
            "a file that the kernel refuses half-way changes nothing, and every algorithm of setkey is the kernel's",
            all_or_nothing,
        ),
        scenario(
            "policy-sync-under-traffic",
            "`coati policy sync` and `setkey -f` under traffic lose what the change drops, let nothing pass in clear, and coatid follows",
            sync_under_traffic,
        ),
    ]
}

/// setkey as packaging installs it: a link to `coati`.
pub(super) struct Setkey<'a> {
    host: &'a Host,
    program: PathBuf,
    directory: PathBuf,
}

impl<'a> Setkey<'a> {
    pub(super) fn new(stage: &Stage, host: &'a Host) -> Result<Self> {
        let directory = stage.work(host)?;
        let program = directory.join("setkey");
        if !program.exists() {
            symlink(stage.programs.join("coati"), &program).context(|| "cannot link setkey".to_owned())?;
        }
        Ok(Setkey { host, program, directory })
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        process::output(self.host.command(&self.program).args(arguments))
    }

    pub(super) fn load(&self, text: &str) -> Result<String> {
        let file = self.write(text)?;
        process::output(self.host.command(&self.program).arg("-f").arg(file))
    }

    /// What setkey says to a file, and how it ends.
    fn try_load(&self, text: &str) -> Result<Output> {
        let file = self.write(text)?;
        finish(self.host.command(&self.program).arg("-f").arg(file))
    }

    fn write(&self, text: &str) -> Result<PathBuf> {
        let file = self.directory.join("setkey.conf");
        fs::write(&file, text).context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

fn finish(command: &mut Command) -> Result<Output> {
    command.output().context(|| format!("cannot run {}", process::show(command)))
}

/// Algorithms in setkey's words, in those of `ip xfrm`, and in setkey's dump.
struct Algorithms {
    setkey: &'static str,
    ip: &'static str,
    dumped: &'static [&'static str],
}

const CBC: &str = "0x00112233445566778899aabbccddeeff";
const SHA: &str = "0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const GCM: &str = "0x00112233445566778899aabbccddeeff00112233";

const ALGORITHMS: [Algorithms; 3] = [
    Algorithms {
        setkey: "-E aes-cbc CBC -A hmac-sha256 SHA",
        ip: "enc cbc(aes) CBC auth-trunc hmac(sha256) SHA 96",
        dumped: &[
            "\tE: aes-cbc  00112233 44556677 8899aabb ccddeeff",
            "\tA: hmac-sha256  00112233 44556677 8899aabb ccddeeff 00112233 44556677 8899aabb ccddeeff",
        ],
    },
    Algorithms {
        setkey: "-r 4 -u 7 -E aes-cbc CBC -A hmac-sha256-128 SHA",
        ip: "reqid 7 enc cbc(aes) CBC auth-trunc hmac(sha256) SHA 128",
        dumped: &[
            "\tE: aes-cbc  00112233 44556677 8899aabb ccddeeff",
            "\tA: hmac-sha256  00112233 44556677 8899aabb ccddeeff 00112233 44556677 8899aabb ccddeeff",
        ],
    },
    Algorithms {
        setkey: "-r 16 -lh 3600 -ls 3000 -E aes-gcm-16 GCM",
        ip: "aead rfc4106(gcm(aes)) GCM 128",
        dumped: &["\tE: aes-gcm-16  00112233 44556677 8899aabb ccddeeff 00112233"],
    },
];

fn keyed(words: &str) -> String {
    words.replace("CBC", CBC).replace("SHA", SHA).replace("GCM", GCM)
}

/// alice's SAs are setkey's, bob's those of `ip xfrm`.
fn loads_and_dumps(stage: &Stage) -> Result<()> {
    let [alice, bob] = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let setkey = Setkey::new(stage, &alice.host)?;
    let (own, other) = (alice.pair.local, alice.pair.remote);
    let secret = Marker::new("secret")?;
    let capture = stage.capture(&bob.port)?;
    for (number, algorithms) in (0..).zip(&ALGORITHMS) {
        let reqid = if algorithms.ip.contains("reqid 7") { 7 } else { 0 };
        let level = if reqid == 7 { "unique:7" } else { "require" };
        let spis = [0x1000 + number, 0x2000 + number];
        let mut text = format!(
            "flush; spdflush;
             spdadd {own} {other} any -P out ipsec esp/transport//{level};
             spdadd {other} {own} any -P in ipsec esp/transport//{level};\n"
        );
        bob.host.ip("xfrm state flush")?;
        bob.host.ip("xfrm policy flush")?;
        for line in racoon::ip_xfrm_policies(&Config::one(AES256GCM_X25519, bob.pair.clone())) {
            bob.host.ip(&format!("{line} reqid {reqid}"))?;
        }
        for ((source, destination), spi) in [(own, other), (other, own)].into_iter().zip(spis) {
            text += &format!("add {source} {destination} esp {spi:#x} {};\n", keyed(algorithms.setkey));
            bob.host.ip(&format!(
                "xfrm state add src {source} dst {destination} proto esp spi {spi:#x} mode transport {}",
                keyed(algorithms.ip)
            ))?;
        }
        setkey.load(&text)?;
        duel::protected_traffic(&alice, &bob, &secret)?;
        check_dump(&setkey, algorithms, spis)?;
        check_policy_dump(&setkey, &format!("esp/transport//{level}"))?;
        let shown = alice.host.ip("xfrm state")?;
        for word in keyed(algorithms.ip).split_whitespace().filter(|word| word.contains('(')) {
            ensure!(shown.contains(word), "no {word} in {shown}");
        }
        if let Some(bits) = algorithms.ip.strip_prefix("enc").and_then(|ip| ip.rsplit(' ').next()) {
            ensure!(shown.contains(&format!("{SHA} {bits}")), "not truncated to {bits} bits: {shown}");
        }
    }
    let packets = capture.finish()?;
    judge::never_in_clear(&packets, &secret)?;
    for packet in packets.iter().filter(|packet| packet.is_between(own, other)) {
        ensure!(matches!(packet.kind, Kind::Esp), "a packet crossed as {}", packet.kind);
    }
    ensure!(setkey.run(&["-F"])?.is_empty() && setkey.run(&["-D"])? == "No SAD entries.\n", "SAs are left");
    ensure!(
        setkey.run(&["-FP"])?.is_empty() && setkey.run(&["-DP"])? == "No SPD entries.\n",
        "policies are left"
    );
    Ok(())
}

/// The dump has the SAs with their keys, and the octets that `ip xfrm` counts.
fn check_dump(setkey: &Setkey<'_>, algorithms: &Algorithms, spis: [u32; 2]) -> Result<()> {
    let text = setkey.run(&["-D"])?;
    let states = xfrm::states(setkey.host)?;
    ensure!(states.len() == 2, "there are {} SAs: {text}", states.len());
    for (state, block) in states.iter().zip(text.split("refcnt=0\n")) {
        ensure!(spis.contains(&state.spi), "{:#x} was not loaded", state.spi);
        let mut lines = block.lines();
        let pair = format!("{} {} ", state.source, state.destination);
        ensure!(lines.next() == Some(pair.as_str()), "{pair:?} is not first in {block}");
        let expected = [
            format!("\tesp mode=transport spi={}({:#010x}) reqid=", state.spi, state.spi),
            " state=mature \n".to_owned(),
            format!("\tcurrent: {}(bytes)\t", state.bytes),
            format!("\tallocated: {}\t", state.packets),
        ];
        for words in expected.iter().map(String::as_str).chain(algorithms.dumped.iter().copied()) {
            ensure!(block.contains(words), "no {words:?} in {block}");
        }
    }
    ensure!(
        text.contains("sadb_seq=1 ") && text.contains("sadb_seq=0 "),
        "the blocks are not numbered: {text}"
    );
    Ok(())
}

fn check_policy_dump(setkey: &Setkey<'_>, rule: &str) -> Result<()> {
    let text = setkey.run(&["-DP"])?;
    let rules = text.lines().filter(|line| *line == format!("\t{rule}")).count();
    // The copy asks for any reqid.
    let wanted = if rule.contains("unique") { 2 } else { 3 };
    ensure!(rules == wanted, "{rules} rules {rule} in {text}");
    let mut directions: Vec<&str> = text.lines().filter(|line| line.ends_with(" ipsec")).collect();
    directions.sort_unstable();
    let wanted = ["\tfwd prio def ipsec", "\tin prio def ipsec", "\tout prio def ipsec"];
    ensure!(directions == wanted, "{directions:?} in {text}");
    ensure!(xfrm::policies(setkey.host)?.len() == 3, "`ip xfrm policy` does not have three");
    Ok(())
}

/// setkey's algorithms with the octets of their keys.
const CIPHERS: [(&str, usize); 7] = [
    ("aes-cbc", 32),
    ("aes-ctr", 20),
    ("3des-cbc", 24),
    ("camellia-cbc", 16),
    ("twofish-cbc", 16),
    ("cast128-cbc", 16),
    ("blowfish-cbc", 16),
];
const AUTHS: [(&str, usize); 7] = [
    ("hmac-sha1", 20),
    ("hmac-md5", 16),
    ("hmac-sha256", 32),
    ("hmac-sha384", 48),
    ("hmac-sha512", 64),
    ("hmac-ripemd160", 20),
    ("aes-xcbc-mac", 16),
];

fn all_or_nothing(stage: &Stage) -> Result<()> {
    let alice = Host::new("alice")?;
    let setkey = Setkey::new(stage, &alice)?;
    // Each octet its own: equal halves would be a weak key of 3DES.
    let key = |octets: usize| (1..=octets).fold("0x".to_owned(), |all, n| all + &format!("{n:02x}"));
    let mut all = "flush; spdflush;\n".to_owned();
    for (number, ((cipher, bits), (auth, auth_bits))) in CIPHERS.iter().zip(AUTHS).enumerate() {
        let (cipher_key, auth_key) = (key(*bits), key(auth_bits));
        let spi = 0x1000 + number;
        all += &format!("add 192.0.2.1 192.0.2.2 esp {spi} -E {cipher} {cipher_key} -A {auth} {auth_key};\n");
    }
    all += &format!(
        "add 192.0.2.1 192.0.2.2 esp 0x2000 -E aes-gcm-16 {};
         add 192.0.2.1 192.0.2.2 esp 0x2001 -E null -A hmac-sha1 {};
         add 192.0.2.1 [4500] 192.0.2.2 [4501] esp-udp 192.0.2.9 0x2002 -E aes-cbc {};
         add 2001:db8::1 2001:db8::2 esp 0x2003 -m tunnel -r 128 -E aes-cbc {};
         add 192.0.2.1 192.0.2.2 ah 0x2004 -A hmac-sha1 {};
         add 192.0.2.1 192.0.2.2 ipcomp 0x2005 -C deflate;
         spdadd 192.0.2.0/24 198.51.100.0/24 any -P out ipsec esp/tunnel/192.0.2.1-192.0.2.2/require;\n",
        key(36),
        key(20),
        key(16),
        key(16),
        key(20),
    );
    setkey.load(&all)?;
    let dump = setkey.run(&["-D"])?;
    for (name, _) in CIPHERS.iter().chain(&AUTHS) {
        ensure!(dump.contains(&format!(": {name}  0102030")), "no {name} in {dump}");
    }
    for words in [
        "aes-gcm-16",
        "192.0.2.1[4500] 192.0.2.2[4501] ",
        "\tNAT OA=192.0.2.9",
        "mode=tunnel",
        "\tah ",
        "\tC: deflate \t",
    ] {
        ensure!(dump.contains(words), "no {words:?} in {dump}");
    }
    ensure!(dump.matches("refcnt=0").count() == 13, "not all are there: {dump}");

    // Seven rules are more than the kernel takes: it says so after the policy before was added.
    let before = (xfrm::policies(&alice)?, alice.ip("xfrm state")?);
    let refused = format!(
        "flush; spdflush;
         add 192.0.2.1 192.0.2.2 esp 0x3000 -E aes-cbc {};
         spdadd 192.0.2.1 192.0.2.2 any -P out discard;
         spdadd 192.0.2.1 192.0.2.3 any -P out ipsec{};\n",
        key(16),
        " esp/transport//require".repeat(7)
    );
    let output = setkey.try_load(&refused)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "it ended with {}: {said}", output.status);
    ensure!(said.contains("The result of line 4: Invalid argument."), "it said {said}");
    ensure!(said.ends_with("nothing was changed\n"), "it said {said}");
    let after = (xfrm::policies(&alice)?, alice.ip("xfrm state")?);
    ensure!(after == before, "{before:#?} became {after:#?}");
    Ok(())
}

/// Packets a second each way and pair.
const PACE: u32 = 50;

fn sync_under_traffic(stage: &Stage) -> Result<()> {
    let hosts = Hosts::new(&Lan::new("lan")?, ["alice", "bob"], 1, 2, Times::default())?;
    // Only one end begins: no SA of a crossing goes later.
    let (_bob, _) = start(stage, &hosts.swans, &hosts.swans_config(), |files| files)?;
    let (alice, file) = start(stage, &hosts.coatis, &hosts.coatis_config(), Files::at_start)?;
    let setkey = Setkey::new(stage, &hosts.coatis)?;
    let captures = [stage.capture(&hosts.ports[0])?, stage.capture(&hosts.ports[1])?];
    let marker = Marker::new("stream")?;
    let stays = hosts.stream(0, PACE, &marker)?;
    stays.wait_flowing(Duration::from_secs(20))?;
    let goes = hosts.stream(1, PACE, &marker)?;
    goes.wait_flowing(Duration::from_secs(20))?;
    let policy = |verb: &str| {
        finish(hosts.coatis.command(stage.programs.join("coati")).args(["policy", verb, "--file"]).arg(&file))
    };
    ensure!(policy("plan")?.status.code() == Some(0), "what setkey loaded differs from the file");

    let spis = spis(&hosts.coatis)?;
    edit(&file)?;
    let planned = policy("plan")?;
    ensure!(planned.status.code() == Some(2), "the plan ended with {}", planned.status);
    let changed = goes.elapsed();
    let synced = policy("sync")?;
    let text = String::from_utf8_lossy(&synced.stdout).into_owned();
    ensure!(synced.status.success(), "{}", String::from_utf8_lossy(&synced.stderr));
    for words in ["\nchanged: 4\n", "\nnew: 3\n", "\nold: 0\n", "\ndone: 3 added, 4 changed, 0 deleted\n"] {
        ensure!(text.contains(words), "no {words:?} in {text}");
    }
    // coatid has seen the new policy.
    wait::until(Duration::from_secs(10), "coatid to follow", || {
        Ok(alice.status(&[])?.contains("203.0.113.201").then_some(()))
    })?;
    stays.wait_flowing(Duration::from_secs(5))?;
    let now = self::spis(&hosts.coatis)?;
    ensure!(now == spis, "the SAs {spis:08x?} became {now:08x?}");
    let stays = stays.finish_after(Duration::from_secs(2))?;
    let goes = goes.finish()?;
    for way in stays.iter().chain(&goes) {
        stage.say(&way.to_string())?;
    }
    for way in &stays {
        ensure!(way.lost().is_empty() && way.sent > 50, "{way}");
    }
    // A pair that one end must not send to is no pair: coatid lets its SAs go.
    goes.iter().try_for_each(|way| check_dropped(way, changed))?;

    reload_with_flush(stage, &hosts, &setkey, &file, &marker)?;
    for capture in captures {
        let packets = capture.finish()?;
        judge::never_in_clear(&packets, &marker)?;
        for number in 0..hosts.count() {
            let pair = hosts.ends(number)[0].pair;
            judge::crossed(&packets, pair.local, pair.remote, &[Clear::Icmp, Clear::Tcp(22)])?;
        }
    }
    Ok(())
}

/// Loads the policies by setkey, then starts a coatid that has none of its own.
fn start(stage: &Stage, host: &Host, config: &Config, how: fn(Files) -> Files) -> Result<(Coati, PathBuf)> {
    let files = how(Files::write(stage, host, config)?);
    let file = files.policies.first().cloned().context(|| "no file of policies".to_owned())?;
    Setkey::new(stage, host)?.run(&["-f", &file.to_string_lossy()])?;
    Ok((Coati::start(stage, host, &files.without_policies())?, file))
}

/// The SAs of the first pair, which is not to lose any.
fn spis(host: &Host) -> Result<BTreeSet<u32>> {
    let ends: [IpAddr; 2] = [[203, 0, 113, 1], [203, 0, 113, 101]].map(IpAddr::from);
    let of_pair = |state: &xfrm::State| ends.contains(&state.source) && ends.contains(&state.destination);
    Ok(xfrm::states(host)?.iter().filter(|state| of_pair(state)).map(|state| state.spi).collect())
}

/// The first pair gets another priority, the second is not to be sent to any more, a third is new.
fn edit(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))?;
    let mut edited = String::new();
    for line in text.lines() {
        let line = match line {
            line if line.contains("203.0.113.102") && line.contains("-P out") => {
                line.split(" ipsec").next().unwrap_or_default().to_owned() + " discard;"
            }
            line if line.contains("203.0.113.101") => line.replace(" ipsec", " prio def + 7 ipsec"),
            line => line.to_owned(),
        };
        edited += &(line + "\n");
    }
    edited += "spdadd 203.0.113.1 203.0.113.201 any -P out ipsec esp/transport//require;
spdadd 203.0.113.201 203.0.113.1 any -P in ipsec esp/transport//require;\n";
    fs::write(file, edited).context(|| format!("cannot write {}", file.display()))
}

/// What was sent before the change has arrived, and nothing of what was sent well after it.
fn check_dropped(way: &Way, changed: Duration) -> Result<()> {
    let number =
        |moment: Duration| u32::try_from(moment.as_millis() / way.pace.as_millis()).unwrap_or(u32::MAX);
    let lost = way.lost();
    let first = lost.first().copied().unwrap_or(u32::MAX);
    ensure!(first + 1 >= number(changed), "packets before the change were lost: {way}");
    let dropped = way.sent.saturating_sub(first);
    ensure!(lost.len() as u64 == u64::from(dropped), "packets crossed after the change: {way}");
    Ok(())
}

/// `flush; spdflush;` and the same policies: the SAs go, the policies stay, coatid makes new SAs.
fn reload_with_flush(
    stage: &Stage,
    hosts: &Hosts,
    setkey: &Setkey<'_>,
    file: &Path,
    marker: &Marker,
) -> Result<()> {
    let before = (xfrm::policies(&hosts.coatis)?, spis(&hosts.coatis)?);
    let stream = hosts.stream(0, PACE, marker)?;
    stream.wait_flowing(Duration::from_secs(5))?;
    setkey.run(&["-f", &file.to_string_lossy()])?;
    let healed = stream.wait_flowing(Duration::from_secs(30))?;
    stage.say(&format!("after `setkey -f` with `flush`, traffic was back in {healed:?}"))?;
    for way in stream.finish()? {
        stage.say(&way.to_string())?;
    }
    ensure!(xfrm::policies(&hosts.coatis)? == before.0, "the policies are not what they were");
    let now = spis(&hosts.coatis)?;
    ensure!(now.is_disjoint(&before.1), "SAs outlived the flush: {:08x?}, now {now:08x?}", before.1);
    Ok(())
}

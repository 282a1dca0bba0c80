//! Starts that must fail: one clear message, a non-zero exit, and a kernel that is as it was.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Kernel, Scenario, duel};
use crate::failure::{Context, Result};
use crate::net::Host;
use crate::peer::coati::Files;
use crate::peer::{Coati, Config, Pair};
use crate::process::{self, last_lines};
use crate::scenario::duel::End;
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::{ensure, wait, xfrm};

/// A bad start.
struct Refusal {
    name: &'static str,
    claim: &'static str,
    /// Spoils what a good start would have; gives what must stay until the start has failed.
    spoil: fn(&End, &Files) -> Result<Option<Spoiled>>,
    /// Words that the message must have, in any order.
    words: &'static [&'static str],
    kernel: Kernel,
}

/// What keeps a start from being good.
enum Spoiled {
    /// A socket somebody else has.
    Socket(#[expect(dead_code, reason = "it is there to be open")] std::net::UdpSocket),
    /// Words in front of the command that starts coatid.
    Wrapped(&'static [&'static str]),
    /// The kernel's modules are unloaded.
    WithoutEsp(#[expect(dead_code, reason = "it is there to be dropped")] WithoutEsp),
}

const REFUSALS: [Refusal; 10] = [
    Refusal {
        name: "refuse-world-readable-keys",
        claim: "a psk.txt that others can read is refused with its mode",
        spoil: |_, files| files.set_key_mode(0o644).map(|()| None),
        words: &["psk.txt", "0600"],
        kernel: Kernel::Any,
    },
    Refusal {
        name: "refuse-unreadable-keys",
        claim: "a psk.txt that is not there is refused by name",
        spoil: |_, files| remove(&files.keys()).map(|()| None),
        words: &["psk.txt"],
        kernel: Kernel::Any,
    },
    Refusal {
        name: "refuse-unknown-directive",
        claim: "an unknown directive is refused at file, line and column",
        spoil: |_, files| Files::replace(&files.racoon, "dpd_delay 20;", "dpd_deley 20;").map(|()| None),
        words: &["racoon.conf:7:5", "dpd_deley"],
        kernel: Kernel::Any,
    },
    Refusal {
        name: "refuse-unknown-algorithm",
        claim: "an unknown algorithm is refused at file and line",
        spoil: |_, files| {
            Files::replace(&files.racoon, "hash_algorithm sha256;", "hash_algorithm sha257;").map(|()| None)
        },
        words: &["racoon.conf:11:", "sha257"],
        kernel: Kernel::Any,
    },
    Refusal {
        name: "refuse-unknown-policy-command",
        claim: "an unknown command in a policy file is refused at file and line",
        spoil: |_, files| Files::replace(policy_file(files)?, "spdflush;", "spdflash;").map(|()| None),
        words: &["ipsec-tools.conf:3:", "spdflash"],
        kernel: Kernel::Any,
    },
    Refusal {
        name: "refuse-peer-without-key",
        claim: "a policy for a peer that psk.txt does not know is refused with the peer's address",
        spoil: |_, files| Files::replace(&files.keys(), "203.0.113.2 ", "203.0.113.9 ").map(|()| None),
        words: &["203.0.113.2", "psk.txt"],
        kernel: Kernel::Any,
    },
    Refusal {
        name: "refuse-port-in-use",
        claim: "a port that somebody else has is refused by number",
        spoil: |end, _| {
            let taken = end.host.enter(|| std::net::UdpSocket::bind("0.0.0.0:500"))?;
            Ok(Some(Spoiled::Socket(taken.context(|| "port 500".to_owned())?)))
        },
        words: &["500", "in use"],
        kernel: Kernel::Any,
    },
    Refusal {
        name: "refuse-natt-port-in-use",
        claim: "the port of NAT traversal, likewise",
        spoil: |end, _| {
            let taken = end.host.enter(|| std::net::UdpSocket::bind("0.0.0.0:4500"))?;
            Ok(Some(Spoiled::Socket(taken.context(|| "port 4500".to_owned())?)))
        },
        words: &["4500", "in use"],
        kernel: Kernel::Any,
    },
    Refusal {
        name: "refuse-without-cap-net-admin",
        claim: "without CAP_NET_ADMIN the start is refused by the capability's name",
        spoil: |_, _| {
            Ok(Some(Spoiled::Wrapped(&["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"])))
        },
        words: &["CAP_NET_ADMIN"],
        kernel: Kernel::Any,
    },
    Refusal {
        name: "refuse-kernel-without-esp",
        claim: "a kernel that cannot do ESP is found out by trying, and refused in those words",
        spoil: |_, _| WithoutEsp::make().map(|gone| gone.map(Spoiled::WithoutEsp)),
        words: &["ESP", "kernel"],
        kernel: Kernel::Disposable,
    },
];

pub(super) fn all() -> Vec<Scenario> {
    REFUSALS.into_iter().map(Refusal::into_scenario).collect()
}

impl Refusal {
    fn into_scenario(self) -> Scenario {
        let kernel = self.kernel;
        Scenario { kernel, ..Scenario::of_coatis(self.name, self.claim, 60, move |stage| self.play(stage)) }
    }

    fn play(&self, stage: &Stage) -> Result<()> {
        let [alice, _bob] = duel::lan(["203.0.113.1", "203.0.113.2"])?;
        // The policy files flush everything: had the start gone that far, this policy would be gone.
        alice.host.ip("xfrm policy add src 192.0.2.77 dst 192.0.2.78 dir out action block")?;
        let before = kernel_view(&alice.host)?;
        let config = Config::one(AES256GCM_X25519, Pair::clone(&alice.pair));
        let files = Files::write(stage, &alice.host, &config)?;
        let spoiled = (self.spoil)(&alice, &files)?;

        let coatid = stage.programs.join("coatid");
        let command = match &spoiled {
            Some(Spoiled::Wrapped([program, words @ ..])) => {
                let mut command = alice.host.command(program);
                command.args(words.iter()).arg(coatid);
                command
            }
            _ => alice.host.command(coatid),
        };
        let mut coati = Coati::launch(stage, &alice.host, &files, command)?;
        let status = coati
            .wait_end(Duration::from_secs(20))
            .context(|| "coatid was to refuse, and runs".to_owned())?;
        let said = coati.said()?;
        ensure!(!status.success(), "coatid was to refuse, and ended with success: {}", last_lines(&said, 3));
        ensure!(status.code() != Some(101), "coatid panicked: {}", last_lines(&said, 3));
        for word in self.words {
            ensure!(said.contains(word), "coatid's message has no {word:?}: {}", last_lines(&said, 6));
        }
        let errors = said.lines().filter(|line| line.to_lowercase().contains("error")).count();
        ensure!(errors <= 1, "coatid says {errors} errors for one fault: {}", last_lines(&said, 6));
        let after = kernel_view(&alice.host)?;
        ensure!(after == before, "the kernel had {before:#?} and has {after:#?}");
        Ok(())
    }
}

/// Policies and SAs of any kind.
fn kernel_view(host: &Host) -> Result<(Vec<String>, String)> {
    Ok((xfrm::policies(host)?, host.ip("xfrm state")?))
}

fn remove(file: &Path) -> Result<()> {
    fs::remove_file(file).context(|| format!("cannot remove {}", file.display()))
}

fn policy_file(files: &Files) -> Result<&Path> {
    files.policies.first().map(std::path::PathBuf::as_path).context(|| "no policy file".to_owned())
}

const LOADER: &str = "/proc/sys/kernel/modprobe";

/// A kernel whose ESP modules are unloaded and stay so until this is dropped.
struct WithoutEsp {
    loader: String,
}

impl WithoutEsp {
    /// `None` where the kernel has no ESP to begin with.
    fn make() -> Result<Option<Self>> {
        if xfrm::try_esp(None).is_err() {
            return Ok(None);
        }
        let loader = fs::read_to_string(LOADER).context(|| LOADER.to_owned())?;
        fs::write(LOADER, "/bin/false").context(|| LOADER.to_owned())?;
        let gone = WithoutEsp { loader };
        // Namespaces of the scenario before may still be going away, with SAs that hold the modules.
        wait::until(Duration::from_secs(10), "ESP to be unloaded", || {
            let _ = process::output(Command::new("rmmod").args(["esp4", "esp6"]));
            Ok(xfrm::try_esp(None).is_err().then_some(()))
        })?;
        Ok(Some(gone))
    }
}

impl Drop for WithoutEsp {
    fn drop(&mut self) {
        let loader = self.loader.trim();
        let restored =
            fs::write(LOADER, loader).map(|()| Command::new(loader).args(["-a", "esp4", "esp6"]).status());
        if let Err(error) = restored {
            eprintln!("the module loader is lost: {error}");
        }
    }
}

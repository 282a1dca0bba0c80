//! The machine's own kernel: scenarios run in its network namespaces.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::events::Follower;
use super::{Launcher, News};
use crate::failure::{Context, Failure, Result};
use crate::guest::Places;
use crate::{ensure, process};

/// Finds out by trying: an ESP SA in a throw-away network namespace.
pub(super) fn can_esp() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "network namespaces of its own take root's rights");
    let try_it = "ip link add veth0 type veth peer name veth1 && ip xfrm state add src 192.0.2.1 dst 192.0.2.2 \
                  proto esp spi 0x7c0a7101 mode transport \
                  aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f10111213 128 \
                  encap espinudp 4500 4500 0.0.0.0";
    process::output(Command::new("unshare").args(["--net", "sh", "-c", try_it]))
        .map(|_| ())
        .map_err(|failure| Failure::new(last_words(&failure)))
}

/// What the kernel said, without the command.
fn last_words(failure: &Failure) -> String {
    let text = failure.to_string();
    text.rsplit(": ").next().unwrap_or(&text).replace('\n', " ")
}

/// Runs the guest program here and follows what it tells.
pub(super) fn run(
    launcher: &Launcher,
    places: &Places,
    names: &[String],
    tell: &mut dyn FnMut(News),
) -> Result<()> {
    let log = launcher.out.join("guest.log");
    let out = File::create(&log).context(|| format!("cannot make {}", log.display()))?;
    let err = out.try_clone().context(|| "log".to_owned())?;
    let mut child = Command::new(&launcher.guest)
        .arg("run")
        .args(places.arguments())
        .args(names)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .context(|| format!("cannot start {}", launcher.guest.display()))?;
    let mut follower = Follower::new(&places.events);
    loop {
        // Each scenario has its own limit inside, so this ends.
        let ended = child.try_wait().context(|| "the guest program".to_owned())?;
        follower.look(tell)?;
        match ended {
            None => std::thread::sleep(Duration::from_millis(100)),
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                return Err(Failure::new(format!(
                    "the guest program ended with {status}; see {}",
                    log.display()
                )));
            }
        }
    }
}

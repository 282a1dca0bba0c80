//! A service manager in systemd's place: it hears what the daemon tells, keeps the sockets it is given while no daemon runs, and
//! gives them to the next one (sd_notify(3), sd_listen_fds(3)).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::Coati;
use super::coati::Files;
use crate::failure::{Context, Result};
use crate::net::Host;
use crate::stage::Stage;
use crate::{ensure, wait};

/// The numbers that kept descriptors have here: above those that the daemon finds them under.
const ABOVE: i32 = 100;
/// Gives the descriptors of `$KEPT` the numbers from 3 on, and the daemon its process id.
const LISTEN: &str =
    r#"n=3; for fd in $KEPT; do eval "exec $n<&$fd $fd<&-"; n=$((n+1)); done; LISTEN_PID=$$ exec "$@""#;

/// The manager of one service on one host.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    kept: Vec<(String, OwnedFd)>,
}

impl Manager {
    /// One that keeps nothing yet.
    ///
    /// # Errors
    /// When its socket cannot be made.
    pub fn new(stage: &Stage, host: &Host) -> Result<Self> {
        let path = stage.work(host)?.join("notify");
        let socket = UnixDatagram::bind(&path).context(|| format!("cannot bind {}", path.display()))?;
        socket.set_nonblocking(true).context(|| "notify socket".to_owned())?;
        Ok(Self { socket, path, kept: Vec::new() })
    }

    /// Starts `coatid`, and waits until it has told that it is up.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(&mut self, stage: &Stage, host: &Host, files: &Files) -> Result<Coati> {
        let coati = Coati::launch(stage, host, files, self.command(stage, host)?)?;
        self.wait_ready(coati)
    }

    /// Starts one that has ended once more.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_again(&mut self, stage: &Stage, before: Coati) -> Result<Coati> {
        let command = self.command(stage, before.host())?;
        let coati = Coati::launch_again(stage, before, command)?;
        self.wait_ready(coati)
    }

    /// How many sockets it keeps.
    pub fn keeps(&self) -> usize {
        self.kept.len()
    }

    fn command(&self, stage: &Stage, host: &Host) -> Result<Command> {
        let mut command = host.command("bash");
        command.args(["-c", LISTEN, "bash"]).arg(stage.programs.join("coatid"));
        let numbers: Vec<String> = self.kept.iter().map(|(_, kept)| kept.as_raw_fd().to_string()).collect();
        for (_, kept) in &self.kept {
            // They are for the daemon; what else is started has no use for them, and closes them at its end.
            fcntl_setfd(kept, FdFlags::empty()).context(|| "a kept socket".to_owned())?;
        }
        let names: Vec<&str> = self.kept.iter().map(|(name, _)| name.as_str()).collect();
        command.env("NOTIFY_SOCKET", &self.path).env("KEPT", numbers.join(" "));
        if !names.is_empty() {
            command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        }
        Ok(command)
    }

    fn wait_ready(&mut self, mut coati: Coati) -> Result<Coati> {
        for (_, kept) in &self.kept {
            fcntl_setfd(kept, FdFlags::CLOEXEC).context(|| "a kept socket".to_owned())?;
        }
        wait::until(Duration::from_secs(20), "coatid to be ready", || {
            coati.check_running()?;
            while let Some((message, descriptors)) = self.hear()? {
                if message.lines().any(|line| line == "READY=1") {
                    return Ok(Some(()));
                }
                self.follow(&message, descriptors)?;
            }
            Ok(None)
        })?;
        Ok(coati)
    }

    fn follow(&mut self, message: &str, descriptors: Vec<OwnedFd>) -> Result<()> {
        let name = message.lines().find_map(|line| line.strip_prefix("FDNAME="));
        let name = name.context(|| format!("no name in {message:?}"))?;
        if message.contains("FDSTOREREMOVE=1") {
            self.kept.retain(|(kept, _)| kept != name);
        } else {
            ensure!(message.contains("FDSTORE=1") && !descriptors.is_empty(), "not understood: {message:?}");
            for descriptor in descriptors {
                let kept =
                    fcntl_dupfd_cloexec(&descriptor, ABOVE).context(|| "a socket to keep".to_owned())?;
                self.kept.push((name.to_owned(), kept));
            }
        }
        Ok(())
    }

    /// The next message, if there is one, and what came with it.
    fn hear(&self) -> Result<Option<(String, Vec<OwnedFd>)>> {
        let mut text = [0; 512];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut text)];
        let heard = match recvmsg(&self.socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            heard => heard.context(|| "notify socket".to_owned())?,
        };
        let descriptors = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        Ok(Some((String::from_utf8_lossy(&text[..heard.bytes]).into_owned(), descriptors)))
    }
}

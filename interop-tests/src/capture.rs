//! Captures of the wire: tcpdump on a network's port, read back when the traffic is over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::failure::{Context, Result};
use crate::net::Port;
use crate::process::Daemon;
use crate::wire::Seen;
use crate::{ensure, pcap, wait};

/// A running capture of one port.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Daemon,
    file: PathBuf,
}

impl Capture {
    /// Starts capturing whole frames into `directory`, in a file of its own that is named after the port; returns once it sees
    /// packets.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn start(port: &Port, directory: &Path) -> Result<Self> {
        // An earlier capture of the port may still be running, and its file is worth keeping if it is not.
        let named = |number: u32| match number {
            1 => port.device.clone(),
            _ => format!("{}.{number}", port.device),
        };
        let free = |name: &String| !directory.join(format!("{name}.pcap")).exists();
        let name = (1..).map(named).find(free).context(|| "too many captures".to_owned())?;
        let (file, log) =
            (directory.join(format!("{name}.pcap")), directory.join(format!("{name}.tcpdump.log")));
        let mut command = port.home.command("tcpdump");
        // Each slot of the kernel's ring has the snapshot length: 512 slots, or a busy moment would lose packets.
        command.args(["-i", &port.device, "-n", "-s", "65550", "-B", "32768", "-U", "--immediate-mode"]);
        command.args(["-Z", "root", "-w"]).arg(&file);
        let mut tcpdump = Daemon::start("tcpdump", &mut command, &log)?;
        wait::until(Duration::from_secs(10), "tcpdump to listen", || {
            tcpdump.check_running()?;
            Ok(tcpdump.said()?.contains("listening on").then_some(()))
        })?;
        Ok(Capture { tcpdump, file })
    }

    /// Ends the capture and reads every packet in it that is IP.
    ///
    /// # Errors
    /// When tcpdump does not end, its file is not a capture, or packets are missing from it.
    pub fn finish(mut self) -> Result<Vec<Seen>> {
        self.tcpdump.stop(Signal::SIGINT, Duration::from_secs(10))?;
        let complete = self.tcpdump.said()?.contains("\n0 packets dropped by kernel");
        ensure!(complete, "{} has gaps and proves nothing", self.file.display());
        let bytes = std::fs::read(&self.file).context(|| format!("cannot read {}", self.file.display()))?;
        let frames = pcap::frames(&bytes).context(|| format!("{} is not a capture", self.file.display()))?;
        Ok(frames.into_iter().filter_map(Seen::from_ethernet).collect())
    }
}

//! What a scenario has at hand: its directories, its programs, its voice.

use std::fs;
use std::path::{Path, PathBuf};

use crate::capture::Capture;
use crate::failure::{Context, Result};
use crate::guest::Event;
use crate::net::{Host, Port};

/// The surroundings of one running scenario.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The scenario's name.
    pub name: String,
    /// Where its logs and captures stay, on the machine's own disk.
    pub logs: PathBuf,
    /// The root of the source tree.
    pub root: PathBuf,
    /// Where `coatid` and `coati` are.
    pub programs: PathBuf,
    /// The file that tells the launcher what happens.
    pub events: PathBuf,
}

/// Where configurations and sockets of daemons live: in memory, gone with the scenario.
const WORK: &str = "/run/coati-interop";
/// Where captures are written.
const WIRE: &str = "/run/coati-wire";

impl Stage {
    /// Tells the person who watches; every line also goes to the log.
    ///
    /// # Errors
    /// When the launcher's file cannot be written.
    pub fn say(&self, line: &str) -> Result<()> {
        eprintln!("{line}");
        Event::Said { scenario: self.name.clone(), line: line.to_owned() }.append(&self.events)
    }

    /// A directory of this host's daemons, kept in memory. What [`Stage::keep`] saves of it outlives the scenario.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn work(&self, host: &Host) -> Result<PathBuf> {
        let directory = Path::new(WORK).join(host.name());
        fs::create_dir_all(&directory).context(|| format!("cannot make {}", directory.display()))?;
        Ok(directory)
    }

    /// A directory for an authority and what it issues, kept in memory likewise.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn pki(&self, name: &str) -> Result<PathBuf> {
        let directory = Path::new(WORK).join("pki").join(name);
        fs::create_dir_all(&directory).context(|| format!("cannot make {}", directory.display()))?;
        Ok(directory)
    }

    /// The log file of this name.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(name)
    }

    /// Starts a capture on a port. Its file is kept in memory and ends up among the logs: tcpdump gives it away to
    /// root, which a file system shared with a user who is not root would refuse.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn capture(&self, port: &Port) -> Result<Capture> {
        let directory = Path::new(WIRE);
        fs::create_dir_all(directory).context(|| format!("cannot make {WIRE}"))?;
        Capture::start(port, directory)
    }

    /// Writes down the kernel's view of a host for whoever reads the logs. Gives the counters of packets it has dropped, one a line.
    pub fn keep_kernel_view(&self, host: &Host) -> String {
        for (what, words) in [("state", "-s xfrm state"), ("policy", "-s xfrm policy")] {
            let text = host.ip(words).unwrap_or_else(|failure| failure.to_string());
            // The view is a service to the reader: a full disk must not turn a pass into a failure.
            let _ = fs::write(self.log(&format!("{}.xfrm-{what}.txt", host.name())), text);
        }
        // Why the kernel has dropped packets, by its own counters.
        let read = || fs::read_to_string("/proc/thread-self/net/xfrm_stat").unwrap_or_default();
        let drops = host.enter(read).unwrap_or_else(|failure| failure.to_string());
        let _ = fs::write(self.log(&format!("{}.xfrm-stat.txt", host.name())), &drops);
        drops
    }

    /// Leaves everything about a failure among the logs: why, the kernels' views, captures, configurations.
    pub fn keep_failure(&self, why: &str) {
        for (host, drops) in self.keep_every_kernel_view() {
            let counted = drops
                .lines()
                .map(str::split_whitespace)
                .filter_map(|mut words| Some((words.next()?, words.next().filter(|count| *count != "0")?)));
            let counted: Vec<String> = counted.map(|(counter, count)| format!("{counter} {count}")).collect();
            if !counted.is_empty() {
                // Often all that is seen of a failure elsewhere is what was printed.
                let _ = self.say(&format!("the kernel of {host} has dropped: {}", counted.join(", ")));
            }
        }
        self.keep();
        let _ = fs::write(self.log("failure.txt"), why);
    }

    /// [`Stage::keep_kernel_view`] of every host that is there, by its name.
    pub fn keep_every_kernel_view(&self) -> Vec<(String, String)> {
        let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let view = |name: String| (name.clone(), self.keep_kernel_view(&Host::existing(&name)));
        names.map(view).collect()
    }

    /// Copies captures and configurations out of memory to the logs. Keys in them are those of the tests.
    pub fn keep(&self) {
        keep(Path::new(WIRE), &self.logs);
        keep(Path::new(WORK), &self.logs.join("config"));
    }
}

/// Copies regular files below `from`, sockets and the like left out; the logs are worth having incomplete.
fn keep(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else { return };
    let _ = fs::create_dir_all(to);
    for entry in entries.flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => keep(&entry.path(), &target),
            Ok(kind) if kind.is_file() && entry.path().extension().is_some() => {
                let _ = fs::copy(entry.path(), target);
            }
            _ => {}
        }
    }
}

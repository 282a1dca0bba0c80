//! A host: one network namespace with its own addresses, routes, policies and SAs.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use nix::sched::{CloneFlags, setns};

use crate::failure::{Context, Failure, Result};
use crate::process;

/// A network namespace made by this scenario. It ends with the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
}

impl Host {
    /// Makes the namespace, with loopback up.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(name: &str) -> Result<Self> {
        process::output(Command::new("ip").args(["netns", "add", name]))?;
        let host = Host { name: name.to_owned() };
        host.ip("link set lo up")?;
        // Addresses must serve at once: nobody else is here whose address could be taken.
        host.sysctl("net/ipv6/conf/all/accept_dad", "0")?;
        host.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        Ok(host)
    }

    /// A host that has been made before.
    pub fn existing(name: &str) -> Self {
        Host { name: name.to_owned() }
    }

    /// The name of the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` on this host with blank-separated arguments.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        process::output(Command::new("ip").args(["-n", &self.name]).args(arguments.split_whitespace()))
    }

    /// Runs `tc` on this host with blank-separated arguments.
    ///
    /// # Errors
    /// When `tc` fails.
    pub fn tc(&self, arguments: &str) -> Result<String> {
        process::output(Command::new("tc").args(["-n", &self.name]).args(arguments.split_whitespace()))
    }

    /// A command that will run on this host. Its process id is the program's own.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Writes a kernel setting, by its path below /proc/sys.
    ///
    /// # Errors
    /// When there is no such setting or it refuses the value.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<()> {
        self.enter(|| {
            std::fs::write(format!("/proc/sys/{path}"), value)
                .context(|| format!("cannot set {path} to {value} on {}", self.name))
        })?
    }

    /// Turns forwarding on, as routers do.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn forward(&self) -> Result<()> {
        for setting in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            self.sysctl(setting, "1")?;
        }
        // A router with both parties on one network would tell them to talk past it.
        self.sysctl("net/ipv4/conf/all/send_redirects", "0")?;
        self.sysctl("net/ipv4/conf/default/send_redirects", "0")
    }

    /// Runs `work` in a thread of its own that sees this host's network.
    ///
    /// # Errors
    /// When the namespace cannot be entered or `work` panics.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = PathBuf::from("/run/netns").join(&self.name);
        let namespace = File::open(&path).context(|| format!("cannot open {}", path.display()))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(&namespace, CloneFlags::CLONE_NEWNET)
                    .context(|| format!("cannot enter {}", self.name))?;
                Ok(work())
            });
            inside.join().map_err(|_| Failure::new(format!("work on {} panicked", self.name)))?
        })
    }
}

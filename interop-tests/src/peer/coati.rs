//! Our own daemon: `coatid` with racoon's three files, asked by `coati`.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Config, racoon};
use crate::failure::{Context, Result};
use crate::net::Host;
use crate::process::{self, Daemon};
use crate::stage::Stage;
use crate::wait;

/// How long a start may take: the kernel is probed with an SA per suite first.
const START: Duration = Duration::from_secs(20);

/// The files one `coatid` is started with. It sets its pairs up on demand, so that a scenario decides who begins, unless
/// told otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// racoon.conf, beside which psk.txt stands, or a coati.toml.
    pub racoon: PathBuf,
    /// Files for `--policy`; none where the policies are in the kernel already.
    pub policies: Vec<PathBuf>,
    on_demand: bool,
    arguments: Vec<String>,
}

impl Files {
    /// Writes the three files for a configuration.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(stage: &Stage, host: &Host, config: &Config) -> Result<Self> {
        let texts = [
            ("racoon.conf", racoon::racoon_conf(&config.suite, config.times)),
            ("psk.txt", racoon::psk_txt(&config.pairs)),
            ("ipsec-tools.conf", racoon::ipsec_tools_conf(config)),
        ];
        Self::write_texts(stage, host, &texts)
    }

    /// Copies the three files of the example mesh, verbatim.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub fn example(stage: &Stage, host: &Host) -> Result<Self> {
        let directory = stage.root.join("examples/mesh").join(host.name());
        let read = |name: &'static str| -> Result<(&'static str, String)> {
            let file = directory.join(name);
            Ok((name, fs::read_to_string(&file).context(|| format!("cannot read {}", file.display()))?))
        };
        Self::write_texts(stage, host, &[read("racoon.conf")?, read("psk.txt")?, read("ipsec-tools.conf")?])
    }

    /// Writes a coati.toml, whose policies are those of its peers.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn native(stage: &Stage, host: &Host, text: &str) -> Result<Self> {
        let file = stage.work(host)?.join("coati.toml");
        fs::write(&file, text).context(|| format!("cannot write {}", file.display()))?;
        Ok(Files { racoon: file, policies: Vec::new(), on_demand: true, arguments: Vec::new() })
    }

    fn write_texts(stage: &Stage, host: &Host, texts: &[(&str, String)]) -> Result<Self> {
        let directory = stage.work(host)?;
        for (name, text) in texts {
            let file = directory.join(name);
            fs::write(&file, text).context(|| format!("cannot write {}", file.display()))?;
        }
        let files = Files {
            racoon: directory.join("racoon.conf"),
            policies: vec![directory.join("ipsec-tools.conf")],
            on_demand: true,
            arguments: Vec::new(),
        };
        files.set_key_mode(0o600)?;
        Ok(files)
    }

    /// The file of pre-shared keys.
    pub fn keys(&self) -> PathBuf {
        self.racoon.with_file_name("psk.txt")
    }

    /// Gives psk.txt these permissions.
    ///
    /// # Errors
    /// When it is not there.
    pub fn set_key_mode(&self, mode: u32) -> Result<()> {
        let file = self.keys();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))
            .context(|| format!("cannot change the mode of {}", file.display()))
    }

    /// The same without policy files: the daemon takes what it finds in the kernel.
    pub fn without_policies(self) -> Self {
        Files { policies: Vec::new(), ..self }
    }

    /// The same for a daemon that sets all its pairs up when it starts, as `coatid` does unless told otherwise.
    pub fn at_start(self) -> Self {
        Files { on_demand: false, ..self }
    }

    /// The same for a daemon that is started with these arguments too.
    pub fn with_arguments(self, arguments: &[&str]) -> Self {
        Files { arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(), ..self }
    }

    /// Replaces words in one of the files.
    ///
    /// # Errors
    /// When the file cannot be read or written, or does not have the words.
    pub fn replace(file: &Path, old: &str, new: &str) -> Result<()> {
        let text = fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))?;
        crate::ensure!(text.contains(old), "{} has no {old:?}", file.display());
        fs::write(file, text.replacen(old, new, 1)).context(|| format!("cannot write {}", file.display()))
    }
}

/// A running `coatid` on one host.
#[derive(Debug)]
pub struct Coati {
    daemon: Daemon,
    client: PathBuf,
    socket: PathBuf,
    host: Host,
    files: Files,
}

impl Coati {
    /// Starts it and waits until its control socket answers.
    ///
    /// # Errors
    /// When it ends, or does not answer in time.
    pub fn start(stage: &Stage, host: &Host, files: &Files) -> Result<Self> {
        let mut coati = Self::launch(stage, host, files, host.command(stage.programs.join("coatid")))?;
        coati.wait_up()?;
        Ok(coati)
    }

    /// Starts it by `command` (which runs `coatid` in some way) and waits for nothing.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn launch(stage: &Stage, host: &Host, files: &Files, mut command: Command) -> Result<Self> {
        let directory = stage.work(host)?;
        let state = directory.join("state");
        fs::create_dir_all(&state).context(|| format!("cannot make {}", state.display()))?;
        let socket = directory.join("control");
        command.arg("-f").arg(&files.racoon);
        for file in &files.policies {
            command.arg("--policy").arg(file);
        }
        if files.on_demand {
            command.args(["--initiate", "on-demand"]);
        }
        command.args(&files.arguments);
        command.arg("--control-socket").arg(&socket).arg("--state-dir").arg(&state);
        let log = stage.log(&format!("{}.coatid.log", host.name()));
        let daemon = Daemon::start(&format!("coatid on {}", host.name()), &mut command, &log)?;
        Ok(Coati {
            daemon,
            client: stage.programs.join("coati"),
            socket,
            host: host.clone(),
            files: files.clone(),
        })
    }

    /// Starts one that has ended anew on the same host with the same files, by this command, and waits for nothing; the log of the one
    /// before is kept.
    ///
    /// # Errors
    /// When the program cannot be started, or the old log not kept.
    pub fn launch_again(stage: &Stage, before: Coati, command: Command) -> Result<Self> {
        let Coati { host, files, .. } = before;
        Self::keep_log(stage, &host)?;
        Self::launch(stage, &host, &files, command)
    }

    /// Gives the log of a daemon another name; if it runs, it goes on writing to it.
    fn keep_log(stage: &Stage, host: &Host) -> Result<()> {
        let log = stage.log(&format!("{}.coatid.log", host.name()));
        let kept = (1..).map(|number| stage.log(&format!("{}.coatid.{number}.log", host.name())));
        let kept = kept.into_iter().find(|path| !path.exists()).context(|| "no name for a log".to_owned())?;
        fs::rename(&log, &kept).context(|| format!("cannot keep {}", log.display()))
    }

    /// Starts a successor of a running one, with other files, and waits until it has taken over. The log of the one before is kept.
    ///
    /// # Errors
    /// When it does not come up, or the one before does not end with success.
    pub fn succeed(stage: &Stage, mut before: Coati, files: &Files) -> Result<Self> {
        let host = before.host.clone();
        Self::keep_log(stage, &host)?;
        let mut coati = Self::launch(stage, &host, files, host.command(stage.programs.join("coatid")))?;
        let status = before.wait_end(START)?;
        crate::ensure!(
            status.success(),
            "{} ended with {status} when it was succeeded",
            before.daemon.name()
        );
        coati.wait_up()?;
        Ok(coati)
    }

    fn wait_up(&mut self) -> Result<()> {
        wait::until(START, "coatid's control socket", || {
            self.daemon.check_running()?;
            Ok((self.socket.exists() && self.status(&[]).is_ok()).then_some(()))
        })
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What `coati status` prints.
    ///
    /// # Errors
    /// When the command fails.
    pub fn status(&self, arguments: &[&str]) -> Result<String> {
        process::output(self.ask().arg("status").args(arguments))
    }

    /// Has it set a pair up.
    ///
    /// # Errors
    /// When it refuses.
    pub fn initiate(&self, local: IpAddr, remote: IpAddr) -> Result<()> {
        let addresses = [local, remote].map(|address| address.to_string());
        process::output(self.ask().arg("initiate").args(addresses)).map(|_| ())
    }

    /// Has it delete a pair's SAs, here and at the peer.
    ///
    /// # Errors
    /// When it refuses.
    pub fn delete(&self, local: IpAddr, remote: IpAddr) -> Result<()> {
        let addresses = [local, remote].map(|address| address.to_string());
        process::output(self.ask().arg("delete").args(addresses)).map(|_| ())
    }

    /// What the peer of a pair proved itself by, as `coati peer-certificate` prints it.
    ///
    /// # Errors
    /// When the daemon has nothing.
    pub fn peer_certificate(&self, local: IpAddr, remote: IpAddr) -> Result<String> {
        let addresses = [local, remote].map(|address| address.to_string());
        process::output(self.ask().arg("peer-certificate").args(addresses))
    }

    /// The octets that `racoonctl get-cert` writes, by a racoonctl that is made in `directory`.
    ///
    /// # Errors
    /// When it cannot be called, or has nothing.
    pub fn get_cert(&self, directory: &Path, local: IpAddr, remote: IpAddr) -> Result<Vec<u8>> {
        let racoonctl = directory.join("racoonctl");
        if !racoonctl.exists() {
            std::os::unix::fs::symlink(&self.client, &racoonctl)
                .context(|| "cannot call coati racoonctl".to_owned())?;
        }
        let mut command = self.host.command(&racoonctl);
        command.arg("-s").arg(&self.socket).args(["get-cert", "isakmp", "inet"]);
        command.args([local, remote].map(|address| address.to_string()));
        let done = command.output().context(|| "cannot run racoonctl".to_owned())?;
        crate::ensure!(
            done.status.success(),
            "racoonctl get-cert failed: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
        Ok(done.stdout)
    }

    /// Has it read its files anew, and gives its warnings.
    ///
    /// # Errors
    /// When it does not take them.
    pub fn reload(&self) -> Result<String> {
        process::output(self.ask().arg("reload"))
    }

    /// Tells it by SIGHUP to read its files anew.
    ///
    /// # Errors
    /// When it is gone.
    pub fn hang_up(&self) -> Result<()> {
        self.daemon.signal(Signal::SIGHUP)
    }

    /// `coati mesh pairs --json`.
    ///
    /// # Errors
    /// When the command cannot be run.
    pub fn mesh_pairs(&self, filter: &[&str]) -> Result<std::process::Output> {
        let mut command = self.ask();
        command.args(["mesh", "pairs", "--json"]).args(filter);
        command.output().context(|| format!("cannot run {}", process::show(&command)))
    }

    fn ask(&self) -> Command {
        let mut command = self.host.command(&self.client);
        command.arg("--socket").arg(&self.socket);
        command
    }

    /// Everything its log says so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn said(&self) -> Result<String> {
        self.daemon.said()
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// When it is not running.
    pub fn check_running(&mut self) -> Result<()> {
        self.daemon.check_running()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it goes on for longer than `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.daemon.wait_end(limit)
    }

    /// Has it end and leave its SAs, as a service manager's restart does.
    ///
    /// # Errors
    /// When it does not end with success.
    pub fn leave(&mut self) -> Result<()> {
        self.end_by(Signal::SIGUSR1)
    }

    /// Kills it: it says nothing to anybody, and leaves everything in the kernel.
    ///
    /// # Errors
    /// When it was gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.stop(Signal::SIGKILL, Duration::from_secs(10)).map(|_| ())
    }

    /// Stops it in order: DELETE to its peers, policies stay.
    ///
    /// # Errors
    /// When it does not end within 10 s, or not with success.
    pub fn stop(&mut self) -> Result<()> {
        self.end_by(Signal::SIGTERM)
    }

    fn end_by(&mut self, signal: Signal) -> Result<()> {
        let status = self.daemon.stop(signal, Duration::from_secs(10))?;
        crate::ensure!(status.success(), "{} ended with {status} at {signal}", self.daemon.name());
        Ok(())
    }
}

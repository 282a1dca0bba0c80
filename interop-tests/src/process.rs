//! Programs run for their output, and daemons that are stopped by their process id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::{Context, Result};
use crate::{fail, wait};

/// Runs a command to its end and gives its standard output.
///
/// # Errors
/// When it cannot be started or fails; the failure has the command and what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let done = command.stdin(Stdio::null()).output().context(|| format!("cannot run {shown}"))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned() + &text;
        fail!("{shown} failed ({}): {}", done.status, said.trim());
    }
    Ok(text)
}

/// A command as a person would type it.
pub fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A program that runs until it is told to stop. It is killed when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it with both outputs going to `log`.
    ///
    /// # Errors
    /// When the log cannot be made or the program not started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let shown = show(command);
        let out = File::create(log).context(|| format!("cannot make {}", log.display()))?;
        let err = out.try_clone().context(|| format!("cannot share {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .context(|| format!("cannot start {shown}"))?;
        Ok(Daemon { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything it has written so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn said(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Fails with its last words if it has ended.
    ///
    /// # Errors
    /// When it is not running.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            fail!("{} ended by itself ({status}): {}", self.name, last_lines(&self.said()?, 5));
        }
        Ok(())
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context(|| format!("cannot look after {}", self.name))
    }

    /// Sends a signal to this process alone.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context(|| format!("{} has no usable pid", self.name))?;
        kill(Pid::from_raw(pid), signal).context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended after `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait::until(limit, &what, || self.ended())
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Errors
    /// When it is gone already or does not end within `limit`.
    pub fn stop(&mut self, signal: Signal, limit: Duration) -> Result<ExitStatus> {
        self.signal(signal)?;
        self.wait_end(limit)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended long ago: then there is nothing to kill and nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last `count` lines that are not empty, joined by ` | `.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_shown_with_what_it_said() {
        let failure =
            output(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err().to_string();
        assert!(failure.contains("sh -c"), "{failure}");
        assert!(failure.contains("broken"), "{failure}");
    }

    #[test]
    fn last_lines_skips_empty_ones() {
        assert_eq!(last_lines("a\n\nb\nc\n\n", 2), "b | c");
        assert_eq!(last_lines("", 2), "");
    }
}

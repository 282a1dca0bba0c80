//! Going into the background, only when all has succeeded.
//!
//! The program starts itself a second time instead of forking: a fork is nothing to do with threads and a runtime about, and
//! is not safe code. The first one waits until the second is up, or has said on the terminal why it is not.
//!
//! ```text
//! racoon (terminal) -- same arguments, MARK --> racoon: own session, files, kernel, sockets, policies
//!    waits on a pipe <------------------------- "up", then terminal and pipe are let go
//!    ends with 0 (or, without "up", as the other one ended)
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// In the environment of the one that is to stay.
const MARK: &str = "COATI_DETACHED";
/// What it says when it is up.
const UP: &[u8] = b"up\n";

/// Whether this is the one that stays.
#[must_use]
pub fn is_detached() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts the one that stays, with these arguments, the program's name in front; waits until it is up or has ended.
#[must_use]
pub fn launch(arguments: &[OsString]) -> ExitCode {
    let name = arguments.first().cloned().unwrap_or_default();
    let child = Command::new("/proc/self/exe")
        .arg0(&name)
        .args(arguments.get(1..).unwrap_or_default())
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}: cannot go into the background: {error}", name.display());
            return ExitCode::FAILURE;
        }
    };
    let mut said = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        let _ = pipe.read_to_end(&mut said);
    }
    if said == UP {
        return ExitCode::SUCCESS;
    }
    match child.wait().ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok()) {
        Some(code) if code != 0 => ExitCode::from(code),
        _ => ExitCode::FAILURE,
    }
}

/// The terminal of the one that stays, until it is up.
#[derive(Debug)]
pub struct Terminal {
    /// What takes its place; opened early, for below another root directory there may be none.
    nothing: File,
}

impl Terminal {
    /// Leaves the terminal's session: what is typed there is not for the one that stays. What it says still goes there.
    ///
    /// # Errors
    /// As the system says.
    pub fn leave_session() -> io::Result<Self> {
        setsid()?;
        Ok(Self { nothing: File::options().read(true).write(true).open("/dev/null")? })
    }

    /// It is up: whoever waits is told, and the terminal and the working directory are let go.
    ///
    /// # Errors
    /// As the system says.
    pub fn let_go(self) -> io::Result<()> {
        // Whoever waited may be gone.
        let _ = io::stdout().write_all(UP).and_then(|()| io::stdout().flush());
        // The first: it ends the waiting.
        dup2_stdout(&self.nothing)?;
        dup2_stdin(&self.nothing)?;
        dup2_stderr(&self.nothing)?;
        chdir("/")?;
        Ok(())
    }
}

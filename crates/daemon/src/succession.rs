//! One daemon takes another's place without a gap.
//!
//! ESP in UDP is decapsulated by whoever has the port open, so the successor opens the ports first, beside its predecessor, and only
//! then has that leave: its SAs and policies stay. A racoon in the place is ended by whoever started this.

use std::path::Path;
use std::thread;
use std::time::Duration;

use coati_control::client::{Client, Error};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::refusal::Refusal;

/// How often it is asked whether the predecessor is gone.
const LOOK: Duration = Duration::from_millis(10);
/// How often it is looked at most: ten seconds.
const LOOKS: u32 = 1000;

/// Has the coatid that listens on one of these control sockets end and leave its SAs, and waits until it has. That there is none
/// is no error.
///
/// # Errors
/// It does not answer, or does not end.
pub fn relieve(sockets: &[&Path]) -> Result<(), Refusal> {
    for socket in sockets {
        let mut client = match Client::connect(socket) {
            Ok(client) => client,
            Err(Error::Unreachable(..)) => continue,
            Err(error) => return Err(refusal(socket, &error)),
        };
        let asked = client.status().and_then(|status| client.leave().map(|()| status.pid));
        let pid = asked.map_err(|error| refusal(socket, &error))?;
        tracing::info!("the coatid before this one (pid {pid}) leaves");
        return wait_end(pid);
    }
    Ok(())
}

fn refusal(socket: &Path, error: &Error) -> Refusal {
    Refusal::new(format!("the coatid at {} does not leave: {error}", socket.display()))
}

#[expect(clippy::disallowed_methods, reason = "the end of a process that is no child of ours is no event")]
fn wait_end(pid: u32) -> Result<(), Refusal> {
    let process = i32::try_from(pid).ok().filter(|pid| *pid > 0).map(Pid::from_raw);
    for _ in 0..LOOKS {
        match process.map(|process| kill(process, None)) {
            None | Some(Err(Errno::ESRCH)) => return Ok(()),
            Some(_) => thread::sleep(LOOK),
        }
    }
    Err(Refusal::new(format!("the coatid before this one (pid {pid}) does not end")))
}

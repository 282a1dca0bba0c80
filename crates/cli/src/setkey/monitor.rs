//! `setkey -x`: what the kernel tells of SAs and policies, a line each.
//!
//! The text is our own, as there are no PF_KEY messages to dump: the time, what happened, and to what. Keys are not shown.

use std::io;
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use xfrm_sys::{Event, Events, Group, Monitor};

use super::{Terminal, say_error};

/// Prints events until interrupted.
pub(super) fn monitor(terminal: &mut Terminal<'_>) -> io::Result<bool> {
    let mut events = match Monitor::open(&Group::ALL) {
        Ok(events) => events,
        Err(error) => return say_error(&error, terminal),
    };
    loop {
        loop {
            match events.recv() {
                Ok(Some(event)) => {
                    let scene = terminal.scene();
                    writeln!(terminal.out, "{} {}", scene.date(scene.now()), line(&event))?;
                }
                Ok(None) => break,
                Err(error) => return say_error(&error, terminal),
            }
        }
        terminal.out.flush()?;
        poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
    }
}

/// What happened, and to what.
fn line(event: &Event) -> String {
    let expiry = |hard: bool| if hard { "hard expire" } else { "soft expire" };
    match event {
        Event::Acquire(acquire) => format!(
            "acquire {} from {} seq {} policy index {} for {}",
            acquire.id, acquire.source, acquire.seq, acquire.policy.index, acquire.selector
        ),
        Event::Expire(expire) => format!("{} SA {}", expiry(expire.hard), expire.sa),
        Event::PolicyExpire(expire) => format!("{} policy {}", expiry(expire.hard), expire.policy),
        Event::Mapping(mapping) => format!(
            "mapping SA {} from {}[{}] to {}[{}]",
            mapping.id, mapping.old_source, mapping.old_port, mapping.new_source, mapping.new_port
        ),
        Event::NewSa(sa) => format!("new SA {sa}"),
        Event::UpdatedSa(sa) => format!("updated SA {sa}"),
        Event::DeletedSa(id, _) => format!("deleted SA {id}"),
        Event::FlushedSas(protocol) => format!("flushed SAs of {protocol}"),
        Event::NewPolicy(policy) => format!("new policy {policy} index {}", policy.index),
        Event::UpdatedPolicy(policy) => format!("updated policy {policy} index {}", policy.index),
        Event::DeletedPolicy(query, _) => format!("deleted policy {query}"),
        Event::FlushedPolicies => "flushed policies".to_owned(),
        Event::Lost => "events were lost".to_owned(),
        Event::Other(kind) => format!("message of kind {kind}"),
        Event::Unreadable(malformed) => format!("unreadable message: {malformed}"),
    }
}

//! The fake's events.

use std::collections::VecDeque;
use std::fmt;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::errno::Errno;

use super::group_of;
use crate::error::{Cause, Error, Object, Operation};
use crate::monitor::{Event, Events, Group};

type Queue = Arc<Mutex<VecDeque<Event>>>;

/// A monitor of a [`crate::FakeKernel`], with a descriptor that becomes readable as a netlink socket's does.
pub struct FakeMonitor {
    queue: Queue,
    readable: UnixStream,
}

/// The database's end of a monitor.
pub(super) struct Listener {
    groups: Vec<Group>,
    queue: Weak<Mutex<VecDeque<Event>>>,
    bell: UnixStream,
}

impl FakeMonitor {
    pub(super) fn pair(groups: &[Group]) -> Result<(Self, Listener), Error> {
        let pair = || {
            let (readable, bell) = UnixStream::pair()?;
            readable.set_nonblocking(true)?;
            bell.set_nonblocking(true)?;
            Ok((readable, bell))
        };
        let (readable, bell) = pair().map_err(|error: std::io::Error| {
            let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
            Error { operation: Operation::Open, object: Object::None, cause: Cause::Socket(errno) }
        })?;
        let queue = Queue::default();
        let listener = Listener { groups: groups.to_vec(), queue: Arc::downgrade(&queue), bell };
        Ok((Self { queue, readable }, listener))
    }
}

impl Events for FakeMonitor {
    fn recv(&mut self) -> Result<Option<Event>, Error> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let event = queue.pop_front();
        if queue.is_empty() {
            // Under the lock: the bell is not rung between the last event and its silencing.
            let mut rings = [0; 256];
            while matches!(self.readable.read(&mut rings), Ok(1..)) {}
        }
        Ok(event)
    }
}

impl Listener {
    /// Whether anyone still listens, and to this event.
    pub(super) fn wants(&self, group: Group) -> bool {
        self.queue.strong_count() > 0 && self.groups.contains(&group)
    }

    /// Queues an event if it is of a group listened to. False if nobody listens any more.
    pub(super) fn tell(&mut self, event: &Event) -> bool {
        let Some(queue) = self.queue.upgrade() else { return false };
        if group_of(event).is_none_or(|group| self.groups.contains(&group)) {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push_back(event.clone());
            // A full bell is readable already.
            let _ = self.bell.write(&[1]);
        }
        true
    }

    /// Drops what was not read.
    pub(super) fn drop_queued(&self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

impl AsFd for FakeMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}

impl AsRawFd for FakeMonitor {
    fn as_raw_fd(&self) -> RawFd {
        self.readable.as_raw_fd()
    }
}

impl fmt::Debug for FakeMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeMonitor(descriptor {})", self.as_raw_fd())
    }
}

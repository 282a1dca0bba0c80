//! Events: a second socket, so that answers to requests are never behind them.

mod event;

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

pub use event::{Acquire, Event, Expire, Mapping, PolicyExpire};

use crate::constants::{
    XFRMNLGRP_ACQUIRE, XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING, XFRMNLGRP_POLICY, XFRMNLGRP_SA,
};
use crate::error::{Cause, Error, Object, Operation};
use crate::message::messages;
use crate::socket::{Transport, XfrmSocket};

/// What a monitor can listen to (`XFRMNLGRP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Acquires. While nobody listens to them, the kernel raises none and refuses the packets.
    Acquire,
    /// Expiry of SAs and policies.
    Expire,
    /// Changes of SAs. Their messages hold the keys.
    Sa,
    /// Changes of policies.
    Policy,
    /// New addresses of peers behind a NAT.
    Mapping,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Acquire, Self::Expire, Self::Sa, Self::Policy, Self::Mapping];

    fn number(self) -> u32 {
        match self {
            Self::Acquire => XFRMNLGRP_ACQUIRE,
            Self::Expire => XFRMNLGRP_EXPIRE,
            Self::Sa => XFRMNLGRP_SA,
            Self::Policy => XFRMNLGRP_POLICY,
            Self::Mapping => XFRMNLGRP_MAPPING,
        }
    }
}

/// A source of events: [`Monitor`] or [`crate::FakeMonitor`]. Its descriptor becomes readable when there are some, so
/// that it can be put in tokio's `AsyncFd`.
pub trait Events: AsFd + AsRawFd {
    /// The next event, or `None` if there is none now: call it until then before waiting again. Never blocks.
    ///
    /// # Errors
    ///
    /// The socket failed. Lost events and unreadable messages are events, not errors.
    fn recv(&mut self) -> Result<Option<Event>, Error>;
}

/// The kernel's events of some groups, in the network namespace of the thread that opened it.
pub struct Monitor {
    socket: XfrmSocket,
    pending: VecDeque<Event>,
}

/// Octets of events the kernel may queue: about 4,000 acquires.
const QUEUE: usize = 8 * 1024 * 1024;

impl Monitor {
    /// Listens to `groups`.
    ///
    /// # Errors
    ///
    /// The kernel has no XFRM, or the process lacks `CAP_NET_ADMIN`.
    pub fn open(groups: &[Group]) -> Result<Self, Error> {
        let open = || {
            let socket = XfrmSocket::open(QUEUE)?;
            socket.set_non_blocking()?;
            groups.iter().try_for_each(|group| socket.join(group.number()))?;
            Ok(socket)
        };
        let socket = open().map_err(|errno| failed(Operation::Open, errno))?;
        Ok(Self { socket, pending: VecDeque::new() })
    }
}

impl Events for Monitor {
    fn recv(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            match self.socket.recv() {
                Ok(datagram) => {
                    let read =
                        messages(datagram).map(|message| message.map_or_else(Event::Unreadable, Event::from));
                    self.pending.extend(read);
                    self.socket.wipe();
                }
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::ENOBUFS) => return Ok(Some(Event::Lost)),
                Err(errno) => return Err(failed(Operation::Monitor, errno)),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Monitor(descriptor {}, {} events read)", self.as_raw_fd(), self.pending.len())
    }
}

fn failed(operation: Operation, errno: Errno) -> Error {
    Error { operation, object: Object::None, cause: Cause::Socket(errno) }
}

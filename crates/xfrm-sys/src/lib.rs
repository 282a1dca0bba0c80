//! The kernel's XFRM database over netlink: security associations, policies and the events about them.
//!
//! [`Client`] asks, [`Monitor`] listens, [`FakeKernel`] stands in for the kernel in tests. [`Xfrm`] is what `Client`
//! and `FakeKernel` have in common, [`Events`] what `Monitor` and `FakeMonitor` do. [`sockopt`] has the options that
//! UDP sockets of a keying daemon need.
//!
//! Layouts are those of every Linux that aligns 64-bit numbers to 8 octets (32-bit x86 does not), in host byte order.
#![deny(unsafe_code)]

pub mod algo;
pub mod constants;
pub mod error;
pub mod message;
pub mod monitor;
pub mod policy;
pub mod sa;
pub mod selector;
pub mod sockopt;

mod attr;
mod client;
mod codec;
mod fake;
mod lifetime;
mod newtype;
mod request;
mod socket;

pub use algo::{Aead, AlgorithmName, Authentication, Encryption, Key};
pub use attr::{Attribute, Mark};
pub use client::Client;
pub use codec::{Fault, Malformed, TooLong};
pub use error::{Cause, Error, Object, Operation};
pub use fake::{FakeKernel, FakeMonitor};
pub use lifetime::{Limits, Usage};
pub use message::Message;
pub use monitor::{Acquire, Event, Events, Expire, Group, Mapping, Monitor, PolicyExpire};
pub use nix::errno::Errno;
pub use policy::{
    Action, Direction, Level, Policy, PolicyFlags, PolicyKey, PolicyQuery, PolicyType, Share, Template,
};
pub use request::{Request, Xfrm};
pub use sa::{
    Encap, EncapType, Mode, Replay, ReplayEsn, Sa, SaDirection, SaFilter, SaFlags, SaId, SaQuery, SpiRequest,
    Stats,
};
pub use selector::{PortMatch, Prefix, Protocol, Selector};

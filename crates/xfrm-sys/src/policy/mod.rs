//! Security policies: `struct xfrm_userpolicy_info` and its attributes.

mod query;
mod template;
mod wire;

use std::fmt;

pub use query::{PolicyKey, PolicyQuery};
pub use template::{Level, Template};
pub(crate) use wire::write_policy_type;

use crate::attr::{Attribute, Mark};
use crate::lifetime::{Limits, Usage};
use crate::newtype::{flags, registry};
use crate::selector::Selector;

registry! {
    /// Which packets a policy is asked about. The lower three bits of a policy's index are its direction; those of
    /// socket policies are 3 and above.
    Direction(u8) {
        /// Packets that came for this host.
        IN = 0 => "in",
        /// Packets this host sends or forwards.
        OUT = 1 => "out",
        /// Packets that came and are to be forwarded.
        FWD = 2 => "fwd",
    }
}

impl Direction {
    /// The direction a policy's index says.
    #[must_use]
    pub const fn of_index(index: u32) -> Self {
        Self((index & 7) as u8)
    }

    /// Whether this is a policy of one socket, not of the database.
    pub const fn is_socket(self) -> bool {
        self.0 > Self::FWD.0
    }
}

registry! {
    /// What becomes of a packet (`XFRM_POLICY_ALLOW`, `XFRM_POLICY_BLOCK`).
    Action(u8) {
        /// It passes, through the templates if there are any.
        ALLOW = 0 => "allow",
        /// It is dropped.
        BLOCK = 1 => "block",
    }
}

registry! {
    /// Who may share an SA (`XFRM_SHARE_*`); the kernel ignores it.
    Share(u8) {
        /// Anyone.
        ANY = 0 => "any",
        /// One session.
        SESSION = 1 => "session",
        /// One user.
        USER = 2 => "user",
        /// One use.
        UNIQUE = 3 => "unique",
    }
}

registry! {
    /// The database a policy is in (`XFRM_POLICY_TYPE_*`).
    PolicyType(u8) {
        /// The main one.
        MAIN = 0 => "main",
        /// The one asked first, where the kernel has it.
        SUB = 1 => "sub",
    }
}

flags! {
    /// `XFRM_POLICY_*`.
    PolicyFlags(u8) {
        /// A socket may override it.
        LOCALOK = 1,
        /// ICMP errors about matching packets match too.
        ICMP = 2,
        /// Acquires name the CPU they come from (Linux 6.13, RFC 9611).
        CPU_ACQUIRE = 4,
    }
}

/// One policy, all of what `XFRM_MSG_NEWPOLICY` says of it.
///
/// Written in a request, `usage` is ignored by the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which packets it is for.
    pub selector: Selector,
    /// Which way they go.
    pub direction: Direction,
    /// Its number. In a request 0 lets the kernel choose; another number must have the direction in its lower three
    /// bits, and is granted if it is free.
    pub index: u32,
    /// Its place: the lowest number is asked first; among equals, the one added first.
    pub priority: u32,
    /// What becomes of the packets.
    pub action: Action,
    /// Its flags.
    pub flags: PolicyFlags,
    /// Who may share the SAs.
    pub share: Share,
    /// When it expires.
    pub limits: Limits,
    /// What it has carried; `add_time` and `use_time` say when it was added and last used.
    pub usage: Usage,
    /// The SAs that packets must go through, outermost last.
    pub templates: Vec<Template>,
    /// Only packets with this mark.
    pub mark: Option<Mark>,
    /// The xfrm interface's id.
    pub if_id: Option<u32>,
    /// The database it is in; none is the main one.
    pub policy_type: Option<PolicyType>,
    /// Attributes this crate has no type for, the security context among them.
    pub other: Vec<Attribute>,
}

impl Policy {
    /// A policy that allows, without templates or limits.
    pub const fn new(selector: Selector, direction: Direction) -> Self {
        Self {
            selector,
            direction,
            index: 0,
            priority: 0,
            action: Action::ALLOW,
            flags: PolicyFlags(0),
            share: Share::ANY,
            limits: Limits::NONE,
            usage: Usage { bytes: 0, packets: 0, add_time: 0, use_time: 0 },
            templates: Vec::new(),
            mark: None,
            if_id: None,
            policy_type: None,
            other: Vec::new(),
        }
    }

    /// Whether it is of the main database, which is meant where none is named.
    pub fn is_main(&self) -> bool {
        self.policy_type.unwrap_or(PolicyType::MAIN) == PolicyType::MAIN
    }

    /// Whether the kernel would take `other` for the same policy: selector, direction, mark, interface and database.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.selector == other.selector
            && self.direction == other.direction
            && self.mark.unwrap_or(NO_MARK) == other.mark.unwrap_or(NO_MARK)
            && self.if_id.unwrap_or(0) == other.if_id.unwrap_or(0)
            && self.policy_type.unwrap_or(PolicyType::MAIN) == other.policy_type.unwrap_or(PolicyType::MAIN)
    }
}

const NO_MARK: Mark = Mark { value: 0, mask: 0 };

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} priority {}", self.direction, self.selector, self.action, self.priority)
    }
}

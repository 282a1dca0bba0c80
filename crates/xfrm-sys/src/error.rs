//! What went wrong with a request, and with which object.

use std::fmt;

use nix::errno::Errno;

use crate::codec::Malformed;
use crate::policy::PolicyQuery;
use crate::sa::SaId;
use crate::selector::Protocol;

/// What was asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Opening the netlink socket.
    Open,
    /// `XFRM_MSG_NEWSA`.
    AddSa,
    /// `XFRM_MSG_UPDSA`.
    UpdateSa,
    /// `XFRM_MSG_DELSA`.
    DeleteSa,
    /// `XFRM_MSG_GETSA`.
    GetSa,
    /// `XFRM_MSG_GETSA`, all of them.
    DumpSas,
    /// `XFRM_MSG_FLUSHSA`.
    FlushSas,
    /// `XFRM_MSG_ALLOCSPI`.
    AllocSpi,
    /// `XFRM_MSG_NEWPOLICY`.
    AddPolicy,
    /// `XFRM_MSG_UPDPOLICY`.
    UpdatePolicy,
    /// `XFRM_MSG_DELPOLICY`.
    DeletePolicy,
    /// `XFRM_MSG_GETPOLICY`.
    GetPolicy,
    /// `XFRM_MSG_GETPOLICY`, all of them.
    DumpPolicies,
    /// `XFRM_MSG_FLUSHPOLICY`.
    FlushPolicies,
    /// Reading events.
    Monitor,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open the XFRM netlink socket",
            Self::AddSa => "add SA",
            Self::UpdateSa => "update SA",
            Self::DeleteSa => "delete SA",
            Self::GetSa => "get SA",
            Self::DumpSas => "list SAs",
            Self::FlushSas => "flush SAs",
            Self::AllocSpi => "reserve SPI",
            Self::AddPolicy => "add policy",
            Self::UpdatePolicy => "update policy",
            Self::DeletePolicy => "delete policy",
            Self::GetPolicy => "get policy",
            Self::DumpPolicies => "list policies",
            Self::FlushPolicies => "flush policies",
            Self::Monitor => "read XFRM events",
        })
    }
}

/// What a request was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// Nothing in particular.
    None,
    /// An SA.
    Sa(SaId),
    /// All SAs of a protocol.
    Sas(Protocol),
    /// A policy.
    Policy(Box<PolicyQuery>),
}

impl From<PolicyQuery> for Object {
    fn from(query: PolicyQuery) -> Self {
        Self::Policy(Box::new(query))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Sa(id) => write!(f, " ({id})"),
            Self::Sas(protocol) => write!(f, " ({protocol})"),
            Self::Policy(query) => write!(f, " ({query})"),
        }
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The kernel refused it.
    Refused {
        /// Its errno.
        errno: Errno,
        /// Its words, where it has any (extended ack).
        text: Option<String>,
    },
    /// The socket failed. `ENOBUFS`: the answer is lost, the request may have been carried out.
    Socket(Errno),
    /// No answer came in time; the request may have been carried out.
    Timeout,
    /// The table kept changing under the dump.
    Interrupted,
    /// The kernel's answer could not be read.
    Unreadable(Malformed),
    /// The kernel acknowledged the request and did not answer it.
    NoAnswer,
    /// The request makes no sense and was not sent.
    Invalid(&'static str),
}

/// A failed request. It names the operation and the object, and holds no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What was asked.
    pub operation: Operation,
    /// About what.
    pub object: Object,
    /// Why it failed.
    pub cause: Cause,
}

impl Error {
    /// The kernel's errno, where it or its socket gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::Refused { errno, .. } | Cause::Socket(errno) => Some(errno),
            Cause::Timeout
            | Cause::Interrupted
            | Cause::Unreadable(_)
            | Cause::NoAnswer
            | Cause::Invalid(_) => None,
        }
    }

    /// The kernel's words (extended ack), where it had any.
    pub fn text(&self) -> Option<&str> {
        match &self.cause {
            Cause::Refused { text, .. } => text.as_deref(),
            _ => None,
        }
    }

    /// Whether the object was there already (`EEXIST`).
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(Errno::EEXIST)
    }

    /// Whether the object was not there (`ESRCH` for SAs, `ENOENT` for policies).
    pub fn is_missing(&self) -> bool {
        matches!(self.cause, Cause::Refused { errno: Errno::ESRCH | Errno::ENOENT, .. })
    }

    /// Whether the request may have been carried out although it failed here: its answer is lost or unreadable.
    pub fn is_uncertain(&self) -> bool {
        match self.cause {
            Cause::Socket(_) | Cause::Timeout | Cause::Unreadable(_) | Cause::NoAnswer => true,
            Cause::Refused { .. } | Cause::Interrupted | Cause::Invalid(_) => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}{}: ", self.operation, self.object)?;
        match &self.cause {
            Cause::Refused { errno, text: None } => write!(f, "{} ({errno:?})", errno.desc()),
            Cause::Refused { errno, text: Some(text) } => {
                write!(f, "{} ({errno:?}: {})", errno.desc(), text.escape_debug())
            }
            Cause::Socket(Errno::ENOBUFS) => f.write_str("the kernel's answer was lost (ENOBUFS)"),
            Cause::Socket(errno) => write!(f, "netlink socket: {} ({errno:?})", errno.desc()),
            Cause::Timeout => f.write_str("the kernel did not answer in time"),
            Cause::Interrupted => f.write_str("the kernel's table kept changing"),
            Cause::Unreadable(malformed) => write!(f, "the kernel's answer is unreadable: {malformed}"),
            Cause::NoAnswer => f.write_str("the kernel gave no answer"),
            Cause::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Direction;
    use crate::selector::{Prefix, Selector};

    #[test]
    fn an_error_names_operation_object_and_the_kernels_words() {
        let text = Some(String::from("Requested \x1bAEAD algorithm not found"));
        let id = SaId::esp("10.0.0.2".parse().unwrap(), 0x1234);
        let cause = Cause::Refused { errno: Errno::ENOSYS, text };
        let error = Error { operation: Operation::AddSa, object: Object::Sa(id), cause };
        assert_eq!(
            error.to_string(),
            "cannot add SA (esp 0x00001234 to 10.0.0.2): Function not implemented \
             (ENOSYS: Requested \\u{1b}AEAD algorithm not found)"
        );
        let host = Prefix::host("10.0.0.1".parse().unwrap());
        let query = PolicyQuery::by_selector(Selector::new(host, host), Direction::IN);
        let error = Error { operation: Operation::DeletePolicy, object: query.into(), cause: Cause::Timeout };
        assert_eq!(
            error.to_string(),
            "cannot delete policy (in 10.0.0.1/32 > 10.0.0.1/32): the kernel did not answer in time"
        );
    }

    #[test]
    fn only_what_may_have_been_done_is_uncertain() {
        let error = |cause| Error { operation: Operation::AddSa, object: Object::None, cause };
        assert!(error(Cause::Socket(Errno::ENOBUFS)).is_uncertain() && error(Cause::NoAnswer).is_uncertain());
        assert!(!error(Cause::Refused { errno: Errno::EPERM, text: None }).is_uncertain());
        assert!(!error(Cause::Socket(Errno::ESRCH)).is_missing(), "the kernel did not say so");
    }
}

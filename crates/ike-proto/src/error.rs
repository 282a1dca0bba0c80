//! Errors are of three kinds, and one table says what each leads to on the wire (RFC 7296 §2.21).

use core::fmt;

use crate::ids::ChildSpi;
use crate::wire::registry::{NotifyType, ProtocolId};
use crate::wire::{Notify, WireError};

/// What kind of fault a message has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The octets do not say what the protocol lets them say.
    Malformed,
    /// The octets are well formed, but a correct peer would not send them now, or the peer is not who it says.
    Misbehaved,
    /// The peer is correct and wants something else than we do.
    Incompatible,
}

/// A fault found in a message, with the notify that tells the peer about it where the peer may be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    kind: Kind,
    notify: NotifyType,
    data: Vec<u8>,
    child: Option<ChildSpi>,
    what: String,
}

impl Error {
    /// A message that cannot be read: INVALID_SYNTAX.
    #[must_use]
    pub fn malformed(what: impl Into<String>) -> Self {
        Self {
            kind: Kind::Malformed,
            notify: NotifyType::INVALID_SYNTAX,
            data: Vec::new(),
            child: None,
            what: what.into(),
        }
    }

    /// A payload that must be understood and is not: UNSUPPORTED_CRITICAL_PAYLOAD with its type (RFC 7296 §2.5).
    #[must_use]
    pub fn critical(payload_type: u8) -> Self {
        Self {
            kind: Kind::Incompatible,
            notify: NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD,
            data: vec![payload_type],
            child: None,
            what: format!("payload type {payload_type} is marked critical and is not known here"),
        }
    }

    /// A peer that breaks a rule; `notify` is what it is told, if it may be told.
    #[must_use]
    pub fn misbehaved(notify: NotifyType, what: impl Into<String>) -> Self {
        Self { kind: Kind::Misbehaved, notify, data: Vec::new(), child: None, what: what.into() }
    }

    /// A peer that wants what we do not give.
    #[must_use]
    pub fn incompatible(notify: NotifyType, what: impl Into<String>) -> Self {
        Self { kind: Kind::Incompatible, notify, data: Vec::new(), child: None, what: what.into() }
    }

    /// The same with notification data, as INVALID_KE_PAYLOAD has.
    #[must_use]
    pub fn with_data(mut self, data: Vec<u8>) -> Self {
        self.data = data;
        self
    }

    /// The same about one child, named by the SPI that the peer named it by (RFC 7296 §2.25, §3.10).
    #[must_use]
    pub const fn about(mut self, child: Option<ChildSpi>) -> Self {
        self.child = child;
        self
    }

    /// Authentication failed, for whatever reason: one error and one text for the peer (RFC 7296 §2.21.2).
    #[must_use]
    pub fn authentication(what: impl Into<String>) -> Self {
        Self::misbehaved(NotifyType::AUTHENTICATION_FAILED, what)
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The notify that fits it.
    #[must_use]
    pub const fn notify(&self) -> NotifyType {
        self.notify
    }

    /// The notify that tells the peer.
    #[must_use]
    pub fn told(&self) -> Notify {
        let about = self.child.map(|spi| Notify::about_child(self.notify, ProtocolId::ESP, spi));
        let notify = about.unwrap_or_else(|| Notify::error(self.notify));
        Notify { data: self.data.clone(), ..notify }
    }

    /// The notify's data.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.notify)
    }
}

impl core::error::Error for Error {}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        match error {
            WireError::UnsupportedCritical(payload) => Self::critical(payload.0),
            malformed @ WireError::Malformed { .. } => Self::malformed(malformed.to_string()),
        }
    }
}

/// Where a message stood when its fault was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// A request of IKE_SA_INIT: nobody is authenticated, an SA does not exist yet.
    InitRequest,
    /// A response of IKE_SA_INIT: anybody on the path may have sent it.
    InitResponse,
    /// A request of IKE_AUTH, its protection verified.
    AuthRequest,
    /// A response of IKE_AUTH, its protection verified.
    AuthResponse,
    /// A request in an established SA, its protection verified.
    Request,
    /// A response in an established SA, its protection verified.
    Response,
    /// A message whose protection could not be verified.
    Unverified,
}

/// What a fault leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reaction {
    /// Nothing is sent and nothing changes.
    Drop,
    /// The peer is told; the SA, if there is one, stays.
    Notify,
    /// The peer is told and the SA ends.
    NotifyAndClose,
    /// The SA ends by an exchange of our own (RFC 7296 §2.21.2: a response cannot be answered).
    Close,
}

/// The table of RFC 7296 §2.21.
#[must_use]
pub fn reaction(error: &Error, stage: Stage) -> Reaction {
    match (stage, error.kind()) {
        // Not authenticated: never the end of an attempt (§2.21.1), never an answer to what may be noise.
        (Stage::Unverified | Stage::InitResponse, _)
        | (Stage::InitRequest, Kind::Malformed | Kind::Misbehaved) => Reaction::Drop,
        // §2.21.1: an INIT request that is fine but not for us is answered, statelessly.
        (Stage::InitRequest, Kind::Incompatible) => Reaction::Notify,
        // §2.21.2: whatever is wrong with the IKE_AUTH request itself ends the SA that is not there yet.
        (Stage::AuthRequest, _) => Reaction::NotifyAndClose,
        (Stage::AuthResponse, _) => Reaction::Close,
        // §2.21.3: INVALID_SYNTAX is fatal for the SA; the rest concerns one exchange.
        (Stage::Request, Kind::Malformed) => Reaction::NotifyAndClose,
        (Stage::Request, Kind::Misbehaved | Kind::Incompatible) => Reaction::Notify,
        (Stage::Response, Kind::Malformed) => Reaction::Close,
        (Stage::Response, Kind::Misbehaved | Kind::Incompatible) => Reaction::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::registry::PayloadType;

    #[test]
    fn nothing_unauthenticated_closes_or_answers_except_an_incompatible_first_request() {
        let errors = [
            Error::malformed("x"),
            Error::authentication("x"),
            Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, "x"),
        ];
        for error in &errors {
            for stage in [Stage::Unverified, Stage::InitResponse] {
                assert_eq!(reaction(error, stage), Reaction::Drop, "{error} at {stage:?}");
            }
            let closes = reaction(error, Stage::InitRequest);
            assert!(matches!(closes, Reaction::Drop | Reaction::Notify), "{error}");
        }
    }

    #[test]
    fn a_fault_without_a_name_of_its_own_is_invalid_syntax() {
        let fault = crate::wire::Fault::Trailing;
        let unreadable = WireError::Malformed { payload: PayloadType::SA, offset: 7, fault };
        for error in [Error::malformed("whatever it is"), Error::from(unreadable)] {
            assert_eq!(error.told(), Notify::error(NotifyType::INVALID_SYNTAX));
        }
    }

    #[test]
    fn a_wish_we_do_not_share_never_ends_an_established_sa() {
        let error = Error::incompatible(NotifyType::TS_UNACCEPTABLE, "x");
        assert_eq!(reaction(&error, Stage::Request), Reaction::Notify);
        assert_eq!(reaction(&error, Stage::Response), Reaction::Drop);
    }

    #[test]
    fn invalid_syntax_in_an_established_sa_is_fatal() {
        assert_eq!(reaction(&Error::malformed("x"), Stage::Request), Reaction::NotifyAndClose);
        assert_eq!(reaction(&Error::malformed("x"), Stage::Response), Reaction::Close);
    }
}

//! What happens to a scenario from outside: commands at set times, and rules for messages that meet a description.

use ike_proto::time::Duration;
use ike_proto::wire::registry::{AuthMethod, ExchangeType, KeId, NotifyType};

use crate::link::Conditions;

/// Commands at set times and rules for messages.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// What happens when.
    pub actions: Vec<(Duration, Action)>,
    /// What happens to which messages; the first rule that fits is used.
    pub rules: Vec<Rule>,
}

/// Something done to a host or to the network.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Action {
    /// A host is told to bring up the pair of one of its policies.
    Initiate {
        /// The host.
        host: usize,
        /// Which of its policies.
        policy: usize,
    },
    /// A host is told to make the pair of one of its policies anew, both ends proving who they are.
    Reauthenticate {
        /// The host.
        host: usize,
        /// Which of its policies.
        policy: usize,
    },
    /// A host is told to delete the pair of one of its policies.
    Delete {
        /// The host.
        host: usize,
        /// Which of its policies.
        policy: usize,
    },
    /// A host's daemon is stopped in order; it is gone once it is quiet.
    Shutdown(usize),
    /// A host loses daemon and kernel state without a word and starts again.
    Reboot(usize),
    /// A host's daemon is replaced by one that remembers nothing; the kernel keeps its SAs.
    Relaunch(usize),
    /// A host's clock jumps ahead, as after a suspend.
    ClockJump {
        /// The host.
        host: usize,
        /// How far.
        by: Duration,
    },
    /// Nothing passes between two hosts, or passes again.
    Cut {
        /// One host.
        one: usize,
        /// The other.
        other: usize,
        /// Whether the path is cut.
        cut: bool,
    },
    /// From now on the link loses every packet of the SAs on which a host sends at this moment; newer ones pass.
    Jam(usize),
    /// The network changes.
    Weather(Conditions),
    /// A NAT box forgets its mappings.
    RestartNat(usize),
    /// A flow starts or stops.
    Run {
        /// The flow.
        flow: usize,
        /// Whether it sends.
        running: bool,
    },
    /// A host's daemon is told that notices of its kernel were lost, and compares the two.
    LoseNotices(usize),
    /// The notices of a host's kernel are lost from now on, or not any more; nobody says so.
    Deafen {
        /// The host.
        host: usize,
        /// Whether they are lost.
        deaf: bool,
    },
    /// A host's daemon is told its policies, or that there are none; its kernel's are never touched.
    Policies {
        /// The host.
        host: usize,
        /// Whether it has them.
        known: bool,
    },
    /// The newest inbound SA of one of a host's policies comes to a limit of its kernel.
    Expire {
        /// The host.
        host: usize,
        /// Which of its policies.
        policy: usize,
        /// Whether the SA is gone by it.
        hard: bool,
    },
}

impl Action {
    /// The host it concerns, if it is one.
    #[must_use]
    pub const fn host(&self) -> Option<usize> {
        match self {
            Self::Initiate { host, .. }
            | Self::Reauthenticate { host, .. }
            | Self::Delete { host, .. }
            | Self::Shutdown(host)
            | Self::Reboot(host)
            | Self::Relaunch(host)
            | Self::ClockJump { host, .. }
            | Self::Expire { host, .. }
            | Self::Deafen { host, .. }
            | Self::Policies { host, .. }
            | Self::Jam(host)
            | Self::LoseNotices(host) => Some(*host),
            Self::Cut { .. } | Self::Weather(_) | Self::RestartNat(_) | Self::Run { .. } => None,
        }
    }
}

/// Which messages a rule is for; what is `None` does not matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Match {
    /// The host that sends.
    pub from: Option<usize>,
    /// The exchange.
    pub exchange: Option<ExchangeType>,
    /// Whether it is a response.
    pub response: Option<bool>,
    /// The message id.
    pub message_id: Option<u32>,
}

/// What a rule does to a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is lost.
    Drop,
    /// It takes this long; the link does nothing else to it.
    Delay(Duration),
    /// It comes again after each of a few such times, the link doing nothing else to it.
    Repeat {
        /// Copies beside the first.
        copies: u32,
        /// Time between them.
        every: Duration,
    },
    /// One bit is flipped, this one modulo their number.
    Flip(u64),
    /// It passes, and its sender gets a forged response in the peer's name before the true one.
    Forge(Forgery),
    /// A request, on an established SA, that the peer never sees; the sender gets this error, sealed with the peer's keys.
    /// Messages in fragments pass as they are. Only with null cryptography.
    Refuse(NotifyType),
    /// A sealed request whose contents are replaced or changed, sealed with its sender's keys: what a peer with a defect, or one
    /// that means harm, may send. The answer passes. As for [`Fate::Refuse`], whole messages and null cryptography only.
    Spoil(Spoiled),
}

/// What stands in a spoiled request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoiled {
    /// A payload of a type that nobody knows, marked critical.
    Critical,
    /// Nothing, where the exchange wants something.
    Empty,
    /// What stood there, without the AUTH payload.
    NoAuth,
    /// What stood there, with the AUTH payload twice.
    TwoAuths,
    /// What stood there, but AUTH says that it was made by this method.
    Method(AuthMethod),
    /// What stood there, but the identity has so many octets.
    Identity(u16),
    /// What stood there, with this many more CERT payloads.
    Certs(u8),
}

/// What somebody on the path, who has no keys, sends in the peer's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forgery {
    /// A response with this error.
    Error(NotifyType),
    /// INVALID_IKE_SPI with so many octets that are to be a token of quick crash detection.
    Token(u16),
    /// INVALID_KE_PAYLOAD that asks for this method.
    InvalidKe(KeId),
    /// A response whose header is right and whose payloads are noise.
    Noise(u16),
    /// An SK payload of noise under the right header.
    SealedNoise(u16),
}

/// A rule and how often it still holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// For which messages.
    pub when: Match,
    /// How many of them pass before it holds.
    pub skip: u32,
    /// For how many it holds.
    pub times: u32,
    /// What it does.
    pub fate: Fate,
}

impl Rule {
    /// A rule for every message that `when` describes.
    #[must_use]
    pub const fn always(when: Match, fate: Fate) -> Self {
        Self { when, skip: 0, times: u32::MAX, fate }
    }

    /// A rule for the first such message.
    #[must_use]
    pub const fn once(when: Match, fate: Fate) -> Self {
        Self { when, skip: 0, times: 1, fate }
    }

    /// Counts a message that fits; the fate, if the rule holds for it.
    pub(crate) const fn take(&mut self) -> Option<Fate> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if self.times == 0 {
            return None;
        }
        self.times -= 1;
        Some(self.fate)
    }
}

impl Match {
    /// Requests of `exchange` sent by `from`.
    #[must_use]
    pub const fn request(from: usize, exchange: ExchangeType) -> Self {
        Self { from: Some(from), exchange: Some(exchange), response: Some(false), message_id: None }
    }

    /// Responses of `exchange` sent by `from`.
    #[must_use]
    pub const fn response(from: usize, exchange: ExchangeType) -> Self {
        Self { from: Some(from), exchange: Some(exchange), response: Some(true), message_id: None }
    }
}

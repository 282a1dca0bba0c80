//! What the engine wants sent, computed or said: one queue, strictly in order.

use core::fmt;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::crypto::job::Job;
use crate::crypto::suite::{EspSuite, IkeSuite};
use crate::ids::{ChildSpi, IkeSpi, JobId, Role, SaId};
use crate::policy::identity::Identity;
use crate::policy::sad::Mode;
use crate::policy::selector::Selector;

/// Where a datagram came from or goes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Flow {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Whether our port is the encapsulating one, where IKE stands behind the non-ESP marker (RFC 3948 §2.2).
    pub natt: bool,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]-{}[{}]", self.local.ip(), self.local.port(), self.remote.ip(), self.remote.port())
    }
}

/// A datagram to send, its non-ESP marker in front where the flow needs one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where to.
    pub flow: Flow,
    /// The octets.
    pub datagram: Vec<u8>,
}

/// One thing for the driver to do.
#[derive(Debug)]
pub enum Output {
    /// Compute this and hand the result to `handle_job`.
    Job(JobId, Job),
    /// Send this.
    Transmit(Transmit),
    /// Say this.
    Event(Event),
}

/// How loud an event is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Something a peer sent, or what became of it.
    Debug,
    /// A pair changed its state.
    Info,
    /// Something the operator may have to mend.
    Warning,
}

/// Something that happened, with the pair and the SA it happened to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Our address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// The engine's number of the IKE SA, if one is concerned.
    pub sa: Option<SaId>,
    /// Its SPIs.
    pub spis: Option<(IkeSpi, IkeSpi)>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A handshake begins.
    Initiating {
        /// Why.
        cause: String,
    },
    /// An IKE SA is authenticated.
    IkeSaUp {
        /// Our role in it.
        role: Role,
        /// Its addresses and ports.
        flow: Flow,
        /// Who we are.
        local_id: Identity,
        /// Who the peer is.
        remote_id: Identity,
        /// Its algorithms.
        suite: IkeSuite,
    },
    /// An IKE SA has taken the place and the children of the one before it.
    IkeSaRekeyed {
        /// Its addresses and ports.
        flow: Flow,
        /// Its algorithms.
        suite: IkeSuite,
    },
    /// A handshake ended without an SA.
    HandshakeFailed {
        /// Why.
        cause: String,
    },
    /// An IKE SA ended.
    IkeSaDown {
        /// Why.
        cause: String,
    },
    /// A CHILD_SA is installed.
    ChildUp {
        /// Whom it carries.
        selector: Selector,
        /// Transport or tunnel.
        mode: Mode,
        /// SPI we receive on.
        spi_in: ChildSpi,
        /// SPI we send on.
        spi_out: ChildSpi,
        /// Its algorithms.
        suite: EspSuite,
        /// Addresses and ports of its packets.
        flow: Flow,
        /// Whether ESP is inside UDP.
        encap: bool,
    },
    /// A CHILD_SA could not be made.
    ChildFailed {
        /// What was wanted.
        selector: Option<Selector>,
        /// Why.
        cause: String,
    },
    /// A CHILD_SA ended.
    ChildDown {
        /// SPI we received on.
        spi_in: ChildSpi,
        /// Why.
        cause: String,
    },
    /// Anything else, for the trace.
    Note(String),
    /// Anything else that the operator should know.
    Trouble(String),
}

impl What {
    /// How loud it is.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::Initiating { .. }
            | Self::IkeSaUp { .. }
            | Self::IkeSaRekeyed { .. }
            | Self::IkeSaDown { .. }
            | Self::ChildUp { .. }
            | Self::ChildDown { .. } => Level::Info,
            Self::HandshakeFailed { .. } | Self::ChildFailed { .. } | Self::Trouble(_) => Level::Warning,
            Self::Note(_) => Level::Debug,
        }
    }
}

impl fmt::Display for Event {
    /// Keeps racoon's nouns ("ISAKMP-SA", "IPsec-SA"): log collectors look for them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spis = |f: &mut fmt::Formatter<'_>| match self.spis {
            Some((i, r)) => write!(f, " spi:{i}:{r}"),
            None => Ok(()),
        };
        let pair = |f: &mut fmt::Formatter<'_>| write!(f, "{}<=>{}", self.local, self.remote);
        match &self.what {
            What::Initiating { cause } => {
                f.write_str("initiate new phase 1 negotiation: ")?;
                pair(f)?;
                write!(f, " ({cause})")
            }
            What::IkeSaUp { role, flow, local_id, remote_id, suite } => {
                write!(f, "ISAKMP-SA established {flow}")?;
                spis(f)?;
                let side = if *role == Role::Initiator { "initiator" } else { "responder" };
                write!(f, " as {side}, {local_id} to {remote_id}, {suite}")
            }
            What::IkeSaRekeyed { flow, suite } => {
                write!(f, "ISAKMP-SA rekeyed {flow}")?;
                spis(f)?;
                write!(f, ", {suite}")
            }
            What::HandshakeFailed { cause } => {
                f.write_str("phase1 negotiation failed: ")?;
                pair(f)?;
                spis(f)?;
                write!(f, ": {cause}")
            }
            What::IkeSaDown { cause } => {
                f.write_str("ISAKMP-SA deleted ")?;
                pair(f)?;
                spis(f)?;
                write!(f, ": {cause}")
            }
            What::ChildUp { selector, mode, spi_in, spi_out, suite, flow, encap } => {
                let mode = if *mode == Mode::Transport { "Transport" } else { "Tunnel" };
                write!(
                    f,
                    "IPsec-SA established: ESP/{mode} {flow} spi={}(0x{spi_out}) in={}(0x{spi_in}) {suite}{} for {selector}",
                    spi_out.0,
                    spi_in.0,
                    if *encap { " in UDP" } else { "" }
                )
            }
            What::ChildFailed { selector, cause } => {
                f.write_str("phase2 negotiation failed: ")?;
                match selector {
                    Some(selector) => write!(f, "{selector}")?,
                    None => pair(f)?,
                }
                write!(f, ": {cause}")
            }
            What::ChildDown { spi_in, cause } => {
                f.write_str("IPsec-SA deleted: ")?;
                pair(f)?;
                write!(f, " spi={}(0x{spi_in}): {cause}", spi_in.0)
            }
            What::Note(text) | What::Trouble(text) => {
                pair(f)?;
                spis(f)?;
                write!(f, ": {text}")
            }
        }
    }
}

/// The queue, and the numbers of jobs.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Output>,
    jobs: u64,
}

impl Outbox {
    /// Appends a job and returns the number its answer will carry.
    pub fn job(&mut self, job: Job) -> JobId {
        self.jobs += 1;
        let id = JobId(self.jobs);
        self.queue.push_back(Output::Job(id, job));
        id
    }

    /// Appends a datagram; the marker is put in front here.
    pub fn transmit(&mut self, flow: Flow, message: &[u8]) {
        let marker: &[u8] = if flow.natt { &crate::wire::udp_encap::NON_ESP_MARKER } else { &[] };
        let datagram = [marker, message].concat();
        self.queue.push_back(Output::Transmit(Transmit { flow, datagram }));
    }

    /// Appends a NAT keepalive (RFC 3948 §2.3), which has no marker.
    pub fn keepalive(&mut self, flow: Flow) {
        let datagram = crate::wire::udp_encap::KEEPALIVE.to_vec();
        self.queue.push_back(Output::Transmit(Transmit { flow, datagram }));
    }

    /// Appends an event.
    pub fn event(&mut self, event: Event) {
        self.queue.push_back(Output::Event(event));
    }

    /// The next thing to do.
    pub fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    /// How much waits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

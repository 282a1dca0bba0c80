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
    /// Its addresses and ports, or those of the SA that is to be.
    pub flow: Option<Flow>,
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
    /// An IKE SA is authenticated, and NAT detection found this.
    Nat {
        /// Whether we are behind a NAT.
        ours: bool,
        /// Whether the peer is, or claims to be.
        theirs: bool,
    },
    /// A CHILD_SA is asked for.
    ChildWanted {
        /// Whether we ask (initiator) or the peer does.
        role: Role,
        /// What is to be carried.
        selector: Selector,
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
        /// Transport or tunnel.
        mode: Mode,
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

/// Causes by which those who listen tell one event from another.
pub mod cause {
    /// A successor has taken the SA's place.
    pub const REKEYED: &str = "rekeyed";
    /// The SA was used up, by the kernel's count.
    pub const EXPIRED: &str = "expired";
    /// A handshake took too long; more may follow.
    pub const TIME_UP: &str = "due to time up";
    /// A request was repeated in vain; the exchange's name follows.
    pub const NO_ANSWER: &str = "no answer to";
}

impl What {
    /// Whether an IKE SA or a handshake ended because the peer is silent.
    #[must_use]
    pub fn is_dead_peer(&self) -> bool {
        match self {
            Self::HandshakeFailed { cause } | Self::IkeSaDown { cause } => {
                cause.starts_with(cause::TIME_UP) || cause.starts_with(cause::NO_ANSWER)
            }
            _ => false,
        }
    }

    /// How loud it is.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::Initiating { .. }
            | Self::IkeSaUp { .. }
            | Self::IkeSaRekeyed { .. }
            | Self::IkeSaDown { .. }
            | Self::Nat { .. }
            | Self::ChildWanted { .. }
            | Self::ChildUp { .. }
            | Self::ChildDown { .. } => Level::Info,
            Self::HandshakeFailed { .. } | Self::ChildFailed { .. } | Self::Trouble(_) => Level::Warning,
            Self::Note(_) => Level::Debug,
        }
    }
}

impl Event {
    /// ` spi:I:R`, as racoon's cookies.
    fn write_spis(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spis.map_or(Ok(()), |(i, r)| write!(f, " spi:{i}:{r}"))
    }

    /// Both ends with `between` them, ports where they are known.
    fn write_ends(&self, f: &mut fmt::Formatter<'_>, between: &str) -> fmt::Result {
        match self.flow {
            Some(Flow { local, remote, .. }) => {
                write!(f, "{}[{}]{between}{}[{}]", local.ip(), local.port(), remote.ip(), remote.port())
            }
            None => write!(f, "{}{between}{}", self.local, self.remote),
        }
    }

    fn write_child_up(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let What::ChildUp { selector, mode, spi_in, spi_out, suite, flow, encap } = &self.what else {
            return Ok(());
        };
        let Flow { local, remote, .. } = flow;
        write!(
            f,
            "IPsec-SA established: ESP/{} {}[{}]->{}[{}] spi={}(0x{spi_out}) in={}(0x{spi_in}) {suite}{} for {selector}",
            mode_name(*mode),
            local.ip(),
            local.port(),
            remote.ip(),
            remote.port(),
            spi_out.0,
            spi_in.0,
            if *encap { " in UDP" } else { "" }
        )
    }

    fn write_handshake_failed(&self, f: &mut fmt::Formatter<'_>, cause: &str) -> fmt::Result {
        f.write_str("phase1 negotiation failed")?;
        match cause.strip_prefix(cause::TIME_UP) {
            // As racoon has it, with nothing between.
            Some(more) => {
                write!(f, " {}.", cause::TIME_UP)?;
                self.spis.map_or(Ok(()), |(i, r)| write!(f, " {i}:{r}"))?;
                f.write_str(" ")?;
                self.write_ends(f, "<=>")?;
                f.write_str(more)
            }
            None => {
                f.write_str(": ")?;
                self.write_ends(f, "<=>")?;
                self.write_spis(f)?;
                write!(f, ": {cause}")
            }
        }
    }
}

const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Transport => "Transport",
        Mode::Tunnel => "Tunnel",
    }
}

impl fmt::Display for Event {
    /// Keeps racoon's nouns ("ISAKMP-SA", "IPsec-SA"): log collectors look for them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Initiating { cause } => {
                f.write_str("initiate new phase 1 negotiation: ")?;
                self.write_ends(f, "<=>")?;
                write!(f, " ({cause})")
            }
            What::IkeSaUp { role, flow, local_id, remote_id, suite } => {
                write!(f, "ISAKMP-SA established {flow}")?;
                self.write_spis(f)?;
                let side = if *role == Role::Initiator { "initiator" } else { "responder" };
                write!(f, " as {side}, {local_id} to {remote_id}, {suite}")
            }
            What::IkeSaRekeyed { flow, suite } => {
                write!(f, "ISAKMP-SA rekeyed {flow}")?;
                self.write_spis(f)?;
                write!(f, ", {suite}")
            }
            What::HandshakeFailed { cause } => self.write_handshake_failed(f, cause),
            What::IkeSaDown { cause } => {
                let end = if cause == cause::REKEYED { "expired" } else { "deleted" };
                write!(f, "ISAKMP-SA {end} ")?;
                self.write_ends(f, "-")?;
                self.write_spis(f)?;
                write!(f, ": {cause}")
            }
            What::Nat { ours, theirs } => {
                f.write_str(match (ours, theirs) {
                    (false, false) => "NAT not detected: ",
                    (true, false) => "NAT detected: ME ",
                    (false, true) => "NAT detected: PEER ",
                    (true, true) => "NAT detected: ME PEER ",
                })?;
                self.write_ends(f, "<=>")
            }
            What::ChildWanted { role, selector } => {
                let verb = if *role == Role::Initiator { "initiate" } else { "respond" };
                write!(f, "{verb} new phase 2 negotiation: ")?;
                self.write_ends(f, "<=>")?;
                write!(f, " for {selector}")
            }
            What::ChildUp { .. } => self.write_child_up(f),
            What::ChildFailed { selector, cause } => {
                let is_silence = cause.starts_with(cause::TIME_UP) || cause.starts_with(cause::NO_ANSWER);
                f.write_str("phase2 negotiation failed")?;
                f.write_str(if is_silence { " due to time up. " } else { ": " })?;
                match selector {
                    Some(selector) => write!(f, "{selector}")?,
                    None => self.write_ends(f, "<=>")?,
                }
                write!(f, ": {cause}")
            }
            What::ChildDown { mode, spi_in, cause } => {
                let is_over = [cause::REKEYED, cause::EXPIRED].contains(&cause.as_str());
                let end = if is_over { "expired" } else { "deleted" };
                // The SA that we receive on.
                write!(f, "IPsec-SA {end}: ESP/{} ", mode_name(*mode))?;
                match self.flow {
                    Some(Flow { local, remote, .. }) => {
                        write!(f, "{}[{}]->{}[{}]", remote.ip(), remote.port(), local.ip(), local.port())?;
                    }
                    None => write!(f, "{}->{}", self.remote, self.local)?,
                }
                write!(f, " spi={}(0x{spi_in}): {cause}", spi_in.0)
            }
            What::Note(text) | What::Trouble(text) => {
                write!(f, "{}<=>{}", self.local, self.remote)?;
                self.write_spis(f)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::suite::{Encr, EspSuite};
    use crate::policy::selector::{Net, Side};
    use crate::wire::registry::{EncrId, KeId, PrfId};

    const ENCR: Encr = Encr { id: EncrId::AES_GCM_16, key_bits: Some(256) };

    fn flow() -> Flow {
        Flow {
            local: "192.0.2.1:4500".parse().unwrap(),
            remote: "192.0.2.2:4500".parse().unwrap(),
            natt: true,
        }
    }

    fn said(what: What) -> String {
        let flow = flow();
        let spis = Some((IkeSpi(0x0123_4567_89ab_cdef), IkeSpi(0xfedc_ba98_7654_3210)));
        let (local, remote) = (flow.local.ip(), flow.remote.ip());
        Event { local, remote, sa: None, spis, flow: Some(flow), what }.to_string()
    }

    fn cause(text: &str) -> String {
        text.to_owned()
    }

    /// What log collectors of racoon look for.
    #[test]
    fn the_lines_of_ike_sas_have_racoons_words_in_racoons_order() {
        let suite = IkeSuite { encr: ENCR, prf: PrfId::HMAC_SHA2_256, integ: None, ke: KeId::CURVE25519 };
        let [local_id, remote_id] = ["192.0.2.1", "192.0.2.2"].map(|a| Identity::address(a.parse().unwrap()));
        let up = What::IkeSaUp { role: Role::Initiator, flow: flow(), local_id, remote_id, suite };
        let spis = "0123456789abcdef:fedcba9876543210";
        for (what, begin) in [
            (up, format!("ISAKMP-SA established 192.0.2.1[4500]-192.0.2.2[4500] spi:{spis} ")),
            (
                What::IkeSaDown { cause: cause("deleted by the peer") },
                format!("ISAKMP-SA deleted 192.0.2.1[4500]-192.0.2.2[4500] spi:{spis}: "),
            ),
            (
                What::IkeSaDown { cause: cause(cause::REKEYED) },
                format!("ISAKMP-SA expired 192.0.2.1[4500]-192.0.2.2[4500] spi:{spis}: "),
            ),
            (
                What::Initiating { cause: cause("traffic") },
                "initiate new phase 1 negotiation: 192.0.2.1[4500]<=>192.0.2.2[4500]".to_owned(),
            ),
            (
                What::HandshakeFailed { cause: cause("due to time up; NO_PROPOSAL_CHOSEN") },
                format!(
                    "phase1 negotiation failed due to time up. {spis} 192.0.2.1[4500]<=>192.0.2.2[4500]; NO"
                ),
            ),
            (
                What::HandshakeFailed { cause: cause("couldn't find the pskey for 192.0.2.2") },
                format!(
                    "phase1 negotiation failed: 192.0.2.1[4500]<=>192.0.2.2[4500] spi:{spis}: couldn't find"
                ),
            ),
        ] {
            let line = said(what);
            assert!(line.starts_with(&begin), "{line}\n{begin}");
        }
    }

    #[test]
    fn the_lines_of_children_have_racoons_words_in_racoons_order() {
        let side = |address: IpAddr| Side { net: Net::host(address), port: None };
        let flow = flow();
        let selector = Selector { local: side(flow.local.ip()), remote: side(flow.remote.ip()), protocol: 0 };
        let suite = EspSuite { encr: ENCR, integ: None, ke: None, esn: false };
        let (spi_in, spi_out) = (ChildSpi(0xc0ff_ee01), ChildSpi(0x0bad_cafe));
        let mode = Mode::Transport;
        for (what, begin) in [
            (
                What::ChildUp { selector, mode, spi_in, spi_out, suite, flow, encap: true },
                "IPsec-SA established: ESP/Transport 192.0.2.1[4500]->192.0.2.2[4500] spi=195939070(0x0badcafe) ",
            ),
            (
                What::ChildDown { mode, spi_in, cause: cause(cause::REKEYED) },
                "IPsec-SA expired: ESP/Transport 192.0.2.2[4500]->192.0.2.1[4500] spi=3237998081(0xc0ffee01): ",
            ),
            (
                What::ChildDown { mode: Mode::Tunnel, spi_in, cause: cause("gone") },
                "IPsec-SA deleted: ESP/Tunnel 192.0.2.2[4500]->192.0.2.1[4500] spi=3237998081(0xc0ffee01): ",
            ),
            (
                What::ChildFailed { selector: None, cause: cause("x") },
                "phase2 negotiation failed: 192.0.2.1[",
            ),
            (
                What::ChildWanted { role: Role::Initiator, selector },
                "initiate new phase 2 negotiation: 192.0.2.1[4500]<=>192.0.2.2[4500] for ",
            ),
            (
                What::ChildWanted { role: Role::Responder, selector },
                "respond new phase 2 negotiation: 192.0.2.1[4500]<=>192.0.2.2[4500] for ",
            ),
            (
                What::Nat { ours: true, theirs: true },
                "NAT detected: ME PEER 192.0.2.1[4500]<=>192.0.2.2[4500]",
            ),
            (What::Nat { ours: false, theirs: true }, "NAT detected: PEER 192.0.2.1["),
            (What::Nat { ours: true, theirs: false }, "NAT detected: ME 192.0.2.1["),
            (What::Nat { ours: false, theirs: false }, "NAT not detected: 192.0.2.1["),
            (
                What::ChildFailed { selector: None, cause: cause("no answer to CREATE_CHILD_SA") },
                "phase2 negotiation failed due to time up. 192.0.2.1[4500]<=>192.0.2.2[4500]: no answer",
            ),
        ] {
            let line = said(what);
            assert!(line.starts_with(begin), "{line}\n{begin}");
        }
    }

    #[test]
    fn a_peer_is_dead_if_it_is_silent_and_not_if_it_says_no() {
        for (text, dead) in
            [("due to time up", true), ("no answer to INFORMATIONAL", true), ("NO_PROPOSAL_CHOSEN", false)]
        {
            assert_eq!(What::IkeSaDown { cause: cause(text) }.is_dead_peer(), dead, "{text}");
            assert_eq!(What::HandshakeFailed { cause: cause(text) }.is_dead_peer(), dead, "{text}");
        }
        assert!(!What::Note(cause("due to time up")).is_dead_peer());
    }
}

//! The endpoint: one owner of every IKE SA (ARCHITECTURE.md, decision 2).
//!
//! In: [`Endpoint::handle_datagram`], [`Endpoint::handle_timeout`], [`Endpoint::handle_job`],
//! [`Endpoint::handle_sad_event`], [`Endpoint::handle_command`], [`Endpoint::set_policies`], [`Endpoint::set_peers`].
//! Out, after each of them and in this order: [`Endpoint::poll_output`] until it gives nothing, then
//! [`Endpoint::poll_timeout`].

mod admission;
mod cookie;
mod crash;
mod demux;
mod duel;
mod half_open;
mod pairs;
mod reconcile;
pub mod status;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use self::cookie::Cookies;
use self::duel::{Contact, Mark};
use self::half_open::HalfOpen;
use self::pairs::{Pair, PairKey};
pub use self::reconcile::Corrections;
use self::table::Table;
use crate::config::EndpointConfig;
use crate::crypto::job::JobDone;
use crate::crypto::provider::{Fault, Provider};
use crate::ids::{IkeSpi, JobId, SaId};
use crate::ike_sa::IkeSa;
use crate::ike_sa::env::{Env, Signal};
use crate::output::{Event, Flow, Outbox, Output, What};
use crate::policy::peer_db::PeerDb;
use crate::policy::sad::{Acquire, SaKey, Sad};
use crate::policy::spd::PolicySet;
use crate::rng::{Rng, Seed};
use crate::secret::Secret;
use crate::time::{Duration, Instant};

/// What the driver hands to every call: the time and the kernel.
pub struct Context<'a> {
    /// The time; never earlier than in the call before.
    pub now: Instant,
    /// The kernel's SAs.
    pub sad: &'a mut dyn Sad,
}

/// Something the kernel says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SadEvent {
    /// A packet met a policy and no SA.
    Acquire(Acquire),
    /// An SA came to a limit.
    Expire {
        /// Which.
        key: SaKey,
        /// Whether it is gone.
        hard: bool,
    },
    /// Packets of an encapsulated SA come from another address or port.
    Mapping {
        /// Which.
        key: SaKey,
        /// From where.
        remote: SocketAddr,
    },
    /// Events were lost; nobody knows which.
    Lost,
}

/// Something an operator wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Set up the pair's SAs now.
    Initiate {
        /// Our address.
        local: IpAddr,
        /// The peer's address.
        remote: IpAddr,
    },
    /// Delete the pair's SAs.
    Delete {
        /// Our address.
        local: IpAddr,
        /// The peer's address.
        remote: IpAddr,
    },
    /// Make the pair's IKE SA anew, both ends proving who they are, beside the one that is there (make before break).
    Reauthenticate {
        /// Our address.
        local: IpAddr,
        /// The peer's address.
        remote: IpAddr,
    },
    /// Delete all SAs and begin nothing any more.
    Shutdown,
}

/// A command that cannot be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ApiMisuse {
    /// No policy asks for SAs between these addresses.
    NoPolicy(IpAddr, IpAddr),
    /// There is no IKE SA between these addresses.
    NoSa(IpAddr, IpAddr),
    /// The endpoint is shutting down.
    ShuttingDown,
}

impl core::fmt::Display for ApiMisuse {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoPolicy(local, remote) => {
                write!(f, "no policy asks for an SA between {local} and {remote}")
            }
            Self::NoSa(local, remote) => write!(f, "there is no IKE SA between {local} and {remote}"),
            Self::ShuttingDown => f.write_str("the daemon is shutting down"),
        }
    }
}

impl core::error::Error for ApiMisuse {}

/// A handshake waits at the most so long for another one's INITIAL_CONTACT to be answered.
const HOLD: Duration = Duration::from_secs(3);

/// A job's result that waits until the peer's first contact with us is over.
struct Held {
    peer: Mark,
    done: Result<JobDone, Fault>,
}

/// Something to be done for a pair at a time of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Chore {
    /// Try again what failed.
    Retry(PairKey),
    /// Set the pair up, if nobody has yet.
    Initiate(PairKey),
    /// Remove the policies that were made for the pair's peer, if it has not come back.
    Unmake(PairKey),
    /// Of two SAs of a pair, one is to go.
    Duel {
        /// The pair.
        key: PairKey,
        /// The SA that goes.
        loser: SaId,
        /// The SA that stays.
        winner: SaId,
        /// Times it is looked at before it goes in any case.
        looks: u32,
        /// Whether it goes as soon as the winner carries traffic.
        early: bool,
    },
    /// A job's result has waited long enough.
    Release(JobId),
}

/// Where a first request came from, its SPI, and a digest of it: an initiator sends it in several forms.
type FirstName = (SocketAddr, IkeSpi, [u8; 20]);

/// All IKE SAs of a host.
pub struct Endpoint {
    config: EndpointConfig,
    provider: Arc<dyn Provider>,
    peers: Arc<PeerDb>,
    policies: Arc<PolicySet>,
    rng: Rng,
    out: Outbox,
    sas: Table,
    by_spi: BTreeMap<IkeSpi, SaId>,
    /// Responders by what names them before their peer knows our SPI: where it sends from, and its own SPI. Kept for the
    /// SA's whole life, so that a late copy of its first request begins nothing.
    by_first_request: BTreeMap<FirstName, SaId>,
    first_names: BTreeMap<SaId, FirstName>,
    /// Responders whose peer is not authenticated yet.
    half_open: HalfOpen,
    cookies: Cookies,
    jobs: BTreeMap<JobId, SaId>,
    /// As each SA's `armed` says.
    deadlines: BTreeSet<(Instant, SaId)>,
    pairs: BTreeMap<PairKey, Pair>,
    chores: BTreeSet<(Instant, Chore)>,
    /// What peers know of us.
    contacted: BTreeMap<Mark, Contact>,
    /// What would authenticate while another SA says INITIAL_CONTACT to the same peer.
    held: BTreeMap<JobId, Held>,
    qcd_secret: Option<Arc<Secret>>,
    allowance: crash::Allowance,
    refusals: crash::Allowance,
    /// Whether policies were set once: the first set is what a host that starts has.
    started: bool,
    last_sa: u64,
    last_child: u64,
    shutting_down: bool,
}

impl Endpoint {
    /// An endpoint without SAs or policies. All its randomness follows from `seed`.
    #[must_use]
    pub fn new(config: EndpointConfig, peers: Arc<PeerDb>, provider: Arc<dyn Provider>, seed: &Seed) -> Self {
        let mut rng = Rng::new(seed);
        let cookies = Cookies::new(&mut rng);
        Self {
            config,
            provider,
            peers,
            policies: Arc::default(),
            rng,
            out: Outbox::default(),
            sas: Table::default(),
            by_spi: BTreeMap::new(),
            by_first_request: BTreeMap::new(),
            first_names: BTreeMap::new(),
            half_open: HalfOpen::default(),
            cookies,
            jobs: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            pairs: BTreeMap::new(),
            chores: BTreeSet::new(),
            contacted: BTreeMap::new(),
            held: BTreeMap::new(),
            qcd_secret: None,
            allowance: crash::Allowance::of(crash::MOST_ANSWERS),
            refusals: crash::Allowance::of(crash::MOST_REFUSALS),
            started: false,
            last_sa: 0,
            last_child: 0,
            shutting_down: false,
        }
    }

    /// Takes over the kernel's policies; pairs that no policy names any more lose their SAs.
    pub fn set_policies(&mut self, cx: &mut Context<'_>, policies: Arc<PolicySet>) {
        self.policies = policies;
        self.adopt_policies(cx);
        self.drop_unwanted(cx);
        if !std::mem::replace(&mut self.started, true) && self.config.initiate_at_start {
            self.initiate_all(cx);
        }
    }

    /// The secret of quick crash detection's tokens (RFC 6290 §5.1); it is to survive restarts.
    pub fn set_qcd_secret(&mut self, secret: Secret) {
        self.qcd_secret = Some(Arc::new(secret));
    }

    /// Takes over the peers. Running SAs live on with what they were made with; certificates that proved their peers are looked
    /// at again with what is believed now, and where a key of ours was replaced, another IKE SA takes the old one's place.
    pub fn set_peers(&mut self, cx: &mut Context<'_>, peers: Arc<PeerDb>) {
        let old = std::mem::replace(&mut self.peers, peers);
        let signed: Vec<(SaId, IpAddr)> = self
            .sas
            .iter()
            .filter(|(_, sa)| sa.is_established() && sa.common.core.standing.is_some())
            .map(|(id, sa)| (id, sa.common.core.path.remote()))
            .collect();
        for (id, remote) in signed {
            let entries = (old.by_address(remote), self.peers.by_address(remote));
            let same = matches!(entries, (Some(old), Some(new)) if old.believes_the_same_as(new));
            self.with_sa(cx, id, |sa, env| sa.configuration_changed(env, !same));
        }
    }

    /// A datagram came; on an encapsulating port with its marker. What is not IKE is dropped.
    pub fn handle_datagram(&mut self, cx: &mut Context<'_>, flow: Flow, datagram: &mut [u8]) {
        if let Some((header, message)) = demux::ike_message(&flow, datagram) {
            self.dispatch(cx, flow, &header, message);
        }
    }

    /// The time that [`Endpoint::poll_timeout`] gave has come.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        while let Some(&(due, id)) = self.deadlines.first() {
            if due > cx.now {
                break;
            }
            self.deadlines.pop_first();
            self.with_sa(cx, id, |sa, env| {
                sa.armed = None;
                sa.handle_timeout(env);
            });
        }
        while let Some(&(due, chore)) = self.chores.first() {
            if due > cx.now {
                break;
            }
            self.chores.pop_first();
            match chore {
                Chore::Retry(key) => self.retry(cx, key),
                Chore::Initiate(key) => self.initiate_unless_begun(cx, key),
                Chore::Unmake(key) => {
                    if !self.has_established(key) {
                        self.unmake_policies(cx, key);
                    }
                }
                Chore::Duel { .. } => self.look_at_duel(cx, chore),
                Chore::Release(id) => {
                    if let Some(held) = self.held.remove(&id) {
                        self.carry_on(cx, id, held.done, false);
                    }
                }
            }
        }
    }

    /// A job is done. Jobs of SAs that are gone are nobody's.
    pub fn handle_job(&mut self, cx: &mut Context<'_>, id: JobId, done: Result<JobDone, Fault>) {
        let Some(sa) = self.jobs.get(&id).copied() else { return };
        let about_to_authenticate = self.sas.get(&sa).filter(|sa| sa.is_about_to_authenticate());
        let mut first = false;
        if let Some(key) = about_to_authenticate.map(pair_of) {
            if let Some(peer) = self.awaited_contact(key, sa) {
                self.held.insert(id, Held { peer, done });
                self.chores.insert((cx.now + HOLD, Chore::Release(id)));
                return;
            }
            first = self.may_say_initial_contact(key, sa);
        }
        self.carry_on(cx, id, done, first);
    }

    /// Goes on with a job's result; in the step that authenticates, `first` has it say INITIAL_CONTACT.
    fn carry_on(&mut self, cx: &mut Context<'_>, id: JobId, done: Result<JobDone, Fault>, first: bool) {
        let Some(sa) = self.jobs.remove(&id) else { return };
        self.with_sa(cx, sa, |sa, env| {
            sa.common.core.initial_contact |= first;
            sa.handle_job(env, id, done);
        });
    }

    /// A peer's first contact with us is over: what waited for that goes on; if it failed, the first of them says it now.
    fn release_held(&mut self, cx: &mut Context<'_>, peer: &Mark) {
        let waiting: Vec<JobId> =
            self.held.iter().filter(|(_, held)| held.peer == *peer).map(|(id, _)| *id).collect();
        for id in waiting {
            if let Some(held) = self.held.remove(&id) {
                self.handle_job(cx, id, held.done);
            }
        }
    }

    /// The kernel said something.
    pub fn handle_sad_event(&mut self, cx: &mut Context<'_>, event: SadEvent) {
        match event {
            SadEvent::Acquire(acquire) => self.handle_acquire(cx, acquire),
            SadEvent::Expire { key, hard } => self.handle_expire(cx, key, hard),
            // Ports are followed on authenticated messages; what the kernel saw alone is a hint.
            SadEvent::Mapping { key, remote } => self.handle_mapping(cx, key, remote),
            // The driver dumps the SAD after a loss and says what is missing.
            SadEvent::Lost => {}
        }
    }

    /// An operator wants something.
    ///
    /// # Errors
    /// [`ApiMisuse`]; then nothing has changed.
    pub fn handle_command(&mut self, cx: &mut Context<'_>, command: Command) -> Result<(), ApiMisuse> {
        if self.shutting_down {
            return Err(ApiMisuse::ShuttingDown);
        }
        match command {
            Command::Initiate { local, remote } => self.initiate_pair(cx, PairKey { local, remote }),
            Command::Delete { local, remote } => self.delete_pair(cx, PairKey { local, remote }),
            Command::Reauthenticate { local, remote } => self.reauthenticate(cx, PairKey { local, remote }),
            Command::Shutdown => {
                self.shut_down(cx);
                Ok(())
            }
        }
    }

    /// The next thing to do; strictly in this order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop()
    }

    /// When [`Endpoint::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(due, _)| *due);
        let chore = self.chores.first().map(|(due, _)| *due);
        deadline.into_iter().chain(chore).min()
    }

    /// Whether no SA is left but such as only repeat their last answer.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.sas.values().all(IkeSa::is_quiet)
    }

    /// Runs `step` on an SA, then does what the SA asks of its endpoint.
    fn with_sa(&mut self, cx: &mut Context<'_>, id: SaId, step: impl FnOnce(&mut IkeSa, &mut Env<'_>)) {
        let Some(mut sa) = self.sas.take(id) else { return };
        let mut signals = Vec::new();
        step(&mut sa, &mut self.env(cx, &mut signals));
        self.keep(cx, id, sa, signals);
    }

    fn env<'a>(&'a mut self, cx: &'a mut Context<'_>, signals: &'a mut Vec<Signal>) -> Env<'a> {
        Env {
            now: cx.now,
            sad: &mut *cx.sad,
            provider: self.provider.as_ref(),
            rng: &mut self.rng,
            config: &self.config,
            peers: &self.peers,
            policies: &self.policies,
            out: &mut self.out,
            jobs: &mut self.jobs,
            signals,
            children: &mut self.last_child,
            sas: &mut self.last_sa,
            qcd_secret: self.qcd_secret.as_deref(),
        }
    }

    /// Takes a new SA into the tables.
    fn take_in(&mut self, cx: &mut Context<'_>, id: SaId, sa: IkeSa, signals: Vec<Signal>) {
        self.by_spi.insert(sa.common.core.own_spi(), id);
        self.keep(cx, id, Box::new(sa), signals);
    }

    /// Puts an SA back, or forgets it if nothing is left of it; then listens to its signals.
    fn keep(&mut self, cx: &mut Context<'_>, id: SaId, mut sa: Box<IkeSa>, signals: Vec<Signal>) {
        let key = pair_of(&sa);
        let deadline = sa.deadline().filter(|_| !sa.is_closed());
        if deadline != sa.armed {
            sa.armed.map(|due| self.deadlines.remove(&(due, id)));
            self.deadlines.extend(deadline.map(|due| (due, id)));
            sa.armed = deadline;
        }
        if sa.is_closed() {
            self.forget(id, &sa);
            // Most SAs never said it, and a digest for each that a flood leaves would be work for nothing.
            if sa.common.core.initial_contact {
                self.contact_failed(cx, key, id);
            }
        } else {
            self.sas.put(id, sa);
        }
        for signal in signals {
            self.handle_signal(cx, key, id, signal);
        }
        self.forget_stranger(key);
    }

    /// Of a pair that no policy names, nothing is kept when its last SA is gone: anybody may claim any address.
    fn forget_stranger(&mut self, key: PairKey) {
        let empty = self.pairs.get(&key).is_some_and(|pair| pair.sas.is_empty());
        if empty && self.policies.between(key.local, key.remote).next().is_none() {
            self.pairs.remove(&key);
        }
    }

    fn forget(&mut self, id: SaId, sa: &IkeSa) {
        self.sas.forget(id);
        self.by_spi.remove(&sa.common.core.own_spi());
        if let Some(name) = self.first_names.remove(&id) {
            self.by_first_request.remove(&name);
        }
        self.half_open.remove(id);
        self.jobs.retain(|_, waiting| *waiting != id);
        if let Some(pair) = self.pairs.get_mut(&pair_of(sa)) {
            pair.sas.remove(&id);
        }
    }

    /// A number no SA had before.
    fn next_sa(&mut self) -> SaId {
        self.last_sa += 1;
        SaId(self.last_sa)
    }

    /// An SPI of ours that is not in use and not zero.
    fn free_spi(&mut self) -> IkeSpi {
        loop {
            let spi = IkeSpi(self.rng.u64());
            if spi != IkeSpi::ZERO && !self.by_spi.contains_key(&spi) {
                return spi;
            }
        }
    }

    /// Says something about a pair that has no SA.
    fn say(&mut self, key: PairKey, what: What) {
        self.out.event(Event {
            local: key.local,
            remote: key.remote,
            sa: None,
            spis: None,
            flow: None,
            what,
        });
    }
}

/// The pair that an SA is of.
const fn pair_of(sa: &IkeSa) -> PairKey {
    let path = &sa.common.core.path;
    PairKey { local: path.local(), remote: path.remote() }
}

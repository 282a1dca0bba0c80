//! The drive loop: one thread that owns the [`Endpoint`], and everything that feeds it.
//!
//! ```text
//! sockets, kernel events, answers of jobs, the alarm, control questions, signals
//!    -> one call of the endpoint -> its outputs in order: jobs to the pool, datagrams to the sockets, events to the log
//! ```

mod answer;
mod reconcile;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use coati_config::files::Files;
use ike_proto::config::Ports;
use ike_proto::endpoint::{Command, Context, Endpoint, SadEvent};
use ike_proto::ids::Role;
use ike_proto::output::{Event, Flow, Level, Output, What, cause};
use ike_proto::policy::sad::SaKey;
use ike_proto::policy::spd::PolicySet;
use ike_proto::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use xfrm_sys::{Direction, Event as KernelEvent, Events, Xfrm};

use crate::announce::Announcer;
use crate::cli::PortsAsked;
use crate::clock::{self, Alarm};
use crate::control::Ask;
use crate::estate::Estate;
use crate::hooks::{self, Hooks};
use crate::jobs::{Answer, Pool};
use crate::kernel::{Kernel, key_of, probe};
use crate::refusal::Refusal;
use crate::reload::{self, Configuration, FileNames};
use crate::sockets::{LONGEST_DATAGRAM, Listen, Sockets};
use crate::status::Pair;
use crate::translate;
use crate::view::Families;
use coati_spd::{Plan, Wanted};
use reconcile::Watch;

/// Datagrams read from one socket before everything else has its turn.
const DATAGRAMS_A_TURN: usize = 64;
/// Kernel events read before everything else has its turn.
const EVENTS_A_TURN: usize = 256;
/// How long the peers have to answer our DELETEs when the daemon ends.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// At most one warning about sending in this time; the others are for the trace.
const SEND_WARNINGS: Duration = Duration::from_secs(10);

/// What the daemon is told to do from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Delete all SAs and end.
    Stop,
    /// End and leave the SAs.
    Leave,
    /// Read the files again.
    Reload,
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The SAs are gone.
    Stopped,
    /// The SAs are left in the kernel.
    Left,
}

/// What a [`Driver`] is made of.
pub struct Parts<X, M: std::os::fd::AsRawFd> {
    /// The engine, still without policies.
    pub endpoint: Endpoint,
    /// The kernel's database.
    pub kernel: Kernel<X>,
    /// The kernel's events.
    pub monitor: AsyncFd<M>,
    /// The UDP sockets.
    pub sockets: Sockets,
    /// Where jobs are done.
    pub pool: Pool,
    /// What comes back from there.
    pub answers: UnboundedReceiver<Answer>,
    /// Questions of the control socket.
    pub control: Receiver<Ask>,
    /// Orders: signals, as a rule.
    pub orders: Receiver<Order>,
    /// Where the files are.
    pub names: FileNames,
    /// What reads them.
    pub files: Box<dyn Files>,
    /// What they say.
    pub configuration: Configuration,
    /// The policies that were loaded from them.
    pub wanted: Vec<Wanted>,
    /// Where the daemon listens.
    pub listens: Vec<Listen>,
    /// The second pair of ports of these, if there is one.
    pub also: Option<Ports>,
    /// What wakes the loop in time.
    pub alarm: Alarm,
    /// Whether pairs are set up before their traffic asks.
    pub initiate_at_start: bool,
    /// Where our SAs are written down for the next daemon.
    pub estate: Estate,
    /// What a daemon before this one left in the kernel.
    pub left: BTreeSet<SaKey>,
    /// racoon's scripts.
    pub hooks: Hooks,
    /// What happens is told to them who watch.
    pub announcer: Announcer,
}

/// The engine and its surroundings.
pub struct Driver<X, M: std::os::fd::AsRawFd> {
    parts: Parts<X, M>,
    buffer: Vec<u8>,
    policies: Arc<PolicySet>,
    /// Pairs from whose peer clear text may come in.
    open: BTreeSet<Pair>,
    configured: BTreeMap<Pair, Instant>,
    watch: Watch,
    started: Instant,
    stop_at: Option<Instant>,
    ending: Option<Ending>,
    send_warned: Option<Instant>,
}

/// What woke the loop.
enum Wake {
    Datagrams(usize),
    Kernel(Vec<KernelEvent>),
    Job(Option<Answer>),
    Alarm,
    Ask(Option<Ask>),
    Order(Option<Order>),
}

impl<X: Xfrm, M: Events> Driver<X, M> {
    /// Reads the kernel's policies and hands them to the engine: from now on it acts.
    pub fn new(parts: Parts<X, M>) -> Self {
        let mut driver = Self {
            parts,
            buffer: vec![0; LONGEST_DATAGRAM],
            policies: Arc::default(),
            open: BTreeSet::new(),
            configured: BTreeMap::new(),
            watch: Watch::new(clock::now()),
            started: clock::now(),
            stop_at: None,
            ending: None,
            send_warned: None,
        };
        driver.say_hooks();
        driver.refresh_policies();
        driver.take_over();
        driver
    }

    /// Runs until an order ends it.
    ///
    /// # Errors
    /// The runtime or the kernel's event socket is gone.
    pub async fn run(mut self) -> io::Result<Ending> {
        loop {
            if let Some(ending) = self.turn().await? {
                self.parts.hooks.finish().await;
                self.parts.announcer.tell_end();
                // Whoever asked for the end still gets the answer.
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
                return Ok(ending);
            }
        }
    }

    /// Waits for one thing and handles it.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub async fn turn(&mut self) -> io::Result<Option<Ending>> {
        let next = self.next_alarm();
        let parts = &mut self.parts;
        parts.alarm.set(next)?;
        let wake = tokio::select! {
            number = parts.sockets.readable() => Wake::Datagrams(number),
            ready = parts.monitor.readable_mut() => {
                let mut ready = ready?;
                let (events, drained) = read_events(ready.get_inner_mut());
                if drained {
                    ready.clear_ready();
                } else {
                    ready.retain_ready();
                }
                Wake::Kernel(events)
            }
            answer = parts.answers.recv(), if !parts.answers.is_closed() => Wake::Job(answer),
            rung = parts.alarm.rung() => {
                rung?;
                Wake::Alarm
            }
            ask = parts.control.recv(), if !parts.control.is_closed() => Wake::Ask(ask),
            order = parts.orders.recv(), if !parts.orders.is_closed() => Wake::Order(order),
        };
        match wake {
            Wake::Datagrams(number) => self.handle_datagrams(number),
            Wake::Kernel(events) => events.into_iter().for_each(|event| self.handle_kernel(event)),
            Wake::Job(answer) => self.handle_job(answer),
            Wake::Alarm | Wake::Ask(None) | Wake::Order(None) => {}
            Wake::Ask(Some(ask)) => self.handle_ask(ask),
            Wake::Order(Some(order)) => self.handle_order(order),
        }
        self.handle_time();
        Ok(self.ending)
    }

    fn next_alarm(&self) -> Option<Instant> {
        let due = Some(self.watch.due());
        [self.parts.endpoint.poll_timeout(), due, self.stop_at].into_iter().flatten().min()
    }

    /// Calls the endpoint and does what it wants.
    fn with<T>(&mut self, call: impl FnOnce(&mut Endpoint, &mut Context<'_>) -> T) -> T {
        let mut context = Context { now: clock::now(), sad: &mut self.parts.kernel };
        let result = call(&mut self.parts.endpoint, &mut context);
        self.note_fresh();
        self.flush();
        result
    }

    /// Does all that the endpoint wants done, in its order.
    fn flush(&mut self) {
        while let Some(output) = self.parts.endpoint.poll_output() {
            match output {
                Output::Job(id, job) => self.parts.pool.submit(id, job),
                Output::Event(event) => {
                    if matches!(event.what, What::ChildUp { .. } | What::ChildDown { .. }) {
                        self.watch.may_write();
                    }
                    log(&event);
                    self.parts.announcer.tell(&event);
                    let configuration = &self.parts.configuration;
                    self.parts.hooks.observe(&event, || configuration.scripts(event.remote));
                }
                Output::Transmit(transmit) => {
                    let (flow, length) = (transmit.flow, transmit.datagram.len());
                    tracing::trace!(peer = %flow.remote.ip(), "{length} octets go, {flow}");
                    if let Err(error) = self.parts.sockets.send(&transmit) {
                        self.say_send_failed(transmit.flow.remote, &error);
                    }
                }
            }
        }
    }

    /// A send that fails is a packet that was lost: the engine sends again.
    fn say_send_failed(&mut self, to: SocketAddr, error: &io::Error) {
        let now = clock::now();
        if self.send_warned.is_none_or(|last| now.since(last) >= SEND_WARNINGS) {
            self.send_warned = Some(now);
            tracing::warn!(peer = %to.ip(), "cannot send to {to}: {error}");
        } else {
            tracing::debug!(peer = %to.ip(), "cannot send to {to}: {error}");
        }
    }

    fn handle_datagrams(&mut self, number: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..DATAGRAMS_A_TURN {
            match self.parts.sockets.receive(number, &mut buffer) {
                Ok(None) => break,
                Ok(Some((flow, length))) => {
                    tracing::trace!(peer = %flow.remote.ip(), "{length} octets came, {flow}");
                    let datagram = buffer.get_mut(..length).unwrap_or_default();
                    self.with(|endpoint, cx| endpoint.handle_datagram(cx, flow, datagram));
                }
                Err(error) => tracing::debug!("a datagram is dropped: {error}"),
            }
        }
        self.buffer = buffer;
    }

    fn handle_job(&mut self, answer: Option<Answer>) {
        if let Some((id, done)) = answer {
            self.with(|endpoint, cx| endpoint.handle_job(cx, id, done));
        }
    }

    fn handle_time(&mut self) {
        let now = clock::now();
        if self.parts.endpoint.poll_timeout().is_some_and(|due| due <= now) {
            self.with(Endpoint::handle_timeout);
        }
        self.look_after_kernel(now);
        if let Some(due) = self.stop_at
            && (due <= now || self.parts.endpoint.is_quiet())
        {
            // What a silent peer left undecided: an SA that nobody keeps alive would swallow traffic.
            self.parts.kernel.remove_all();
            self.drop_all_left();
            self.remove_made();
            self.write_estate();
            self.ending = Some(Ending::Stopped);
        }
    }

    fn handle_kernel(&mut self, event: KernelEvent) {
        match event {
            KernelEvent::Acquire(acquire) => match translate::acquire(&acquire) {
                Some(acquire) => {
                    if self.watch.is_behind() && self.policies.get(acquire.policy).is_none() {
                        self.refresh_policies();
                    }
                    self.sad_event(SadEvent::Acquire(acquire));
                }
                None => tracing::debug!("the kernel asks for an SA of another kind: {}", acquire.id),
            },
            KernelEvent::Expire(expire) => {
                let (key, hard) = (key_of(expire.sa.id), expire.hard);
                // A reservation that comes of age is not an SA that ends.
                if self.parts.kernel.is_ours(&key) {
                    self.sad_event(SadEvent::Expire { key, hard });
                    if hard {
                        self.parts.kernel.forget(&key);
                    }
                }
            }
            KernelEvent::Mapping(mapping) => {
                let key = key_of(mapping.id);
                if self.parts.kernel.is_ours(&key) {
                    let remote = SocketAddr::new(mapping.new_source, mapping.new_port);
                    self.sad_event(SadEvent::Mapping { key, remote });
                }
            }
            KernelEvent::NewPolicy(policy) | KernelEvent::UpdatedPolicy(policy) => {
                self.watch.policies_change(policy.direction);
            }
            KernelEvent::DeletedPolicy(query, _) => self.watch.policies_change(query.direction),
            KernelEvent::PolicyExpire(expire) if expire.hard => {
                self.watch.policies_change(expire.policy.direction);
            }
            KernelEvent::FlushedPolicies => self.watch.policies_change(Direction::OUT),
            KernelEvent::Lost => {
                tracing::warn!("events of the kernel were lost: its policies and SAs are read anew");
                self.catch_up();
            }
            // What we delete ourselves is not ours any more when this comes.
            KernelEvent::DeletedSa(id, _) if self.parts.kernel.is_ours(&key_of(id)) => {
                self.watch.sas_change()
            }
            KernelEvent::FlushedSas(_) => self.watch.sas_change(),
            KernelEvent::NewSa(sa) => self.parts.kernel.note_other(&sa),
            KernelEvent::Unreadable(why) => tracing::warn!("an event of the kernel is not understood: {why}"),
            KernelEvent::PolicyExpire(_)
            | KernelEvent::UpdatedSa(_)
            | KernelEvent::DeletedSa(..)
            | KernelEvent::Other(_) => {}
        }
    }

    fn sad_event(&mut self, event: SadEvent) {
        self.with(|endpoint, cx| endpoint.handle_sad_event(cx, event));
    }

    fn handle_order(&mut self, order: Order) {
        match order {
            Order::Leave => {
                tracing::info!("ending; SAs and policies stay in the kernel");
                self.write_estate();
                self.ending = Some(Ending::Left);
            }
            Order::Stop => self.stop(),
            Order::Reload => match self.reload() {
                Ok(warnings) => warnings.iter().for_each(|warning| tracing::warn!("{warning}")),
                Err(refusal) => {
                    tracing::error!("the new configuration is refused, the old one stays:\n{refusal}")
                }
            },
        }
    }

    fn stop(&mut self) {
        if self.stop_at.is_some() {
            // Asked twice: at once.
            self.stop_at = Some(Instant::ZERO);
            return;
        }
        tracing::info!("ending: SAs are deleted, here and at the peers; the policies stay");
        self.stop_at = Some(clock::now() + LAST_WORDS);
        if let Err(error) = self.with(|endpoint, cx| endpoint.handle_command(cx, Command::Shutdown)) {
            tracing::warn!("{error}");
        }
    }

    /// Reads the files again: all is taken over, or nothing changes.
    fn reload(&mut self) -> Result<Vec<String>, Refusal> {
        let (configuration, said) = reload::load(&self.parts.names, &*self.parts.files)?;
        let mut warnings: Vec<String> = said.iter().map(ToString::to_string).collect();
        let kernel = &mut self.parts.kernel.xfrm;
        let mut present = kernel.dump_policies().map_err(|error| Refusal::new(error.to_string()))?;
        // Those that were made for peers are the engine's to end.
        present.retain(|policy| !coati_spd::is_made(policy));
        let set = configuration.policies.as_ref();
        let wanted = set.map(|set| coati_spd::wanted(set, &present)).unwrap_or_default();
        probe_families(kernel, &configuration, &wanted, &present)?;
        if let Some(set) = set {
            let plan = Plan::new(&wanted, &present, set.replaces, &self.parts.wanted);
            match plan.apply(kernel) {
                Ok(summary) => tracing::info!("{summary}"),
                Err(failed) => {
                    self.watch.leaves_behind(wanted);
                    return Err(Refusal::new(failed.to_string()));
                }
            }
        }
        let same = |listen: &Listen| self.parts.listens.contains(listen);
        let port =
            |natt| self.parts.listens.iter().find(|listen| listen.natt == natt).map(|l| l.address.port());
        let ports = PortsAsked { ike: port(false), natt: port(true), also: self.parts.also };
        match configuration.listens(ports) {
            Ok(listens) if listens.iter().all(same) && listens.len() == self.parts.listens.len() => {}
            _ => warnings.push("addresses to listen on change when coatid is started anew".to_owned()),
        }
        for what in configuration.wants_a_start(&self.parts.configuration) {
            warnings.push(format!("{what} changes when the daemon is started anew"));
        }
        self.parts.wanted = wanted;
        self.parts.configuration = configuration;
        self.say_hooks();
        self.refresh_policies();
        tracing::info!("the configuration is read");
        Ok(warnings)
    }

    fn say_hooks(&self) {
        let remotes = &self.parts.configuration.racoon().remotes;
        let complaints =
            hooks::complaints(remotes.iter().flat_map(|remote| &remote.scripts), std::path::Path::to_owned);
        complaints.iter().for_each(|complaint| tracing::warn!("{complaint}"));
    }
}

/// The events that wait, up to a turn's worth, and whether these are all.
fn read_events(monitor: &mut impl Events) -> (Vec<KernelEvent>, bool) {
    let mut events = Vec::new();
    while events.len() < EVENTS_A_TURN {
        match monitor.recv() {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, true),
            Err(error) => {
                tracing::warn!("{error}");
                events.push(KernelEvent::Lost);
                return (events, true);
            }
        }
    }
    (events, false)
}

/// Asks the kernel whether it can carry what the configuration wants, in each address family that policies protect.
///
/// # Errors
/// What it cannot.
pub fn probe_families(
    kernel: &mut impl Xfrm,
    configuration: &Configuration,
    wanted: &[Wanted],
    present: &[xfrm_sys::Policy],
) -> Result<(), Refusal> {
    let kept = present.iter().filter(|_| configuration.policies.as_ref().is_none_or(|set| !set.replaces));
    let families = Families::of(wanted.iter().map(|wanted| &wanted.policy).chain(kept));
    let probes = configuration.probes();
    // A host without policies yet is told of a kernel without ESP all the same.
    for v6 in [false, true] {
        if if v6 { families.v6 } else { families.v4 || !families.v6 } {
            probe(kernel, &probes, v6)?;
        }
    }
    Ok(())
}

fn log(event: &Event) {
    let peer = event.remote;
    match (&event.what, event.spis) {
        (What::Initiating { cause }, _) if cause == "traffic" => {
            tracing::info!(%peer, "IPsec-SA request for {peer} queued due to no phase1 found.");
        }
        (What::HandshakeFailed { .. }, _) if event.what.is_dead_peer() => {
            tracing::info!(%peer, "{peer} give up to get IPsec-SA due to time up to wait.");
        }
        (What::IkeSaDown { .. }, Some((i, r))) if event.what.is_dead_peer() => {
            tracing::info!(%peer, "DPD: remote (ISAKMP-SA spi={i}:{r}) seems to be dead.");
        }
        // Said when the peer is authenticated: who is not could fill the log.
        (What::IkeSaUp { role: Role::Responder, flow, .. }, _) => {
            let Flow { local, remote, .. } = flow;
            tracing::info!(
                %peer,
                "respond new phase 1 negotiation: {}[{}]<=>{}[{}]",
                local.ip(), local.port(), remote.ip(), remote.port()
            );
        }
        _ => {}
    }
    match event.what.level() {
        Level::Debug => tracing::debug!(%peer, "{event}"),
        Level::Info => tracing::info!(%peer, "{event}"),
        Level::Warning => tracing::warn!(%peer, "{event}"),
    }
    match (&event.what, event.spis) {
        (What::IkeSaDown { cause }, Some((i, r))) if cause != cause::REKEYED => {
            tracing::info!(%peer, "purged ISAKMP-SA spi={i}:{r}.");
        }
        (What::ChildDown { spi_in, cause, .. }, _)
            if ![cause::REKEYED, cause::EXPIRED].contains(&cause.as_str()) =>
        {
            tracing::info!(%peer, "purged IPsec-SA spi={}.", spi_in.0);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;

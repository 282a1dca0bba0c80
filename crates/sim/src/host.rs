//! A host: the engine, a modelled kernel beside it, jobs under way, and a clock of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ike_proto::config::{EndpointConfig, Ports};
use ike_proto::crypto::job::Job;
use ike_proto::crypto::provider::Provider;
use ike_proto::endpoint::{Command, Context, Endpoint, SadEvent};
use ike_proto::ids::JobId;
use ike_proto::output::{Flow, Output, Transmit};
use ike_proto::policy::peer_db::PeerDb;
use ike_proto::policy::sad::{SaCount, SaKey};
use ike_proto::policy::spd::Policy;
use ike_proto::rng::Rng;
use ike_proto::secret::Secret;
use ike_proto::time::{Duration, Instant, WallTime};
use ike_proto::wire::udp_encap::NON_ESP_MARKER;

use crate::packet::Inner;
use crate::sad::{ModelSad, Notice, Sa};
use crate::scenario::HostSpec;
use crate::spd::Spd;

/// What every host's wall clock shows at the world's zero: 2027-01-15 08:00 UTC.
pub const WALL: u64 = 1_800_000_000;

/// What every host's wall clock shows at the world's time `now`.
#[must_use]
pub const fn wall(now: Instant) -> WallTime {
    WallTime(WALL + now.since(Instant::ZERO).as_secs())
}

/// A host of the simulation.
pub struct Host {
    /// What it was made from.
    pub spec: HostSpec,
    /// Its daemon's engine.
    pub endpoint: Endpoint,
    /// Its kernel's SAs.
    pub sad: ModelSad,
    /// Jobs whose answers are not due yet.
    pub jobs: BTreeMap<JobId, Job>,
    /// How often it started, the first time not counted.
    pub boot: u32,
    /// Whether it runs.
    pub up: bool,
    /// Whether its daemon was told to stop.
    pub stopping: bool,
    /// Whether its kernel's notices are lost.
    pub deaf: bool,
    /// SAs that lapsed in the kernel, and whether the daemon was told.
    pub lapsed: BTreeMap<SaKey, bool>,
    /// The earliest deadline a wake-up is queued for, in the world's time.
    pub wake: Option<Instant>,
    spd: Spd,
    /// Our address and the peer's of what was spoken of since this was last asked.
    touched: BTreeSet<(IpAddr, IpAddr)>,
    provider: Arc<dyn Provider>,
    /// Of quick crash detection; it survives reboots.
    qcd_secret: Option<Secret>,
    /// What its clock shows at the world's zero.
    clock: Duration,
    rng: Rng,
}

impl Host {
    /// A host that has just started, at the world's time `now`; all its randomness follows from `rng`.
    #[must_use]
    pub fn start(spec: HostSpec, provider: Arc<dyn Provider>, mut rng: Rng, now: Instant) -> Self {
        let clock = Duration::from_millis(rng.below(1_000_000_000));
        let qcd_secret = spec.quick_crash_detection.then(|| Secret::new(rng.octets(32)));
        let mut host = Self {
            endpoint: Self::engine(&spec, &spec.config, &provider, qcd_secret.as_ref(), &mut rng),
            sad: ModelSad::new(Rng::new(&rng.fork()), spec.limits),
            jobs: BTreeMap::new(),
            boot: 0,
            up: true,
            stopping: false,
            deaf: false,
            lapsed: BTreeMap::new(),
            wake: None,
            spd: Spd::new(spec.policies.clone()),
            touched: BTreeSet::new(),
            provider,
            qcd_secret,
            clock,
            rng,
            spec,
        };
        host.tell_policies(now, true);
        host
    }

    fn engine(
        spec: &HostSpec,
        config: &EndpointConfig,
        provider: &Arc<dyn Provider>,
        qcd_secret: Option<&Secret>,
        rng: &mut Rng,
    ) -> Endpoint {
        let peers = Arc::clone(&spec.peers);
        let mut endpoint = Endpoint::new(config.clone(), peers, Arc::clone(provider), &rng.fork());
        if let Some(secret) = qcd_secret {
            endpoint.set_qcd_secret(secret.duplicate());
        }
        endpoint
    }

    /// Starts anew with an empty kernel and a daemon that remembers nothing but its secret of quick crash detection.
    pub fn reboot(&mut self, now: Instant) {
        self.sad = ModelSad::new(Rng::new(&self.rng.fork()), self.spec.limits);
        self.relaunch(now);
    }

    /// The daemon starts anew and remembers as little; the kernel keeps what it has.
    pub fn relaunch(&mut self, now: Instant) {
        self.sad.be_left(Rng::new(&self.rng.fork()));
        self.boot += 1;
        let config = EndpointConfig {
            boot_epoch: self.spec.config.boot_epoch + self.boot,
            ..self.spec.config.clone()
        };
        let secret = self.qcd_secret.as_ref();
        self.endpoint = Self::engine(&self.spec, &config, &self.provider, secret, &mut self.rng);
        self.spd = Spd::new(self.spec.policies.clone());
        self.jobs.clear();
        self.lapsed.clear();
        (self.up, self.stopping, self.wake) = (true, false, None);
        self.tell_policies(now, true);
    }

    /// Its clock moves ahead by `by`.
    pub fn jump(&mut self, by: Duration) {
        self.clock += by;
    }

    /// What its clock shows at the world's time `now`.
    #[must_use]
    pub fn local(&self, now: Instant) -> Instant {
        now + self.clock
    }

    /// The world's time at which its clock shows `local`.
    #[must_use]
    pub fn world(&self, local: Instant) -> Instant {
        let clock = u64::try_from(self.clock.as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(local.as_nanos().saturating_sub(clock))
    }

    /// When it next wants to be woken, in the world's time.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.endpoint.poll_timeout(), self.sad.deadline()];
        deadlines.into_iter().flatten().min().map(|local| self.world(local))
    }

    /// Its kernel takes a datagram from the network and hands it to the daemon, if a socket is there for it.
    pub fn take(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        let config = &self.spec.config;
        let has = |which: fn(&Ports) -> u16| {
            config.also.iter().chain([&config.ports]).any(|ports| which(ports) == destination.port())
        };
        let (natt, plain) = (has(|ports| ports.natt), has(|ports| ports.ike));
        // On the encapsulating port the kernel keeps what is not IKE.
        let for_daemon = plain || (natt && datagram.starts_with(&NON_ESP_MARKER));
        if !for_daemon {
            return false;
        }
        let flow = Flow { local: destination, remote: source, natt };
        self.touched.insert((destination.ip(), source.ip()));
        let mut octets = datagram.to_vec();
        self.with(now, |endpoint, cx| endpoint.handle_datagram(cx, flow, &mut octets));
        true
    }

    /// A deadline has come.
    pub fn wake(&mut self, now: Instant) {
        self.wake = None;
        let local = self.local(now);
        self.with(now, |endpoint, cx| {
            if endpoint.poll_timeout().is_some_and(|at| at <= local) {
                endpoint.handle_timeout(cx);
            }
        });
    }

    /// A job's answer is due: it is computed now and handed in.
    pub fn finish(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        let done = job.run(&*self.provider, wall(now));
        self.with(now, |endpoint, cx| endpoint.handle_job(cx, id, done));
    }

    /// The kernel's notice reaches the daemon.
    pub fn hear(&mut self, now: Instant, notice: Notice) {
        let event = match notice {
            Notice::Acquire(acquire) => {
                self.touched.insert((acquire.local, acquire.remote));
                SadEvent::Acquire(acquire)
            }
            Notice::Expire { key, hard } => {
                if let Some(told) = self.lapsed.get_mut(&key) {
                    *told = true;
                }
                self.touch(&key);
                SadEvent::Expire { key, hard }
            }
            Notice::Mapping { key, remote } => {
                self.touch(&key);
                SadEvent::Mapping { key, remote }
            }
            Notice::Lost => SadEvent::Lost,
        };
        self.with(now, |endpoint, cx| endpoint.handle_sad_event(cx, event));
        if notice == Notice::Lost {
            self.reconcile(now);
        }
    }

    /// The driver compares its kernel's SAs with the engine's children; how much had to be corrected.
    pub fn reconcile(&mut self, now: Instant) -> usize {
        self.sad.set_now(self.local(now));
        let count =
            |sa: &Sa| SaCount { key: sa.spec.key(), packets: sa.usage.packets, bytes: sa.usage.bytes };
        let dump: Vec<SaCount> = self.sad.live().map(count).collect();
        let corrections = self.with(now, |endpoint, cx| endpoint.reconcile(cx, &dump));
        corrections.missing + corrections.surplus
    }

    /// The daemon is told its policies, or that there are none.
    pub fn tell_policies(&mut self, now: Instant, known: bool) {
        let policies = if known { Arc::clone(self.spd.set()) } else { Arc::default() };
        self.with(now, |endpoint, cx| endpoint.set_policies(cx, policies));
    }

    /// The daemon has read its files again: other peers, keys, authorities.
    pub fn set_peers(&mut self, now: Instant, peers: Arc<PeerDb>) {
        self.spec.peers = Arc::clone(&peers);
        self.with(now, |endpoint, cx| endpoint.set_peers(cx, peers));
    }

    /// The daemon gets a command.
    ///
    /// # Errors
    /// What the engine says against it.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<(), String> {
        match command {
            Command::Initiate { local, remote }
            | Command::Delete { local, remote }
            | Command::Reauthenticate { local, remote } => {
                self.touched.insert((local, remote));
            }
            Command::Shutdown => self.stopping = true,
        }
        self.with(now, |endpoint, cx| endpoint.handle_command(cx, command)).map_err(|error| error.to_string())
    }

    /// What the engine wants next.
    pub fn output(&mut self) -> Option<Output> {
        let output = self.endpoint.poll_output()?;
        match &output {
            Output::Transmit(Transmit { flow, .. }) => {
                self.touched.insert((flow.local.ip(), flow.remote.ip()));
            }
            Output::Event(event) => {
                self.touched.insert((event.local, event.remote));
            }
            Output::Job(..) => {}
        }
        Some(output)
    }

    /// The pairs of addresses that the steps since this was last asked had to do with: whose messages came or went, of whom
    /// the engine spoke, whose SAs came or went.
    pub fn take_touched(&mut self) -> BTreeSet<(IpAddr, IpAddr)> {
        self.touched.append(&mut self.sad.take_touched());
        core::mem::take(&mut self.touched)
    }

    fn touch(&mut self, key: &SaKey) {
        if let Some(sa) = self.sad.get(key) {
            self.touched.insert((sa.spec.local, sa.spec.remote));
        }
    }

    /// The first policy that covers a packet leaving here.
    #[must_use]
    pub fn policy_for(&self, inner: &Inner) -> Option<Policy> {
        self.spd.covering(inner).cloned()
    }

    /// The policies its kernel holds.
    #[must_use]
    pub const fn spd(&self) -> &Spd {
        &self.spd
    }

    fn with<T>(&mut self, now: Instant, call: impl FnOnce(&mut Endpoint, &mut Context<'_>) -> T) -> T {
        let now = self.local(now);
        self.sad.set_now(now);
        let result = call(&mut self.endpoint, &mut Context { now, sad: &mut self.sad });
        if self.sad.take_made_changed() {
            // The daemon reads its kernel's policies anew.
            let policies = self.spec.policies.iter().chain(self.sad.made()).cloned();
            self.spd = Spd::new(policies.collect());
            let policies = Arc::clone(self.spd.set());
            self.endpoint.set_policies(&mut Context { now, sad: &mut self.sad }, policies);
        }
        result
    }
}

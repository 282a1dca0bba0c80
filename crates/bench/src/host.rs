//! A host: the engine with real algorithms. Its jobs are done where they arise, and are part of what it costs.

use std::net::IpAddr;
use std::sync::Arc;

use ike_crypto::DefaultProvider;
use ike_proto::config::EndpointConfig;
use ike_proto::endpoint::{Command, Context, Endpoint};
use ike_proto::ids::{PolicyIndex, Reqid};
use ike_proto::output::{Flow, Output, Transmit};
use ike_proto::policy::peer::{Liveness, PeerConfig};
use ike_proto::policy::peer_db::{PeerDb, PskTable};
use ike_proto::policy::sad::Mode;
use ike_proto::policy::selector::{Net, Selector, Side};
use ike_proto::policy::spd::{Policy, PolicySet, Template};
use ike_proto::rng::Seed;
use ike_proto::secret::Secret;
use ike_proto::time::WallTime;
use ike_proto::time::{Duration, Instant};
use ike_proto::wire::registry::KeId;

use crate::sad::EmptySad;

/// Silence after which the end that asks looks whether its peer is there.
pub(crate) const IDLE: Duration = Duration::from_secs(20);
/// Time after which the end that asks rekeys its children: between two of its looks.
pub(crate) const CHILD_LIFETIME: Duration = Duration::from_secs(30);

/// What a host does of its own accord. Of a pair only one end asks, so that each end's cost is seen apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Part {
    /// It initiates, looks whether its peers are there, and rekeys.
    Asks,
    /// It answers.
    Answers,
}

impl Part {
    /// What the end is called.
    pub(crate) const fn end(self) -> &'static str {
        match self {
            Self::Asks => "initiator",
            Self::Answers => "responder",
        }
    }

    /// The other end's.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Asks => Self::Answers,
            Self::Answers => Self::Asks,
        }
    }
}

/// A host.
pub(crate) struct Host {
    pub endpoint: Endpoint,
    sad: EmptySad,
}

impl Host {
    /// A host at `own` with a policy and a key for each of `peers`; it does its part, with key exchanges by `method` alone.
    pub(crate) fn new(own: IpAddr, peers: &[(IpAddr, String)], part: Part, method: KeId, seed: u64) -> Self {
        let mut keys = PskTable::default();
        for (address, key) in peers {
            keys.insert(&address.to_string(), Secret::from_slice(key.as_bytes()));
        }
        let mut db = PeerDb::new(keys);
        db.insert(None, peer(part, method));
        let policies = peers.iter().zip(1..).map(|((address, _), index)| policy(index, own, *address));
        let policies = Arc::new(PolicySet::new(policies.collect()));
        let config = EndpointConfig::default();
        let seed = Seed::from_u64(seed);
        let mut host = Self {
            endpoint: Endpoint::new(config, Arc::new(db), Arc::new(DefaultProvider), &seed),
            sad: EmptySad::new(),
        };
        host.endpoint.set_qcd_secret(Secret::from_slice(&[0x51; 32]));
        host.call(Instant::ZERO, &mut Vec::new(), |endpoint, cx| endpoint.set_policies(cx, policies));
        host
    }

    /// Calls the engine, does what it wants computed, and puts what it wants sent into `sent`.
    pub(crate) fn call(
        &mut self,
        now: Instant,
        sent: &mut Vec<Transmit>,
        call: impl FnOnce(&mut Endpoint, &mut Context<'_>),
    ) {
        let Self { endpoint, sad } = self;
        let cx = &mut Context { now, sad };
        call(endpoint, cx);
        while let Some(output) = endpoint.poll_output() {
            match output {
                Output::Job(id, job) => {
                    endpoint.handle_job(cx, id, job.run(&DefaultProvider, WallTime::default()))
                }
                Output::Transmit(transmit) => sent.push(transmit),
                Output::Event(_) => {}
            }
        }
    }

    /// Takes a datagram as its peer sent it.
    pub(crate) fn take(&mut self, now: Instant, transmit: &mut Transmit, sent: &mut Vec<Transmit>) {
        let Flow { local, remote, natt } = transmit.flow;
        let flow = Flow { local: remote, remote: local, natt };
        self.call(now, sent, |endpoint, cx| endpoint.handle_datagram(cx, flow, &mut transmit.datagram));
    }

    /// Sets up its pair with `remote`.
    pub(crate) fn initiate(&mut self, now: Instant, local: IpAddr, remote: IpAddr, sent: &mut Vec<Transmit>) {
        self.call(now, sent, |endpoint, cx| {
            let command = Command::Initiate { local, remote };
            endpoint.handle_command(cx, command).expect("every pair of a mesh has its policy");
        });
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, now: Instant, sent: &mut Vec<Transmit>) {
        if self.is_due(now) {
            self.call(now, sent, Endpoint::handle_timeout);
        }
    }

    /// Whether something is due.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.endpoint.poll_timeout().is_some_and(|due| due <= now)
    }
}

fn peer(part: Part, method: KeId) -> PeerConfig {
    let mut peer = PeerConfig::with_defaults("anonymous");
    for offer in peer.offers.iter_mut().chain(&mut peer.child.offers) {
        offer.ke = vec![method];
    }
    match part {
        Part::Asks => {
            peer.child.lifetime = CHILD_LIFETIME;
            peer.liveness = Some(Liveness { idle: IDLE, patience: Duration::from_secs(25) });
        }
        Part::Answers => peer.liveness = None,
    }
    peer
}

fn policy(index: u32, local: IpAddr, remote: IpAddr) -> Policy {
    let side = |address| Side { net: Net::host(address), port: None };
    Policy {
        index: PolicyIndex(index),
        selector: Selector { local: side(local), remote: side(remote), protocol: 0 },
        priority: 100,
        template: Template { mode: Mode::Transport, reqid: Reqid(0), endpoints: None, optional: false },
        made: false,
    }
}

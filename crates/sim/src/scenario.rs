//! What is simulated: hosts, NAT boxes, the network's conditions, traffic, a script, and when it is over.

use std::net::IpAddr;
use std::sync::Arc;

use ike_proto::config::EndpointConfig;
use ike_proto::crypto::provider::Provider;
use ike_proto::ids::{PolicyIndex, Reqid};
use ike_proto::policy::peer::PeerConfig;
use ike_proto::policy::peer_db::{PeerDb, PskTable};
use ike_proto::policy::sad::{Lifetimes, Mode};
use ike_proto::policy::selector::{Net, Selector, Side};
use ike_proto::policy::spd::{Policy, Template};
use ike_proto::secret::Secret;
use ike_proto::time::Duration;

use crate::flood::FloodSpec;
use crate::link::{Conditions, Span};
use crate::nat::NatSpec;
use crate::null_crypto::NullProvider;
use crate::script::Script;
use crate::traffic::FlowSpec;

/// Whose algorithms compute.
#[derive(Clone)]
pub enum Crypto {
    /// [`NullProvider`]: fast, and the trace can read what is sealed.
    Null,
    /// Real ones.
    Real(Arc<dyn Provider>),
}

impl Crypto {
    /// The provider.
    #[must_use]
    pub fn provider(&self) -> Arc<dyn Provider> {
        match self {
            Self::Null => Arc::new(NullProvider),
            Self::Real(provider) => Arc::clone(provider),
        }
    }
}

/// One host.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// Its name in traces.
    pub name: String,
    /// Its addresses, as it knows them itself.
    pub addresses: Vec<IpAddr>,
    /// The NAT box it stands behind.
    pub site: Option<usize>,
    /// Its outbound policies; the inbound ones are their mirror images.
    pub policies: Vec<Policy>,
    /// Its peers and their keys.
    pub peers: Arc<PeerDb>,
    /// Its daemon's settings; the boot epoch grows with each reboot.
    pub config: EndpointConfig,
    /// Texts of its pre-shared keys: what it says must not hold them.
    pub secrets: Vec<String>,
    /// Limits its kernel sets on SAs where the engine sets none or higher ones.
    pub limits: Lifetimes,
    /// Whether it has a secret for quick crash detection (RFC 6290), which survives reboots.
    pub quick_crash_detection: bool,
    /// How often its driver compares its kernel with its engine, beside after a loss of notices; `None`: never.
    pub reconcile: Option<Duration>,
}

/// When a run is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// When all is at rest: each policy of each host has exactly one child, each pair exactly one IKE SA, both ends agree,
    /// nothing is on its way, it was so `settle` before too, and at least `crossed` packets of each flow arrived.
    Converged {
        /// How long it must hold.
        settle: Duration,
        /// Packets that must have arrived.
        crossed: u64,
    },
    /// When the scenario's time is up.
    Elapsed,
}

/// All that a run depends on, beside its seed.
#[derive(Clone)]
pub struct Scenario {
    /// The hosts.
    pub hosts: Vec<HostSpec>,
    /// The NAT boxes.
    pub sites: Vec<NatSpec>,
    /// The network.
    pub link: Conditions,
    /// How long a job's answer takes.
    pub job_delay: Span,
    /// How long a notice of the kernel takes to reach the daemon.
    pub notice_delay: Span,
    /// The traffic.
    pub flows: Vec<FlowSpec>,
    /// Requests from addresses that nobody has.
    pub floods: Vec<FloodSpec>,
    /// What happens besides.
    pub script: Script,
    /// Whose algorithms compute.
    pub crypto: Crypto,
    /// When it is over.
    pub goal: Goal,
    /// Virtual time after which a goal not reached is a failure.
    pub limit: Duration,
}

/// The pre-shared key of every pair of [`Scenario::mesh`].
const MESH_KEY: &str = "the key of the whole mesh";

impl Scenario {
    /// `hosts` hosts on one network, every pair protected and with a flow that its lower-numbered host starts.
    #[must_use]
    pub fn mesh(hosts: u16) -> Self {
        let address = |host: u16| {
            let [high, low] = host.to_be_bytes();
            IpAddr::from([10, 0, high, low])
        };
        let specs = (0..hosts).map(|own| {
            let others = (0..hosts).filter(|other| *other != own);
            let policies =
                others.zip(1..).map(|(other, index)| host_policy(index, address(own), address(other), 0));
            let mut peers = PeerDb::new(psks(&[("*", MESH_KEY)]));
            peers.insert(None, PeerConfig::with_defaults("anonymous"));
            HostSpec {
                name: format!("host{own}"),
                addresses: vec![address(own)],
                site: None,
                policies: policies.collect(),
                peers: Arc::new(peers),
                config: EndpointConfig::default(),
                secrets: vec![MESH_KEY.to_owned()],
                limits: Lifetimes::default(),
                quick_crash_detection: true,
                reconcile: Some(Duration::from_secs(60)),
            }
        });
        let flows = (0..hosts).flat_map(|from| {
            // A host's policies are in the order of the other hosts: from its own number on they lead to higher ones.
            (from..hosts.saturating_sub(1)).map(move |policy| FlowSpec {
                from: usize::from(from),
                policy: usize::from(policy),
                start: Duration::from_millis(10),
                every: Duration::from_millis(250),
                echo: true,
            })
        });
        Self { hosts: specs.collect(), flows: flows.collect(), ..Self::empty() }
    }

    /// Nothing but defaults.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            hosts: Vec::new(),
            sites: Vec::new(),
            link: Conditions::calm(),
            job_delay: Span::millis(0, 20),
            notice_delay: Span::millis(0, 2),
            flows: Vec::new(),
            floods: Vec::new(),
            script: Script::default(),
            crypto: Crypto::Null,
            goal: Goal::Converged { settle: Duration::from_secs(3), crossed: 3 },
            limit: Duration::from_secs(600),
        }
    }
}

/// Where the two hosts stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topology {
    /// On one network.
    Direct,
    /// Each behind a cloud's one-to-one NAT: policies name the own private and the peer's public address.
    OneToOne,
    /// The first behind a masquerading box, so that only it can begin.
    Masquerade {
        /// Whether the box keeps ports where they are free.
        keep_ports: bool,
    },
}

/// Two hosts, called alpha and beta.
#[derive(Clone)]
pub struct TwoHosts {
    /// Where they stand.
    pub topology: Topology,
    /// Whether they speak IPv6.
    pub v6: bool,
    /// What each says about the other.
    pub peers: [PeerConfig; 2],
    /// The pre-shared keys: what each has for the other.
    pub keys: [&'static str; 2],
    /// For each policy its upper-layer protocol; the same at both ends.
    pub protocols: Vec<u8>,
    /// The host whose traffic begins; the other only answers.
    pub starter: usize,
    /// Settings of both daemons.
    pub config: EndpointConfig,
    /// Limits both kernels set.
    pub limits: Lifetimes,
    /// Whether both have a secret for quick crash detection.
    pub quick_crash_detection: bool,
    /// How often both compare kernel and engine.
    pub reconcile: Option<Duration>,
}

impl TwoHosts {
    /// Two hosts with the product's defaults on one network, one policy, alpha begins.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            topology: Topology::Direct,
            v6: false,
            peers: [PeerConfig::with_defaults("beta"), PeerConfig::with_defaults("alpha")],
            keys: ["the key of alpha and beta"; 2],
            protocols: vec![0],
            starter: 0,
            config: EndpointConfig::default(),
            limits: Lifetimes::default(),
            quick_crash_detection: true,
            reconcile: Some(Duration::from_secs(60)),
        }
    }

    /// The addresses each knows as its own.
    #[must_use]
    pub fn own(&self) -> [IpAddr; 2] {
        let texts = match (self.topology, self.v6) {
            (Topology::Direct, false) => ["192.0.2.1", "192.0.2.2"],
            (Topology::Direct, true) => ["2001:db8::1", "2001:db8::2"],
            (Topology::OneToOne, false) => ["10.0.0.1", "10.0.0.2"],
            (Topology::OneToOne, true) => ["fd00:a::1", "fd00:b::2"],
            (Topology::Masquerade { .. }, false) => ["10.0.0.1", "198.51.100.2"],
            (Topology::Masquerade { .. }, true) => ["fd00:a::1", "2001:db8:2::2"],
        };
        texts.map(parsed)
    }

    /// The addresses by which each knows the other.
    #[must_use]
    pub fn seen(&self) -> [IpAddr; 2] {
        let texts = match (self.topology, self.v6) {
            (Topology::Direct, _) => return self.own(),
            (Topology::OneToOne, false) => ["198.51.100.1", "198.51.100.2"],
            (Topology::OneToOne, true) => ["2001:db8:1::1", "2001:db8:2::2"],
            (Topology::Masquerade { .. }, false) => ["203.0.113.9", "198.51.100.2"],
            (Topology::Masquerade { .. }, true) => ["2001:db8:9::9", "2001:db8:2::2"],
        };
        texts.map(parsed)
    }

    /// The scenario.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        let (own, seen) = (self.own(), self.seen());
        let hosts = [0, 1].map(|host| self.host(host, own[host], seen[1 - host]));
        let sites = match self.topology {
            Topology::Direct => Vec::new(),
            Topology::OneToOne => {
                [0, 1].map(|host| NatSpec::OneToOne { addresses: vec![(own[host], seen[host])] }).into()
            }
            Topology::Masquerade { keep_ports } => {
                vec![NatSpec::Masquerade { outside: seen[0], timeout: Duration::from_secs(180), keep_ports }]
            }
        };
        let flows = (0..self.protocols.len()).map(|policy| FlowSpec {
            from: self.starter,
            policy,
            start: Duration::from_millis(10),
            every: Duration::from_millis(200),
            echo: true,
        });
        Scenario { hosts: hosts.into(), sites, flows: flows.collect(), ..Scenario::empty() }
    }

    fn host(&self, host: usize, own: IpAddr, peer: IpAddr) -> HostSpec {
        let site = match self.topology {
            Topology::Direct => None,
            Topology::OneToOne => Some(host),
            Topology::Masquerade { .. } => (host == 0).then_some(0),
        };
        let mut peers = PeerDb::new(psks(&[(&peer.to_string(), self.keys[host])]));
        peers.insert(Some(peer), self.peers[host].clone());
        let policies = self.protocols.iter().zip(1..).map(|(protocol, index)| {
            // Both ends number from one; nothing may rely on an index meaning the same at both.
            host_policy(index, own, peer, *protocol)
        });
        HostSpec {
            name: ["alpha", "beta"][host].to_owned(),
            addresses: vec![own],
            site,
            policies: policies.collect(),
            peers: Arc::new(peers),
            config: self.config.clone(),
            secrets: vec![self.keys[host].to_owned()],
            limits: self.limits,
            quick_crash_detection: self.quick_crash_detection,
            reconcile: self.reconcile,
        }
    }
}

fn parsed(text: &str) -> IpAddr {
    text.parse().expect("an address literal of this file")
}

/// A transport policy between two addresses, for one protocol or (0) all.
#[must_use]
pub fn host_policy(index: u32, local: IpAddr, remote: IpAddr, protocol: u8) -> Policy {
    let side = |address| Side { net: Net::host(address), port: None };
    Policy {
        index: PolicyIndex(index),
        selector: Selector { local: side(local), remote: side(remote), protocol },
        priority: 100,
        template: Template { mode: Mode::Transport, reqid: Reqid(0), endpoints: None, optional: false },
        made: false,
    }
}

/// The lines of a psk.txt.
#[must_use]
pub fn psks(lines: &[(&str, &str)]) -> PskTable {
    let mut table = PskTable::default();
    for (text, key) in lines {
        table.insert(text, Secret::from_slice(key.as_bytes()));
    }
    table
}

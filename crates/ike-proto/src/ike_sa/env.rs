//! What an IKE SA reaches while it handles one input, and what it tells the endpoint about it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::EndpointConfig;
use crate::crypto::job::Job;
use crate::crypto::provider::Provider;
use crate::ids::{ChildId, IkeSpi, JobId, PolicyIndex, SaId};
use crate::ike_sa::IkeSa;
use crate::output::Outbox;
use crate::policy::peer_db::PeerDb;
use crate::policy::sad::{Acquire, Sad};
use crate::policy::selector::Selector;
use crate::policy::spd::{Policy, PolicySet, Template};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::time::Instant;
use crate::wire::registry::NotifyType;

/// Arguments of every handler: time, randomness, cryptography, the kernel, configuration, and the way out.
pub struct Env<'a> {
    /// The time.
    pub now: Instant,
    /// The kernel's SAs.
    pub sad: &'a mut dyn Sad,
    /// The algorithms.
    pub provider: &'a dyn Provider,
    /// Randomness.
    pub rng: &'a mut Rng,
    /// Settings.
    pub config: &'a EndpointConfig,
    /// The peers.
    pub peers: &'a PeerDb,
    /// The kernel's policies.
    pub policies: &'a PolicySet,
    /// The queue to the outside.
    pub out: &'a mut Outbox,
    /// Which SA waits for which job.
    pub jobs: &'a mut BTreeMap<JobId, SaId>,
    /// What the endpoint is to know.
    pub signals: &'a mut Vec<Signal>,
    /// The last child's number.
    pub children: &'a mut u64,
    /// The last IKE SA's number.
    pub sas: &'a mut u64,
    /// The secret of quick crash detection's tokens.
    pub qcd_secret: Option<&'a Secret>,
}

impl Env<'_> {
    /// Hands out a job whose answer goes to `sa`.
    pub fn job(&mut self, sa: SaId, job: Job) -> JobId {
        let id = self.out.job(job);
        self.jobs.insert(id, sa);
        id
    }

    /// A number no IKE SA had before.
    pub fn sa_id(&mut self) -> SaId {
        *self.sas += 1;
        SaId(*self.sas)
    }

    /// An SPI of ours for a new IKE SA. That one of 2^64 is in use already is not to be feared.
    pub fn ike_spi(&mut self) -> IkeSpi {
        IkeSpi(self.rng.u64().max(1))
    }

    /// A number no child had before.
    pub fn child_id(&mut self) -> ChildId {
        *self.children += 1;
        ChildId(*self.children)
    }
}

/// A CHILD_SA that is to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The policy that asks.
    pub policy: PolicyIndex,
    /// Its selector.
    pub selector: Selector,
    /// Its template.
    pub template: Template,
    /// The kernel's request, if one is waiting.
    pub acquire: Option<Acquire>,
}

impl Wanted {
    /// What `policy` wants.
    #[must_use]
    pub fn by(policy: &Policy, acquire: Option<Acquire>) -> Self {
        Self { policy: policy.index, selector: policy.selector, template: policy.template, acquire }
    }

    /// What is left to ask for when the peer refuses with `notify`: one that makes children only for single pairs of traffic
    /// selectors (SINGLE_PAIR_REQUIRED, RFC 7296 §2.9.1) is asked for the packet's own.
    ///
    /// # Errors
    /// The wish itself, if there is nothing else to ask for.
    pub fn single_pair(self, notify: NotifyType) -> Result<Self, Box<Self>> {
        let packet =
            self.acquire.and_then(|acquire| acquire.packet).filter(|packet| *packet != self.selector);
        match packet.filter(|_| notify == NotifyType::SINGLE_PAIR_REQUIRED) {
            Some(selector) => Ok(Self { selector, ..self }),
            None => Err(Box::new(self)),
        }
    }

    /// What of it an SA between these two ends carries.
    #[must_use]
    pub fn between(&self, ends: (IpAddr, IpAddr)) -> Selector {
        self.template.limit(self.selector, ends)
    }
}

/// How an IKE SA ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// One of the ends wanted it.
    Meant,
    /// Nobody wanted it: the pair is to be set up anew.
    Fault,
    /// The peer has restarted: the same, and it may have no reason to begin.
    Restart,
}

/// What an IKE SA tells its endpoint; the endpoint keeps the pairs.
pub enum Signal {
    /// The SA is authenticated.
    Established,
    /// The handshake ended without an SA.
    HandshakeFailed(String),
    /// The peer says that it has no other SA with us.
    InitialContact,
    /// Nobody has authenticated it, but the peer may have lost all it has with us.
    Hint,
    /// Another SA is to take this one's place, which stays until then.
    Reestablish(String),
    /// The SA ended.
    Down {
        /// Why.
        cause: String,
        /// What kind of end it is.
        end: End,
    },
    /// The SA was rekeyed, and this one is its successor; it takes the children over if `inherits`.
    Successor {
        /// The new SA.
        sa: Box<IkeSa>,
        /// Whether the children are its.
        inherits: bool,
    },
    /// The peer uses this SA, so it is the successor that stays: it takes the children over from that one.
    Claim(SaId),
    /// Both ends have rekeyed, and this SA, which the peer made, lost: the peer is to delete it.
    Lost(SaId),
    /// The children go to this SA, which is known already.
    HandOver(SaId),
    /// A child is installed for this policy.
    ChildUp(PolicyIndex),
    /// A policy was made for the peer; it goes with the pair's last SA.
    PolicyMade(Box<Policy>),
    /// A child could not be made.
    ChildFailed(Wanted, String),
    /// A child ended while its IKE SA lives.
    ChildDown(PolicyIndex, String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Reqid;
    use crate::policy::sad::Mode;
    use crate::policy::selector::{Net, Side};

    fn selector(port: Option<u16>) -> Selector {
        let side = |text: &str, port| Side { net: Net::host(text.parse().unwrap()), port };
        let protocol = if port.is_some() { 6 } else { 0 };
        Selector { local: side("192.0.2.1", None), remote: side("192.0.2.2", port), protocol }
    }

    fn wanted(packet: Option<Selector>) -> Wanted {
        let template = Template { mode: Mode::Transport, reqid: Reqid(0), endpoints: None, optional: false };
        let acquire = Acquire {
            policy: PolicyIndex(1),
            local: "192.0.2.1".parse().unwrap(),
            remote: "192.0.2.2".parse().unwrap(),
            sequence: 7,
            reqid: Reqid(0),
            mode: Mode::Transport,
            packet,
        };
        Wanted { policy: PolicyIndex(1), selector: selector(None), template, acquire: Some(acquire) }
    }

    #[test]
    fn a_peer_that_takes_single_pairs_only_is_asked_for_the_packets_own_once() {
        let packet = selector(Some(5432));
        let single = wanted(Some(packet)).single_pair(NotifyType::SINGLE_PAIR_REQUIRED).unwrap();
        assert_eq!(single.selector, packet);
        assert!(single.single_pair(NotifyType::SINGLE_PAIR_REQUIRED).is_err());
        assert!(wanted(Some(packet)).single_pair(NotifyType::TS_UNACCEPTABLE).is_err());
        assert!(wanted(None).single_pair(NotifyType::SINGLE_PAIR_REQUIRED).is_err());
    }
}

//! What an endpoint has, for people and for tests.

use std::net::IpAddr;

use crate::crypto::suite::{EspSuite, IkeSuite};
use crate::endpoint::Endpoint;
use crate::endpoint::pairs::{Pair, PairKey};
use crate::ids::{ChildId, ChildSpi, IkeSpi, PolicyIndex, Reqid, Role, SaId};
use crate::ike_sa::IkeSa;
use crate::ike_sa::children::Stage;
use crate::output::Flow;
use crate::policy::identity::Identity;
use crate::policy::peer_db::Credential;
use crate::policy::sad::Mode;
use crate::policy::selector::Selector;
use crate::time::Instant;

/// How a pair stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PairState {
    /// It has no SA and wants none at the moment.
    Idle,
    /// A handshake is under way.
    Connecting,
    /// It has an IKE SA with a child.
    Up,
    /// It has an IKE SA without a child.
    Childless,
    /// The last attempt failed; the next one is made then.
    Retrying {
        /// When.
        at: Instant,
    },
}

/// A pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PairStatus {
    /// Our address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// How it stands.
    pub state: PairState,
    /// Since when.
    pub since: Instant,
    /// Its IKE SAs.
    pub ike_sas: Vec<IkeSaStatus>,
    /// The last thing that went wrong, and when.
    pub last_error: Option<(Instant, String)>,
}

/// An IKE SA.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IkeSaStatus {
    /// The engine's number.
    pub id: SaId,
    /// Our role.
    pub role: Role,
    /// "handshake", "established", "deleting" or "deleted".
    pub state: &'static str,
    /// Since when it is in that state; for a handshake, since it began.
    pub since: Instant,
    /// Initiator's SPI.
    pub spi_i: IkeSpi,
    /// Responder's SPI.
    pub spi_r: IkeSpi,
    /// Addresses and ports.
    pub flow: Flow,
    /// Who we are.
    pub local_id: Identity,
    /// Who the peer is, once authenticated.
    pub remote_id: Option<Identity>,
    /// Algorithms, once chosen.
    pub suite: Option<IkeSuite>,
    /// What is to happen to it by itself.
    pub schedule: Schedule,
    /// CHILD_SAs.
    pub children: Vec<ChildStatus>,
}

/// What is to happen to an established IKE SA, and when, unless something comes in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Schedule {
    /// It is rekeyed.
    pub rekey_at: Option<Instant>,
    /// The peer is asked whether it lives.
    pub check_at: Option<Instant>,
    /// It is given up, for no rekey has succeeded.
    pub expires_at: Option<Instant>,
}

/// A CHILD_SA.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildStatus {
    /// The engine's number.
    pub id: ChildId,
    /// The policy it serves.
    pub policy: PolicyIndex,
    /// What it carries.
    pub selector: Selector,
    /// Transport or tunnel.
    pub mode: Mode,
    /// Its reqid.
    pub reqid: Reqid,
    /// SPI we receive on.
    pub spi_in: ChildSpi,
    /// SPI we send on.
    pub spi_out: ChildSpi,
    /// Algorithms.
    pub suite: EspSuite,
    /// Whether ESP is inside UDP.
    pub encap: bool,
    /// Since when it is installed.
    pub since: Instant,
    /// When it is rekeyed, if it lives till then.
    pub rekey_at: Option<Instant>,
    /// "live", "half", "superseded" or "draining".
    pub stage: &'static str,
    /// Whether nothing has come back for long, and a rekey did not help.
    pub one_way: bool,
}

impl Endpoint {
    /// All pairs that have or want something, or had it, by address.
    #[must_use]
    pub fn pairs(&self) -> Vec<PairStatus> {
        self.pairs.iter().map(|(key, pair)| self.status(*key, pair)).collect()
    }

    /// The pair of two addresses, if it has or wants something, or had it.
    #[must_use]
    pub fn pair_status(&self, local: IpAddr, remote: IpAddr) -> Option<PairStatus> {
        let key = PairKey { local, remote };
        self.pairs.get(&key).map(|pair| self.status(key, pair))
    }

    /// What proved the peer of two addresses, in the newest IKE SA that is established between them; `None` where none is.
    #[must_use]
    pub fn credential(&self, local: IpAddr, remote: IpAddr) -> Option<&Credential> {
        let pair = self.pairs.get(&PairKey { local, remote })?;
        let established = pair.sas.iter().filter_map(|id| self.sas.get(id)).filter(|sa| sa.is_established());
        let newest = established.map(|sa| &sa.common.core).max_by_key(|core| core.since)?;
        newest.credential.as_ref()
    }

    fn status(&self, key: PairKey, pair: &Pair) -> PairStatus {
        let sas: Vec<&IkeSa> = pair.sas.iter().filter_map(|id| self.sas.get(id)).collect();
        PairStatus {
            local: key.local,
            remote: key.remote,
            state: state(&sas, pair.retry_at),
            since: pair.since,
            ike_sas: sas.into_iter().map(ike_sa).collect(),
            last_error: pair.last_error.clone(),
        }
    }
}

fn state(sas: &[&IkeSa], retry_at: Option<Instant>) -> PairState {
    let established = || sas.iter().filter(|sa| sa.is_established());
    if established().any(|sa| sa.common.children.iter().next().is_some()) {
        PairState::Up
    } else if established().next().is_some() {
        PairState::Childless
    } else if sas.iter().any(|sa| sa.is_handshaking()) {
        PairState::Connecting
    } else {
        retry_at.map_or(PairState::Idle, |at| PairState::Retrying { at })
    }
}

fn schedule(sa: &IkeSa) -> Schedule {
    if !sa.is_established() {
        return Schedule::default();
    }
    let core = &sa.common.core;
    let at = |due: Instant| Some(due).filter(|due| *due != Instant::MAX);
    Schedule { rekey_at: at(core.rekey_at), check_at: at(core.liveness_at), expires_at: at(core.expires_at) }
}

fn ike_sa(sa: &IkeSa) -> IkeSaStatus {
    let core = &sa.common.core;
    let children = sa.common.children.iter().map(|child| ChildStatus {
        id: child.id,
        policy: child.policy,
        selector: child.selector,
        mode: child.mode,
        reqid: child.reqid,
        spi_in: child.spi_in,
        spi_out: child.spi_out,
        suite: child.suite,
        encap: child.encap,
        since: child.since,
        rekey_at: (matches!(child.stage, Stage::Live) && !child.deleting).then_some(child.rekey_at),
        stage: child.stage.name(),
        one_way: child.watch.is_one_way(),
    });
    IkeSaStatus {
        id: core.id,
        role: core.role,
        state: sa.state(),
        since: core.since,
        spi_i: core.spi_i,
        spi_r: core.spi_r,
        flow: core.path.flow,
        local_id: core.local_id.clone(),
        remote_id: core.remote_id.clone(),
        suite: core.suite,
        schedule: schedule(sa),
        children: children.collect(),
    }
}

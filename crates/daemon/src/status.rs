//! What the engine and the kernel know, in the words of the control socket.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use coati_control::status as shown;
use ike_proto::endpoint::status::{ChildStatus, IkeSaStatus, PairState, PairStatus};
use ike_proto::ids::Role;
use ike_proto::policy::sad::{Mode, SaKey, SaUsage};
use ike_proto::time::Instant;

use crate::clock::Moment;

/// The two addresses of a pair: ours, the peer's.
pub type Pair = (IpAddr, IpAddr);

/// What there is to show.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Now.
    pub moment: Moment,
    /// When the daemon started.
    pub started: Instant,
    /// Outbound policies that ask for ESP.
    pub policies: usize,
    /// Pairs that policies name, and since when.
    pub configured: &'a BTreeMap<Pair, Instant>,
    /// Pairs whose traffic may pass in clear.
    pub open: &'a BTreeSet<Pair>,
    /// Source and destination of SAs that are not ours.
    pub others: &'a BTreeSet<Pair>,
    /// What the kernel has counted for each SA.
    pub usages: &'a BTreeMap<SaKey, SaUsage>,
    /// What in the kernel had to be put right.
    pub corrections: shown::Corrections,
}

impl Facts<'_> {
    /// The answer to `Status`.
    #[must_use]
    pub fn status(&self, engine: Vec<PairStatus>) -> shown::Status {
        let idle = |((local, remote), since): (&Pair, &Instant)| shown::Pair {
            local: *local,
            remote: *remote,
            state: shown::PairState::Idle,
            since: self.time(*since),
            retry_in_seconds: None,
            last_error: None,
            clear_text: self.open.contains(&(*local, *remote)),
            other_sas: self.has_others((*local, *remote)),
            ike_sas: Vec::new(),
        };
        let mut pairs: BTreeMap<Pair, shown::Pair> =
            self.configured.iter().map(|entry| (*entry.0, idle(entry))).collect();
        pairs.extend(engine.iter().map(|pair| ((pair.local, pair.remote), self.pair(pair))));
        shown::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: self.time(self.started),
            policies: u64::try_from(self.policies).unwrap_or(u64::MAX),
            corrections: self.corrections,
            pairs: pairs.into_values().collect(),
        }
    }

    fn time(&self, then: Instant) -> shown::Time {
        shown::Time { at: self.moment.date(then), age_seconds: self.moment.age_seconds(then) }
    }

    fn has_others(&self, (local, remote): Pair) -> bool {
        self.others.contains(&(local, remote)) || self.others.contains(&(remote, local))
    }

    fn until(&self, at: Option<Instant>) -> Option<u64> {
        at.map(|at| at.since(self.moment.now).as_secs())
    }

    fn pair(&self, pair: &PairStatus) -> shown::Pair {
        let (state, retry_at) = match pair.state {
            PairState::Idle => (shown::PairState::Idle, None),
            PairState::Connecting => (shown::PairState::Connecting, None),
            PairState::Up => (shown::PairState::Up, None),
            PairState::Childless => (shown::PairState::Childless, None),
            PairState::Retrying { at } => (shown::PairState::Retrying, Some(at)),
        };
        let failure = |(when, cause): &(Instant, String)| shown::Failure {
            when: self.time(*when),
            cause: cause.clone(),
        };
        shown::Pair {
            local: pair.local,
            remote: pair.remote,
            state,
            since: self.time(pair.since),
            retry_in_seconds: self.until(retry_at),
            last_error: pair.last_error.as_ref().map(failure),
            clear_text: self.open.contains(&(pair.local, pair.remote)),
            other_sas: self.has_others((pair.local, pair.remote)),
            ike_sas: pair.ike_sas.iter().map(|sa| self.ike_sa(sa)).collect(),
        }
    }

    fn ike_sa(&self, sa: &IkeSaStatus) -> shown::IkeSa {
        let role = match sa.role {
            Role::Initiator => "initiator",
            Role::Responder => "responder",
        };
        let hosts = (sa.flow.local.ip(), sa.flow.remote.ip());
        shown::IkeSa {
            state: sa.state.to_owned(),
            role: role.to_owned(),
            since: self.time(sa.since),
            spi_i: sa.spi_i.to_string(),
            spi_r: sa.spi_r.to_string(),
            local: sa.flow.local,
            remote: sa.flow.remote,
            local_id: sa.local_id.to_string(),
            remote_id: sa.remote_id.as_ref().map(ToString::to_string),
            algorithms: sa.suite.map(|suite| suite.to_string()),
            rekey_in_seconds: self.until(sa.schedule.rekey_at),
            check_in_seconds: self.until(sa.schedule.check_at),
            expires_in_seconds: self.until(sa.schedule.expires_at),
            children: sa.children.iter().map(|child| self.child(child, hosts)).collect(),
        }
    }

    fn child(&self, child: &ChildStatus, (local, remote): Pair) -> shown::Child {
        let usage = |destination, spi| self.usages.get(&SaKey { destination, spi });
        let (inbound, outbound) = (usage(local, child.spi_in), usage(remote, child.spi_out));
        shown::Child {
            local: child.selector.local.to_string(),
            remote: child.selector.remote.to_string(),
            protocol: child.selector.protocol,
            mode: match child.mode {
                Mode::Transport => "transport",
                Mode::Tunnel => "tunnel",
            }
            .to_owned(),
            reqid: child.reqid.0,
            spi_in: child.spi_in.to_string(),
            spi_out: child.spi_out.to_string(),
            bytes_in: inbound.map(|usage| usage.bytes),
            packets_in: inbound.map(|usage| usage.packets),
            bytes_out: outbound.map(|usage| usage.bytes),
            packets_out: outbound.map(|usage| usage.packets),
            algorithms: child.suite.to_string(),
            udp_encapsulation: child.encap,
            one_way: child.one_way,
            since: self.time(child.since),
            rekey_in_seconds: self.until(child.rekey_at),
        }
    }
}

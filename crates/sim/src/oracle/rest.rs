//! What must hold at rest: every policy of every host has exactly one child, every pair exactly one IKE SA, both ends alike.

use core::fmt;
use std::net::IpAddr;

use ike_proto::endpoint::status::{PairState, PairStatus};
use ike_proto::policy::spd::Policy;

use super::{counterpart, pair, sweep};
use crate::host::Host;
use crate::network::Network;

/// A host, and one of its policies by its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The host.
    pub host: usize,
    /// The policy, in the order of [`Spd::in_order`](crate::spd::Spd::in_order).
    pub policy: usize,
}

/// Why there is no rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unrest {
    /// The host that has not what it should have, and the policy it was seen at.
    pub place: Place,
    /// The host it should have it with, if one is concerned.
    pub peer: Option<usize>,
    /// What is missing, or too much.
    pub what: String,
}

impl fmt::Display for Unrest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// What is wrong, and with which address.
type Wrong = (Option<IpAddr>, String);

/// Whether all hosts that run are at rest with exactly what their policies want. The look begins at `first`: whatever was
/// not at rest before is likely not to be yet, and a large mesh is looked at often.
///
/// # Errors
/// The first that is not.
pub fn at_rest(hosts: &[Host], network: &Network, first: Place) -> Result<(), Unrest> {
    let count = hosts.len();
    for number in (0..count).map(|step| (first.host + step) % count) {
        if hosts[number].up {
            let from = if number == first.host { first.policy } else { 0 };
            host_at_rest(hosts, network, number, from).map_err(|(policy, (remote, why))| {
                let peer = remote.and_then(|remote| network.known_as(number, remote).first().copied());
                let what = format!("{}: {why}", hosts[number].spec.name);
                Unrest { place: Place { host: number, policy }, peer, what }
            })?;
        }
    }
    Ok(())
}

fn host_at_rest(hosts: &[Host], network: &Network, number: usize, from: usize) -> Result<(), (usize, Wrong)> {
    let host = &hosts[number];
    let policies = host.spd().in_order();
    let count = policies.len();
    for place in (0..count).map(|step| (from + step) % count) {
        policy_at_rest(hosts, network, number, &policies[place]).map_err(|wrong| (place, wrong))?;
    }
    let of_host = |what: String| (from, (None, what));
    let children = host
        .endpoint
        .pairs()
        .iter()
        .flat_map(|pair| &pair.ike_sas)
        .map(|sa| sa.children.len())
        .sum::<usize>();
    if children != count {
        return Err(of_host(format!("{children} children for {count} policies")));
    }
    if host.sad.reservations() > 0 {
        return Err(of_host(format!("{} reserved SPIs are left over", host.sad.reservations())));
    }
    sweep(host).map(drop).map_err(|((_, remote), what)| (from, (Some(remote), what)))
}

fn policy_at_rest(hosts: &[Host], network: &Network, number: usize, policy: &Policy) -> Result<(), Wrong> {
    let host = &hosts[number];
    let (local, remote) =
        policy.endpoints().ok_or((None, "a policy without end points cannot be judged".to_owned()))?;
    let status = host.endpoint.pair_status(local, remote);
    served(status.as_ref(), policy, remote).map_err(|why| (Some(remote), why))?;
    pair(host, (local, remote)).map_err(|(_, why)| (Some(remote), why))?;
    let children = status.iter().flat_map(|pair| &pair.ike_sas).map(|sa| sa.children.len()).sum::<usize>();
    let sas = host.sad.between(local, remote).count();
    if sas != 2 * children {
        return Err((Some(remote), format!("{sas} SAs for {children} children with {remote}")));
    }
    if let Some(sa) =
        host.sad.between(local, remote).find(|sa| counterpart(hosts, network, number, sa).is_none())
    {
        let why = format!("{:?} SA {} is not at the peer", sa.spec.direction, sa.spec.spi);
        return Err((Some(remote), why));
    }
    match host.sad.reservations_between(local, remote) {
        0 => Ok(()),
        left => Err((Some(remote), format!("{left} reserved SPIs with {remote} are left over"))),
    }
}

/// Whether a pair has one IKE SA, with one child for a policy.
fn served(pair: Option<&PairStatus>, policy: &Policy, remote: IpAddr) -> Result<(), String> {
    let pair = pair.ok_or_else(|| format!("there is no pair for {}", policy.selector))?;
    if !matches!(pair.state, PairState::Up) {
        return Err(format!("the pair with {remote} is {:?}", pair.state));
    }
    let live: Vec<_> = pair.ike_sas.iter().filter(|sa| sa.state != "deleted").collect();
    let [sa] = live.as_slice() else {
        return Err(format!("{} IKE SAs with {remote}", live.len()));
    };
    if sa.state != "established" {
        return Err(format!("the IKE SA with {remote} is {}", sa.state));
    }
    match sa.children.iter().filter(|child| policy.selector.covers(&child.selector)).count() {
        1 => Ok(()),
        served => Err(format!("{served} children for {}", policy.selector)),
    }
}

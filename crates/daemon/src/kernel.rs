//! The engine's SA database over the kernel's, and what the kernel is asked before anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use coati_spd::{MOVED_REQID, is_moved, may_move, moved_back};
use ike_proto::crypto::keymat::EspKeys;
use ike_proto::crypto::suite::EspSuite;
use ike_proto::ids::{ChildSpi, PolicyIndex, Reqid};
use ike_proto::policy::sad::{
    Acquire, Direction, Encap, Lifetimes, Mode, NewPolicy, SaCount, SaKey, SaSpec, SaUsage, Sad, SadError,
    SpiRequest,
};
use ike_proto::policy::selector::{Net, Selector, Side};
use ike_proto::policy::spd;
use ike_proto::secret::Secret;
use xfrm_sys::{Error, Policy, PolicyQuery, Request, SaFilter, SaId, SaQuery, Xfrm};

use crate::refusal::Refusal;
use crate::{made, translate};

/// The kernel, with a table of the SAs that are ours: they are known by it, not by reqid.
#[derive(Debug)]
pub struct Kernel<X> {
    /// The XFRM database.
    pub xfrm: X,
    ours: BTreeMap<SaKey, Ours>,
    /// Source and destination of SAs that are not ours, as they were seen last.
    others: BTreeSet<(IpAddr, IpAddr)>,
    /// Whether `out` policies move to our SAs and back: another keying daemon runs beside this one.
    moves: bool,
    /// The SAs that have come since this was last asked.
    fresh: Vec<(SaKey, Direction)>,
}

/// What is remembered of an SA of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ours {
    direction: Direction,
    /// Of the `out` policy that moves for it.
    moved: Option<xfrm_sys::Selector>,
}

impl<X: Xfrm> Kernel<X> {
    /// A kernel that has none of our SAs yet; `moves`: another keying daemon runs beside this one.
    pub const fn new(xfrm: X, moves: bool) -> Self {
        Self { xfrm, ours: BTreeMap::new(), others: BTreeSet::new(), moves, fresh: Vec::new() }
    }

    /// The SAs that have come since this was last asked.
    pub fn take_fresh(&mut self) -> Vec<(SaKey, Direction)> {
        std::mem::take(&mut self.fresh)
    }

    /// Whether policies move to our SAs and back.
    #[must_use]
    pub const fn moves(&self) -> bool {
        self.moves
    }

    /// The SAs that the engine has installed.
    pub fn ours(&self) -> impl Iterator<Item = SaKey> {
        self.ours.keys().copied()
    }

    /// Whether an SA is one that the engine has installed; a reserved SPI is not yet.
    #[must_use]
    pub fn is_ours(&self, key: &SaKey) -> bool {
        self.ours.contains_key(key)
    }

    /// The kernel has removed an SA by itself.
    pub fn forget(&mut self, key: &SaKey) {
        self.disown(key);
    }

    /// Removes every SA of ours that is still there.
    pub fn remove_all(&mut self) {
        let keys: Vec<SaKey> = self.ours().collect();
        for key in keys {
            match self.remove(&key) {
                Ok(()) | Err(SadError::NotFound) => {}
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }

    /// Somebody has added an SA.
    pub fn note_other(&mut self, sa: &xfrm_sys::Sa) {
        if !sa.is_larval() && !self.is_ours(&key_of(sa.id)) {
            self.others.insert((sa.source, sa.id.destination));
        }
    }

    /// Source and destination of the SAs that are not ours, as they were seen last.
    #[must_use]
    pub const fn others(&self) -> &BTreeSet<(IpAddr, IpAddr)> {
        &self.others
    }

    /// Reads the SAs anew, and notes which are not ours.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dump(&mut self) -> Result<Vec<xfrm_sys::Sa>, Error> {
        let sas = self.xfrm.dump_sas(&SaFilter::ESP)?;
        self.others.clear();
        sas.iter().for_each(|sa| self.note_other(sa));
        Ok(sas)
    }

    /// What each of our SAs has carried, by one dump.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn usages(&mut self) -> Result<BTreeMap<SaKey, SaUsage>, Error> {
        let sas = self.dump()?;
        let usage = |sa: &xfrm_sys::Sa| {
            let key = key_of(sa.id);
            self.ours.contains_key(&key).then(|| (key, usage_of(sa)))
        };
        Ok(sas.iter().filter_map(usage).collect())
    }

    /// The counters of our SAs that are still there, by one dump. The others are ours no more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn counts(&mut self) -> Result<Vec<SaCount>, Error> {
        let usages = self.usages()?;
        self.ours.retain(|key, _| usages.contains_key(key));
        let count =
            |(key, usage): (SaKey, SaUsage)| SaCount { key, packets: usage.packets, bytes: usage.bytes };
        Ok(usages.into_iter().map(count).collect())
    }

    /// An acquire for each packet that waits for an SA.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn waiting(&mut self) -> Result<Vec<Acquire>, Error> {
        let sas = self.xfrm.dump_sas(&SaFilter::ESP)?;
        let waiting = sas.iter().filter(|sa| sa.is_larval() && sa.id.spi == 0);
        Ok(waiting.filter_map(translate::larval_acquire).collect())
    }

    fn install(&mut self, spec: &SaSpec) -> Result<(), SadError> {
        let sa = translated(spec)?;
        match spec.direction {
            Direction::Out => self.xfrm.add_sa(&sa),
            Direction::In => match self.xfrm.update_sa(&sa) {
                // The reservation has come of age.
                Err(error) if error.is_missing() => self.xfrm.add_sa(&sa),
                result => result,
            },
        }
        .map_err(|error| refused(&error))?;
        self.own(spec);
        Ok(())
    }

    /// Notes an SA that was installed; traffic moves to it.
    fn own(&mut self, spec: &SaSpec) {
        let is_moved = self.moves && spec.direction == Direction::Out && spec.reqid.0 == MOVED_REQID;
        let moved = is_moved.then(|| translate::selector(&spec.selector, Direction::Out));
        self.ours.insert(spec.key(), Ours { direction: spec.direction, moved });
        self.fresh.push((spec.key(), spec.direction));
        if let Some(selector) = moved
            && let Err(error) = self.move_policy(selector, may_move, coati_spd::moved)
        {
            tracing::warn!(peer = %spec.remote, "the policy does not move to Coati's SA yet: {error}");
        }
    }

    /// An SA that is about to go is ours no more; with the last one for a policy, traffic moves back.
    fn disown(&mut self, key: &SaKey) {
        let moved = self.ours.remove(key).and_then(|ours| ours.moved);
        let Some(selector) = moved.filter(|_| self.ours.values().all(|ours| ours.moved != moved)) else {
            return;
        };
        if let Err(error) = self.move_policy(selector, is_moved, moved_back) {
            tracing::warn!(peer = %key.destination, "the policy does not move back from Coati's SA: {error}");
        }
    }

    /// Changes the `out` policy of just this selector if it is `such` a one. That there is none is no error.
    fn move_policy(
        &mut self,
        selector: xfrm_sys::Selector,
        such: fn(&Policy) -> bool,
        changed: fn(&Policy) -> Policy,
    ) -> Result<(), Error> {
        match self.xfrm.get_policy(&PolicyQuery::by_selector(selector, xfrm_sys::Direction::OUT)) {
            Ok(policy) if such(&policy) => self.xfrm.update_policy(&changed(&policy)),
            Ok(_) => Ok(()),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Moves policies that ought to have moved: to an SA of ours, and back from where there is none, the daemon's before
    /// this one included. Returns how many.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn settle_policies(&mut self, present: &[Policy]) -> Result<usize, Error> {
        if !self.moves {
            return Ok(0);
        }
        let sas = self.dump()?;
        let with_reqid = sas.iter().filter(|sa| !sa.is_larval() && sa.reqid == MOVED_REQID);
        let carried: BTreeSet<_> = with_reqid.map(|sa| (sa.source, sa.id.destination)).collect();
        let is_carried = |policy: &Policy| {
            carried.contains(&(policy.selector.source.address, policy.selector.destination.address))
        };
        let ours: BTreeSet<_> = self.ours.values().filter_map(|ours| ours.moved).collect();
        let wrong = present.iter().filter_map(|policy| {
            if is_moved(policy) && !is_carried(policy) {
                Some(moved_back(policy))
            } else {
                (may_move(policy) && ours.contains(&policy.selector)).then(|| coati_spd::moved(policy))
            }
        });
        let wrong: Vec<Policy> = wrong.collect();
        wrong.iter().try_for_each(|policy| self.xfrm.update_policy(policy))?;
        Ok(wrong.len())
    }
}

/// The kernel's name of an SA in the engine's words.
#[must_use]
pub const fn key_of(id: SaId) -> SaKey {
    SaKey { destination: id.destination, spi: ChildSpi(id.spi) }
}

fn query_of(key: &SaKey) -> SaQuery {
    SaQuery::from(SaId::esp(key.destination, key.spi.0))
}

const fn usage_of(sa: &xfrm_sys::Sa) -> SaUsage {
    SaUsage { bytes: sa.usage.bytes, packets: sa.usage.packets }
}

fn translated(spec: &SaSpec) -> Result<Box<xfrm_sys::Sa>, SadError> {
    translate::sa(spec).map(Box::new).map_err(|error| SadError::Refused(error.to_string()))
}

fn refused(error: &Error) -> SadError {
    if error.is_missing() {
        SadError::NotFound
    } else if error.is_exists() {
        SadError::Exists
    } else {
        SadError::Refused(error.to_string())
    }
}

impl<X: Xfrm> Sad for Kernel<X> {
    fn reserve_spi(&mut self, request: &SpiRequest) -> Result<ChildSpi, SadError> {
        let wanted = xfrm_sys::SpiRequest {
            mode: translate::mode(request.mode),
            reqid: request.reqid.0,
            ..xfrm_sys::SpiRequest::esp(request.remote, request.local)
        };
        let larval = self.xfrm.alloc_spi(&wanted).map_err(|error| SadError::Refused(error.to_string()))?;
        Ok(ChildSpi(larval.id.spi))
    }

    fn add_inbound(&mut self, sa: &SaSpec) -> Result<(), SadError> {
        self.install(sa)
    }

    fn add_outbound(&mut self, sa: &SaSpec) -> Result<(), SadError> {
        self.install(sa)
    }

    fn add_pair(&mut self, inbound: &SaSpec, outbound: &SaSpec) -> Result<(), SadError> {
        let (first, second) = (translated(inbound)?, translated(outbound)?);
        let requests = [Request::UpdateSa(first), Request::AddSa(second)];
        let mut results = self.xfrm.batch(&requests).into_iter();
        let mut done = || results.next().unwrap_or(Ok(()));
        let (first, second) = (done(), done());
        let first = match (first, &requests) {
            // The reservation has come of age.
            (Err(error), [Request::UpdateSa(sa), _]) if error.is_missing() => self.xfrm.add_sa(sa),
            (result, _) => result,
        };
        if first.is_ok() && second.is_ok() {
            self.own(inbound);
            self.own(outbound);
            return Ok(());
        }
        // One half alone would be an SA of no child.
        for (result, spec) in [(&first, inbound), (&second, outbound)] {
            if !result.as_ref().is_err_and(|error| !error.is_uncertain()) {
                let _ = self.xfrm.delete_sa(&query_of(&spec.key()));
            }
        }
        first.and(second).map_err(|error| refused(&error))
    }

    fn move_ports(&mut self, key: &SaKey, encap: Encap) -> Result<(), SadError> {
        let direction = self.ours.get(key).ok_or(SadError::NotFound)?.direction;
        let mut sa = self.xfrm.get_sa(&query_of(key)).map_err(|error| refused(&error))?;
        if sa.encap.is_none() {
            return Err(SadError::Refused("the SA is not encapsulated".to_owned()));
        }
        sa.encap = Some(translate::encap(encap, direction));
        self.xfrm.update_sa(&sa).map_err(|error| refused(&error))
    }

    fn remove(&mut self, key: &SaKey) -> Result<(), SadError> {
        self.disown(key);
        self.xfrm.delete_sa(&query_of(key)).map_err(|error| refused(&error))
    }

    fn query(&mut self, key: &SaKey) -> Result<SaUsage, SadError> {
        self.xfrm.get_sa(&query_of(key)).map(|sa| usage_of(&sa)).map_err(|error| refused(&error))
    }

    fn is_carried(&mut self, local: IpAddr, remote: IpAddr) -> bool {
        self.others.contains(&(local, remote))
    }

    fn release_acquire(&mut self, acquire: &Acquire) {
        // The larval state has no SPI and cannot be named; the kernel gives it one by its number, and by that it goes.
        let wanted = xfrm_sys::SpiRequest {
            mode: translate::mode(acquire.mode),
            reqid: acquire.reqid.0,
            seq: acquire.sequence,
            ..xfrm_sys::SpiRequest::esp(acquire.local, acquire.remote)
        };
        let released =
            self.xfrm.alloc_spi(&wanted).and_then(|larval| self.xfrm.delete_sa(&SaQuery::from(larval.id)));
        if let Err(error) = released {
            tracing::debug!(peer = %acquire.remote, "the kernel's waiting for an SA goes on: {error}");
        }
    }

    fn make_policy(&mut self, wish: &NewPolicy) -> Result<spd::Policy, SadError> {
        made::make(&mut self.xfrm, wish)
    }

    fn remove_policy(&mut self, policy: PolicyIndex) -> Result<(), SadError> {
        made::remove(&mut self.xfrm, policy)
    }
}

/// Asks whether this process may use the kernel's XFRM database at all.
///
/// # Errors
/// One clear message: no capability, or no XFRM.
pub fn check_access(xfrm: &mut impl Xfrm) -> Result<(), Refusal> {
    match xfrm.dump_policies() {
        Ok(_) => Ok(()),
        Err(error) => Err(access_refusal(&error)),
    }
}

/// What a failed first request means.
#[must_use]
pub fn access_refusal(error: &Error) -> Refusal {
    match error.errno() {
        Some(xfrm_sys::Errno::EPERM | xfrm_sys::Errno::EACCES) => Refusal::new(
            "CAP_NET_ADMIN is needed to read and set IPsec policies and SAs: start coatid as root",
        ),
        Some(xfrm_sys::Errno::EPROTONOSUPPORT) => {
            Refusal::new("the kernel has no XFRM netlink interface (CONFIG_XFRM_USER)")
        }
        _ => Refusal::new(error.to_string()),
    }
}

/// One combination that the kernel must be able to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Algorithms.
    pub suite: EspSuite,
    /// Inside UDP.
    pub encap: bool,
}

/// Adds a throw-away SA for each probe between addresses of `v6` or not, and deletes it; that also loads the kernel's
/// modules.
///
/// # Errors
/// The first combination that the kernel refuses, in its own words. Nothing is left behind.
pub fn probe(xfrm: &mut impl Xfrm, probes: &[Probe], v6: bool) -> Result<(), Refusal> {
    let address = if v6 { IpAddr::from(Ipv6Addr::LOCALHOST) } else { Ipv4Addr::LOCALHOST.into() };
    for probe in probes {
        try_one(xfrm, probe, address).map_err(|error| {
            let family = if v6 { "IPv6" } else { "IPv4" };
            let udp = if probe.encap { " in UDP" } else { "" };
            Refusal::new(format!("the kernel cannot do ESP{udp} over {family} with {}: {error}", probe.suite))
        })?;
    }
    Ok(())
}

fn try_one(xfrm: &mut impl Xfrm, probe: &Probe, address: IpAddr) -> Result<(), String> {
    let mut spec = throw_away(probe, address);
    // An SPI may be taken; that five in a row are is a kernel that says so of everything.
    for _ in 0..5 {
        let sa = translate::sa(&spec).map_err(|error| error.to_string())?;
        let added = xfrm.add_sa(&sa);
        match added {
            Err(error) if error.is_exists() => spec.spi.0 += 1,
            Err(error) => {
                if error.is_uncertain() {
                    let _ = xfrm.delete_sa(&query_of(&spec.key()));
                }
                return Err(error.to_string());
            }
            Ok(()) => return xfrm.delete_sa(&query_of(&spec.key())).map_err(|error| error.to_string()),
        }
    }
    Err("every SPI is taken".to_owned())
}

/// An SA of this host with itself that no policy asks for.
fn throw_away(probe: &Probe, address: IpAddr) -> SaSpec {
    let (encr, integ) = probe.suite.key_lens();
    let side = Side { net: Net::host(address), port: None };
    SaSpec {
        direction: Direction::In,
        spi: ChildSpi(0xc0a7_1000),
        local: address,
        remote: address,
        mode: Mode::Transport,
        reqid: Reqid(0),
        selector: Selector { local: side, remote: side, protocol: 0 },
        suite: probe.suite,
        keys: EspKeys { encr: Secret::new(vec![0x5a; encr]), integ: Secret::new(vec![0xa5; integ]) },
        encap: probe.encap.then_some(Encap { local: 4500, remote: 4500 }),
        replay_window: 32,
        lifetimes: Lifetimes { hard_seconds: Some(60), ..Lifetimes::default() },
    }
}

#[cfg(test)]
impl<X> Kernel<X> {
    /// As if the engine had installed it and forgotten it.
    pub(crate) fn claim(&mut self, key: SaKey) {
        self.ours.insert(key, Ours { direction: Direction::Out, moved: None });
    }
}

#[cfg(test)]
mod tests;

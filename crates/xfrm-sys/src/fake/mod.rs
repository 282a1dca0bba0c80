//! A kernel in memory, for tests of what uses one.

mod database;
mod monitor;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use database::Database;
pub use monitor::FakeMonitor;

use crate::error::{Error, Object, Operation};
use crate::monitor::{Acquire, Event, Expire, Group, Mapping};
use crate::policy::{Policy, PolicyQuery};
use crate::request::{Request, Xfrm};
use crate::sa::{Sa, SaFilter, SaId, SaQuery, SpiRequest};
use crate::selector::{Protocol, Selector};

/// An XFRM database in memory with the kernel's rules. Clones are handles of the same database, so that a test keeps
/// one and gives away another.
///
/// [`Xfrm`] is what the code under test calls. The other methods are for the test: to make calls fail, to raise events,
/// to see what was asked.
#[derive(Clone, Default)]
pub struct FakeKernel {
    database: Arc<Mutex<Database>>,
}

impl FakeKernel {
    /// An empty database.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens to the database's events from now on.
    ///
    /// # Errors
    ///
    /// No socket pair is to be had for the monitor's descriptor.
    pub fn monitor(&self, groups: &[Group]) -> Result<FakeMonitor, Error> {
        let (monitor, queue) = FakeMonitor::pair(groups)?;
        self.lock().listen(queue);
        Ok(monitor)
    }

    /// Refuses the next request for `operation`.
    pub fn fail_next(&self, operation: Operation, errno: Errno, text: Option<&str>) {
        self.lock().faults.next.push((operation, errno, text.map(str::to_owned)));
    }

    /// Refuses one request, of whatever kind: the one after `count` others from now.
    pub fn fail_after(&self, count: usize, errno: Errno) {
        let mut database = self.lock();
        let nth = database.journal.len() + count;
        database.faults.nth.push((nth, errno));
    }

    /// Refuses every request for `operation` until [`FakeKernel::permit`], as a kernel does that lacks something.
    pub fn refuse(&self, operation: Operation, errno: Errno, text: Option<&str>) {
        self.permit(operation);
        self.lock().faults.always.push((operation, errno, text.map(str::to_owned)));
    }

    /// Takes back [`FakeKernel::refuse`].
    pub fn permit(&self, operation: Operation) {
        self.lock().faults.always.retain(|(refused, ..)| *refused != operation);
    }

    /// Every request so far, in order, those refused too; each one of a batch.
    pub fn journal(&self) -> Vec<(Operation, Object)> {
        self.lock().journal.clone()
    }

    /// The SAs, larval ones too, the newest first. Not in the journal.
    pub fn sas(&self) -> Vec<Sa> {
        self.lock().sas.iter().rev().cloned().collect()
    }

    /// The policies, the newest first. Not in the journal.
    pub fn policies(&self) -> Vec<Policy> {
        self.lock().policies.iter().rev().cloned().collect()
    }

    /// Sets the clock: seconds since 1970, for what is added or used from now on.
    pub fn set_time(&self, seconds: u64) {
        self.lock().now = seconds;
    }

    /// A packet meets the outbound policy numbered `index`. If it finds no SA and no larval state, a larval state is
    /// made and the acquire told; else `None`.
    pub fn raise_acquire(&self, index: u32, packet: Selector) -> Option<Acquire> {
        self.lock().raise_acquire(index, packet)
    }

    /// An SA reaches a limit; at a hard one it goes. Whether there is such an SA.
    pub fn raise_expire(&self, id: SaId, hard: bool) -> bool {
        self.lock().raise_expire(id, hard)
    }

    /// All larval states come of age: they go, with a hard expire each.
    pub fn expire_larval(&self) {
        self.lock().expire_larval();
    }

    /// ESP in UDP comes from a new address or port. Whether there is such an SA, with encapsulation.
    pub fn raise_mapping(&self, id: SaId, new_source: IpAddr, new_port: u16) -> bool {
        self.lock().raise_mapping(id, new_source, new_port)
    }

    /// Monitors lose the events they have not read, and are told so.
    pub fn lose_events(&self) {
        self.lock().lose_events();
    }

    /// Packets go through an SA. Whether there is such an SA.
    pub fn carry(&self, id: SaId, packets: u64, bytes: u64) -> bool {
        self.lock().carry(id, packets, bytes)
    }

    /// Removes an SA without a word, as if somebody else had and the event was lost. Whether there was one.
    pub fn forget_sa(&self, id: SaId) -> bool {
        self.lock().forget_sa(id)
    }

    /// Removes policies without a word, as if somebody else had and the event was lost.
    pub fn forget_policies(&self, forget: impl Fn(&Policy) -> bool) {
        self.lock().policies.retain(|policy| !forget(policy));
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        // A test that panicked elsewhere does not matter here.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Xfrm for FakeKernel {
    fn add_sa(&mut self, sa: &Sa) -> Result<(), Error> {
        self.lock().add_sa(sa)
    }

    fn update_sa(&mut self, sa: &Sa) -> Result<(), Error> {
        self.lock().update_sa(sa)
    }

    fn delete_sa(&mut self, query: &SaQuery) -> Result<(), Error> {
        self.lock().delete_sa(query)
    }

    fn get_sa(&mut self, query: &SaQuery) -> Result<Sa, Error> {
        self.lock().get_sa(query)
    }

    fn dump_sas(&mut self, filter: &SaFilter) -> Result<Vec<Sa>, Error> {
        self.lock().dump_sas(filter)
    }

    fn flush_sas(&mut self, protocol: Protocol) -> Result<(), Error> {
        self.lock().flush_sas(protocol)
    }

    fn alloc_spi(&mut self, request: &SpiRequest) -> Result<Sa, Error> {
        self.lock().alloc_spi(request)
    }

    fn add_policy(&mut self, policy: &Policy) -> Result<(), Error> {
        self.lock().put_policy(policy, true)
    }

    fn update_policy(&mut self, policy: &Policy) -> Result<(), Error> {
        self.lock().put_policy(policy, false)
    }

    fn delete_policy(&mut self, query: &PolicyQuery) -> Result<(), Error> {
        self.lock().delete_policy(query)
    }

    fn get_policy(&mut self, query: &PolicyQuery) -> Result<Policy, Error> {
        self.lock().get_policy(query)
    }

    fn dump_policies(&mut self) -> Result<Vec<Policy>, Error> {
        self.lock().dump_policies()
    }

    fn flush_policies(&mut self) -> Result<(), Error> {
        self.lock().flush_policies()
    }

    fn batch(&mut self, requests: &[Request]) -> Vec<Result<(), Error>> {
        requests
            .iter()
            .map(|request| match request {
                Request::AddSa(sa) => self.add_sa(sa),
                Request::UpdateSa(sa) => self.update_sa(sa),
                Request::DeleteSa(query) => self.delete_sa(query),
                Request::FlushSas(protocol) => self.flush_sas(*protocol),
                Request::AddPolicy(policy) => self.add_policy(policy),
                Request::UpdatePolicy(policy) => self.update_policy(policy),
                Request::DeletePolicy(query) => self.delete_policy(query),
                Request::FlushPolicies => self.flush_policies(),
            })
            .collect()
    }
}

impl fmt::Debug for FakeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.lock();
        write!(f, "FakeKernel({} SAs, {} policies)", database.sas.len(), database.policies.len())
    }
}

/// What the database tells its monitors.
fn group_of(event: &Event) -> Option<Group> {
    match event {
        Event::Acquire(_) => Some(Group::Acquire),
        Event::Expire(_) | Event::PolicyExpire(_) => Some(Group::Expire),
        Event::Mapping(_) => Some(Group::Mapping),
        Event::NewSa(_) | Event::UpdatedSa(_) | Event::DeletedSa(..) | Event::FlushedSas(_) => {
            Some(Group::Sa)
        }
        Event::NewPolicy(_) | Event::UpdatedPolicy(_) | Event::DeletedPolicy(..) | Event::FlushedPolicies => {
            Some(Group::Policy)
        }
        Event::Lost | Event::Other(_) | Event::Unreadable(_) => None,
    }
}

/// An expire of `sa`, which like the kernel's says nothing of its algorithms.
fn expire_of(sa: &Sa, hard: bool) -> Expire {
    let mut told = Sa { selector: sa.selector, mark: sa.mark, if_id: sa.if_id, ..Sa::new(sa.source, sa.id) };
    told.mode = sa.mode;
    told.reqid = sa.reqid;
    told.seq = sa.seq;
    told.flags = sa.flags;
    told.replay_window = sa.replay_window;
    told.limits = sa.limits;
    told.usage = sa.usage;
    told.stats = sa.stats;
    told.direction = sa.direction;
    Expire { sa: told, hard }
}

/// The mapping event for an SA with encapsulation.
fn mapping_of(sa: &Sa, new_source: IpAddr, new_port: u16) -> Option<Mapping> {
    let old_port = sa.encap?.source_port;
    Some(Mapping { id: sa.id, reqid: sa.reqid, old_source: sa.source, new_source, old_port, new_port })
}

//! The kernel's databases and what ought to be in them: read at start, after each change, after a loss of events, and
//! every now and then in any case.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use coati_control::status::Corrections;
use ike_proto::endpoint::status::PairState;
use ike_proto::endpoint::{Command, SadEvent};
use ike_proto::policy::sad::{self, SaKey, Sad as _, SadError};
use ike_proto::policy::spd::PolicySet;
use ike_proto::time::{Duration, Instant};
use xfrm_sys::{Direction, Events, Policy, Sa, SaFilter, Xfrm};

use super::Driver;
use crate::clock;
use crate::kernel::key_of;
use crate::status::Pair;
use crate::{made, view};
use coati_spd::{Failed, Plan, Summary, Wanted};

/// How long the kernel's policies must be left in peace before they are read anew.
const POLICIES_SETTLE: Duration = Duration::from_millis(50);
/// How long a stream of changes may put that off.
const POLICIES_WAIT: Duration = Duration::from_secs(1);
/// The kernel's policies are read after this time, whatever events have said.
const POLICIES_EVERY: Duration = Duration::from_secs(60);
/// Who takes the same policies away again and again gets them back no sooner than this.
const PATIENCE: Duration = Duration::from_secs(5);
/// The kernel's SAs are read after this time; their counters tell whether packets flow both ways.
const SAS_EVERY: Duration = Duration::from_secs(20);
/// How long after one of our SAs was deleted by somebody else they are read: the others are likely to follow.
const SAS_SETTLE: Duration = Duration::from_millis(50);

/// How long after one of our SAs came or went all are written down anew for the next daemon.
const WRITE_AFTER: Duration = Duration::from_secs(1);

/// What is known of the kernel's databases, and when they are looked at again.
#[derive(Debug)]
pub(super) struct Watch {
    /// Since when and until when the kernel's policies have been changing.
    changing: Option<(Instant, Instant)>,
    /// Whether the policies were read once.
    started: bool,
    pub(super) policies_due: Instant,
    sas_due: Instant,
    /// When our SAs are to be written down, if they may have changed.
    write_due: Option<Instant>,
    /// SAs of a daemon before this one whose pair was up at the last look.
    relieved: BTreeSet<SaKey>,
    /// Policies of ours that a refused change of the configuration may have left behind.
    stray: Vec<Wanted>,
    /// When policies were last put right.
    pub(super) mended: Option<Instant>,
    /// Warnings that hold at the moment.
    said: BTreeSet<String>,
    pub(super) corrections: Corrections,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            changing: None,
            started: false,
            policies_due: now,
            sas_due: now + SAS_EVERY,
            write_due: None,
            relieved: BTreeSet::new(),
            stray: Vec::new(),
            mended: None,
            said: BTreeSet::new(),
            corrections: Corrections::default(),
        }
    }

    /// When the policies are to be read.
    pub(super) fn policies_at(&self) -> Instant {
        let settled = self.changing.map(|(since, last)| (last + POLICIES_SETTLE).min(since + POLICIES_WAIT));
        settled.map_or(self.policies_due, |settled| settled.min(self.policies_due))
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Instant {
        let due = self.policies_at().min(self.sas_due);
        self.write_due.map_or(due, |write| write.min(due))
    }

    /// Whether policies have changed that were not read yet.
    pub(super) const fn is_behind(&self) -> bool {
        self.changing.is_some()
    }

    /// Somebody, perhaps we, changed a policy.
    pub(super) fn policies_change(&mut self, direction: Direction) {
        if !direction.is_socket() {
            let now = clock::now();
            let since = self.changing.map_or(now, |(since, _)| since);
            self.changing = Some((since, now));
        }
    }

    /// An SA of ours may have come or gone.
    pub(super) fn may_write(&mut self) {
        if self.write_due.is_none() {
            self.write_due = Some(clock::now() + WRITE_AFTER);
        }
    }

    /// Somebody else deleted an SA of ours.
    pub(super) fn sas_change(&mut self) {
        self.sas_due = self.sas_due.min(clock::now() + SAS_SETTLE);
    }

    /// The configuration wants other policies than `before`, or was to; what of those is still there is nobody's.
    pub(super) fn leaves_behind(&mut self, before: Vec<Wanted>) {
        self.stray.extend(before);
        self.policies_due = clock::now();
    }
}

impl<X: Xfrm, M: Events + AsRawFd> Driver<X, M> {
    /// Does what is due.
    pub(super) fn look_after_kernel(&mut self, now: Instant) {
        if self.watch.policies_at() <= now {
            self.refresh_policies();
        }
        if self.watch.sas_due <= now {
            self.reconcile_sas();
        }
        if self.watch.write_due.is_some_and(|due| due <= now) {
            self.write_estate();
        }
    }

    /// Writes down the SAs that have come. One to send on may be what an SA of the daemon before this one waits for to go.
    pub(super) fn note_fresh(&mut self) {
        let fresh = self.parts.kernel.take_fresh();
        if fresh.is_empty() {
            return;
        }
        let sends = fresh.iter().any(|(_, direction)| *direction == sad::Direction::Out);
        if sends && !self.parts.left.is_empty() {
            self.watch.sas_change();
        }
        let keys: Vec<SaKey> = fresh.into_iter().map(|(key, _)| key).collect();
        let noted = self.parts.estate.note(&keys);
        Self::say_unwritten(noted);
    }

    /// Writes down which SAs are ours, what is left of a daemon before this one included.
    pub(super) fn write_estate(&mut self) {
        self.watch.write_due = None;
        let all = self.parts.kernel.ours().chain(self.parts.left.iter().copied()).collect();
        let written = self.parts.estate.write(all);
        Self::say_unwritten(written);
    }

    fn say_unwritten(written: std::io::Result<()>) {
        if let Err(error) = written {
            tracing::warn!("the next start will not know the SAs of this one: {error}");
        }
    }

    pub(super) fn refresh_policies(&mut self) {
        let now = clock::now();
        self.watch.policies_due = now + POLICIES_EVERY;
        if let Err(error) = self.read_policies() {
            tracing::warn!("{error}: it is tried again");
            self.watch.changing = None;
            self.watch.policies_due = now + POLICIES_WAIT;
        }
    }

    /// Reads the kernel's policies, puts ours right, and hands all to the engine, with the peers that they need.
    fn read_policies(&mut self) -> Result<(), xfrm_sys::Error> {
        let mut dump = self.parts.kernel.xfrm.dump_policies()?;
        self.watch.changing = None;
        let mended = self.mend_policies(&dump);
        let settled = self.parts.kernel.settle_policies(&dump)?;
        if settled > 0 {
            tracing::info!("{settled} policies moved to Coati's SAs, or back from where there were none");
        }
        if mended || settled > 0 {
            dump = self.parts.kernel.xfrm.dump_policies()?;
        }
        coati_spd::note_indices(&mut self.parts.wanted, &dump);
        let view = view::read(&dump, self.parts.kernel.moves());
        let (peers, warnings) = self.parts.configuration.peers(view.set.iter());
        let current: BTreeSet<String> = warnings.into_iter().chain(view.warnings).collect();
        current.difference(&self.watch.said).for_each(|warning| tracing::warn!("{warning}"));
        self.watch.said = current;
        tracing::debug!(policies = view.set.len(), "the kernel's policies are read");
        let fresh = self.note_pairs(&view.set);
        self.policies = Arc::clone(&view.set);
        self.open = view.open;
        let peers = Arc::new(peers);
        self.with(|endpoint, cx| {
            endpoint.set_peers(cx, Arc::clone(&peers));
            endpoint.set_policies(cx, view.set);
        });
        // Those that the first policies name are the engine's to begin, at its own pace.
        if self.parts.initiate_at_start && std::mem::replace(&mut self.watch.started, true) {
            let answers_only = |remote| peers.by_address(remote).is_some_and(|peer| peer.passive);
            fresh
                .into_iter()
                .filter(|(_, remote)| !answers_only(*remote))
                .for_each(|pair| self.initiate(pair));
        }
        Ok(())
    }

    /// Removes what is left of the policies that were made for peers: their SAs are gone.
    pub(super) fn remove_made(&mut self) {
        if let Err(error) = made::sweep(&mut self.parts.kernel.xfrm) {
            tracing::warn!("policies that were made for peers stay: {error}");
        }
    }

    /// Notes which pairs the policies name, and gives those that are new and configured.
    fn note_pairs(&mut self, policies: &PolicySet) -> Vec<Pair> {
        let now = clock::now();
        let before = std::mem::take(&mut self.configured);
        let ends = ike_proto::policy::spd::Policy::endpoints;
        let named = policies.iter().filter_map(ends);
        self.configured = named.map(|pair| (pair, before.get(&pair).copied().unwrap_or(now))).collect();
        // The peers that have policies made begin themselves.
        let configured: BTreeSet<Pair> =
            policies.iter().filter(|policy| !policy.made).filter_map(ends).collect();
        configured.into_iter().filter(|pair| !before.contains_key(pair)).collect()
    }

    fn initiate(&mut self, (local, remote): Pair) {
        let command = Command::Initiate { local, remote };
        if let Err(error) = self.with(|endpoint, cx| endpoint.handle_command(cx, command)) {
            tracing::warn!(peer = %remote, "{error}");
        }
    }

    /// Puts back policies of ours that are missing or changed and deletes those that nobody wants any more; others' are left
    /// alone. Returns whether there was something to do.
    fn mend_policies(&mut self, present: &[Policy]) -> bool {
        let stray = std::mem::take(&mut self.watch.stray);
        let plan = Plan::new(&self.parts.wanted, present, false, &stray);
        if plan.summary() == Summary::default() || self.stop_at.is_some() {
            return false;
        }
        let now = clock::now();
        if let Some(mended) = self.watch.mended.filter(|mended| now.since(*mended) < PATIENCE) {
            self.watch.stray = stray;
            self.watch.policies_due = mended + PATIENCE;
            return false;
        }
        self.watch.mended = Some(now);
        match plan.apply(&mut self.parts.kernel.xfrm) {
            Ok(summary) => {
                tracing::warn!("the kernel's policies were not as configured and are put right: {summary}");
                let corrections = &mut self.watch.corrections;
                corrections.policies_restored += whole(summary.added) + whole(summary.updated);
                corrections.policies_deleted += whole(summary.deleted);
            }
            Err(Failed { error, .. }) => {
                tracing::warn!(
                    "the kernel's policies are not as configured and cannot be put right: {error}"
                );
                self.watch.stray = stray;
            }
        }
        true
    }

    /// Compares the kernel's SAs with the engine's children.
    pub(super) fn reconcile_sas(&mut self) {
        self.watch.sas_due = clock::now() + SAS_EVERY;
        if self.stop_at.is_some() {
            return;
        }
        let counts = match self.parts.kernel.counts() {
            Ok(counts) => counts,
            Err(error) => {
                tracing::warn!("{error}");
                return;
            }
        };
        let found = self.with(|endpoint, cx| endpoint.reconcile(cx, &counts));
        if found.missing > 0 {
            tracing::warn!("the kernel has lost SAs of {} children: they are made anew", found.missing);
        }
        if found.surplus > 0 {
            tracing::warn!("{} SAs in the kernel belonged to no child and are deleted", found.surplus);
        }
        let corrections = &mut self.watch.corrections;
        corrections.children_restored += whole(found.missing);
        corrections.sas_deleted += whole(found.surplus);
        if let Err(error) = self.delete_left() {
            tracing::warn!("{error}");
        }
    }

    /// Deletes what a daemon before this one left, once its pair is up anew (and packets under way have arrived) or no
    /// policy names it any more. What it sent on goes as soon as we send on an SA for the same: of two that were made in the same
    /// second the kernel may take either, and the peer deletes the old one.
    fn delete_left(&mut self) -> Result<(), xfrm_sys::Error> {
        if self.parts.left.is_empty() {
            return Ok(());
        }
        let sas = self.parts.kernel.xfrm.dump_sas(&SaFilter::ESP)?;
        let (ours, mut there): (Vec<&Sa>, Vec<&Sa>) =
            sas.iter().partition(|sa| self.parts.kernel.is_ours(&key_of(sa.id)));
        let carries = |sa: &Sa| (sa.source, sa.id.destination, sa.reqid, sa.selector);
        let carried: BTreeSet<_> = ours.into_iter().map(carries).collect();
        there.retain(|sa| self.parts.left.contains(&key_of(sa.id)));
        let relieved = std::mem::take(&mut self.watch.relieved);
        self.parts.left = there.iter().map(|sa| key_of(sa.id)).collect();
        for sa in there {
            let (key, (source, destination)) = (key_of(sa.id), (sa.source, sa.id.destination));
            let is_replaced =
                self.configured.contains_key(&(source, destination)) && carried.contains(&carries(sa));
            let pair = [(source, destination), (destination, source)]
                .into_iter()
                .find(|pair| self.configured.contains_key(pair));
            let is_up = |(local, remote): Pair| {
                let status = self.parts.endpoint.pair_status(local, remote);
                status.is_some_and(|status| status.state == PairState::Up)
            };
            if !is_replaced && pair.is_some_and(|pair| !is_up(pair)) {
                continue;
            }
            if !is_replaced && pair.is_some() && !relieved.contains(&key) {
                self.watch.relieved.insert(key);
                continue;
            }
            self.drop_left(key);
        }
        self.watch.may_write();
        Ok(())
    }

    /// Deletes all that a daemon before this one left: this one ends in order, and its peers have been told.
    pub(super) fn drop_all_left(&mut self) {
        self.parts.left.clone().into_iter().for_each(|key| self.drop_left(key));
    }

    fn drop_left(&mut self, key: SaKey) {
        match self.parts.kernel.remove(&key) {
            Ok(()) => {
                let SaKey { destination, spi } = key;
                tracing::info!("SA {spi} to {destination} of the daemon before this one is deleted");
                self.watch.corrections.sas_deleted += 1;
            }
            Err(SadError::NotFound) => {}
            Err(error) => return tracing::warn!("{error}"),
        }
        self.parts.left.remove(&key);
    }

    /// Makes up for events that nobody heard: policies that changed, SAs that are gone, packets that wait.
    pub(super) fn catch_up(&mut self) {
        self.refresh_policies();
        self.sad_event(SadEvent::Lost);
        self.reconcile_sas();
        match self.parts.kernel.waiting() {
            Ok(waiting) => {
                waiting.into_iter().for_each(|acquire| self.sad_event(SadEvent::Acquire(acquire)));
            }
            Err(error) => tracing::warn!("{error}"),
        }
    }

    /// A daemon before this one left SAs: traffic that finds them raises no acquire, so their pairs are set up anew.
    pub(super) fn take_over(&mut self) {
        let sas = match self.parts.kernel.dump() {
            Ok(sas) => sas,
            Err(error) => {
                tracing::warn!("{error}");
                return;
            }
        };
        let left: BTreeSet<Pair> = sas
            .iter()
            .filter(|sa| !sa.is_larval())
            .map(|sa| (sa.source, sa.id.destination))
            .filter(|pair| self.configured.contains_key(pair))
            .collect();
        for (local, remote) in left {
            tracing::info!(peer = %remote, "{local}<=>{remote} has an SA that is not ours: the pair is set up anew");
            self.initiate((local, remote));
        }
    }
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

//! From what is in the kernel to what is wanted, and back if the kernel refuses a step.

use core::fmt;
use std::collections::BTreeMap;

use coati_config::diag::Place;
use xfrm_sys::{Error, Policy, PolicyQuery, Request, Xfrm};

use crate::Wanted;
use crate::moved::as_it_moved;

/// Requests of one system call: more gains nothing.
const BATCH: usize = 64;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Add(Policy),
    Update(Box<Replaced>),
    Delete(Policy),
}

/// A policy in the kernel and what takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Replaced {
    old: Policy,
    new: Policy,
}

impl Change {
    fn request(&self) -> Request {
        match self {
            Self::Add(policy) => Request::AddPolicy(Box::new(policy.clone())),
            Self::Update(replaced) => Request::UpdatePolicy(Box::new(replaced.new.clone())),
            Self::Delete(policy) => Request::DeletePolicy(PolicyQuery::same_as(policy)),
        }
    }

    /// What takes it back. A policy that was deleted comes back with its index.
    fn inverse(&self) -> Self {
        match self {
            Self::Add(policy) => Self::Delete(policy.clone()),
            Self::Update(replaced) => {
                let (old, new) = (replaced.new.clone(), replaced.old.clone());
                Self::Update(Box::new(Replaced { old, new }))
            }
            Self::Delete(policy) => Self::Add(policy.clone()),
        }
    }

    /// Whether traffic that it is about may pass in clear by it.
    fn opens(&self) -> bool {
        let lets_pass =
            |policy: &Policy| policy.templates.is_empty() && policy.action == xfrm_sys::Action::ALLOW;
        match self {
            Self::Add(policy) => lets_pass(policy),
            Self::Update(replaced) => lets_pass(&replaced.new),
            Self::Delete(policy) => !lets_pass(policy),
        }
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Adds a policy.
    Added,
    /// Changes one in place.
    Changed,
    /// Deletes one.
    Deleted,
}

/// One step, to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned<'a> {
    /// What it does.
    pub kind: Kind,
    /// The policy; one that changes as it will be.
    pub policy: &'a Policy,
    /// As it is before it changes.
    pub before: Option<&'a Policy>,
    /// Where it is written.
    pub place: Option<&'a Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    change: Change,
    place: Option<Place>,
}

/// The steps from one set of policies to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    steps: Vec<Step>,
}

/// How many steps of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Policies added.
    pub added: usize,
    /// Policies changed in place.
    pub updated: usize,
    /// Policies deleted.
    pub deleted: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} policies added, {} changed, {} deleted", self.added, self.updated, self.deleted)
    }
}

/// A plan that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Where the policy that was refused is written.
    pub place: Option<Place>,
    /// What the kernel said.
    pub error: Error,
    /// What could not be taken back.
    pub stuck: Vec<Error>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}", self.error)?;
        match self.stuck.as_slice() {
            [] => f.write_str("; the policies are as they were"),
            [first, rest @ ..] => {
                write!(f, "; not everything could be taken back: {first}")?;
                if rest.is_empty() { Ok(()) } else { write!(f, " (and {} more)", rest.len()) }
            }
        }
    }
}

impl core::error::Error for Failed {}

impl Plan {
    /// The way from `present` to `wanted`.
    ///
    /// What is there and wanted neither, goes: with `replaces` all of the main database, else what was wanted
    /// `before`. Policies of sockets are left alone. A policy that was moved to Coati's SAs stays so (see [`crate::MOVED_REQID`]).
    #[must_use]
    pub fn new(wanted: &[Wanted], present: &[Policy], replaces: bool, before: &[Wanted]) -> Self {
        let is_wanted = Index::of(wanted.iter().map(|wanted| &wanted.policy));
        let was_wanted = Index::of(before.iter().map(|wanted| &wanted.policy));
        let ours = |policy: &&Policy| {
            !policy.direction.is_socket()
                && policy.is_main()
                && (replaces || was_wanted.find(policy).is_some())
        };
        let there = Index::of(present.iter());
        let mut steps: Vec<Step> = wanted
            .iter()
            .filter_map(|wanted| {
                let change = match there.find(&wanted.policy) {
                    None => Change::Add(wanted.policy.clone()),
                    Some(old) => {
                        let new = as_it_moved(&wanted.policy, old);
                        if says_the_same(old, &new) {
                            return None;
                        }
                        Change::Update(Box::new(Replaced { old: old.clone(), new }))
                    }
                };
                Some(Step { change, place: wanted.place.clone() })
            })
            .collect();
        let gone = present.iter().filter(ours).filter(|policy| is_wanted.find(policy).is_none());
        let mut deletions: Vec<Step> =
            gone.map(|policy| Step { change: Change::Delete(policy.clone()), place: None }).collect();
        // First what closes, then what opens: in between is never more open than both ends.
        steps.sort_by_key(|step| step.change.opens());
        deletions.sort_by_key(|step| step.change.opens());
        steps.append(&mut deletions);
        Self { steps }
    }

    /// The way back, once this plan has been carried out.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let back = |step: &Step| Step { change: step.change.inverse(), place: step.place.clone() };
        Self { steps: self.steps.iter().rev().map(back).collect() }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What it does, in order.
    pub fn changes(&self) -> impl Iterator<Item = Planned<'_>> {
        self.steps.iter().map(|step| {
            let (kind, policy, before) = match &step.change {
                Change::Add(policy) => (Kind::Added, policy, None),
                Change::Update(replaced) => (Kind::Changed, &replaced.new, Some(&replaced.old)),
                Change::Delete(policy) => (Kind::Deleted, policy, None),
            };
            Planned { kind, policy, before, place: step.place.as_ref() }
        })
    }

    /// How many steps of each kind it has.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for step in &self.steps {
            *match step.change {
                Change::Add(_) => &mut summary.added,
                Change::Update(_) => &mut summary.updated,
                Change::Delete(_) => &mut summary.deleted,
            } += 1;
        }
        summary
    }

    /// Carries it out; if the kernel refuses a step, what was done is taken back.
    ///
    /// # Errors
    /// The first step refused.
    pub fn apply(&self, xfrm: &mut impl Xfrm) -> Result<Summary, Failed> {
        let mut done: Vec<&Change> = Vec::new();
        for batch in self.steps.chunks(BATCH) {
            let requests: Vec<Request> = batch.iter().map(|step| step.change.request()).collect();
            let mut failure = None;
            for (step, result) in batch.iter().zip(xfrm.batch(&requests)) {
                match result {
                    Ok(()) => done.push(&step.change),
                    Err(error) => {
                        if error.is_uncertain() {
                            done.push(&step.change);
                        }
                        failure.get_or_insert((step.place.clone(), error));
                    }
                }
            }
            if let Some((place, error)) = failure {
                return Err(Failed { place, error, stuck: take_back(xfrm, &done) });
            }
        }
        Ok(self.summary())
    }
}

/// Undoes changes, the last one first; returns what could not be undone.
fn take_back(xfrm: &mut impl Xfrm, done: &[&Change]) -> Vec<Error> {
    let mut stuck = Vec::new();
    for change in done.iter().rev() {
        let inverse = change.inverse();
        let result = xfrm.batch(&[inverse.request()]).into_iter().next().unwrap_or(Ok(()));
        match (&inverse, result) {
            // One whose fate was uncertain: it had not been carried out.
            (Change::Delete(_), Err(error)) if error.is_missing() => {}
            (Change::Add(_), Err(error)) if error.is_exists() => {}
            (_, Err(error)) => stuck.push(error),
            (_, Ok(())) => {}
        }
    }
    stuck
}

/// Notes the numbers that the kernel has given, so that a policy that is put back has the one it had: SAs and acquires refer
/// to it.
pub fn note_indices(wanted: &mut [Wanted], present: &[Policy]) {
    let there = Index::of(present.iter());
    for wanted in wanted {
        if let Some(found) = there.find(&wanted.policy) {
            wanted.policy.index = found.index;
        }
    }
}

/// What will be in the kernel of what is wanted: policies that were moved stay so.
pub(super) fn as_they_moved(wanted: &mut [Wanted], present: &[Policy]) {
    let there = Index::of(present.iter());
    for wanted in wanted {
        if let Some(found) = there.find(&wanted.policy) {
            wanted.policy = as_it_moved(&wanted.policy, found);
        }
    }
}

/// Whether the kernel does the same by both policies of one selector.
pub(super) fn says_the_same(present: &Policy, wanted: &Policy) -> bool {
    (present.priority, present.action, present.flags, &present.limits, &present.templates)
        == (wanted.priority, wanted.action, wanted.flags, &wanted.limits, &wanted.templates)
}

/// Policies by what the kernel knows them by.
struct Index<'a>(BTreeMap<Identity, Vec<&'a Policy>>);

/// What two policies that are the same have in common, and most others do not.
type Identity = (u8, xfrm_sys::Selector);

impl<'a> Index<'a> {
    fn of(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut index = Self(BTreeMap::new());
        for policy in policies {
            index.0.entry((policy.direction.0, policy.selector)).or_default().push(policy);
        }
        index
    }

    fn find(&self, policy: &Policy) -> Option<&'a Policy> {
        let same = self.0.get(&(policy.direction.0, policy.selector))?;
        same.iter().copied().find(|other| other.is_same_as(policy))
    }
}

#[cfg(test)]
mod tests {
    use xfrm_sys::{Errno, FakeKernel, Operation};

    use super::*;
    use crate::testing::set_of;
    use crate::wanted;

    const OLD: &str = "flush; spdflush;
        spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
        spdadd 192.0.2.2 192.0.2.1 any -P in ipsec esp/transport//require;
        spdadd 192.0.2.1 192.0.2.3 any -P out ipsec esp/transport//require;
        spdadd 0.0.0.0/0 0.0.0.0/0 icmp -P out none;";
    const NEW: &str = "flush; spdflush;
        spdadd 0.0.0.0/0 0.0.0.0/0[22] tcp -P out prio def + 100 none;
        spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
        spdadd 192.0.2.2 192.0.2.1 any -P in ipsec esp/transport//unique:5;
        spdadd 192.0.2.1 192.0.2.4 any -P out ipsec esp/transport//require;";

    fn plan(text: &str, fake: &mut FakeKernel, before: &[Wanted]) -> (Plan, Vec<Wanted>) {
        let present = fake.dump_policies().unwrap();
        let set = set_of(text);
        let wanted = wanted(&set, &present);
        (Plan::new(&wanted, &present, set.replaces, before), wanted)
    }

    fn loaded(text: &str) -> FakeKernel {
        let mut fake = FakeKernel::new();
        plan(text, &mut fake, &[]).0.apply(&mut fake).unwrap();
        fake
    }

    fn by_index(fake: &FakeKernel) -> Vec<Policy> {
        let mut all = fake.policies();
        all.sort_by_key(|policy| policy.index);
        all
    }

    #[test]
    fn a_new_set_keeps_what_stays_changes_in_place_and_deletes_last() {
        let mut fake = loaded(OLD);
        let before = by_index(&fake);
        let start = fake.journal().len();
        let (plan, _) = plan(NEW, &mut fake, &[]);
        let summary = plan.apply(&mut fake).unwrap();
        // `in` and its copy differ in their reqid: the copy keeps 0.
        assert_eq!(summary, Summary { added: 2, updated: 1, deleted: 2 });
        assert_eq!(summary, plan.summary());
        let done: Vec<Operation> =
            fake.journal()[start + 1..].iter().map(|(operation, _)| *operation).collect();
        use Operation::{AddPolicy, DeletePolicy, UpdatePolicy};
        assert_eq!(done, [UpdatePolicy, AddPolicy, AddPolicy, DeletePolicy, DeletePolicy]);
        let after = by_index(&fake);
        assert_eq!(after[0], before[0]);
        assert_eq!(after[1].index, before[1].index);
        assert_eq!(after[1].templates[0].reqid, 5);
    }

    #[test]
    fn the_same_set_again_touches_nothing() {
        let mut fake = loaded(NEW);
        assert_eq!(plan(NEW, &mut fake, &[]).0, Plan::default());
    }

    #[test]
    fn a_policy_that_was_moved_stays_so() {
        let mut fake = loaded(OLD);
        let peer: std::net::IpAddr = "192.0.2.2".parse().unwrap();
        let with_peer = |policy: &Policy| policy.selector.destination.address == peer;
        let mut may_move = fake.policies().into_iter().filter(crate::may_move);
        let outbound = may_move.find(with_peer).unwrap();
        fake.update_policy(&crate::moved(&outbound)).unwrap();
        assert_eq!(plan(OLD, &mut fake, &[]).0, Plan::default());
        // What else is written differently is changed, and it is still moved; and a reqid that is written holds.
        for (level, reqid) in [("use", crate::MOVED_REQID), ("unique:7", 7)] {
            let new = OLD.replacen("esp/transport//require", &format!("esp/transport//{level}"), 1);
            let (plan, _) = plan(&new, &mut fake, &[]);
            assert_eq!(plan.summary(), Summary { updated: 1, ..Summary::default() }, "{level}");
            plan.apply(&mut fake).unwrap();
            let after = fake.get_policy(&PolicyQuery::same_as(&outbound)).unwrap();
            assert_eq!(after.templates[0].reqid, reqid, "{level}");
        }
    }

    #[test]
    fn protection_comes_before_exceptions_and_exceptions_go_first() {
        let (plan, _) = plan(NEW, &mut FakeKernel::new(), &[]);
        let opens: Vec<bool> = plan.steps.iter().map(|step| step.change.opens()).collect();
        assert_eq!(opens, [false, false, false, false, true]);
        let empty = Plan::new(&[], &loaded(NEW).policies(), true, &[]);
        let opens: Vec<bool> = empty.steps.iter().map(|step| step.change.opens()).collect();
        assert_eq!(opens, [false, true, true, true, true]);
    }

    #[test]
    fn a_failure_at_any_step_is_undone_and_names_its_line() {
        let steps = plan(NEW, &mut loaded(OLD), &[]).0.steps.len();
        assert_eq!(steps, 5);
        for failing in 0..steps {
            let mut fake = loaded(OLD);
            let before = by_index(&fake);
            let (plan, _) = plan(NEW, &mut fake, &[]);
            fake.fail_after(failing, Errno::EINVAL);
            let failed = plan.apply(&mut fake).unwrap_err();
            assert_eq!(failed.place, plan.steps[failing].place);
            assert_eq!(failed.stuck, []);
            assert_eq!(by_index(&fake), before, "step {failing}");
        }
        let mut fake = loaded(OLD);
        let (plan, _) = plan(NEW, &mut fake, &[]);
        fake.fail_next(Operation::UpdatePolicy, Errno::EINVAL, Some("no"));
        let said = plan.apply(&mut fake).unwrap_err().to_string();
        assert!(said.starts_with("p.conf:4:9: cannot update policy (in "), "{said}");
        assert!(said.ends_with("the policies are as they were"), "{said}");
    }

    #[test]
    fn what_cannot_be_taken_back_is_said() {
        let mut fake = loaded(OLD);
        let (plan, _) = plan(NEW, &mut fake, &[]);
        fake.fail_after(2, Errno::EINVAL);
        fake.refuse(Operation::DeletePolicy, Errno::EPERM, None);
        let failed = plan.apply(&mut fake).unwrap_err();
        assert_eq!(failed.stuck.len(), 1);
        assert!(failed.to_string().contains("not everything could be taken back"), "{failed}");
    }

    #[test]
    fn a_file_without_flushes_minds_its_own_policies_only() {
        const MINE: &str = "spdadd 192.0.2.1 192.0.2.9 any -P out ipsec esp/transport//require;";
        let mut fake = loaded(OLD);
        let (first, wanted) = plan(MINE, &mut fake, &[]);
        assert_eq!(first.apply(&mut fake).unwrap(), Summary { added: 1, ..Summary::default() });
        // The file is edited: what it no longer says goes, what others put there stays.
        let other = MINE.replace("192.0.2.9", "192.0.2.8");
        let (second, _) = plan(&other, &mut fake, &wanted);
        assert_eq!(second.summary(), Summary { added: 1, updated: 0, deleted: 1 });
        second.apply(&mut fake).unwrap();
        assert_eq!(fake.policies().len(), 6);
    }

    #[test]
    fn a_policy_that_is_put_back_has_the_number_it_had() {
        let mut fake = loaded(OLD);
        let (_, mut wanted) = plan(OLD, &mut fake, &[]);
        let before = by_index(&fake);
        note_indices(&mut wanted, &before);
        fake.forget_policies(|policy| policy.index == before[1].index);
        let present = fake.dump_policies().unwrap();
        let summary = Plan::new(&wanted, &present, false, &[]).apply(&mut fake).unwrap();
        assert_eq!(summary, Summary { added: 1, ..Summary::default() });
        assert_eq!(by_index(&fake), before);
    }

    #[test]
    fn policies_of_sockets_and_of_another_database_are_left_alone() {
        let mut present = loaded(OLD).policies();
        present[0].direction = xfrm_sys::Direction(4);
        present[1].policy_type = Some(xfrm_sys::PolicyType::SUB);
        let plan = Plan::new(&[], &present, true, &[]);
        assert_eq!(plan.summary().deleted, present.len() - 2);
    }

    #[test]
    fn a_mesh_of_many_policies_is_loaded_in_batches() {
        let text: String = (0..300)
            .map(|n| {
                let peer = format!("10.0.{}.{}", n / 250, n % 250 + 1);
                format!("spdadd 192.0.2.1 {peer} any -P out ipsec esp/transport//require;\n")
            })
            .collect();
        let mut fake = FakeKernel::new();
        let (plan, _) = plan(&text, &mut fake, &[]);
        fake.fail_after(299, Errno::ENOMEM);
        assert_eq!(plan.apply(&mut fake).unwrap_err().place.unwrap().line, 300);
        assert_eq!(fake.policies(), []);
        assert_eq!(plan.apply(&mut fake).unwrap().added, 300);
    }
}

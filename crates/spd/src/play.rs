//! setkey's commands, played one after another on what the kernel has.

use std::collections::BTreeMap;

use coati_config::diag::Place;
use coati_config::setkey::FwdCopies;
use coati_config::setkey::model::{Direction as Way, SpdPolicy, SpdSelector};
use xfrm_sys::{Policy, Selector};

use crate::moved::as_it_moved;
use crate::plan::{as_they_moved, says_the_same};
use crate::wanted::{Reqids, direction, kernel_policy, selector};
use crate::{Plan, Wanted};

/// The policies that there would be if some commands were carried out. Nothing has happened to the kernel yet.
#[derive(Clone, Debug)]
pub struct Play {
    copies: FwdCopies,
    present: Vec<Policy>,
    reqids: Reqids,
    entries: BTreeMap<Key, Entry>,
    /// Those that setkey's language has no words for: with a mark, of an xfrm interface, of another database.
    foreign: Vec<Policy>,
    next: u64,
}

/// What setkey and the kernel know a policy by.
type Key = (u8, Selector);

#[derive(Clone, Debug)]
struct Entry {
    wanted: Wanted,
    order: u64,
    /// Written as `fwd` by these commands: no copy of an `in` policy.
    is_own: bool,
}

/// There is a policy for the same traffic already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// It does the same.
    pub same: bool,
    /// Where it was added, if these commands added it.
    pub place: Option<Place>,
}

impl Play {
    /// Begins with what is in the kernel.
    #[must_use]
    pub fn new(present: &[Policy], copies: FwdCopies) -> Self {
        let mut play = Self {
            copies,
            present: present.to_vec(),
            reqids: Reqids::of(present),
            entries: BTreeMap::new(),
            foreign: Vec::new(),
            next: 0,
        };
        for policy in present.iter().filter(|policy| !policy.direction.is_socket()) {
            match has_words(policy) {
                true => play.put(Wanted { policy: policy.clone(), place: None }, false),
                false => play.foreign.push(policy.clone()),
            }
        }
        play
    }

    /// `spdadd`.
    ///
    /// # Errors
    /// There is one for the same traffic, which stays.
    pub fn add(&mut self, written: &SpdPolicy) -> Result<(), Clash> {
        if let Some(there) = self.entries.get(&key_of(&written.selector)) {
            let new = as_it_moved(&kernel_policy(written, &mut self.reqids), &there.wanted.policy);
            let same = says_the_same(&there.wanted.policy, &new);
            return Err(Clash { same, place: there.wanted.place.clone() });
        }
        self.update(written);
        Ok(())
    }

    /// `spdupdate`: adds a policy or replaces the one for the same traffic.
    pub fn update(&mut self, written: &SpdPolicy) {
        self.put_written(written, written.selector.direction == Way::Fwd);
        let has_own = |entry: &Entry| entry.is_own;
        if written.selector.direction == Way::In
            && self.copies == FwdCopies::Made
            && !self.entries.get(&key_of(&written.selector.forwarded())).is_some_and(has_own)
        {
            self.put_written(&written.forwarded(), false);
        }
    }

    /// `spddelete`; whether there was one. The copy goes in any case: `setkey -k` may have left it alone.
    pub fn delete(&mut self, written: &SpdSelector) -> bool {
        let found = self.entries.remove(&key_of(written)).is_some();
        if written.direction == Way::In && self.copies == FwdCopies::Made {
            let copy = key_of(&written.forwarded());
            if self.entries.get(&copy).is_some_and(|entry| !entry.is_own) {
                self.entries.remove(&copy);
            }
        }
        found
    }

    /// `spdflush`: all policies of the main database.
    pub fn flush(&mut self) {
        self.entries.clear();
        self.foreign.retain(|policy| !policy.is_main());
    }

    /// The policies that there would be, those of sockets left out.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.entries.values().map(|entry| &entry.wanted.policy).chain(&self.foreign)
    }

    /// The way there from what the kernel has, or from where the last plan led: what stays is not touched.
    #[must_use]
    pub fn advance(&mut self) -> Plan {
        let mut entries: Vec<&Entry> = self.entries.values().collect();
        entries.sort_by_key(|entry| entry.order);
        let foreign = self.foreign.iter().map(|policy| Wanted { policy: policy.clone(), place: None });
        let mut wanted: Vec<Wanted> =
            entries.iter().map(|entry| entry.wanted.clone()).chain(foreign).collect();
        as_they_moved(&mut wanted, &self.present);
        let plan = Plan::new(&wanted, &self.present, true, &[]);
        self.present = wanted.into_iter().map(|wanted| wanted.policy).collect();
        plan
    }

    fn put_written(&mut self, written: &SpdPolicy, is_own: bool) {
        let policy = kernel_policy(written, &mut self.reqids);
        self.put(Wanted { policy, place: Some(written.place.clone()) }, is_own);
    }

    /// Puts a policy in the place of the one for the same traffic, or at the end.
    fn put(&mut self, wanted: Wanted, is_own: bool) {
        let key = (wanted.policy.direction.0, wanted.policy.selector);
        let order = self.entries.get(&key).map_or(self.next, |entry| entry.order);
        self.next += 1;
        self.entries.insert(key, Entry { wanted, order, is_own });
    }
}

/// Whether setkey's language can speak of a policy of the kernel.
fn has_words(policy: &Policy) -> bool {
    let has_mark = policy.mark.is_some_and(|mark| (mark.value, mark.mask) != (0, 0));
    policy.is_main() && !has_mark && policy.if_id.unwrap_or(0) == 0
}

fn key_of(written: &SpdSelector) -> Key {
    (direction(written).0, selector(written))
}

#[cfg(test)]
mod tests {
    use coati_config::files::Memory;
    use coati_config::setkey::model::Action;
    use coati_config::setkey::parse;
    use xfrm_sys::{Direction, FakeKernel, Mark, Xfrm};

    use super::*;
    use crate::Summary;

    const PAIR: &str = "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
        spdadd 192.0.2.2 192.0.2.1 any -P in ipsec esp/transport//unique:7;";

    /// Plays commands and carries them out; gives what was done, the clashes and the deletions of nothing.
    fn play(fake: &mut FakeKernel, text: &str, copies: FwdCopies) -> (Summary, Vec<bool>, usize) {
        let (file, said) = parse("p.conf", text.as_bytes(), &Memory::new());
        let mut play = Play::new(&fake.dump_policies().unwrap(), copies);
        let (mut clashes, mut missing) = (Vec::new(), 0);
        for command in file.unwrap_or_else(|| panic!("{said}")).commands {
            match command.action {
                Action::SpdFlush => play.flush(),
                Action::SpdAdd(policy) => clashes.extend(play.add(&policy).err().map(|clash| clash.same)),
                Action::SpdUpdate(policy) => play.update(&policy),
                Action::SpdDelete(selector) => missing += usize::from(!play.delete(&selector)),
                _ => {}
            }
        }
        (play.advance().apply(fake).unwrap(), clashes, missing)
    }

    fn summary(added: usize, updated: usize, deleted: usize) -> Summary {
        Summary { added, updated, deleted }
    }

    #[test]
    fn the_same_commands_after_a_flush_touch_nothing() {
        let mut fake = FakeKernel::new();
        assert_eq!(play(&mut fake, PAIR, FwdCopies::Made), (summary(3, 0, 0), vec![], 0));
        let before = fake.policies();
        let again = format!("spdflush; {PAIR}");
        assert_eq!(play(&mut fake, &again, FwdCopies::Made), (summary(0, 0, 0), vec![], 0));
        assert_eq!(fake.policies(), before);
        // So they do where a policy was moved to Coati's SAs, whatever is written in between.
        let outbound = before.into_iter().find(crate::may_move).unwrap();
        fake.update_policy(&crate::moved(&outbound)).unwrap();
        assert_eq!(play(&mut fake, &again, FwdCopies::Made), (summary(0, 0, 0), vec![], 0));
        assert_eq!(play(&mut fake, PAIR, FwdCopies::Made), (summary(0, 0, 0), vec![true, true], 0));
        assert!(fake.policies().iter().any(crate::is_moved));
        assert_eq!(play(&mut fake, "spdflush;", FwdCopies::Made), (summary(0, 0, 3), vec![], 0));
    }

    #[test]
    fn what_is_there_clashes_and_stays() {
        let mut fake = FakeKernel::new();
        play(&mut fake, PAIR, FwdCopies::Made);
        let before = fake.policies();
        assert_eq!(play(&mut fake, PAIR, FwdCopies::Made), (summary(0, 0, 0), vec![true, true], 0));
        let other = PAIR.replace("require", "use");
        assert_eq!(play(&mut fake, &other, FwdCopies::Made), (summary(0, 0, 0), vec![false, true], 0));
        assert_eq!(fake.policies(), before);
        let update = other.replace("spdadd", "spdupdate");
        assert_eq!(play(&mut fake, &update, FwdCopies::Made), (summary(0, 1, 0), vec![], 0));
    }

    #[test]
    fn a_copy_comes_and_goes_with_its_policy_unless_it_was_written() {
        let delete = "spddelete 192.0.2.2 192.0.2.1 any -P in;";
        let fwd = "spdadd 192.0.2.2 192.0.2.1 any -P fwd discard;";
        let mut fake = FakeKernel::new();
        play(&mut fake, PAIR, FwdCopies::Made);
        assert_eq!(play(&mut fake, delete, FwdCopies::Made), (summary(0, 0, 2), vec![], 0));
        assert_eq!(play(&mut fake, delete, FwdCopies::Made), (summary(0, 0, 0), vec![], 1));
        assert_eq!(play(&mut fake, &format!("{fwd}{PAIR}"), FwdCopies::Made).0, summary(2, 0, 0));
        let forward: Vec<Policy> =
            fake.policies().into_iter().filter(|policy| policy.direction == Direction::FWD).collect();
        assert_eq!(forward[0].action, xfrm_sys::Action::BLOCK);
        assert_eq!(play(&mut fake, delete, FwdCopies::NotMade), (summary(0, 0, 1), vec![], 0));
        assert_eq!(play(&mut fake, PAIR, FwdCopies::NotMade), (summary(1, 0, 0), vec![true], 0));
        assert_eq!(play(&mut fake, delete, FwdCopies::NotMade), (summary(0, 0, 1), vec![], 0));
        assert_eq!(play(&mut fake, delete, FwdCopies::Made), (summary(0, 0, 1), vec![], 1));
    }

    #[test]
    fn a_copy_is_as_strict_as_its_policy() {
        use xfrm_sys::Level::{Optional, Required};
        for (level, expected) in
            [("use", Optional), ("require", Required), ("default", Required), ("unique:7", Required)]
        {
            let mut fake = FakeKernel::new();
            let text = format!("spdadd 192.0.2.2 192.0.2.1 any -P in ipsec esp/transport//{level};");
            play(&mut fake, &text, FwdCopies::Made);
            let policies = fake.policies();
            let copy = policies.iter().find(|policy| policy.direction == Direction::FWD).unwrap();
            assert_eq!((copy.templates[0].level, copy.templates[0].reqid), (expected, 0), "{level}");
        }
    }

    #[test]
    fn host_bits_do_not_make_another_policy() {
        let mut fake = FakeKernel::new();
        play(&mut fake, "spdadd 192.0.2.77/24 10.0.0.1/8 any -P out discard;", FwdCopies::Made);
        let delete = "spddelete 192.0.2.0/24 10.0.0.0/8 any -P out;";
        assert_eq!(play(&mut fake, delete, FwdCopies::Made), (summary(0, 0, 1), vec![], 0));
    }

    #[test]
    fn policies_that_the_language_cannot_name_go_with_a_flush_only() {
        let mut fake = FakeKernel::new();
        play(&mut fake, PAIR, FwdCopies::NotMade);
        let mut marked = fake.policies()[0].clone();
        marked.mark = Some(Mark { value: 1, mask: 1 });
        marked.index = 0;
        fake.add_policy(&marked).unwrap();
        let delete = "spddelete 192.0.2.2 192.0.2.1 any -P in;";
        assert_eq!(play(&mut fake, delete, FwdCopies::NotMade).0, summary(0, 0, 1));
        assert!(fake.policies().iter().any(|policy| policy.mark.is_some()));
        assert_eq!(play(&mut fake, "spdflush;", FwdCopies::Made).0, summary(0, 0, 2));
    }

    #[test]
    fn unique_policies_keep_the_reqids_they_were_given() {
        let unique = "spdflush; spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//unique;";
        let mut fake = FakeKernel::new();
        assert_eq!(play(&mut fake, unique, FwdCopies::Made).0, summary(1, 0, 0));
        assert_eq!(fake.policies()[0].templates[0].reqid, 16_384);
        assert_eq!(play(&mut fake, unique, FwdCopies::Made).0, summary(0, 0, 0));
    }
}

//! The fake's SPD: the rules of `net/xfrm/xfrm_policy.c` and `xfrm_user.c`.

use nix::errno::Errno;

use super::{Database, refused};
use crate::constants::XFRM_MAX_DEPTH;
use crate::error::{Error, Object, Operation};
use crate::lifetime::Usage;
use crate::monitor::Event;
use crate::policy::{Direction, Policy, PolicyKey, PolicyQuery, PolicyType};
use crate::request::RequestRef;

impl Database {
    /// Adds a policy, or replaces the same one unless it shall be new (`exclusive`).
    pub(in crate::fake) fn put_policy(&mut self, policy: &Policy, exclusive: bool) -> Result<(), Error> {
        let operation = if exclusive { Operation::AddPolicy } else { Operation::UpdatePolicy };
        let subject = self.begin(operation, PolicyQuery::same_as(policy).into())?;
        RequestRef::AddPolicy(policy).check()?;
        let misnumbered = policy.index != 0 && Direction::of_index(policy.index) != policy.direction;
        if policy.direction.is_socket()
            || misnumbered
            || policy.selector.any_family
            || policy.templates.len() > XFRM_MAX_DEPTH
        {
            return Err(refused(&subject, Errno::EINVAL, None));
        }
        let same = self.policies.iter().position(|old| old.is_same_as(policy));
        if exclusive && same.is_some() {
            return Err(refused(&subject, Errno::EEXIST, None));
        }
        let old = same.map(|same| self.policies.remove(same));
        let mut new = policy.clone();
        new.index = match old {
            Some(old) => old.index,
            None => self.index_for(policy),
        };
        new.usage = Usage { add_time: self.now, ..Usage::default() };
        new.policy_type = policy.policy_type.or(Some(PolicyType::MAIN));
        self.policies.push(new.clone());
        let new = Box::new(new);
        self.tell(if exclusive { Event::NewPolicy(new) } else { Event::UpdatedPolicy(new) });
        Ok(())
    }

    pub(in crate::fake) fn delete_policy(&mut self, query: &PolicyQuery) -> Result<(), Error> {
        let subject = self.begin(Operation::DeletePolicy, (*query).into())?;
        let found = self.find_policy(query).ok_or_else(|| refused(&subject, Errno::ENOENT, None))?;
        let policy = self.policies.remove(found);
        self.tell(Event::DeletedPolicy(
            PolicyQuery { direction: policy.direction, ..*query },
            Some(Box::new(policy)),
        ));
        Ok(())
    }

    pub(in crate::fake) fn get_policy(&mut self, query: &PolicyQuery) -> Result<Policy, Error> {
        let subject = self.begin(Operation::GetPolicy, (*query).into())?;
        let found = self.find_policy(query).and_then(|found| self.policies.get(found));
        found.cloned().ok_or_else(|| refused(&subject, Errno::ENOENT, None))
    }

    pub(in crate::fake) fn dump_policies(&mut self) -> Result<Vec<Policy>, Error> {
        self.begin(Operation::DumpPolicies, Object::None)?;
        Ok(self.policies.iter().rev().cloned().collect())
    }

    pub(in crate::fake) fn flush_policies(&mut self) -> Result<(), Error> {
        self.begin(Operation::FlushPolicies, Object::None)?;
        let before = self.policies.len();
        self.policies.retain(|policy| policy.policy_type == Some(PolicyType::SUB));
        if self.policies.len() < before {
            self.tell(Event::FlushedPolicies);
        }
        Ok(())
    }

    fn find_policy(&self, query: &PolicyQuery) -> Option<usize> {
        self.policies.iter().position(|policy| match query.key {
            PolicyKey::Index(index) => {
                let scope = Policy {
                    mark: query.mark,
                    if_id: query.if_id,
                    policy_type: query.policy_type,
                    ..bare(policy)
                };
                policy.index == index && policy.direction == query.direction && policy.is_same_as(&scope)
            }
            PolicyKey::Selector(selector) => {
                let mut wanted = Policy::new(selector, query.direction);
                wanted.mark = query.mark;
                wanted.if_id = query.if_id;
                wanted.policy_type = query.policy_type;
                policy.is_same_as(&wanted)
            }
        })
    }

    /// The index wanted if it is free, else the next free one.
    fn index_for(&mut self, policy: &Policy) -> u32 {
        let taken = |index: u32| self.policies.iter().any(|policy| policy.index == index);
        if policy.index != 0 && !taken(policy.index) {
            return policy.index;
        }
        let mut base = self.last_index;
        loop {
            base = base.wrapping_add(8).max(8);
            let index = base | u32::from(policy.direction.0);
            if !taken(index) {
                self.last_index = base;
                return index;
            }
        }
    }
}

/// The policy's selector and direction alone.
fn bare(policy: &Policy) -> Policy {
    Policy::new(policy.selector, policy.direction)
}

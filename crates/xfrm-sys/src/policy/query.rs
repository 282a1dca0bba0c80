//! `struct xfrm_userpolicy_id`: which policy to get or delete.

use std::fmt;

use super::{Direction, Policy, PolicyType};
use crate::attr::{Mark, attributes};
use crate::codec::{Malformed, Reader, Writer};
use crate::constants::{AF_INET, XFRMA_IF_ID, XFRMA_MARK, XFRMA_POLICY_TYPE};
use crate::selector::Selector;

/// How a policy is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKey {
    /// By its index, which is not 0.
    Index(u32),
    /// By its selector.
    Selector(Selector),
}

/// Which policy to get or delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyQuery {
    /// Its direction.
    pub direction: Direction,
    /// Its index or selector.
    pub key: PolicyKey,
    /// Its mark.
    pub mark: Option<Mark>,
    /// Its xfrm interface's id.
    pub if_id: Option<u32>,
    /// The database it is in.
    pub policy_type: Option<PolicyType>,
}

impl PolicyQuery {
    /// The policy numbered `index`, which says its direction too. For one with a mark or an xfrm interface those must
    /// be given as well.
    pub const fn by_index(index: u32) -> Self {
        Self {
            direction: Direction::of_index(index),
            key: PolicyKey::Index(index),
            mark: None,
            if_id: None,
            policy_type: None,
        }
    }

    /// The policy for `selector`.
    pub const fn by_selector(selector: Selector, direction: Direction) -> Self {
        Self { direction, key: PolicyKey::Selector(selector), mark: None, if_id: None, policy_type: None }
    }

    /// The policy that is the same as `policy`, whatever its index.
    pub const fn same_as(policy: &Policy) -> Self {
        Self {
            direction: policy.direction,
            key: PolicyKey::Selector(policy.selector),
            mark: policy.mark,
            if_id: policy.if_id,
            policy_type: policy.policy_type,
        }
    }

    /// Reads `struct xfrm_userpolicy_id`, 64 octets.
    pub(crate) fn read_id(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut from = from.part("xfrm_userpolicy_id", 64)?;
        let mut selector = from.part("xfrm_selector", 56)?;
        let index = from.u32()?;
        let direction = Direction(from.u8()?);
        if index != 0 {
            return Ok(Self { direction, ..Self::by_index(index) });
        }
        Ok(Self::by_selector(Selector::read(&mut selector, AF_INET)?, direction))
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut query = Self::read_id(from)?;
        for attribute in attributes(*from) {
            let attribute = attribute?;
            match attribute.kind {
                XFRMA_MARK => query.mark = Some(Mark::read(attribute.reader("XFRMA_MARK"))?),
                XFRMA_IF_ID => query.if_id = Some(attribute.u32("XFRMA_IF_ID")?),
                XFRMA_POLICY_TYPE => {
                    query.policy_type = Some(PolicyType(attribute.reader("XFRMA_POLICY_TYPE").u8()?));
                }
                _ => {}
            }
        }
        Ok(query)
    }

    /// Writes `struct xfrm_userpolicy_id`.
    pub(crate) fn write_id(&self, to: &mut Writer) {
        let index = match &self.key {
            PolicyKey::Index(index) => {
                to.zeros(56);
                *index
            }
            PolicyKey::Selector(selector) => {
                selector.write(to);
                0
            }
        };
        to.u32(index);
        to.u8(self.direction.0);
        to.zeros(3);
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        self.write_id(to);
        super::wire::write_scope(to, self.mark, self.if_id, self.policy_type);
    }
}

impl fmt::Display for PolicyQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            PolicyKey::Index(index) => write!(f, "{} index {index}", self.direction),
            PolicyKey::Selector(selector) => write!(f, "{} {selector}", self.direction),
        }
    }
}

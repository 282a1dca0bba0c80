//! The octets of a policy.

use super::{Action, Direction, Policy, PolicyFlags, PolicyType, Share, Template};
use crate::attr::{Mark, attributes};
use crate::codec::{Malformed, Reader, Writer, family_of};
use crate::constants::{AF_INET, XFRMA_IF_ID, XFRMA_MARK, XFRMA_PAD, XFRMA_POLICY_TYPE, XFRMA_TMPL};
use crate::lifetime::{Limits, Usage};
use crate::selector::Selector;

/// The size of `struct xfrm_userpolicy_info`.
pub(crate) const INFO_LEN: usize = 168;

impl Policy {
    /// Reads `struct xfrm_userpolicy_info` alone.
    pub(crate) fn read_info(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut from = from.part("xfrm_userpolicy_info", INFO_LEN)?;
        let selector = Selector::read(&mut from, AF_INET)?;
        let limits = Limits::read(&mut from)?;
        let usage = Usage::read(&mut from)?;
        let priority = from.u32()?;
        let index = from.u32()?;
        let direction = Direction(from.u8()?);
        let action = Action(from.u8()?);
        let flags = PolicyFlags(from.u8()?);
        let share = Share(from.u8()?);
        Ok(Self { index, priority, action, flags, share, limits, usage, ..Self::new(selector, direction) })
    }

    /// Completes the policy from the attributes behind it. Where one is repeated the last counts, as in the kernel.
    pub(crate) fn with_attributes(mut self, from: Reader<'_>) -> Result<Self, Malformed> {
        for attribute in attributes(from) {
            let attribute = attribute?;
            match attribute.kind {
                XFRMA_TMPL => {
                    self.templates.clear();
                    let mut from = attribute.reader("XFRMA_TMPL");
                    while !from.is_empty() {
                        self.templates
                            .push(Template::read(&mut from, family_of(self.selector.destination.address))?);
                    }
                }
                XFRMA_MARK => self.mark = Some(Mark::read(attribute.reader("XFRMA_MARK"))?),
                XFRMA_IF_ID => self.if_id = Some(attribute.u32("XFRMA_IF_ID")?),
                XFRMA_POLICY_TYPE => {
                    self.policy_type = Some(PolicyType(attribute.reader("XFRMA_POLICY_TYPE").u8()?));
                }
                XFRMA_PAD => {}
                _ => self.other.push(attribute.kept()),
            }
        }
        Ok(self)
    }

    /// Reads `struct xfrm_userpolicy_info` and the attributes up to the end of the message.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::read_info(from)?.with_attributes(*from)
    }

    /// Writes `struct xfrm_userpolicy_info`.
    pub(crate) fn write_info(&self, to: &mut Writer) {
        self.selector.write(to);
        self.limits.write(to);
        self.usage.write(to);
        to.u32(self.priority);
        to.u32(self.index);
        to.u8(self.direction.0);
        to.u8(self.action.0);
        to.u8(self.flags.0);
        to.u8(self.share.0);
        to.zeros(4);
    }

    pub(crate) fn write_attributes(&self, to: &mut Writer) {
        if !self.templates.is_empty() {
            to.attribute(XFRMA_TMPL, |to| self.templates.iter().for_each(|template| template.write(to)));
        }
        write_scope(to, self.mark, self.if_id, self.policy_type);
        for attribute in &self.other {
            attribute.write(to);
        }
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        self.write_info(to);
        self.write_attributes(to);
    }

    /// Whether the addresses of the selector, and of each template, are of one family.
    pub(crate) fn is_consistent(&self) -> bool {
        self.selector.is_consistent() && self.templates.iter().all(Template::is_consistent)
    }
}

/// Writes what sets apart policies of equal selectors, in the kernel's order.
pub(crate) fn write_scope(to: &mut Writer, mark: Option<Mark>, if_id: Option<u32>, kind: Option<PolicyType>) {
    if let Some(kind) = kind {
        write_policy_type(to, kind);
    }
    if let Some(mark) = mark {
        to.attribute(XFRMA_MARK, |to| mark.write(to));
    }
    if let Some(if_id) = if_id {
        to.attribute(XFRMA_IF_ID, |to| to.u32(if_id));
    }
}

/// Writes `struct xfrm_userpolicy_type`.
pub(crate) fn write_policy_type(to: &mut Writer, kind: PolicyType) {
    to.attribute(XFRMA_POLICY_TYPE, |to| {
        to.u8(kind.0);
        to.zeros(5);
    });
}

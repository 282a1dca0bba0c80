//! Policies that no file names: the daemon makes them because a peer asked (racoon's `generate_policy`).
//!
//! They are known by their priority, which puts them behind all others. Whoever compares files with the kernel leaves them out.

use xfrm_sys::{Level, Mode, Policy, Protocol, Template};

/// Their priority: behind setkey's `prio low`, and a number that nobody writes by chance.
pub const MADE_PRIORITY: u32 = 0xfff0_ca71;

/// Whether a policy of the kernel was made so.
#[must_use]
pub fn is_made(policy: &Policy) -> bool {
    let is_ours = |template: &Template| {
        (template.protocol, template.mode, template.level)
            == (Protocol::ESP, Mode::TRANSPORT, Level::Required)
    };
    policy.priority == MADE_PRIORITY && policy.templates.len() == 1 && policy.templates.iter().all(is_ours)
}

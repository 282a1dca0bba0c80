//! Policies that were moved to Coati's SAs while another keying daemon runs beside it.
//!
//! racoon's SAs have reqid 0, as its policies do, and the kernel sends on an SA whose reqid is the policy's, exactly. So both
//! daemons' SAs can be there at one time, and the reqid of the `out` policy alone says whose are sent on. `in` and `fwd` policies
//! keep 0, which takes both. A moved policy stays moved when racoon is gone: its files still say 0, and mean the same.

use xfrm_sys::{Action, Direction, Mode, Policy, Protocol};

/// The reqid of moved policies and of the SAs they are for: above those that people write and those that the kernel counts up.
pub const MOVED_REQID: u32 = 0xc0a7_0001;

/// Whether the policy was moved.
#[must_use]
pub fn is_moved(policy: &Policy) -> bool {
    has_reqid(policy, MOVED_REQID)
}

/// Whether the policy can be moved: it is for ESP in transport mode between two single hosts, and says 0. A wider one is many
/// peers', of which some may still be racoon's.
#[must_use]
pub fn may_move(policy: &Policy) -> bool {
    has_reqid(policy, 0)
        && policy.action == Action::ALLOW
        && policy.templates.iter().all(|template| template.mode == Mode::TRANSPORT)
        && policy.selector.source.is_host()
        && policy.selector.destination.is_host()
}

/// The same policy for SAs of Coati's.
#[must_use]
pub fn moved(policy: &Policy) -> Policy {
    with_reqid(policy, MOVED_REQID)
}

/// The same policy as it was written.
#[must_use]
pub fn moved_back(policy: &Policy) -> Policy {
    with_reqid(policy, 0)
}

/// What is to be in the kernel where `wanted` is written and `present` is there: a policy that was moved stays so.
pub(crate) fn as_it_moved(wanted: &Policy, present: &Policy) -> Policy {
    if is_moved(present) && may_move(wanted) { moved(wanted) } else { wanted.clone() }
}

fn has_reqid(policy: &Policy, reqid: u32) -> bool {
    let [template] = policy.templates.as_slice() else { return false };
    policy.is_main()
        && policy.direction == Direction::OUT
        && template.protocol == Protocol::ESP
        && template.reqid == reqid
}

fn with_reqid(policy: &Policy, reqid: u32) -> Policy {
    let mut policy = policy.clone();
    policy.templates.iter_mut().for_each(|template| template.reqid = reqid);
    policy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::set_of;
    use crate::wanted;

    #[test]
    fn only_what_is_between_two_hosts_and_names_no_reqid_moves() {
        let set = set_of(
            "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
             spdadd 192.0.2.1 192.0.2.3 tcp -P out ipsec esp/transport//use;
             spdadd 192.0.2.1 192.0.2.4 any -P out ipsec esp/transport//unique:7;
             spdadd 192.0.2.1 192.0.2.0/24 any -P out ipsec esp/transport//require;
             spdadd 192.0.2.1 192.0.2.5 any -P out ipsec ah/transport//require;
             spdadd 192.0.2.1 192.0.2.6 any -P out none;
             spdadd 192.0.2.1 192.0.2.7 any -P out ipsec esp/tunnel/192.0.2.1-192.0.2.7/require;
             spdadd 192.0.2.2 192.0.2.1 any -P in ipsec esp/transport//require;",
        );
        let all: Vec<Policy> = wanted(&set, &[]).into_iter().map(|wanted| wanted.policy).collect();
        let may: Vec<bool> = all.iter().map(may_move).collect();
        assert_eq!(may, [true, true, false, false, false, false, false, false, false]);
        assert!(!is_moved(&all[0]) && is_moved(&moved(&all[0])));
        assert_eq!(moved_back(&moved(&all[0])), all[0]);
    }
}

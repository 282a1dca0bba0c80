//! Policies that are made because a peer asked for them (racoon's `generate_policy`), in the kernel.
//!
//! They are known by their priority, which puts them behind all others: what the files say comes first, and a daemon finds those
//! of one before it, which it keeps until their peers have had time to come back.

use std::collections::BTreeSet;

use coati_spd::{MADE_PRIORITY, is_made};
use ike_proto::ids::{PolicyIndex, Reqid};
use ike_proto::policy::sad::{Direction, Mode, NewPolicy, SadError};
use ike_proto::policy::spd;
use xfrm_sys::{Error, Policy, PolicyQuery, Template, Xfrm};

use crate::translate;

/// Reqids of their own are above those that setkey and the kernel's PF_KEY give.
const FIRST_REQID: u32 = 0x4000_0000;

/// Puts both directions into the kernel, and gives the outbound one as the kernel numbered it.
pub(crate) fn make(xfrm: &mut impl Xfrm, wish: &NewPolicy) -> Result<spd::Policy, SadError> {
    let refused = |error: Error| SadError::Refused(error.to_string());
    let reqid = if wish.unique { free_reqid(&xfrm.dump_policies().map_err(refused)?) } else { 0 };
    let policy = |direction| {
        let selector = translate::selector(&wish.selector, direction);
        let way = match direction {
            Direction::In => xfrm_sys::Direction::IN,
            Direction::Out => xfrm_sys::Direction::OUT,
        };
        let template = Template { reqid, ..Template::esp_transport(selector.destination.address) };
        Policy { priority: MADE_PRIORITY, templates: vec![template], ..Policy::new(selector, way) }
    };
    let (inbound, outbound) = (policy(Direction::In), policy(Direction::Out));
    // What is there already says something else: it is left.
    xfrm.add_policy(&inbound).map_err(refused)?;
    let numbered = xfrm
        .add_policy(&outbound)
        .and_then(|()| xfrm.get_policy(&PolicyQuery::same_as(&outbound)))
        .inspect_err(|_| remove_where_made(xfrm, &inbound));
    let index = PolicyIndex(numbered.map_err(refused)?.index);
    tracing::info!(peer = %wish.selector.remote.net.address, "a policy is made for the peer: {outbound}");
    Ok(spd::Policy {
        index,
        selector: wish.selector,
        priority: MADE_PRIORITY,
        template: spd::Template {
            mode: Mode::Transport,
            reqid: Reqid(reqid),
            endpoints: None,
            optional: false,
        },
        made: true,
    })
}

/// Removes both directions of a policy that was made.
pub(crate) fn remove(xfrm: &mut impl Xfrm, index: PolicyIndex) -> Result<(), SadError> {
    let refused = |error: Error| match error.is_missing() {
        true => SadError::NotFound,
        false => SadError::Refused(error.to_string()),
    };
    let outbound = xfrm.get_policy(&PolicyQuery::by_index(index.0)).map_err(refused)?;
    if !is_made(&outbound) {
        return Err(SadError::NotFound);
    }
    let selector = translate::outbound_selector(&outbound.selector).ok_or(SadError::NotFound)?;
    let inbound = Policy::new(translate::selector(&selector, Direction::In), xfrm_sys::Direction::IN);
    remove_where_made(xfrm, &inbound);
    xfrm.delete_policy(&PolicyQuery::same_as(&outbound)).map_err(refused)?;
    tracing::info!(peer = %selector.remote.net.address, "the policy that was made for the peer is gone: {outbound}");
    Ok(())
}

/// Removes all that were made, and says how many.
///
/// # Errors
/// What the kernel says.
pub fn sweep(xfrm: &mut impl Xfrm) -> Result<usize, Error> {
    let made: Vec<Policy> = xfrm.dump_policies()?.into_iter().filter(is_made).collect();
    for policy in &made {
        match xfrm.delete_policy(&PolicyQuery::same_as(policy)) {
            Err(error) if !error.is_missing() => return Err(error),
            _ => {}
        }
    }
    Ok(made.len())
}

/// Deletes a policy if one that was made is in its place.
fn remove_where_made(xfrm: &mut impl Xfrm, policy: &Policy) {
    let query = PolicyQuery::same_as(policy);
    if xfrm.get_policy(&query).is_ok_and(|found| is_made(&found)) {
        let _ = xfrm.delete_policy(&query);
    }
}

fn free_reqid(present: &[Policy]) -> u32 {
    let templates = present.iter().flat_map(|policy| &policy.templates);
    let taken: BTreeSet<u32> = templates.map(|template| template.reqid).collect();
    (FIRST_REQID..u32::MAX).find(|reqid| !taken.contains(reqid)).unwrap_or(FIRST_REQID)
}

#[cfg(test)]
mod tests {
    use coati_spd::{Plan, wanted};
    use ike_proto::policy::selector::{Net, Selector, Side};
    use xfrm_sys::FakeKernel;

    use super::*;
    use crate::testing::set_of;
    use crate::view;

    fn wish(remote: &str, protocol: u8, unique: bool) -> NewPolicy {
        let side = |text: &str| Side { net: Net::host(text.parse().unwrap()), port: None };
        NewPolicy { selector: Selector { local: side("192.0.2.1"), remote: side(remote), protocol }, unique }
    }

    #[test]
    fn one_that_is_made_is_there_in_both_directions_behind_all_others_and_goes_whole() {
        let mut kernel = FakeKernel::new();
        let text = "spdadd 192.0.2.1 192.0.2.9 any -P out ipsec esp/transport//require;";
        Plan::new(&wanted(&set_of(text), &[]), &[], true, &[]).apply(&mut kernel).unwrap();
        let before = kernel.dump_policies().unwrap();
        let policy = make(&mut kernel, &wish("192.0.2.2", 6, false)).unwrap();
        let dump = kernel.dump_policies().unwrap();
        assert_eq!(dump.iter().filter(|policy| is_made(policy)).count(), 2);
        assert!(before.iter().all(|other| other.priority < MADE_PRIORITY && !is_made(other)));
        // The engine sees it in the kernel's dump as it was told.
        assert_eq!(view::read(&dump, false).set.get(policy.index), Some(&policy));
        assert_eq!(remove(&mut kernel, policy.index), Ok(()));
        assert_eq!(kernel.dump_policies().unwrap(), before);
        assert_eq!(remove(&mut kernel, policy.index), Err(SadError::NotFound));
    }

    #[test]
    fn those_that_are_unique_have_reqids_of_their_own() {
        let mut kernel = FakeKernel::new();
        let reqid = |policy: spd::Policy| policy.template.reqid.0;
        let first = reqid(make(&mut kernel, &wish("192.0.2.2", 0, true)).unwrap());
        let second = reqid(make(&mut kernel, &wish("192.0.2.3", 0, true)).unwrap());
        assert!(first != second && first > 0x3fff && second > 0x3fff, "{first} {second}");
        let dump = kernel.dump_policies().unwrap();
        let inbound = dump.iter().filter(|policy| policy.direction == xfrm_sys::Direction::IN);
        let reqids: BTreeSet<u32> = inbound.map(|policy| policy.templates[0].reqid).collect();
        assert_eq!(reqids, BTreeSet::from([first, second]));
    }

    #[test]
    fn what_the_operator_has_put_there_is_left_and_nothing_is_made() {
        for text in
            ["spdadd 192.0.2.1 192.0.2.2 any -P out none;", "spdadd 192.0.2.2 192.0.2.1 any -P in none;"]
        {
            let mut kernel = FakeKernel::new();
            Plan::new(&wanted(&set_of(text), &[]), &[], true, &[]).apply(&mut kernel).unwrap();
            let before = kernel.dump_policies().unwrap();
            assert!(matches!(make(&mut kernel, &wish("192.0.2.2", 0, false)), Err(SadError::Refused(_))));
            assert_eq!(kernel.dump_policies().unwrap(), before, "{text}");
            let configured = PolicyIndex(before[0].index);
            assert_eq!(remove(&mut kernel, configured), Err(SadError::NotFound), "it was not made");
            assert_eq!(kernel.dump_policies().unwrap(), before, "{text}");
        }
    }

    #[test]
    fn at_the_end_all_that_were_made_go_and_nothing_else() {
        let mut kernel = FakeKernel::new();
        let text = "spdadd 192.0.2.1 192.0.2.9 any -P out ipsec esp/transport//require;";
        Plan::new(&wanted(&set_of(text), &[]), &[], true, &[]).apply(&mut kernel).unwrap();
        let before = kernel.dump_policies().unwrap();
        for remote in ["192.0.2.2", "192.0.2.3"] {
            make(&mut kernel, &wish(remote, 0, false)).unwrap();
        }
        assert_eq!(sweep(&mut kernel).unwrap(), 4);
        assert_eq!(kernel.dump_policies().unwrap(), before);
        assert_eq!(sweep(&mut kernel).unwrap(), 0);
    }
}

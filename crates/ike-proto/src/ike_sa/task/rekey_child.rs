//! CREATE_CHILD_SA that rekeys a child, both roles (RFC 7296 §1.3.3, §2.8).
//!
//! ```text
//! --- SK {N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr} -->     installs its inbound half
//! <--- SK {SA, Nr, [KEr,] TSi, TSr} ---
//! installs both halves: from now on it sends on the new one
//! === ESP on the new child ==>                          installs its outbound half (or on the DELETE, or after 15 s)
//! --- SK {D(old)} -->
//! <--- SK {D(old)} ---                                  both keep the old inbound half for a grace
//! ```
//!
//! The exchange itself is that of a new child ([`create_child`]); here is what the old one has to do with it.

use crate::error::Error;
use crate::ids::ChildId;
use crate::ike_sa::children::{Child, Stage};
use crate::ike_sa::core::Common;
use crate::ike_sa::env::{Env, Wanted};
use crate::ike_sa::task::collision::{self, Ours, Theirs, Verdict};
use crate::ike_sa::task::create_child::{self, Creating};
use crate::output::What;
use crate::wire::Notify;
use crate::wire::registry::NotifyType;

/// Begins the rekey of a child that is still the one that serves.
pub fn start(env: &mut Env<'_>, common: &mut Common, old: ChildId) -> Option<Creating> {
    if common.children.get(old).is_some_and(|child| matches!(child.stage, Stage::Half { .. })) {
        // The peer may not have it yet and would say so.
        let again = common.try_again(env, 0, NotifyType::TEMPORARY_FAILURE);
        common.children.put_off(env.now, old, again);
        return None;
    }
    let child = common.children.get(old).filter(|child| child.serves())?;
    let path = common.core.path;
    // The policy may have another index by now; what it says then counts.
    let policy = env.policies.get(child.policy).or_else(|| {
        env.policies
            .between(path.local(), path.remote())
            .find(|policy| policy.selector.covers(&child.selector))
    })?;
    let mut wanted = Wanted::by(policy, None);
    wanted.template.reqid = child.reqid;
    create_child::begin(env, common, wanted, Some(old))
}

/// How we stand to the child that a peer's REKEY_SA names, and which one it is.
pub fn judge(common: &Common, notify: &Notify) -> Result<(ChildId, bool), Error> {
    // The peer names the SPI it receives on, which is the one we send on.
    let spi = notify.child_spi();
    let found = spi.and_then(|spi| common.children.by_spi_out(spi)).filter(|child| child.is_current());
    let ours = match found {
        None => Ours::Absent,
        Some(child) if child.deleting => Ours::Deleting,
        Some(child) if matches!(child.stage, Stage::Superseded { .. }) => Ours::Superseded,
        Some(child) if common.tasks.rekeys(child.id) => Ours::Rekeying,
        Some(_) => Ours::Idle,
    };
    match (collision::child(ours, Theirs::Rekey), found) {
        (Verdict::Serve, Some(child)) => Ok((child.id, false)),
        (Verdict::ServeAndCompare, Some(child)) => Ok((child.id, true)),
        (Verdict::Refuse(notify), _) => {
            let named = spi.filter(|_| notify == NotifyType::CHILD_SA_NOT_FOUND);
            Err(Error::incompatible(notify, format!("the child to be rekeyed is {ours:?}")).about(named))
        }
        (_, _) => {
            Err(Error::incompatible(NotifyType::CHILD_SA_NOT_FOUND, "there is no such child").about(spi))
        }
    }
}

/// Our rekey was refused: what becomes of the old child.
pub fn refused(env: &mut Env<'_>, common: &mut Common, old: ChildId, wanted: Wanted, notify: NotifyType) {
    if !common.children.get(old).is_some_and(Child::serves) {
        // It has a successor of the peer's making, or is gone: there is nothing to mend.
        return;
    }
    if notify == NotifyType::CHILD_SA_NOT_FOUND {
        // The peer does not have it: it carries nothing. A new one takes its place (RFC 7296 §2.25).
        let cause = "the peer does not have it";
        common.children.remove(env, &common.core, cause, |child| child.id == old);
        common.tasks.create_child(wanted);
        return;
    }
    let refusals = common.children.get(old).map(|child| child.refusals).unwrap_or_default();
    let again = common.try_again(env, refusals, notify);
    common.children.put_off(env.now, old, again);
    common.note_refusal(env, notify);
    common.core.say(env, What::Note(format!("the rekey of a child is put off: {notify}")));
}

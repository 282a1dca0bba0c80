//! INFORMATIONAL with DELETE, both roles (RFC 7296 §1.4.1).
//!
//! ```text
//! one child    removes its outbound half
//!              --- SK {D(ESP, our inbound SPI)} -->    removes both halves
//!              <--- SK {D(ESP, its inbound SPI)} ---
//!              removes its inbound half
//! the IKE SA   removes all outbound halves
//!              --- SK {D(IKE)} -->                     removes everything
//!              <--- SK {} ---
//!              removes what is left
//! ```
//!
//! What the peer has sent before it knew is taken in, also if its answer has overtaken it.

use crate::ids::{ChildId, ChildSpi};
use crate::ike_sa::children::Stage;
use crate::ike_sa::core::Common;
use crate::ike_sa::env::{Env, Signal};
use crate::ike_sa::task::collision::{self, Ours, Theirs, Verdict};
use crate::ike_sa::task::{After, liveness};
use crate::message::parts::Parts;
use crate::output::{Flow, What};
use crate::wire::registry::{ExchangeType, NotifyType, ProtocolId};
use crate::wire::{Delete, Payload};

/// Whether a peer that says this has no SA with us any more.
#[must_use]
pub const fn is_fatal(notify: NotifyType) -> bool {
    matches!(notify, NotifyType::INVALID_SYNTAX | NotifyType::AUTHENTICATION_FAILED)
}

/// Asks the peer to remove the child we received on under `spi`; nothing is sent on it any more.
pub fn request_child(env: &mut Env<'_>, common: &mut Common, spi: ChildSpi) {
    common.request(env, ExchangeType::INFORMATIONAL, &[Payload::Delete(Delete::esp_sa(spi))]);
}

/// Asks the peer to remove a child that has a successor. Tells whether there was anything to ask.
pub fn retire_child(env: &mut Env<'_>, common: &mut Common, id: ChildId) -> bool {
    let Some(child) = common.children.get_mut(id).filter(|child| child.is_current()) else { return false };
    child.deleting = true;
    let spi = child.spi_in;
    request_child(env, common, spi);
    true
}

/// The peer has removed the child: nothing is sent on it any more, and what is under way may still come.
pub fn retired(env: &mut Env<'_>, common: &mut Common, id: ChildId) -> After {
    common.children.drain(env, &common.core, id, "rekeyed");
    After::GoOn
}

/// Asks the peer to remove the IKE SA.
pub fn request_sa(env: &mut Env<'_>, common: &mut Common) {
    common.request(env, ExchangeType::INFORMATIONAL, &[Payload::Delete(Delete::ike_sa())]);
}

/// Answers an INFORMATIONAL request.
pub fn handle_informational(env: &mut Env<'_>, common: &mut Common, flow: Flow, parts: &Parts) -> After {
    for notify in parts.notifies().filter(|notify| notify.notify_type.is_error()) {
        common.core.say(env, What::Trouble(format!("the peer reports {}", notify.notify_type)));
    }
    // RFC 7296 §2.21.2, §2.21.3: an initiator that does not believe our AUTH says it so, and has no SA.
    if let Some(fatal) = parts.notifies().find(|notify| is_fatal(notify.notify_type)) {
        common.respond(env, flow, ExchangeType::INFORMATIONAL, &[]);
        return After::Lost(format!("the peer reports {}", fatal.notify_type));
    }
    if parts.has(NotifyType::QUICK_CRASH_DETECTION) {
        common.core.take_token(parts);
    }
    if parts.has(NotifyType::INVALID_SPI) {
        // A packet under way may have come after its SA was deleted: it is a hint like others.
        env.signals.push(Signal::Hint);
    }
    if parts.deletes().any(|delete| delete.protocol == ProtocolId::IKE) {
        common.respond(env, flow, ExchangeType::INFORMATIONAL, &[]);
        if common.outlive() {
            // Ours comes, and goes if it has lost: who made a redundant SA deletes it (RFC 7296 §2.8.1).
            return After::GoOn;
        }
        return match common.crossing_ike() {
            // Both ends made a successor, and the peer has seen which one stays: it is the one it made.
            Some(successor) => {
                env.signals.push(Signal::HandOver(successor));
                After::Gone
            }
            None => After::End("deleted by the peer".to_owned()),
        };
    }
    let asked = parts
        .deletes()
        .filter(|delete| delete.protocol == ProtocolId::ESP)
        .flat_map(|delete| delete.spis.iter().copied());
    let ours: Vec<ChildSpi> = asked.filter_map(|spi_out| delete_child(env, common, spi_out)).collect();
    let mut payloads = Vec::new();
    if !ours.is_empty() {
        payloads.push(Payload::Delete(Delete { protocol: ProtocolId::ESP, spis: ours }));
    }
    payloads.extend(liveness::answer(env, common, parts));
    common.respond(env, flow, ExchangeType::INFORMATIONAL, &payloads);
    After::GoOn
}

/// The peer does not receive on `spi_out` any more. Gives the SPI that is to be named in the answer.
fn delete_child(env: &mut Env<'_>, common: &mut Common, spi_out: ChildSpi) -> Option<ChildSpi> {
    let found = common.children.by_spi_out(spi_out).filter(|child| child.is_current());
    let found = found.map(|child| (child.id, child.spi_in, child.policy));
    let ours = match &found {
        None => Ours::Absent,
        Some((id, ..)) if common.tasks.retires(*id) => Ours::Deleting,
        Some((id, ..)) => match common.children.get(*id).map(|child| &child.stage) {
            Some(Stage::Superseded { .. }) => Ours::Superseded,
            // Both ends rekeyed it; that the peer deletes it says that the peer's successor is there.
            _ if common.tasks.has_crossed(*id) => Ours::Superseded,
            _ if common.tasks.rekeys(*id) => Ours::Rekeying,
            _ => Ours::Idle,
        },
    };
    let (id, spi_in, policy) = found?;
    let cause = if ours == Ours::Superseded { "rekeyed" } else { "deleted by the peer" };
    match collision::child(ours, Theirs::Delete) {
        Verdict::Serve if ours == Ours::Superseded => {
            // The peer sends on the successor already: now we may too.
            common.children.go_live_for(env, &common.core, policy);
            common.children.drain(env, &common.core, id, cause);
            Some(spi_in)
        }
        Verdict::Serve | Verdict::ServeAndForgetRekey | Verdict::ServeAndCompare => {
            for child in common.children.remove(env, &common.core, cause, |child| child.id == id) {
                env.signals.push(Signal::ChildDown(child.policy, cause.to_owned()));
            }
            common.children.reinstate(env, &common.core, policy);
            Some(spi_in)
        }
        Verdict::AnswerEmpty | Verdict::Refuse(_) => {
            // The peer does not receive on it any more, whatever it answers to our own DELETE (RFC 7296 §1.4.1).
            common.children.await_drain(env, &common.core, id, cause);
            None
        }
    }
}

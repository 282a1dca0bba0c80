//! INFORMATIONAL with DELETE, both roles (RFC 7296 §1.4.1).
//!
//! ```text
//! one child    --- SK {D(ESP, our inbound SPI)} -->    removes both halves
//!              <--- SK {D(ESP, its inbound SPI)} ---
//! the IKE SA   --- SK {D(IKE)} -->                     removes everything
//!              <--- SK {} ---
//! ```

use crate::ids::ChildSpi;
use crate::ike_sa::core::Common;
use crate::ike_sa::env::{Env, Signal};
use crate::message::parts::Parts;
use crate::output::{Flow, What};
use crate::wire::registry::{ExchangeType, ProtocolId};
use crate::wire::{Delete, Payload};

/// Asks the peer to remove the child we received on under `spi`; our half is gone already.
pub fn request_child(env: &mut Env<'_>, common: &mut Common, spi: ChildSpi) {
    common.request(env, ExchangeType::INFORMATIONAL, &[Payload::Delete(Delete::esp_sa(spi))]);
}

/// Asks the peer to remove the IKE SA.
pub fn request_sa(env: &mut Env<'_>, common: &mut Common) {
    common.request(env, ExchangeType::INFORMATIONAL, &[Payload::Delete(Delete::ike_sa())]);
}

/// Answers an INFORMATIONAL request. Tells why the IKE SA ends, if it does.
pub fn handle_informational(
    env: &mut Env<'_>,
    common: &mut Common,
    flow: Flow,
    parts: &Parts,
) -> Option<String> {
    for notify in parts.notifies().filter(|notify| notify.notify_type.is_error()) {
        common.core.say(env, What::Trouble(format!("the peer reports {}", notify.notify_type)));
    }
    if parts.deletes().any(|delete| delete.protocol == ProtocolId::IKE) {
        common.respond(env, flow, ExchangeType::INFORMATIONAL, &[]);
        return Some("deleted by the peer".to_owned());
    }
    let asked: Vec<ChildSpi> = parts
        .deletes()
        .filter(|delete| delete.protocol == ProtocolId::ESP)
        .flat_map(|delete| delete.spis.iter().copied())
        .collect();
    // The peer names the SPIs it received on, which are those we sent on.
    let gone = common
        .children
        .remove(env, &common.core, "deleted by the peer", |child| asked.contains(&child.spi_out));
    let ours: Vec<ChildSpi> = gone.iter().map(|child| child.spi_in).collect();
    let mut payloads = Vec::new();
    if !ours.is_empty() {
        payloads.push(Payload::Delete(Delete { protocol: ProtocolId::ESP, spis: ours }));
    }
    common.respond(env, flow, ExchangeType::INFORMATIONAL, &payloads);
    for child in gone {
        env.signals.push(Signal::ChildDown(child.policy, "deleted by the peer".to_owned()));
    }
    None
}

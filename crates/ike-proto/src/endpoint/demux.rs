//! From a datagram to the SA it is for (RFC 7296 §2.1, §2.5, §2.6, §3.1).

use crate::endpoint::pairs::PairKey;
use crate::endpoint::{Context, Endpoint};
use crate::ids::IkeSpi;
use crate::message::parts::Parts;
use crate::output::Flow;
use crate::wire::registry::{ExchangeType, NotifyType};
use crate::wire::udp_encap::{self, Incoming};
use crate::wire::{Header, Located, locate};

/// The IKE message in a datagram with its header, if it is one of version 2 that says its own length.
pub(super) fn ike_message<'a>(flow: &Flow, datagram: &'a mut [u8]) -> Option<(Header, &'a mut [u8])> {
    let message = if flow.natt {
        match udp_encap::classify(datagram) {
            Incoming::Ike(message) => message,
            Incoming::Keepalive | Incoming::Esp | Incoming::Runt => return None,
        }
    } else {
        datagram
    };
    let header = Header::read(message).ok()?;
    let whole = usize::try_from(header.length).ok()? == message.len();
    whole.then_some((header, message))
}

/// Whether a message in clear says that its sender got ESP with an SPI it does not know (RFC 7296 §1.5). It belongs to no IKE SA.
fn says_invalid_spi(header: &Header, message: &[u8]) -> bool {
    match locate(message, header) {
        Ok(Located::Plain(payloads)) => Parts(payloads).has(NotifyType::INVALID_SPI),
        _ => false,
    }
}

impl Endpoint {
    /// Hands a message to its SA, or to admission if it begins one.
    pub(super) fn dispatch(&mut self, cx: &mut Context<'_>, flow: Flow, header: &Header, message: &mut [u8]) {
        if header.major > Header::MAJOR {
            self.refuse_version(cx.now, flow, header);
            return;
        }
        if header.major != Header::MAJOR {
            return;
        }
        if header.exchange == ExchangeType::INFORMATIONAL && says_invalid_spi(header, message) {
            let key = PairKey { local: flow.local.ip(), remote: flow.remote.ip() };
            self.follow_hint(cx, key);
            return;
        }
        if header.spi_i == IkeSpi::ZERO {
            return;
        }
        let begins = header.exchange == ExchangeType::IKE_SA_INIT
            && !header.flags.is_response()
            && header.flags.is_initiator();
        if begins {
            if header.spi_r == IkeSpi::ZERO && header.message_id == 0 {
                self.admit(cx, flow, header, message);
            }
            return;
        }
        // The end that did not send the message is the one whose SPI names the SA here.
        let own = if header.flags.is_initiator() { header.spi_r } else { header.spi_i };
        if let Some(&id) = self.by_spi.get(&own) {
            let known = self.sas.get(&id).is_some_and(|sa| {
                let core = &sa.common.core;
                let first_answer = core.spi_r == IkeSpi::ZERO;
                core.spi_i == header.spi_i && (core.spi_r == header.spi_r || first_answer)
            });
            if known {
                self.with_sa(cx, id, |sa, env| sa.handle_message(env, flow, header, message));
            }
        } else if !self.by_spi.contains_key(&header.spi_i) && !self.by_spi.contains_key(&header.spi_r) {
            // With its flags turned round, a message names an SA that is here: of that one no token is ever given (RFC 6290 §9).
            self.answer_unknown(cx.now, flow, header);
        }
    }
}

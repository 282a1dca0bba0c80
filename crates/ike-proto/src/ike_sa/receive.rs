//! Messages that come for an IKE SA: in clear or sealed, whole or in fragments, awaited or not; then to the phase they are for.

use std::net::SocketAddr;

use super::core::Core;
use super::env::{Env, Signal};
use super::handshake::init::Received;
use super::handshake::{Handshake, Step};
use super::task::{self, delete};
use super::window::Inbound;
use super::{HINTS, IkeSa, Phase};
use crate::error::Error;
use crate::ids::Role;
use crate::message::fragment;
use crate::message::parts::Parts;
use crate::output::{Flow, What};
use crate::secret::same;
use crate::wire::registry::{ExchangeType, NotifyType, PayloadType, ProtocolId};
use crate::wire::{Fault, Header, Located, Sealed, SealedKind, WireError, locate, read_chain};

impl IkeSa {
    /// A message for this SA came.
    pub fn handle_message(&mut self, env: &mut Env<'_>, flow: Flow, header: &Header, datagram: &mut [u8]) {
        match locate(datagram, header) {
            Ok(Located::Plain(payloads)) => {
                let parts = Parts(payloads);
                self.handle_plain(env, &Received { header, flow, datagram, parts: &parts });
            }
            Ok(Located::Sealed(sealed)) => self.handle_sealed(env, flow, &sealed, datagram),
            Err(error) => self.common.core.say(env, What::Note(format!("dropped: {error}"))),
        }
    }

    /// In clear, only the response of IKE_SA_INIT means anything.
    fn handle_plain(&mut self, env: &mut Env<'_>, received: &Received<'_>) {
        let header = received.header;
        if self.is_established() {
            self.handle_hint(env, received.parts);
            return;
        }
        if matches!(self.phase, Phase::Closing { .. } | Phase::Superseded { .. }) {
            // This one goes in any case; its successor may be lost too.
            if received.parts.has(NotifyType::INVALID_IKE_SPI) {
                env.signals.push(Signal::Hint);
            }
            return;
        }
        let awaited = header.flags.is_response()
            && !header.flags.is_initiator()
            && header.exchange == ExchangeType::IKE_SA_INIT
            && self.common.window.awaits(header.message_id, header.exchange);
        if !awaited {
            self.common.core.say(env, What::Note(format!("{} in clear dropped", header.exchange)));
            return;
        }
        let awaits = |state: &Handshake| matches!(state, Handshake::InitSent(_) | Handshake::Starting(_));
        if let Some((state, until)) = self.take_handshake(awaits) {
            let state = match state {
                Handshake::InitSent(state) => state.handle(env, &mut self.common, received),
                Handshake::Starting(state) => state.handle(env, &mut self.common, received),
                other => other,
            };
            self.phase = Phase::Handshake { state: Box::new(state), until };
        }
    }

    /// Nobody has authenticated a message in clear: it is a hint that the peer has lost the SA, and a proof only with the
    /// token that the peer gave us under protection (RFC 6290 §4.5).
    fn handle_hint(&mut self, env: &mut Env<'_>, parts: &Parts) {
        // RFC 6290 §4.5: there may be several tokens.
        let told = parts.notifies().filter(|notify| notify.notify_type == NotifyType::QUICK_CRASH_DETECTION);
        let kept = self.common.core.peer_token.as_ref();
        let proved =
            kept.is_some_and(|kept| told.fold(false, |found, told| found | same(&told.data, kept.expose())));
        if proved {
            self.end_restarted(env);
        } else if parts.has(NotifyType::INVALID_IKE_SPI) {
            self.follow_hint(env);
        }
    }

    /// Something that nobody authenticated says that the peer may have lost the SA: it is asked, and not too often.
    pub fn follow_hint(&mut self, env: &mut Env<'_>) {
        if self.is_established() && self.hinted_at + HINTS <= env.now {
            self.hinted_at = env.now;
            self.check_liveness(env);
        }
    }

    fn handle_sealed(&mut self, env: &mut Env<'_>, flow: Flow, sealed: &Sealed, datagram: &mut [u8]) {
        let header = &sealed.header;
        let from_initiator = self.common.core.role == Role::Responder;
        if header.flags.is_initiator() != from_initiator {
            return;
        }
        let text = match self.common.core.open(env, sealed, datagram) {
            Ok(text) => text,
            Err(fault) => {
                self.common.core.say(env, What::Note(format!("{} dropped: {fault}", header.exchange)));
                return;
            }
        };
        let response = header.flags.is_response();
        if !self.awaits(env, flow, sealed) {
            return;
        }
        let Some((first, text)) = self.complete(sealed, text) else { return };
        if self.is_established() {
            self.common.core.hinted = None;
            self.common.core.heard(env);
            self.follow_port(env, flow);
        }
        let opened = read_chain(first, &text).map(Parts).map_err(|error| self.unread(error));
        if response {
            self.handle_response(env, opened);
        } else {
            self.handle_request(env, flow, header.exchange, opened);
        }
    }

    /// The peer's port has changed: a NAT in front of it has made a new mapping. IKE and ESP follow together, on a fresh and
    /// verified message only, and not when it is we who are behind a NAT (RFC 7296 §2.23).
    fn follow_port(&mut self, env: &mut Env<'_>, flow: Flow) {
        let path = &mut self.common.core.path;
        if !path.may_follow(flow) {
            return;
        }
        path.flow = flow;
        let core = &self.common.core;
        core.say(env, What::Note(format!("the peer's port is {} now", flow.remote.port())));
        self.common.children.follow_port(env, core);
    }

    /// The kernel saw verified ESP of the peer come from another port. Nothing moves by that alone: our question, or what waits
    /// for an answer, goes there too, and the answer moves IKE and ESP.
    pub fn follow_mapping(&mut self, env: &mut Env<'_>, remote: SocketAddr) {
        let common = &mut self.common;
        let flow = Flow { remote, ..common.core.path.flow };
        if !matches!(self.phase, Phase::Established) || !common.core.path.may_follow(flow) {
            return;
        }
        common.core.hinted = Some(flow);
        match common.window.outstanding() {
            Some(waiting) => Core::transmit(env, flow, &waiting.packets),
            None => self.check_liveness(env),
        }
    }

    /// Whether a verified message is the one that is awaited; a repeated request gets its answer again.
    fn awaits(&self, env: &mut Env<'_>, flow: Flow, sealed: &Sealed) -> bool {
        let header = &sealed.header;
        if header.flags.is_response() {
            return self.common.window.awaits(header.message_id, header.exchange);
        }
        match self.common.window.classify(header.message_id) {
            Inbound::New => true,
            Inbound::Answered(packets) => {
                // RFC 7383 §2.6.1: of a fragmented request that comes again, only the first fragment is answered.
                if !matches!(sealed.kind, SealedKind::Fragment { number, .. } if number != 1) {
                    Core::transmit(env, flow, packets);
                }
                false
            }
            Inbound::InProgress | Inbound::Outside => false,
        }
    }

    /// The whole message, if it is or has become whole.
    fn complete(&mut self, sealed: &Sealed, text: &[u8]) -> Option<(PayloadType, Vec<u8>)> {
        match sealed.kind {
            SealedKind::Whole => Some((sealed.first, text.to_vec())),
            SealedKind::Fragment { number, total } if self.common.core.fragmentation => {
                let [requests, responses] = &mut self.common.reassembly;
                let slot = if sealed.header.flags.is_response() { responses } else { requests };
                fragment::add(slot, &sealed.header, (number, total), sealed.first, text)
            }
            SealedKind::Fragment { .. } => None,
        }
    }

    /// What a message that cannot be read means. In a handshake, a fault in what says who the peer is is a failure to show it:
    /// an identity that is too long, or a heap of certificates, is refused as a wrong one is.
    fn unread(&self, error: WireError) -> Error {
        const PROOF: [PayloadType; 4] =
            [PayloadType::ID_I, PayloadType::ID_R, PayloadType::CERT, PayloadType::AUTH];
        let is_of_proof = match error {
            WireError::Malformed { fault: Fault::TooMany(_), payload: PayloadType::NONE, .. } => true,
            WireError::Malformed { payload, .. } => PROOF.contains(&payload),
            WireError::UnsupportedCritical(_) => false,
        };
        if is_of_proof && self.is_handshaking() {
            Error::authentication(error.to_string())
        } else {
            Error::from(error)
        }
    }

    fn handle_response(&mut self, env: &mut Env<'_>, opened: Result<Parts, Error>) {
        match (&self.phase, opened) {
            (Phase::Handshake { .. }, opened) => self.handle_auth_response(env, opened),
            (Phase::Established, Ok(parts)) => {
                let after = self.common.handle_response(env, &parts);
                self.follow(env, after);
            }
            // Asked before the rekey, answered after it.
            (Phase::Superseded { .. }, _) => self.common.window.acknowledge(env.now),
            // RFC 7296 §2.21.3: a peer that seals what cannot be read has a defect that does not go away.
            (Phase::Established, Err(error)) => self.close(env, &error.to_string()),
            (Phase::Closing { asked: true, .. }, _) => self.finish(env),
            (Phase::Closing { asked: false, until }, _) => {
                let until = *until;
                self.common.window.acknowledge(env.now);
                delete::request_sa(env, &mut self.common);
                self.phase = Phase::Closing { asked: true, until };
            }
            (Phase::Lingering { .. } | Phase::Closed, _) => {}
        }
    }

    fn handle_auth_response(&mut self, env: &mut Env<'_>, opened: Result<Parts, Error>) {
        let Some((state, until)) = self.take_handshake(|state| matches!(state, Handshake::AuthSent(_)))
        else {
            return;
        };
        let step = match (state, opened) {
            (Handshake::AuthSent(state), Ok(parts)) => state.handle(env, &mut self.common, parts),
            (state, Err(error)) => {
                self.common.window.acknowledge(env.now);
                let wanted = state.into_wanted(env, &self.common);
                Step::Close(error, wanted)
            }
            (state, Ok(_)) => Step::Await(state),
        };
        self.take_step(env, step, until);
    }

    fn handle_request(
        &mut self,
        env: &mut Env<'_>,
        flow: Flow,
        exchange: ExchangeType,
        opened: Result<Parts, Error>,
    ) {
        match self.phase {
            Phase::Handshake { .. } if exchange == ExchangeType::IKE_AUTH => {
                self.handle_auth_request(env, flow, opened);
            }
            Phase::Established => {
                self.common.window.begin();
                let after = match opened {
                    Ok(parts) => self.common.handle_request(env, flow, exchange, &parts),
                    Err(error) => self.common.refuse(env, flow, exchange, &error),
                };
                self.follow(env, after);
                if self.is_established() {
                    self.common.advance(env);
                }
            }
            Phase::Superseded { .. } => self.handle_late_request(env, flow, exchange, opened),
            Phase::Closing { .. } => {
                // Both ends may delete at once; whatever else the peer wants, there is nothing left to do it with.
                self.common.window.begin();
                if exchange == ExchangeType::INFORMATIONAL {
                    self.common.respond(env, flow, exchange, &[]);
                } else {
                    self.common.refuse(env, flow, exchange, &task::temporary_failure());
                }
            }
            Phase::Handshake { .. } | Phase::Lingering { .. } | Phase::Closed => {}
        }
    }

    /// A request for an SA that has a successor: the peer may delete it, and what else it wants it is to ask there.
    fn handle_late_request(
        &mut self,
        env: &mut Env<'_>,
        flow: Flow,
        exchange: ExchangeType,
        opened: Result<Parts, Error>,
    ) {
        self.common.window.begin();
        if exchange != ExchangeType::INFORMATIONAL {
            self.common.refuse(env, flow, exchange, &task::temporary_failure());
            return;
        }
        let deletes = |parts: Parts| parts.deletes().any(|delete| delete.protocol == ProtocolId::IKE);
        self.common.respond(env, flow, exchange, &[]);
        if opened.is_ok_and(deletes) {
            self.depart(env);
        }
    }

    fn handle_auth_request(&mut self, env: &mut Env<'_>, flow: Flow, opened: Result<Parts, Error>) {
        let Some((state, until)) = self.take_handshake(|state| matches!(state, Handshake::AuthAwaited(_)))
        else {
            return;
        };
        self.common.window.begin();
        let step = match (state, opened) {
            (Handshake::AuthAwaited(state), Ok(parts)) => state.handle(env, &mut self.common, flow, parts),
            (_, Err(error)) => {
                self.common.refuse(env, flow, ExchangeType::IKE_AUTH, &error);
                Step::Failed(error, None)
            }
            (state, Ok(_)) => Step::Await(state),
        };
        self.take_step(env, step, until);
    }
}

//! Who may begin an IKE SA: first requests, judged without state and answered at most once each (RFC 7296 §2.1, §2.5, §2.6).

use std::sync::Arc;

use crate::endpoint::{Context, Endpoint, FirstName};
use crate::error::{self, Reaction, Stage};
use crate::ids::{IkeSpi, Role};
use crate::ike_sa::IkeSa;
use crate::ike_sa::core::Core;
use crate::ike_sa::handshake::init::{self, Received};
use crate::ike_sa::path::Path;
use crate::message::parts::Parts;
use crate::output::{Event, Flow, What};
use crate::wire::registry::{ExchangeType, NotifyType, PayloadType};
use crate::wire::{Flags, Header, Located, Notify, Payload, locate};

impl Endpoint {
    /// A first request: repeated, refused without state, or the beginning of an SA.
    pub(super) fn admit(&mut self, cx: &mut Context<'_>, flow: Flow, header: &Header, message: &[u8]) {
        let named: FirstName = (flow.remote, header.spi_i);
        if let Some(&id) = self.by_first_request.get(&named) {
            // RFC 7296 §2.1: the same octets are the same request; others with its SPI are nobody's.
            self.with_sa(cx, id, |sa, env| {
                if sa.answers(message) {
                    sa.repeat_first_answer(env, flow);
                }
            });
            return;
        }
        if self.shutting_down {
            return;
        }
        if self.half_open.len() >= self.config.half_open_limit {
            self.note(flow, "too many handshakes at one time, IKE_SA_INIT dropped");
            return;
        }
        let (peer, parts, request) = match self.judge_first(flow, header, message) {
            Ok(judged) => judged,
            Err(error) => {
                self.note(flow, &format!("IKE_SA_INIT refused: {error}"));
                if error::reaction(&error, Stage::InitRequest) == Reaction::Notify {
                    self.refuse_first(flow, header, Notify::status(error.notify(), error.data().to_vec()));
                }
                return;
            }
        };
        let id = self.next_sa();
        let spis = (header.spi_i, self.free_spi());
        let core = Core::new(id, Role::Responder, spis, peer, Path::new(flow), cx.now);
        let received = Received { header, flow, datagram: message, parts: &parts };
        let mut signals = Vec::new();
        let sa = IkeSa::respond(&mut self.env(cx, &mut signals), core, request, &received);
        self.by_first_request.insert(named, id);
        self.first_names.insert(id, named);
        self.half_open.insert(id);
        self.pair(cx.now, flow.local.ip(), flow.remote.ip()).sas.insert(id);
        self.keep(cx, id, sa, signals);
    }

    fn judge_first(
        &self,
        flow: Flow,
        header: &Header,
        message: &[u8],
    ) -> Result<(crate::policy::peer::SharedPeer, Parts, init::Request), error::Error> {
        let parts = match locate(message, header)? {
            Located::Plain(payloads) => Parts(payloads),
            Located::Sealed(_) => return Err(error::Error::malformed("IKE_SA_INIT is never encrypted")),
        };
        let peer = self.peers.by_address(flow.remote.ip()).cloned().ok_or_else(|| {
            let what = format!("{} is no configured peer", flow.remote.ip());
            error::Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, what)
        })?;
        let request = init::judge_request(&peer, &parts)?;
        if self.provider.key_exchange(request.ke.method).is_none() {
            let what = format!("no implementation of {}", request.ke.method);
            return Err(error::Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, what));
        }
        Ok((Arc::clone(&peer), parts, request))
    }

    /// An answer without state: our SPI stays zero (RFC 7296 §2.6, §2.21.1).
    fn refuse_first(&mut self, flow: Flow, header: &Header, notify: Notify) {
        let answer = Header {
            spi_r: IkeSpi::ZERO,
            first: PayloadType::NONE,
            major: Header::MAJOR,
            minor: 0,
            exchange: ExchangeType::IKE_SA_INIT,
            flags: Flags::new(false, true),
            ..*header
        };
        self.out.transmit(flow, &init::plain(&answer, &[Payload::Notify(notify)]));
    }

    /// A request of a higher major version is told ours; a response never is (RFC 7296 §2.5).
    pub(super) fn refuse_version(&mut self, flow: Flow, header: &Header) {
        if header.flags.is_response() {
            return;
        }
        let answer = Header {
            first: PayloadType::NONE,
            major: Header::MAJOR,
            minor: 0,
            flags: Flags::new(!header.flags.is_initiator(), true),
            ..*header
        };
        let notify = Notify::error(NotifyType::INVALID_MAJOR_VERSION);
        self.out.transmit(flow, &init::plain(&answer, &[Payload::Notify(notify)]));
    }

    fn note(&mut self, flow: Flow, text: &str) {
        let (local, remote) = (flow.local.ip(), flow.remote.ip());
        self.out.event(Event { local, remote, sa: None, spis: None, what: What::Note(text.to_owned()) });
    }
}

//! Who may begin an IKE SA: first requests, judged without state and answered at most once each (RFC 7296 §2.1, §2.5, §2.6).

use crate::endpoint::duel::UNFINISHED;
use crate::endpoint::half_open::Lane;
use crate::endpoint::pairs::PairKey;
use crate::endpoint::{Context, Endpoint, FirstName};
use crate::error::{self, Reaction, Stage};
use crate::ids::{IkeSpi, Role};
use crate::ike_sa::IkeSa;
use crate::ike_sa::core::Core;
use crate::ike_sa::handshake::init::{self, Received};
use crate::ike_sa::path::Path;
use crate::message::parts::Parts;
use crate::output::{Event, Flow, What};
use crate::policy::peer::SharedPeer;
use crate::time::Instant;
use crate::wire::registry::{NotifyType, PayloadType};
use crate::wire::{Flags, Header, Located, Notify, Payload, locate};

/// Handshakes of one initiator's SPI at one time.
const MOST_FORMS: usize = 4;

/// What becomes of a first request that can be read.
enum Admission {
    /// An SA is begun.
    Welcome(SharedPeer, Parts, init::Request),
    /// Its sender is to come back with this.
    ShowCookie(Vec<u8>),
    /// There is no room.
    Full,
}

impl Endpoint {
    /// A first request: repeated, refused without state, or the beginning of an SA.
    pub(super) fn admit(&mut self, cx: &mut Context<'_>, flow: Flow, header: &Header, message: &[u8]) {
        let named: FirstName = (flow.remote, header.spi_i, self.provider.sha1(&[message]));
        if let Some(&id) = self.by_first_request.get(&named) {
            // RFC 7296 §2.1: the same octets are the same request.
            self.with_sa(cx, id, |sa, env| {
                if sa.answers(message) {
                    sa.repeat_first_answer(env, flow);
                }
            });
            return;
        }
        if self.has_enough_forms(&named) {
            return;
        }
        if self.shutting_down {
            return;
        }
        let (peer, parts, request) = match self.judge_first(cx.now, flow, header, message) {
            Ok(Admission::Welcome(peer, parts, request)) => (peer, parts, request),
            Ok(Admission::ShowCookie(cookie)) => {
                self.refuse_first(flow, header, Notify::status(NotifyType::COOKIE, cookie));
                return;
            }
            Ok(Admission::Full) => {
                self.note(flow, "too many handshakes at one time, IKE_SA_INIT dropped");
                return;
            }
            Err(error) => {
                self.note(flow, &format!("IKE_SA_INIT refused: {error}"));
                let told = error::reaction(&error, Stage::InitRequest) == Reaction::Notify;
                if told && self.refusals.take(cx.now) {
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
        let mut sa = IkeSa::respond(&mut self.env(cx, &mut signals), core, request, &received);
        if self.has_established(PairKey { local: flow.local.ip(), remote: flow.remote.ip() }) {
            // The peer may learn of that SA meanwhile, and step back from this one without a word.
            sa.hurry(cx.now + UNFINISHED);
            sa.common.core.beside = true;
        }
        self.by_first_request.insert(named, id);
        self.first_names.insert(id, named);
        let lane = self.lane(flow);
        self.half_open.insert(id, flow.remote.ip(), lane);
        self.pair(cx.now, flow.local.ip(), flow.remote.ip()).sas.insert(id);
        self.take_in(cx, id, sa, signals);
    }

    /// Whether other first requests with this SPI have led to an SA, or to as many handshakes as one initiator can want: it sends
    /// its request in a few forms (without a cookie, with one, with another key), and which of them comes first is the network's.
    fn has_enough_forms(&self, (remote, spi, _): &FirstName) -> bool {
        let forms = (*remote, *spi, [0; 20])..=(*remote, *spi, [u8::MAX; 20]);
        let mut count = 0;
        let mut sas = self.by_first_request.range(forms).filter_map(|(_, id)| self.sas.get(id));
        sas.any(|sa| {
            count += 1;
            count >= MOST_FORMS || !sa.is_handshaking()
        })
    }

    /// Judges a first request: first the cookie, if the load asks for one, then what it proposes; no Diffie-Hellman.
    fn judge_first(
        &mut self,
        now: Instant,
        flow: Flow,
        header: &Header,
        message: &[u8],
    ) -> Result<Admission, error::Error> {
        let parts = match locate(message, header)? {
            Located::Plain(payloads) => Parts(payloads),
            Located::Sealed(_) => return Err(error::Error::malformed("IKE_SA_INIT is never encrypted")),
        };
        let source = flow.remote.ip();
        let (waiting, from_source) = (self.half_open.len(), self.half_open.of_source(source));
        if waiting >= self.config.cookie_threshold || from_source >= self.config.cookie_threshold_per_source {
            self.cookies.rotate(now, &mut self.rng);
            let (spi, ni) = (header.spi_i, &parts.nonce()?.0);
            let provider = self.provider.as_ref();
            let shown = parts.notify(NotifyType::COOKIE).map(|notify| notify.data.as_slice());
            if !shown.is_some_and(|shown| self.cookies.accept(provider, shown, source, spi, ni)) {
                let cookie = self.cookies.make(provider, source, spi, ni);
                return Ok(cookie.map_or(Admission::Full, Admission::ShowCookie));
            }
        }
        if self.half_open.of_lane(self.lane(flow)) >= self.config.half_open_limit {
            return Ok(Admission::Full);
        }
        let peer = self.peers.by_address(flow.remote.ip()).cloned().ok_or_else(|| {
            let what = format!("{} is no configured peer", flow.remote.ip());
            error::Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, what)
        })?;
        let request = init::judge_request(&peer, &parts)?;
        if self.provider.key_exchange(request.ke.method).is_none() {
            let what = format!("no implementation of {}", request.ke.method);
            return Err(error::Error::incompatible(NotifyType::NO_PROPOSAL_CHOSEN, what));
        }
        Ok(Admission::Welcome(peer, parts, request))
    }

    /// Known peers have a lane of their own: strangers cannot keep them out.
    fn lane(&self, flow: Flow) -> Lane {
        let known = self.policies.between(flow.local.ip(), flow.remote.ip()).next().is_some();
        if known { Lane::Known } else { Lane::Stranger }
    }

    /// An answer without state: our SPI stays zero (RFC 7296 §2.6, §2.21.1).
    fn refuse_first(&mut self, flow: Flow, header: &Header, notify: Notify) {
        self.answer_in_clear(flow, &Header { spi_r: IkeSpi::ZERO, ..*header }, &[Payload::Notify(notify)]);
    }

    /// A request of a higher major version is told ours; a response never is (RFC 7296 §2.5).
    pub(super) fn refuse_version(&mut self, now: Instant, flow: Flow, header: &Header) {
        if header.flags.is_response() || !self.allowance.take(now) {
            return;
        }
        let notify = Notify::error(NotifyType::INVALID_MAJOR_VERSION);
        self.answer_in_clear(flow, header, &[Payload::Notify(notify)]);
    }

    /// Answers a request that has no SA here: its SPIs and message id, our version, nothing protected.
    pub(super) fn answer_in_clear(&mut self, flow: Flow, request: &Header, payloads: &[Payload]) {
        let answer = Header {
            first: PayloadType::NONE,
            major: Header::MAJOR,
            minor: 0,
            flags: Flags::new(!request.flags.is_initiator(), true),
            ..*request
        };
        self.out.transmit(flow, &init::plain(&answer, payloads));
    }

    fn note(&mut self, flow: Flow, text: &str) {
        let (local, remote) = (flow.local.ip(), flow.remote.ip());
        let what = What::Note(text.to_owned());
        self.out.event(Event { local, remote, sa: None, spis: None, flow: None, what });
    }
}

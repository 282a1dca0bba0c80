//! Two hosts at a table: nothing is lost, time passes only when nobody has anything to do, and whoever sits between them
//! reads every message, keeps what it likes, and writes others with the keys of either.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use coati_sim::TwoHosts;
use coati_sim::host::Host;
use coati_sim::impostor::Telling;
use coati_sim::trace::{Trace, strip_marker};
use ike_proto::endpoint::status::{ChildStatus, IkeSaStatus};
use ike_proto::endpoint::{Command, Context};
use ike_proto::ids::{ChildSpi, IkeSpi};
use ike_proto::message::parts::Parts;
use ike_proto::output::{Event, Flow, Output, What};
use ike_proto::policy::proposal::Offer;
use ike_proto::policy::sad::SaKey;
use ike_proto::policy::spd::PolicySet;
use ike_proto::rng::{Rng, Seed};
use ike_proto::time::{Duration, Instant};
use ike_proto::wire::registry::{ExchangeType, NotifyType, PayloadType};
use ike_proto::wire::udp_encap::NON_ESP_MARKER;
use ike_proto::wire::{Delete, Flags, Header, Notify, Payload, Sealed, write_chain};
use ike_proto::wire::{Located, locate};

/// One datagram of IKE.
#[derive(Clone, Debug)]
pub struct Message {
    /// The host that sent it.
    pub from: usize,
    /// When.
    pub at: Instant,
    /// From where to where, as its sender sees it.
    pub flow: Flow,
    /// Its octets, with the non-ESP marker if it has one.
    pub datagram: Vec<u8>,
    /// Its header.
    pub header: Header,
    /// Its payloads; none if it is a fragment.
    pub parts: Parts,
}

impl Message {
    fn read(from: usize, at: Instant, flow: Flow, datagram: Vec<u8>) -> Option<Self> {
        let (header, payloads) = Trace::new(Vec::new(), true).message(&datagram)?;
        Some(Self { from, at, flow, datagram, header, parts: Parts(payloads.unwrap_or_default()) })
    }

    /// Whether it is of this exchange.
    pub fn is(&self, exchange: ExchangeType) -> bool {
        self.header.exchange == exchange
    }

    /// Whether it is a response.
    pub fn is_response(&self) -> bool {
        self.header.flags.is_response()
    }

    /// Whether `host` asks something in this exchange.
    pub fn asks(&self, host: usize, exchange: ExchangeType) -> bool {
        self.from == host && self.is(exchange) && !self.is_response()
    }

    /// Whether `host` answers something in this exchange.
    pub fn answers(&self, host: usize, exchange: ExchangeType) -> bool {
        self.from == host && self.is(exchange) && self.is_response()
    }

    /// Both SPIs, the initiator's first.
    pub fn spis(&self) -> (IkeSpi, IkeSpi) {
        (self.header.spi_i, self.header.spi_r)
    }

    /// Whether it has such a notify.
    pub fn has(&self, notify: NotifyType) -> bool {
        self.parts.has(notify)
    }

    /// Whether it deletes its IKE SA.
    pub fn deletes_ike(&self) -> bool {
        self.parts.deletes().any(|delete| *delete == Delete::ike_sa())
    }

    /// The SPIs of ESP that it deletes.
    pub fn deleted(&self) -> Vec<ChildSpi> {
        self.parts.deletes().flat_map(|delete| delete.spis.iter().copied()).collect()
    }

    /// The errors it tells.
    pub fn errors(&self) -> Vec<NotifyType> {
        self.parts.notifies().map(|notify| notify.notify_type).filter(|kind| kind.is_error()).collect()
    }

    /// Its encrypted payload, if it has one.
    pub fn sealed(&self) -> Option<Sealed> {
        match locate(strip_marker(&self.datagram), &self.header) {
            Ok(Located::Sealed(sealed)) => Some(sealed),
            _ => None,
        }
    }

    /// Its payloads without those that `drop` names.
    pub fn without(&self, drop: impl Fn(&Payload) -> bool) -> Vec<Payload> {
        self.parts.0.iter().filter(|payload| !drop(payload)).cloned().collect()
    }
}

/// What a test does not let pass.
type Lost = Box<dyn Fn(&Message) -> bool>;

/// Two hosts, and what lies between them.
pub struct Table {
    /// The hosts.
    pub hosts: [Host; 2],
    /// The time.
    pub now: Instant,
    /// What is on its way.
    pub wire: VecDeque<Message>,
    /// All that was sent, lost or not.
    pub sent: Vec<Message>,
    /// When and by whom keepalives were sent.
    pub keepalives: Vec<(usize, Instant)>,
    /// What was said.
    pub said: Vec<(usize, Event)>,
    /// Messages that never arrive.
    pub lost: Lost,
    telling: Arc<Telling>,
    /// The addresses by which each is known.
    outside: [IpAddr; 2],
    /// Messages written here: their ids count.
    forged: Vec<Message>,
}

impl Table {
    /// Nothing has happened yet.
    pub fn new(two: &TwoHosts) -> Self {
        let scenario = two.scenario();
        let telling = Arc::new(Telling::new());
        let mut rng = Rng::new(&Seed::from_u64(1));
        let hosts = [0, 1].map(|host| {
            let provider = Arc::<Telling>::clone(&telling);
            Host::start(scenario.hosts[host].clone(), provider, Rng::new(&rng.fork()), Instant::ZERO)
        });
        let seen = two.seen();
        Self {
            hosts,
            now: Instant::ZERO,
            wire: VecDeque::new(),
            sent: Vec::new(),
            keepalives: Vec::new(),
            said: Vec::new(),
            lost: Box::new(|_| false),
            telling,
            outside: seen,
            forged: Vec::new(),
        }
    }

    /// The host's policies are of level `use` from now on.
    pub fn let_pass(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        let mut policies = host.spec.policies.clone();
        policies.iter_mut().for_each(|policy| policy.template.optional = true);
        let now = host.local(self.now);
        let mut cx = Context { now, sad: &mut host.sad };
        host.endpoint.set_policies(&mut cx, Arc::new(PolicySet::new(policies)));
    }

    /// Two hosts of which the first has set the pair up.
    pub fn up(two: &TwoHosts) -> Self {
        let mut table = Self::new(two);
        table.bring_up();
        table
    }

    /// Sets the pair up.
    pub fn bring_up(&mut self) {
        self.initiate(0);
        self.settle();
        for host in [0, 1] {
            assert_eq!(self.children(host).len(), self.hosts[host].spec.policies.len(), "{}", self.ladder());
        }
    }

    /// A host is told something about its first pair.
    pub fn command(&mut self, host: usize, command: impl Fn(IpAddr, IpAddr) -> Command) {
        let selector = self.hosts[host].spec.policies[0].selector;
        let command = command(self.hosts[host].spec.addresses[0], selector.remote.net.address);
        self.hosts[host].command(self.now, command).expect("a policy names the pair");
    }

    /// A host is told to set its first pair up.
    pub fn initiate(&mut self, host: usize) {
        self.command(host, |local, remote| Command::Initiate { local, remote });
    }

    /// The established IKE SAs of a host.
    pub fn ike_sas(&self, host: usize) -> Vec<IkeSaStatus> {
        let pairs = self.hosts[host].endpoint.pairs();
        pairs.into_iter().flat_map(|pair| pair.ike_sas).filter(|sa| sa.state == "established").collect()
    }

    /// The one IKE SA of a host.
    pub fn ike_sa(&self, host: usize) -> IkeSaStatus {
        let mut sas = self.ike_sas(host);
        assert_eq!(sas.len(), 1, "{}", self.ladder());
        sas.remove(0)
    }

    /// The children of a host's established IKE SAs.
    pub fn children(&self, host: usize) -> Vec<ChildStatus> {
        self.ike_sas(host).into_iter().flat_map(|sa| sa.children).collect()
    }

    /// Whether an SA of ESP is in a host's kernel: an inbound one of its own, or an outbound one.
    pub fn holds(&self, host: usize, spi: ChildSpi) -> bool {
        self.hosts[host].sad.live().any(|sa| sa.spec.key().spi == spi)
    }

    /// The kernel of a host says that the inbound SA of its first child has come to a limit.
    pub fn expire(&mut self, host: usize, hard: bool) -> ChildStatus {
        let child = self.children(host).remove(0);
        let key = SaKey { destination: self.hosts[host].spec.addresses[0], spi: child.spi_in };
        self.hosts[host].hear(self.now, coati_sim::sad::Notice::Expire { key, hard });
        child
    }

    /// Everybody computes what is to be computed; what they send is on its way then.
    pub fn compute(&mut self) {
        for _ in 0..10_000 {
            let next = [0, 1].into_iter().find_map(|host| Some((host, self.hosts[host].output()?)));
            match next {
                Some((host, Output::Job(id, job))) => {
                    self.hosts[host].jobs.insert(id, job);
                    self.hosts[host].finish(self.now, id);
                }
                Some((host, Output::Transmit(transmit))) => {
                    match Message::read(host, self.now, transmit.flow, transmit.datagram) {
                        Some(message) => self.put(message),
                        None => self.keepalives.push((host, self.now)),
                    }
                }
                Some((host, Output::Event(event))) => self.said.push((host, event)),
                None if self.hear() => {}
                None => return,
            }
        }
        panic!("the engines spin\n{}", self.ladder());
    }

    /// A kernel's notice reaches its daemon, if there is one.
    fn hear(&mut self) -> bool {
        let found = [0, 1].into_iter().find_map(|host| Some((host, self.hosts[host].sad.notice()?)));
        let Some((host, notice)) = found else { return false };
        self.hosts[host].hear(self.now, notice);
        true
    }

    fn put(&mut self, message: Message) {
        self.sent.push(message.clone());
        if !(self.lost)(&message) {
            self.wire.push_back(message);
        }
    }

    /// A message reaches the host it is for.
    pub fn deliver(&mut self, message: &Message) {
        let source = SocketAddr::new(self.outside[message.from], message.flow.local.port());
        self.deliver_from(message, source);
    }

    /// A message reaches the host it is for, and seems to come from `source`.
    pub fn deliver_from(&mut self, message: &Message, source: SocketAddr) {
        let to = 1 - message.from;
        let inside = self.hosts[to].spec.addresses[0];
        let destination = SocketAddr::new(inside, message.flow.remote.port());
        self.hosts[to].take(self.now, source, destination, &message.datagram);
        self.compute();
    }

    /// Delivers until nobody wants anything.
    pub fn settle(&mut self) {
        self.find(|_| false);
    }

    /// Delivers until `wanted` is on its way and next; it is taken off.
    pub fn find(&mut self, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        self.compute();
        for _ in 0..10_000 {
            let message = self.wire.pop_front()?;
            if wanted(&message) {
                return Some(message);
            }
            self.deliver(&message);
        }
        panic!("no end of messages\n{}", self.ladder());
    }

    /// The next moment at which a host wants to be woken comes; not after `limit`.
    fn tick(&mut self, limit: Instant) -> bool {
        let due = self.hosts.iter().filter_map(Host::deadline).min().filter(|at| *at <= limit);
        let Some(at) = due else {
            self.now = limit;
            return false;
        };
        self.now = self.now.max(at);
        for host in &mut self.hosts {
            host.wake(self.now);
        }
        self.compute();
        true
    }

    /// Lets time pass until `wanted` is sent; it is taken off its way.
    pub fn until(&mut self, wanted: impl Fn(&Message) -> bool) -> Message {
        let limit = self.now + Duration::from_secs(7200);
        self.within(limit, wanted).unwrap_or_else(|| panic!("it never comes\n{}", self.ladder()))
    }

    /// The same, if it is sent in time.
    pub fn within(&mut self, limit: Instant, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        for _ in 0..100_000 {
            if let Some(message) = self.find(&wanted) {
                return Some(message);
            }
            if !self.tick(limit) {
                return None;
            }
        }
        panic!("the engines never rest\n{}", self.ladder());
    }

    /// Lets time pass.
    pub fn pass(&mut self, span: Duration) {
        self.within(self.now + span, |_| false);
    }

    /// The same message with these payloads, sealed with its sender's keys if it was sealed.
    pub fn rewrite(&mut self, message: &Message, payloads: &[Payload]) -> Message {
        self.sealed(message, message.header, payloads)
    }

    /// A request of `from` on the IKE SA of `like`, the next one after those that were sent there.
    pub fn request(&mut self, like: &Message, exchange: ExchangeType, payloads: &[Payload]) -> Message {
        let own =
            |sent: &&Message| sent.from == like.from && sent.spis() == like.spis() && !sent.is_response();
        let last = self.sent.iter().chain(&self.forged).filter(own).map(|sent| sent.header.message_id).max();
        let message_id = last.map_or(0, |id| id + 1);
        let flags = Flags::new(like.header.flags.is_initiator(), false);
        self.sealed(like, Header { exchange, message_id, flags, ..like.header }, payloads)
    }

    /// The same as [`Self::request`], delivered at once; what the other host answers.
    pub fn ask(&mut self, like: &Message, exchange: ExchangeType, payloads: &[Payload]) -> Vec<Message> {
        let request = self.request(like, exchange, payloads);
        self.react(&request)
    }

    /// What the other host sends when this comes.
    pub fn react(&mut self, message: &Message) -> Vec<Message> {
        let before = self.sent.len();
        self.deliver(message);
        self.wire.retain(|sent| sent.from == message.from);
        self.sent[before..].iter().filter(|sent| sent.from != message.from).cloned().collect()
    }

    /// An answer to `request` by the host it is for.
    pub fn answer(&mut self, request: &Message, payloads: &[Payload]) -> Message {
        let like = self.last(1 - request.from, request.spis());
        let flags = Flags::new(like.header.flags.is_initiator(), true);
        let (exchange, message_id) = (request.header.exchange, request.header.message_id);
        self.sealed(&like, Header { exchange, message_id, flags, ..like.header }, payloads)
    }

    /// The last sealed message of a host on an IKE SA.
    pub fn last(&self, from: usize, spis: (IkeSpi, IkeSpi)) -> Message {
        let found = self
            .sent
            .iter()
            .rev()
            .find(|sent| sent.from == from && sent.spis() == spis && sent.sealed().is_some());
        found.unwrap_or_else(|| panic!("host {from} has sealed nothing\n{}", self.ladder())).clone()
    }

    /// The last sealed message of a host on its one IKE SA.
    pub fn voice(&self, host: usize) -> Message {
        let sa = self.ike_sa(host);
        self.last(host, (sa.spi_i, sa.spi_r))
    }

    /// A message with this header, sealed with the keys of the one who sent `like`.
    pub fn sealed(&mut self, like: &Message, header: Header, payloads: &[Payload]) -> Message {
        let plain = strip_marker(&like.datagram);
        let marker: &[u8] = if plain.len() < like.datagram.len() { &NON_ESP_MARKER } else { &[] };
        let octets = if like.sealed().is_some() {
            let mut template = Vec::new();
            Header { first: like.header.first, length: like.header.length, ..header }.write(&mut template);
            template.extend_from_slice(&plain[Header::LEN..]);
            self.telling.resealed(&template, header.exchange, payloads).expect("its keys are known")
        } else {
            in_clear(header, payloads)
        };
        let datagram = [marker, &octets].concat();
        let message = Message::read(like.from, self.now, like.flow, datagram).expect("a message");
        self.forged.push(message.clone());
        message
    }

    /// A message in clear in the name of `from`, with the SPIs of `like`.
    pub fn shout(&self, like: &Message, header: Header, payloads: &[Payload]) -> Message {
        let plain = strip_marker(&like.datagram);
        let marker: &[u8] = if plain.len() < like.datagram.len() { &NON_ESP_MARKER } else { &[] };
        let datagram = [marker, &in_clear(header, payloads)].concat();
        Message::read(like.from, self.now, like.flow, datagram).expect("a message")
    }

    /// How often `host` said something that `is` about.
    pub fn count(&self, host: usize, is: impl Fn(&What) -> bool) -> usize {
        self.said.iter().filter(|(by, event)| *by == host && is(&event.what)).count()
    }

    /// All that was sent, for people.
    pub fn ladder(&self) -> String {
        let line = |message: &Message| {
            let payloads: Vec<String> = message.parts.0.iter().map(ToString::to_string).collect();
            let millis = message.at.as_nanos() / 1_000_000;
            format!("{millis:>9} {} {} {{ {} }}\n", message.from, message.header, payloads.join(", "))
        };
        self.sent.iter().map(line).collect()
    }
}

/// A message whose payloads are in clear.
fn in_clear(header: Header, payloads: &[Payload]) -> Vec<u8> {
    let mut body = Vec::new();
    let first = write_chain(payloads, &mut body);
    let length = u32::try_from(Header::LEN + body.len()).expect("a short message");
    let mut octets = Vec::new();
    Header { first, length, ..header }.write(&mut octets);
    octets.extend(body);
    octets
}

/// Two hosts on one network that rekey nothing for an hour, the children without a group.
pub fn plain() -> TwoHosts {
    let mut two = TwoHosts::plain();
    for peer in &mut two.peers {
        peer.child.offers = peer.child.offers.iter().map(Offer::without_ke).collect();
        peer.liveness = None;
    }
    two
}

/// [`plain`], and the first host rekeys its IKE SA after these seconds.
pub fn rekeying_ike(seconds: u64) -> TwoHosts {
    let mut two = plain();
    two.peers[0].lifetime = Duration::from_secs(seconds);
    two
}

/// A notify without data.
pub fn notify(kind: NotifyType) -> Payload {
    Payload::Notify(Notify::error(kind))
}

/// A payload of a known type whose body is anything.
pub fn raw(payload_type: PayloadType, body: &[u8]) -> Payload {
    Payload::Unknown(ike_proto::wire::Unknown { payload_type, critical: false, body: body.to_vec() })
}

/// Whether a rekey of the IKE SA is what it asks for or answers.
pub fn is_about_ike(message: &Message) -> bool {
    let ike = ike_proto::wire::registry::ProtocolId::IKE;
    message.is(ExchangeType::CREATE_CHILD_SA)
        && message.parts.sa().is_ok_and(|sa| sa.proposals.iter().any(|proposal| proposal.protocol == ike))
}

//! What every part of an IKE SA needs: who it is, where it goes, and how its messages are sealed and opened.

use std::sync::Arc;

use crate::crypto::keymat::SaKeys;
use crate::crypto::provider::{Fault, Prf, Protection, Provider};
use crate::crypto::suite::IkeSuite;
use crate::ids::{IkeSpi, Role, SaId};
use crate::ike_sa::children::Children;
use crate::ike_sa::env::Env;
use crate::ike_sa::keepalive::Keepalive;
use crate::ike_sa::path::Path;
use crate::ike_sa::standing::Standing;
use crate::ike_sa::task::Tasks;
use crate::ike_sa::window::Window;
use crate::message::fragment::{self, Reassembly};
use crate::message::inventory;
use crate::message::parts::Parts;
use crate::message::protect;
use crate::output::{Event, Flow, What};
use crate::policy::identity::Identity;
use crate::policy::peer::{LocalId, SharedPeer};
use crate::policy::peer_db::Credential;
use crate::secret::Secret;
use crate::time::{Duration, Instant};
use crate::wire::registry::{ExchangeType, NotifyType, PrfId};
use crate::wire::{Flags, Header, Payload, Sealed, SealedKind, write_chain};

/// Everything of an IKE SA but its phase: phase × window × tasks × children (ARCHITECTURE.md, decision 3).
pub struct Common {
    /// Who and where.
    pub core: Core,
    /// Message ids.
    pub window: Window,
    /// Exchanges under way or to come.
    pub tasks: Tasks,
    /// CHILD_SAs.
    pub children: Children,
    /// The fragments of a request, and of a response, that are not complete.
    pub reassembly: [Option<Reassembly>; 2],
}

/// So long after an IKE SA was established beside another one of its pair that one may still carry the traffic.
const TOGETHER: Duration = Duration::from_secs(5);
/// An IKE SA whose rekeys fail lives for half as long again as it was to, and for this besides.
const EXPIRY_GRACE: Duration = Duration::from_secs(30);

/// The constant part.
pub struct Core {
    /// The engine's number.
    pub id: SaId,
    /// Original initiator or responder.
    pub role: Role,
    /// Original initiator's SPI.
    pub spi_i: IkeSpi,
    /// Original responder's SPI; zero until known.
    pub spi_r: IkeSpi,
    /// The peer's configuration.
    pub peer: SharedPeer,
    /// Where it goes.
    pub path: Path,
    /// Algorithms, once chosen.
    pub suite: Option<IkeSuite>,
    /// Keys, once agreed.
    pub keys: Option<SaKeys>,
    /// Who we are.
    pub local_id: Identity,
    /// Who the peer is, once authenticated.
    pub remote_id: Option<Identity>,
    /// What authenticated it.
    pub credential: Option<Credential>,
    /// What of that comes of age; nothing with pre-shared keys.
    pub standing: Option<Box<Standing>>,
    /// When the first message was sent or came.
    pub born: Instant,
    /// When the present phase began.
    pub since: Instant,
    /// When it is to be rekeyed.
    pub rekey_at: Instant,
    /// When another has to take its place, if no rekey has by then.
    pub expires_at: Instant,
    /// Whether another has been asked for in its place.
    pub replaced: bool,
    /// Whether its lifetime is over, and only another handshake is waited for.
    pub is_over: bool,
    /// Rekeys of it that the peer has put off in a row.
    pub refusals: u8,
    /// When the peer first put off an exchange, none having been served since.
    pub put_off_since: Option<Instant>,
    /// When it is looked at whether the peer is still there.
    pub liveness_at: Instant,
    /// Where the peer's packets seem to come from now: requests go there too.
    pub hinted: Option<Flow>,
    /// Keepalives for the NAT in front of us.
    pub keepalive: Keepalive,
    /// Whether both ends put long messages in fragments (RFC 7383 §2.3).
    pub fragmentation: bool,
    /// The lowest of the two nonces of its handshake: it decides between SAs that cross.
    pub lowest_nonce: Vec<u8>,
    /// Whether a rekey made it, and not a handshake.
    pub is_successor: bool,
    /// Whether its pair had an SA already when it was begun.
    pub beside: bool,
    /// The SA that still has the children, while it is not known here which of two successors is to have them.
    pub predecessor: Option<SaId>,
    /// Whether IKE_AUTH is to say that we have no other SA with the peer.
    pub initial_contact: bool,
    /// Whether its children are drained when it ends: the pair has another SA that carries the same.
    pub graceful: bool,
    /// The token by which the peer can say that it has lost this SA (RFC 6290).
    pub peer_token: Option<Secret>,
    /// Whether the responder makes an IKE SA without a child (RFC 6023 §3).
    pub takes_childless: bool,
    /// Whether the peer understands our inventory, and tells its own.
    pub tells_inventory: bool,
    /// Messages sealed so far: the low half of the IV's number.
    sealed: u32,
}

impl Core {
    /// An SA of which only the addresses are known.
    #[must_use]
    pub fn new(
        id: SaId,
        role: Role,
        spis: (IkeSpi, IkeSpi),
        peer: SharedPeer,
        path: Path,
        now: Instant,
    ) -> Self {
        let local_id = match &peer.local_id {
            LocalId::Address => Identity::address(path.local()),
            LocalId::Fixed(id) => id.clone(),
        };
        Self {
            id,
            role,
            spi_i: spis.0,
            spi_r: spis.1,
            peer,
            path,
            suite: None,
            keys: None,
            local_id,
            remote_id: None,
            credential: None,
            standing: None,
            born: now,
            since: now,
            rekey_at: Instant::MAX,
            expires_at: Instant::MAX,
            replaced: false,
            is_over: false,
            refusals: 0,
            put_off_since: None,
            liveness_at: Instant::MAX,
            hinted: None,
            keepalive: Keepalive::OFF,
            fragmentation: false,
            lowest_nonce: Vec::new(),
            is_successor: false,
            beside: false,
            predecessor: None,
            initial_contact: false,
            graceful: false,
            peer_token: None,
            takes_childless: false,
            tells_inventory: false,
            sealed: 0,
        }
    }

    /// What a rekey makes of `old`: other SPIs, algorithms and keys, everything else as it was (RFC 7296 §2.18).
    #[must_use]
    pub fn successor(
        env: &mut Env<'_>,
        old: &Self,
        role: Role,
        spis: (IkeSpi, IkeSpi),
        suite: IkeSuite,
        keys: SaKeys,
    ) -> Self {
        let mut new = Self::new(env.sa_id(), role, spis, Arc::clone(&old.peer), old.path, env.now);
        new.suite = Some(suite);
        new.keys = Some(keys);
        new.local_id = old.local_id.clone();
        new.remote_id = old.remote_id.clone();
        new.credential = old.credential.clone();
        new.standing = old.standing.as_ref().map(|standing| standing.inherited(env.now));
        new.fragmentation = old.fragmentation;
        new.tells_inventory = old.tells_inventory;
        new.is_successor = true;
        new.arm(env);
        new
    }

    /// Whether another IKE SA of the pair may still carry the traffic at `now`.
    #[must_use]
    pub fn is_beside(&self, now: Instant) -> bool {
        self.beside && now < self.since + TOGETHER
    }

    /// Sets the times of an SA that is established now.
    pub fn arm(&mut self, env: &mut Env<'_>) {
        self.rekey_at = env.now + env.rng.jitter_down(self.peer.lifetime, 10);
        self.expires_at = env.now + self.peer.lifetime * 3 / 2 + EXPIRY_GRACE;
        self.put_keepalive_off(env);
        self.heard(env);
    }

    /// Something goes out: the NAT in front of us, if there is one, knows for a while.
    fn put_keepalive_off(&mut self, env: &mut Env<'_>) {
        if self.path.nat.local && self.path.flow.natt {
            self.keepalive.put_off(env.now, env.config.natt_keepalive, env.rng);
        }
    }

    /// The peer is there: the next look is an idle time away, spread so that many pairs do not look in step.
    pub fn heard(&mut self, env: &mut Env<'_>) {
        if let Some(liveness) = self.peer.liveness {
            self.liveness_at = env.now + env.rng.jitter_down(liveness.idle, 10);
        }
    }

    /// Whether we are the end that sets the pair up when either could: the one with the lower identity.
    #[must_use]
    pub fn is_preferred(&self) -> bool {
        self.remote_id.as_ref().is_none_or(|remote| self.local_id.payload().body() <= remote.payload().body())
    }

    /// Our SPI, by which messages find this SA.
    #[must_use]
    pub const fn own_spi(&self) -> IkeSpi {
        match self.role {
            Role::Initiator => self.spi_i,
            Role::Responder => self.spi_r,
        }
    }

    /// Both SPIs, initiator's first.
    #[must_use]
    pub const fn spis(&self) -> (IkeSpi, IkeSpi) {
        (self.spi_i, self.spi_r)
    }

    /// The pseudo-random function of its suite.
    #[must_use]
    pub fn prf<'p>(&self, env: &Env<'p>) -> Option<&'p dyn Prf> {
        env.provider.prf(self.suite?.prf)
    }

    fn protection<'p>(&self, env: &Env<'p>) -> Option<&'p dyn Protection> {
        let suite = self.suite?;
        env.provider.protection(suite.encr.id, suite.encr.key_bits, suite.integ)
    }

    /// Keeps the token by which the peer can say that it has lost this SA.
    pub fn take_token(&mut self, parts: &Parts) {
        self.peer_token = told_token(parts);
    }

    /// Notes what the peer's vendor ids say that it understands.
    pub fn take_vendors(&mut self, parts: &Parts) {
        self.tells_inventory = parts.vendors().any(|vendor| vendor.0 == inventory::VENDOR_ID);
    }

    /// The header of a message of ours.
    #[must_use]
    pub fn header(&self, exchange: ExchangeType, message_id: u32, response: bool) -> Header {
        Header {
            spi_i: self.spi_i,
            spi_r: self.spi_r,
            first: crate::wire::registry::PayloadType::NONE,
            major: Header::MAJOR,
            minor: 0,
            exchange,
            flags: Flags::new(self.role == Role::Initiator, response),
            message_id,
            length: 0,
        }
    }

    /// Seals `payloads` into the datagrams of one message.
    #[must_use]
    pub fn seal(
        &mut self,
        env: &mut Env<'_>,
        exchange: ExchangeType,
        message_id: u32,
        response: bool,
        payloads: &[Payload],
    ) -> Vec<Vec<u8>> {
        let header = self.header(exchange, message_id, response);
        let Some((protection, keys)) = self.protection(env).zip(self.keys.as_ref()) else {
            return Vec::new();
        };
        let mut text = Vec::new();
        let first = write_chain(payloads, &mut text);
        let (epoch, counter) = (u64::from(env.config.boot_epoch) << 32, &mut self.sealed);
        // After 2^32 messages an IV would come again: the SA falls silent, and ends by its own timers.
        let mut sequence = || {
            *counter = counter.checked_add(1)?;
            Some(epoch | u64::from(*counter))
        };
        let limit = env.config.fragment_limit;
        let sealed = if self.fragmentation && fragment::is_too_long(protection, text.len(), limit) {
            fragment::seal(protection, &keys.outbound, &header, (first, &text), limit, sequence)
        } else {
            let kind = SealedKind::Whole;
            sequence().ok_or(Fault::Length).and_then(|sequence| {
                protect::seal_octets(protection, &keys.outbound, &header, kind, first, &text, sequence)
                    .map(|message| vec![message])
            })
        };
        sealed.unwrap_or_else(|fault| {
            // Keys are made as long as their algorithm wants them: this would be a defect of the provider.
            self.say(env, What::Trouble(format!("cannot seal a message: {fault}")));
            Vec::new()
        })
    }

    /// Verifies and decrypts a message of the peer, or a part of one, in place; what is inside is not read yet.
    ///
    /// # Errors
    /// [`Fault::Unauthentic`] if it is not the peer's.
    pub fn open<'d>(
        &self,
        env: &Env<'_>,
        sealed: &Sealed,
        datagram: &'d mut [u8],
    ) -> Result<&'d [u8], Fault> {
        let (protection, keys) = self.protection(env).zip(self.keys.as_ref()).ok_or(Fault::Unauthentic)?;
        protect::open_octets(protection, &keys.inbound, sealed, datagram)
    }

    /// Sends datagrams of one message on `flow`.
    pub fn transmit(env: &mut Env<'_>, flow: Flow, packets: &[Vec<u8>]) {
        for packet in packets {
            env.out.transmit(flow, packet);
        }
    }

    /// Sends the datagrams of a request where the peer is, and where it may be.
    pub fn transmit_request(&self, env: &mut Env<'_>, packets: &[Vec<u8>]) {
        Self::transmit(env, self.path.flow, packets);
        if let Some(flow) = self.hinted {
            Self::transmit(env, flow, packets);
        }
    }

    /// Says what happened to this SA.
    pub fn say(&self, env: &mut Env<'_>, what: What) {
        env.out.event(Event {
            local: self.path.local(),
            remote: self.path.remote(),
            sa: Some(self.id),
            spis: Some(self.spis()),
            flow: Some(self.path.flow),
            what,
        });
    }
}

/// The token that a peer gives with an SA (RFC 6290 §3: 16 to 128 octets).
#[must_use]
pub fn told_token(parts: &Parts) -> Option<Secret> {
    let told = parts.notify(NotifyType::QUICK_CRASH_DETECTION).map(|notify| notify.data.as_slice());
    told.filter(|token| (16..=128).contains(&token.len())).map(Secret::from_slice)
}

/// The token for an SA: 32 octets only the holder of `secret` can make (RFC 6290 §5.1).
#[must_use]
pub fn token(provider: &dyn Provider, secret: &Secret, spis: (IkeSpi, IkeSpi)) -> Option<Vec<u8>> {
    let prf = provider.prf(PrfId::HMAC_SHA2_256)?;
    let made = prf.compute(secret.expose(), &[&spis.0.0.to_be_bytes(), &spis.1.0.to_be_bytes()]);
    Some(made.expose().to_vec())
}

impl Common {
    /// A new SA without children.
    #[must_use]
    pub fn new(core: Core) -> Self {
        Self {
            core,
            window: Window::default(),
            tasks: Tasks::default(),
            children: Children::default(),
            reassembly: [None, None],
        }
    }

    /// Keeps the mapping of the NAT in front of us, unless ESP does.
    pub fn keep_alive(&mut self, env: &mut Env<'_>) {
        let sent = self.children.iter().filter(|child| child.sends()).map(|child| {
            let [_, outbound] = child.keys(&self.core.path);
            env.sad.query(&outbound).map_or(0, |usage| usage.packets)
        });
        if self.core.keepalive.is_needed(sent.sum()) {
            env.out.keepalive(self.core.path.flow);
        }
        self.core.put_keepalive_off(env);
    }

    /// Sends a sealed request and keeps it for retransmission.
    pub fn request(&mut self, env: &mut Env<'_>, exchange: ExchangeType, payloads: &[Payload]) {
        let packets = self.core.seal(env, exchange, self.window.next_id(), false, payloads);
        self.core.transmit_request(env, &packets);
        self.core.put_keepalive_off(env);
        self.window.sent(env.now, exchange, packets, &env.config.retransmission, env.rng);
    }

    /// Answers the request in work with sealed payloads, on the flow the request came by (RFC 7296 §2.11).
    pub fn respond(&mut self, env: &mut Env<'_>, flow: Flow, exchange: ExchangeType, payloads: &[Payload]) {
        let packets = self.core.seal(env, exchange, self.window.current_id(), true, payloads);
        Core::transmit(env, flow, &packets);
        self.core.put_keepalive_off(env);
        self.window.answered(packets);
    }
}

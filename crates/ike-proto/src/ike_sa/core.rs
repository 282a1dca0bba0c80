//! What every part of an IKE SA needs: who it is, where it goes, and how its messages are sealed and opened.

use std::sync::Arc;

use crate::crypto::keymat::SaKeys;
use crate::crypto::provider::{Prf, Protection};
use crate::crypto::suite::IkeSuite;
use crate::ids::{IkeSpi, Role, SaId};
use crate::ike_sa::children::Children;
use crate::ike_sa::env::Env;
use crate::ike_sa::path::Path;
use crate::ike_sa::task::Tasks;
use crate::ike_sa::window::Window;
use crate::message::parts::Parts;
use crate::message::protect::{self, Unopened};
use crate::output::{Event, Flow, What};
use crate::policy::identity::Identity;
use crate::policy::peer::{LocalId, SharedPeer};
use crate::policy::peer_db::Credential;
use crate::time::Instant;
use crate::wire::registry::ExchangeType;
use crate::wire::{Flags, Header, Payload, Sealed};

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
}

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
    /// When the first message was sent or came.
    pub born: Instant,
    /// When the present phase began.
    pub since: Instant,
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
            born: now,
            since: now,
            sealed: 0,
        }
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
        let Some(sealed) = self.sealed.checked_add(1) else {
            // 2^32 messages: an IV would come again. The SA is silent, and ends by its own timers.
            return Vec::new();
        };
        self.sealed = sealed;
        let sequence = u64::from(env.config.boot_epoch) << 32 | u64::from(self.sealed);
        let sealed = self
            .protection(env)
            .zip(self.keys.as_ref())
            .map(|(protection, keys)| protect::seal(protection, &keys.outbound, &header, payloads, sequence));
        match sealed {
            Some(Ok(message)) => vec![message],
            // Keys are made as long as their algorithm wants them: this would be a defect of the provider.
            Some(Err(fault)) => {
                self.say(env, What::Trouble(format!("cannot seal a message: {fault}")));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Opens a message of the peer.
    ///
    /// # Errors
    /// [`Unopened`].
    pub fn open(&self, env: &Env<'_>, sealed: &Sealed, datagram: &mut [u8]) -> Result<Parts, Unopened> {
        let unkeyed = Unopened::Unverified(crate::crypto::provider::Fault::Unauthentic);
        let (protection, keys) = self.protection(env).zip(self.keys.as_ref()).ok_or(unkeyed)?;
        protect::open(protection, &keys.inbound, sealed, datagram)
    }

    /// Sends datagrams of one message on `flow`.
    pub fn transmit(env: &mut Env<'_>, flow: Flow, packets: &[Vec<u8>]) {
        for packet in packets {
            env.out.transmit(flow, packet);
        }
    }

    /// Says what happened to this SA.
    pub fn say(&self, env: &mut Env<'_>, what: What) {
        env.out.event(Event {
            local: self.path.local(),
            remote: self.path.remote(),
            sa: Some(self.id),
            spis: Some(self.spis()),
            what,
        });
    }
}

impl Common {
    /// A new SA without children.
    #[must_use]
    pub fn new(core: Core) -> Self {
        Self { core, window: Window::default(), tasks: Tasks::default(), children: Children::default() }
    }

    /// Sends a sealed request and keeps it for retransmission.
    pub fn request(&mut self, env: &mut Env<'_>, exchange: ExchangeType, payloads: &[Payload]) {
        let packets = self.core.seal(env, exchange, self.window.next_id(), false, payloads);
        Core::transmit(env, self.core.path.flow, &packets);
        self.window.sent(env.now, exchange, packets, &env.config.retransmission, env.rng);
    }

    /// Answers the request in work with sealed payloads, on the flow the request came by (RFC 7296 §2.11).
    pub fn respond(&mut self, env: &mut Env<'_>, flow: Flow, exchange: ExchangeType, payloads: &[Payload]) {
        let packets = self.core.seal(env, exchange, self.window.current_id(), true, payloads);
        Core::transmit(env, flow, &packets);
        self.window.answered(packets);
    }

    /// The credential's reference, where the peer is authenticated.
    #[must_use]
    pub fn peer(&self) -> SharedPeer {
        Arc::clone(&self.core.peer)
    }
}

//! A peer that answers as a script says: somebody on the link who has the keys, because null cryptography tells them.
//!
//! ```text
//! request N {SA, Nonce, TS} --> | becomes INFORMATIONAL N {}     --> the peer knows of nothing
//! N(NO_ADDITIONAL_SAS)     <-- | instead of INFORMATIONAL N {}  <-- and its message ids go on
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use ike_proto::crypto::provider::{Fault, KeyExchange, Prf, Protection, ProtectionKeys, Provider};
use ike_proto::ids::IkeSpi;
use ike_proto::message::protect::{open_octets, seal};
use ike_proto::wire::registry::{
    CertEncoding, EncrId, ExchangeType, IdType, IntegId, KeId, NotifyType, PayloadType, PrfId,
};
use ike_proto::wire::udp_encap::NON_ESP_MARKER;
use ike_proto::wire::{
    Cert, Header, Located, Notify, Payload, Sealed, SealedKind, Unknown, locate, read_chain,
};

use crate::null_crypto::{self, NullProvider};
use crate::script::Spoiled;
use crate::trace::strip_marker;

/// What sealed the messages that end with these octets.
type Heard = Arc<Mutex<BTreeMap<Vec<u8>, (usize, ProtectionKeys)>>>;

/// Null cryptography that remembers with which keys each message was sealed.
pub struct Telling {
    protections: Vec<Tapped>,
    heard: Heard,
}

impl Telling {
    /// Nothing was sealed yet.
    #[must_use]
    pub fn new() -> Self {
        let heard = Heard::default();
        let tapped = |(number, inner)| Tapped { number, inner, heard: Arc::clone(&heard) };
        Self { protections: null_crypto::protections().enumerate().map(tapped).collect(), heard }
    }

    /// The message with its exchange and payloads replaced, sealed again with the same keys and IV; nobody gets the first one.
    #[must_use]
    pub fn resealed(&self, message: &[u8], exchange: ExchangeType, payloads: &[Payload]) -> Option<Vec<u8>> {
        self.sealed_again(message, exchange, |_, _, _| Some(payloads.to_vec()))
    }

    /// The same, made of the payloads that stood there.
    fn changed(
        &self,
        message: &[u8],
        exchange: ExchangeType,
        change: impl FnOnce(Vec<Payload>) -> Vec<Payload>,
    ) -> Option<Vec<u8>> {
        self.sealed_again(message, exchange, |protection, keys, sealed| {
            let mut copy = message.to_vec();
            let text = open_octets(protection, keys, sealed, &mut copy).ok()?;
            Some(change(read_chain(sealed.first, text).ok()?))
        })
    }

    fn sealed_again(
        &self,
        message: &[u8],
        exchange: ExchangeType,
        payloads: impl FnOnce(&dyn Protection, &ProtectionKeys, &Sealed) -> Option<Vec<Payload>>,
    ) -> Option<Vec<u8>> {
        let header = Header::read(message).ok()?;
        let Ok(Located::Sealed(sealed)) = locate(message, &header) else { return None };
        let iv = message.get(sealed.associated_len..)?.first_chunk()?;
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let icv = |len: usize| message.len().checked_sub(len).and_then(|at| message.get(at..));
        let (number, keys) = [16, 24, 32].into_iter().find_map(|len| heard.get(icv(len)?))?;
        let header = Header { exchange, first: PayloadType::NONE, length: 0, ..header };
        let whole = sealed.kind == SealedKind::Whole;
        let protection = self.protections.get(*number).filter(|_| whole)?.inner;
        let payloads = payloads(protection, keys, &sealed)?;
        seal(protection, keys, &header, &payloads, u64::from_be_bytes(*iv)).ok()
    }
}

impl Default for Telling {
    fn default() -> Self {
        Self::new()
    }
}

impl Provider for Telling {
    fn prf(&self, id: PrfId) -> Option<&dyn Prf> {
        NullProvider::find_prf(id)
    }

    fn protection(
        &self,
        encr: EncrId,
        key_bits: Option<u16>,
        integ: Option<IntegId>,
    ) -> Option<&dyn Protection> {
        let number = null_crypto::place(encr, key_bits, integ)?;
        let tapped: &dyn Protection = self.protections.get(number)?;
        Some(tapped)
    }

    fn key_exchange(&self, id: KeId) -> Option<&dyn KeyExchange> {
        NullProvider::find_key_exchange(id)
    }

    fn sha1(&self, parts: &[&[u8]]) -> [u8; 20] {
        NullProvider.sha1(parts)
    }
}

struct Tapped {
    number: usize,
    inner: &'static dyn Protection,
    heard: Heard,
}

impl Protection for Tapped {
    fn encr_key_len(&self) -> usize {
        self.inner.encr_key_len()
    }

    fn integ_key_len(&self) -> usize {
        self.inner.integ_key_len()
    }

    fn iv_len(&self) -> usize {
        self.inner.iv_len()
    }

    fn block_len(&self) -> usize {
        self.inner.block_len()
    }

    fn icv_len(&self) -> usize {
        self.inner.icv_len()
    }

    fn initialization_vector(&self, keys: &ProtectionKeys, sequence: u64, out: &mut Vec<u8>) {
        self.inner.initialization_vector(keys, sequence, out);
    }

    fn seal(
        &self,
        keys: &ProtectionKeys,
        iv: &[u8],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<Vec<u8>, Fault> {
        let icv = self.inner.seal(keys, iv, associated, text)?;
        let copy = ProtectionKeys { encr: keys.encr.duplicate(), integ: keys.integ.duplicate() };
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(icv.clone(), (self.number, copy));
        Ok(icv)
    }

    fn open(
        &self,
        keys: &ProtectionKeys,
        iv: &[u8],
        associated: &[u8],
        text: &mut [u8],
        icv: &[u8],
    ) -> Result<(), Fault> {
        self.inner.open(keys, iv, associated, text, icv)
    }
}

/// An exchange by its SA, who began it (the SA's original initiator or not), and its message id.
type ExchangeName = (IkeSpi, IkeSpi, bool, u32);

/// The one on the link.
#[derive(Default)]
pub struct Impostor {
    telling: Option<Arc<Telling>>,
    /// Requests that were taken away, with what their senders are told.
    refused: BTreeMap<ExchangeName, (ExchangeType, NotifyType)>,
    /// Requests whose contents are replaced.
    spoiled: BTreeMap<ExchangeName, Spoiled>,
    /// Requests that went their way: what the peer may know of is not refused when it is sent again.
    passed: BTreeSet<ExchangeName>,
}

impl Impostor {
    /// One who has the keys that `telling` tells.
    #[must_use]
    pub const fn new(telling: Option<Arc<Telling>>) -> Self {
        Self { telling, refused: BTreeMap::new(), spoiled: BTreeMap::new(), passed: BTreeSet::new() }
    }

    /// From now on the request in `datagram` is refused with `notify`, unless it went its way before; its receiver never
    /// sees it.
    pub fn refuse(&mut self, datagram: &[u8], notify: NotifyType) {
        if let Some((name, header)) = named(datagram).filter(|(_, header)| !header.flags.is_response())
            && !self.passed.contains(&name)
        {
            self.refused.insert(name, (header.exchange, notify));
        }
    }

    /// From now on the request in `datagram` travels with other contents, unless it went its way before.
    pub fn spoil(&mut self, datagram: &[u8], spoiled: Spoiled) {
        if let Some((name, _)) = named(datagram).filter(|(_, header)| !header.flags.is_response())
            && !self.passed.contains(&name)
        {
            self.spoiled.insert(name, spoiled);
        }
    }

    /// What travels instead of `datagram`, if it belongs to a refused exchange or is a spoiled request.
    pub fn replace(&mut self, datagram: &[u8]) -> Option<Arc<[u8]>> {
        let telling = self.telling.as_ref()?;
        let (name, header) = named(datagram)?;
        let message = strip_marker(datagram);
        let marker: &[u8] = if message.len() < datagram.len() { &NON_ESP_MARKER } else { &[] };
        if let Some(spoiled) = self.spoiled.get(&name).filter(|_| !header.flags.is_response()) {
            let replaced =
                telling.changed(message, header.exchange, |payloads| spoiled.payloads(payloads))?;
            return Some([marker, &replaced].concat().into());
        }
        let Some((exchange, notify)) = self.refused.get(&name).copied() else {
            self.passed.insert(name);
            return None;
        };
        let replaced = if header.flags.is_response() {
            telling.resealed(message, exchange, &[Payload::Notify(Notify::error(notify))])?
        } else {
            telling.resealed(message, ExchangeType::INFORMATIONAL, &[])?
        };
        Some([marker, &replaced].concat().into())
    }
}

impl Spoiled {
    fn payloads(self, mut sent: Vec<Payload>) -> Vec<Payload> {
        match self {
            Self::Empty => sent.clear(),
            Self::Critical => {
                let unknown = Unknown { payload_type: PayloadType(200), critical: true, body: vec![1, 2, 3] };
                sent = vec![Payload::Unknown(unknown)];
            }
            Self::NoAuth => sent.retain(|payload| !matches!(payload, Payload::Auth(_))),
            Self::TwoAuths => {
                let auth = sent.iter().find(|payload| matches!(payload, Payload::Auth(_))).cloned();
                sent.extend(auth);
            }
            Self::Method(method) => {
                for payload in &mut sent {
                    if let Payload::Auth(auth) = payload {
                        auth.method = method;
                    }
                }
            }
            Self::Identity(octets) => {
                for payload in &mut sent {
                    if let Payload::IdI(id) = payload {
                        (id.id_type, id.data) = (IdType::FQDN, vec![b'a'; usize::from(octets)]);
                    }
                }
            }
            Self::Certs(count) => {
                let cert = Cert { encoding: CertEncoding::X509_SIGNATURE, data: vec![0x30, 0] };
                sent.extend((0..count).map(|_| Payload::Cert(cert.clone())));
            }
        }
        sent
    }
}

fn named(datagram: &[u8]) -> Option<(ExchangeName, Header)> {
    let header = Header::read(strip_marker(datagram)).ok()?;
    // A response is of an exchange that the other end began.
    let begun_by_initiator = header.flags.is_initiator() != header.flags.is_response();
    Some(((header.spi_i, header.spi_r, begun_by_initiator, header.message_id), header))
}

//! Two engines and somebody between them who has all keys: what an input spells is the order of deliveries, losses,
//! copies and lies.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use coati_sim::TwoHosts;
use coati_sim::host::Host;
use coati_sim::null_crypto::NullProvider;
use coati_sim::sad::Notice;
use ike_proto::crypto::provider::{Fault, KeyExchange, Prf, Protection, ProtectionKeys, Provider};
use ike_proto::endpoint::Command;
use ike_proto::ids::IkeSpi;
use ike_proto::output::{Output, Transmit};
use ike_proto::rng::{Rng, Seed};
use ike_proto::time::{Duration, Instant};
use ike_proto::wire::encrypted::append_padding;
use ike_proto::wire::registry::{EncrId, ExchangeType, IntegId, KeId, PayloadType, PrfId};
use ike_proto::wire::udp_encap::NON_ESP_MARKER;
use ike_proto::wire::{Draft, Flags, Header, SealedKind};

/// Steps of one run.
const MOST_STEPS: usize = 96;

/// Datagrams on their way; more are lost.
const MOST_IN_FLIGHT: usize = 24;

/// Datagrams that one step may bring forth.
const MOST_AT_ONCE: usize = 32;

/// Plays `data` between two engines. They may refuse what they like, but not panic, not speak without end, not write a
/// line that leaves its line, and not answer a stranger with more than twice what it sent.
pub fn engine(data: &[u8]) {
    let mut script = Script(data);
    let mut between = Between::new();
    for _ in 0..MOST_STEPS {
        let Some(step) = script.octet() else { break };
        between.step(step, &mut script);
    }
    between.let_time_pass(Duration::from_secs(3600));
}

/// The input, as it is used up; an exhausted one gives zeros.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn some_octet(&mut self) -> u8 {
        self.octet().unwrap_or(0)
    }

    /// A length, and so many octets or what is left.
    fn octets(&mut self) -> &'a [u8] {
        let len = usize::from(self.some_octet()).min(self.0.len());
        let (octets, rest) = self.0.split_at(len);
        self.0 = rest;
        octets
    }
}

struct Between {
    now: Instant,
    hosts: [Host; 2],
    addresses: [SocketAddr; 2],
    in_flight: VecDeque<Flying>,
    /// SPIs of the message that passed last.
    spis: (IkeSpi, IkeSpi),
}

#[derive(Clone)]
struct Flying {
    to: usize,
    transmit: Transmit,
}

impl Between {
    fn new() -> Self {
        let two = TwoHosts::plain();
        let scenario = two.scenario();
        let now = Instant::ZERO + Duration::from_secs(1);
        let provider: Arc<dyn Provider> = Arc::new(Trusting);
        let hosts = [0, 1].map(|host: u8| {
            let rng = Rng::new(&Seed::from_u64(u64::from(host)));
            Host::start(scenario.hosts[usize::from(host)].clone(), Arc::clone(&provider), rng, now)
        });
        let addresses = two.own().map(|address| SocketAddr::new(address, 500));
        let spis = (IkeSpi::ZERO, IkeSpi::ZERO);
        let mut between = Self { now, hosts, addresses, in_flight: VecDeque::new(), spis };
        between.collect();
        between
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        match step % 12 {
            0 | 1 => self.deliver_first(|flying| Some(flying.transmit.datagram.clone())),
            2 => {
                let (first, chain) = (PayloadType(script.some_octet()), script.octets());
                self.deliver_first(|flying| resealed(&flying.transmit, first, chain));
            }
            3 => drop(self.in_flight.pop_front()),
            4 => {
                let copy = self.in_flight.front().cloned();
                self.in_flight.extend(copy);
            }
            5 => self.in_flight.rotate_left(1.min(self.in_flight.len())),
            6 => self.let_time_pass(Duration::from_millis(100 * u64::from(script.some_octet()))),
            7 => self.command(script.some_octet()),
            8 => self.forge(script),
            9 => self.lie(script),
            10 => {
                let (at, octet) = (script.some_octet(), script.some_octet());
                self.deliver_first(|flying| Some(damaged(&flying.transmit.datagram, at, octet)));
            }
            _ => self.expire(script.some_octet()),
        }
    }

    /// Hands the datagram that is on its way longest to its receiver, as `arriving` makes it.
    fn deliver_first(&mut self, arriving: impl FnOnce(&Flying) -> Option<Vec<u8>>) {
        let Some(flying) = self.in_flight.pop_front() else { return };
        if let Some(datagram) = arriving(&flying) {
            let flow = flying.transmit.flow;
            self.hand(flying.to, flow.local, flow.remote, &datagram);
        }
    }

    fn hand(&mut self, to: usize, source: SocketAddr, destination: SocketAddr, datagram: &[u8]) {
        let message = datagram.strip_prefix(&NON_ESP_MARKER).unwrap_or(datagram);
        if let Ok(header) = Header::read(message) {
            self.spis = (header.spi_i, header.spi_r);
        }
        self.hosts[to].take(self.now, source, destination, datagram);
        self.collect();
    }

    fn let_time_pass(&mut self, time: Duration) {
        let end = self.now + time;
        // Every deadline in between is kept, but no more than so many: a host that never sleeps would be found by this.
        for _ in 0..4000 {
            let due = self.hosts.iter().filter_map(Host::deadline).filter(|due| *due <= end).min();
            let Some(due) = due else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            for host in 0..2 {
                self.hosts[host].wake(self.now);
            }
            self.collect();
        }
        panic!("a host wants to be woken again and again");
    }

    fn command(&mut self, octet: u8) {
        let from = usize::from(octet & 1);
        let (local, remote) = (self.addresses[from].ip(), self.addresses[1 - from].ip());
        let command = match (octet >> 1) % 16 {
            0..=9 => Command::Initiate { local, remote },
            10..=14 => Command::Delete { local, remote },
            _ => Command::Shutdown,
        };
        // A command that cannot be carried out is refused; that is an answer, too.
        let _ = self.hosts[from].command(self.now, command);
        self.collect();
    }

    /// A sealed message in one host's name, with the SPIs of the message that passed last.
    fn forge(&mut self, script: &mut Script<'_>) {
        let (how, exchange, id) = (script.some_octet(), script.some_octet(), script.some_octet());
        let (first, chain) = (PayloadType(script.some_octet()), script.octets());
        let to = usize::from(how & 1);
        let header = Header {
            spi_i: self.spis.0,
            spi_r: self.spis.1,
            first: PayloadType::NONE,
            major: 2,
            minor: 0,
            exchange: ExchangeType(ExchangeType::IKE_SA_INIT.0 + exchange % 5),
            flags: Flags::new(how & 2 != 0, how & 4 != 0),
            message_id: u32::from(id % 8),
            length: 0,
        };
        let kind = match how >> 3 {
            0..=27 => SealedKind::Whole,
            more => SealedKind::Fragment { number: u16::from(more - 27), total: u16::from(id >> 4).max(4) },
        };
        let message = sealed(&header, kind, first, chain);
        self.hand_natt(to, &[&NON_ESP_MARKER, message.as_slice()].concat());
    }

    /// Octets of a stranger's. To a first request there is an answer of at most twice its size.
    fn lie(&mut self, script: &mut Script<'_>) {
        let (how, body) = (script.some_octet(), script.octets());
        let to = usize::from(how & 1);
        let mut datagram = body.to_vec();
        let length = u32::try_from(datagram.len()).expect("at most 255 octets").to_be_bytes();
        if let (true, Some(field)) = (how & 2 != 0, datagram.get_mut(24..28)) {
            field.copy_from_slice(&length);
        }
        if how & 4 != 0 {
            let spis = [self.spis.0.0.to_be_bytes(), self.spis.1.0.to_be_bytes()].concat();
            if let Some(field) = datagram.get_mut(..16) {
                field.copy_from_slice(&spis);
            }
        }
        if how & 8 != 0 {
            self.hand_natt(to, &[&NON_ESP_MARKER, datagram.as_slice()].concat());
            return;
        }
        let before = self.in_flight.len();
        let (source, destination) = (self.addresses[1 - to], self.addresses[to]);
        self.hand(to, source, destination, &datagram);
        let answers = self.in_flight.iter().skip(before).map(|flying| flying.transmit.datagram.len());
        let begins = matches!(Header::read(&datagram), Ok(header) if header.spi_r == IkeSpi::ZERO);
        let answered: usize = answers.sum();
        assert!(!begins || answered <= 2 * datagram.len(), "{answered} octets for {}", datagram.len());
    }

    fn hand_natt(&mut self, to: usize, datagram: &[u8]) {
        let natt = |mut address: SocketAddr| {
            address.set_port(4500);
            address
        };
        self.hand(to, natt(self.addresses[1 - to]), natt(self.addresses[to]), datagram);
    }

    fn expire(&mut self, octet: u8) {
        let host = usize::from(octet & 1);
        let key = self.hosts[host].sad.live().nth(usize::from(octet >> 2)).map(|sa| sa.spec.key());
        let notice = key.map_or(Notice::Lost, |key| Notice::Expire { key, hard: octet & 2 != 0 });
        self.hosts[host].hear(self.now, notice);
        self.collect();
    }

    /// Takes what the hosts say, does their jobs at once, and looks at it all.
    fn collect(&mut self) {
        for host in 0..2 {
            let mut transmits = 0;
            while let Some(output) = self.hosts[host].output() {
                match output {
                    Output::Job(id, job) => {
                        self.hosts[host].jobs.insert(id, job);
                        self.hosts[host].finish(self.now, id);
                    }
                    Output::Transmit(transmit) => {
                        transmits += 1;
                        assert!(transmits <= MOST_AT_ONCE, "{transmits} datagrams at once");
                        if self.in_flight.len() < MOST_IN_FLIGHT {
                            self.in_flight.push_back(Flying { to: 1 - host, transmit });
                        }
                    }
                    Output::Event(event) => {
                        let line = event.to_string();
                        assert!(!line.chars().any(char::is_control), "{line:?}");
                        assert!(line.len() < 8000, "{} characters: {line:.200}", line.len());
                    }
                }
            }
        }
    }
}

/// The message in `transmit` with another content, sealed again if it was sealed.
fn resealed(transmit: &Transmit, first: PayloadType, chain: &[u8]) -> Option<Vec<u8>> {
    let datagram = transmit.datagram.as_slice();
    let message = datagram.strip_prefix(&NON_ESP_MARKER).unwrap_or(datagram);
    let marker = datagram.get(..datagram.len() - message.len())?;
    let header = Header::read(message).ok()?;
    let message = if header.first == PayloadType::ENCRYPTED {
        sealed(&header, SealedKind::Whole, first, chain)
    } else {
        let length = u32::try_from(Header::LEN + chain.len()).ok()?;
        let mut message = Vec::new();
        Header { first, length, ..header }.write(&mut message);
        message.extend(chain);
        message
    };
    Some([marker, message.as_slice()].concat())
}

/// A message as its owner would seal it: what [`Trusting`] opens.
fn sealed(header: &Header, kind: SealedKind, first: PayloadType, chain: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let draft = Draft::begin(header, kind, first, &mut message);
    message.extend([0; 8]);
    message.extend(chain);
    append_padding(chain.len(), 1, &mut message);
    draft.finish(16, &mut message);
    message
}

fn damaged(datagram: &[u8], at: u8, octet: u8) -> Vec<u8> {
    let mut datagram = datagram.to_vec();
    if let Some(damaged) = datagram.get_mut(usize::from(at)) {
        *damaged = octet;
    }
    datagram
}

/// The simulator's algorithms, with an AEAD that takes every message for authentic: a peer can send what it likes.
struct Trusting;

static NULL: NullProvider = NullProvider;
static TRUSTING: TrustingAead = TrustingAead;

impl Provider for Trusting {
    fn prf(&self, id: PrfId) -> Option<&dyn Prf> {
        NULL.prf(id)
    }

    fn protection(
        &self,
        encr: EncrId,
        key_bits: Option<u16>,
        integ: Option<IntegId>,
    ) -> Option<&dyn Protection> {
        let wanted = (encr, key_bits, integ.filter(|id| *id != IntegId::NONE));
        (wanted == (EncrId::AES_GCM_16, Some(256), None)).then_some(&TRUSTING)
    }

    fn key_exchange(&self, id: KeId) -> Option<&dyn KeyExchange> {
        NULL.key_exchange(id)
    }

    fn sha1(&self, parts: &[&[u8]]) -> [u8; 20] {
        NULL.sha1(parts)
    }
}

/// AES-GCM with a key of 256 bits by its lengths; it neither encrypts nor checks.
struct TrustingAead;

impl Protection for TrustingAead {
    fn encr_key_len(&self) -> usize {
        36
    }

    fn integ_key_len(&self) -> usize {
        0
    }

    fn iv_len(&self) -> usize {
        8
    }

    fn block_len(&self) -> usize {
        1
    }

    fn icv_len(&self) -> usize {
        16
    }

    fn initialization_vector(&self, _keys: &ProtectionKeys, sequence: u64, out: &mut Vec<u8>) {
        out.extend(sequence.to_be_bytes());
    }

    fn seal(
        &self,
        _keys: &ProtectionKeys,
        _iv: &[u8],
        _associated: &[u8],
        _text: &mut [u8],
    ) -> Result<Vec<u8>, Fault> {
        Ok(vec![0; 16])
    }

    fn open(
        &self,
        _keys: &ProtectionKeys,
        _iv: &[u8],
        _associated: &[u8],
        _text: &mut [u8],
        _icv: &[u8],
    ) -> Result<(), Fault> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the hosts said in a run of `data` that delivers everything.
    fn live_sas(data: &[u8]) -> [usize; 2] {
        let mut script = Script(data);
        let mut between = Between::new();
        while let Some(step) = script.octet() {
            between.step(step, &mut script);
        }
        between.hosts.map(|host| host.sad.live().count())
    }

    #[test]
    fn an_undisturbed_input_sets_up_a_child_at_both_ends() {
        assert_eq!(live_sas(&[7, 0, 0, 0, 0, 0, 0]), [2, 2]);
    }

    #[test]
    fn a_strangers_first_request_is_answered() {
        let (input, mut between) = (include_bytes!("../corpus/engine/stranger-init"), Between::new());
        between.in_flight.clear();
        let mut script = Script(input);
        let step = script.some_octet();
        between.step(step, &mut script);
        assert_eq!(between.in_flight.len(), 1);
    }

    #[test]
    fn a_forged_delete_is_taken_for_the_peers() {
        let forged = [8, 0b11, 3, 2, 42, 8, 0, 0, 0, 8, 1, 0, 0, 0];
        assert_eq!(live_sas(&[&[7, 0, 0, 0, 0, 0, 0], &forged[..]].concat())[1], 0);
    }
}

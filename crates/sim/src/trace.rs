//! What was seen of a run, kept as it was and made readable only when somebody asks: the message ladder of a failed seed.

use core::fmt;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ike_proto::output::{Event, What};
use ike_proto::time::Instant;
use ike_proto::wire::encrypted::strip_padding;
use ike_proto::wire::pretty::Pretty;
use ike_proto::wire::udp_encap::NON_ESP_MARKER;
use ike_proto::wire::{Header, Located, Payload, Sealed, locate, read_chain};

/// Sights of one pair of hosts that are kept; older ones are forgotten.
const KEPT: usize = 20_000;

/// Sights that are kept of all pairs together, a few of each pair beside.
const KEPT_IN_ALL: usize = 2_000_000;

/// Lines of a ladder; what came before is left out.
const LINES: usize = 1_000;

/// One thing seen.
#[derive(Clone, Debug)]
pub enum Sight {
    /// A host sent a message.
    Sent {
        /// The host.
        from: usize,
        /// The host it is for, where its address leads to one.
        to: Option<usize>,
        /// The datagram.
        datagram: Arc<[u8]>,
        /// What became of it: copies that travel on, or why there are none.
        fate: &'static str,
    },
    /// A host took a message.
    Took {
        /// The host that sent it.
        from: usize,
        /// The host.
        host: usize,
        /// The datagram.
        datagram: Arc<[u8]>,
    },
    /// A host's engine said something.
    Said {
        /// The host.
        host: usize,
        /// The host it is about, if the address leads to one.
        peer: Option<usize>,
        /// What it said.
        event: Box<Event>,
    },
    /// The script or the simulated world did something.
    Done(Option<usize>, String),
}

impl Sight {
    /// The two hosts it concerns, the lower number first; `None` where it is one host's affair, or everybody's.
    fn pair(&self) -> Option<(usize, usize)> {
        let (one, other) = match self {
            Self::Sent { from, to, .. } => (*from, (*to)?),
            Self::Took { from, host, .. } => (*from, *host),
            Self::Said { host, peer, .. } => (*host, (*peer)?),
            Self::Done(..) => return None,
        };
        Some((one.min(other), one.max(other)))
    }

    /// Whether it is to be seen on the ladder of two hosts, given that it is not of another pair.
    fn concerns(&self, one: usize, other: usize) -> bool {
        let is = |host: usize| host == one || host == other;
        match self {
            Self::Sent { from, .. } | Self::Took { from, .. } => is(*from),
            Self::Said { host, .. } => is(*host),
            Self::Done(host, _) => host.is_none_or(is),
        }
    }
}

/// A sight with its time, and its place among all.
type Numbered = (u64, (Instant, Sight));

/// All that was seen, in order.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    names: Vec<String>,
    readable: bool,
    kept: usize,
    count: u64,
    /// By pair of hosts, so that a busy pair's sights do not push out another's.
    sights: BTreeMap<Option<(usize, usize)>, VecDeque<Numbered>>,
}

impl Trace {
    /// A trace of hosts with these names. `readable`: sealed text is in clear, as null cryptography leaves it.
    #[must_use]
    pub fn new(names: Vec<String>, readable: bool) -> Self {
        let pairs = names.len() * names.len().saturating_sub(1) / 2;
        let kept = (KEPT_IN_ALL / pairs.max(1)).clamp(100, KEPT);
        Self { names, readable, kept, count: 0, sights: BTreeMap::new() }
    }

    /// Adds a sight.
    pub fn see(&mut self, now: Instant, sight: Sight) {
        self.count += 1;
        let pair = sight.pair();
        let sights = self.sights.entry(pair).or_default();
        if sights.len() >= if pair.is_some() { self.kept } else { KEPT } {
            sights.pop_front();
        }
        sights.push_back((self.count, (now, sight)));
    }

    /// All sights, in order.
    pub fn sights(&self) -> impl Iterator<Item = &(Instant, Sight)> {
        let mut all: Vec<&Numbered> = self.sights.values().flatten().collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, sight)| sight)
    }

    /// When a host said something of a kind.
    pub fn said(&self, host: usize, kind: impl Fn(&What) -> bool) -> Vec<Instant> {
        let hit = |sight: &Sight| matches!(sight, Sight::Said { host: by, event, .. } if *by == host && kind(&event.what));
        self.sights().filter(|(_, sight)| hit(sight)).map(|(at, _)| *at).collect()
    }

    /// The messages between two hosts and what both said, one a line.
    #[must_use]
    pub const fn ladder(&self, one: usize, other: usize) -> Ladder<'_> {
        Ladder { trace: self, one, other }
    }

    /// The sights of two hosts, in order.
    fn between(&self, one: usize, other: usize) -> Vec<&(Instant, Sight)> {
        let own = self.sights.get(&Some((one.min(other), one.max(other)))).into_iter().flatten();
        let of_none = self.sights.get(&None).into_iter().flatten();
        let mut both: Vec<&Numbered> =
            own.chain(of_none.filter(|(_, (_, sight))| sight.concerns(one, other))).collect();
        both.sort_unstable_by_key(|(number, _)| *number);
        both.into_iter().map(|(_, sight)| sight).collect()
    }

    /// The host with which `host` last exchanged a message.
    #[must_use]
    pub fn last_partner(&self, host: usize) -> Option<usize> {
        let of_host = self.sights.iter().filter_map(|(pair, sights)| {
            let (one, other) = (*pair)?;
            let partner = if one == host { other } else { one };
            let own = one == host || other == host;
            let is_message =
                |(_, (_, sight)): &&Numbered| matches!(sight, Sight::Sent { .. } | Sight::Took { .. });
            let last = sights.iter().rev().find(is_message)?.0;
            own.then_some((last, partner))
        });
        of_host.max().map(|(_, partner)| partner)
    }

    /// Reads a datagram as far as it can be read without keys, or altogether where the text is not encrypted.
    #[must_use]
    pub fn message(&self, datagram: &[u8]) -> Option<(Header, Option<Vec<Payload>>)> {
        let message = strip_marker(datagram);
        let header = Header::read(message).ok()?;
        let payloads = match locate(message, &header) {
            Ok(Located::Plain(payloads)) => Some(payloads),
            Ok(Located::Sealed(sealed)) if self.readable => unsealed(&sealed, message),
            Ok(Located::Sealed(_)) | Err(_) => None,
        };
        Some((header, payloads))
    }

    fn text(&self, datagram: &[u8]) -> String {
        match self.message(datagram) {
            Some((header, Some(payloads))) => Pretty { header: &header, payloads: &payloads }.to_string(),
            Some((header, None)) => format!("{header} {{ {} octets }}", datagram.len()),
            None => format!("{} octets that are no IKE message", datagram.len()),
        }
    }

    fn name(&self, host: Option<usize>) -> &str {
        host.and_then(|host| self.names.get(host)).map_or("nobody", String::as_str)
    }
}

/// A datagram without the non-ESP marker, if it has one. An SPI may begin with four zeros too: then the length tells.
#[must_use]
pub fn strip_marker(datagram: &[u8]) -> &[u8] {
    let is_whole = |message: &[u8]| {
        Header::read(message).is_ok_and(|header| usize::try_from(header.length) == Ok(message.len()))
    };
    match datagram.strip_prefix(&NON_ESP_MARKER) {
        Some(message) if is_whole(message) || !is_whole(datagram) => message,
        _ => datagram,
    }
}

/// The payloads inside an SK payload that null cryptography sealed; the suite is found by what can be read.
fn unsealed(sealed: &Sealed, message: &[u8]) -> Option<Vec<Payload>> {
    // IV and ICV lengths: the AEADs, then CBC with each hash.
    [(8, 16), (16, 16), (16, 24), (16, 32)].into_iter().find_map(|(iv, icv)| {
        let body = message.get(sealed.associated_len..)?;
        let text = body.get(iv..body.len().checked_sub(icv)?)?;
        read_chain(sealed.first, strip_padding(text).ok()?).ok()
    })
}

/// A part of a trace, to be shown.
pub struct Ladder<'a> {
    trace: &'a Trace,
    one: usize,
    other: usize,
}

impl fmt::Display for Ladder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sights = self.trace.between(self.one, self.other);
        let earlier = sights.len().saturating_sub(LINES);
        if earlier > 0 {
            writeln!(f, "  ({earlier} earlier lines are left out)")?;
        }
        sights.into_iter().skip(earlier).try_for_each(|(at, sight)| self.line(f, *at, sight))
    }
}

impl Ladder<'_> {
    fn line(&self, f: &mut fmt::Formatter<'_>, at: Instant, sight: &Sight) -> fmt::Result {
        let name = |host| self.trace.name(host);
        let millis = at.as_nanos() / 1_000_000;
        let head = format!("{:>8}.{:03}", millis / 1000, millis % 1000);
        match sight {
            Sight::Sent { from, to, datagram, fate } => {
                let text = self.trace.text(datagram);
                writeln!(f, "{head}  {} -> {}  {text}{fate}", name(Some(*from)), name(*to))
            }
            Sight::Took { host, datagram, .. } => {
                let header = Header::read(strip_marker(datagram)).map(|header| header.to_string());
                let text = header.unwrap_or_else(|_| "(unreadable)".to_owned());
                writeln!(f, "{head}    {} takes {text}", name(Some(*host)))
            }
            Sight::Said { host, event, .. } => writeln!(f, "{head}    {}: {event}", name(Some(*host))),
            Sight::Done(_, text) => writeln!(f, "{head}  * {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ike_proto::crypto::provider::{ProtectionKeys, Provider};
    use ike_proto::ids::IkeSpi;
    use ike_proto::message::protect::seal;
    use ike_proto::secret::Secret;
    use ike_proto::time::Duration;
    use ike_proto::wire::registry::{EncrId, ExchangeType, IntegId, PayloadType};
    use ike_proto::wire::{Delete, Flags};

    use super::*;
    use crate::null_crypto::NullProvider;

    fn header() -> Header {
        Header {
            spi_i: IkeSpi(1),
            spi_r: IkeSpi(2),
            first: PayloadType::NONE,
            major: 2,
            minor: 0,
            exchange: ExchangeType::INFORMATIONAL,
            flags: Flags::new(true, false),
            message_id: 3,
            length: 0,
        }
    }

    fn sealed_delete(encr: EncrId, bits: u16, integ: Option<IntegId>) -> Vec<u8> {
        let protection = NullProvider.protection(encr, Some(bits), integ).unwrap();
        let keys = ProtectionKeys {
            encr: Secret::new(vec![1; protection.encr_key_len()]),
            integ: Secret::new(vec![2; protection.integ_key_len()]),
        };
        let message =
            seal(protection, &keys, &header(), &[Payload::Delete(Delete::ike_sa())], 1_u64 << 32).unwrap();
        [NON_ESP_MARKER.as_slice(), &message].concat()
    }

    #[test]
    fn a_ladder_shows_what_null_cryptography_sealed() {
        let suites = [
            (EncrId::AES_GCM_16, 256, None),
            (EncrId::AES_CBC, 128, Some(IntegId::HMAC_SHA2_256_128)),
            (EncrId::AES_CBC, 256, Some(IntegId::HMAC_SHA2_512_256)),
        ];
        for (encr, bits, integ) in suites {
            let mut trace = Trace::new(vec!["alpha".to_owned(), "beta".to_owned()], true);
            let datagram: Arc<[u8]> = sealed_delete(encr, bits, integ).into();
            let at = Instant::ZERO + Duration::from_millis(1500);
            trace.see(at, Sight::Sent { from: 0, to: Some(1), datagram, fate: " (lost)" });
            let shown = trace.ladder(0, 1).to_string();
            assert_eq!(
                shown,
                "       1.500  alpha -> beta  INFORMATIONAL request 3 0000000000000001_i 0000000000000002_r { D(IKE) } (lost)\n"
            );
        }
    }

    #[test]
    fn a_ladder_keeps_the_newest_lines_of_its_pair() {
        let mut trace = Trace::new(vec!["a".to_owned(), "b".to_owned()], true);
        for number in 0..LINES + 5 {
            trace.see(Instant::ZERO, Sight::Done(Some(number % 2), format!("number {number}")));
        }
        let shown = trace.ladder(0, 1).to_string();
        assert_eq!(shown.lines().count(), LINES + 1);
        assert!(shown.starts_with("  (5 earlier lines are left out)"));
        assert!(shown.ends_with(&format!("number {}\n", LINES + 4)));
    }

    #[test]
    fn a_ladder_leaves_other_pairs_out() {
        let mut trace = Trace::new(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], true);
        let datagram: Arc<[u8]> = [0; 28].into();
        trace.see(Instant::ZERO, Sight::Sent { from: 0, to: Some(2), datagram, fate: "" });
        trace.see(Instant::ZERO, Sight::Done(Some(2), "c reboots".to_owned()));
        assert_eq!(trace.ladder(0, 1).to_string(), "");
        assert_eq!(trace.ladder(0, 2).to_string().lines().count(), 2);
        assert_eq!((trace.last_partner(0), trace.last_partner(1)), (Some(2), None));
    }
}

//! Fuzz targets: one function for each door through which octets come in from outside.
//!
//! A target panics when its door does, or when a promise of what is behind the door is broken. `src/bin` hands the
//! targets to libFuzzer, `tests/replay.rs` runs the committed corpora through them on every `cargo test`.

mod engine;

use core::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use coati_config::diag::Diagnostics;
use coati_config::files::Memory;
use coati_config::setkey::{FwdCopies, PolicySet, check_keyable};
use ike_proto::wire::encrypted::strip_padding;
use ike_proto::wire::pretty::Pretty;
use ike_proto::wire::registry::PayloadType;
use ike_proto::wire::udp_encap::{Incoming, KEEPALIVE, NON_ESP_MARKER, classify};
use ike_proto::wire::{
    Header, Located, MAX_PAYLOADS, Payload, Sealed, SealedKind, TrafficSelector, locate, read_chain,
    write_chain,
};

use xfrm_sys::Message;
use xfrm_sys::constants::NLM_F_CAPPED;
use xfrm_sys::message::Body;

pub use engine::engine;

/// A target: its name, which is that of its corpus and of its program, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("coati_toml", coati_toml),
    ("engine", engine),
    ("plain_rsa", plain_rsa),
    ("psk_txt", psk_txt),
    ("racoon_conf", racoon_conf),
    ("setkey_conf", setkey_conf),
    ("udp_encap", udp_encap),
    ("wire_chain", wire_chain),
    ("wire_header", wire_header),
    ("wire_message", wire_message),
    ("wire_payload", wire_payload),
    ("xfrm_message", xfrm_message),
];

/// A datagram on an encapsulating port: each kind is what RFC 3948 says, and no octet of an IKE message is lost.
pub fn udp_encap(data: &[u8]) {
    let mut datagram = data.to_vec();
    match classify(&mut datagram) {
        Incoming::Keepalive => assert_eq!(data, KEEPALIVE),
        Incoming::Ike(message) => assert_eq!(Some(&*message), data.strip_prefix(&NON_ESP_MARKER)),
        Incoming::Esp => assert!(data.len() >= 4 && !data.starts_with(&NON_ESP_MARKER)),
        Incoming::Runt => assert!(data.len() < 4 && data != KEEPALIVE),
    }
}

/// An IKE header: 28 octets are one, whatever they are, and are written as they were read.
pub fn wire_header(data: &[u8]) {
    let Ok(header) = Header::read(data) else {
        assert!(data.len() < Header::LEN);
        return;
    };
    let mut out = Vec::new();
    header.write(&mut out);
    assert_eq!(Some(out.as_slice()), data.get(..Header::LEN));
    assert_one_line(&header, &[]);
}

/// A whole message, as it comes and with the length made right.
pub fn wire_message(data: &[u8]) {
    let Ok(header) = Header::read(data) else { return };
    let length = u32::try_from(data.len()).expect("libFuzzer's inputs are short");
    let located = locate(data, &header);
    assert!(located.is_err() || header.length == length);
    let header = Header { length, ..header };
    match locate(data, &header) {
        Ok(Located::Plain(payloads)) => {
            let mut body = Vec::new();
            let first = write_chain(&payloads, &mut body);
            let length = u32::try_from(Header::LEN + body.len()).expect("as long as what was read");
            let header = Header { first, length, ..header };
            let mut message = Vec::new();
            header.write(&mut message);
            message.extend(body);
            assert_one_line(&header, &payloads);
            assert_eq!(locate(&message, &header), Ok(Located::Plain(payloads)));
        }
        Ok(Located::Sealed(sealed)) => assert_located(data, &sealed),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A decrypted chain of payloads: the first octet is the type of the first.
pub fn wire_chain(data: &[u8]) {
    let Some((&first, octets)) = data.split_first() else { return };
    match read_chain(PayloadType(first), octets) {
        Ok(payloads) => {
            assert!(payloads.len() <= MAX_PAYLOADS);
            payloads.iter().for_each(assert_bounds);
            let mut out = Vec::new();
            let first = write_chain(&payloads, &mut out);
            assert!(out.len() <= octets.len(), "writing added {} octets", out.len() - octets.len());
            assert_eq!(read_chain(first, &out), Ok(payloads));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// One payload: the first octet is its type. The type of the Encrypted payload stands for its padding.
pub fn wire_payload(data: &[u8]) {
    let Some((&payload_type, body)) = data.split_first() else { return };
    let payload_type = PayloadType(payload_type);
    if payload_type == PayloadType::ENCRYPTED
        && let Ok(plaintext) = strip_padding(body)
    {
        assert!(plaintext.len() < body.len() && body.starts_with(plaintext));
    }
    match Payload::read(payload_type, body) {
        Ok(payload) => {
            assert_eq!(payload.payload_type(), payload_type);
            assert_bounds(&payload);
            let mut out = Vec::new();
            payload.write(&mut out);
            assert_eq!(out.len(), body.len());
            assert_eq!(Payload::read(payload_type, &out), Ok(payload));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A datagram of the kernel's: what can be read of it can be written, and from then on stays the same. (What the kernel
/// would never send, such as octets behind an IPv4 address, may be lost on the way.)
pub fn xfrm_message(data: &[u8]) {
    for message in xfrm_sys::message::messages(data) {
        match message {
            Ok(message) => assert_settles(message),
            Err(malformed) => assert!(!malformed.to_string().is_empty()),
        }
    }
}

fn assert_settles(mut message: Message) {
    if matches!(message.body, Body::Error(_)) {
        // The request that an error quotes is not kept: it is written as one that was left out.
        message.flags |= NLM_F_CAPPED;
    }
    let Ok(octets) = message.to_octets() else { panic!("read, and too long to write: {message:?}") };
    match Message::parse(&octets) {
        Ok((again, rest)) => {
            assert!(rest.is_empty(), "{message:?}");
            assert!(again.to_octets().as_ref() == Ok(&octets), "{message:?} became {again:?}");
        }
        Err(malformed) => panic!("{malformed}: {message:?}"),
    }
}

/// A file of plain RSA keys: both readings agree, what was read is strong enough, and no diagnostic shows a key.
pub fn plain_rsa(data: &[u8]) {
    let (public, diagnostics) = coati_config::plain_rsa::parse_public("key", data);
    assert_consistent(public.is_some(), &diagnostics);
    let (private, diagnostics) = coati_config::plain_rsa::parse_private("key", data);
    assert_consistent(private.is_some(), &diagnostics);
    for key in private.iter().flatten() {
        let public = public.iter().flatten().find(|public| public.place == key.place);
        assert!(public.is_some_and(|public| public.modulus == key.modulus && public.exponent == key.public_exponent));
    }
    for key in public.iter().flatten() {
        assert!(key.modulus.len() >= 256 && key.exponent.len() >= 3);
    }
}

/// A psk.txt: what was read can be looked up, and no diagnostic shows a key.
pub fn psk_txt(data: &[u8]) {
    let (file, diagnostics) = coati_config::psk::parse("psk.txt", data);
    let shown = diagnostics.render(false);
    let Some(file) = file else {
        assert!(!shown.is_empty());
        return;
    };
    for entry in file.entries() {
        let found = file.entry(entry.id_octets());
        assert!(found.is_some_and(|found| found.id_octets() == entry.id_octets()));
        if let Some(net) = entry.net() {
            let found = file.entry_for_address(net.last()).and_then(coati_config::psk::PskEntry::net);
            assert!(found.is_some_and(|found| found.prefix >= net.prefix && net.contains(found.addr)));
        }
        if let Some((left, right)) = entry.pair()
            && let Ok(own) = core::str::from_utf8(left)
        {
            assert!(file.for_host(&[own.to_owned()]).lookup_any([right]).is_some());
        }
        // In tildes, because libFuzzer tries the fixed texts of the messages as keys.
        let key = entry.key.expose();
        let inside = key.strip_prefix(b"~").and_then(|rest| rest.strip_suffix(b"~"));
        if inside.is_some_and(|inside| inside.len() >= 8 && inside.iter().all(u8::is_ascii_alphanumeric))
            && occurrences(data, key) == 1
        {
            assert_eq!(occurrences(shown.as_bytes(), key), 0, "{shown}");
        }
    }
}

/// A racoon.conf, which may include one other file and itself: there is a configuration if there is no error.
pub fn racoon_conf(data: &[u8]) {
    let files = Memory::new()
        .with("/etc/racoon/racoon.conf", data)
        .with("/etc/racoon/more.conf", "path pre_shared_key \"psk.txt\";")
        .with_host("host.example", &[IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let (config, diagnostics) =
        coati_config::racoon::parse(Path::new("/etc/racoon/racoon.conf"), data, &files);
    assert_consistent(config.is_some(), &diagnostics);
}

/// A coati.toml: there is a configuration if there is no error, and every peer has proposals and every policy an order.
pub fn coati_toml(data: &[u8]) {
    let files = Memory::new()
        .with("/etc/coati/psk.txt", "192.0.2.2 x3yjq9wz7hk2mnp5rst8\n* x3yjq9wz7hk2mnp5rst9\n")
        .with("/etc/coati/one.psk", "x3yjq9wz7hk2mnp5rstu\n");
    let (config, diagnostics) = coati_config::native::parse(Path::new("/etc/coati/coati.toml"), data, &files);
    assert_consistent(config.is_some(), &diagnostics);
    let Some(config) = config else { return };
    assert!(config.racoon.remotes.iter().all(|remote| !remote.proposals.is_empty()));
    assert!(config.racoon.sainfos.iter().all(|sainfo| !sainfo.proposals.is_empty()));
    let set = config.policies.unwrap_or_default();
    let keyable = check_keyable(&set.policies, false);
    assert_consistent(!keyable.has_errors(), &keyable);
}

/// A setkey file: there are commands if there is no error, and playing them twice gives the same policies.
pub fn setkey_conf(data: &[u8]) {
    let files = Memory::new().with_host("host.example", &[IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let (file, diagnostics) = coati_config::setkey::parse("ipsec-tools.conf", data, &files);
    assert_consistent(file.is_some(), &diagnostics);
    let Some(file) = file else { return };
    for copies in [FwdCopies::Made, FwdCopies::NotMade] {
        let (set, diagnostics) = PolicySet::of(core::slice::from_ref(&file), copies);
        assert_eq!(PolicySet::of(core::slice::from_ref(&file), copies).0, set);
        assert_consistent(!diagnostics.has_errors(), &diagnostics);
        let keyable = check_keyable(&set.policies, false);
        assert_consistent(!keyable.has_errors(), &keyable);
    }
}

/// A value is there exactly if there is no error, and what is said can be shown: of much, the beginning and the end,
/// for showing takes far longer than parsing.
fn assert_consistent(is_there: bool, diagnostics: &Diagnostics) {
    assert_ne!(is_there, diagnostics.has_errors());
    let said = diagnostics.iter();
    for diagnostic in said.clone().take(3).chain(said.rev().take(3)) {
        assert!(!diagnostic.render(false).is_empty());
    }
}

fn occurrences(octets: &[u8], wanted: &[u8]) -> usize {
    octets.windows(wanted.len()).filter(|window| *window == wanted).count()
}

/// What the layers above rely on in a payload that was read.
fn assert_bounds(payload: &Payload) {
    match payload {
        Payload::Nonce(nonce) => assert!((16..=256).contains(&nonce.0.len())),
        Payload::Sa(sa) => assert!(!sa.proposals.is_empty()),
        Payload::TsI(ts) | Payload::TsR(ts) => {
            assert!(!ts.selectors.is_empty());
            for selector in &ts.selectors {
                if let TrafficSelector::Ip(ip) = selector {
                    assert!(ip.start.is_ipv4() == ip.end.is_ipv4() && ip.start <= ip.end);
                    assert!(ip.start_port <= ip.end_port || ip.is_opaque());
                }
            }
        }
        Payload::IdI(id) | Payload::IdR(id) => assert_eq!(id.body().len(), 4 + id.data.len()),
        Payload::Unknown(unknown) => assert!(!unknown.critical),
        _ => {}
    }
}

fn assert_located(message: &[u8], sealed: &Sealed) {
    assert!(sealed.outer.len() < MAX_PAYLOADS);
    assert!(sealed.associated_len <= message.len());
    assert!(sealed.associated_len >= Header::LEN + sealed.kind.head_len());
    if let SealedKind::Fragment { number, total } = sealed.kind {
        assert!(1 <= number && number <= total);
    }
}

/// A trace stays on its line and within its length, whatever the peer sent.
fn assert_one_line(header: &Header, payloads: &[Payload]) {
    let line = Pretty { header, payloads }.to_string();
    assert!(line.chars().all(|character| (' '..='~').contains(&character)), "{line:?}");
    assert!(line.len() < 2200, "{} characters", line.len());
}

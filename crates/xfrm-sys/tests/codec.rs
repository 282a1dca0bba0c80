//! What holds for every message.

mod support;

use proptest::prelude::*;
use support::any::{message, policy, sa};
use support::{fixture, fixtures};
use xfrm_sys::message::{Body, messages};
use xfrm_sys::{Attribute, Fault, Key, Message, Sa, Template, TooLong};

proptest! {
    #[test]
    fn what_is_written_is_read_back(message in message()) {
        let octets = message.to_octets().unwrap();
        prop_assert_eq!(octets.len() % 4, 0);
        let (read, rest) = Message::parse(&octets).unwrap();
        prop_assert_eq!(read, message);
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn messages_in_one_datagram_are_read_in_order(first in message(), second in message()) {
        let mut datagram = first.to_octets().unwrap();
        datagram.extend_from_slice(&second.to_octets().unwrap());
        let read: Vec<_> = messages(&datagram).map(Result::unwrap).collect();
        prop_assert_eq!(read, [first, second]);
    }

    #[test]
    fn arbitrary_octets_never_panic(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = messages(&octets).count();
    }

    #[test]
    fn arbitrary_octets_behind_a_good_header_never_panic(
        kind in 0u16..0x2a,
        flags in any::<u16>(),
        body in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let octets = framed(kind, flags, &body);
        let _ = Message::parse(&octets);
    }

    #[test]
    fn a_message_with_an_octet_changed_or_cut_short_never_panics(
        message in message(),
        place in any::<prop::sample::Index>(),
        octet in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut octets = message.to_octets().unwrap();
        let place = place.index(octets.len());
        octets[place] = octet;
        let _ = messages(&octets).count();
        let cut = cut.index(octets.len());
        let _ = messages(&octets[..cut]).count();
    }

    #[test]
    fn debug_output_never_shows_a_key(mut sa in sa()) {
        let keys = [
            sa.aead.as_mut().map(|aead| &mut aead.key),
            sa.encryption.as_mut().map(|encryption| &mut encryption.key),
            sa.authentication.as_mut().map(|authentication| &mut authentication.key),
        ];
        let mut count = 0;
        for key in keys.into_iter().flatten() {
            // Octets in an order that chance does not bring.
            *key = Key::new((0xa0..0xc0).collect());
            count += 1;
        }
        let shown = format!("{sa:?}");
        prop_assert_eq!(shown.matches("Key(32 octets)").count(), count);
        let lower = format!("{sa:#?} {shown}").to_lowercase().replace(char::is_whitespace, "");
        for leak in ["160,161,162", "a0,a1,a2", "a0a1a2", "a2a1a0"] {
            prop_assert!(!lower.contains(leak), "{}", lower);
        }
    }

    #[test]
    fn policies_differ_by_more_than_their_index(policy in policy(), index in any::<u32>()) {
        let mut other = policy.clone();
        other.index = index;
        other.priority = !policy.priority;
        prop_assert!(policy.is_same_as(&other));
        other.selector.protocol.0 ^= 1;
        prop_assert!(!policy.is_same_as(&other));
    }
}

/// A message with a true length.
fn framed(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).expect("short");
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], body].concat()
}

#[test]
fn every_fixture_cut_short_anywhere_is_an_error() {
    for name in fixtures() {
        let octets = fixture(&name);
        for cut in 0..octets.len() {
            let padding = octets.len() - cut < 4 && Message::parse(&octets[..cut]).is_ok();
            assert!(Message::parse(&octets[..cut]).is_err() || padding, "{name} at {cut}");
        }
    }
}

#[test]
fn one_unreadable_message_does_not_hide_the_next() {
    let good = fixture("event-mapping");
    let mut bad = good.clone();
    bad[16 + 20] = 77;
    let read: Vec<_> = messages(&[bad, good].concat()).collect();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].as_ref().unwrap_err().why, Fault::Family(77));
    assert!(matches!(read[1].as_ref().unwrap().body, Body::Mapping(_)));
}

#[test]
fn a_length_that_cannot_be_ends_the_datagram() {
    let good = fixture("event-mapping");
    for length in [0u32, 3, 15, 81, u32::MAX] {
        let mut bad = good.clone();
        bad[..4].copy_from_slice(&length.to_ne_bytes());
        let read: Vec<_> = messages(&bad).collect();
        assert!(read.len() == 1 && read[0].is_err(), "{length}: {read:?}");
    }
}

#[test]
fn attribute_lengths_that_cannot_be_are_refused() {
    let sound = fixture("event-acquire");
    let attributes = 16 + 280;
    for length in [0u16, 3, 69, 200, u16::MAX] {
        let mut bad = sound.clone();
        bad[attributes..attributes + 2].copy_from_slice(&length.to_ne_bytes());
        assert!(Message::parse(&bad).is_err(), "{length}");
    }
}

#[test]
fn names_that_do_not_end_and_keys_that_are_not_there_are_refused() {
    let sound = fixture("sa-add-gcm-esn-request");
    let name = sound.windows(7).position(|window| window == b"rfc4106").unwrap();
    let mut bad = sound.clone();
    bad[name..name + 64].fill(b'x');
    assert_eq!(Message::parse(&bad).unwrap_err().why, Fault::Name);
    let bits = name + 64;
    for wrong in [161u32, 168 * 1000, u32::MAX - 7] {
        let mut bad = sound.clone();
        bad[bits..bits + 4].copy_from_slice(&wrong.to_ne_bytes());
        assert!(Message::parse(&bad).is_err(), "{wrong}");
    }
}

#[test]
fn a_replay_bitmap_left_out_is_no_longer_than_the_kernel_allows() {
    let sound = fixture("sa-add-gcm-esn-request");
    let attribute = sound.windows(4).position(|window| window == [0x1c, 0, 23, 0]).unwrap();
    for (words, readable) in [(0u32, true), (128, true), (129, false), (u32::MAX, false)] {
        let mut octets = sound.clone();
        octets[attribute + 4..attribute + 8].copy_from_slice(&words.to_ne_bytes());
        assert_eq!(Message::parse(&octets).is_ok(), readable, "{words}");
    }
}

#[test]
fn what_does_not_fit_an_attribute_is_not_written() {
    let mut sa = match support::message("sa-dump-answer-1").body {
        Body::NewSa(sa) => sa,
        other => panic!("{other:?}"),
    };
    sa.replay_esn.as_mut().unwrap().bitmap.resize(16_400, 0);
    let message = Message { flags: 0, sequence: 0, port: 0, body: Body::NewSa(sa) };
    assert_eq!(message.to_octets(), Err(TooLong));
}

#[test]
fn padding_attributes_are_not_kept() {
    let Body::NewSa(mut sa) = support::message("sa-dump-answer-1").body else { panic!() };
    let message =
        |sa: &Sa| Message { flags: 0, sequence: 0, port: 0, body: Body::NewSa(Box::new(sa.clone())) };
    sa.other.push(Attribute { kind: 27, value: Vec::new().into() });
    let octets = message(&sa).to_octets().unwrap();
    sa.other.clear();
    assert_eq!(Message::parse(&octets).unwrap().0, message(&sa));
}

#[test]
fn an_acquires_addresses_are_of_the_templates_family() {
    let Body::Acquire(mut acquire) = support::message("event-acquire").body else { panic!() };
    let gateway = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    acquire.policy.templates = vec![Template::esp_tunnel(gateway("fd00::1"), gateway("fd00::2"))];
    acquire.source = gateway("fd00::1");
    acquire.id.destination = gateway("fd00::2");
    let message = Message { flags: 0, sequence: 0, port: 0, body: Body::Acquire(acquire) };
    assert_eq!(Message::parse(&message.to_octets().unwrap()).unwrap().0, message);
}

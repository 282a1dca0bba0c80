//! What holds for every message: order, nonces, ids and windows (RFC 7296 §1.4, §2.2, §2.3, §2.5, §2.10, §3.9).

use std::collections::{BTreeMap, BTreeSet};

use coati_sim::TwoHosts;
use coati_sim::trace::strip_marker;
use ike_proto::output::What;
use ike_proto::time::Duration;
use ike_proto::wire::registry::{ExchangeType, NotifyType};
use ike_proto::wire::{Delete, Flags, Header, Notify, Payload};

use crate::table::{Message, Table, plain};

/// All that a pair says in ten minutes, of which the first host's SAs live for one, children with groups and two policies.
fn ten_minutes() -> Table {
    let mut two = TwoHosts { protocols: vec![6, 17], ..TwoHosts::plain() };
    two.peers[0].lifetime = Duration::from_secs(100);
    two.peers[0].child.lifetime = Duration::from_secs(60);
    two.peers[1].child.lifetime = Duration::from_secs(70);
    let mut table = Table::new(&two);
    table.initiate(0);
    table.pass(Duration::from_secs(600));
    let rekeyed = table.count(0, |what| matches!(what, What::IkeSaRekeyed { .. }));
    let made = table.count(0, |what| matches!(what, What::ChildUp { .. }));
    assert!(rekeyed > 3 && made > 10, "{rekeyed} {made}\n{}", table.ladder());
    table
}

/// The kinds of payloads that the figures of the RFC show, in a message's order.
fn figure(message: &Message) -> String {
    let name = |payload: &Payload| match payload {
        Payload::Sa(_) => Some("SA"),
        Payload::Ke(_) => Some("KE"),
        Payload::Nonce(_) => Some("N"),
        Payload::IdI(_) => Some("IDi"),
        Payload::IdR(_) => Some("IDr"),
        Payload::Auth(_) => Some("AUTH"),
        Payload::TsI(_) => Some("TSi"),
        Payload::TsR(_) => Some("TSr"),
        Payload::Notify(notify) if notify.notify_type == NotifyType::REKEY_SA => Some("N(REKEY_SA)"),
        Payload::Notify(notify) if notify.notify_type == NotifyType::COOKIE => Some("N(COOKIE)"),
        _ => None,
    };
    message.parts.0.iter().filter_map(name).collect::<Vec<_>>().join(" ")
}

#[test]
fn payloads_have_the_order_of_the_figures() {
    let table = ten_minutes();
    let mut seen = BTreeSet::new();
    for message in table.sent.iter().filter(|sent| !sent.is(ExchangeType::INFORMATIONAL)) {
        assert!(message.errors().is_empty(), "{}", table.ladder());
        let figure = figure(message);
        // RFC 7296 §1.2, §1.3.1, §1.3.2, §1.3.3.
        let allowed: &[&str] = match (message.header.exchange, message.is_response()) {
            (ExchangeType::IKE_SA_INIT, _) => &["SA KE N"],
            (ExchangeType::IKE_AUTH, false) => &["IDi AUTH SA TSi TSr"],
            (ExchangeType::IKE_AUTH, true) => &["IDr AUTH SA TSi TSr"],
            (_, false) => &["SA N KE", "SA N KE TSi TSr", "N(REKEY_SA) SA N KE TSi TSr"],
            (_, true) => &["SA N KE", "SA N KE TSi TSr"],
        };
        assert!(allowed.contains(&figure.as_str()), "{} {figure}", message.header);
        seen.insert((message.header.exchange, message.is_response(), figure));
    }
    assert_eq!(seen.len(), 9, "each of them was there: {seen:?}");
}

#[test]
fn every_nonce_has_half_the_longest_prf_key_and_is_used_once() {
    let table = ten_minutes();
    let (mut nonces, mut messages) = (BTreeSet::new(), BTreeSet::new());
    for message in &table.sent {
        let Ok(nonce) = message.parts.nonce() else { continue };
        // Half of what PRF_HMAC_SHA2_512 prefers.
        assert!((32..=256).contains(&nonce.0.len()));
        if messages.insert(message.datagram.clone()) {
            assert!(nonces.insert(nonce.0.clone()), "{} has a nonce again", message.header);
        }
    }
    assert!(nonces.len() > 30, "{}", nonces.len());
}

/// That no host sends a request before its last one on the same IKE SA is answered.
fn assert_one_at_a_time(table: &Table) {
    let mut last: BTreeMap<_, (u32, bool)> = BTreeMap::new();
    for message in &table.sent {
        let id = message.header.message_id;
        let asked_by = if message.is_response() { 1 - message.from } else { message.from };
        let (spi_i, spi_r) = message.spis();
        // The responder's SPI is not known to the first request.
        let spi_r = if message.is(ExchangeType::IKE_SA_INIT) { None } else { Some(spi_r) };
        let entry = last.entry((asked_by, spi_i, spi_r)).or_insert((id, true));
        if message.is_response() {
            assert_eq!(entry.0, id, "{}", message.header);
            entry.1 = true;
        } else if id != entry.0 {
            assert!(entry.1, "{} is sent before the last one is answered", message.header);
            *entry = (id, false);
        } else {
            entry.1 = false;
        }
    }
}

#[test]
fn one_request_is_out_at_a_time_also_where_the_peer_takes_more() {
    assert_one_at_a_time(&ten_minutes());
    // Four policies, and a peer that says it keeps eight requests.
    let mut table = Table::new(&TwoHosts { protocols: vec![6, 17, 1, 132], ..plain() });
    table.initiate(0);
    let response = table.until(|sent| sent.answers(1, ExchangeType::IKE_AUTH));
    let window = Notify::status(NotifyType::SET_WINDOW_SIZE, 8_u32.to_be_bytes().to_vec());
    let payloads = [response.parts.0.clone(), vec![Payload::Notify(window)]].concat();
    let response = table.rewrite(&response, &payloads);
    table.deliver(&response);
    let created = |table: &Table| {
        let asks = |sent: &&Message| sent.asks(0, ExchangeType::CREATE_CHILD_SA);
        table.sent.iter().filter(asks).count()
    };
    assert_eq!(created(&table), 1, "{}", table.ladder());
    table.settle();
    assert_eq!((created(&table), table.children(0).len()), (3, 4));
    assert_one_at_a_time(&table);
    assert!(table.sent.iter().all(|sent| !sent.has(NotifyType::SET_WINDOW_SIZE)));
}

#[test]
fn a_request_outside_the_window_gets_no_answer_and_no_invalid_message_id() {
    let mut table = Table::up(&plain());
    let voice = table.voice(0);
    let next = table.request(&voice, ExchangeType::INFORMATIONAL, &[]);
    let id = next.header.message_id;
    for far in [id + 1, id + 2, id + 100, u32::MAX] {
        let header = Header { message_id: far, ..next.header };
        let deletes = [Payload::Delete(Delete::ike_sa())];
        let message = table.sealed(&voice, header, &deletes);
        assert_eq!(table.react(&message).len(), 0, "{far}");
        assert_eq!(table.ike_sas(1).len(), 1);
    }
    // And an old one whose answer is not kept any more.
    let message = table.sealed(&voice, Header { message_id: id - 2, ..next.header }, &[]);
    assert_eq!(table.react(&message).len(), 0);
    assert_eq!(table.react(&next).len(), 1);
    assert!(table.sent.iter().all(|sent| !sent.has(NotifyType::INVALID_MESSAGE_ID)));
}

#[test]
fn an_informational_in_clear_changes_nothing() {
    let mut table = Table::up(&plain());
    let voice = table.voice(0);
    let next = table.request(&voice, ExchangeType::INFORMATIONAL, &[]);
    let (child, sas) = (table.children(1).remove(0), table.hosts[1].sad.live().count());
    let said: [&[Payload]; 4] = [
        &[],
        &[Payload::Delete(Delete::ike_sa())],
        &[Payload::Delete(Delete::esp_sa(child.spi_out))],
        &[crate::table::notify(NotifyType::AUTHENTICATION_FAILED)],
    ];
    for payloads in said {
        let message = table.shout(&voice, next.header, payloads);
        assert_eq!(table.react(&message).len(), 0);
        assert_eq!(table.hosts[1].sad.live().count(), sas);
        assert_eq!(table.ike_sas(1).len(), 1);
    }
    assert_eq!(table.react(&next).len(), 1, "its message id was not used up");
}

#[test]
fn informational_is_neither_sent_nor_taken_before_the_initial_exchanges_are_over() {
    let mut table = Table::new(&plain());
    table.initiate(0);
    let auth = table.until(|sent| sent.asks(0, ExchangeType::IKE_AUTH));
    for message_id in [1, 2] {
        let header = Header { exchange: ExchangeType::INFORMATIONAL, message_id, ..auth.header };
        let early = table.sealed(&auth, header, &[Payload::Delete(Delete::ike_sa())]);
        assert_eq!(table.react(&early).len(), 0);
    }
    assert!(table.react(&auth)[0].parts.auth().is_ok(), "the handshake goes on");
    let table = ten_minutes();
    let first = |is: &dyn Fn(&Message) -> bool| table.sent.iter().position(is).unwrap();
    let informational = first(&|sent| sent.is(ExchangeType::INFORMATIONAL));
    assert!(informational > first(&|sent| sent.answers(1, ExchangeType::IKE_AUTH)));
    let mut said = table.sent.iter().filter(|sent| sent.is(ExchangeType::INFORMATIONAL));
    assert!(said.all(|sent| sent.sealed().is_some()));
}

#[test]
fn a_message_is_version_2_0_and_says_who_and_which_way() {
    let table = ten_minutes();
    for message in &table.sent {
        assert_eq!((message.header.major, message.header.minor), (2, 0));
        let flags = message.header.flags;
        assert_eq!(flags, Flags::new(flags.is_initiator(), flags.is_response()), "no other bit");
        assert_eq!(usize::try_from(message.header.length), Ok(strip_marker(&message.datagram).len()));
    }
}

//! Fragments (RFC 7383).

use coati_sim::TwoHosts;
use ike_proto::wire::SealedKind;
use ike_proto::wire::registry::{ExchangeType, PayloadType};

use crate::table::{Message, Table, plain};

fn small() -> TwoHosts {
    let mut two = plain();
    two.config.fragment_limit = 150;
    two
}

/// Number, total, and what it says its first payload is.
fn fragment(message: &Message) -> Option<(u16, u16, PayloadType)> {
    let sealed = message.sealed()?;
    match sealed.kind {
        SealedKind::Fragment { number, total } => Some((number, total, sealed.first)),
        SealedKind::Whole => None,
    }
}

/// The fragments of the first host's IKE_AUTH request, none of which has arrived.
fn request() -> (Table, Vec<Message>) {
    let mut table = Table::new(&small());
    table.lost = Box::new(|sent| sent.asks(0, ExchangeType::IKE_AUTH));
    table.initiate(0);
    table.settle();
    let fragments = table.sent.iter().filter(|sent| sent.asks(0, ExchangeType::IKE_AUTH)).cloned().collect();
    (table, fragments)
}

#[test]
fn only_the_first_fragment_says_what_the_first_payload_is() {
    let (mut table, fragments) = request();
    assert!(fragments.len() > 2);
    for part in &fragments {
        table.deliver(part);
    }
    let answer: Vec<Message> =
        table.sent.iter().filter(|sent| sent.answers(1, ExchangeType::IKE_AUTH)).cloned().collect();
    for (parts, first) in [(fragments, PayloadType::ID_I), (answer, PayloadType::ID_R)] {
        let total = u16::try_from(parts.len()).unwrap();
        let told: Vec<_> = parts.iter().map(|part| fragment(part).unwrap()).collect();
        let expected =
            (1..=total).map(|number| (number, total, if number == 1 { first } else { PayloadType::NONE }));
        assert_eq!(told, expected.collect::<Vec<_>>());
    }
}

#[test]
fn fragments_of_one_message_id_are_told_apart_by_number_and_total() {
    let (mut table, fragments) = request();
    let (last, others) = fragments.split_last().unwrap();
    // None of them is a repetition of another, and one that is does not count twice.
    for part in others.iter().chain(others) {
        assert_eq!(table.react(part).len(), 0);
    }
    let answers = table.react(last);
    assert!(answers[0].answers(1, ExchangeType::IKE_AUTH));
    assert_eq!(table.ike_sas(1).len(), 1);
}

#[test]
fn of_an_answered_request_only_the_first_fragment_brings_the_response_again() {
    let (mut table, fragments) = request();
    let answers: Vec<Message> = fragments.iter().flat_map(|part| table.react(part)).collect();
    let octets = |messages: &[Message]| -> Vec<Vec<u8>> {
        messages.iter().map(|message| message.datagram.clone()).collect()
    };
    for (number, part) in fragments.iter().enumerate() {
        let again = table.react(part);
        let expected = if number == 0 { octets(&answers) } else { Vec::new() };
        assert_eq!(octets(&again), expected, "fragment {}", number + 1);
    }
}

#[test]
fn no_datagram_is_longer_than_1280_octets_with_its_ip_header() {
    for v6 in [false, true] {
        let mut two = TwoHosts { v6, ..plain() };
        for peer in &mut two.peers {
            // Long enough for a dozen proposals.
            let offer = peer.child.offers[0].clone();
            peer.child.offers = vec![offer; 60];
        }
        let table = Table::up(&two);
        assert!(table.sent.iter().filter(|sent| fragment(sent).is_some()).count() > 1);
        let around = 8 + if v6 { 40 } else { 20 };
        let longest = table.sent.iter().map(|sent| sent.datagram.len()).max().unwrap();
        assert!((1200..=1280 - around).contains(&longest), "{longest}");
    }
}

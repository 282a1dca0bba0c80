//! Tokens of quick crash detection (RFC 6290).

use ike_proto::time::Duration;
use ike_proto::wire::registry::{ExchangeType, NotifyType};
use ike_proto::wire::{Flags, Header, Notify, Payload};

use crate::table::{Message, Table, is_about_ike, notify, plain, rekeying_ike};

fn token(octets: Vec<u8>) -> Payload {
    Payload::Notify(Notify::status(NotifyType::QUICK_CRASH_DETECTION, octets))
}

fn given(message: &Message) -> Option<Vec<u8>> {
    message.parts.notify(NotifyType::QUICK_CRASH_DETECTION).map(|notify| notify.data.clone())
}

/// What host 0 sends when this comes to it in clear, in the peer's name, as an answer to what it may have asked.
fn shouted(table: &mut Table, payloads: &[Payload]) -> Vec<Message> {
    let voice = table.voice(1);
    let flags = Flags::new(voice.header.flags.is_initiator(), true);
    let header = Header { exchange: ExchangeType::INFORMATIONAL, message_id: 9, flags, ..voice.header };
    let message = table.shout(&voice, header, payloads);
    table.react(&message)
}

#[test]
fn a_rekeyed_ike_sa_has_tokens_of_its_own() {
    let mut table = Table::up(&rekeying_ike(1000));
    let old: Vec<Vec<u8>> = table.sent.iter().filter_map(given).collect();
    assert_eq!(old.len(), 2, "both give one with IKE_AUTH");
    let response = table.until(|sent| sent.answers(1, ExchangeType::CREATE_CHILD_SA) && is_about_ike(sent));
    let theirs = given(&response).expect("the responder's is in its answer");
    table.deliver(&response);
    let told = table.until(|sent| sent.from == 0 && given(sent).is_some());
    assert!(told.asks(0, ExchangeType::INFORMATIONAL), "the initiator's follows");
    assert_ne!(told.spis(), response.spis(), "under the successor");
    let ours = given(&told).unwrap();
    assert!(ours != theirs && !old.contains(&ours) && !old.contains(&theirs));
    // Each is believed now.
    table.deliver(&told);
    assert_eq!(table.ike_sas(0).len(), 1);
    shouted(&mut table, &[notify(NotifyType::INVALID_IKE_SPI), token(theirs)]);
    assert!(table.ike_sas(0).is_empty());
}

#[test]
fn a_new_token_takes_the_old_ones_place() {
    let mut table = Table::up(&plain());
    let old = table.sent.iter().find(|sent| sent.from == 1 && given(sent).is_some()).and_then(given).unwrap();
    let voice = table.voice(1);
    let answers = table.ask(&voice, ExchangeType::INFORMATIONAL, &[token(vec![5; 40])]);
    assert_eq!(answers.len(), 1);
    shouted(&mut table, &[notify(NotifyType::INVALID_IKE_SPI), token(old)]);
    assert_eq!(table.ike_sas(0).len(), 1);
    shouted(&mut table, &[notify(NotifyType::INVALID_IKE_SPI), token(vec![5; 40])]);
    assert!(table.ike_sas(0).is_empty());
    assert_eq!(table.hosts[0].sad.live().count(), 0);
}

#[test]
fn the_fourth_of_four_tokens_is_looked_at() {
    let mut table = Table::up(&plain());
    let right =
        table.sent.iter().find(|sent| sent.from == 1 && given(sent).is_some()).and_then(given).unwrap();
    let mut payloads = vec![notify(NotifyType::INVALID_IKE_SPI)];
    payloads.extend((0..3).map(|number| token(vec![number; 32])));
    payloads.push(token(right));
    let sent = shouted(&mut table, &payloads);
    assert!(table.ike_sas(0).is_empty());
    assert!(sent.iter().all(|sent| sent.is(ExchangeType::IKE_SA_INIT)), "the old SA ends without a word");
}

#[test]
fn a_token_that_does_not_fit_brings_no_message() {
    let mut table = Table::up(&plain());
    let right =
        table.sent.iter().find(|sent| sent.from == 1 && given(sent).is_some()).and_then(given).unwrap();
    let mut near = right.clone();
    *near.last_mut().unwrap() ^= 1;
    for wrong in [near, right[..31].to_vec(), [right, vec![0]].concat(), Vec::new()] {
        assert_eq!(shouted(&mut table, &[token(wrong)]).len(), 0);
        assert_eq!(table.ike_sas(0).len(), 1);
    }
}

#[test]
fn a_token_goes_with_its_sa() {
    let mut table = Table::up(&rekeying_ike(1000));
    let old = table.sent.iter().find(|sent| sent.from == 1 && given(sent).is_some()).and_then(given).unwrap();
    let before = table.voice(1);
    table.until(|sent| sent.answers(1, ExchangeType::INFORMATIONAL) && sent.spis() == before.spis());
    table.pass(Duration::from_secs(60));
    // Neither of the SA that is gone nor of its successor is it a token now.
    let sa = table.ike_sa(0);
    assert_ne!((sa.spi_i, sa.spi_r), before.spis());
    assert_eq!(shouted(&mut table, &[token(old.clone())]).len(), 0);
    let flags = Flags::new(before.header.flags.is_initiator(), true);
    let message = table.shout(&before, Header { flags, ..before.header }, &[token(old)]);
    assert_eq!(table.react(&message).len(), 0);
    assert_eq!(table.ike_sas(0).len(), 1);
}

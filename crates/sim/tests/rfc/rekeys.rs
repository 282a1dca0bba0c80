//! Rekeys of the IKE SA, and what becomes of the old one (RFC 7296 §1.3.2, §2.8, §2.18, §2.25).

use std::collections::BTreeMap;

use coati_sim::TwoHosts;
use ike_proto::endpoint::Command;
use ike_proto::output::What;
use ike_proto::time::{Duration, Instant};
use ike_proto::wire::registry::{ExchangeType, KeId, NotifyType, TransformType};
use ike_proto::wire::{Payload, Sa, Transform};

use crate::table::{Message, Table, is_about_ike, notify, plain, rekeying_ike};

const AUTH: ExchangeType = ExchangeType::IKE_AUTH;
const CREATE: ExchangeType = ExchangeType::CREATE_CHILD_SA;

/// A pair whose first host has just asked for its IKE SA's successor; the request is on its way.
fn asked() -> (Table, Message) {
    let mut table = Table::up(&rekeying_ike(1000));
    let request = table.until(|sent| sent.asks(0, CREATE) && is_about_ike(sent));
    (table, request)
}

#[test]
fn no_child_is_asked_for_on_an_ike_sa_that_is_being_rekeyed() {
    let (mut table, request) = asked();
    table.expire(0, false);
    table.compute();
    assert!(table.wire.is_empty(), "{}", table.ladder());
    table.deliver(&request);
    let rekey = table.until(|sent| sent.asks(0, CREATE));
    assert!(rekey.has(NotifyType::REKEY_SA));
    assert_ne!(rekey.spis(), request.spis(), "it goes under the successor");
}

#[test]
fn the_delete_of_a_replaced_ike_sa_is_the_last_request_on_it() {
    let mut two = TwoHosts { protocols: vec![6, 17], ..plain() };
    two.peers[0].lifetime = Duration::from_secs(100);
    two.peers[1].lifetime = Duration::from_secs(110);
    for peer in &mut two.peers {
        peer.child.lifetime = Duration::from_secs(30);
        peer.liveness = TwoHosts::plain().peers[0].liveness;
    }
    let mut table = Table::new(&two);
    table.initiate(0);
    table.pass(Duration::from_secs(2000));
    let mut ended: BTreeMap<_, (usize, u32)> = BTreeMap::new();
    for message in &table.sent {
        let id = message.header.message_id;
        if message.is_response() {
            continue;
        }
        if let Some((by, last)) = ended.get(&message.spis()) {
            assert!((*by, *last) == (message.from, id) || *by != message.from, "{}", message.header);
        }
        if message.deletes_ike() {
            ended.insert(message.spis(), (message.from, id));
        }
    }
    assert!(ended.len() > 15, "{}", ended.len());
}

#[test]
fn a_rekey_of_an_ike_sa_that_has_a_successor_is_temporary_failure() {
    let (mut table, request) = asked();
    let delete = {
        table.deliver(&request);
        table.until(|sent| sent.asks(0, ExchangeType::INFORMATIONAL) && sent.deletes_ike())
    };
    // Instead of it, another rekey of the same IKE SA, with the same message id.
    let header = ike_proto::wire::Header { message_id: delete.header.message_id, ..request.header };
    let again = table.sealed(&request, header, &request.parts.0);
    let answers = table.react(&again);
    assert_eq!(answers[0].parts.0, [notify(NotifyType::TEMPORARY_FAILURE)]);
    assert_eq!(table.ike_sas(1).len(), 1);
}

#[test]
fn a_rekey_is_forgotten_when_the_peer_deletes_the_old_ike_sa_meanwhile() {
    let (mut table, request) = asked();
    table.command(1, |local, remote| Command::Delete { local, remote });
    let delete = table.until(|sent| sent.asks(1, ExchangeType::INFORMATIONAL));
    assert!(delete.deletes_ike());
    let answers = table.react(&delete);
    assert!(answers[0].answers(0, ExchangeType::INFORMATIONAL) && answers[0].parts.0.is_empty());
    assert!(table.ike_sas(0).is_empty());
    // Nobody repeats it, and an answer to it makes nothing.
    table.pass(Duration::from_secs(60));
    let rekeys = table.sent.iter().filter(|sent| sent.asks(0, CREATE)).count();
    assert_eq!((rekeys, table.count(0, |what| matches!(what, What::IkeSaRekeyed { .. }))), (1, 0));
    assert_eq!(request.header.message_id, 2);
}

/// The transforms of a kind in the only proposal of a message.
fn transforms(message: &Message, kind: TransformType) -> Vec<Transform> {
    let proposals = &message.parts.sa().expect("it has proposals").proposals;
    let all = proposals.iter().flat_map(|proposal| proposal.transforms.clone());
    all.filter(|transform| transform.kind == kind).collect()
}

/// The payloads of a message, its proposals with the group NONE and no other.
fn without_group(message: &Message) -> Vec<Payload> {
    let none = |transform: &Transform| match transform.kind {
        TransformType::KE => Transform { id: KeId::NONE.0, ..transform.clone() },
        _ => transform.clone(),
    };
    let changed = |payload: &Payload| match payload {
        Payload::Sa(sa) => {
            let mut proposals = sa.proposals.clone();
            for proposal in &mut proposals {
                proposal.transforms = proposal.transforms.iter().map(none).collect();
                proposal.transforms.dedup();
            }
            Payload::Sa(Sa { proposals })
        }
        other => other.clone(),
    };
    message.parts.0.iter().map(changed).collect()
}

#[test]
fn a_rekey_of_the_ike_sa_has_a_key_exchange_and_none_is_neither_proposed_nor_accepted() {
    let (mut table, request) = asked();
    let groups = transforms(&request, TransformType::KE);
    assert!(!groups.is_empty() && groups.iter().all(|group| group.id != KeId::NONE.0));
    assert!(request.parts.ke().is_ok());
    // The responder does not accept it, with the KE payload and without.
    for keeps in [true, false] {
        let (mut table, request) = asked();
        let mut payloads = without_group(&request);
        payloads.retain(|payload| keeps || !matches!(payload, Payload::Ke(_)));
        let spoiled = table.rewrite(&request, &payloads);
        let answers = table.react(&spoiled);
        let expected = if keeps { NotifyType::NO_PROPOSAL_CHOSEN } else { NotifyType::INVALID_SYNTAX };
        assert_eq!(answers[0].parts.0, [notify(expected)]);
        assert_eq!(table.count(1, |what| matches!(what, What::IkeSaRekeyed { .. })), 0);
    }
    // Nor does the initiator.
    table.deliver(&request);
    let response = table.until(|sent| sent.answers(1, CREATE));
    assert!(response.parts.ke().is_ok());
    let payloads = without_group(&response);
    let spoiled = table.rewrite(&response, &payloads);
    table.deliver(&spoiled);
    assert_eq!(table.count(0, |what| matches!(what, What::IkeSaRekeyed { .. })), 0);
}

#[test]
fn a_public_value_outside_its_group_is_invalid_syntax_and_ends_the_ike_sa() {
    let damaged = |request: &Message| -> Vec<Payload> {
        let damage = |payload: &Payload| match payload {
            Payload::Ke(ke) => {
                let mut ke = ke.clone();
                ke.data[0] ^= 1;
                Payload::Ke(ke)
            }
            other => other.clone(),
        };
        request.parts.0.iter().map(damage).collect()
    };
    // The IKE SA's rekey, and a child's with a group.
    let mut with_group = Table::up(&TwoHosts::plain());
    with_group.expire(0, false);
    let child = with_group.until(|sent| sent.asks(0, CREATE));
    for (mut table, request) in [asked(), (with_group, child)] {
        let payloads = damaged(&request);
        let spoiled = table.rewrite(&request, &payloads);
        let answers = table.react(&spoiled);
        assert_eq!(answers[0].parts.0, [notify(NotifyType::INVALID_SYNTAX)]);
        assert!(table.ike_sas(1).is_empty());
        assert_eq!(table.hosts[1].sad.live().count(), 0);
    }
}

#[test]
fn whoever_is_put_off_waits_and_after_minutes_makes_another_ike_sa() {
    let (mut table, mut request) = asked();
    let first = request.at;
    let mut tried: Vec<Instant> = Vec::new();
    loop {
        tried.push(request.at);
        let refusal = table.answer(&request, &[notify(NotifyType::TEMPORARY_FAILURE)]);
        table.deliver(&refusal);
        let next = |sent: &Message| sent.asks(0, CREATE) || (sent.asks(0, ExchangeType::IKE_SA_INIT));
        request = table.until(next);
        if request.is(ExchangeType::IKE_SA_INIT) {
            break;
        }
    }
    let gaps: Vec<Duration> = tried.windows(2).map(|two| two[1].since(two[0])).collect();
    // At least half of the quarter of a second, and at most a minute.
    let (least, most) = (Duration::from_millis(125), Duration::from_secs(60));
    assert!(gaps.len() >= 4 && gaps.iter().all(|gap| (least..=most).contains(gap)), "{gaps:?}");
    assert!(gaps.last() > gaps.first(), "{gaps:?}");
    let gone = request.at.since(first);
    assert!((Duration::from_secs(180)..Duration::from_secs(300)).contains(&gone), "{gone:?}");
    // It takes the old one's place, which is deleted.
    let old = table.ike_sa(0).spi_i;
    table.deliver(&request);
    let delete = table.until(Message::deletes_ike);
    assert_eq!(delete.header.spi_i, old, "{}", table.ladder());
    table.deliver(&delete);
    table.pass(Duration::from_secs(5));
    assert_eq!(table.ike_sa(0).spi_i, request.header.spi_i);
    let auth = table.sent.iter().find(|sent| sent.header.spi_i == request.header.spi_i && sent.asks(0, AUTH));
    assert!(!auth.unwrap().has(NotifyType::INITIAL_CONTACT), "the pair has another IKE SA");
}

#[test]
fn an_ike_sa_ends_with_its_lifetime_when_nothing_can_take_its_place() {
    let (mut table, mut request) = asked();
    table.lost = Box::new(|sent| sent.is(ExchangeType::IKE_SA_INIT));
    let old = request.spis();
    let delete = loop {
        let refusal = table.answer(&request, &[notify(NotifyType::NO_PROPOSAL_CHOSEN)]);
        table.deliver(&refusal);
        let next = table.until(|sent| sent.from == 0 && sent.spis() == old && !sent.is_response());
        if next.deletes_ike() {
            break next;
        }
        request = next;
    };
    // One and a half lifetimes and 30 s; then another is tried for a minute in its place.
    let age = delete.at.since(Instant::ZERO);
    assert!((Duration::from_secs(1530)..=Duration::from_secs(1600)).contains(&age), "{age:?}");
    assert!(table.ike_sas(0).is_empty());
    assert_eq!(table.hosts[0].sad.live().count(), 0);
}

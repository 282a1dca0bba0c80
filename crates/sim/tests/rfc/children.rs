//! CHILD_SAs: asked for, refused, deleted (RFC 7296 §1.3, §1.4.1, §2.9, §2.21.3, §2.25, §3.3.6).

use coati_sim::TwoHosts;
use coati_sim::sad::Notice;
use ike_proto::endpoint::Command;
use ike_proto::endpoint::status::ChildStatus;
use ike_proto::ids::ChildSpi;
use ike_proto::output::What;
use ike_proto::policy::sad::{Acquire, Direction, Mode};
use ike_proto::policy::selector::{Net, Selector, Side};
use ike_proto::time::Duration;
use ike_proto::wire::registry::{ExchangeType, KeId, NotifyType, ProtocolId, TransformType};
use ike_proto::wire::{Delete, IpSelector, Ke, Nonce, Notify, Payload, Sa, TrafficSelector, Transform, Ts};

use crate::table::{Message, Table, notify, plain};

const AUTH: ExchangeType = ExchangeType::IKE_AUTH;
const CREATE: ExchangeType = ExchangeType::CREATE_CHILD_SA;
const INFORMATIONAL: ExchangeType = ExchangeType::INFORMATIONAL;

fn is(kind: NotifyType) -> impl Fn(&Payload) -> bool {
    move |payload| matches!(payload, Payload::Notify(it) if it.notify_type == kind)
}

/// The proposals with another SPI.
fn with_spi(sa: &Sa, spi: u32) -> Sa {
    let mut sa = sa.clone();
    for proposal in &mut sa.proposals {
        proposal.spi = spi.to_be_bytes().to_vec();
    }
    sa
}

/// A child's request of the first host, like that of its IKE_AUTH.
fn wish(table: &Table, spi: u32) -> Vec<Payload> {
    let auth = table.sent.iter().find(|sent| sent.asks(0, AUTH)).expect("there was one");
    let (sa, parts) = (with_spi(auth.parts.sa().expect("it asks for a child"), spi), &auth.parts);
    vec![
        Payload::Sa(sa),
        Payload::Nonce(Nonce([spi.to_be_bytes(); 8].concat())),
        Payload::TsI(parts.ts_i().expect("it has TSi").clone()),
        Payload::TsR(parts.ts_r().expect("it has TSr").clone()),
        notify(NotifyType::USE_TRANSPORT_MODE),
    ]
}

#[test]
fn a_tunnel_where_transport_was_asked_for_is_deleted() {
    // In IKE_AUTH, and when the child is rekeyed.
    for exchange in [AUTH, CREATE] {
        let mut table = Table::new(&plain());
        table.initiate(0);
        if exchange == CREATE {
            table.settle();
            table.expire(0, false);
        }
        let request = table.until(|sent| sent.asks(0, exchange));
        let spi = request.parts.sa().unwrap().proposals[0].spi.clone();
        let spi = ChildSpi(u32::from_be_bytes(spi.try_into().unwrap()));
        table.deliver(&request);
        let response = table.until(|sent| sent.answers(1, exchange));
        assert!(response.has(NotifyType::USE_TRANSPORT_MODE));
        let payloads = response.without(is(NotifyType::USE_TRANSPORT_MODE));
        let tunnel = table.rewrite(&response, &payloads);
        table.deliver(&tunnel);
        assert!(!table.holds(0, spi));
        let delete = table.until(|sent| sent.asks(0, INFORMATIONAL));
        assert_eq!(delete.deleted(), [spi], "{}", table.ladder());
        assert_eq!(table.ike_sas(0).len(), 1, "the IKE SA is nobody's fault");
    }
}

#[test]
fn more_children_than_enough_are_no_additional_sas() {
    let mut table = Table::up(&plain());
    let voice = table.voice(0);
    let mut made = 0;
    let refusal = loop {
        let payloads = wish(&table, 0x1000 + made);
        let answer = table.ask(&voice, CREATE, &payloads).remove(0);
        if !answer.errors().is_empty() {
            break answer;
        }
        made += 1;
        assert!(made < 100);
    };
    assert_eq!(refusal.parts.0, [notify(NotifyType::NO_ADDITIONAL_SAS)]);
    assert_eq!(made, 7, "eight with the first");
    // A rekey is served all the same.
    let child = table.children(1).pop().unwrap();
    let rekey = Notify::about_child(NotifyType::REKEY_SA, ProtocolId::ESP, child.spi_out);
    let payloads = [vec![Payload::Notify(rekey)], wish(&table, 0x2000)].concat();
    let answer = table.ask(&voice, CREATE, &payloads).remove(0);
    assert_ne!(answer.errors(), [NotifyType::NO_ADDITIONAL_SAS]);
}

#[test]
fn a_second_child_waits_to_be_sent_on_until_its_initiator_has_it() {
    let mut table = Table::up(&plain());
    let senders = |table: &Table| {
        let sas = table.hosts[1].sad.live().filter(|sa| sa.spec.direction == Direction::Out);
        sas.map(|sa| sa.spec.spi.0).collect::<Vec<u32>>()
    };
    let first = senders(&table);
    let voice = table.voice(0);
    let payloads = wish(&table, 0x1000);
    let answer = table.ask(&voice, CREATE, &payloads).remove(0);
    assert!(answer.errors().is_empty());
    assert_eq!(senders(&table), first, "the first one carries the traffic");
    table.pass(Duration::from_millis(1100));
    assert!(senders(&table).contains(&0x1000), "not for long: the peer may have lost the first");
}

#[test]
fn a_child_whose_successor_is_deleted_carries_on() {
    let mut table = Table::up(&plain());
    let before = table.ike_sas(1)[0].children[0].spi_in;
    let voice = table.voice(0);
    let payloads = wish(&table, 0x1000);
    table.ask(&voice, CREATE, &payloads);
    let stages = |table: &Table| {
        let children = &table.ike_sas(1)[0].children;
        children.iter().map(|child| (child.spi_in == before, child.stage)).collect::<Vec<_>>()
    };
    assert_eq!(stages(&table), [(true, "superseded"), (false, "half")]);
    let delete = Payload::Delete(Delete::esp_sa(ChildSpi(0x1000)));
    table.ask(&voice, INFORMATIONAL, &[delete]);
    assert_eq!(stages(&table), [(true, "live")], "{}", table.ladder());
}

/// Both hosts have a DELETE of the same child out: the first one's and the second one's request, and the child as the first sees it.
fn both_delete() -> (Table, Message, Message, ChildStatus) {
    let mut table = Table::up(&plain());
    let old = table.children(0).remove(0);
    table.expire(0, false);
    // The first one's does not arrive until the second has waited long enough.
    table.lost = Box::new(|sent| sent.asks(0, INFORMATIONAL));
    let theirs = table.until(|sent| sent.asks(1, INFORMATIONAL) && !sent.parts.0.is_empty());
    let ours = table.last(0, theirs.spis());
    assert_eq!(
        (ours.deleted(), theirs.deleted()),
        (vec![old.spi_in], vec![old.spi_out]),
        "{}",
        table.ladder()
    );
    table.lost = Box::new(|_| false);
    (table, ours, theirs, old)
}

#[test]
fn both_delete_one_child_outbound_with_the_request_inbound_with_the_response() {
    let (mut table, ours, theirs, old) = both_delete();
    assert!(table.holds(0, old.spi_in) && table.holds(0, old.spi_out));
    let response = table.react(&theirs).remove(0);
    assert!(table.holds(0, old.spi_in) && !table.holds(0, old.spi_out), "the request takes the outbound SA");
    let answer = table.react(&ours).remove(0);
    assert!(table.holds(1, old.spi_out) && !table.holds(1, old.spi_in));
    table.deliver(&response);
    table.deliver(&answer);
    // What is under way may come for a few seconds more.
    table.pass(Duration::from_secs(6));
    for host in [0, 1] {
        assert!(!table.holds(host, old.spi_in) && !table.holds(host, old.spi_out));
        assert_eq!(table.children(host).len(), 1);
    }
}

#[test]
fn an_inbound_sa_that_both_delete_stays_until_the_response() {
    let (mut table, _, theirs, old) = both_delete();
    let lost = |sent: &Message| sent.is(INFORMATIONAL);
    table.lost = Box::new(lost);
    table.react(&theirs);
    // Longer than what is under way may take.
    table.pass(Duration::from_secs(8));
    assert!(table.holds(0, old.spi_in), "the response is not there yet");
}

#[test]
fn a_delete_that_is_only_queued_is_none_and_the_peers_is_answered_as_usual() {
    let mut table = Table::up(&plain());
    let old = table.expire(0, false);
    table.lost = Box::new(|sent| sent.is(INFORMATIONAL));
    table.pass(Duration::from_secs(15));
    // The second host asks whether the first is there, and has no answer when it is to delete the old child.
    let voice = table.voice(0);
    let hint = table.shout(&voice, voice.header, &[notify(NotifyType::INVALID_IKE_SPI)]);
    table.deliver(&hint);
    table.pass(Duration::from_secs(10));
    assert!(table.sent.iter().all(|sent| sent.from == 0 || sent.deleted().is_empty()));
    let ours = table.last(0, voice.spis());
    assert_eq!(ours.deleted(), [old.spi_in]);
    let answers = table.react(&ours);
    assert_eq!(answers[0].deleted(), [old.spi_out]);
    table.pass(Duration::from_secs(6));
    assert!(!table.holds(1, old.spi_in) && !table.holds(1, old.spi_out));
}

#[test]
fn no_response_names_a_child_that_both_delete() {
    let (mut table, ours, theirs, _) = both_delete();
    for request in [ours, theirs] {
        let answers = table.react(&request);
        assert!(answers[0].is_response() && answers[0].parts.deletes().next().is_none());
    }
}

/// How the first host comes to delete its child: with its IKE SA, with all, or because no policy asks for it any more.
const ENDS: [fn(&mut Table); 3] = [
    |table| table.command(0, |local, remote| Command::Delete { local, remote }),
    |table| table.command(0, |_, _| Command::Shutdown),
    |table| table.hosts[0].tell_policies(table.now, false),
];

#[test]
fn what_the_peer_sends_until_it_has_the_delete_comes_in() {
    for end in ENDS {
        let mut table = Table::up(&plain());
        let child = table.children(0).remove(0);
        end(&mut table);
        let delete = table.until(|sent| sent.asks(0, INFORMATIONAL));
        assert!(table.holds(0, child.spi_in) && !table.holds(0, child.spi_out), "{}", table.ladder());
        let answer = table.react(&delete).remove(0);
        assert!(!table.holds(1, child.spi_in) && !table.holds(1, child.spi_out));
        table.deliver(&answer);
        assert!(table.holds(0, child.spi_in), "the answer may have overtaken packets");
        table.pass(Duration::from_millis(300));
        assert!(!table.holds(0, child.spi_in), "{}", table.ladder());
    }
}

#[test]
fn a_peer_that_does_not_answer_a_delete_can_send_for_seconds_only() {
    for end in ENDS {
        let mut table = Table::up(&plain());
        let child = table.children(0).remove(0);
        table.lost = Box::new(|sent| sent.is(INFORMATIONAL));
        end(&mut table);
        table.pass(Duration::from_secs(6));
        assert!(!table.holds(0, child.spi_in), "{}", table.ladder());
    }
}

#[test]
fn the_close_of_a_child_that_is_not_there_is_answered_without_a_delete() {
    let mut table = Table::up(&plain());
    let voice = table.voice(0);
    let payloads = [Payload::Delete(Delete::esp_sa(ChildSpi(0x0bad_0bad)))];
    let answers = table.ask(&voice, INFORMATIONAL, &payloads);
    assert!(answers[0].answers(1, INFORMATIONAL) && answers[0].parts.0.is_empty());
    assert_eq!(table.children(1).len(), 1);
}

#[test]
fn the_close_of_a_child_that_we_rekey_is_answered_as_usual() {
    let mut table = Table::up(&plain());
    let old = table.expire(0, false);
    let rekey = table.until(|sent| sent.asks(0, CREATE));
    assert!(rekey.has(NotifyType::REKEY_SA));
    let voice = table.voice(1);
    let payloads = [Payload::Delete(Delete::esp_sa(old.spi_out))];
    let answers = table.ask(&voice, INFORMATIONAL, &payloads);
    assert_eq!(answers[0].deleted(), [old.spi_in]);
    assert!(!table.holds(0, old.spi_in) && !table.holds(0, old.spi_out));
}

#[test]
fn a_rekey_of_a_child_that_is_not_there_is_child_sa_not_found_with_its_spi() {
    let mut table = Table::up(&plain());
    let voice = table.voice(0);
    let spi = ChildSpi(0x0bad_0bad);
    let rekey = Notify::about_child(NotifyType::REKEY_SA, ProtocolId::ESP, spi);
    let payloads = [vec![Payload::Notify(rekey)], wish(&table, 0x1000)].concat();
    let answers = table.ask(&voice, CREATE, &payloads);
    let expected = Notify::about_child(NotifyType::CHILD_SA_NOT_FOUND, ProtocolId::ESP, spi);
    assert_eq!(answers[0].parts.0, [Payload::Notify(expected)]);
    assert_eq!(table.children(1).len(), 1);
}

#[test]
fn a_wrong_response_makes_no_error_message_and_leaves_nothing() {
    let wrong: [fn(&Message) -> Vec<Payload>; 3] = [
        // A proposal that nobody made, no nonce, and traffic selectors of somebody else.
        |response| {
            let mut sa = response.parts.sa().unwrap().clone();
            sa.proposals[0].number = 9;
            [vec![Payload::Sa(sa)], response.without(|it| matches!(it, Payload::Sa(_)))].concat()
        },
        |response| response.without(|it| matches!(it, Payload::Nonce(_))),
        |response| {
            // Not a single address: that of a peer behind a NAT would be substituted.
            let other = |text: &str| text.parse().unwrap();
            let other = IpSelector::all_between(other("198.18.0.0"), other("198.18.0.255"));
            let ts = Ts { selectors: vec![TrafficSelector::Ip(other)] };
            [response.without(|it| matches!(it, Payload::TsR(_))), vec![Payload::TsR(ts)]].concat()
        },
    ];
    for (number, change) in wrong.into_iter().enumerate() {
        let mut table = Table::up(&plain());
        let old = table.expire(0, false);
        let response = table.until(|sent| sent.answers(1, CREATE));
        let request = table.sent.iter().rev().find(|sent| sent.asks(0, CREATE)).unwrap().clone();
        let spi = request.parts.sa().unwrap().proposals[0].spi.clone();
        let spi = ChildSpi(u32::from_be_bytes(spi.try_into().unwrap()));
        let spoiled = table.rewrite(&response, &change(&response));
        let before = table.sent.len();
        table.deliver(&spoiled);
        let delete = table.until(|sent| sent.from == 0);
        assert_eq!(delete.deleted(), [spi], "{number}: the peer is told that its half is not wanted");
        table.deliver(&delete);
        table.pass(Duration::from_secs(5));
        assert!(!table.holds(0, spi) && !table.holds(1, spi), "{number}");
        assert!(table.holds(0, old.spi_in) && table.holds(0, old.spi_out), "{number}: the old one serves");
        assert_eq!(table.hosts[0].sad.reservations(), 0, "{number}");
        assert!(table.sent[before..].iter().all(|sent| sent.from == 1 || sent.errors().is_empty()));
        assert_eq!(table.ike_sas(0).len(), 1, "{number}");
    }
}

#[test]
fn a_ke_payload_beside_the_group_none_is_ignored_and_none_is_sent() {
    let mut table = Table::up(&plain());
    let voice = table.voice(0);
    let mut payloads = wish(&table, 0x1000);
    let Payload::Sa(sa) = &mut payloads[0] else { panic!() };
    for id in [KeId::NONE, KeId::CURVE25519] {
        sa.proposals[0].transforms.push(Transform::new(TransformType::KE, id.0));
    }
    payloads.insert(2, Payload::Ke(Ke { method: KeId::CURVE25519, data: vec![1; 32] }));
    let answers = table.ask(&voice, CREATE, &payloads);
    let parts = &answers[0].parts;
    assert_eq!(parts.error(), None, "{}", table.ladder());
    let chosen = parts.sa().unwrap().proposals[0].transforms.iter();
    let groups: Vec<u16> = chosen
        .filter(|transform| transform.kind == TransformType::KE)
        .map(|transform| transform.id)
        .collect();
    assert_eq!(groups, [KeId::NONE.0]);
    assert_eq!(parts.optional_ke(), Ok(None));
}

/// The packet that made the first host's kernel ask: TCP to a port.
fn packet(table: &Table) -> Selector {
    let own = [0, 1].map(|host| table.hosts[host].spec.addresses[0]);
    let side = |address, port| Side { net: Net::host(address), port: Some(port) };
    Selector { local: side(own[0], 40_000), remote: side(own[1], 5432), protocol: 6 }
}

fn acquire(table: &mut Table) {
    let packet = packet(table);
    let policy = table.hosts[0].spec.policies[0].clone();
    let acquire = Acquire {
        policy: policy.index,
        local: packet.local.net.address,
        remote: packet.remote.net.address,
        sequence: 1,
        reqid: policy.template.reqid,
        mode: Mode::Transport,
        packet: Some(packet),
    };
    table.hosts[0].hear(table.now, Notice::Acquire(acquire));
}

#[test]
fn a_peer_that_takes_single_pairs_only_is_asked_for_the_packets_own() {
    let mut table = Table::new(&plain());
    acquire(&mut table);
    let response = table.until(|sent| sent.answers(1, AUTH));
    let child = |it: &Payload| {
        matches!(it, Payload::Sa(_) | Payload::TsI(_) | Payload::TsR(_))
            || is(NotifyType::USE_TRANSPORT_MODE)(it)
    };
    let payloads = [response.without(child), vec![notify(NotifyType::SINGLE_PAIR_REQUIRED)]].concat();
    let refusal = table.rewrite(&response, &payloads);
    table.deliver(&refusal);
    let again = table.until(|sent| sent.asks(0, CREATE));
    let (local, remote) = packet(&table).ts();
    let only = |selector| Ts { selectors: vec![TrafficSelector::Ip(selector)] };
    assert_eq!(again.parts.ts_i(), Ok(&only(local)));
    assert_eq!(again.parts.ts_r(), Ok(&only(remote)));
    // Refused once more, it is not asked for a third time at once.
    let refusal = table.answer(&again, &[notify(NotifyType::SINGLE_PAIR_REQUIRED)]);
    let sent = table.react(&refusal);
    assert!(sent.is_empty(), "{}", table.ladder());
}

#[test]
fn the_initiators_first_choice_is_kept_where_some_policy_allows_it() {
    // The policy for TCP comes before the one for everything.
    let two = TwoHosts { protocols: vec![6, 0], ..plain() };
    for (protocol, policy) in [(17, 1), (6, 0)] {
        let mut table = Table::new(&two);
        table.initiate(0);
        let request = table.until(|sent| sent.asks(0, AUTH));
        // First the packet's own, then everything.
        let choices = |ts: &Ts| {
            let TrafficSelector::Ip(all) = ts.selectors[0].clone() else { panic!() };
            let first = IpSelector { protocol, start_port: 53, end_port: 53, ..all };
            let all = IpSelector { protocol: 0, start_port: 0, end_port: u16::MAX, ..all };
            Ts { selectors: [first, all].map(TrafficSelector::Ip).into() }
        };
        let change = |payload: &Payload| match payload {
            Payload::TsI(ts) => Payload::TsI(choices(ts)),
            Payload::TsR(ts) => Payload::TsR(choices(ts)),
            other => other.clone(),
        };
        let payloads: Vec<Payload> = request.parts.0.iter().map(change).collect();
        let request = table.rewrite(&request, &payloads);
        let answers = table.react(&request);
        let selectors = &answers[0].parts.ts_i().unwrap().selectors;
        let [TrafficSelector::Ip(granted)] = selectors.as_slice() else { panic!() };
        assert!(
            [0, protocol].contains(&granted.protocol),
            "{granted:?} leaves out {protocol}, policy {policy}"
        );
        assert!(granted.start_port <= 53 && granted.end_port >= 53);
    }
}

#[test]
fn an_error_that_nobody_knows_in_a_response_fails_the_request_alone() {
    let mut table = Table::up(&plain());
    let old = table.expire(0, false);
    let request = table.until(|sent| sent.asks(0, CREATE));
    let answer = table.answer(&request, &[notify(NotifyType(8191))]);
    let sent = table.react(&answer);
    assert!(sent.is_empty());
    assert!(table.holds(0, old.spi_in) && table.holds(0, old.spi_out));
    assert_eq!(table.count(0, |what| matches!(what, What::IkeSaDown { .. })), 0);
    assert_eq!(table.hosts[0].sad.reservations(), 0);
}

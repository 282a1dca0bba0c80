//! NAT traversal (RFC 7296 §2.23).

use std::net::SocketAddr;

use coati_sim::TwoHosts;
use coati_sim::scenario::Topology;
use ike_proto::policy::peer::UdpEncap;
use ike_proto::time::{Duration, Instant};
use ike_proto::wire::registry::{ExchangeType, NotifyType};
use ike_proto::wire::{IpSelector, Notify, Payload, TrafficSelector, Ts};

use crate::table::{Message, Table, plain};

/// The first host behind a NAT, which is found and not asserted.
fn behind_nat(topology: Topology) -> TwoHosts {
    let mut two = TwoHosts { topology, ..plain() };
    for peer in &mut two.peers {
        peer.encap = UdpEncap::Auto;
    }
    two
}

const MASQUERADE: Topology = Topology::Masquerade { keep_ports: true };

#[test]
fn of_several_source_hashes_one_that_fits_is_enough() {
    for (right, port) in [(true, 500), (false, 4500)] {
        let mut table = Table::new(&behind_nat(Topology::Direct));
        table.initiate(0);
        let response = table.until(|sent| sent.answers(1, ExchangeType::IKE_SA_INIT));
        let source = NotifyType::NAT_DETECTION_SOURCE_IP;
        let wrong = |octet| Payload::Notify(Notify::status(source, vec![octet; 20]));
        let own = response.parts.notify(source).unwrap().clone();
        let others = response.without(|it| matches!(it, Payload::Notify(it) if it.notify_type == source));
        let mut payloads = [others, vec![wrong(1)]].concat();
        if right {
            payloads.push(Payload::Notify(own));
        }
        payloads.push(wrong(2));
        let response = table.rewrite(&response, &payloads);
        table.deliver(&response);
        let auth = table.until(|sent| sent.asks(0, ExchangeType::IKE_AUTH));
        assert_eq!(auth.flow.remote.port(), port);
    }
}

#[test]
fn the_end_behind_the_nat_sends_keepalives_and_the_other_does_not() {
    let mut table = Table::up(&behind_nat(MASQUERADE));
    let begin = table.now;
    table.pass(Duration::from_secs(200));
    let mut moments: Vec<Instant> = vec![begin];
    moments.extend(table.keepalives.iter().map(|(_, at)| *at));
    assert!(table.keepalives.iter().all(|(host, _)| *host == 0));
    assert!(moments.len() > 9, "{moments:?}");
    let gaps = moments.windows(2).map(|two| two[1].since(two[0]));
    assert!(gaps.max().unwrap() <= Duration::from_secs(20));
    // Nobody is behind a NAT: nobody sends any.
    let mut table = Table::up(&behind_nat(Topology::Direct));
    table.pass(Duration::from_secs(200));
    assert_eq!(table.keepalives, []);
}

/// A message of `from` comes to the other host from another port than before.
fn from_another_port(table: &mut Table, two: &TwoHosts, message: &Message) -> Vec<Message> {
    let source = SocketAddr::new(two.seen()[message.from], 61_000);
    let before = table.sent.len();
    table.deliver_from(message, source);
    table.wire.clear();
    table.sent[before..].to_vec()
}

#[test]
fn an_end_behind_a_nat_does_not_follow_the_peers_port() {
    let two = behind_nat(MASQUERADE);
    let mut table = Table::up(&two);
    let voice = table.voice(1);
    let request = table.request(&voice, ExchangeType::INFORMATIONAL, &[]);
    let answers = from_another_port(&mut table, &two, &request);
    assert_eq!(answers[0].flow.remote.port(), 61_000, "the answer goes to where the request came from");
    assert_eq!(table.ike_sa(0).flow.remote.port(), 4500);
    table.expire(0, false);
    let rekey = table.until(|sent| sent.asks(0, ExchangeType::CREATE_CHILD_SA));
    assert_eq!(rekey.flow.remote.port(), 4500);
}

#[test]
fn only_a_fresh_packet_moves_an_ike_sa() {
    let two = behind_nat(MASQUERADE);
    let mut table = Table::up(&two);
    let voice = table.voice(0);
    let first = table.request(&voice, ExchangeType::INFORMATIONAL, &[]);
    table.react(&first);
    let auth = table.sent.iter().find(|sent| sent.asks(0, ExchangeType::IKE_AUTH)).unwrap().clone();
    // The last request again, an older one again, and a new one that nobody has sealed.
    let answers = from_another_port(&mut table, &two, &first);
    assert_eq!(answers[0].flow.remote.port(), 61_000);
    from_another_port(&mut table, &two, &auth);
    let mut next = table.request(&voice, ExchangeType::INFORMATIONAL, &[]);
    let mut forged = next.clone();
    *forged.datagram.last_mut().unwrap() ^= 1;
    from_another_port(&mut table, &two, &forged);
    assert_eq!(table.ike_sa(1).flow.remote.port(), 4500);
    next.at = table.now;
    from_another_port(&mut table, &two, &next);
    assert_eq!(table.ike_sa(1).flow.remote.port(), 61_000);
}

#[test]
fn the_substituted_selectors_are_sent_back() {
    let two = behind_nat(Topology::OneToOne);
    let mut table = Table::new(&two);
    table.initiate(0);
    let request = table.until(|sent| sent.asks(0, ExchangeType::IKE_AUTH));
    let only = |address| Ts { selectors: vec![TrafficSelector::Ip(IpSelector::host(address))] };
    // Each end names itself by the address it knows, and the other by the one it sees.
    assert_eq!(request.parts.ts_i(), Ok(&only(two.own()[0])));
    assert_eq!(request.parts.ts_r(), Ok(&only(two.seen()[1])));
    let answers = table.react(&request);
    assert_eq!(answers[0].parts.ts_i(), Ok(&only(two.seen()[0])));
    assert_eq!(answers[0].parts.ts_r(), Ok(&only(two.own()[1])));
}

use std::net::IpAddr;

use ike_proto::crypto::keymat::EspKeys;
use ike_proto::crypto::suite::{Encr, EspSuite};
use ike_proto::ids::Reqid;
use ike_proto::policy::sad::Lifetimes;
use ike_proto::policy::selector::{Net, Side};
use ike_proto::policy::spd::Template;
use ike_proto::rng::Seed;
use ike_proto::secret::Secret;

use super::*;
use crate::packet::Body;

const LOCAL: &str = "192.0.2.1";
const REMOTE: &str = "192.0.2.2";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn selector() -> Selector {
    let side = |text| Side { net: Net::host(address(text)), port: None };
    Selector { local: side(LOCAL), remote: side(REMOTE), protocol: 0 }
}

fn policy() -> Policy {
    let template = Template { mode: Mode::Transport, reqid: Reqid(0), endpoints: None, optional: false };
    Policy { index: PolicyIndex(1), selector: selector(), priority: 1, template, made: false }
}

fn sa(direction: Direction, spi: u32, key: u8) -> SaSpec {
    SaSpec {
        direction,
        spi: ChildSpi(spi),
        local: address(LOCAL),
        remote: address(REMOTE),
        mode: Mode::Transport,
        reqid: Reqid(0),
        selector: selector(),
        suite: EspSuite { encr: Encr::AES_256_GCM, integ: None, ke: None, esn: true },
        keys: EspKeys { encr: Secret::new(vec![key; 36]), integ: Secret::default() },
        encap: Some(Encap { local: 4500, remote: 4500 }),
        replay_window: 32,
        lifetimes: Lifetimes::default(),
    }
}

fn sad() -> ModelSad {
    ModelSad::new(Rng::new(&Seed::from_u64(1)), Lifetimes::default())
}

fn packet(number: u64) -> Inner {
    Inner {
        source: address(LOCAL),
        destination: address(REMOTE),
        protocol: 6,
        source_port: 1000,
        destination_port: 80,
        flow: 0,
        number,
        reply: false,
    }
}

fn sealed(sending: Sending) -> (Packet, Esp) {
    let Sending::Sealed(packet) = sending else { panic!("no SA") };
    let Body::Esp(esp) = packet.body else { panic!("not ESP") };
    (packet, esp)
}

#[test]
fn the_newest_outbound_sa_carries_the_packets() {
    let mut sad = sad();
    sad.add_outbound(&sa(Direction::Out, 900, 1)).unwrap();
    sad.add_outbound(&sa(Direction::Out, 300, 2)).unwrap();
    assert_eq!(sealed(sad.send(&policy(), packet(1))).1.spi, ChildSpi(300));
    sad.remove(&sa(Direction::Out, 300, 2).key()).unwrap();
    assert_eq!(sealed(sad.send(&policy(), packet(2))).1.spi, ChildSpi(900));
}

#[test]
fn an_sa_with_another_reqid_or_selector_carries_nothing() {
    let mut sad = sad();
    sad.add_outbound(&SaSpec { reqid: Reqid(7), ..sa(Direction::Out, 300, 1) }).unwrap();
    let mut narrow = sa(Direction::Out, 301, 2);
    narrow.selector.protocol = 17;
    sad.add_outbound(&narrow).unwrap();
    assert!(matches!(sad.send(&policy(), packet(1)), Sending::NoSa));
}

#[test]
fn an_acquire_is_raised_once_until_it_is_released_answered_or_lapsed() {
    let mut sad = sad();
    let raised = |sad: &mut ModelSad| {
        assert!(matches!(sad.send(&policy(), packet(1)), Sending::NoSa));
        match sad.notice() {
            Some(Notice::Acquire(acquire)) => Some(acquire),
            other => {
                assert_eq!(other, None);
                None
            }
        }
    };
    let first = raised(&mut sad).unwrap();
    assert_eq!(raised(&mut sad), None);
    sad.release_acquire(&first);
    let second = raised(&mut sad).unwrap();
    assert_ne!(first.sequence, second.sequence);
    sad.set_now(Instant::ZERO + Duration::from_secs(29));
    assert_eq!(raised(&mut sad), None);
    sad.set_now(Instant::ZERO + Duration::from_secs(30));
    assert!(raised(&mut sad).is_some());
    sad.add_outbound(&sa(Direction::Out, 300, 1)).unwrap();
    sad.remove(&sa(Direction::Out, 300, 1).key()).unwrap();
    assert!(raised(&mut sad).is_some());
}

#[test]
fn a_reservation_lapses_and_its_spi_may_still_be_installed() {
    let mut sad = sad();
    let request =
        SpiRequest { local: address(LOCAL), remote: address(REMOTE), mode: Mode::Transport, reqid: Reqid(0) };
    let spi = sad.reserve_spi(&request).unwrap();
    assert_eq!(sad.reservations(), 1);
    sad.set_now(Instant::ZERO + ACQUIRE_EXPIRES);
    assert_eq!(sad.reservations(), 0);
    let inbound = sa(Direction::In, spi.0, 1);
    assert_eq!(sad.add_inbound(&inbound), Ok(()));
    assert_eq!(sad.add_inbound(&inbound), Err(SadError::Exists));
    assert_eq!(sad.remove(&inbound.key()), Ok(()));
    assert_eq!(sad.remove(&inbound.key()), Err(SadError::NotFound));
    assert_eq!(sad.query(&inbound.key()), Err(SadError::NotFound));
}

#[test]
fn packets_with_other_keys_replays_and_strangers_are_refused() {
    let (mut ours, mut theirs) = (sad(), sad());
    ours.add_outbound(&sa(Direction::Out, 300, 1)).unwrap();
    let mirrored = |key| SaSpec {
        direction: Direction::In,
        local: address(REMOTE),
        remote: address(LOCAL),
        selector: Selector { local: selector().remote, remote: selector().local, protocol: 0 },
        ..sa(Direction::In, 300, key)
    };
    let (packet_one, esp) = sealed(ours.send(&policy(), packet(1)));
    let receive = |sad: &mut ModelSad, esp: &Esp| {
        sad.receive(packet_one.source, packet_one.destination, esp).map(|inner| inner.number)
    };
    assert_eq!(receive(&mut theirs, &esp), Err(Refusal::NoState));
    theirs.add_inbound(&mirrored(2)).unwrap();
    assert_eq!(receive(&mut theirs, &esp), Err(Refusal::Keys));
    theirs.remove(&mirrored(2).key()).unwrap();
    theirs.add_inbound(&mirrored(1)).unwrap();
    assert_eq!(receive(&mut theirs, &esp), Ok(1));
    assert_eq!(receive(&mut theirs, &esp), Err(Refusal::Replay));
    let stranger = Esp { sequence: 2, inner: Inner { protocol: 6, ..esp.inner }, ..esp };
    let elsewhere: SocketAddr = "192.0.2.77:4500".parse().unwrap();
    assert_eq!(theirs.receive(elsewhere, packet_one.destination, &stranger), Err(Refusal::Selector));
    assert!(matches!(theirs.notice(), Some(Notice::Mapping { remote, .. }) if remote == elsewhere));
}

#[test]
fn the_replay_window_moves_with_the_newest_packet() {
    let mut state = sad();
    state.add_inbound(&sa(Direction::In, 300, 1)).unwrap();
    let key = sa(Direction::In, 300, 1).key();
    let sa = state.states.live_mut(&key).unwrap();
    assert!(sa.is_fresh(1) && sa.is_fresh(40) && sa.is_fresh(9));
    assert!(!sa.is_fresh(8), "40 - 32");
    assert!(!sa.is_fresh(9) && sa.is_fresh(10));
}

#[test]
fn limits_are_told_once_soft_and_end_the_sa_hard() {
    let mut sad = sad();
    let lifetimes = Lifetimes {
        soft_packets: Some(2),
        hard_packets: Some(4),
        hard_seconds: Some(100),
        ..Lifetimes::default()
    };
    sad.add_outbound(&SaSpec { lifetimes, ..sa(Direction::Out, 300, 1) }).unwrap();
    let key = sa(Direction::Out, 300, 1).key();
    let told: Vec<Option<Notice>> = (1..=4)
        .map(|number| {
            sealed(sad.send(&policy(), packet(number)));
            sad.notice()
        })
        .collect();
    let expire = |hard| Some(Notice::Expire { key, hard });
    assert_eq!(told, [None, expire(false), None, expire(true)]);
    assert!(sad.get(&key).is_none());

    sad.add_outbound(&SaSpec { lifetimes, ..sa(Direction::Out, 300, 2) }).unwrap();
    assert_eq!(sad.deadline(), Some(Instant::ZERO + Duration::from_secs(100)));
    sad.set_now(Instant::ZERO + Duration::from_secs(100));
    assert_eq!(sad.notice(), expire(true));
}

//! The rules of the fake kernel, as far as this machine's kernel cannot be asked (tests/kernel.rs compares the rest).
#![allow(clippy::unwrap_used, reason = "a failed test is all it leads to")]

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use xfrm_sys::*;

const US: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

fn sa(spi: u32) -> Sa {
    let aead =
        Aead { name: AlgorithmName::RFC4106_GCM_AES, key: Key::new((1..=36).collect()), icv_bits: 128 };
    Sa { reqid: 7, aead: Some(aead), ..Sa::new(US, SaId::esp(PEER, spi)) }
}

fn policy() -> Policy {
    let template = Template { reqid: 7, ..Template::esp_transport(US) };
    let selector = Selector::new(Prefix::host(US), Prefix::host(PEER));
    Policy { index: 81, templates: vec![template], ..Policy::new(selector, Direction::OUT) }
}

fn packet() -> Selector {
    let mut packet = policy().selector;
    packet.protocol = Protocol::UDP;
    packet.destination_port = PortMatch::exactly(99);
    packet
}

fn is_readable(monitor: &FakeMonitor) -> bool {
    poll(&mut [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
}

fn drained(monitor: &mut FakeMonitor) -> Vec<Event> {
    std::iter::from_fn(|| monitor.recv().unwrap()).collect()
}

#[test]
fn an_sa_is_added_once_and_deleted_once() {
    let mut kernel = FakeKernel::new();
    kernel.set_time(1000);
    kernel.add_sa(&sa(1)).unwrap();
    assert!(kernel.add_sa(&sa(1)).unwrap_err().is_exists());
    kernel.add_sa(&sa(2)).unwrap();
    let ids: Vec<_> = kernel.dump_sas(&SaFilter::ESP).unwrap().iter().map(|sa| sa.id.spi).collect();
    assert_eq!(ids, [2, 1], "the newest first");
    assert_eq!(kernel.get_sa(&sa(1).id.into()).unwrap().usage.add_time, 1000);
    kernel.delete_sa(&sa(1).id.into()).unwrap();
    assert_eq!(kernel.delete_sa(&sa(1).id.into()).unwrap_err().errno(), Some(Errno::ESRCH));
    assert_eq!(kernel.get_sa(&sa(1).id.into()).unwrap_err().errno(), Some(Errno::ESRCH));
    kernel.flush_sas(Protocol::AH).unwrap();
    assert_eq!(kernel.sas().len(), 1);
    kernel.flush_sas(Protocol::IPSEC_ANY).unwrap();
    assert_eq!(kernel.sas().len(), 0);
}

#[test]
fn an_update_changes_little_of_an_sa_and_all_of_a_larval_one() {
    let mut kernel = FakeKernel::new();
    assert_eq!(kernel.update_sa(&sa(1)).unwrap_err().errno(), Some(Errno::ESRCH));
    let mut old = sa(1);
    old.encap = Some(Encap::udp(4500, 4500));
    kernel.add_sa(&old).unwrap();
    let mut new = old.clone();
    new.aead.as_mut().unwrap().key = Key::new(vec![9; 36]);
    new.reqid = 8;
    new.encap = Some(Encap::udp(4500, 1025));
    new.limits.hard_packets = 5;
    kernel.update_sa(&new).unwrap();
    let expected = Sa { encap: new.encap, limits: new.limits, ..old };
    assert_eq!(kernel.get_sa(&expected.id.into()).unwrap(), expected);

    let larval = kernel.alloc_spi(&SpiRequest { min: 2, max: 2, ..SpiRequest::esp(US, PEER) }).unwrap();
    assert!(kernel.add_sa(&sa(2)).unwrap_err().is_exists());
    kernel.update_sa(&sa(2)).unwrap();
    assert_eq!(kernel.get_sa(&larval.id.into()).unwrap(), sa(2));
}

#[test]
fn a_larval_sa_is_only_updated_in_its_own_direction() {
    let mut kernel = FakeKernel::new();
    let request = SpiRequest { min: 2, max: 2, ..SpiRequest::esp(US, PEER) };
    kernel.alloc_spi(&request).unwrap();
    let inbound = Sa { direction: Some(SaDirection::IN), ..sa(2) };
    assert_eq!(kernel.update_sa(&inbound).unwrap_err().errno(), Some(Errno::ESRCH));
    kernel.delete_sa(&sa(2).id.into()).unwrap();
    kernel.alloc_spi(&SpiRequest { direction: Some(SaDirection::IN), ..request }).unwrap();
    kernel.update_sa(&inbound).unwrap();
}

#[test]
fn an_acquire_is_raised_once_and_ends_with_its_sa_or_its_deletion() {
    let mut kernel = FakeKernel::new();
    kernel.add_policy(&policy()).unwrap();
    assert_eq!(kernel.raise_acquire(81, packet()), None, "nobody listens");
    let mut monitor = kernel.monitor(&[Group::Acquire]).unwrap();
    let acquire = kernel.raise_acquire(81, packet()).unwrap();
    assert_eq!(drained(&mut monitor), [Event::Acquire(Box::new(acquire.clone()))]);
    assert_eq!((acquire.id, acquire.source, acquire.selector), (SaId::esp(PEER, 0), US, packet()));
    assert_eq!(kernel.raise_acquire(81, packet()), None);
    assert_eq!(kernel.raise_acquire(89, packet()), None, "no such policy");

    kernel.delete_acquire(&acquire).unwrap();
    assert_eq!(kernel.sas(), []);
    let again = kernel.raise_acquire(81, packet()).unwrap();
    assert_ne!(again.seq, acquire.seq);
    // The reqid is another, the sequence number the acquire's.
    kernel.add_sa(&Sa { seq: again.seq, reqid: 8, ..sa(5) }).unwrap();
    assert_eq!(kernel.sas().len(), 1);

    kernel.flush_sas(Protocol::ANY).unwrap();
    kernel.raise_acquire(81, packet()).unwrap();
    // The sequence number is none, but template and addresses are the acquire's.
    kernel.add_sa(&sa(6)).unwrap();
    assert_eq!(kernel.sas().iter().map(|sa| sa.id.spi).collect::<Vec<_>>(), [6]);
    assert_eq!(kernel.raise_acquire(81, packet()), None, "there is an SA");
}

#[test]
fn an_spi_is_free_in_range_and_may_be_the_acquires() {
    let mut kernel = FakeKernel::new();
    let _monitor = kernel.monitor(&[Group::Acquire]).unwrap();
    kernel.add_policy(&policy()).unwrap();
    let acquire = kernel.raise_acquire(81, packet()).unwrap();
    let adopted = kernel.alloc_spi(&acquire.spi_request(0x100, 0x1ff)).unwrap();
    assert_eq!((adopted.seq, adopted.id.spi, kernel.sas().len()), (acquire.seq, 0x100, 1));
    let request = SpiRequest { min: 0x100, max: 0x102, ..SpiRequest::esp(US, PEER) };
    let spis = [(); 2].map(|()| kernel.alloc_spi(&request).unwrap().id.spi);
    assert_eq!(spis, [0x101, 0x102]);
    assert_eq!(kernel.alloc_spi(&request).unwrap_err().errno(), Some(Errno::ENOENT));
    let reversed = SpiRequest { min: 2, max: 1, ..request };
    assert_eq!(kernel.alloc_spi(&reversed).unwrap_err().errno(), Some(Errno::EINVAL));
    kernel.expire_larval();
    assert_eq!(kernel.sas(), []);
}

#[test]
fn faults_hit_the_request_they_are_for() {
    let mut kernel = FakeKernel::new();
    kernel.fail_next(Operation::AddPolicy, Errno::ENOMEM, Some("words"));
    kernel.add_sa(&sa(1)).unwrap();
    let error = kernel.add_policy(&policy()).unwrap_err();
    assert_eq!((error.errno(), error.text()), (Some(Errno::ENOMEM), Some("words")));
    kernel.add_policy(&policy()).unwrap();

    kernel.fail_after(1, Errno::EPERM);
    let requests = [2, 3, 4].map(|spi| Request::AddSa(Box::new(sa(spi))));
    let results = kernel.batch(&requests);
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(results[1].as_ref().unwrap_err().errno(), Some(Errno::EPERM));

    kernel.refuse(Operation::AddSa, Errno::ENOSYS, None);
    for _ in 0..2 {
        assert_eq!(kernel.add_sa(&sa(9)).unwrap_err().errno(), Some(Errno::ENOSYS));
    }
    kernel.permit(Operation::AddSa);
    kernel.add_sa(&sa(9)).unwrap();
    let journal = kernel.journal();
    assert_eq!(journal.len(), 9);
    assert_eq!(journal[4], (Operation::AddSa, Object::Sa(sa(3).id)));
}

#[test]
fn changes_are_told_to_those_who_listen() {
    let mut kernel = FakeKernel::new();
    let mut everything = kernel.monitor(&Group::ALL).unwrap();
    let mut policies = kernel.monitor(&[Group::Policy]).unwrap();
    let mut added = sa(1);
    added.encap = Some(Encap::udp(4500, 4500));
    kernel.add_sa(&added).unwrap();
    kernel.add_policy(&policy()).unwrap();
    assert!(kernel.carry(added.id, 2, 300));
    assert!(kernel.raise_expire(added.id, false));
    assert!(kernel.raise_mapping(added.id, PEER, 1025));
    kernel.delete_sa(&added.id.into()).unwrap();
    assert!(
        !kernel.raise_expire(added.id, true) && !kernel.carry(added.id, 1, 1) && !kernel.forget_sa(added.id)
    );
    kernel.delete_policy(&PolicyQuery::by_index(81)).unwrap();
    kernel.flush_policies().unwrap();
    kernel.flush_sas(Protocol::ANY).unwrap();

    let told = drained(&mut everything);
    let [
        Event::NewSa(_),
        Event::NewPolicy(new),
        Event::Expire(expire),
        Event::Mapping(mapping),
        Event::DeletedSa(id, _),
        deleted,
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((expire.hard, expire.sa.usage.packets, expire.sa.usage.bytes), (false, 2, 300));
    assert_eq!((mapping.old_port, mapping.new_port, mapping.new_source), (4500, 1025, PEER));
    assert_eq!(*id, added.id);
    assert_eq!(*deleted, Event::DeletedPolicy(PolicyQuery::by_index(81), Some(new.clone())));
    assert_eq!(drained(&mut policies).len(), 2);
}

#[test]
fn a_monitor_is_readable_while_it_has_events() {
    let mut kernel = FakeKernel::new();
    let mut monitor = kernel.monitor(&[Group::Sa]).unwrap();
    assert!(!is_readable(&monitor));
    kernel.add_sa(&sa(1)).unwrap();
    kernel.add_sa(&sa(2)).unwrap();
    assert!(is_readable(&monitor));
    assert!(matches!(monitor.recv(), Ok(Some(Event::NewSa(_)))));
    assert!(is_readable(&monitor));
    assert!(matches!(monitor.recv(), Ok(Some(Event::NewSa(_)))));
    assert!(!is_readable(&monitor));
    assert_eq!(monitor.recv(), Ok(None));

    kernel.add_sa(&sa(3)).unwrap();
    kernel.lose_events();
    assert!(is_readable(&monitor));
    assert_eq!(drained(&mut monitor), [Event::Lost]);
}

#[test]
fn what_is_forgotten_goes_without_a_word() {
    let mut kernel = FakeKernel::new();
    let mut monitor = kernel.monitor(&[Group::Sa, Group::Policy]).unwrap();
    kernel.add_sa(&sa(1)).unwrap();
    kernel.add_policy(&policy()).unwrap();
    assert_eq!(drained(&mut monitor).len(), 2);
    assert!(kernel.forget_sa(sa(1).id));
    kernel.forget_policies(|policy| policy.index == 81);
    assert_eq!((kernel.sas(), kernel.policies()), (vec![], vec![]));
    assert_eq!(drained(&mut monitor), []);
}

#[test]
fn marks_choose_among_sas() {
    let mut kernel = FakeKernel::new();
    let mark = Some(Mark { value: 5, mask: 0xf });
    kernel.add_sa(&Sa { mark, ..sa(1) }).unwrap();
    assert!(kernel.get_sa(&sa(1).id.into()).unwrap_err().is_missing());
    let query = SaQuery { mark: Some(Mark { value: 0x15, mask: 0xff }), ..SaQuery::from(sa(1).id) };
    assert_eq!(kernel.get_sa(&query).unwrap().mark, mark);
    kernel.add_sa(&sa(1)).unwrap();
    assert_eq!(kernel.get_sa(&sa(1).id.into()).unwrap().mark, None);
}

#[test]
fn what_the_kernel_refuses_of_an_esp_sa_the_fake_does() {
    let mut kernel = FakeKernel::new();
    let esn = |window| Sa { flags: SaFlags::ESN, replay_esn: Some(ReplayEsn::new(window)), ..sa(1) };
    let refused = [
        Sa { aead: None, ..sa(1) },
        Sa {
            encryption: Some(Encryption { name: AlgorithmName::CBC_AES, key: Key::new(vec![0; 16]) }),
            ..sa(1)
        },
        Sa { replay_esn: None, ..esn(64) },
        Sa { replay_window: 32, ..esn(64) },
        esn(4097),
        Sa { replay_esn: Some(ReplayEsn { window: 65, ..ReplayEsn::new(64) }), ..esn(64) },
        esn(0),
        Sa { direction: Some(SaDirection::OUT), ..esn(64) },
        Sa { direction: Some(SaDirection::OUT), replay_window: 32, ..sa(1) },
    ];
    for sa in refused {
        let error = kernel.add_sa(&sa).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EINVAL), "{sa:?}");
        assert!(error.text().is_some(), "{sa:?}");
    }
    let mixed = Sa { source: Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), ..sa(1) };
    assert!(matches!(kernel.add_sa(&mixed).unwrap_err().cause, Cause::Invalid(_)));
    for sa in [esn(4096), Sa { direction: Some(SaDirection::OUT), ..esn(0) }] {
        kernel.add_sa(&sa).unwrap();
        kernel.delete_sa(&sa.id.into()).unwrap();
    }
}

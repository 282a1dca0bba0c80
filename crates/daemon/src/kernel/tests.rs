use ike_proto::crypto::suite::Encr;
use ike_proto::wire::registry::IntegId;
use xfrm_sys::{Errno, FakeKernel, Operation};

use super::*;

const GCM: EspSuite = EspSuite { encr: Encr::AES_256_GCM, integ: None, ke: None, esn: true };

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn spec(direction: Direction, spi: u32) -> SaSpec {
    let (local, remote) = (address("192.0.2.1"), address("192.0.2.2"));
    let side = |address| Side { net: Net::host(address), port: None };
    SaSpec {
        direction,
        spi: ChildSpi(spi),
        local,
        remote,
        selector: Selector { local: side(local), remote: side(remote), protocol: 0 },
        replay_window: 1024,
        ..throw_away(&Probe { suite: GCM, encap: true }, local)
    }
}

fn reserve(kernel: &mut Kernel<FakeKernel>) -> u32 {
    let request = SpiRequest {
        local: address("192.0.2.1"),
        remote: address("192.0.2.2"),
        mode: Mode::Transport,
        reqid: Reqid(0),
    };
    kernel.reserve_spi(&request).unwrap().0
}

fn fake() -> (FakeKernel, Kernel<FakeKernel>) {
    let fake = FakeKernel::new();
    (fake.clone(), Kernel::new(fake, false))
}

#[test]
fn a_pair_replaces_the_reservation_and_is_known_as_ours() {
    let (fake, mut kernel) = fake();
    let spi = reserve(&mut kernel);
    assert!(fake.sas()[0].is_larval());
    assert!(!kernel.is_ours(&spec(Direction::In, spi).key()));
    kernel.add_pair(&spec(Direction::In, spi), &spec(Direction::Out, 0x900)).unwrap();
    assert_eq!(fake.sas().len(), 2);
    assert!(fake.sas().iter().all(|sa| !sa.is_larval()));
    assert!(kernel.is_ours(&spec(Direction::In, spi).key()));
    assert!(fake.carry(SaId::esp(address("192.0.2.2"), 0x900), 3, 300));
    let usages = kernel.usages().unwrap();
    assert_eq!(usages.len(), 2);
    assert_eq!(usages[&spec(Direction::Out, 0x900).key()], SaUsage { bytes: 300, packets: 3 });
    kernel.remove(&spec(Direction::In, spi).key()).unwrap();
    kernel.remove(&spec(Direction::Out, 0x900).key()).unwrap();
    assert_eq!((fake.sas().len(), kernel.usages().unwrap().len()), (0, 0));
}

#[test]
fn an_sa_of_somebody_elses_carries_and_one_of_ours_does_not_count() {
    let (mut fake, mut kernel) = fake();
    let (local, remote) = (address("192.0.2.1"), address("192.0.2.2"));
    kernel.add_outbound(&spec(Direction::Out, 0x900)).unwrap();
    reserve(&mut kernel);
    let _ = kernel.dump().unwrap();
    assert!(!kernel.is_carried(local, remote));
    let other = translate::sa(&spec(Direction::Out, 0x901)).unwrap();
    kernel.note_other(&other);
    assert!(kernel.is_carried(local, remote) && !kernel.is_carried(remote, local));
    fake.add_sa(&other).unwrap();
    let _ = kernel.dump().unwrap();
    assert!(kernel.is_carried(local, remote));
    fake.delete_sa(&SaQuery::from(other.id)).unwrap();
    let _ = kernel.usages().unwrap();
    assert!(!kernel.is_carried(local, remote));
}

#[test]
fn a_reservation_that_has_lapsed_is_no_error() {
    for pair in [false, true] {
        let (fake, mut kernel) = fake();
        let spi = reserve(&mut kernel);
        fake.expire_larval();
        if pair {
            kernel.add_pair(&spec(Direction::In, spi), &spec(Direction::Out, 0x900)).unwrap();
        } else {
            kernel.add_inbound(&spec(Direction::In, spi)).unwrap();
        }
        assert!(fake.sas().iter().any(|sa| sa.id == SaId::esp(address("192.0.2.1"), spi)), "{pair}");
    }
}

#[test]
fn a_pair_is_installed_whole_or_not_at_all() {
    for operation in [Operation::UpdateSa, Operation::AddSa] {
        let (fake, mut kernel) = fake();
        let spi = reserve(&mut kernel);
        fake.fail_next(operation, Errno::EINVAL, Some("not today"));
        let said = kernel.add_pair(&spec(Direction::In, spi), &spec(Direction::Out, 0x900)).unwrap_err();
        assert!(matches!(&said, SadError::Refused(text) if text.contains("not today")), "{said}");
        assert!(fake.sas().iter().all(xfrm_sys::Sa::is_larval), "{operation}: {:?}", fake.sas());
        assert!(kernel.usages().unwrap().is_empty());
    }
}

#[test]
fn errors_keep_their_kind() {
    let (_, mut kernel) = fake();
    let outbound = spec(Direction::Out, 0x900);
    kernel.add_outbound(&outbound).unwrap();
    assert_eq!(kernel.add_outbound(&outbound), Err(SadError::Exists));
    kernel.remove(&outbound.key()).unwrap();
    assert_eq!(kernel.remove(&outbound.key()), Err(SadError::NotFound));
    assert_eq!(kernel.query(&outbound.key()), Err(SadError::NotFound));
    assert_eq!(kernel.move_ports(&outbound.key(), Encap { local: 1, remote: 2 }), Err(SadError::NotFound));
}

#[test]
fn ports_move_in_the_sense_of_each_direction() {
    let (fake, mut kernel) = fake();
    let spi = reserve(&mut kernel);
    let (inbound, outbound) = (spec(Direction::In, spi), spec(Direction::Out, 0x900));
    kernel.add_pair(&inbound, &outbound).unwrap();
    for spec in [&inbound, &outbound] {
        kernel.move_ports(&spec.key(), Encap { local: 4500, remote: 61_000 }).unwrap();
    }
    let of = |key: SaKey| {
        let sas = fake.sas();
        let sa = sas.iter().find(|sa| key_of(sa.id) == key).unwrap();
        (sa.encap.unwrap().source_port, sa.encap.unwrap().destination_port)
    };
    assert_eq!(of(inbound.key()), (61_000, 4500));
    assert_eq!(of(outbound.key()), (4500, 61_000));
}

#[test]
fn a_released_acquire_lets_the_next_packet_ask_again() {
    let (fake, mut kernel) = fake();
    let host = |text: &str| xfrm_sys::Prefix::host(address(text));
    let selector = xfrm_sys::Selector::new(host("192.0.2.1"), host("192.0.2.2"));
    let mut policy = Policy::new(selector, xfrm_sys::Direction::OUT);
    policy.templates = vec![xfrm_sys::Template::esp_transport(address("192.0.2.1"))];
    kernel.xfrm.add_policy(&policy).unwrap();
    let index = fake.policies()[0].index;
    let _listener = fake.monitor(&[xfrm_sys::Group::Acquire]).unwrap();
    let acquire = translate::acquire(&fake.raise_acquire(index, selector).unwrap()).unwrap();
    assert!(fake.raise_acquire(index, selector).is_none());
    kernel.release_acquire(&acquire);
    assert!(fake.sas().is_empty(), "{:?}", fake.sas());
    assert!(fake.raise_acquire(index, selector).is_some());
}

#[test]
fn a_probe_leaves_nothing_behind_and_says_what_the_kernel_said() {
    let mut fake = FakeKernel::new();
    let cbc =
        EspSuite { encr: Encr::AES_128_CBC, integ: Some(IntegId::HMAC_SHA2_256_128), ke: None, esn: false };
    let probes = [Probe { suite: GCM, encap: true }, Probe { suite: cbc, encap: false }];
    for v6 in [false, true] {
        probe(&mut fake, &probes, v6).unwrap();
    }
    assert_eq!(fake.sas(), []);
    let added = fake.journal().iter().filter(|(operation, _)| *operation == Operation::AddSa).count();
    assert_eq!(added, 4);
    fake.refuse(Operation::AddSa, Errno::ENOSYS, Some("Requested AEAD algorithm not found"));
    let said = probe(&mut fake, &probes, false).unwrap_err().to_string();
    assert!(said.starts_with("the kernel cannot do ESP in UDP over IPv4 with ENCR_AES_GCM_16-256/ESN: "));
    assert!(said.contains("Requested AEAD algorithm not found"), "{said}");
}

#[test]
fn a_missing_capability_is_one_clear_message() {
    let mut fake = FakeKernel::new();
    check_access(&mut fake).unwrap();
    fake.refuse(Operation::DumpPolicies, Errno::EPERM, None);
    let said = check_access(&mut fake).unwrap_err().to_string();
    assert!(said.starts_with("CAP_NET_ADMIN is needed"), "{said}");
}

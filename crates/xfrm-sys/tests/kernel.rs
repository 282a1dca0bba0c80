//! The client and the monitor against this machine's kernel, each test in a network namespace of its own.
//!
//! They need root: a test that cannot have a namespace fails and says so. What the kernel lacks (ESP) is no failure:
//! then its refusal is what is tested.
#![allow(clippy::unwrap_used, reason = "a failed test is all it leads to")]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use xfrm_sys::*;

const US: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

/// Moves this thread, and with it this test, into a network namespace with a way from `US` to `PEER`.
fn enter_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|errno| {
        panic!("cannot make a network namespace: {errno}. These tests need root (CAP_SYS_ADMIN); run them with sudo")
    });
    ip("link set lo up");
    ip("addr add 10.0.0.1/32 dev lo");
    ip("route add 10.0.0.2/32 dev lo");
    // The loopback device is exempt from policies by default.
    let exempt = "/proc/sys/net/ipv4/conf/lo/disable_xfrm";
    let written =
        std::fs::OpenOptions::new().write(true).open(exempt).and_then(|mut file| file.write_all(b"0"));
    written.unwrap_or_else(|error| panic!("{exempt}: {error}"));
}

/// Runs `ip` in this thread's namespace.
fn ip(arguments: &str) -> String {
    let run = Command::new("ip").args(arguments.split_whitespace()).output();
    let output = run.unwrap_or_else(|error| panic!("these tests need the ip command (iproute2): {error}"));
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn client() -> Client {
    enter_namespace();
    Client::open().unwrap()
}

fn outbound(destination: IpAddr) -> Policy {
    let selector = Selector::new(Prefix::host(US), Prefix::host(destination));
    let template = Template { reqid: 7, ..Template::esp_transport(US) };
    Policy { priority: 1000, templates: vec![template], ..Policy::new(selector, Direction::OUT) }
}

/// Sends one datagram to `PEER`, which a policy may stop.
fn send_packet() {
    let socket = UdpSocket::bind((US, 0)).unwrap();
    let _ = socket.send_to(b"x", (PEER, 99));
}

/// The next event; the test fails if there is none for five seconds.
fn event(monitor: &mut Monitor) -> Event {
    loop {
        if let Some(event) = monitor.recv().unwrap() {
            return event;
        }
        let ready =
            poll(&mut [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)], PollTimeout::from(5000u16)).unwrap();
        assert_eq!(ready, 1, "no event came");
    }
}

fn acquire(monitor: &mut Monitor) -> Acquire {
    send_packet();
    match event(monitor) {
        Event::Acquire(acquire) => *acquire,
        other => panic!("{other:?}"),
    }
}

fn gcm(id: SaId) -> Sa {
    let aead =
        Aead { name: AlgorithmName::RFC4106_GCM_AES, key: Key::new((1..=36).collect()), icv_bits: 128 };
    let mut sa = Sa { reqid: 7, aead: Some(aead), flags: SaFlags::ESN, ..Sa::new(US, id) };
    sa.replay_esn = Some(ReplayEsn::new(1024));
    sa.encap = Some(Encap::udp(4500, 4500));
    sa
}

/// Whether the kernel can have ESP SAs. Where it cannot, its refusal must say why.
fn has_esp(added: Result<(), Error>) -> bool {
    let Err(error) = added else { return true };
    assert!(matches!(error.errno(), Some(Errno::ENOSYS | Errno::EPROTONOSUPPORT)), "{error}");
    let text = error.text().unwrap_or_else(|| panic!("no words from the kernel: {error}"));
    assert!(text.contains("not found"), "{text}");
    assert!(error.to_string().starts_with("cannot add SA (esp 0x00001234 to 10.0.0.2): "), "{error}");
    assert!(error.to_string().ends_with(&format!("{text})")), "{error}");
    false
}

#[test]
fn policies_come_back_as_they_were_added() {
    let mut client = client();
    let mut first = outbound(PEER);
    first.index = 0x51;
    let mut second = outbound(Ipv4Addr::new(10, 0, 0, 3).into());
    second.action = Action::BLOCK;
    second.templates.clear();
    second.mark = Some(Mark { value: 1, mask: 0xff });
    let v6 = Prefix::host(Ipv6Addr::LOCALHOST.into());
    let mut third = Policy::new(
        Selector::new(v6, Prefix { address: Ipv6Addr::UNSPECIFIED.into(), length: 0 }),
        Direction::IN,
    );
    third.selector.protocol = Protocol::ICMPV6;
    third.selector.source_port = PortMatch::exactly(135);
    third.templates =
        vec![Template { level: Level::Optional, ..Template::esp_tunnel(v6.address, v6.address) }];
    for policy in [&first, &second, &third] {
        client.add_policy(policy).unwrap();
    }
    let dumped = client.dump_policies().unwrap();
    assert_eq!(dumped.len(), 3);
    for (kept, policy) in dumped.iter().zip([&third, &second, &first]) {
        assert!(kept.is_same_as(policy));
        assert_eq!(Direction::of_index(kept.index), policy.direction);
        let expected =
            Policy { index: kept.index, usage: kept.usage, policy_type: kept.policy_type, ..policy.clone() };
        assert_eq!(*kept, expected);
        assert!(kept.usage.add_time > 0);
    }
    assert_eq!(dumped[2].index, 0x51, "an index can be chosen");
    let by_index = client.get_policy(&PolicyQuery::by_index(0x51)).unwrap();
    let by_selector = client.get_policy(&PolicyQuery::same_as(&first)).unwrap();
    assert_eq!((&by_index, &by_selector), (&dumped[2], &dumped[2]));
    let text = ip("xfrm policy list");
    assert!(
        text.contains("src 10.0.0.1/32 dst 10.0.0.2/32") && text.contains("reqid 7 mode transport"),
        "{text}"
    );
    assert!(text.contains("proto ipv6-icmp type 135") && text.contains("level use"), "{text}");
}

#[test]
fn the_fake_kernel_answers_as_this_kernel_does() {
    let mut kernel = client();
    let mut fake = FakeKernel::new();
    let mut numbered = outbound(PEER);
    numbered.index = 0x51;
    let mut renumbered = numbered.clone();
    renumbered.index = 0x61;
    renumbered.priority = 5;
    let mut other = outbound(Ipv4Addr::new(10, 0, 0, 3).into());
    other.index = 0x51;
    let mut misnumbered = outbound(Ipv4Addr::new(10, 0, 0, 4).into());
    misnumbered.index = 0x50;
    let mut marked = numbered.clone();
    marked.mark = Some(Mark { value: 1, mask: 1 });
    let mut scoped = PolicyQuery::by_index(0x51);
    scoped.mark = marked.mark;
    let id = SaId::esp(PEER, 0x1234);
    let mut deep = outbound(Ipv4Addr::new(10, 0, 0, 5).into());
    deep.templates = vec![deep.templates[0]; 7];
    let mut mixed = outbound(PEER);
    mixed.selector.source = Prefix::host(Ipv6Addr::LOCALHOST.into());
    let requests = [
        Request::AddPolicy(Box::new(numbered.clone())),
        Request::AddPolicy(Box::new(numbered.clone())),
        Request::UpdatePolicy(Box::new(renumbered)),
        Request::AddPolicy(Box::new(other)),
        Request::AddPolicy(Box::new(misnumbered)),
        Request::AddPolicy(Box::new(deep)),
        Request::AddPolicy(Box::new(mixed)),
        Request::DeletePolicy(scoped),
        Request::AddPolicy(Box::new(marked)),
        Request::DeletePolicy(PolicyQuery::by_index(0x999)),
        Request::DeleteSa(id.into()),
        Request::UpdateSa(Box::new(Sa::new(US, id))),
        Request::AddSa(Box::new(Sa::new(US, id))),
        Request::AddSa(Box::new(Sa { replay_esn: None, ..gcm(id) })),
        Request::AddSa(Box::new(Sa { replay_window: 32, ..gcm(id) })),
        Request::AddSa(Box::new(Sa {
            replay_esn: Some(ReplayEsn { bitmap: vec![0; 129], ..ReplayEsn::new(4128) }),
            ..gcm(id)
        })),
        Request::FlushSas(Protocol::IPSEC_ANY),
        Request::UpdatePolicy(Box::new(outbound(Ipv4Addr::new(10, 0, 0, 6).into()))),
    ];
    let errno = |results: Vec<Result<(), Error>>| -> Vec<_> {
        results
            .into_iter()
            .map(|result| result.err().map(|error| (error.errno(), error.to_string())))
            .collect()
    };
    let real = errno(kernel.batch(&requests));
    let faked = errno(fake.batch(&requests));
    for (place, (real, faked)) in real.iter().zip(&faked).enumerate() {
        let (real_errno, faked_errno) =
            (real.as_ref().map(|(errno, _)| errno), faked.as_ref().map(|(errno, _)| errno));
        assert_eq!(real_errno, faked_errno, "request {place}: {real:?}, {faked:?}");
    }
    let rows = |policies: Vec<Policy>| -> Vec<_> {
        policies
            .into_iter()
            .map(|policy| (policy.selector, policy.mark, policy.priority, policy.index == 0x51))
            .collect()
    };
    assert_eq!(rows(kernel.dump_policies().unwrap()), rows(fake.dump_policies().unwrap()));
}

#[test]
fn a_batch_has_a_result_for_each_request_in_its_place() {
    let mut client = client();
    let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + number));
    // More than fit one datagram, and every third twice.
    let requests: Vec<_> = (0..600)
        .map(|number| {
            Request::AddPolicy(Box::new(outbound(address(if number % 3 == 2 { number - 1 } else { number }))))
        })
        .collect();
    let results = client.batch(&requests);
    assert_eq!(results.len(), 600);
    for (place, result) in results.iter().enumerate() {
        match result {
            Ok(()) => assert_ne!(place % 3, 2, "{place}"),
            Err(error) => {
                assert!(place % 3 == 2 && error.is_exists(), "{place}: {error}");
                assert!(
                    error.to_string().contains(&format!("{}/32", address(u32::try_from(place).unwrap() - 1)))
                );
            }
        }
    }
    assert_eq!(client.dump_policies().unwrap().len(), 400);
    client.flush_policies().unwrap();
    assert_eq!(client.dump_policies().unwrap(), []);
    client.flush_policies().unwrap();
}

#[test]
fn two_thousand_policies_are_dumped_whole() {
    let mut client = client();
    let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + number));
    let requests: Vec<_> =
        (0..2000).map(|number| Request::AddPolicy(Box::new(outbound(address(number))))).collect();
    assert!(client.batch(&requests).iter().all(Result::is_ok));
    let dumped = client.dump_policies().unwrap();
    let destinations: Vec<_> =
        dumped.iter().rev().map(|policy| policy.selector.destination.address).collect();
    assert_eq!(destinations, (0..2000).map(address).collect::<Vec<_>>());
}

#[test]
fn a_packet_raises_one_acquire_and_its_deletion_lets_the_next_raise_another() {
    let mut client = client();
    let mut monitor = Monitor::open(&[Group::Acquire]).unwrap();
    client.add_policy(&Policy { index: 0x51, ..outbound(PEER) }).unwrap();
    let first = acquire(&mut monitor);
    assert_eq!((first.id, first.source, first.policy.index), (SaId::esp(PEER, 0), US, 0x51));
    assert_eq!(first.selector.destination_port, PortMatch::exactly(99));
    assert_eq!(first.policy.templates, outbound(PEER).templates);

    send_packet();
    assert_eq!(monitor.recv().unwrap(), None, "the larval state answers for it");
    let larval = client.dump_sas(&SaFilter::ALL).unwrap();
    assert_eq!(larval.len(), 1);
    assert_eq!((larval[0].seq, larval[0].id, larval[0].is_larval()), (first.seq, first.id, true));

    // It has no SPI, and cannot be named.
    assert!(client.delete_sa(&first.id.into()).unwrap_err().is_missing());
    client.delete_acquire(&first).unwrap();
    assert_eq!(client.dump_sas(&SaFilter::ALL).unwrap(), []);
    let second = acquire(&mut monitor);
    assert_ne!(second.seq, first.seq);

    // An acquire that is gone may be deleted, and the one that is not stays until it is.
    client.flush_sas(Protocol::IPSEC_ANY).unwrap();
    client.delete_acquire(&second).unwrap();
    assert_eq!(client.dump_sas(&SaFilter::ALL).unwrap(), []);
}

#[test]
fn an_spi_is_given_to_the_acquires_larval_state() {
    let mut client = client();
    let mut monitor = Monitor::open(&[Group::Acquire]).unwrap();
    client.add_policy(&outbound(PEER)).unwrap();
    let acquire = acquire(&mut monitor);
    let adopted = client.alloc_spi(&acquire.spi_request(0x5000, 0x5000)).unwrap();
    assert_eq!((adopted.seq, adopted.id), (acquire.seq, SaId::esp(PEER, 0x5000)));
    assert_eq!(client.dump_sas(&SaFilter::ALL).unwrap().len(), 1);
    assert_eq!(client.get_sa(&adopted.id.into()).unwrap(), adopted);

    // The inbound half is another larval state.
    let inbound = client.alloc_spi(&SpiRequest { reqid: 7, ..SpiRequest::esp(PEER, US) }).unwrap();
    assert!(inbound.is_larval() && inbound.id.spi >= 0x100 && inbound.seq == 0);
    assert_eq!((inbound.id.destination, inbound.source), (US, PEER));
    assert_eq!(client.dump_sas(&SaFilter::ESP).unwrap().len(), 2);
    let none = SaFilter { addresses: Some((Prefix::host(US), Prefix::host(US))), ..SaFilter::ALL };
    assert_eq!(client.dump_sas(&none).unwrap(), []);
    let one = SaFilter { addresses: Some((Prefix::host(PEER), Prefix::host(US))), ..SaFilter::ALL };
    assert_eq!(client.dump_sas(&one).unwrap(), [inbound]);
}

#[test]
fn when_no_spi_is_free_there_is_enoent_in_kernel_and_fake() {
    let mut client = client();
    let mut fake = FakeKernel::new();
    let request = SpiRequest { min: 0x777, max: 0x777, ..SpiRequest::esp(PEER, US) };
    for xfrm in [&mut client as &mut dyn Xfrm, &mut fake] {
        assert_eq!(xfrm.alloc_spi(&request).unwrap().id.spi, 0x777);
        assert_eq!(xfrm.alloc_spi(&request).unwrap_err().errno(), Some(Errno::ENOENT));
    }
}

#[test]
fn an_esp_sa_comes_back_as_it_was_added_or_the_kernel_says_what_it_lacks() {
    let mut client = client();
    let sa = gcm(SaId::esp(PEER, 0x1234));
    if !has_esp(client.add_sa(&sa)) {
        return;
    }
    let kept = client.get_sa(&sa.id.into()).unwrap();
    assert_eq!(kept, Sa { usage: kept.usage, selector: kept.selector, ..sa.clone() });
    assert!(client.add_sa(&sa).unwrap_err().is_exists());
    client.update_sa(&kept).unwrap();
    assert_eq!(client.get_sa(&sa.id.into()).unwrap(), kept, "what was got can be given back");
    let mut changed = sa.clone();
    changed.encap = Some(Encap::udp(4500, 1025));
    changed.limits.hard_packets = 99;
    client.update_sa(&changed).unwrap();
    let kept = client.get_sa(&sa.id.into()).unwrap();
    assert_eq!((kept.encap, kept.limits), (changed.encap, changed.limits));
    client.delete_sa(&sa.id.into()).unwrap();
    assert!(client.get_sa(&sa.id.into()).unwrap_err().is_missing());
}

#[test]
fn an_update_fills_a_larval_sa_that_an_addition_would_not_or_the_kernel_says_what_it_lacks() {
    let mut client = client();
    let mut fake = FakeKernel::new();
    let with_esp = has_esp(client.add_sa(&gcm(SaId::esp(PEER, 0x1234))));
    let mut kernels: Vec<&mut dyn Xfrm> = vec![&mut fake];
    if with_esp {
        kernels.push(&mut client);
    }
    for xfrm in kernels {
        let request = SpiRequest { min: 0x1235, max: 0x1235, ..SpiRequest::esp(US, PEER) };
        let larval = xfrm.alloc_spi(&request).unwrap();
        let sa = Sa { reqid: 9, ..gcm(larval.id) };
        assert!(xfrm.add_sa(&sa).unwrap_err().is_exists());
        xfrm.update_sa(&sa).unwrap();
        let kept = xfrm.get_sa(&larval.id.into()).unwrap();
        assert_eq!((kept.reqid, &kept.aead, kept.is_larval()), (9, &sa.aead, false));
        let naked = Sa { encap: None, ..sa };
        assert_eq!(xfrm.update_sa(&naked).unwrap_err().errno(), Some(Errno::EINVAL));
    }
}

#[test]
fn an_outbound_sa_takes_the_place_of_its_acquire_or_the_kernel_says_what_it_lacks() {
    let mut client = client();
    let mut monitor = Monitor::open(&[Group::Acquire]).unwrap();
    client.add_policy(&outbound(PEER)).unwrap();
    let acquire = acquire(&mut monitor);
    let sa = Sa { seq: acquire.seq, ..gcm(SaId::esp(PEER, 0x1234)) };
    let left = if has_esp(client.add_sa(&sa)) { sa.id } else { acquire.id };
    let sas = client.dump_sas(&SaFilter::ALL).unwrap();
    assert_eq!(sas.iter().map(|sa| sa.id).collect::<Vec<_>>(), [left]);
}

#[test]
fn changes_by_others_are_told() {
    let mut client = client();
    let mut monitor = Monitor::open(&Group::ALL).unwrap();
    ip(
        "xfrm policy add src 10.0.0.1/32 dst 10.0.0.2/32 dir out index 81 priority 1000 tmpl proto esp mode transport reqid 7",
    );
    let Event::NewPolicy(policy) = event(&mut monitor) else { panic!() };
    assert_eq!((policy.index, &policy.templates), (81, &outbound(PEER).templates));
    ip("xfrm policy update src 10.0.0.1/32 dst 10.0.0.2/32 dir out priority 5");
    let Event::UpdatedPolicy(policy) = event(&mut monitor) else { panic!() };
    assert_eq!((policy.index, policy.priority, policy.templates.len()), (81, 5, 0));
    ip("xfrm policy delete index 81 dir out");
    let Event::DeletedPolicy(query, Some(deleted)) = event(&mut monitor) else { panic!() };
    assert_eq!((query, deleted), (PolicyQuery::by_index(81), policy));

    let larval = client.alloc_spi(&SpiRequest::esp(PEER, US)).unwrap();
    client.delete_sa(&larval.id.into()).unwrap();
    let Event::DeletedSa(id, Some(deleted)) = event(&mut monitor) else { panic!() };
    assert_eq!((id, deleted.id), (larval.id, larval.id));

    client.alloc_spi(&SpiRequest::esp(PEER, US)).unwrap();
    ip("xfrm state flush");
    assert_eq!(event(&mut monitor), Event::FlushedSas(Protocol::ANY));
    ip("xfrm policy add src 10.0.0.1/32 dst 10.0.0.2/32 dir out");
    assert!(matches!(event(&mut monitor), Event::NewPolicy(_)));
    ip("xfrm policy flush");
    assert_eq!(event(&mut monitor), Event::FlushedPolicies);
    assert_eq!(monitor.recv().unwrap(), None);
}

#[test]
fn a_monitor_hears_only_the_groups_it_asked_for() {
    let mut client = client();
    let mut monitor = Monitor::open(&[Group::Sa]).unwrap();
    client.add_policy(&outbound(PEER)).unwrap();
    let larval = client.alloc_spi(&SpiRequest::esp(PEER, US)).unwrap();
    client.delete_sa(&larval.id.into()).unwrap();
    assert!(matches!(event(&mut monitor), Event::DeletedSa(id, _) if id == larval.id));
    assert_eq!(monitor.recv().unwrap(), None);
}

#[test]
fn lost_events_are_told_and_later_ones_still_come() {
    let mut client = client();
    let mut monitor = Monitor::open(&[Group::Policy]).unwrap();
    let add = Request::AddPolicy(Box::new(outbound(PEER)));
    let delete = Request::DeletePolicy(PolicyQuery::same_as(&outbound(PEER)));
    let round: Vec<_> = (0..400).flat_map(|_| [add.clone(), delete.clone()]).collect();
    // Far more than the queue holds.
    for _ in 0..40 {
        assert!(client.batch(&round).iter().all(Result::is_ok));
    }
    let mut lost = 0;
    while let Some(event) = monitor.recv().unwrap() {
        lost += usize::from(event == Event::Lost);
    }
    assert_eq!(lost, 1);
    client.add_policy(&outbound(PEER)).unwrap();
    assert!(matches!(event(&mut monitor), Event::NewPolicy(_)));
}

#[test]
fn without_the_capability_a_request_is_refused_by_name() {
    const CHILD: &str = "XFRM_SYS_WITHOUT_NET_ADMIN";
    if std::env::var_os(CHILD).is_some() {
        let error = Client::open().unwrap().add_policy(&outbound(PEER)).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EPERM));
        assert!(
            error.to_string().starts_with("cannot add policy (out 10.0.0.1/32 > 10.0.0.2/32): "),
            "{error}"
        );
        let error = Client::open().unwrap().dump_policies().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EPERM));
        assert_eq!(Monitor::open(&[Group::Acquire]).unwrap_err().errno(), Some(Errno::EPERM));
        return;
    }
    enter_namespace();
    // This test again, in a process without the right.
    let child = Command::new("setpriv")
        .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "without_the_capability_a_request_is_refused_by_name"])
        .env(CHILD, "1")
        .output()
        .expect("this test needs the setpriv command (util-linux)");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[test]
fn udp_sockets_take_encapsulation_and_bypass_the_policies() {
    let mut client = client();
    let mut monitor = Monitor::open(&[Group::Acquire]).unwrap();
    client.add_policy(&outbound(PEER)).unwrap();
    let socket = UdpSocket::bind((US, 4500)).unwrap();
    sockopt::set_udp_encap(&socket).unwrap();
    socket.send_to(b"x", (PEER, 99)).unwrap();
    assert!(matches!(event(&mut monitor), Event::Acquire(_)), "the policy stops it");
    client.flush_sas(Protocol::IPSEC_ANY).unwrap();

    sockopt::bypass_policies(&socket).unwrap();
    assert_eq!(socket.send_to(b"x", (PEER, 99)).unwrap(), 1);
    assert_eq!(monitor.recv().unwrap(), None);
    let directions: Vec<_> = client
        .dump_policies()
        .unwrap()
        .iter()
        .filter(|policy| policy.direction.is_socket())
        .map(|policy| policy.action)
        .collect();
    assert_eq!(directions, [Action::ALLOW; 2]);
    client.flush_policies().unwrap();
    assert_eq!(client.dump_policies().unwrap().len(), 2, "a flush leaves the policies of sockets");
    drop(socket);
    let unix = std::os::unix::net::UnixDatagram::unbound().unwrap();
    assert_eq!(sockopt::bypass_policies(&unix), Err(Errno::EAFNOSUPPORT));
    assert!(sockopt::set_udp_encap(&unix).is_err());
}

#[test]
fn a_socket_with_encapsulation_gets_ike_and_no_keepalives() {
    enter_namespace();
    let receiver = UdpSocket::bind((US, 4500)).unwrap();
    receiver.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let sender = UdpSocket::bind((US, 0)).unwrap();
    let send = |octets: &[u8]| sender.send_to(octets, (US, 4500)).unwrap();
    let mut packet = [0; 64];
    send(b"\xff");
    assert_eq!(receiver.recv(&mut packet).unwrap(), 1);
    sockopt::set_udp_encap(&receiver).unwrap();
    send(b"\xff");
    send(b"\0\0\0\0IKE");
    assert_eq!(receiver.recv(&mut packet).unwrap(), 7);
}

#[test]
fn packets_of_a_socket_that_allows_it_may_be_fragmented() {
    enter_namespace();
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Udp).unwrap();
    let raw = UdpSocket::from(raw);
    raw.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let sender = UdpSocket::bind((US, 0)).unwrap();
    let receiver = UdpSocket::bind((US, 0)).unwrap();
    let may_not_be_fragmented = || {
        sender.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
        let mut packet = [0; 64];
        assert!(raw.recv(&mut packet).unwrap() > 20);
        packet[6] & 0x40 != 0
    };
    assert!(may_not_be_fragmented());
    sockopt::allow_fragmentation(&sender).unwrap();
    assert!(!may_not_be_fragmented());
    let unix = std::os::unix::net::UnixDatagram::unbound().unwrap();
    assert_eq!(sockopt::allow_fragmentation(&unix), Err(Errno::EAFNOSUPPORT));
}

#[test]
fn larval_states_expire_and_that_is_told() {
    let mut client = client();
    std::fs::write("/proc/sys/net/core/xfrm_acq_expires", "1").unwrap();
    let mut monitor = Monitor::open(&[Group::Expire]).unwrap();
    let larval = client.alloc_spi(&SpiRequest::esp(PEER, US)).unwrap();
    let Event::Expire(expire) = event(&mut monitor) else { panic!() };
    assert_eq!((expire.sa.id, expire.hard), (larval.id, true));
    assert!(client.get_sa(&larval.id.into()).unwrap_err().is_missing());
}

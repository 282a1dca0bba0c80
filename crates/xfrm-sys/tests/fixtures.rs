//! Messages captured between `ip xfrm` and real kernels (each file names its command) mean what the command says, and
//! are written as they were read.
#![allow(clippy::unwrap_used, reason = "a failed test is all it leads to")]

mod support;

use std::net::IpAddr;

use support::{fixture, fixtures, message};
use xfrm_sys::message::Body;
use xfrm_sys::{
    Action, Aead, AlgorithmName, Authentication, Direction, Encap, Encryption, Errno, Key, Level, Limits,
    Mark, Mode, Policy, PolicyFlags, PolicyKey, PolicyQuery, PolicyType, PortMatch, Prefix, Protocol, Replay,
    ReplayEsn, Sa, SaDirection, SaFilter, SaFlags, SaId, Selector, SpiRequest, Template, Usage,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn host_to_host(source: &str, destination: &str) -> Selector {
    Selector::new(Prefix::host(ip(source)), Prefix::host(ip(destination)))
}

/// The AEAD of all GCM fixtures.
fn gcm() -> Aead {
    let key = Key::new((1..=0x14).collect());
    Aead { name: AlgorithmName::new("rfc4106(gcm(aes))"), key, icv_bits: 128 }
}

fn exclusion() -> Policy {
    let mut selector = host_to_host("10.0.0.1", "10.0.0.2");
    selector.protocol = Protocol::TCP;
    selector.destination_port = PortMatch::exactly(22);
    Policy { index: 81, priority: 2_147_483_548, ..Policy::new(selector, Direction::OUT) }
}

fn transport() -> Policy {
    let template = Template { reqid: 7, ..Template::esp_transport(ip("0.0.0.0")) };
    let selector = host_to_host("10.0.0.1", "10.0.0.2");
    Policy { priority: 2_147_483_648, templates: vec![template], ..Policy::new(selector, Direction::OUT) }
}

fn neighbour_discovery() -> Policy {
    let mut selector = host_to_host("fd00::1", "fd00::2");
    selector.protocol = Protocol::ICMPV6;
    selector.source_port = PortMatch::exactly(135);
    selector.destination_port = PortMatch::exactly(4);
    let template = Template {
        spi: 0x1234,
        level: Level::Optional,
        ..Template::esp_tunnel(ip("fd00::1"), ip("fd00::2"))
    };
    Policy {
        priority: 3,
        action: Action::BLOCK,
        limits: Limits {
            soft_bytes: 1000,
            hard_bytes: 2000,
            soft_packets: 10,
            hard_packets: 20,
            soft_add_seconds: 3600,
            hard_add_seconds: 7200,
            soft_use_seconds: 0,
            hard_use_seconds: 0,
        },
        templates: vec![template],
        mark: Some(Mark { value: 5, mask: 0xff }),
        if_id: Some(9),
        ..Policy::new(selector, Direction::IN)
    }
}

/// As the kernel gives it back: with an index and the name of the main database.
fn kept(policy: Policy, index: u32, usage: Usage) -> Policy {
    Policy { index, usage, policy_type: Some(PolicyType::MAIN), ..policy }
}

fn gcm_esn() -> Sa {
    let mut selector = host_to_host("10.0.0.1", "10.0.0.2");
    selector.protocol = Protocol::TCP;
    selector.destination_port = PortMatch::exactly(80);
    Sa {
        selector,
        reqid: 7,
        flags: SaFlags::ESN,
        extra_flags: Some(2),
        aead: Some(gcm()),
        encap: Some(Encap::udp(4500, 4501)),
        replay_esn: Some(ReplayEsn::new(64)),
        limits: Limits {
            soft_bytes: 1000,
            hard_bytes: 2000,
            soft_packets: 10,
            hard_packets: 20,
            hard_add_seconds: 7200,
            ..Limits::NONE
        },
        mark: Some(Mark { value: 5, mask: 0xff }),
        output_mark: Some(Mark { value: 7, mask: 0xf0 }),
        if_id: Some(9),
        ..Sa::new(ip("10.0.0.1"), SaId::esp(ip("10.0.0.2"), 0x100))
    }
}

fn cbc_hmac() -> Sa {
    Sa {
        mode: Mode::TUNNEL,
        reqid: 8,
        // iproute2 sends it in network byte order.
        seq: 0x55_u32.to_be(),
        flags: SaFlags::AF_UNSPEC,
        replay_window: 32,
        authentication: Some(Authentication {
            name: AlgorithmName::new("hmac(sha256)"),
            key: Key::new((0..0x20).collect()),
            truncation_bits: Some(128),
        }),
        encryption: Some(Encryption {
            name: AlgorithmName::new("cbc(aes)"),
            key: Key::new((0xa0..0xb0).collect()),
        }),
        ..Sa::new(ip("fd00::2"), SaId::esp(ip("fd00::1"), 0x200))
    }
}

fn new_sa(name: &str) -> Sa {
    match message(name).body {
        Body::NewSa(sa) => *sa,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_fixture_is_written_as_it_was_read() {
    for name in fixtures() {
        let octets = fixture(&name);
        let written = message(&name).to_octets().unwrap();
        let same = *written == *octets;
        match name.as_str() {
            // Acknowledgements quote the request, which is not kept.
            "state-add-refused-answer" | "state-delete-missing-answer" | "sa-add-again-answer" => {
                assert!(!same)
            }
            "state-flush-answer" => {}
            // The kernel gives an integrity algorithm twice, the old way too.
            "sa-get-answer" | "sa-dump-answer-0" | "event-sa-deleted" => assert!(!same, "{name}"),
            // The kernel leaves what is on its stack behind an IPv4 address.
            "event-mapping" => assert_eq!(written.len(), octets.len()),
            // iproute2 leaves out an empty replay bitmap; a filter that lets everything pass is none.
            "sa-add-gcm-esn-request" => assert_eq!(written.len(), octets.len() + 8),
            "state-dump-request" => assert_eq!(written.len(), 16),
            // It orders the attributes of requests its own way, and pads nothing behind one octet.
            _ if name.ends_with("-request") => {
                assert_eq!(written.len(), octets.len().next_multiple_of(4), "{name}");
            }
            _ => assert_eq!(*written, *octets, "{name}"),
        }
    }
}

#[test]
fn policy_requests_say_what_the_command_says() {
    assert_eq!(message("policy-add-exclusion-request").body, Body::NewPolicy(Box::new(exclusion())));
    assert_eq!(message("policy-add-transport-request").body, Body::NewPolicy(Box::new(transport())));
    assert_eq!(
        message("policy-update-ipv6-request").body,
        Body::UpdatePolicy(Box::new(neighbour_discovery()))
    );
}

#[test]
fn policy_queries_name_the_index_or_the_selector() {
    assert_eq!(message("policy-get-request").body, Body::GetPolicy(PolicyQuery::by_index(81)));
    assert_eq!(
        message("policy-delete-index-request").body,
        Body::DeletePolicy(PolicyQuery::by_index(81), None)
    );
    let query = PolicyQuery::same_as(&neighbour_discovery());
    assert_eq!(message("policy-delete-selector-request").body, Body::DeletePolicy(query, None));
    assert_eq!(message("policy-dump-request").body, Body::DumpPolicies);
    assert_eq!(message("policy-flush-request").body, Body::FlushPolicies(None));
}

#[test]
fn dumped_policies_are_the_ones_added_newest_first() {
    let policies: Vec<Policy> = (0..3)
        .map(|row| match message(&format!("policy-dump-answer-{row}")).body {
            Body::NewPolicy(policy) => *policy,
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        kept(neighbour_discovery(), policies[0].index, policies[0].usage),
        kept(transport(), policies[1].index, policies[1].usage),
        kept(exclusion(), 81, policies[2].usage),
    ];
    assert_eq!(policies, expected);
    for policy in &policies {
        assert_eq!(Direction::of_index(policy.index), policy.direction);
        assert_eq!((policy.usage.bytes, policy.usage.packets, policy.usage.use_time), (0, 0, 0));
        assert!(policy.usage.add_time > 1_700_000_000, "seconds since 1970");
    }
    assert!(matches!(message("policy-dump-answer-3").body, Body::Done(ack) if ack.code == 0));
}

#[test]
fn sa_requests_say_what_the_command_says() {
    assert_eq!(new_sa("sa-add-gcm-esn-request"), gcm_esn());
    let mut expected = cbc_hmac();
    // What iproute2 sends for no selector.
    expected.selector = new_sa("sa-add-cbc-hmac-request").selector;
    assert_eq!(new_sa("sa-add-cbc-hmac-request"), expected);
    let Body::UpdateSa(updated) = message("sa-update-larval-request").body else { panic!() };
    assert_eq!(updated.id, SaId::esp(ip("10.0.0.1"), 0x300));
    assert_eq!((updated.limits.soft_packets, updated.limits.hard_packets), (1, 2));
    assert_eq!(updated.aead, Some(gcm()));
}

#[test]
fn dumped_sas_are_the_ones_added() {
    let dumped = new_sa("sa-dump-answer-1");
    // The mark is kept under its mask.
    let output_mark = Some(Mark { value: 7, mask: 0xf0 });
    assert_eq!(dumped, Sa { usage: dumped.usage, output_mark, ..gcm_esn() });

    let dumped = new_sa("sa-dump-answer-0");
    let selector = Selector { any_family: true, ..dumped.selector };
    assert_eq!(dumped.selector, selector);
    assert_eq!(dumped, Sa { usage: dumped.usage, replay: Some(Replay::default()), selector, ..cbc_hmac() });
    assert_eq!(new_sa("sa-get-answer"), dumped);
}

#[test]
fn sa_queries_name_destination_spi_and_protocol() {
    let id = SaId::esp(ip("fd00::1"), 0x200);
    let Body::GetSa(query) = message("sa-get-request").body else { panic!() };
    assert_eq!((query.id, query.mark), (id, None));
    let Body::DeleteSa(query, None) = message("sa-delete-request").body else { panic!() };
    assert_eq!(query.id, id);
    assert_eq!(query.source, Some(ip("fd00::2")));
    assert_eq!(message("state-dump-request").body, Body::DumpSas(SaFilter::ALL));
    assert_eq!(message("state-flush-request").body, Body::FlushSas(Protocol::ANY));
}

#[test]
fn an_allocated_spi_comes_in_a_larval_sa() {
    let Body::AllocSpi(request) = message("state-allocspi-request").body else { panic!() };
    let expected =
        SpiRequest { reqid: 7, min: 0x1000, max: 0x1fff, ..SpiRequest::esp(ip("10.0.0.2"), ip("10.0.0.1")) };
    assert_eq!(*request, expected);
    let sa = new_sa("state-allocspi-answer");
    assert!(sa.is_larval());
    assert!((0x1000..=0x1fff).contains(&sa.id.spi));
    assert_eq!((sa.source, sa.id.destination, sa.reqid), (ip("10.0.0.2"), ip("10.0.0.1"), 7));
    assert!(sa.selector.any_family, "the kernel leaves the family out");
    assert_eq!(sa.selector.source, Prefix::host(ip("10.0.0.2")), "and yet gives addresses");
    assert_eq!(sa.limits.hard_add_seconds, 30);
}

#[test]
fn an_acquire_names_packet_policy_and_template() {
    let Body::Acquire(acquire) = message("event-acquire").body else { panic!() };
    assert_eq!(acquire.id, SaId::esp(ip("10.0.0.2"), 0));
    assert_eq!(acquire.source, ip("10.0.0.1"));
    assert_eq!(acquire.selector.destination_port, PortMatch::exactly(99));
    assert_eq!(acquire.selector.protocol, Protocol::UDP);
    assert_eq!(acquire.selector.interface, 1);
    assert_eq!(acquire.policy, kept(transport(), acquire.policy.index, acquire.policy.usage));
    assert_eq!((acquire.aalgos, acquire.ealgos, acquire.calgos), (u32::MAX, u32::MAX, u32::MAX));
    assert_ne!(acquire.seq, 0);
    let larval = new_sa("state-dump-acquire");
    assert_eq!((larval.id, larval.source, larval.seq), (acquire.id, acquire.source, acquire.seq));
    assert_eq!(larval.direction, Some(SaDirection::OUT));
    let request = acquire.spi_request(0x100, 0xffff);
    let wanted = SpiRequest {
        reqid: 7,
        max: 0xffff,
        seq: acquire.seq,
        ..SpiRequest::esp(larval.source, ip("10.0.0.2"))
    };
    assert_eq!(request, wanted);
}

#[test]
fn expires_say_whether_the_object_is_gone() {
    let Body::Expire(soft) = message("event-sa-expire-soft").body else { panic!() };
    let Body::Expire(hard) = message("event-sa-expire-hard").body else { panic!() };
    assert_eq!((soft.hard, hard.hard), (false, true));
    assert_eq!(
        (soft.sa.id, hard.sa.id),
        (SaId::esp(ip("10.0.0.2"), 0x400), SaId::esp(ip("10.0.0.2"), 0x400))
    );
    assert_eq!((soft.sa.usage.packets, hard.sa.usage.packets), (1, 2));
    let Body::Expire(larval) = message("event-larval-expire").body else { panic!() };
    assert!(larval.hard && larval.sa.reqid == 8);
    let Body::PolicyExpire(expire) = message("event-policy-expire").body else { panic!() };
    assert!(expire.hard);
    assert_eq!(expire.policy.selector, host_to_host("10.9.9.1", "10.9.9.2"));
}

#[test]
fn events_of_deletion_bring_what_was_deleted() {
    let Body::DeletePolicy(query, Some(policy)) = message("event-policy-deleted-by-index").body else {
        panic!()
    };
    assert_eq!(query, PolicyQuery::by_index(81));
    assert_eq!(*policy, kept(exclusion(), 81, policy.usage));

    let Body::DeletePolicy(query, Some(policy)) = message("event-policy-deleted-by-selector").body else {
        panic!()
    };
    assert_eq!(query.key, PolicyKey::Selector(neighbour_discovery().selector));
    assert_eq!(*policy, kept(neighbour_discovery(), policy.index, policy.usage));

    let Body::DeleteSa(query, Some(sa)) = message("event-sa-deleted").body else { panic!() };
    assert_eq!(query.id, SaId::esp(ip("fd00::1"), 0x200));
    assert_eq!((sa.id, sa.encryption.clone()), (query.id, cbc_hmac().encryption));
    assert!(sa.other.is_empty(), "{:?}", sa.other);
}

#[test]
fn events_of_change_bring_what_is_now() {
    let sa = new_sa("event-sa-new");
    assert_eq!(sa, Sa { usage: sa.usage, ..gcm_esn() });
    let Body::UpdateSa(sa) = message("event-sa-updated").body else { panic!() };
    assert_eq!((sa.id.spi, sa.limits.hard_packets), (0x300, 2));
    let Body::UpdatePolicy(policy) = message("event-policy-updated").body else { panic!() };
    assert_eq!(*policy, kept(neighbour_discovery(), policy.index, policy.usage));
    assert_eq!(message("event-sas-flushed").body, Body::FlushSas(Protocol::ANY));
    assert_eq!(message("event-policies-flushed").body, Body::FlushPolicies(Some(PolicyType::MAIN)));
}

#[test]
fn a_mapping_tells_old_and_new_port() {
    let Body::Mapping(mapping) = message("event-mapping").body else { panic!() };
    assert_eq!(mapping.id, SaId::esp(ip("10.1.0.2"), 0x500));
    assert_eq!(mapping.reqid, 3);
    assert_eq!((mapping.old_source, mapping.new_source), (ip("10.1.0.1"), ip("10.1.0.1")));
    assert_eq!((mapping.old_port, mapping.new_port), (4500, 4501));
}

#[test]
fn refusals_bring_errno_and_the_kernels_words() {
    let Body::Error(ack) = message("state-add-refused-answer").body else { panic!() };
    assert_eq!(Errno::from_raw(-ack.code), Errno::ENOSYS);
    assert_eq!(ack.text.as_deref(), Some("Requested AEAD algorithm not found"));
    let Body::Error(ack) = message("state-delete-missing-answer").body else { panic!() };
    assert_eq!((Errno::from_raw(-ack.code), ack.text), (Errno::ESRCH, None));
    let Body::Error(ack) = message("sa-add-again-answer").body else { panic!() };
    assert_eq!(Errno::from_raw(-ack.code), Errno::EEXIST);
    assert!(matches!(message("state-flush-answer").body, Body::Error(ack) if ack.code == 0));
}

#[test]
fn policy_flags_are_the_kernels_bits() {
    assert_eq!(PolicyFlags::LOCALOK.with(PolicyFlags::ICMP), PolicyFlags(3));
    assert!(SaFlags(0x90).contains(SaFlags::ESN) && !SaFlags(0x10).contains(SaFlags::ESN));
}

//! `setkey -D` and `-DP`, octet for octet.

use std::net::IpAddr;

use xfrm_sys::constants::XFRMA_ALG_COMP;
use xfrm_sys::{
    Action, Aead, AlgorithmName, Attribute, Authentication, Direction, Encap, Encryption, FakeKernel, Key,
    Level, Mode, Policy, PolicyType, PortMatch, Prefix, Protocol, ReplayEsn, Sa, SaFlags, SaId, Selector,
    Template, Xfrm,
};

use super::*;
use crate::setkey::dump_spd::priority_text;
use crate::setkey::{Ports, SocketPolicies, dump_policies, dump_sas, policies_text, sas_text};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn octets(count: u8) -> Key {
    Key::new((0..count).map(|n| (n % 16) * 0x11).collect())
}

fn cbc(key: u8) -> Option<Encryption> {
    Some(Encryption { name: AlgorithmName::CBC_AES, key: octets(key) })
}

fn hmac(name: AlgorithmName, key: u8, bits: u32) -> Option<Authentication> {
    Some(Authentication { name, key: octets(key), truncation_bits: Some(bits) })
}

/// The SA of the specification's example.
pub(super) fn example() -> Sa {
    let mut sa = Sa::new(address("203.0.113.9"), SaId::esp(address("198.51.100.7"), 0xdead_beef));
    sa.mode = Mode::TUNNEL;
    sa.reqid = 4;
    sa.replay_window = 32;
    sa.encryption = cbc(16);
    sa.authentication = hmac(AlgorithmName::HMAC_SHA1, 20, 96);
    sa.limits.hard_add_seconds = 3600;
    sa.limits.soft_add_seconds = 2880;
    sa
}

const TUNNEL: &str = "203.0.113.9 198.51.100.7 
\tesp mode=tunnel spi=3735928559(0xdeadbeef) reqid=4(0x00000004)
\tE: aes-cbc  00112233 44556677 8899aabb ccddeeff
\tA: hmac-sha1  00112233 44556677 8899aabb ccddeeff 00112233
\tseq=0x00000000 replay=4 flags=0x00000000 state=mature 
\tcreated: Nov  3 09:15:40 2021\tcurrent: Nov  3 09:17:44 2021
\tdiff: 124(s)\thard: 3600(s)\tsoft: 2880(s)
\tlast: Nov  3 09:17:31 2021\thard: 0(s)\tsoft: 0(s)
\tcurrent: 5040(bytes)\thard: 0(bytes)\tsoft: 0(bytes)
\tallocated: 36\thard: 0\tsoft: 0
\tsadb_seq=0 pid=40110 refcnt=0
";

fn kernel_with_the_example() -> FakeKernel {
    let mut fake = FakeKernel::new();
    fake.set_time(NOW - 124);
    fake.add_sa(&example()).unwrap();
    fake.set_time(NOW - 13);
    fake.carry(example().id, 36, 5040);
    fake
}

#[test]
fn an_sa_is_printed_as_the_specification_has_it() {
    let mut fake = kernel_with_the_example();
    assert_eq!(*dump_sas(&mut fake, None, &scene(), Ports::WhereUsed).unwrap(), TUNNEL);
    assert_eq!(*dump_sas(&mut fake, Some(Protocol::ESP), &scene(), Ports::WhereUsed).unwrap(), TUNNEL);
    assert_eq!(
        *dump_sas(&mut fake, Some(Protocol::AH), &scene(), Ports::WhereUsed).unwrap(),
        "No SAD entries.\n"
    );
}

#[test]
fn encapsulated_and_aead_sas_have_ports_and_one_key() {
    let mut sa = Sa::new(address("192.0.2.1"), SaId::esp(address("192.0.2.2"), 0x1000));
    sa.encap = Some(Encap { original_address: Some(address("10.0.0.7")), ..Encap::udp(4500, 1027) });
    sa.aead = Some(Aead { name: AlgorithmName::RFC4106_GCM_AES, key: octets(36), icv_bits: 128 });
    sa.flags = SaFlags::ESN;
    sa.replay_esn = Some(ReplayEsn::new(1024));
    sa.usage.add_time = NOW;
    let expected = "192.0.2.1[4500] 192.0.2.2[1027] 
\tesp-udp mode=transport spi=4096(0x00001000) reqid=0(0x00000000)
\tNAT OA=10.0.0.7
\tE: aes-gcm-16  00112233 44556677 8899aabb ccddeeff 00112233 44556677 8899aabb ccddeeff
 00112233
\tseq=0x00000000 replay=128 flags=0x00000000 state=mature 
\tcreated: Nov  3 09:17:44 2021\tcurrent: Nov  3 09:17:44 2021
\tdiff: 0(s)\thard: 0(s)\tsoft: 0(s)
\tlast:                     \thard: 0(s)\tsoft: 0(s)
\tcurrent: 0(bytes)\thard: 0(bytes)\tsoft: 0(bytes)
\tallocated: 0\thard: 0\tsoft: 0
\tsadb_seq=0 pid=40110 refcnt=0
";
    assert_eq!(*sas_text(&[sa], &scene(), Ports::WhereUsed), expected);
}

#[test]
fn long_keys_are_broken_and_null_and_deflate_are_as_they_were() {
    let mut long = example();
    long.encryption = Some(Encryption { name: AlgorithmName::ECB_CIPHER_NULL, key: octets(0) });
    long.authentication = hmac(AlgorithmName::HMAC_SHA512, 64, 256);
    let text = sas_text(&[long], &scene(), Ports::WhereUsed);
    let key = "00112233 44556677 8899aabb ccddeeff 00112233 44556677 8899aabb ccddeeff";
    let expected = format!("(0x00000004)\n\tA: hmac-sha512  {key}\n {key}\n\tseq=0x");
    assert!(text.contains(&expected), "{}", *text);

    let mut null = example();
    null.authentication = hmac(AlgorithmName::new("digest_null"), 0, 0);
    let text = sas_text(&[null], &scene(), Ports::WhereUsed);
    assert!(text.contains("ccddeeff\n\tseq=0x"), "{}", *text);

    let id = SaId { protocol: Protocol::IPCOMP, ..SaId::esp(address("192.0.2.2"), 0x1234) };
    let mut compressed = Sa::new(address("192.0.2.1"), id);
    let comp = [b"deflate".as_slice(), &[0; 61]].concat();
    compressed.other = vec![Attribute { kind: XFRMA_ALG_COMP, value: comp.into() }];
    let text = sas_text(&[compressed], &scene(), Ports::Always);
    let expected = "192.0.2.1[0] 192.0.2.2[0] 
\tipcomp mode=transport spi=4660(0x00001234) reqid=0(0x00000000)
\tC: deflate \tseq=0x00000000 replay=0 flags=0x00000000 state=mature ";
    assert!(text.starts_with(expected), "{}", *text);
}

#[test]
fn algorithms_are_called_by_setkeys_names() {
    for (name, expected) in [
        ("cbc(des3_ede)", "3des-cbc"),
        ("cbc(blowfish)", "blowfish-cbc"),
        ("cbc(cast5)", "cast128-cbc"),
        ("cbc(twofish)", "twofish-cbc"),
        ("cbc(camellia)", "camellia-cbc"),
        ("rfc3686(ctr(aes))", "aes-ctr"),
        ("cbc(serpent)", "cbc(serpent)"),
    ] {
        let mut sa = example();
        sa.encryption = Some(Encryption { name: AlgorithmName::new(name), key: octets(4) });
        let text = sas_text(&[sa], &scene(), Ports::WhereUsed);
        assert!(text.contains(&format!("\tE: {expected}  00112233\n")), "{}", *text);
    }
    for (name, expected) in [
        ("hmac(md5)", "hmac-md5"),
        ("hmac(sha256)", "hmac-sha256"),
        ("hmac(sha384)", "hmac-sha384"),
        ("hmac(rmd160)", "hmac-ripemd160"),
        ("xcbc(aes)", "aes-xcbc-mac"),
        ("cmac(aes)", "cmac(aes)"),
    ] {
        let mut sa = example();
        sa.authentication = hmac(AlgorithmName::new(name), 4, 128);
        let text = sas_text(&[sa], &scene(), Ports::WhereUsed);
        assert!(text.contains(&format!("\tA: {expected}  00112233\n")), "{}", *text);
    }
}

#[test]
fn the_newest_sa_comes_first_and_the_last_block_is_numbered_zero() {
    let mut fake = FakeKernel::new();
    for spi in [0x1001, 0x1002, 0x1003] {
        let mut sa = example();
        sa.id.spi = spi;
        fake.add_sa(&sa).unwrap();
    }
    let text = dump_sas(&mut fake, None, &scene(), Ports::WhereUsed).unwrap();
    let after = |word: &str| -> Vec<String> {
        text.split_whitespace().filter_map(|w| w.strip_prefix(word)).map(str::to_owned).collect()
    };
    assert_eq!(after("spi="), ["4099(0x00001003)", "4098(0x00001002)", "4097(0x00001001)"]);
    assert_eq!(after("sadb_seq="), ["1", "2", "0"]);
}

#[test]
fn an_sa_without_keys_is_larval_and_one_past_its_soft_limit_is_dying() {
    let mut used_up = example();
    used_up.limits.soft_bytes = 1000;
    used_up.usage.bytes = 1000;
    let mut old = example();
    old.usage.add_time = NOW - 2880;
    let larval = Sa::new(address("192.0.2.1"), SaId::esp(address("192.0.2.2"), 0));
    for (sa, expected) in [(example(), "mature"), (used_up, "dying"), (old, "dying"), (larval, "larval")] {
        let text = sas_text(&[sa], &scene(), Ports::WhereUsed);
        assert!(text.contains(&format!(" state={expected} \n")), "{expected}: {}", *text);
    }
}

fn policy(source: &str, destination: &str, direction: Direction) -> Policy {
    let prefix = |text: &str| {
        let (address, length) = text.split_once('/').unwrap();
        Prefix { address: address.parse().unwrap(), length: length.parse().unwrap() }
    };
    let selector = Selector::new(prefix(source), prefix(destination));
    Policy { priority: 0x8000_0000, ..Policy::new(selector, direction) }
}

/// A policy of a mesh.
pub(super) fn policy_example(source: &str, destination: &str) -> Policy {
    let mut policy = policy(source, destination, Direction::OUT);
    policy.templates = vec![Template::esp_transport(address("0.0.0.0"))];
    policy
}

/// The policy of the specification's example.
fn forward() -> Policy {
    let mut policy = policy("10.10.0.0/24", "10.20.0.0/16", Direction::FWD);
    policy.priority = 0x4000_0001;
    policy.index = 1330;
    let tunnel = Template::esp_tunnel(address("198.51.100.7"), address("203.0.113.9"));
    policy.templates = vec![Template { reqid: 4, ..tunnel }];
    policy
}

const FORWARD: &str = "10.10.0.0/24[any] 10.20.0.0/16[any] 255
\tfwd prio high - 1 ipsec
\tesp/tunnel/198.51.100.7-203.0.113.9/unique:4
\tcreated: Nov  3 09:15:22 2021  lastused:                     
\tlifetime: 0(s) validtime: 0(s)
\tspid=1330 seq=0 pid=40110
\trefcnt=1
";

#[test]
fn a_policy_is_printed_as_the_specification_has_it() {
    let mut fake = FakeKernel::new();
    fake.set_time(NOW - 142);
    fake.add_policy(&forward()).unwrap();
    let text = dump_policies(&mut fake, SocketPolicies::Shown, &scene(), Ports::WhereUsed).unwrap();
    assert_eq!(text, FORWARD);
    let text = dump_policies(&mut fake, SocketPolicies::Shown, &scene(), Ports::Always).unwrap();
    assert!(text.contains("\n\tesp/tunnel/198.51.100.7[0]-203.0.113.9[0]/unique:4\n"), "{text}");
    fake.flush_policies().unwrap();
    let text = dump_policies(&mut fake, SocketPolicies::Shown, &scene(), Ports::WhereUsed).unwrap();
    assert_eq!(text, "No SPD entries.\n");
}

#[test]
fn selectors_actions_and_rules_have_their_words() {
    let first_lines = |policy: &Policy| -> Vec<String> {
        let text =
            policies_text(std::slice::from_ref(policy), SocketPolicies::Shown, &scene(), Ports::WhereUsed);
        text.lines().take_while(|line| !line.contains("created")).map(str::to_owned).collect()
    };
    let mut ssh = policy("0.0.0.0/0", "192.0.2.1/32", Direction::IN);
    ssh.selector.protocol = Protocol::TCP;
    ssh.selector.destination_port = PortMatch::exactly(22);
    assert_eq!(first_lines(&ssh), ["0.0.0.0/0[any] 192.0.2.1[22] tcp", "\tin prio def none"]);

    let mut echo = policy("::/0", "2001:db8::1/128", Direction::OUT);
    echo.action = Action::BLOCK;
    echo.selector.protocol = Protocol::ICMPV6;
    assert_eq!(first_lines(&echo), ["::/0 2001:db8::1 ipv6-icmp", "\tout prio def discard"]);
    echo.selector.source_port = PortMatch::exactly(128);
    echo.selector.destination_port = PortMatch::exactly(0);
    assert_eq!(first_lines(&echo)[0], "::/0 2001:db8::1 ipv6-icmp 128,0");

    let mut gre = policy("192.0.2.0/24", "192.0.2.1/32", Direction::OUT);
    gre.selector.protocol = Protocol(47);
    gre.selector.source_port = PortMatch::exactly(0x0102);
    gre.selector.destination_port = PortMatch::exactly(0x0304);
    gre.templates = vec![
        Template::esp_transport(address("0.0.0.0")),
        Template { protocol: Protocol::AH, reqid: 16384, ..Template::esp_transport(address("0.0.0.0")) },
        Template {
            protocol: Protocol::IPCOMP,
            level: Level::Optional,
            ..Template::esp_transport(address("0.0.0.0"))
        },
    ];
    assert_eq!(
        first_lines(&gre),
        [
            "192.0.2.0/24 192.0.2.1 gre 16909060",
            "\tout prio def ipsec",
            "\tesp/transport//require",
            "\tah/transport//unique#16384",
            "\tipcomp/transport//use"
        ]
    );

    let socket =
        Policy { direction: Direction(3), priority: 0, ..policy("0.0.0.0/0", "0.0.0.0/0", Direction(3)) };
    assert_eq!(first_lines(&socket), ["(per-socket policy) ", "\tin(socket) none"]);
    let other = Policy { direction: Direction(4), ..socket.clone() };
    assert_eq!(first_lines(&other)[1], "\tout(socket) none");
}

#[test]
fn policies_of_sockets_can_be_hidden_and_the_last_one_shown_is_numbered_zero() {
    let socket = Policy { direction: Direction(3), ..forward() };
    let sub = Policy { policy_type: Some(PolicyType::SUB), ..forward() };
    let numbers = |policies: &[Policy], sockets| -> Vec<String> {
        let text = policies_text(policies, sockets, &scene(), Ports::WhereUsed);
        text.split_whitespace().filter_map(|word| word.strip_prefix("seq=")).map(str::to_owned).collect()
    };
    let all = [forward(), socket, forward(), sub];
    assert_eq!(numbers(&all, SocketPolicies::Shown), ["1", "2", "0"]);
    assert_eq!(numbers(&all, SocketPolicies::Hidden), ["1", "0"]);
    assert_eq!(
        policies_text(&all[1..2], SocketPolicies::Hidden, &scene(), Ports::WhereUsed),
        "No SPD entries.\n"
    );
}

/// The vectors of racoon-compat.md, 3.5.
#[test]
fn priorities_are_printed_from_the_nearest_base() {
    for (priority, expected) in [
        (2_147_483_647, " prio def + 1"),
        (2_147_483_649, " prio def - 1"),
        (0, ""),
        (4_294_967_295, " prio low - 1073741823"),
        (2_147_483_648, " prio def"),
        (0x4000_0000, " prio high"),
        (0x4000_0001, " prio high - 1"),
        (1, " prio high + 1073741823"),
        (0x5fff_ffff, " prio high - 536870911"),
        (0x6000_0000, " prio def + 536870912"),
        (0x9fff_ffff, " prio def - 536870911"),
        (0xA000_0000, " prio low + 536870912"),
        (0xC000_0000, " prio low"),
    ] {
        assert_eq!(priority_text(priority), expected, "{priority}");
    }
}

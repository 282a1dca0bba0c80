use core::time::Duration;
use std::net::IpAddr;

use ike_proto::wire::registry::{EncrId, IntegId, KeId, PrfId};

use super::model::*;
use super::*;
use crate::files::Memory;
use crate::net::{Endpoint, IpNet};

mod leniency;
mod options;

const PROPOSAL: &str = "proposal { encryption_algorithm aes 256; hash_algorithm sha256;
    authentication_method pre_shared_key; dh_group modp3072; }";
const SAINFO: &str =
    "{ encryption_algorithm aes; authentication_algorithm hmac_sha256; compression_algorithm deflate; }";

fn parse_text(text: &str, files: &Memory) -> (Option<RacoonConfig>, String) {
    let (config, diagnostics) = parse(Path::new("/etc/racoon/racoon.conf"), text.as_bytes(), files);
    (config, diagnostics.to_string().replace("/etc/racoon/racoon.conf:", ""))
}

/// What is said, but for the warning about `exchange_mode`.
fn said(text: &str) -> String {
    let said = parse_text(text, &Memory::new()).1;
    said.lines()
        .filter(|line| !line.contains("exchange_mode` has no"))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn config(text: &str) -> RacoonConfig {
    let (config, said) = parse_text(text, &Memory::new());
    config.unwrap_or_else(|| panic!("{said}"))
}

fn remote_text(options: &str) -> String {
    format!("remote anonymous {{ exchange_mode main; {PROPOSAL}\n{options} }}")
}

fn remote(options: &str) -> Remote {
    config(&remote_text(options)).remotes.remove(0)
}

fn remote_said(options: &str) -> String {
    said(&remote_text(options))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_plain_remote_has_racoons_and_coatis_defaults() {
    let remote = remote("");
    assert_eq!(remote.selector, RemoteSelector::Anonymous { port: None });
    assert_eq!(remote.my_identifier, Identifier::Address(None));
    assert_eq!(remote.nat_traversal, NatTraversal::On);
    assert_eq!(remote.lifetime, Duration::from_secs(28800));
    assert!(remote.ike_frag && remote.initial_contact && !remote.passive && !remote.verify_identifier);
    assert_eq!((remote.dpd_delay, remote.dpd_retry, remote.dpd_maxfail), (None, None, None));
    assert_eq!(remote.generate_policy, GeneratePolicy::Off);
    let [proposal] = remote.proposals.as_slice() else { panic!() };
    assert_eq!((proposal.encr, proposal.key_bits), (EncrId::AES_CBC, Some(256)));
    assert_eq!((proposal.integ, proposal.prf), (Some(IntegId::HMAC_SHA2_256_128), PrfId::HMAC_SHA2_256));
    assert_eq!(
        (proposal.ke.as_slice(), proposal.auth),
        (&[KeId::MODP3072][..], Authentication::PreSharedKey)
    );
}

#[test]
fn every_option_of_remote_reaches_the_model() {
    let remote = remote(
        "my_identifier fqdn \"a.example.org\"; peers_identifier user_fqdn \"b@example.org\";
        peers_identifier keyid tag \"group\"; verify_identifier on; nonce_size 32; passive on; generate_policy unique;
        initial_contact off; lifetime time 90 min; nat_traversal force; ike_frag off; dpd_delay 20; dpd_retry 3;
        dpd_maxfail 4; ph1id 16; send_cert off; send_cr off; doi ipsec_doi; situation identity_only;
        support_proxy on; support_mip6 on; proposal_check claim; match_empty_cr on; mode_cfg off; dpd on; rekey force;
        script \"up.sh\" phase1_up; script \"/bin/down\" phase1_down;",
    );
    assert_eq!(remote.my_identifier, Identifier::Fqdn("a.example.org".into()));
    let peers = [Identifier::UserFqdn("b@example.org".into()), Identifier::KeyId(b"group".to_vec())];
    assert_eq!(remote.peers_identifiers, peers);
    assert!(remote.verify_identifier && remote.passive && !remote.initial_contact && !remote.ike_frag);
    assert_eq!(remote.nonce_octets, Some(32));
    assert_eq!(remote.generate_policy, GeneratePolicy::Unique);
    assert_eq!(remote.lifetime, Duration::from_secs(5400));
    assert_eq!(remote.proposals[0].lifetime, Duration::from_secs(5400));
    assert_eq!(remote.nat_traversal, NatTraversal::Force);
    assert_eq!(
        (remote.dpd_delay, remote.dpd_retry),
        (Some(Duration::from_secs(20)), Some(Duration::from_secs(3)))
    );
    assert_eq!((remote.dpd_maxfail, remote.ph1id), (Some(4), 16));
    assert!(!remote.send_cert && !remote.send_certreq);
    let scripts: Vec<_> = remote.scripts.iter().map(|s| (s.path.to_str().unwrap(), s.event)).collect();
    let expected =
        [("/etc/racoon/scripts/up.sh", ScriptEvent::Phase1Up), ("/bin/down", ScriptEvent::Phase1Down)];
    assert_eq!(scripts, expected);
}

#[test]
fn every_wish_beyond_the_usual_is_noted_with_its_place() {
    let config = config(&remote_text(
        "\n passive on;\n ike_frag off; initial_contact on; nat_traversal on;\n ph1id 1;",
    ));
    let wishes: Vec<_> = config.uses.iter().map(|wish| (wish.feature, wish.place.line)).collect();
    assert_eq!(wishes, [(Feature::Passive, 4), (Feature::NoFragmentation, 5), (Feature::RemoteId, 6)]);
    let refused = config.refuse_all_but(&[Feature::Passive, Feature::RemoteId]).to_string();
    assert_eq!(refused, "/etc/racoon/racoon.conf:5:2: error: `ike_frag off` is not supported yet\n");
    assert!(
        config.refuse_all_but(&[Feature::Passive, Feature::RemoteId, Feature::NoFragmentation]).is_empty()
    );
}

#[test]
fn top_level_statements_reach_the_model() {
    let config = config(
        "path pre_shared_key \"keys/psk.txt\"; path certificate \"/certs\"; path script \"hooks\"; path pidfile \"c.pid\";
        log debug2; pfkey_buffer 512; complex_bundle on; gss_id_enc utf-16le;
        listen { isakmp 192.0.2.1 [500]; isakmp fe80::1%eth0; isakmp_natt 192.0.2.1; strict_address;
            adminsock \"/run/r.sock\" \"root\" \"operator\" 0660; }
        timer { counter 7; interval 20 sec; persend 1; phase1 2 min; phase2 15 secs; natt_keepalive 0 sec; }
        padding { randomize off; randomize_length on; maximum_length 20; strict_check off; exclusive_tail on; }
        privsep { user \"racoon\"; group 42; chroot \"/var/empty\"; }",
    );
    assert_eq!(config.pre_shared_key, Path::new("/etc/racoon/keys/psk.txt"));
    assert_eq!(config.certificate_dir, Path::new("/certs"));
    assert_eq!(config.script_dir, Path::new("/etc/racoon/hooks"));
    assert_eq!(config.pid_file.as_deref(), Some(Path::new("/var/run/c.pid")));
    assert_eq!((config.log_level, config.kernel_buffer_kb), (LogLevel::Debug2, Some(512)));
    let listen = &config.listen;
    let isakmp: Vec<String> = listen.isakmp.iter().map(Endpoint::to_string).collect();
    assert_eq!(isakmp, ["192.0.2.1[500]", "fe80::1%eth0"]);
    assert_eq!(listen.isakmp_natt, [Endpoint::new(address("192.0.2.1"))]);
    assert!(listen.strict_address);
    let socket = AdminSocket::At {
        path: "/run/r.sock".into(),
        owner: Some("root".into()),
        group: Some("operator".into()),
        mode: Some(0o660),
    };
    assert_eq!(listen.admin_socket, socket);
    let seconds = |n| Some(Duration::from_secs(n));
    let timers = Timers {
        counter: Some(7),
        interval: seconds(20),
        phase1: seconds(120),
        phase2: seconds(15),
        natt_keepalive: seconds(0),
    };
    assert_eq!(config.timers, timers);
    let privsep = config.privsep.unwrap();
    assert_eq!((privsep.user.as_deref(), privsep.group.as_deref()), (Some("racoon"), Some("42")));
    assert_eq!(privsep.chroot.as_deref(), Some(Path::new("/var/empty")));
}

#[test]
fn an_empty_file_has_the_default_paths() {
    let config = config("");
    assert_eq!(config.pre_shared_key, Path::new(DEFAULT_PRE_SHARED_KEY));
    assert_eq!(config.log_level, LogLevel::Info);
    assert!(config.remotes.is_empty() && config.uses.is_empty());
}

#[test]
fn glued_numbers_and_odd_layout_are_read_as_racoon_read_them() {
    let config = config(
        "timer{interval 10sec;phase1 30\n sec;}remote anonymous{exchange_mode main,aggressive base;
        dpd_delay20;proposal{encryption_algorithm aes128;hash_algorithm sha2_256;
        authentication_method pre_shared_key;dh_group modp2048;lifetime time 12hour;}}
        sainfo anonymous{encryption_algorithm rijndael192 , aes 256;authentication_algorithm hmac_sha512
        ;compression_algorithm deflate;}",
    );
    assert_eq!(config.timers.interval, Some(Duration::from_secs(10)));
    assert_eq!(config.remotes[0].dpd_delay, Some(Duration::from_secs(20)));
    assert_eq!(config.remotes[0].proposals[0].key_bits, Some(128));
    assert_eq!(config.remotes[0].proposals[0].lifetime, Duration::from_secs(43200));
    let bits: Vec<_> = config.sainfos[0].proposals.iter().map(|p| p.key_bits).collect();
    assert_eq!(bits, [Some(192), Some(256)]);
}

#[test]
fn equal_signs_and_parentheses_are_taken_with_a_warning_and_the_value_meant() {
    let (found, said) = parse_text(&remote_text("\ndpd_delay = 30;\ndpd_retry =7;"), &Memory::new());
    let remote = found.unwrap().remotes.remove(0);
    assert_eq!(
        (remote.dpd_delay, remote.dpd_retry),
        (Some(Duration::from_secs(30)), Some(Duration::from_secs(7)))
    );
    assert!(said.contains("4:11: warning: `=` does not belong here"), "{said}");
    assert!(said.contains("5:11: warning: `=`"), "{said}");
    let text = format!("sainfo (address 10.0.0.0/8 any address 10.1.0.0/16[any] tcp) {SAINFO}");
    let (found, said) = parse_text(&text, &Memory::new());
    assert_eq!(found.unwrap().sainfos.len(), 1);
    assert_eq!(said.matches("parentheses mean nothing").count(), 1, "{said}");
}

#[test]
fn weak_algorithms_are_replaced_with_one_warning_a_line() {
    let text = "remote anonymous { exchange_mode main;
proposal {
 encryption_algorithm 3des;
 hash_algorithm md5;
 authentication_method pre_shared_key;
 dh_group 2;
} }
sainfo anonymous {
 pfs_group modp768;
 encryption_algorithm des, blowfish 448, null_enc;
 authentication_algorithm hmac_md5, non_auth;
 compression_algorithm deflate;
}
sainfo address 10.0.0.1 any address 10.0.0.2 any {
 encryption_algorithm aes, 3des;
 authentication_algorithm hmac_md5;
 compression_algorithm deflate;
}
";
    let expected = "3:23: warning: `3des` is weak and never used: AES-256-GCM is used instead
4:17: warning: `md5` is weak and never used: SHA2-256 is used instead
6:11: warning: group `2` is weak and never used: curve25519, ecp256, ecp384, modp3072 and modp4096 are used instead
9:12: warning: group `modp768` is weak and never used: curve25519, ecp256, ecp384, modp3072 and modp4096 are used instead
10:23: warning: `des`, `blowfish`, `null_enc` are weak and never used: AES-256-GCM is used instead
11:27: warning: `hmac_md5`, `non_auth` are weak and never used: the cipher authenticates by itself
15:28: warning: `3des` is weak and never used: the others that are listed are used
16:27: warning: `hmac_md5` is weak and never used: HMAC-SHA2-256 is used instead
";
    assert_eq!(said(text), expected);
    let config = config(text);
    let proposal = &config.remotes[0].proposals[0];
    assert_eq!((proposal.encr, proposal.key_bits, proposal.integ), (EncrId::AES_GCM_16, Some(256), None));
    assert_eq!(proposal.prf, PrfId::HMAC_SHA2_256);
    let groups = [KeId::CURVE25519, KeId::ECP256, KeId::ECP384, KeId::MODP3072, KeId::MODP4096];
    assert_eq!(proposal.ke, groups);
    let [specific, anonymous] = config.sainfos.as_slice() else { panic!() };
    let gcm = EspProposal { encr: EncrId::AES_GCM_16, key_bits: Some(256), integ: None };
    assert_eq!((anonymous.pfs.as_slice(), anonymous.proposals.as_slice()), (&groups[..], &[gcm][..]));
    let cbc =
        EspProposal { encr: EncrId::AES_CBC, key_bits: Some(128), integ: Some(IntegId::HMAC_SHA2_256_128) };
    assert_eq!((specific.pfs.len(), specific.proposals.as_slice()), (0, &[cbc][..]));
}

#[test]
fn the_dialect_has_curves_gcm_and_chacha() {
    let text = "remote anonymous { exchange_mode main;
        proposal { encryption_algorithm aes_gcm_16; hash_algorithm sha384; authentication_method pre_shared_key; dh_group x25519; }
        proposal { encryption_algorithm chacha20poly1305; hash_algorithm sha512; authentication_method pre_shared_key; dh_group 19; }
        proposal { encryption_algorithm aes_gcm_16 128; hash_algorithm sha256; authentication_method pre_shared_key; dh_group ecp521; } }
        sainfo anonymous { pfs_group 31; encryption_algorithm aes_gcm_16, chacha20poly1305; compression_algorithm deflate; }";
    let config = config(text);
    let proposals: Vec<_> =
        config.remotes[0].proposals.iter().map(|p| (p.encr, p.key_bits, p.integ, p.prf, p.ke[0])).collect();
    let expected = [
        (EncrId::AES_GCM_16, Some(256), None, PrfId::HMAC_SHA2_384, KeId::CURVE25519),
        (EncrId::CHACHA20_POLY1305, None, None, PrfId::HMAC_SHA2_512, KeId::ECP256),
        (EncrId::AES_GCM_16, Some(128), None, PrfId::HMAC_SHA2_256, KeId::ECP521),
    ];
    assert_eq!(proposals, expected);
    assert_eq!(config.sainfos[0].pfs, [KeId::CURVE25519]);
    assert_eq!(config.sainfos[0].proposals.len(), 2);
}

#[test]
fn each_cipher_goes_with_each_integrity_algorithm_in_order() {
    let text = "sainfo anonymous { encryption_algorithm aes 256, aes_gcm_16; encryption_algorithm aes;
        authentication_algorithm hmac_sha512, hmac_sha256; compression_algorithm deflate; lifetime time 1 hour; }";
    let sainfo = config(text).sainfos.remove(0);
    let (sha512, sha256) = (Some(IntegId::HMAC_SHA2_512_256), Some(IntegId::HMAC_SHA2_256_128));
    let proposals: Vec<_> = sainfo.proposals.iter().map(|p| (p.encr, p.key_bits, p.integ)).collect();
    let expected = [
        (EncrId::AES_CBC, Some(256), sha512),
        (EncrId::AES_CBC, Some(256), sha256),
        (EncrId::AES_GCM_16, Some(256), None),
        (EncrId::AES_CBC, Some(128), sha512),
        (EncrId::AES_CBC, Some(128), sha256),
    ];
    assert_eq!(proposals, expected);
    assert_eq!(sainfo.lifetime, Duration::from_secs(3600));
}

#[test]
fn a_child_inherits_overrides_and_appends() {
    let text = format!(
        "remote anonymous {{ exchange_mode main; my_identifier fqdn \"a\"; peers_identifier fqdn \"p\"; dpd_delay 9;
            lifetime time 1 hour; {PROPOSAL} }}
        remote 192.0.2.1 [8000] inherit anonymous {{ my_identifier fqdn \"b\"; peers_identifier fqdn \"q\";
            proposal {{ encryption_algorithm aes 128; hash_algorithm sha256; authentication_method pre_shared_key; dh_group 14; }} }}
        remote 192.0.2.2 inherit 192.0.2.1 [8000];
        remote \"x\" inherit 192.0.2.2 {{ remote_address 192.0.2.3; lifetime time 2 hours; }}"
    );
    let config = config(&text);
    let [first, second, third, fourth] = config.remotes.as_slice() else { panic!() };
    assert_eq!(first.proposals.len(), 1);
    assert_eq!(second.my_identifier, Identifier::Fqdn("b".into()));
    assert_eq!(second.peers_identifiers, [Identifier::Fqdn("q".into())]);
    assert_eq!(second.dpd_delay, Some(Duration::from_secs(9)));
    let bits: Vec<_> = second.proposals.iter().map(|p| p.key_bits).collect();
    assert_eq!(bits, [Some(256), Some(128)]);
    assert_eq!(third.proposals.len(), 2);
    assert_eq!(third.selector, RemoteSelector::Address(Endpoint::new(address("192.0.2.2"))));
    assert_eq!(fourth.proposals[0].lifetime, Duration::from_secs(7200));
    assert_eq!(fourth.selector.address().unwrap().addr, address("192.0.2.3"));
}

#[test]
fn a_named_child_is_for_its_parents_address_unless_it_says_another() {
    let text = format!(
        "remote 192.0.2.1 [600] {{ exchange_mode main; {PROPOSAL} }} remote \"a\" inherit 192.0.2.1 [600]; remote \"b\" inherit \"a\";
        remote \"c\" inherit \"a\" {{ remote_address 192.0.2.3; }} remote anonymous inherit \"c\"; remote 192.0.2.5 inherit \"c\";"
    );
    let addresses: Vec<Option<String>> = config(&text)
        .remotes
        .iter()
        .map(|remote| remote.selector.address().map(ToString::to_string))
        .collect();
    let expected = [
        Some("192.0.2.1[600]"),
        Some("192.0.2.1[600]"),
        Some("192.0.2.1[600]"),
        Some("192.0.2.3"),
        None,
        Some("192.0.2.5"),
    ];
    assert_eq!(addresses, expected.map(|address| address.map(str::to_owned)));
}

#[test]
fn an_inherited_line_is_warned_of_once() {
    let text = "remote \"a\" { exchange_mode main; proposal { encryption_algorithm 3des; hash_algorithm sha256;
        authentication_method rsasig; dh_group 14; } certificate_type x509 \"c\" \"k\"; verify_identifier on; peers_identifier asn1dn; }
        remote \"b\" inherit \"a\" { remote_address 192.0.2.1; }";
    assert_eq!(said(text).matches("3des").count(), 1);
    assert_eq!(
        config(text).refuse_all_but(&[Feature::PeersIdentifier, Feature::VerifyIdentifier]).errors(),
        1
    );
}

#[test]
fn proposals_that_say_the_same_are_there_once() {
    let rsasig = PROPOSAL.replace("pre_shared_key", "rsasig");
    let remote = remote(&format!("{PROPOSAL} {rsasig} {PROPOSAL} certificate_type x509 \"c\" \"k\";"));
    assert_eq!(remote.proposals.len(), 2);
}

#[test]
fn who_has_a_shared_key_needs_no_certificate_to_believe_those_of_others() {
    let rsasig = PROPOSAL.replace("pre_shared_key", "rsasig");
    let warned = |proposals: &str| {
        said(&format!("remote anonymous {{ exchange_mode main; {proposals} }}"))
            .contains("nothing to sign with")
    };
    assert!(warned(&rsasig));
    assert!(!warned(&format!("{PROPOSAL} {rsasig}")));
}

#[test]
fn an_exact_address_beats_anonymous_and_ambiguity_is_told() {
    let body = format!("{{ exchange_mode main; {PROPOSAL} }}");
    let named = format!("remote \"n\" {{ remote_address 192.0.2.9; exchange_mode main; {PROPOSAL} }}");
    let text =
        format!("remote anonymous {body}\nremote 192.0.2.1 [8000] {body}\nremote 192.0.2.1 {body}\n{named}");
    let one = config(&text);
    let line = |peer| one.remote_for(address(peer)).unwrap().unwrap().place.line;
    assert_eq!(line("192.0.2.1"), one.remotes[2].place.line);
    assert_eq!(line("192.0.2.9"), one.remotes[3].place.line);
    assert_eq!(line("203.0.113.1"), 1);
    assert_eq!(one.remotes_for(address("192.0.2.1")).len(), 3);
    assert_eq!(one.remotes_for(address("203.0.113.1")).len(), 1);
    assert_eq!(one.remote_named("n").unwrap().place, one.remotes[3].place);
    let two = config(&format!("{text} remote \"any\" {body}"));
    let ambiguous = two.remote_for(address("203.0.113.1")).unwrap_err();
    assert_eq!(ambiguous.places.len(), 2);
    assert!(two.remote_for(address("192.0.2.1")).is_ok());
    let order: Vec<_> =
        two.remotes_for(address("203.0.113.1")).iter().map(|r| r.selector.to_string()).collect();
    assert_eq!(order, ["\"any\"", "anonymous"]);
    assert!(said(&format!("{text} remote \"any\" {body}")).contains("a second block for any address"));
    assert_eq!(config("").remote_for(address("192.0.2.1")), Ok(None));
}

fn net(text: &str) -> IpNet {
    let (addr, prefix) = text.split_once('/').unwrap();
    IpNet::new(address(addr), prefix.parse().unwrap()).unwrap()
}

#[test]
fn the_most_specific_sainfo_is_chosen_and_containment_does_not_count() {
    let text = format!(
        "sainfo anonymous {SAINFO}
sainfo address 10.0.0.0/8 any address 10.9.0.0/16 any {SAINFO}
sainfo anonymous address 10.9.0.0/16 any {SAINFO}
sainfo address 10.0.0.1 tcp subnet 10.0.0.2/32 tcp {SAINFO}
sainfo anonymous from fqdn \"peer\" {SAINFO}
sainfo anonymous {{ remoteid 7; encryption_algorithm aes; authentication_algorithm hmac_sha256; compression_algorithm deflate; }}
sainfo address 10.5.0.0-10.5.255.255 any address 10.6.0.1 any {SAINFO}
sainfo anonymous clientaddr {SAINFO}"
    );
    let config = config(&text);
    let line = |local: &str, remote: &str, protocol, peer_id: Option<&Identifier>, ph1id| {
        let selector = |text| Selector { net: net(text), protocol };
        let query = SaInfoQuery {
            local: selector(local),
            remote: selector(remote),
            peer: address("192.0.2.77"),
            peer_id,
            ph1id,
        };
        config.sainfo_for(&query).unwrap().place.line
    };
    assert_eq!(line("10.0.0.0/8", "10.9.0.0/16", 0, None, 0), 2);
    assert_eq!(line("10.1.2.3/8", "10.9.9.9/16", 0, None, 0), 2);
    assert_eq!(line("10.1.0.0/16", "10.9.0.0/16", 0, None, 0), 3);
    assert_eq!(line("10.1.0.0/16", "10.9.1.0/24", 0, None, 0), 1);
    assert_eq!(line("10.0.0.1/32", "10.0.0.2/32", 6, None, 0), 4);
    assert_eq!(line("10.0.0.1/32", "10.0.0.2/32", 0, None, 0), 1);
    assert_eq!(line("10.0.0.0/8", "10.9.0.0/16", 0, Some(&Identifier::Fqdn("peer".into())), 0), 5);
    assert_eq!(line("10.0.0.0/8", "10.9.0.0/16", 0, None, 7), 6);
    assert_eq!(line("10.5.0.0/16", "10.6.0.1/32", 0, None, 0), 7);
    assert_eq!(line("10.0.0.1/32", "192.0.2.77/32", 0, None, 0), 8);
}

#[test]
fn identifiers_are_read_by_their_type() {
    let files = Memory::new().with("/etc/racoon/id.bin", b"\x00\x01id");
    let id = |text: &str| {
        let (config, said) = parse_text(&remote_text(&format!("peers_identifier {text};")), &files);
        config.map(|mut config| config.remotes.remove(0).peers_identifiers.remove(0)).ok_or(said)
    };
    assert_eq!(id("address"), Ok(Identifier::Address(None)));
    assert_eq!(id("address 192.0.2.1"), Ok(Identifier::Address(Some(address("192.0.2.1")))));
    assert_eq!(id("address \"2001:db8::1\""), Ok(Identifier::Address(Some(address("2001:db8::1")))));
    assert_eq!(id("fqdn abc.de"), Ok(Identifier::Fqdn("abc.de".into())));
    assert_eq!(id("keyid tag \"x y\""), Ok(Identifier::KeyId(b"x y".to_vec())));
    assert_eq!(id("keyid \"id.bin\""), Ok(Identifier::KeyId(b"\x00\x01id".to_vec())));
    assert_eq!(id("keyid file \"/etc/racoon/id.bin\""), Ok(Identifier::KeyId(b"\x00\x01id".to_vec())));
    assert_eq!(id("asn1dn"), Ok(Identifier::Asn1Dn(None)));
    let name = DistinguishedName::parse("C=DE,CN=*").unwrap();
    assert_eq!(id("asn1dn \"C=DE, CN=*\""), Ok(Identifier::Asn1Dn(Some(name))));
    assert!(id("keyid \"vpn-group\"").unwrap_err().contains("write `keyid tag \"x\"`"));
    assert!(id("fqdn").unwrap_err().contains("needs a value"));
    assert!(id("fqdn \"\"").unwrap_err().contains("is empty"));
    assert!(id("fqdn vpn").unwrap_err().contains("write `\"vpn\"`"));
    assert!(id("asn1dn \"/C=DE/O=x\"").unwrap_err().contains("not written with slashes"));
    assert!(id("address \"vpn.example.org\"").unwrap_err().contains("expected a numeric address"));
}

#[test]
fn certificates_are_joined_to_their_directory() {
    let remote = remote(
        "certificate_type x509 \"c.pem\" \"/k.pem\"; peers_certfile plain_rsa \"1\";\npeers_certfile plain_rsa \"2\"; ca_type x509 \"ca\";",
    );
    let shown = |file: &NamedFile| format!("{} {}", file.place, file.path.display());
    let [OwnCertificate::X509 { certificate, key }] = remote.certificates.as_slice() else {
        panic!("{remote:?}")
    };
    assert_eq!(shown(certificate), "/etc/racoon/racoon.conf:3:23 /etc/racoon/certs/c.pem");
    assert_eq!(shown(key), "/etc/racoon/racoon.conf:3:31 /k.pem");
    let keys: Vec<String> = remote
        .peers_certificates
        .iter()
        .map(|certificate| match certificate {
            PeerCertificate::RawKey(file) => shown(file),
            PeerCertificate::X509(file) => panic!("{file:?}"),
        })
        .collect();
    let expected = [
        "/etc/racoon/racoon.conf:3:66 /etc/racoon/certs/1",
        "/etc/racoon/racoon.conf:4:26 /etc/racoon/certs/2",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        remote.ca_certificate.as_ref().map(shown).as_deref(),
        Some("/etc/racoon/racoon.conf:4:44 /etc/racoon/certs/ca")
    );
    assert!(remote.verify_cert);
}

#[test]
fn of_two_certificates_the_last_one_counts() {
    let remote = remote(
        "certificate_type plain_rsa \"r\"; certificate_type x509 \"a\" \"b\"; certificate_type x509 \"c\" \"d\";",
    );
    let [OwnCertificate::X509 { certificate, .. }] = remote.certificates.as_slice() else {
        panic!("{remote:?}")
    };
    assert!(certificate.path.ends_with("c"));
}

#[test]
fn plain_rsa_asks_for_no_certificates_unless_told_to() {
    let key = "certificate_type plain_rsa \"key\"; peers_certfile plain_rsa \"pub\";";
    let switches = |remote: Remote| (remote.send_cert, remote.send_certreq, remote.verify_cert);
    assert_eq!(switches(remote(key)), (false, false, false));
    assert_eq!(switches(remote(&format!("{key} send_cert on; verify_cert on;"))), (true, false, true));
    assert_eq!(switches(remote(&format!("send_cr on; verify_cert on; {key}"))), (false, false, false));
    assert_eq!(switches(remote("verify_cert off;")), (true, true, false));
}

#[test]
fn a_line_that_cannot_be_read_is_not_missed_a_second_time() {
    let unknown = remote_said(
        "exchange_mode main; proposal { encryption_algorithm aes; hash_algorithm sha257;
        authentication_method pre_shared_key; dh_group 14; }",
    );
    assert_eq!(unknown.matches("error").count(), 1, "{unknown}");
    assert!(unknown.contains("sha257") && unknown.contains("did you mean `sha256`"), "{unknown}");
    let child = said(
        "sainfo anonymous { encryption_algorithm frob; authentication_algorithm hmac_sha256;
        compression_algorithm deflate; }",
    );
    assert_eq!(child.matches("error").count(), 1, "{child}");
    let mode = remote_said(&format!("exchange_mode aggresive; {PROPOSAL}"));
    assert_eq!(mode.matches("error").count(), 1, "{mode}");
}

/// Each of these statements gives exactly this, at this place.
#[test]
fn diagnostics_name_the_place_and_what_was_expected() {
    let cases = [
        (
            "frobnicate on;",
            "1:1: error: expected a statement (`remote`, `sainfo`, `path`, ...), found `frobnicate`\n",
        ),
        (
            "lisen { }",
            "1:1: error: expected a statement (`remote`, `sainfo`, `path`, ...), found `lisen` (did you mean `listen`?)\n",
        ),
        (
            "log loud;\nlog quiet;",
            "1:5: error: expected `error`, `warning`, `notify`, `info`, `debug` or `debug2`, found `loud`\n2:5: error: expected `error`, `warning`, `notify`, `info`, `debug` or `debug2`, found `quiet`\n",
        ),
        ("listen { };", "1:11: error: `;` after a block (remove the `;`)\n"),
        (";", "1:1: error: an empty statement (remove the `;`)\n"),
        ("}", "1:1: error: `}` without a block that it closes\n"),
        (
            "path pre_shared_key psk;",
            "1:21: error: expected a path in quotes, found `psk` (write `\"psk\"`)\n",
        ),
        (
            "path pre_shared_key \"psk;\nlog info;",
            "1:21: error: expected a path in quotes, found a string without its closing quote\n",
        ),
        (
            "timer { interval 10; }",
            "1:20: error: the time has no unit (write `sec`, `min` or `hour` behind the number)\n",
        ),
        ("timer { interval 1 day; }", "1:20: error: expected `sec`, `min` or `hour`, found `day`\n"),
        ("timer { interval 99999999999999999999 sec; }", "1:18: error: the number is too large\n"),
        ("timer { interval 4294967295 hours; }", "1:18: error: the time is too long\n"),
        ("timer { counter 5 sec; }", "1:19: error: expected `;`, found `sec`\n"),
        (
            "timer { counter 5sec; }",
            "1:18: error: expected a number without a unit, found `sec` (write only the number)\n",
        ),
        (
            "timer { interval 0 sec; }",
            "1:9: warning: a time of nothing is passed over: the default is used\n",
        ),
        (
            "listen { isakmp vpn.example.org; }",
            "1:17: error: expected a numeric address, found `vpn.example.org` (host names are not accepted here: write the numeric address)\n",
        ),
        ("listen { isakmp 192.0.2.1 [70000]; }", "1:28: error: a port is at most 65535\n"),
        ("listen { adminsock \"x\" 999; }", "1:24: error: expected permission bits such as 0660\n"),
        (
            "remote vpn.example.org { }",
            "1:8: error: expected a numeric address, found `vpn.example.org` (host names are not accepted here: write the numeric address)\n",
        ),
        (
            "remote \"a\" inherit \"b\";",
            "1:1: error: this remote has no `exchange_mode` (write `exchange_mode main;`: racoon's grammar asks for it, though IKEv2 does not)\n1:1: error: this remote has no `proposal`\n1:20: error: there is no such remote to inherit from (the block must stand before the one that inherits from it)\n",
        ),
        (
            "remote anonymous { exchange_mode main",
            "1:18: error: this block has no closing `}`\n1:37: error: expected `;` after this\n",
        ),
        ("log info * ;", "1:10: error: expected `;`, found stray `*`\n"),
        (
            "sainfo address 10.0.0.0/8 any { }",
            "1:31: error: expected the peer's end: `anonymous`, `clientaddr`, `address` or `subnet`, found `{`\n",
        ),
        (
            "sainfo address 10.0.0.0/8 any address 10.0.0.0/33 any { }",
            "1:48: error: a prefix of this address is at most 32\n",
        ),
        (
            "sainfo address 10.0.0.0/8 address 10.0.0.0/8 any { }",
            "1:27: error: expected a protocol: `any`, a number, `tcp`, `udp`, `icmp`, `icmp6`, `esp`, `ah`, `ipcomp` or `gre`, found `address`\n",
        ),
        (
            "sainfo anonymous { }",
            "1:1: error: this sainfo has no `encryption_algorithm`\n1:1: error: this sainfo has no `compression_algorithm` (write `compression_algorithm deflate;`: racoon's grammar asks for it, though nothing is compressed)\n",
        ),
        (
            "mode_cfg { dns4 192.0.2.1, 192.0.2.2\n banner \"x\"; }",
            "1:36: error: expected `;` after this\n1:1: warning: `mode_cfg` hands addresses to road warriors, which Coati does not do: nothing uses it\n",
        ),
    ];
    for (text, expected) in cases {
        let mut lines: Vec<String> = said(text).lines().map(str::to_owned).collect();
        let mut wanted: Vec<String> = expected.lines().map(str::to_owned).collect();
        lines.sort();
        wanted.sort();
        assert_eq!(lines, wanted, "{text}");
    }
}

#[test]
fn what_would_weaken_security_is_an_error() {
    for option in [
        "mode_cfg on;",
        "xauth_login \"u\";",
        "peers_certfile dnssec;",
        "situation secrecy;",
        "lifetime byte 10 MB;",
        "shared_secret keychain \"x\";",
        "dh_group 2;",
        "keepalive on;",
        "nat_traversal maybe;",
        "verify_identifier yes;",
        "remote_address 192.0.2.1;",
        "ca_type x509 \"a\"; ca_type x509 \"b\";",
        "peers_certfile x509 \"a\"; peers_certfile x509 \"b\";",
        "my_identifier asn1dn;",
    ] {
        let said = remote_said(option);
        assert!(
            said.contains("error: ") && said.starts_with("3:") || option.starts_with("my_"),
            "{option}: {said}"
        );
        assert!(parse_text(&remote_text(option), &Memory::new()).0.is_none(), "{option}");
    }
    for method in
        algorithms::METHOD_NAMES.iter().filter(|name| !matches!(**name, "pre_shared_key" | "rsasig"))
    {
        let text = remote_text("").replace("pre_shared_key", method);
        assert!(said(&text).contains("2:27: error: "), "{}", said(&text));
    }
    for group in ["3", "4", "ec2n155", "17", "22", "modp9999"] {
        let text = remote_text("").replace("modp3072", group);
        assert!(said(&text).contains("error: "), "{group}");
    }
    let grouped = said(&format!("sainfo anonymous group \"g\" {SAINFO}"));
    assert!(grouped.starts_with("1:18: error: `group` is for XAuth groups"), "{grouped}");
    assert!(said("sainfo anonymous from asn1dn \"C=DE\" { lifetime byte 1 B; }").contains("`lifetime byte`"));
}

#[test]
fn what_has_no_meaning_is_a_warning() {
    for option in [
        "proposal_check exact;",
        "weak_phase1_check on;",
        "dpd off;",
        "rekey off;",
        "esp_frag 552;",
        "nonce_size 8;",
        "nonce_size 2000;",
        "peers_certfile \"old\";",
        "verify_identifier on;",
    ] {
        let said = remote_said(option);
        let lines: Vec<_> = said.lines().collect();
        assert!(matches!(lines.as_slice(), [line] if line.contains(": warning: ")), "{option}: {said}");
    }
    for statement in [
        "path backupsa \"x\";",
        "timer { persend 3; auto_exit_delay 3 sec; }",
        "radiuscfg { auth \"h\" \"s\"; timeout 3; }",
        "ldapcfg { version 3; host \"h\"; bind_pw \"secret\"; }",
        "include \"/none/*.conf\";",
        "path certificates \"x\";",
    ] {
        let said = said(statement);
        assert!(said.contains("warning: ") && !said.contains("error: "), "{statement}: {said}");
    }
    let (_, all) = parse_text(&remote_text(""), &Memory::new());
    assert_eq!(
        all,
        "1:20: warning: `exchange_mode` has no meaning in IKEv2, which has one exchange: it is passed over\n"
    );
}

#[test]
fn nonces_are_at_least_half_the_prf_key() {
    let text = remote_text("nonce_size 20;").replace("sha256", "sha512");
    assert_eq!(config(&text).remotes[0].nonce_octets, Some(32));
    assert_eq!(remote("nonce_size 8;").nonce_octets, Some(16));
    assert_eq!(remote("nonce_size 9999;").nonce_octets, Some(256));
}

#[test]
fn several_sainfos_for_the_same_traffic_are_told() {
    let one = format!("sainfo address 10.0.0.1 any address 10.0.0.2 any {SAINFO}\n");
    assert!(said(&format!("{one}{one}")).starts_with("2:1: error: a second sainfo for the same traffic"));
    let anonymous = format!("sainfo anonymous {SAINFO}\n");
    assert!(said(&format!("{anonymous}{anonymous}")).starts_with("2:1: warning: a second sainfo"));
}

#[test]
fn includes_are_read_in_order_where_they_stand() {
    let files = Memory::new()
        .with("/etc/racoon/conf.d/b.conf", "log debug;")
        .with("/etc/racoon/conf.d/a.conf", "log error; include \"deep/*.conf\";")
        .with("/etc/racoon/conf.d/.hidden.conf", "nonsense")
        .with("/etc/racoon/conf.d/deep/d.conf", "pfkey_buffer 7;")
        .with("/root/own.conf", "path pidfile \"own.pid\";")
        .with("/home/fred/own.conf", "timer { counter 3; }");
    let text =
        "path include \"conf.d\"; include \"*.conf\"; include \"~/own.conf\"; include \"~fred/own.conf\";";
    let (config, said) = parse_text(text, &files);
    let config = config.unwrap_or_else(|| panic!("{said}"));
    assert_eq!((config.log_level, config.kernel_buffer_kb), (LogLevel::Debug, Some(7)));
    assert_eq!(config.pid_file.as_deref(), Some(Path::new("/var/run/own.pid")));
    assert_eq!(config.timers.counter, Some(3));
    let (_, said) = parse_text("include \"none.conf\";", &files);
    assert_eq!(said, "1:9: error: cannot read `/etc/racoon/none.conf`: no such file\n");
    let (config, said) = parse_text("include \"/x/*.conf\";", &files);
    assert!(config.is_some() && said.starts_with("1:9: warning: no file matches `/x/*.conf`"), "{said}");
}

#[test]
fn errors_in_an_included_file_name_that_file() {
    let files = Memory::new().with("/etc/racoon/a.conf", "\n log loud;");
    let (_, said) = parse_text("include \"a.conf\";", &files);
    assert!(said.starts_with("/etc/racoon/a.conf:2:6: error: expected `error`"), "{said}");
}

#[test]
fn includes_that_never_end_are_refused() {
    let itself = Memory::new().with("/etc/racoon/racoon.conf", "include \"racoon.conf\";");
    let (config, said) = parse_text("include \"racoon.conf\";", &itself);
    assert!(config.is_none() && said.contains("includes itself"), "{said}");
    // Each includes the next, twice: without a limit 2^40 files.
    let mut chain = Memory::new();
    for n in 0..40 {
        chain = chain.with(format!("/etc/racoon/{n}"), format!("include \"{0}\"; include \"{0}\";", n + 1));
    }
    let (_, said) = parse_text("include \"0\";", &chain);
    assert!(said.contains("more than 10 deep"), "{said}");
    // Wide ones: 30 files, each of which includes all of the next level.
    let mut wide = Memory::new();
    for level in 0..9 {
        for n in 0..30 {
            wide = wide
                .with(format!("/etc/racoon/{level}-{n}.conf"), format!("include \"{}-*.conf\";", level + 1));
        }
    }
    let (config, said) = parse_text("include \"0-*.conf\";", &wide);
    assert!(config.is_none() && said.contains("more than 10000 files"), "{said}");
}

#[test]
fn passwords_of_other_services_are_not_rendered() {
    let text = "ldapcfg { bind_pw \"sesame\"; frob \"x\"; }\nradiuscfg { auth \"host\" \"sesame\" 1; }
        0x5e5a6e5e5a6e5e5a6e5e5a6e5e5a6e5e5a6e; ldapcfg { bind_pw \"sesame";
    let (_, diagnostics) = parse(Path::new("r"), text.as_bytes(), &Memory::new());
    let shown = diagnostics.render(false) + &format!("{diagnostics}{diagnostics:?}");
    assert!(diagnostics.has_errors() && !shown.contains("sesame") && !shown.contains("5e5a6e"), "{shown}");
}

#[test]
fn a_hundred_thousand_peers_are_read_in_linear_time() {
    let one = |n: u32| {
        let addr = std::net::Ipv4Addr::from(0x0a00_0000 + n);
        format!(
            "remote {addr} inherit \"base\";\nsainfo anonymous address {addr} any {SAINFO}\nremote \"n{n}\" inherit {addr};\n"
        )
    };
    let base = format!("remote \"base\" {{ remote_address 203.0.113.1; exchange_mode main; {PROPOSAL} }}\n");
    let text = base + &(0..100_000).map(one).collect::<String>();
    let (config, said) = parse_text(&text, &Memory::new());
    let config = config.unwrap_or_else(|| panic!("{said}"));
    assert_eq!((config.remotes.len(), config.sainfos.len()), (200_001, 100_000));
}

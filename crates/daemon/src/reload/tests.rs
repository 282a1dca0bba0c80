use std::net::IpAddr;
use std::path::Path;

use coati_config::files::{Disk, FileFacts, Memory};
use coati_config::racoon::model::AdminSocket;
use ike_proto::config::Ports;
use ike_proto::crypto::suite::Encr;
use ike_proto::ids::{PolicyIndex, Reqid};
use ike_proto::policy::identity::Identity;
use ike_proto::policy::peer::{Liveness, LocalId};
use ike_proto::policy::sad::Mode;
use ike_proto::policy::selector::{Net, Selector, Side};
use ike_proto::wire::registry::{EncrId, EsnId, IntegId, KeId, PrfId};

use super::*;

const KEY: &str = "0x9d507d3c6fd6c78d17d5438c5d2d4138a90f99980ea3248615ed94ad886d8412";

/// A racoon.conf with these options in its anonymous remote, and these blocks behind it.
fn racoon(options: &str, rest: &str) -> String {
    format!(
        "path pre_shared_key \"psk.txt\";
remote anonymous {{ exchange_mode main; {options}
  proposal {{ encryption_algorithm aes; hash_algorithm sha256; authentication_method pre_shared_key; dh_group modp3072; }} }}
{rest}"
    )
}

const SAINFO: &str =
    "{ encryption_algorithm aes; authentication_algorithm hmac_sha256; compression_algorithm deflate; }";

fn anonymous_sainfo() -> String {
    format!("sainfo anonymous {SAINFO}")
}

fn read(racoon: &str, psk: &str, policies: Option<&str>) -> Result<(Configuration, Diagnostics), String> {
    let mut files = Memory::new().with("/etc/racoon.conf", racoon).with("/etc/psk.txt", psk);
    let mut names =
        FileNames { racoon: "/etc/racoon.conf".into(), policies: Vec::new(), ..FileNames::default() };
    if let Some(policies) = policies {
        files = files.with("/etc/ipsec-tools.conf", policies);
        names.policies.push("/etc/ipsec-tools.conf".into());
    }
    load(&names, &files).map_err(|refusal| refusal.to_string())
}

fn configuration(racoon: &str, psk: &str, policies: Option<&str>) -> Configuration {
    read(racoon, psk, policies).unwrap_or_else(|said| panic!("{said}")).0
}

fn refusal(racoon: &str, psk: &str, policies: Option<&str>) -> String {
    read(racoon, psk, policies).expect_err("it was taken")
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn policy(index: u32, local: &str, remote: &str, protocol: u8) -> spd::Policy {
    let side = |text| Side { net: Net::host(address(text)), port: None };
    spd::Policy {
        index: PolicyIndex(index),
        selector: Selector { local: side(local), remote: side(remote), protocol },
        priority: 0,
        template: spd::Template { mode: Mode::Transport, reqid: Reqid(0), endpoints: None, optional: false },
        made: false,
    }
}

#[test]
fn the_examples_of_the_mesh_are_what_they_say() {
    let mesh = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/mesh");
    for (name, own) in [("box01", 1), ("box02", 2), ("box03", 3)] {
        let read = |file: &str| std::fs::read(mesh.join(name).join(file)).unwrap();
        // In memory, where psk.txt has the owner and the mode it must have.
        let files = Memory::new()
            .with("/m/racoon.conf", read("racoon.conf"))
            .with("/m/psk.txt", read("psk.txt"))
            .with("/m/ipsec-tools.conf", read("ipsec-tools.conf"));
        let names = FileNames {
            racoon: "/m/racoon.conf".into(),
            policies: vec!["/m/ipsec-tools.conf".into()],
            ..FileNames::default()
        };
        let (configuration, said) = load(&names, &files).unwrap();
        // What has no meaning in IKEv2 is said, at its place.
        assert!(said.iter().all(|one| one.place.line > 0), "{said}");
        let set = configuration.policies.as_ref().unwrap();
        assert!(set.replaces);
        assert_eq!(set.policies.len(), 6 + 3 + 4 * 3, "{name}");
        let (peers, said) = configuration.peers([]);
        assert_eq!(said, Vec::<String>::new());
        let peer = peers.by_address(address("198.51.100.2")).unwrap();
        assert_eq!(peer.encap, UdpEncap::Force);
        assert_eq!(peer.local_id, LocalId::Address);
        assert_eq!(peer.lifetime, Duration::from_secs(24 * 3600));
        assert_eq!(
            peer.liveness,
            Some(Liveness { idle: Duration::from_secs(20), patience: Duration::from_secs(25) })
        );
        let ike = &peer.offers[0];
        assert_eq!((peer.offers.len(), ike.encr.as_slice()), (1, &[Encr::AES_128_CBC][..]));
        assert_eq!(
            (ike.prf.as_slice(), ike.ke.as_slice()),
            (&[PrfId::HMAC_SHA2_256][..], &[KeId::MODP3072][..])
        );
        assert_eq!(ike.integ, [IntegId::HMAC_SHA2_256_128]);
        let child = &peer.child;
        assert_eq!((child.lifetime, child.replay_window), (Duration::from_secs(8 * 3600), 1024));
        assert_eq!(child.offers[0].encr[0].id, EncrId::AES_CBC);
        assert_eq!(child.offers[0].ke, [KeId::MODP3072]);
        assert_eq!(child.offers[0].esn, [EsnId::ESN, EsnId::NO_ESN]);
        let other = if own == 1 { 2 } else { 1 };
        for peer in [format!("192.0.2.{other}"), format!("198.51.100.{other}")] {
            assert_eq!(peers.keys_for(None, address(&peer)).len(), 1, "{name} {peer}");
        }
        assert_eq!(peers.keys_for(None, address(&format!("192.0.2.{own}"))).len(), 0);
        let [probe] = configuration.probes()[..] else { panic!("{:?}", configuration.probes()) };
        assert!(probe.encap && probe.suite.esn);
        assert_eq!(probe.suite.integ, Some(IntegId::HMAC_SHA2_256_128));
    }
}

#[test]
fn options_of_a_remote_reach_the_engine() {
    let text = racoon(
        "my_identifier fqdn \"box1.example\"; peers_identifier fqdn \"box2.example\"; verify_identifier on;
         nat_traversal off; passive on; dpd_delay 7; dpd_retry 2; dpd_maxfail 3; lifetime time 1 hour;",
        &anonymous_sainfo(),
    );
    let (peers, _) = configuration(&text, "", None).peers([]);
    let peer = peers.by_address(address("192.0.2.9")).unwrap();
    assert_eq!(peer.local_id, LocalId::Fixed(Identity::fqdn("box1.example")));
    assert_eq!(peer.expected_ids, [Identity::fqdn("box2.example")]);
    assert_eq!((peer.encap, peer.passive), (UdpEncap::Off, true));
    assert_eq!(
        peer.liveness,
        Some(Liveness { idle: Duration::from_secs(7), patience: Duration::from_secs(6) })
    );
    assert_eq!(peer.lifetime, Duration::from_secs(3600));
    assert!(peer.name.starts_with("remote anonymous (/etc/racoon.conf:2:"), "{}", peer.name);
}

#[test]
fn identities_that_are_not_verified_are_not_expected() {
    let text = racoon("peers_identifier fqdn \"box2.example\";", &anonymous_sainfo());
    let (peers, _) = configuration(&text, "", None).peers([]);
    assert_eq!(peers.by_address(address("192.0.2.9")).unwrap().expected_ids, []);
}

#[test]
fn a_remote_with_an_address_comes_before_the_anonymous_one() {
    let named =
        racoon("", "").split_once("remote").unwrap().1.replace("anonymous", "remote 192.0.2.2 [1500]");
    let text = racoon("", &format!("{named} {}", anonymous_sainfo()));
    let (peers, _) = configuration(&text, "", None).peers([]);
    assert_eq!(peers.by_address(address("192.0.2.2")).unwrap().port, Some(1500));
    assert_eq!(peers.by_address(address("192.0.2.3")).unwrap().port, None);
}

#[test]
fn a_sainfo_for_certain_traffic_is_used_for_its_peer_only() {
    let special = "sainfo address 192.0.2.1 any address 192.0.2.2 any { encryption_algorithm aes 256;
        authentication_algorithm hmac_sha512; compression_algorithm deflate; }";
    let configuration =
        configuration(&racoon("", &format!("{special} {}", anonymous_sainfo())), "* key", None);
    let policies = [policy(9, "192.0.2.1", "192.0.2.2", 0), policy(17, "192.0.2.1", "192.0.2.3", 0)];
    let (peers, said) = configuration.peers(&policies);
    assert_eq!(said, Vec::<String>::new());
    let of = |peer: &str| peers.by_address(address(peer)).unwrap().child.offers[0].encr[0];
    assert_eq!(of("192.0.2.2"), Encr::AES_256_CBC);
    assert_eq!(of("192.0.2.3"), Encr::AES_128_CBC);
    // Another protocol with the same peer needs the other sainfo, and there is one a peer.
    let both = [policies[0].clone(), policy(25, "192.0.2.1", "192.0.2.2", 6)];
    let (_, said) = configuration.peers(&both);
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("coatid can use one sainfo a peer"), "{said:?}");
    assert_eq!(configuration.probes().len(), 2);
}

#[test]
fn policies_that_need_two_sainfos_are_refused_at_their_line() {
    let special = "sainfo address 192.0.2.1 tcp address 192.0.2.2 tcp { encryption_algorithm aes 256;
        authentication_algorithm hmac_sha512; compression_algorithm deflate; }";
    let said = refusal(
        &racoon("", &format!("{special} {}", anonymous_sainfo())),
        "* key",
        Some(
            "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
             spdadd 192.0.2.1 192.0.2.2 tcp -P out ipsec esp/transport//require;",
        ),
    );
    assert!(said.contains("/etc/ipsec-tools.conf:2:14: error: "), "{said}");
    assert!(said.contains("coatid can use one sainfo a peer"), "{said}");
}

#[test]
fn a_policy_without_a_key_is_refused_and_named_if_its_traffic_would_be_lost() {
    let policies = |level: &str| {
        format!(
            "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
             spdadd 192.0.2.1 192.0.2.3 any -P out ipsec esp/transport//{level};"
        )
    };
    let text = racoon("", &anonymous_sainfo());
    let psk = format!("192.0.2.2 {KEY}\n");
    let said = refusal(&text, &psk, Some(&policies("require")));
    assert!(
        said.contains(
            "/etc/ipsec-tools.conf:2:14: error: policy 192.0.2.1 <=> 192.0.2.3: /etc/psk.txt has no key for 192.0.2.3"
        ),
        "{said}"
    );
    let (_, said) = read(&text, &psk, Some(&policies("use"))).unwrap();
    assert!(said.to_string().contains("2:14: warning: policy 192.0.2.1 <=> 192.0.2.3: "), "{said}");
    assert!(read(&text, &format!("{psk}* {KEY}\n"), Some(&policies("require"))).is_ok());
    // Policies that the kernel has are used as they are.
    let found = configuration(&text, &psk, None);
    let (_, said) = found.peers(&[policy(9, "192.0.2.1", "192.0.2.3", 0)]);
    assert_eq!(said, ["policy 192.0.2.1 <=> 192.0.2.3: /etc/psk.txt has no key for 192.0.2.3"]);
}

#[test]
fn the_table_of_options_says_what_the_daemon_grants() {
    use coati_config::racoon::options::{Fate, OPTIONS};
    let wishes = OPTIONS.iter().filter_map(|row| row.feature.map(|feature| (row, feature)));
    for (row, feature) in wishes.filter(|(row, _)| row.fate != Fate::Refused) {
        let expected =
            match (GRANTED.contains(&feature), WITHOUT_EFFECT.iter().any(|(other, _)| *other == feature)) {
                (false, _) => row.fate == Fate::NotYet,
                (true, true) => row.fate == Fate::NoMeaning,
                (true, false) => !matches!(row.fate, Fate::NotYet | Fate::NoMeaning),
            };
        assert!(expected, "the row in config/src/racoon/options.rs is behind what is granted here: {row}");
    }
}

#[test]
fn networks_and_pairs_of_psk_txt_give_keys() {
    let other = KEY.replace('9', "7");
    let policies = "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
        spdadd 192.0.2.1 198.51.100.7 any -P out ipsec esp/transport//require;
        spdadd 192.0.2.1 203.0.113.0/24 any -P out ipsec esp/transport//require;";
    let text = racoon("", &anonymous_sainfo());
    let psk = format!(
        "192.0.2.1<>192.0.2.2 {KEY}\n198.51.100.0/24 {other}\n203.0.113.128/25 {other}\n192.0.2.2 {other}\n"
    );
    let found = configuration(&text, &psk, Some(policies));
    let (peers, said) = found.peers(&[policy(9, "192.0.2.1", "192.0.2.2", 0)]);
    assert_eq!(said, [""; 0]);
    let first = |peer: &str| peers.keys_for(None, address(peer))[0].expose()[0];
    assert_eq!((first("192.0.2.2"), first("198.51.100.9")), (0x9d, 0x7d));
    // Another host: its half of the pair is not ours.
    let (peers, _) = found.peers(&[policy(9, "192.0.2.3", "192.0.2.2", 0)]);
    assert_eq!(peers.keys_for(None, address("192.0.2.2"))[0].expose()[0], 0x7d);
    // Our own identity names us too.
    let named = racoon("my_identifier fqdn \"a.example.org\";", &anonymous_sainfo());
    let found = configuration(&named, &format!("b.example.org<>a.example.org {KEY}\n"), None);
    let id = Identity::fqdn("b.example.org");
    assert_eq!(found.peers(&[]).0.keys_for(Some(&id), address("192.0.2.2")).len(), 1);
    let said = refusal(
        &text,
        &format!("198.51.100.0/25 {KEY}\n203.0.113.0/24 {KEY}\n192.0.2.0/24 {KEY}"),
        Some(&policies.replace("100.7", "100.200")),
    );
    assert!(said.contains("has no key for 198.51.100.200") && !said.contains("no key for 203"), "{said}");
}

/// racoon compared nothing where no identity was written, be it that the whole line was missing.
#[test]
fn whoever_has_the_key_is_let_in_where_no_identity_is_written() {
    for options in [
        "verify_identifier on;",
        "verify_identifier on; peers_identifier address;",
        "verify_identifier on; peers_identifier fqdn \"a\"; peers_identifier address;",
    ] {
        let found = configuration(&racoon(options, &anonymous_sainfo()), "", None);
        let peer = found.peers([]).0.by_address(address("192.0.2.9")).unwrap().clone();
        assert_eq!((peer.expected_ids.as_slice(), peer.auth.expected_names.len()), (&[][..], 0), "{options}");
    }
}

#[test]
fn what_cannot_be_granted_is_refused_at_its_place() {
    let sainfo = anonymous_sainfo();
    for (racoon, policies, expected) in [
        (racoon("frobnicate on;", &sainfo), None, "/etc/racoon.conf:2:"),
        (racoon("", "").replace("sha256", "sha257"), None, "/etc/racoon.conf:3:"),
        (
            racoon(
                "",
                &format!(
                    "{} {sainfo}",
                    &racoon("", "").split_once("remote").map(|(_, rest)| format!("remote{rest}")).unwrap()
                ),
            ),
            None,
            "coatid can use one such remote",
        ),
        (
            racoon("", ""),
            Some("spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;"),
            "no sainfo is for this traffic",
        ),
        (
            racoon("", &sainfo).replace("remote anonymous", "remote 192.0.2.9"),
            Some("spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;"),
            "no remote is for 192.0.2.2",
        ),
        (
            racoon("", &sainfo),
            Some("spdadd 10.0.0.0/8 10.0.0.0/8 any -P out ipsec esp/tunnel/192.0.2.1-192.0.2.2/require;"),
            "/etc/ipsec-tools.conf:1:",
        ),
        (
            racoon("", &sainfo),
            Some("spdadd 192.0.2.1 192.0.2.2 any -P out ipsec ah/transport//require;"),
            "/etc/ipsec-tools.conf:1:",
        ),
        (
            racoon("", &sainfo),
            Some("add 192.0.2.1 192.0.2.2 esp 0x1234 -E null;"),
            "coatid loads policies only",
        ),
    ] {
        let said = refusal(&racoon, "* key", policies);
        assert!(said.contains(expected) && said.contains("error"), "{expected}\n{said}");
    }
}

#[test]
fn a_psk_file_that_others_can_read_is_refused() {
    let names = FileNames { racoon: "/etc/racoon.conf".into(), policies: Vec::new(), ..FileNames::default() };
    let files = |mode| {
        let facts = FileFacts { regular: true, owner: 0, mode };
        Memory::new().with("/etc/racoon.conf", racoon("", &anonymous_sainfo())).with_facts(
            "/etc/psk.txt",
            facts,
            "* key",
        )
    };
    assert!(load(&names, &files(0o600)).is_ok());
    let said = load(&names, &files(0o644)).unwrap_err().to_string();
    assert!(said.contains("/etc/psk.txt: error: ") && said.contains("0644"), "{said}");
    let missing = Memory::new().with("/etc/racoon.conf", racoon("", &anonymous_sainfo()));
    assert!(load(&names, &missing).unwrap_err().to_string().contains("cannot read the pre-shared keys"));
    let none = FileNames { racoon: "/nowhere/racoon.conf".into(), ..names };
    assert!(load(&none, &Disk).unwrap_err().to_string().contains("cannot read the configuration"));
}

#[test]
fn timers_and_ports_reach_the_engine() {
    let text = format!(
        "listen {{ isakmp 192.0.2.1 [1500]; }} timer {{ counter 3; interval 2 sec; phase1 40 sec; }} {}",
        racoon("", &anonymous_sainfo())
    );
    let configuration = configuration(&text, "", None);
    let also = Some(Ports { ike: 2500, natt: 24_500 });
    let listens = configuration.listens(PortsAsked { ike: None, natt: Some(14_500), also }).unwrap();
    let shown: Vec<String> = listens.iter().map(|listen| listen.address.to_string()).collect();
    assert_eq!(shown, ["192.0.2.1:1500", "192.0.2.1:14500", "192.0.2.1:2500", "192.0.2.1:24500"]);
    let config = configuration.endpoint(&listens, also, 7);
    assert_eq!((config.ports, config.also), (Ports { ike: 1500, natt: 14_500 }, also));
    assert_eq!(config.boot_epoch, 7);
    assert_eq!((config.retransmission.tries, config.retransmission.initial), (4, Duration::from_secs(2)));
    assert_eq!(config.handshake_lifetime, Duration::from_secs(40));
}

#[test]
fn beside_racoon_what_is_racoons_is_left_to_it() {
    let text = format!(
        "path pidfile \"r.pid\"; listen {{ isakmp 192.0.2.1 [500]; adminsock \"/run/r.sock\"; }} {} {}",
        racoon("script \"/bin/up\" phase1_up;", &anonymous_sainfo()),
        racoon("", "").replace("anonymous", "192.0.2.9 [500]"),
    );
    let files = Memory::new().with("/etc/racoon.conf", text).with("/etc/psk.txt", "");
    let alone = FileNames { racoon: "/etc/racoon.conf".into(), ..FileNames::default() };
    let beside = FileNames { beside_racoon: true, other_ports: true, ..alone.clone() };
    let peer = "192.0.2.9".parse().unwrap();
    let [(alone, _), (beside, said)] = [alone, beside].map(|names| load(&names, &files).unwrap());
    let port = |configuration: &Configuration| configuration.peers([]).0.by_address(peer).unwrap().port;
    assert_eq!((port(&alone), port(&beside)), (Some(500), None));
    assert!(alone.pid_file().is_some() && beside.pid_file().is_none());
    assert!(matches!(alone.admin_socket(), AdminSocket::At { .. }));
    assert_eq!(*beside.admin_socket(), AdminSocket::Default);
    let other = "192.0.2.8".parse().unwrap();
    assert_eq!((alone.scripts(other).len(), beside.scripts(other).len()), (1, 0));
    assert!(said.to_string().contains("scripts are left to racoon"), "{said}");
}

#[test]
fn the_admin_socket_the_pid_file_and_the_privileges_are_what_the_files_say() {
    let with = |text: &str| configuration(&format!("{text} {}", racoon("", &anonymous_sainfo())), "", None);
    let nothing = with("");
    assert_eq!(*nothing.admin_socket(), AdminSocket::Default);
    assert_eq!((nothing.pid_file(), nothing.privsep()), (None, None));
    assert_eq!(*with("listen { adminsock disabled; }").admin_socket(), AdminSocket::Disabled);
    let all = with(
        "listen { adminsock \"/run/r.sock\" \"root\" \"adm\" 0660; } path pidfile \"r.pid\"; privsep { user \"nobody\"; }",
    );
    let AdminSocket::At { path, owner, group, mode } = all.admin_socket() else { panic!("{all:?}") };
    assert_eq!(
        (path.to_str(), owner.as_deref(), group.as_deref()),
        (Some("/run/r.sock"), Some("root"), Some("adm"))
    );
    assert_eq!(*mode, Some(0o660));
    assert_eq!(all.pid_file().and_then(Path::to_str), Some("/var/run/r.pid"));
    assert_eq!(all.wants_a_start(&nothing), ["`adminsock`", "`path pidfile`", "`privsep`"]);
    assert_eq!(all.wants_a_start(&all), [""; 0]);
}

#[test]
fn scripts_are_those_of_the_peers_remote() {
    let text = racoon("script \"up.sh\" phase1_up; script \"/bin/down\" phase1_down;", &anonymous_sainfo());
    let found = configuration(&text, "", None);
    let scripts = found.scripts("192.0.2.9".parse().unwrap());
    let paths: Vec<_> = scripts.iter().map(|script| script.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["/etc/racoon/scripts/up.sh", "/bin/down"]);
}

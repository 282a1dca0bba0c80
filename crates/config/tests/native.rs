//! coati.toml against racoon's files: what is converted means the same. And the page about it against its schema.
#![allow(clippy::unwrap_used, reason = "a failed test is all it leads to")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use coati_config::diag::{Diagnostics, Place};
use coati_config::files::Memory;
use coati_config::native::{self, NativeConfig, Originals, convert, schema};
use coati_config::psk;
use coati_config::psk::PskFile;
use coati_config::racoon::model::{OwnCertificate, PeerCertificate, Remote, SaInfo, SaInfoId};
use coati_config::racoon::{self, Feature, RacoonConfig};
use coati_config::setkey::model::PolicyFile;
use coati_config::setkey::{self, FwdCopies, PolicySet};

const KEY: &str = "0x9d507d3c6fd6c78d17d5438c5d2d4138a90f99980ea3248615ed94ad886d8412";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn nowhere() -> Place {
    Place { file: "".into(), line: 0, column: 0 }
}

/// A remote by what it means: places aside; the tag, by which it finds its sainfos, aside; 500 for no port; the shortest
/// lifetime for all proposals (as the daemon has it).
fn remote(remote: &Remote) -> String {
    let mut remote = remote.clone();
    let lifetime = remote.proposals.iter().map(|proposal| proposal.lifetime).min().unwrap();
    for proposal in &mut remote.proposals {
        (proposal.place, proposal.lifetime) = (nowhere(), lifetime);
    }
    let signs = remote.proposals.iter().any(|p| p.auth == racoon::model::Authentication::Signature);
    if !signs {
        remote.ca_certificate = None;
        remote.certificates.clear();
        remote.peers_certificates.clear();
        (remote.send_cert, remote.send_certreq, remote.verify_cert) = (true, true, true);
    }
    for file in remote.ca_certificate.iter_mut() {
        file.place = nowhere();
    }
    for own in &mut remote.certificates {
        match own {
            OwnCertificate::X509 { certificate, key } => {
                (certificate.place, key.place) = (nowhere(), nowhere());
            }
            OwnCertificate::RawKey { key } => key.place = nowhere(),
        }
    }
    let is_pinned = remote.peers_certificates.iter().any(|peers| matches!(peers, PeerCertificate::X509(_)));
    remote.verify_cert |= !is_pinned;
    for peers in &mut remote.peers_certificates {
        let (PeerCertificate::X509(file) | PeerCertificate::RawKey(file)) = peers;
        file.place = nowhere();
    }
    for script in &mut remote.scripts {
        script.place = nowhere();
    }
    remote.scripts.sort_by_key(|script| script.event);
    remote.verify_identifier &= !remote.peers_identifiers.is_empty();
    let address = remote.selector.address().map(|endpoint| (endpoint.addr, endpoint.scope.clone()));
    let port = remote.selector.port().unwrap_or(500);
    let Remote {
        my_identifier,
        peers_identifiers,
        verify_identifier,
        certificates,
        peers_certificates,
        ca_certificate,
        verify_cert,
        send_cert,
        send_certreq,
        nonce_octets,
        passive,
        generate_policy,
        initial_contact,
        nat_traversal,
        ike_frag,
        dpd_delay,
        dpd_retry,
        dpd_maxfail,
        scripts,
        proposals,
        ..
    } = remote;
    format!(
        "{:#?}",
        (
            (address, port, my_identifier, peers_identifiers, verify_identifier),
            (certificates, peers_certificates, ca_certificate, verify_cert, send_cert, send_certreq),
            (nonce_octets, passive, generate_policy, initial_contact, nat_traversal, ike_frag),
            (dpd_delay, dpd_retry, dpd_maxfail, scripts, proposals),
        )
    )
}

/// The sainfos that a remote's peers can come to, in the order of the search.
fn sainfos_of(config: &RacoonConfig, remote: &Remote) -> Vec<String> {
    let mut seen_all = BTreeSet::new();
    let visible = config.sainfos.iter().filter(|sainfo| {
        let is_name = |id: &SaInfoId| matches!(id, SaInfoId::Name(_));
        let is_for_all =
            (&sainfo.local, &sainfo.remote, &sainfo.from) == (&SaInfoId::Any, &SaInfoId::Any, &None);
        (sainfo.remoteid == 0 || sainfo.remoteid == remote.ph1id)
            && !is_name(&sainfo.local)
            && !is_name(&sainfo.remote)
            && (!is_for_all || seen_all.insert(sainfo.remoteid))
    });
    visible
        .map(|sainfo| {
            let mut sainfo: SaInfo = sainfo.clone();
            sainfo.place = nowhere();
            sainfo.remoteid = u32::from(sainfo.remoteid != 0);
            for id in [&mut sainfo.local, &mut sainfo.remote] {
                if let SaInfoId::Net { port, .. } | SaInfoId::Range { port, .. } = id {
                    *port = None;
                }
            }
            format!("{sainfo:#?}")
        })
        .collect()
}

/// What a configuration means, as text.
fn meaning(config: &RacoonConfig) -> String {
    let mut text = String::new();
    let RacoonConfig { pre_shared_key, certificate_dir, pid_file, log_level, listen, .. } = config;
    let _ = writeln!(text, "{:#?}", (pre_shared_key, certificate_dir, pid_file, log_level, listen));
    let privsep = config.privsep.as_ref().map(|privsep| (&privsep.user, &privsep.group, &privsep.chroot));
    let _ = writeln!(text, "{:#?}", (config.timers, privsep, config.kernel_buffer_kb));
    let wishes: BTreeSet<Feature> = config.uses.iter().map(|wish| wish.feature).collect();
    // A tag has another number, and `address "x" [500]` no port.
    let wishes: Vec<_> = wishes
        .into_iter()
        .filter(|feature| !matches!(feature, Feature::RemoteId | Feature::RemotePort))
        .collect();
    let _ = writeln!(text, "{wishes:?}");
    let mut any = false;
    for each in &config.remotes {
        let used = match each.selector.address() {
            Some(endpoint) => {
                config.remote_for(endpoint.addr).unwrap().is_some_and(|used| core::ptr::eq(used, each))
            }
            None => !core::mem::replace(&mut any, true),
        };
        if used {
            let _ = writeln!(text, "{}\n{:#?}", remote(each), sainfos_of(config, each));
        }
    }
    text
}

/// Policies without their places.
fn policies(set: &PolicySet) -> String {
    let mut set = set.clone();
    for policy in &mut set.policies {
        policy.place = nowhere();
        if let setkey::model::PolicyAction::Ipsec(rules) = &mut policy.action {
            rules.iter_mut().for_each(|rule| rule.place = nowhere());
        }
    }
    format!("{set:#?}")
}

fn keys(file: &PskFile) -> Vec<(Vec<u8>, Vec<u8>)> {
    file.entries().iter().map(|entry| (entry.id_octets().to_vec(), entry.key.expose().to_vec())).collect()
}

/// Converts and reads what came out; `files` has the keys.
fn through(racoon: Option<&RacoonConfig>, policies: &[PolicyFile], files: &Memory) -> (NativeConfig, String) {
    let said = Diagnostics::new();
    let text = convert(&Originals { racoon, psk_txt: None, policies, said: &said }).expect("names in UTF-8");
    let (config, said) = native::parse(Path::new("coati.toml"), text.as_bytes(), files);
    (config.unwrap_or_else(|| panic!("{said}\n{text}")), text)
}

fn example(number: u8, file: &str) -> (PathBuf, Vec<u8>) {
    let path = root().join(format!("examples/mesh/box0{number}/{file}"));
    let octets = std::fs::read(&path).unwrap();
    (path, octets)
}

#[test]
fn the_example_mesh_is_the_same_after_conversion() {
    for number in 1..=3 {
        let files = ["racoon.conf", "psk.txt", "ipsec-tools.conf"]
            .map(|name| example(number, name))
            .into_iter()
            .fold(Memory::new(), |files, (path, octets)| files.with(path, octets));
        let (config, _) = racoon::load(&example(number, "racoon.conf").0, &files);
        let config = config.unwrap();
        let (read, _) = setkey::load([example(number, "ipsec-tools.conf").0], &files);
        let read = read.unwrap();
        let (set, _) = PolicySet::of(&read, FwdCopies::Made);
        let (psks, _) = psk::load(&config.pre_shared_key, &files, true);
        let (native, text) = through(Some(&config), &read, &files);
        assert_eq!(meaning(&native.racoon), meaning(&config), "{text}");
        assert_eq!(policies(&native.policies.unwrap()), policies(&set), "{text}");
        assert_eq!(keys(&native.psks), keys(&psks.unwrap()));
        assert!(!text.contains("could not be carried over"), "{text}");
        assert!(text.lines().count() < 70, "{text}");
    }
}

fn corpus() -> Option<PathBuf> {
    let beside = root().join("../shared/corpus");
    let folder = std::env::var_os("COATI_CORPUS").map_or(beside, PathBuf::from);
    if folder.join("INDEX.md").is_file() {
        return Some(folder);
    }
    println!("no corpus in {}: set COATI_CORPUS to test with it", folder.display());
    None
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the corpus has a folder for each language");
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Every racoon.conf of real estates that is accepted by itself: the same model, except where the text says what is lost, and
/// even then it is read.
#[test]
fn racoon_files_of_real_estates_are_the_same_after_conversion() {
    let Some(folder) = corpus() else { return };
    let (mut same, mut lossy) = (0, Vec::new());
    for path in files_in(&folder.join("racoon")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let octets = std::fs::read(&path).unwrap();
        let (Some(config), _) = racoon::parse(Path::new(&name), &octets, &Memory::new()) else { continue };
        let files = Memory::new().with(&config.pre_shared_key, format!("192.0.2.1 {KEY}\n"));
        let (native, text) = through(Some(&config), &[], &files);
        if text.contains("could not be carried over") {
            lossy.push(name);
            continue;
        }
        assert_eq!(meaning(&native.racoon), meaning(&config), "{name}\n{text}");
        same += 1;
    }
    println!("{same} the same, with losses: {lossy:?}");
    assert!(std::env::var_os("COATI_CORPUS").is_some() || same > lossy.len() * 4, "{same} {lossy:?}");
}

/// Every setkey file of real estates: the same policies in the same order.
#[test]
fn policies_of_real_estates_are_the_same_after_conversion() {
    let Some(folder) = corpus() else { return };
    let mut same = 0;
    for path in files_in(&folder.join("setkey")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let octets = std::fs::read(&path).unwrap();
        let (Some(file), _) = setkey::parse(&name, &octets, &Memory::new()) else { continue };
        let file = [file];
        let (set, said) = PolicySet::of(&file, FwdCopies::Made);
        if said.has_errors() {
            continue;
        }
        let (native, text) = through(None, &file, &Memory::new());
        match native.policies {
            Some(native) => assert_eq!(policies(&native), policies(&set), "{name}\n{text}"),
            None => assert_eq!(set.policies, [], "{name}"),
        }
        same += 1;
    }
    println!("{same} the same");
    assert!(std::env::var_os("COATI_CORPUS").is_some() || same >= 20, "{same}");
}

/// Constructs that the corpus may lack: each must survive, or be named as lost.
#[test]
fn every_construct_survives_conversion_or_is_named() {
    let proposal = "proposal { encryption_algorithm aes 256; hash_algorithm sha512; authentication_method pre_shared_key; dh_group modp4096; lifetime time 1 hour; }";
    let text = format!(
        "path pre_shared_key \"/psk.txt\"; log debug; listen {{ isakmp 192.0.2.1 [1500]; isakmp_natt 2001:db8::1 [4501]; strict_address; adminsock \"/a\" \"root\" \"adm\" 0660; }}
         timer {{ counter 3; interval 2 sec; phase1 20 sec; phase2 10 sec; natt_keepalive 0 sec; }}
         remote 192.0.2.2 [501] {{ exchange_mode main; my_identifier fqdn \"a\"; peers_identifier fqdn \"b\"; verify_identifier on; passive on; nat_traversal off; ike_frag off; dpd_delay 7; dpd_retry 2; dpd_maxfail 9; nonce_size 64; initial_contact off; ph1id 3; {proposal} }}
         remote \"named\" {{ remote_address 2001:db8::2; exchange_mode main; peers_identifier user_fqdn \"x@y\"; script \"up\" phase1_up; script \"/down\" phase1_down; generate_policy unique; lifetime time 3 hours; proposal {{ encryption_algorithm aes_gcm_16 128; hash_algorithm sha384; authentication_method pre_shared_key; dh_group ecp521; }} }}
         remote anonymous {{ exchange_mode main; my_identifier keyid tag \"t\"; {proposal} }}
         sainfo anonymous {{ remoteid 3; pfs_group modp2048; encryption_algorithm aes 192, chacha20poly1305; authentication_algorithm hmac_sha384; compression_algorithm deflate; }}
         sainfo address 10.0.0.1/8 [any] tcp address 10.9.0.0-10.9.0.9 tcp {{ remoteid 3; lifetime time 90 sec; encryption_algorithm aes; authentication_algorithm hmac_sha512; compression_algorithm deflate; }}
         sainfo anonymous clientaddr from fqdn \"b\" {{ encryption_algorithm aes; authentication_algorithm hmac_sha256; compression_algorithm deflate; }}
         sainfo anonymous {{ encryption_algorithm aes; authentication_algorithm hmac_sha256; compression_algorithm deflate; }}"
    );
    let files = Memory::new().with("/psk.txt", format!("192.0.2.2 {KEY}\n2001:db8::2 {KEY}\n"));
    let (config, said) = racoon::parse(Path::new("racoon.conf"), text.as_bytes(), &files);
    let config = config.unwrap_or_else(|| panic!("{said}"));
    let (native, text) = through(Some(&config), &[], &files);
    assert_eq!(meaning(&native.racoon), meaning(&config), "{text}");
    assert!(!text.contains("could not be carried over"), "{text}");

    let lossy = "remote anonymous { exchange_mode main; verify_identifier on; proposal { encryption_algorithm aes; hash_algorithm sha256; authentication_method pre_shared_key; dh_group modp2048; } }
        remote \"other\" { exchange_mode main; proposal { encryption_algorithm aes; hash_algorithm sha256; authentication_method pre_shared_key; dh_group modp2048; } }
        sainfo anonymous { remoteid 9; encryption_algorithm aes; authentication_algorithm hmac_sha256; compression_algorithm deflate; }";
    let (config, _) = racoon::parse(Path::new("racoon.conf"), lossy.as_bytes(), &files);
    let config = config.unwrap();
    let files = files.with(&config.pre_shared_key, "192.0.2.2 x\n");
    let (_, text) = through(Some(&config), &[], &files);
    for lost in [
        "racoon.conf:1:1: `verify_identifier on` without a `peers_identifier`",
        "racoon.conf:2:9: a second remote for the same peers",
        "racoon.conf:3:9: no remote has the `ph1id` of this sainfo",
    ] {
        assert!(text.contains(lost), "{lost}\n{text}");
    }
}

#[test]
fn several_certificates_are_written_as_they_are_read() {
    let text = "local = \"192.0.2.1\"\n[peer.b]\naddress = \"192.0.2.2\"\nauth = \"certificate\"\ncertificates = [{ certificate = \"/a \\\"1\\\".pem\", key = \"/a.key\" }, { certificate = \"/b.pem\", key = \"/b.key\" }]\n";
    let (config, said) = native::parse(Path::new("coati.toml"), text.as_bytes(), &Memory::new());
    let config = config.unwrap_or_else(|| panic!("{said}"));
    assert_eq!(config.racoon.remotes[0].certificates.len(), 2);
    let (again, text) = through(Some(&config.racoon), &[], &Memory::new());
    assert_eq!(meaning(&again.racoon), meaning(&config.racoon), "{text}");
}

#[test]
fn what_was_said_and_what_is_lost_stands_in_comments_only() {
    let text = b"flush; spdflush;\nadd 192.0.2.1 192.0.2.2 esp 0x1000 -E aes-cbc 0x00112233445566778899aabbccddeeff -A hmac-sha1 0x000102030405060708090a0b0c0d0e0f10111213;\nspdadd 192.0.2.1 192.0.2.2 any -P out prio high + 7 ipsec esp/tunnel/192.0.2.1[4500]-192.0.2.2[4500]/unique:5 ah/transport//use;\nspdadd 10.1.2.3/8[7] 10.0.0.0/8 tcp -ctx 1 1 \"a \\ b\" -P in discard;\nspdadd 192.0.2.1 192.0.2.2 gre 1.2.3.4 -P fwd prio low - 9 none;\n";
    let (file, said) = setkey::parse("p.conf", text, &Memory::new());
    let file = [file.unwrap_or_else(|| panic!("{said}"))];
    let (set, _) = PolicySet::of(&file, FwdCopies::Made);
    let converted = convert(&Originals { racoon: None, psk_txt: None, policies: &file, said: &said })
        .expect("names in UTF-8");
    assert!(converted.contains("#   p.conf:2:1: `add`: manual SAs stay with setkey"), "{converted}");
    assert!(!converted.contains("00112233"), "{converted}");
    let (native, said) = native::parse(Path::new("c.toml"), converted.as_bytes(), &Memory::new());
    let native = native.unwrap_or_else(|| panic!("{said}\n{converted}"));
    assert_eq!(policies(&native.policies.unwrap()), policies(&set), "{converted}");
}

#[test]
fn the_page_has_every_key_as_the_schema_has_it() {
    let page = std::fs::read_to_string(root().join("docs/coati.toml.md")).unwrap();
    let rows: Vec<String> = schema::keys()
        .map(|key| {
            format!(
                "| `{}` | {} | {} | `{}` | {} |",
                key.name, key.kind, key.default, key.example, key.meaning
            )
        })
        .collect();
    let written: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(written, rows, "docs/coati.toml.md and native/schema.rs differ");
}

/// The files that the page shows are good ones.
#[test]
fn the_examples_of_the_page_are_read() {
    let page = std::fs::read_to_string(root().join("docs/coati.toml.md")).unwrap();
    let lines: String = (1..=9).map(|n| format!("192.0.2.{n} {KEY}0{n}\n")).collect();
    let files = Memory::new().with("/etc/coati/psk.txt", lines);
    let examples: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    assert!(examples.len() >= 3);
    for example in examples {
        let (config, said) = native::parse(Path::new("/etc/coati/coati.toml"), example.as_bytes(), &files);
        assert!(config.is_some() && said.is_empty(), "{said}\n{example}");
    }
}

//! `remote`: its options, what it inherits, whom it is for.

use super::*;

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
fn a_parent_is_found_by_its_address_whatever_its_port() {
    let parent = |port: &str, delay: u32| {
        format!("remote 192.0.2.1 {port} {{ exchange_mode main; dpd_delay {delay}; {PROPOSAL} }}\n")
    };
    let delay = |text: &str| {
        let config = config(text);
        config.remotes.last().and_then(|remote| remote.dpd_delay).map(|delay| delay.as_secs())
    };
    let child = "remote 192.0.2.2 inherit 192.0.2.1";
    assert_eq!(delay(&format!("{} {child};", parent("[501]", 7))), Some(7));
    assert_eq!(delay(&format!("{} {child} [502];", parent("[501]", 7))), Some(7));
    assert_eq!(delay(&format!("{} {child} [502];", parent("", 7))), Some(7));
    // One with that very port comes first; 500 is the port of who names none.
    let two = format!("{}{}", parent("", 1), parent("[501]", 2));
    assert_eq!(delay(&format!("{two} {child};")), Some(1));
    assert_eq!(delay(&format!("{two} {child} [501];")), Some(2));
    assert_eq!(delay(&format!("{two} {child} [502];")), Some(2));
}

#[test]
fn a_block_without_its_parent_has_one_fault() {
    let expected = "1:26: error: there is no such remote to inherit from (the block must stand before the one that inherits from it)\n";
    assert_eq!(said("remote 192.0.2.2 inherit 192.0.2.9;"), expected);
    assert_eq!(
        said("remote 192.0.2.2 inherit 192.0.2.9;\nremote \"x\" inherit 192.0.2.2 { passive on; }"),
        expected
    );
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
fn a_second_certificate_of_our_own_is_refused_and_an_inherited_one_replaced() {
    let (x509, raw) = ("certificate_type x509 \"a\" \"b\";", "certificate_type plain_rsa \"r\";");
    for two in [[x509, x509], [x509, raw], [raw, x509], [raw, raw]] {
        let said = remote_said(&format!("\n{}\n{}", two[0], two[1]));
        assert!(said.contains("5:1: error: a second `certificate_type`"), "{said}");
    }
    let text = format!("{} remote 192.0.2.1 inherit anonymous {{ {} }}", remote_text(raw), x509);
    let [_, child] = &config(&text).remotes[..] else { panic!() };
    assert!(matches!(child.certificates.as_slice(), [OwnCertificate::X509 { .. }]), "{child:?}");
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
fn nonces_are_at_least_half_the_prf_key() {
    let text = remote_text("nonce_size 20;").replace("sha256", "sha512");
    assert_eq!(config(&text).remotes[0].nonce_octets, Some(32));
    assert_eq!(remote("nonce_size 8;").nonce_octets, Some(16));
    assert_eq!(remote("nonce_size 9999;").nonce_octets, Some(256));
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

//! racoon's own grammar, where it is easily missed: what it took, what it refused, and what it made of it.

use super::*;

/// A remote with this `exchange_mode` line.
fn with_mode(line: &str) -> String {
    format!("remote anonymous {{ {line} {PROPOSAL} }}")
}

fn sainfo(selector: &str) -> String {
    format!("sainfo {selector} {SAINFO}\n")
}

fn sainfo_said(selector: &str) -> String {
    said(&sainfo(selector))
}

#[test]
fn commas_between_the_words_of_a_remote_mean_nothing() {
    for line in
        ["exchange_mode main,;", "exchange_mode , main, aggressive ,, base;", "exchange_mode main base,;"]
    {
        let said = said(&with_mode(line));
        assert!(!said.contains("error: "), "{line}: {said}");
    }
    let (found, all) = parse_text(&remote_text("\n, passive on;\ndpd_delay 20,;\nph1id 7;"), &Memory::new());
    let remote = found.unwrap_or_else(|| panic!("{all}")).remotes.remove(0);
    assert_eq!((remote.passive, remote.dpd_delay), (true, Some(Duration::from_secs(20))));
    assert!(
        all.contains("4:1: warning: `,` means nothing here") && all.contains("5:13: warning: `,`"),
        "{all}"
    );
    assert!(said(&with_mode("exchange_mode ,;")).contains("expected `main`, `aggressive` or `base`"));
    assert!(said(&with_mode("exchange_mode main, passive on;")).contains("error: "));
}

#[test]
fn numbers_are_decimal_whatever_zeros_they_begin_with() {
    let text = remote_text("dpd_delay 010; lifetime time 08 hours;").replace("modp3072", "0014");
    let remote = config(&text).remotes.remove(0);
    assert_eq!(remote.dpd_delay, Some(Duration::from_secs(10)));
    assert_eq!(remote.proposals[0].ke, [KeId::MODP2048]);
    assert_eq!(remote.lifetime, Duration::from_secs(28800));
    assert!(remote_said("dpd_delay 0x10;").contains("error: "));
}

#[test]
fn a_time_may_be_glued_to_the_word_before_it() {
    let config =
        config(&format!("timer {{ phase130sec; interval5min; }} {}", remote_text("lifetime time24hours;")));
    assert_eq!(config.timers.phase1, Some(Duration::from_secs(30)));
    assert_eq!(config.timers.interval, Some(Duration::from_secs(300)));
    assert_eq!(config.remotes[0].lifetime, Duration::from_secs(86400));
    assert!(said("timer { phase130days; }").contains("error: "));
}

#[test]
fn a_statement_that_is_left_out_has_its_error() {
    for statement in ["gss_id_enc utf8;", "gss_id_enc utf;", "gss_id_enc utf-16;", "gss_id_enc utf-16be;"] {
        assert!(
            said(statement).contains("error: expected `latin1` or `utf-16le`"),
            "{statement}: {}",
            said(statement)
        );
    }
    assert_eq!(said("gss_id_enc utf-16le; gss_id_enc latin1;"), "");
}

#[test]
fn privsep_blocks_add_up() {
    let privsep = config("privsep { user \"a\"; group \"b\"; }\nprivsep { chroot \"/c\"; user 7; }").privsep;
    let privsep = privsep.unwrap_or_else(|| panic!("no privsep"));
    assert_eq!((privsep.user.as_deref(), privsep.group.as_deref()), (Some("7"), Some("b")));
    assert_eq!((privsep.chroot.as_deref(), privsep.place.line), (Some(Path::new("/c")), 1));
}

#[test]
fn what_racoon_wanted_otherwise_is_told() {
    assert!(
        said("privsep { user nobody; }")
            .starts_with("1:16: warning: a user that is no number belongs in quotes")
    );
    assert_eq!(said("privsep { user \"nobody\"; group 7; }"), "");
    for rest in ["\"root\" \"adm\"", "\"root\"", "0660", "\"root\" 0660"] {
        let said = said(&format!("listen {{ adminsock \"/s\" {rest}; }}"));
        assert!(
            said.starts_with("1:20: warning: racoon wanted owner, group and mode, or none"),
            "{rest}: {said}"
        );
    }
    assert_eq!(said("listen { adminsock \"/s\"; adminsock \"/s\" \"root\" \"adm\" 0660; }"), "");
}

#[test]
fn the_words_tag_and_file_are_for_key_ids() {
    let (found, said) = parse_text(
        &remote_text("\nmy_identifier fqdn tag \"a\"; peers_identifier address file 192.0.2.1;"),
        &Memory::new(),
    );
    let remote = found.unwrap_or_else(|| panic!("{said}")).remotes.remove(0);
    assert_eq!(remote.my_identifier, Identifier::Fqdn("a".into()));
    assert_eq!(remote.peers_identifiers, [Identifier::Address(Some(address("192.0.2.1")))]);
    assert_eq!(said.matches("warning: this word belongs to `keyid` alone").count(), 2, "{said}");
}

#[test]
fn a_key_id_in_a_sainfo_is_the_text_itself() {
    let config = config(&sainfo("keyid \"no-such-file\" anonymous"));
    assert_eq!(config.sainfos[0].local, SaInfoId::Name(Identifier::KeyId(b"no-such-file".to_vec())));
    assert!(
        sainfo_said("anonymous from keyid \"no-such-file\"").contains("error: cannot take the identifier")
    );
}

#[test]
fn icmp_has_one_family_and_no_ports() {
    let ends = |left: &str, right: &str| sainfo_said(&format!("address {left} address {right}"));
    assert!(
        ends("10.0.0.1[80] icmp", "10.0.0.2 icmp").starts_with("1:24: error: this protocol has no ports")
    );
    assert!(
        ends("2001:db8::1 icmp6", "2001:db8::2[135] icmp6").contains("error: this protocol has no ports")
    );
    for (left, right) in [
        ("10.0.0.1 icmp6", "10.0.0.2 icmp6"),
        ("10.0.0.1 58", "10.0.0.2 58"),
        ("10.0.0.1-10.0.0.9 icmp6", "10.0.0.2 icmp"),
        ("2001:db8::1 1", "2001:db8::2 1"),
    ] {
        assert!(
            ends(left, right).contains("error: `icmp` is for IPv4 and `icmp6` for IPv6"),
            "{left} {right}"
        );
    }
    for (left, right) in [
        ("10.0.0.1[any] icmp", "10.0.0.2[0] 1"),
        ("2001:db8::/64 icmp6", "2001:db8::2 58"),
        ("10.0.0.1[80] 6", "10.0.0.2 tcp"),
    ] {
        assert_eq!(ends(left, right), "", "{left} {right}");
    }
}

#[test]
fn protocol_255_is_any() {
    let config = config(&sainfo("address 10.0.0.1 255 address 10.0.0.2 0"));
    for id in [&config.sainfos[0].local, &config.sainfos[0].remote] {
        assert!(matches!(id, SaInfoId::Net { protocol: 0, .. }), "{id:?}");
    }
}

#[test]
fn a_compression_has_no_key_length() {
    let text = sainfo("anonymous").replace("deflate", "lzs, deflate 3");
    assert!(said(&text).contains("error: `deflate` takes no key length"), "{}", said(&text));
}

#[test]
fn a_second_sainfo_with_an_anonymous_end_of_ours_or_for_the_peers_own_address_is_not_reached() {
    for selector in
        ["anonymous address 10.0.0.2 any", "anonymous clientaddr", "address 10.0.0.1 any clientaddr"]
    {
        let text = sainfo(selector).repeat(2);
        let (_, said) = parse_text(&text, &Memory::new());
        assert!(said.starts_with("2:1: warning: a second sainfo"), "{selector}: {said}");
        assert!(said.ends_with(", which is used\n"), "{said}");
    }
    let refused = sainfo("address 10.0.0.1 any anonymous").repeat(2);
    assert!(said(&refused).starts_with("2:1: error: a second sainfo"), "{}", said(&refused));
}

#[test]
fn ports_do_not_tell_sainfos_apart() {
    let text = sainfo("address 10.0.0.1[80] tcp address 10.0.0.2 tcp")
        + &sainfo("address 10.0.0.1[443] tcp address 10.0.0.2 tcp")
        + &sainfo("address 10.0.0.1[80] udp address 10.0.0.2 udp");
    let said = said(&text);
    assert!(
        said.starts_with("2:1: error: a second sainfo") && said.ends_with("and ports do not count\n"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_name_in_quotes_finds_the_blocks_that_racoon_named_itself() {
    let text = format!(
        "remote anonymous {{ exchange_mode main; dpd_delay 9; {PROPOSAL} }}
        remote 192.0.2.1 {{ exchange_mode main; dpd_delay 8; {PROPOSAL} }}
        remote \"a\" inherit \"anonymous\" {{ remote_address 192.0.2.3; }} remote \"b\" inherit \"192.0.2.1[500]\";"
    );
    let delays: Vec<_> =
        config(&text).remotes.iter().filter_map(|remote| Some(remote.dpd_delay?.as_secs())).collect();
    assert_eq!(delays, [9, 8, 9, 8]);
    let own = format!(
        "remote anonymous {{ exchange_mode main; dpd_delay 9; {PROPOSAL} }} remote \"anonymous\" {{ exchange_mode main; dpd_delay 7; {PROPOSAL} }} remote \"a\" inherit \"anonymous\";"
    );
    assert_eq!(config(&own).remotes[2].dpd_delay, Some(Duration::from_secs(7)));
}

#[test]
fn identifiers_that_replace_inherited_ones_are_told() {
    let text = format!(
        "remote \"a\" {{ exchange_mode main; peers_identifier fqdn \"p\"; {PROPOSAL} }}
remote \"b\" inherit \"a\" {{ remote_address 192.0.2.1; peers_identifier fqdn \"q\"; peers_identifier fqdn \"r\"; }}"
    );
    let said: String = said(&text).lines().filter(|line| line.contains("inherited")).collect();
    assert!(said.starts_with("3:52: warning: this `peers_identifier` replaces the inherited ones"), "{said}");
    assert_eq!(said.matches("warning").count(), 1, "{said}");
}

#[test]
fn a_plain_rsa_key_has_no_subject_to_be_called_by() {
    let key = "certificate_type plain_rsa \"k\"; peers_certfile plain_rsa \"p\";";
    let rsasig = |id: &str| said(&remote_text(&format!("{key} {id}")).replace("pre_shared_key", "rsasig"));
    assert!(rsasig("my_identifier asn1dn;").contains("error: `my_identifier asn1dn` without a value"));
    assert!(!rsasig("my_identifier asn1dn \"CN=a\";").contains("error: "));
}

#[test]
fn a_tag_that_no_sainfo_has_is_told() {
    let remote = remote_text("ph1id 7;");
    let tagged = sainfo("anonymous").replace('{', "{ remoteid 7;");
    let said = |text: &str| said(text).contains("1:1: warning: no sainfo has `remoteid 7`");
    assert!(said(&format!("{remote} {}", sainfo("anonymous"))));
    assert!(!said(&format!("{remote} {tagged}")) && !said(&remote));
}

#[test]
fn the_newest_line_of_racoon_has_one_more_attribute_of_ldap() {
    assert!(!said("ldapcfg { attr_device \"x\"; }").contains("error: "));
}

#[test]
fn the_usual_port_is_the_same_written_or_not() {
    let block = format!("{{ exchange_mode main; {PROPOSAL} }}\n");
    let said = said(&format!(
        "remote 192.0.2.1 {block} remote 192.0.2.1 [500] {block} remote 192.0.2.1 [501] {block}"
    ));
    assert_eq!(said.matches("a second block for 192.0.2.1[500]").count(), 1, "{said}");
    assert_eq!(said.matches("a second block").count(), 1, "{said}");
}

#[test]
fn two_warnings_of_one_place_are_both_given() {
    let text = remote_text("verify_identifier on;").replace("pre_shared_key", "rsasig");
    let said = said(&text);
    assert!(said.contains("1:1: warning: `verify_identifier on` without a `peers_identifier`"), "{said}");
    assert!(said.contains("1:1: warning: `rsasig` without `certificate_type`"), "{said}");
}

#[test]
fn an_address_that_is_not_written_is_the_remotes() {
    let of = |selector: &str, options: &str| {
        said(&remote_text(&format!("peers_identifier address; {options}")).replace("anonymous", selector))
    };
    let told = "1:1: warning: `peers_identifier address` without a value is the address of this remote";
    assert!(of("192.0.2.1", "verify_identifier on;").starts_with(told));
    assert_eq!(of("192.0.2.1", "") + &of("anonymous", "verify_identifier on;"), "");
}

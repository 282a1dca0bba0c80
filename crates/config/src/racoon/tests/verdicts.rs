//! What is said of a file: where, and whether it is an error.

use super::*;

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
            "1:20: error: there is no such remote to inherit from (the block must stand before the one that inherits from it)\n",
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
    for group in ["3", "4", "ec2n155", "22", "modp9999"] {
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

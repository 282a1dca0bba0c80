use std::net::IpAddr;

use super::model::*;
use super::*;
use crate::files::Memory;

mod sas;

use sas::sa;

fn parse_text(text: &str) -> (Option<PolicyFile>, String) {
    let files = Memory::new()
        .with_host("gw.example.org", &["192.0.2.9".parse().unwrap()])
        .with_host("both.example.org", &["192.0.2.8".parse().unwrap(), "2001:db8::8".parse().unwrap()]);
    let (file, diagnostics) = parse("f", text.as_bytes(), &files);
    (file, diagnostics.to_string())
}

fn file(text: &str) -> PolicyFile {
    let (file, said) = parse_text(text);
    file.unwrap_or_else(|| panic!("{text}: {said}"))
}

fn said(text: &str) -> String {
    parse_text(text).1
}

fn policy(text: &str) -> SpdPolicy {
    match file(text).commands.remove(0).action {
        Action::SpdAdd(policy) | Action::SpdUpdate(policy) => policy,
        other => panic!("{other:?}"),
    }
}

fn rules(policy: &SpdPolicy) -> &[Rule] {
    match &policy.action {
        PolicyAction::Ipsec(rules) => rules,
        other => panic!("{other:?}"),
    }
}

fn rule(text: &str) -> Rule {
    let policy = policy(&format!("spdadd 10.0.0.1 10.0.0.2 any -P out ipsec {text};"));
    rules(&policy)[0].clone()
}

#[test]
fn a_policy_is_read_whole() {
    let policy = policy(
        "spdadd 192.0.2.0/24[any] 10.0.0.0/8[22] tcp\n -P out prio def + 100 ipsec esp/transport//require;",
    );
    assert_eq!(policy.place.to_string(), "f:1:1");
    assert_eq!(format!("{:?}", policy.selector), "192.0.2.0/24[any] 10.0.0.0/8[22] 6 out");
    assert_eq!(policy.priority, 0x8000_0000 - 100);
    let [rule] = rules(&policy) else { panic!() };
    assert_eq!(
        (rule.protocol, &rule.mode, rule.level),
        (RuleProtocol::Esp, &Mode::Transport(None), Level::Require)
    );
    assert_eq!(rule.place.to_string(), "f:2:30");
}

/// Table and test vectors of racoon-compat 3.5.
#[test]
fn priorities_are_racoons() {
    let cases: &[(&str, u32)] = &[
        ("", 0x8000_0000),
        ("prio 0", 0x8000_0000),
        ("prio 1", 2_147_483_647),
        ("prio -1", 2_147_483_649),
        ("prio 2147483648", 0),
        ("prio -2147483647", 4_294_967_295),
        ("prio low", 0xC000_0000),
        ("prio def", 0x8000_0000),
        ("prio high", 0x4000_0000),
        ("priority high", 0x4000_0000),
        ("prio low + 1073741824", 2_147_483_648),
        ("prio high - 1073741823", 2_147_483_647),
        ("prio high + 1073741824", 0),
        ("prio low - 1073741823", 0xFFFF_FFFF),
        ("prio def+1", 2_147_483_647),
        ("prio def +1", 2_147_483_647),
        ("prio def + 1", 2_147_483_647),
        ("prio def -1", 2_147_483_649),
        ("prio - 5", 2_147_483_653),
    ];
    for (written, priority) in cases {
        let text = format!("spdadd ::1 ::2 any -P out {written} none;");
        assert_eq!(policy(&text).priority, *priority, "{written}");
    }
    for wrong in ["prio 2147483649", "prio -2147483648", "prio 99999999999999999999", "prio 9999999999999"] {
        let said = said(&format!("spdadd ::1 ::2 any -P out {wrong} none;"));
        let expected = said.contains("priority offset not in valid range [-2147483647, 2147483648]");
        assert!(expected || said.contains("number is too large"), "{wrong}: {said}");
    }
    for wrong in ["prio low + 1073741825", "prio def - 1073741824", "prio high + 2147483648"] {
        let said = said(&format!("spdadd ::1 ::2 any -P out {wrong} none;"));
        assert!(said.contains("priority offset from base not in valid range"), "{wrong}: {said}");
    }
    for wrong in ["prio +5", "prio", "prio medium", "prio def +"] {
        assert!(
            said(&format!("spdadd ::1 ::2 any -P out {wrong} none;")).contains("error: expected"),
            "{wrong}"
        );
    }
}

#[test]
fn upper_protocols_have_names_numbers_and_extras() {
    let selector = |upper: &str| {
        let policy = policy(&format!("spdadd 10.0.0.1 10.0.0.2 {upper} -P in none;"));
        (policy.selector.protocol, policy.selector.sport, policy.selector.dport)
    };
    assert_eq!(selector("any"), (0, None, None));
    assert_eq!(selector("255"), (0, None, None));
    assert_eq!(selector("50"), (50, None, None));
    assert_eq!(selector("udp"), (17, None, None));
    assert_eq!(selector("ip4"), (4, None, None));
    assert_eq!(selector("icmp"), (1, None, None));
    assert_eq!(selector("icmp 3,1"), (1, Some(3), Some(1)));
    assert_eq!(selector("icmp 3,0"), (1, Some(3), None));
    assert_eq!(selector("icmp 0,0"), (1, None, None));
    assert_eq!(selector("icmp6 135,0"), (58, Some(135), None));
    assert_eq!(selector("mh 5,0"), (135, Some(5), None));
    assert_eq!(selector("gre 1.2.0.0"), (47, Some(0x0102), None));
    assert_eq!(selector("gre 0.0.3.4"), (47, None, Some(0x0304)));
    assert_eq!(selector("ipv6-icmp 136,255"), (58, Some(136), Some(255)));
    assert_eq!(selector("gre 65538"), (47, Some(1), Some(2)));
    assert_eq!(selector("gre 1.2.3.4"), (47, Some(0x0102), Some(0x0304)));
    for (upper, why) in [
        ("esp", "write the number, 50"),
        ("ah", "write the number, 51"),
        ("ipcomp", "write the number, 108"),
        ("icmp 8", "expected `type,code`"),
        ("icmp 8 ,0", "expected `type,code`"),
        ("icmp any,any", "expected an ICMP type"),
        ("icmp 300,0", "at most 255"),
        ("tcp 5", "expected `-P`"),
        ("256", "at most 255"),
        ("frob", "expected an upper-layer protocol"),
        ("gre x", "expected a GRE key"),
    ] {
        let said = said(&format!("spdadd 10.0.0.1 10.0.0.2 {upper} -P in none;"));
        assert!(said.contains("error") && said.contains(why), "{upper}: {said}");
    }
}

#[test]
fn a_zero_that_stands_for_more_than_it_seems_is_told() {
    let told = |upper: &str| said(&format!("spdadd 10.0.0.1 10.0.0.2 {upper} -P out none;"));
    for upper in ["icmp 0,0", "icmp6 0,3", "mh 0,0"] {
        let told = told(upper);
        assert!(told.starts_with("f:1:") && told.contains("warning: type 0 stands for every type"), "{told}");
    }
    for upper in ["gre 0.0.0.1", "gre 5", "gre 1.2.0.0", "gre 0"] {
        assert!(
            told(upper).contains("warning: half of this key is zero, which stands for every half"),
            "{upper}"
        );
    }
    assert_eq!(told("icmp 8,0") + &told("gre 1.2.3.4"), "");
}

#[test]
fn ports_are_numbers_names_or_any() {
    let port = |written: &str| {
        policy(&format!("spdadd 10.0.0.1/32 {written} 10.0.0.2 udp -P in none;")).selector.sport
    };
    assert_eq!(port("[1701]"), Some(1701));
    assert_eq!(port("[any]"), None);
    assert_eq!(port("[0]"), None);
    assert_eq!(port("[l2tp]"), Some(1701));
    assert_eq!(port(""), None);
    assert!(said("spdadd 10.0.0.1[65536] 10.0.0.2 udp -P in none;").contains("at most 65535"));
    assert!(said("spdadd 10.0.0.1[frob] 10.0.0.2 udp -P in none;").contains("no service"));
    let order = said("spdadd 10.0.0.0[22]/8 10.0.0.2 tcp -P in none;");
    assert!(order.contains("f:1:20: error: the prefix stands before the port"), "{order}");
}

/// Linux compares a policy's ports with what stands in their place in the packet's own protocol.
#[test]
fn ports_are_warned_of_where_no_packet_has_them() {
    let with = |src: &str, dst: &str, upper: &str| {
        said(&format!("spdadd 10.0.0.1{src} 10.0.0.2{dst} {upper} -P out none;"))
    };
    for (src, dst, upper) in [
        ("[1701]", "", "any"),
        ("", "[22]", "255"),
        ("[8]", "", "icmp"),
        ("[135]", "[1]", "icmp6"),
        ("[5]", "", "mh"),
        ("[7]", "[9]", "gre"),
        ("[1]", "[2]", "sctp"),
        ("[any]", "[0]", "50"),
    ] {
        assert_eq!(with(src, dst, upper), "", "{src} {dst} {upper}");
    }
    for (src, dst, upper) in [
        ("[22]", "", "50"),
        ("[256]", "", "icmp"),
        ("[8]", "[256]", "icmp6"),
        ("[5]", "[1]", "mh"),
        ("", "[1]", "ip4"),
    ] {
        let said = with(src, dst, upper);
        assert!(
            said.starts_with("f:1:8: warning: no packet of this protocol has these ports"),
            "{upper}: {said}"
        );
    }
    let replaced = with("[8]", "", "icmp 3,1");
    assert!(replaced.contains("warning: these ports are passed over"), "{replaced}");
}

#[test]
fn rules_have_modes_ends_and_levels() {
    let mode = |text: &str| rule(text).mode;
    let level = |text: &str| rule(text).level;
    assert_eq!(level("esp/transport"), Level::Default);
    assert_eq!(level("esp/transport/"), Level::Default);
    assert_eq!(level("esp/transport//"), Level::Default);
    assert_eq!(level("esp/transport//default"), Level::Default);
    assert_eq!(level("esp/transport//use"), Level::Use);
    assert_eq!(level("esp/transport//unique"), Level::Unique(None));
    assert_eq!(level("esp/transport//unique:4"), Level::Unique(Some(4)));
    assert_eq!(level("esp/transport//unique:16384"), Level::Unique(None));
    assert_eq!((Level::Unique(Some(4)).reqid(), Level::Require.reqid()), (4, 0));
    let ends = |src: &str, dst: &str, port| {
        let end =
            |text: &str| crate::net::Endpoint { port, ..crate::net::Endpoint::new(text.parse().unwrap()) };
        (end(src), end(dst))
    };
    let (src, dst) = ends("192.0.2.1", "192.0.2.2", None);
    assert_eq!(
        mode("esp/tunnel/192.0.2.1-192.0.2.2/require"),
        Mode::Tunnel { src: src.clone(), dst: dst.clone() }
    );
    assert_eq!(mode("esp / tunnel / 192.0.2.1 - 192.0.2.2 / use"), Mode::Tunnel { src, dst });
    let (src, dst) = ends("192.0.2.1", "192.0.2.2", Some(4500));
    assert_eq!(mode("esp/tunnel/192.0.2.1[4500]-192.0.2.2[4500]/require"), Mode::Tunnel { src, dst });
    assert_eq!(
        mode("esp/transport/2001:db8::1-2001:db8::2/use"),
        Mode::Transport(Some(ends("2001:db8::1", "2001:db8::2", None)))
    );
    let bundle = policy(
        "spdadd ::1 ::2 any -P in ipsec esp/transport ah/transport/ ipcomp/transport// esp/transport//use;",
    );
    let protocols: Vec<_> = rules(&bundle).iter().map(|rule| (rule.protocol, rule.level)).collect();
    use RuleProtocol::{Ah, Esp, Ipcomp};
    assert_eq!(
        protocols,
        [(Esp, Level::Default), (Ah, Level::Default), (Ipcomp, Level::Default), (Esp, Level::Use)]
    );
    for (text, why) in [
        ("esp/192.0.2.1-192.0.2.2/require", "expected `transport` or `tunnel`"),
        ("esp/tunnel//require", "a tunnel needs its two outer addresses"),
        ("esp/tunnel/192.0.2.1-::1/require", "different families"),
        ("esp/tunnel/192.0.2.1/require", "expected `-` and the destination"),
        ("esp/transport//requir", "did you mean `require`?"),
        ("esp/transport//unique:99999999999", "a number from 1 to 16383"),
        ("esp/transport//unique:0x4", "a number from 1 to 16383"),
        ("esp/transport/me-any/use", "for policies of sockets"),
        ("esp/transport/require", "expected `/` and a level"),
        ("", "would let everything pass in clear"),
        ("frob/transport//use", "expected a rule"),
        ("esp", "expected `/` and a mode"),
        ("esp/transport//require = x", "stray `=`"),
    ] {
        let said = said(&format!("spdadd 10.0.0.1 10.0.0.2 any -P out ipsec {text};"));
        assert!(said.contains("error") && said.contains(why), "{text}: {said}");
    }
    assert!(said("spdadd ::1 ::2 any -P out bypass;").contains("for policies of sockets"));
    assert!(said("spdadd ::1 ::2 any -P out;").contains("expected `ipsec`, `none` or `discard`"));
}

#[test]
fn of_a_policy_that_goes_only_the_direction_counts() {
    let direction =
        |policy: &str| match file(&format!("spddelete ::1 ::2 any -P {policy};")).commands[0].action {
            Action::SpdDelete(ref selector) => selector.direction,
            ref other => panic!("{other:?}"),
        };
    for policy in
        ["out", "out ipsec", "out prio low ipsec", "out bypass", "out entrust", "out none esp/transport//use"]
    {
        assert_eq!(direction(policy), Direction::Out, "{policy}");
        assert_eq!(said(&format!("spddelete ::1 ::2 any -P {policy};")), "", "{policy}");
    }
    for (policy, why) in [
        ("out frob", "expected `ipsec`, `none` or `discard`"),
        ("out ipsec esp/frob//use", "expected `transport` or `tunnel`"),
        ("out none frob", "expected `;`"),
        ("sideways", "expected `in`, `out` or `fwd`"),
    ] {
        let said = said(&format!("spddelete ::1 ::2 any -P {policy};"));
        assert!(said.contains("error") && said.contains(why), "{policy}: {said}");
    }
}

#[test]
fn rules_behind_none_and_discard_are_passed_over_with_a_warning() {
    let rules = "esp/tunnel/192.0.2.1-192.0.2.2/require\nah/transport//require";
    let none = format!("spdadd ::1 ::2 any -P out prio def none {rules};");
    assert_eq!(policy(&none).action, PolicyAction::None);
    let warning =
        "f:1:41: warning: rules are for `ipsec`: they are passed over, and no packet is protected by them\n";
    assert_eq!(said(&none), warning);
    assert_eq!(policy(&none.replace("none", "discard")).action, PolicyAction::Discard);
    assert!(said("spdadd ::1 ::2 any -P out none esp/frob;").contains("error: expected `transport`"));
    assert!(said("spdadd ::1 ::2 any -P out none\nspdflush;").contains("error: expected `;` after this"));
}

#[test]
fn every_command_is_read() {
    let text = "#!/usr/sbin/setkey -f\nflush; flush esp; dump; dump ah; spdflush; spddump;
        get 10.0.0.1 10.0.0.2 esp 0x100; delete -4n 10.0.0.1 10.0.0.2 esp-udp 192.0.2.7 1000;
        deleteall ::1 ::2 ah; spddelete 10.0.0.1 10.0.0.2 any -P in;
        spddelete 10.0.0.1 10.0.0.2 any -P in ipsec esp/transport//use;
        spdupdate -6 ::1 ::2 any -ctx 1 1 \"system_u\" -P fwd discard; add ::1 ::2 ipcomp 5 -C deflate -R;
        exit;";
    let file = file(text);
    let seen: Vec<String> = file.commands.iter().map(|c| format!("{:?}", c.action)).collect();
    assert_eq!(seen.len(), 13);
    for (at, start) in [
        (0, "Flush(None)"),
        (1, "Flush(Some(Esp))"),
        (2, "Dump(None)"),
        (3, "Dump(Some(Ah))"),
        (4, "SpdFlush"),
        (5, "SpdDump"),
        (6, "Get(SaId { src: 10.0.0.1, dst: 10.0.0.2, protocol: Esp, spi: 256 })"),
        (
            7,
            "Delete(SaId { src: 10.0.0.1, dst: 10.0.0.2, protocol: EspUdp { original: Some(192.0.2.7) }, spi: 1000 })",
        ),
        (8, "DeleteAll { src: ::1, dst: ::2, protocol: Ah }"),
        (9, "SpdDelete(10.0.0.1[any] 10.0.0.2[any] 0 in)"),
        (10, "SpdDelete("),
        (11, "SpdUpdate(SpdPolicy"),
        (12, "Add(ManualSa"),
    ] {
        assert!(seen[at].starts_with(start), "{at}: {}", seen[at]);
    }
    assert_eq!(file.commands[8].place.to_string(), "f:4:9");
    let Action::SpdUpdate(labelled) = &file.commands[11].action else { panic!() };
    let label = SecurityContext { doi: 1, algorithm: 1, label: "system_u".into() };
    assert_eq!(labelled.selector.context, Some(label));
    assert!(said("exit; spdflush;").contains("f:1:7: warning: this is not read"));
}

#[test]
fn host_names_are_resolved_and_must_be_one_address_in_policies() {
    let by_name = policy("spdadd gw.example.org 10.0.0.2 any -P in none;");
    assert_eq!(by_name.selector.src.addr, "192.0.2.9".parse::<IpAddr>().unwrap());
    let family = policy("spdadd -6 both.example.org 2001:db8::1 any -P in none;");
    assert_eq!(family.selector.src.addr, "2001:db8::8".parse::<IpAddr>().unwrap());
    let added = file("add both.example.org both.example.org esp 300 -E null;");
    assert_eq!(added.commands.len(), 2);
    for (text, why) in [
        ("spdadd both.example.org 10.0.0.2 any -P in none;", "multiple address specified"),
        ("delete both.example.org 10.0.0.2 esp 300;", "multiple address specified"),
        ("spdadd -n gw.example.org 10.0.0.2 any -P in none;", "`-n` forbids names"),
        ("spdadd none.example.org 10.0.0.2 any -P in none;", "cannot find the address"),
        ("spdadd -6 gw.example.org ::1 any -P in none;", "no address of this family"),
        ("spdadd -6 10.0.0.1 ::1 any -P in none;", "not of the family"),
        ("spdadd 10.0.0.1 ::1 any -P in none;", "different families"),
        ("add 10.0.0.1 ::1 esp 300 -E null;", "different families"),
        ("spdadd 10.0.0.256 10.0.0.1 any -P in none;", "expected an address"),
        ("spdadd 10.0.0.0/33 10.0.0.1 any -P in none;", "at most 32"),
        ("spdadd tagged \"x\" -P in none;", "a feature of BSD"),
        ("spdadd a_b 10.0.0.1 any -P in none;", "f:1:8: error: `a_b` is no name"),
        ("spdadd gw_2.example.org[22] ::1 any -P in none;", "`gw_2.example.org` is no name"),
        ("spdadd gw.example.org_2/8 ::1 any -P in none;", "`gw.example.org_2` is no name"),
        ("add 10.0.0.1 10.0.0.2_ esp 300 -E null;", "f:1:14: error: `10.0.0.2_` is no name"),
    ] {
        let said = said(text);
        assert!(said.contains("error") && said.contains(why), "{text}: {said}");
    }
}

/// getaddrinfo reads all that inet_aton reads.
#[test]
fn addresses_in_old_forms_are_read_with_a_warning_that_says_which_they_are() {
    let text = "spdadd 10.1/16[22] 192.168.001.010 tcp -P out ipsec esp/tunnel/10.2-10.0.3/require;";
    let expected = "f:1:8: warning: `10.1` is read as 10.0.0.1, as setkey read it
f:1:20: warning: `192.168.001.010` is read as 192.168.1.8, as setkey read it
f:1:64: warning: `10.2` is read as 10.0.0.2, as setkey read it
f:1:69: warning: `10.0.3` is read as 10.0.0.3, as setkey read it
";
    assert_eq!(said(text), expected);
    let policy = policy(text);
    assert_eq!(format!("{:?}", policy.selector), "10.0.0.1/16[22] 192.168.1.8[any] 6 out");
    let Mode::Tunnel { src, dst } = &rules(&policy)[0].mode else { panic!() };
    assert_eq!((src.to_string(), dst.to_string()), ("10.0.0.2".to_owned(), "10.0.0.3".to_owned()));
    let SaProtocol::EspUdp { original } = sa("esp-udp 10.9 1000 -E null").id.protocol else { panic!() };
    assert_eq!(original, Some("10.0.0.9".parse().unwrap()));
    assert!(said("spdadd -6 10.1 ::1 any -P in none;").contains("not of the family"));
    for wrong in ["10", "10.0.08.1", "10.0.65536", "1.2.3.4."] {
        assert!(
            said(&format!("spdadd {wrong} 10.0.0.1 any -P in none;")).contains("expected an address"),
            "{wrong}"
        );
    }
}

#[test]
fn words_of_setkeys_own_are_not_looked_up_as_hosts() {
    for (text, word) in [
        ("spdadd any any any -P out none;", "any"),
        ("spdadd 10.0.0.1\nspdadd 10.0.0.1 10.0.0.2 any -P out none;", "spdadd"),
        ("add 10.0.0.1 esp 300 -E null;", "esp"),
        ("get tcp 10.0.0.1 esp 300;", "tcp"),
    ] {
        let files = Memory::new().with_host(word, &["10.0.0.1".parse().unwrap()]);
        let (read, said) = parse("f", text.as_bytes(), &files);
        let expected = format!("expected an address, found `{word}`, which is a word of setkey's own");
        assert!(read.is_none() && said.to_string().contains(&expected), "{text}: {said}");
    }
    assert!(said("spdadd any any any -P out none;").contains("every address is `0.0.0.0/0`, or `::/0`"));
}

#[test]
fn errors_are_all_reported_and_the_next_command_is_read() {
    let text = "spdflus;\nspdadd 10.0.0.1 10.0.0.2 any -P sideways none;\nflush\nspdflush;\nadd 1 2;\nupdate;\nspddump";
    let expected = "f:1:1: error: expected a command (`spdadd`, `add`, `flush`, ...), found `spdflus` (did you mean `spdflush`?)
f:2:33: error: expected `in`, `out` or `fwd`, found `sideways`
f:3:5: error: expected `;` after this
f:5:5: error: expected an address, found `1`
f:6:1: error: `update` is not supported (setkey 0.8 did not have it)
f:7:7: error: expected `;` after this
";
    assert_eq!(said(text), expected);
    assert!(parse_text(text).0.is_none());
}

#[test]
fn what_cannot_be_seen_is_named() {
    assert!(said("\u{feff}spdflush;").starts_with(
        "f:1:1: error: expected a command (`spdadd`, `add`, `flush`, ...), found U+FEFF (a byte order mark)"
    ));
    let blank = said("spdadd 10.0.0.1\u{a0}10.0.0.2 any -P in none;");
    assert!(blank.starts_with("f:1:16: error: ") && blank.contains("found U+00A0"), "{blank}");
    assert!(said("flush\u{200b};").contains("found U+200B"));
}

#[test]
fn comments_in_policies_and_backslashes_are_taken_with_a_warning() {
    let text =
        "spdadd 10.0.0.1 10.0.0.2 any \\\n -P out ipsec # old: ah/transport//use;\n esp/transport//require;";
    let expected = "f:1:30: warning: `\\` at the end of a line means nothing here: it is read as a blank
f:2:15: warning: a comment inside a policy: setkey would not have read it
";
    assert_eq!(said(text), expected);
    assert_eq!(rules(&policy(text)).len(), 1);
}

#[test]
fn only_two_flushes_at_the_head_replace_the_set() {
    assert!(file("flush; spdflush; spddump;").replaces);
    assert!(file("# x\nspdflush;\nflush;").replaces);
    assert!(!file("spdflush;").replaces);
    assert!(!file("flush esp; spdflush;").replaces);
    assert!(!file("spdadd ::1 ::2 any -P in none; flush; spdflush;").replaces);
    assert!(!file("").replaces);
}

fn set(text: &str, copies: FwdCopies) -> (Vec<String>, String) {
    let (set, diagnostics) = PolicySet::of(&[file(text)], copies);
    let show = |policy: &SpdPolicy| {
        let level = match &policy.action {
            PolicyAction::Ipsec(rules) => {
                format!("{:?}", rules.iter().map(|rule| rule.level).collect::<Vec<_>>())
            }
            other => format!("{other:?}"),
        };
        format!("{:?} {level} {}", policy.selector, policy.place.line)
    };
    (set.policies.iter().map(show).collect(), diagnostics.to_string())
}

#[test]
fn each_in_policy_has_its_fwd_copy_whose_first_rule_is_not_unique() {
    let text = "spdadd ::1 ::2 any -P out ipsec esp/transport//unique:5;
spdadd ::2 ::1 any -P in ipsec esp/transport//unique:5 ah/transport//use;
spdadd ::3 ::1 any -P in none;
spdadd ::4 ::1 any -P in ipsec esp/transport//use;
spdadd ::5 ::1 any -P in ipsec esp/transport;";
    let (with, said) = set(text, FwdCopies::Made);
    let expected = [
        "::1[any] ::2[any] 0 out [Unique(Some(5))] 1",
        "::2[any] ::1[any] 0 in [Unique(Some(5)), Use] 2",
        "::2[any] ::1[any] 0 fwd [Require, Use] 2",
        "::3[any] ::1[any] 0 in None 3",
        "::3[any] ::1[any] 0 fwd None 3",
        "::4[any] ::1[any] 0 in [Use] 4",
        "::4[any] ::1[any] 0 fwd [Use] 4",
        "::5[any] ::1[any] 0 in [Default] 5",
        "::5[any] ::1[any] 0 fwd [Default] 5",
    ];
    assert_eq!((with.as_slice(), said.as_str()), (&expected.map(str::to_owned)[..], ""));
    assert_eq!(set(text, FwdCopies::NotMade).0.len(), 5);
}

#[test]
fn a_written_fwd_policy_stands_before_a_copy() {
    let discard = "spdadd ::2 ::1 any -P fwd discard;";
    let none = "spdadd ::2 ::1 any -P in none;";
    for text in [format!("{discard}\n{none}"), format!("{none}\n{discard}")] {
        let (set, said) = set(&text, FwdCopies::Made);
        assert_eq!((set.len(), said.as_str()), (2, ""));
        assert!(set.iter().any(|policy| policy.contains("fwd Discard")), "{set:?}");
    }
}

#[test]
fn commands_are_played_in_order() {
    let in_policy = "spdadd 10.0.0.1 10.0.0.2 any -P in none;";
    assert_eq!(
        set(&format!("{in_policy} spddelete 10.0.0.1 10.0.0.2 any -P in;"), FwdCopies::Made).0.len(),
        0
    );
    assert_eq!(set(&format!("{in_policy} spdflush;"), FwdCopies::Made).0.len(), 0);
    let (_, said) = set("spddelete 10.0.0.1 10.0.0.2 any -P in;", FwdCopies::Made);
    assert!(said.contains("f:1:1: warning: no entry"), "{said}");
    let (updated, _) =
        set(&format!("{in_policy}\nspdupdate 10.0.0.1 10.0.0.2 any -P in discard;"), FwdCopies::Made);
    assert_eq!(
        updated,
        ["10.0.0.1[any] 10.0.0.2[any] 0 in Discard 2", "10.0.0.1[any] 10.0.0.2[any] 0 fwd Discard 2"]
    );
}

#[test]
fn a_policy_added_twice_is_told() {
    let one = "spdadd 10.0.0.0/8 ::ffff any -P in none;".replace("::ffff", "10.9.0.0/16");
    let (_, same) = set(&format!("{one}\n{one}"), FwdCopies::Made);
    assert_eq!(same, "f:2:1: warning: this policy is there already: it was added at f:1:1\n");
    let other = one.replace("none", "discard").replace("10.0.0.0/8", "10.1.2.3/8");
    let (_, clash) = set(&format!("{one}\n{other}"), FwdCopies::Made);
    assert!(
        clash.starts_with("f:2:1: error: another policy for the same traffic was added at f:1:1"),
        "{clash}"
    );
}

#[test]
fn what_the_daemon_cannot_key_is_named() {
    let (set, _) = PolicySet::of(
        &[file(
            "spdadd ::1 ::2 any -P out ipsec esp/transport//require;
spdadd ::1 ::3 any -P out ipsec ah/transport//require;
spdadd ::1 ::4 any -P out ipsec esp/tunnel/::1-::4/require;
spdadd ::1 ::5 any -P out ipsec ipcomp/transport//use esp/transport//require;
spdadd ::1 ::6 any -P out ipsec esp/transport//use esp/transport//require;
spdadd ::1 ::7 any -ctx 1 1 \"x\" -P out ipsec esp/transport//require;
spdadd ::8 ::1 any -P in discard;",
        )],
        FwdCopies::Made,
    );
    let said = check_keyable(&set.policies, false).to_string();
    let places: Vec<&str> = said.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["f:2:33", "f:3:33", "f:4:33", "f:5:52", "f:6:1"], "{said}");
    let ignoring = check_keyable(&set.policies, true);
    assert_eq!((ignoring.errors(), ignoring.warnings()), (4, 1));
}

#[test]
fn a_port_without_a_protocol_is_what_ikev2_cannot_say() {
    let check = |text: &str| check_keyable(&PolicySet::of(&[file(text)], FwdCopies::Made).0.policies, false);
    let keyed = check("spdadd ::1[1701] ::2 any -P out ipsec esp/transport//require;");
    assert_eq!(keyed.errors(), 0);
    assert!(
        keyed
            .to_string()
            .starts_with("f:1:1: warning: IKEv2 has no traffic selector with ports and protocol `any`"),
        "{keyed}"
    );
    for fine in [
        "spdadd ::1[1701] ::2 any -P out none;",
        "spdadd ::2[1701] ::1 any -P in ipsec esp/transport//require;",
        "spdadd ::1[1701] ::2 udp -P out ipsec esp/transport//require;",
        "spdadd ::1 ::2 any -P out ipsec esp/transport//require;",
    ] {
        assert_eq!(check(fine).to_string(), "", "{fine}");
    }
}

#[test]
fn no_key_is_ever_rendered() {
    let text = "add 10.0.0.1 10.0.0.2 esp 300 -E aes-cbc sesame -A hmac-md5 \"sesame\";
add 10.0.0.1 10.0.0.2 esp 300 -E aes-cbc \"sesame\" -A hmac-md5 0x5e5a6e;
add 10.0.0.1 10.0.0.2 esp 300 -E frob sesame; add 10.0.0.1 10.0.0.2 esp 300 0x5e5a6e5e5a6e \"sesame\"; add \"sesame";
    let text =
        &format!("add ::1 ::2 esp 300 -Eaes-cbc sesame; add ::1 ::2 esp 300 -r4-E null sesame;\n{text}");
    let (file, diagnostics) = parse("f", text.as_bytes(), &Memory::new());
    let shown = diagnostics.render(false) + &format!("{diagnostics}{diagnostics:?}");
    assert!(file.is_none() && diagnostics.errors() >= 5, "{diagnostics}");
    assert!(!shown.contains("sesame") && !shown.contains("5e5a6e"), "{shown}");
    let whole = format!("{:?}", sa("esp 300 -E aes-cbc \"sesamesesame1234\""));
    assert!(!whole.contains("sesame") && whole.contains("Secret(16 octets)"), "{whole}");
}

#[test]
fn a_hundred_thousand_policies_are_read_in_linear_time() {
    let one = |n: u32| {
        let addr = std::net::Ipv4Addr::from(0x0a00_0000 + n);
        format!(
            "spdadd 192.0.2.1 {addr} any -P out ipsec esp/transport//require;\nspdadd {addr} 192.0.2.1 any -P in ipsec esp/transport//require; "
        )
    };
    let text: String = (0..100_000).map(one).collect();
    let (set, diagnostics) = PolicySet::of(&[file(&text)], FwdCopies::Made);
    assert_eq!((set.policies.len(), diagnostics.is_empty()), (300_000, true));
}

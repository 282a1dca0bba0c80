use super::*;
use crate::files::{FileFacts, Memory};

const GOOD: &str = "0x9d507d3c6fd6c78d17d5438c5d2d4138a90f99980ea3248615ed94ad886d8412";

fn keys(text: &str) -> (PskFile, String) {
    let (file, diagnostics) = parse("psk.txt", text.as_bytes());
    (file.unwrap_or_else(|| panic!("{diagnostics}")), diagnostics.to_string())
}

fn said(text: impl AsRef<[u8]>) -> String {
    parse("psk.txt", text.as_ref()).1.to_string()
}

#[test]
fn a_key_is_the_rest_of_the_line() {
    let (file, _) = keys("192.0.2.1 \t a key, with # and blanks  \n# no entry\n\nx@example.org y\n");
    assert_eq!(file.lookup("192.0.2.1").unwrap().expose(), b"a key, with # and blanks  ");
    assert_eq!(file.lookup("x@example.org").unwrap().expose(), b"y");
    assert_eq!(file.entries().len(), 2);
    assert_eq!(file.entries()[1].place.to_string(), "psk.txt:4:1");
    assert_eq!(file.lookup("# no"), None);
}

#[test]
fn a_key_of_any_length_is_whole() {
    for len in [64, 65, 128, 1000] {
        let key: String = ('!'..='~').cycle().take(len).collect();
        let (file, _) = keys(&format!("192.0.2.1 {key}\n"));
        assert_eq!(file.lookup("192.0.2.1").unwrap().expose(), key.as_bytes(), "{len}");
    }
}

#[test]
fn hexadecimal_keys_are_decoded() {
    let (file, said) = keys(&format!("a {GOOD}\nb 0x00 ff\t10"));
    assert_eq!(file.lookup("a").unwrap().len(), 32);
    assert_eq!(file.lookup("b").unwrap().expose(), [0, 255, 16]);
    assert_eq!(said.lines().count(), 1, "{said}");
    for bad in ["0x", "0x1", "0x12345", "0xgg", "0x12z4", "0x \t"] {
        assert!(said_error(&format!("peer {bad}")).contains("key of `peer` is malformed"), "{bad}");
    }
}

fn said_error(text: &str) -> String {
    let (file, diagnostics) = parse("psk.txt", text.as_bytes());
    assert_eq!(file, None);
    diagnostics.to_string()
}

#[test]
fn the_first_line_wins_and_the_star_is_last() {
    let (file, said) = keys("* star\nid one\nid two\n192.0.2.1 address\n");
    assert_eq!(file.lookup("id").unwrap().expose(), b"one");
    assert_eq!(file.lookup("other").unwrap().expose(), b"star");
    assert_eq!(file.lookup_any(["unknown", "192.0.2.1"]).unwrap().key.expose(), b"address");
    assert_eq!(file.lookup_any(["id", "192.0.2.1"]).unwrap().place.line, 2);
    assert!(said.contains("psk.txt:3:1: warning: a second key for `id`: line 2 is used"), "{said}");
    assert_eq!(keys("a b\n").0.lookup("c"), None);
}

#[test]
fn identities_are_exact_text() {
    let (file, _) = keys("2001:DB8::1 k\n10.0.0.01 k\n");
    assert_eq!(file.lookup("2001:db8::1"), None);
    assert_eq!(file.lookup("10.0.0.1"), None);
}

#[test]
fn weak_keys_are_named_by_identity_not_by_value() {
    for weak in [
        "hunter2",
        "0x1234567890abcdef",
        "correcthorse",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890",
        "0x000000000000000000000000000000000000000000",
    ] {
        let text = said(format!("# x\nbox7 {weak}\n"));
        assert!(text.starts_with("psk.txt:2:1: warning: the pre-shared key of `box7` is weak"), "{text}");
        assert!(!text.contains(weak));
    }
    assert_eq!(said(format!("box7 {GOOD}\n")), "");
    assert_eq!(said("box7 kT9x.vB2-qLmW8rZ#pHd4s\n"), "");
}

#[test]
fn what_cannot_be_meant_is_said() {
    assert!(said("word\n").contains("psk.txt:1:1: warning: the line has one word only"));
    assert!(said(" id key\n").contains("begins with a blank"));
    assert!(said(format!("id {GOOD}x \n")).contains("malformed"));
    assert!(said("id sDf82jXMnaPq93mnzXvcPq92mXx \n").contains("ends in a blank"));
    assert!(said_error(&format!("a {}\n", "k".repeat(1022))).contains("longer than 1023"));
    assert!(said("id a\0b\n").contains("NUL"));
    let dos = said(format!("a {GOOD}\r\nb {GOOD}\r\n"));
    assert_eq!(dos.matches("carriage return").count(), 1, "{dos}");
    assert_eq!(keys(&format!("a {GOOD}\r\n")).0.lookup("a").unwrap().len(), 32);
}

#[test]
fn a_byte_order_mark_is_left_out_with_a_word() {
    let (file, said) = keys(&format!("\u{feff}192.0.2.1 {GOOD}\n192.0.2.2 {GOOD}\n"));
    assert_eq!(file.lookup("192.0.2.1").unwrap().len(), 32);
    assert_eq!(file.entries()[0].place.to_string(), "psk.txt:1:2");
    assert_eq!(
        said,
        "psk.txt:1:1: warning: the file begins with a byte order mark (U+FEFF), which is left out (racoon took it into the first identity) (save the file without one)\n"
    );
    assert_eq!(keys("\u{feff}# no entry\n").0.entries().len(), 0);
    assert_eq!(keys(&format!("192.0.2.1 {GOOD}\n\u{feff}x {GOOD}")).0.lookup("x"), None);
}

#[test]
fn no_key_is_ever_rendered() {
    let text = b"lonely-sesame\n#old sesame1\nid sesame2\n\xff\xfe sesame3\r\nx 0xsesame4\n id sesame5\nid sesame6 \n";
    let (_, diagnostics) = parse("psk.txt", text);
    let shown = diagnostics.render(false) + &format!("{diagnostics}{diagnostics:?}");
    assert!(diagnostics.errors() == 1 && diagnostics.warnings() > 5);
    assert!(!shown.contains("sesame"), "{shown}");
}

#[test]
fn the_file_must_be_private() {
    let facts = |mode, owner, regular| FileFacts { regular, owner, mode };
    let text = |facts, check| {
        let files = Memory::new().with_facts("/psk", facts, format!("a {GOOD}\n"));
        load(Path::new("/psk"), &files, check).1.to_string()
    };
    assert_eq!(text(facts(0o600, 0, true), true), "");
    assert_eq!(text(facts(0o400, 0, true), true), "");
    assert_eq!(text(facts(0o666, 7, false), false), "");
    assert_eq!(
        text(facts(0o640, 0, true), true),
        "/psk: error: the pre-shared keys have weak file permission 0640, expected 0600 (`chmod 600` the file)\n"
    );
    assert!(text(facts(0o604, 0, true), true).contains("0604"));
    assert!(text(facts(0o600, 7, true), true).contains("invalid owner uid 7, expected 0"));
    assert!(text(facts(0o600, 0, false), true).contains("must be in a regular file"));
    let (file, missing) = load(Path::new("/none"), &Memory::new(), true);
    assert!(file.is_none());
    assert_eq!(missing.to_string(), "/none: error: cannot read the pre-shared keys: no such file\n");
}

#[test]
fn a_hundred_thousand_keys_are_found_at_once() {
    let text: String =
        (0..100_000).map(|n| format!("10.{}.{}.{} {GOOD}\n", n >> 16, n >> 8 & 255, n & 255)).collect();
    let (file, _) = keys(&text);
    for n in (0..100_000).step_by(7) {
        assert!(file.lookup(&format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)).is_some());
    }
}

proptest::proptest! {
    #[test]
    fn any_octets_are_survived(octets: Vec<u8>) {
        let _ = parse("x", &octets).1.render(true);
    }

    #[test]
    fn any_lines_are_survived(text in "([a*#]{0,2}[ \t]{0,2}(0x)?[0-9a-fg \r\x00é]{0,9}\n?){0,9}") {
        let _ = parse("x", text.as_bytes()).1.render(true);
    }
}

#[test]
fn a_network_is_for_its_addresses_smallest_first() {
    let text = "10.0.0.0/8 wide\n10.1.0.0/16 narrow\n10.1.255.9/16 second\n10.1.1.1 host\n10.1.1.1/32 never\n2001:db8::/32 six\n0.0.0.0/0 all\n";
    let (file, said) = keys(text);
    let key = |name: &str| file.lookup(name).map(|key| String::from_utf8_lossy(key.expose()).into_owned());
    assert_eq!(key("10.1.1.1").as_deref(), Some("host"));
    assert_eq!(key("10.1.1.2").as_deref(), Some("narrow"));
    assert_eq!(key("10.2.0.1").as_deref(), Some("wide"));
    assert_eq!(key("192.0.2.1").as_deref(), Some("all"));
    assert_eq!(key("2001:db8:1::1").as_deref(), Some("six"));
    assert_eq!((key("2001:db9::1"), key("peer.example.org")), (None, None));
    // A peer whose identity is that text: as racoon had it.
    assert_eq!(key("10.0.0.0/8").as_deref(), Some("wide"));
    // The name before the address, the address before the network.
    let line = |ids: &[&str]| file.lookup_any(ids).map(|entry| entry.place.line);
    assert_eq!((line(&["x", "10.1.1.9"]), line(&["10.1.1.9", "10.1.1.1"])), (Some(2), Some(4)));
    assert!(!said.contains("comes before the `*` line"), "{said}");
    for text in ["10.0.0.0/33 k", "10.0.0.0/ k", "10.0.0.0/+8 k", "a/8 k", "::/129 k"] {
        assert_eq!(keys(text).0.entries()[0].net(), None, "{text}");
    }
}

#[test]
fn a_pair_is_for_either_of_its_ends() {
    let text = "a.example.org<>b.example.org ab\n192.0.2.1<>192.0.2.2 one\n192.0.2.2 plain\nc<> odd\n<>c odd\na.example.org<>b.example.org later\n";
    let (file, _) = keys(text);
    let key = |own: &[&str], peer: &str| {
        let own: Vec<String> = own.iter().map(|name| (*name).to_owned()).collect();
        file.for_host(&own)
            .lookup_any([peer])
            .map(|entry| String::from_utf8_lossy(entry.key.expose()).into_owned())
    };
    assert_eq!(key(&["a.example.org"], "b.example.org").as_deref(), Some("ab"));
    assert_eq!(key(&["x", "b.example.org"], "a.example.org").as_deref(), Some("ab"));
    assert_eq!((key(&["a.example.org"], "a.example.org"), key(&["x"], "b.example.org")), (None, None));
    assert_eq!(key(&["192.0.2.1"], "192.0.2.2").as_deref(), Some("one"));
    assert_eq!(key(&["192.0.2.3"], "192.0.2.2").as_deref(), Some("plain"));
    // As racoon had it: text.
    assert_eq!(key(&[], "192.0.2.1<>192.0.2.2").as_deref(), Some("one"));
    assert_eq!(key(&[], "c<>").as_deref(), Some("odd"));
    assert_eq!(key(&["c"], ""), None);
    let view = file.for_host(&["192.0.2.1".to_owned()]);
    let first = view.by_identity().next().map(|(id, entry)| (id.to_vec(), entry.place.line));
    assert_eq!(first, Some((b"192.0.2.2".to_vec(), 2)));
}

#[test]
fn base64_has_a_form_that_racoon_refused_and_0s_stays_text() {
    let (file, said) =
        keys("a 0xbase64:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY= \nb 0sQUJDREVGR0hJSktMTU5PUFFSU1Q=\n");
    assert_eq!(file.lookup("a").unwrap().expose(), b"ABCDEFGHIJKLMNOPQRSTUVWXYZ123456");
    assert_eq!(file.lookup("b").unwrap().expose(), b"0sQUJDREVGR0hJSktMTU5PUFFSU1Q=");
    assert!(said.contains("psk.txt:2:1: warning: the key of `b` is taken as text, `0s` included"), "{said}");
    for bad in ["0xbase64:", "0xbase64:Q", "0xbase64:QUJD REVG", "0xbase64:-_-_"] {
        assert!(
            said_error(&format!("peer {bad}")).contains("the base64 key of `peer` is malformed"),
            "{bad}"
        );
    }
    assert!(!keys("b 0shared-secret-of-some-length\n").1.contains("0s` included"));
}

#[test]
fn one_key_for_many_is_told_and_not_shown() {
    let lines = |n: u32| (0..n).map(|n| format!("host{n} {GOOD}\n")).collect::<String>();
    assert_eq!(said(lines(3)), "");
    let text = said(lines(5));
    assert_eq!(
        text,
        "psk.txt:1:1: warning: the pre-shared key of `host0` is that of 4 other lines too: whoever has it can pretend to be any of them (give each pair a key of its own)\n"
    );
    assert!(!text.contains(&GOOD[2..]));
}

#[test]
fn lines_that_the_wildcard_hid_from_racoon_are_told() {
    let other = GOOD.replace('9', "8");
    assert_eq!(said(format!("a {GOOD}\n* {other}\n")), "");
    let text = said(format!("* {GOOD}\nb {GOOD}\na {other}\n"));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("psk.txt:3:1: warning: `a` stands below the `*` line"), "{text}");
    let text = said(format!("10.0.0.0/8 {GOOD}\n* {other}\n"));
    assert!(
        text.starts_with(
            "psk.txt:1:1: warning: `10.0.0.0/8` is a network here and comes before the `*` line"
        ),
        "{text}"
    );
}

#[test]
fn slips_that_racoon_passed_over_are_named_and_show_no_key() {
    for (id, right) in [
        ("192.0.2.1:", "192.0.2.1"),
        ("192.0.2.1[500]", "192.0.2.1"),
        ("192.0.2.1=", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:db8:0::1", "2001:db8::1"),
        ("192.0.2.01", "192.0.2.1"),
        ("010.00.0.1", "10.0.0.1"),
    ] {
        let said = said(format!("{id} {GOOD}\n"));
        assert!(said.contains(&format!("no peer is called `{id}`")), "{said}");
        assert!(said.contains(&format!("(write {right})")) && !said.contains("9d507d3c"), "{said}");
    }
    let secret = "Rk3vNq81mZtW5xYp0aHc7dJf2gLs4uQe9b";
    for (key, part) in [
        (format!("\"{secret}\""), "the quotes"),
        (format!("'{secret}'"), "the quotes"),
        (format!("= {secret}"), "the mark in front"),
        (format!(": {secret}"), "the mark in front"),
        (format!("{secret} # of beta"), "the `#` and what follows"),
    ] {
        let (file, said) = keys(&format!("beta {key}\n"));
        assert_eq!(file.lookup("beta").unwrap().expose(), key.as_bytes(), "it is a part of it all the same");
        assert!(said.contains(part) && !said.contains(secret), "{said}");
    }
    for id in [
        "192.0.2.1",
        "2001:db8::1",
        "::",
        "2001:db8::",
        "192.0.2.0/24",
        "a.example.org",
        "192.0.2.1<>192.0.2.2",
    ] {
        let said = said(format!("{id} {secret}\n"));
        assert!(said.is_empty(), "{said}");
    }
}

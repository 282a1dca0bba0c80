//! Whatever octets come: an error or a model, never a panic.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use coati_config::diag::Diagnostics;
use coati_config::files::Memory;
use coati_config::racoon::Feature;
use coati_config::setkey::{FwdCopies, PolicySet, check_keyable};
use coati_config::{psk, racoon, setkey};
use proptest::prelude::*;

/// Parses with one language and renders everything that was said.
fn read(language: &str, octets: &[u8]) -> (bool, String) {
    let files = Memory::new().with("/x/a.conf", "log info;").with("/etc/protocols", octets);
    let (accepted, diagnostics): (bool, Diagnostics) = match language {
        "racoon" => {
            let (config, said) = racoon::parse(Path::new("/x/r"), octets, &files);
            if let Some(config) = &config {
                let _ = config.refuse_all_but(&[Feature::Passive]);
                let _ = config.remote_for([192, 0, 2, 1].into());
            }
            (config.is_some(), said)
        }
        "setkey" => {
            let (file, said) = setkey::parse("s", octets, &files);
            if let Some(file) = &file {
                let (set, _) = PolicySet::of(std::slice::from_ref(file), FwdCopies::Made);
                let _ = check_keyable(&set.policies, true);
            }
            (file.is_some(), said)
        }
        _ => {
            let (file, said) = psk::parse("p", octets);
            (file.is_some(), said)
        }
    };
    assert_eq!(accepted, !diagnostics.has_errors());
    let mut shown = diagnostics.render(true);
    write!(shown, "{diagnostics}").expect("a string");
    (accepted, shown)
}

const EXAMPLES: [(&str, &str); 3] =
    [("racoon", "racoon.conf"), ("setkey", "ipsec-tools.conf"), ("psk", "psk.txt")];

fn example(file: &str) -> Vec<u8> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/mesh/box01").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn files_cut_at_every_octet_are_survived() {
    for (language, file) in EXAMPLES {
        let octets = example(file);
        let verdicts: Vec<bool> = (0..=octets.len()).map(|end| read(language, &octets[..end]).0).collect();
        assert!(verdicts[0] && verdicts[octets.len()], "{file}");
        // A cut inside a statement is an error: most of them are.
        let refused = verdicts.iter().filter(|accepted| !**accepted).count();
        assert!(language == "psk" || refused * 3 > octets.len(), "{file}: {refused} of {}", octets.len());
    }
}

/// The project's own files, which have every construct: cut at every octet they are read or refused. What is left of one that is
/// accepted says no more than the whole, but for the cut and the blocks it leaves open.
#[test]
fn every_construct_is_survived_cut_at_every_octet() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let files = Memory::new().with("/x/conf.d/fragment.conf", "log info;");
    for language in ["racoon", "setkey", "psk"] {
        let entries = std::fs::read_dir(root.join(language)).expect("a folder for each language");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        for path in paths.filter(|path| path.is_file() && path.extension().is_none_or(|end| end != "json")) {
            let octets = std::fs::read(&path).expect("a file");
            let whole = parse(language, &octets, &files).1;
            for end in 0..octets.len() {
                let (accepted, said) = parse(language, &octets[..end], &files);
                assert_eq!(accepted, !said.has_errors());
                assert!(said.errors() <= whole.errors() + 4, "{} cut at {end}: {said}", path.display());
            }
        }
    }
}

/// Parses with one language.
fn parse(language: &str, octets: &[u8], files: &Memory) -> (bool, Diagnostics) {
    match language {
        "racoon" => {
            let (config, said) = racoon::parse(Path::new("/x/r"), octets, files);
            (config.is_some(), said)
        }
        "setkey" => {
            let (file, said) = setkey::parse("s", octets, files);
            (file.is_some(), said)
        }
        _ => {
            let (file, said) = psk::parse("p", octets);
            (file.is_some(), said)
        }
    }
}

#[test]
fn no_line_of_the_examples_can_be_garbled_in_silence() {
    for (language, file) in EXAMPLES.into_iter().filter(|(language, _)| *language != "psk") {
        let octets = example(file);
        let text = String::from_utf8(octets).expect("text");
        for (number, line) in text.lines().enumerate() {
            let code = line.split('#').next().unwrap_or_default().trim();
            if code.is_empty() || matches!(code, "}" | "proposal {") {
                continue;
            }
            let garbled: String = text
                .lines()
                .enumerate()
                .map(|(n, line)| if n == number { line.replacen(code, &format!("zz{code}"), 1) } else { line.to_owned() } + "\n")
                .collect();
            let (accepted, said) = read(language, garbled.as_bytes());
            assert!(!accepted && said.contains(&format!(":{}:", number + 1)), "{file}:{} {said}", number + 1);
        }
    }
}

#[test]
fn octets_put_anywhere_are_survived() {
    for (language, file) in EXAMPLES {
        let octets = example(file);
        for foreign in [
            &b"\0"[..],
            b"\xff",
            b"\xc3",
            b"\"",
            b"{",
            b"}",
            b";",
            b"#",
            b"\\\n",
            b"[",
            b"99999999999999999999",
            b"%",
            "é".as_bytes(),
        ] {
            for at in (0..octets.len()).step_by(3) {
                let mut changed = octets.clone();
                changed.splice(at..at, foreign.iter().copied());
                read(language, &changed);
            }
        }
    }
}

#[test]
fn very_long_tokens_and_very_deep_blocks_are_survived() {
    for language in ["racoon", "setkey", "psk"] {
        for unit in [
            "a",
            "9",
            "{",
            "}",
            "(",
            "[",
            "/",
            "-",
            "\"",
            "\"\" ",
            ";",
            "# \n",
            "\\\n",
            "remote",
            "sainfo anonymous {",
            "flush;",
            "é",
            "0x",
            "a 1a2b3c ",
        ] {
            let text = unit.repeat(200_000 / unit.len());
            read(language, text.as_bytes());
        }
    }
}

/// Words of a language in any order: more of them reach deep places than arbitrary octets do.
fn soup(words: &'static str) -> impl Strategy<Value = String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    prop::collection::vec((prop::sample::select(words), prop::sample::select(vec!["", " ", "\n"])), 0..60)
        .prop_map(|pairs| pairs.into_iter().map(|(word, blank)| format!("{word}{blank}")).collect())
}

const RACOON: &str = r#"remote anonymous inherit { } ; ; { } exchange_mode main aggressive , proposal encryption_algorithm aes 3des 128
    hash_algorithm sha1 sha256 authentication_method pre_shared_key rsasig dh_group 2 14 lifetime time 8 hour sec min
    sainfo address 10.0.0.0 / 8 any [ ] - = ( ) from group "x" "" "a.conf" include path certificate listen isakmp adminsock
    timer counter interval privsep user my_identifier peers_identifier fqdn asn1dn keyid tag "C=DE" ~ # \ nat_traversal force
    pfs_group compression_algorithm deflate authentication_algorithm hmac_sha1 on off mode_cfg dns4 ::1 fe80::1%eth0 "#;
const SETKEY: &str = r#"spdadd spddelete spdupdate add delete deleteall get flush spdflush exit ; ; -P in out fwd prio def low + - 100
    10.0.0.1 ::1 / 8 32 [ ] any tcp icmp 8,0 gre ipsec none discard esp ah transport tunnel require unique:3 // -E aes-cbc -A
    hmac-sha256 null 0x0123456789abcdef0123456789abcdef "key" -m -r -lh -f zero-pad -ctx -4 -n 0x1000 # \ , esp-udp ipcomp -C deflate "#;

proptest! {
    #[test]
    fn any_octets_are_survived(octets: Vec<u8>, language in prop::sample::select(vec!["racoon", "setkey", "psk"])) {
        read(language, &octets);
    }

    #[test]
    fn any_order_of_racoons_words_is_survived(text in soup(RACOON)) {
        read("racoon", text.as_bytes());
    }

    #[test]
    fn any_order_of_setkeys_words_is_survived(text in soup(SETKEY)) {
        read("setkey", text.as_bytes());
    }
}

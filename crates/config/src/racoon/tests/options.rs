//! The table of options is what the parser does, and what the page says.

use super::super::options::{Block, Fate, OPTIONS, OptionRow, markdown};
use super::*;
use crate::diag::{Note, Severity};

/// A whole file with this option in it.
fn file_with(row: &OptionRow) -> String {
    let body = if row.written.starts_with("sainfo") {
        SAINFO
    } else {
        &format!("{{ exchange_mode main; {PROPOSAL} }}")
    };
    let proposal = |without: &str, line: &str| {
        let lines = [
            "encryption_algorithm aes;",
            "hash_algorithm sha256;",
            "authentication_method pre_shared_key;",
            "dh_group 14;",
        ];
        let kept: String = lines.into_iter().filter(|line| !line.starts_with(without)).collect();
        let own = if line.contains("rsasig") { "certificate_type x509 \"c\" \"k\";" } else { "" };
        format!("remote \"x\" {{ exchange_mode main; {own} proposal {{ {kept} {line} }} }}")
    };
    let keyword = row.written.split_whitespace().next().unwrap_or_default();
    match row.block {
        Block::Top if row.written.contains("{ ... }") => {
            let text = row.written.replace("{ ... }", body);
            if text.contains("inherit") { format!("remote \"name\" {body} {text}") } else { text }
        }
        Block::Top => row.written.to_owned(),
        Block::Listen => format!("listen {{ {} }}", row.written),
        Block::Timer => format!("timer {{ {} }}", row.written),
        Block::Privsep => format!("privsep {{ {} }}", row.written),
        Block::Proposal => proposal(keyword, row.written),
        Block::Remote if keyword == "proposal" => format!("remote \"x\" {body}"),
        Block::Remote => {
            let mode = if keyword == "exchange_mode" { "" } else { "exchange_mode main;" };
            // What a certificate is asked for needs one.
            let method = if row.written.starts_with("verify") {
                PROPOSAL.replace("pre_shared_key", "rsasig")
            } else {
                PROPOSAL.to_owned()
            };
            let own = if row.written.starts_with("verify") {
                "certificate_type x509 \"c\" \"k\"; peers_certfile x509 \"p\";"
            } else {
                ""
            };
            format!("remote \"x\" {{ {mode} {method} {own} {} }}", row.written)
        }
        Block::SaInfo => {
            let lines = [
                "encryption_algorithm aes;",
                "authentication_algorithm hmac_sha256;",
                "compression_algorithm deflate;",
            ];
            let kept: String = lines.into_iter().filter(|line| !line.starts_with(keyword)).collect();
            format!("sainfo anonymous {{ {kept} {} }}", row.written)
        }
    }
}

#[test]
fn every_option_has_the_fate_that_the_table_says() {
    let files = Memory::new().with("/etc/racoon/conf.d/a.conf", "");
    for row in OPTIONS {
        let text = file_with(row);
        let (config, said) = parse(Path::new("/etc/racoon/racoon.conf"), text.as_bytes(), &files);
        let is_about_mode =
            |message: &str| message.contains("exchange_mode") && !row.written.starts_with("exchange_mode");
        let is_once = |message: &str| message.starts_with("`verify_identifier` is off");
        let heard: Vec<_> =
            said.iter().filter(|d| !is_about_mode(&d.message) && !is_once(&d.message)).collect();
        let errors = heard.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
        let warnings = heard.len() - errors;
        let by_daemon = row.feature.is_some();
        let expected = match row.fate {
            Fate::AsBefore | Fate::Nearest | Fate::Nothing | Fate::NotYet => (0, 0),
            Fate::NoMeaning if by_daemon => (0, 0),
            Fate::Replaced | Fate::NoMeaning => (0, 1),
            Fate::Refused => (1, 0),
        };
        assert_eq!((errors, warnings), expected, "{row}\n{text}\n{said}");
        let wishes: Vec<Feature> =
            config.map(|config| config.uses.iter().map(|wish| wish.feature).collect()).unwrap_or_default();
        if let Some(feature) = row.feature {
            assert!(wishes.contains(&feature), "{row}: {wishes:?}");
        } else if row.fate != Fate::Refused && !text.contains("rsasig") {
            assert_eq!(wishes, [], "{row}");
        }
    }
}

#[test]
fn what_comes_nearest_is_noted_where_it_is_used_and_nothing_else_is() {
    for row in OPTIONS {
        let text = file_with(row);
        let (_, said) = parse(Path::new("/etc/racoon/racoon.conf"), text.as_bytes(), &Memory::new());
        let noted = |row: &OptionRow| said.notes().iter().filter(|note| note.meaning == row.meaning).count();
        assert_eq!(noted(row), usize::from(row.fate == Fate::Nearest), "{row}\n{text}\n{:?}", said.notes());
        let about_signatures = |note: &Note| text.contains("rsasig") && note.written.ends_with("rsasig");
        let others = said.notes().iter().filter(|note| note.meaning != row.meaning);
        assert_eq!(others.filter(|note| !about_signatures(note)).count(), 0, "{row}: {:?}", said.notes());
    }
}

#[test]
fn a_note_shows_the_option_as_the_file_has_it_once_and_also_beside_errors() {
    let text = "listen { adminsock \"/run/a.sock\" \"root\" \"adm\"\n\t0660; }\nremote 192.0.2.1 { exchange_mode main;\n  dpd_delay =20;\n  proposal { encryption_algorithm aes; hash_algorithm sha256; authentication_method pre_shared_key; dh_group 19; } }\nremote 192.0.2.2 inherit 192.0.2.1 { dpd_delay 30; rekey force; }\nsainfo anonymous { encryption_algorithm aes 256, chacha20poly1305; lifetime byte 5 MB; authentication_algorithm hmac_sha256; compression_algorithm deflate; }\n";
    let (config, said) = parse(Path::new("r.conf"), text.as_bytes(), &Memory::new());
    assert!(config.is_none() && said.errors() == 1, "{said}");
    let shown: Vec<_> =
        said.notes().iter().map(|note| format!("{} {}: {}", note.place, note.block, note.written)).collect();
    let expected = [
        "r.conf:1:10 listen: adminsock \"/run/a.sock\" \"root\" \"adm\" 0660",
        "r.conf:4:3 remote: dpd_delay =20",
        "r.conf:5:110 proposal: dh_group 19",
        "r.conf:6:52 remote: rekey force",
        "r.conf:7:41 sainfo: encryption_algorithm aes 256, chacha20poly1305",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn every_keyword_of_the_parser_is_in_the_table() {
    for (block, keyword) in parser::keywords() {
        let is_row = |row: &&OptionRow| {
            row.block == block
                && row.written.strip_prefix(&keyword).is_some_and(|rest| rest.starts_with([' ', ';']))
        };
        let is_block = OPTIONS.iter().any(|row| row.block.to_string() == keyword);
        // Other spellings of words that are there.
        let is_alias = matches!(&*keyword, "path certificates" | "path scripts" | "ldap_cfg" | "path");
        assert!(OPTIONS.iter().any(|row| is_row(&row)) || is_block || is_alias, "{block}: {keyword}");
    }
    for feature in OPTIONS.iter().filter_map(|row| row.feature) {
        assert!(!feature.to_string().is_empty());
    }
}

/// The page is written anew with `UPDATE_DOCS=1 cargo test -p coati-config the_page`.
#[test]
fn the_page_shows_the_table() {
    const BEGIN: &str = "<!-- the table of crates/config/src/racoon/options.rs -->\n";
    const END: &str = "<!-- end of the table -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/racoon-migration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (shown, after) = rest.split_once(END).expect("the table has an end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, [before, BEGIN, &markdown(), "\n", END, after].concat()).unwrap();
        return;
    }
    assert!(
        shown == format!("{}\n", markdown()),
        "docs/racoon-migration.md is behind: UPDATE_DOCS=1 cargo test -p coati-config the_page"
    );
}

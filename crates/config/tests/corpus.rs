//! Files of real estates. They keep their owners' licences and are no part of this project: the tests read them where
//! `COATI_CORPUS` says, or beside the workspace, and say so when they are not there. The tables below are about the files
//! that are usually there; of others only the verdicts are printed.

#[path = "facts/mod.rs"]
mod facts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coati_config::files::Memory;
use coati_config::{psk, racoon, setkey};

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let folder = std::env::var_os("COATI_CORPUS").map_or(beside, PathBuf::from);
    if folder.join("INDEX.md").is_file() {
        return Some(folder);
    }
    println!("no corpus in {}: set COATI_CORPUS to test with it", folder.display());
    None
}

/// What a file comes to: errors, then what was said.
fn verdicts(folder: &Path, language: &str) -> BTreeMap<String, (usize, String)> {
    let mut all = BTreeMap::new();
    let entries =
        std::fs::read_dir(folder.join(language)).expect("the corpus has a folder for each language");
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let octets = std::fs::read(&path).expect("a file");
        let said = match language {
            "racoon" => racoon::parse(Path::new(&name), &octets, &Memory::new()).1,
            "setkey" => setkey::parse(&name, &octets, &Memory::new()).1,
            _ => psk::parse(&name, &octets).1,
        };
        let _ = said.render(true);
        all.insert(name, (said.errors(), said.to_string()));
    }
    all
}

/// Whether the tables below are about this folder's files; prints the verdicts if they are not.
fn is_known(folder: &Path, verdicts: &BTreeMap<String, (usize, String)>) -> bool {
    let known = folder.join("racoon/01-jack2-appliance.conf").is_file();
    for (name, (errors, said)) in verdicts.iter().filter(|_| !known) {
        let verdict = if *errors > 0 { "refused" } else { "accepted" };
        println!("{name}: {verdict}\n{said}");
    }
    known
}

/// What racoon's own parser said of each file, from the last column of the index.
fn rejected_by_the_original(folder: &Path, name: &str) -> bool {
    let index = std::fs::read_to_string(folder.join("INDEX.md")).expect("the index");
    let line = index.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap_or_default();
    line.contains("| REJECT")
}

/// Files that Coati refuses, each for the reason that must appear among its errors.
const REFUSED_RACOON: &[(&str, &str)] = &[
    ("02-linusyong-aws-xauth.conf", "31:23: error: expected `;` after this"),
    ("04-ios-spice.conf", "cannot read `/private/etc/racoon/spice.conf`"),
    ("10-rpi-docker-xauth-rsa.conf", "`xauth_rsa_server` asks for a user's password"),
    ("11-songyuan88-vps.rendered.conf", "`xauth_psk_server` asks for a user's password"),
    ("16-zouliping-kobe-vps.conf", "`xauth_psk_server` asks for a user's password"),
    ("29-acidprime-puppet-roadwarrior.rendered.conf", "`mode_cfg on` is not supported"),
    ("50-sample-gssapi.conf", "`gssapi_krb` (Kerberos) does not exist in IKEv2"),
    ("53-sample-roadwarrior-server.conf", "`xauth_rsa_server` asks for a user's password"),
    ("56-sample-racoon-conf-in.conf", "group `3` was never usable"),
    ("68-v082-roadwarrior-client.conf", "`mode_cfg on` is not supported"),
];

/// Files that racoon's parser rejected and Coati takes: users and files that were missing there, vendors' words, and what
/// racoon-compat allows beyond racoon.
const TAKEN_RACOON: &[&str] = &[
    "26-ios-iblessing.conf",
    "37-onetwotrip-chef.rendered.conf",
    "46-debian-default.conf",
    "47-arch-packaging.conf",
    "49-sample-plainrsa.conf",
    "52-sample-roadwarrior-client.conf",
    "65-v082-sample-plainrsa.conf",
    "67-v082-sample-inherit.conf",
];

#[test]
fn racoon_files_of_real_estates_get_the_verdict_they_deserve() {
    let Some(folder) = corpus() else { return };
    let verdicts = verdicts(&folder, "racoon");
    if !is_known(&folder, &verdicts) {
        return;
    }
    for (name, (errors, said)) in verdicts {
        match REFUSED_RACOON.iter().find(|(refused, _)| *refused == name) {
            Some((_, reason)) => assert!(errors > 0 && said.contains(reason), "{said}"),
            None => {
                assert_eq!(errors, 0, "{said}");
                assert_eq!(
                    rejected_by_the_original(&folder, &name),
                    TAKEN_RACOON.contains(&&*name),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn setkey_files_of_real_estates_get_the_verdict_of_setkey() {
    let Some(folder) = corpus() else { return };
    let verdicts = verdicts(&folder, "setkey");
    if !is_known(&folder, &verdicts) {
        return;
    }
    for (name, (errors, said)) in verdicts {
        // NetBSD's AEAD is taken; everything else is as setkey 0.8.2 had it.
        let wanted = rejected_by_the_original(&folder, &name) && !name.contains("netbsd-gcm");
        assert_eq!(errors > 0, wanted, "{said}");
    }
}

#[test]
fn key_files_of_real_estates_are_read() {
    let Some(folder) = corpus() else { return };
    for (_, (errors, said)) in verdicts(&folder, "psk") {
        assert_eq!(errors, 0, "{said}");
    }
}

/// What was found right when the models were read by hand against their files: a line for each block and command.
#[test]
fn models_of_real_estates_say_what_their_files_say() {
    let Some(folder) = corpus() else { return };
    if !is_known(&folder, &BTreeMap::new()) {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus.facts");
    let mut found = String::new();
    for language in ["racoon", "setkey", "psk"] {
        let entries =
            std::fs::read_dir(folder.join(language)).expect("the corpus has a folder for each language");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let octets = std::fs::read(&path).expect("a file");
            found += &facts::of(language, &name, &octets);
        }
    }
    if std::env::var_os("UPDATE_FACTS").is_some() {
        std::fs::write(&path, found).expect("the facts are written");
        return;
    }
    let written = std::fs::read_to_string(&path).expect("the facts");
    for (number, (found, written)) in found.lines().zip(written.lines()).enumerate() {
        assert_eq!(found, written, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(found.lines().count(), written.lines().count());
}

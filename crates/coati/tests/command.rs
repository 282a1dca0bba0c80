//! The built `coati` command.
#![allow(clippy::unwrap_used, reason = "a failed test is all it leads to")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn without_a_daemon_it_says_so_and_fails() {
    let output = Command::new(env!("CARGO_BIN_EXE_coati"))
        .args(["--socket", "/nonexistent/coati.sock", "status"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "coati: coatid is not running: there is no /nonexistent/coati.sock\n");
}

/// Files of one host in a directory of the test's own.
fn host(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("coati-command-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        fs::write(dir.join(name), text.replace("DIR", dir.to_str().unwrap())).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    dir
}

const RACOON: &str = r#"path pre_shared_key "DIR/psk.txt";
path certificate "DIR";
remote 192.0.2.2 {
	exchange_mode main; dpd_delay 20;
	script "DIR/up.sh" phase1_up;
	proposal { encryption_algorithm aes; hash_algorithm sha256; authentication_method pre_shared_key; dh_group 14; }
}
remote 192.0.2.3 {
	exchange_mode main;
	certificate_type x509 "host.pem" "host.key";
	ca_type x509 "ca.pem";
	proposal { encryption_algorithm aes; hash_algorithm sha256; authentication_method rsasig; dh_group 14; }
}
sainfo anonymous { encryption_algorithm aes; authentication_algorithm hmac_sha256; compression_algorithm deflate; }
"#;
const POLICIES: &str = "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
spdadd 192.0.2.2 192.0.2.1 any -P in ipsec esp/transport//require;
";
const KEY: &str = "0x2fd1e9b3c7a4580f6e6d1b9a3c5e7f8091a2b3c4d5e6f70812233445566778ab";

/// What `coati check --json` says: of each file by name, its messages.
fn check(dir: &Path, arguments: &[&str]) -> (bool, Vec<(String, Vec<String>)>) {
    let output = Command::new(env!("CARGO_BIN_EXE_coati"))
        .current_dir(dir)
        .args(["check", "--json"])
        .args(arguments)
        .output();
    let output = output.unwrap();
    let objects: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |object: &serde_json::Value| {
        let said = object["diagnostics"].as_array().unwrap().iter();
        let said = said.map(|said| said["message"].as_str().unwrap().to_owned());
        (object["path"].as_str().unwrap().to_owned(), said.collect())
    };
    (output.status.success(), objects.as_array().unwrap().iter().map(of).collect())
}

#[test]
fn check_finds_what_the_daemon_would_find() {
    let files = [("racoon.conf", RACOON), ("ipsec-tools.conf", POLICIES), ("psk.txt", "192.0.2.9 x\n")];
    let dir = host("missing", &files);
    let (good, said) = check(&dir, &["racoon.conf", "ipsec-tools.conf"]);
    assert!(!good);
    let has = |of: usize, what: &str| said[of].1.iter().any(|message| message.contains(what));
    for name in ["host.pem", "host.key", "ca.pem", "up.sh"] {
        let what = format!("{}: No such file", dir.join(name).display());
        assert!(has(0, &what) || has(0, &what.replace(": No", " will not run: No")), "{name}: {said:?}");
    }
    let keyless = format!("{}/psk.txt has no key for 192.0.2.2", dir.display());
    assert!(has(1, &keyless), "{said:?}");
    assert!(!has(0, &keyless), "{said:?}");

    // By themselves the two files are sound; so is the pair once the key is there and what is missing is not asked for.
    assert!(check(&dir, &["--alone", "racoon.conf", "ipsec-tools.conf"]).0);
    let signed = RACOON.find("remote 192.0.2.3").unwrap()..RACOON.find("sainfo").unwrap();
    let mut simple = RACOON.to_owned();
    simple.replace_range(signed, "");
    let files = [
        ("racoon.conf", &*simple),
        ("ipsec-tools.conf", POLICIES),
        ("psk.txt", &format!("192.0.2.2 {KEY}\n")),
    ];
    let dir = host("whole", &files);
    let (good, said) = check(&dir, &["racoon.conf", "ipsec-tools.conf", "psk.txt"]);
    assert!(good, "{said:?}");
    assert_eq!(said[1].1.len() + said[2].1.len(), 0, "{said:?}");

    fs::set_permissions(dir.join("psk.txt"), fs::Permissions::from_mode(0o644)).unwrap();
    let (good, said) = check(&dir, &["racoon.conf"]);
    assert!(!good);
    assert!(said[0].1.iter().any(|message| message.contains("weak file permission 0644")), "{said:?}");
}

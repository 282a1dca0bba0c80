//! The one program called `racoon` and `racoonctl`.
#![allow(clippy::unwrap_used, reason = "a failed test is all it leads to")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const RACOON: &str = "path pre_shared_key \"psk.txt\";
remote anonymous {
    exchange_mode main;
    proposal {
        encryption_algorithm aes_gcm_16;
        hash_algorithm sha256;
        authentication_method pre_shared_key;
        dh_group curve25519;
    }
}
sainfo anonymous {
    encryption_algorithm aes_gcm_16;
    compression_algorithm deflate;
}
";

const KEY: &str = "0x9d507d3c6fd6c78d17d5438c5d2d4138a90f99980ea3248615ed94ad886d8412";

fn directory(name: &str, conf: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("coati-racoon-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("racoon.conf"), conf).unwrap();
    fs::write(directory.join("psk.txt"), format!("192.0.2.1 {KEY}\n")).unwrap();
    fs::set_permissions(directory.join("psk.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    directory
}

fn run(name: &str, directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coati"));
    command.arg0(name).args(arguments).current_dir(directory).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_bad_file_is_told_on_stderr_before_anything_is_detached() {
    let directory = directory("bad", &RACOON.replace("exchange_mode main", "frobnicate on"));
    for flags in
        [["-f", "racoon.conf"].as_slice(), &["-F", "-f", "racoon.conf"], &["-t", "-f", "racoon.conf"]]
    {
        let (code, out, err) = said(&run("racoon", &directory, flags));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(
            err.contains("racoon.conf:3:5") && err.contains("racoon: the configuration is refused"),
            "{err}"
        );
    }
    let (code, _, err) = said(&run("/usr/sbin/racoon", &directory, &["-f", "nothing.conf"]));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("nothing.conf"), "{err}");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_good_file_is_checked_and_shown_without_its_keys() {
    let directory = directory("good", RACOON);
    let (code, _, err) = said(&run("racoon", &directory, &["-t", "-C", "-f", "racoon.conf"]));
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("racoon: the configuration is good (1 warnings)"), "{err}");
    assert!(err.contains("-x25519") && !err.contains("9d507d3c"), "{err}");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_user_that_is_not_there_is_an_error() {
    let directory = directory("privsep", &format!("privsep {{ user \"no-such-user\"; }}\n{RACOON}"));
    let (code, _, err) = said(&run("racoon", &directory, &["-t", "-f", "racoon.conf"]));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("there is no user `no-such-user` to drop privileges to"), "{err}");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_command_line_is_racoons() {
    let here = std::env::temp_dir();
    let (code, out, _) = said(&run("racoon", &here, &["-V"]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("Coati ") && out.contains("Compiled with:"), "{out}");
    let (code, _, err) = said(&run("racoon", &here, &["-X"]));
    assert_eq!(code, Some(1), "{err}");
}

#[test]
fn racoonctl_has_racoons_exit_codes_and_says_why() {
    let here = std::env::temp_dir();
    for arguments in [[].as_slice(), &["-x"], &["-l"]] {
        let (code, out, err) = said(&run("racoonctl", &here, arguments));
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.starts_with("Usage:\n  racoonctl [opts] reload-config\n"), "{out}");
    }
    for (arguments, why) in [
        (["-s", "/nonexistent/r.sock", "ss", "isakmp"].as_slice(), "there is no /nonexistent/r.sock"),
        (&["frobnicate"], "Invalid command [frobnicate]"),
        (&["logout-user", "ann"], "IKEv2 has no XAuth"),
    ] {
        let (code, out, err) = said(&run("racoonctl", &here, arguments));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(err.contains(why), "{err}");
    }
}

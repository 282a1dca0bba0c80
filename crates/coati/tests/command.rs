//! The built `coati` command.
#![allow(clippy::unwrap_used, reason = "a failed test is all it leads to")]

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

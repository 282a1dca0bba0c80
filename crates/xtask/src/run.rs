//! Running cargo and finding what it built.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use interop_tests::failure::{Context, Result};
use interop_tests::{ensure, process};

use crate::screen;

/// The root of the source tree.
pub(crate) fn root() -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).map(Path::to_owned).context(|| "xtask has no workspace around it".to_owned())
}

/// The cargo that started this, at the root of the tree.
pub(crate) fn cargo() -> Result<Command> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(root()?);
    Ok(command)
}

/// Shows a command, runs it with its output on the screen, and wants it to succeed.
pub(crate) fn step(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    println!("{}", screen::heading(&format!("$ {shown}")));
    let status = command.status().context(|| format!("cannot run {shown}"))?;
    ensure!(status.success(), "{shown} failed ({status})");
    Ok(())
}

/// A command as a person would type it: the toolchain's own path is of no interest.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let all = process::show(command);
    let arguments = all.strip_prefix(&*command.get_program().to_string_lossy()).unwrap_or_default();
    format!("{}{arguments}", program.to_string_lossy())
}

/// Builds binaries and gives their paths in the same order. Whichever they are, their dependencies have the features that the
/// whole workspace asks for, so that these are built once.
pub(crate) fn build(binaries: &[&str]) -> Result<Vec<PathBuf>> {
    build_with(&["--workspace"], binaries)
}

/// Builds one binary for use, with the features that its own package asks for, and gives its path.
pub(crate) fn build_release(package: &str, binary: &str) -> Result<PathBuf> {
    let built = build_with(&["--release", "--package", package], &[binary])?;
    built.into_iter().next().context(|| "nothing was built".to_owned())
}

fn build_with(flags: &[&str], binaries: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = cargo()?;
    command.args(["build", "--quiet", "--message-format=json-render-diagnostics"]).args(flags);
    command.args(binaries.iter().flat_map(|binary| ["--bin", binary]));
    let done = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context(|| shown(&command))?;
    ensure!(done.status.success(), "{} failed", shown(&command));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let made: Vec<(String, PathBuf)> = text.lines().filter_map(executable).collect();
    let find = |binary: &&str| {
        let found = made.iter().find(|(name, _)| name == binary).map(|(_, path)| path.clone());
        found.context(|| format!("cargo built no {binary}"))
    };
    binaries.iter().map(find).collect()
}

/// The name and path in a message about a finished executable.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_is_known_by_its_target() {
        let line =
            r#"{"reason":"compiler-artifact","target":{"name":"coatid"},"executable":"/t/debug/coatid"}"#;
        assert_eq!(executable(line), Some(("coatid".to_owned(), PathBuf::from("/t/debug/coatid"))));
        assert_eq!(
            executable(r#"{"reason":"compiler-artifact","target":{"name":"x"},"executable":null}"#),
            None
        );
    }
}

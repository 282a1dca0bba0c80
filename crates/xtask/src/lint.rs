//! `cargo xtask lint`: form, clippy, dependencies, documentation.

use std::process::{Command, Stdio};

use interop_tests::failure::{Context, Result};

use crate::run::{cargo, step};
use crate::screen;

/// The command.
pub(crate) fn run() -> Result<()> {
    step(cargo()?.args(["fmt", "--all", "--check"]))?;
    step(cargo()?.args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    if !has_deny()? {
        println!("{}", screen::faint("  installing cargo-deny: licences, sources and bans of dependencies"));
        // Unoptimised: it takes half the time to build, and reads one lock file.
        let mut install = cargo()?;
        install.args(["install", "--quiet", "--locked", "--debug", "cargo-deny"]);
        step(install.env("CARGO_PROFILE_DEV_DEBUG", "0")).context(|| {
            "cargo-deny is needed and could not be had; try: cargo install --locked cargo-deny".to_owned()
        })?;
    }
    step(cargo()?.args(["deny", "--log-level", "error", "check", "bans", "licenses", "sources"]))?;
    step(cargo()?.args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    println!("{}", screen::good("lint: nothing to say"));
    Ok(())
}

fn has_deny() -> Result<bool> {
    let mut command: Command = cargo()?;
    command.args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status().context(|| "cannot run cargo".to_owned())?.success())
}

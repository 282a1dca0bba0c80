//! Coati is one program: the name it is called by says what it does.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use coati_cli::Candidate;
use coati_config::diag::Diagnostics;
use coati_config::files::Disk;
use coati_daemon::reload::{self, FileNames};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let name = arguments.first().and_then(|name| Path::new(name).file_stem()).unwrap_or_default();
    match name.to_str() {
        Some("coatid") => coati_daemon::program::main(arguments),
        Some("setkey") => coati_cli::setkey::main(arguments),
        Some("racoon") => coati_daemon::racoon_cli::main(arguments),
        Some("racoonctl") => coati_cli::racoonctl::main(arguments),
        _ => coati_cli::main(arguments, as_daemon),
    }
}

/// What the daemon would say of a configuration.
fn as_daemon(candidate: &Candidate) -> Diagnostics {
    let Candidate { configuration, policies, ignore_tunnel } = candidate.clone();
    let names = FileNames { racoon: configuration, policies, ignore_tunnel, ..FileNames::default() };
    reload::examine(&names, &Disk)
}

//! `coatid`, the keying daemon, by itself; what is installed is the one program `coati` under this name.

use std::process::ExitCode;

fn main() -> ExitCode {
    coati_daemon::program::main(std::env::args_os())
}

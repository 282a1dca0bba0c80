//! The program that runs scenarios inside the kernel under test. `cargo xtask interop` starts it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use interop_tests::guest::{self, Places};

/// Runs scenarios inside the kernel under test; started by `cargo xtask interop`.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run scenarios one after the other, each in namespaces of its own.
    Run {
        #[command(flatten)]
        at: At,
        /// Names of scenarios.
        names: Vec<String>,
    },
    /// Play one scenario in the namespaces this process has.
    Scenario {
        #[command(flatten)]
        at: At,
        /// Its name.
        name: String,
    },
}

#[derive(Args)]
struct At {
    /// The root of the source tree.
    #[arg(long)]
    root: PathBuf,
    /// Where logs go, a directory a scenario.
    #[arg(long)]
    logs: PathBuf,
    /// Where coatid and coati are.
    #[arg(long)]
    programs: PathBuf,
    /// The file that tells the launcher what happens.
    #[arg(long)]
    events: PathBuf,
}

impl From<At> for Places {
    fn from(At { root, logs, programs, events }: At) -> Self {
        Places { root, logs, programs, events }
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().what {
        What::Run { at, names } => guest::run(&at.into(), &names),
        What::Scenario { at, name } => guest::play(&at.into(), &name),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

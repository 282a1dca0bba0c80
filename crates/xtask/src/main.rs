//! The commands of the project: `cargo xtask demo`, `test`, `lint`, `interop`, `fuzz`, `sim`, `bench`, `corpus`, `install`.
#![allow(clippy::disallowed_methods, reason = "commands for people live in real time")]

mod bench;
mod corpus;
mod demo;
mod fuzz;
mod install;
mod interop;
mod lint;
mod run;
mod screen;
mod sim;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands of the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Three hosts with racoon's own files, TCP between them, and what crossed the wire.
    Demo,
    /// Every test: unit, property, simulation, fuzz corpora, and scenarios in a real kernel.
    Test,
    /// Format, clippy, licences and sources of dependencies, documentation.
    Lint,
    /// Scenarios in a real kernel with real peers.
    Interop(interop::Arguments),
    /// Fuzz the doors through which foreign bytes come in.
    Fuzz(fuzz::Arguments),
    /// A mesh of simulated hosts that all start at once.
    Sim(sim::Arguments),
    /// What the engine costs: CPU, instructions, heap.
    Bench(bench::Arguments),
    /// What Coati makes of files in racoon's languages: one JSON object a line and file.
    Corpus(corpus::Arguments),
    /// Put the program in place, with its names, units, manual pages and completions.
    Install(install::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Demo => demo::run(),
        Command::Test => test::run(),
        Command::Lint => lint::run(),
        Command::Interop(arguments) => interop::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Sim(arguments) => sim::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Corpus(arguments) => corpus::run(&arguments),
        Command::Install(arguments) => install::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", screen::bad(&format!("error: {failure}")));
            ExitCode::FAILURE
        }
    }
}

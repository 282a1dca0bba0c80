//! `coati-bench`: what the engine costs, in one process without a kernel (`cargo xtask bench`).

mod host;
mod instructions;
mod mesh;
mod meter;
mod report;
mod sad;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What the engine costs.
#[derive(Parser)]
#[command(name = "coati-bench")]
struct Arguments {
    /// Pairs of one host; the memory of the first is what the bound is for, the others are compared with it.
    #[arg(long, value_delimiter = ',', default_value = "10000,50000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pairs: Vec<u32>,
    /// Fail if memory or instructions are above their bounds. Time never fails.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Do what callgrind is to count.
    #[command(hide = true)]
    Count(instructions::Subject),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Count(subject)) = arguments.command {
        instructions::perform(subject);
        return ExitCode::SUCCESS;
    }
    match report::run(&arguments.pairs, arguments.check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

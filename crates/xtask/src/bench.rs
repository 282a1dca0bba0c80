//! `cargo xtask bench`: what the engine costs.

use interop_tests::failure::Result;
use interop_tests::launch::{self, Need, News};

use crate::run::{cargo, step};
use crate::screen;

/// What the engine costs: CPU, instructions, heap (docs/performance.md).
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Numbers of pairs to measure; heap is compared with the first.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 50_000])]
    pairs: Vec<u32>,
    /// Fail if heap or instructions are above their bounds. Time never fails.
    #[arg(long)]
    check: bool,
}

/// What counts instructions.
const VALGRIND: Need =
    Need { package: "valgrind", provides: "valgrind", why: "callgrind counts instructions" };

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    launch::install_missing(&[VALGRIND], &mut |news| {
        if let News::Note(text) = news {
            println!("{}", screen::faint(&format!("  {text}")));
        }
    })?;
    let pairs: Vec<String> = arguments.pairs.iter().map(u32::to_string).collect();
    let mut command = cargo()?;
    command.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "coati-bench",
        "--",
        "--pairs",
        &pairs.join(","),
    ]);
    if arguments.check {
        command.arg("--check");
    }
    step(&mut command)
}

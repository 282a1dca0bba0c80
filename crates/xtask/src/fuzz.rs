//! `cargo xtask fuzz`: libFuzzer on the stable toolchain.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use interop_tests::failure::{Context, Result};
use interop_tests::{ensure, fail};

use crate::run::{cargo, root, step};
use crate::screen;

/// What tells libFuzzer which code an input reached: sanitizer coverage, as stable rustc can be asked for it.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=on -Coverflow-checks=on";

/// Fuzz the doors through which foreign bytes come in.
#[derive(Args)]
pub(crate) struct Arguments {
    /// One target; without it, each in turn for the whole time.
    target: Option<String>,
    /// How long: 90s, 10m, 2h.
    #[arg(long = "for", default_value = "1m", value_parser = parse_time)]
    time: Duration,
    /// Name the targets, and fuzz nothing.
    #[arg(long)]
    list: bool,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let fuzz = root()?.join("fuzz");
    let all = targets(&fuzz)?;
    if arguments.list {
        all.iter().for_each(|target| println!("{target}"));
        return Ok(());
    }
    let chosen: Vec<String> = match &arguments.target {
        Some(name) if all.contains(name) => vec![name.clone()],
        Some(name) => fail!("there is no target {name:?}; there are {}", all.join(", ")),
        None => all,
    };
    for target in chosen {
        fuzz_one(&fuzz, &target, arguments.time)?;
        println!("{}", screen::good(&format!("{target}: nothing found in {} s", arguments.time.as_secs())));
    }
    Ok(())
}

/// Every `src/bin/NAME.rs` of the fuzz crate.
fn targets(fuzz: &Path) -> Result<Vec<String>> {
    let directory = fuzz.join("src/bin");
    let entries = fs::read_dir(&directory).context(|| format!("cannot read {}", directory.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    ensure!(!names.is_empty(), "{} has no targets", directory.display());
    Ok(names)
}

/// New inputs go to a working corpus below the build directory; what is committed is only read.
fn fuzz_one(fuzz: &Path, target: &str, time: Duration) -> Result<()> {
    let build = fuzz.join("target");
    step(
        cargo()?
            .args(["build", "--quiet", "--profile", "fuzz", "--manifest-path"])
            .arg(fuzz.join("Cargo.toml"))
            .args(["--features", "libfuzzer", "--bin", target])
            // Only the code under test: build scripts and macros cannot link with coverage.
            .args(["--target", host()?])
            .env("CARGO_TARGET_DIR", &build)
            .env("RUSTFLAGS", COVERAGE),
    )?;
    let program = build.join(host()?).join("fuzz").join(target);
    let (working, found) = (build.join("corpus").join(target), fuzz.join("artifacts").join(target));
    for directory in [&working, &found] {
        fs::create_dir_all(directory).context(|| format!("cannot make {}", directory.display()))?;
    }
    let mut command = std::process::Command::new(program);
    command.arg(&working);
    let committed: PathBuf = fuzz.join("corpus").join(target);
    if committed.is_dir() {
        command.arg(committed);
    }
    // Words of the language, for the targets that read one.
    let words = fuzz.join("dictionaries").join(format!("{target}.dict"));
    if words.is_file() {
        command.arg(format!("-dict={}", words.display()));
    }
    command
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"]);
    step(&mut command).context(|| format!("{target} found something; the input is in {}", found.display()))
}

/// The triple this was built for.
fn host() -> Result<&'static str> {
    match (std::env::consts::ARCH, std::env::consts::OS) {
        ("x86_64", "linux") => Ok("x86_64-unknown-linux-gnu"),
        ("aarch64", "linux") => Ok("aarch64-unknown-linux-gnu"),
        (arch, os) => fail!("fuzzing on {arch} {os} has not been tried"),
    }
}

fn parse_time(text: &str) -> Result<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        other => fail!("{other:?} is no unit of time: use s, m or h"),
    };
    let number: u64 = number.parse().context(|| format!("{text:?} is no time"))?;
    Ok(Duration::from_secs(number * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_time("10m").unwrap(), Duration::from_secs(600));
        assert_eq!(parse_time("2h").unwrap(), Duration::from_secs(7200));
        assert!(parse_time("soon").is_err());
        assert!(parse_time("5d").is_err());
    }
}

//! `cargo xtask interop`: scenarios in a real kernel.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use interop_tests::failure::{Context, Result};
use interop_tests::guest::{Event, Outcome};
use interop_tests::launch::{Choice, Launcher, News};
use interop_tests::scenario::{self, Runs, Scenario};
use interop_tests::{ensure, fail};

use crate::{run as cargo, screen};

/// Scenarios in a real kernel with real peers.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Names of scenarios, or parts of names; without any, those that `cargo xtask test` runs.
    names: Vec<String>,
    /// Say what there is, and run nothing. A star marks what always runs.
    #[arg(long)]
    list: bool,
    /// The whole matrix of roles, ways and suites.
    #[arg(long)]
    all: bool,
    /// Run each so often, one round after the other; what has failed is not run again, so that its logs stay.
    #[arg(long, default_value = "1", value_name = "N")]
    times: NonZeroU16,
    /// Which kernel to run in.
    #[arg(long, value_enum, default_value_t)]
    kernel: Kernel,
}

impl Default for Arguments {
    fn default() -> Self {
        let times = NonZeroU16::MIN;
        Self { names: Vec::new(), list: false, all: false, times, kernel: Kernel::default() }
    }
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Kernel {
    /// The machine's own if it can install ESP SAs, else the test kernel.
    #[default]
    Auto,
    /// The machine's own, whatever it can do.
    Own,
    /// User-Mode Linux.
    Test,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let all = scenario::all();
    let chosen = choose(&all, arguments)?;
    if arguments.list {
        for scenario in &chosen {
            let mark = if scenario.runs == Runs::Always { '*' } else { ' ' };
            println!("{mark} {:<48} {}", scenario.name, scenario.claim);
        }
        return Ok(());
    }
    let choice = match arguments.kernel {
        Kernel::Auto => Choice::Auto,
        Kernel::Own => Choice::Own,
        Kernel::Test => Choice::Test,
    };
    let launcher = prepare(&chosen, choice)?;
    let rounds = chosen.repeat(arguments.times.get().into());
    let outcomes = launcher.run(&rounds, &mut show)?;
    let failed = close(&launcher, &outcomes);
    ensure!(
        failed == 0,
        "{failed} of {} scenarios failed; their logs are below {}",
        outcomes.len(),
        launcher.out.display()
    );
    Ok(())
}

/// Builds what the scenarios need.
pub(crate) fn prepare(chosen: &[&Scenario], choice: Choice) -> Result<Launcher> {
    let mut binaries = vec!["interop-guest"];
    if chosen.iter().any(|scenario| scenario.parties.coati) {
        binaries.extend(["coatid", "coati"]);
    }
    let built = cargo::build(&binaries)?;
    let guest = built.first().cloned().context(|| "nothing was built".to_owned())?;
    let programs = guest.parent().map(PathBuf::from).context(|| "a binary without a directory".to_owned())?;
    let target = programs.parent().context(|| "a profile without a target directory".to_owned())?;
    Ok(Launcher { root: cargo::root()?, out: target.join("interop"), guest, programs, choice })
}

/// One line a scenario.
fn show(news: News) {
    match news {
        News::Note(text) => println!("{}", screen::faint(&format!("  {text}"))),
        News::Event(Event::Said { line, .. }) => println!("    {line}"),
        News::Event(Event::Ended(Outcome { scenario, failure: None, seconds })) => {
            println!("{} {scenario:<48} {seconds:>5.1} s", screen::good("pass"));
        }
        News::Event(Event::Ended(Outcome { scenario, failure: Some(why), seconds })) => {
            println!("{} {scenario:<48} {seconds:>5.1} s", screen::bad("FAIL"));
            println!("       {}", why.trim().replace('\n', "\n       "));
        }
    }
}

/// The closing lines; gives the number that failed.
fn close(launcher: &Launcher, outcomes: &[Outcome]) -> usize {
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
    let time: Duration =
        outcomes.iter().map(|outcome| Duration::from_secs_f64(outcome.seconds.max(0.0))).sum();
    println!("  {} s, logs below {}", time.as_secs(), launcher.out.display());
    if !failed.is_empty() {
        let names: Vec<&str> = failed.iter().map(|outcome| outcome.scenario.as_str()).collect();
        println!("  again: cargo xtask interop {}", names.join(" "));
    }
    println!("{} passed, {} failed", outcomes.len() - failed.len(), failed.len());
    failed.len()
}

/// What the arguments name. A name that matches nothing is an error, not an empty run.
fn choose<'a>(all: &'a [Scenario], arguments: &Arguments) -> Result<Vec<&'a Scenario>> {
    let listed = arguments.all || arguments.list;
    if arguments.names.is_empty() {
        let runs = |scenario: &&Scenario| match scenario.runs {
            Runs::Always => true,
            Runs::InFull => listed,
            Runs::ByName => arguments.list,
        };
        return Ok(all.iter().filter(runs).collect());
    }
    for name in &arguments.names {
        if !all.iter().any(|scenario| scenario.name.contains(name.as_str())) {
            fail!(
                "no scenario is named {name:?} or has it in its name; cargo xtask interop --list names them all"
            );
        }
    }
    // A whole name means that one scenario, even where others have it in theirs.
    let wanted = |scenario: &&Scenario| {
        arguments.names.iter().any(|name| {
            let exact = all.iter().any(|other| &other.name == name);
            if exact { &scenario.name == name } else { scenario.name.contains(name.as_str()) }
        })
    };
    Ok(all.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Arguments {
        Arguments { names: names.iter().map(|name| (*name).to_owned()).collect(), ..Arguments::default() }
    }

    #[test]
    fn a_part_of_a_name_chooses_all_that_have_it() {
        let all = scenario::all();
        let chosen = choose(&all, &named(&["control-strongswan-v6"])).unwrap();
        assert_eq!(chosen.len(), interop_tests::suite::ALL.len());
    }

    #[test]
    fn a_name_that_matches_nothing_is_an_error() {
        assert!(choose(&scenario::all(), &named(&["no-such-thing"])).is_err());
    }

    #[test]
    fn all_is_more_than_what_always_runs_and_never_the_show() {
        let all = scenario::all();
        let always = choose(&all, &Arguments::default()).unwrap().len();
        let full = choose(&all, &Arguments { all: true, ..Arguments::default() }).unwrap();
        assert!(full.len() > always);
        assert!(full.iter().all(|scenario| scenario.runs != Runs::ByName));
    }
}

//! `cargo xtask demo`: the first encrypted packet, for a person to watch.

use interop_tests::demo;
use interop_tests::fail;
use interop_tests::failure::Result;
use interop_tests::guest::Event;
use interop_tests::launch::{Choice, News};

use crate::{interop, screen};

/// The command.
pub(crate) fn run() -> Result<()> {
    println!("{}", screen::heading("Coati: three hosts, racoon's own files, a real kernel"));
    println!("{}", screen::faint("  building coatid and coati"));
    let scenario = demo::scenario();
    let chosen = [&scenario];
    let launcher = interop::prepare(&chosen, Choice::Auto)?;
    let outcomes = launcher.run(&chosen, &mut |news| match news {
        News::Note(text) => println!("{}", screen::faint(&format!("  {text}"))),
        News::Event(Event::Said { line, .. }) => show(&line),
        News::Event(Event::Ended(_)) => {}
    })?;
    match outcomes.into_iter().next() {
        Some(outcome) => match outcome.failure {
            None => {
                println!();
                println!(
                    "{}",
                    screen::good(&format!("Done in {:.0} s. Everything has been stopped.", outcome.seconds))
                );
                println!("  The captures and logs are in {}", launcher.out.join(&scenario.name).display());
                Ok(())
            }
            Some(why) => fail!("{why}\n  the logs are in {}", launcher.out.join(&scenario.name).display()),
        },
        None => fail!("the demonstration told nothing"),
    }
}

/// Headings begin with `#`, findings with `+`; everything else is shown as it is.
fn show(line: &str) {
    if let Some(text) = line.strip_prefix("# ") {
        println!("\n{}", screen::heading(text));
    } else if let Some(text) = line.strip_prefix("+ ") {
        println!("  {} {text}", screen::good("✓"));
    } else {
        println!("  {line}");
    }
}

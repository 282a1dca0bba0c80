//! Runs scenarios: finds a kernel that will do, makes what it needs, and tells what happens while it happens.

mod events;
mod own_kernel;
mod packages;
mod test_kernel;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::ensure;
use crate::failure::{Context, Result};
use crate::guest::{Event, Outcome, Places};
use crate::scenario::{Kernel, Scenario};

pub use packages::{Need, install_missing};

/// Which kernel to run scenarios in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The machine's own if it can install ESP SAs, else the test kernel.
    Auto,
    /// The machine's own, whatever it can do.
    Own,
    /// User-Mode Linux.
    Test,
}

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The root of the source tree.
    pub root: PathBuf,
    /// A directory for logs and for what the test kernel needs, below the build's target directory.
    pub out: PathBuf,
    /// The `interop-guest` program.
    pub guest: PathBuf,
    /// The directory of `coatid` and `coati`.
    pub programs: PathBuf,
    /// Which kernel.
    pub choice: Choice,
}

/// What a person watching is told.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// What is being prepared, and which kernel is used and why.
    Note(String),
    /// A scenario speaks or has ended.
    Event(Event),
}

impl Launcher {
    /// Runs the scenarios and gives one outcome each, in the same order unless some need the test kernel.
    ///
    /// # Errors
    /// When there is no kernel to run them in, or a package cannot be had; not when scenarios fail.
    pub fn run(&self, scenarios: &[&Scenario], tell: &mut dyn FnMut(News)) -> Result<Vec<Outcome>> {
        let strongswan = scenarios.iter().any(|scenario| scenario.parties.strongswan);
        fs::create_dir_all(&self.out).context(|| format!("cannot make {}", self.out.display()))?;
        let _alone = self.lock()?;
        install_missing(&packages::for_scenarios(strongswan), tell)?;

        let own = match self.choice {
            Choice::Test => false,
            Choice::Own => true,
            Choice::Auto => match own_kernel::can_esp() {
                Ok(()) => true,
                Err(why) => {
                    tell(News::Note(format!("this machine's own kernel will not do: {why}")));
                    false
                }
            },
        };
        let disposable = |scenario: &&&Scenario| scenario.kernel == Kernel::Disposable;
        let (boot, here): (Vec<&Scenario>, Vec<&Scenario>) = match (own, self.choice) {
            (false, _) => (scenarios.to_vec(), Vec::new()),
            (true, Choice::Own) => (Vec::new(), scenarios.to_vec()),
            (true, _) => scenarios.iter().partition(disposable),
        };

        let mut outcomes = Vec::new();
        if !here.is_empty() {
            tell(News::Note("running in network namespaces of this machine's own kernel".to_owned()));
            outcomes.extend(
                self.batch(&here, tell, |places, names, tell| own_kernel::run(self, places, names, tell))?,
            );
        }
        if !boot.is_empty() {
            install_missing(&packages::for_test_kernel(), tell)?;
            tell(News::Note("running in User-Mode Linux, booted from this machine's file system".to_owned()));
            let limit = boot.iter().map(|scenario| scenario.limit).sum();
            let run = |places: &Places, names: &[String], tell: &mut dyn FnMut(News)| {
                test_kernel::run(self, places, names, limit, tell)
            };
            outcomes.extend(self.batch(&boot, tell, run)?);
        }
        Ok(outcomes)
    }

    /// Two runs at once would write into each other's logs.
    fn lock(&self) -> Result<Flock<File>> {
        let path = self.out.join("lock");
        let file = File::create(&path).context(|| format!("cannot make {}", path.display()))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| error)
            .context(|| format!("another run uses {}", self.out.display()))
    }

    /// One start of the guest program. Scenarios of which it told nothing have failed.
    fn batch(
        &self,
        scenarios: &[&Scenario],
        tell: &mut dyn FnMut(News),
        run: impl Fn(&Places, &[String], &mut dyn FnMut(News)) -> Result<()>,
    ) -> Result<Vec<Outcome>> {
        let places = Places {
            root: self.root.clone(),
            logs: self.out.clone(),
            programs: self.programs.clone(),
            events: self.out.join("events.jsonl"),
        };
        fs::write(&places.events, "").context(|| format!("cannot write {}", places.events.display()))?;
        let names: Vec<String> = scenarios.iter().map(|scenario| scenario.name.clone()).collect();
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut watch = |news: News| {
            if let News::Event(Event::Ended(outcome)) = &news {
                outcomes.push(outcome.clone());
            }
            tell(news);
        };
        let stopped = run(&places, &names, &mut watch);
        if outcomes.is_empty() {
            stopped?;
            ensure!(false, "the kernel under test ran nothing; see {}", self.out.display());
        } else if let Err(failure) = &stopped {
            tell(News::Note(failure.to_string()));
        }
        for name in names
            .iter()
            .filter(|name| !outcomes.iter().any(|outcome| &outcome.scenario == *name))
            .cloned()
            .collect::<Vec<_>>()
        {
            let why = "the kernel under test stopped before this scenario ended".to_owned();
            let outcome = Outcome { scenario: name, failure: Some(why), seconds: 0.0 };
            tell(News::Event(Event::Ended(outcome.clone())));
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

/// Fails for a path that the kernel's command line or a script could not carry.
fn check_path(path: &Path) -> Result<&str> {
    let text = path.to_str().context(|| format!("{} is not UTF-8", path.display()))?;
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    ensure!(
        plain,
        "the test kernel's command line cannot carry the path {text}: build in a directory with a plain name"
    );
    Ok(text)
}

//! The scenarios: each a name, a claim, and a way to see whether the claim holds.

mod accord;
mod both_start;
mod by_name;
mod certificates;
mod duel;
mod mesh;
mod moving;
mod pairs;
mod policies;
mod recovery;
mod refuse;
mod rekeys;
mod setkey;
mod stop;
mod stranger;
mod swan_outages;

use std::fmt;
use std::time::Duration;

use crate::demo;
use crate::failure::Result;
use crate::stage::Stage;

/// A claim about daemons in a real kernel, and the way to try it.
pub struct Scenario {
    /// Its name: what `cargo xtask interop NAME` takes.
    pub name: String,
    /// What holds if it passes.
    pub claim: String,
    /// When it runs without being named.
    pub runs: Runs,
    /// Which kernel will do.
    pub kernel: Kernel,
    /// Who takes part.
    pub parties: Parties,
    /// The time after which it has failed.
    pub limit: Duration,
    /// Tries the claim.
    pub play: Play,
}

/// Tries a claim: an error says how it does not hold.
pub type Play = Box<dyn Fn(&Stage) -> Result<()> + Send + Sync>;

/// When a scenario runs without being named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// Always: `cargo xtask test`.
    Always,
    /// With `--all`.
    InFull,
    /// Never: it is a show.
    ByName,
}

/// Which kernel a scenario can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Any that can install ESP SAs, the machine's own too.
    Any,
    /// One that nobody else uses: the scenario unloads modules, or needs what the test kernel is set to.
    Disposable,
}

/// Which daemons a scenario starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties {
    /// `coatid` and `coati` have to be built.
    pub coati: bool,
    /// strongSwan has to be installed.
    pub strongswan: bool,
}

impl Scenario {
    /// One of Coatis alone that always runs, in any kernel, for at most so many seconds.
    fn of_coatis(
        name: impl Into<String>,
        claim: impl Into<String>,
        seconds: u64,
        play: impl Fn(&Stage) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            claim: claim.into(),
            runs: Runs::Always,
            kernel: Kernel::Any,
            parties: Parties::COATI,
            limit: Duration::from_secs(seconds),
            play: Box::new(play),
        }
    }
}

impl Parties {
    const COATI: Parties = Parties { coati: true, strongswan: false };
    const BOTH: Parties = Parties { coati: true, strongswan: true };
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).field("runs", &self.runs).finish_non_exhaustive()
    }
}

/// Every scenario, in the order in which they run.
pub fn all() -> Vec<Scenario> {
    let mut all = duel::all();
    all.extend(mesh::all());
    all.extend(policies::all());
    all.extend(stop::all());
    all.extend(by_name::all());
    all.extend(recovery::all());
    all.extend(stranger::all());
    all.extend(refuse::all());
    all.extend(rekeys::all());
    all.extend(setkey::all());
    all.extend(certificates::all());
    all.extend(moving::all());
    all.extend(both_start::all());
    all.extend(swan_outages::all());
    all.push(demo::scenario());
    all
}

/// The scenario of this name.
pub fn named(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_scenarios_share_a_name() {
        let all = all();
        let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn what_always_runs_covers_every_role_family_suite_and_way() {
        let always: Vec<String> =
            all().into_iter().filter(|scenario| scenario.runs == Runs::Always).map(|s| s.name).collect();
        for role in ["control-strongswan", "coati-coati", "coati-to-strongswan", "strongswan-to-coati"] {
            assert!(always.iter().any(|name| name.starts_with(role)), "{role}");
        }
        for role in ["coati-coati", "coati-to-strongswan", "strongswan-to-coati"] {
            for way in ["-v4-", "-v6-", "-nat-"] {
                assert!(
                    always.iter().any(|name| name.starts_with(role) && name.contains(way)),
                    "{role}{way}"
                );
            }
            for suite in crate::suite::ALL {
                let covered = always.iter().any(|name| name.starts_with(role) && name.ends_with(suite.name));
                assert!(covered, "{role} with {}", suite.name);
            }
        }
    }
}

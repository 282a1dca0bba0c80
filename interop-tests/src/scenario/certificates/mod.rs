//! Hosts that prove themselves by certificates: each kind of key and method in both roles, shared keys one way, chains,
//! several certificates of one host, raw keys, names, revoked and expired certificates, a roll of the authority, and peers that
//! reach for what is not theirs.

mod chosen;
mod expiry;
mod identities;
mod methods;
mod raw;
mod revoked;
mod roll;
mod strangers;

use std::time::Duration;

use super::{Kernel, Parties, Runs, Scenario};
use crate::failure::Result;
use crate::peer::Coati;
use crate::stage::Stage;
use crate::wait;

pub(super) fn all() -> Vec<Scenario> {
    let mut all = methods::all();
    all.extend(chosen::all());
    all.extend(raw::all());
    all.extend(identities::all());
    all.extend(expiry::all());
    all.extend(revoked::all());
    all.extend(roll::all());
    all.extend(strangers::all());
    all
}

fn scenario(
    name: String,
    claim: String,
    runs: Runs,
    parties: Parties,
    play: impl Fn(&Stage) -> Result<()> + Send + Sync + 'static,
) -> Scenario {
    let limit = Duration::from_secs(180);
    Scenario { name, claim, runs, kernel: Kernel::Any, parties, limit, play: Box::new(play) }
}

/// Waits for a line with all these words in coatid's log, which may come after the answer on the wire.
fn wait_said(coati: &Coati, words: &[&str]) -> Result<String> {
    wait::until(Duration::from_secs(5), &format!("coatid to say {words:?}"), || {
        let said = coati.said()?;
        let line = said.lines().find(|line| words.iter().all(|word| line.contains(word)));
        Ok(line.map(str::to_owned))
    })
}

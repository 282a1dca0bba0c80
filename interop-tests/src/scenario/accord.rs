//! Coati, strongSwan and both their kernels hold the same: one IKE SA, one child, its two SPIs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::{Context, Result};
use crate::peer::{Coati, StrongSwan};
use crate::{ensure, fail, stream, xfrm};

/// One pair between a Coati and a strongSwan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Both<'a> {
    pub(super) coati: (&'a Coati, stream::End<'a>),
    pub(super) swan: (&'a StrongSwan, stream::End<'a>),
    /// The pair's place in charon's configuration.
    pub(super) number: usize,
    /// SPIs in the kernel of charon's host that do not count: a charon that was killed has left them there.
    pub(super) strays: &'a BTreeSet<u32>,
}

/// What both ends call the pair's SAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accord {
    /// The IKE SA's SPIs, the initiator's first.
    pub(super) ike: [String; 2],
    /// Whether Coati is the IKE SA's initiator.
    pub(super) by_coati: bool,
    /// The SPI on which Coati receives, and the one on which it sends.
    pub(super) child: [u32; 2],
}

/// Waits for rest: neither daemon nor kernel has anything of the pair besides one IKE SA and one child, the same.
///
/// # Errors
/// Says what was different when `limit` was over.
pub(super) fn at_rest(both: Both<'_>, limit: Duration) -> Result<Accord> {
    until(limit, || both.agree(&|seen| seen.len() == 2))
}

/// Waits for a moment between two rekeys at which there is one IKE SA and one child, the same; and until what the kernels
/// had before, inbound SAs that wait for stragglers, is gone.
///
/// # Errors
/// As [`at_rest`].
pub(super) fn between_rekeys(both: Both<'_>, limit: Duration) -> Result<Accord> {
    let old = both.kernel_spis()?;
    until(limit, || {
        let accord = both.agree(&|_| true)?;
        let mut left = both.kernel_spis()?;
        left.retain(|spi| old.contains(spi) && !accord.child.contains(spi));
        ensure!(left.is_empty(), "SAs that have successors do not go: {left:08x?}");
        Ok(accord)
    })
}

/// Tries until it succeeds; the last failure is the one that counts.
fn until<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match attempt() {
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(100)),
            done => return done.context(|| format!("no accord in {} s", limit.as_secs())),
        }
    }
}

impl Both<'_> {
    /// Compares all four; `enough` judges the SPIs that a kernel has.
    fn agree(&self, enough: &dyn Fn(&[u32]) -> bool) -> Result<Accord> {
        let ours = self.coatis()?;
        let theirs = self.swans()?;
        ensure!(ours == theirs, "coatid has {ours:x?}, charon has {theirs:x?}");
        for end in [self.coati.1, self.swan.1] {
            let states = self.states(end)?;
            let name = end.host.name();
            let spis: Vec<u32> = states.iter().map(|state| state.spi).collect();
            for spi in ours.child {
                ensure!(spis.contains(&spi), "{name} has not SPI {spi:08x}, but {spis:08x?}");
            }
            ensure!(enough(&spis), "{name} has more ESP SAs than one each way: {spis:08x?}");
            let outbound = states.iter().filter(|state| state.source == end.pair.local).count();
            ensure!(outbound == 1, "{name} has {outbound} outbound ESP SAs: {spis:08x?}");
        }
        Ok(ours)
    }

    fn kernel_spis(&self) -> Result<BTreeSet<u32>> {
        let mut spis = BTreeSet::new();
        for end in [self.coati.1, self.swan.1] {
            spis.extend(self.states(end)?.iter().map(|state| state.spi));
        }
        Ok(spis)
    }

    /// The pair's ESP SAs in a host's kernel.
    fn states(&self, end: stream::End<'_>) -> Result<Vec<xfrm::State>> {
        let addresses = [end.pair.local, end.pair.remote];
        let swans = end.host == self.swan.1.host;
        let mut states = xfrm::states(end.host)?;
        states.retain(|state| addresses.contains(&state.source) && addresses.contains(&state.destination));
        states.retain(|state| !(swans && self.strays.contains(&state.spi)));
        Ok(states)
    }

    fn coatis(&self) -> Result<Accord> {
        let text = self.coati.0.status(&["--json"])?;
        let status: Value = serde_json::from_str(&text).context(|| "coati status --json".to_owned())?;
        let remote = self.coati.1.pair.remote.to_string();
        let pairs = status["pairs"].as_array().cloned().unwrap_or_default();
        let pair = pairs.iter().find(|pair| pair["remote"] == *remote).context(|| "no pair".to_owned())?;
        // What is deleted is remembered for a while, so that a repeated request gets its answer; a child that has a
        // successor only receives.
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let ikes: Vec<Value> =
            list(&pair["ike_sas"]).into_iter().filter(|ike| ike["state"] != "deleted").collect();
        let [ike] = ikes.as_slice() else { fail!("coatid has not one IKE SA but {ikes:?}") };
        let children: Vec<Value> =
            list(&ike["children"]).into_iter().filter(|child| !child["bytes_out"].is_null()).collect();
        let [child] = children.as_slice() else { fail!("coatid has not one child but {children:?}") };
        ensure!(ike["state"] == "established", "coatid's IKE SA is {}", ike["state"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Accord {
            ike: [text(&ike["spi_i"]), text(&ike["spi_r"])],
            by_coati: ike["role"] == "initiator",
            child: [spi(&text(&child["spi_in"]))?, spi(&text(&child["spi_out"]))?],
        })
    }

    /// What charon has, in the words of the other end. Children that it keeps for stragglers count as gone.
    fn swans(&self) -> Result<Accord> {
        let name = format!("pair{}", self.number);
        let sas: Vec<_> = self.swan.0.sas()?.into_iter().filter(|sa| sa.name == name).collect();
        let [ike] = sas.as_slice() else { fail!("charon has not one IKE SA but {sas:?}") };
        ensure!(ike.state == "ESTABLISHED", "charon's IKE SA is {}", ike.state);
        let gone = |state: &str| matches!(state, "DELETED" | "DELETING");
        let children: Vec<_> = ike.children.iter().filter(|child| !gone(&child.state)).collect();
        let [child] = children.as_slice() else { fail!("charon has not one child but {children:?}") };
        ensure!(child.state == "INSTALLED", "charon's child is {}", child.state);
        Ok(Accord {
            ike: ike.spis.clone(),
            by_coati: !ike.is_initiator,
            child: [spi(&child.spi_out)?, spi(&child.spi_in)?],
        })
    }
}

fn spi(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 16).context(|| format!("{text:?} is no SPI"))
}

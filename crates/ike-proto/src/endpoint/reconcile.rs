//! The kernel's SAs compared with the children: what was lost is made anew, what nobody wants goes, and the counters tell
//! whether packets flow both ways.

use std::collections::{BTreeMap, BTreeSet};

use crate::endpoint::{Context, Endpoint};
use crate::ids::{ChildSpi, SaId};
use crate::ike_sa::children::{Child, Stage};
use crate::ike_sa::path::Path;
use crate::policy::sad::{SaCount, SaKey};

/// What had to be corrected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Corrections {
    /// Children of which the kernel had lost a half: they are rekeyed.
    pub missing: usize,
    /// SAs that belonged to no child: they are removed.
    pub surplus: usize,
}

/// Whether a half that belongs in the kernel is not there.
fn lacks(path: &Path, child: &Child, found: &BTreeMap<SaKey, u64>) -> bool {
    let [inbound, outbound] = child.keys(path);
    let there = |key: &SaKey| found.contains_key(key);
    match child.stage {
        Stage::Live if child.deleting => false,
        Stage::Live => !there(&inbound) || !there(&outbound),
        Stage::Half { .. } => !there(&inbound),
        Stage::Superseded { .. } | Stage::Draining { .. } => false,
    }
}

impl Endpoint {
    /// Takes a dump of the kernel's SAs, of those only that were installed through this endpoint's [`crate::policy::sad::Sad`]
    /// and are no reservations. It is to be called at even intervals, at a start, and after events were lost.
    pub fn reconcile(&mut self, cx: &mut Context<'_>, dump: &[SaCount]) -> Corrections {
        let found: BTreeMap<SaKey, u64> = dump.iter().map(|sa| (sa.key, sa.packets)).collect();
        let mut known = BTreeSet::new();
        let mut lost: Vec<(SaId, ChildSpi)> = Vec::new();
        for (id, sa) in self.sas.iter() {
            let path = &sa.common.core.path;
            for child in sa.common.children.iter() {
                known.extend(child.keys(path));
                if lacks(path, child, &found) {
                    lost.push((id, child.spi_in));
                }
            }
        }
        let surplus: Vec<SaKey> = found.keys().filter(|key| !known.contains(key)).copied().collect();
        for key in &surplus {
            // An SA that lapses meanwhile is as gone as one that is removed.
            let _ = cx.sad.remove(key);
        }
        for (id, spi_in) in &lost {
            self.with_sa(cx, *id, |sa, env| sa.restore_child(env, *spi_in));
        }
        let watched: Vec<SaId> =
            self.sas.iter().filter(|(_, sa)| sa.is_established()).map(|(id, _)| id).collect();
        for id in watched {
            self.with_sa(cx, id, |sa, env| sa.watch_children(env, &found));
        }
        Corrections { missing: lost.len(), surplus: surplus.len() }
    }
}

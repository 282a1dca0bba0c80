//! INFORMATIONAL that asks whether the peer is there (RFC 7296 §2.4), and, between two Coatis, whether both have the same
//! children and each other's packets.
//!
//! ```text
//! --- SK {[N(inventory)]} -->
//! <--- SK {[N(inventory)]} ---      any verified message of the peer is as good
//! ```

use crate::ids::ChildId;
use crate::ike_sa::children::Child;
use crate::ike_sa::core::Common;
use crate::ike_sa::env::{Env, Wanted};
use crate::ike_sa::handshake::auth::crash_token;
use crate::ike_sa::watch::{Counts, Finding};
use crate::message::inventory::{Entry, INVENTORY, Inventory, MOST_ENTRIES};
use crate::message::parts::Parts;
use crate::output::What;
use crate::wire::Payload;
use crate::wire::registry::ExchangeType;

/// Gives the peer our token of quick crash detection in the same exchange (RFC 6290 §3). Tells whether there is one.
pub fn give_token(env: &mut Env<'_>, common: &mut Common) -> bool {
    let Some(token) = crash_token(env, &common.core) else { return false };
    common.request(env, ExchangeType::INFORMATIONAL, &[token]);
    true
}

/// Asks; the peer has the patience of its configuration to answer.
pub fn request(env: &mut Env<'_>, common: &mut Common) {
    let payloads: Vec<Payload> = common.inventory(env).into_iter().collect();
    common.request(env, ExchangeType::INFORMATIONAL, &payloads);
    if let Some(liveness) = common.core.peer.liveness {
        common.window.bound(env.now + liveness.patience);
    }
}

/// The peer's inventory in a request, if there is one, is compared; the answer holds ours.
pub fn answer(env: &mut Env<'_>, common: &mut Common, parts: &Parts) -> Option<Payload> {
    let theirs = told(common, parts)?;
    // Of the request in work, so of before it.
    if theirs.next == common.window.current_id() {
        common.compare(env, &theirs);
    }
    common.inventory(env)
}

/// The answer to our question came.
pub fn answered(env: &mut Env<'_>, common: &mut Common, parts: &Parts) {
    if let Some(theirs) = told(common, parts)
        && theirs.next == common.window.expected_id()
    {
        common.compare(env, &theirs);
    }
}

/// The inventory of a message; what cannot be read is none, for nothing depends on it.
fn told(common: &Common, parts: &Parts) -> Option<Inventory> {
    let notify = parts.notify(INVENTORY).filter(|_| common.core.tells_inventory)?;
    Inventory::read(&notify.data).ok().flatten()
}

impl Common {
    /// Our inventory, for a peer that understands it.
    fn inventory(&self, env: &mut Env<'_>) -> Option<Payload> {
        let current: Vec<&Child> = self.children.iter().filter(|child| child.is_current()).collect();
        if !self.core.tells_inventory || current.len() > MOST_ENTRIES {
            return None;
        }
        let entries = current.into_iter().map(|child| {
            let Counts { received, sent } = self.counts(env, child);
            Entry { spi_in: child.spi_in, received, sent }
        });
        let entries = entries.collect();
        let (expects, next) = (self.window.expected_id(), self.window.next_id());
        Some(Inventory { busy: self.is_busy_with_children(), expects, next, entries }.payload())
    }

    /// What the kernel has counted of a child.
    fn counts(&self, env: &mut Env<'_>, child: &Child) -> Counts {
        let mut packets = |key| env.sad.query(&key).map_or(0, |usage| usage.packets);
        let [received, sent] = child.keys(&self.core.path).map(&mut packets);
        Counts { received, sent }
    }

    /// Whether the peer may know another set of children for a good reason.
    fn is_busy_with_children(&self) -> bool {
        self.window.is_busy()
            || self.tasks.touch_children()
            || self.children.iter().any(|child| child.deleting)
    }

    /// Compares what the peer has with what we have. A child that it does not have is made anew; one that only it has is its own
    /// to find, by our inventory.
    fn compare(&mut self, env: &mut Env<'_>, theirs: &Inventory) {
        if theirs.busy || theirs.expects != self.window.next_id() || self.is_busy_with_children() {
            return;
        }
        let (mut absent, mut findings) = (Vec::new(), Vec::new());
        let serving: Vec<(ChildId, Counts)> = self
            .children
            .iter()
            .filter(|child| child.serves())
            .map(|child| (child.id, self.counts(env, child)))
            .collect();
        for (id, ours) in serving {
            let Some(child) = self.children.get_mut(id) else { continue };
            match theirs.entry(child.spi_out) {
                None => absent.push(id),
                Some(Entry { received, sent, .. }) => {
                    let theirs = Counts { received: *received, sent: *sent };
                    findings.push((id, child.watch.told(env.now, ours, theirs)));
                }
            }
        }
        for (id, finding) in findings {
            self.follow_finding(env, id, finding);
        }
        for id in absent {
            self.remake(env, id);
        }
    }

    /// The peer does not have a child of ours: it carries nothing, and another takes its place.
    fn remake(&mut self, env: &mut Env<'_>, id: ChildId) {
        let cause = "the peer does not have it";
        for child in self.children.remove(env, &self.core, cause, |child| child.id == id) {
            if let Some(policy) = env.policies.get(child.policy) {
                self.tasks.create_child(Wanted::by(policy, None));
            }
        }
    }

    /// Does what the counters of a child ask for.
    pub fn follow_finding(&mut self, env: &mut Env<'_>, child: ChildId, finding: Finding) {
        match finding {
            Finding::Fine => {}
            Finding::Ask => self.tasks.check_liveness(),
            Finding::Rekey => {
                let spi_in = self.children.get(child).map(|child| child.spi_in).unwrap_or_default();
                let text = format!("packets of IPsec-SA 0x{spi_in} seem to get lost: it is rekeyed");
                self.core.say(env, What::Trouble(text));
                self.tasks.rekey_child(child);
            }
        }
    }
}

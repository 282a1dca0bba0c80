//! Two IKE SAs of one pair: which stays (RFC 7296 has no rule; this is ours).
//!
//! Two SAs *cross* when their handshakes overlapped as this end saw it: then both ends began at once, and the SA with the
//! lowest of the four nonces goes, as in §2.8.1. Its initiator deletes it once the winner carries traffic; the other end
//! deletes it if it is still there two seconds later, so that the rule converges with peers that do not have it. Without
//! overlap the peer has begun anew because it lost its state: the new SA serves, the old one is probed and goes. When the peer
//! says that it has lost that one, by INITIAL_CONTACT or by its token, only the children are left until the new one's carry.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::endpoint::pairs::PairKey;
use crate::endpoint::{Chore, Context, Endpoint};
use crate::ids::{PolicyIndex, Role, SaId};
use crate::ike_sa::IkeSa;
use crate::ike_sa::env::Wanted;
use crate::output::What;
use crate::time::Duration;
use crate::wire::registry::PrfId;

/// How often it is looked at whether the winner carries traffic.
const LOOK: Duration = Duration::from_millis(100);
/// The loser's initiator deletes it after this, traffic or not.
const OURS: u32 = 10;
/// The other end deletes it after this.
const THEIRS: u32 = 25;
/// An older SA that is not of a crossing goes after this.
const OLDER: u32 = 50;
/// The children of an SA that the peer has lost go after this: a little longer than a new child waits to be sent on.
const LOST: u32 = 12;
/// How long a handshake of the peer may go on when the pair has an SA.
pub(super) const UNFINISHED: Duration = Duration::from_secs(5);
/// Crossings within this time of each other are a row.
const ROW: Duration = Duration::from_secs(60);
/// Crossings of one pair in a row, after which both SAs are kept: the peer does not agree.
const MOST_DUELS: u32 = 3;

/// Established IKE SAs of one pair; a rekey's successor and a crossing need two or three for a moment.
const MOST_SAS: usize = 4;

/// What names a peer before its identity is known.
pub(super) type Mark = Vec<u8>;

/// What a peer knows of us since we started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Contact {
    /// This SA's IKE_AUTH says INITIAL_CONTACT and is not answered.
    Tried(SaId),
    /// It has an SA with us.
    Made,
}

impl Endpoint {
    /// An SA is established: the pair's other SAs, and our own handshakes, step back or win.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>, key: PairKey, new: SaId) {
        let Some(others) = self.pairs.get(&key).map(|pair| pair.sas.clone()) else { return };
        for other in others.into_iter().filter(|other| *other != new) {
            let Some(sa) = self.sas.get(&other) else { continue };
            if sa.is_initiating() {
                self.step_back(cx, key, other);
            } else if sa.is_handshaking() {
                // The peer has stepped back from it, or is about to finish it.
                let until = cx.now + UNFINISHED;
                self.with_sa(cx, other, |sa, _| sa.hurry(until));
            } else if sa.is_established() && self.same_identities(new, other) {
                self.decide(cx, key, new, other);
            }
        }
        self.keep_few(cx, key, new);
    }

    /// However it comes that a pair has many SAs: the oldest goes.
    fn keep_few(&mut self, cx: &mut Context<'_>, key: PairKey, new: SaId) {
        let sas = self.pairs.get(&key).map(|pair| pair.sas.clone()).unwrap_or_default();
        let established: Vec<SaId> =
            sas.into_iter().filter(|id| self.sas.get(id).is_some_and(IkeSa::is_established)).collect();
        if established.len() > MOST_SAS
            && let Some(oldest) = established.into_iter().find(|id| *id != new)
        {
            let text = format!("the pair has more than {MOST_SAS} IKE SAs: SA {oldest}, the oldest, goes");
            self.say(key, What::Trouble(text));
            self.with_sa(cx, oldest, |sa, env| sa.delete(env, "the pair has too many IKE SAs"));
        }
    }

    /// Our own handshake is not needed any more, unless its IKE_AUTH is out already.
    fn step_back(&mut self, cx: &mut Context<'_>, key: PairKey, id: SaId) {
        let mut wanted = None;
        self.with_sa(cx, id, |sa, env| wanted = sa.step_back(env));
        if let Some(wanted) = wanted {
            self.wish(cx, key, wanted);
        }
    }

    fn same_identities(&self, a: SaId, b: SaId) -> bool {
        let ids = |id: SaId| {
            self.sas.get(&id).map(|sa| (sa.common.core.local_id.clone(), sa.common.core.remote_id.clone()))
        };
        ids(a) == ids(b)
    }

    fn decide(&mut self, cx: &mut Context<'_>, key: PairKey, new: SaId, old: SaId) {
        let (Some(newer), Some(older)) = (self.sas.get(&new), self.sas.get(&old)) else { return };
        let (newer, older) = (&newer.common.core, &older.common.core);
        // The older one was established before; the handshakes overlapped if the newer one had begun by then.
        let overlapped = newer.born <= older.since && !older.is_successor;
        let crosses = overlapped && newer.role != older.role;
        // Of two that one end has begun, the one begun later: the other's last message was late.
        let stale = newer.role == older.role && newer.born < older.born;
        let loses = if crosses { newer.lowest_nonce < older.lowest_nonce } else { stale };
        let (loser, winner) = if loses { (new, old) } else { (old, new) };
        let newer_is_ours = newer.role == Role::Initiator;
        let ours = self.sas.get(&loser).is_some_and(|sa| sa.common.core.role == Role::Initiator);
        let pair = self.pair(cx.now, key.local, key.remote);
        if crosses {
            let before = if pair.duels.1 + ROW < cx.now { 0 } else { pair.duels.0 };
            pair.duels = (before.saturating_add(1), cx.now);
        }
        if crosses && pair.duels.0 > MOST_DUELS {
            let text = "both ends keep beginning at once, and the peer keeps the SA that goes by our rule: both stay";
            self.say(key, What::Trouble(text.to_owned()));
            return;
        }
        let looks = match (crosses, ours) {
            (true, true) => OURS,
            (true, false) => THEIRS,
            (false, _) => OLDER,
        };
        if let Some(sa) = self.sas.get_mut(&loser) {
            sa.common.core.graceful = true;
        }
        if !crosses {
            self.with_sa(cx, loser, |sa, env| sa.check_liveness(env));
        }
        let text = match (crosses, newer_is_ours) {
            (true, _) => "both ends began at once",
            (false, true) => "it was set up anew",
            (false, false) => "the peer began anew",
        };
        self.say(key, What::Note(format!("{text}: SA {loser} goes, SA {winner} stays")));
        self.chores
            .insert((cx.now + LOOK, Chore::Duel { key, loser, winner, looks, early: crosses && ours }));
    }

    /// An SA of a duel was rekeyed: its successor takes its place there too.
    pub(super) fn follow_duel(&mut self, key: PairKey, old: SaId, successor: SaId) {
        // The two of the rekey, and one more at least.
        if self.pairs.get(&key).is_none_or(|pair| pair.sas.len() < 3) {
            return;
        }
        let concerns = |chore: &Chore| {
            matches!(chore, Chore::Duel { key: of, loser, winner, .. }
                if *of == key && (*loser == old || *winner == old))
        };
        let found: Vec<_> = self.chores.iter().filter(|(_, chore)| concerns(chore)).copied().collect();
        for (at, chore) in found {
            self.chores.remove(&(at, chore));
            let Chore::Duel { key, loser, winner, looks, early } = chore else { continue };
            let now = |id: SaId| if id == old { successor } else { id };
            if loser == old
                && let Some(sa) = self.sas.get_mut(&successor)
            {
                sa.common.core.graceful = true;
            }
            self.chores
                .insert((at, Chore::Duel { key, loser: now(loser), winner: now(winner), looks, early }));
        }
    }

    /// Looks whether the loser can go now.
    pub(super) fn look_at_duel(&mut self, cx: &mut Context<'_>, chore: Chore) {
        let Chore::Duel { key, loser, winner, looks, early } = chore else { return };
        let is = |id: SaId, such: fn(&IkeSa) -> bool| self.sas.get(&id).is_some_and(such);
        let (there, outlived) = (is(loser, IkeSa::is_established), is(loser, IkeSa::outlived));
        let winner_there = is(winner, IkeSa::is_established);
        if there && !winner_there {
            // The winner is gone: what is left stays.
            if let Some(sa) = self.sas.get_mut(&loser) {
                sa.common.core.graceful = false;
            }
            return;
        }
        if !there && !outlived {
            return;
        }
        let mut carried = BTreeSet::new();
        self.with_sa(cx, winner, |sa, env| carried = sa.common.children.carrying(env, &sa.common.core));
        let is_late = looks <= 1 || !winner_there;
        if outlived {
            self.relieve(cx, key, loser, |policy| is_late || carried.contains(&policy));
        } else if is_late || (early && !carried.is_empty() && self.serves_only(loser, &carried)) {
            self.with_sa(cx, loser, |sa, env| sa.delete(env, "the pair has another IKE SA"));
        }
        if self.sas.get(&loser).is_some_and(|sa| sa.is_established() || sa.outlived()) {
            let next = Chore::Duel { key, loser, winner, looks: looks.saturating_sub(1), early };
            self.chores.insert((cx.now + LOOK, next));
        }
    }

    fn serves_only(&self, id: SaId, policies: &BTreeSet<PolicyIndex>) -> bool {
        self.sas
            .get(&id)
            .is_some_and(|sa| sa.common.children.served().all(|policy| policies.contains(&policy)))
    }

    /// Children of an SA that the peer has lost go; what they served and nothing else serves is asked for.
    fn relieve(
        &mut self,
        cx: &mut Context<'_>,
        key: PairKey,
        id: SaId,
        carried: impl Fn(PolicyIndex) -> bool,
    ) {
        let Some(sa) = self.sas.get(&id) else { return };
        let policies = Arc::clone(&self.policies);
        let gone = sa.common.children.served().filter(|policy| carried(*policy));
        let gone: Vec<_> = gone.filter_map(|index| policies.get(index)).collect();
        self.with_sa(cx, id, |sa, env| sa.relieve(env, "the pair has another IKE SA", carried));
        if !gone.is_empty() {
            gone.into_iter().for_each(|policy| self.wish(cx, key, Wanted::by(policy, None)));
            self.pursue(cx, key, "the peer has lost its SA");
        }
    }

    /// The peer says that it knows no other SA with us (RFC 7296 §2.4): older ones of the same pair are gone at its end. Its
    /// kernel may still have their children, as ours has: they carry until the new SA's do, and what is on its way comes in.
    pub(super) fn initial_contact(&mut self, cx: &mut Context<'_>, key: PairKey, new: SaId) {
        let Some(others) = self.pairs.get(&key).map(|pair| pair.sas.clone()) else { return };
        for other in others.into_iter().filter(|other| *other != new) {
            let Some((newer, older)) = self.sas.get(&new).zip(self.sas.get(&other)) else { continue };
            let overlapped = newer.common.core.born <= older.common.core.since;
            if older.is_established() && !overlapped && self.same_identities(new, other) {
                self.with_sa(cx, other, |sa, env| sa.forget(env, "received INITIAL-CONTACT"));
                let relief = Chore::Duel { key, loser: other, winner: new, looks: LOST, early: true };
                self.chores.insert((cx.now + LOOK, relief));
            }
        }
    }

    /// Whether a handshake that is about to authenticate may say INITIAL_CONTACT: nothing else is there or under way with
    /// that address, and it was not said to the same peer before. A peer that is reached by two addresses is one: it has one
    /// key. (strongSwan destroys all other SAs of our identity on it, without a DELETE.)
    pub(super) fn may_say_initial_contact(&mut self, key: PairKey, id: SaId) -> bool {
        let alone = self.pairs.get(&key).is_none_or(|pair| {
            pair.sas
                .iter()
                .filter(|other| **other != id)
                .filter_map(|other| self.sas.get(other))
                .all(|sa| sa.is_lingering() || sa.is_closed())
        });
        let Some(peer) = self.peer_mark(key) else { return false };
        let said = self.contacted.contains_key(&peer) && !self.is_contacting(&peer, |by| by == id);
        if alone && !said {
            self.contacted.insert(peer, Contact::Tried(id));
        }
        alone && !said
    }

    /// The peer whose first contact with us another SA is about: what authenticates before that is over could be destroyed
    /// by it, since the peer may read the two in either order.
    pub(super) fn awaited_contact(&self, key: PairKey, id: SaId) -> Option<Mark> {
        self.peer_mark(key).filter(|peer| self.is_contacting(peer, |by| by != id))
    }

    fn is_contacting(&self, peer: &Mark, which: impl Fn(SaId) -> bool) -> bool {
        matches!(self.contacted.get(peer), Some(Contact::Tried(by)) if which(*by))
    }

    /// An SA with the peer is there: from now on INITIAL_CONTACT would be a lie.
    pub(super) fn contact_made(&mut self, cx: &mut Context<'_>, key: PairKey) {
        if let Some(peer) = self.peer_mark(key) {
            self.contacted.insert(peer.clone(), Contact::Made);
            self.release_held(cx, &peer);
        }
    }

    /// The SA is gone; if it said INITIAL_CONTACT and nobody answered, another may.
    pub(super) fn contact_failed(&mut self, cx: &mut Context<'_>, key: PairKey, id: SaId) {
        if let Some(peer) = self.peer_mark(key).filter(|peer| self.is_contacting(peer, |by| by == id)) {
            self.contacted.remove(&peer);
            self.release_held(cx, &peer);
        }
    }

    /// What two addresses of one peer have in common before its identity is known: a digest of its key, or with signatures
    /// its one identity. Nothing where one key is for all and there is more than one pair, or where signatures are taken from
    /// more than one identity: nobody knows which of them are one peer.
    fn peer_mark(&self, key: PairKey) -> Option<Mark> {
        let prf = self.provider.prf(PrfId::HMAC_SHA2_256)?;
        let mark = |known: &[u8]| prf.compute(known, &[b"INITIAL_CONTACT"]).expose().to_vec();
        if let Some(peer) = self.peers.by_address(key.remote).filter(|peer| peer.auth.uses_signatures()) {
            return peer.only_id().map(|id| mark(&id.payload().body()));
        }
        let mut pairs = self.policies.iter().filter_map(|policy| policy.endpoints());
        if !self.peers.lists_key_for(key.remote) && pairs.any(|pair| pair != (key.local, key.remote)) {
            return None;
        }
        Some(mark(self.peers.keys_for(None, key.remote).first()?.expose()))
    }
}

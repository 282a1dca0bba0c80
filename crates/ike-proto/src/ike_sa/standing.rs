//! Credentials of an established SA that come of age: the peer's certificate is looked at again from time to time, and before
//! one of the two ends' certificates expires another IKE SA takes this one's place (make before break).
//!
//! ```text
//! check_at  --job--> it holds: next look in an hour, or when it expires
//!                    it does not: the SA ends, the pair is set up anew
//! renew_at  --> another IKE SA is begun beside this one, which goes when that one carries the traffic
//! ```
//!
//! An SA between two ends that have pre-shared keys has none of this: a key that changes in the file is for the next handshake.

use std::sync::Arc;

use crate::crypto::credential::OwnKey;
use crate::crypto::job::{Job, JobDone};
use crate::crypto::provider::Fault;
use crate::ids::JobId;
use crate::ike_sa::core::Core;
use crate::ike_sa::env::Env;
use crate::ike_sa::negotiate;
use crate::policy::peer_db::Credential;
use crate::time::{Duration, Instant};

/// A peer's certificate is looked at again after this at the latest.
const LOOK: Duration = Duration::from_secs(3600);
/// After a change of the configuration, the looks at all SAs are spread over this.
const SPREAD: Duration = Duration::from_secs(5);
/// Another IKE SA is begun so long before a certificate expires, or a tenth of its time, whichever is less.
const AHEAD: Duration = Duration::from_secs(3600);
/// A certificate that has less than this when the SA is made is not renewed for: the other end has no better one.
const TOO_SHORT: Duration = Duration::from_secs(120);
/// A renewal that came to nothing is tried again after this.
const AGAIN: Duration = Duration::from_secs(600);

/// What an SA must remember of the credentials that made it.
#[derive(Clone)]
pub struct Standing {
    /// The key we proved ourselves by, if it was one.
    own: Option<Arc<dyn OwnKey>>,
    /// When the peer's certificate is looked at again.
    check_at: Instant,
    /// When another IKE SA is to be begun in this one's place.
    renew_at: Instant,
    /// The look under way.
    checking: Option<JobId>,
}

/// A key of ours, and for how long what goes with it is valid, if that ends.
pub type Used = (Arc<dyn OwnKey>, Option<Duration>);

/// What a look at the peer's certificate led to.
pub enum Look {
    /// It holds, or it is not known yet.
    Holds,
    /// The SA is to end: why.
    Ends(String),
}

impl Standing {
    /// Of an SA that is established now; `left` is for how long the peer's certificate is valid. `None` where no end signed.
    #[must_use]
    pub fn new(
        env: &mut Env<'_>,
        own: Option<Used>,
        credential: &Credential,
        left: Option<Duration>,
    ) -> Option<Box<Self>> {
        let signed = matches!(credential, Credential::Signature(_));
        if own.is_none() && !signed {
            return None;
        }
        let (own, own_left) = own.map_or((None, None), |(key, left)| (Some(key), left));
        let renew_at = match own_left.into_iter().chain(left).min() {
            Some(first) if first >= TOO_SHORT => {
                let ahead = env.rng.jitter_down((first / 10).min(AHEAD), 50);
                env.now + (first - ahead)
            }
            _ => Instant::MAX,
        };
        let check_at = if signed { next_look(env, left) } else { Instant::MAX };
        Some(Box::new(Self { own, check_at, renew_at, checking: None }))
    }

    /// Of the SA that a rekey made: a look that is under way is begun anew there.
    #[must_use]
    pub fn inherited(&self, now: Instant) -> Box<Self> {
        let check_at = if self.checking.is_some() { now } else { self.check_at };
        Box::new(Self { own: self.own.clone(), check_at, checking: None, ..*self })
    }

    /// When something is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.check_at.min(self.renew_at)
    }

    /// Whether `job` is its look.
    #[must_use]
    pub fn awaits(&self, job: JobId) -> bool {
        self.checking == Some(job)
    }

    /// The configuration has changed: the peer's certificate is looked at again, and if our key is not ours any more, another
    /// IKE SA is made with what has taken its place.
    pub fn configuration_changed(&mut self, env: &mut Env<'_>, core: &Core, distrusted: bool) {
        let soon = env.now + env.rng.jitter_down(SPREAD, 100);
        if distrusted && self.check_at < Instant::MAX {
            self.check_at = self.check_at.min(soon);
        }
        let Some(peer) = env.peers.by_address(core.path.remote()) else { return };
        let replaced = |own: &Arc<dyn OwnKey>| !peer.auth.keys().any(|key| key.certs() == own.certs());
        // Without any key we could not prove ourselves better.
        if peer.auth.keys().next().is_some() && self.own.as_ref().is_some_and(replaced) {
            self.renew_at = self.renew_at.min(soon + SPREAD);
        }
    }

    /// Whether another IKE SA is to be begun now; that is told once in a while.
    pub fn take_renewal(&mut self, env: &Env<'_>, core: &Core) -> bool {
        let due = self.renew_at <= env.now;
        if due {
            self.renew_at = env.now + AGAIN;
        }
        // The other end renews too, if it is the one that begins.
        due && !core.peer.passive
    }

    /// Begins to look at the peer's certificate, if it is time; an SA without children carries nothing that could be another's.
    pub fn look(&mut self, env: &mut Env<'_>, core: &Core, has_children: bool) -> Look {
        if self.check_at > env.now {
            return Look::Holds;
        }
        self.check_at = env.now + LOOK;
        let (Some(Credential::Signature(proof)), Some(id)) = (&core.credential, &core.remote_id) else {
            return Look::Holds;
        };
        let remote = core.path.remote();
        let Some(peer) = env.peers.by_address(remote).cloned() else {
            return Look::Ends(format!("{remote} is no configured peer any more"));
        };
        let Some(trust) = &peer.auth.trust else {
            return Look::Ends(format!("{} does not accept certificates any more", peer.name));
        };
        if !peer.expects(id) {
            return Look::Ends(format!("{} does not expect {id} any more", peer.name));
        }
        if has_children && !negotiate::may_key(env, core, remote) {
            return Look::Ends(format!("nothing binds {id} to the address {remote} any more"));
        }
        let job = Job::Check { trust: Arc::clone(trust), id: id.payload(), proof: Arc::clone(proof) };
        self.checking = Some(env.job(core.id, job));
        Look::Holds
    }

    /// The look has come to its end.
    pub fn looked(&mut self, env: &mut Env<'_>, done: Result<JobDone, Fault>) -> Look {
        self.checking = None;
        match done {
            Ok(JobDone::Checked(Ok(left))) => self.check_at = next_look(env, left),
            Ok(JobDone::Checked(Err(why))) => return Look::Ends(why),
            // Nothing was found out.
            Ok(_) | Err(_) => self.check_at = env.now + AGAIN,
        }
        Look::Holds
    }
}

fn next_look(env: &mut Env<'_>, left: Option<Duration>) -> Instant {
    let look = env.rng.jitter_down(LOOK, 10);
    env.now + left.map_or(look, |left| left.min(look))
}

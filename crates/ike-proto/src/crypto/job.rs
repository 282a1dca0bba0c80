//! What is slow leaves the engine as a job and comes back as its result.

use std::sync::Arc;

use crate::crypto::credential::{Claim, OwnKey, Proof, Trust, Verifies};
use crate::crypto::provider::{Fault, Provider};
use crate::rng::Seed;
use crate::secret::Secret;
use crate::time::{Duration, WallTime};
use crate::wire::registry::KeId;
use crate::wire::{Auth, Id};

/// A computation the engine wants done; it carries its own randomness, so its result does not depend on who runs it.
#[derive(Debug)]
pub enum Job {
    /// Make a key pair of `method`.
    KeStart {
        /// The method.
        method: KeId,
        /// Randomness of this key pair alone.
        seed: Seed,
    },
    /// Answer an initiator's public value.
    KeRespond {
        /// The method.
        method: KeId,
        /// Randomness of this answer alone.
        seed: Seed,
        /// The initiator's public value.
        public: Vec<u8>,
    },
    /// Agree on the secret after the responder's reply.
    KeFinish {
        /// The method.
        method: KeId,
        /// What [`Job::KeStart`] gave.
        private: Secret,
        /// The responder's public value.
        reply: Vec<u8>,
    },
    /// Sign our side of IKE_AUTH.
    Sign {
        /// The key.
        key: Arc<dyn OwnKey>,
        /// What the peer verifies.
        peer: Verifies,
        /// What is signed (RFC 7296 §2.15).
        octets: Vec<u8>,
    },
    /// Verify the peer's side of IKE_AUTH: its certificates, that they name it, and its signature.
    Verify {
        /// Whom we believe.
        trust: Arc<dyn Trust>,
        /// What the peer claims.
        claim: Box<Claim>,
    },
    /// Look again at what proved a peer's identity.
    Check {
        /// Whom we believe now.
        trust: Arc<dyn Trust>,
        /// The identity.
        id: Id,
        /// What proved it.
        proof: Arc<Proof>,
    },
}

/// A job's result.
#[derive(Debug)]
pub enum JobDone {
    /// Of [`Job::KeStart`].
    KeStarted {
        /// To be kept for [`Job::KeFinish`].
        private: Secret,
        /// To be sent.
        public: Vec<u8>,
    },
    /// Of [`Job::KeRespond`].
    KeResponded {
        /// To be sent.
        reply: Vec<u8>,
        /// The shared secret.
        shared: Secret,
    },
    /// Of [`Job::KeFinish`].
    KeFinished {
        /// The shared secret.
        shared: Secret,
    },
    /// Of [`Job::Sign`]; or why there is no signature.
    Signed(Result<Signed, String>),
    /// Of [`Job::Verify`]; or why the claim proves nothing.
    Verified(Result<Proved, String>),
    /// Of [`Job::Check`]: for how long it holds, if that ends; or why it does not.
    Checked(Result<Option<Duration>, String>),
}

/// A signature of ours.
#[derive(Debug)]
pub struct Signed {
    /// The AUTH payload.
    pub auth: Auth,
    /// For how long what goes with the key is valid, if that ends.
    pub left: Option<Duration>,
}

/// A claim that holds.
#[derive(Debug)]
pub struct Proved {
    /// What proved it.
    pub proof: Arc<Proof>,
    /// For how long it holds, if that ends.
    pub left: Option<Duration>,
    /// What could not be checked, for the log.
    pub warnings: Vec<String>,
}

impl Job {
    /// Does the work, on whatever thread calls it; `wall` is the wall clock's time, for the dates of certificates.
    ///
    /// # Errors
    /// [`Fault::Unsupported`] for a method the provider does not have, else the method's own fault.
    pub fn run(self, provider: &dyn Provider, wall: WallTime) -> Result<JobDone, Fault> {
        let left = |last: Option<WallTime>| last.map(|last| last.left(wall));
        let method = |id| provider.key_exchange(id).ok_or(Fault::Unsupported);
        match self {
            Self::KeStart { method: id, seed } => {
                let (private, public) = method(id)?.start(&seed)?;
                Ok(JobDone::KeStarted { private, public })
            }
            Self::KeRespond { method: id, seed, public } => {
                let (reply, shared) = method(id)?.respond(&seed, &public)?;
                Ok(JobDone::KeResponded { reply, shared })
            }
            Self::KeFinish { method: id, private, reply } => {
                Ok(JobDone::KeFinished { shared: method(id)?.finish(&private, &reply)? })
            }
            Self::Sign { key, peer, octets } => {
                let signed = key.sign(&peer, &octets);
                Ok(JobDone::Signed(signed.map(|auth| Signed { auth, left: left(key.not_after()) })))
            }
            Self::Verify { trust, claim } => {
                let verified = trust.verify(&claim, wall);
                Ok(JobDone::Verified(verified.map(|good| Proved {
                    proof: Arc::new(good.proof),
                    left: left(good.not_after),
                    warnings: good.warnings,
                })))
            }
            Self::Check { trust, id, proof } => {
                Ok(JobDone::Checked(trust.check(&id, &proof, wall).map(left)))
            }
        }
    }
}

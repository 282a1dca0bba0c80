//! What is slow leaves the engine as a job and comes back as its result.

use crate::crypto::provider::{Fault, Provider};
use crate::rng::Seed;
use crate::secret::Secret;
use crate::wire::registry::KeId;

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
}

impl Job {
    /// Does the work, on whatever thread calls it.
    ///
    /// # Errors
    /// [`Fault::Unsupported`] for a method the provider does not have, else the method's own fault.
    pub fn run(self, provider: &dyn Provider) -> Result<JobDone, Fault> {
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
        }
    }
}

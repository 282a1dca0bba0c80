//! The handshake: one struct for each thing that is awaited, consumed by value (RFC 7296 §1.2).
//!
//! ```text
//! initiator                                     responder
//! Starting       (key pair: job)
//! InitSent        --- HDR, SAi1, KEi, Ni -->    Responding     (reply and secret: job)
//! Finishing      <--- HDR, SAr1, KEr, Nr ---    AuthAwaited
//!                (secret: job)
//! AuthSigning    (our signature: job)
//! AuthSent        --- HDR, SK {IDi, AUTH, SAi2, TSi, TSr} -->
//!                                               AuthJudging    (the peer's signature: job)
//!                                               AuthAnswering  (our signature: job)
//! AuthVerifying  <--- HDR, SK {IDr, AUTH, SAr2, TSi, TSr} ---  established
//!                (the peer's signature: job)
//! established
//! ```
//!
//! An end that proves itself by a pre-shared key needs no job for it: the states for signatures are left out.

pub mod auth;
pub mod init;
pub mod prove;

use crate::crypto::job::JobDone;
use crate::crypto::provider::Fault;
use crate::error::Error;
use crate::ids::JobId;
use crate::ike_sa::core::Common;
use crate::ike_sa::env::{Env, Wanted};

/// What is awaited.
pub enum Handshake {
    /// Our key pair.
    Starting(init::Starting),
    /// The response of IKE_SA_INIT.
    InitSent(init::InitSent),
    /// The shared secret, as initiator.
    Finishing(init::Finishing),
    /// Our signature, as initiator.
    AuthSigning(auth::initiator::AuthSigning),
    /// The response of IKE_AUTH.
    AuthSent(auth::initiator::AuthSent),
    /// The verdict on the responder's signature.
    AuthVerifying(auth::initiator::AuthVerifying),
    /// Our reply and the shared secret, as responder.
    Responding(init::Responding),
    /// The request of IKE_AUTH.
    AuthAwaited(auth::responder::AuthAwaited),
    /// The verdict on the initiator's signature.
    AuthJudging(auth::responder::AuthJudging),
    /// Our signature, as responder.
    AuthAnswering(auth::responder::AuthAnswering),
}

/// What a step of the handshake led to.
pub enum Step {
    /// Something else is awaited now.
    Await(Handshake),
    /// Both ends are authenticated.
    Established,
    /// The attempt is over; the peer knows, or cannot be told.
    Failed(Error, Option<Wanted>),
    /// The attempt is over, and the peer believes in an SA: it is to be deleted.
    Close(Error, Option<Wanted>),
}

impl Handshake {
    /// The job it waits for.
    #[must_use]
    pub const fn job(&self) -> Option<JobId> {
        match self {
            Self::Starting(state) => Some(state.job()),
            Self::Finishing(state) => Some(state.job()),
            Self::Responding(state) => Some(state.job()),
            Self::AuthSigning(state) => Some(state.job()),
            Self::AuthVerifying(state) => Some(state.job()),
            Self::AuthJudging(state) => Some(state.job()),
            Self::AuthAnswering(state) => Some(state.job()),
            Self::InitSent(_) | Self::AuthSent(_) | Self::AuthAwaited(_) => None,
        }
    }

    /// Goes on with a job's result.
    pub fn handle_job(self, env: &mut Env<'_>, common: &mut Common, done: Result<JobDone, Fault>) -> Step {
        match (self, done) {
            (Self::Starting(state), Ok(JobDone::KeStarted { private, public })) => {
                state.started(env, common, private, public)
            }
            (Self::Finishing(state), Ok(JobDone::KeFinished { shared })) => {
                state.finished(env, common, shared)
            }
            (Self::Responding(state), Ok(JobDone::KeResponded { reply, shared })) => {
                state.responded(env, common, reply, shared)
            }
            (Self::AuthSigning(state), done) => state.signed(env, common, done),
            (Self::AuthVerifying(state), done) => state.verified(env, common, done),
            (Self::AuthJudging(state), done) => state.verified(env, common, done),
            (Self::AuthAnswering(state), done) => state.signed(env, common, done),
            (state, Err(fault)) => {
                let wanted = state.into_wanted(env, common);
                Step::Failed(Error::malformed(format!("key exchange: {fault}")), wanted)
            }
            (state, Ok(_)) => {
                let wanted = state.into_wanted(env, common);
                Step::Failed(Error::malformed("a job gave what was not asked for"), wanted)
            }
        }
    }

    /// Gives up; what was wanted comes back, and reservations are released.
    pub fn into_wanted(self, env: &mut Env<'_>, common: &Common) -> Option<Wanted> {
        match self {
            Self::Starting(state) => state.into_wanted(),
            Self::InitSent(state) => state.into_wanted(),
            Self::Finishing(state) => state.into_wanted(),
            Self::AuthSigning(state) => state.into_wanted(),
            Self::AuthSent(state) => state.into_wanted(env, common),
            Self::AuthVerifying(state) => state.into_wanted(env, common),
            Self::Responding(_) | Self::AuthAwaited(_) | Self::AuthJudging(_) | Self::AuthAnswering(_) => {
                None
            }
        }
    }

    /// Whether it is ours, and its IKE_AUTH is not out yet.
    #[must_use]
    pub const fn is_before_auth(&self) -> bool {
        matches!(self, Self::Starting(_) | Self::InitSent(_) | Self::Finishing(_) | Self::AuthSigning(_))
    }

    /// As responder, the octets of the first request, by which a repetition of it is known.
    #[must_use]
    pub fn first_request(&self) -> Option<&[u8]> {
        match self {
            Self::Responding(state) => Some(state.request()),
            Self::AuthAwaited(state) => Some(state.first_request()),
            Self::AuthJudging(state) => Some(state.first_request()),
            Self::AuthAnswering(state) => Some(state.first_request()),
            _ => None,
        }
    }

    /// Why the attempt may have failed, from notifies that nobody authenticated.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::InitSent(state) => state.hint(),
            _ => None,
        }
    }
}

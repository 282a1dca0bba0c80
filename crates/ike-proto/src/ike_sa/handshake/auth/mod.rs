//! IKE_AUTH with the first child, both roles (RFC 7296 §1.2, §2.15, §2.21.2).

pub mod initiator;
pub mod responder;

use std::sync::Arc;

use crate::crypto::credential::{OwnKey, Verifies};
use crate::crypto::job::{Job, JobDone};
use crate::crypto::provider::Fault;
use crate::error::Error;
use crate::ids::JobId;
use crate::ike_sa::core::{self, Common, Core};
use crate::ike_sa::env::{Env, Signal, Wanted};
use crate::ike_sa::handshake::prove;
use crate::ike_sa::negotiate::{Install, Keyed, Plan};
use crate::ike_sa::path::Nat;
use crate::ike_sa::standing::{Standing, Used};
use crate::message::parts::Parts;
use crate::output::What;
use crate::policy::identity::Identity;
use crate::policy::peer_db::Credential;
use crate::policy::proposal::Offer;
use crate::time::Duration;
use crate::wire::registry::NotifyType;
use crate::wire::{Auth, Notify, Payload};

/// The peer's ESP offers as IKE_AUTH has them.
fn first_child_offers(common: &Common) -> Vec<Offer> {
    common.core.peer.child.offers.iter().map(Offer::without_ke).collect()
}

/// What proved the peer, for how long that holds if it ends, and the key we proved ourselves by.
struct Authenticated {
    identity: Identity,
    credential: Credential,
    left: Option<Duration>,
    own: Option<Used>,
}

impl Authenticated {
    /// By a pre-shared key.
    const fn by_shared_key(identity: Identity, credential: Credential, own: Option<Used>) -> Self {
        Self { identity, credential, left: None, own }
    }
}

/// Hands out the job that signs for us.
fn sign(env: &mut Env<'_>, core: &Core, own: &Arc<dyn OwnKey>, peer: Verifies, octets: Vec<u8>) -> JobId {
    let job = Job::Sign { key: Arc::clone(own), peer, octets };
    env.job(core.id, job)
}

/// `[CERT+,] AUTH`.
fn proof(core: &Core, auth: Auth, own: Option<&dyn OwnKey>) -> Vec<Payload> {
    let certs = own.filter(|_| core.peer.auth.send_cert).map(OwnKey::certs).unwrap_or_default();
    certs.iter().cloned().map(Payload::Cert).chain([Payload::Auth(auth)]).collect()
}

/// What a signature that could not be computed, or verified, means.
fn broken(fault: Fault) -> Error {
    Error::authentication(format!("a signature: {fault}"))
}

/// What the verdict on the peer's signature makes of it; what holds with a reservation is said.
fn proved(
    env: &mut Env<'_>,
    core: &Core,
    identity: Identity,
    done: Result<JobDone, Fault>,
) -> Result<Authenticated, Error> {
    let proved = match done {
        Ok(JobDone::Verified(Ok(proved))) => proved,
        Ok(JobDone::Verified(Err(why))) => return Err(Error::authentication(format!("{identity}: {why}"))),
        Ok(_) => return Err(broken(Fault::Unsupported)),
        Err(fault) => return Err(broken(fault)),
    };
    prove::expect(core, &identity)?;
    for warning in proved.warnings {
        core.say(env, What::Trouble(warning));
    }
    let credential = Credential::Signature(proved.proof);
    Ok(Authenticated { identity, credential, left: proved.left, own: None })
}

/// Takes down who the peer is and what it understands, and says that both ends are authenticated.
fn established(env: &mut Env<'_>, common: &mut Common, authenticated: Authenticated, parts: &Parts) {
    let core = &mut common.core;
    let Authenticated { identity, credential, left, own } = authenticated;
    core.standing = Standing::new(env, own, &credential, left);
    core.remote_id = Some(identity.clone());
    core.credential = Some(credential);
    core.take_token(parts);
    core.take_vendors(parts);
    core.since = env.now;
    core.arm(env);
    if let Some(suite) = core.suite {
        let (role, flow, local_id) = (core.role, core.path.flow, core.local_id.clone());
        core.say(env, What::IkeSaUp { role, flow, local_id, remote_id: identity, suite });
        if core.path.nat_known {
            let Nat { local: ours, remote: theirs } = core.path.nat;
            core.say(env, What::Nat { ours, theirs });
        }
    }
    env.signals.push(Signal::Established);
}

/// Our token for this SA (RFC 6290 §3), where there is a secret to make it with.
pub fn crash_token(env: &Env<'_>, core: &Core) -> Option<Payload> {
    let token = core::token(env.provider, env.qcd_secret?, core.spis())?;
    Some(Payload::Notify(Notify::status(NotifyType::QUICK_CRASH_DETECTION, token)))
}

/// Installs the child the peer agreed to, or says why there is none; a child the peer alone has is deleted there.
pub fn complete_child(env: &mut Env<'_>, common: &mut Common, plan: Plan, parts: &Parts, keyed: &Keyed<'_>) {
    let choice = plan.accept(parts);
    let peer_has_it = parts.error().is_none() && parts.has_sa();
    let spi_in = plan.spi_in();
    let made =
        choice.and_then(|choice| plan.complete(env, &common.core, parts, &choice, keyed, Install::Both));
    match made {
        Ok(child) => common.children.add(env, &common.core, child),
        Err(error) => {
            let wanted = plan.abandon(env, &common.core);
            if peer_has_it {
                common.tasks.delete_child(spi_in);
            }
            match wanted.single_pair(error.notify()) {
                Ok(single) => common.tasks.create_child(single),
                Err(wanted) => child_failed(env, common, Some(*wanted), &error.to_string()),
            }
        }
    }
}

/// Says that a child could not be made.
pub fn child_failed(env: &mut Env<'_>, common: &Common, wanted: Option<Wanted>, cause: &str) {
    let selector = wanted.as_ref().map(|wanted| wanted.selector);
    common.core.say(env, What::ChildFailed { selector, cause: cause.to_owned() });
    if let Some(wanted) = wanted {
        env.signals.push(Signal::ChildFailed(wanted, cause.to_owned()));
    }
}

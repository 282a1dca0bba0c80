//! IKE_AUTH as responder.
//!
//! ```text
//! AuthAwaited    <--- HDR, SK {IDi, [CERT+,] [CERTREQ+,] AUTH, SAi2, TSi, TSr} ---
//! AuthJudging         the peer shows a signature: job
//! AuthAnswering       we prove ourselves by a key: job
//! established     --- HDR, SK {IDr, [CERT+,] AUTH, SAr2, TSi, TSr} -->
//! ```
//!
//! With pre-shared keys the second and the third are left out. The request is in work until it is answered: it is not taken
//! twice, and there is one job of the peer's for each handshake that it began. Whatever is wrong with its proof, the answer is
//! AUTHENTICATION_FAILED and the SA is gone.

use std::sync::Arc;

use super::{Authenticated, broken, crash_token, established, first_child_offers};
use crate::crypto::credential::OwnKey;
use crate::crypto::job::{Job, JobDone};
use crate::crypto::keymat::{AuthKeys, Nonces};
use crate::crypto::provider::Fault;
use crate::error::Error;
use crate::ids::JobId;
use crate::ike_sa::core::Common;
use crate::ike_sa::env::{Env, Signal};
use crate::ike_sa::handshake::prove::{self, Judged, Means, Signed, Wishes};
use crate::ike_sa::handshake::{Handshake, Step};
use crate::ike_sa::negotiate::{self, Keyed};
use crate::message::inventory;
use crate::message::parts::Parts;
use crate::output::{Flow, What};
use crate::policy::identity::Identity;
use crate::policy::peer_db::Credential;
use crate::wire::registry::{ExchangeType, NotifyType};
use crate::wire::{Auth, Notify, Payload};

/// What IKE_SA_INIT left.
pub struct Agreed {
    /// Keys of the AUTH payloads.
    pub keys: AuthKeys,
    /// Both nonces.
    pub nonces: Nonces,
    /// The initiator's first message.
    pub request: Vec<u8>,
    /// Our answer.
    pub response: Vec<u8>,
    /// What the initiator says of proofs.
    pub wishes: Wishes,
}

/// Awaiting the request of IKE_AUTH.
pub struct AuthAwaited(pub Agreed);

/// The request, while something of it waits.
struct Asked {
    agreed: Agreed,
    flow: Flow,
    parts: Parts,
}

/// Awaiting the verdict on the initiator's signature.
pub struct AuthJudging {
    asked: Asked,
    identity: Identity,
    job: JobId,
}

/// Awaiting our signature.
pub struct AuthAnswering {
    asked: Asked,
    who: Authenticated,
    own: Arc<dyn OwnKey>,
    job: JobId,
}

impl AuthAwaited {
    /// The octets of the first request, by which a repetition is known.
    #[must_use]
    pub fn first_request(&self) -> &[u8] {
        &self.0.request
    }

    /// The request, its protection verified; it is answered in any case.
    pub fn handle(self, env: &mut Env<'_>, common: &mut Common, flow: Flow, parts: Parts) -> Step {
        // From here on the initiator is where its protected message came from (RFC 7296 §2.23).
        common.core.path.flow = flow;
        let mut agreed = self.0;
        let judged = judge(env, common, &agreed, &parts);
        agreed.wishes.take(&parts);
        let asked = Asked { agreed, flow, parts };
        match judged {
            Err(error) => asked.refuse(env, common, error),
            Ok((identity, Judged::Proved(credential))) => {
                asked.prove(env, common, Authenticated::by_shared_key(identity, credential, None))
            }
            Ok((identity, Judged::Slow(trust, claim))) => {
                let job = env.job(common.core.id, Job::Verify { trust, claim });
                Step::Await(Handshake::AuthJudging(AuthJudging { asked, identity, job }))
            }
        }
    }
}

/// Who the initiator says it is, and what is to be believed of it.
fn judge(
    env: &Env<'_>,
    common: &Common,
    agreed: &Agreed,
    parts: &Parts,
) -> Result<(Identity, Judged), Error> {
    let id = parts.id_i()?;
    let identity = Identity::of(id);
    let named = |error: Error| Error::authentication(format!("{identity}: {error}"));
    if !parts.has_auth() {
        // An initiator that wants EAP leaves AUTH out (RFC 7296 §2.16).
        return Err(named(Error::authentication("the peer wants EAP, which is not done here")));
    }
    let core = &common.core;
    let prf = core.prf(env).ok_or_else(|| Error::authentication("no keys yet"))?;
    let signed = Signed { message: &agreed.request, nonce: &agreed.nonces.nr, id, sk_p: &agreed.keys.peer };
    let listed = || env.peers.keys_for(Some(&identity), core.path.remote());
    let judged = prove::judge(&core.peer.auth, prf, &signed, parts, listed).map_err(named)?;
    if matches!(judged, Judged::Proved(_)) {
        prove::expect(core, &identity)?;
    }
    Ok((identity, judged))
}

impl AuthJudging {
    pub(in crate::ike_sa::handshake) const fn job(&self) -> JobId {
        self.job
    }

    /// The octets of the first request.
    #[must_use]
    pub fn first_request(&self) -> &[u8] {
        &self.asked.agreed.request
    }

    /// The verdict is there.
    pub fn verified(self, env: &mut Env<'_>, common: &mut Common, done: Result<JobDone, Fault>) -> Step {
        match super::proved(env, &common.core, self.identity, done) {
            Ok(who) => self.asked.prove(env, common, who),
            Err(error) => self.asked.refuse(env, common, error),
        }
    }
}

impl AuthAnswering {
    pub(in crate::ike_sa::handshake) const fn job(&self) -> JobId {
        self.job
    }

    /// The octets of the first request.
    #[must_use]
    pub fn first_request(&self) -> &[u8] {
        &self.asked.agreed.request
    }

    /// Our signature is there, or there is none.
    pub fn signed(self, env: &mut Env<'_>, common: &mut Common, done: Result<JobDone, Fault>) -> Step {
        let Self { asked, mut who, own, .. } = self;
        match done {
            Ok(JobDone::Signed(Ok(signed))) => {
                who.own = Some((own, signed.left));
                asked.answer(env, common, who, signed.auth)
            }
            Ok(JobDone::Signed(Err(why))) => asked.refuse(env, common, Error::authentication(why)),
            Ok(_) => asked.refuse(env, common, broken(Fault::Unsupported)),
            Err(fault) => asked.refuse(env, common, broken(fault)),
        }
    }
}

impl Asked {
    /// The initiator is who it says: we prove ourselves.
    fn prove(self, env: &mut Env<'_>, common: &mut Common, who: Authenticated) -> Step {
        let core = &common.core;
        let Some(prf) = core.prf(env) else {
            return self.refuse(env, common, Error::authentication("no keys yet"));
        };
        let id = core.local_id.payload();
        let Agreed { keys, nonces, response, wishes, .. } = &self.agreed;
        let signed = Signed { message: response, nonce: &nonces.ni, id: &id, sk_p: &keys.own };
        // A peer that proved itself by a pre-shared key knows that one.
        let psk = || match &who.credential {
            Credential::SharedKey(psk) => Some(Arc::clone(psk)),
            Credential::Signature(_) => {
                env.peers.keys_for(Some(&who.identity), core.path.remote()).into_iter().next()
            }
        };
        match prove::choose(core, wishes, psk) {
            Err(error) => self.refuse(env, common, error),
            Ok(Means::SharedKey(psk)) => {
                let auth = signed.by_shared_key(prf, &psk);
                self.answer(env, common, who, auth)
            }
            Ok(Means::Key(own, verifies)) => {
                let octets = signed.octets(prf);
                let job = super::sign(env, core, &own, verifies, octets);
                Step::Await(Handshake::AuthAnswering(AuthAnswering { asked: self, who, own, job }))
            }
        }
    }

    /// Both ends are authenticated: `HDR, SK {IDr, [CERT+,] AUTH, [SAr2, TSi, TSr]}`.
    fn answer(self, env: &mut Env<'_>, common: &mut Common, who: Authenticated, auth: Auth) -> Step {
        let own = who.own.as_ref().map(|(own, _)| own.as_ref());
        let mut payloads = vec![Payload::IdR(common.core.local_id.payload())];
        payloads.extend(super::proof(&common.core, auth, own));
        // What the peer has lost does not vie with this SA.
        if self.parts.has(NotifyType::INITIAL_CONTACT) {
            env.signals.push(Signal::InitialContact);
        }
        established(env, common, who, &self.parts);
        payloads.extend(crash_token(env, &common.core));
        payloads.extend(self.first_child(env, common));
        payloads.push(inventory::vendor());
        common.respond(env, self.flow, ExchangeType::IKE_AUTH, &payloads);
        Step::Established
    }

    /// One answer for every way in which an authentication can fail.
    fn refuse(self, env: &mut Env<'_>, common: &mut Common, error: Error) -> Step {
        common.respond(env, self.flow, ExchangeType::IKE_AUTH, &[Payload::Notify(error.told())]);
        Step::Failed(error, None)
    }

    /// The child's payloads, or the error that stands in their place: the IKE SA is there in any case (RFC 7296 §1.2).
    fn first_child(&self, env: &mut Env<'_>, common: &mut Common) -> Vec<Payload> {
        let parts = &self.parts;
        if !parts.has_sa() {
            return Vec::new();
        }
        let keyed = Keyed { nonces: &self.agreed.nonces, shared: &[] };
        let offers = first_child_offers(common);
        let made = negotiate::judge(env, &common.core, parts, &offers, None).and_then(|accepted| {
            let install = accepted.install_at_once(env, &common.core, &common.children);
            accepted.install(env, &common.core, &keyed, install)
        });
        match made {
            Ok((child, payloads)) => {
                common.children.add(env, &common.core, child);
                payloads
            }
            Err(error) => {
                common.core.say(env, What::ChildFailed { selector: None, cause: error.to_string() });
                let known = error.notify() != NotifyType::INVALID_SYNTAX;
                let notify = if known { error.notify() } else { NotifyType::TS_UNACCEPTABLE };
                vec![Payload::Notify(Notify::status(notify, error.data().to_vec()))]
            }
        }
    }
}

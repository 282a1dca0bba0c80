//! Who the peer is: AUTH made and verified (RFC 7296 §2.15). One error and one path for every way it can fail.

use std::sync::Arc;

use crate::crypto::keymat::{SkP, shared_key_auth};
use crate::crypto::provider::Prf;
use crate::error::Error;
use crate::policy::peer_db::Credential;
use crate::secret::{self, Secret};
use crate::wire::registry::AuthMethod;
use crate::wire::{Auth, Id};

/// What one end's AUTH is computed over.
pub struct Signed<'a> {
    /// The end's first message.
    pub message: &'a [u8],
    /// The other end's nonce.
    pub nonce: &'a [u8],
    /// The end's identity, as it is on the wire.
    pub id: &'a Id,
    /// The end's `SK_p`.
    pub sk_p: &'a SkP,
}

impl Signed<'_> {
    fn shared_key(&self, prf: &dyn Prf, key: &Secret) -> Secret {
        let octets = self.sk_p.signed_octets(prf, self.message, self.nonce, &self.id.body());
        shared_key_auth(prf, key, &octets)
    }

    /// Our AUTH payload.
    #[must_use]
    pub fn sign(&self, prf: &dyn Prf, key: &Secret) -> Auth {
        Auth { method: AuthMethod::SHARED_KEY, data: self.shared_key(prf, key).expose().to_vec() }
    }

    /// The credential among `keys` that fits the peer's AUTH.
    ///
    /// Without a key, one is made up and fails like a wrong one: nobody learns which identities have keys.
    ///
    /// # Errors
    /// AUTHENTICATION_FAILED.
    pub fn verify(&self, prf: &dyn Prf, auth: &Auth, keys: &[Arc<Secret>]) -> Result<Credential, Error> {
        let unknown = [Arc::new(Secret::new(vec![0; 32]))];
        let tried = if keys.is_empty() { &unknown[..] } else { keys };
        let mut fitting = None;
        for key in tried {
            let same = secret::same(self.shared_key(prf, key).expose(), &auth.data);
            if same && auth.method == AuthMethod::SHARED_KEY && !keys.is_empty() && fitting.is_none() {
                fitting = Some(Credential::SharedKey(Arc::clone(key)));
            }
        }
        fitting.ok_or_else(|| {
            let why = if keys.is_empty() {
                "there is no pre-shared key for the peer".to_owned()
            } else if auth.method != AuthMethod::SHARED_KEY {
                format!("the peer authenticates by {}, a pre-shared key is expected", auth.method)
            } else {
                "the peer's pre-shared key is another one".to_owned()
            };
            Error::authentication(why)
        })
    }
}

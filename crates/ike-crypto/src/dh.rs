//! Diffie-Hellman groups as key exchange methods (RFC 7296 §2.12): what all groups have in common.

use ike_proto::crypto::provider::{Fault, KeyExchange};
use ike_proto::rng::{Rng, Seed};
use ike_proto::secret::Secret;
use ike_proto::wire::registry::KeId;

/// A group in which two parties agree on a secret.
pub(crate) trait Group: Send + Sync {
    /// Its transform.
    fn id(&self) -> KeId;

    /// Octets of a public value.
    fn public_len(&self) -> usize;

    /// A private value.
    fn private(&self, rng: &mut Rng) -> Secret;

    /// The public value of `private`.
    fn public(&self, private: &Secret) -> Result<Vec<u8>, Fault>;

    /// The shared secret; `peer` has the right length, all else about it is to be checked.
    fn agree(&self, private: &Secret, peer: &[u8]) -> Result<Secret, Fault>;
}

/// A group in the shape of a KEM.
pub(crate) struct DiffieHellman<G>(pub(crate) G);

impl<G: Group> KeyExchange for DiffieHellman<G> {
    fn id(&self) -> KeId {
        self.0.id()
    }

    fn public_len(&self) -> usize {
        self.0.public_len()
    }

    fn reply_len(&self) -> usize {
        self.0.public_len()
    }

    fn start(&self, seed: &Seed) -> Result<(Secret, Vec<u8>), Fault> {
        let private = self.0.private(&mut Rng::new(seed));
        let public = self.0.public(&private)?;
        Ok((private, public))
    }

    fn respond(&self, seed: &Seed, public: &[u8]) -> Result<(Vec<u8>, Secret), Fault> {
        let private = self.0.private(&mut Rng::new(seed));
        let shared = self.finish(&private, public)?;
        Ok((self.0.public(&private)?, shared))
    }

    fn finish(&self, private: &Secret, reply: &[u8]) -> Result<Secret, Fault> {
        if reply.len() != self.0.public_len() {
            return Err(Fault::Length);
        }
        self.0.agree(private, reply)
    }
}

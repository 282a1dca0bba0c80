//! The key schedule as a chain of types: each step takes the one before it, so a wrong secret at a wrong time does not compile.
//!
//! ```text
//! shared secrets, nonces -> SkeySeed -> IkeKeys { SkD, SK_a*, SK_e*, SK_p* }      RFC 7296 §2.14, §2.18
//! SkD, nonces, secrets   -> ChildKeys                                             RFC 7296 §2.17
//! PSK, SK_p, messages    -> authenticators                                        RFC 7296 §2.15
//! ```

use crate::crypto::provider::{Prf, ProtectionKeys, Provider};
use crate::crypto::suite::{EspSuite, IkeSuite};
use crate::ids::{IkeSpi, Role};
use crate::secret::Secret;

/// The pad that RFC 7296 §2.15 puts between a shared key and its use.
const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// The two nonces of an exchange, by the role its sender has in that exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nonces {
    /// Of the exchange's initiator.
    pub ni: Vec<u8>,
    /// Of the exchange's responder.
    pub nr: Vec<u8>,
}

/// `prf+` (RFC 7296 §2.13): `len` octets, at most 255 times the output length.
#[must_use]
pub fn prf_plus(prf: &dyn Prf, key: &[u8], seed: &[&[u8]], len: usize) -> Secret {
    let mut out = Vec::with_capacity(len + prf.output_len());
    let mut block = Secret::default();
    for counter in 1..=u8::MAX {
        if out.len() >= len {
            break;
        }
        let mut parts = Vec::with_capacity(seed.len() + 2);
        parts.push(block.expose());
        parts.extend_from_slice(seed);
        let counter = [counter];
        parts.push(&counter);
        let next = prf.compute(key, &parts);
        out.extend_from_slice(next.expose());
        block = next;
    }
    out.truncate(len);
    Secret::new(out)
}

/// SKEYSEED.
pub struct SkeySeed(Secret);

impl SkeySeed {
    /// Of a new IKE SA: `prf(Ni | Nr, g^ir)`, further secrets appended in order (RFC 7296 §2.14, RFC 9370 §2.2.2).
    #[must_use]
    pub fn initial(prf: &dyn Prf, nonces: &Nonces, shared: &[Secret]) -> Self {
        let key = Secret::new([nonces.ni.as_slice(), nonces.nr.as_slice()].concat());
        let parts: Vec<&[u8]> = shared.iter().map(Secret::expose).collect();
        Self(prf.compute(key.expose(), &parts))
    }

    /// Of a rekeyed IKE SA: `prf(SK_d (old), g^ir (new) | Ni | Nr)` with the old SA's prf (RFC 7296 §2.18).
    #[must_use]
    pub fn rekeyed(old_prf: &dyn Prf, old: &SkD, nonces: &Nonces, shared: &[Secret]) -> Self {
        let mut parts: Vec<&[u8]> = shared.iter().map(Secret::expose).collect();
        parts.extend([nonces.ni.as_slice(), nonces.nr.as_slice()]);
        Self(old_prf.compute(old.0.expose(), &parts))
    }

    /// `prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)` cut into the seven keys (RFC 7296 §2.14).
    ///
    /// Returns `None` if the provider lacks an algorithm of `suite`.
    #[must_use]
    pub fn expand(
        self,
        provider: &dyn Provider,
        suite: &IkeSuite,
        nonces: &Nonces,
        spi_i: IkeSpi,
        spi_r: IkeSpi,
    ) -> Option<IkeKeys> {
        let prf = provider.prf(suite.prf)?;
        let protection = provider.protection(suite.encr.id, suite.encr.key_bits, suite.integ)?;
        let (n, e, a) = (prf.output_len(), protection.encr_key_len(), protection.integ_key_len());
        let (spi_i, spi_r) = (spi_i.0.to_be_bytes(), spi_r.0.to_be_bytes());
        let seed = [nonces.ni.as_slice(), nonces.nr.as_slice(), &spi_i, &spi_r];
        let material = prf_plus(prf, self.0.expose(), &seed, 3 * n + 2 * e + 2 * a);
        let mut rest = Cutter(material.expose());
        Some(IkeKeys {
            sk_d: SkD(rest.cut(n)),
            integ: [rest.cut(a), rest.cut(a)],
            encr: [rest.cut(e), rest.cut(e)],
            sk_p: [SkP(rest.cut(n)), SkP(rest.cut(n))],
        })
    }
}

/// Takes keys off the front of key material; the material was made as long as the sum of what is cut.
struct Cutter<'a>(&'a [u8]);

impl Cutter<'_> {
    fn cut(&mut self, len: usize) -> Secret {
        let (head, tail) = self.0.split_at_checked(len).unwrap_or((self.0, &[]));
        self.0 = tail;
        Secret::from_slice(head)
    }
}

/// `SK_d`: keys of children and of the next IKE SA come from it.
pub struct SkD(Secret);

/// `SK_pi` or `SK_pr`: binds an identity to the handshake.
pub struct SkP(Secret);

/// What `SKEYSEED` expands to; arrays hold the initiator's key first.
pub struct IkeKeys {
    sk_d: SkD,
    integ: [Secret; 2],
    encr: [Secret; 2],
    sk_p: [SkP; 2],
}

/// Keys that live as long as the IKE SA: `SK_d` and the protection of each direction.
pub struct SaKeys {
    /// `SK_d`.
    pub sk_d: SkD,
    /// What we seal with.
    pub outbound: ProtectionKeys,
    /// What we open with.
    pub inbound: ProtectionKeys,
}

/// Keys that live until IKE_AUTH is done.
pub struct AuthKeys {
    /// `SK_p` of the end we are.
    pub own: SkP,
    /// `SK_p` of the other end.
    pub peer: SkP,
}

impl IkeKeys {
    /// Sorts the keys as the end with `role` uses them. In a rekey, `role` is that of the rekey exchange (RFC 7296 §2.18).
    #[must_use]
    pub fn split(self, role: Role) -> (SaKeys, AuthKeys) {
        let [integ_i, integ_r] = self.integ;
        let [encr_i, encr_r] = self.encr;
        let [p_i, p_r] = self.sk_p;
        let initiator = ProtectionKeys { encr: encr_i, integ: integ_i };
        let responder = ProtectionKeys { encr: encr_r, integ: integ_r };
        let (outbound, inbound, own, peer) = match role {
            Role::Initiator => (initiator, responder, p_i, p_r),
            Role::Responder => (responder, initiator, p_r, p_i),
        };
        (SaKeys { sk_d: self.sk_d, outbound, inbound }, AuthKeys { own, peer })
    }
}

/// Keys of one direction of a pair of ESP SAs.
#[derive(PartialEq, Eq, Debug)]
pub struct EspKeys {
    /// Encryption key, an AEAD's salt at its end.
    pub encr: Secret,
    /// Integrity key; empty with an AEAD.
    pub integ: Secret,
}

/// Keys of both directions, by the role in the exchange that made them.
pub struct ChildKeys {
    /// From the exchange's initiator to its responder.
    pub initiator: EspKeys,
    /// From the exchange's responder to its initiator.
    pub responder: EspKeys,
}

impl SkD {
    /// `prf+(SK_d, [g^ir |] Ni | Nr)`, encryption before integrity, initiator's data first (RFC 7296 §2.17).
    #[must_use]
    pub fn child_keys(
        &self,
        prf: &dyn Prf,
        suite: &EspSuite,
        shared: &[Secret],
        nonces: &Nonces,
    ) -> ChildKeys {
        let (e, a) = suite.key_lens();
        let mut seed: Vec<&[u8]> = shared.iter().map(Secret::expose).collect();
        seed.extend([nonces.ni.as_slice(), nonces.nr.as_slice()]);
        let material = prf_plus(prf, self.0.expose(), &seed, 2 * (e + a));
        let mut rest = Cutter(material.expose());
        ChildKeys {
            initiator: EspKeys { encr: rest.cut(e), integ: rest.cut(a) },
            responder: EspKeys { encr: rest.cut(e), integ: rest.cut(a) },
        }
    }
}

impl SkP {
    /// The octets an end signs: its first message, the other's nonce, and its identity keyed (RFC 7296 §2.15).
    #[must_use]
    pub fn signed_octets(&self, prf: &dyn Prf, message: &[u8], nonce: &[u8], id_body: &[u8]) -> Vec<u8> {
        let keyed_id = prf.compute(self.0.expose(), &[id_body]);
        [message, nonce, keyed_id.expose()].concat()
    }
}

/// `prf(prf(secret, "Key Pad for IKEv2"), signed octets)`: AUTH by shared key (RFC 7296 §2.15).
#[must_use]
pub fn shared_key_auth(prf: &dyn Prf, secret: &Secret, signed_octets: &[u8]) -> Secret {
    let padded = prf.compute(secret.expose(), &[KEY_PAD]);
    prf.compute(padded.expose(), &[signed_octets])
}

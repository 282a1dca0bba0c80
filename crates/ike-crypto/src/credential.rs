//! What stands behind the engine's doors for signatures: our keys with their certificates, and whom we believe.
//!
//! A peer is believed in one of two ways. Its certificate leads to a configured authority ([`TrustStore`]) and names its
//! identity; or its key is pinned, by a certificate or as a raw public key (RFC 7670): then the key is enough, whatever the
//! identity, and of a pinned certificate the configured copy counts, for the holder of the key could make others.

use core::fmt;
use std::sync::Arc;

use ike_proto::crypto::credential::{
    Claim, HASHES, MOST_CERTS, NamePattern, OwnKey, Proof, Trust, Verified, Verifies,
};
use ike_proto::policy::identity::Identity;
use ike_proto::time::WallTime;
use ike_proto::wire::announce::Announcement;
use ike_proto::wire::registry::{AuthMethod, CertEncoding, IdType};
use ike_proto::wire::{Auth, Cert, CertReq, Id};

use crate::pem;
use crate::sign::{
    Hash, KeyType, SignatureAlgorithm, SigningKey, VerifyingKey, choose, sign_auth, verify_auth,
};
use crate::x509::{AltName, Certificate, DistinguishedName, TrustStore, Wildcards, binds, check_pinned};

/// The hashes that the engine announces are those that are verified here.
const _: () = assert!(HASHES.len() == crate::sign::SUPPORTED_HASHES.len());

/// The methods before RFC 7427 that are verified, with the kinds of keys that sign by them.
const OLDER: [AuthMethod; 4] =
    [AuthMethod::ECDSA_256, AuthMethod::ECDSA_384, AuthMethod::ECDSA_521, AuthMethod::RSA];

/// Verified, but not announced: RSASSA-PSS takes 70 octets for each hash, and the answer to IKE_SA_INIT is to stay within twice
/// the request. Who signs with it can sign with SHA2-256 or SHA2-512.
const UNANNOUNCED: SignatureAlgorithm = SignatureAlgorithm::RsaPss(Hash::Sha384);

/// A private key of ours with its certificate and the authorities above it, or as a raw public key.
pub struct OwnCredential {
    key: SigningKey,
    certs: Vec<Cert>,
    chain: Vec<Certificate>,
    /// Hashes of the keys of the authorities above it.
    above: Vec<[u8; 20]>,
}

/// The private key is not the one of the certificate, whose subject this is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OtherKey(pub String);

impl OwnCredential {
    /// A key with its certificate, the first of `chain`; the others are authorities above it. Those that `authorities` has
    /// complete the chain, up to a root, which is not sent.
    ///
    /// # Errors
    /// The key is another one.
    pub fn with_certificate(
        key: SigningKey,
        mut chain: Vec<Certificate>,
        authorities: Arc<TrustStore>,
    ) -> Result<Self, OtherKey> {
        match chain.first() {
            Some(own) if own.key() == Ok(key.public()) => {}
            Some(other) => return Err(OtherKey(other.subject().to_string())),
            None => return Err(OtherKey("nobody".to_owned())),
        }
        while chain.len() < MOST_CERTS
            && let Some(last) = chain.last()
            && let Some(above) = authorities.authorities().find(|above| {
                above.subject() != above.issuer() && !is_in(&chain, above) && last.is_issued_by(above)
            })
        {
            chain.push(above.clone());
        }
        let sent = chain.iter().filter(|link| !(link.is_authority() && link.subject() == link.issuer()));
        let certs = sent.take(MOST_CERTS).filter_map(|link| x509(link.der())).collect();
        let above = authorities.hashes_above(&chain);
        Ok(Self { key, certs, chain, above })
    }

    /// A key whose public half the peers have (RFC 7670).
    #[must_use]
    pub fn raw(key: SigningKey) -> Self {
        let certs = raw(key.public()).into_iter().collect();
        Self { key, certs, chain: Vec::new(), above: Vec::new() }
    }

    /// Whose certificate it is.
    #[must_use]
    pub fn subject(&self) -> Option<&DistinguishedName> {
        self.chain.first().map(Certificate::subject)
    }

    /// The certificate, if it has one.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.chain.first()
    }
}

fn is_in(chain: &[Certificate], certificate: &Certificate) -> bool {
    chain.iter().any(|link| link.der() == certificate.der())
}

fn x509(der: &[u8]) -> Option<Cert> {
    Cert::new(CertEncoding::X509_SIGNATURE, der.to_vec())
}

fn raw(key: &VerifyingKey) -> Option<Cert> {
    Cert::new(CertEncoding::RAW_PUBLIC_KEY, key.spki().to_vec())
}

/// Certificates and raw public keys as PEM blocks (RFC 7468 §5, §13); payloads of other encodings are left out.
#[must_use]
pub fn to_pem(certs: &[Cert]) -> String {
    let block = |cert: &Cert| match cert.encoding {
        CertEncoding::X509_SIGNATURE => pem::encode("CERTIFICATE", &cert.data),
        CertEncoding::RAW_PUBLIC_KEY => pem::encode("PUBLIC KEY", &cert.data),
        _ => String::new(),
    };
    certs.iter().map(block).collect()
}

/// The algorithms among a peer's announcements; `None` if it does not bound them.
fn announced(peer: &Verifies) -> Option<Vec<SignatureAlgorithm>> {
    let methods = peer.methods.as_ref()?;
    let mut algorithms = Vec::new();
    for one in methods.iter().filter(|one| one.method == AuthMethod::DIGITAL_SIGNATURE) {
        if one.algorithm.is_empty() {
            return None;
        }
        algorithms.extend(SignatureAlgorithm::from_der(&one.algorithm));
    }
    Some(algorithms)
}

impl OwnKey for OwnCredential {
    fn certs(&self) -> &[Cert] {
        &self.certs
    }

    fn is_asked_for(&self, asked: &CertReq) -> bool {
        match asked.encoding {
            CertEncoding::X509_SIGNATURE => {
                let (asked, _) = asked.authorities.as_chunks::<20>();
                asked.iter().any(|hash| self.above.contains(hash))
            }
            CertEncoding::RAW_PUBLIC_KEY => self.chain.is_empty(),
            _ => false,
        }
    }

    fn suits(&self, peer: &Verifies) -> bool {
        let key = self.key.key_type();
        if peer.hashes.is_empty() {
            return matches!(key, KeyType::P256 | KeyType::P384 | KeyType::P521);
        }
        choose(key, &peer.hashes, announced(peer).as_deref()).is_some()
    }

    fn sign(&self, peer: &Verifies, octets: &[u8]) -> Result<Auth, String> {
        let signed = sign_auth(&self.key, &peer.hashes, announced(peer).as_deref(), octets);
        signed.map(|(method, data)| Auth { method, data }).map_err(|error| error.to_string())
    }

    fn not_after(&self) -> Option<WallTime> {
        self.chain.iter().map(Certificate::not_after).min().map(WallTime)
    }
}

impl fmt::Debug for OwnCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject() {
            Some(subject) => write!(f, "the {} key of {subject}", self.key.key_type()),
            None => write!(f, "the raw {} key", self.key.key_type()),
        }
    }
}

/// A key of a peer that the configuration has.
#[derive(Clone)]
pub enum Pin {
    /// With a certificate, whose dates and key usage count.
    Certificate(Box<Certificate>),
    /// As it is.
    Key(Box<VerifyingKey>),
}

impl Pin {
    fn key(&self) -> Option<&VerifyingKey> {
        match self {
            Self::Certificate(certificate) => certificate.key().ok(),
            Self::Key(key) => Some(key),
        }
    }

    fn judge(&self, now: u64) -> Result<Judged, String> {
        match self {
            Self::Certificate(certificate) => {
                let key = certificate.key().map_err(ToString::to_string)?;
                check_pinned(certificate, key, now).map_err(|problem| problem.to_string())?;
                Ok(Judged {
                    key: key.clone(),
                    certs: x509(certificate.der()).into_iter().collect(),
                    addresses: addresses(certificate),
                    shown: certificate.subject().to_string(),
                    not_after: Some(certificate.not_after()),
                    warnings: Vec::new(),
                })
            }
            Self::Key(key) => Ok(Judged {
                key: VerifyingKey::clone(key),
                certs: raw(key).into_iter().collect(),
                addresses: Vec::new(),
                shown: format!("a raw {} key", key.key_type()),
                not_after: None,
                warnings: Vec::new(),
            }),
        }
    }
}

fn addresses(certificate: &Certificate) -> Vec<core::net::IpAddr> {
    let names = certificate.names().iter();
    names
        .filter_map(|name| match name {
            AltName::Address(address) => Some(*address),
            AltName::Dns(_) | AltName::Email(_) => None,
        })
        .collect()
}

/// A key that is believed, and why.
struct Judged {
    key: VerifyingKey,
    certs: Vec<Cert>,
    addresses: Vec<core::net::IpAddr>,
    shown: String,
    not_after: Option<u64>,
    warnings: Vec<String>,
}

/// Whom we believe: authorities, or pinned keys, or both.
pub struct Believed {
    authorities: Option<Arc<TrustStore>>,
    pins: Vec<Pin>,
    /// Whether a pinned certificate must lead to an authority all the same.
    chains: bool,
    wildcards: Wildcards,
    requests: Vec<CertReq>,
    announces: Vec<Announcement>,
}

impl Believed {
    /// Believes whoever leads to one of `authorities`, and whoever has one of the keys of `pins`.
    #[must_use]
    pub fn new(authorities: Option<Arc<TrustStore>>, pins: Vec<Pin>, wildcards: Wildcards) -> Self {
        let listed = authorities.as_ref().map(|store| store.certreq());
        let certificates = pins.iter().any(|pin| matches!(pin, Pin::Certificate(_)));
        let keys = pins.iter().any(|pin| matches!(pin, Pin::Key(_)));
        let any = |encoding| CertReq { encoding, authorities: Vec::new() };
        let mut requests = Vec::new();
        if let Some(listed) = listed {
            let request = CertReq::new(CertEncoding::X509_SIGNATURE, listed);
            requests.push(request.unwrap_or_else(|| any(CertEncoding::X509_SIGNATURE)));
        } else if certificates {
            requests.push(any(CertEncoding::X509_SIGNATURE));
        }
        if keys {
            requests.push(any(CertEncoding::RAW_PUBLIC_KEY));
        }
        let algorithms = SignatureAlgorithm::ALL.into_iter().filter(|one| *one != UNANNOUNCED);
        let algorithms = algorithms.map(|one| Announcement::signature(one.to_der().to_vec()));
        let announces = algorithms.chain(OLDER.map(Announcement::of)).collect();
        Self { authorities, pins, chains: false, wildcards, requests, announces }
    }

    /// The same, but a pinned certificate must lead to one of the authorities too (racoon's `peers_certfile` with `verify_cert
    /// on`).
    #[must_use]
    pub fn with_chains(self) -> Self {
        Self { chains: true, ..self }
    }

    fn pin(&self, key: &VerifyingKey) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.key() == Some(key))
    }

    /// The key that the certificates show, if it is believed to be the one of `id`.
    fn judge(&self, id: &Identity, certs: &[Cert], now: u64) -> Result<Judged, String> {
        let Some(own) = certs.first() else {
            return Err("the peer sent no certificate, and none is pinned".to_owned());
        };
        if own.encoding == CertEncoding::RAW_PUBLIC_KEY {
            let key = VerifyingKey::from_spki(&own.data).map_err(|error| error.to_string())?;
            let pin = self.pin(&key).ok_or_else(|| format!("the peer's raw {key} key is not pinned"))?;
            return pin.judge(now);
        }
        let certificate = Certificate::from_der(&own.data).map_err(|error| error.to_string())?;
        let chain: Vec<&[u8]> = certs
            .iter()
            .filter(|cert| cert.encoding == CertEncoding::X509_SIGNATURE)
            .map(|cert| cert.data.as_slice())
            .collect();
        if let Some(pin) = certificate.key().ok().and_then(|key| self.pin(key)) {
            return self.judge_pinned(pin, &chain, now);
        }
        // What must be pinned is not let in by an authority.
        let Some(store) = self.authorities.as_ref().filter(|_| !self.chains) else {
            return Err(format!("the certificate of {certificate} is not the pinned one"));
        };
        let good = store.validate(&chain, now).map_err(|problem| problem.to_string())?;
        binds(&good.certificate, id, self.wildcards).map_err(|problem| problem.to_string())?;
        let between = good.authorities.split_last().map_or(&[][..], |(_, between)| between);
        Ok(Judged {
            key: good.key,
            addresses: addresses(&good.certificate),
            shown: good.certificate.subject().to_string(),
            not_after: Some(good.not_after),
            warnings: good.warnings.iter().map(ToString::to_string).collect(),
            certs: core::iter::once(&good.certificate)
                .chain(between)
                .filter_map(|certificate| x509(certificate.der()))
                .collect(),
        })
    }

    /// A pinned key, and the chain of its certificate where one is asked for.
    fn judge_pinned(&self, pin: &Pin, sent: &[&[u8]], now: u64) -> Result<Judged, String> {
        let mut judged = pin.judge(now)?;
        let Pin::Certificate(certificate) = pin else { return Ok(judged) };
        if self.chains {
            let store = self.authorities.as_ref().ok_or("no authority is configured")?;
            let above = sent.get(1..).unwrap_or_default();
            let chain: Vec<&[u8]> =
                core::iter::once(certificate.der()).chain(above.iter().copied()).collect();
            let good = store.validate(&chain, now).map_err(|problem| problem.to_string())?;
            let between = good.authorities.split_last().map_or(&[][..], |(_, between)| between);
            judged.certs.extend(between.iter().filter_map(|link| x509(link.der())));
            judged.not_after = Some(good.not_after);
            judged.warnings = good.warnings.iter().map(ToString::to_string).collect();
        }
        Ok(judged)
    }

    /// A peer that sends no certificate is expected to have one of the pinned keys.
    fn judge_unsent(&self, claim: &Claim, now: u64) -> Result<Judged, String> {
        let proves = |pin: &&Pin| {
            let key = pin.key();
            key.is_some_and(|key| {
                verify_auth(key, claim.auth.method, &claim.auth.data, &claim.octets).is_ok()
            })
        };
        match self.pins.iter().take(MOST_CERTS).find(proves) {
            Some(pin) => self.judge_pinned(pin, &[], now),
            None if self.pins.is_empty() => Err("the peer sent no certificate".to_owned()),
            None => Err("the peer sent no certificate, and signed with none of the pinned keys".to_owned()),
        }
    }
}

impl Trust for Believed {
    fn requests(&self) -> &[CertReq] {
        &self.requests
    }

    fn announces(&self) -> &[Announcement] {
        &self.announces
    }

    fn verify(&self, claim: &Claim, now: WallTime) -> Result<Verified, String> {
        let judged = match claim.certs.first() {
            None => self.judge_unsent(claim, now.0)?,
            Some(_) => self.judge(&Identity::of(&claim.id), &claim.certs, now.0)?,
        };
        verify_auth(&judged.key, claim.auth.method, &claim.auth.data, &claim.octets)
            .map_err(|refusal| refusal.to_string())?;
        let Judged { certs, addresses, shown, not_after, warnings, .. } = judged;
        Ok(Verified {
            proof: Proof { certs, addresses, shown },
            not_after: not_after.map(WallTime),
            warnings,
        })
    }

    fn check(&self, id: &Id, proof: &Proof, now: WallTime) -> Result<Option<WallTime>, String> {
        let judged = self.judge(&Identity::of(id), &proof.certs, now.0)?;
        Ok(judged.not_after.map(WallTime))
    }

    fn pins(&self, proof: &Proof) -> bool {
        let key = proof.certs.first().and_then(|cert| match cert.encoding {
            CertEncoding::RAW_PUBLIC_KEY => VerifyingKey::from_spki(&cert.data).ok(),
            _ => Certificate::from_der(&cert.data).ok()?.key().ok().cloned(),
        });
        key.is_some_and(|key| self.pin(&key).is_some())
    }
}

impl fmt::Debug for Believed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authorities = self.authorities.as_ref().map_or(0, |store| store.authorities().count());
        write!(f, "Believed({authorities} authorities, {} pinned keys)", self.pins.len())
    }
}

/// Distinguished names that a pattern describes: those with its components, `*` standing for any value; without a pattern any
/// (racoon's `peers_identifier asn1dn`).
#[derive(Clone, Debug)]
pub struct SubjectPattern(pub Option<DistinguishedName>);

impl NamePattern for SubjectPattern {
    fn matches(&self, id: &Id) -> bool {
        let subject = || DistinguishedName::from_der(&id.data).ok();
        id.id_type == IdType::DER_ASN1_DN
            && match &self.0 {
                None => subject().is_some(),
                Some(pattern) => subject().is_some_and(|subject| subject.matches(pattern)),
            }
    }
}

impl fmt::Display for OtherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the private key is not the one of the certificate of {}", self.0)
    }
}

impl core::error::Error for OtherKey {}

#[cfg(test)]
mod tests;

//! Keys that sign, and certificates, in the manner of [`crate::null_crypto`]: fast and honest, and not secret. A signature follows
//! from the public key and the octets; a certificate says in its octets whose it is, who issued it and until when.

use core::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ike_proto::crypto::credential::{Claim, HASHES, OwnKey, Proof, Trust, Verified, Verifies};
use ike_proto::policy::identity::Identity;
use ike_proto::time::WallTime;
use ike_proto::wire::announce::Announcement;
use ike_proto::wire::registry::{AuthMethod, CertEncoding, IdType};
use ike_proto::wire::{Auth, Cert, CertReq, Id};

use crate::null_crypto::Mixer;

/// What a null certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NullCertificate {
    /// The key.
    pub key: u64,
    /// The authority.
    pub issuer: u64,
    /// The last second it is valid.
    pub not_after: u64,
    /// The address it has.
    pub address: IpAddr,
    /// The identity it names.
    pub id: Identity,
    /// Octets that say nothing and make it as long as certificates are.
    pub padding: usize,
}

impl NullCertificate {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.key, self.issuer, self.not_after] {
            out.extend(number.to_be_bytes());
        }
        for id in [Id::from_ip(self.address), self.id.payload()] {
            out.extend(u16::try_from(id.data.len()).unwrap_or_default().to_be_bytes());
            out.push(id.id_type.0);
            out.extend(id.data);
        }
        out.resize(out.len() + self.padding, 0);
        out
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        let mut rest = octets;
        let mut numbers = [0; 3];
        for number in &mut numbers {
            let (head, tail) = rest.split_first_chunk()?;
            (*number, rest) = (u64::from_be_bytes(*head), tail);
        }
        let mut id = || {
            let (length, tail) = rest.split_first_chunk()?;
            let (id_type, tail) = tail.split_first()?;
            let (data, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            rest = tail;
            Some(Identity { id_type: IdType(*id_type), data: data.to_vec() })
        };
        let (address, id) = (id()?.as_address()?, id()?);
        let [key, issuer, not_after] = numbers;
        Some(Self { key, issuer, not_after, address, id, padding: rest.len() })
    }
}

fn signature(key: u64, method: AuthMethod, octets: &[u8]) -> Vec<u8> {
    let mut mixer = Mixer::new(b"signature");
    mixer.absorb(&key.to_be_bytes());
    mixer.absorb(&[method.0]);
    mixer.absorb(octets);
    let mut out = vec![0; 64];
    mixer.fill(&mut out);
    out
}

/// The 20 octets by which a CERTREQ names an authority.
fn hash_of(authority: u64) -> [u8; 20] {
    let mut out = [0; 20];
    let mut mixer = Mixer::new(b"authority");
    mixer.absorb(&authority.to_be_bytes());
    mixer.fill(&mut out);
    out
}

/// A key with its certificate.
pub struct NullKey {
    certificate: NullCertificate,
    certs: Vec<Cert>,
}

impl NullKey {
    /// The key that `certificate` certifies.
    #[must_use]
    pub fn certified_by(certificate: NullCertificate) -> Arc<dyn OwnKey> {
        let certs = vec![Cert { encoding: CertEncoding::X509_SIGNATURE, data: certificate.encode() }];
        Arc::new(Self { certificate, certs })
    }
}

impl OwnKey for NullKey {
    fn certs(&self) -> &[Cert] {
        &self.certs
    }

    fn is_asked_for(&self, asked: &CertReq) -> bool {
        let (hashes, _) = asked.authorities.as_chunks::<20>();
        hashes.contains(&hash_of(self.certificate.issuer))
    }

    fn suits(&self, peer: &Verifies) -> bool {
        !peer.hashes.is_empty() && peer.takes(AuthMethod::DIGITAL_SIGNATURE)
    }

    fn sign(&self, peer: &Verifies, octets: &[u8]) -> Result<Auth, String> {
        if peer.hashes != HASHES {
            return Err(format!("the peer names the hashes {:?}", peer.hashes));
        }
        let method = AuthMethod::DIGITAL_SIGNATURE;
        Ok(Auth { method, data: signature(self.certificate.key, method, octets) })
    }

    fn not_after(&self) -> Option<WallTime> {
        Some(WallTime(self.certificate.not_after))
    }
}

impl fmt::Debug for NullKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key of {}", self.certificate.id)
    }
}

/// Whom a host believes.
#[derive(Debug)]
pub struct NullTrust {
    authorities: Vec<u64>,
    revoked: Vec<u64>,
    requests: Vec<CertReq>,
    announces: Vec<Announcement>,
}

impl NullTrust {
    /// Believes certificates of `authorities`, but for the keys that are `revoked`.
    #[must_use]
    pub fn in_authorities(authorities: &[u64], revoked: &[u64]) -> Arc<dyn Trust> {
        let hashes = authorities.iter().flat_map(|authority| hash_of(*authority)).collect();
        Arc::new(Self {
            authorities: authorities.to_vec(),
            revoked: revoked.to_vec(),
            requests: vec![CertReq { encoding: CertEncoding::X509_SIGNATURE, authorities: hashes }],
            announces: vec![Announcement::of(AuthMethod::DIGITAL_SIGNATURE)],
        })
    }

    fn judge(&self, id: &Id, certs: &[Cert], now: WallTime) -> Result<NullCertificate, String> {
        let sent = certs.first().ok_or("there is no certificate")?;
        let certificate = NullCertificate::decode(&sent.data).ok_or("the certificate cannot be read")?;
        if !self.authorities.contains(&certificate.issuer) {
            return Err("the authority is not known".to_owned());
        }
        if self.revoked.contains(&certificate.key) {
            return Err("the certificate is revoked".to_owned());
        }
        if now > WallTime(certificate.not_after) {
            return Err("the certificate has expired".to_owned());
        }
        if certificate.id != Identity::of(id) {
            return Err(format!("the certificate names {}", certificate.id));
        }
        Ok(certificate)
    }
}

impl Trust for NullTrust {
    fn requests(&self) -> &[CertReq] {
        &self.requests
    }

    fn announces(&self) -> &[Announcement] {
        &self.announces
    }

    fn verify(&self, claim: &Claim, now: WallTime) -> Result<Verified, String> {
        let certificate = self.judge(&claim.id, &claim.certs, now)?;
        let method = AuthMethod::DIGITAL_SIGNATURE;
        if claim.auth.method != method || claim.auth.data != signature(certificate.key, method, &claim.octets)
        {
            return Err("the signature is wrong".to_owned());
        }
        let proof = Proof {
            certs: claim.certs.first().cloned().into_iter().collect(),
            addresses: vec![certificate.address],
            shown: certificate.id.to_string(),
        };
        Ok(Verified { proof, not_after: Some(WallTime(certificate.not_after)), warnings: Vec::new() })
    }

    fn check(&self, id: &Id, proof: &Proof, now: WallTime) -> Result<Option<WallTime>, String> {
        let certificate = self.judge(id, &proof.certs, now)?;
        Ok(Some(WallTime(certificate.not_after)))
    }

    fn pins(&self, _proof: &Proof) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_reads_as_it_was_written() {
        for padding in [0, 3000] {
            let certificate = NullCertificate {
                key: 1,
                issuer: 2,
                not_after: 3,
                address: "2001:db8::1".parse().unwrap(),
                id: Identity::fqdn("alpha.example"),
                padding,
            };
            assert_eq!(NullCertificate::decode(&certificate.encode()), Some(certificate));
        }
        assert_eq!(NullCertificate::decode(&[0; 27]), None);
    }
}

//! Whom this end trusts: authorities, their lists of revoked certificates, pinned keys.

use rustls_pki_types::{CertificateDer, TrustAnchor};

use super::certificate::{Certificate, CertificateError};
use super::crl::Crl;
use super::path;
use super::problem::{Problem, Unchecked, Warning};
use super::{MAX_CHAIN, Validated};
use crate::sign::VerifyingKey;

/// What a missing or expired CRL means.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Revocation {
    /// The certificate is accepted, and what was not checked is reported.
    #[default]
    Soft,
    /// The certificate is refused.
    Strict,
}

/// The authorities to which a peer's certificate must lead, and their CRLs. Changed by building another one, so that a reload
/// takes effect as a whole; old and new authorities may stand side by side.
#[derive(Clone, Default)]
pub struct TrustStore {
    pub(super) authorities: Vec<Authority>,
    /// What webpki is given, one for each authority.
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    pub(super) crls: Vec<Crl>,
    pub(super) revocation: Revocation,
}

#[derive(Clone)]
pub(super) struct Authority {
    pub(super) certificate: Certificate,
    pub(super) key: VerifyingKey,
}

impl TrustStore {
    /// A store that trusts nobody.
    #[must_use]
    pub fn new(revocation: Revocation) -> Self {
        Self { revocation, ..Self::default() }
    }

    /// Trusts an authority. It need not be a root: a chain may end at any authority that is configured.
    ///
    /// # Errors
    /// The certificate has no CA flag, may not sign certificates, has a weak key, or a critical extension that is not
    /// understood. Its dates are looked at when a chain ends there.
    pub fn add_authority(&mut self, certificate: Certificate) -> Result<(), CertificateError> {
        let refused = |why: String| Err(CertificateError::NotAuthority(why));
        if !certificate.authority {
            return refused(format!("{certificate} has no CA flag (basicConstraints)"));
        }
        if certificate.key_usage.is_some_and(|usage| !usage.key_cert_sign()) {
            return refused(format!("the key usage of {certificate} has no keyCertSign"));
        }
        if let Some(oid) = certificate.unknown_critical {
            return refused(format!("critical extension {oid} of {certificate} is not understood"));
        }
        let key = match &certificate.key {
            Ok(key) => key.clone(),
            Err(error) => return refused(format!("{certificate}: {error}")),
        };
        let der = CertificateDer::from(certificate.der());
        let anchor =
            webpki::anchor_from_trusted_cert(&der).map_err(|_| CertificateError::Malformed)?.to_owned();
        if !self.authorities.iter().any(|known| known.certificate.der() == certificate.der()) {
            self.anchors.push(anchor);
            self.authorities.push(Authority { certificate, key });
        }
        Ok(())
    }

    /// Adds a list; of several of one issuer the newest counts.
    pub fn add_crl(&mut self, crl: Crl) {
        self.crls.push(crl);
    }

    /// The authorities, in the order they were added.
    pub fn authorities(&self) -> impl Iterator<Item = &Certificate> {
        self.authorities.iter().map(|authority| &authority.certificate)
    }

    /// The CRLs, in the order they were added.
    pub fn crls(&self) -> &[Crl] {
        &self.crls
    }

    /// The data of our CERTREQ: 20 octets for each authority (RFC 7296 §3.7).
    #[must_use]
    pub fn certreq(&self) -> Vec<u8> {
        let mut hashes: Vec<[u8; 20]> = self.authorities().map(Certificate::authority_hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.concat()
    }

    /// The hashes of the keys of all authorities above one of our own certificates, by which a CERTREQ asks for it (RFC 7296
    /// §3.7): `chain` is the certificate and the authorities above it as far as we have them; this store's complete it. An
    /// authority of the right name with another key is not above it.
    #[must_use]
    pub fn hashes_above(&self, chain: &[Certificate]) -> Vec<[u8; 20]> {
        let mut hashes = Vec::new();
        let mut below: Vec<&Certificate> = chain.first().into_iter().collect();
        for _ in 0..MAX_CHAIN {
            let known = chain.iter().skip(1).chain(self.authorities()).filter(|above| above.authority);
            let above: Vec<&Certificate> =
                known.filter(|above| below.iter().any(|below| below.is_issued_by(above))).collect();
            hashes.extend(above.iter().map(|above| above.authority_hash()));
            below = above.into_iter().filter(|above| !above.is_self_issued()).collect();
        }
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    /// Validates a peer's certificates at `now` (seconds since 1970): the first is its own, the others may help to reach an
    /// authority, in any order. At most [`MAX_CHAIN`] are looked at, nothing is fetched.
    ///
    /// That the certificate names the peer's identity is another question: [`super::binds`].
    ///
    /// # Errors
    /// No chain to an authority is good; of several chains that fail, one reason is given.
    pub fn validate(&self, certificates: &[&[u8]], now: u64) -> Result<Validated, Problem> {
        path::validate(self, certificates, now)
    }

    /// Whether `certificate` is revoked by its `issuer`; what is not known is a warning or a problem, as the policy says.
    pub(super) fn check_revocation(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        key: &VerifyingKey,
        now: u64,
    ) -> Result<Option<Warning>, Problem> {
        let subject = certificate.subject.to_string();
        let named: Vec<&Crl> = self.crls.iter().filter(|crl| crl.is_about(certificate)).collect();
        let may_sign = issuer.key_usage.is_none_or(|usage| usage.crl_sign());
        let signed: Vec<&Crl> =
            named.iter().filter(|crl| may_sign && crl.is_signed_by(key)).copied().collect();
        let newest = signed.iter().max_by_key(|crl| crl.this_update());
        let why = match newest {
            None if named.is_empty() => Some(Unchecked::Missing),
            None => Some(Unchecked::WrongSignature),
            // A list is believed about what it revokes, however old it is.
            Some(newest) if newest.revokes(certificate) => return Err(Problem::Revoked(subject)),
            Some(newest) if newest.this_update() > now => Some(Unchecked::Future(newest.this_update())),
            Some(newest) => newest.next_update().filter(|next| *next < now).map(Unchecked::Expired),
        };
        let issuer = issuer.subject.to_string();
        match (why, self.revocation) {
            (None, _) => Ok(None),
            (Some(why), Revocation::Soft) => Ok(Some(Warning { subject, issuer, why })),
            (Some(why), Revocation::Strict) => Err(Problem::Unchecked(Warning { subject, issuer, why })),
        }
    }
}

/// Accepts a certificate whose key the configuration pins, whoever issued it: its dates count, and that its key may sign. A
/// self-signed certificate is accepted in this way only.
///
/// # Errors
/// It is another key, or the dates or the key usage refuse it.
pub fn check_pinned(certificate: &Certificate, pin: &VerifyingKey, now: u64) -> Result<(), Problem> {
    if certificate.key.as_ref() != Ok(pin) {
        return Err(Problem::NotPinned(certificate.subject.to_string()));
    }
    path::check_dates(certificate, now)?;
    path::check_host_usage(certificate)
}

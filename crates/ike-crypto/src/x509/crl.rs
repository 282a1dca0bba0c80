//! Certificate revocation lists (RFC 5280 §5): complete ones, by the authority that issued the certificates.

use core::fmt;
use std::collections::BTreeSet;
use std::sync::OnceLock;

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Encode, Reader};
use x509_cert::crl::CertificateList;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::IssuingDistributionPoint;

use super::certificate::Certificate;
use super::name::DistinguishedName;
use crate::pem;
use crate::sign::{SignatureAlgorithm, UnknownAlgorithm, VerifyingKey};

/// Octets of the longest list that is read; an entry has about 36.
pub const MAX_CRL: usize = 16 << 20;

const DELTA_INDICATOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const CERTIFICATE_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.29");

/// A list of revoked certificates. Its signature is verified when it is used, with the key of the issuer in the chain.
#[derive(Clone)]
pub struct Crl {
    issuer: DistinguishedName,
    this_update: u64,
    next_update: Option<u64>,
    revoked: BTreeSet<Vec<u8>>,
    scope: Scope,
    signed: Vec<u8>,
    signed_with: SignatureAlgorithm,
    signature: Vec<u8>,
    /// The SubjectPublicKeyInfo of the key that its signature was found right with: a list of megabytes is hashed once.
    signed_by: OnceLock<Vec<u8>>,
}

/// Which certificates of the issuer the list is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Hosts,
    Authorities,
}

/// Why something is not a list that can be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CrlError {
    /// A file without a list.
    None,
    /// Longer than [`MAX_CRL`].
    TooLong(usize),
    /// Not DER of a list of version 2.
    Malformed,
    /// It changes another list, or speaks for other issuers, or for some reasons only: none of these is used.
    Partial(&'static str),
    /// A critical extension that is not understood.
    Critical(ObjectIdentifier),
    /// Signed with an algorithm that is not accepted.
    Algorithm(UnknownAlgorithm),
}

impl Crl {
    /// Reads one list in DER.
    ///
    /// # Errors
    /// It is too long, malformed, or of a kind that is not used.
    pub fn from_der(der: &[u8]) -> Result<Self, CrlError> {
        if der.len() > MAX_CRL {
            return Err(CrlError::TooLong(der.len()));
        }
        let malformed = |_| CrlError::Malformed;
        let parsed = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(der).map_err(malformed)?;
        let tbs = parsed.tbs_cert_list;
        if tbs.signature != parsed.signature_algorithm {
            return Err(CrlError::Malformed);
        }
        let algorithm = parsed.signature_algorithm.to_der().map_err(malformed)?;
        let issuer = tbs.issuer.to_der().map_err(malformed)?;
        let mut revoked = BTreeSet::new();
        for entry in tbs.revoked_certificates.unwrap_or_default() {
            let mut extensions = entry.crl_entry_extensions.iter().flatten();
            match extensions.find(|extension| extension.critical).map(|extension| extension.extn_id) {
                Some(CERTIFICATE_ISSUER) => return Err(CrlError::Partial("it speaks for other issuers")),
                Some(other) => return Err(CrlError::Critical(other)),
                None => {}
            }
            revoked.insert(entry.serial_number.as_bytes().to_vec());
        }
        Ok(Self {
            issuer: DistinguishedName::from_der(&issuer).map_err(|_| CrlError::Malformed)?,
            this_update: tbs.this_update.to_unix_duration().as_secs(),
            next_update: tbs.next_update.map(|time| time.to_unix_duration().as_secs()),
            revoked,
            scope: scope(tbs.crl_extensions.as_deref().unwrap_or_default())?,
            signed: signed_part(der).map_err(malformed)?.to_vec(),
            signed_with: SignatureAlgorithm::from_der(&algorithm).map_err(CrlError::Algorithm)?,
            signature: parsed.signature.as_bytes().ok_or(CrlError::Malformed)?.to_vec(),
            signed_by: OnceLock::new(),
        })
    }

    /// Reads all lists of a file: PEM (`X509 CRL`) or one in DER.
    ///
    /// # Errors
    /// There is none, or one cannot be used.
    pub fn from_file(file: &[u8]) -> Result<Vec<Self>, CrlError> {
        let ders = pem::ders(file, &["X509 CRL"]);
        if ders.is_empty() {
            return Err(CrlError::None);
        }
        ders.iter().map(|der| Self::from_der(der)).collect()
    }

    /// Whose certificates it is about.
    #[must_use]
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// When it was issued.
    #[must_use]
    pub fn this_update(&self) -> u64 {
        self.this_update
    }

    /// When the next one comes at the latest; a list that does not say never expires (RFC 5280 §5.1.2.5 asks for it).
    #[must_use]
    pub fn next_update(&self) -> Option<u64> {
        self.next_update
    }

    /// How many certificates it revokes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether it revokes none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    /// The serial numbers it revokes, as [`Certificate::serial`] gives them.
    pub fn serials(&self) -> impl Iterator<Item = &[u8]> {
        self.revoked.iter().map(Vec::as_slice)
    }

    /// Whether it says something about `certificate`, if its signature is right.
    pub(super) fn is_about(&self, certificate: &Certificate) -> bool {
        let in_scope = match self.scope {
            Scope::All => true,
            Scope::Hosts => !certificate.authority,
            Scope::Authorities => certificate.authority,
        };
        in_scope && self.issuer == certificate.issuer
    }

    /// Whether its signature is right with this key.
    #[must_use]
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        if self.signed_by.get().is_some_and(|known| known == key.spki()) {
            return true;
        }
        let right = key.verify(self.signed_with, &self.signed, &self.signature).is_ok();
        if right {
            // Another thread may have set it first, to the same.
            let _ = self.signed_by.set(key.spki().to_vec());
        }
        right
    }

    pub(super) fn revokes(&self, certificate: &Certificate) -> bool {
        self.revoked.contains(&certificate.serial)
    }
}

/// RFC 5280 §5.2.5. A distribution point's name does not matter: the list came from a file of the configuration.
fn scope(extensions: &[Extension]) -> Result<Scope, CrlError> {
    let mut scope = Scope::All;
    for extension in extensions {
        match extension.extn_id {
            DELTA_INDICATOR => return Err(CrlError::Partial("it changes another list")),
            DISTRIBUTION_POINT => {
                let point = IssuingDistributionPoint::from_der(extension.extn_value.as_bytes())
                    .map_err(|_| CrlError::Malformed)?;
                if point.indirect_crl {
                    return Err(CrlError::Partial("it speaks for other issuers"));
                }
                if point.only_some_reasons.is_some() {
                    return Err(CrlError::Partial("it is about some reasons only"));
                }
                scope = match (
                    point.only_contains_user_certs,
                    point.only_contains_ca_certs,
                    point.only_contains_attribute_certs,
                ) {
                    (false, false, false) => Scope::All,
                    (true, false, false) => Scope::Hosts,
                    (false, true, false) => Scope::Authorities,
                    (false, false, true) => {
                        return Err(CrlError::Partial("it is about attribute certificates"));
                    }
                    _ => return Err(CrlError::Malformed),
                };
            }
            other if extension.critical => return Err(CrlError::Critical(other)),
            _ => {}
        }
    }
    Ok(scope)
}

/// The octets of tbsCertList or tbsCertificate, as they were signed.
pub(super) fn signed_part(der: &[u8]) -> der::Result<&[u8]> {
    AnyRef::from_der(der)?.sequence(|fields| {
        let signed = fields.tlv_bytes()?;
        fields.tlv_bytes()?;
        fields.tlv_bytes()?;
        Ok::<_, der::Error>(signed)
    })
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crl({}, {} revoked)", self.issuer, self.revoked.len())
    }
}

impl fmt::Display for CrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is no CRL in the file"),
            Self::TooLong(len) => write!(f, "a CRL of {len} octets"),
            Self::Malformed => f.write_str("not a CRL of version 2 in DER"),
            Self::Partial(why) => write!(f, "a CRL that is not used: {why}"),
            Self::Critical(oid) => write!(f, "the CRL's critical extension {oid} is not understood"),
            Self::Algorithm(unknown) => fmt::Display::fmt(unknown, f),
        }
    }
}

impl core::error::Error for CrlError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::testing::{NOW, Pki, host};

    #[test]
    fn a_list_is_read_and_its_signature_is_over_the_octets_read() {
        let pki = Pki::new();
        let (revoked, _) = pki.issue(host("a.example.org"));
        let (other, _) = pki.issue(host("b.example.org"));
        let der = pki.crl(&[&revoked], NOW - 10, NOW + 10);
        let crl = Crl::from_der(&der).unwrap();
        assert!(crl.is_about(&revoked) && crl.revokes(&revoked) && !crl.revokes(&other));
        assert_eq!((crl.this_update(), crl.next_update(), crl.len()), (NOW - 10, Some(NOW + 10), 1));
        assert!(crl.is_signed_by(pki.root().key().unwrap()));
        assert!(crl.is_signed_by(pki.root().key().unwrap()), "again");
        assert!(!crl.is_signed_by(Pki::new().root().key().unwrap()));
    }

    #[test]
    fn a_changed_list_is_malformed_or_not_signed() {
        let pki = Pki::new();
        let der = pki.crl(&[&pki.issue(host("a.example.org")).0], NOW - 10, NOW + 10);
        let key = pki.root().key().unwrap();
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 1;
            assert!(!Crl::from_der(&changed).is_ok_and(|crl| crl.is_signed_by(key)), "octet {at}");
        }
    }
}

//! One certificate, parsed (RFC 5280 §4).

use core::fmt;
use core::net::IpAddr;

use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid;
use der::{Decode, Encode};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use x509_cert::certificate::Version;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName};

use super::crl::signed_part;
use super::name::DistinguishedName;
use crate::pem;
use crate::sign::{KeyError, SignatureAlgorithm, UnknownAlgorithm, VerifyingKey};

/// Octets of the longest certificate that is read.
pub const MAX_CERTIFICATE: usize = 32_768;
/// Names of one certificate that are kept; more than that is refused.
const MAX_NAMES: usize = 256;

/// Extensions that are understood, and so may be critical.
const KNOWN: [ObjectIdentifier; 5] =
    [BasicConstraints::OID, KeyUsage::OID, ExtendedKeyUsage::OID, SubjectAltName::OID, NameConstraints::OID];

/// A certificate. Reading it checks its form, not what it claims.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    pub(super) subject: DistinguishedName,
    pub(super) issuer: DistinguishedName,
    pub(super) serial: Vec<u8>,
    pub(super) not_before: u64,
    pub(super) not_after: u64,
    pub(super) spki: Vec<u8>,
    pub(super) key: Result<VerifyingKey, KeyError>,
    pub(super) signed_with: Result<SignatureAlgorithm, UnknownAlgorithm>,
    pub(super) authority: bool,
    pub(super) path_len: Option<u8>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_usage: Option<Vec<ObjectIdentifier>>,
    pub(super) unknown_critical: Option<ObjectIdentifier>,
    pub(super) names: Vec<AltName>,
}

/// A name of the subject in subjectAltName, of a kind that IKE has as an identity (RFC 4945 §5.1.3.6).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AltName {
    /// iPAddress.
    Address(IpAddr),
    /// dNSName.
    Dns(String),
    /// rfc822Name.
    Email(String),
}

/// Why something is not a certificate that can be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertificateError {
    /// A file without a certificate.
    None,
    /// Longer than [`MAX_CERTIFICATE`].
    TooLong(usize),
    /// Not DER of a certificate.
    Malformed,
    /// Not X.509 version 3.
    Version,
    /// An extension that is there twice or does not hold what its name says.
    Extension(ObjectIdentifier),
    /// More alternative names than are kept.
    TooManyNames,
    /// Given as an authority, but not usable as one: why.
    NotAuthority(String),
}

impl Certificate {
    /// Reads one certificate in DER.
    ///
    /// # Errors
    /// It is too long, malformed, or not of version 3.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(CertificateError::TooLong(der.len()));
        }
        let parsed = x509_cert::Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        let tbs = parsed.tbs_certificate();
        if tbs.version() != Version::V3 {
            return Err(CertificateError::Version);
        }
        let malformed = |_| CertificateError::Malformed;
        let name = |name: der::Result<Vec<u8>>| {
            let name = name.map_err(malformed)?;
            DistinguishedName::from_der(&name).map_err(|_| CertificateError::Malformed)
        };
        let spki = tbs.subject_public_key_info().to_der().map_err(malformed)?;
        let constraints: Option<BasicConstraints> = extension(tbs)?;
        let extended_usage: Option<ExtendedKeyUsage> = extension(tbs)?;
        let unknown = tbs.extensions().into_iter().flatten();
        let unknown_critical =
            unknown.filter(|extension| extension.critical).map(|extension| extension.extn_id);
        let signed_with = parsed.signature_algorithm().to_der().map_err(malformed)?;
        Ok(Self {
            der: der.to_vec(),
            subject: name(tbs.subject().to_der())?,
            issuer: name(tbs.issuer().to_der())?,
            serial: tbs.serial_number().as_bytes().to_vec(),
            not_before: tbs.validity().not_before.to_unix_duration().as_secs(),
            not_after: tbs.validity().not_after.to_unix_duration().as_secs(),
            key: VerifyingKey::from_spki(&spki),
            spki,
            signed_with: SignatureAlgorithm::from_der(&signed_with),
            authority: constraints.as_ref().is_some_and(|constraints| constraints.ca),
            path_len: constraints.and_then(|constraints| constraints.path_len_constraint),
            key_usage: extension(tbs)?,
            extended_usage: extended_usage.map(|usage| usage.0),
            unknown_critical: unknown_critical.into_iter().find(|oid| !KNOWN.contains(oid)),
            names: alt_names(extension(tbs)?)?,
        })
    }

    /// Reads all certificates of a file: PEM (`CERTIFICATE`) or one in DER.
    ///
    /// # Errors
    /// There is none, or one is not a certificate.
    pub fn from_file(file: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let ders = pem::ders(file, &["CERTIFICATE", "X509 CERTIFICATE"]);
        if ders.is_empty() {
            return Err(CertificateError::None);
        }
        ders.iter().map(|der| Self::from_der(der)).collect()
    }

    /// The octets as they were read.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whose key it certifies.
    #[must_use]
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// Who certifies it.
    #[must_use]
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// Its number among those of its issuer, big-endian.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// What it is signed with.
    ///
    /// # Errors
    /// An algorithm that is not accepted.
    pub fn signed_with(&self) -> Result<SignatureAlgorithm, &UnknownAlgorithm> {
        self.signed_with.as_ref().copied()
    }

    /// Whether `issuer` has the issuer's name and the key that signed it: of two authorities of one name, which it was. Where
    /// the signature is one that is not verified here, the name alone counts: this is for our own certificates, and proves
    /// nothing.
    #[must_use]
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        let is_signed = |key: &VerifyingKey, algorithm| {
            let parsed = x509_cert::Certificate::from_der(&self.der).ok()?;
            key.verify(algorithm, signed_part(&self.der).ok()?, parsed.signature().as_bytes()?).ok()
        };
        self.issuer == issuer.subject
            && match (&issuer.key, self.signed_with()) {
                (Ok(key), Ok(algorithm)) => is_signed(key, algorithm).is_some(),
                _ => true,
            }
    }

    /// SHA-256 of the whole certificate, by which people compare two.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// The alternative names of the subject that IKE has as identities.
    #[must_use]
    pub fn names(&self) -> &[AltName] {
        &self.names
    }

    /// The first second at which it is valid.
    #[must_use]
    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// The last second at which it is valid.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// The key it certifies.
    ///
    /// # Errors
    /// The key is weak or of a kind that is not used.
    pub fn key(&self) -> Result<&VerifyingKey, &KeyError> {
        self.key.as_ref()
    }

    /// Whether it says that it is an authority's.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.authority
    }

    /// SHA-1 of its SubjectPublicKeyInfo, by which a CERTREQ names an authority (RFC 7296 §3.7).
    #[must_use]
    pub fn authority_hash(&self) -> [u8; 20] {
        Sha1::digest(&self.spki).into()
    }

    /// Whether subject and issuer are one name.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

/// The extension of type `T`, which may be there once.
fn extension<T>(tbs: &x509_cert::TbsCertificate) -> Result<Option<T>, CertificateError>
where
    T: for<'a> Decode<'a, Error = der::Error> + AssociatedOid,
{
    let found = tbs.get_extension::<T>().map_err(|_| CertificateError::Extension(T::OID))?;
    Ok(found.map(|(_, extension)| extension))
}

fn alt_names(names: Option<SubjectAltName>) -> Result<Vec<AltName>, CertificateError> {
    let names = names.map(|names| names.0).unwrap_or_default();
    if names.len() > MAX_NAMES {
        return Err(CertificateError::TooManyNames);
    }
    let mut kept = Vec::new();
    for name in names {
        match name {
            GeneralName::DnsName(dns) => kept.push(AltName::Dns(dns.as_str().to_owned())),
            GeneralName::Rfc822Name(email) => kept.push(AltName::Email(email.as_str().to_owned())),
            GeneralName::IpAddress(octets) => kept.push(AltName::Address(
                address(octets.as_bytes()).ok_or(CertificateError::Extension(SubjectAltName::OID))?,
            )),
            _ => {}
        }
    }
    Ok(kept)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.subject, f)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} by {})", self.subject, self.issuer)
    }
}

impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Dns(name) | Self::Email(name) => write!(f, "{}", name.escape_debug()),
        }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is no certificate in the file"),
            Self::TooLong(len) => write!(f, "a certificate of {len} octets"),
            Self::Malformed => f.write_str("not a certificate in DER"),
            Self::Version => f.write_str("not an X.509 certificate of version 3"),
            Self::Extension(oid) => {
                write!(f, "extension {oid} of the certificate is malformed or there twice")
            }
            Self::TooManyNames => write!(f, "a certificate with more than {MAX_NAMES} names"),
            Self::NotAuthority(why) => write!(f, "not the certificate of an authority: {why}"),
        }
    }
}

impl core::error::Error for CertificateError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::testing::{Pki, host};

    #[test]
    fn what_a_certificate_says_is_read() {
        let pki = Pki::new();
        let (certificate, _) =
            pki.issue(host("a.example.org").address("192.0.2.1").email("root@example.org"));
        assert_eq!(certificate.subject().to_string(), "CN=a.example.org");
        assert_eq!(certificate.issuer(), pki.root().subject());
        assert_eq!(
            certificate.names(),
            [
                AltName::Dns("a.example.org".to_owned()),
                AltName::Address("192.0.2.1".parse().unwrap()),
                AltName::Email("root@example.org".to_owned()),
            ]
        );
        assert!(!certificate.is_authority() && pki.root().is_authority());
        assert!(certificate.not_before() < certificate.not_after());
    }

    /// SHA-1 over the SubjectPublicKeyInfo, as `openssl pkey -pubout -outform DER | sha1sum` gives it.
    #[test]
    fn an_authority_is_named_by_the_hash_of_its_key() {
        let pki = Pki::new();
        let key = pki.root().key().unwrap();
        assert_eq!(pki.root().authority_hash(), <[u8; 20]>::from(Sha1::digest(key.spki())));
    }

    #[test]
    fn what_is_cut_or_longer_is_no_certificate() {
        let pki = Pki::new();
        let der = pki.root().der().to_vec();
        for len in 0..der.len() {
            assert!(Certificate::from_der(&der[..len]).is_err(), "{len}");
        }
        assert_eq!(
            Certificate::from_der(&[&der[..], &[0]].concat()).unwrap_err(),
            CertificateError::Malformed
        );
        let long = vec![0x30; MAX_CERTIFICATE + 1];
        assert_eq!(Certificate::from_der(&long).unwrap_err(), CertificateError::TooLong(long.len()));
        assert_eq!(
            Certificate::from_file(b"-----BEGIN PUBLIC KEY-----\n").unwrap_err(),
            CertificateError::None
        );
    }

    #[test]
    fn a_file_may_hold_several() {
        let pki = Pki::new();
        let (host, _) = pki.issue(host("a.example.org"));
        let file = format!("{}{}", crate::x509::testing::pem(&host), crate::x509::testing::pem(pki.root()));
        let read = Certificate::from_file(file.as_bytes()).unwrap();
        assert_eq!(read.iter().map(Certificate::der).collect::<Vec<_>>(), [host.der(), pki.root().der()]);
    }
}

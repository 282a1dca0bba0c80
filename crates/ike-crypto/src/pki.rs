//! A small PKI for people who have none, and strong pre-shared keys: what `coati pki` and `coati psk` print.
//!
//! Nothing here writes files. The keys of certificates come from the operating system's randomness, a pre-shared key from the
//! generator the caller seeds.

use core::fmt;
use core::time::Duration;

use der::{Decode, Encode, Tag, Tagged};
use ike_proto::rng::Rng;
use ike_proto::secret::Secret;
use pem_rfc7468::LineEnding;
use pkcs8::PrivateKeyInfoRef;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, date_time_ymd,
};
use spki::SubjectPublicKeyInfoRef;
use zeroize::Zeroizing;

use crate::sign::{Hash, KeyError, KeyType, SignatureAlgorithm, SigningKey};
use crate::x509::{AltName, Certificate, CertificateError, CrlError, Problem, Revocation, TrustStore};

mod crl;

pub use crl::make_crl;

/// Kinds of keys that are made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum KeyKind {
    /// ECDSA on P-256, which every peer knows.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519 (RFC 8420).
    Ed25519,
}

/// First and last second of a certificate, since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// The first second.
    pub from: u64,
    /// The last second.
    pub to: u64,
}

/// A certificate and its key, both PEM; the key is PKCS #8 without a passphrase.
pub struct Issued {
    /// For everybody to see.
    pub certificate: String,
    /// For a file that its owner alone can read.
    pub key: Secret,
}

/// A key that needs no certificate (RFC 7670), both halves PEM; the private one is PKCS #8 without a passphrase.
pub struct RawKey {
    /// For the peers.
    pub public: String,
    /// For a file that its owner alone can read.
    pub key: Secret,
}

/// Why nothing was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PkiError {
    /// The authority's key.
    Key(KeyError),
    /// The authority's certificate.
    Certificate(CertificateError),
    /// The key is not that of the certificate.
    OtherKey,
    /// Keys of this kind do not issue here.
    Unsupported(KeyType),
    /// A certificate without a name would be nobody's.
    NoName,
    /// A name that a certificate cannot hold.
    Name(String),
    /// The last second is before the first, or after the year 9999.
    Validity,
    /// A certificate that the authority did not issue: its subject.
    NotIssued(String),
    /// A list of revoked certificates.
    Crl(CrlError),
    /// A list that is not the authority's: whose it says it is.
    OtherCrl(String),
    /// What was issued would not be accepted.
    Refused(Box<Problem>),
    /// The library could not make it: its words.
    Failed(String),
}

/// Last second of the year 9999, after which a certificate cannot have a date (RFC 5280 §4.1.2.5).
const LAST: u64 = 253_402_300_799;

/// Letters and digits that are not mistaken for each other: 32, five bits each. No key begins with `0x` or `#`, which racoon's
/// psk.txt would read as something else.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// 52 times five bits are 260.
const PSK_LETTERS: usize = 52;

/// Makes a root authority with the common name `name`, which may issue for hosts but make no authorities of its own.
///
/// # Errors
/// There is no name, or the dates are none.
pub fn make_authority(name: &str, kind: KeyKind, validity: Validity) -> Result<Issued, PkiError> {
    let mut params = params(name, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = generate(kind)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let parsed = Certificate::from_der(certificate.der()).map_err(PkiError::Certificate)?;
    TrustStore::default().add_authority(parsed).map_err(PkiError::Certificate)?;
    Ok(Issued { certificate: certificate.pem(), key: key_file(&key)? })
}

/// Makes a host's certificate for `names`, the first of which is its common name too, with a key of its own.
///
/// `authority` and `key` are the files of an authority: [`make_authority`]'s, or others whose key is not on P-521. The last
/// second is the authority's, if that is sooner.
///
/// # Errors
/// The files do not belong together, or what was issued would not be accepted by [`TrustStore::validate`].
pub fn make_host(
    authority: &[u8],
    key: &[u8],
    names: &[AltName],
    kind: KeyKind,
    validity: Validity,
) -> Result<Issued, PkiError> {
    let (authority, key) = issuer_of(authority, key)?;
    let first = names.first().ok_or(PkiError::NoName)?;
    let validity = Validity { to: validity.to.min(authority.not_after()), ..validity };
    let mut params = params(&first.to_string(), validity)?;
    params.subject_alt_names = names.iter().map(alt_name).collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        // id-kp-ipsecIKE, and the two that other peers look for.
        ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]),
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;

    let issuer = Issuer::new(named_like(&authority)?, Signer::new(&key)?);
    let own = generate(kind)?;
    let certificate = params.signed_by(&own, &issuer).map_err(failed)?;
    let mut trusted = TrustStore::new(Revocation::Soft);
    trusted.add_authority(authority).map_err(PkiError::Certificate)?;
    trusted
        .validate(&[certificate.der()], validity.from)
        .map_err(|problem| PkiError::Refused(Box::new(problem)))?;
    Ok(Issued { certificate: certificate.pem(), key: key_file(&own)? })
}

/// Makes a key whose public half the peers are given.
///
/// # Errors
/// The library could not make it.
pub fn make_key(kind: KeyKind) -> Result<RawKey, PkiError> {
    let key = key_file(&generate(kind)?)?;
    let public = SigningKey::from_file(key.expose()).map_err(PkiError::Key)?.public().to_pem();
    Ok(RawKey { public, key })
}

/// The authority of two files that belong together.
fn issuer_of(authority: &[u8], key: &[u8]) -> Result<(Certificate, SigningKey), PkiError> {
    let key = SigningKey::from_file(key).map_err(PkiError::Key)?;
    let authority = Certificate::from_file(authority).map_err(PkiError::Certificate)?.swap_remove(0);
    if authority.key() != Ok(key.public()) {
        return Err(PkiError::OtherKey);
    }
    Ok((authority, key))
}

/// A pre-shared key of 260 bits as text of letters and digits, for psk.txt and for other peers' files.
pub fn strong_psk(rng: &mut Rng) -> Secret {
    let octets = Secret::new(rng.octets(PSK_LETTERS));
    let letter = |octet: &u8| LETTERS.get(usize::from(octet % 32)).copied();
    Secret::new(octets.expose().iter().filter_map(letter).collect())
}

fn params(name: &str, validity: Validity) -> Result<CertificateParams, PkiError> {
    if name.is_empty() {
        return Err(PkiError::NoName);
    }
    if validity.from > validity.to || validity.to > LAST {
        return Err(PkiError::Validity);
    }
    let at = |second| date_time_ymd(1970, 1, 1) + Duration::from_secs(second);
    let mut params = CertificateParams::default();
    params.not_before = at(validity.from);
    params.not_after = at(validity.to);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn generate(kind: KeyKind) -> Result<KeyPair, PkiError> {
    let algorithm = match kind {
        KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
    };
    KeyPair::generate_for(algorithm).map_err(failed)
}

/// PKCS #8 of version 1: OpenSSL 3.0 does not read the version 2 that ring makes of an Ed25519 key.
fn key_file(key: &KeyPair) -> Result<Secret, PkiError> {
    let malformed = |_| PkiError::Key(KeyError::Malformed("PKCS #8 private key"));
    let der = Zeroizing::new(key.serialize_der());
    let info = PrivateKeyInfoRef::try_from(der.as_slice()).map_err(malformed)?;
    let first = PrivateKeyInfoRef::new(info.algorithm, info.private_key);
    let der = Zeroizing::new(first.to_der().map_err(|error| malformed(error.into()))?);
    let pem = pem_rfc7468::encode_string("PRIVATE KEY", LineEnding::LF, &der)
        .map_err(|error| PkiError::Failed(error.to_string()))?;
    Ok(Secret::new(pem.into_bytes()))
}

fn alt_name(name: &AltName) -> Result<SanType, PkiError> {
    let bad = |text: &String| PkiError::Name(text.clone());
    match name {
        AltName::Address(address) => Ok(SanType::IpAddress(*address)),
        AltName::Dns(text) => text.as_str().try_into().map(SanType::DnsName).map_err(|_| bad(text)),
        AltName::Email(text) => text.as_str().try_into().map(SanType::Rfc822Name).map_err(|_| bad(text)),
    }
}

/// Parameters with the authority's subject, of which an issuer's name is made. A name of a kind that rcgen does not write is
/// found out by validating what was issued.
fn named_like(authority: &Certificate) -> Result<CertificateParams, PkiError> {
    let malformed = || PkiError::Certificate(CertificateError::Malformed);
    let names = x509_cert::name::RdnSequence::from_der(authority.subject().der()).map_err(|_| malformed())?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for attribute in names.iter().flat_map(|set| set.iter()) {
        let oid = attribute.oid.arcs().map(u64::from).collect();
        let text = core::str::from_utf8(attribute.value.value()).map_err(|_| malformed())?;
        let value = match attribute.value.tag() {
            Tag::PrintableString => DnValue::PrintableString(text.try_into().map_err(|_| malformed())?),
            Tag::Ia5String => DnValue::Ia5String(text.try_into().map_err(|_| malformed())?),
            _ => DnValue::Utf8String(text.to_owned()),
        };
        params.distinguished_name.push(DnType::CustomDnType(oid), value);
    }
    Ok(params)
}

fn failed(error: rcgen::Error) -> PkiError {
    PkiError::Failed(error.to_string())
}

/// One of our keys as rcgen wants an issuer's.
struct Signer<'a> {
    key: &'a SigningKey,
    bits: Vec<u8>,
    kind: &'static rcgen::SignatureAlgorithm,
    algorithm: SignatureAlgorithm,
}

impl<'a> Signer<'a> {
    fn new(key: &'a SigningKey) -> Result<Self, PkiError> {
        let (kind, algorithm) = match key.key_type() {
            KeyType::Ed25519 => (&rcgen::PKCS_ED25519, SignatureAlgorithm::Ed25519),
            KeyType::P256 => (&rcgen::PKCS_ECDSA_P256_SHA256, SignatureAlgorithm::Ecdsa(Hash::Sha256)),
            KeyType::P384 => (&rcgen::PKCS_ECDSA_P384_SHA384, SignatureAlgorithm::Ecdsa(Hash::Sha384)),
            KeyType::Rsa(_) => (&rcgen::PKCS_RSA_SHA256, SignatureAlgorithm::RsaPkcs1(Hash::Sha256)),
            other @ KeyType::P521 => return Err(PkiError::Unsupported(other)),
        };
        let malformed = PkiError::Key(KeyError::Malformed("SubjectPublicKeyInfo"));
        let info = SubjectPublicKeyInfoRef::from_der(key.public().spki()).map_err(|_| malformed)?;
        Ok(Self { key, bits: info.subject_public_key.raw_bytes().to_vec(), kind, algorithm })
    }
}

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.kind
    }
}

impl rcgen::SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(self.algorithm, message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued({} octets of PEM, {:?})", self.certificate.len(), self.key)
    }
}

impl fmt::Debug for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawKey({} octets of PEM, {:?})", self.public.len(), self.key)
    }
}

impl fmt::Display for PkiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(error) => write!(f, "the authority's key: {error}"),
            Self::Certificate(error) => write!(f, "the authority's certificate: {error}"),
            Self::OtherKey => f.write_str("the key is not the one of the authority's certificate"),
            Self::Unsupported(key) => write!(f, "a key of {key} does not issue certificates here"),
            Self::NoName => f.write_str("a certificate needs a name"),
            Self::Name(name) => write!(f, "a certificate cannot hold the name {}", name.escape_debug()),
            Self::Validity => f.write_str("the dates of the certificate are none"),
            Self::NotIssued(subject) => write!(f, "{subject} was not issued by this authority"),
            Self::Crl(error) => write!(f, "the list of revoked certificates: {error}"),
            Self::OtherCrl(issuer) => {
                write!(
                    f,
                    "the list of revoked certificates is not this authority's, but in the name of {issuer}"
                )
            }
            Self::Refused(problem) => write!(f, "what would be issued would not be accepted: {problem}"),
            Self::Failed(what) => write!(f, "the certificate could not be made: {what}"),
        }
    }
}

impl core::error::Error for PkiError {}

#[cfg(test)]
mod tests {
    use ike_proto::policy::identity::Identity;
    use ike_proto::rng::Seed;

    use super::*;
    use crate::sign::{SUPPORTED_HASHES, sign_auth, verify_auth};
    use crate::testing::key_files;
    use crate::x509::{Wildcards, binds};

    const NOW: u64 = 1_800_000_000;
    const YEAR: Validity = Validity { from: NOW - 10, to: NOW + 365 * 86_400 };

    fn names() -> Vec<AltName> {
        vec![AltName::Dns("a.example.org".to_owned()), AltName::Address("192.0.2.1".parse().unwrap())]
    }

    #[test]
    fn a_host_of_our_own_authority_proves_who_it_is() {
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
            let root = make_authority("Our Root", kind, YEAR).unwrap();
            let own =
                make_host(root.certificate.as_bytes(), root.key.expose(), &names(), kind, YEAR).unwrap();

            let mut trusted = TrustStore::default();
            let root = Certificate::from_file(root.certificate.as_bytes()).unwrap().remove(0);
            trusted.add_authority(root).unwrap();
            let certificate = Certificate::from_file(own.certificate.as_bytes()).unwrap().remove(0);
            let good = trusted.validate(&[certificate.der()], NOW).unwrap();
            for identity in [Identity::fqdn("a.example.org"), Identity::address("192.0.2.1".parse().unwrap())]
            {
                assert_eq!(binds(&good.certificate, &identity, Wildcards::Refused), Ok(()));
            }
            let key = SigningKey::from_file(own.key.expose()).unwrap();
            let (method, proof) = sign_auth(&key, &SUPPORTED_HASHES, None, b"octets").unwrap();
            assert!(verify_auth(&good.key, method, &proof, b"octets").is_ok());
        }
    }

    /// RFC 5958 §2: version 1 (written 0) has no public key; every reader knows it.
    #[test]
    fn keys_are_written_in_the_version_that_everybody_reads() {
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
            let root = make_authority("Our Root", kind, YEAR).unwrap();
            let der = crate::pem::ders(root.key.expose(), &["PRIVATE KEY"]).remove(0);
            assert!(PrivateKeyInfoRef::try_from(der.as_slice()).unwrap().public_key.is_none(), "{kind:?}");
        }
    }

    #[test]
    fn an_authority_made_elsewhere_issues_too() {
        let root = include_bytes!("../testdata/old-root.pem");
        let later = Validity { from: 1_830_000_000, to: 1_840_000_000 };
        for key in [key_files::RSA_2048, key_files::RSA_2048_PKCS1] {
            assert!(make_host(root, key, &names(), KeyKind::P256, later).is_ok());
        }
    }

    #[test]
    fn what_does_not_belong_together_issues_nothing() {
        let root = make_authority("Our Root", KeyKind::P256, YEAR).unwrap();
        let certificate = root.certificate.as_bytes();
        let issue = |key: &[u8], names: &[AltName], validity| {
            make_host(certificate, key, names, KeyKind::P256, validity).unwrap_err()
        };
        assert_eq!(issue(key_files::P256, &names(), YEAR), PkiError::OtherKey);
        assert_eq!(issue(key_files::ENCRYPTED, &names(), YEAR), PkiError::Key(KeyError::Encrypted));
        assert_eq!(issue(root.key.expose(), &[], YEAR), PkiError::NoName);
        let backwards = Validity { from: NOW, to: NOW - 1 };
        assert_eq!(issue(root.key.expose(), &names(), backwards), PkiError::Validity);
        let star = [AltName::Dns("häuser.example.org".to_owned())];
        assert!(matches!(issue(root.key.expose(), &star, YEAR), PkiError::Name(_)));
        let before = Validity { from: NOW - 100, to: NOW };
        assert!(matches!(issue(root.key.expose(), &names(), before), PkiError::Refused(_)));
    }

    #[test]
    fn a_certificate_does_not_outlive_its_authority() {
        let root = make_authority("Our Root", KeyKind::P256, YEAR).unwrap();
        let longer = Validity { to: YEAR.to + 1000, ..YEAR };
        let own = make_host(root.certificate.as_bytes(), root.key.expose(), &names(), KeyKind::P256, longer)
            .unwrap();
        let own = Certificate::from_file(own.certificate.as_bytes()).unwrap().remove(0);
        assert_eq!(own.not_after(), YEAR.to);
    }

    #[test]
    fn pre_shared_keys_are_long_plain_and_different() {
        let mut rng = Rng::new(&Seed::from_u64(7));
        let keys: Vec<Secret> = (0..64).map(|_| strong_psk(&mut rng)).collect();
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(key.len(), PSK_LETTERS);
            assert!(key.expose().iter().all(|letter| LETTERS.contains(letter)));
            assert!(!keys.iter().skip(at + 1).any(|other| other == key));
        }
        let all: Vec<u8> = keys.iter().flat_map(|key| key.expose().to_vec()).collect();
        assert!(LETTERS.iter().all(|letter| all.contains(letter)), "a letter is never used");
    }
}

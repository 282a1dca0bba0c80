//! A small PKI for the tests, made with rcgen.

use std::cell::Cell;
use std::time::Duration;

use pem_rfc7468::LineEnding;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints,
    PublicKeyData, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

use super::Certificate;

/// The time of the tests: 2027-01-15 08:00 UTC.
pub(crate) const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

pub(crate) type Authority = Issuer<'static, KeyPair>;

/// A root authority that issues.
pub(crate) struct Pki {
    root: Certificate,
    issuer: Authority,
    serial: Cell<u64>,
}

/// What a certificate is to say.
#[derive(Clone)]
pub(crate) struct Template(CertificateParams);

/// A host's certificate for `name`, in its subject and as a dNSName.
pub(crate) fn host(name: &str) -> Template {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Template(params).valid(NOW - DAY, NOW + DAY)
}

/// An authority's certificate, with a path length or without.
pub(crate) fn authority(name: &str, path_len: Option<u8>) -> Template {
    let mut template = host(name).without_names();
    let constraints = path_len.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained);
    template.0.is_ca = IsCa::Ca(constraints);
    template.0.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    template
}

impl Template {
    pub(crate) fn valid(mut self, from: u64, to: u64) -> Self {
        self.0.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(from);
        self.0.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(to);
        self
    }

    pub(crate) fn address(mut self, address: &str) -> Self {
        self.0.subject_alt_names.push(SanType::IpAddress(address.parse().unwrap()));
        self
    }

    pub(crate) fn email(mut self, address: &str) -> Self {
        self.0.subject_alt_names.push(SanType::Rfc822Name(address.try_into().unwrap()));
        self
    }

    pub(crate) fn without_names(mut self) -> Self {
        self.0.subject_alt_names.clear();
        self
    }

    pub(crate) fn usages(mut self, usages: &[KeyUsagePurpose]) -> Self {
        self.0.key_usages = usages.to_vec();
        self
    }

    pub(crate) fn extended(mut self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        self.0.extended_key_usages = usages.to_vec();
        self
    }

    pub(crate) fn constrained(mut self, constraints: NameConstraints) -> Self {
        self.0.name_constraints = Some(constraints);
        self
    }

    pub(crate) fn critical(mut self, oid: &[u64]) -> Self {
        let mut extension = CustomExtension::from_oid_content(oid, vec![0x05, 0x00]);
        extension.set_criticality(true);
        self.0.custom_extensions.push(extension);
        self
    }

    /// Signed by its own key.
    pub(crate) fn self_signed(self) -> (Certificate, Authority) {
        let key = KeyPair::generate().unwrap();
        let certificate = self.0.self_signed(&key).unwrap();
        (Certificate::from_der(certificate.der()).unwrap(), Issuer::new(self.0, key))
    }

    /// Signed by another, for a new key.
    pub(crate) fn issued_by(self, issuer: &Authority) -> (Certificate, Authority) {
        let key = KeyPair::generate().unwrap();
        (self.for_key(&key, issuer), Issuer::new(self.0, key))
    }

    pub(crate) fn for_key(&self, key: &impl PublicKeyData, issuer: &Authority) -> Certificate {
        let certificate = self.0.signed_by(key, issuer).unwrap();
        Certificate::from_der(certificate.der()).unwrap()
    }
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self::of(authority("Test Root", None))
    }

    pub(crate) fn of(root: Template) -> Self {
        let (root, issuer) = root.self_signed();
        Self { root, issuer, serial: Cell::new(1) }
    }

    pub(crate) fn root(&self) -> &Certificate {
        &self.root
    }

    pub(crate) fn issuer(&self) -> &Authority {
        &self.issuer
    }

    /// Issues with a serial number of its own.
    pub(crate) fn issue(&self, mut template: Template) -> (Certificate, Authority) {
        self.serial.set(self.serial.get() + 1);
        template.0.serial_number = Some(SerialNumber::from(self.serial.get()));
        template.issued_by(&self.issuer)
    }

    pub(crate) fn crl(&self, revoked: &[&Certificate], this_update: u64, next_update: u64) -> Vec<u8> {
        crl(&self.issuer, revoked, this_update, next_update)
    }
}

pub(crate) fn crl(
    issuer: &Authority,
    revoked: &[&Certificate],
    this_update: u64,
    next_update: u64,
) -> Vec<u8> {
    let at = |second| date_time_ymd(1970, 1, 1) + Duration::from_secs(second);
    let revoked_certs = revoked.iter().map(|certificate| RevokedCertParams {
        serial_number: SerialNumber::from_slice(&certificate.serial),
        revocation_time: at(this_update),
        reason_code: None,
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: at(this_update),
        next_update: at(next_update),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(issuer).unwrap().der().to_vec()
}

pub(crate) fn pem(certificate: &Certificate) -> String {
    pem_rfc7468::encode_string("CERTIFICATE", LineEnding::LF, certificate.der()).unwrap()
}

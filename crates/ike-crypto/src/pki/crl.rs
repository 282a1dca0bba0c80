//! Revoking: a list of certificates made from the one before it (RFC 5280 §5).

use core::time::Duration;
use std::collections::BTreeMap;

use der::Decode;
use der::oid::AssociatedOid;
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd,
};
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::CrlNumber;

use super::{LAST, PkiError, Signer, Validity, failed, named_like};
use crate::pem;
use crate::sign::SigningKey;
use crate::x509::{Certificate, Crl, CrlError};

/// Makes an authority's list of revoked certificates: those of the list `before`, with their dates, and `revoked`, with the
/// list's own date. Its number is one more than that of the list before.
///
/// `authority` and `key` are as for [`super::make_host`]; `validity.to` is when the next list comes at the latest. PEM.
///
/// # Errors
/// The files do not belong together, a certificate is another authority's, or so is the list.
pub fn make_crl(
    authority: &[u8],
    key: &[u8],
    before: Option<&[u8]>,
    revoked: &[Certificate],
    validity: Validity,
) -> Result<String, PkiError> {
    let (authority, key) = super::issuer_of(authority, key)?;
    if validity.from >= validity.to || validity.to > LAST {
        return Err(PkiError::Validity);
    }
    let (number, mut entries) = match before {
        Some(file) => read_before(file, &authority, &key)?,
        None => (Vec::new(), BTreeMap::new()),
    };
    for certificate in revoked {
        if certificate.issuer() != authority.subject() {
            return Err(PkiError::NotIssued(certificate.subject().to_string()));
        }
        entries.entry(certificate.serial().to_vec()).or_insert(validity.from);
    }
    let at = |second| date_time_ymd(1970, 1, 1) + Duration::from_secs(second);
    let params = CertificateRevocationListParams {
        this_update: at(validity.from),
        next_update: at(validity.to),
        crl_number: SerialNumber::from(next(number)),
        issuing_distribution_point: None,
        revoked_certs: entries
            .into_iter()
            .map(|(serial, date)| RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: at(date),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let issuer = Issuer::new(named_like(&authority)?, Signer::new(&key)?);
    let list = params.signed_by(&issuer).map_err(failed)?;
    let made = Crl::from_der(list.der()).map_err(PkiError::Crl)?;
    if !made.is_signed_by(key.public()) {
        return Err(PkiError::Failed("the list's signature is wrong".to_owned()));
    }
    list.pem().map_err(failed)
}

/// Number, and serial numbers with the second of their revocation.
type Before = (Vec<u8>, BTreeMap<Vec<u8>, u64>);

fn read_before(file: &[u8], authority: &Certificate, key: &SigningKey) -> Result<Before, PkiError> {
    let malformed = || PkiError::Crl(CrlError::Malformed);
    let der = pem::ders(file, &["X509 CRL"]).into_iter().next().ok_or(PkiError::Crl(CrlError::None))?;
    let crl = Crl::from_der(&der).map_err(PkiError::Crl)?;
    if crl.issuer() != authority.subject() || !crl.is_signed_by(key.public()) {
        return Err(PkiError::OtherCrl(crl.issuer().to_string()));
    }
    let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&der).map_err(|_| malformed())?;
    let extensions = list.tbs_cert_list.crl_extensions.unwrap_or_default();
    let number = match extensions.iter().find(|extension| extension.extn_id == CrlNumber::OID) {
        Some(extension) => {
            let number = CrlNumber::from_der(extension.extn_value.as_bytes()).map_err(|_| malformed())?;
            number.0.as_bytes().to_vec()
        }
        None => Vec::new(),
    };
    let entries = list.tbs_cert_list.revoked_certificates.unwrap_or_default();
    let entry = |entry: x509_cert::crl::RevokedCert| {
        (entry.serial_number.as_bytes().to_vec(), entry.revocation_date.to_unix_duration().as_secs())
    };
    Ok((number, entries.into_iter().map(entry).collect()))
}

/// A big-endian number and one; no more than 20 octets count (RFC 5280 §5.2.3).
fn next(mut number: Vec<u8>) -> Vec<u8> {
    for octet in number.iter_mut().rev() {
        let carried;
        (*octet, carried) = octet.overflowing_add(1);
        if !carried {
            return number;
        }
    }
    number.insert(0, 1);
    number
}

#[cfg(test)]
mod tests {
    use super::super::{KeyKind, make_authority, make_host};
    use super::*;
    use crate::x509::{AltName, Problem, Revocation, TrustStore};

    const NOW: u64 = 1_800_000_000;
    const YEAR: Validity = Validity { from: NOW - 10, to: NOW + 365 * 86_400 };
    const MONTH: Validity = Validity { from: NOW - 10, to: NOW + 30 * 86_400 };

    fn one(file: &str) -> Certificate {
        Certificate::from_file(file.as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn a_revoked_host_is_refused_and_the_others_are_not() {
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
            let root = make_authority("Our Root", kind, YEAR).unwrap();
            let (ca, key) = (root.certificate.as_bytes(), root.key.expose());
            let host = |name: &str| {
                let names = [AltName::Dns(name.to_owned())];
                one(&make_host(ca, key, &names, KeyKind::P256, YEAR).unwrap().certificate)
            };
            let (a, b, c) = (host("a.example.org"), host("b.example.org"), host("c.example.org"));
            let empty = make_crl(ca, key, None, &[], MONTH).unwrap();
            let first = make_crl(ca, key, Some(empty.as_bytes()), core::slice::from_ref(&a), MONTH).unwrap();
            let later = Validity { from: NOW, ..MONTH };
            let second = make_crl(ca, key, Some(first.as_bytes()), core::slice::from_ref(&b), later).unwrap();

            let mut trusted = TrustStore::new(Revocation::Strict);
            trusted.add_authority(one(&root.certificate)).unwrap();
            for list in [&empty, &second] {
                trusted.add_crl(Crl::from_file(list.as_bytes()).unwrap().remove(0));
            }
            for revoked in [&a, &b] {
                assert!(matches!(trusted.validate(&[revoked.der()], NOW), Err(Problem::Revoked(_))));
            }
            assert!(trusted.validate(&[c.der()], NOW).unwrap().warnings.is_empty());
            let authority = one(&root.certificate);
            let key = SigningKey::from_file(key).unwrap();
            let (number, entries) = read_before(second.as_bytes(), &authority, &key).unwrap();
            assert_eq!(number, [3], "the third list");
            assert_eq!(entries.get(a.serial()), Some(&(NOW - 10)), "its date is kept");
            assert_eq!(entries.get(b.serial()), Some(&NOW));
        }
    }

    #[test]
    fn what_is_another_authoritys_is_not_revoked() {
        let make = |name| make_authority(name, KeyKind::P256, YEAR).unwrap();
        let (ours, other) = (make("Ours"), make("Other"));
        let names = [AltName::Dns("a.example.org".to_owned())];
        let theirs =
            make_host(other.certificate.as_bytes(), other.key.expose(), &names, KeyKind::P256, YEAR).unwrap();
        let (ca, key) = (ours.certificate.as_bytes(), ours.key.expose());
        let refused = make_crl(ca, key, None, &[one(&theirs.certificate)], MONTH).unwrap_err();
        assert_eq!(refused, PkiError::NotIssued("CN=a.example.org".to_owned()));
        let list = make_crl(other.certificate.as_bytes(), other.key.expose(), None, &[], MONTH).unwrap();
        let refused = make_crl(ca, key, Some(list.as_bytes()), &[], MONTH).unwrap_err();
        assert_eq!(refused, PkiError::OtherCrl("CN=Other".to_owned()));
        assert_eq!(make_crl(ca, other.key.expose(), None, &[], MONTH).unwrap_err(), PkiError::OtherKey);
        let backwards = Validity { from: NOW, to: NOW };
        assert_eq!(make_crl(ca, key, None, &[], backwards).unwrap_err(), PkiError::Validity);
        assert_eq!(
            make_crl(ca, key, Some(b"none"), &[], MONTH).unwrap_err(),
            PkiError::Crl(CrlError::Malformed)
        );
    }

    #[test]
    fn numbers_go_up() {
        assert_eq!(next(Vec::new()), [1]);
        assert_eq!(next(vec![1, 255]), [2, 0]);
        assert_eq!(next(vec![255, 255]), [1, 0, 0]);
    }
}

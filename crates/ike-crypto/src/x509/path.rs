//! From a peer's certificate to a configured authority.

use core::time::Duration;
use std::cell::RefCell;

use der::asn1::ObjectIdentifier;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};

use super::certificate::Certificate;
use super::problem::{Problem, Warning};
use super::schemes;
use super::trust::{Authority, TrustStore};
use crate::sign::VerifyingKey;

/// Certificates of a chain, the peer's own and the configured authority included; a peer may send as many.
pub const MAX_CHAIN: usize = 8;
/// Of the authorities of one name this many are tried; two are what cross-signing and a roll of keys need.
const MAX_OF_ONE_NAME: usize = 2;

/// anyExtendedKeyUsage, id-kp-serverAuth, id-kp-clientAuth, id-kp-ipsecIKE (RFC 5280 §4.2.1.12, RFC 4945 §5.1.3.12).
const IKE_USES: [ObjectIdentifier; 4] = [
    ObjectIdentifier::new_unwrap("2.5.29.37.0"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.17"),
];

/// A certificate that leads to an authority, and what there is to say of it.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The peer's own certificate.
    pub certificate: Certificate,
    /// Its key, which the AUTH payload must verify with.
    pub key: VerifyingKey,
    /// The authorities above it, the configured one last.
    pub authorities: Vec<Certificate>,
    /// The last second at which all of the chain is valid.
    pub not_after: u64,
    /// What was not checked (policy `soft`).
    pub warnings: Vec<Warning>,
}

/// The authorities of a chain and what was not checked in it.
type Judged = (Vec<Certificate>, Vec<Warning>);

pub(super) fn validate(store: &TrustStore, certificates: &[&[u8]], now: u64) -> Result<Validated, Problem> {
    if certificates.len() > MAX_CHAIN {
        return Err(Problem::TooMany(certificates.len()));
    }
    let own = certificates.first().copied().unwrap_or_default();
    let certificate = Certificate::from_der(own).map_err(Problem::Unreadable)?;
    let key = check_host(&certificate, now)?;
    let between = usable(certificates.get(1..).unwrap_or_default());
    let (authorities, warnings) = search(store, &certificate, &between, now)?;
    let dates = authorities.iter().map(|authority| authority.not_after);
    let not_after = dates.fold(certificate.not_after, u64::min);
    Ok(Validated { key, not_after, authorities, warnings, certificate })
}

/// RFC 5280 §4.1.2.5: both seconds are inside.
pub(super) fn check_dates(certificate: &Certificate, now: u64) -> Result<(), Problem> {
    let subject = || certificate.subject.to_string();
    if now < certificate.not_before {
        return Err(Problem::NotYetValid { subject: subject(), not_before: certificate.not_before });
    }
    if now > certificate.not_after {
        return Err(Problem::Expired { subject: subject(), not_after: certificate.not_after });
    }
    Ok(())
}

/// A key usage, where there is one, must let the key sign (RFC 4945 §5.1.3.2 takes nonRepudiation as well).
pub(super) fn check_host_usage(certificate: &Certificate) -> Result<(), Problem> {
    match certificate.key_usage {
        Some(usage) if !usage.digital_signature() && !usage.non_repudiation() => {
            Err(Problem::NotForSigning(certificate.subject.to_string()))
        }
        _ => Ok(()),
    }
}

/// An extended key usage, where there is one, must have one of [`IKE_USES`]. RFC 4945 §5.1.3.12 would ignore the extension; but
/// a certificate for signing code or mail is not a host's, and hosts' certificates have serverAuth or clientAuth as often as
/// ipsecIKE (strongSwan's tools and most public authorities write the former).
fn check_extended_usage(certificate: &Certificate) -> Result<(), Problem> {
    match &certificate.extended_usage {
        Some(uses) if !uses.iter().any(|used| IKE_USES.contains(used)) => {
            Err(Problem::OtherUse(certificate.subject.to_string()))
        }
        _ => Ok(()),
    }
}

/// What can be said of the peer's own certificate alone, so that the reason is its own and not the chain's.
fn check_host(certificate: &Certificate, now: u64) -> Result<VerifyingKey, Problem> {
    let subject = || certificate.subject.to_string();
    if let Some(oid) = certificate.unknown_critical {
        return Err(Problem::CriticalExtension(subject(), oid));
    }
    if certificate.authority {
        return Err(Problem::AuthorityAsHost(subject()));
    }
    if let Err(unknown) = &certificate.signed_with {
        return Err(Problem::SignedWith(subject(), unknown.clone()));
    }
    check_dates(certificate, now)?;
    check_host_usage(certificate)?;
    check_extended_usage(certificate)?;
    certificate.key.clone().map_err(|error| Problem::Key(subject(), error))
}

/// The certificates sent beside the peer's own, once each, without what is none and without too many of one name: with them
/// the number of paths would grow with the factorial.
pub(super) fn usable(certificates: &[&[u8]]) -> Vec<Certificate> {
    let mut kept: Vec<Certificate> = Vec::new();
    for certificate in certificates.iter().filter_map(|der| Certificate::from_der(der).ok()) {
        let of_name = kept.iter().filter(|known| known.subject == certificate.subject);
        let known = kept.iter().any(|known| known.der() == certificate.der());
        if !known && of_name.count() < MAX_OF_ONE_NAME {
            kept.push(certificate);
        }
    }
    kept
}

fn search(
    store: &TrustStore,
    own: &Certificate,
    between: &[Certificate],
    now: u64,
) -> Result<Judged, Problem> {
    let der = CertificateDer::from(own.der());
    let ders: Vec<CertificateDer<'_>> =
        between.iter().map(|certificate| CertificateDer::from(certificate.der())).collect();
    let end = EndEntityCert::try_from(&der).map_err(|error| explain(store, own, between, &error))?;
    let good = RefCell::new(None);
    let refusal = RefCell::new(None);
    let judge = |chain: &VerifiedPath<'_>| match judge(store, own, between, chain, now) {
        Ok(judged) => {
            good.replace(Some(judged));
            Ok(())
        }
        Err(problem) => {
            refusal.replace(Some(problem));
            Err(Error::UnknownIssuer)
        }
    };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let found = end.verify_for_usage(schemes::ALL, &store.anchors, &ders, time, AnyUse, None, Some(&judge));
    match (found, good.take(), refusal.take()) {
        (Ok(_), Some(judged), _) => Ok(judged),
        // A chain that was whole and was refused says more than one that was not.
        (_, _, Some(problem)) => Err(problem),
        (Err(error), ..) => Err(explain(store, own, between, &error)),
        (Ok(_), None, None) => Err(Problem::Other(own.subject.to_string(), "not judged".to_owned())),
    }
}

/// What webpki does not look at, on a chain whose signatures, dates and constraints it found good.
fn judge(
    store: &TrustStore,
    own: &Certificate,
    between: &[Certificate],
    chain: &VerifiedPath<'_>,
    now: u64,
) -> Result<Judged, Problem> {
    let lost = || Problem::Other(own.subject.to_string(), "a certificate that was not sent".to_owned());
    let mut above = Vec::new();
    for link in chain.intermediate_certificates() {
        let der = link.der();
        let known = between.iter().find(|certificate| certificate.der() == der.as_ref()).ok_or_else(lost)?;
        let key =
            known.key.as_ref().map_err(|error| Problem::Key(known.subject.to_string(), error.clone()))?;
        if known.key_usage.is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(Problem::NoCertSign(known.subject.to_string()));
        }
        check_extended_usage(known)?;
        above.push((known, key));
    }
    let authority = authority(store, chain.anchor()).ok_or_else(lost)?;
    let top = &authority.certificate;
    check_dates(top, now)?;
    if top.path_len.is_some_and(|most| above.len() > usize::from(most)) {
        return Err(Problem::PathLength(top.subject.to_string()));
    }
    above.push((top, &authority.key));
    if above.len() >= MAX_CHAIN {
        return Err(Problem::TooMuchWork(own.subject.to_string()));
    }
    let mut warnings = Vec::new();
    let below = core::iter::once(own).chain(above.iter().map(|(certificate, _)| *certificate));
    for (certificate, (issuer, key)) in below.zip(&above) {
        warnings.extend(store.check_revocation(certificate, issuer, key, now)?);
    }
    Ok((above.into_iter().map(|(certificate, _)| certificate.clone()).collect(), warnings))
}

/// The authority whose anchor webpki was given.
fn authority<'a>(store: &'a TrustStore, anchor: &TrustAnchor<'_>) -> Option<&'a Authority> {
    let mut pairs = store.anchors.iter().zip(&store.authorities);
    pairs.find(|(known, _)| core::ptr::addr_eq(*known, anchor)).map(|(_, authority)| authority)
}

/// webpki's reason, with the certificate that gave it where that can be told.
fn explain(store: &TrustStore, own: &Certificate, between: &[Certificate], error: &Error) -> Problem {
    let named = |found: Option<&Certificate>| found.unwrap_or(own).subject.to_string();
    let all = || core::iter::once(own).chain(between);
    match error {
        Error::CertExpired { not_after, .. } => {
            let not_after = not_after.as_secs();
            Problem::Expired { subject: named(all().find(|link| link.not_after == not_after)), not_after }
        }
        Error::CertNotValidYet { not_before, .. } => {
            let not_before = not_before.as_secs();
            Problem::NotYetValid {
                subject: named(all().find(|link| link.not_before == not_before)),
                not_before,
            }
        }
        Error::EndEntityUsedAsCa => Problem::NotAuthority(named(between.iter().find(|link| !link.authority))),
        Error::CaUsedAsEndEntity => Problem::AuthorityAsHost(named(None)),
        Error::PathLenConstraintViolated => {
            Problem::PathLength(named(between.iter().find(|link| link.path_len.is_some())))
        }
        Error::NameConstraintViolation => Problem::NameConstraint(named(None)),
        Error::InvalidSignatureForPublicKey => {
            weak_key(between).unwrap_or_else(|| Problem::Signature(named(None)))
        }
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => weak_signature(between)
            .or_else(|| weak_key(between))
            .unwrap_or_else(|| Problem::Signature(named(None))),
        Error::UnsupportedCriticalExtension => {
            let found = all()
                .find_map(|link| Some(Problem::CriticalExtension(named(Some(link)), link.unknown_critical?)));
            found.unwrap_or_else(|| other(own, error))
        }
        Error::MaximumPathDepthExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => Problem::TooMuchWork(named(None)),
        Error::UnknownIssuer => unknown_issuer(store, own, between),
        _ => other(own, error),
    }
}

/// The name at which the search had to stop.
fn unknown_issuer(store: &TrustStore, own: &Certificate, between: &[Certificate]) -> Problem {
    let subject = own.subject.to_string();
    if own.is_self_issued() {
        return Problem::SelfSigned(subject);
    }
    let mut last = own;
    for _ in 0..MAX_CHAIN {
        match between.iter().find(|link| link.subject == last.issuer && !link.is_self_issued()) {
            Some(link) => last = link,
            None => break,
        }
    }
    // A name that is known with other letters: chains go by octets (RFC 5280 §7.1 asks issuers to keep them).
    if store.authorities().any(|authority| authority.subject == last.issuer) {
        let issuer = format!(
            "{} (the name is configured, but not in these octets or not for this chain)",
            last.issuer
        );
        return Problem::UnknownIssuer(subject, issuer);
    }
    Problem::UnknownIssuer(subject, last.issuer.to_string())
}

fn weak_key(between: &[Certificate]) -> Option<Problem> {
    between.iter().find_map(|link| Some(Problem::Key(link.subject.to_string(), link.key.clone().err()?)))
}

fn weak_signature(between: &[Certificate]) -> Option<Problem> {
    between
        .iter()
        .find_map(|link| Some(Problem::SignedWith(link.subject.to_string(), link.signed_with.clone().err()?)))
}

fn other(own: &Certificate, error: &Error) -> Problem {
    let what: String = error.to_string().chars().filter(|letter| !letter.is_control()).take(200).collect();
    Problem::Other(own.subject.to_string(), what)
}

/// Extended key usages are looked at in [`check_extended_usage`], with a reason of their own.
struct AnyUse;

impl ExtendedKeyUsageValidator for AnyUse {
    fn validate(&self, uses: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        for used in uses {
            used?;
        }
        Ok(())
    }
}

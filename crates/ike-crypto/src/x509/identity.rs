//! Whether a certificate names the identity that an IKE peer claims (RFC 4945 §3.1).

use ike_proto::policy::identity::Identity;
use ike_proto::wire::registry::IdType;

use super::certificate::{AltName, Certificate};
use super::name::DistinguishedName;
use super::problem::Problem;

/// Whether a dNSName `*.example.org` stands for one label more.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Wildcards {
    /// It stands for nothing.
    #[default]
    Refused,
    /// It names each host directly under `example.org`.
    Accepted,
}

/// Checks that `certificate` names `identity`: an address, a name or a mail address in its subjectAltName, or its subject. The
/// subject's common name is not looked at.
///
/// ID_KEY_ID and whatever else a certificate cannot say is never bound by it; a configuration may bind it to a pinned key.
///
/// # Errors
/// The certificate names others, or nobody.
pub fn binds(certificate: &Certificate, identity: &Identity, wildcards: Wildcards) -> Result<(), Problem> {
    let names = certificate.names();
    let named = match identity.id_type {
        IdType::IPV4_ADDR | IdType::IPV6_ADDR => identity.as_address().is_some_and(|address| {
            names.iter().any(|name| matches!(name, AltName::Address(own) if *own == address))
        }),
        IdType::FQDN => text(identity).is_some_and(|host| {
            names.iter().any(|name| matches!(name, AltName::Dns(own) if is_host(own, host, wildcards)))
        }),
        IdType::RFC822_ADDR => text(identity).is_some_and(|mail| {
            names.iter().any(|name| matches!(name, AltName::Email(own) if is_mail(own, mail)))
        }),
        IdType::DER_ASN1_DN => DistinguishedName::from_der(&identity.data)
            .is_ok_and(|subject| !subject.is_empty() && subject == *certificate.subject()),
        _ => false,
    };
    if named { Ok(()) } else { Err(Problem::Identity(identity.to_string(), listed(certificate))) }
}

/// The identity as text; what is empty, not ASCII, or has a star in it is no name of a host.
fn text(identity: &Identity) -> Option<&str> {
    let text = core::str::from_utf8(&identity.data).ok()?;
    (text.is_ascii() && !text.is_empty() && !text.contains('*')).then_some(text)
}

/// Names are compared without regard to the case of letters (RFC 4343).
fn is_host(own: &str, host: &str, wildcards: Wildcards) -> bool {
    match (own.strip_prefix("*."), wildcards) {
        (None, _) => own.eq_ignore_ascii_case(host),
        (Some(_), Wildcards::Refused) => false,
        // Two labels at least behind the star: `*.org` would be everybody.
        (Some(domain), Wildcards::Accepted) => host.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && domain.contains('.') && rest.eq_ignore_ascii_case(domain)
        }),
    }
}

/// The part before the `@` has letters of two cases, the domain has not (RFC 5280 §7.5).
fn is_mail(own: &str, mail: &str) -> bool {
    match (own.rsplit_once('@'), mail.rsplit_once('@')) {
        (Some((own_box, own_domain)), Some((mail_box, domain))) => {
            own_box == mail_box && own_domain.eq_ignore_ascii_case(domain)
        }
        _ => false,
    }
}

/// For the log, bounded.
fn listed(certificate: &Certificate) -> String {
    const SHOWN: usize = 8;
    let mut names = vec![certificate.subject().to_string()];
    names.extend(certificate.names().iter().take(SHOWN).map(|name| {
        let name: String = name.to_string();
        name.chars().take(128).collect()
    }));
    if certificate.names().len() > SHOWN {
        names.push("...".to_owned());
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::testing::{Pki, host};

    #[test]
    fn each_kind_of_identity_is_found_in_its_field_alone() {
        let pki = Pki::new();
        let (certificate, _) = pki.issue(
            host("a.example.org").address("192.0.2.1").address("2001:db8::1").email("Root@Example.org"),
        );
        let named = [
            Identity::fqdn("a.example.org"),
            Identity::fqdn("A.Example.ORG"),
            Identity::address("192.0.2.1".parse().unwrap()),
            Identity::address("2001:db8::1".parse().unwrap()),
            Identity::rfc822("Root@example.ORG"),
            Identity { id_type: IdType::DER_ASN1_DN, data: certificate.subject().der().to_vec() },
        ];
        for identity in named {
            assert_eq!(binds(&certificate, &identity, Wildcards::Refused), Ok(()), "{identity}");
        }
        let others = [
            Identity::fqdn("b.example.org"),
            Identity::fqdn("a.example.org."),
            Identity::fqdn("192.0.2.1"),
            Identity::fqdn(""),
            Identity::fqdn("a.example.org\0.evil.example"),
            Identity::address("192.0.2.2".parse().unwrap()),
            Identity::address("2001:db8::2".parse().unwrap()),
            Identity::rfc822("root@example.org"),
            Identity::rfc822("a.example.org"),
            Identity::key_id(b"a.example.org"),
            Identity { id_type: IdType::DER_ASN1_DN, data: pki.root().subject().der().to_vec() },
            Identity { id_type: IdType::DER_ASN1_DN, data: vec![0x30, 0] },
            Identity { id_type: IdType::DER_ASN1_DN, data: b"a.example.org".to_vec() },
            Identity { id_type: IdType::IPV4_ADDR, data: vec![192, 0, 2] },
            Identity { id_type: IdType::NULL, data: Vec::new() },
            Identity { id_type: IdType::FQDN, data: vec![b'a'; 65_000] },
        ];
        for identity in others {
            let refused = binds(&certificate, &identity, Wildcards::Accepted).unwrap_err();
            assert!(matches!(refused, Problem::Identity(..)), "{identity}");
            assert!(refused.to_string().len() < 600);
        }
    }

    #[test]
    fn a_star_names_one_label_and_only_where_it_is_asked_for() {
        let pki = Pki::new();
        let (certificate, _) = pki.issue(host("*.example.org"));
        let takes = |name: &str, wildcards| binds(&certificate, &Identity::fqdn(name), wildcards).is_ok();
        assert!(takes("a.example.org", Wildcards::Accepted));
        for name in ["a.b.example.org", "example.org", ".example.org", "*.example.org", "a.example.com"] {
            assert!(!takes(name, Wildcards::Accepted), "{name}");
        }
        assert!(!takes("a.example.org", Wildcards::Refused));
        assert!(!is_host("*.org", "example.org", Wildcards::Accepted));
    }

    #[test]
    fn the_common_name_is_nobodys_identity() {
        let pki = Pki::new();
        let (certificate, _) = pki.issue(host("a.example.org").without_names());
        assert!(binds(&certificate, &Identity::fqdn("a.example.org"), Wildcards::Refused).is_err());
    }
}

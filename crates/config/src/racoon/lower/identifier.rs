//! Identifiers: the value is checked for its type.

use std::path::Path;
use std::sync::Arc;

use super::{Lowering, file_name};
use crate::diag::Source;
use crate::net::parse_address;
use crate::racoon::ast::{IdKind, Text, WrittenId};
use crate::racoon::model::{DistinguishedName, Identifier};

/// The longest identity that fits an ID payload beside its headers.
const LONGEST: usize = 16_384;

/// Attribute types of a distinguished name, by OpenSSL's short and long names.
const ATTRIBUTES: &[&str] = &[
    "C",
    "countryName",
    "ST",
    "S",
    "stateOrProvinceName",
    "L",
    "localityName",
    "O",
    "organizationName",
    "OU",
    "organizationalUnitName",
    "CN",
    "commonName",
    "emailAddress",
    "Email",
    "E",
    "DC",
    "domainComponent",
    "UID",
    "userId",
    "SN",
    "surname",
    "GN",
    "givenName",
    "serialNumber",
    "title",
    "street",
    "streetAddress",
    "postalCode",
    "name",
    "initials",
    "dnQualifier",
    "description",
];

impl Lowering<'_> {
    pub(super) fn identifier(
        &mut self,
        source: &Arc<Source>,
        directory: &Path,
        id: &WrittenId,
    ) -> Option<Identifier> {
        let span = id.span.clone();
        match (id.kind, &id.value) {
            (IdKind::Address, None) => Some(Identifier::Address(None)),
            (IdKind::Asn1Dn, None) => Some(Identifier::Asn1Dn(None)),
            (_, None) => {
                self.error(source, span, "this identifier needs a value");
                None
            }
            (_, Some(value)) if value.value.is_empty() || value.value.len() > LONGEST => {
                let what = if value.value.is_empty() { "empty" } else { "too long" };
                self.error(source, value.span.clone(), format!("the identifier is {what}"));
                None
            }
            (IdKind::KeyIdTag, Some(value)) => Some(Identifier::KeyId(value.value.clone())),
            (IdKind::KeyIdFile, Some(value)) => self.keyid_file(source, directory, value),
            (kind, Some(value)) => {
                let Ok(text) = str::from_utf8(&value.value) else {
                    self.error(source, value.span.clone(), "the identifier is not UTF-8");
                    return None;
                };
                match kind {
                    IdKind::Fqdn => Some(Identifier::Fqdn(text.to_owned())),
                    IdKind::UserFqdn => Some(Identifier::UserFqdn(text.to_owned())),
                    IdKind::Address => {
                        let address = parse_address(text).map(|endpoint| endpoint.addr);
                        if address.is_none() {
                            self.error(source, value.span.clone(), "expected a numeric address");
                        }
                        address.map(|address| Identifier::Address(Some(address)))
                    }
                    IdKind::Asn1Dn | IdKind::KeyIdFile | IdKind::KeyIdTag => {
                        let name = distinguished_name(text);
                        name.map_err(|(message, help)| {
                            self.error_with_help(source, value.span.clone(), message, help);
                        })
                        .ok()
                        .map(|name| Identifier::Asn1Dn(Some(name)))
                    }
                }
            }
        }
    }

    fn keyid_file(&mut self, source: &Arc<Source>, directory: &Path, value: &Text) -> Option<Identifier> {
        let path = directory.join(file_name(value));
        let problem = match self.files.read(&path) {
            Ok((_, octets)) if octets.is_empty() => "it is empty".to_owned(),
            Ok((_, octets)) if octets.len() > LONGEST => "it is too long".to_owned(),
            Ok((_, octets)) => return Some(Identifier::KeyId(octets)),
            Err(error) => error.to_string(),
        };
        let message = format!("cannot take the identifier from the file `{}`: {problem}", path.display());
        let help = "`keyid \"x\"` names a file; for the text itself write `keyid tag \"x\"`";
        self.error_with_help(source, value.span.clone(), message, help);
        None
    }
}

/// Reads `C=DE, O=Example, CN=name`, or `~` and DER in hexadecimal.
fn distinguished_name(text: &str) -> Result<DistinguishedName, (String, &'static str)> {
    const HELP: &str = "write it as \"C=DE, O=Example, CN=name\"";
    if let Some(digits) = text.strip_prefix('~') {
        let pairs = digits.as_bytes().chunks(2).map(|pair| {
            let text = str::from_utf8(pair).ok().filter(|text| text.len() == 2 && !text.starts_with('+'))?;
            u8::from_str_radix(text, 16).ok()
        });
        return match pairs.collect::<Option<Vec<u8>>>() {
            Some(der) if !der.is_empty() => Ok(DistinguishedName::Der(der)),
            _ => Err(("after `~`, expected DER in hexadecimal".to_owned(), HELP)),
        };
    }
    if text.starts_with('/') {
        return Err(("a distinguished name is not written with slashes here".to_owned(), HELP));
    }
    let mut attributes = Vec::new();
    for part in split_at_commas(text) {
        let Some((name, value)) = part.split_once('=') else {
            return Err((format!("`{}` is no `attribute=value`", part.trim()), HELP));
        };
        let (name, value) = (name.trim(), value.trim());
        let is_oid = name.contains('.') && name.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
        if !is_oid && !ATTRIBUTES.contains(&name) {
            return Err((format!("`{name}` is no attribute of a distinguished name"), HELP));
        }
        if value.is_empty() {
            return Err((format!("`{name}` has no value"), HELP));
        }
        attributes.push((name.to_owned(), value.to_owned()));
    }
    Ok(DistinguishedName::Text(attributes))
}

/// Splits at commas; `\,` is a comma in a value.
fn split_at_commas(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek(), parts.last_mut()) {
            ('\\', Some(','), Some(part)) => {
                part.push(',');
                characters.next();
            }
            (',', _, _) => parts.push(String::new()),
            (other, _, Some(part)) => part.push(other),
            (_, _, None) => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Vec<(String, String)> {
        match distinguished_name(text) {
            Ok(DistinguishedName::Text(attributes)) => attributes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_distinguished_name_is_attributes_in_order() {
        let expected =
            [("C", "DE"), ("O", "Example, Inc."), ("CN", "*")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(name(r"C=DE, O = Example\, Inc.,CN=*"), expected);
        assert_eq!(name("2.5.4.3=x").len(), 1);
        assert_eq!(distinguished_name("~3000"), Ok(DistinguishedName::Der(vec![0x30, 0])));
    }

    #[test]
    fn malformed_distinguished_names_are_refused() {
        for text in ["", "/C=DE/O=x", "C", "C=", "XX=y", "C=DE,", "~", "~3", "~zz", "~+1", "C=DE,,O=x", "~é0"]
        {
            assert!(distinguished_name(text).is_err(), "{text}");
        }
    }
}

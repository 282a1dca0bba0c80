//! Distinguished names: compared as RFC 5280 §7.1 says as far as letters of one case and blanks go, and shown.

use core::fmt::{self, Write};
use core::str::FromStr;

use der::asn1::{ObjectIdentifier, SetOfVec};
use der::{Decode, Encode, Tag, Tagged};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};

/// Characters of a name that are shown.
const SHOWN: usize = 256;
/// Octets of the longest name that is read.
const MAX: usize = 4096;

/// A distinguished name. Equality is that of RFC 5280 §7.1: the kind of string, the case of letters and the number of blanks
/// do not count; letters outside ASCII are compared as Unicode's lower case, without further preparation.
#[derive(Clone)]
pub struct DistinguishedName {
    der: Vec<u8>,
    parts: Vec<Vec<Part>>,
    shown: String,
}

/// One attribute of a relative distinguished name, ready to be compared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    attribute: ObjectIdentifier,
    value: Value,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(String),
    /// Anything but a string: tag and contents.
    Other(Vec<u8>),
}

/// Why something is not a distinguished name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// Not DER, or too long.
    Der,
    /// A component of the text, counted from 1, is not `ATTRIBUTE=VALUE`.
    Component(usize),
}

impl DistinguishedName {
    /// Reads a Name in DER, as ID_DER_ASN1_DN and certificates have it.
    ///
    /// # Errors
    /// It is malformed or longer than 4,096 octets.
    pub fn from_der(der: &[u8]) -> Result<Self, NameError> {
        if der.len() > MAX {
            return Err(NameError::Der);
        }
        Self::new(&RdnSequence::from_der(der).map_err(|_| NameError::Der)?)
    }

    /// Reads `C=DE, O=Example, CN=host`: the components in the order of the certificate, a comma inside a value as `\,`.
    ///
    /// # Errors
    /// A component is not an attribute (by name or number), `=` and a value.
    pub fn from_text(text: &str) -> Result<Self, NameError> {
        let mut names = RdnSequence::default();
        for (at, component) in components(text).iter().enumerate() {
            let bad = || NameError::Component(at + 1);
            let (attribute, value) = component.split_once('=').ok_or_else(bad)?;
            let attribute = match attribute.trim() {
                email if email.eq_ignore_ascii_case("E") || email.eq_ignore_ascii_case("emailAddress") => {
                    "1.2.840.113549.1.9.1".to_owned()
                }
                other if other.contains('.') => other.to_owned(),
                other => other.to_ascii_uppercase(),
            };
            let value = value.trim();
            let parsed = if attribute.contains('.') {
                let oid = ObjectIdentifier::new(&attribute).map_err(|_| bad())?;
                let value = der::asn1::Any::new(Tag::Utf8String, value.as_bytes()).map_err(|_| bad())?;
                AttributeTypeAndValue { oid, value }
            } else {
                AttributeTypeAndValue::from_str(&format!("{attribute}={value}")).map_err(|_| bad())?
            };
            let set = SetOfVec::try_from(vec![parsed]).map_err(|_| bad())?;
            names.push(RelativeDistinguishedName::from(set));
        }
        Self::new(&names)
    }

    fn new(names: &RdnSequence) -> Result<Self, NameError> {
        let der = names.to_der().map_err(|_| NameError::Der)?;
        let mut parts: Vec<Vec<Part>> = names.iter().map(|set| set.iter().map(Part::new).collect()).collect();
        for set in &mut parts {
            set.sort();
        }
        let all: Vec<String> = names.iter().map(|set| printable(&set.to_string())).collect();
        let mut shown = all.join(", ");
        if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
            shown.truncate(end);
            shown.push_str("...");
        }
        Ok(Self { der, parts, shown })
    }

    /// The Name in DER: the data of an ID_DER_ASN1_DN payload.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it has no component.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether this name has the components of `pattern`, of which those whose whole value is `*` take any value: racoon's
    /// `peers_identifier asn1dn "C=DE, O=Example, CN=*"`.
    #[must_use]
    pub fn matches(&self, pattern: &Self) -> bool {
        self.parts.len() == pattern.parts.len()
            && self.parts.iter().zip(&pattern.parts).all(|(set, wanted)| {
                set.len() == wanted.len() && set.iter().zip(wanted).all(|(part, wanted)| part.matches(wanted))
            })
    }
}

impl PartialEq for DistinguishedName {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for DistinguishedName {}

impl Part {
    fn new(attribute: &AttributeTypeAndValue) -> Self {
        let octets = attribute.value.value();
        let text = match attribute.value.tag() {
            Tag::PrintableString | Tag::Utf8String | Tag::Ia5String => core::str::from_utf8(octets).ok(),
            _ => None,
        };
        let value = match text {
            Some(text) => Value::Text(folded(text)),
            None => Value::Other(attribute.value.to_der().unwrap_or_else(|_| octets.to_vec())),
        };
        Self { attribute: attribute.oid, value }
    }

    fn matches(&self, wanted: &Self) -> bool {
        let any = matches!(&wanted.value, Value::Text(text) if text == "*");
        self.attribute == wanted.attribute && (any || self.value == wanted.value)
    }
}

/// Lower case, blanks at the ends gone and one blank for several (RFC 4518 §2.6.1).
fn folded(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

/// `text` without characters that act on a terminal.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            let _ = write!(shown, "{}", letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// The parts of `text` between commas that no backslash stands before.
fn components(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                part.push('\\');
                part.extend(letters.next());
            }
            ',' => parts.push(core::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    if !part.trim().is_empty() || !parts.is_empty() {
        parts.push(part);
    }
    parts
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "(no name)" } else { &self.shown })
    }
}

impl fmt::Debug for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Der => f.write_str("not a distinguished name in DER"),
            Self::Component(number) => {
                write!(f, "component {number} of the distinguished name is not ATTRIBUTE=VALUE")
            }
        }
    }
}

impl core::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    fn name(text: &str) -> DistinguishedName {
        DistinguishedName::from_text(text).unwrap()
    }

    #[test]
    fn case_blanks_and_kinds_of_strings_do_not_count() {
        let printable =
            DistinguishedName::from_der(&hex("300f 310d 300b 0603 550403 1304 486f7374")).unwrap();
        let utf8 = DistinguishedName::from_der(&hex("300f 310d 300b 0603 550403 0c04 686f5354")).unwrap();
        assert_eq!(printable, utf8);
        assert_eq!(name("C=DE, O=Example  Ltd,CN=Host"), name("c=de,O= example ltd ,cn=host"));
        assert_ne!(name("CN=host"), name("CN=host2"));
        assert_ne!(name("O=host"), name("CN=host"));
    }

    #[test]
    fn order_and_number_of_components_count() {
        assert_ne!(name("C=DE, CN=host"), name("CN=host, C=DE"));
        assert_ne!(name("C=DE, CN=host"), name("C=DE"));
    }

    #[test]
    fn a_star_takes_any_value_of_its_attribute_and_nothing_else() {
        let pattern = name("C=DE, O=Example, CN=*");
        assert!(name("C=DE, O=example, CN=anything").matches(&pattern));
        assert!(!name("C=DE, O=other, CN=anything").matches(&pattern));
        assert!(!name("C=DE, O=Example, OU=anything").matches(&pattern));
        assert!(!name("C=DE, O=Example").matches(&pattern));
        assert!(!name("C=DE, O=Example, CN=a, CN=b").matches(&pattern));
        assert!(!pattern.matches(&name("C=DE, O=Example, CN=anything")), "the star of a peer is a letter");
    }

    #[test]
    fn text_is_read_with_escapes_and_numbers() {
        assert_eq!(name(r"O=Example\, Inc, CN=x").parts.len(), 2);
        assert_eq!(name("E=a@example.org"), name("1.2.840.113549.1.9.1=a@example.org"));
        for (text, at) in [("C=DE, nonsense", 2), ("XYZ=1", 1), ("C=DE,,CN=x", 2)] {
            assert_eq!(DistinguishedName::from_text(text).unwrap_err(), NameError::Component(at), "{text}");
        }
    }

    #[test]
    fn hostile_names_are_bounded_and_escaped() {
        let text = [b"\x1b[2J\n".as_slice(), &[b'a'; 900]].concat();
        let value = [&[0x0c, 0x82, 0x03, 0x89][..], &text].concat();
        let attribute = [&[0x30, 0x82, 0x03, 0x92, 0x06, 0x03, 0x55, 0x04, 0x03][..], &value].concat();
        let set = [&[0x31, 0x82, 0x03, 0x96][..], &attribute].concat();
        let der = [&[0x30, 0x82, 0x03, 0x9a][..], &set].concat();
        let shown = DistinguishedName::from_der(&der).unwrap().to_string();
        assert!(!shown.contains(char::is_control) && shown.len() < 300, "{shown}");
        assert!(DistinguishedName::from_der(&vec![0x30; MAX + 1]).is_err());
        assert!(DistinguishedName::from_der(&[]).is_err());
        assert!(DistinguishedName::from_der(&[0x30, 0]).unwrap().is_empty());
    }
}

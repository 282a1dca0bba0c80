//! Distinguished names as configuration files write them, and their DER (X.501, RFC 4514 §4 for the names of attributes).

use core::fmt;

const HELP: &str = "write it as \"C=DE, O=Example, CN=name\"";

/// Attribute types by OpenSSL's short and long names, as racoon took them, with their object identifiers.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("C", "2.5.4.6"),
    ("countryName", "2.5.4.6"),
    ("ST", "2.5.4.8"),
    ("S", "2.5.4.8"),
    ("stateOrProvinceName", "2.5.4.8"),
    ("L", "2.5.4.7"),
    ("localityName", "2.5.4.7"),
    ("O", "2.5.4.10"),
    ("organizationName", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("organizationalUnitName", "2.5.4.11"),
    ("CN", "2.5.4.3"),
    ("commonName", "2.5.4.3"),
    ("emailAddress", EMAIL),
    ("Email", EMAIL),
    ("E", EMAIL),
    ("DC", DOMAIN_COMPONENT),
    ("domainComponent", DOMAIN_COMPONENT),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("userId", "0.9.2342.19200300.100.1.1"),
    ("SN", "2.5.4.4"),
    ("surname", "2.5.4.4"),
    ("GN", "2.5.4.42"),
    ("givenName", "2.5.4.42"),
    ("serialNumber", "2.5.4.5"),
    ("title", "2.5.4.12"),
    ("street", "2.5.4.9"),
    ("streetAddress", "2.5.4.9"),
    ("postalCode", "2.5.4.17"),
    ("name", "2.5.4.41"),
    ("initials", "2.5.4.43"),
    ("dnQualifier", "2.5.4.46"),
    ("description", "2.5.4.13"),
];
const EMAIL: &str = "1.2.840.113549.1.9.1";
const DOMAIN_COMPONENT: &str = "0.9.2342.19200300.100.1.25";

/// The attribute `C` in DER.
const COUNTRY: [u8; 5] = [OBJECT_IDENTIFIER, 3, 0x55, 4, 6];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

/// A distinguished name as configured, checked and encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinguishedName {
    components: Vec<(String, String)>,
    der: Vec<u8>,
}

/// Why something is no distinguished name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAName {
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to write instead.
    pub help: &'static str,
}

impl fmt::Display for NotAName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for NotAName {}

impl DistinguishedName {
    /// Reads `C=DE, O=Example, CN=name` (components in the order of the certificate; `\,` is a comma in a value, `\2C` too), or
    /// `~` and DER in hexadecimal.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, NotAName> {
        match text.strip_prefix('~') {
            Some(digits) => Self::from_hex(digits),
            None => Self::from_text(text),
        }
    }

    /// Attribute and value of each component in written order; empty for one that was written as DER.
    #[must_use]
    pub fn components(&self) -> &[(String, String)] {
        &self.components
    }

    /// The Name in DER: the data of an ID_DER_ASN1_DN payload. Wildcards stand in it as the text `*`.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether a component's whole value is `*`: in `peers_identifier`, any value of that attribute.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.components.iter().any(|(_, value)| value == "*")
    }

    fn from_hex(digits: &str) -> Result<Self, NotAName> {
        let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
            [high, low] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
            _ => None,
        });
        let der = pairs.collect::<Option<Vec<u8>>>().filter(|der| is_whole_sequence(der));
        der.map(|der| Self { components: Vec::new(), der })
            .ok_or_else(|| refusal("after `~`, expected the DER of a name in hexadecimal"))
    }

    fn from_text(text: &str) -> Result<Self, NotAName> {
        if text.starts_with('/') {
            return Err(refusal("a distinguished name is not written with slashes here"));
        }
        let (mut components, mut der) = (Vec::new(), Vec::new());
        for part in split(text) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(refusal(format!("`{}` is no `attribute=value`", part.trim())));
            };
            let name = name.trim();
            let Some(oid) = object_identifier(name) else {
                return Err(refusal(format!("`{name}` is no attribute of a distinguished name")));
            };
            let Some(value) = unescape(value.trim()) else {
                let help = "`\\` stands before one of `\\,=+<>#;` or two hexadecimal digits";
                return Err(NotAName { message: format!("the value of `{name}` has a stray `\\`"), help });
            };
            let value = value.as_str();
            if value.is_empty() {
                return Err(refusal(format!("`{name}` has no value")));
            }
            if oid == COUNTRY && value != "*" && value.chars().count() != 2 {
                return Err(refusal(format!("`{name}` is a country's code of two letters")));
            }
            let pair = [oid.as_slice(), &string(name, value)].concat();
            der.extend(element(SET, &element(SEQUENCE, &pair)));
            components.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self { components, der: element(SEQUENCE, &der) })
    }
}

/// `C=DE, O=Example, CN=name`, or `~` and hexadecimal digits.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.components.is_empty() {
            f.write_str("~")?;
            return self.der.iter().try_for_each(|octet| write!(f, "{octet:02x}"));
        }
        for (number, (name, value)) in self.components.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{name}={}", escape(value))?;
        }
        Ok(())
    }
}

fn refusal(message: impl Into<String>) -> NotAName {
    NotAName { message: message.into(), help: HELP }
}

/// Splits at commas, and at slashes before an attribute; what is escaped splits nothing and stays as it is.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        let (before, rest) = text.split_at(at);
        let ends = match character {
            _ if escaped => false,
            ',' => true,
            '/' => is_attribute(rest.get(1..).unwrap_or_default()),
            _ => false,
        };
        if ends {
            parts.push(before.get(start..).unwrap_or_default());
            start = at + 1;
        }
        escaped = character == '\\' && !escaped;
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// Whether `O=` and the like stands at the beginning.
fn is_attribute(text: &str) -> bool {
    let name = text.split_once('=').map(|(name, _)| name.trim());
    ATTRIBUTES.iter().any(|(known, _)| Some(*known) == name)
}

/// What may be escaped by `\` alone, as racoon took it.
const SPECIAL: &[u8] = b"\\,=+<>#;";

/// A value without its escapes (RFC 4514 §2.4); nothing if one is none, or the octets are no UTF-8.
fn unescape(value: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'\\' => match rest.next()? {
                special if SPECIAL.contains(&special) => special,
                high => hex_digit(high)? << 4 | hex_digit(rest.next()?)?,
            },
            other => other,
        });
    }
    String::from_utf8(octets).ok().filter(|value| !value.contains('\0'))
}

/// The other way.
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        match character {
            '\\' | ',' => text.extend(['\\', character]),
            '/' if is_attribute(value.get(at + 1..).unwrap_or_default()) => text.push_str("\\2F"),
            ' ' if at == 0 || at + 1 == value.len() => text.push_str("\\20"),
            other => text.push(other),
        }
    }
    text
}

/// The object identifier of an attribute, by its name or its number, in DER.
fn object_identifier(name: &str) -> Option<Vec<u8>> {
    let known = ATTRIBUTES.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid);
    let mut arcs = known.unwrap_or(name).split('.').map(|arc| {
        let is_number = !arc.is_empty() && arc.bytes().all(|octet| octet.is_ascii_digit());
        arc.parse::<u64>().ok().filter(|_| is_number)
    });
    let (first, second) = (arcs.next()??, arcs.next()??);
    if first > 2 || (first < 2 && second > 39) {
        return None;
    }
    let mut contents = Vec::new();
    push_arc(&mut contents, second.checked_add(first * 40)?);
    for arc in arcs {
        push_arc(&mut contents, arc?);
    }
    Some(element(OBJECT_IDENTIFIER, &contents))
}

/// Base 128, the highest bit set in all octets but the last (X.690 §8.19.2).
fn push_arc(contents: &mut Vec<u8>, arc: u64) {
    let groups = (1..10).filter(|group| arc >> (7 * group) > 0).count();
    for group in (0..=groups).rev() {
        let seven = u8::try_from(arc >> (7 * group) & 0x7f).unwrap_or(0);
        contents.push(if group > 0 { seven | 0x80 } else { seven });
    }
}

/// A value as the kind of string that OpenSSL gives this attribute.
fn string(name: &str, value: &str) -> Vec<u8> {
    let is_printable = |octet: u8| {
        octet.is_ascii_alphanumeric()
            || matches!(octet, b' ' | b'\'' | b'('..=b')' | b'+'..=b'/' | b':' | b'=' | b'?')
    };
    let tag = match ATTRIBUTES.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid) {
        Some("2.5.4.6" | "2.5.4.5" | "2.5.4.46") if value.bytes().all(is_printable) => PRINTABLE_STRING,
        Some(EMAIL | DOMAIN_COMPONENT) if value.is_ascii() => IA5_STRING,
        _ => UTF8_STRING,
    };
    element(tag, value.as_bytes())
}

/// Tag, length, contents (X.690 §8.1).
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut all = vec![tag];
    match u8::try_from(contents.len()) {
        Ok(short @ 0..=0x7f) => all.push(short),
        _ => {
            let octets = contents.len().to_be_bytes();
            let significant = octets.iter().skip_while(|octet| **octet == 0).count();
            all.push(0x80 | u8::try_from(significant).unwrap_or(0));
            all.extend(octets.iter().skip_while(|octet| **octet == 0));
        }
    }
    all.extend(contents);
    all
}

/// Whether the octets are one SEQUENCE and nothing behind it.
fn is_whole_sequence(der: &[u8]) -> bool {
    let Some((SEQUENCE, rest)) = der.split_first().map(|(tag, rest)| (*tag, rest)) else { return false };
    match rest.split_first() {
        Some((short @ 0..=0x7f, contents)) => contents.len() == usize::from(*short),
        Some((long, rest)) => {
            let Some((length, contents)) = rest.split_at_checked(usize::from(long & 0x7f)) else {
                return false;
            };
            length.len() <= 4
                && length.first().is_some_and(|octet| *octet != 0)
                && length.iter().fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet)) == contents.len()
        }
        None => false,
    }
}

fn hex_digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DistinguishedName {
        DistinguishedName::parse(text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"))
    }

    fn hex(der: &[u8]) -> String {
        der.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    #[test]
    fn a_distinguished_name_is_attributes_in_order() {
        let read = name(r"C=DE, O = Example\, Inc.,CN=*");
        let expected =
            [("C", "DE"), ("O", "Example, Inc."), ("CN", "*")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(read.components(), expected);
        assert!(read.has_wildcard() && !name("CN=a*").has_wildcard());
        assert_eq!(read.to_string(), r"C=DE, O=Example\, Inc., CN=*");
        assert_eq!(DistinguishedName::parse(&read.to_string()), Ok(read));
    }

    #[test]
    fn slashes_separate_where_an_attribute_follows_and_escapes_are_taken_away() {
        assert_eq!(name("C=DE/O=x/CN=host/a").der(), name("C=DE, O=x, CN=host/a").der());
        let escaped = name(r"O=a\+b\;\\\2Fc\=d, CN=x\2FO=y, OU=\c3\a9\20");
        let values: Vec<&str> = escaped.components().iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, [r"a+b;\/c=d", "x/O=y", "é "]);
        assert_eq!(escaped.to_string(), r"O=a+b;\\/c=d, CN=x\2FO=y, OU=é\20");
        assert_eq!(DistinguishedName::parse(&escaped.to_string()), Ok(escaped));
    }

    /// Made with `openssl req -x509 -subj "/C=DE/O=Example/emailAddress=a@b/DC=x/CN=host" -utf8`.
    #[test]
    fn the_der_is_what_openssl_makes_of_the_same_name() {
        let expected = "3055310b30090603550406130244453110300e060355040a0c074578616d706c653112301006092a864886f70d\
            01090116036140623111300f060a0992268993f22c640119160178310d300b06035504030c04686f7374";
        assert_eq!(hex(name("C=DE, O=Example, emailAddress=a@b, DC=x, CN=host").der()), expected);
        let number = name("2.5.4.10=Example, 1.2.840.113549.1.9.1=a");
        assert_eq!(
            hex(number.der()),
            "30243110300e060355040a0c074578616d706c653110300e06092a864886f70d0109010c0161"
        );
    }

    #[test]
    fn long_values_have_long_lengths() {
        let der = name(&format!("CN={}", "x".repeat(300))).der().to_vec();
        assert_eq!(hex(&der[..16]), "3082013d318201393082013506035504");
        assert!(is_whole_sequence(&der));
        assert_eq!(name(&format!("~{}", hex(&der))).der(), der);
    }

    #[test]
    fn a_name_in_hexadecimal_is_taken_as_it_is() {
        let read = name("~300d310b3009060355040613024445");
        assert_eq!((read.der(), read.components()), (name("C=DE").der(), &[][..]));
        assert_eq!(read.to_string(), "~300d310b3009060355040613024445");
        assert_eq!(name("~3000").der(), [0x30, 0]);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "/C=DE/O=x",
            "C",
            "C=",
            "XX=y",
            "C=DE,",
            "~",
            "~3",
            "~zz",
            "~+1",
            "C=DE,,O=x",
            "~é0",
            "~3001",
            "~300000",
            "~3180",
            "~30800000",
            "C=DE/O",
            "C=Germany",
            "C=DE, O=x/CN=",
            r"CN=a\",
            r"CN=a\/b",
            r"CN=a\2",
            r"CN=\c3",
            r"CN=a\00",
            "3.1=x",
            "1.40=x",
            "1=x",
            "1..2=x",
            "2.5.4.+3=x",
            "2.99999999999999999999=x",
            "2.18446744073709551615=x",
        ] {
            assert!(DistinguishedName::parse(text).is_err(), "{text}");
        }
        assert!(DistinguishedName::parse("CN=host/a.example.org").is_ok());
    }
}

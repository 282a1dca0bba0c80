//! Distinguished names (X.501, in DER) as text for people: what an ID_DER_ASN1_DN holds, as RFC 4514 writes its parts.
//!
//! This is for logs and status alone. Nothing is decided by it: names are compared where certificates are verified.

use core::fmt::{self, Write};

use super::pretty::Hex;
use super::registry::IdType;

/// Characters of a name that are shown.
const SHOWN: usize = 256;

/// Tags of DER (X.690 §8).
const OID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const NUMERIC: u8 = 0x12;
const PRINTABLE: u8 = 0x13;
const LATIN1: u8 = 0x14;
const IA5: u8 = 0x16;
const BMP: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// Attributes by the contents of their object identifiers (RFC 4514 §3, RFC 4519; the mail address as OpenSSL has it).
const ATTRIBUTES: [(&[u8], &str); 16] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "givenName"),
    (&[0x55, 4, 46], "dnQualifier"),
    (&[0x55, 4, 65], "pseudonym"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// The text of a Name in DER, its components in the order of the octets: `C=DE, O=Example, CN=host`; `None` if it is no name.
///
/// A name has at most 256 characters here, and nothing in it ends a line, moves a cursor or turns the direction of writing:
/// what is neither a letter, a digit nor printable ASCII is written as `\XX`, an octet of UTF-8 each.
#[must_use]
pub fn text(der: &[u8]) -> Option<String> {
    let (SEQUENCE, mut sets, []) = element(der)? else { return None };
    let mut text = String::new();
    while !sets.is_empty() {
        let (SET, mut attributes, rest) = element(sets)? else { return None };
        sets = rest;
        let mut joint = if text.is_empty() { "" } else { ", " };
        loop {
            let (SEQUENCE, attribute, rest) = element(attributes)? else { return None };
            let (OID, kind, value) = element(attribute)? else { return None };
            text.push_str(joint);
            joint = "+";
            push_kind(&mut text, kind)?;
            text.push('=');
            push_value(&mut text, value)?;
            attributes = rest;
            if attributes.is_empty() {
                break;
            }
        }
    }
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push_str("...");
    }
    Some(if text.is_empty() { "(no name)".to_owned() } else { text })
}

/// Tag and contents of the first element of `octets`, and what follows it.
fn element(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (len, rest) = match *octets.get(1..)? {
        [len @ 0..=0x7f, ref rest @ ..] => (usize::from(len), rest),
        [0x81, len, ref rest @ ..] => (usize::from(len), rest),
        [0x82, high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
        _ => return None,
    };
    let (contents, behind) = rest.split_at_checked(len)?;
    Some((*octets.first()?, contents, behind))
}

/// An attribute's name, or its numbers with dots between.
fn push_kind(text: &mut String, kind: &[u8]) -> Option<()> {
    if let Some((_, name)) = ATTRIBUTES.iter().find(|(oid, _)| *oid == kind) {
        text.push_str(name);
        return Some(());
    }
    let mut number: u64 = 0;
    let mut is_first = true;
    for octet in kind {
        number = number.checked_mul(128)?.checked_add(u64::from(octet & 0x7f))?;
        if octet & 0x80 != 0 {
            continue;
        }
        // The first one holds two (X.690 §8.19.4).
        if is_first {
            let first = (number / 40).min(2);
            let _ = write!(text, "{first}.{}", number - 40 * first);
        } else {
            let _ = write!(text, ".{number}");
        }
        (number, is_first) = (0, false);
    }
    // Not empty, and its last number whole.
    kind.last().filter(|last| **last & 0x80 == 0).map(|_| ())
}

/// A value: strings as text, anything else as `#` and its DER in hexadecimal (RFC 4514 §2.4).
fn push_value(text: &mut String, value: &[u8]) -> Option<()> {
    let (tag, contents, []) = element(value)? else { return None };
    let read = match tag {
        UTF8 | PRINTABLE | IA5 | NUMERIC => str::from_utf8(contents).ok().map(str::to_owned),
        LATIN1 => Some(contents.iter().copied().map(char::from).collect()),
        BMP if contents.len().is_multiple_of(2) => {
            let units = contents.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok());
            char::decode_utf16(units.map(u16::from_be_bytes)).collect::<Result<String, _>>().ok()
        }
        _ => None,
    };
    match read {
        Some(read) => push_escaped(text, &read),
        None => {
            text.push('#');
            value.iter().try_for_each(|octet| write!(text, "{octet:02x}")).ok()?;
        }
    }
    Some(())
}

fn push_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (at, letter) in value.chars().enumerate() {
        let at_the_edge = (letter == ' ' && (at == 0 || at == last)) || (letter == '#' && at == 0);
        match letter {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', letter]),
            _ if at_the_edge => text.extend(['\\', letter]),
            ' '..='~' => text.push(letter),
            _ if letter.is_alphanumeric() => text.push(letter),
            _ => {
                for octet in letter.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(text, "\\{octet:02X}");
                }
            }
        }
    }
}

/// A Name for a message: its text, or its first octets.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match text(self.0) {
            Some(text) => f.write_str(&text),
            None => write!(f, "{}:{}", IdType::DER_ASN1_DN, Hex(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
        let len = u16::try_from(contents.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, len[0], len[1]], contents].concat()
    }

    fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        tlv(SEQUENCE, &[tlv(OID, oid), tlv(tag, value)].concat())
    }

    fn name(sets: &[Vec<u8>]) -> Vec<u8> {
        let sets: Vec<Vec<u8>> = sets.iter().map(|set| tlv(SET, set)).collect();
        tlv(SEQUENCE, &sets.concat())
    }

    fn common(tag: u8, value: &[u8]) -> Option<String> {
        text(&name(&[attribute(&[0x55, 4, 3], tag, value)]))
    }

    #[test]
    fn a_name_is_text_in_the_order_of_its_octets() {
        let both = [attribute(&[0x55, 4, 3], UTF8, b"host"), attribute(&[0x55, 4, 5], PRINTABLE, b"7")];
        let sets = [
            attribute(&[0x55, 4, 6], PRINTABLE, b"DE"),
            attribute(&[0x55, 4, 10], UTF8, "Zähler & Söhne, GmbH".as_bytes()),
            both.concat(),
            attribute(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], IA5, b"a@example.org"),
            attribute(&[0x2b, 6, 1, 4, 1, 0x82, 0x37], UTF8, b"x"),
        ];
        let shown = "C=DE, O=Zähler & Söhne\\, GmbH, CN=host+serialNumber=7, emailAddress=a@example.org, \
                     1.3.6.1.4.1.311=x";
        assert_eq!(text(&name(&sets)).unwrap(), shown);
        assert_eq!(text(&[0x30, 0]).unwrap(), "(no name)");
    }

    #[test]
    fn each_kind_of_string_is_read_and_what_is_none_is_hexadecimal() {
        assert_eq!(common(LATIN1, b"\xe4").unwrap(), "CN=ä");
        assert_eq!(common(BMP, &[0, b'a', 0x26, 0x3a]).unwrap(), "CN=a\\E2\\98\\BA");
        assert_eq!(common(0x02, &[5]).unwrap(), "CN=#0282000105");
        assert_eq!(common(UTF8, &[0xff]).unwrap(), "CN=#0c820001ff");
    }

    #[test]
    fn nothing_in_a_name_acts_on_what_shows_it() {
        assert_eq!(
            common(UTF8, "#\x1b[2J\n\u{202e}\"evil".as_bytes()).unwrap(),
            "CN=\\#\\1B[2J\\0A\\E2\\80\\AE\\\"evil"
        );
        assert_eq!(common(UTF8, b" a ").unwrap(), "CN=\\ a\\ ");
        let long = common(UTF8, &[b'a'; 3000]).unwrap();
        assert!(long.len() == SHOWN + 3 && long.ends_with("..."), "{long}");
        assert_eq!(Shown(&[0x30, 1]).to_string(), "ID_DER_ASN1_DN:3001");
    }

    proptest! {
        #[test]
        fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let shown = Shown(&octets).to_string();
            prop_assert!(!shown.contains(char::is_control) && shown.chars().count() < 300);
        }

        #[test]
        fn any_value_is_survived(tag in any::<u8>(), oid: Vec<u8>, value: String) {
            let der = name(&[attribute(&oid, tag, value.as_bytes())]);
            let shown = Shown(&der).to_string();
            prop_assert!(!shown.contains(char::is_control) && shown.chars().count() < 300);
        }
    }
}

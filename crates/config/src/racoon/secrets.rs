//! Where a racoon.conf holds secrets: passwords of road-warrior servers, and long hexadecimal numbers, which belong to
//! another file but may have ended up here.

use core::ops::Range;

/// Hexadecimal digits from which on a number is taken for a key.
const KEY_DIGITS: usize = 16;

/// The ranges to mask.
pub(super) fn find(octets: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut in_secret = false;
    let mut at = 0;
    while let Some(octet) = octets.get(at) {
        let rest = octets.get(at..).unwrap_or_default();
        let length = match octet {
            b'#' => rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len()),
            b'"' => {
                let inside = rest.iter().skip(1).position(|octet| *octet == b'"');
                let length = inside.map_or(rest.len(), |inside| inside + 2);
                if in_secret {
                    found.push(at + 1..at + length);
                }
                length
            }
            b';' | b'}' | b'{' => {
                in_secret = false;
                1
            }
            octet if octet.is_ascii_alphanumeric() || *octet == b'_' => {
                let is_word = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'_';
                let word_length = rest.iter().position(|octet| !is_word(octet)).unwrap_or(rest.len());
                let word = rest.get(..word_length).unwrap_or_default();
                in_secret |= matches!(word, b"bind_pw" | b"auth" | b"acct");
                let digits = word.strip_prefix(b"0x").unwrap_or(word);
                if digits.len() >= KEY_DIGITS && digits.iter().all(u8::is_ascii_hexdigit) {
                    found.push(at..at + word_length);
                }
                word_length
            }
            _ => 1,
        };
        at += length.max(1);
    }
    found
}

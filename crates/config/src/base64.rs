//! Base64 of keys (RFC 4648 §4), into memory that is wiped.

use ike_proto::secret::Secret;
use zeroize::Zeroizing;

/// Decodes the whole text; padding may be left out. Nothing if it is no base64.
pub(crate) fn decode(text: &[u8]) -> Option<Secret> {
    let body = text.iter().rev().skip_while(|octet| **octet == b'=').count();
    let padding = text.len() - body;
    let (body, left) = (text.get(..body)?, body % 4);
    if left == 1 || padding > 2 || (padding > 0 && !(body.len() + padding).is_multiple_of(4)) {
        return None;
    }
    let mut octets = Zeroizing::new(Vec::with_capacity(body.len() / 4 * 3 + 3));
    for group in body.chunks(4) {
        let mut bits = 0_u32;
        for octet in group {
            bits = bits << 6 | u32::from(value(*octet)?);
        }
        bits <<= 6 * (4 - u32::try_from(group.len()).ok()?);
        let [_, a, b, c] = bits.to_be_bytes();
        let whole = [a, b, c];
        let (said, unsaid) = whole.split_at_checked(group.len() - 1)?;
        // Bits behind the last octet are zero, or something was cut off.
        if unsaid.iter().any(|octet| *octet != 0) {
            return None;
        }
        octets.extend_from_slice(said);
    }
    Some(Secret::from_slice(&octets))
}

const fn value(octet: u8) -> Option<u8> {
    Some(match octet {
        b'A'..=b'Z' => octet - b'A',
        b'a'..=b'z' => octet - b'a' + 26,
        b'0'..=b'9' => octet - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Option<Vec<u8>> {
        decode(text.as_bytes()).map(|secret| secret.expose().to_vec())
    }

    /// RFC 4648 §10.
    #[test]
    fn the_vectors_of_the_rfc_are_read() {
        let vectors = [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ];
        for (text, plain) in vectors {
            assert_eq!(decoded(text).as_deref(), Some(plain.as_bytes()), "{text}");
            assert_eq!(decoded(text.trim_end_matches('=')).as_deref(), Some(plain.as_bytes()), "{text}");
        }
        assert_eq!(decoded("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in
            ["=", "Z", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm9v=", "Z g=", "Zm9v\n", "Zm-_", "Zg==Zg==", "é"]
        {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}

//! Where a setkey file holds keys: quoted strings, long hexadecimal numbers, and whatever follows an algorithm.

use core::ops::Range;

/// An SPI has at most eight hexadecimal digits; what is longer is a key.
const LONGEST_SPI: usize = 2 + 8;

/// The ranges to mask. In comments too: a key commented out is still a key.
pub(super) fn find(octets: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // Words left until the key: two behind `-E` or `-A`, the algorithm's name and the key.
    let mut until_key = 0;
    let mut at = 0;
    while let Some(octet) = octets.get(at) {
        let rest = octets.get(at..).unwrap_or_default();
        let length = match octet {
            b'"' => {
                // A quote that is not closed hides everything behind it.
                let length =
                    rest.iter().skip(1).position(|octet| *octet == b'"').map_or(rest.len(), |n| n + 2);
                found.push(at..at + length);
                until_key = 0;
                length
            }
            b';' => {
                until_key = 0;
                1
            }
            octet if octet.is_ascii_whitespace() || *octet == b'#' => 1,
            _ => {
                let ends = |octet: &u8| octet.is_ascii_whitespace() || matches!(octet, b';' | b'"');
                let length = rest.iter().position(ends).unwrap_or(rest.len());
                let word = rest.get(..length).unwrap_or_default();
                until_key = match (word, until_key) {
                    ([.., b'-', b'E' | b'A'], _) => 2,
                    ([b'-', b'E' | b'A', ..], _) => 1,
                    (_, 1) if !word.starts_with(b"-") => {
                        found.push(at..at + length);
                        0
                    }
                    (_, 2) => 1,
                    _ => 0,
                };
                if matches!(word, [b'0', b'x' | b'X', ..]) && length > LONGEST_SPI {
                    found.push(at..at + length);
                }
                length
            }
        };
        at += length.max(1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_spis_are_not() {
        let text = "add -E null; visible -A x; add a b esp 0x12345678 -E aes-cbc 0xabcdef -A hmac-md5 plain; # add -A x \"old\"\n0x123456789ab \"open\nend";
        let found: Vec<&str> = find(text.as_bytes()).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, ["0xabcdef", "plain", "\"old\"", "0x123456789ab", "\"open\nend"]);
        for glued in ["-Eaes-cbc sesame;", "-r4-E null sesame;", "-Anull sesame"] {
            let found = find(glued.as_bytes());
            assert!(
                matches!(found.as_slice(), [one] if &glued[one.clone()] == "sesame"),
                "{glued}: {found:?}"
            );
        }
        let capital = "0X12345678 0X123456789AB";
        assert_eq!(find(capital.as_bytes()).first(), Some(&(11..24)));
    }
}

//! How good a key can be at best. (A key about which nothing is said may still be weak.)

use std::net::IpAddr;

use crate::base64;

/// Bits a key must have for nothing to be said about it.
const ENOUGH_BITS: f64 = 128.0;
/// Fewest different octets of a key that looks random.
const FEWEST_KINDS: usize = 8;
/// Bits of a letter in a word, and of what stands between words.
const BITS_OF_A_LETTER: f64 = 2.2;
const BITS_BETWEEN_WORDS: f64 = 3.3;
/// Pairs of letters from which on it can be told whether they are words, and the share of usual ones that says so.
const FEWEST_PAIRS: usize = 7;
const SHARE_OF_USUAL_PAIRS: f64 = 0.45;

/// Two letters that stand together most often in English words.
const USUAL_PAIRS: &[&[u8; 2]] = &[
    b"th", b"he", b"in", b"er", b"an", b"re", b"on", b"at", b"en", b"nd", b"ti", b"es", b"or", b"te", b"of",
    b"ed", b"is", b"it", b"al", b"ar", b"st", b"to", b"nt", b"ng", b"se", b"ha", b"as", b"ou", b"io", b"le",
    b"ve", b"co", b"me", b"de", b"hi", b"ri", b"ro", b"ic", b"ne", b"ea", b"ra", b"ce", b"li", b"ch", b"ll",
    b"be", b"ma", b"si", b"om", b"ur", b"ca", b"el", b"ta", b"la", b"ns", b"di", b"fo", b"ho", b"pe", b"ec",
    b"pr", b"no", b"ct", b"us", b"ac", b"ot", b"il", b"tr", b"ly", b"nc", b"et", b"ut", b"ss", b"so", b"rs",
    b"un", b"lo", b"wa", b"ge", b"ie", b"wh", b"ee", b"wi", b"em", b"ad", b"ol", b"rt", b"po", b"we", b"na",
    b"sw", b"pa", b"wo", b"rd", b"ke", b"ey", b"cr",
];

/// Why a key is certainly weak, if it is.
pub(super) fn weakness(key: &[u8]) -> Option<&'static str> {
    let length = u16::try_from(key.len()).map_or(f64::INFINITY, f64::from);
    if length * alphabet(key).log2() < ENOUGH_BITS {
        return Some("it has less than 128 bits");
    }
    let steps = key.windows(2).filter(|pair| matches!(pair, [a, b] if a.abs_diff(*b) <= 1)).count();
    let kinds = (0..=u8::MAX).filter(|octet| key.contains(octet)).count();
    if steps * 2 > key.len() || kinds < FEWEST_KINDS {
        return Some("it repeats or counts");
    }
    bits_of_words(key).filter(|bits| *bits < ENOUGH_BITS).map(|_| "it is made of words")
}

/// Whether a key is `0s` and base64 of a key's length: what other daemons decode.
pub(super) fn looks_like_base64(key: &[u8]) -> bool {
    let encoded = key.strip_prefix(b"0s").filter(|encoded| encoded.len() >= 20);
    encoded.is_some_and(|encoded| base64::decode(encoded.trim_ascii_end()).is_some())
}

/// The address that an identity was certainly meant to be, where it is not written as a peer's address is and so meets none.
pub(super) fn meant_address(id: &[u8]) -> Option<String> {
    let text = str::from_utf8(id).ok()?;
    let bare = text.split_once('[').map_or(text, |(address, _)| address);
    let bare = bare.trim_end_matches([':', '=', ',', ';']);
    let address: IpAddr =
        bare.parse().or_else(|_| text.parse()).or_else(|_| without_zeros(bare).parse()).ok()?;
    let right = address.to_string();
    (right != text).then_some(right)
}

/// An IPv4 address without the zeros that its numbers begin with: racoon's text for a peer had none.
fn without_zeros(text: &str) -> String {
    let numbers = text.split('.').map(|number| match number.trim_start_matches('0') {
        "" if !number.is_empty() => "0",
        rest => rest,
    });
    numbers.collect::<Vec<_>>().join(".")
}

/// What about a key as it is written looks as if it were meant not to be part of it.
pub(super) fn stray_part(written: &[u8]) -> Option<&'static str> {
    match written {
        [b'"', inside @ .., b'"'] | [b'\'', inside @ .., b'\''] if !inside.is_empty() => Some("the quotes"),
        [b'=' | b':', b' ' | b'\t', ..] => Some("the mark in front"),
        _ if written.windows(2).any(|two| two == b" #") => Some("the `#` and what follows"),
        _ => None,
    }
}

/// How many kinds of octets a key of this kind is chosen from.
fn alphabet(key: &[u8]) -> f64 {
    if !key.iter().all(|octet| matches!(octet, b' '..=b'~')) {
        return 256.0;
    }
    if key.iter().all(u8::is_ascii_hexdigit) {
        return 16.0;
    }
    let has = |class: fn(&u8) -> bool, size: f64| if key.iter().any(class) { size } else { 0.0 };
    has(u8::is_ascii_digit, 10.0)
        + has(u8::is_ascii_lowercase, 26.0)
        + has(u8::is_ascii_uppercase, 26.0)
        + has(|octet| !octet.is_ascii_alphanumeric(), 33.0)
}

/// The bits of a key that looks like words: its neighbouring letters are the usual ones.
fn bits_of_words(key: &[u8]) -> Option<f64> {
    // Words have capitals at their beginnings only.
    let pairs = || {
        key.windows(2).filter_map(|pair| match pair {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_lowercase() => Some([a.to_ascii_lowercase(), *b]),
            _ => None,
        })
    };
    let usual = pairs().filter(|pair| USUAL_PAIRS.contains(&pair)).count();
    let (pairs, letters) = (pairs().count(), key.iter().filter(|octet| octet.is_ascii_alphabetic()).count());
    let number = |n: usize| u16::try_from(n).map_or(f64::INFINITY, f64::from);
    let is_words = pairs >= FEWEST_PAIRS
        && pairs * 2 > key.len()
        && number(usual) > number(pairs) * SHARE_OF_USUAL_PAIRS;
    is_words.then(|| number(letters) * BITS_OF_A_LETTER + number(key.len() - letters) * BITS_BETWEEN_WORDS)
}

#[cfg(test)]
mod tests {
    use ike_proto::rng::{Rng, Seed};

    use super::*;

    #[test]
    fn words_are_told_from_chance() {
        for words in [
            "correct horse battery staple",
            "mypasswordisthebestpasswordever",
            "WhatCertificateReally-2024-Example",
            "Once upon a time in the west there was",
        ] {
            assert_eq!(weakness(words.as_bytes()), Some("it is made of words"), "{words}");
        }
        let sentence =
            "a sentence may be long enough to be a key all the same, if nobody else has ever written it down";
        assert_eq!(weakness(sentence.as_bytes()), None);
    }

    /// Of 20,000 keys of chance at most one in a thousand looks like words, and none in hexadecimal.
    #[test]
    fn keys_of_chance_are_left_in_peace() {
        const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
        const MIXED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const HEX: &[u8] = b"0123456789abcdef";
        for (letters, length, most) in [(LOWER, 30, 20), (MIXED, 24, 20), (HEX, 32, 0)] {
            let mut rng = Rng::new(&Seed::from_u64(7));
            let key = |rng: &mut Rng| -> Vec<u8> {
                rng.octets(length * 2)
                    .iter()
                    .filter_map(|octet| letters.get(usize::from(*octet) % letters.len().next_power_of_two()))
                    .take(length)
                    .copied()
                    .collect()
            };
            let weak = (0..20_000)
                .map(|_| key(&mut rng))
                .filter(|key| key.len() == length && weakness(key).is_some())
                .count();
            assert!(weak <= most, "{weak} of 20000 of {} letters", letters.len());
        }
    }

    #[test]
    fn only_what_others_decode_looks_like_base64() {
        assert!(looks_like_base64(b"0sQUJDREVGR0hJSktMTU5PUFFSU1Q="));
        assert!(!looks_like_base64(b"0sQUJDREVGR0hJSktMTU5PUFFSU1Q=="));
        assert!(!looks_like_base64(b"0short") && !looks_like_base64(b"QUJDREVGR0hJSktMTU5PUFFSU1Q="));
    }
}

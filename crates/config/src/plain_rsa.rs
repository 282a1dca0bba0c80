//! FreeS/WAN's key files, which racoon called plain RSA: `: RSA { ... }` for a private key, `: PUB 0s...` for a public one.
//!
//! A file holds any number of keys, each for the ends that stand before its colon. Weak keys are errors: under 2,048 bits, or
//! with an exponent below 65,537 (FreeS/WAN's own generator took 3).

use core::ops::Range;
use std::sync::Arc;

use ike_proto::secret::Secret;
use zeroize::Zeroizing;

use crate::base64;
use crate::diag::{Diagnostic, Diagnostics, Place, Severity, Source};
use crate::net::{IpNet, parse_net};

/// Bits of the smallest modulus that is used.
const LEAST_BITS: usize = 2048;
/// Bits of the largest modulus that is read.
const MOST_BITS: usize = 16_384;
/// The smallest public exponent that is used.
const LEAST_EXPONENT: u64 = 65_537;
/// The shortest word that is taken for a key and not shown.
const SHORTEST_KEY: usize = 12;

/// For which ends a key is: what stands before its colon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Our end; `None` is any.
    pub local: Option<IpNet>,
    /// The peer's end; `None` is any.
    pub remote: Option<IpNet>,
}

/// `: PUB`: numbers big-endian, without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Where it begins.
    pub place: Place,
    /// For whom.
    pub ends: Ends,
    /// The modulus n.
    pub modulus: Vec<u8>,
    /// The exponent e.
    pub exponent: Vec<u8>,
}

/// `: RSA { ... }`: numbers big-endian under the names of RFC 8017 §3.2.
#[derive(Debug, PartialEq, Eq)]
pub struct PrivateKey {
    /// Where it begins.
    pub place: Place,
    /// For whom.
    pub ends: Ends,
    /// `Modulus`: n.
    pub modulus: Vec<u8>,
    /// `PublicExponent`: e.
    pub public_exponent: Vec<u8>,
    /// `PrivateExponent`: d.
    pub private_exponent: Secret,
    /// `Prime1`: p.
    pub prime1: Secret,
    /// `Prime2`: q.
    pub prime2: Secret,
    /// `Exponent1`: d mod (p - 1).
    pub exponent1: Secret,
    /// `Exponent2`: d mod (q - 1).
    pub exponent2: Secret,
    /// `Coefficient`: the inverse of q mod p.
    pub coefficient: Secret,
}

/// Whether a file of keys is FreeS/WAN's, which is text, and not PEM or DER: those have a header, or octets that no text has.
#[must_use]
pub fn is_plain(octets: &[u8]) -> bool {
    const HEADER: &[u8] = b"-----BEGIN ";
    !octets.windows(HEADER.len()).any(|window| window == HEADER)
        && octets.iter().all(|octet| is_blank(*octet) || !octet.is_ascii_control())
}

/// Parses the text of a file of public keys, what `peers_certfile plain_rsa` names; `name` is for the diagnostics. A private
/// key in it counts by its public half.
#[must_use]
pub fn parse_public(name: &str, octets: &[u8]) -> (Option<Vec<PublicKey>>, Diagnostics) {
    let (entries, mut said) = Parser::read(name, octets);
    let keys: Vec<PublicKey> = entries.into_iter().map(Entry::public).collect();
    if keys.is_empty() && !said.has_errors() {
        let error = Diagnostic::about_file(Severity::Error, name, "there is no key in this file");
        said.push(error.help("a public key is written `: PUB 0s...`"));
    }
    ((!said.has_errors()).then_some(keys), said)
}

/// Parses the text of a file of private keys, what `certificate_type plain_rsa` names; `name` is for the diagnostics. Whether
/// the file is one that nobody else can read is for the caller to see.
#[must_use]
pub fn parse_private(name: &str, octets: &[u8]) -> (Option<Vec<PrivateKey>>, Diagnostics) {
    let (entries, mut said) = Parser::read(name, octets);
    let keys: Vec<PrivateKey> = entries.into_iter().filter_map(Entry::private).collect();
    if keys.is_empty() && !said.has_errors() {
        let error = Diagnostic::about_file(Severity::Error, name, "there is no private key in this file");
        said.push(error.help("a private key is written `: RSA { Modulus: 0x... }`"));
    }
    ((!said.has_errors()).then_some(keys), said)
}

/// The fields of a private key, in the order in which they are kept.
const FIELDS: [&str; 8] = [
    "Modulus",
    "PublicExponent",
    "PrivateExponent",
    "Prime1",
    "Prime2",
    "Exponent1",
    "Exponent2",
    "Coefficient",
];

/// One key as read.
struct Entry {
    place: Place,
    ends: Ends,
    kind: KeyKind,
}

enum KeyKind {
    Public { modulus: Vec<u8>, exponent: Vec<u8> },
    Private([Secret; 8]),
}

impl Entry {
    fn public(self) -> PublicKey {
        let (modulus, exponent) = match self.kind {
            KeyKind::Public { modulus, exponent } => (modulus, exponent),
            KeyKind::Private([n, e, ..]) => (n.expose().to_vec(), e.expose().to_vec()),
        };
        PublicKey { place: self.place, ends: self.ends, modulus, exponent }
    }

    fn private(self) -> Option<PrivateKey> {
        let KeyKind::Private(fields) = self.kind else { return None };
        let [n, e, private_exponent, prime1, prime2, exponent1, exponent2, coefficient] = fields;
        Some(PrivateKey {
            place: self.place,
            ends: self.ends,
            modulus: n.expose().to_vec(),
            public_exponent: e.expose().to_vec(),
            private_exponent,
            prime1,
            prime2,
            exponent1,
            exponent2,
            coefficient,
        })
    }
}

/// An error was reported.
struct Failed;

struct Parser<'a> {
    name: &'a str,
    source: Arc<Source>,
    octets: &'a [u8],
    words: core::iter::Peekable<std::vec::IntoIter<Range<usize>>>,
    said: Diagnostics,
}

impl<'a> Parser<'a> {
    fn read(name: &'a str, octets: &'a [u8]) -> (Vec<Entry>, Diagnostics) {
        let words = words(octets);
        let secrets: Vec<_> = words
            .iter()
            .filter(|word| {
                word.len() >= SHORTEST_KEY && !FIELDS.iter().any(|field| *field == text(octets, word))
            })
            .cloned()
            .chain(comments(octets))
            .collect();
        let source = Source::new(name, octets, &secrets);
        let mut parser =
            Parser { name, source, octets, words: words.into_iter().peekable(), said: Diagnostics::new() };
        let mut entries = Vec::new();
        while parser.words.peek().is_some() {
            match parser.entry() {
                Ok(entry) => entries.push(entry),
                // What follows an error in such a file is noise.
                Err(Failed) => break,
            }
        }
        (entries, parser.said)
    }

    fn fail<T>(&mut self, span: Range<usize>, message: impl Into<String>, help: &str) -> Result<T, Failed> {
        let error = Diagnostic::at(Severity::Error, &self.source, span, message);
        self.said.push(if help.is_empty() { error } else { error.help(help) });
        Err(Failed)
    }

    fn text(&self, word: &Range<usize>) -> &'a str {
        text(self.octets, word)
    }

    fn next(&mut self, expected: &str) -> Result<Range<usize>, Failed> {
        match self.words.next() {
            Some(word) => Ok(word),
            None => {
                let end = self.octets.len();
                self.fail(end..end, format!("expected {expected}, found the end of the file"), "")
            }
        }
    }

    fn mark(&mut self, mark: &str) -> Result<(), Failed> {
        let word = self.next(&format!("`{mark}`"))?;
        if self.text(&word) == mark { Ok(()) } else { self.fail(word, format!("expected `{mark}`"), "") }
    }

    /// `[LOCAL [REMOTE]] : RSA { ... }` or `... : PUB 0s...`.
    fn entry(&mut self) -> Result<Entry, Failed> {
        let mut ends: Vec<Option<IpNet>> = Vec::new();
        let start = self.words.peek().cloned().unwrap_or(0..0);
        loop {
            let word = self.next("`:`")?;
            match self.text(&word) {
                ":" => break,
                "any" | "%any" => ends.push(None),
                other => match parse_net(other) {
                    Some(net) => ends.push(Some(net)),
                    None => return self.fail(word, "expected an address, `any` or `:`", ""),
                },
            }
        }
        let ends = match ends.as_slice() {
            [] => Ends::default(),
            [remote] => Ends { local: None, remote: *remote },
            [local, remote] => Ends { local: *local, remote: *remote },
            _ => return self.fail(start, "at most two ends stand before the `:`", ""),
        };
        let kind = self.next("`RSA` or `PUB`")?;
        let place = self.source.place(start.start);
        let (key, modulus, exponent) = match self.text(&kind) {
            "PUB" => {
                let (modulus, exponent) = self.public()?;
                (KeyKind::Public { modulus: modulus.clone(), exponent: exponent.clone() }, modulus, exponent)
            }
            "RSA" => {
                let fields = self.private(&kind)?;
                let [n, e, ..] = &fields;
                let (n, e) = (n.expose().to_vec(), e.expose().to_vec());
                (KeyKind::Private(fields), n, e)
            }
            _ => return self.fail(kind, "expected `RSA` or `PUB`", ""),
        };
        self.check_strength(kind, &modulus, &exponent)?;
        Ok(Entry { place, ends, kind: key })
    }

    /// An RFC 3110 §2 blob: the length of the exponent in one octet or, behind a zero, in two; exponent; modulus.
    fn public(&mut self) -> Result<(Vec<u8>, Vec<u8>), Failed> {
        let word = self.next("a key, as 0s... or 0x...")?;
        let blob = self.number(&word)?;
        let (length, rest) = match blob.expose() {
            [0, high, low, rest @ ..] => (usize::from(*high) << 8 | usize::from(*low), rest),
            [length, rest @ ..] => (usize::from(*length), rest),
            [] => (0, &[][..]),
        };
        match rest.split_at_checked(length) {
            Some((exponent, modulus)) if !exponent.is_empty() && !modulus.is_empty() => {
                Ok((stripped(modulus).to_vec(), stripped(exponent).to_vec()))
            }
            _ => self.fail(word, "the key is cut short: it is not an exponent and a modulus (RFC 3110)", ""),
        }
    }

    /// `{ Modulus: 0x... ... }`.
    fn private(&mut self, kind: &Range<usize>) -> Result<[Secret; 8], Failed> {
        self.mark("{")?;
        let mut fields: [Option<Secret>; 8] = Default::default();
        loop {
            let word = self.next("a field of the key, or `}`")?;
            if self.text(&word) == "}" {
                break;
            }
            let known = FIELDS.iter().position(|field| *field == self.text(&word));
            let Some(field) = known.and_then(|at| fields.get_mut(at)) else {
                return self.fail(word, format!("expected one of {} or `}}`", FIELDS.join(", ")), "");
            };
            if self.words.peek().is_some_and(|next| text(self.octets, next) == ":") {
                self.words.next();
            }
            let value = self.next("a number, as 0x... or 0s...")?;
            let number = self.number(&value)?;
            if field.replace(Secret::from_slice(stripped(number.expose()))).is_some() {
                return self.fail(word, "this field is there twice", "");
            }
        }
        let missing: Vec<&str> =
            FIELDS.iter().zip(&fields).filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            return self.fail(kind.clone(), format!("the key has no {}", missing.join(", no ")), "");
        }
        Ok(fields.map(Option::unwrap_or_default))
    }

    /// `0x` and hexadecimal digits, or `0s` and base64.
    fn number(&mut self, word: &Range<usize>) -> Result<Secret, Failed> {
        let text = self.text(word);
        let octets = match (text.strip_prefix("0x"), text.strip_prefix("0s")) {
            (Some(digits), _) => hex(digits),
            (_, Some(digits)) => base64::decode(digits.as_bytes()),
            _ => None,
        };
        match octets.filter(|octets| !octets.is_empty()) {
            Some(octets) => Ok(octets),
            None => {
                self.fail(word.clone(), "expected a number: 0x and hexadecimal digits, or 0s and base64", "")
            }
        }
    }

    fn check_strength(&mut self, at: Range<usize>, modulus: &[u8], exponent: &[u8]) -> Result<(), Failed> {
        let bits = bits(modulus);
        let is_small = exponent.len() <= 8
            && exponent.iter().fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet)) < LEAST_EXPONENT;
        let is_even = |number: &[u8]| number.last().is_none_or(|octet| octet % 2 == 0);
        let what = if bits < LEAST_BITS {
            format!("this RSA key has {bits} bits: keys under {LEAST_BITS} are not used")
        } else if bits > MOST_BITS {
            format!("this RSA key has {bits} bits: {MOST_BITS} are the most that is read")
        } else if is_small {
            format!("this RSA key has a public exponent below {LEAST_EXPONENT}, which is not used")
        } else if is_even(modulus) || is_even(exponent) {
            "this is no RSA key: its modulus or exponent is even".to_owned()
        } else {
            return Ok(());
        };
        let help = format!(
            "make a new key on the host that it belongs to: `plainrsa-gen -b 3072 -e {LEAST_EXPONENT} -f {}`, or with a certificate instead `openssl req -x509 -newkey rsa:3072 ...`",
            self.name
        );
        self.fail(at, what, &help)
    }
}

/// The words of a file: `:`, `{` and `}` are words of their own, `#` begins a comment.
fn words(octets: &[u8]) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(octet) = octets.get(at) {
        let rest = octets.get(at..).unwrap_or_default();
        let length = match octet {
            b'#' => rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len()),
            octet if is_blank(*octet) => 1,
            b'{' | b'}' => {
                words.push(at..at + 1);
                1
            }
            // A colon stands alone, or behind a field's name; inside a word it is part of an address.
            b':' if rest.get(1).is_none_or(|next| *next != b':' && !next.is_ascii_hexdigit()) => {
                words.push(at..at + 1);
                1
            }
            _ => {
                let ends = |at: usize| match rest.get(at) {
                    None => true,
                    Some(b':') => {
                        rest.get(at + 1).is_none_or(|next| is_blank(*next))
                            && !rest.get(..at).unwrap_or_default().ends_with(b":")
                    }
                    Some(octet) => is_blank(*octet) || matches!(octet, b'{' | b'}' | b'#'),
                };
                let length = (1..=rest.len()).find(|at| ends(*at)).unwrap_or(rest.len());
                words.push(at..at + length);
                length
            }
        };
        at += length.max(1);
    }
    words
}

/// FreeS/WAN repeats public keys in comments; a private one may have been commented out.
fn comments(octets: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    let lines = octets.split(|octet| *octet == b'\n').map(move |line| {
        let range = start..start + line.len();
        start += line.len() + 1;
        (range, line)
    });
    lines
        .filter_map(|(range, line)| {
            line.iter().position(|octet| *octet == b'#').map(|at| range.start + at..range.end)
        })
        .collect()
}

const fn is_blank(octet: u8) -> bool {
    octet.is_ascii_whitespace() || octet == 0x0b
}

fn text<'a>(octets: &'a [u8], word: &Range<usize>) -> &'a str {
    octets.get(word.clone()).and_then(|octets| str::from_utf8(octets).ok()).unwrap_or_default()
}

fn hex(digits: &str) -> Option<Secret> {
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (odd, pairs) = digits.as_bytes().split_at_checked(digits.len() % 2)?;
    let mut octets = Zeroizing::new(Vec::with_capacity(digits.len().div_ceil(2)));
    for octet in odd {
        octets.push(digit(*octet)?);
    }
    for pair in pairs.chunks(2) {
        let [high, low] = pair else { return None };
        octets.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(Secret::from_slice(&octets))
}

/// Without leading zeros.
fn stripped(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn bits(number: &[u8]) -> usize {
    let leading = number.first().map_or(0, |octet| usize::try_from(octet.leading_zeros()).unwrap_or(0));
    number.len() * 8 - leading
}

#[cfg(test)]
mod tests;

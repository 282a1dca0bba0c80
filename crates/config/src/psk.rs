//! psk.txt: one pre-shared key a line, found by the peer's identity or address.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ike_proto::secret::Secret;
use zeroize::Zeroizing;

use crate::diag::{Diagnostic, Diagnostics, Place, Severity, Source};
use crate::files::{self, Files};

/// Octets of a line that racoon could read at once; it split a longer line badly.
const LONGEST_LINE: usize = 1023;
/// Bits a key must have for nothing to be said about it.
const ENOUGH_BITS: f64 = 128.0;

/// The keys of one psk.txt, in file order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PskFile {
    entries: Vec<PskEntry>,
    first_of: BTreeMap<Vec<u8>, usize>,
}

/// One line: an identity and its key.
#[derive(Debug, PartialEq, Eq)]
pub struct PskEntry {
    /// The line.
    pub place: Place,
    /// The key's octets: as written, or decoded from `0x...`.
    pub key: Secret,
    id: Vec<u8>,
}

impl PskEntry {
    /// The identity for people: what is no UTF-8 is replaced.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.id)
    }

    /// The identity's octets.
    #[must_use]
    pub fn id_octets(&self) -> &[u8] {
        &self.id
    }
}

impl PskFile {
    /// Every key, in file order.
    #[must_use]
    pub fn entries(&self) -> &[PskEntry] {
        &self.entries
    }

    /// The first line with exactly this identity: text is compared octet by octet, addresses are not normalised.
    #[must_use]
    pub fn entry(&self, id: impl AsRef<[u8]>) -> Option<&PskEntry> {
        self.first_of.get(id.as_ref()).and_then(|at| self.entries.get(*at))
    }

    /// The first `*` line, which is for any identity.
    #[must_use]
    pub fn wildcard(&self) -> Option<&PskEntry> {
        self.entry("*")
    }

    /// The key for one identity or address: its own line, else the `*` line.
    #[must_use]
    pub fn lookup(&self, id: &str) -> Option<&Secret> {
        self.lookup_any([id]).map(|entry| &entry.key)
    }

    /// The line for a peer known by several names: the first name that has a line of its own, else the `*` line.
    ///
    /// The names in order are the peer's identity as text, then its address.
    #[must_use]
    pub fn lookup_any<I: AsRef<[u8]>>(&self, ids: impl IntoIterator<Item = I>) -> Option<&PskEntry> {
        ids.into_iter().find_map(|id| self.entry(id)).or_else(|| self.wildcard())
    }
}

/// Reads and checks a psk.txt.
///
/// With `check_permissions` it must be a regular file, owned by the process's effective user, with no permission for
/// group or others, as racoon asked.
#[must_use]
pub fn load(path: &Path, files: &dyn Files, check_permissions: bool) -> (Option<PskFile>, Diagnostics) {
    let name = path.display().to_string();
    let mut diagnostics = Diagnostics::new();
    let (facts, octets) = match files.read(path) {
        Ok((facts, octets)) => (facts, Zeroizing::new(octets)),
        Err(error) => {
            let message = format!("cannot read the pre-shared keys: {error}");
            diagnostics.push(Diagnostic::about_file(Severity::Error, &name, message));
            return (None, diagnostics);
        }
    };
    if check_permissions
        && let Err(refusal) = files::check_private(&name, "the pre-shared keys", facts, files)
    {
        diagnostics.push(refusal);
        return (None, diagnostics);
    }
    parse(&name, &octets)
}

/// Parses the text of a psk.txt; `name` is for the diagnostics.
#[must_use]
pub fn parse(name: &str, octets: &[u8]) -> (Option<PskFile>, Diagnostics) {
    let lines: Vec<Line<'_>> = lines(octets).collect();
    // All of a line but its identity is masked, comments too: a key commented out is still a key.
    let secrets: Vec<_> =
        lines.iter().map(|line| line.start + line.shown..line.start + line.text.len()).collect();
    let mut parser = Parser {
        source: Source::new(name, octets, &secrets),
        file: PskFile::default(),
        diagnostics: Diagnostics::new(),
        seen_carriage_return: false,
    };
    for line in &lines {
        parser.line(line);
    }
    let file = (!parser.diagnostics.has_errors()).then_some(parser.file);
    (file, parser.diagnostics)
}

/// One line without its newline.
struct Line<'a> {
    start: usize,
    text: &'a [u8],
    /// How many octets at its beginning are no secret: the identity.
    shown: usize,
}

fn lines(octets: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    octets.split(|octet| *octet == b'\n').map(move |text| {
        let id = text.iter().position(|octet| is_blank(*octet)).unwrap_or(text.len());
        // A line of one word may be a key whose identity was forgotten.
        let shown = if text.first() == Some(&b'#') || id == text.len() { 0 } else { id };
        let line = Line { start, text, shown };
        start += text.len() + 1;
        line
    })
}

/// C's isspace, without the newline.
const fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

struct Parser {
    source: Arc<Source>,
    file: PskFile,
    diagnostics: Diagnostics,
    seen_carriage_return: bool,
}

impl Parser {
    fn say(&mut self, severity: Severity, line: &Line<'_>, message: impl Into<String>, help: &str) {
        let span = line.start..line.start + line.shown.max(1);
        let diagnostic = Diagnostic::at(severity, &self.source, span, message);
        self.diagnostics.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    }

    fn line(&mut self, line: &Line<'_>) {
        let mut text = line.text;
        if text.first() == Some(&b'#') {
            return;
        }
        if text.len() > LONGEST_LINE {
            self.say(Severity::Error, line, "the line is longer than 1023 octets", "");
            return;
        }
        if let Some(without) = text.strip_suffix(b"\r") {
            text = without;
            if !core::mem::replace(&mut self.seen_carriage_return, true) {
                let message =
                    "the line ends in a carriage return, which is left out (racoon took it into the key)";
                self.say(Severity::Warning, line, message, "save the file with Unix line ends");
            }
        }
        if text.iter().all(|octet| is_blank(*octet)) {
            return;
        }
        if text.contains(&0) {
            self.say(Severity::Error, line, "the line holds a NUL octet", "");
            return;
        }
        let id_length = text.iter().position(|octet| is_blank(*octet)).unwrap_or(text.len());
        let (id, rest) = text.split_at(id_length);
        let key = rest.iter().position(|octet| !is_blank(*octet)).and_then(|at| rest.get(at..));
        match (id, key) {
            ([], _) => {
                let message = "the line begins with a blank and so has no identity: it is skipped";
                self.say(Severity::Warning, line, message, "write the identity in the first column");
            }
            (_, None) => {
                let message = "the line has one word only, an identity without a key: it is skipped";
                self.say(Severity::Warning, line, message, "write the identity, a blank, then the key");
            }
            (id, Some(key)) => self.entry(line, id, key),
        }
    }

    fn entry(&mut self, line: &Line<'_>, id: &[u8], written: &[u8]) {
        let name = || String::from_utf8_lossy(id).into_owned();
        let key = match written.strip_prefix(b"0x") {
            None => {
                if written.last().is_some_and(|octet| is_blank(*octet)) {
                    let message =
                        format!("the key of `{}` ends in a blank, which belongs to the key", name());
                    self.say(Severity::Warning, line, message, "");
                }
                Secret::from_slice(written)
            }
            Some(digits) => match decode_hex(digits) {
                Some(key) => key,
                None => {
                    let message = format!("the hexadecimal key of `{}` is malformed", name());
                    let help = "after 0x, write an even number of hexadecimal digits";
                    self.say(Severity::Error, line, message, help);
                    return;
                }
            },
        };
        if is_weak(key.expose()) {
            let message = format!("the pre-shared key of `{}` is weak: it has less than 128 bits", name());
            self.say(Severity::Warning, line, message, "make one with `echo 0x$(openssl rand -hex 32)`");
        }
        match self.file.first_of.get(id).and_then(|at| self.file.entries.get(*at)) {
            Some(first) if first.key != key => {
                let message = format!("a second key for `{}`: line {} is used", name(), first.place.line);
                self.say(Severity::Warning, line, message, "");
            }
            Some(_) => {}
            None => {
                self.file.first_of.insert(id.to_vec(), self.file.entries.len());
            }
        }
        let place = self.source.place(line.start);
        self.file.entries.push(PskEntry { place, key, id: id.to_vec() });
    }
}

/// Decodes pairs of hexadecimal digits with blanks anywhere; nothing if there are none, or an odd number.
fn decode_hex(digits: &[u8]) -> Option<Secret> {
    let mut octets = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    let mut high = None;
    for octet in digits.iter().filter(|octet| !is_blank(**octet)) {
        let digit = u8::try_from(char::from(*octet).to_digit(16)?).ok()?;
        match high.take() {
            None => high = Some(digit << 4),
            Some(high) => octets.push(high | digit),
        }
    }
    (high.is_none() && !octets.is_empty()).then(|| Secret::from_slice(&octets))
}

/// Whether a key has certainly less than 128 bits: too short for the kinds of character in it, or one that repeats or
/// counts. (A key that passes may still be weak.)
fn is_weak(key: &[u8]) -> bool {
    let has = |class: fn(&u8) -> bool, size: f64| if key.iter().any(class) { size } else { 0.0 };
    let text = key.iter().all(|octet| matches!(octet, b' '..=b'~'));
    let alphabet = if text {
        has(u8::is_ascii_digit, 10.0)
            + has(u8::is_ascii_lowercase, 26.0)
            + has(u8::is_ascii_uppercase, 26.0)
            + has(|octet| !octet.is_ascii_alphanumeric(), 33.0)
    } else {
        256.0
    };
    let length = u16::try_from(key.len()).map_or(f64::INFINITY, f64::from);
    let steps = key.windows(2).filter(|pair| matches!(pair, [a, b] if a.abs_diff(*b) <= 1)).count();
    length * alphabet.log2() < ENOUGH_BITS || steps * 2 > key.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{FileFacts, Memory};

    const GOOD: &str = "0x9d507d3c6fd6c78d17d5438c5d2d4138a90f99980ea3248615ed94ad886d8412";

    fn keys(text: &str) -> (PskFile, String) {
        let (file, diagnostics) = parse("psk.txt", text.as_bytes());
        (file.unwrap_or_else(|| panic!("{diagnostics}")), diagnostics.to_string())
    }

    fn said(text: impl AsRef<[u8]>) -> String {
        parse("psk.txt", text.as_ref()).1.to_string()
    }

    #[test]
    fn a_key_is_the_rest_of_the_line() {
        let (file, _) = keys("192.0.2.1 \t a key, with # and blanks  \n# no entry\n\nx@example.org y\n");
        assert_eq!(file.lookup("192.0.2.1").unwrap().expose(), b"a key, with # and blanks  ");
        assert_eq!(file.lookup("x@example.org").unwrap().expose(), b"y");
        assert_eq!(file.entries().len(), 2);
        assert_eq!(file.entries()[1].place.to_string(), "psk.txt:4:1");
        assert_eq!(file.lookup("# no"), None);
    }

    #[test]
    fn hexadecimal_keys_are_decoded() {
        let (file, said) = keys(&format!("a {GOOD}\nb 0x00 ff\t10"));
        assert_eq!(file.lookup("a").unwrap().len(), 32);
        assert_eq!(file.lookup("b").unwrap().expose(), [0, 255, 16]);
        assert_eq!(said.lines().count(), 1, "{said}");
        for bad in ["0x", "0x1", "0x12345", "0xgg", "0x12z4", "0x \t"] {
            assert!(said_error(&format!("peer {bad}")).contains("key of `peer` is malformed"), "{bad}");
        }
    }

    fn said_error(text: &str) -> String {
        let (file, diagnostics) = parse("psk.txt", text.as_bytes());
        assert_eq!(file, None);
        diagnostics.to_string()
    }

    #[test]
    fn the_first_line_wins_and_the_star_is_last() {
        let (file, said) = keys("* star\nid one\nid two\n192.0.2.1 address\n");
        assert_eq!(file.lookup("id").unwrap().expose(), b"one");
        assert_eq!(file.lookup("other").unwrap().expose(), b"star");
        assert_eq!(file.lookup_any(["unknown", "192.0.2.1"]).unwrap().key.expose(), b"address");
        assert_eq!(file.lookup_any(["id", "192.0.2.1"]).unwrap().place.line, 2);
        assert!(said.contains("psk.txt:3:1: warning: a second key for `id`: line 2 is used"), "{said}");
        assert_eq!(keys("a b\n").0.lookup("c"), None);
    }

    #[test]
    fn identities_are_exact_text() {
        let (file, _) = keys("2001:DB8::1 k\n10.0.0.01 k\n");
        assert_eq!(file.lookup("2001:db8::1"), None);
        assert_eq!(file.lookup("10.0.0.1"), None);
    }

    #[test]
    fn weak_keys_are_named_by_identity_not_by_value() {
        for weak in [
            "hunter2",
            "0x1234567890abcdef",
            "correcthorse",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890",
            "0x000000000000000000000000000000000000000000",
        ] {
            let text = said(format!("# x\nbox7 {weak}\n"));
            assert!(text.starts_with("psk.txt:2:1: warning: the pre-shared key of `box7` is weak"), "{text}");
            assert!(!text.contains(weak));
        }
        assert_eq!(said(format!("box7 {GOOD}\n")), "");
        assert_eq!(said("box7 kT9x.vB2-qLmW8rZ#pHd4s\n"), "");
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        assert!(said("word\n").contains("psk.txt:1:1: warning: the line has one word only"));
        assert!(said(" id key\n").contains("begins with a blank"));
        assert!(said(format!("id {GOOD}x \n")).contains("malformed"));
        assert!(said("id sDf82jXMnaPq93mnzXvcPq92mXx \n").contains("ends in a blank"));
        assert!(said_error(&format!("a {}\n", "k".repeat(1022))).contains("longer than 1023"));
        assert!(said("id a\0b\n").contains("NUL"));
        let dos = said(format!("a {GOOD}\r\nb {GOOD}\r\n"));
        assert_eq!(dos.matches("carriage return").count(), 1, "{dos}");
        assert_eq!(keys(&format!("a {GOOD}\r\n")).0.lookup("a").unwrap().len(), 32);
    }

    #[test]
    fn no_key_is_ever_rendered() {
        let text = b"lonely-sesame\n#old sesame1\nid sesame2\n\xff\xfe sesame3\r\nx 0xsesame4\n id sesame5\nid sesame6 \n";
        let (_, diagnostics) = parse("psk.txt", text);
        let shown = diagnostics.render(false) + &format!("{diagnostics}{diagnostics:?}");
        assert!(diagnostics.errors() == 1 && diagnostics.warnings() > 5);
        assert!(!shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn the_file_must_be_private() {
        let facts = |mode, owner, regular| FileFacts { regular, owner, mode };
        let text = |facts, check| {
            let files = Memory::new().with_facts("/psk", facts, format!("a {GOOD}\n"));
            load(Path::new("/psk"), &files, check).1.to_string()
        };
        assert_eq!(text(facts(0o600, 0, true), true), "");
        assert_eq!(text(facts(0o400, 0, true), true), "");
        assert_eq!(text(facts(0o666, 7, false), false), "");
        assert_eq!(
            text(facts(0o640, 0, true), true),
            "/psk: error: the pre-shared keys have weak file permission 0640, expected 0600 (`chmod 600` the file)\n"
        );
        assert!(text(facts(0o604, 0, true), true).contains("0604"));
        assert!(text(facts(0o600, 7, true), true).contains("invalid owner uid 7, expected 0"));
        assert!(text(facts(0o600, 0, false), true).contains("must be in a regular file"));
        let (file, missing) = load(Path::new("/none"), &Memory::new(), true);
        assert!(file.is_none());
        assert_eq!(missing.to_string(), "/none: error: cannot read the pre-shared keys: no such file\n");
    }

    #[test]
    fn a_hundred_thousand_keys_are_found_at_once() {
        let text: String =
            (0..100_000).map(|n| format!("10.{}.{}.{} {GOOD}\n", n >> 16, n >> 8 & 255, n & 255)).collect();
        let (file, _) = keys(&text);
        for n in (0..100_000).step_by(7) {
            assert!(file.lookup(&format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)).is_some());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_survived(octets: Vec<u8>) {
            let _ = parse("x", &octets).1.render(true);
        }

        #[test]
        fn any_lines_are_survived(text in "([a*#]{0,2}[ \t]{0,2}(0x)?[0-9a-fg \r\x00é]{0,9}\n?){0,9}") {
            let _ = parse("x", text.as_bytes()).1.render(true);
        }
    }
}

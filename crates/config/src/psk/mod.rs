//! psk.txt: one pre-shared key a line, found by the peer's identity or address.
//!
//! A line is an identity, blanks, and the key: the rest of the line as text, or `0x` and hexadecimal digits. Two kinds of identity
//! and one of key are Coati's own. None changes what a line of racoon's meant:
//!
//! - `192.0.2.0/24`: the peers in a network. racoon compared identities as text, and no peer's is written so; one that is all
//!   the same (a key id) is found first.
//! - `ID<>ID`: the key between two hosts, on either of them, so that one file can serve a whole mesh. Again, racoon would
//!   have compared it as text, and a peer whose identity is exactly that is found first.
//! - `0xbase64:KEY`: base64. racoon refused such a line, for `s` is no hexadecimal digit. (`0s...` was text, and stays text.)

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ike_proto::secret::Secret;
use zeroize::Zeroizing;

use crate::base64;
use crate::diag::{Diagnostic, Diagnostics, Place, Severity, Source};
use crate::files::{self, Files};
use crate::net::{IpNet, full_prefix, parse_net};

mod lint;

/// Octets of a line that racoon could read at once; it split a longer line badly.
const LONGEST_LINE: usize = 1023;
/// Lines that may have one key without a word about it: a host's names and addresses.
const MOST_LINES: usize = 3;
/// What stands before a key in base64.
const BASE64: &[u8] = b"base64:";
/// What some editors put before the first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// What stands between the two identities of a pair.
const BETWEEN: &[u8] = b"<>";

/// The keys of one psk.txt, in file order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PskFile {
    entries: Vec<PskEntry>,
    first_of: BTreeMap<Vec<u8>, usize>,
    /// The first line of each network, by how many bits of it count and its first address.
    nets: BTreeMap<(u8, IpAddr), usize>,
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

    /// The network, if the identity is written as one.
    #[must_use]
    pub fn net(&self) -> Option<IpNet> {
        let text = str::from_utf8(&self.id).ok()?;
        if text.contains('/') { parse_net(text).map(IpNet::network) } else { None }
    }

    /// The two identities of a pair, if it is written as one.
    #[must_use]
    pub fn pair(&self) -> Option<(&[u8], &[u8])> {
        let at = self.id.windows(BETWEEN.len()).position(|two| two == BETWEEN)?;
        let (left, right) = (self.id.get(..at)?, self.id.get(at + BETWEEN.len()..)?);
        (!left.is_empty() && !right.is_empty()).then_some((left, right))
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

    /// The line for a peer known by several names: the first name that has a line of its own, else the smallest network that
    /// holds a name which is an address, else the `*` line. Pairs need [`PskFile::for_host`].
    ///
    /// The names in order are the peer's identity as text, then its address.
    #[must_use]
    pub fn lookup_any<I: AsRef<[u8]>>(&self, ids: impl IntoIterator<Item = I>) -> Option<&PskEntry> {
        self.for_host(&[]).lookup_any(ids)
    }

    /// The line of the smallest network that holds this address; of lines for the same network the first.
    #[must_use]
    pub fn entry_for_address(&self, address: IpAddr) -> Option<&PskEntry> {
        (0..=full_prefix(address)).rev().find_map(|prefix| {
            let first = IpNet { addr: address, prefix }.first();
            self.nets.get(&(prefix, first)).and_then(|at| self.entries.get(*at))
        })
    }

    /// The file as the host with these identities and addresses sees it: a line for a pair that one of them is half of is for
    /// the other half.
    #[must_use]
    pub fn for_host(&self, own: &[String]) -> HostKeys<'_> {
        let mut by_pair = BTreeMap::new();
        let own: BTreeSet<&[u8]> = own.iter().map(String::as_bytes).collect();
        for entry in self.entries.iter().filter(|_| !own.is_empty()) {
            let Some((left, right)) = entry.pair() else { continue };
            for (ours, theirs) in [(left, right), (right, left)] {
                if own.contains(ours) {
                    by_pair.entry(theirs).or_insert(entry);
                }
            }
        }
        HostKeys { file: self, by_pair }
    }
}

/// The keys of a psk.txt as one host sees them. See [`PskFile::for_host`].
#[derive(Debug)]
pub struct HostKeys<'a> {
    file: &'a PskFile,
    by_pair: BTreeMap<&'a [u8], &'a PskEntry>,
}

impl<'a> HostKeys<'a> {
    /// As [`PskFile::lookup_any`], the lines for pairs before those for one identity.
    #[must_use]
    pub fn lookup_any<I: AsRef<[u8]>>(&self, ids: impl IntoIterator<Item = I>) -> Option<&'a PskEntry> {
        let mut by_net = None;
        for id in ids {
            if let Some(entry) = self.by_pair.get(id.as_ref()).copied().or_else(|| self.file.entry(&id)) {
                return Some(entry);
            }
            let address = str::from_utf8(id.as_ref()).ok().and_then(|text| text.parse().ok());
            by_net = by_net.or_else(|| self.file.entry_for_address(address?));
        }
        by_net.or_else(|| self.file.wildcard())
    }

    /// Every identity with the line for it, `*` among them: those of pairs come before those of one identity.
    pub fn by_identity(&self) -> impl Iterator<Item = (&'a [u8], &'a PskEntry)> {
        let singles = self.file.entries.iter().map(|entry| (entry.id_octets(), entry));
        self.by_pair.iter().map(|(id, entry)| (*id, *entry)).chain(singles)
    }

    /// Every network with the line for it.
    pub fn by_net(&self) -> impl Iterator<Item = (IpNet, &'a PskEntry)> {
        let file = self.file;
        file.nets.iter().filter_map(move |((prefix, addr), at)| {
            Some((IpNet { addr: *addr, prefix: *prefix }, file.entries.get(*at)?))
        })
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
    if octets.starts_with(BYTE_ORDER_MARK) {
        parser.say_byte_order_mark();
    }
    for line in &lines {
        parser.line(line);
    }
    parser.whole_file();
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
    let text = octets.strip_prefix(BYTE_ORDER_MARK).unwrap_or(octets);
    let mut start = octets.len() - text.len();
    text.split(|octet| *octet == b'\n').map(move |text| {
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

    fn say_byte_order_mark(&mut self) {
        let message = "the file begins with a byte order mark (U+FEFF), which is left out (racoon took it into the first identity)";
        let span = 0..BYTE_ORDER_MARK.len();
        let warning = Diagnostic::at(Severity::Warning, &self.source, span, message);
        self.diagnostics.push(warning.help("save the file without one"));
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
        let Some(key) = self.key(line, &name(), written) else { return };
        if let Some(why) = lint::weakness(key.expose()) {
            let message = format!("the pre-shared key of `{}` is weak: {why}", name());
            self.say(Severity::Warning, line, message, "make one with `echo 0x$(openssl rand -hex 32)`");
        }
        if let Some(address) = lint::meant_address(id) {
            let message = format!("no peer is called `{}`: identities are compared as text", name());
            self.say(Severity::Warning, line, message, &format!("write {address}"));
        }
        if let Some(part) = lint::stray_part(written) {
            let message = format!("the key of `{}` includes {part}, as it did for racoon", name());
            self.say(Severity::Warning, line, message, "leave that out at both ends, if it was not meant");
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
        let entry = PskEntry { place, key, id: id.to_vec() };
        if let Some(net) = entry.net() {
            self.file.nets.entry((net.prefix, net.addr)).or_insert(self.file.entries.len());
        }
        self.file.entries.push(entry);
    }

    /// The key as text, or decoded.
    fn key(&mut self, line: &Line<'_>, name: &str, written: &[u8]) -> Option<Secret> {
        let Some(digits) = written.strip_prefix(b"0x") else {
            if written.last().is_some_and(|octet| is_blank(*octet)) {
                let message = format!("the key of `{name}` ends in a blank, which belongs to the key");
                self.say(Severity::Warning, line, message, "");
            }
            if lint::looks_like_base64(written) {
                let message =
                    format!("the key of `{name}` is taken as text, `0s` included, as racoon took it");
                self.say(
                    Severity::Warning,
                    line,
                    message,
                    "if it is base64, write `0xbase64:` in the place of `0s`",
                );
            }
            return Some(Secret::from_slice(written));
        };
        let (key, help) = match digits.strip_prefix(BASE64) {
            Some(encoded) => {
                let trimmed = encoded.trim_ascii_end();
                let key = base64::decode(trimmed).filter(|key| !key.expose().is_empty());
                (key, "after 0xbase64:, write base64 without blanks")
            }
            None => (decode_hex(digits), "after 0x, write an even number of hexadecimal digits"),
        };
        if key.is_none() {
            let kind = if digits.starts_with(BASE64) { "base64" } else { "hexadecimal" };
            self.say(Severity::Error, line, format!("the {kind} key of `{name}` is malformed"), help);
        }
        key
    }

    /// What only the whole file shows: one key for many, and lines that a wildcard hid from racoon.
    fn whole_file(&mut self) {
        let mut said = Vec::new();
        let mut lines_of: BTreeMap<&[u8], Vec<&PskEntry>> = BTreeMap::new();
        for entry in &self.file.entries {
            lines_of.entry(entry.key.expose()).or_default().push(entry);
        }
        for entries in lines_of.values().filter(|entries| entries.len() > MOST_LINES) {
            let Some(first) = entries.first() else { continue };
            let message = format!(
                "the pre-shared key of `{}` is that of {} other lines too: whoever has it can pretend to be any of them",
                first.id(),
                entries.len() - 1
            );
            said.push(
                Diagnostic::about_place(Severity::Warning, first.place.clone(), message)
                    .help("give each pair a key of its own"),
            );
        }
        let wildcard = self.file.entries.iter().position(|entry| entry.id == b"*");
        let hidden = wildcard.and_then(|at| self.file.entries.get(at..)).and_then(|below| {
            let (star, below) = below.split_first()?;
            below.iter().find(|entry| entry.key != star.key && entry.id != b"*")
        });
        if let Some(hidden) = hidden {
            let message = format!(
                "`{}` stands below the `*` line: racoon never came so far, Coati takes `*` last",
                hidden.id()
            );
            said.push(
                Diagnostic::about_place(Severity::Warning, hidden.place.clone(), message)
                    .help("put the `*` line at the end"),
            );
        }
        let nets = || self.file.entries.iter().find(|entry| entry.net().is_some());
        if let (Some(net), Some(_)) = (nets(), wildcard) {
            let message = format!(
                "`{}` is a network here and comes before the `*` line; racoon used the `*` line for its addresses",
                net.id()
            );
            said.push(Diagnostic::about_place(Severity::Warning, net.place.clone(), message));
        }
        said.sort_by(|left, right| left.place.cmp(&right.place));
        said.into_iter().for_each(|diagnostic| self.diagnostics.push(diagnostic));
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

#[cfg(test)]
mod tests;

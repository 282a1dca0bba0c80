//! Diagnostics: what is wrong, where, and what to write instead.
//!
//! A [`Source`] keeps a copy of a file in which key material is already masked, so nothing that renders a diagnostic can
//! show a key.

use core::fmt;
use core::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use shown::showable;
pub(crate) use shown::unseen;

mod shown;

/// Lines longer than this are not shown, and their columns count octets.
const LONGEST_SHOWN_LINE: usize = 1000;
/// Diagnostics kept of one load: the rest is counted only.
const MOST_KEPT: usize = 1000;

/// Where something stands in a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named.
    pub file: Arc<str>,
    /// Line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// Column in characters, from 1; 0 for the file as a whole.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One file's text, fit to be shown: key material masked, octets that are not text and characters that cannot be seen replaced.
///
/// Offsets into it are offsets into the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    name: Arc<str>,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Keeps what may be shown of `octets`; the ranges in `secrets` are masked.
    #[must_use]
    pub fn new(name: &str, octets: &[u8], secrets: &[Range<usize>]) -> Arc<Self> {
        let text = showable(octets, secrets);
        let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        let line_starts = core::iter::once(0).chain(starts).collect();
        Arc::new(Self { name: name.into(), text, line_starts })
    }

    /// The file's name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The place of the octet at `offset`.
    #[must_use]
    pub fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let (line, range) = self.line_at(offset);
        let before = self.text.get(range.start..offset).unwrap_or_default();
        let column = match range.len() {
            0..=LONGEST_SHOWN_LINE => before.chars().count(),
            _ => offset - range.start,
        };
        let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        Place { file: Arc::clone(&self.name), line: number(line), column: number(column) }
    }

    /// The text between two offsets as it may be shown, shortened to `most` characters.
    #[must_use]
    pub fn quote(&self, span: Range<usize>, most: usize) -> String {
        let text = self.text.get(span).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        shortened(line, most)
    }

    /// The text from an offset to the first `end` as it may be shown, its blanks and lines run together, shortened to `most`
    /// characters.
    #[must_use]
    pub(crate) fn quote_to(&self, start: usize, end: u8, most: usize) -> String {
        let rest = self.text.get(start..).unwrap_or_default();
        // Twice as much is looked at as is shown: what follows may be the rest of a large file.
        let window = rest.char_indices().nth(most * 2).map_or(rest.len(), |(at, _)| at);
        let text = rest.get(..window).unwrap_or_default();
        let text = text.split(char::from(end)).next().unwrap_or_default();
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        shortened(&words, most)
    }

    /// Index of the line that holds `offset`, and its range without the newline.
    fn line_at(&self, offset: usize) -> (usize, Range<usize>) {
        let line = self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.line_starts.get(line).copied().unwrap_or(0);
        let end = self.line_starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        (line, start..end.max(start))
    }
}

/// A text of `most` characters, and `...` for the rest.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((cut, _)) => format!("{}...", text.get(..cut).unwrap_or_default()),
        None => text.to_owned(),
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.name)
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used, but not everything in it means what it meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing to say about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to write instead, or what is done instead.
    pub help: Option<String>,
    /// About an algorithm that is weak and replaced: who is strict takes it for an error.
    pub weak_algorithm: bool,
    /// The text it points at.
    span: Option<(Arc<Source>, Range<usize>)>,
}

impl Diagnostic {
    /// About a piece of text.
    #[must_use]
    pub fn at(
        severity: Severity,
        source: &Arc<Source>,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        let place = source.place(span.start);
        Self {
            severity,
            place,
            message: message.into(),
            help: None,
            weak_algorithm: false,
            span: Some((Arc::clone(source), span)),
        }
    }

    /// About a file as a whole: it cannot be read, for instance.
    #[must_use]
    pub fn about_file(severity: Severity, file: &str, message: impl Into<String>) -> Self {
        let place = Place { file: file.into(), line: 0, column: 0 };
        Self { severity, place, message: message.into(), help: None, weak_algorithm: false, span: None }
    }

    /// About a place whose text is no longer at hand.
    #[must_use]
    pub fn about_place(severity: Severity, place: Place, message: impl Into<String>) -> Self {
        Self { severity, place, message: message.into(), help: None, weak_algorithm: false, span: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Marks it as about a weak algorithm that is replaced.
    #[must_use]
    pub(crate) const fn about_weak_algorithm(mut self) -> Self {
        self.weak_algorithm = true;
        self
    }

    /// The octets it points at, in its file.
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.as_ref().map(|(_, span)| span.clone())
    }

    /// The text it points at, as it may be shown, shortened to `most` characters.
    #[must_use]
    pub fn quote(&self, most: usize) -> Option<String> {
        self.span.as_ref().map(|(source, span)| source.quote(span.clone(), most))
    }

    /// As a JSON object; `help` is null if there is none.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "severity": self.severity.to_string(),
            "file": &*self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "message": self.message,
            "help": self.help,
        })
    }

    /// The message with its source line, as a compiler shows it; `styled` adds colours.
    #[must_use]
    pub fn render(&self, styled: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let shown = self.span.as_ref().and_then(|(source, span)| {
            let (line, range) = source.line_at(span.start.min(source.text.len()));
            let text = source.text.get(range.clone()).filter(|text| text.len() <= LONGEST_SHOWN_LINE)?;
            let start = span.start.min(range.end) - range.start;
            let end = (span.end.min(range.end)).saturating_sub(range.start).max(start);
            // A span counts octets; what is marked are whole characters.
            let start = (0..=start).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let end = (end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            Some((text, line + 1, start..end, &*source.name))
        });
        let title = level.primary_title(match shown {
            Some(_) => self.message.clone(),
            None => format!("{}: {}", self.place, self.message),
        });
        let mut group = match shown {
            None => annotate_snippets::Group::with_title(title),
            Some((text, line, span, name)) => title.element(
                Snippet::source(text)
                    .line_start(line)
                    .path(name)
                    .annotation(AnnotationKind::Primary.span(span)),
            ),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

/// One line: `file:line:column: error: message (help)`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.severity, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// An option that is fine, and does not mean quite what it meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it is used first.
    pub place: Place,
    /// In which block.
    pub block: String,
    /// The option as the file has it.
    pub written: String,
    /// What it means now.
    pub meaning: &'static str,
}

impl Note {
    /// As a JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "file": &*self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "block": self.block,
            "option": self.written,
            "meaning": self.meaning,
        })
    }
}

/// One line: `file:line:column: option: meaning`.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.written, self.meaning)
    }
}

/// Everything said about the files of one load, in the order it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    notes: Vec<Note>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// Nothing said yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { kept: Vec::new(), notes: Vec::new(), errors: 0, warnings: 0 }
    }

    /// Says one thing more. Of very many, the first thousand are kept and the rest only counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let errors_before = self.errors;
        match diagnostic.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        // The first error is kept even behind a thousand warnings.
        if self.kept.len() < MOST_KEPT || (errors_before == 0 && self.errors == 1) {
            self.kept.push(diagnostic);
        }
    }

    /// Takes out what is said about one file.
    #[must_use]
    pub fn take_about(&mut self, file: &str) -> Self {
        let mut taken = Self::new();
        for diagnostic in core::mem::take(&mut self.kept) {
            if &*diagnostic.place.file == file {
                match diagnostic.severity {
                    Severity::Error => self.errors -= 1,
                    Severity::Warning => self.warnings -= 1,
                }
                taken.push(diagnostic);
            } else {
                self.kept.push(diagnostic);
            }
        }
        taken
    }

    /// Says of what `other` says that which is not said yet.
    pub fn append_new(&mut self, other: Self) {
        for diagnostic in other.kept {
            if !self.kept.contains(&diagnostic) {
                self.push(diagnostic);
            }
        }
    }

    /// Each as a JSON object, as `coati check --json` and `cargo xtask corpus` show it.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.kept.iter().map(Diagnostic::to_json).collect()
    }

    /// Notes what an option that is fine means now.
    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// What options that are fine mean now, each once, in the order of the text: neither errors nor warnings.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Says all that `other` says.
    pub fn append(&mut self, other: Self) {
        let (errors, warnings) = (other.errors, other.warnings);
        self.notes.extend(other.notes);
        let (errors_before, warnings_before) = (self.errors, self.warnings);
        for diagnostic in other.kept {
            self.push(diagnostic);
        }
        (self.errors, self.warnings) = (errors_before + errors, warnings_before + warnings);
    }

    /// The same with weak algorithms as errors, for `--strict`.
    #[must_use]
    pub fn with_weak_as_errors(self) -> Self {
        let mut strict = Self { notes: self.notes, ..Self::new() };
        let (errors, warnings) = (self.errors, self.warnings);
        for mut diagnostic in self.kept {
            if diagnostic.weak_algorithm {
                diagnostic.severity = Severity::Error;
            }
            strict.push(diagnostic);
        }
        // Of those that are only counted, nothing more is known.
        let left_out = (errors + warnings).saturating_sub(strict.errors + strict.warnings);
        strict.warnings += left_out;
        strict
    }

    /// Puts what was said in the order of the text, files in the order in which they were first spoken of.
    pub(crate) fn sort(&mut self) {
        let mut files = std::collections::BTreeMap::new();
        for diagnostic in &self.kept {
            let next = files.len();
            files.entry(Arc::clone(&diagnostic.place.file)).or_insert(next);
        }
        let key = |d: &Diagnostic| (files.get(&d.place.file).copied(), d.place.line, d.place.column);
        self.kept.sort_by_key(key);
    }

    /// In a word: `refused` with errors, else `warnings`, else `accepted`.
    #[must_use]
    pub const fn verdict(&self) -> &'static str {
        match (self.errors, self.warnings) {
            (0, 0) => "accepted",
            (0, _) => "warnings",
            _ => "refused",
        }
    }

    /// Whether something is to be refused.
    #[must_use]
    pub const fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many errors there are, those not kept included.
    #[must_use]
    pub const fn errors(&self) -> usize {
        self.errors
    }

    /// How many warnings there are, those not kept included.
    #[must_use]
    pub const fn warnings(&self) -> usize {
        self.warnings
    }

    /// How many were only counted.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        (self.errors + self.warnings) - self.kept.len()
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What was kept, in order.
    pub fn iter(&self) -> core::slice::Iter<'_, Diagnostic> {
        self.kept.iter()
    }

    /// Each with its source line, as a compiler shows it.
    #[must_use]
    pub fn render(&self, styled: bool) -> String {
        let mut all: String = self.kept.iter().map(|d| d.render(styled) + "\n\n").collect();
        if self.left_out() > 0 {
            all += &format!("... and {} more\n", self.left_out());
        }
        all
    }

    pub(crate) fn error(&mut self, source: &Arc<Source>, span: Range<usize>, message: impl Into<String>) {
        self.push(Diagnostic::at(Severity::Error, source, span, message));
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = core::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.iter()
    }
}

/// One line each.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.kept {
            writeln!(f, "{diagnostic}")?;
        }
        match self.left_out() {
            0 => Ok(()),
            more => writeln!(f, "... and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(octets: &[u8], secrets: &[Range<usize>], span: Range<usize>) -> Diagnostic {
        let source = Source::new("a.conf", octets, secrets);
        Diagnostic::at(Severity::Error, &source, span, "no")
    }

    #[test]
    fn a_diagnostic_is_one_line_with_its_place() {
        let diagnostic = one(b"first;\n  second;\n", &[], 9..15).help("write `third`");
        assert_eq!(diagnostic.to_string(), "a.conf:2:3: error: no (write `third`)");
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(one("é = x".as_bytes(), &[], 5..6).place.column, 5);
        assert_eq!(one(b"\xff\xff x", &[], 3..4).place.column, 4);
    }

    #[test]
    fn the_source_line_is_shown_with_a_mark() {
        let shown = one(b"first;\nsecond third;\n", &[], 14..19).help("h").render(false);
        let expected =
            "error: no\n --> a.conf:2:8\n  |\n2 | second third;\n  |        ^^^^^\n  |\n  = help: h";
        assert_eq!(shown, expected);
    }

    #[test]
    fn secrets_are_never_shown_whatever_is_pointed_at() {
        let text = b"id sesame-open-\xc3\xa9-long";
        let secrets = vec![3..text.len(), 0..0];
        for start in 0..text.len() {
            for end in start..text.len() + 2 {
                let diagnostic = one(text, &secrets, start..end);
                let shown = format!("{}{diagnostic:?}{diagnostic}", diagnostic.render(true));
                assert!(!shown.contains("sesame") && !shown.contains("open"), "{shown}");
            }
        }
    }

    #[test]
    fn spans_beyond_the_end_and_control_characters_are_survived() {
        for octets in [
            &b""[..],
            b"\n",
            b"\0\x1b[31m\xff\xc3",
            b"a\r\n\r",
            "é€\n🦝x".as_bytes(),
            "\u{9b}31m\u{202e}".as_bytes(),
        ] {
            for (start, length) in (0..12).flat_map(|start| (0..5).map(move |length| (start, length))) {
                let shown = one(octets, &[], start..start + length).render(false);
                assert!(!shown.contains(['\x1b', '\u{9b}', '\u{202e}']), "{shown}");
            }
        }
    }

    #[test]
    fn very_many_are_counted_and_the_first_error_is_kept() {
        let source = Source::new("a.conf", b"x", &[]);
        let mut diagnostics = Diagnostics::new();
        for _ in 0..5000 {
            diagnostics.push(Diagnostic::at(Severity::Warning, &source, 0..1, "w"));
        }
        diagnostics.error(&source, 0..1, "the error");
        assert_eq!((diagnostics.warnings(), diagnostics.errors()), (5000, 1));
        assert!(diagnostics.to_string().contains("the error"));
        let mut total = Diagnostics::new();
        total.append(diagnostics);
        assert_eq!((total.warnings(), total.errors()), (5000, 1));
    }
}

//! setkey's tokens, of which there are two sets: one for commands, one for the policy between `-P` and `;`.

use core::ops::Range;
use std::sync::Arc;

use crate::diag::{Diagnostic, Diagnostics, Severity, Source};

/// setkey's flags. None begins another, and none needs a blank between it and its value.
const FLAGS: &[&str] =
    &["-A", "-C", "-E", "-P", "-R", "-bh", "-bs", "-ctx", "-f", "-lh", "-ls", "-m", "-r", "-u"];

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters, digits, `: . %`, in a command also `-` inside.
    Word,
    /// `-P`, `-lh`, ...: only in a command. What is no flag of setkey goes as far as a word would.
    Flag,
    /// `"..."`, the quotes included.
    Text,
    /// A quote without its end; the span ends with the line.
    OpenText,
    /// One of `; / [ ] ,`, in a policy also `- +`.
    Mark(u8),
    /// Something that begins no token.
    Stray,
    /// The end of the file.
    End,
}

/// Which set of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Command,
    Policy,
}

pub(super) struct Lexer<'a> {
    pub(super) source: Arc<Source>,
    octets: &'a [u8],
    position: usize,
    mode: Mode,
    peeked: Option<Token>,
    /// Where the last token taken ended.
    pub(super) last_end: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: Arc<Source>, octets: &'a [u8]) -> Self {
        Self { source, octets, position: 0, mode: Mode::Command, peeked: None, last_end: 0 }
    }

    /// Changes the set of tokens, from the next one on.
    pub(super) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
        self.peeked = None;
    }

    /// The next token, not taken.
    pub(super) fn peek(&mut self, diagnostics: &mut Diagnostics) -> Token {
        if let Some(token) = &self.peeked {
            return token.clone();
        }
        self.skip_blanks(diagnostics);
        let token = self.lex();
        self.peeked = Some(token.clone());
        token
    }

    /// Takes the next token.
    pub(super) fn next(&mut self, diagnostics: &mut Diagnostics) -> Token {
        let token = self.peek(diagnostics);
        self.peeked = None;
        self.position = token.span.end;
        self.last_end = token.span.end;
        token
    }

    /// The text of a span; empty if it is no UTF-8.
    pub(super) fn text(&self, span: &Range<usize>) -> &'a str {
        str::from_utf8(self.octets(span)).unwrap_or_default()
    }

    /// The octets of a span.
    pub(super) fn octets(&self, span: &Range<usize>) -> &'a [u8] {
        self.octets.get(span.clone()).unwrap_or_default()
    }

    /// The word at `start` as people see it, if it goes on behind a `_`, which ends setkey's words.
    pub(super) fn word_with_underscores(&self, start: usize) -> Option<Range<usize>> {
        let rest = self.octets.get(start..).unwrap_or_default();
        let is_in_word = |octet: &u8| is_command_word(octet) || *octet == b'_';
        let length = rest.iter().position(|octet| !is_in_word(octet)).unwrap_or(rest.len());
        self.octets(&(start..start + length)).contains(&b'_').then_some(start..start + length)
    }

    /// Whether a newline stands between the last token and `offset`.
    pub(super) fn newline_before(&self, offset: usize) -> bool {
        self.octets.get(self.last_end..offset).is_some_and(|between| between.contains(&b'\n'))
    }

    fn skip_blanks(&mut self, diagnostics: &mut Diagnostics) {
        while let Some(octet) = self.octets.get(self.position) {
            let start = self.position;
            let mut warn = |message| {
                diagnostics.push(Diagnostic::at(Severity::Warning, &self.source, start..start + 1, message));
            };
            match octet {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c => self.position += 1,
                b'#' => {
                    if self.mode == Mode::Policy {
                        warn("a comment inside a policy: setkey would not have read it");
                    }
                    self.position = self.end_of_line();
                }
                b'\\' if self.is_continuation() => {
                    warn("`\\` at the end of a line means nothing here: it is read as a blank");
                    self.position += 1;
                }
                _ => return,
            }
        }
    }

    fn is_continuation(&self) -> bool {
        let rest = self.octets.get(self.position + 1..).unwrap_or_default();
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    }

    fn end_of_line(&self) -> usize {
        let rest = self.octets.get(self.position..).unwrap_or_default();
        self.position + rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len())
    }

    fn lex(&self) -> Token {
        let start = self.position;
        let rest = self.octets.get(start..).unwrap_or_default();
        let run = |class: fn(&u8) -> bool| rest.iter().position(|octet| !class(octet)).unwrap_or(rest.len());
        let (kind, length) = match (rest.first(), self.mode) {
            (None, _) => (Kind::End, 0),
            (Some(b'"'), _) => match rest.iter().skip(1).position(|octet| *octet == b'"') {
                Some(inside) => (Kind::Text, inside + 2),
                None => (Kind::OpenText, self.end_of_line() - start),
            },
            (Some(mark @ (b';' | b'/' | b'[' | b']' | b',')), _) => (Kind::Mark(*mark), 1),
            (Some(mark @ (b'-' | b'+')), Mode::Policy) => (Kind::Mark(*mark), 1),
            (Some(b'-'), Mode::Command) => {
                let known = FLAGS.iter().find(|flag| rest.starts_with(flag.as_bytes()));
                (Kind::Flag, known.map_or_else(|| run(is_command_word), |flag| flag.len()))
            }
            (Some(octet), Mode::Command) if is_command_word(octet) => (Kind::Word, run(is_command_word)),
            (Some(octet), Mode::Policy) if is_policy_word(octet) => (Kind::Word, run(is_policy_word)),
            (Some(_), _) => (Kind::Stray, run(is_stray).max(1)),
        };
        Token { kind, span: start..start + length }
    }
}

const fn is_policy_word(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b':' | b'.' | b'%' | b'_')
}

const fn is_command_word(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b':' | b'.' | b'%' | b'-')
}

const fn is_stray(octet: &u8) -> bool {
    !octet.is_ascii_alphanumeric()
        && !octet.is_ascii_whitespace()
        && !matches!(
            octet,
            b';' | b'/' | b'[' | b']' | b',' | b'"' | b'#' | b'-' | b'+' | b':' | b'.' | b'%' | 0x0b
        )
}

//! racoon.conf's tokens.
//!
//! racoon's own lexer knew no word boundaries: `10sec` is `10 sec`, `aes128` is `aes 128`. Here a word is lexed whole and
//! the parser, which knows what it expects, may take only its beginning ([`Lexer::split`]).

use core::ops::Range;
use std::sync::Arc;

use crate::diag::{Diagnostic, Diagnostics, Severity, Source};

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Letters, digits, `_ . : %`: a keyword, a number, an address.
    Word,
    /// `"..."`, the quotes included in the span.
    Text,
    /// A quote without its end; the span ends with the line.
    OpenText,
    /// One of `; { } , [ ] / - = ( )`.
    Mark(u8),
    /// Something that begins no token.
    Stray,
    /// The end of the file.
    End,
}

/// Hands out tokens one at a time.
pub(crate) struct Lexer<'a> {
    pub(crate) source: Arc<Source>,
    octets: &'a [u8],
    position: usize,
    peeked: Option<Token>,
    /// Where the last token taken ended.
    pub(crate) last_end: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(source: Arc<Source>, octets: &'a [u8]) -> Self {
        Self { source, octets, position: 0, peeked: None, last_end: 0 }
    }

    /// The next token, not taken.
    pub(crate) fn peek(&mut self, diagnostics: &mut Diagnostics) -> Token {
        if let Some(token) = &self.peeked {
            return token.clone();
        }
        self.skip_blanks(diagnostics);
        let token = self.lex();
        self.peeked = Some(token.clone());
        token
    }

    /// Takes the next token.
    pub(crate) fn next(&mut self, diagnostics: &mut Diagnostics) -> Token {
        let token = self.peek(diagnostics);
        self.peeked = None;
        self.position = token.span.end;
        self.last_end = token.span.end;
        token
    }

    /// Takes only the first `length` octets of the next token, which must be a word at least that long.
    pub(crate) fn split(&mut self, length: usize, diagnostics: &mut Diagnostics) -> Range<usize> {
        let token = self.peek(diagnostics);
        let end = token.span.end.min(token.span.start + length);
        self.peeked = None;
        self.position = end;
        self.last_end = end;
        token.span.start..end
    }

    /// The text of a span; empty if it is no UTF-8.
    pub(crate) fn text(&self, span: &Range<usize>) -> &'a str {
        self.octets.get(span.clone()).and_then(|octets| str::from_utf8(octets).ok()).unwrap_or_default()
    }

    /// The octets of a span.
    pub(crate) fn octets(&self, span: &Range<usize>) -> &'a [u8] {
        self.octets.get(span.clone()).unwrap_or_default()
    }

    /// Whether a newline stands between the last token and `offset`.
    pub(crate) fn newline_before(&self, offset: usize) -> bool {
        self.octets.get(self.last_end..offset).is_some_and(|between| between.contains(&b'\n'))
    }

    fn skip_blanks(&mut self, diagnostics: &mut Diagnostics) {
        while let Some(octet) = self.octets.get(self.position) {
            match octet {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c => self.position += 1,
                b'#' => self.position = self.end_of_line(),
                b'\\' if self.is_continuation() => {
                    let span = self.position..self.position + 1;
                    let message = "`\\` at the end of a line means nothing here: it is read as a blank";
                    diagnostics.push(Diagnostic::at(Severity::Warning, &self.source, span, message));
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
        let (kind, length) = match rest.first() {
            None => (Kind::End, 0),
            Some(b'"') => match rest.iter().skip(1).position(|octet| *octet == b'"') {
                Some(inside) => (Kind::Text, inside + 2),
                None => (Kind::OpenText, self.end_of_line() - start),
            },
            Some(mark @ (b';' | b'{' | b'}' | b',' | b'[' | b']' | b'/' | b'-' | b'=' | b'(' | b')')) => {
                (Kind::Mark(*mark), 1)
            }
            Some(octet) if is_word(octet) => (Kind::Word, run(is_word)),
            Some(_) => (Kind::Stray, run(is_stray)),
        };
        Token { kind, span: start..start + length }
    }
}

const fn is_word(octet: &u8) -> bool {
    matches!(octet, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b':' | b'%')
}

const fn is_stray(octet: &u8) -> bool {
    !is_word(octet)
        && !octet.is_ascii_whitespace()
        && *octet != 0x0b
        && !matches!(
            octet,
            b';' | b'{' | b'}' | b',' | b'[' | b']' | b'/' | b'-' | b'=' | b'(' | b')' | b'"' | b'#'
        )
}

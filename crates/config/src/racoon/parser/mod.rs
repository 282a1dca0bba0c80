//! Recursive descent over racoon.conf: every error is reported, and parsing goes on behind the next `;` or `}`.

mod remote;
mod roadwarrior;
mod sainfo;
mod statement;
mod values;

use core::ops::Range;

use super::ast::{Spanned, Statement};
use super::lexer::{Kind, Lexer, Token};
use crate::diag::{Diagnostic, Diagnostics, Severity, Source, unseen};

/// The longest piece of the file that a message repeats, in characters.
const LONGEST_QUOTE: usize = 40;

/// Every keyword that begins an option, and where: what [`super::options::OPTIONS`] must have.
#[cfg(test)]
pub(crate) fn keywords() -> Vec<(super::options::Block, String)> {
    use super::options::Block;
    fn of<T>(block: Block, table: &[(&'static str, T)], before: &str) -> Vec<(Block, String)> {
        table.iter().map(|(keyword, _)| (block, format!("{before}{keyword}"))).collect()
    }
    [
        of(Block::Top, statement::NAMES, ""),
        of(Block::Top, statement::PATHS, "path "),
        of(Block::Listen, statement::LISTEN, ""),
        of(Block::Timer, statement::TIMER, ""),
        of(Block::Privsep, statement::PRIVSEP, ""),
        of(Block::Remote, remote::NAMES, ""),
        of(Block::Proposal, remote::PROPOSAL, ""),
        of(Block::SaInfo, sainfo::OPTIONS, ""),
    ]
    .concat()
}

/// Reads one file's statements; includes are not followed here.
pub(crate) fn parse(
    source: std::sync::Arc<Source>,
    octets: &[u8],
    diagnostics: &mut Diagnostics,
) -> Vec<Statement> {
    let mut parser = Parser { lexer: Lexer::new(source, octets), diagnostics, skipped: 0 };
    let mut statements = Vec::new();
    loop {
        let token = parser.peek();
        match token.kind {
            Kind::End => return statements,
            Kind::Mark(b'}') => {
                parser.next();
                parser.error(token.span, "`}` without a block that it closes");
            }
            _ => match parser.statement() {
                Ok(statement) => statements.push(statement),
                Err(Failed) => parser.recover(),
            },
        }
    }
}

/// An error was reported; the statement is to be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failed;

type Parsed<T> = Result<T, Failed>;

struct Parser<'a, 'd> {
    lexer: Lexer<'a>,
    diagnostics: &'d mut Diagnostics,
    /// Statements that could not be read and were skipped.
    skipped: usize,
}

impl Parser<'_, '_> {
    fn peek(&mut self) -> Token {
        self.lexer.peek(self.diagnostics)
    }

    fn next(&mut self) -> Token {
        self.lexer.next(self.diagnostics)
    }

    fn error(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.diagnostics.error(&self.lexer.source, span, message);
    }

    fn error_with_help(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let diagnostic = Diagnostic::at(Severity::Error, &self.lexer.source, span, message).help(help);
        self.diagnostics.push(diagnostic);
    }

    fn warn(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::at(Severity::Warning, &self.lexer.source, span, message));
    }

    /// Reports what was expected and what stands there instead.
    fn expected(&mut self, expected: &str) -> Failed {
        let token = self.peek();
        let found = self.describe(&token);
        self.error(token.span, format!("expected {expected}, found {found}"));
        Failed
    }

    fn expected_with_help(&mut self, expected: &str, help: &str) -> Failed {
        let token = self.peek();
        let found = self.describe(&token);
        self.error_with_help(token.span, format!("expected {expected}, found {found}"), help);
        Failed
    }

    fn describe(&self, token: &Token) -> String {
        if let Some(name) = unseen(self.lexer.octets(&token.span)) {
            return name;
        }
        match token.kind {
            Kind::End => "the end of the file".to_owned(),
            Kind::OpenText => "a string without its closing quote".to_owned(),
            Kind::Stray => {
                format!("stray `{}`", self.lexer.source.quote(token.span.clone(), LONGEST_QUOTE))
            }
            Kind::Word | Kind::Text | Kind::Mark(_) => {
                format!("`{}`", self.lexer.source.quote(token.span.clone(), LONGEST_QUOTE))
            }
        }
    }

    fn at(&mut self, mark: u8) -> bool {
        self.peek().kind == Kind::Mark(mark)
    }

    /// Takes a mark if it stands here.
    fn eat(&mut self, mark: u8) -> bool {
        let found = self.at(mark);
        if found {
            self.next();
        }
        found
    }

    /// Takes the `;` that ends an option. One forgotten at the end of a line is an error, but nothing is skipped for it.
    fn semicolon(&mut self) -> Parsed<()> {
        if self.eat(b';') {
            return Ok(());
        }
        let token = self.peek();
        let ends_line = self.lexer.newline_before(token.span.start);
        if token.kind == Kind::End || (ends_line && matches!(token.kind, Kind::Word | Kind::Mark(b'}'))) {
            let end = self.lexer.last_end;
            self.error(end.saturating_sub(1)..end, "expected `;` after this");
            return Ok(());
        }
        Err(self.expected("`;`"))
    }

    /// Takes `=` between an option and its value: racoon's lexer passed it over.
    fn equals(&mut self) {
        let token = self.peek();
        if token.kind == Kind::Mark(b'=') {
            self.next();
            self.warn(token.span, "`=` does not belong here: the value behind it is taken");
        }
    }

    /// Reads `{ option... }`.
    fn block<T>(
        &mut self,
        mut option: impl FnMut(&mut Self) -> Parsed<Spanned<T>>,
    ) -> Parsed<Vec<Spanned<T>>> {
        let open = self.peek();
        if !self.eat(b'{') {
            return Err(self.expected("`{`"));
        }
        let mut options = Vec::new();
        loop {
            let token = self.peek();
            match token.kind {
                Kind::Mark(b'}') => {
                    self.next();
                    break;
                }
                Kind::End => {
                    self.error(open.span, "this block has no closing `}`");
                    // What seems to be missing in it may have stood behind the end.
                    self.skipped += 1;
                    break;
                }
                Kind::Mark(b';') => {
                    self.next();
                    self.error_with_help(token.span, "an empty statement", "remove the `;`");
                }
                _ => match option(self) {
                    Ok(option) => options.push(option),
                    Err(Failed) => self.recover(),
                },
            }
        }
        let token = self.peek();
        if self.eat(b';') {
            self.error_with_help(token.span, "`;` after a block", "remove the `;`");
        }
        Ok(options)
    }

    /// Skips behind the next `;`, behind a whole block, or to the `}` of the block around.
    fn recover(&mut self) {
        self.skipped += 1;
        let mut depth = 0_usize;
        loop {
            match self.peek().kind {
                Kind::End => return,
                Kind::Mark(b'}') if depth == 0 => return,
                Kind::Mark(b';') if depth == 0 => {
                    self.next();
                    return;
                }
                Kind::Mark(b'{') => depth += 1,
                Kind::Mark(b'}') => {
                    depth -= 1;
                    if depth == 0 {
                        self.next();
                        return;
                    }
                }
                _ => {}
            }
            self.next();
        }
    }
}

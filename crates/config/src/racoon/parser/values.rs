//! Values: keywords, numbers, times, strings, addresses.

use core::ops::Range;
use core::time::Duration;

use super::{Failed, LONGEST_QUOTE, Parsed, Parser};
use crate::net::{Endpoint, parse_address};
use crate::racoon::ast::{Spanned, Text, WrittenAlgorithm};
use crate::racoon::lexer::Kind;
use crate::spelling::nearest;

/// Units of time and their seconds.
const UNITS: &[(&str, u64)] = &[
    ("sec", 1),
    ("secs", 1),
    ("second", 1),
    ("seconds", 1),
    ("min", 60),
    ("mins", 60),
    ("minute", 60),
    ("minutes", 60),
    ("hour", 3600),
    ("hours", 3600),
];

impl Parser<'_, '_> {
    /// Takes one keyword of a table. A number, a time or an address may be glued to it: `aes128`, `time30min`.
    pub(super) fn keyword<T: Copy>(&mut self, table: &[(&'static str, T)], what: &str) -> Parsed<Spanned<T>> {
        let token = self.peek();
        if token.kind != Kind::Word {
            return Err(self.expected(what));
        }
        let word = self.lexer.text(&token.span);
        let glued = |keyword: &str| {
            let rest = word.strip_prefix(keyword);
            rest.is_some_and(|rest| {
                let unit = rest.trim_start_matches(|octet: char| octet.is_ascii_digit());
                unit.len() < rest.len() && (unit.is_empty() || UNITS.iter().any(|(name, _)| *name == unit))
                    || parse_address(rest).is_some()
            })
        };
        let exact = table.iter().find(|(keyword, _)| *keyword == word);
        let found = exact.or_else(|| {
            table.iter().filter(|(keyword, _)| glued(keyword)).max_by_key(|(keyword, _)| keyword.len())
        });
        if let Some((keyword, value)) = found {
            let span = self.lexer.split(keyword.len(), self.diagnostics);
            return Ok(Spanned { value: *value, span });
        }
        let shown = self.lexer.source.quote(token.span.clone(), LONGEST_QUOTE);
        let message = format!("expected {what}, found `{shown}`");
        match nearest(word, table.iter().map(|(keyword, _)| *keyword)) {
            Some(near) => self.error_with_help(token.span, message, format!("did you mean `{near}`?")),
            None => self.error(token.span, message),
        }
        Err(Failed)
    }

    /// Takes a keyword of a table, and `=` behind it.
    pub(super) fn option_name<T: Copy>(
        &mut self,
        table: &[(&'static str, T)],
        what: &str,
    ) -> Parsed<Spanned<T>> {
        let name = self.keyword(table, what)?;
        self.equals();
        Ok(name)
    }

    /// `on` or `off`.
    pub(super) fn switch(&mut self) -> Parsed<bool> {
        let token = self.peek();
        let help = match (token.kind, self.lexer.text(&token.span)) {
            (Kind::Word, "yes" | "true") => "write `on`",
            (Kind::Word, "no" | "false") => "write `off`",
            _ => return Ok(self.keyword(&[("on", true), ("off", false)], "`on` or `off`")?.value),
        };
        Err(self.expected_with_help("`on` or `off`", help))
    }

    /// Takes the digits at the beginning of a word.
    fn digits(&mut self, what: &str) -> Parsed<Range<usize>> {
        let token = self.peek();
        let length = self.lexer.octets(&token.span).iter().take_while(|octet| octet.is_ascii_digit()).count();
        if token.kind != Kind::Word || length == 0 {
            return Err(self.expected(what));
        }
        Ok(self.lexer.split(length, self.diagnostics))
    }

    fn number_in_words(&mut self, what: &str) -> Parsed<Spanned<u32>> {
        let span = self.digits(what)?;
        match self.lexer.text(&span).parse() {
            Ok(value) => Ok(Spanned { value, span }),
            Err(_) => {
                self.error(span, "the number is too large");
                Err(Failed)
            }
        }
    }

    /// A plain decimal number, without a unit.
    pub(super) fn number(&mut self) -> Parsed<Spanned<u32>> {
        let number = self.number_in_words("a number")?;
        let token = self.peek();
        if token.kind == Kind::Word && token.span.start == number.span.end {
            return Err(self.expected_with_help("a number without a unit", "write only the number"));
        }
        Ok(number)
    }

    /// A number of at most `u16::MAX`.
    pub(super) fn port_number(&mut self) -> Parsed<u16> {
        let number = self.number_in_words("a port number")?;
        u16::try_from(number.value).map_err(|_| {
            self.error(number.span, "a port is at most 65535");
            Failed
        })
    }

    /// A number with its unit: `10 sec`, `8 hours`.
    pub(super) fn time(&mut self) -> Parsed<Spanned<Duration>> {
        let number = self.number_in_words("a time, such as `30 sec`")?;
        if self.at(b';') {
            let token = self.peek();
            let message = "the time has no unit";
            self.error_with_help(token.span, message, "write `sec`, `min` or `hour` behind the number");
            return Err(Failed);
        }
        let unit = self.keyword(UNITS, "`sec`, `min` or `hour`")?;
        let seconds = u64::from(number.value) * unit.value;
        // More than a century is a slip, and nothing that counts seconds in 32 bits can hold it.
        if seconds > u64::from(u32::MAX) {
            self.error(number.span.start..unit.span.end, "the time is too long");
            return Err(Failed);
        }
        Ok(Spanned { value: Duration::from_secs(seconds), span: number.span.start..unit.span.end })
    }

    /// A quoted string, its quotes left out.
    pub(super) fn text(&mut self, what: &str) -> Parsed<Text> {
        let token = self.peek();
        match token.kind {
            Kind::Text => {
                self.next();
                let inside = token.span.start + 1..token.span.end - 1;
                let value = self.lexer.octets(&inside).to_vec();
                if value.contains(&0) {
                    self.error(token.span, "the string holds a NUL octet");
                    return Err(Failed);
                }
                Ok(Spanned { value, span: token.span })
            }
            Kind::Word => {
                let shown = self.lexer.source.quote(token.span.clone(), LONGEST_QUOTE);
                Err(self.expected_with_help(&format!("{what} in quotes"), &format!("write `\"{shown}\"`")))
            }
            _ => Err(self.expected(&format!("{what} in quotes"))),
        }
    }

    /// A quoted string that is not empty.
    pub(super) fn text_not_empty(&mut self, what: &str) -> Parsed<Text> {
        let text = self.text(what)?;
        if text.value.is_empty() {
            self.error(text.span, format!("{what} is empty"));
            return Err(Failed);
        }
        Ok(text)
    }

    /// A string or a plain word or number.
    pub(super) fn text_or_word(&mut self, what: &str) -> Parsed<String> {
        let token = self.peek();
        if token.kind == Kind::Word {
            self.next();
            return Ok(self.lexer.text(&token.span).to_owned());
        }
        let text = self.text_not_empty(what)?;
        self.utf8(&text)
    }

    pub(super) fn utf8(&mut self, text: &Text) -> Parsed<String> {
        String::from_utf8(text.value.clone()).map_err(|_| {
            self.error(text.span.clone(), "the string is not UTF-8");
            Failed
        })
    }

    /// A numeric address without port.
    pub(super) fn address(&mut self) -> Parsed<Spanned<Endpoint>> {
        let token = self.peek();
        if token.kind != Kind::Word {
            return Err(self.expected("a numeric address"));
        }
        let word = self.lexer.text(&token.span);
        match parse_address(word) {
            Some(value) => {
                self.next();
                Ok(Spanned { value, span: token.span })
            }
            None => {
                let looks_numeric =
                    word.bytes().all(|o| o.is_ascii_hexdigit() || matches!(o, b':' | b'.' | b'%'));
                let help = "host names are not accepted here: write the numeric address";
                Err(match looks_numeric {
                    true => self.expected("a numeric address"),
                    false => self.expected_with_help("a numeric address", help),
                })
            }
        }
    }

    /// `[500]` if it stands here.
    pub(super) fn port(&mut self) -> Parsed<Option<u16>> {
        if !self.eat(b'[') {
            return Ok(None);
        }
        let port = self.port_number()?;
        if !self.eat(b']') {
            return Err(self.expected("`]`"));
        }
        Ok(Some(port))
    }

    /// An address with an optional port.
    pub(super) fn endpoint(&mut self) -> Parsed<Spanned<Endpoint>> {
        let mut address = self.address()?;
        address.value.port = self.port()?;
        address.span.end = self.lexer.last_end;
        Ok(address)
    }

    /// An algorithm's name of a table with an optional key length: `aes 256`, `aes256`, `aes`.
    pub(super) fn algorithm(&mut self, table: &[&'static str], what: &str) -> Parsed<WrittenAlgorithm> {
        let pairs: Vec<(&'static str, &'static str)> = table.iter().map(|name| (*name, *name)).collect();
        let name = self.keyword(&pairs, what)?;
        let token = self.peek();
        let starts_with_digit = self.lexer.octets(&token.span).first().is_some_and(u8::is_ascii_digit);
        let bits = match token.kind == Kind::Word && starts_with_digit {
            true => Some(self.number()?.value),
            false => None,
        };
        Ok(WrittenAlgorithm { name: name.value.to_owned(), bits, span: name.span.start..self.lexer.last_end })
    }
}

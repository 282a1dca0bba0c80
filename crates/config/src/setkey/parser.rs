//! Commands: every error is reported, and parsing goes on behind the next `;`.

use core::ops::Range;
use std::net::IpAddr;
use std::sync::Arc;

use super::address;
use super::lexer::{Kind, Lexer, Mode, Token};
use super::model::{Action, Command, SaProtocol, SecurityContext};
use super::names;
use crate::diag::{Diagnostic, Diagnostics, Place, Severity, Source, unseen};
use crate::files::Files;
use crate::net::{Endpoint, IpNet, parse_address};
use crate::spelling::nearest;

/// The longest piece of the file that a message repeats, in characters.
const LONGEST_QUOTE: usize = 40;

const COMMANDS: &[&str] = &[
    "flush",
    "dump",
    "spdflush",
    "spddump",
    "add",
    "get",
    "delete",
    "deleteall",
    "spdadd",
    "spdupdate",
    "spddelete",
    "exit",
    "quit",
    "bye",
];

/// Words that setkey's lexer takes for itself wherever they stand, as it does [`COMMANDS`]: no host can have such a name.
const RESERVED: &[&str] = &[
    "ah",
    "ah-old",
    "any",
    "deflate",
    "esp",
    "esp-old",
    "esp-udp",
    "ipcomp",
    "lzs",
    "nocyclic-seq",
    "oui",
    "random-pad",
    "seq-pad",
    "tagged",
    "tcp",
    "transport",
    "tunnel",
    "zero-pad",
];

/// Reads one file's commands.
pub(super) fn parse(
    source: Arc<Source>,
    octets: &[u8],
    files: &dyn Files,
    diagnostics: &mut Diagnostics,
) -> Vec<Command> {
    let mut parser = Parser { lexer: Lexer::new(source, octets), files, diagnostics };
    let mut commands = Vec::new();
    loop {
        let token = parser.peek();
        if token.kind == Kind::End {
            return commands;
        }
        let place = parser.place(&token.span);
        match parser.command(&place) {
            Ok(Done::Commands(actions)) => {
                commands.extend(actions.into_iter().map(|action| Command { place: place.clone(), action }));
            }
            Ok(Done::Exit) => {
                parser.nothing_may_follow();
                return commands;
            }
            Err(Failed) => parser.recover(),
        }
    }
}

/// An error was reported; the command is to be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed;

pub(super) type Parsed<T> = Result<T, Failed>;

/// What a command came to.
enum Done {
    /// Names with several addresses make several commands of one.
    Commands(Vec<Action>),
    Exit,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// `-4`, `-6`, `-n` behind a command's name.
#[derive(Clone, Copy, Default)]
pub(super) struct NameOptions {
    v4: bool,
    v6: bool,
    numeric: bool,
}

impl NameOptions {
    /// Whether an address is of a family that is asked for.
    const fn fit(self, addr: IpAddr) -> bool {
        match (self.v4, self.v6) {
            (true, false) => addr.is_ipv4(),
            (false, true) => addr.is_ipv6(),
            _ => true,
        }
    }
}

/// An address as written: the addresses of a name, with what stands beside it.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) addresses: Vec<Endpoint>,
    pub(super) span: Range<usize>,
}

/// What stands behind `0x` or `0X`.
pub(super) fn hexadecimal(word: &str) -> Option<&str> {
    word.strip_prefix('0')?.strip_prefix(['x', 'X'])
}

pub(super) struct Parser<'a, 'd> {
    pub(super) lexer: Lexer<'a>,
    pub(super) files: &'d dyn Files,
    diagnostics: &'d mut Diagnostics,
}

impl Parser<'_, '_> {
    pub(super) fn peek(&mut self) -> Token {
        self.lexer.peek(self.diagnostics)
    }

    pub(super) fn next(&mut self) -> Token {
        self.lexer.next(self.diagnostics)
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        self.lexer.source.place(span.start)
    }

    pub(super) fn fail<T>(&mut self, span: Range<usize>, message: impl Into<String>) -> Parsed<T> {
        self.diagnostics.error(&self.lexer.source, span, message);
        Err(Failed)
    }

    pub(super) fn fail_with_help<T>(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Parsed<T> {
        let diagnostic = Diagnostic::at(Severity::Error, &self.lexer.source, span, message).help(help);
        self.diagnostics.push(diagnostic);
        Err(Failed)
    }

    pub(super) fn warn(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::at(Severity::Warning, &self.lexer.source, span, message));
    }

    /// Reports what was expected and what stands there instead.
    pub(super) fn expected<T>(&mut self, expected: &str) -> Parsed<T> {
        let token = self.peek();
        let found = self.describe(&token);
        self.fail(token.span, format!("expected {expected}, found {found}"))
    }

    pub(super) fn describe(&self, token: &Token) -> String {
        if let Some(name) = unseen(self.lexer.octets(&token.span)) {
            return name;
        }
        let quoted = self.lexer.source.quote(token.span.clone(), LONGEST_QUOTE);
        match token.kind {
            Kind::End => "the end of the file".to_owned(),
            Kind::Text => "a quoted string".to_owned(),
            Kind::OpenText => "a string without its closing quote".to_owned(),
            Kind::Stray => format!("stray `{quoted}`"),
            Kind::Word | Kind::Flag | Kind::Mark(_) => format!("`{quoted}`"),
        }
    }

    pub(super) fn at(&mut self, mark: u8) -> bool {
        self.peek().kind == Kind::Mark(mark)
    }

    pub(super) fn eat(&mut self, mark: u8) -> bool {
        let found = self.at(mark);
        if found {
            self.next();
        }
        found
    }

    /// The next token's text if it is a word.
    pub(super) fn peek_word(&mut self) -> Option<&str> {
        let token = self.peek();
        (token.kind == Kind::Word).then(|| self.lexer.text(&token.span))
    }

    /// Takes one word of a table.
    pub(super) fn word_of<T: Copy>(&mut self, table: &[(&'static str, T)], what: &str) -> Parsed<Spanned<T>> {
        let token = self.peek();
        let word = if token.kind == Kind::Word { self.lexer.text(&token.span) } else { "" };
        if let Some((_, value)) = table.iter().find(|(name, _)| *name == word) {
            self.next();
            return Ok(Spanned { value: *value, span: token.span });
        }
        match nearest(word, table.iter().map(|(name, _)| *name)) {
            Some(near) => {
                let message = format!("expected {what}, found {}", self.describe(&token));
                self.fail_with_help(token.span, message, format!("did you mean `{near}`?"))
            }
            None => self.expected(what),
        }
    }

    /// A number, decimal or hexadecimal.
    pub(super) fn number(&mut self, what: &str) -> Parsed<Spanned<u64>> {
        let token = self.peek();
        let text = self.lexer.text(&token.span);
        let hex = hexadecimal(text);
        let is_number = match hex {
            Some(digits) => !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_hexdigit()),
            None => !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()),
        };
        if token.kind != Kind::Word || !is_number {
            return self.expected(what);
        }
        self.next();
        let value = hex.map_or_else(|| text.parse().ok(), |digits| u64::from_str_radix(digits, 16).ok());
        match value {
            Some(value) => Ok(Spanned { value, span: token.span }),
            None => self.fail(token.span, "the number is too large"),
        }
    }

    /// A number of at most `most`.
    pub(super) fn number_to(&mut self, most: u32, what: &str) -> Parsed<Spanned<u32>> {
        let number = self.number(what)?;
        match u32::try_from(number.value).ok().filter(|value| *value <= most) {
            Some(value) => Ok(Spanned { value, span: number.span }),
            None => self.fail(number.span, format!("{what} is at most {most}")),
        }
    }

    fn recover(&mut self) {
        self.lexer.set_mode(Mode::Command);
        loop {
            match self.next().kind {
                Kind::End | Kind::Mark(b';') => return,
                _ => {}
            }
        }
    }

    /// Takes the `;` that ends a command. One forgotten before a command on a new line is an error, but nothing is
    /// skipped for it.
    fn semicolon(&mut self) -> Parsed<()> {
        self.lexer.set_mode(Mode::Command);
        if self.eat(b';') {
            return Ok(());
        }
        let token = self.peek();
        let begins_command = self.lexer.newline_before(token.span.start)
            && token.kind == Kind::Word
            && COMMANDS.contains(&self.lexer.text(&token.span));
        if begins_command || token.kind == Kind::End {
            let end = self.lexer.last_end;
            self.diagnostics.error(&self.lexer.source, end.saturating_sub(1)..end, "expected `;` after this");
            return Ok(());
        }
        self.expected("`;`")
    }

    fn command(&mut self, place: &Place) -> Parsed<Done> {
        let table: Vec<(&'static str, &'static str)> = COMMANDS.iter().map(|name| (*name, *name)).collect();
        let token = self.peek();
        if let word @ ("update" | "getspi") = self.lexer.text(&token.span) {
            return self.fail(token.span, format!("`{word}` is not supported (setkey 0.8 did not have it)"));
        }
        let name = self.word_of(&table, "a command (`spdadd`, `add`, `flush`, ...)")?;
        let actions = match name.value {
            "exit" | "quit" | "bye" => {
                self.semicolon()?;
                return Ok(Done::Exit);
            }
            "spdflush" => vec![Action::SpdFlush],
            "spddump" => vec![Action::SpdDump],
            "flush" => vec![Action::Flush(self.optional_protocol()?)],
            "dump" => vec![Action::Dump(self.optional_protocol()?)],
            "spdadd" => vec![Action::SpdAdd(self.policy_command(place)?)],
            "spdupdate" => vec![Action::SpdUpdate(self.policy_command(place)?)],
            "spddelete" => vec![Action::SpdDelete(self.policy_delete()?)],
            "add" => self.add(place)?,
            "get" => vec![Action::Get(self.one_sa(true)?)],
            "delete" => vec![Action::Delete(self.one_sa(false)?)],
            _ => self.delete_all()?,
        };
        self.semicolon()?;
        Ok(Done::Commands(actions))
    }

    fn nothing_may_follow(&mut self) {
        let token = self.peek();
        if token.kind != Kind::End {
            self.warn(token.span, "this is not read: the file was left with `exit`, `quit` or `bye`");
        }
    }

    fn optional_protocol(&mut self) -> Parsed<Option<SaProtocol>> {
        if self.peek().kind != Kind::Word {
            return Ok(None);
        }
        // A forgotten `;`: the next line's command is no protocol.
        let token = self.peek();
        if self.lexer.newline_before(token.span.start) && COMMANDS.contains(&self.lexer.text(&token.span)) {
            return Ok(None);
        }
        self.sa_protocol().map(Some)
    }

    /// `esp`, `ah` and the like, without an original address.
    pub(super) fn sa_protocol(&mut self) -> Parsed<SaProtocol> {
        const PROTOCOLS: &[(&str, SaProtocol)] = &[
            ("esp", SaProtocol::Esp),
            ("esp-old", SaProtocol::EspOld),
            ("esp-udp", SaProtocol::EspUdp { original: None }),
            ("ah", SaProtocol::Ah),
            ("ah-old", SaProtocol::AhOld),
            ("ipcomp", SaProtocol::Ipcomp),
            ("tcp", SaProtocol::Tcp),
        ];
        let what = "`esp`, `ah`, `ipcomp`, `esp-udp`, `esp-old`, `ah-old` or `tcp`";
        Ok(self.word_of(PROTOCOLS, what)?.value)
    }

    /// `-4`, `-6`, `-n`, alone or together.
    pub(super) fn name_options(&mut self) -> Parsed<NameOptions> {
        let mut options = NameOptions::default();
        loop {
            let token = self.peek();
            if token.kind != Kind::Flag {
                return Ok(options);
            }
            let letters = self.lexer.text(&token.span).get(1..).unwrap_or_default();
            if letters.is_empty() || !letters.bytes().all(|letter| matches!(letter, b'4' | b'6' | b'n')) {
                return self.expected("an address");
            }
            options.v4 |= letters.contains('4');
            options.v6 |= letters.contains('6');
            options.numeric |= letters.contains('n');
            self.next();
        }
    }

    /// The next word as an address, if it is one in numbers; told if it is in a form that is not usual.
    pub(super) fn numeric_address(&mut self) -> Option<Endpoint> {
        let token = self.peek();
        let word = (token.kind == Kind::Word).then(|| self.lexer.text(&token.span))?;
        if let Some(usual) = parse_address(word) {
            return Some(usual);
        }
        let address = address::short_form(word)?;
        self.warn(token.span, format!("`{word}` is read as {address}, as setkey read it"));
        Some(Endpoint::new(address.into()))
    }

    /// An address or a host's name.
    pub(super) fn host(&mut self, options: NameOptions) -> Parsed<Host> {
        let token = self.peek();
        if token.kind != Kind::Word {
            return self.expected("an address");
        }
        if let Some(whole) = self.lexer.word_with_underscores(token.span.start) {
            let name = self.lexer.source.quote(whole.clone(), LONGEST_QUOTE);
            let message = format!("`{name}` is no name here: setkey's words end at `_`");
            return self.fail_with_help(whole, message, "write its address");
        }
        if let Some(endpoint) = self.numeric_address() {
            self.next();
            if !options.fit(endpoint.addr) {
                return self.fail(token.span, "the address is not of the family that `-4` or `-6` asks for");
            }
            return Ok(Host { addresses: vec![endpoint], span: token.span });
        }
        let text = self.lexer.text(&token.span);
        if RESERVED.contains(&text) || COMMANDS.contains(&text) {
            let message = format!("expected an address, found `{text}`, which is a word of setkey's own");
            let help = "every address is `0.0.0.0/0`, or `::/0`";
            return if text == "any" {
                self.fail_with_help(token.span, message, help)
            } else {
                self.fail(token.span, message)
            };
        }
        // A number of dots and digits is no name.
        let is_name = text.bytes().any(|octet| octet.is_ascii_alphabetic()) && !text.contains([':', '%']);
        if !is_name || options.numeric {
            let why = if is_name { "a numeric address (`-n` forbids names)" } else { "an address" };
            return self.expected(why);
        }
        self.next();
        let mut found = match self.files.resolve(text) {
            Ok(found) => found,
            Err(error) => {
                return self.fail(token.span, format!("cannot find the address of `{text}`: {error}"));
            }
        };
        found.retain(|addr| options.fit(*addr));
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            return self.fail(token.span, format!("`{text}` has no address of this family"));
        }
        Ok(Host { addresses: found.into_iter().map(Endpoint::new).collect(), span: token.span })
    }

    /// A host with only one address.
    pub(super) fn one_host(&mut self, options: NameOptions) -> Parsed<Spanned<Endpoint>> {
        let host = self.host(options)?;
        match host.addresses.as_slice() {
            [address] => Ok(Spanned { value: address.clone(), span: host.span }),
            _ => self.fail(host.span, "multiple address specified: the name has more than one"),
        }
    }

    /// `[N]`, `[any]`, `[service]`; `None` is any.
    pub(super) fn port(&mut self) -> Parsed<Option<u16>> {
        if !self.eat(b'[') {
            return Ok(None);
        }
        let token = self.peek();
        let text = self.lexer.text(&token.span);
        let port = match (token.kind, text) {
            (Kind::Word, "any") => {
                self.next();
                None
            }
            (Kind::Word, name)
                if name.bytes().any(|octet| octet.is_ascii_alphabetic()) && hexadecimal(name).is_none() =>
            {
                self.next();
                match names::service(name, self.files) {
                    Some(port) => Some(port),
                    None => {
                        return self.fail(token.span, format!("`{name}` is no service that is known here"));
                    }
                }
            }
            _ => u16::try_from(self.number_to(65535, "a port")?.value).ok(),
        };
        if !self.eat(b']') {
            return self.expected("`]`");
        }
        Ok(port.filter(|port| *port != 0))
    }

    /// `ADDR [/len] [port]`.
    pub(super) fn range(&mut self, options: NameOptions) -> Parsed<(Spanned<IpNet>, Option<u16>)> {
        let host = self.one_host(options)?;
        let mut net = IpNet::host(host.value.addr);
        if self.eat(b'/') {
            let number = self.number_to(u32::from(net.prefix), "the prefix of this address")?;
            net.prefix = u8::try_from(number.value).unwrap_or(net.prefix);
        }
        let port = self.port()?;
        if self.at(b'/') {
            let token = self.peek();
            return self.fail_with_help(
                token.span,
                "the prefix stands before the port",
                "write `ADDR/len[port]`",
            );
        }
        Ok((Spanned { value: net, span: host.span }, port))
    }

    /// A quoted string.
    pub(super) fn text(&mut self, what: &str) -> Parsed<Spanned<String>> {
        let token = self.peek();
        if token.kind != Kind::Text {
            return self.expected(what);
        }
        self.next();
        match str::from_utf8(self.lexer.octets(&(token.span.start + 1..token.span.end - 1))) {
            Ok(text) => Ok(Spanned { value: text.to_owned(), span: token.span }),
            Err(_) => self.fail(token.span, format!("{what} is not UTF-8")),
        }
    }

    /// `DOI ALG "label"` behind `-ctx`.
    pub(super) fn context(&mut self) -> Parsed<SecurityContext> {
        let mut small = |what| Ok(u8::try_from(self.number_to(255, what)?.value).unwrap_or(0));
        let (doi, algorithm) = (small("a domain of interpretation")?, small("an algorithm")?);
        Ok(SecurityContext { doi, algorithm, label: self.text("a label in quotes")?.value })
    }

    /// Takes a flag if it is this one.
    pub(super) fn eat_flag(&mut self, flag: &str) -> bool {
        let token = self.peek();
        let found = token.kind == Kind::Flag && self.lexer.text(&token.span) == flag;
        if found {
            self.next();
        }
        found
    }
}

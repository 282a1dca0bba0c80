//! `sainfo`.

use super::{Failed, Parsed, Parser};
use crate::net::full_prefix;
use crate::racoon::algorithms;
use crate::racoon::ast::{IdKind, SaInfoBlock, SaInfoOption, SaInfoSide, Spanned, WrittenAlgorithm};
use crate::racoon::lexer::Kind;

/// Protocols that have no ports, and one family each.
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
/// racoon's number for any protocol, which it wrote as 0 on the wire.
const ANY: u8 = 255;

pub(super) const OPTIONS: &[(&str, u8)] = &[
    ("pfs_group", 0),
    ("remoteid", 1),
    ("lifetime", 2),
    ("encryption_algorithm", 3),
    ("authentication_algorithm", 4),
    ("compression_algorithm", 5),
];

impl Parser<'_, '_> {
    /// What stands behind `sainfo`.
    pub(super) fn sainfo_block(&mut self) -> Parsed<SaInfoBlock> {
        let open = self.parenthesis();
        let local = self.sainfo_side("`anonymous`, `address` or `subnet`")?;
        let mut parenthesis_open = open && !self.eat(b')');
        let token = self.peek();
        let ends = matches!(token.kind, Kind::Mark(b'{'))
            || (token.kind == Kind::Word && matches!(self.lexer.text(&token.span), "from" | "group"));
        let remote = match (&local, ends) {
            (SaInfoSide::Anonymous, true) => SaInfoSide::Anonymous,
            (SaInfoSide::ClientAddress, _) => {
                return Err(self.expected_with_help("our end", "`clientaddr` can only be the second end"));
            }
            _ => {
                parenthesis_open |= self.parenthesis();
                self.sainfo_side("the peer's end: `anonymous`, `clientaddr`, `address` or `subnet`")?
            }
        };
        if matches!((&local, &remote, ends), (SaInfoSide::Anonymous, SaInfoSide::Anonymous, false)) {
            let end = self.lexer.last_end;
            let help = "write `sainfo anonymous { ... }`";
            self.error_with_help(end.saturating_sub(9)..end, "`anonymous` twice", help);
        }
        if parenthesis_open && !self.eat(b')') {
            return Err(self.expected("`)`"));
        }
        let (mut from, mut group) = (None, None);
        if self.peek().kind == Kind::Word {
            let name = self.keyword(&[("from", true), ("group", false)], "`from`, `group` or `{`")?;
            if name.value {
                from = Some(self.identifier()?);
            } else {
                self.text("a group")?;
                group = Some(name.span);
            }
        }
        let before = self.skipped;
        let options = self.block(Self::sainfo_option)?;
        Ok(SaInfoBlock { local, remote, from, group, options, broken: self.skipped > before })
    }

    /// Takes `(` around a selector: racoon's lexer passed it over.
    fn parenthesis(&mut self) -> bool {
        let token = self.peek();
        let found = self.eat(b'(');
        if found {
            self.warn(token.span, "parentheses mean nothing here: they are passed over");
        }
        found
    }

    fn sainfo_side(&mut self, what: &str) -> Parsed<SaInfoSide> {
        let token = self.peek();
        match (token.kind, self.lexer.text(&token.span)) {
            (Kind::Word, "anonymous") => {
                self.next();
                Ok(SaInfoSide::Anonymous)
            }
            (Kind::Word, "clientaddr") => {
                self.next();
                Ok(SaInfoSide::ClientAddress)
            }
            (Kind::Word, "address" | "subnet") => {
                self.next();
                self.sainfo_net()
            }
            (Kind::Word, "fqdn" | "user_fqdn" | "keyid") => {
                let mut id = self.identifier()?;
                // racoon took the text itself here, not the file of that name.
                if id.kind == IdKind::KeyIdFile {
                    id.kind = IdKind::KeyIdTag;
                }
                Ok(SaInfoSide::Id(id))
            }
            (Kind::Word, "asn1dn") => {
                self.error(token.span, "a distinguished name cannot be one end of a sainfo");
                Err(Failed)
            }
            _ => Err(self.expected(what)),
        }
    }

    fn sainfo_net(&mut self) -> Parsed<SaInfoSide> {
        let address = self.address()?;
        let (addr, mut prefix, mut last) = (address.value.addr, None, None);
        if self.eat(b'/') {
            let number = self.number()?;
            prefix = u8::try_from(number.value).ok().filter(|prefix| *prefix <= full_prefix(addr));
            if prefix.is_none() {
                self.error(number.span, format!("a prefix of this address is at most {}", full_prefix(addr)));
                return Err(Failed);
            }
        } else if self.eat(b'-') {
            let end = self.address()?;
            if end.value.addr.is_ipv4() != addr.is_ipv4() || end.value.addr < addr {
                self.error(end.span, "the range ends before it begins");
                return Err(Failed);
            }
            last = Some(end.value.addr);
        }
        let start = self.peek().span.start;
        let port = self.sainfo_port()?;
        let protocol = self.protocol()?;
        let span = start..self.lexer.last_end;
        match (protocol, addr.is_ipv4()) {
            (ICMP, false) | (ICMP6, true) => {
                self.error(span, "`icmp` is for IPv4 and `icmp6` for IPv6");
                return Err(Failed);
            }
            (ICMP | ICMP6, _) if port.is_some() => {
                self.error_with_help(span, "this protocol has no ports", "write no port, or `[any]`");
                return Err(Failed);
            }
            _ => {}
        }
        Ok(SaInfoSide::Net { addr, prefix, last, port, protocol })
    }

    fn sainfo_port(&mut self) -> Parsed<Option<u16>> {
        if !self.eat(b'[') {
            return Ok(None);
        }
        let token = self.peek();
        let port = if self.lexer.text(&token.span) == "any" {
            self.next();
            None
        } else {
            Some(self.port_number()?)
        };
        if !self.eat(b']') {
            return Err(self.expected("`]`"));
        }
        Ok(port.filter(|port| *port != 0))
    }

    fn protocol(&mut self) -> Parsed<u8> {
        const PROTOCOLS: &[(&str, u8)] = &[
            ("any", 0),
            ("tcp", 6),
            ("udp", 17),
            ("icmp", ICMP),
            ("icmp6", ICMP6),
            ("esp", 50),
            ("ah", 51),
            ("ipcomp", 108),
            ("gre", 47),
        ];
        let token = self.peek();
        let is_number = self.lexer.octets(&token.span).first().is_some_and(u8::is_ascii_digit);
        if token.kind == Kind::Word && is_number {
            let number = self.number()?;
            let protocol = u8::try_from(number.value).map_err(|_| {
                self.error(number.span, "a protocol number is at most 255");
                Failed
            })?;
            return Ok(if protocol == ANY { 0 } else { protocol });
        }
        let what =
            "a protocol: `any`, a number, `tcp`, `udp`, `icmp`, `icmp6`, `esp`, `ah`, `ipcomp` or `gre`";
        Ok(self.keyword(PROTOCOLS, what)?.value)
    }

    fn sainfo_option(&mut self) -> Parsed<Spanned<SaInfoOption>> {
        let name = self.option_name(OPTIONS, "an option of sainfo")?;
        let start = self.peek().span.start;
        let value = match name.value {
            0 => SaInfoOption::PfsGroup(self.dh_group()?),
            1 => SaInfoOption::RemoteId(self.number()?.value),
            2 => match self.lifetime()? {
                Some(time) => SaInfoOption::Lifetime(time),
                None => SaInfoOption::LifetimeByte,
            },
            3 => SaInfoOption::Encryption(
                self.algorithms(algorithms::ENCRYPTION_NAMES, "an encryption algorithm")?,
            ),
            4 => SaInfoOption::Authentication(
                self.algorithms(algorithms::AUTHENTICATION_NAMES, "an authentication algorithm")?,
            ),
            _ => {
                let all = self.algorithms(algorithms::COMPRESSION_NAMES, "`deflate`")?;
                if let Some(one) = all.iter().find(|one| one.bits.is_some()) {
                    self.error(one.span.clone(), format!("`{}` takes no key length", one.name));
                }
                SaInfoOption::Compression
            }
        };
        let span = start..self.lexer.last_end;
        self.semicolon()?;
        Ok(Spanned { value, span })
    }

    fn algorithms(&mut self, table: &[&'static str], what: &str) -> Parsed<Vec<WrittenAlgorithm>> {
        let mut all = Vec::new();
        self.list(|parser| {
            all.push(parser.algorithm(table, what)?);
            Ok(())
        })?;
        Ok(all)
    }
}

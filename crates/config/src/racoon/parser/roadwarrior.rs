//! `mode_cfg`, `radiuscfg`, `ldapcfg`: read for their errors only, for no remote may use them (Coati has no road warriors).

use super::{Parsed, Parser};
use crate::racoon::ast::Spanned;
use crate::racoon::lexer::Kind;

/// What stands behind a name.
#[derive(Clone, Copy)]
enum Value {
    Address,
    Addresses,
    Number,
    Text,
    TextOrAddress,
    Texts,
    Switch,
    Word(&'static [(&'static str, ())]),
    Split,
}

const SOURCES: &[(&str, ())] =
    &[("local", ()), ("system", ()), ("radius", ()), ("pam", ()), ("ldap", ()), ("none", ())];

const MODE_CFG: &[(&str, Value)] = &[
    ("network4", Value::Address),
    ("netmask4", Value::Address),
    ("pool_size", Value::Number),
    ("dns4", Value::Addresses),
    ("nbns4", Value::Addresses),
    ("wins4", Value::Addresses),
    ("split_network", Value::Split),
    ("split_dns", Value::Texts),
    ("default_domain", Value::Text),
    ("banner", Value::Text),
    ("save_passwd", Value::Switch),
    ("pfs_group", Value::Number),
    ("auth_source", Value::Word(SOURCES)),
    ("auth_groups", Value::Texts),
    ("group_source", Value::Word(SOURCES)),
    ("conf_source", Value::Word(SOURCES)),
    ("accounting", Value::Word(SOURCES)),
    ("auth_throttle", Value::Number),
];

const LDAP: &[(&str, Value)] = &[
    ("version", Value::Number),
    ("host", Value::TextOrAddress),
    ("port", Value::Number),
    ("uri", Value::Text),
    ("debug", Value::Number),
    ("timeout", Value::Number),
    ("tls", Value::Switch),
    ("base", Value::Text),
    ("subtree", Value::Switch),
    ("bind_dn", Value::Text),
    ("bind_pw", Value::Text),
    ("attr_user", Value::Text),
    ("attr_addr", Value::Text),
    ("attr_mask", Value::Text),
    ("attr_group", Value::Text),
    ("attr_member", Value::Text),
    ("attr_device", Value::Text),
];

impl Parser<'_, '_> {
    pub(super) fn mode_cfg_option(&mut self) -> Parsed<Spanned<()>> {
        self.passed_over(MODE_CFG, "an option of mode_cfg")
    }

    pub(super) fn ldap_option(&mut self) -> Parsed<Spanned<()>> {
        self.passed_over(LDAP, "an option of ldapcfg")
    }

    pub(super) fn radius_option(&mut self) -> Parsed<Spanned<()>> {
        let name = self.option_name(
            &[("auth", true), ("acct", true), ("timeout", false), ("retries", false)],
            "an option of radiuscfg",
        )?;
        if name.value {
            self.text("a host")?;
            if self.peek().kind == Kind::Word {
                self.port_number()?;
            }
            self.text("a secret")?;
        } else {
            self.number()?;
        }
        self.semicolon()?;
        Ok(Spanned { value: (), span: name.span })
    }

    fn passed_over(&mut self, table: &[(&'static str, Value)], what: &str) -> Parsed<Spanned<()>> {
        let name = self.option_name(table, what)?;
        match name.value {
            Value::Address => self.address().map(drop)?,
            Value::Addresses => self.list(|parser| parser.address().map(drop))?,
            Value::Number => self.number().map(drop)?,
            Value::Text => self.text("a value").map(drop)?,
            Value::TextOrAddress => self.text_or_word("a value").map(drop)?,
            Value::Texts => self.list(|parser| parser.text("a value").map(drop))?,
            Value::Switch => self.switch().map(drop)?,
            Value::Word(words) => self.keyword(words, "a source").map(drop)?,
            Value::Split => {
                self.keyword(&[("include", ()), ("local_lan", ())], "`include` or `local_lan`")?;
                self.list(|parser| {
                    parser.address()?;
                    if !parser.eat(b'/') {
                        return Err(parser.expected("`/` and a prefix length"));
                    }
                    parser.number().map(drop)
                })?;
            }
        }
        self.semicolon()?;
        Ok(Spanned { value: (), span: name.span })
    }

    /// One or more, with commas between.
    pub(super) fn list(&mut self, mut one: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<()> {
        one(self)?;
        while self.eat(b',') {
            one(self)?;
        }
        Ok(())
    }
}

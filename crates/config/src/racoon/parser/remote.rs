//! `remote` and the `proposal` in it.

use core::ops::Range;

use super::{Parsed, Parser};
use crate::racoon::algorithms;
use crate::racoon::ast::{
    CertificateOption, IdKind, NumberOption, ProposalBlock, ProposalOption, Remark, RemoteBlock, RemoteName,
    RemoteOption, Spanned, Switch, Text, WrittenId,
};
use crate::racoon::lexer::Kind;
use crate::racoon::model::{DEFAULT_LIFETIME, GeneratePolicy, NatTraversal, ScriptEvent};

#[derive(Clone, Copy)]
pub(super) enum Name {
    Switch(Switch),
    Number(NumberOption),
    RemoteAddress,
    ExchangeMode,
    Doi,
    Situation,
    MyIdentifier,
    PeersIdentifier,
    XauthLogin,
    CertificateType,
    PeersCertfile,
    CaType,
    GeneratePolicy,
    ProposalCheck,
    Lifetime,
    NatTraversal,
    IkeFrag,
    Script,
    Rekey,
    Proposal,
}

pub(super) const NAMES: &[(&str, Name)] = &[
    ("remote_address", Name::RemoteAddress),
    ("exchange_mode", Name::ExchangeMode),
    ("doi", Name::Doi),
    ("situation", Name::Situation),
    ("my_identifier", Name::MyIdentifier),
    ("peers_identifier", Name::PeersIdentifier),
    ("verify_identifier", Name::Switch(Switch::VerifyIdentifier)),
    ("xauth_login", Name::XauthLogin),
    ("certificate_type", Name::CertificateType),
    ("peers_certfile", Name::PeersCertfile),
    ("ca_type", Name::CaType),
    ("verify_cert", Name::Switch(Switch::VerifyCert)),
    ("send_cert", Name::Switch(Switch::SendCert)),
    ("send_cr", Name::Switch(Switch::SendCr)),
    ("match_empty_cr", Name::Switch(Switch::MatchEmptyCr)),
    ("nonce_size", Name::Number(NumberOption::NonceSize)),
    ("passive", Name::Switch(Switch::Passive)),
    ("generate_policy", Name::GeneratePolicy),
    ("support_proxy", Name::Switch(Switch::SupportProxy)),
    ("support_mip6", Name::Switch(Switch::SupportProxy)),
    ("initial_contact", Name::Switch(Switch::InitialContact)),
    ("proposal_check", Name::ProposalCheck),
    ("lifetime", Name::Lifetime),
    ("nat_traversal", Name::NatTraversal),
    ("ike_frag", Name::IkeFrag),
    ("esp_frag", Name::Number(NumberOption::EspFrag)),
    ("script", Name::Script),
    ("mode_cfg", Name::Switch(Switch::ModeCfg)),
    ("weak_phase1_check", Name::Switch(Switch::WeakPhase1Check)),
    ("dpd", Name::Switch(Switch::Dpd)),
    ("dpd_delay", Name::Number(NumberOption::DpdDelay)),
    ("dpd_retry", Name::Number(NumberOption::DpdRetry)),
    ("dpd_maxfail", Name::Number(NumberOption::DpdMaxfail)),
    ("rekey", Name::Rekey),
    ("ph1id", Name::Number(NumberOption::Ph1id)),
    ("proposal", Name::Proposal),
];

pub(super) const PROPOSAL: &[(&str, u8)] = &[
    ("lifetime", 0),
    ("encryption_algorithm", 1),
    ("hash_algorithm", 2),
    ("authentication_method", 3),
    ("dh_group", 4),
    ("gss_id", 5),
    ("gssapi_id", 5),
];

impl Parser<'_, '_> {
    /// What stands behind `remote`.
    pub(super) fn remote_block(&mut self) -> Parsed<RemoteBlock> {
        let name = self.remote_name()?;
        let mut inherit = None;
        if self.peek().kind == Kind::Word {
            self.keyword(&[("inherit", ())], "`inherit` or `{`")?;
            inherit = Some(self.remote_name()?);
        }
        if inherit.is_some() && self.eat(b';') {
            return Ok(RemoteBlock { name, inherit, options: Vec::new(), broken: false });
        }
        let before = self.skipped;
        let options = self.block(Self::remote_option)?;
        Ok(RemoteBlock { name, inherit, options, broken: self.skipped > before })
    }

    fn remote_name(&mut self) -> Parsed<Spanned<RemoteName>> {
        let token = self.peek();
        let value = match token.kind {
            Kind::Text => {
                let text = self.text_not_empty("the name of the remote")?;
                RemoteName::Named(self.utf8(&text)?)
            }
            Kind::Word if self.lexer.text(&token.span) == "anonymous" => {
                self.next();
                RemoteName::Anonymous(self.port()?)
            }
            Kind::Word => RemoteName::Address(self.endpoint()?.value),
            _ => return Err(self.expected("`anonymous`, a numeric address or a name in quotes")),
        };
        Ok(Spanned { value, span: token.span.start..self.lexer.last_end })
    }

    fn remote_option(&mut self) -> Parsed<Spanned<RemoteOption>> {
        self.commas();
        let token = self.peek();
        if matches!(
            self.lexer.text(&token.span),
            "dh_group" | "encryption_algorithm" | "hash_algorithm" | "authentication_method"
        ) {
            let help = "write it in `proposal { ... }`";
            return Err(self.expected_with_help("an option of remote", help));
        }
        let name = self.option_name(NAMES, "an option of remote")?;
        let value = match name.value {
            Name::Proposal => {
                let before = self.skipped;
                let options = self.block(Self::proposal_option)?;
                let broken = self.skipped > before;
                return Ok(Spanned {
                    value: RemoteOption::Proposal(ProposalBlock { options, broken }),
                    span: name.span,
                });
            }
            Name::Switch(switch) => RemoteOption::Switch(switch, self.switch()?),
            Name::Number(number) => RemoteOption::Number(number, self.number()?.value),
            Name::RemoteAddress => RemoteOption::RemoteAddress(self.endpoint()?.value),
            Name::ExchangeMode => self.exchange_modes()?,
            Name::Doi => self
                .keyword(&[("ipsec_doi", RemoteWord::Remark(Remark::Cosmetic))], "`ipsec_doi`")?
                .value
                .option(),
            Name::Situation => self.situation()?,
            Name::MyIdentifier => RemoteOption::MyIdentifier(self.identifier()?),
            Name::PeersIdentifier => RemoteOption::PeersIdentifier(self.identifier()?),
            Name::XauthLogin => {
                self.text("a user")?;
                RemoteOption::Remark(Remark::XauthLogin)
            }
            Name::CertificateType => self.certificate_type()?,
            Name::PeersCertfile => self.peers_certfile()?,
            Name::CaType => {
                self.keyword(&[("x509", ())], "`x509`")?;
                RemoteOption::Certificate(CertificateOption::Ca(self.text_not_empty("the CA's certificate")?))
            }
            Name::Lifetime => match self.lifetime()? {
                Some(time) => RemoteOption::Lifetime(time),
                None => RemoteOption::Remark(Remark::LifetimeByte),
            },
            Name::Script => self.script()?,
            Name::GeneratePolicy | Name::ProposalCheck | Name::NatTraversal | Name::IkeFrag | Name::Rekey => {
                self.word_option(name.value)?
            }
        };
        self.commas();
        self.semicolon()?;
        Ok(Spanned { value, span: name.span })
    }

    /// Takes commas that stand where none belongs: of those in a remote's own options racoon's lexer told nobody.
    fn commas(&mut self) {
        while self.at(b',') {
            let token = self.next();
            self.warn(token.span, "`,` means nothing here: it is passed over");
        }
    }

    /// Options whose value is one word.
    fn word_option(&mut self, name: Name) -> Parsed<RemoteOption> {
        use RemoteWord as W;
        let (table, what): (&[(&'static str, W)], _) = match name {
            Name::GeneratePolicy => (
                &[
                    ("on", W::GeneratePolicy(GeneratePolicy::Require)),
                    ("off", W::GeneratePolicy(GeneratePolicy::Off)),
                    ("require", W::GeneratePolicy(GeneratePolicy::Require)),
                    ("unique", W::GeneratePolicy(GeneratePolicy::Unique)),
                ],
                "`on`, `off`, `require` or `unique`",
            ),
            Name::ProposalCheck => (
                &[
                    ("obey", W::Remark(Remark::Cosmetic)),
                    ("strict", W::Remark(Remark::Cosmetic)),
                    ("claim", W::Remark(Remark::Cosmetic)),
                    ("exact", W::Remark(Remark::ProposalCheckExact)),
                ],
                "`obey`, `strict`, `claim` or `exact`",
            ),
            Name::NatTraversal => (
                &[
                    ("on", W::NatTraversal(NatTraversal::On)),
                    ("off", W::NatTraversal(NatTraversal::Off)),
                    ("force", W::NatTraversal(NatTraversal::Force)),
                ],
                "`on`, `off` or `force`",
            ),
            Name::IkeFrag => (
                &[("on", W::IkeFrag(true)), ("off", W::IkeFrag(false)), ("force", W::IkeFrag(true))],
                "`on`, `off` or `force`",
            ),
            _ => (
                &[
                    ("on", W::Remark(Remark::Rekey)),
                    ("off", W::Remark(Remark::RekeyOff)),
                    ("force", W::Remark(Remark::Rekey)),
                ],
                "`on`, `off` or `force`",
            ),
        };
        Ok(self.keyword(table, what)?.value.option())
    }

    fn exchange_modes(&mut self) -> Parsed<RemoteOption> {
        const MODES: &[(&str, ())] = &[("main", ()), ("aggressive", ()), ("base", ())];
        self.commas();
        self.keyword(MODES, "`main`, `aggressive` or `base`")?;
        loop {
            if self.eat(b',') {
                self.commas();
            }
            let token = self.peek();
            if token.kind != Kind::Word {
                break;
            }
            // A forgotten `;`: the next line's option is no exchange mode.
            if self.lexer.newline_before(token.span.start)
                && !MODES.iter().any(|(mode, ())| *mode == self.lexer.text(&token.span))
            {
                break;
            }
            self.keyword(MODES, "`main`, `aggressive` or `base`")?;
        }
        Ok(RemoteOption::ExchangeMode)
    }

    fn situation(&mut self) -> Parsed<RemoteOption> {
        const SITUATIONS: &[(&str, Remark)] = &[
            ("identity_only", Remark::Cosmetic),
            ("secrecy", Remark::Situation),
            ("integrity", Remark::Situation),
        ];
        Ok(RemoteOption::Remark(self.keyword(SITUATIONS, "`identity_only`")?.value))
    }

    fn certificate_type(&mut self) -> Parsed<RemoteOption> {
        let x509 = self.keyword(&[("x509", true), ("plain_rsa", false)], "`x509` or `plain_rsa`")?.value;
        if x509 {
            let certificate = self.text_not_empty("the certificate's file")?;
            let key = self.text_not_empty("the private key's file")?;
            return Ok(RemoteOption::Certificate(CertificateOption::OwnX509 { certificate, key }));
        }
        Ok(RemoteOption::Certificate(CertificateOption::OwnPlainRsa(
            self.text_not_empty("the private key's file")?,
        )))
    }

    fn peers_certfile(&mut self) -> Parsed<RemoteOption> {
        if self.peek().kind == Kind::Text {
            let file = self.text_not_empty("the certificate's file")?;
            self.warn(
                file.span.clone(),
                "`peers_certfile \"file\"` is the old way to write `peers_certfile x509 \"file\"`",
            );
            return Ok(RemoteOption::Certificate(CertificateOption::PeersX509(file)));
        }
        const KINDS: &[(&str, u8)] = &[("x509", 0), ("plain_rsa", 1), ("dnssec", 2)];
        Ok(RemoteOption::Certificate(match self.keyword(KINDS, "`x509`, `plain_rsa` or `dnssec`")?.value {
            0 => CertificateOption::PeersX509(self.text_not_empty("the certificate's file")?),
            1 => CertificateOption::PeersPlainRsa(self.text_not_empty("the public key's file")?),
            _ => CertificateOption::PeersDnssec,
        }))
    }

    fn script(&mut self) -> Parsed<RemoteOption> {
        const EVENTS: &[(&str, ScriptEvent)] = &[
            ("phase1_up", ScriptEvent::Phase1Up),
            ("phase1_down", ScriptEvent::Phase1Down),
            ("phase1_dead", ScriptEvent::Phase1Dead),
        ];
        let path = self.text_not_empty("the script's file")?;
        let event = self.keyword(EVENTS, "`phase1_up`, `phase1_down` or `phase1_dead`")?;
        Ok(RemoteOption::Script(path, event.value))
    }

    /// What stands behind `lifetime`: a time, or nothing for the byte count that racoon had given up.
    pub(super) fn lifetime(&mut self) -> Parsed<Option<core::time::Duration>> {
        let time = self.option_name(&[("time", true), ("byte", false)], "`time`")?.value;
        if !time {
            self.number_with_size()?;
            return Ok(None);
        }
        let time = self.time()?;
        if time.value.is_zero() {
            self.warn(time.span, "a lifetime of nothing is passed over: 8 hours are used");
            return Ok(Some(DEFAULT_LIFETIME));
        }
        Ok(Some(time.value))
    }

    fn number_with_size(&mut self) -> Parsed<()> {
        let token = self.next();
        if token.kind != Kind::Word {
            return Err(self.expected("a number"));
        }
        while self.peek().kind == Kind::Word {
            self.next();
        }
        Ok(())
    }

    fn proposal_option(&mut self) -> Parsed<Spanned<ProposalOption>> {
        let name = self.option_name(PROPOSAL, "an option of proposal")?;
        let start = self.peek().span.start;
        let value = match name.value {
            0 => match self.lifetime()? {
                Some(time) => ProposalOption::Lifetime(time),
                None => ProposalOption::LifetimeByte,
            },
            1 => ProposalOption::Encryption(
                self.algorithm(algorithms::ENCRYPTION_NAMES, "an encryption algorithm")?,
            ),
            2 => ProposalOption::Hash(self.algorithm(algorithms::HASH_NAMES, "a hash algorithm")?.name),
            3 => ProposalOption::Authentication(
                self.algorithm(algorithms::METHOD_NAMES, "an authentication method")?.name,
            ),
            4 => ProposalOption::DhGroup(self.dh_group()?),
            _ => {
                self.text("an id")?;
                ProposalOption::GssId
            }
        };
        let span = start..self.lexer.last_end;
        self.semicolon()?;
        Ok(Spanned { value, span })
    }

    /// A group's name or number.
    pub(super) fn dh_group(&mut self) -> Parsed<String> {
        let token = self.peek();
        if token.kind != Kind::Word {
            return Err(self.expected("a Diffie-Hellman group, such as `modp3072` or `curve25519`"));
        }
        self.next();
        Ok(self.lexer.text(&token.span).to_owned())
    }

    /// An identifier's type and value.
    pub(super) fn identifier(&mut self) -> Parsed<WrittenId> {
        const KINDS: &[(&str, IdKind)] = &[
            ("address", IdKind::Address),
            ("fqdn", IdKind::Fqdn),
            ("user_fqdn", IdKind::UserFqdn),
            ("keyid", IdKind::KeyIdFile),
            ("asn1dn", IdKind::Asn1Dn),
        ];
        let kind = self.option_name(KINDS, "`address`, `fqdn`, `user_fqdn`, `keyid` or `asn1dn`")?;
        let (mut id, start) = (kind.value, kind.span.start);
        let token = self.peek();
        let is_qualifier = matches!(self.lexer.text(&token.span), "tag" | "file");
        if id == IdKind::KeyIdFile && token.kind == Kind::Word && !self.is_address_like(&token.span) {
            let qualifier = self.keyword(
                &[("tag", IdKind::KeyIdTag), ("file", IdKind::KeyIdFile)],
                "`tag`, `file` or a string",
            )?;
            id = qualifier.value;
        } else if token.kind == Kind::Word && is_qualifier {
            self.next();
            self.warn(token.span, "this word belongs to `keyid` alone: it is passed over");
        }
        let value = self.identifier_value()?;
        Ok(WrittenId { kind: id, span: start..self.lexer.last_end, value })
    }

    fn identifier_value(&mut self) -> Parsed<Option<Text>> {
        let token = self.peek();
        match token.kind {
            Kind::Text => Ok(Some(self.text("a value")?)),
            Kind::Word if self.is_address_like(&token.span) => {
                self.next();
                let value = self.lexer.octets(&token.span).to_vec();
                Ok(Some(Text { value, span: token.span }))
            }
            // The next word may belong to something else: the caller's `;` or `{` tells.
            Kind::Word if !self.lexer.newline_before(token.span.start) => {
                let shown = self.lexer.source.quote(token.span, super::LONGEST_QUOTE);
                Err(self.expected_with_help("a value in quotes", &format!("write `\"{shown}\"`")))
            }
            _ => Ok(None),
        }
    }

    /// racoon's ADDRSTRING: what may stand without quotes.
    fn is_address_like(&self, span: &Range<usize>) -> bool {
        let word = self.lexer.octets(span);
        let (address, _scope) = match word.iter().position(|octet| *octet == b'%') {
            Some(at) => word.split_at(at),
            None => (word, &[][..]),
        };
        !address.is_empty() && address.iter().all(|o| o.is_ascii_hexdigit() || matches!(o, b':' | b'.'))
    }
}

/// A word that stands for a whole option.
#[derive(Clone, Copy)]
enum RemoteWord {
    Remark(Remark),
    GeneratePolicy(GeneratePolicy),
    NatTraversal(NatTraversal),
    IkeFrag(bool),
}

impl RemoteWord {
    const fn option(self) -> RemoteOption {
        match self {
            Self::Remark(remark) => RemoteOption::Remark(remark),
            Self::GeneratePolicy(policy) => RemoteOption::GeneratePolicy(policy),
            Self::NatTraversal(traversal) => RemoteOption::NatTraversal(traversal),
            Self::IkeFrag(on) => RemoteOption::IkeFrag(on),
        }
    }
}

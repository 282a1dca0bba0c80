//! Top-level statements but `remote` and `sainfo`.

use super::{Failed, Parsed, Parser};
use crate::racoon::ast::{
    ListenOption, PathKind, PrivsepOption, Spanned, Statement, StatementKind, TimerOption,
};
use crate::racoon::lexer::Kind;
use crate::racoon::model::LogLevel;

#[derive(Clone, Copy)]
pub(super) enum Name {
    Path,
    Include,
    Log,
    Listen,
    Timer,
    Padding,
    Privsep,
    PfkeyBuffer,
    ComplexBundle,
    GssIdEnc,
    ModeCfg,
    RadiusCfg,
    LdapCfg,
    Remote,
    SaInfo,
}

pub(super) const PATHS: &[(&str, PathKind)] = &[
    ("include", PathKind::Include),
    ("pre_shared_key", PathKind::PreSharedKey),
    ("certificate", PathKind::Certificate),
    ("certificates", PathKind::Certificate),
    ("script", PathKind::Script),
    ("scripts", PathKind::Script),
    ("backupsa", PathKind::BackupSa),
    ("pidfile", PathKind::PidFile),
];

pub(super) const LISTEN: &[(&str, u8)] =
    &[("isakmp", 0), ("isakmp_natt", 1), ("strict_address", 2), ("adminsock", 3)];

pub(super) const TIMER: &[(&str, u8)] = &[
    ("counter", 0),
    ("interval", 1),
    ("persend", 2),
    ("phase1", 3),
    ("phase2", 4),
    ("natt_keepalive", 5),
    ("auto_exit_delay", 6),
];

pub(super) const PRIVSEP: &[(&str, u8)] = &[("user", 0), ("group", 1), ("chroot", 2)];

pub(super) const NAMES: &[(&str, Name)] = &[
    ("path", Name::Path),
    ("include", Name::Include),
    ("log", Name::Log),
    ("listen", Name::Listen),
    ("timer", Name::Timer),
    ("padding", Name::Padding),
    ("privsep", Name::Privsep),
    ("pfkey_buffer", Name::PfkeyBuffer),
    ("complex_bundle", Name::ComplexBundle),
    ("gss_id_enc", Name::GssIdEnc),
    ("mode_cfg", Name::ModeCfg),
    ("radiuscfg", Name::RadiusCfg),
    ("ldapcfg", Name::LdapCfg),
    // As a sample of the 0.9 line has it.
    ("ldap_cfg", Name::LdapCfg),
    ("remote", Name::Remote),
    ("sainfo", Name::SaInfo),
];

impl Parser<'_, '_> {
    pub(super) fn statement(&mut self) -> Parsed<Statement> {
        let token = self.peek();
        if token.kind == Kind::Mark(b';') {
            self.next();
            self.error_with_help(token.span.clone(), "an empty statement", "remove the `;`");
            return Ok(self.finished(token.span, StatementKind::Cosmetic));
        }
        let name = self.option_name(NAMES, "a statement (`remote`, `sainfo`, `path`, ...)")?;
        let kind = match name.value {
            Name::Path => self.path()?,
            Name::Include => {
                let pattern = self.text_not_empty("the name of a file to include")?;
                self.semicolon()?;
                StatementKind::Include(pattern)
            }
            Name::Log => self.log()?,
            Name::Listen => StatementKind::Listen(self.block(Self::listen_option)?),
            Name::Timer => StatementKind::Timer(self.block(Self::timer_option)?),
            Name::Padding => {
                self.block(Self::padding_option)?;
                StatementKind::Cosmetic
            }
            Name::Privsep => StatementKind::Privsep(self.block(Self::privsep_option)?),
            Name::PfkeyBuffer => {
                let size = self.number()?.value;
                self.semicolon()?;
                StatementKind::KernelBuffer(size)
            }
            Name::ComplexBundle => {
                self.switch()?;
                self.semicolon()?;
                // Bundles are refused where they stand: in the policies (setkey's files).
                StatementKind::Cosmetic
            }
            Name::GssIdEnc => {
                self.gss_id_encoding()?;
                StatementKind::Cosmetic
            }
            Name::ModeCfg => {
                self.block(Self::mode_cfg_option)?;
                StatementKind::NoMeaning(
                    "`mode_cfg` hands addresses to road warriors, which Coati does not do: nothing uses it",
                )
            }
            Name::RadiusCfg => {
                self.block(Self::radius_option)?;
                StatementKind::NoMeaning(
                    "`radiuscfg` is for XAuth, which IKEv2 does not have: nothing uses it",
                )
            }
            Name::LdapCfg => {
                self.block(Self::ldap_option)?;
                StatementKind::NoMeaning("`ldapcfg` is for XAuth, which IKEv2 does not have: nothing uses it")
            }
            Name::Remote => StatementKind::Remote(Box::new(self.remote_block()?)),
            Name::SaInfo => StatementKind::SaInfo(Box::new(self.sainfo_block()?)),
        };
        Ok(self.finished(name.span, kind))
    }

    fn finished(&self, span: core::ops::Range<usize>, kind: StatementKind) -> Statement {
        Statement { source: self.lexer.source.clone(), span, kind }
    }

    fn path(&mut self) -> Parsed<StatementKind> {
        let kind = self.option_name(
            PATHS,
            "`include`, `pre_shared_key`, `certificate`, `script`, `backupsa` or `pidfile`",
        )?;
        if let word @ ("certificates" | "scripts") = self.lexer.text(&kind.span) {
            self.warn(kind.span, format!("`{word}` is read as `{}`", word.trim_end_matches('s')));
        }
        let value = self.text_not_empty("a path")?;
        self.semicolon()?;
        Ok(StatementKind::Path(kind.value, value))
    }

    fn log(&mut self) -> Parsed<StatementKind> {
        const LEVELS: &[(&str, LogLevel)] = &[
            ("error", LogLevel::Error),
            ("warning", LogLevel::Warning),
            ("notify", LogLevel::Notify),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("debug2", LogLevel::Debug2),
        ];
        let level = self.keyword(LEVELS, "`error`, `warning`, `notify`, `info`, `debug` or `debug2`")?;
        self.semicolon()?;
        Ok(StatementKind::Log(level.value))
    }

    fn gss_id_encoding(&mut self) -> Parsed<()> {
        let what = "`latin1` or `utf-16le`";
        // `-` is a token of its own.
        if self.keyword(&[("latin1", false), ("utf", true)], what)?.value {
            if !self.eat(b'-') {
                return Err(self.expected(what));
            }
            self.keyword(&[("16le", ())], what)?;
        }
        self.semicolon()
    }

    fn listen_option(&mut self) -> Parsed<Spanned<ListenOption>> {
        let name = self.option_name(LISTEN, "`isakmp`, `isakmp_natt`, `strict_address` or `adminsock`")?;
        let value = match name.value {
            0 => ListenOption::Isakmp(self.endpoint()?.value),
            1 => ListenOption::IsakmpNatt(self.endpoint()?.value),
            2 => ListenOption::StrictAddress,
            _ if self.peek().kind == Kind::Word => {
                self.keyword(&[("disabled", ())], "a path in quotes or `disabled`")?;
                ListenOption::AdminSocketDisabled
            }
            _ => {
                let path = self.text_not_empty("the path of the socket")?;
                let mut name = |what| {
                    if self.peek().kind == Kind::Text {
                        self.text_not_empty(what).map(Some)
                    } else {
                        Ok(None)
                    }
                };
                let (owner, group) = (name("the owner")?, name("the group")?);
                let mode = if self.at(b';') { None } else { Some(self.permission_bits()?) };
                if owner.is_some() != mode.is_some() || group.is_some() != mode.is_some() {
                    let message = "racoon wanted owner, group and mode, or none of them: what is not written is the default";
                    self.warn(path.span.clone(), message);
                }
                ListenOption::AdminSocket { path, owner, group, mode }
            }
        };
        self.semicolon()?;
        Ok(Spanned { value, span: name.span })
    }

    /// `0660`: octal, as for chmod.
    fn permission_bits(&mut self) -> Parsed<u32> {
        let number = self.number()?;
        match u32::from_str_radix(self.lexer.text(&number.span), 8) {
            Ok(mode) if mode <= 0o777 => Ok(mode),
            _ => {
                self.error(number.span, "expected permission bits such as 0660");
                Err(Failed)
            }
        }
    }

    fn timer_option(&mut self) -> Parsed<Spanned<TimerOption>> {
        let what = "`counter`, `interval`, `persend`, `phase1`, `phase2` or `natt_keepalive`";
        let name = self.option_name(TIMER, what)?;
        let value = match name.value {
            0 => TimerOption::Counter(self.number()?.value),
            1 => TimerOption::Interval(self.time()?.value),
            2 => TimerOption::Persend(self.number()?.value),
            3 => TimerOption::Phase1(self.time()?.value),
            4 => TimerOption::Phase2(self.time()?.value),
            5 => TimerOption::NattKeepalive(self.time()?.value),
            _ => {
                self.time()?;
                TimerOption::AutoExitDelay
            }
        };
        self.semicolon()?;
        Ok(Spanned { value, span: name.span })
    }

    fn padding_option(&mut self) -> Parsed<Spanned<()>> {
        const OPTIONS: &[(&str, bool)] = &[
            ("randomize", false),
            ("randomize_length", false),
            ("maximum_length", true),
            ("strict_check", false),
            ("exclusive_tail", false),
        ];
        let what = "`randomize`, `randomize_length`, `maximum_length`, `strict_check` or `exclusive_tail`";
        let name = self.option_name(OPTIONS, what)?;
        if name.value {
            self.number()?;
        } else {
            self.switch()?;
        }
        self.semicolon()?;
        Ok(Spanned { value: (), span: name.span })
    }

    /// A name in quotes, or a number.
    fn account(&mut self, what: &str) -> Parsed<String> {
        let token = self.peek();
        let account = self.text_or_word(what)?;
        if token.kind == Kind::Word && !account.bytes().all(|octet| octet.is_ascii_digit()) {
            self.warn(
                token.span,
                format!("{what} that is no number belongs in quotes: it is taken as written"),
            );
        }
        Ok(account)
    }

    fn privsep_option(&mut self) -> Parsed<Spanned<PrivsepOption>> {
        let name = self.option_name(PRIVSEP, "`user`, `group` or `chroot`")?;
        let value = match name.value {
            0 => PrivsepOption::User(self.account("a user")?),
            1 => PrivsepOption::Group(self.account("a group")?),
            _ => PrivsepOption::Chroot(self.text_not_empty("a directory")?),
        };
        self.semicolon()?;
        Ok(Spanned { value, span: name.span })
    }
}

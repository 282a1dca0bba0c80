//! racoonctl's command line: options before the command, the command by its long or its short name.

use core::fmt;
use std::path::PathBuf;

use super::saopts::{self, SaOpts};

/// A whole command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// `-s`.
    pub(super) socket: Option<PathBuf>,
    /// How many `-l`.
    pub(super) long: usize,
    pub(super) command: Command,
    /// Words behind the command's own, without effect.
    pub(super) extra: Vec<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    ReloadConfig,
    ShowSchedule,
    ShowSa(SaKind),
    FlushSa(SaKind),
    DeleteSa(SaOpts),
    EstablishSa { saopts: SaOpts, wait: bool, remote: Option<String> },
    VpnConnect(String),
    VpnDisconnect(String),
    ShowEvent,
    LogoutUser(String),
    GetCert(SaOpts),
    Status { json: bool },
}

/// Which SAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SaKind {
    Isakmp,
    Esp,
    Ah,
    Ipsec,
}

impl SaKind {
    const ALL: [(&'static str, Self); 4] =
        [("isakmp", Self::Isakmp), ("esp", Self::Esp), ("ah", Self::Ah), ("ipsec", Self::Ipsec)];

    /// The kind of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(found, _)| *found == name).map(|(_, kind)| *kind)
    }
}

impl fmt::Display for SaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name))
    }
}

/// What a command line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Command(Options),
    /// Nothing that can be done: how to ask is shown.
    Usage,
    /// Why it cannot be done.
    Wrong(String),
}

/// Reads a command line, without the program's name.
pub(super) fn parse(arguments: impl Iterator<Item = String>) -> Parsed {
    let mut arguments: std::collections::VecDeque<String> = arguments.collect();
    let (mut socket, mut long) = (None, 0);
    while let Some(letters) = arguments.front().and_then(|argument| argument.strip_prefix('-')) {
        if letters.is_empty() {
            return Parsed::Usage;
        }
        let letters = letters.to_owned();
        arguments.pop_front();
        if letters == "-" {
            break;
        }
        for (place, letter) in letters.char_indices() {
            match letter {
                'l' => long += 1,
                'd' => {}
                's' => {
                    let glued = letters.get(place + 1..).filter(|rest| !rest.is_empty()).map(str::to_owned);
                    match glued.or_else(|| arguments.pop_front()) {
                        Some(path) => socket = Some(PathBuf::from(path)),
                        None => return Parsed::Usage,
                    }
                    break;
                }
                _ => return Parsed::Usage,
            }
        }
    }
    let Some(name) = arguments.pop_front() else { return Parsed::Usage };
    let mut rest: Vec<String> = arguments.into();
    let extra = match most_words(&name) {
        Some(most) if rest.len() > most && rest.first().is_none_or(|word| word != "-u") => {
            rest.split_off(most)
        }
        _ => Vec::new(),
    };
    match command(&name, &rest) {
        Ok(command) => Parsed::Command(Options { socket, long, command, extra }),
        Err(why) => Parsed::Wrong(why),
    }
}

/// How many words a command takes that has always passed over what stands behind them.
fn most_words(name: &str) -> Option<usize> {
    match name {
        "reload-config" | "rc" | "show-schedule" | "sc" => Some(0),
        "vpn-connect" | "vc" | "vpn-disconnect" | "vd" | "logout-user" | "lu" => Some(1),
        _ => None,
    }
}

fn command(name: &str, rest: &[String]) -> Result<Command, String> {
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    let nothing = |command| match words.first() {
        None => Ok(command),
        Some(word) => Err(format!("{name} takes no argument, and `{word}` is one")),
    };
    match name {
        "reload-config" | "rc" => nothing(Command::ReloadConfig),
        "show-schedule" | "sc" => nothing(Command::ShowSchedule),
        "show-event" | "se" => nothing(Command::ShowEvent),
        "show-sa" | "ss" => kind(name, &words).map(Command::ShowSa),
        "flush-sa" | "fs" => kind(name, &words).map(Command::FlushSa),
        "delete-sa" | "ds" => saopts::parse(&words).map(Command::DeleteSa),
        "get-cert" | "gc" => get_cert(&words).map(Command::GetCert),
        "establish-sa" | "es" => establish(&words),
        "vpn-connect" | "vc" => match words.as_slice() {
            ["-u", ..] => Err(no_xauth()),
            _ => one(name, "a gateway", &words).map(Command::VpnConnect),
        },
        "vpn-disconnect" | "vd" => one(name, "a gateway", &words).map(Command::VpnDisconnect),
        "logout-user" | "lu" => one(name, "a login", &words).map(Command::LogoutUser),
        "status" | "st" => status(&words),
        other => Err(format!("Invalid command [{other}]")),
    }
}

/// It is about IKE SAs whether that is written or not: racoonctl wanted it left out.
fn get_cert(words: &[&str]) -> Result<SaOpts, String> {
    match words {
        ["inet" | "inet6", ..] => saopts::parse(&[&["isakmp"], words].concat()),
        _ => saopts::parse(words),
    }
}

fn no_xauth() -> String {
    "-u: IKEv2 has no XAuth; peers authenticate by their keys alone".to_owned()
}

fn one(name: &str, what: &str, words: &[&str]) -> Result<String, String> {
    match words {
        [word] => Ok((*word).to_owned()),
        _ => Err(format!("{name} takes {what}")),
    }
}

fn kind(name: &str, words: &[&str]) -> Result<SaKind, String> {
    let wanted = "isakmp, esp, ah or ipsec";
    match words {
        ["internal"] => Err(format!("{name} internal: there is nothing of that kind; {wanted}")),
        [word] => SaKind::named(word).ok_or_else(|| format!("{name} takes {wanted}, not `{word}`")),
        _ => Err(format!("{name} takes {wanted}")),
    }
}

/// racoon wanted the options in this order; any will do.
fn establish(words: &[&str]) -> Result<Command, String> {
    let (mut rest, mut wait, mut remote) = (words, false, None);
    loop {
        match rest {
            ["-u", ..] => return Err(no_xauth()),
            ["-w", more @ ..] => (rest, wait) = (more, true),
            ["-n", name, more @ ..] => (rest, remote) = (more, Some((*name).to_owned())),
            _ => break,
        }
    }
    Ok(Command::EstablishSa { saopts: saopts::parse(rest)?, wait, remote })
}

fn status(words: &[&str]) -> Result<Command, String> {
    let (mut rest, mut json) = (words, false);
    loop {
        match rest {
            ["-v", more @ ..] => rest = more,
            ["-f", "json", more @ ..] => (rest, json) = (more, true),
            [] => return Ok(Command::Status { json }),
            [other, ..] => return Err(format!("status takes -v and -f json, not `{other}`")),
        }
    }
}

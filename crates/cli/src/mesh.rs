//! `coati mesh pairs`: which pairs Coati keys, which are still another daemon's, and which may speak in clear.

use core::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use coati_control::client::{Client, Error};
use coati_control::status::{Pair, PairState, Status};
use serde::Serialize;

use crate::text::{duration, escaped, state_name};

/// A list that was asked for with a filter is not empty.
const SOME: u8 = 2;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists the pairs that the kernel's policies name: who keys each, and whether its traffic may pass in clear.
    Pairs(Arguments),
}

/// Which pairs, and how to tell.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(
    after_help = "With --legacy or --unprotected the exit code is 2 if there are such pairs, and 0 if there are none; with both, a \
                  pair must be both. It is 1 if coatid cannot be asked."
)]
pub(crate) struct Arguments {
    /// Only pairs that Coati does not key: the other end is still racoon's, or cannot be reached.
    #[arg(long)]
    legacy: bool,
    /// Only pairs whose traffic may pass in clear: a policy of theirs is of level `use`.
    #[arg(long)]
    unprotected: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Asks a daemon at one of `sockets` and prints what it knows.
#[must_use]
pub(crate) fn main(command: &Command, sockets: &[PathBuf]) -> ExitCode {
    let Command::Pairs(arguments) = command;
    let shown = Client::connect_to_any(sockets)
        .and_then(|mut client| client.status())
        .and_then(|status| show(&status, *arguments));
    match shown {
        Ok((text, code)) => match io::stdout().lock().write_all(text.as_bytes()) {
            // A reader that has seen enough (`| head`) is no failure.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => crate::fail(&error.to_string()),
            _ => ExitCode::from(code),
        },
        Err(error) => crate::fail(&error.to_string()),
    }
}

/// Who has the keys of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Keys {
    Coati,
    /// Another daemon, or somebody by hand.
    Other,
    Nobody,
}

impl Keys {
    const fn of(pair: &Pair) -> Self {
        match (pair.state, pair.other_sas) {
            (PairState::Up, _) => Self::Coati,
            (_, true) => Self::Other,
            (_, false) => Self::Nobody,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Coati => "coati",
            Self::Other => "other",
            Self::Nobody => "nobody",
        }
    }
}

#[derive(Debug, Serialize)]
struct Listing<'a> {
    pairs: Vec<Line<'a>>,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    keyed_by: Keys,
    #[serde(flatten)]
    pair: &'a Pair,
}

/// The list and the exit code.
fn show(status: &Status, arguments: Arguments) -> Result<(String, u8), Error> {
    let lines = status.pairs.iter().map(|pair| Line { keyed_by: Keys::of(pair), pair });
    let wanted = |line: &Line<'_>| {
        (!arguments.legacy || line.keyed_by != Keys::Coati)
            && (!arguments.unprotected || line.pair.clear_text)
    };
    let pairs: Vec<Line<'_>> = lines.filter(wanted).collect();
    let is_filtered = arguments.legacy || arguments.unprotected;
    let code = if is_filtered && !pairs.is_empty() { SOME } else { 0 };
    let text = match arguments.json {
        true => {
            let text = serde_json::to_string_pretty(&Listing { pairs });
            text.map_err(|error| Error::Unreadable(error.to_string()))? + "\n"
        }
        false => table(&pairs),
    };
    Ok((text, code))
}

/// A line for each pair; none for none.
fn table(pairs: &[Line<'_>]) -> String {
    let cells: Vec<[String; 6]> = pairs.iter().map(cells).collect();
    if cells.is_empty() {
        return String::new();
    }
    let head = ["LOCAL", "REMOTE", "KEYS", "STATE", "FOR", "CLEAR TEXT"].map(str::to_owned);
    let rows = || core::iter::once(&head).chain(&cells);
    let width = |column: usize| rows().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let failures = core::iter::once(Some("LAST ERROR".to_owned())).chain(pairs.iter().map(failure));
    let mut out = String::new();
    for (row, failure) in rows().zip(failures) {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let line = padded.join("  ") + "  " + &failure.unwrap_or_default();
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

fn cells(line: &Line<'_>) -> [String; 6] {
    let Line { keyed_by, pair } = line;
    [
        pair.local.to_string(),
        pair.remote.to_string(),
        keyed_by.name().to_owned(),
        state_name(pair.state).to_owned(),
        duration(pair.since.age_seconds),
        if pair.clear_text { "may pass" } else { "no" }.to_owned(),
    ]
}

/// What went wrong last, of a pair that is not up.
fn failure(line: &Line<'_>) -> Option<String> {
    let failure = line.pair.last_error.as_ref().filter(|_| line.keyed_by != Keys::Coati)?;
    Some(escaped(&failure.cause))
}

#[cfg(test)]
mod tests {
    use coati_control::status::{Corrections, Failure, Time};

    use super::*;

    fn pair(remote: &str, state: PairState, other_sas: bool, clear_text: bool) -> Pair {
        let time = || Time { at: "2027-01-15T08:00:00Z".to_owned(), age_seconds: 90 };
        let cause = "no answer to IKE_SA_INIT\u{1b}".to_owned();
        Pair {
            local: "192.0.2.1".parse().unwrap(),
            remote: remote.parse().unwrap(),
            state,
            since: time(),
            retry_in_seconds: None,
            last_error: Some(Failure { when: time(), cause }),
            clear_text,
            other_sas,
            ike_sas: Vec::new(),
        }
    }

    fn status() -> Status {
        Status {
            version: "0".to_owned(),
            pid: 1,
            since: Time { at: String::new(), age_seconds: 0 },
            policies: 4,
            corrections: Corrections::default(),
            pairs: vec![
                pair("192.0.2.2", PairState::Up, true, false),
                pair("192.0.2.3", PairState::Retrying, true, false),
                pair("192.0.2.4", PairState::Idle, false, true),
                pair("2001:db8::5", PairState::Up, false, true),
            ],
        }
    }

    fn remotes(legacy: bool, unprotected: bool) -> (Vec<String>, u8) {
        let arguments = Arguments { legacy, unprotected, json: true };
        let (text, code) = show(&status(), arguments).unwrap();
        let listed: serde_json::Value = serde_json::from_str(&text).unwrap();
        let pairs = listed["pairs"].as_array().unwrap().iter();
        (pairs.map(|pair| pair["remote"].as_str().unwrap().to_owned()).collect(), code)
    }

    #[test]
    fn the_list_says_who_keys_each_pair_and_whether_clear_text_may_pass() {
        let (text, code) = show(&status(), Arguments::default()).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "LOCAL      REMOTE       KEYS    STATE     FOR     CLEAR TEXT  LAST ERROR",
                "192.0.2.1  192.0.2.2    coati   up        1m 30s  no",
                "192.0.2.1  192.0.2.3    other   retrying  1m 30s  no          no answer to IKE_SA_INIT\\u{1b}",
                "192.0.2.1  192.0.2.4    nobody  idle      1m 30s  may pass    no answer to IKE_SA_INIT\\u{1b}",
                "192.0.2.1  2001:db8::5  coati   up        1m 30s  may pass",
            ]
        );
        assert_eq!(code, 0);
    }

    #[test]
    fn filters_choose_and_tell_by_the_exit_code_whether_there_is_one() {
        assert_eq!(remotes(true, false), (vec!["192.0.2.3".to_owned(), "192.0.2.4".to_owned()], SOME));
        assert_eq!(remotes(false, true), (vec!["192.0.2.4".to_owned(), "2001:db8::5".to_owned()], SOME));
        assert_eq!(remotes(true, true), (vec!["192.0.2.4".to_owned()], SOME));
        let mut all_moved = status();
        all_moved.pairs.retain(|pair| pair.state == PairState::Up);
        let legacy = Arguments { legacy: true, ..Arguments::default() };
        assert_eq!(show(&all_moved, legacy).unwrap(), (String::new(), 0));
    }
}

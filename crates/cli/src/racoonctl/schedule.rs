//! `show-schedule`: what is to happen by itself to the daemon's pairs: attempts, rekeys, questions whether a peer lives, ends.

use core::fmt::Write as _;

use coati_control::status::{Status, Time};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::sas::date;

/// One line a timer: its number, seconds left, when it is due (seconds since 1970), since when what it is about is there.
pub(super) fn text(status: &Status, zone: &TimeZone) -> String {
    let mut out = "index    tick     xtime    created\n".to_owned();
    for (number, (tick, since)) in timers(status).into_iter().enumerate() {
        // The daemon says how long ago a time was when it answers: that gives the time of the answer.
        let began = since.at.parse::<Timestamp>().map_or(0, Timestamp::as_second);
        let age = i64::try_from(since.age_seconds).unwrap_or_default();
        let due = began.saturating_add(age).saturating_add(i64::try_from(tick).unwrap_or_default());
        let _ = writeln!(out, "{:<8} {tick:<8} {due:<8} {}", number + 1, date(&since.at, zone));
    }
    out
}

/// Seconds left, and since when what is to happen something to is there; in the order of the pairs.
fn timers(status: &Status) -> Vec<(u64, &Time)> {
    let mut timers = Vec::new();
    let mut add = |tick: Option<u64>, since| timers.extend(tick.map(|tick| (tick, since)));
    for pair in &status.pairs {
        add(pair.retry_in_seconds, &pair.since);
        for sa in &pair.ike_sas {
            for tick in [sa.check_in_seconds, sa.rekey_in_seconds, sa.expires_in_seconds] {
                add(tick, &sa.since);
            }
            for child in &sa.children {
                add(child.rekey_in_seconds, &child.since);
            }
        }
    }
    timers
}

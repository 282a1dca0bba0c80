//! `show-schedule`: of the daemon's timers, those of pairs that wait for their next attempt.

use core::fmt::Write as _;

use coati_control::status::Status;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::sas::date;

/// One line a timer: its number, seconds left, when it is due (seconds since 1970), since when it waits.
pub(super) fn text(status: &Status, zone: &TimeZone) -> String {
    let mut out = "index    tick     xtime    created\n".to_owned();
    let waiting = status.pairs.iter().filter_map(|pair| pair.retry_in_seconds.map(|tick| (pair, tick)));
    for (number, (pair, tick)) in waiting.enumerate() {
        // The daemon says how long ago a time was when it answers: that gives the time of the answer.
        let began = pair.since.at.parse::<Timestamp>().map_or(0, Timestamp::as_second);
        let age = i64::try_from(pair.since.age_seconds).unwrap_or_default();
        let due = began.saturating_add(age).saturating_add(i64::try_from(tick).unwrap_or_default());
        let _ = writeln!(out, "{:<8} {tick:<8} {due:<8} {}", number + 1, date(&pair.since.at, zone));
    }
    out
}

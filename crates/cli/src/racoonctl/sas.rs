//! `show-sa isakmp`.

use core::fmt::Write as _;
use std::net::SocketAddr;

use coati_control::status::{IkeSa, Status};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Width of an address, and of one where both are shown.
const NARROW: usize = 22;
const WIDE: usize = 45;

const COLUMNS: &str = "Cookies                           ";
const MORE: &str = "ST S  V E ";

/// The list: with no `-l`, with one, and with both addresses. One line an IKE SA below one line of headings, each with a
/// blank at its end.
pub(super) fn text(status: &Status, long: usize, zone: &TimeZone) -> String {
    let mut out = match long {
        0 => format!("{:NARROW$} {COLUMNS}Created\n", "Destination"),
        1 => format!("{:NARROW$} {COLUMNS}{MORE}Created             Phase2\n", "Destination"),
        _ => {
            format!("{:WIDE$} {:WIDE$} {COLUMNS}{MORE}Created             Phase2\n", "Source", "Destination")
        }
    };
    for sa in status.pairs.iter().flat_map(|pair| &pair.ike_sas) {
        if long >= 2 {
            let _ = write!(out, "{} ", end(sa.local, WIDE));
        }
        let width = if long >= 2 { WIDE } else { NARROW };
        let _ = write!(out, "{} {}:{} ", end(sa.remote, width), sa.spi_i, sa.spi_r);
        if long >= 1 {
            let side = if sa.role == "initiator" { 'I' } else { 'R' };
            // IKEv2 has version 2.0 and one exchange where racoon named its three.
            let _ = write!(out, "{:2} {side} 20 2 ", step(sa));
        }
        let _ = write!(out, "{} ", date(&sa.since.at, zone));
        if long >= 1 {
            let _ = write!(out, "{:6} ", sa.children.len());
        }
        out.push('\n');
    }
    out
}

/// racoon's number of a state: how far a negotiation is, 9 established, 11 expired.
fn step(sa: &IkeSa) -> u8 {
    match sa.state.as_str() {
        "established" => 9,
        "handshake" if sa.spi_r.chars().all(|digit| digit == '0') => 1,
        // IKE_SA_INIT is done.
        "handshake" => 5,
        _ => 11,
    }
}

/// `ADDR.PORT`, filled up to a width. Of an address that is too long its end is cut: the port is always there.
fn end(end: SocketAddr, width: usize) -> String {
    let port = format!(".{}", end.port());
    let address = end.ip().to_string();
    let text = format!("{address:.*}{port}", width.saturating_sub(port.len()));
    format!("{text:width$}")
}

/// `YYYY-MM-DD HH:MM:SS` in local time.
pub(super) fn date(at: &str, zone: &TimeZone) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) => at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => "?".to_owned(),
    }
}

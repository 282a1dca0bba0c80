//! `show-event`.

use std::net::SocketAddr;

use coati_control::event::{Event, Kind};

/// The lines of one event, in racoon's words: `TEXT : ADDR[PORT] -> ADDR[PORT]`.
pub(super) fn text(event: &Event) -> String {
    let end = |end: Option<SocketAddr>| end.map(|end| format!("{}[{}]", end.ip(), end.port()));
    let line = |what: &str| match (end(event.local), end(event.remote)) {
        (Some(local), Some(remote)) => format!("{what} : {local} -> {remote}\n"),
        _ => format!("{what}\n"),
    };
    let cause = event.cause.as_deref().unwrap_or_default();
    match event.kind {
        Kind::DaemonEnded => line("Racoon terminated"),
        // racoon's rekeyed SA was another one that was established.
        Kind::IkeSaEstablished | Kind::IkeSaRekeyed => line("Phase 1 established"),
        Kind::IkeSaDeleted if event.dead_peer => {
            line("Phase 1 error: dead peer detected") + &line("Phase 1 deleted")
        }
        Kind::IkeSaDeleted => line("Phase 1 deleted"),
        Kind::IkeSaFailed => line(&format!("Phase 1 error: {}", ike_failure(event.dead_peer, cause))),
        Kind::ChildEstablished => line("Phase 2 established"),
        Kind::ChildDeleted => line("Phase 2 deleted"),
        Kind::ChildFailed => line(&format!("Phase 2 error: {}", child_failure(cause))),
    }
}

fn ike_failure(dead_peer: bool, cause: &str) -> String {
    if cause.contains("NO_PROPOSAL_CHOSEN") {
        "no proposal chosen".to_owned()
    } else if cause.contains("AUTHENTICATION_FAILED") || cause.contains("pskey") {
        "authentication failed (bad certificate?)".to_owned()
    } else if dead_peer {
        "peer not responding".to_owned()
    } else {
        escaped(cause)
    }
}

fn child_failure(cause: &str) -> String {
    let is_silence = cause.starts_with("no answer to") || cause.starts_with("due to time up");
    if is_silence { "no response".to_owned() } else { escaped(cause) }
}

/// What a peer said must not steer the terminal.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

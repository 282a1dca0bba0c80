//! The rekeys that a charon tells of in its log: who began, what became of it, and whether two crossed.

use std::collections::BTreeMap;
use std::fmt;

/// What was rekeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A child.
    Child,
    /// The IKE SA itself.
    Ike,
}

/// Who sent the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The charon whose log it is.
    Charon,
    /// The other end.
    Peer,
}

/// One rekey: a CREATE_CHILD_SA exchange that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rekey {
    /// What was rekeyed.
    pub what: What,
    /// Who began.
    pub by: By,
    /// The other end began one of the same kind before this one was answered.
    pub crossed: bool,
    /// The answer's payloads, where it is no SA.
    pub refusal: Option<String>,
}

/// Rekeys of one kind that did what they should, by who began; and crossings among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Begun by charon.
    pub by_charon: usize,
    /// Begun by its peer.
    pub by_peer: usize,
    /// Pairs of them that crossed.
    pub crossings: usize,
}

impl Count {
    /// Whether there were as many of each as in `other`.
    pub fn is_at_least(&self, other: Count) -> bool {
        let Count { by_charon, by_peer, crossings } = other;
        self.by_charon >= by_charon && self.by_peer >= by_peer && self.crossings >= crossings
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { by_charon, by_peer, crossings } = self;
        write!(f, "{by_charon} by charon, {by_peer} by its peer, {crossings} crossings")
    }
}

/// Every rekey that has been answered, in the order of the answers.
pub fn rekeys(log: &str) -> Vec<Rekey> {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut done = Vec::new();
    for (peer, message) in messages(log) {
        if message.is_response {
            let asked = |open: &Open<'_>| (open.peer, open.by, open.id) == (peer, message.by, message.id);
            let Some(at) = open.iter().position(asked) else { continue };
            let Open { what, by, crossed, .. } = open.remove(at);
            let has_sa = message.payloads.split(' ').any(|payload| payload == "SA");
            let refusal = (!has_sa).then(|| message.payloads.to_owned());
            done.push(Rekey { what, by, crossed, refusal });
        } else if let Some(what) = message.what() {
            let mut crossed = false;
            for other in &mut open {
                if (other.peer, other.what) == (peer, what) && other.by != message.by {
                    (other.crossed, crossed) = (true, true);
                }
            }
            open.push(Open { peer, what, by: message.by, id: message.id, crossed });
        }
    }
    done
}

/// Counts the rekeys of a kind that made an SA.
pub fn count(rekeys: &[Rekey], what: What) -> Count {
    let made: Vec<&Rekey> = rekeys.iter().filter(|r| r.what == what && r.refusal.is_none()).collect();
    let by = |by| made.iter().filter(|rekey| rekey.by == by).count();
    let crossings = made.iter().filter(|rekey| rekey.crossed && rekey.by == By::Charon).count();
    Count { by_charon: by(By::Charon), by_peer: by(By::Peer), crossings }
}

/// How many IKE SAs of each connection were made by a whole handshake, rekeys not among them.
pub fn established(log: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("] established between ")) {
        if let Some((_, sa)) = line.split_once("[IKE] IKE_SA ") {
            *counts.entry(before_bracket(sa).to_owned()).or_default() += 1;
        }
    }
    counts
}

struct Open<'a> {
    peer: &'a str,
    what: What,
    by: By,
    id: u32,
    crossed: bool,
}

/// Every CREATE_CHILD_SA message with the peer's address, which stands in the packet's line: of the same thread, before
/// what was parsed and after what was generated.
fn messages(log: &str) -> Vec<(&str, Message<'_>)> {
    let mut all = Vec::new();
    let (mut received, mut generated) = (BTreeMap::new(), BTreeMap::new());
    for line in log.lines() {
        let Some((_, thread)) = line.split_once(' ') else { continue };
        let thread = thread.split('[').next().unwrap_or_default();
        if let Some(message) = Message::read(line) {
            if message.is_sent() {
                generated.insert(thread, message);
            } else if let Some(peer) = received.get(thread) {
                all.push((*peer, message));
            }
        } else if let Some((_, from)) = line.split_once("[NET] received packet: from ") {
            received.insert(thread, before_bracket(from));
        } else if let Some((_, path)) = line.split_once("[NET] sending packet: from ") {
            let peer = before_bracket(path.split_once(" to ").unwrap_or_default().1);
            all.extend(generated.remove(thread).map(|message| (peer, message)));
        }
    }
    all
}

/// `203.0.113.1` of `203.0.113.1[4500] to ...`, `pair0` of `pair0[1] established ...`
fn before_bracket(text: &str) -> &str {
    text.split('[').next().unwrap_or_default()
}

/// A CREATE_CHILD_SA message, as the line of charon's `ENC` group has it.
struct Message<'a> {
    /// Who sent the exchange's request, whichever message this is.
    by: By,
    is_response: bool,
    id: u32,
    payloads: &'a str,
}

impl<'a> Message<'a> {
    /// `12:00:01 05[ENC] parsed CREATE_CHILD_SA request 3 [ N(REKEY_SA) SA No KE TSi TSr ]`
    fn read(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" CREATE_CHILD_SA ")?;
        let sent = match before.rsplit(' ').next()? {
            "generating" => true,
            "parsed" => false,
            _ => return None,
        };
        let (kind, rest) = after.split_once(' ')?;
        let (id, payloads) = rest.split_once(' ')?;
        let is_response = kind == "response";
        let by = if sent == is_response { By::Peer } else { By::Charon };
        let payloads = payloads.trim_start_matches("[ ").trim_end_matches(" ]");
        Some(Message { by, is_response, id: id.parse().ok()?, payloads })
    }

    /// Whether it went out, the other end's did not.
    fn is_sent(&self) -> bool {
        (self.by == By::Charon) != self.is_response
    }

    /// What a request is to rekey; `None` for a new child.
    fn what(&self) -> Option<What> {
        if self.payloads.contains("N(REKEY_SA)") {
            Some(What::Child)
        } else if self.payloads.contains("TSi") {
            None
        } else {
            Some(What::Ike)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines in the form of strongSwan 5.9.8's filelog, each packet's own line beside its message's.
    fn log(messages: &[(&str, u8, &str)]) -> String {
        let line = |(thread, host, message): &(&str, u8, &str)| {
            let (own, other) = ("203.0.113.200[4500]", format!("203.0.113.{host}[4500]"));
            let packet = match message.split(' ').next() {
                Some("parsed") => format!("received packet: from {other} to {own} (321 bytes)"),
                _ => format!("sending packet: from {own} to {other} (321 bytes)"),
            };
            let (packet, message) = (
                format!("09:00:01.123 {thread}[NET] {packet}\n"),
                format!("09:00:01.124 {thread}[ENC] {message}\n"),
            );
            if message.contains("parsed") { packet + &message } else { message + &packet }
        };
        messages.iter().map(line).collect()
    }

    const CHILD: &str = "[ N(REKEY_SA) N(USE_TRANSP) SA No KE TSi TSr ]";
    const DONE: &str = "[ N(USE_TRANSP) SA No KE TSi TSr ]";

    fn sample() -> String {
        log(&[
            ("05", 1, &format!("generating CREATE_CHILD_SA request 2 {CHILD}")),
            ("07", 1, &format!("parsed CREATE_CHILD_SA request 0 {CHILD}")),
            ("07", 1, &format!("generating CREATE_CHILD_SA response 0 {DONE}")),
            ("08", 1, &format!("parsed CREATE_CHILD_SA response 2 {DONE}")),
            ("09", 1, "parsed CREATE_CHILD_SA request 3 [ SA No KE ]"),
            ("09", 1, "generating CREATE_CHILD_SA response 3 [ N(TEMP_FAIL) ]"),
            ("09", 1, "parsed CREATE_CHILD_SA request 4 [ SA No KE ]"),
            ("09", 1, "generating CREATE_CHILD_SA response 4 [ SA No KE ]"),
            ("10", 1, &format!("parsed CREATE_CHILD_SA request 5 {DONE}")),
            ("10", 1, &format!("generating CREATE_CHILD_SA response 5 {DONE}")),
        ])
    }

    #[test]
    fn rekeys_are_counted_by_who_began_and_crossings_once() {
        let rekeys = rekeys(&sample());
        assert_eq!(count(&rekeys, What::Child), Count { by_charon: 1, by_peer: 1, crossings: 1 });
        assert_eq!(count(&rekeys, What::Ike), Count { by_charon: 0, by_peer: 1, crossings: 0 });
    }

    #[test]
    fn a_refusal_is_told_and_a_new_child_is_no_rekey() {
        let rekeys = rekeys(&sample());
        assert_eq!(rekeys.len(), 4);
        let refused =
            Rekey { what: What::Ike, by: By::Peer, crossed: false, refusal: Some("N(TEMP_FAIL)".to_owned()) };
        assert_eq!(rekeys[2], refused);
    }

    #[test]
    fn handshakes_are_counted_by_connection() {
        let log = "\
09:51:33.701 15[IKE] IKE_SA pair2[2] established between 203.0.113.103[203.0.113.103]...203.0.113.3[203.0.113.3]
09:51:33.702 15[IKE] CHILD_SA pair2{2} established with SPIs cd8_i 3c8_o and TS 203.0.113.103/32 === 203.0.113.3/32
09:51:35.773 05[IKE] IKE_SA pair2[4] established between 203.0.113.103[203.0.113.103]...203.0.113.3[203.0.113.3]
09:51:36.773 05[IKE] IKE_SA pair2[5] rekeyed between 203.0.113.103[203.0.113.103]...203.0.113.3[203.0.113.3]
";
        assert_eq!(established(log), BTreeMap::from([("pair2".to_owned(), 2)]));
    }

    #[test]
    fn a_rekey_without_an_answer_is_none_yet() {
        let begun = log(&[("05", 1, &format!("generating CREATE_CHILD_SA request 2 {CHILD}"))]);
        assert!(rekeys(&begun).is_empty());
    }

    #[test]
    fn rekeys_of_different_pairs_do_not_cross() {
        let rekeys = rekeys(&log(&[
            ("05", 1, &format!("generating CREATE_CHILD_SA request 2 {CHILD}")),
            ("07", 2, &format!("parsed CREATE_CHILD_SA request 2 {CHILD}")),
            ("07", 2, &format!("generating CREATE_CHILD_SA response 2 {DONE}")),
            ("08", 1, &format!("parsed CREATE_CHILD_SA response 2 {DONE}")),
        ]));
        assert_eq!(count(&rekeys, What::Child), Count { by_charon: 1, by_peer: 1, crossings: 0 });
    }
}

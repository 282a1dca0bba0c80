//! Whether a child's packets arrive, judged by the kernel's counters at both ends, as far as they are known.
//!
//! ```text
//! flowing --sent more, received nothing, thrice--> asked --still so--> rekeyed --still so--> "one-way?", rekeyed ever more rarely
//!    ^                                               | the peer says that it sent nothing
//!    '---------------- anything is received          '--> one-way by nature: left alone
//! ```
//!
//! A flow may be one-way by nature (syslog over UDP). A peer that tells its own counters ([`crate::message::inventory`])
//! settles that; of any other, one rekey shows whether it was a fault.

use crate::time::{Duration, Instant};

/// Looks in a row at which we have sent more and received nothing, before the peer is asked.
const ASK: u8 = 3;
/// First pause between two rekeys that are to heal a child; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(300);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Fewer packets than this may be under way.
const FEW: u64 = 3;
/// Two reports of the peer nearer to each other than this are not compared: packets may be under way.
const APART: Duration = Duration::from_secs(5);

/// Packets an end has received and sent on a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// On its inbound SA.
    pub received: u64,
    /// On its outbound SA.
    pub sent: u64,
}

/// What is to be done about a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finding {
    /// Nothing.
    Fine,
    /// Nothing comes back: ask whether the peer is there at all.
    Ask,
    /// The peer is there, and packets are lost or may be: a rekey may heal it.
    Rekey,
}

/// Both ends' counters at one time.
#[derive(Clone, Copy, Debug)]
struct Report {
    at: Instant,
    ours: Counts,
    theirs: Counts,
}

/// What is known of the packets of one child.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// At the last look.
    last: Counts,
    /// Looks in a row at which more was sent and nothing received.
    silent: u8,
    /// Rekeys that were to heal it since it last received anything.
    rekeys: u8,
    /// It is not rekeyed again before.
    not_before: Instant,
    /// The peer has said that it sends nothing.
    by_nature: bool,
    /// The peer's last report.
    told: Report,
}

impl Watch {
    /// A child that is installed now.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        let zero = Counts { received: 0, sent: 0 };
        Self {
            last: zero,
            silent: 0,
            rekeys: 0,
            not_before: Instant::ZERO,
            by_nature: false,
            told: Report { at: now, ours: zero, theirs: zero },
        }
    }

    /// What a child that takes this one's place inherits: the doubt, not the counters.
    #[must_use]
    pub const fn successor(&self, now: Instant) -> Self {
        Self { rekeys: self.rekeys, not_before: self.not_before, by_nature: self.by_nature, ..Self::new(now) }
    }

    /// Whether nothing has come back for long, and a rekey did not help.
    #[must_use]
    pub const fn is_one_way(&self) -> bool {
        self.rekeys > 0 && self.silent >= ASK
    }

    /// Looks at our own counters; this is to be done at even intervals.
    pub fn look(&mut self, now: Instant, counts: Counts) -> Finding {
        let before = std::mem::replace(&mut self.last, counts);
        if counts.received > before.received {
            (self.silent, self.rekeys, self.by_nature) = (0, 0, false);
            return Finding::Fine;
        }
        if counts.sent <= before.sent || self.by_nature {
            return Finding::Fine;
        }
        self.silent = self.silent.saturating_add(1);
        match self.silent {
            silent if silent < ASK => Finding::Fine,
            ASK => Finding::Ask,
            _ => self.rekey(now),
        }
    }

    /// Compares our counters with those the peer tells.
    pub fn told(&mut self, now: Instant, ours: Counts, theirs: Counts) -> Finding {
        let before = self.told;
        if now < before.at + APART {
            return Finding::Fine;
        }
        self.told = Report { at: now, ours, theirs };
        let grown = |now: u64, before: u64| now.saturating_sub(before);
        let lost = |sent: u64, received: u64| sent >= FEW && received == 0;
        let out = (grown(ours.sent, before.ours.sent), grown(theirs.received, before.theirs.received));
        let back = (grown(theirs.sent, before.theirs.sent), grown(ours.received, before.ours.received));
        if lost(out.0, out.1) || lost(back.0, back.1) {
            self.by_nature = false;
            return self.rekey(now);
        }
        self.by_nature = back.0 == 0;
        if self.by_nature {
            self.silent = 0;
        }
        Finding::Fine
    }

    fn rekey(&mut self, now: Instant) -> Finding {
        if now < self.not_before {
            return Finding::Fine;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.rekeys.min(8)).min(LONGEST_PAUSE);
        self.rekeys = self.rekeys.saturating_add(1);
        self.not_before = now + pause;
        Finding::Rekey
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(minutes: u64) -> Instant {
        Instant::ZERO + MINUTE * u32::try_from(minutes).unwrap()
    }

    const fn counts(received: u64, sent: u64) -> Counts {
        Counts { received, sent }
    }

    #[test]
    fn a_child_that_receives_nothing_is_asked_about_then_rekeyed_then_left_for_longer_and_longer() {
        let mut watch = Watch::new(Instant::ZERO);
        let findings: Vec<Finding> = (1..=5).map(|look| watch.look(at(look), counts(0, look))).collect();
        assert_eq!(findings, [Finding::Fine, Finding::Fine, Finding::Ask, Finding::Rekey, Finding::Fine]);
        let mut successor = watch.successor(at(5));
        assert!(!successor.is_one_way());
        let rekeys: Vec<u64> = (6..200)
            .filter(|look| {
                let finding = successor.look(at(*look), counts(0, *look));
                if finding == Finding::Rekey {
                    successor = successor.successor(at(*look));
                }
                finding == Finding::Rekey
            })
            .collect();
        let gaps: Vec<u64> = rekeys.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!((rekeys[0], gaps[0], gaps[1]), (9, 10, 20), "{rekeys:?}");
        assert!(gaps.iter().all(|gap| *gap <= 64), "{gaps:?}");
    }

    #[test]
    fn what_is_received_ends_every_doubt() {
        let mut watch = Watch::new(Instant::ZERO);
        for look in 1..=8 {
            watch.look(at(look), counts(0, look));
        }
        assert!(watch.is_one_way());
        assert_eq!(watch.look(at(9), counts(1, 9)), Finding::Fine);
        assert!(!watch.is_one_way());
    }

    #[test]
    fn a_child_without_traffic_is_left_alone() {
        let mut watch = Watch::new(Instant::ZERO);
        assert!((1..100).all(|look| watch.look(at(look), counts(0, 0)) == Finding::Fine));
    }

    #[test]
    fn a_peer_that_sends_nothing_makes_it_one_way_by_nature() {
        let mut watch = Watch::new(Instant::ZERO);
        for look in 1..100 {
            assert_ne!(watch.look(at(look), counts(0, 10 * look)), Finding::Rekey, "{look}");
            assert_eq!(watch.told(at(look), counts(0, 10 * look), counts(10 * look, 0)), Finding::Fine);
        }
        assert!(!watch.is_one_way());
    }

    #[test]
    fn packets_that_one_end_sends_and_the_other_does_not_get_are_a_fault() {
        let mut ours_lost = Watch::new(Instant::ZERO);
        assert_eq!(ours_lost.told(at(1), counts(0, 10), counts(0, 0)), Finding::Rekey);
        let mut theirs_lost = Watch::new(Instant::ZERO);
        assert_eq!(theirs_lost.told(at(1), counts(0, 0), counts(0, 10)), Finding::Rekey);
        let mut under_way = Watch::new(Instant::ZERO);
        assert_eq!(under_way.told(at(1), counts(0, 2), counts(0, 2)), Finding::Fine);
        let mut at_once = Watch::new(Instant::ZERO);
        assert_eq!(at_once.told(Instant::ZERO, counts(0, 10), counts(0, 0)), Finding::Fine);
    }
}

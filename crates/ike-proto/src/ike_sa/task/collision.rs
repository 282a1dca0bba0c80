//! Exchanges that cross (RFC 7296 §2.8.1, §2.25), as one pure and exhaustive table.

use crate::wire::registry::NotifyType;

/// What we are doing with an SA, a child or the IKE SA itself, when the peer wants something of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ours {
    /// Nothing.
    Idle,
    /// Our request to rekey it is out, or about to be.
    Rekeying,
    /// It has a successor already, and one of us is about to delete it.
    Superseded,
    /// Our DELETE of it is out.
    Deleting,
    /// We do not have it.
    Absent,
}

/// What the peer wants of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Theirs {
    /// A successor.
    Rekey,
    /// Its end.
    Delete,
}

/// What is done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As if nothing crossed.
    Serve,
    /// As if nothing crossed, and remember: of the two successors, the one with the lowest nonce goes (§2.8.1).
    ServeAndCompare,
    /// The peer is told to come back later, or that there is nothing.
    Refuse(NotifyType),
    /// It is answered without naming the SA again: ours is on its way, or the SA is gone (§1.4.1).
    AnswerEmpty,
    /// It is deleted as asked, and our rekey of it is forgotten; the peer will not find it (§2.25.1).
    ServeAndForgetRekey,
}

/// For a CHILD_SA (RFC 7296 §2.25.1).
#[must_use]
pub const fn child(ours: Ours, theirs: Theirs) -> Verdict {
    match (ours, theirs) {
        (Ours::Idle, Theirs::Rekey | Theirs::Delete) | (Ours::Superseded, Theirs::Delete) => Verdict::Serve,
        (Ours::Rekeying, Theirs::Rekey) => Verdict::ServeAndCompare,
        (Ours::Rekeying, Theirs::Delete) => Verdict::ServeAndForgetRekey,
        (Ours::Superseded | Ours::Deleting, Theirs::Rekey) => Verdict::Refuse(NotifyType::TEMPORARY_FAILURE),
        (Ours::Deleting | Ours::Absent, Theirs::Delete) => Verdict::AnswerEmpty,
        (Ours::Absent, Theirs::Rekey) => Verdict::Refuse(NotifyType::CHILD_SA_NOT_FOUND),
    }
}

/// For the IKE SA (RFC 7296 §2.25.2). `busy`: a request of ours about a child is out.
#[must_use]
pub const fn ike(ours: Ours, theirs: Theirs, busy: bool) -> Verdict {
    match (ours, theirs) {
        (Ours::Idle, Theirs::Rekey) if busy => Verdict::Refuse(NotifyType::TEMPORARY_FAILURE),
        (Ours::Idle, Theirs::Rekey)
        | (Ours::Idle | Ours::Superseded | Ours::Deleting | Ours::Absent, Theirs::Delete) => Verdict::Serve,
        (Ours::Rekeying, Theirs::Rekey) => Verdict::ServeAndCompare,
        (Ours::Rekeying, Theirs::Delete) => Verdict::ServeAndForgetRekey,
        (Ours::Superseded | Ours::Deleting | Ours::Absent, Theirs::Rekey) => {
            Verdict::Refuse(NotifyType::TEMPORARY_FAILURE)
        }
    }
}

/// Whether our successor of two goes: the one whose exchange has the lowest of the four nonces, compared as octets (§2.8.1).
///
/// Each pair is the two nonces of one exchange.
#[must_use]
pub fn ours_loses(ours: (&[u8], &[u8]), theirs: (&[u8], &[u8])) -> bool {
    ours.0.min(ours.1) < theirs.0.min(theirs.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [Ours; 5] = [Ours::Idle, Ours::Rekeying, Ours::Superseded, Ours::Deleting, Ours::Absent];

    #[test]
    fn a_rekey_is_served_only_where_a_successor_makes_sense() {
        for ours in OURS {
            let served = matches!(child(ours, Theirs::Rekey), Verdict::Serve | Verdict::ServeAndCompare);
            assert_eq!(served, matches!(ours, Ours::Idle | Ours::Rekeying), "{ours:?}");
        }
    }

    #[test]
    fn a_delete_is_never_refused() {
        for ours in OURS {
            for busy in [false, true] {
                assert!(!matches!(ike(ours, Theirs::Delete, busy), Verdict::Refuse(_)), "{ours:?}");
            }
            assert!(!matches!(child(ours, Theirs::Delete), Verdict::Refuse(_)), "{ours:?}");
        }
    }

    #[test]
    fn the_two_ends_agree_which_successor_goes() {
        let a = (b"\x05".as_slice(), b"\x09".as_slice());
        let b = (b"\x07".as_slice(), b"\x03".as_slice());
        assert!(!ours_loses(a, b));
        assert!(ours_loses(b, a));
        // RFC 7296 §2.8.1 compares octets from the first: a shorter one that is a prefix is lower.
        assert!(ours_loses((b"\x01", b"\x02"), (b"\x01\x00", b"\x02")));
    }

    #[test]
    fn the_ike_sa_is_not_rekeyed_by_the_peer_while_our_child_exchange_is_out() {
        let later = Verdict::Refuse(NotifyType::TEMPORARY_FAILURE);
        assert_eq!(ike(Ours::Idle, Theirs::Rekey, true), later);
        assert_eq!(ike(Ours::Idle, Theirs::Rekey, false), Verdict::Serve);
    }
}

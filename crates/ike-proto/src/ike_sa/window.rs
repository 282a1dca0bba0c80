//! Message ids, retransmission and cached answers (RFC 7296 §2.1 to §2.3). The window is one request in each direction.
//!
//! ```text
//! outwards   idle --send--> outstanding --response--> idle
//!                            | due: send the same octets again; too often: give up
//! inwards    expecting n --begin--> working on n --answer--> answered n, expecting n+1
//!            a repeated n gets the same octets again; anything else is dropped
//! ```

use crate::config::Retransmission;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::registry::ExchangeType;

/// A request is not sent again for new reason sooner than this.
const HURRY: Duration = Duration::from_secs(1);

/// Message ids after which the IKE SA is rekeyed.
const WORN: u32 = 1 << 31;

/// How a request that came in stands to the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inbound<'a> {
    /// The next one.
    New,
    /// The last one again: these octets answer it.
    Answered(&'a [Vec<u8>]),
    /// The last one again, and its answer is still being made.
    InProgress,
    /// Neither.
    Outside,
}

/// A request that waits for its response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outstanding {
    /// Its message id.
    pub id: u32,
    /// Its exchange.
    pub exchange: ExchangeType,
    /// Its datagrams: one, or its fragments.
    pub packets: Vec<Vec<u8>>,
    /// When it was sent first.
    pub first_sent: Instant,
    sent_at: Instant,
    tries: u32,
    interval: Duration,
    due: Instant,
    give_up_at: Instant,
}

/// What a deadline of the window led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expired {
    /// It was not due yet, or nothing waits.
    Nothing,
    /// Send the outstanding request again.
    Resend,
    /// The peer did not answer in all its tries.
    GiveUp,
}

enum Last {
    Working,
    Answered(Vec<Vec<u8>>),
}

/// Both directions' windows of one IKE SA.
#[derive(Default)]
pub struct Window {
    next: u32,
    outstanding: Option<Outstanding>,
    expected: u32,
    last: Option<Last>,
    /// Smoothed round trip of requests that were answered at their first try.
    round_trip: Option<Duration>,
}

impl Window {
    /// Whether so many ids are used that new keys are due long before they run out (RFC 7296 §2.2).
    #[must_use]
    pub const fn is_worn(&self) -> bool {
        self.next > WORN || self.expected > WORN
    }

    /// The id our next request will have.
    #[must_use]
    pub const fn next_id(&self) -> u32 {
        self.next
    }

    /// The smoothed round trip, once one was measured.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Takes over what a predecessor has measured.
    pub const fn learn(&mut self, predecessor: &Self) {
        self.round_trip = predecessor.round_trip;
    }

    /// Whether a request of ours waits.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.outstanding.is_some()
    }

    /// The request that waits.
    #[must_use]
    pub const fn outstanding(&self) -> Option<&Outstanding> {
        self.outstanding.as_ref()
    }

    /// Notes that `packets` are sent as request [`Window::next_id`].
    pub fn sent(
        &mut self,
        now: Instant,
        exchange: ExchangeType,
        packets: Vec<Vec<u8>>,
        settings: &Retransmission,
        rng: &mut Rng,
    ) {
        let interval = self.first_interval(settings);
        self.outstanding = Some(Outstanding {
            id: self.next,
            exchange,
            packets,
            first_sent: now,
            sent_at: now,
            tries: 1,
            interval,
            due: now + rng.jitter_down(interval, 20),
            give_up_at: Instant::MAX,
        });
        self.next = self.next.saturating_add(1);
    }

    /// Four round trips, as far as one is known, between half and eight times the configured interval.
    fn first_interval(&self, settings: &Retransmission) -> Duration {
        let (least, most) = (settings.initial / 2, settings.initial * 8);
        self.round_trip.map_or(settings.initial, |measured| (measured * 4).clamp(least, most))
    }

    /// There is new reason to think that the peer can be reached: the outstanding request is due now, or a second after it was
    /// sent last, and its intervals begin anew.
    pub fn hurry(&mut self, now: Instant, settings: &Retransmission) {
        let interval = self.first_interval(settings);
        if let Some(waiting) = &mut self.outstanding {
            let due = (waiting.sent_at + HURRY).max(now);
            if due < waiting.due {
                (waiting.due, waiting.interval, waiting.tries) = (due, interval, 1);
            }
        }
    }

    /// The outstanding request is given up at `until`, however often it was sent.
    pub fn bound(&mut self, until: Instant) {
        if let Some(waiting) = &mut self.outstanding {
            waiting.give_up_at = until;
        }
    }

    /// Takes back the outstanding request, whose id is used again (IKE_SA_INIT with a cookie or another group).
    pub fn withdraw(&mut self) {
        if let Some(outstanding) = self.outstanding.take() {
            self.next = outstanding.id;
        }
    }

    /// Whether a response with this id and exchange answers the outstanding request.
    #[must_use]
    pub fn awaits(&self, id: u32, exchange: ExchangeType) -> bool {
        self.outstanding.as_ref().is_some_and(|waiting| (waiting.id, waiting.exchange) == (id, exchange))
    }

    /// The outstanding request is answered.
    pub fn acknowledge(&mut self, now: Instant) {
        if let Some(answered) = self.outstanding.take()
            && answered.first_sent == answered.sent_at
        {
            let sample = now - answered.first_sent;
            self.round_trip = Some(self.round_trip.map_or(sample, |before| before * 7 / 8 + sample / 8));
        }
    }

    /// How a request with `id` stands.
    #[must_use]
    pub fn classify(&self, id: u32) -> Inbound<'_> {
        if id == self.expected {
            // RFC 7296 §2.3: while one is in work, the next one is beyond the window. The last id of all is never reached.
            let beyond = matches!(self.last, Some(Last::Working)) || id == u32::MAX;
            return if beyond { Inbound::Outside } else { Inbound::New };
        }
        match &self.last {
            Some(last) if id.checked_add(1) == Some(self.expected) => match last {
                Last::Working => Inbound::InProgress,
                Last::Answered(packets) => Inbound::Answered(packets),
            },
            _ => Inbound::Outside,
        }
    }

    /// Takes the expected request into work.
    pub fn begin(&mut self) {
        self.expected = self.expected.saturating_add(1);
        self.last = Some(Last::Working);
    }

    /// The id of the peer's next request.
    #[must_use]
    pub const fn expected_id(&self) -> u32 {
        self.expected
    }

    /// The id of the request in work, or last answered.
    #[must_use]
    pub const fn current_id(&self) -> u32 {
        self.expected.saturating_sub(1)
    }

    /// Keeps the answer for repetitions of its request.
    pub fn answered(&mut self, packets: Vec<Vec<u8>>) {
        self.last = Some(Last::Answered(packets));
    }

    /// When [`Window::handle_timeout`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.outstanding.as_ref().map(|waiting| waiting.due.min(waiting.give_up_at))
    }

    /// Counts a try if one is due.
    pub fn handle_timeout(&mut self, now: Instant, settings: &Retransmission, rng: &mut Rng) -> Expired {
        let Some(waiting) =
            self.outstanding.as_mut().filter(|waiting| waiting.due.min(waiting.give_up_at) <= now)
        else {
            return Expired::Nothing;
        };
        if waiting.tries >= settings.tries || waiting.give_up_at <= now {
            return Expired::GiveUp;
        }
        waiting.tries += 1;
        waiting.sent_at = now;
        waiting.interval = (waiting.interval * settings.growth_percent / 100).min(settings.longest);
        waiting.due = now + rng.jitter_down(waiting.interval, 20);
        Expired::Resend
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    fn answer() -> Vec<Vec<u8>> {
        vec![vec![1, 2, 3]]
    }

    #[test]
    fn a_repeated_request_gets_the_same_octets_and_others_nothing() {
        let mut window = Window::default();
        assert_eq!(window.classify(0), Inbound::New);
        assert_eq!(window.classify(1), Inbound::Outside);
        window.begin();
        assert_eq!(window.classify(0), Inbound::InProgress);
        assert_eq!(window.classify(1), Inbound::Outside);
        window.answered(answer());
        assert_eq!(window.classify(0), Inbound::Answered(&answer()));
        assert_eq!(window.classify(1), Inbound::New);
        assert_eq!(window.classify(u32::MAX), Inbound::Outside);
        window.begin();
        assert_eq!(window.classify(0), Inbound::Outside);
    }

    #[test]
    fn retransmission_grows_and_ends() {
        let (settings, mut rng) = (Retransmission::default(), Rng::new(&Seed::from_u64(1)));
        let mut window = Window::default();
        window.sent(Instant::ZERO, ExchangeType::IKE_SA_INIT, answer(), &settings, &mut rng);
        let mut gaps = Vec::new();
        let mut now = Instant::ZERO;
        loop {
            let due = window.deadline().unwrap();
            gaps.push(due - now);
            now = due;
            match window.handle_timeout(now, &settings, &mut rng) {
                Expired::Resend => {}
                Expired::GiveUp => break,
                Expired::Nothing => panic!("it was due"),
            }
        }
        assert_eq!(gaps.len(), 9);
        assert!(gaps[0] <= settings.initial && gaps[3] > gaps[0] && gaps[8] <= settings.longest, "{gaps:?}");
        assert_eq!(window.handle_timeout(Instant::ZERO, &settings, &mut rng), Expired::Nothing);
    }

    #[test]
    fn a_hurried_request_is_due_at_once_and_begins_anew() {
        let (settings, mut rng) = (Retransmission::default(), Rng::new(&Seed::from_u64(1)));
        let mut window = Window::default();
        window.sent(Instant::ZERO, ExchangeType::IKE_SA_INIT, answer(), &settings, &mut rng);
        let first = window.deadline().unwrap();
        window.hurry(Instant::ZERO + HURRY / 2, &settings);
        assert_eq!(window.deadline(), Some(first), "it was sent just now");
        let mut now = Instant::ZERO;
        for _ in 0..5 {
            now = window.deadline().unwrap();
            assert_eq!(window.handle_timeout(now, &settings, &mut rng), Expired::Resend);
        }
        window.hurry(now + HURRY / 2, &settings);
        assert_eq!(window.deadline(), Some(now + HURRY), "not more than once a second");
        window.hurry(now + HURRY, &settings);
        assert_eq!(window.deadline(), Some(now + HURRY));
        assert_eq!(window.handle_timeout(now + HURRY, &settings, &mut rng), Expired::Resend);
        assert!(window.deadline().unwrap() <= now + HURRY + settings.initial * 2);
    }

    #[test]
    fn ids_wear_out_and_never_begin_anew() {
        let (settings, mut rng) = (Retransmission::default(), Rng::new(&Seed::from_u64(1)));
        let at = |next, expected| Window { next, expected, ..Window::default() };
        // A rekey is due long before the last id, whichever end uses them up.
        assert!(!at(WORN, WORN).is_worn());
        assert!(at(WORN + 1, 0).is_worn() && at(0, WORN + 1).is_worn());
        let mut window = at(u32::MAX - 1, u32::MAX - 1);
        assert_eq!(window.classify(u32::MAX - 1), Inbound::New);
        window.begin();
        window.answered(answer());
        assert_eq!(window.classify(u32::MAX), Inbound::Outside, "the last one is never taken");
        assert_eq!(window.classify(0), Inbound::Outside);
        for _ in 0..3 {
            window.sent(Instant::ZERO, ExchangeType::INFORMATIONAL, answer(), &settings, &mut rng);
            window.acknowledge(Instant::ZERO);
        }
        assert_eq!(window.next_id(), u32::MAX);
    }

    #[test]
    fn a_withdrawn_request_gives_its_id_back() {
        let (settings, mut rng) = (Retransmission::default(), Rng::new(&Seed::from_u64(1)));
        let mut window = Window::default();
        window.sent(Instant::ZERO, ExchangeType::IKE_SA_INIT, answer(), &settings, &mut rng);
        assert_eq!(window.next_id(), 1);
        window.withdraw();
        assert_eq!((window.next_id(), window.is_busy()), (0, false));
    }
}

//! NAT keepalives (RFC 3948 §4): where we are behind a NAT and nothing else goes out, an octet keeps its mapping alive.

use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// When the next keepalive may be due, and what went out until then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    at: Instant,
    esp: u64,
}

impl Keepalive {
    /// None is needed.
    pub const OFF: Self = Self { at: Instant::MAX, esp: 0 };

    /// Something went out now, or a keepalive: the next one is due at most an `interval` later, spread so that many pairs do not send
    /// in step. An `interval` of zero is none.
    pub fn put_off(&mut self, now: Instant, interval: Duration, rng: &mut Rng) {
        // Looked at twice in an interval: what goes out just after a look must not hide the silence after it.
        self.at = if interval.is_zero() { Instant::MAX } else { now + rng.jitter_down(interval / 2, 10) };
    }

    /// When it is looked at.
    #[must_use]
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// Whether one is needed: no ESP packet went out since this was asked last. `esp` is how many have, in all.
    pub const fn is_needed(&mut self, esp: u64) -> bool {
        let silent = esp <= self.esp;
        self.esp = esp;
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn packets_of_esp_make_it_needless() {
        let mut keepalive = Keepalive { at: Instant::ZERO, esp: 0 };
        assert!(keepalive.is_needed(0));
        assert!(!keepalive.is_needed(5));
        assert!(keepalive.is_needed(5));
        // A new child counts from zero again.
        assert!(keepalive.is_needed(2));
        assert!(!keepalive.is_needed(3));
    }

    #[test]
    fn it_comes_twice_an_interval_or_never() {
        let (mut rng, mut keepalive) = (Rng::new(&Seed::from_u64(1)), Keepalive::OFF);
        keepalive.put_off(Instant::ZERO, Duration::from_secs(20), &mut rng);
        assert!(keepalive.at() > Instant::ZERO && keepalive.at() <= Instant::ZERO + Duration::from_secs(10));
        keepalive.put_off(Instant::ZERO, Duration::ZERO, &mut rng);
        assert_eq!(keepalive, Keepalive::OFF);
    }
}

//! Randomness as an argument: a seed comes in, everything random the engine does follows from it.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::time::Duration;

/// 256 bits of entropy from which one stream of random octets is made; wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Takes 32 octets of the operating system's randomness, or a test's number.
    #[must_use]
    pub const fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// A seed from one number, for tests and simulations only.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        let mut octets = [0; 32];
        octets[..8].copy_from_slice(&number.to_le_bytes());
        Self(octets)
    }

    /// The octets, for a generator made from them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed")
    }
}

/// The engine's generator (ChaCha20): SPIs, nonces, jitter and the seeds of jobs.
pub struct Rng(ChaCha20Rng);

impl Rng {
    /// A generator whose stream is a function of `seed` alone.
    #[must_use]
    pub fn new(seed: &Seed) -> Self {
        Self(ChaCha20Rng::from_seed(seed.0))
    }

    /// Fills `out` with random octets.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// `len` random octets.
    #[must_use]
    pub fn octets(&mut self, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.fill(&mut out);
        out
    }

    /// A random 64-bit number.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`; zero if `bound` is zero. The bias is below 2^-32 for bounds below 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.u64() % bound }
    }

    /// A seed for a job, independent of what this generator gives next.
    pub fn fork(&mut self) -> Seed {
        let mut octets = [0; 32];
        self.fill(&mut octets);
        Seed(octets)
    }

    /// `base` shortened by up to `percent` per cent.
    pub fn jitter_down(&mut self, base: Duration, percent: u64) -> Duration {
        let nanos = u64::try_from(base.as_nanos()).unwrap_or(u64::MAX);
        let span = nanos / 100 * percent.min(100);
        Duration::from_nanos(nanos - self.below(span.saturating_add(1)).min(nanos))
    }
}

impl core::fmt::Debug for Rng {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Rng")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_stream() {
        let (mut a, mut b) = (Rng::new(&Seed::from_u64(7)), Rng::new(&Seed::from_u64(7)));
        assert_eq!(a.octets(40), b.octets(40));
        assert_ne!(a.octets(40), Rng::new(&Seed::from_u64(8)).octets(40));
    }

    #[test]
    fn jitter_only_shortens_and_stays_in_its_bounds() {
        let mut rng = Rng::new(&Seed::from_u64(1));
        let base = Duration::from_secs(100);
        let drawn: Vec<_> = (0..1000).map(|_| rng.jitter_down(base, 10)).collect();
        assert!(drawn.iter().all(|d| *d <= base && *d >= Duration::from_secs(90)));
        assert!(drawn.iter().any(|d| *d < Duration::from_secs(92)));
        assert!(drawn.iter().any(|d| *d > Duration::from_secs(98)));
    }
}

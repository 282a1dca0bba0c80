//! Links that lose, reorder, duplicate, damage and delay, all as one generator says.

use ike_proto::rng::Rng;
use ike_proto::time::Duration;

/// A range of durations, both ends inclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

impl Span {
    /// From `min` to `max` milliseconds.
    #[must_use]
    pub const fn millis(min: u64, max: u64) -> Self {
        Self { min: Duration::from_millis(min), max: Duration::from_millis(max) }
    }

    /// One duration of the range.
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        let width = self.max.saturating_sub(self.min);
        let nanos = u64::try_from(width.as_nanos()).unwrap_or(u64::MAX);
        self.min + Duration::from_nanos(rng.below(nanos.saturating_add(1)))
    }
}

/// What the network does to packets. Shares are in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conditions {
    /// Packets that never arrive.
    pub loss: u64,
    /// Packets that arrive twice; each copy has a delay of its own.
    pub duplicate: u64,
    /// Packets of which one bit is flipped on the way.
    pub corrupt: u64,
    /// Packets that are overtaken: they take `detour` more.
    pub late: u64,
    /// The usual delay.
    pub delay: Span,
    /// What late packets take more.
    pub detour: Span,
}

impl Conditions {
    /// Nothing is lost, and nothing overtakes anything else by more than nine milliseconds.
    #[must_use]
    pub const fn calm() -> Self {
        Self {
            loss: 0,
            duplicate: 0,
            corrupt: 0,
            late: 0,
            delay: Span::millis(1, 10),
            detour: Span::millis(0, 0),
        }
    }

    /// `loss` thousandths are lost, a tenth comes twice, a tenth is overtaken by up to two seconds.
    #[must_use]
    pub const fn rough(loss: u64) -> Self {
        Self {
            loss,
            duplicate: 100,
            corrupt: 0,
            late: 100,
            delay: Span::millis(1, 100),
            detour: Span::millis(50, 2000),
        }
    }

    /// What becomes of one packet: a copy for each entry, none if it is lost.
    #[must_use]
    pub fn carry(&self, rng: &mut Rng) -> Vec<Copy> {
        if chance(rng, self.loss) {
            return Vec::new();
        }
        let copies = 1 + usize::from(chance(rng, self.duplicate));
        (0..copies)
            .map(|_| {
                let mut delay = self.delay.draw(rng);
                if chance(rng, self.late) {
                    delay += self.detour.draw(rng);
                }
                let flip = chance(rng, self.corrupt).then(|| rng.u64());
                Copy { delay, flip }
            })
            .collect()
    }
}

/// One copy of a packet on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copy {
    /// How long it takes.
    pub delay: Duration,
    /// The bit that is flipped, modulo the number of bits.
    pub flip: Option<u64>,
}

/// True in `thousandths` of a thousand draws.
pub fn chance(rng: &mut Rng, thousandths: u64) -> bool {
    // Nothing is drawn for what never happens, so that switching a fault off does not change the other draws.
    thousandths > 0 && rng.below(1000) < thousandths
}

#[cfg(test)]
mod tests {
    use ike_proto::rng::Seed;

    use super::*;

    #[test]
    fn shares_are_what_the_conditions_say() {
        let mut rng = Rng::new(&Seed::from_u64(1));
        let conditions = Conditions { corrupt: 50, ..Conditions::rough(300) };
        let carried: Vec<_> = (0..10_000).map(|_| conditions.carry(&mut rng)).collect();
        let count = |test: fn(&Vec<Copy>) -> bool| carried.iter().filter(|copies| test(copies)).count();
        assert!((2_800..3_200).contains(&count(Vec::is_empty)));
        assert!((600..800).contains(&count(|copies| copies.len() == 2)));
        assert!((270..450).contains(&count(|copies| copies.iter().any(|copy| copy.flip.is_some()))));
        let late = count(|copies| copies.iter().any(|copy| copy.delay > Duration::from_millis(100)));
        assert!((600..900).contains(&late), "{late}");
    }

    #[test]
    fn a_calm_link_carries_everything_once() {
        let mut rng = Rng::new(&Seed::from_u64(1));
        assert!((0..1000).all(|_| Conditions::calm().carry(&mut rng).len() == 1));
    }
}

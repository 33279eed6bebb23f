//! Luck: one stream for each entity, so that a change in one host's luck leaves the others' alone.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use crate::pace::Span;

/// One entity's luck. The same seed and name give the same stream, on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Chance(Xoshiro256PlusPlus);

impl Chance {
    pub(crate) fn stream(seed: u64, entity: &str) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed ^ fnv1a(entity)))
    }

    /// From 0 up to, and without, `end`; 0 when `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A time within a span.
    pub(crate) fn ms(&mut self, span: Span) -> u64 {
        let steps = span.max_ms.saturating_sub(span.min_ms) / span.step_ms;
        span.min_ms + self.below(steps + 1) * span.step_ms
    }

    /// One of these, each as likely as the others. Panics when there is none.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len() as u64);
        &from[usize::try_from(at).unwrap_or(0)]
    }

    /// True once in `times`, on average.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Forty hexadecimal digits.
    pub(crate) fn hex40(&mut self) -> String {
        let (a, b, c) = (self.0.next_u64(), self.0.next_u64(), self.0.next_u64() >> 32);
        format!("{a:016x}{b:016x}{c:08x}")
    }
}

fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hosts_of_one_seed_have_luck_of_their_own_and_the_same_each_time() {
        let draw = |entity: &str| {
            let mut chance = Chance::stream(7, entity);
            [chance.below(1_000_000), chance.below(1_000_000), chance.below(1_000_000)]
        };
        assert_eq!(draw("web-01"), draw("web-01"));
        assert_ne!(draw("web-01"), draw("web-02"));
    }

    #[test]
    fn a_draw_stays_within_its_span() {
        let mut chance = Chance::stream(1, "web-01");
        let span = Span::ms(20, 22);
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| chance.ms(span)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [20, 21, 22]);
        let stepped = Span::ms(20, 75).in_steps_of(20);
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| chance.ms(stepped)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [20, 40, 60]);
    }
}

//! Numbers that look random and are the same for the same seed, on every machine and in every version.

/// A generator of such numbers: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Others, that depend on these and on a number.
    pub fn fork(&self, number: u64) -> Self {
        let mut fork = Self(self.0 ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03));
        Self(fork.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below another; 0 below 0.
    pub fn below(&mut self, end: usize) -> usize {
        // 2^64 is so much more than any `end` that the remainder's bias does not show.
        let end = end.max(1) as u64;
        usize::try_from(self.number() % end).unwrap_or_default()
    }

    /// A number below another, small ones far more often, as with keys that are changed every day and keys that
    /// hardly ever are.
    pub fn skewed_below(&mut self, end: usize) -> usize {
        let first = self.below(end);
        self.below(first + 1)
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len())) }
    }

    /// Whether something happens that happens so often of a thousand times.
    pub fn happens(&mut self, of_thousand: u64) -> bool {
        self.number() % 1_000 < of_thousand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_gives_others() {
        let numbers = |seed| (0..4).map(|_| Dice::new(seed).fork(3).number()).collect::<Vec<_>>();
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
        assert_ne!(Dice::new(1).fork(1).number(), Dice::new(1).fork(2).number());
    }

    #[test]
    fn a_number_below_is_below() {
        let mut dice = Dice::new(7);
        for end in [0, 1, 2, 97] {
            assert!((0..1_000).all(|_| dice.below(end) < end.max(1)));
            assert!((0..1_000).all(|_| dice.skewed_below(end) < end.max(1)));
        }
    }
}

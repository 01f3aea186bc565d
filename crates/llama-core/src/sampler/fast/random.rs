//! llama.cpp's random numbers: the generator and the distributions.

use rand_mt::Mt;

use crate::sampler::seed::Seed;

/// C++'s `std::mt19937` with its seed.
#[derive(Clone, Debug)]
pub(super) struct Random {
    /// The given seed.
    given: Seed,
    /// The seed's number, which was drawn for a random seed.
    used: u32,
    generator: Box<Mt>,
}

impl Random {
    pub(super) fn new(seed: Seed) -> Self {
        let used = seed.number();
        let generator = Box::new(Mt::new(Seed::Fixed(used).for_generator()));
        Self { given: seed, used, generator }
    }

    /// Starts over; a random seed is drawn again.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.given);
    }

    pub(super) fn seed(&self) -> u32 {
        self.used
    }

    /// Returns a number from 0 to below 1, as `std::uniform_real_distribution<double>` computes it: from two
    /// numbers, the first of which is the lower half.
    pub(super) fn uniform(&mut self) -> f64 {
        const TWO_TO_32: f64 = 4_294_967_296.0;
        let low = f64::from(self.generator.next_u32());
        let high = f64::from(self.generator.next_u32());
        let value = (low + high * TWO_TO_32) / (TWO_TO_32 * TWO_TO_32);
        if value < 1.0 { value } else { 1.0_f64.next_down() }
    }

    /// Returns a number from 0 to below 1, as `std::uniform_real_distribution<float>` computes it: from one number.
    pub(super) fn uniform_single(&mut self) -> f32 {
        #[allow(clippy::cast_precision_loss, reason = "C++ rounds here too")]
        let value = self.generator.next_u32() as f32 / 4_294_967_296.0;
        if value < 1.0 { value } else { 1.0_f32.next_down() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_matches_the_cpp_standard() {
        // The C++ standard specifies the ten thousandth number for the default seed.
        let mut random = Random::new(5489.into());
        let last = (0..10_000).map(|_| random.generator.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn numbers_are_from_zero_to_below_one_and_restart() {
        let mut random = Random::new(1.into());
        let first: Vec<f64> = (0..1000).map(|_| random.uniform()).collect();
        assert!(first.iter().all(|number| (0.0..1.0).contains(number)));
        let mean = first.iter().sum::<f64>() / 1000.0;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
        random.restart();
        assert!(first.iter().all(|number| *number == random.uniform()));
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.uniform_single())));
    }
}

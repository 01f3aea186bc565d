//! Random numbers that are equal on every machine.

/// A `SplitMix64` generator seeded from names.
pub(crate) struct Rng(u64);

impl Rng {
    /// Seeds from names, so that a tensor keeps its weights when others are added.
    pub(crate) fn from_names(names: &[&str]) -> Self {
        // FNV-1a, with a separator that occurs in no name.
        let bytes = names.iter().flat_map(|name| name.bytes().chain([0]));
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a uniformly distributed number with mean 0 and standard deviation 1, between -sqrt(3) and sqrt(3).
    pub(crate) fn unit(&mut self) -> f32 {
        // 16 bits are exact in an f32, and no library function is involved, so all platforms agree.
        let bits = u16::try_from(self.next() >> 48).expect("16 bits are left");
        (f32::from(bits) / 32768.0 - 1.0) * 3f32.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_pinned() {
        let mut rng = Rng::from_names(&["a", "b"]);
        let first = [rng.next(), rng.next()];
        let mut again = Rng::from_names(&["a", "b"]);
        assert_eq!(first, [again.next(), again.next()]);
        assert_ne!(first[0], Rng::from_names(&["ab"]).next());
        // The reference values of SplitMix64 for seed 0.
        let mut zero = Rng(0);
        assert_eq!([zero.next(), zero.next()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn mean_and_deviation_are_as_promised() {
        let mut rng = Rng::from_names(&["moments"]);
        let values: Vec<f32> = (0..10_000).map(|_| rng.unit()).collect();
        let mean = values.iter().sum::<f32>() / 10_000.0;
        let square = values.iter().map(|x| x * x).sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.05 && (square - 1.0).abs() < 0.05, "{mean} {square}");
    }
}

//! Rows to sample from.

/// A generator of numbers without pattern, equal for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap() % limit
    }

    /// Returns a number from 0 to below 1.
    pub(crate) fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 16_777_216.0
    }

    /// Returns a nearly normally distributed number with deviation 1.
    pub(crate) fn normal(&mut self) -> f32 {
        let bits = self.next();
        let parts = (0..4).map(|part| ((bits >> (part * 16)) & 0xffff) as f32 / 65_536.0);
        (parts.sum::<f32>() - 2.0) * 1.732 + (self.uniform() - 0.5) * 1e-4
    }
}

/// Returns logits around a mean.
pub(crate) fn normal(length: usize, mean: f32, deviation: f32, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..length).map(|_| mean + deviation * random.normal()).collect()
}

/// Returns a row like a model's: most tokens are unlikely, some stand out.
pub(crate) fn peaked(length: usize, seed: u64) -> Vec<f32> {
    let mut row = normal(length, -2.0, 2.2, seed);
    let mut random = Random::new(seed + 1);
    let mut logit = 17.0;
    for _ in 0..60 {
        let index = random.below(length);
        row[index] = logit;
        logit -= random.uniform() * 0.6;
    }
    row
}

/// Returns a row in which all but some logits are masked.
pub(crate) fn masked(length: usize, unmasked: usize, seed: u64) -> Vec<f32> {
    let mut row = vec![f32::NEG_INFINITY; length];
    let mut random = Random::new(seed);
    for _ in 0..unmasked {
        let index = random.below(length);
        row[index] = random.normal() * 3.0;
    }
    row
}

/// Returns one row of each kind whose largest logits are usually different.
pub(crate) fn kinds(length: usize, seed: u64) -> Vec<Vec<f32>> {
    vec![
        peaked(length, seed),
        normal(length, -1.0, 2.5, seed),
        normal(length, 0.0, 1.0, seed),
        normal(length, 3.0, 0.01, seed),
        normal(length, -1e4, 3e3, seed),
        masked(length, length / 50 + 1, seed),
        masked(length, 30, seed),
        masked(length, 1, seed),
    ]
}

//! Seeds of random numbers.

use core::fmt;
use core::hash::{BuildHasher, Hasher};
use std::hash::RandomState;

use super::kind::Sampler;
use super::params::{AdaptiveP, Mirostat, MirostatV2, Xtc};

/// The number for which llama.cpp draws a seed instead of using it.
const DRAWN_BY_C: u32 = llama_sys::LLAMA_DEFAULT_SEED;
/// The seed used in its place.
const SUBSTITUTE: u32 = 0x7fff_ffff;

/// Seed of a sampler's random numbers: a number, or a request to draw one. Numbers and `Option`s convert by
/// `into()`.
///
/// Every number is reproducible, `u32::MAX` too: llama.cpp would draw a seed for it (`LLAMA_DEFAULT_SEED`), so it
/// yields the random numbers of seed 2147483647 here.
///
/// With the feature `serde` it is a number, -1 for [`Random`](Self::Random). 4294967295, for which llama.cpp's own
/// programs draw a seed, is a number like any other.
///
/// ```
/// use llama_core::sampler::Seed;
/// use llama_core::SamplerChain;
///
/// # fn main() -> Result<(), llama_core::Error> {
/// let row = [0.0_f32; 1000];
/// let mut random = SamplerChain::builder().dist(Seed::Random).build_row()?;
/// let seed = random.seed().expect("dist has a seed");
/// let mut again = SamplerChain::builder().dist(seed).build_row()?;
/// assert_eq!(again.sample_row(&row)?, random.sample_row(&row)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Seed {
    /// A fixed seed, which yields the same random numbers in every run.
    Fixed(u32),
    /// A seed drawn from the system's random numbers when the sampler is created, and again by every reset.
    /// [`SamplerChain::seed`](crate::SamplerChain::seed) and [`RowSampler::seed`](crate::sampler::RowSampler::seed) return
    /// the drawn number.
    #[default]
    Random,
}

impl Seed {
    /// Returns the number of a fixed seed, or draws one, which is never `u32::MAX`.
    ///
    /// Corresponds to `LLAMA_DEFAULT_SEED`, for which llama.cpp draws a seed without revealing it.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Fixed(seed) => seed,
            Self::Random => drawn(),
        }
    }

    /// Returns the seed with its number fixed.
    fn fixed(self) -> Self {
        Self::Fixed(self.number())
    }

    /// Returns the number for a generator, which is never the one for which llama.cpp would draw another.
    pub(super) fn for_generator(self) -> u32 {
        match self.number() {
            DRAWN_BY_C => SUBSTITUTE,
            seed => seed,
        }
    }
}

impl From<u32> for Seed {
    fn from(seed: u32) -> Self {
        Self::Fixed(seed)
    }
}

impl From<Option<u32>> for Seed {
    /// Converts `None` to [`Seed::Random`].
    fn from(seed: Option<u32>) -> Self {
        seed.map_or(Self::Random, Self::Fixed)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(seed) => seed.fmt(f),
            Self::Random => f.pad("random"),
        }
    }
}

/// Draws a seed from the system's random numbers, on which the standard library's hash keys are based.
fn drawn() -> u32 {
    let bits = RandomState::new().build_hasher().finish();
    let folded = bits ^ (bits >> 32);
    #[allow(clippy::cast_possible_truncation, reason = "the upper half is folded in")]
    let seed = folded as u32;
    // A drawn seed then yields the same random numbers in llama.cpp's programs too.
    if seed == DRAWN_BY_C { 0 } else { seed }
}

impl Sampler {
    /// Returns the sampler's seed, if it uses random numbers.
    pub(super) fn seed(&self) -> Option<Seed> {
        match self {
            Self::Dist { seed }
            | Self::Xtc(Xtc { seed, .. })
            | Self::Mirostat(Mirostat { seed, .. })
            | Self::MirostatV2(MirostatV2 { seed, .. })
            | Self::AdaptiveP(AdaptiveP { seed, .. }) => Some(*seed),
            _ => None,
        }
    }

    fn seed_mut(&mut self) -> Option<&mut Seed> {
        match self {
            Self::Dist { seed }
            | Self::Xtc(Xtc { seed, .. })
            | Self::Mirostat(Mirostat { seed, .. })
            | Self::MirostatV2(MirostatV2 { seed, .. })
            | Self::AdaptiveP(AdaptiveP { seed, .. }) => Some(seed),
            _ => None,
        }
    }

    /// Returns a copy whose seed is a number: its own, or one that is drawn now.
    pub(super) fn with_drawn_seed(&self) -> Self {
        let mut sampler = self.clone();
        if let Some(seed) = sampler.seed_mut() {
            *seed = seed.fixed();
        }
        sampler
    }

    /// Returns whether the seed is random.
    pub(super) fn has_random_seed(&self) -> bool {
        self.seed() == Some(Seed::Random)
    }
}

#[cfg(feature = "serde")]
mod json {
    use core::fmt;

    use serde::de::{Error, Unexpected, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Seed;

    impl Serialize for Seed {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_i64(match self {
                Self::Fixed(seed) => i64::from(*seed),
                Self::Random => -1,
            })
        }
    }

    impl<'de> Deserialize<'de> for Seed {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_i64(Number)
        }
    }

    struct Number;

    impl Visitor<'_> for Number {
        type Value = Seed;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a seed from 0 to 4294967295, or -1 for one to be drawn")
        }

        fn visit_i64<E: Error>(self, seed: i64) -> Result<Seed, E> {
            match u32::try_from(seed) {
                Ok(seed) => Ok(Seed::Fixed(seed)),
                Err(_) if seed == -1 => Ok(Seed::Random),
                Err(_) => Err(E::invalid_value(Unexpected::Signed(seed), &self)),
            }
        }

        fn visit_u64<E: Error>(self, seed: u64) -> Result<Seed, E> {
            let number = u32::try_from(seed);
            number.map(Seed::Fixed).map_err(|_| E::invalid_value(Unexpected::Unsigned(seed), &self))
        }
    }
}

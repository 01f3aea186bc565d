//! The valid ranges of the samplers' parameters, for callers that check them before they create a chain.
//!
//! ```
//! use llama_core::sampler::range;
//!
//! assert!(range::TAU.contains(5.0) && !range::TAU.contains(f32::NAN));
//! assert_eq!(range::TAU.to_string(), "above 0 and at most 100");
//! ```

use core::fmt;

/// A range of values that a parameter can have: numbers between two bounds, and optionally one number outside of
/// them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParameterRange<T> {
    min: T,
    max: T,
    bounds: Bounds,
    also: Option<T>,
}

/// The kind of bounds of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bounds {
    Both,
    /// The lower bound is not in the range.
    AboveMin,
    /// The upper bound is the largest number of the type.
    AtLeast,
}

impl<T: Copy + PartialOrd> ParameterRange<T> {
    /// Creates the range of the numbers from `min` to `max`.
    #[must_use]
    pub const fn new(min: T, max: T) -> Self {
        Self { min, max, bounds: Bounds::Both, also: None }
    }

    /// Creates the range of the numbers above `min`, up to `max`.
    #[must_use]
    pub const fn above(min: T, max: T) -> Self {
        Self { min, max, bounds: Bounds::AboveMin, also: None }
    }

    /// Adds a single number.
    #[must_use]
    pub const fn or(mut self, also: T) -> Self {
        self.also = Some(also);
        self
    }

    /// Returns whether the value is in the range. NaN is in no range.
    #[must_use]
    pub fn contains(&self, value: T) -> bool {
        let above = value > self.min || (value == self.min && self.bounds != Bounds::AboveMin);
        (above && value <= self.max) || self.also == Some(value)
    }

    /// Returns the largest value.
    #[must_use]
    pub const fn max(&self) -> T {
        self.max
    }
}

impl ParameterRange<f32> {
    /// Creates the range of the finite numbers that are at least `min`.
    #[must_use]
    pub const fn at_least(min: f32) -> Self {
        Self { min, max: f32::MAX, bounds: Bounds::AtLeast, also: None }
    }
}

impl<T: fmt::Display> fmt::Display for ParameterRange<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(also) = &self.also {
            write!(f, "{also}, or ")?;
        }
        let Self { min, max, .. } = self;
        match self.bounds {
            Bounds::Both => write!(f, "from {min} to {max}"),
            Bounds::AboveMin => write!(f, "above {min} and at most {max}"),
            Bounds::AtLeast => write!(f, "at least {min}"),
        }
    }
}

/// The range of the temperature of [`temperature`](crate::sampler::SamplerChainBuilder::temperature) and
/// [`temperature_ext`](crate::sampler::SamplerChainBuilder::temperature_ext). Below 0.00001 logits overflow to infinity, and
/// llama.cpp then selects the last candidate.
pub const TEMPERATURE: ParameterRange<f32> = ParameterRange::at_least(1e-5).or(0.0);
/// The range of [`DynamicTemperature::delta`](crate::sampler::DynamicTemperature::delta).
pub const TEMPERATURE_DELTA: ParameterRange<f32> = ParameterRange::new(0.0, 1e6);
/// The range of [`DynamicTemperature::exponent`](crate::sampler::DynamicTemperature::exponent).
pub const TEMPERATURE_EXPONENT: ParameterRange<f32> = ParameterRange::new(0.0, 1e6);
/// The range of `p` of [`top_p`](crate::sampler::SamplerChainBuilder::top_p), [`min_p`](crate::sampler::SamplerChainBuilder::min_p)
/// and [`typical_p`](crate::sampler::SamplerChainBuilder::typical_p).
pub const P: ParameterRange<f32> = ParameterRange::new(0.0, 1.0);
/// The range of `n` of [`top_n_sigma`](crate::sampler::SamplerChainBuilder::top_n_sigma).
pub const SIGMAS: ParameterRange<f32> = ParameterRange::new(0.0, 1e6);
/// The range of [`Xtc::probability`](crate::sampler::Xtc::probability).
pub const XTC_PROBABILITY: ParameterRange<f32> = ParameterRange::new(0.0, 1.0);
/// The range of [`Xtc::threshold`](crate::sampler::Xtc::threshold).
pub const XTC_THRESHOLD: ParameterRange<f32> = ParameterRange::above(0.0, 1.0);
/// The range of [`Mirostat::tau`](crate::sampler::Mirostat::tau) and [`MirostatV2::tau`](crate::sampler::MirostatV2::tau).
pub const TAU: ParameterRange<f32> = ParameterRange::above(0.0, 100.0);
/// The range of [`Mirostat::eta`](crate::sampler::Mirostat::eta) and [`MirostatV2::eta`](crate::sampler::MirostatV2::eta).
pub const ETA: ParameterRange<f32> = ParameterRange::new(0.0, 1.0);
/// The range of [`Mirostat::m`](crate::sampler::Mirostat::m).
pub const M: ParameterRange<u32> = ParameterRange::new(2, i32::MAX.cast_unsigned());
/// The range of [`AdaptiveP::target`](crate::sampler::AdaptiveP::target).
pub const TARGET: ParameterRange<f32> = ParameterRange::new(0.0, 1.0);
/// The range of [`AdaptiveP::decay`](crate::sampler::AdaptiveP::decay).
pub const DECAY: ParameterRange<f32> = ParameterRange::new(0.0, 0.99);
/// The range of [`Penalties::last_n`](crate::sampler::Penalties::last_n), [`Dry::last_n`](crate::sampler::Dry::last_n) and
/// [`Dry::allowed_length`](crate::sampler::Dry::allowed_length). llama.cpp reserves and clears memory for all of the tokens
/// at once.
pub const LAST_N: ParameterRange<u32> = ParameterRange::new(0, 1 << 24);
/// The range of [`Penalties::repeat`](crate::sampler::Penalties::repeat).
pub const REPEAT: ParameterRange<f32> = ParameterRange::new(1e-3, 1e3);
/// The range of [`Penalties::frequency`](crate::sampler::Penalties::frequency) and
/// [`Penalties::presence`](crate::sampler::Penalties::presence).
pub const PENALTY: ParameterRange<f32> = ParameterRange::new(-1e4, 1e4);
/// The range of [`Dry::multiplier`](crate::sampler::Dry::multiplier).
pub const DRY_MULTIPLIER: ParameterRange<f32> = ParameterRange::new(0.0, 1e6);
/// The range of [`Dry::base`](crate::sampler::Dry::base).
pub const DRY_BASE: ParameterRange<f32> = ParameterRange::new(1.0, 1e6);
/// The range of the number of different [`Dry::breakers`](crate::sampler::Dry::breakers).
pub const DRY_BREAKERS: ParameterRange<usize> =
    ParameterRange::new(0, llama_sys::LLAMA_DRY_MAX_SEQ_BREAKERS as usize);
/// The range of the length in bytes of each of the [`Dry::breakers`](crate::sampler::Dry::breakers). llama.cpp silently cuts
/// off longer ones.
pub const DRY_BREAKER: ParameterRange<usize> = ParameterRange::new(1, 40);
/// The range of a [bias](crate::sampler::SamplerChainBuilder::logit_bias). Negative infinity forbids the token.
pub const BIAS: ParameterRange<f32> = ParameterRange::new(-1e6, 1e6).or(f32::NEG_INFINITY);

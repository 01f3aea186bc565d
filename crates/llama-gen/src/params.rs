//! Parameters of a generation and of its sampling, with the names that llama.cpp and OpenAI use.

mod check;
mod generation;
mod grammar;
mod lenient;
mod logit_bias;
mod names;
mod preset;
mod recommended;
mod sampler_name;
mod sampling;

pub use generation::GenerationParams;
pub use grammar::{GrammarParams, GrammarTriggers};
pub(crate) use logit_bias::biased_tokens;
pub use logit_bias::{BiasTarget, LogitBias};
pub use preset::{Preset, UnknownPreset};
pub use sampler_name::{SamplerName, UnknownSampler};
pub use sampling::{ResolvedSampling, SamplingParams};

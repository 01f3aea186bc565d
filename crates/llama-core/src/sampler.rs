//! Samplers, which choose a token from a row of logits.
//!
//! [`SamplerChain`] wraps llama.cpp's chain. Its samplers are typed values ([`Sampler`]), and its builder checks all
//! of them before anything runs.

mod any;
#[cfg(feature = "serde")]
mod bias;
mod builder;
mod candidates;
mod chain;
mod check;
mod config;
mod create;
mod custom;
mod device;
mod fast;
mod finished;
mod grammar;
#[cfg(feature = "common")]
mod json_schema;
mod kind;
mod large_stack;
mod params;
pub mod range;
mod raw;
mod sampled;
mod seed;

pub use any::AnySampler;
pub use builder::SamplerChainBuilder;
pub use candidates::{Candidate, Candidates};
pub(crate) use chain::check_sampled;
pub use chain::{GrammarState, SamplerChain, SamplerPerf};
pub use config::SamplerConfig;
pub use custom::{CandidatesMut, Custom, CustomSampler};
pub(crate) use fast::exp::exp;
pub use fast::{Choice, RowSampler, RowSamplerPool};
#[cfg(feature = "common")]
pub use json_schema::json_schema_to_grammar;
pub use kind::Sampler;
pub use params::{
    AdaptiveP, Dry, DynamicTemperature, Grammar, LazyTriggers, Mirostat, MirostatV2, Penalties, Xtc,
};
pub use range::ParameterRange;
pub use sampled::Sampled;
pub use seed::Seed;

pub use crate::error::{GrammarPosition, SamplerProblem};

//! llama.cpp's samplers as values.

use super::custom::Custom;
use super::params::{AdaptiveP, Dry, DynamicTemperature, Grammar, Mirostat, MirostatV2, Penalties, Xtc};
use super::seed::Seed;
use crate::model::Model;
use crate::token::Token;

/// One sampler of a chain. [`SamplerChainBuilder`](crate::sampler::SamplerChainBuilder) has a method with an explanation for
/// each; [`push`](crate::sampler::SamplerChainBuilder::push) takes one as a value.
///
/// `min_keep` is the minimum number of candidates that a sampler keeps.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sampler {
    /// Selects the token with the largest logit. Corresponds to `llama_sampler_init_greedy`.
    Greedy,
    /// Selects at random, by probability. Corresponds to `llama_sampler_init_dist`.
    Dist {
        /// Seed of the random numbers.
        seed: Seed,
    },
    /// Keeps the `k` most likely candidates. Corresponds to `llama_sampler_init_top_k`.
    TopK {
        /// Number of candidates to keep; 0 keeps all.
        k: u32,
    },
    /// Keeps the most likely candidates, up to a total probability. Corresponds to `llama_sampler_init_top_p`.
    TopP {
        /// Total probability to keep, 0 to 1; 1 keeps all.
        p: f32,
        /// Minimum number of candidates to keep.
        min_keep: usize,
    },
    /// Keeps the candidates that are likely enough compared to the most likely one. Corresponds to
    /// `llama_sampler_init_min_p`.
    MinP {
        /// Lowest probability to keep, relative to the largest one, 0 to 1; 0 keeps all.
        p: f32,
        /// Minimum number of candidates to keep.
        min_keep: usize,
    },
    /// Keeps the candidates whose surprise is near the expected surprise. Corresponds to
    /// `llama_sampler_init_typical`.
    Typical {
        /// Total probability to keep, 0 to 1; 1 keeps all.
        p: f32,
        /// Minimum number of candidates to keep.
        min_keep: usize,
    },
    /// Divides the logits by a temperature. Corresponds to `llama_sampler_init_temp`.
    Temperature {
        /// The divisor; 0 keeps only the most likely candidate.
        temperature: f32,
    },
    /// Divides the logits by a temperature that depends on the entropy. Corresponds to
    /// `llama_sampler_init_temp_ext`.
    DynamicTemperature(DynamicTemperature),
    /// Removes the most likely candidates now and then. Corresponds to `llama_sampler_init_xtc`.
    Xtc(Xtc),
    /// Masks logits far below the largest one. Corresponds to `llama_sampler_init_top_n_sigma`.
    TopNSigma {
        /// Distance from the largest logit, in standard deviations of the logits; 0 keeps all.
        n: f32,
    },
    /// Selects at random and controls the surprise. Corresponds to `llama_sampler_init_mirostat`.
    Mirostat(Mirostat),
    /// Selects at random and controls the surprise in a simpler way. Corresponds to
    /// `llama_sampler_init_mirostat_v2`.
    MirostatV2(MirostatV2),
    /// Selects at random, near a target probability. Corresponds to `llama_sampler_init_adaptive_p`.
    AdaptiveP(AdaptiveP),
    /// Lowers the logits of tokens that have occurred. Corresponds to `llama_sampler_init_penalties`.
    Penalties(Penalties),
    /// Lowers the logits of tokens that would continue a repetition. Corresponds to `llama_sampler_init_dry`.
    Dry {
        /// The model that tokenizes the breakers.
        model: Model,
        /// The parameters.
        params: Dry,
    },
    /// Adds biases to the logits of single tokens. Corresponds to `llama_sampler_init_logit_bias`.
    LogitBias {
        /// The model that the tokens belong to.
        model: Model,
        /// Pairs of token and bias; a bias of negative infinity forbids the token.
        biases: Vec<(Token, f32)>,
    },
    /// Fill-in-the-middle sampling. Corresponds to `llama_sampler_init_infill`.
    Infill {
        /// The model whose tokens are compared.
        model: Model,
    },
    /// Masks candidates that do not fit a grammar. Corresponds to `llama_sampler_init_grammar` and
    /// `llama_sampler_init_grammar_lazy_patterns`.
    Grammar(Grammar),
    /// A sampler written in Rust. Corresponds to `llama_sampler_init`.
    Custom(Custom),
}

impl Sampler {
    /// Returns llama.cpp's name of the sampler, or `custom` for a user-defined one.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::Dist { .. } => "dist",
            Self::TopK { .. } => "top-k",
            Self::TopP { .. } => "top-p",
            Self::MinP { .. } => "min-p",
            Self::Typical { .. } => "typical",
            Self::Temperature { .. } => "temp",
            Self::DynamicTemperature(_) => "temp-ext",
            Self::Xtc(_) => "xtc",
            Self::TopNSigma { .. } => "top-n-sigma",
            Self::Mirostat(_) => "mirostat",
            Self::MirostatV2(_) => "mirostat-v2",
            Self::AdaptiveP(_) => "adaptive-p",
            Self::Penalties(_) => "penalties",
            Self::Dry { .. } => "dry",
            Self::LogitBias { .. } => "logit-bias",
            Self::Infill { .. } => "infill",
            Self::Grammar(_) => "grammar",
            Self::Custom(_) => "custom",
        }
    }

    /// Returns whether the sampler selects a token and so must be the last of its chain.
    #[must_use]
    pub fn is_selecting(&self) -> bool {
        match self {
            Self::Greedy
            | Self::Dist { .. }
            | Self::Mirostat(_)
            | Self::MirostatV2(_)
            | Self::AdaptiveP(_) => true,
            Self::Custom(custom) => custom.is_selecting(),
            _ => false,
        }
    }

    /// Returns the model that the sampler was made for. It stays loaded as long as the sampler exists.
    #[must_use]
    pub fn model(&self) -> Option<&Model> {
        match self {
            Self::Mirostat(Mirostat { model, .. })
            | Self::Grammar(Grammar { model, .. })
            | Self::Dry { model, .. }
            | Self::LogitBias { model, .. }
            | Self::Infill { model } => Some(model),
            _ => None,
        }
    }
}

//! The samplers of llama.cpp, as values.

use super::custom::Custom;
use super::params::{AdaptiveP, Dry, DynamicTemperature, Grammar, Mirostat, MirostatV2, Penalties, Xtc};
use super::seed::Seed;
use crate::model::Model;
use crate::token::Token;

/// One sampler of a chain. [`SamplerChainBuilder`](crate::SamplerChainBuilder) has a method for each, with
/// the explanations; [`push`](crate::SamplerChainBuilder::push) takes one as a value.
///
/// `min_keep` is the number of candidates that a sampler leaves at least.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sampler {
    /// Selects the token with the largest logit. Corresponds to `llama_sampler_init_greedy`.
    Greedy,
    /// Selects by chance, by probability. Corresponds to `llama_sampler_init_dist`.
    Dist {
        /// Seed of the random numbers.
        seed: Seed,
    },
    /// Keeps the `k` most likely. Corresponds to `llama_sampler_init_top_k`.
    TopK {
        /// How many; 0 keeps all.
        k: u32,
    },
    /// Keeps the most likely, up to a total probability. Corresponds to `llama_sampler_init_top_p`.
    TopP {
        /// Their total probability, 0 to 1; 1 keeps all.
        p: f32,
        /// At least this many are left.
        min_keep: usize,
    },
    /// Keeps those that are not much less likely than the most likely. Corresponds to
    /// `llama_sampler_init_min_p`.
    MinP {
        /// The least probability, as a part of the largest one, 0 to 1; 0 keeps all.
        p: f32,
        /// At least this many are left.
        min_keep: usize,
    },
    /// Keeps those whose surprise is near the expected one. Corresponds to `llama_sampler_init_typical`.
    Typical {
        /// Their total probability, 0 to 1; 1 keeps all.
        p: f32,
        /// At least this many are left.
        min_keep: usize,
    },
    /// Divides the logits. Corresponds to `llama_sampler_init_temp`.
    Temperature {
        /// The divisor; 0 leaves only the most likely.
        temperature: f32,
    },
    /// Divides the logits by what depends on their entropy. Corresponds to `llama_sampler_init_temp_ext`.
    DynamicTemperature(DynamicTemperature),
    /// Removes the most likely now and then. Corresponds to `llama_sampler_init_xtc`.
    Xtc(Xtc),
    /// Masks what is far below the largest logit. Corresponds to `llama_sampler_init_top_n_sigma`.
    TopNSigma {
        /// How far, in standard deviations of the logits; 0 keeps all.
        n: f32,
    },
    /// Selects by chance, steering the surprise. Corresponds to `llama_sampler_init_mirostat`.
    Mirostat(Mirostat),
    /// Selects by chance, steering the surprise, in a simpler way. Corresponds to
    /// `llama_sampler_init_mirostat_v2`.
    MirostatV2(MirostatV2),
    /// Selects by chance, near a probability. Corresponds to `llama_sampler_init_adaptive_p`.
    AdaptiveP(AdaptiveP),
    /// Lowers what has occurred. Corresponds to `llama_sampler_init_penalties`.
    Penalties(Penalties),
    /// Lowers what would continue a repetition. Corresponds to `llama_sampler_init_dry`.
    Dry {
        /// The model whose tokens the breakers are made of.
        model: Model,
        /// The parameters.
        params: Dry,
    },
    /// Adds to the logits of single tokens. Corresponds to `llama_sampler_init_logit_bias`.
    LogitBias {
        /// The model that the tokens are of.
        model: Model,
        /// What is added to which; negative infinity forbids a token.
        biases: Vec<(Token, f32)>,
    },
    /// For filling in the middle. Corresponds to `llama_sampler_init_infill`.
    Infill {
        /// The model whose tokens are compared.
        model: Model,
    },
    /// Masks what does not fit a grammar. Corresponds to `llama_sampler_init_grammar` and
    /// `llama_sampler_init_grammar_lazy_patterns`.
    Grammar(Grammar),
    /// A sampler that is written in Rust. Corresponds to `llama_sampler_init`.
    Custom(Custom),
}

impl Sampler {
    /// llama.cpp's name of the sampler; `custom` for one of one's own.
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

    /// Whether the sampler selects a token, and so must be the last of its chain.
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

    /// The model that the sampler was made for. It stays loaded as long as the sampler.
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

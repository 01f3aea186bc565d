//! Samplers as values without a model, for configuration files.

use super::builder::SamplerChainBuilder;
use super::kind::Sampler;
use super::params::{
    AdaptiveP, Dry, DynamicTemperature, Grammar, LazyTriggers, Mirostat, MirostatV2, Penalties, Xtc,
};
use super::seed::Seed;
use crate::model::Model;
use crate::token::Token;

/// A [`Sampler`] without its model, to be stored in a file or sent elsewhere. Names and meanings of the values are
/// those of [`Sampler`].
///
/// With the feature `serde` it can be serialised and deserialised. In JSON, `{"top-k": {"k": 40}}` and `"greedy"`
/// are samplers. Unknown names are refused. Optional values and their defaults: `min_keep` (1), the `m` of mirostat
/// (100), seeds ([random](crate::sampler::Seed::Random)), a grammar's `root` (`root`) and `triggers` (none), and all values
/// of penalties, DRY, dynamic temperature and triggers (see their [`Default`]s). A bias of negative infinity is the
/// text `"-inf"`.
///
/// Values are checked when a chain is [built](SamplerChainBuilder::build).
///
/// ```
/// use llama_core::sampler::SamplerConfig;
/// use llama_core::{Model, ModelParams, SamplerChain};
///
/// # fn main() -> Result<(), llama_core::Error> {
/// # let model = Model::load(test_models::Tiny::Llama.path(), &ModelParams::default())?;
/// let configs = vec![SamplerConfig::TopK { k: 40 }, SamplerConfig::Dist { seed: 7.into() }];
/// let chain = SamplerChain::builder().configs(&model, configs.clone()).build()?;
/// let again: Option<Vec<SamplerConfig>> = chain.samplers().iter().map(|sampler| sampler.config()).collect();
/// assert_eq!(again, Some(configs));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum SamplerConfig {
    /// See [`Sampler::Greedy`].
    Greedy,
    /// See [`Sampler::Dist`].
    Dist {
        /// Seed of the random numbers.
        #[cfg_attr(feature = "serde", serde(default))]
        seed: Seed,
    },
    /// See [`Sampler::TopK`].
    TopK {
        /// Number of candidates to keep; 0 keeps all.
        k: u32,
    },
    /// See [`Sampler::TopP`].
    TopP {
        /// Total probability to keep.
        p: f32,
        /// Minimum number of candidates to keep.
        #[cfg_attr(feature = "serde", serde(default = "defaults::min_keep"))]
        min_keep: usize,
    },
    /// See [`Sampler::MinP`].
    MinP {
        /// Lowest probability to keep, relative to the largest one.
        p: f32,
        /// Minimum number of candidates to keep.
        #[cfg_attr(feature = "serde", serde(default = "defaults::min_keep"))]
        min_keep: usize,
    },
    /// See [`Sampler::Typical`].
    Typical {
        /// Total probability to keep.
        p: f32,
        /// Minimum number of candidates to keep.
        #[cfg_attr(feature = "serde", serde(default = "defaults::min_keep"))]
        min_keep: usize,
    },
    /// See [`Sampler::Temperature`].
    #[cfg_attr(feature = "serde", serde(rename = "temp"))]
    Temperature {
        /// The divisor.
        temperature: f32,
    },
    /// See [`Sampler::DynamicTemperature`].
    #[cfg_attr(feature = "serde", serde(rename = "temp-ext"))]
    DynamicTemperature(DynamicTemperature),
    /// See [`Sampler::Xtc`].
    Xtc(Xtc),
    /// See [`Sampler::TopNSigma`].
    TopNSigma {
        /// Distance from the largest logit, in standard deviations of the logits.
        n: f32,
    },
    /// See [`Sampler::Mirostat`].
    Mirostat {
        /// Target surprise, in bits per token.
        tau: f32,
        /// Learning rate.
        eta: f32,
        /// Number of most likely tokens used for the estimate.
        #[cfg_attr(feature = "serde", serde(default = "defaults::m"))]
        m: u32,
        /// Seed of the random numbers.
        #[cfg_attr(feature = "serde", serde(default))]
        seed: Seed,
    },
    /// See [`Sampler::MirostatV2`].
    MirostatV2(MirostatV2),
    /// See [`Sampler::AdaptiveP`].
    AdaptiveP(AdaptiveP),
    /// See [`Sampler::Penalties`].
    Penalties(Penalties),
    /// See [`Sampler::Dry`].
    Dry(Dry),
    /// See [`Sampler::LogitBias`].
    LogitBias {
        /// Pairs of token and bias; a bias of negative infinity forbids the token.
        #[cfg_attr(feature = "serde", serde(with = "super::bias"))]
        biases: Vec<(Token, f32)>,
    },
    /// See [`Sampler::Infill`].
    Infill,
    /// See [`Sampler::Grammar`].
    Grammar {
        /// The rules, in GBNF.
        grammar: String,
        /// Name of the start rule.
        #[cfg_attr(feature = "serde", serde(default = "defaults::root"))]
        root: String,
        /// Triggers that activate the grammar. `None`: it is active from the first token.
        #[cfg_attr(feature = "serde", serde(default))]
        triggers: Option<LazyTriggers>,
    },
}

/// Defaults of values that are left out.
#[cfg(feature = "serde")]
pub(super) mod defaults {
    pub(in crate::sampler) fn min_keep() -> usize {
        1
    }

    pub(super) fn m() -> u32 {
        100
    }

    pub(super) fn root() -> String {
        "root".to_owned()
    }
}

impl SamplerConfig {
    /// Returns the sampler for a model. Samplers that need no model do not keep it.
    #[must_use]
    pub fn with_model(self, model: &Model) -> Sampler {
        let model = || model.clone();
        match self {
            Self::Greedy => Sampler::Greedy,
            Self::Dist { seed } => Sampler::Dist { seed },
            Self::TopK { k } => Sampler::TopK { k },
            Self::TopP { p, min_keep } => Sampler::TopP { p, min_keep },
            Self::MinP { p, min_keep } => Sampler::MinP { p, min_keep },
            Self::Typical { p, min_keep } => Sampler::Typical { p, min_keep },
            Self::Temperature { temperature } => Sampler::Temperature { temperature },
            Self::DynamicTemperature(params) => Sampler::DynamicTemperature(params),
            Self::Xtc(params) => Sampler::Xtc(params),
            Self::TopNSigma { n } => Sampler::TopNSigma { n },
            Self::Mirostat { tau, eta, m, seed } => {
                Sampler::Mirostat(Mirostat { model: model(), tau, eta, m, seed })
            }
            Self::MirostatV2(params) => Sampler::MirostatV2(params),
            Self::AdaptiveP(params) => Sampler::AdaptiveP(params),
            Self::Penalties(params) => Sampler::Penalties(params),
            Self::Dry(params) => Sampler::Dry { model: model(), params },
            Self::LogitBias { biases } => Sampler::LogitBias { model: model(), biases },
            Self::Infill => Sampler::Infill { model: model() },
            Self::Grammar { grammar, root, triggers } => {
                Sampler::Grammar(Grammar { model: model(), grammar, root, triggers })
            }
        }
    }
}

impl Sampler {
    /// Returns the sampler without its model, or `None` for a [`CustomSampler`](crate::sampler::CustomSampler), which is
    /// code.
    #[must_use]
    pub fn config(&self) -> Option<SamplerConfig> {
        Some(match self {
            Self::Greedy => SamplerConfig::Greedy,
            Self::Dist { seed } => SamplerConfig::Dist { seed: *seed },
            Self::TopK { k } => SamplerConfig::TopK { k: *k },
            Self::TopP { p, min_keep } => SamplerConfig::TopP { p: *p, min_keep: *min_keep },
            Self::MinP { p, min_keep } => SamplerConfig::MinP { p: *p, min_keep: *min_keep },
            Self::Typical { p, min_keep } => SamplerConfig::Typical { p: *p, min_keep: *min_keep },
            Self::Temperature { temperature } => SamplerConfig::Temperature { temperature: *temperature },
            Self::DynamicTemperature(params) => SamplerConfig::DynamicTemperature(*params),
            Self::Xtc(params) => SamplerConfig::Xtc(*params),
            Self::TopNSigma { n } => SamplerConfig::TopNSigma { n: *n },
            Self::Mirostat(Mirostat { tau, eta, m, seed, .. }) => {
                SamplerConfig::Mirostat { tau: *tau, eta: *eta, m: *m, seed: *seed }
            }
            Self::MirostatV2(params) => SamplerConfig::MirostatV2(*params),
            Self::AdaptiveP(params) => SamplerConfig::AdaptiveP(*params),
            Self::Penalties(params) => SamplerConfig::Penalties(*params),
            Self::Dry { params, .. } => SamplerConfig::Dry(params.clone()),
            Self::LogitBias { biases, .. } => SamplerConfig::LogitBias { biases: biases.clone() },
            Self::Infill { .. } => SamplerConfig::Infill,
            Self::Grammar(Grammar { grammar, root, triggers, .. }) => SamplerConfig::Grammar {
                grammar: grammar.clone(),
                root: root.clone(),
                triggers: triggers.clone(),
            },
            Self::Custom(_) => return None,
        })
    }
}

impl SamplerChainBuilder {
    /// Adds samplers given as values without a model.
    pub fn configs(self, model: &Model, configs: impl IntoIterator<Item = SamplerConfig>) -> Self {
        configs.into_iter().fold(self, |builder, config| builder.push(config.with_model(model)))
    }
}

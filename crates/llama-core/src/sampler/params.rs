//! Parameters of samplers that have more than two.

use super::seed::Seed;
use crate::model::Model;
use crate::token::Token;

/// Parameters of [`SamplerChainBuilder::temperature_ext`](crate::sampler::SamplerChainBuilder::temperature_ext).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct DynamicTemperature {
    /// Middle of the range of temperatures, from 0.
    pub temperature: f32,
    /// Half the width of the range, from 0; 0 makes this a plain temperature.
    pub delta: f32,
    /// Exponent that maps the entropy into the range, from 0; 1 is linear.
    pub exponent: f32,
}

impl Default for DynamicTemperature {
    /// Temperature 1, no range, exponent 1: changes nothing.
    fn default() -> Self {
        Self { temperature: 1.0, delta: 0.0, exponent: 1.0 }
    }
}

/// Parameters of [`SamplerChainBuilder::xtc`](crate::sampler::SamplerChainBuilder::xtc).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Xtc {
    /// Probability that the sampler acts on a token, 0 to 1; 0 switches it off.
    pub probability: f32,
    /// Probability from which candidates are removed, all but the least likely of them. Above 0 and at most 1; above
    /// 0.5 switches the sampler off, since no two candidates can reach it.
    pub threshold: f32,
    /// Minimum number of candidates: nothing is removed if fewer would be left.
    #[cfg_attr(feature = "serde", serde(default = "super::config::defaults::min_keep"))]
    pub min_keep: usize,
    /// Seed of the random numbers.
    #[cfg_attr(feature = "serde", serde(default))]
    pub seed: Seed,
}

/// Parameters of [`SamplerChainBuilder::mirostat`](crate::sampler::SamplerChainBuilder::mirostat).
#[derive(Clone, Debug, PartialEq)]
pub struct Mirostat {
    /// The model whose vocabulary size enters the estimate.
    pub model: Model,
    /// Target surprise, in bits per token, above 0 and at most 100.
    pub tau: f32,
    /// Learning rate, 0 to 1.
    pub eta: f32,
    /// Number of most likely tokens used for the estimate, 2 or more; 100 in the paper.
    pub m: u32,
    /// Seed of the random numbers.
    pub seed: Seed,
}

/// Parameters of [`SamplerChainBuilder::mirostat_v2`](crate::sampler::SamplerChainBuilder::mirostat_v2).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct MirostatV2 {
    /// Target surprise, in bits per token, above 0 and at most 100.
    pub tau: f32,
    /// Learning rate, 0 to 1.
    pub eta: f32,
    /// Seed of the random numbers.
    #[cfg_attr(feature = "serde", serde(default))]
    pub seed: Seed,
}

/// Parameters of [`SamplerChainBuilder::adaptive_p`](crate::sampler::SamplerChainBuilder::adaptive_p).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct AdaptiveP {
    /// Target for the average probability of selected tokens, 0 to 1.
    pub target: f32,
    /// Weight of the past, 0 to 0.99: it covers about `1 / (1 - decay)` tokens.
    pub decay: f32,
    /// Seed of the random numbers.
    #[cfg_attr(feature = "serde", serde(default))]
    pub seed: Seed,
}

/// Parameters of [`SamplerChainBuilder::penalties`](crate::sampler::SamplerChainBuilder::penalties).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Penalties {
    /// Number of recent tokens to penalise, at most 16,777,216; 0 switches the sampler off. Memory is reserved for
    /// all of them, 4 bytes each.
    pub last_n: u32,
    /// Factor by which positive logits of tokens that have occurred are divided and negative ones multiplied, 0.001
    /// to 1000; 1 changes nothing, above 1 makes repetition less likely.
    pub repeat: f32,
    /// Amount subtracted from a token's logit per occurrence, -10,000 to 10,000; 0 changes nothing.
    pub frequency: f32,
    /// Amount subtracted once from the logit of a token that has occurred, -10,000 to 10,000; 0 changes nothing.
    pub presence: f32,
}

impl Default for Penalties {
    /// llama.cpp's defaults: the last 64 tokens, no penalty.
    fn default() -> Self {
        Self { last_n: 64, repeat: 1.0, frequency: 0.0, presence: 0.0 }
    }
}

/// Parameters of [`SamplerChainBuilder::dry`](crate::sampler::SamplerChainBuilder::dry).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Dry {
    /// Size of the penalty, from 0; 0 switches the sampler off.
    pub multiplier: f32,
    /// Factor by which the penalty grows with each token of the repetition, from 1.
    pub base: f32,
    /// Longest repetition, in tokens, that is not penalised.
    pub allowed_length: u32,
    /// Number of recent tokens to search for repetitions, at most 16,777,216; 0 switches the sampler off. Memory is
    /// reserved for all of them, 8 bytes each.
    pub last_n: u32,
    /// Texts that end a repetition: at most 64, each of 1 to 40 bytes.
    pub breakers: Vec<String>,
}

impl Default for Dry {
    /// The values recommended by DRY's author, over the last 4096 tokens.
    fn default() -> Self {
        let breakers = ["\n", ":", "\"", "*"].map(str::to_owned).to_vec();
        Self { multiplier: 0.8, base: 1.75, allowed_length: 2, last_n: 4096, breakers }
    }
}

/// Parameters of [`SamplerChainBuilder::grammar`](crate::sampler::SamplerChainBuilder::grammar) and
/// [`SamplerChainBuilder::grammar_lazy`](crate::sampler::SamplerChainBuilder::grammar_lazy).
#[derive(Clone, Debug, PartialEq)]
pub struct Grammar {
    /// The model whose token texts the grammar is matched against.
    pub model: Model,
    /// The rules, in GBNF.
    pub grammar: String,
    /// Name of the start rule.
    pub root: String,
    /// Triggers that activate the grammar. `None`: it is active from the first token.
    pub triggers: Option<LazyTriggers>,
}

/// Triggers of a lazy grammar. Any of them activates it; there must be at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct LazyTriggers {
    /// Texts, 1 to 256 bytes each. The grammar is matched from the start of the text on. Prefer words to patterns:
    /// they need no large stack and no helper thread.
    pub words: Vec<String>,
    /// Regular expressions in the syntax of C++'s `std::regex` (ECMAScript), 1 to 4096 bytes each, searched in the
    /// whole accepted text. The grammar is matched from the start of the first group that matched, or of the whole
    /// match if there are no groups.
    ///
    /// `std::regex` needs stack for each byte of text that a repetition such as `[^]*` covers. Therefore a chain
    /// with patterns accepts tokens on a short-lived thread with a large stack while it waits for its trigger. When
    /// even that stack would not suffice, after some 100 kB of text, accepting fails with an error. A pattern such
    /// as `(a*)*b` takes exponential time, as in other backtracking engines: do not accept patterns from untrusted
    /// sources.
    pub patterns: Vec<String>,
    /// Tokens. The grammar is matched from the token on.
    pub tokens: Vec<Token>,
}

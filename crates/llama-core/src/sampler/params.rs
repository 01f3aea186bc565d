//! The parameters of samplers that have more than two.

use super::seed::Seed;
use crate::model::Model;
use crate::token::Token;

/// Parameters of [`SamplerChainBuilder::temperature_ext`](crate::SamplerChainBuilder::temperature_ext).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct DynamicTemperature {
    /// The middle of the range of temperatures, from 0.
    pub temperature: f32,
    /// Half the width of the range, from 0; 0 makes this a plain temperature.
    pub delta: f32,
    /// How the entropy is mapped into the range, from 0: 1 is linear.
    pub exponent: f32,
}

impl Default for DynamicTemperature {
    /// Temperature 1, no range, exponent 1: changes nothing.
    fn default() -> Self {
        Self { temperature: 1.0, delta: 0.0, exponent: 1.0 }
    }
}

/// Parameters of [`SamplerChainBuilder::xtc`](crate::SamplerChainBuilder::xtc).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Xtc {
    /// How likely the sampler is to act on a token, 0 to 1; 0 switches it off.
    pub probability: f32,
    /// Candidates at least this likely are removed, all but the least likely of them. Above 0, at most 1;
    /// above 0.5 switches the sampler off, since no two candidates can reach it.
    pub threshold: f32,
    /// Nothing is removed when fewer candidates than this would be left.
    #[cfg_attr(feature = "serde", serde(default = "super::config::defaults::min_keep"))]
    pub min_keep: usize,
    /// Seed of the random numbers.
    #[cfg_attr(feature = "serde", serde(default))]
    pub seed: Seed,
}

/// Parameters of [`SamplerChainBuilder::mirostat`](crate::SamplerChainBuilder::mirostat).
#[derive(Clone, Debug, PartialEq)]
pub struct Mirostat {
    /// The model whose vocabulary size enters the estimate.
    pub model: Model,
    /// The surprise to aim at, in bits per token, above 0 and at most 100.
    pub tau: f32,
    /// The learning rate, 0 to 1.
    pub eta: f32,
    /// The number of most likely tokens that the estimate is made from, 2 or more; 100 in the paper.
    pub m: u32,
    /// Seed of the random numbers.
    pub seed: Seed,
}

/// Parameters of [`SamplerChainBuilder::mirostat_v2`](crate::SamplerChainBuilder::mirostat_v2).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct MirostatV2 {
    /// The surprise to aim at, in bits per token, above 0 and at most 100.
    pub tau: f32,
    /// The learning rate, 0 to 1.
    pub eta: f32,
    /// Seed of the random numbers.
    #[cfg_attr(feature = "serde", serde(default))]
    pub seed: Seed,
}

/// Parameters of [`SamplerChainBuilder::adaptive_p`](crate::SamplerChainBuilder::adaptive_p).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct AdaptiveP {
    /// The probability that selected tokens should have on average, 0 to 1.
    pub target: f32,
    /// How much of the past counts, 0 to 0.99: about `1 / (1 - decay)` tokens.
    pub decay: f32,
    /// Seed of the random numbers.
    #[cfg_attr(feature = "serde", serde(default))]
    pub seed: Seed,
}

/// Parameters of [`SamplerChainBuilder::penalties`](crate::SamplerChainBuilder::penalties).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Penalties {
    /// How many of the last tokens are looked at, at most 16,777,216; 0 switches the sampler off. Memory is
    /// reserved for all of them, 4 bytes each.
    pub last_n: u32,
    /// Divides the positive and multiplies the negative logits of tokens that have occurred, 0.001 to 1000; 1
    /// changes nothing, above 1 makes repetition less likely.
    pub repeat: f32,
    /// Taken off a token's logit for each time that it occurred, -10,000 to 10,000; 0 changes nothing.
    pub frequency: f32,
    /// Taken off a token's logit once when it occurred at all, -10,000 to 10,000; 0 changes nothing.
    pub presence: f32,
}

impl Default for Penalties {
    /// llama.cpp's: the last 64 tokens, and nothing is penalised.
    fn default() -> Self {
        Self { last_n: 64, repeat: 1.0, frequency: 0.0, presence: 0.0 }
    }
}

/// Parameters of [`SamplerChainBuilder::dry`](crate::SamplerChainBuilder::dry).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Dry {
    /// The size of the penalty, from 0; 0 switches the sampler off.
    pub multiplier: f32,
    /// The penalty grows by this factor with each token of the repetition, from 1.
    pub base: f32,
    /// Repetitions of up to this many tokens are not penalised.
    pub allowed_length: u32,
    /// How many of the last tokens are searched for repetitions, at most 16,777,216; 0 switches the sampler
    /// off. Memory is reserved for all of them, 8 bytes each.
    pub last_n: u32,
    /// Texts that end a repetition: at most 64, each of 1 to 40 bytes.
    pub breakers: Vec<String>,
}

impl Default for Dry {
    /// The values that its author recommends, over the last 4096 tokens.
    fn default() -> Self {
        let breakers = ["\n", ":", "\"", "*"].map(str::to_owned).to_vec();
        Self { multiplier: 0.8, base: 1.75, allowed_length: 2, last_n: 4096, breakers }
    }
}

/// Parameters of [`SamplerChainBuilder::grammar`](crate::SamplerChainBuilder::grammar) and
/// [`SamplerChainBuilder::grammar_lazy`](crate::SamplerChainBuilder::grammar_lazy).
#[derive(Clone, Debug, PartialEq)]
pub struct Grammar {
    /// The model whose tokens' texts the grammar is matched with.
    pub model: Model,
    /// The rules, in GBNF.
    pub grammar: String,
    /// The name of the rule to start with.
    pub root: String,
    /// What switches the grammar on. `None`: it holds from the first token.
    pub triggers: Option<LazyTriggers>,
}

/// What switches a lazy grammar on. Any of these does; there must be one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct LazyTriggers {
    /// Texts, 1 to 256 bytes each. The grammar is matched from the beginning of the text on. Prefer these to
    /// patterns: they cost no stack and no helper thread.
    pub words: Vec<String>,
    /// Regular expressions, as C++'s `std::regex` reads them (ECMAScript), 1 to 4096 bytes each, searched for
    /// in all that was accepted so far. The grammar is matched from the first group that matched on, without
    /// groups from the beginning of the match.
    ///
    /// `std::regex` needs stack for each byte of text that a repetition such as `[^]*` runs over; while a
    /// chain with patterns waits for its trigger it therefore accepts tokens on a short-lived thread with a
    /// large stack, and refuses with an error to go on when that would not do either, after some 100 kB. A
    /// pattern such as `(a*)*b` takes exponential time, as in other backtracking engines: do not take
    /// patterns from strangers.
    pub patterns: Vec<String>,
    /// Tokens. The grammar is matched from the token on.
    pub tokens: Vec<Token>,
}

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
#[non_exhaustive]
pub struct DynamicTemperature {
    /// Middle of the range of temperatures, from 0.
    pub temperature: f32,
    /// Half the width of the range, from 0; 0 makes this a plain temperature.
    pub delta: f32,
    /// Exponent that maps the entropy into the range, from 0; 1 is linear.
    pub exponent: f32,
}

impl DynamicTemperature {
    /// Sets the middle of the range of temperatures.
    #[must_use]
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets half the width of the range.
    #[must_use]
    pub fn delta(mut self, delta: f32) -> Self {
        self.delta = delta;
        self
    }

    /// Sets the exponent that maps the entropy into the range.
    #[must_use]
    pub fn exponent(mut self, exponent: f32) -> Self {
        self.exponent = exponent;
        self
    }
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
#[non_exhaustive]
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

impl Xtc {
    /// Creates the parameters with `min_keep` 1 and a random seed.
    #[must_use]
    pub fn new(probability: f32, threshold: f32) -> Self {
        Self { probability, threshold, min_keep: 1, seed: Seed::default() }
    }

    /// Sets the minimum number of candidates.
    #[must_use]
    pub fn min_keep(mut self, min_keep: usize) -> Self {
        self.min_keep = min_keep;
        self
    }

    /// Sets the seed of the random numbers.
    #[must_use]
    pub fn seed(mut self, seed: impl Into<Seed>) -> Self {
        self.seed = seed.into();
        self
    }
}

/// Parameters of [`SamplerChainBuilder::mirostat`](crate::sampler::SamplerChainBuilder::mirostat).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
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

impl Mirostat {
    /// Creates the parameters with the paper's `m`, 100, and a random seed.
    #[must_use]
    pub fn new(model: &Model, tau: f32, eta: f32) -> Self {
        Self { model: model.clone(), tau, eta, m: 100, seed: Seed::default() }
    }

    /// Sets the number of most likely tokens used for the estimate.
    #[must_use]
    pub fn m(mut self, m: u32) -> Self {
        self.m = m;
        self
    }

    /// Sets the seed of the random numbers.
    #[must_use]
    pub fn seed(mut self, seed: impl Into<Seed>) -> Self {
        self.seed = seed.into();
        self
    }
}

/// Parameters of [`SamplerChainBuilder::mirostat_v2`](crate::sampler::SamplerChainBuilder::mirostat_v2).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct MirostatV2 {
    /// Target surprise, in bits per token, above 0 and at most 100.
    pub tau: f32,
    /// Learning rate, 0 to 1.
    pub eta: f32,
    /// Seed of the random numbers.
    #[cfg_attr(feature = "serde", serde(default))]
    pub seed: Seed,
}

impl MirostatV2 {
    /// Creates the parameters with a random seed.
    #[must_use]
    pub fn new(tau: f32, eta: f32) -> Self {
        Self { tau, eta, seed: Seed::default() }
    }

    /// Sets the seed of the random numbers.
    #[must_use]
    pub fn seed(mut self, seed: impl Into<Seed>) -> Self {
        self.seed = seed.into();
        self
    }
}

/// Parameters of [`SamplerChainBuilder::adaptive_p`](crate::sampler::SamplerChainBuilder::adaptive_p).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct AdaptiveP {
    /// Target for the average probability of selected tokens, 0 to 1.
    pub target: f32,
    /// Weight of the past, 0 to 0.99: it covers about `1 / (1 - decay)` tokens.
    pub decay: f32,
    /// Seed of the random numbers.
    #[cfg_attr(feature = "serde", serde(default))]
    pub seed: Seed,
}

impl AdaptiveP {
    /// Creates the parameters with a random seed.
    #[must_use]
    pub fn new(target: f32, decay: f32) -> Self {
        Self { target, decay, seed: Seed::default() }
    }

    /// Sets the seed of the random numbers.
    #[must_use]
    pub fn seed(mut self, seed: impl Into<Seed>) -> Self {
        self.seed = seed.into();
        self
    }
}

/// Parameters of [`SamplerChainBuilder::penalties`](crate::sampler::SamplerChainBuilder::penalties).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
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

impl Penalties {
    /// Sets the number of recent tokens to penalise.
    #[must_use]
    pub fn last_n(mut self, last_n: u32) -> Self {
        self.last_n = last_n;
        self
    }

    /// Sets the factor for tokens that have occurred.
    #[must_use]
    pub fn repeat(mut self, repeat: f32) -> Self {
        self.repeat = repeat;
        self
    }

    /// Sets the amount subtracted per occurrence.
    #[must_use]
    pub fn frequency(mut self, frequency: f32) -> Self {
        self.frequency = frequency;
        self
    }

    /// Sets the amount subtracted once.
    #[must_use]
    pub fn presence(mut self, presence: f32) -> Self {
        self.presence = presence;
        self
    }
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
#[non_exhaustive]
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

impl Dry {
    /// Sets the size of the penalty.
    #[must_use]
    pub fn multiplier(mut self, multiplier: f32) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// Sets the factor by which the penalty grows with each token.
    #[must_use]
    pub fn base(mut self, base: f32) -> Self {
        self.base = base;
        self
    }

    /// Sets the longest repetition that is not penalised.
    #[must_use]
    pub fn allowed_length(mut self, allowed_length: u32) -> Self {
        self.allowed_length = allowed_length;
        self
    }

    /// Sets the number of recent tokens to search.
    #[must_use]
    pub fn last_n(mut self, last_n: u32) -> Self {
        self.last_n = last_n;
        self
    }

    /// Replaces the texts that end a repetition.
    #[must_use]
    pub fn breakers(mut self, breakers: impl IntoIterator<Item: Into<String>>) -> Self {
        self.breakers = breakers.into_iter().map(Into::into).collect();
        self
    }
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
#[non_exhaustive]
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

impl Grammar {
    /// Creates a grammar that is active from the first token.
    #[must_use]
    pub fn new(model: &Model, grammar: impl Into<String>, root: impl Into<String>) -> Self {
        Self { model: model.clone(), grammar: grammar.into(), root: root.into(), triggers: None }
    }

    /// Sets the triggers, with which the grammar is lazy: it is active from the first trigger on.
    #[must_use]
    pub fn triggers(mut self, triggers: impl Into<Option<LazyTriggers>>) -> Self {
        self.triggers = triggers.into();
        self
    }
}

/// Triggers of a lazy grammar. Any of them activates it; there must be at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
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

impl LazyTriggers {
    /// Replaces the texts.
    #[must_use]
    pub fn words(mut self, words: impl IntoIterator<Item: Into<String>>) -> Self {
        self.words = words.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces the regular expressions.
    #[must_use]
    pub fn patterns(mut self, patterns: impl IntoIterator<Item: Into<String>>) -> Self {
        self.patterns = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces the tokens.
    #[must_use]
    pub fn tokens(mut self, tokens: impl IntoIterator<Item = Token>) -> Self {
        self.tokens = tokens.into_iter().collect();
        self
    }
}

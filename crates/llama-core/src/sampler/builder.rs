//! The builder of sampler chains.

use super::any::AnySampler;
use super::chain::SamplerChain;
use super::check;
use super::custom::{Custom, CustomSampler};
use super::fast::RowSampler;
use super::kind::Sampler;
use super::params::{
    AdaptiveP, Dry, DynamicTemperature, Grammar, LazyTriggers, Mirostat, MirostatV2, Penalties, Xtc,
};
use super::seed::Seed;
use crate::error::Result;
use crate::model::Model;
use crate::token::Token;

/// Builder of a [`SamplerChain`]. Samplers run in the order in which they are added. The last one must select the
/// token: [`greedy`](Self::greedy), [`dist`](Self::dist), [`mirostat`](Self::mirostat),
/// [`mirostat_v2`](Self::mirostat_v2) or [`adaptive_p`](Self::adaptive_p).
///
/// [`build`](Self::build) checks all values at once. Where a value is said to switch a sampler off, the sampler
/// stays in the chain and does nothing.
///
/// A seed given as a number yields the same random numbers in every run; [`Seed::Random`] draws a new seed.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct SamplerChainBuilder {
    pub(super) samplers: Vec<Sampler>,
    pub(super) perf: bool,
}

impl SamplerChainBuilder {
    /// Adds a sampler given as a value.
    pub fn push(mut self, sampler: Sampler) -> Self {
        self.samplers.push(sampler);
        self
    }

    /// Sets whether llama.cpp measures the time spent in the samplers, for [`SamplerChain::perf`]. Default: false.
    ///
    /// Corresponds to `llama_sampler_chain_params::no_perf`.
    pub fn perf(mut self, perf: bool) -> Self {
        self.perf = perf;
        self
    }

    /// Selects the token with the largest logit, the first one among equals. Must be the last sampler.
    ///
    /// Corresponds to `llama_sampler_init_greedy`.
    pub fn greedy(self) -> Self {
        self.push(Sampler::Greedy)
    }

    /// Selects a token at random, according to the probabilities. Must be the last sampler.
    ///
    /// Corresponds to `llama_sampler_init_dist`.
    pub fn dist(self, seed: impl Into<Seed>) -> Self {
        self.push(Sampler::Dist { seed: seed.into() })
    }

    /// Keeps the `k` most likely candidates, sorted; 0 keeps all. "The Curious Case of Neural Text
    /// Degeneration", <https://arxiv.org/abs/1904.09751>.
    ///
    /// Corresponds to `llama_sampler_init_top_k`.
    pub fn top_k(self, k: u32) -> Self {
        self.push(Sampler::TopK { k })
    }

    /// Nucleus sampling: keeps the most likely candidates whose probabilities add up to `p`, 0 to 1, and at least
    /// one candidate; 1 keeps all. To set another minimum, [`push`](Self::push) a [`Sampler::TopP`]. "The Curious
    /// Case of Neural Text Degeneration", <https://arxiv.org/abs/1904.09751>.
    ///
    /// Corresponds to `llama_sampler_init_top_p`.
    pub fn top_p(self, p: f32) -> Self {
        self.push(Sampler::TopP { p, min_keep: 1 })
    }

    /// Keeps the candidates that are at least `p` times as likely as the most likely one, 0 to 1; 0 keeps all. To
    /// set a minimum number of candidates, [`push`](Self::push) a [`Sampler::MinP`].
    /// <https://github.com/ggml-org/llama.cpp/pull/3841>.
    ///
    /// Corresponds to `llama_sampler_init_min_p`.
    pub fn min_p(self, p: f32) -> Self {
        self.push(Sampler::MinP { p, min_keep: 1 })
    }

    /// Locally typical sampling: keeps the candidates whose surprise is closest to the expected surprise and whose
    /// probabilities add up to more than `p`, 0 to 1; 1 keeps all. To set a minimum number of candidates,
    /// [`push`](Self::push) a [`Sampler::Typical`]. <https://arxiv.org/abs/2202.00666>.
    ///
    /// The expected surprise is NaN as soon as one candidate has probability zero, and the choice of candidates is
    /// then arbitrary. Put a truncating sampler such as [`min_p`](Self::min_p) before this one.
    ///
    /// Corresponds to `llama_sampler_init_typical`.
    pub fn typical_p(self, p: f32) -> Self {
        self.push(Sampler::Typical { p, min_keep: 1 })
    }

    /// Divides the logits by `temperature`, which is 0 or at least 0.00001. 0 masks all but the most likely
    /// candidate.
    ///
    /// Corresponds to `llama_sampler_init_temp`.
    pub fn temperature(self, temperature: f32) -> Self {
        self.push(Sampler::Temperature { temperature })
    }

    /// Dynamic temperature: divides the logits by a temperature between `temperature - delta` and `temperature +
    /// delta` that rises with the entropy of the candidates, raised to the power of `exponent`. A `delta` of 0 makes
    /// it a plain [`temperature`](Self::temperature). <https://arxiv.org/abs/2309.02772>.
    ///
    /// The lower end of the range is clamped to at least 0.0001, since llama.cpp selects the least likely candidate
    /// when a division overflows.
    ///
    /// Corresponds to `llama_sampler_init_temp_ext`.
    pub fn temperature_ext(self, temperature: f32, delta: f32, exponent: f32) -> Self {
        self.push(Sampler::DynamicTemperature(
            DynamicTemperature::default().temperature(temperature).delta(delta).exponent(exponent),
        ))
    }

    /// Exclude top choices: with the given `probability`, removes all candidates that are at least as likely as
    /// `threshold`, except the least likely of them. The threshold must be above 0; above 0.5 nothing is ever
    /// removed. See [`Xtc`]. <https://github.com/oobabooga/text-generation-webui/pull/6335>.
    ///
    /// Corresponds to `llama_sampler_init_xtc`.
    pub fn xtc(self, probability: f32, threshold: f32, seed: impl Into<Seed>) -> Self {
        self.push(Sampler::Xtc(Xtc::new(probability, threshold).seed(seed)))
    }

    /// Masks the candidates whose logit is more than `n` standard deviations below the largest; 0 masks none.
    /// "Top-nσ: Not All Logits Are You Need", <https://arxiv.org/abs/2411.07641>.
    ///
    /// Corresponds to `llama_sampler_init_top_n_sigma`.
    pub fn top_n_sigma(self, n: f32) -> Self {
        self.push(Sampler::TopNSigma { n })
    }

    /// Mirostat 1: selects a token at random from a truncated list whose length is adjusted, with the learning rate
    /// `eta`, so that the surprise stays near `tau` bits. Must be the last sampler. The estimate uses the 100 most
    /// likely tokens; for another number, [`push`](Self::push) a [`Mirostat`]. <https://arxiv.org/abs/2007.14966>.
    ///
    /// Corresponds to `llama_sampler_init_mirostat`.
    pub fn mirostat(self, model: &Model, tau: f32, eta: f32, seed: impl Into<Seed>) -> Self {
        self.push(Sampler::Mirostat(Mirostat::new(model, tau, eta).seed(seed)))
    }

    /// Mirostat 2: selects a token at random from the candidates whose surprise is below a limit. The limit is
    /// adjusted, with the learning rate `eta`, so that the surprise stays near `tau` bits. Must be the last sampler.
    /// <https://arxiv.org/abs/2007.14966>.
    ///
    /// Corresponds to `llama_sampler_init_mirostat_v2`.
    pub fn mirostat_v2(self, tau: f32, eta: f32, seed: impl Into<Seed>) -> Self {
        self.push(Sampler::MirostatV2(MirostatV2::new(tau, eta).seed(seed)))
    }

    /// Selects a token at random so that, over about `1 / (1 - decay)` tokens, the selected tokens have the
    /// probability `target` on average. Must be the last sampler. Its author suggests [`min_p`](Self::min_p) before
    /// it and nothing else. <https://github.com/ggml-org/llama.cpp/pull/17927>.
    ///
    /// Corresponds to `llama_sampler_init_adaptive_p`.
    pub fn adaptive_p(self, target: f32, decay: f32, seed: impl Into<Seed>) -> Self {
        self.push(Sampler::AdaptiveP(AdaptiveP::new(target, decay).seed(seed)))
    }

    /// Lowers the logits of recently accepted tokens. The repetition penalty is the one of CTRL,
    /// <https://arxiv.org/abs/1909.05858>; the frequency and presence penalties are OpenAI's.
    ///
    /// Corresponds to `llama_sampler_init_penalties`.
    pub fn penalties(self, penalties: Penalties) -> Self {
        self.push(Sampler::Penalties(penalties))
    }

    /// DRY, "don't repeat yourself": lowers the logits of tokens that would continue a repetition of recently
    /// accepted tokens. The penalty grows with the length of the repetition. Creating the sampler takes one pass
    /// over the vocabulary for each breaker. <https://github.com/oobabooga/text-generation-webui/pull/5677>.
    ///
    /// Corresponds to `llama_sampler_init_dry`.
    pub fn dry(self, model: &Model, params: Dry) -> Self {
        self.push(Sampler::Dry { model: model.clone(), params })
    }

    /// Adds a bias to the logits of single tokens: -1,000,000 to 1,000,000, or negative infinity to forbid the
    /// token. A large bias forces a token if no earlier sampler has removed it. A token must not occur twice.
    ///
    /// Corresponds to `llama_sampler_init_logit_bias`.
    pub fn logit_bias(self, model: &Model, biases: impl IntoIterator<Item = (Token, f32)>) -> Self {
        self.push(Sampler::LogitBias { model: model.clone(), biases: biases.into_iter().collect() })
    }

    /// Fill-in-the-middle sampling: selects the end token when it is likely enough compared to all other candidates,
    /// and merges candidates that are prefixes of each other. It compares all pairs of candidates, so there must be
    /// a [`top_k`](Self::top_k) before it.
    ///
    /// Corresponds to `llama_sampler_init_infill`.
    pub fn infill(self, model: &Model) -> Self {
        self.push(Sampler::Infill { model: model.clone() })
    }

    /// Masks the candidates that do not fit the grammar. `grammar` is GBNF, `root` the name of the start rule. Put
    /// it before truncating samplers, which may otherwise leave no candidate that fits.
    ///
    /// When the grammar is complete, only tokens that end the generation are left. Some grammars take exponential
    /// time; do not accept grammars from untrusted sources without a time limit.
    ///
    /// ```
    /// # use llama_core::{Model, ModelParams, SamplerChain};
    /// # fn main() -> Result<(), llama_core::Error> {
    /// # let model = Model::load(test_models::Tiny::Llama.path(), &ModelParams::default())?;
    /// let grammar = r#"root ::= "yes" | "no""#;
    /// let chain = SamplerChain::builder().grammar(&model, grammar, "root").greedy().build()?;
    /// # let _ = chain;
    /// let bad = SamplerChain::builder().grammar(&model, "root ::= (", "root").greedy().build();
    /// let text = bad.unwrap_err().to_string();
    /// assert_eq!(text, "sampler grammar: the grammar is not valid: line 1, column 11: expected `)`");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Corresponds to `llama_sampler_init_grammar`.
    pub fn grammar(self, model: &Model, grammar: &str, root: &str) -> Self {
        self.push(Sampler::Grammar(Grammar::new(model, grammar, root)))
    }

    /// Adds a lazy [`grammar`](Self::grammar), which masks nothing until one of its triggers occurs.
    /// <https://github.com/ggml-org/llama.cpp/pull/9639>.
    ///
    /// Corresponds to `llama_sampler_init_grammar_lazy_patterns`.
    pub fn grammar_lazy(self, model: &Model, grammar: &str, root: &str, triggers: LazyTriggers) -> Self {
        self.push(Sampler::Grammar(Grammar::new(model, grammar, root).triggers(triggers)))
    }

    /// Adds a user-defined sampler. The chain works on a copy of it.
    ///
    /// Corresponds to `llama_sampler_init`.
    pub fn custom(self, sampler: impl CustomSampler) -> Self {
        self.push(Sampler::Custom(Custom::new(sampler)))
    }

    /// Checks all samplers and creates the chain.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSamplers`](crate::ErrorKind::InvalidSamplers) with every problem found: values that are
    /// NaN or out of range, a last sampler that does not select or an earlier one that does, a grammar that does not
    /// parse (with line and column), models with different vocabularies.
    /// [`ErrorKind::Sampler`](crate::ErrorKind::Sampler) if llama.cpp could not create a sampler, with the reason
    /// from its log.
    ///
    /// # Panics
    ///
    /// Resumes a panic of [`CustomSampler`]'s `clone`.
    pub fn build(self) -> Result<SamplerChain> {
        let n_vocab = check::check(&self.samplers)?;
        SamplerChain::new(self, n_vocab)
    }

    /// Checks all samplers and creates the faster of two forms, which select the same tokens: a
    /// [`RowSampler`](crate::sampler::RowSampler) if every sampler has a form for rows, see [`build_row`](Self::build_row),
    /// and otherwise a chain. With [`perf(true)`](Self::perf) it is a chain, because only chains measure their
    /// performance.
    ///
    /// ```
    /// use llama_core::sampler::{AnySampler, Dry};
    /// use llama_core::{Model, ModelParams, SamplerChain, Token};
    ///
    /// # fn main() -> Result<(), llama_core::Error> {
    /// # let model = Model::load(test_models::Tiny::Llama.path(), &ModelParams::default())?;
    /// let mut sampler = SamplerChain::builder().top_k(40).greedy().build_any()?;
    /// assert!(matches!(sampler, AnySampler::Row(_)));
    /// assert_eq!(sampler.sample_logits(&[0.0, 2.0, 1.0])?, Token::new(1));
    /// let sampler = SamplerChain::builder().dry(&model, Dry::default()).greedy().build_any()?;
    /// assert!(matches!(sampler, AnySampler::Chain(_)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`build`](Self::build).
    ///
    /// # Panics
    ///
    /// The panics of [`build`](Self::build).
    pub fn build_any(self) -> Result<AnySampler> {
        let n_vocab = check::check(&self.samplers)?;
        if !self.perf
            && let Ok(row) = RowSampler::new(&self.samplers, n_vocab)
        {
            return Ok(AnySampler::Row(Box::new(row)));
        }
        Ok(AnySampler::Chain(Box::new(SamplerChain::new(self, n_vocab)?)))
    }
}

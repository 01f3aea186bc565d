//! The sampler for rows.

use std::sync::Arc;

use super::choice::Choice;
use super::plan::Plan;
use super::run::Work;
use super::selection::{self, Selected};
use crate::context::Context;
use crate::error::{ErrorKind, Result, SamplerProblem};
use crate::sampler::builder::SamplerChainBuilder;
use crate::sampler::check;
use crate::sampler::kind::Sampler;
use crate::token::Token;

/// Selects tokens from rows of logits like a [`SamplerChain`](crate::SamplerChain) of the same samplers, but at
/// least ten times faster: it goes through the row with vector instructions and builds an array only of the few
/// candidates that a truncating sampler keeps.
///
/// It supports greedy, dist, top-k, top-p, min-p, temperature, top-n-sigma, XTC, penalties and logit bias, in any
/// order that a chain accepts. It is fast unless XTC comes first: XTC on a whole row takes as long as in a chain.
///
/// # Equality with the chain
///
/// Random numbers, the order of candidates and all relevant roundings are llama.cpp's, so that with the same seed
/// the tokens are those of the chain. They can differ
///
/// - for candidates with exactly equal logits: their order is that of GCC's C++ library, and so the chain's on
///   Linux; other C++ libraries sort differently;
/// - if the C++ compiler fuses multiplications with additions, as some do for ARM, or if its `expf` is not the one
///   that Rust calls: then a probability may differ in its last bit;
/// - for top-p over a complete row, if the sum of all exponentials computed here were off by more than four parts in
///   a million. Where a smaller difference matters, the sum is computed again as C++ does it. No row is known for
///   which this is not enough.
///
/// A masked token is never selected, even where the chain selects it or fails: when a bias forbids the first of
/// sorted candidates, and when the random number is zero.
///
/// # State
///
/// Like a chain, a sampler belongs to one sequence: it has random numbers and recent tokens. A clone continues from
/// the same state. Working memory is reused; sampling allocates nothing for a row of a length that has been sampled
/// before.
///
/// ```
/// use llama_core::sampler::RowSampler;
/// use llama_core::SamplerChain;
///
/// # fn main() -> Result<(), llama_core::Error> {
/// let builder = SamplerChain::builder().top_k(40).top_p(0.95).min_p(0.05).temperature(0.8).dist(42);
/// let (mut chain, mut sampler) = (builder.clone().build()?, builder.build_row()?);
/// let row: Vec<f32> = (0..50_000_u16).map(|id| (f32::from(id) * 0.7).sin() * 9.0).collect();
/// for _ in 0..10 {
///     assert_eq!(sampler.sample_row(&row)?, chain.sample_logits(&row)?);
/// }
/// # Ok(())
/// # }
/// ```
pub struct RowSampler {
    /// The samplers as they were given; they keep the models alive that biases are for.
    samplers: Arc<[Sampler]>,
    plan: Plan,
    /// Size of the vocabulary that samplers were made for.
    n_vocab: Option<usize>,
    work: Work,
}

impl SamplerChainBuilder {
    /// Checks all samplers and creates a [`RowSampler`], which selects the same tokens as the chain and is faster.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSamplers`], as from [`build`](Self::build), and for each sampler that cannot work on
    /// rows: typical, dynamic temperature, mirostat, adaptive-p, DRY, infill, grammars and custom samplers.
    pub fn build_row(self) -> Result<RowSampler> {
        let n_vocab = check::check(&self.samplers)?;
        RowSampler::new(&self.samplers, n_vocab)
            .map_err(|problems| ErrorKind::InvalidSamplers { problems }.into())
    }
}

impl RowSampler {
    /// Creates a sampler from checked samplers for a vocabulary of `n_vocab` tokens, or names each sampler that has no form
    /// for rows.
    pub(in crate::sampler) fn new(
        samplers: &[Sampler],
        n_vocab: Option<usize>,
    ) -> Result<Self, Vec<SamplerProblem>> {
        let plan = Plan::new(samplers)?;
        Ok(Self { samplers: samplers.into(), plan, n_vocab, work: Work::default() })
    }

    /// Selects a token from the logits at `index` of the context's last batch, and accepts it.
    /// [`Batch::last_output`](crate::Batch::last_output) can be passed as `index`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoOutput`] if the token at `index` has no logits, [`ErrorKind::Poisoned`], and the errors of
    /// [`RowSampler::sample_row`].
    pub fn sample(&mut self, context: &Context, index: impl Into<Option<usize>>) -> Result<Token> {
        self.sample_row(&context.logits(index)?)
    }

    /// Selects a token from a row of logits, which starts with token 0, and accepts it, so that penalties count it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sampler`] if the row is empty, if its length differs from the size of the vocabulary that the
    /// sampler was made for, if it contains NaN, or if infinite logits leave no probabilities to draw by.
    /// [`ErrorKind::DeadEnd`] if no logit is above negative infinity, or if the samplers have masked every
    /// candidate. The sampler remains usable; random numbers may have been consumed.
    pub fn sample_row(&mut self, row: &[f32]) -> Result<Token> {
        self.select(row).map(|selected| selected.token)
    }

    /// Selects and accepts a token like [`sample_row`](Self::sample_row), and fills `choice` with its probability
    /// and the `n_top` most likely tokens. This takes one more pass over the row, for the sum of all probabilities.
    ///
    /// ```
    /// use llama_core::sampler::Choice;
    /// use llama_core::{SamplerChain, Token};
    ///
    /// # fn main() -> Result<(), llama_core::Error> {
    /// let row = [0.1_f32, 0.2, 0.7].map(f32::ln);
    /// let mut sampler = SamplerChain::builder().top_k(2).dist(3).build_row()?;
    /// let mut choice = Choice::default();
    /// sampler.choose(&row, 2, &mut choice)?;
    /// assert_eq!(choice.token, Token::new(2));
    /// assert!((choice.log_probability.exp() - 0.7).abs() < 1e-6); // of three
    /// assert!((choice.probability - 0.7 / 0.9).abs() < 1e-6); // of two
    /// assert_eq!(choice.top.iter().map(|(token, _)| token.get()).collect::<Vec<_>>(), [2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`sample_row`](Self::sample_row); `choice` is unchanged then.
    pub fn choose(&mut self, row: &[f32], n_top: usize, choice: &mut Choice) -> Result<Token> {
        let selected = self.select(row)?;
        self.work.describe(row, selected, n_top, choice);
        Ok(selected.token)
    }

    /// Tells the sampler that the sequence continues with this token, which was not sampled here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidToken`] for a token outside of the vocabulary.
    pub fn accept(&mut self, token: Token) -> Result<()> {
        self.accept_prompt(&[token])
    }

    /// Tells the sampler which tokens precede the generation, so that penalties count them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidToken`] for a token outside of the vocabulary; then no token is accepted.
    pub fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        for token in tokens {
            self.check_token(*token)?;
        }
        tokens.iter().for_each(|token| self.plan.accept(*token));
        Ok(())
    }

    /// Restores the initial state: no recent tokens, random numbers from the seed.
    pub fn reset(&mut self) {
        self.plan.reset();
    }

    /// Returns the samplers as they were given.
    #[must_use]
    pub fn samplers(&self) -> &[Sampler] {
        &self.samplers
    }

    /// Returns the seed of the last sampler that uses random numbers, also if it was drawn, or `None` without such a
    /// sampler.
    #[must_use]
    pub fn seed(&self) -> Option<u32> {
        self.plan.seed()
    }

    fn select(&mut self, row: &[f32]) -> Result<Selected> {
        self.check_row(row.len())?;
        let selected = self.work.select(row, &mut self.plan)?;
        self.plan.accept(selected.token);
        Ok(selected)
    }

    fn check_row(&self, length: usize) -> Result<()> {
        match self.n_vocab {
            Some(n_vocab) if n_vocab != length => Err(selection::error(format!(
                "it has {length} logits, but the sampler was made for a vocabulary of {n_vocab} tokens: use the same \
                 model"
            ))),
            _ if length == 0 || i32::try_from(length).is_err() => {
                Err(selection::error(format!("it has {length} logits")))
            }
            _ => Ok(()),
        }
    }

    fn check_token(&self, token: Token) -> Result<()> {
        token.check(self.n_vocab.unwrap_or(i32::MAX as usize))
    }
}

impl Clone for RowSampler {
    /// Returns a sampler in the same state, with its own working memory.
    fn clone(&self) -> Self {
        Self {
            samplers: Arc::clone(&self.samplers),
            plan: self.plan.clone(),
            n_vocab: self.n_vocab,
            work: Work::default(),
        }
    }
}

impl core::fmt::Debug for RowSampler {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RowSampler")
            .field("samplers", &self.samplers)
            .field("n_vocab", &self.n_vocab)
            .finish_non_exhaustive()
    }
}

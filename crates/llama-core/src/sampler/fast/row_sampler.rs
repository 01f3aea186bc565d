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

/// Selects tokens from rows of logits as a [`SamplerChain`](crate::SamplerChain) of the same samplers does, ten times
/// faster and more: it goes through the row with vector instructions and makes an array only of the few candidates
/// that a truncating sampler leaves.
///
/// Greedy, dist, top-k, top-p, min-p, temperature, top-n-sigma, XTC, penalties and logit bias, in any order in which a
/// chain takes them. It is fast when what comes first is one of these but XTC; XTC on a whole row takes as long as in a
/// chain.
///
/// # The same tokens
///
/// Random numbers, the order of candidates, and the roundings that decide what is kept are llama.cpp's, so that the
/// tokens are those of the chain, with the same seed. They can differ
///
/// - where candidates have exactly the same logit: their order is that of GCC's C++ library, and so the chain's on
///   Linux; other C++ libraries sort otherwise;
/// - where the C++ compiler fuses multiplications with additions, as some do for ARM, or `expf` is not the one that Rust
///   calls: then a probability may differ by its last bit;
/// - by top-p over a row that nothing has been removed from, if the sum of all exponentials as it is computed here were
///   off by more than four parts in a million. Where less than that decides, the sum is made again as C++ makes it. No
///   row is known for which this is not enough.
///
/// A masked token is never selected, also where the chain selects it or has an error: when a bias forbids the first of
/// candidates that are sorted, and when the random number is zero.
///
/// # State
///
/// As with a chain, a sampler belongs to one sequence: it has random numbers and the last tokens. A copy goes on from
/// the same state. Memory for the work is kept from one selection to the next; nothing is allocated for a row of a
/// length that was sampled from before.
///
/// ```
/// use llama_core::{RowSampler, SamplerChain};
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
    /// As they were given; they keep the models that biases are for.
    samplers: Arc<[Sampler]>,
    plan: Plan,
    /// The size of the vocabulary that samplers were made for.
    n_vocab: Option<usize>,
    work: Work,
}

impl SamplerChainBuilder {
    /// Checks all samplers and makes a [`RowSampler`] of them, which selects the same tokens as the chain and is faster.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSamplers`], as from [`build`](Self::build), and with each sampler that has no form for rows:
    /// typical, dynamic temperature, mirostat, adaptive-p, DRY, infill, grammars and custom ones.
    pub fn build_row(self) -> Result<RowSampler> {
        let n_vocab = check::check(&self.samplers)?;
        RowSampler::new(&self.samplers, n_vocab)
            .map_err(|problems| ErrorKind::InvalidSamplers { problems }.into())
    }
}

impl RowSampler {
    /// Makes a sampler of checked samplers for such a vocabulary, or names each that has no form for rows.
    pub(in crate::sampler) fn new(
        samplers: &[Sampler],
        n_vocab: Option<usize>,
    ) -> Result<Self, Vec<SamplerProblem>> {
        let plan = Plan::new(samplers)?;
        Ok(Self { samplers: samplers.into(), plan, n_vocab, work: Work::default() })
    }

    /// Selects a token from the logits of the token at `index` in the context's last batch, and accepts it.
    /// [`Batch::last_output`](crate::Batch::last_output) can be given as it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoOutput`] when the token has no logits, [`ErrorKind::Poisoned`]; as [`RowSampler::sample_row`] for
    /// the rest.
    pub fn sample(&mut self, context: &Context, index: impl Into<Option<usize>>) -> Result<Token> {
        self.sample_row(&context.logits(index)?)
    }

    /// Selects a token from a row of logits, the first of which is token 0's, and accepts it: it counts for penalties.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sampler`] when the row is empty or not as long as the vocabulary that the sampler was made for, when it
    /// has logits that are not numbers, and when infinite logits leave no probabilities to draw by.
    /// [`ErrorKind::DeadEnd`] when it has none above negative infinity, and when the samplers have masked every candidate.
    /// The sampler can be used again then; random numbers may have been used up.
    pub fn sample_row(&mut self, row: &[f32]) -> Result<Token> {
        self.select(row).map(|selected| selected.token)
    }

    /// As [`sample_row`](Self::sample_row), and says how likely the token was and which the `n_top` likeliest were. This
    /// takes one more pass over the row, for the sum of all probabilities.
    ///
    /// ```
    /// use llama_core::{Choice, SamplerChain, Token};
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
    /// As [`sample_row`](Self::sample_row); `choice` is as before then.
    pub fn choose(&mut self, row: &[f32], n_top: usize, choice: &mut Choice) -> Result<Token> {
        let selected = self.select(row)?;
        self.work.describe(row, selected, n_top, choice);
        Ok(selected.token)
    }

    /// Tells the sampler that the sequence goes on with this token, for tokens that were not sampled here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidToken`] for a token that is outside the vocabulary.
    pub fn accept(&mut self, token: Token) -> Result<()> {
        self.accept_prompt(&[token])
    }

    /// Tells the sampler which tokens come before the generation, so that penalties count them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidToken`] for a token that is outside the vocabulary; nothing is accepted then.
    pub fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        for token in tokens {
            self.check_token(*token)?;
        }
        tokens.iter().for_each(|token| self.plan.accept(*token));
        Ok(())
    }

    /// Puts the sampler into the state that it began with: no last tokens, random numbers from the seed on.
    pub fn reset(&mut self) {
        self.plan.reset();
    }

    /// The samplers, as they were given.
    #[must_use]
    pub fn samplers(&self) -> &[Sampler] {
        &self.samplers
    }

    /// The seed of the last sampler that uses random numbers, also when it was drawn; `None` without such a sampler.
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
                "it has {length} logits and the sampler was made for a vocabulary of {n_vocab} tokens: use the same \
                 model"
            ))),
            _ if length == 0 || i32::try_from(length).is_err() => {
                Err(selection::error(format!("it has {length} logits")))
            }
            _ => Ok(()),
        }
    }

    fn check_token(&self, token: Token) -> Result<()> {
        let n_vocab = self.n_vocab.and_then(|n| i32::try_from(n).ok()).unwrap_or(i32::MAX);
        if (0..n_vocab).contains(&token.get()) {
            return Ok(());
        }
        Err(ErrorKind::InvalidToken { token: token.get(), n_vocab }.into())
    }
}

impl Clone for RowSampler {
    /// A sampler in the same state, with memory of its own for the work.
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

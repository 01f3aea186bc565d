//! A sampler in the form that its samplers allow.

use super::chain::SamplerChain;
use super::fast::RowSampler;
use super::kind::Sampler;
use crate::context::Context;
use crate::error::Result;
use crate::token::Token;

/// A sampler of rows of logits: a [`RowSampler`] if every sampler has a form for rows, otherwise a [`SamplerChain`].
/// Created by [`SamplerChainBuilder::build_any`](crate::sampler::SamplerChainBuilder::build_any).
///
/// Its functions are those that both forms have. Match on the form to use others.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnySampler {
    /// A sampler that works directly on the row of logits.
    Row(Box<RowSampler>),
    /// llama.cpp's chain, which works on an array of candidates.
    Chain(Box<SamplerChain>),
}

impl AnySampler {
    /// Selects a token from the logits of the token at `index` in the context's last batch, and accepts it.
    ///
    /// # Errors
    ///
    /// The errors of [`RowSampler::sample`] and [`SamplerChain::sample`].
    ///
    /// # Panics
    ///
    /// The panics of [`SamplerChain::sample_logits`].
    pub fn sample(&mut self, context: &Context, index: impl Into<Option<usize>>) -> Result<Token> {
        self.sample_logits(&context.logits(index)?)
    }

    /// Selects a token from a row of logits that begins with token 0, and accepts it.
    ///
    /// # Errors
    ///
    /// The errors of [`RowSampler::sample_row`] and [`SamplerChain::sample_logits`].
    ///
    /// # Panics
    ///
    /// The panics of [`SamplerChain::sample_logits`].
    pub fn sample_logits(&mut self, logits: &[f32]) -> Result<Token> {
        match self {
            Self::Row(row) => row.sample_row(logits),
            Self::Chain(chain) => chain.sample_logits(logits),
        }
    }

    /// Informs the samplers that the sequence continues with this token, for tokens that this sampler has not
    /// selected.
    ///
    /// # Errors
    ///
    /// The errors of [`RowSampler::accept`] and [`SamplerChain::accept`].
    ///
    /// # Panics
    ///
    /// The panics of [`SamplerChain::accept`].
    pub fn accept(&mut self, token: Token) -> Result<()> {
        match self {
            Self::Row(row) => row.accept(token),
            Self::Chain(chain) => chain.accept(token),
        }
    }

    /// Informs all samplers except grammars of the tokens that precede the generation.
    ///
    /// # Errors
    ///
    /// The errors of [`RowSampler::accept_prompt`] and [`SamplerChain::accept_prompt`].
    ///
    /// # Panics
    ///
    /// The panics of [`SamplerChain::accept_prompt`].
    pub fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        match self {
            Self::Row(row) => row.accept_prompt(tokens),
            Self::Chain(chain) => chain.accept_prompt(tokens),
        }
    }

    /// Resets the samplers to their initial state.
    ///
    /// # Errors
    ///
    /// The errors of [`SamplerChain::reset`].
    ///
    /// # Panics
    ///
    /// The panics of [`SamplerChain::reset`].
    pub fn reset(&mut self) -> Result<()> {
        match self {
            Self::Row(row) => {
                row.reset();
                Ok(())
            }
            Self::Chain(chain) => chain.reset(),
        }
    }

    /// Returns whether a grammar is at its end: the accepted text is complete, and only a token that ends the
    /// generation can follow. Returns false without a grammar.
    ///
    /// # Errors
    ///
    /// The errors of [`SamplerChain::is_finished`].
    pub fn is_finished(&mut self) -> Result<bool> {
        match self {
            // Grammars have no form for rows.
            Self::Row(_) => Ok(false),
            Self::Chain(chain) => chain.is_finished(),
        }
    }

    /// Returns the samplers as they were given.
    #[must_use]
    pub fn samplers(&self) -> &[Sampler] {
        match self {
            Self::Row(row) => row.samplers(),
            Self::Chain(chain) => chain.samplers(),
        }
    }

    /// Returns the seed of the last sampler that uses random numbers, even if it was drawn. `None` if there is no
    /// such sampler.
    #[must_use]
    pub fn seed(&self) -> Option<u32> {
        match self {
            Self::Row(row) => row.seed(),
            Self::Chain(chain) => chain.seed(),
        }
    }
}

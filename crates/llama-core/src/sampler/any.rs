//! A sampler of whichever form its samplers allow.

use super::chain::SamplerChain;
use super::fast::RowSampler;
use super::kind::Sampler;
use crate::context::Context;
use crate::error::Result;
use crate::token::Token;

/// Selects tokens from rows of logits, by a [`RowSampler`] where every sampler has a form for rows and by a
/// [`SamplerChain`] otherwise. Made by [`SamplerChainBuilder::build_any`](crate::SamplerChainBuilder::build_any).
///
/// The functions are those that both forms have; match on the form for the others.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnySampler {
    /// A sampler that works on the row of logits itself.
    Row(Box<RowSampler>),
    /// llama.cpp's chain, which works on an array of candidates.
    Chain(Box<SamplerChain>),
}

impl AnySampler {
    /// Selects a token from the logits of the token at `index` in the context's last batch, and accepts it.
    ///
    /// # Errors
    ///
    /// As [`RowSampler::sample`] and [`SamplerChain::sample`].
    ///
    /// # Panics
    ///
    /// As [`SamplerChain::sample_logits`].
    pub fn sample(&mut self, context: &Context, index: impl Into<Option<usize>>) -> Result<Token> {
        self.sample_logits(&context.logits(index)?)
    }

    /// Selects a token from a row of logits, the first of which is token 0's, and accepts it.
    ///
    /// # Errors
    ///
    /// As [`RowSampler::sample_row`] and [`SamplerChain::sample_logits`].
    ///
    /// # Panics
    ///
    /// As [`SamplerChain::sample_logits`].
    pub fn sample_logits(&mut self, logits: &[f32]) -> Result<Token> {
        match self {
            Self::Row(row) => row.sample_row(logits),
            Self::Chain(chain) => chain.sample_logits(logits),
        }
    }

    /// Tells the samplers that the sequence goes on with this token, for tokens that were not sampled here.
    ///
    /// # Errors
    ///
    /// As [`RowSampler::accept`] and [`SamplerChain::accept`].
    ///
    /// # Panics
    ///
    /// As [`SamplerChain::accept`].
    pub fn accept(&mut self, token: Token) -> Result<()> {
        match self {
            Self::Row(row) => row.accept(token),
            Self::Chain(chain) => chain.accept(token),
        }
    }

    /// Tells the samplers, all but grammars, which tokens come before the generation.
    ///
    /// # Errors
    ///
    /// As [`RowSampler::accept_prompt`] and [`SamplerChain::accept_prompt`].
    ///
    /// # Panics
    ///
    /// As [`SamplerChain::accept_prompt`].
    pub fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        match self {
            Self::Row(row) => row.accept_prompt(tokens),
            Self::Chain(chain) => chain.accept_prompt(tokens),
        }
    }

    /// Puts the samplers into the state that they began with.
    ///
    /// # Errors
    ///
    /// As [`SamplerChain::reset`].
    ///
    /// # Panics
    ///
    /// As [`SamplerChain::reset`].
    pub fn reset(&mut self) -> Result<()> {
        match self {
            Self::Row(row) => {
                row.reset();
                Ok(())
            }
            Self::Chain(chain) => chain.reset(),
        }
    }

    /// Whether a grammar is at its end: the accepted text is complete, and only a token that ends the generation can
    /// follow. False without a grammar.
    ///
    /// # Errors
    ///
    /// As [`SamplerChain::is_finished`].
    pub fn is_finished(&mut self) -> Result<bool> {
        match self {
            // Grammars have no form for rows.
            Self::Row(_) => Ok(false),
            Self::Chain(chain) => chain.is_finished(),
        }
    }

    /// Returns the samplers, as they were given.
    #[must_use]
    pub fn samplers(&self) -> &[Sampler] {
        match self {
            Self::Row(row) => row.samplers(),
            Self::Chain(chain) => chain.samplers(),
        }
    }

    /// Returns the seed of the last sampler that uses random numbers, also when it was drawn; `None` without such a
    /// sampler.
    #[must_use]
    pub fn seed(&self) -> Option<u32> {
        match self {
            Self::Row(row) => row.seed(),
            Self::Chain(chain) => chain.seed(),
        }
    }
}

//! The sampler of a sequence, made from its parameters.

mod chain;

pub(crate) use chain::biases;

use llama_core::sampler::{AnySampler, SamplerChainBuilder};
use llama_core::{Model, Sampler, SamplerChain, Token};

use crate::error::Result;
use crate::params::{GenerationParams, ResolvedSampling};
use crate::tokenizer::Tokenizer;

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub(crate) struct TokenSampler(AnySampler);

impl TokenSampler {
    pub(crate) fn new(params: &GenerationParams, model: &Model, tokenizer: &dyn Tokenizer) -> Result<Self> {
        let sampling = params.sampling.resolve(model)?;
        sampling.validate()?;
        let samplers = chain::samplers(&sampling, model, tokenizer, params.ignore_eos)?;
        Ok(Self(builder(samplers).build_any()?))
    }

    /// Passes the prompt to the samplers that look back at earlier tokens.
    pub(crate) fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        Ok(self.0.accept_prompt(tokens)?)
    }

    /// Chooses the next token from a row of logits, and accepts it.
    pub(crate) fn choose(&mut self, logits: &[f32]) -> Result<Token> {
        Ok(self.0.sample_logits(logits)?)
    }

    /// Returns the seed of its random numbers; `None` when it uses none.
    pub(crate) fn seed(&self) -> Option<u32> {
        self.0.seed()
    }

    /// Whether there is a grammar that allows no further token.
    pub(crate) fn is_finished(&mut self) -> Result<bool> {
        Ok(self.0.is_finished()?)
    }
}

/// Creates llama.cpp's chain of samplers for these parameters.
pub(crate) fn chain(
    params: &ResolvedSampling,
    model: &Model,
    tokenizer: &dyn Tokenizer,
    ignore_eos: bool,
) -> Result<SamplerChain> {
    Ok(builder(chain::samplers(params, model, tokenizer, ignore_eos)?).build()?)
}

fn builder(samplers: Vec<Sampler>) -> SamplerChainBuilder {
    samplers.into_iter().fold(SamplerChain::builder(), SamplerChainBuilder::push)
}

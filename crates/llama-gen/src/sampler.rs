//! What chooses the next token. The one place that decides which of llama-core's ways of choosing is taken.

mod chain;

pub(crate) use chain::chain;

use llama_core::{Model, SamplerChain, Token};

use crate::error::Result;
use crate::params::GenerationParams;
use crate::tokenizer::Tokenizer;

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub(crate) struct TokenSampler {
    chain: SamplerChain,
    has_grammar: bool,
}

impl TokenSampler {
    pub(crate) fn new(params: &GenerationParams, model: &Model, tokenizer: &dyn Tokenizer) -> Result<Self> {
        let sampling = params.sampling.resolve(model)?;
        sampling.validate()?;
        let chain = chain(&sampling, model, tokenizer, params.ignore_eos)?;
        Ok(Self { chain, has_grammar: sampling.grammar.is_some() })
    }

    /// Tells the samplers that look back about the prompt.
    pub(crate) fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        Ok(self.chain.accept_prompt(tokens)?)
    }

    /// Chooses the next token from a row of logits, and accepts it.
    pub(crate) fn choose(&mut self, logits: &[f32]) -> Result<Token> {
        Ok(self.chain.sample_logits(logits)?)
    }

    /// Whether there is a grammar and the tokens so far are all that it allows.
    pub(crate) fn is_finished(&mut self) -> Result<bool> {
        Ok(self.has_grammar && self.chain.is_finished()?)
    }
}

//! What chooses the next token. The one place that decides which of llama-core's ways of choosing is taken.

mod chain;

pub(crate) use chain::biases;

use llama_core::{Model, RowSampler, Sampler, SamplerChain, SamplerChainBuilder, Token};

use crate::error::Result;
use crate::params::{GenerationParams, ResolvedSampling};
use crate::tokenizer::Tokenizer;

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub(crate) enum TokenSampler {
    /// Works on the row of logits itself.
    Row(Box<RowSampler>),
    /// llama.cpp's chain, on an array of candidates, for what has no form for rows.
    Chain(Box<SamplerChain>),
}

impl TokenSampler {
    pub(crate) fn new(params: &GenerationParams, model: &Model, tokenizer: &dyn Tokenizer) -> Result<Self> {
        let sampling = params.sampling.resolve(model)?;
        sampling.validate()?;
        let samplers = chain::samplers(&sampling, model, tokenizer, params.ignore_eos)?;
        let has_row_form = samplers.iter().all(has_row_form);
        let builder = builder(samplers);
        Ok(if has_row_form {
            Self::Row(Box::new(builder.build_row()?))
        } else {
            Self::Chain(Box::new(builder.build()?))
        })
    }

    /// Tells the samplers that look back about the prompt.
    pub(crate) fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        match self {
            Self::Row(row) => row.accept_prompt(tokens)?,
            Self::Chain(chain) => chain.accept_prompt(tokens)?,
        }
        Ok(())
    }

    /// Chooses the next token from a row of logits, and accepts it.
    pub(crate) fn choose(&mut self, logits: &[f32]) -> Result<Token> {
        Ok(match self {
            Self::Row(row) => row.sample_row(logits)?,
            Self::Chain(chain) => chain.sample_logits(logits)?,
        })
    }

    /// Returns the seed of its random numbers; `None` when it uses none.
    pub(crate) fn seed(&self) -> Option<u32> {
        match self {
            Self::Row(row) => row.seed(),
            Self::Chain(chain) => chain.seed(),
        }
    }

    /// Whether there is a grammar and the tokens so far are all that it allows.
    pub(crate) fn is_finished(&mut self) -> Result<bool> {
        match self {
            Self::Row(_) => Ok(false),
            Self::Chain(chain) => Ok(chain.is_finished()?),
        }
    }
}

/// llama.cpp's chain of samplers that does this.
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

/// See [`SamplerChainBuilder::build_row`].
fn has_row_form(sampler: &Sampler) -> bool {
    matches!(
        sampler,
        Sampler::Greedy
            | Sampler::Dist { .. }
            | Sampler::TopK { .. }
            | Sampler::TopP { .. }
            | Sampler::MinP { .. }
            | Sampler::Temperature { .. }
            | Sampler::TopNSigma { .. }
            | Sampler::Xtc(_)
            | Sampler::Penalties(_)
            | Sampler::LogitBias { .. }
    )
}

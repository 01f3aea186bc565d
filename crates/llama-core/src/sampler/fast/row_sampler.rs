//! The sampler for rows.

use std::sync::Arc;

use super::plan::{Plan, Step};
use super::run::Work;
use super::selection::{self, Selected};
use crate::context::Context;
use crate::error::{ErrorKind, Result};
use crate::sampler::builder::SamplerChainBuilder;
use crate::sampler::check;
use crate::sampler::kind::Sampler;
use crate::token::Token;

/// Placeholder docs.
#[derive(Debug)]
pub struct RowSampler {
    samplers: Arc<[Sampler]>,
    plan: Plan,
    n_vocab: Option<usize>,
    work: Work,
    last: Option<Selected>,
}

impl SamplerChainBuilder {
    /// Checks all samplers and makes a [`RowSampler`] of them.
    ///
    /// # Errors
    pub fn build_row(self) -> Result<RowSampler> {
        let samplers = self.samplers;
        let n_vocab = check::check(&samplers)?;
        let plan = Plan::new(&samplers)?;
        Ok(RowSampler { samplers: samplers.into(), plan, n_vocab, work: Work::default(), last: None })
    }
}

impl RowSampler {
    /// a
    pub fn sample(&mut self, context: &Context, index: impl Into<Option<usize>>) -> Result<Token> {
        self.sample_row(&context.logits(index)?)
    }

    /// a
    pub fn sample_row(&mut self, row: &[f32]) -> Result<Token> {
        self.last = None;
        self.check_row(row.len())?;
        let selected = self.work.select(row, &mut self.plan)?;
        self.last = Some(selected);
        self.accept_checked(selected.token);
        Ok(selected.token)
    }

    /// a
    pub fn accept(&mut self, token: Token) -> Result<()> {
        self.check_token(token)?;
        self.accept_checked(token);
        Ok(())
    }

    fn accept_checked(&mut self, token: Token) {
        for step in &mut self.plan.steps {
            if let Step::Penalties(history) = step {
                history.accept(token);
            }
        }
    }

    fn check_row(&self, length: usize) -> Result<()> {
        match self.n_vocab {
            Some(n_vocab) if n_vocab != length => Err(selection::error(format!(
                "it has {length} logits and the sampler was made for a vocabulary of {n_vocab} tokens: use the \
                 same model"
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

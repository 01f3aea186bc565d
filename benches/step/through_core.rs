//! The steps through `llama-core`.

use std::path::Path;

use llama_core::{Batch, Context, ContextParams, Model, ModelParams, Pos, Result, SeqId, Token};

use crate::choice::{FIRST, N_CTX, largest_logit};

const SEQUENCE: SeqId = SeqId::new(0);

/// A context and a reused batch.
pub(crate) struct Core {
    context: Context,
    batch: Batch,
}

impl Core {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let model = Model::load(path, &ModelParams::default())?;
        let context = Context::new(&model, &ContextParams::default().n_ctx(N_CTX).n_threads(1))?;
        Ok(Self { context, batch: Batch::with_capacity(1) })
    }

    #[allow(dead_code, reason = "the criterion benchmark does not use it")]
    pub(crate) fn n_vocab(&self) -> usize {
        self.context.model().vocab().n_tokens()
    }

    /// Takes steps in an empty context and appends the token that each of them chose.
    #[inline(never)]
    pub(crate) fn steps_through_core(&mut self, steps: i32, tokens: &mut Vec<i32>) -> Result<()> {
        self.context.memory().clear(false)?;
        let mut token = FIRST;
        for pos in 0..steps {
            self.batch.clear();
            self.batch.push(Token::new(token), Pos::new(pos), &[SEQUENCE], true)?;
            self.context.decode(&self.batch)?;
            token = largest_logit(&self.context.logits(self.batch.last_output())?);
            tokens.push(token);
        }
        Ok(())
    }

    /// Takes steps with `Logits::argmax`.
    #[allow(dead_code, reason = "the criterion benchmark does not use it")]
    #[inline(never)]
    pub(crate) fn steps_with_argmax(&mut self, steps: i32, tokens: &mut Vec<i32>) -> Result<()> {
        self.context.memory().clear(false)?;
        let mut token = FIRST;
        for pos in 0..steps {
            self.batch.clear();
            self.batch.push(Token::new(token), Pos::new(pos), &[SEQUENCE], true)?;
            self.context.decode(&self.batch)?;
            token = self.context.logits(self.batch.last_output())?.argmax().get();
            tokens.push(token);
        }
        Ok(())
    }
}

//! Several sequences that go on from one prompt, in a context of their own. What they have in common is in memory once.

use llama_core::{Batch, Context, DecodeError, ErrorKind as CoreErrorKind, Logits, Pos, SeqId, Token};

use crate::error::{Error, ErrorKind, ParameterProblem, Result};
use crate::event::FinishReason;
use crate::generate::Generate;
use crate::interrupt::Interrupt;
use crate::when_full::WhenFull;

/// A context with several sequences, `0..n`.
#[derive(Debug)]
pub(crate) struct Branches {
    context: Context,
    batch: Batch,
    interrupt: Interrupt,
    /// The most tokens of each sequence: as many as a context of the model has.
    n_ctx: usize,
}

impl Branches {
    /// Of a described generation: with its adapters and its interrupts, and with room for its prompt and `n` answers.
    pub(crate) fn new(generate: &Generate, interrupt: &Interrupt, n: usize, n_prompt: usize) -> Result<Self> {
        generate.check_without_checkpoints()?;
        let when_full = &generate.when_full;
        if matches!(when_full, WhenFull::Shift { .. } | WhenFull::Compact(_)) {
            let (value, expected) =
                (format!("{when_full:?}"), "Stop or Error for sequences that share memory");
            return Err(ParameterProblem::new("when_full", value, expected).into());
        }
        let n_ctx = generate.llama.n_ctx();
        if n_prompt >= n_ctx {
            let n_ctx = u32::try_from(n_ctx).unwrap_or(u32::MAX);
            return Err(ErrorKind::PromptTooLong { n_prompt, n_ctx }.into());
        }
        let answer = generate.params.max_tokens.map_or(usize::MAX, |tokens| tokens as usize);
        let all = n.saturating_mul(answer.min(n_ctx - n_prompt)).saturating_add(n_prompt);
        let n_sequences = u32::try_from(n).unwrap_or(u32::MAX);
        let params = generate.llama.slots().params().clone();
        // A token of each sequence at a time, or the last one of the prompt.
        let params = params
            .n_ctx(u32::try_from(all).unwrap_or(u32::MAX))
            .n_seq_max(n_sequences)
            .plan_outputs(n_sequences)
            .kv_unified(true);
        let mut context = Context::new(generate.llama.model(), &params)?;
        generate.adapters.set(&mut context)?;
        if interrupt.is_possible() {
            let interrupt = interrupt.clone();
            context.set_abort_callback(move || interrupt.reason().is_some())?;
        }
        Ok(Self { context, batch: Batch::new(), interrupt: interrupt.clone(), n_ctx })
    }

    pub(crate) fn context(&mut self) -> &mut Context {
        &mut self.context
    }

    pub(crate) fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// Why to end, if something from outside says so.
    pub(crate) fn interrupted(&self) -> Option<FinishReason> {
        self.interrupt.reason()
    }

    /// Computes the prompt as sequence 0; the results are those of its last token. `Some` when that was interrupted.
    pub(crate) fn prompt(&mut self, tokens: &[Token]) -> Result<Option<FinishReason>> {
        let mut done = 0;
        while done < tokens.len() {
            if let Some(reason) = self.prompt_part(tokens, &mut done)? {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    /// Computes the next part of the prompt, of which `done` tokens have been computed. `Some` when that was interrupted.
    pub(crate) fn prompt_part(&mut self, tokens: &[Token], done: &mut usize) -> Result<Option<FinishReason>> {
        let most = self.context.n_ubatch().min(self.context.n_batch()).max(1) as usize;
        let part = &tokens[*done..tokens.len().min(*done + most)];
        self.batch.clear();
        self.batch.push_prompt(part, sequence(0), position(*done))?;
        if *done + part.len() < tokens.len() {
            self.batch.set_output(part.len() - 1, false)?;
        }
        let interrupted = self.decode_batch()?;
        *done += if interrupted.is_none() { part.len() } else { 0 };
        Ok(interrupted)
    }

    /// Computes a token of each of these sequences, at these places; the results are in the same order. `Some` when that
    /// was interrupted.
    pub(crate) fn decode(
        &mut self,
        tokens: impl IntoIterator<Item = (usize, usize, Token)>,
    ) -> Result<Option<FinishReason>> {
        self.batch.clear();
        for (branch, place, token) in tokens {
            self.batch.push(token, position(place), &[sequence(branch)], true)?;
        }
        self.decode_batch()
    }

    fn decode_batch(&mut self) -> Result<Option<FinishReason>> {
        if let Some(reason) = self.interrupt.reason() {
            return Ok(Some(reason));
        }
        match self.context.decode(&self.batch) {
            Ok(()) => Ok(None),
            Err(error) => {
                let is_aborted = matches!(error.kind(), CoreErrorKind::Decode(DecodeError::Aborted));
                self.interrupt.reason().filter(|_| is_aborted).map(Some).ok_or(Error::from(error))
            }
        }
    }

    /// The results of the last token of the prompt.
    pub(crate) fn prompt_logits(&self) -> Result<Logits<'_>> {
        Ok(self.context.logits(self.batch.last_output())?)
    }

    /// The results of a token of the last batch.
    pub(crate) fn logits(&self, index: usize) -> Result<Logits<'_>> {
        Ok(self.context.logits(index)?)
    }

    /// Lets a sequence go on from where another one is.
    pub(crate) fn share(&mut self, from: usize, to: usize) -> Result<()> {
        Ok(self.context.memory().seq_cp(sequence(from), sequence(to), ..)?)
    }

    /// Forgets a sequence.
    pub(crate) fn forget(&mut self, branch: usize) -> Result<()> {
        Ok(self.context.memory().seq_rm(sequence(branch), ..)?)
    }
}

fn sequence(branch: usize) -> SeqId {
    SeqId::new(i32::try_from(branch).unwrap_or(i32::MAX))
}

fn position(place: usize) -> Pos {
    Pos::new(i32::try_from(place).unwrap_or(i32::MAX))
}

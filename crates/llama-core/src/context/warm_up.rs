//! Warm-up: the costs of the first computation, ahead of time.

use super::Context;
use crate::batch::Batch;
use crate::error::{ErrorKind, Result};
use crate::token::{Pos, SeqId, Token};

impl Context {
    /// Computes a token and forgets it, so that the first real batch does not wait for weights to be read from the
    /// file, or for kernels to be compiled.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the first sequence is in use, and the errors of [`Context::decode`].
    pub fn warm_up(&mut self) -> Result<()> {
        let first = SeqId::new(0);
        if self.facts.needs_states {
            let reason = "it needs states of the model: decode a real batch".to_owned();
            return Err(ErrorKind::Unsupported { operation: "warming up an MTP context", reason }.into());
        }
        if self.has_memory() && self.memory().seq_pos_max(first)?.is_some() {
            let reason = "its first sequence is in use: warm it up before, or not at all".to_owned();
            return Err(ErrorKind::Unsupported { operation: "warming up the context", reason }.into());
        }
        let vocab = self.model().vocab();
        let token = vocab.bos().or_else(|| vocab.eos()).unwrap_or(Token::new(0));
        let mut batch = Batch::with_capacity(1);
        batch.push(token, Pos::new(0), &[first], true)?;
        if self.model().has_encoder() {
            self.encode(&batch)?;
        }
        if self.model().has_decoder() || !self.has_memory() {
            self.decode(&batch)?;
        }
        if self.has_memory() {
            self.memory().seq_rm(first, ..)?;
        }
        self.synchronize()?;
        self.last.outputs.clear();
        self.last.encoded.clear();
        self.reset_perf()
    }
}

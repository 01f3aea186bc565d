//! Computing batches: the checks that llama.cpp would assert on, and the calls.

use super::Context;
use crate::batch::Batch;
use crate::error::{DecodeError, ErrorKind, Result};
use crate::log;
use crate::model::Model;
use crate::token::{SeqId, Token};

/// Which of the two functions computes the batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    Decode,
    Encode,
}

impl Context {
    /// Computes a batch and adds it to the memory. The results of the tokens that asked for them are then to be
    /// had from [`logits`](Context::logits) and [`embeddings`](Context::embeddings).
    ///
    /// # Errors
    ///
    /// Before anything is computed: [`ErrorKind::EmptyBatch`], [`ErrorKind::BatchTooLarge`],
    /// [`ErrorKind::InvalidToken`], [`ErrorKind::InvalidSeqId`], [`ErrorKind::InvalidPosition`],
    /// [`ErrorKind::Unsupported`] for a model without a decoder. From llama.cpp: [`ErrorKind::Decode`], which says
    /// what is left in memory. Afterwards there are no results until the next batch.
    ///
    /// Corresponds to `llama_decode`.
    pub fn decode(&mut self, batch: &Batch) -> Result<()> {
        self.process(batch, Process::Decode)
    }

    /// Computes a batch with the encoder, without memory. For encoder models, such as BERT and T5's first half. All
    /// tokens of the batch see each other.
    ///
    /// # Errors
    ///
    /// As [`Context::decode`]; the whole batch must fit into `n_ubatch`.
    ///
    /// Corresponds to `llama_encode`.
    pub fn encode(&mut self, batch: &Batch) -> Result<()> {
        self.process(batch, Process::Encode)
    }

    fn process(&mut self, batch: &Batch, process: Process) -> Result<()> {
        self.check_poison()?;
        self.check_batch(batch, process)?;
        self.outputs.clear();
        self.ordered.set(false);
        let raw_batch = self.raw_batch(batch);
        let planned = self.may_plan.then(|| self.model.clone());
        let _adapters = planned.as_ref().map(Model::hold_adapters);
        log::explain(|| {
            let code = self.call(|raw| {
                // SAFETY: the context is valid, the batch's arrays have its length and live through the call, C
                // only reads them, and `check_batch` has refused what C asserts on.
                unsafe {
                    match process {
                        Process::Decode => llama_sys::llama_decode(raw, raw_batch),
                        Process::Encode => llama_sys::llama_encode(raw, raw_batch),
                    }
                }
            })?;
            self.may_plan = code != 0;
            DecodeError::from_code(code).map_or(Ok(()), |error| Err(ErrorKind::Decode(error).into()))
        })?;
        self.encoded |= process == Process::Encode;
        if process == Process::Decode {
            self.books.settle();
        }
        // Which tokens C outputs without being asked (llama-context.cpp, encode and decode).
        let all = self.embeddings || (process == Process::Encode && self.has_memory());
        self.outputs.extend(batch.outputs.iter().map(|output| all || *output != 0));
        Ok(())
    }

    /// Makes C apply the order that it noted for the rows of the last batch. Decoding drops a note that nobody needed;
    /// encoding leaves it, and it would be applied to the encoder's rows (llama-context.cpp, `output_swaps`).
    fn apply_order(&mut self) -> Result<()> {
        if self.ordered.get() {
            return Ok(());
        }
        // SAFETY: the context is valid.
        self.call(|raw| unsafe { llama_sys::llama_get_logits(raw) }).map(drop)
    }

    /// Forgets the results of the last batch. Their order is applied first, for the reason that `apply_order` gives.
    pub(crate) fn discard_outputs(&mut self) -> Result<()> {
        self.apply_order()?;
        self.outputs.clear();
        Ok(())
    }

    /// The batch as C wants it. Valid while `batch` is borrowed and `self` is not used for another.
    fn raw_batch(&mut self, batch: &Batch) -> llama_sys::llama_batch {
        let mut next = batch.seq_ids.as_ptr().cast_mut();
        self.seq_id_pointers.clear();
        for count in &batch.seq_id_counts {
            self.seq_id_pointers.push(next);
            // In bounds: the counts of all tokens add up to the length of `seq_ids` (Batch::push).
            next = next.wrapping_add(usize::try_from(*count).unwrap_or(0));
        }
        llama_sys::llama_batch {
            n_tokens: i32::try_from(batch.len()).unwrap_or(i32::MAX),
            token: batch.tokens.as_ptr().cast_mut(),
            embd: core::ptr::null_mut(),
            pos: batch.positions.as_ptr().cast_mut(),
            n_seq_id: batch.seq_id_counts.as_ptr().cast_mut(),
            seq_id: self.seq_id_pointers.as_mut_ptr(),
            logits: batch.outputs.as_ptr().cast_mut(),
        }
    }

    fn check_batch(&self, batch: &Batch, process: Process) -> Result<()> {
        if batch.is_empty() {
            return Err(ErrorKind::EmptyBatch.into());
        }
        self.check_process(process)?;
        self.check_size(batch, process)?;
        let vocab = self.model.vocab();
        let n_vocab = vocab.n_tokens_raw();
        if let Some(token) = batch.tokens.iter().find(|token| !(0..n_vocab).contains(*token)) {
            vocab.check(Token::new(*token))?;
        }
        batch.seq_ids.iter().try_for_each(|seq_id| self.check_seq_id(SeqId::new(*seq_id)))?;
        check_positions(batch, self.model.n_positions())
    }

    fn check_process(&self, process: Process) -> Result<()> {
        let refuse = |operation, reason: &str| {
            Err(ErrorKind::Unsupported { operation, reason: reason.to_owned() }.into())
        };
        match process {
            Process::Encode if !self.model.has_encoder() && self.has_memory() => {
                refuse("encoding", "it has no encoder: use decode")
            }
            // The graph of such a decoder asserts that there is an encoder's output (llama-graph.cpp).
            Process::Decode if self.model.has_encoder() && self.has_memory() && !self.encoded => refuse(
                "decoding before encoding",
                "its decoder works on the encoder's output: call encode first",
            ),
            // llama_decode falls back to the encoder for models without memory (llama-context.cpp, decode).
            _ => Ok(()),
        }
    }

    /// `GGML_ASSERT(n_tokens_all <= cparams.n_batch)` and its companions in llama-context.cpp.
    fn check_size(&self, batch: &Batch, process: Process) -> Result<()> {
        let whole = process == Process::Encode || !self.causal || !self.has_memory();
        let limits = [("n_batch", self.limits.n_batch, true), ("n_ubatch", self.limits.n_ubatch, whole)];
        for (which, limit, applies) in limits {
            if applies && batch.len() > limit as usize {
                return Err(ErrorKind::BatchTooLarge { n_tokens: batch.len(), limit, which }.into());
            }
        }
        Ok(())
    }

    /// Whether the model keeps anything between batches: encoders such as BERT do not. Corresponds to `llama_get_memory`.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        // SAFETY: the context is valid; the function reads a pointer.
        !unsafe { llama_sys::llama_get_memory(self.raw()) }.is_null()
    }
}

/// llama.cpp stores positions without looking at their sign, adds one to the largest, and looks learned positions up
/// in a table: on ggml's threads, where a failed assertion cannot be contained.
fn check_positions(batch: &Batch, n_positions: Option<u32>) -> Result<()> {
    let end = n_positions.and_then(|n| i32::try_from(n).ok()).unwrap_or(i32::MAX);
    let Some(index) = batch.positions.iter().position(|pos| !(0..end).contains(pos)) else {
        return Ok(());
    };
    let before: i32 = batch.seq_id_counts[..index].iter().sum();
    let seq_id = usize::try_from(before).ok().and_then(|at| batch.seq_ids.get(at)).copied().unwrap_or(0);
    let pos = batch.positions[index];
    let reason = match n_positions {
        _ if pos < 0 => "positions start at 0".to_owned(),
        Some(n) => format!("the model has learned {n} positions (0..{n})"),
        None => format!("positions end before {end}"),
    };
    Err(ErrorKind::InvalidPosition { pos, seq_id, reason }.into())
}

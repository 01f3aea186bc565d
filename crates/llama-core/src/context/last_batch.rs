//! Rust's record of the last batch's results: which tokens have rows, and of which kinds.

use core::cell::Cell;

use crate::batch::Batch;

/// The last batch that was computed.
#[derive(Default)]
pub(super) struct LastBatch {
    /// Whether each token has an output; empty if there is no last batch.
    pub(super) outputs: Vec<bool>,
    /// The kinds of rows of the outputs.
    pub(super) computed: Computed,
    /// Whether the rows of the outputs are in their final order. llama.cpp moves them at the first access.
    pub(super) ordered: Cell<bool>,
    /// The sequences of the last encoded batch, sorted, which the decoder of an encoder-decoder model can use.
    pub(super) encoded: Vec<llama_sys::llama_seq_id>,
}

/// The kinds of rows that the last batch has computed. llama.cpp's buffers have rows of the other kinds too, with
/// earlier contents.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Computed {
    pub(crate) logits: bool,
    pub(crate) embeddings: bool,
}

impl LastBatch {
    /// Clears the outputs before the next batch is computed.
    pub(super) fn clear_outputs(&mut self) {
        self.outputs.clear();
        self.ordered.set(false);
    }

    /// Records the outputs of a batch: of all its tokens, or of those that asked for one.
    pub(super) fn set_outputs(&mut self, batch: &Batch, all: bool, computed: Computed) {
        self.computed = computed;
        match batch.outputs.as_slice() {
            [output] => self.outputs.push(all || *output != 0),
            outputs => self.outputs.extend(outputs.iter().map(|output| all || *output != 0)),
        }
    }

    /// Records the sequences that were encoded.
    pub(super) fn set_encoded(&mut self, batch: &Batch) {
        self.encoded.clone_from(&batch.seq_ids);
        self.encoded.sort_unstable();
        self.encoded.dedup();
    }
}

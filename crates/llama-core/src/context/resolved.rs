//! What became of the parameters.

use super::{Context, PoolingType};

/// What a context works with: parameters that were left to the model or to llama.cpp, or rounded, as they came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ResolvedParams {
    /// The size in tokens, of all sequences together.
    pub n_ctx: u32,
    /// The size in tokens that one sequence can have.
    pub n_ctx_seq: u32,
    /// The most tokens in one batch.
    pub n_batch: u32,
    /// The most tokens that are computed at once.
    pub n_ubatch: u32,
    /// The number of sequences.
    pub n_seq_max: u32,
    /// How many tokens a recurrent sequence can go back; 0 where the model's memory cannot.
    pub n_rs_seq: u32,
    /// The most tokens of a batch whose results are wanted.
    pub n_outputs_max: u32,
    /// Threads for one token at a time, now.
    pub n_threads: u32,
    /// Threads for several tokens at a time, now.
    pub n_threads_batch: u32,
    /// How embeddings are pooled.
    pub pooling_type: PoolingType,
    /// Whether tokens see only those before them, now.
    pub causal_attention: bool,
    /// Whether embeddings are computed, now.
    pub embeddings: bool,
    /// Whether all sequences share one buffer.
    pub kv_unified: bool,
}

impl Context {
    /// What the context works with.
    #[must_use]
    pub fn params(&self) -> ResolvedParams {
        ResolvedParams {
            n_ctx: self.n_ctx(),
            n_ctx_seq: self.n_ctx_seq(),
            n_batch: self.n_batch(),
            n_ubatch: self.n_ubatch(),
            n_seq_max: self.n_seq_max(),
            n_rs_seq: self.n_rs_seq(),
            n_outputs_max: self.limits.n_outputs_max,
            n_threads: self.n_threads(),
            n_threads_batch: self.n_threads_batch(),
            pooling_type: self.pooling_type(),
            causal_attention: self.causal_attention(),
            embeddings: self.settings.embeddings,
            kv_unified: self.is_unified(),
        }
    }

    /// How many tokens a recurrent sequence can go back, 0 where the model's memory cannot. Corresponds to
    /// `llama_n_rs_seq`.
    #[must_use]
    pub fn n_rs_seq(&self) -> u32 {
        // SAFETY: the context is valid; the function reads a number.
        unsafe { llama_sys::llama_n_rs_seq(self.raw()) }
    }
}

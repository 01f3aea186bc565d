//! Resolved parameters of contexts.

use super::{Context, PoolingType};

/// The actual parameters of a context, including those that were left to the model or to llama.cpp, or rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ResolvedParams {
    /// Size in tokens, of all sequences together.
    pub n_ctx: u32,
    /// Maximum size of one sequence in tokens.
    pub n_ctx_seq: u32,
    /// Maximum number of tokens in one batch.
    pub n_batch: u32,
    /// Maximum number of tokens that are computed at once.
    pub n_ubatch: u32,
    /// Maximum number of sequences.
    pub n_seq_max: u32,
    /// Number of tokens by which a recurrent sequence can be rewound; 0 if the model's memory does not support it.
    pub n_rs_seq: u32,
    /// Maximum number of outputs of a batch.
    pub n_outputs_max: u32,
    /// Current number of threads for one token at a time.
    pub n_threads: u32,
    /// Current number of threads for several tokens at a time.
    pub n_threads_batch: u32,
    /// The pooling of embeddings.
    pub pooling_type: PoolingType,
    /// Whether tokens currently only attend to earlier ones.
    pub causal_attention: bool,
    /// Whether embeddings are currently computed.
    pub embeddings: bool,
    /// Whether all sequences share one buffer.
    pub kv_unified: bool,
}

impl Context {
    /// Returns the actual parameters of the context.
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

    /// Returns by how many tokens a recurrent sequence can be rewound; 0 if the model's memory does not support it.
    /// Corresponds to `llama_n_rs_seq`.
    #[must_use]
    pub fn n_rs_seq(&self) -> u32 {
        // SAFETY: the context is valid; the function reads a number.
        unsafe { llama_sys::llama_n_rs_seq(self.raw()) }
    }
}

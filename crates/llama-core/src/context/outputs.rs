//! How many results of a batch the buffers of a context are made for.

use super::params::ContextParams;

impl ContextParams {
    /// Plans for batches with the results of at most `n` tokens, rather than of all of `n_batch`: that many rows of logits
    /// less in the buffers, which is most of them for a large vocabulary. An [`n_outputs_max`](Self::n_outputs_max) that is
    /// larger stays, and there is one result for each sequence in any case. Contexts that compute embeddings, which are
    /// results of every token, and encoders keep all.
    #[must_use]
    pub fn plan_outputs(mut self, n: u32) -> Self {
        if !self.embeddings {
            self.n_outputs_max = self.n_outputs_max.max(n).max(self.n_seq_max);
        }
        self
    }

    /// The most results of a batch that buffers are made for.
    pub(crate) fn outputs_at_most(&self) -> u32 {
        if self.n_outputs_max == 0 { self.n_batch } else { self.n_outputs_max.min(self.n_batch) }
    }

    /// The most results for one sequence with a sampler, of this many for all.
    pub(super) fn outputs_per_seq(&self, n_outputs_max: u32) -> u32 {
        if self.n_outputs_max_per_seq == 0 {
            return n_outputs_max;
        }
        self.n_outputs_max_per_seq.min(n_outputs_max)
    }
}

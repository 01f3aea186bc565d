//! Cloning of contexts.

use super::Context;
use crate::error::{ErrorKind, Result};

impl Context {
    /// Creates another context of the same model, with the same parameters and settings, and with the same sequences
    /// in memory. The two are independent afterwards.
    ///
    /// It costs the time and memory of [`Context::new`], and a copy of the used part of the memory to the CPU and
    /// back. To fork a sequence inside one context, use [`Memory::seq_cp`](crate::Memory::seq_cp), which costs
    /// almost nothing.
    ///
    /// The clone does not have the results of the last batch, observers, abort flags and callbacks, thread pools,
    /// [samplers](Context::set_sampler), and states that are [kept](Context::keep_seq_state) on the device. LoRA
    /// adapters are attached to the clone too; a control vector must be set again.
    ///
    /// The clone stores the sequences' tokens without gaps. If there were gaps between them, sums are computed in
    /// another order, and logits may differ in their last bits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if there is an encoder's output, which cannot be copied. Also the errors of
    /// [`Context::new`], [`state_data`](Context::state_data) and [`set_state_data`](Context::set_state_data). This
    /// context is unchanged, unless it is [poisoned](Context::is_poisoned).
    pub fn try_clone(&mut self) -> Result<Self> {
        if !self.last.encoded.is_empty() && self.has_memory() {
            let reason =
                "the encoder's output is not part of a state: create a context, encode the same text, and restore the \
                 memory with set_state_data"
                    .to_owned();
            return Err(ErrorKind::Unsupported { operation: "cloning the context", reason }.into());
        }
        let mut state = Vec::new();
        self.state_data(&mut state)?;
        let mut clone = Self::new(self.model(), &self.params)?;
        let threads = (self.n_threads(), self.n_threads_batch());
        if threads != (clone.n_threads(), clone.n_threads_batch()) {
            clone.set_n_threads(threads.0, threads.1)?;
        }
        if self.settings.embeddings != clone.settings.embeddings {
            clone.set_embeddings(self.settings.embeddings)?;
        }
        if self.settings.causal != clone.settings.causal {
            clone.set_causal_attention(self.settings.causal)?;
        }
        let adapters: Vec<_> = self.adapters().collect();
        if !adapters.is_empty() {
            clone.set_adapters(&adapters)?;
        }
        clone.set_state_data(&state)?;
        Ok(clone)
    }
}

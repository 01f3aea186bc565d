//! llama.cpp's performance counters of a context.

use core::time::Duration;

use crate::context::Context;
use crate::error::Result;
use crate::ffi::guard::guarded;

/// llama.cpp's counters of a context. Zero unless the context was created with
/// [`perf(true)`](crate::ContextParams::perf). Corresponds to `llama_perf_context_data`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Perf {
    /// Time spent loading the model.
    pub load: Duration,
    /// Time spent in batches of several tokens.
    pub prompt: Duration,
    /// Number of tokens in batches of several tokens.
    pub n_prompt: u32,
    /// Time spent in batches of one token.
    pub generation: Duration,
    /// Number of batches of one token.
    pub n_generation: u32,
    /// Number of times that a computation graph was reused.
    pub n_reused: u32,
}

impl Context {
    /// Returns the counters since the context was created or they were reset. Corresponds to `llama_perf_context`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned).
    pub fn perf(&mut self) -> Result<Perf> {
        // SAFETY: the context is valid; the function copies numbers.
        let data = self.call(|raw| unsafe { guarded!(llama_perf_context(raw)) })?;
        let count = |value: i32| u32::try_from(value).unwrap_or(0);
        Ok(Perf {
            load: milliseconds(data.t_load_ms),
            prompt: milliseconds(data.t_p_eval_ms),
            n_prompt: count(data.n_p_eval),
            generation: milliseconds(data.t_eval_ms),
            n_generation: count(data.n_eval),
            n_reused: count(data.n_reused),
        })
    }

    /// Sets the counters to zero. Corresponds to `llama_perf_context_reset`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned).
    pub fn reset_perf(&mut self) -> Result<()> {
        // SAFETY: the context is valid.
        self.call(|raw| unsafe { guarded!(llama_perf_context_reset(raw)) })
    }
}

/// Converts C's milliseconds to a duration; negative times become zero.
pub(crate) fn milliseconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value / 1000.0).unwrap_or_default()
}

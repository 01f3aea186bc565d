//! llama.cpp's own counters of time and tokens.

use core::time::Duration;

use crate::context::Context;
use crate::error::Result;
use crate::ffi::guard::guarded;

/// What a context has done, as llama.cpp counted it. Zero unless the context was made with
/// [`perf(true)`](crate::ContextParams::perf). Corresponds to `llama_perf_context_data`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Perf {
    /// Time to load the model.
    pub load: Duration,
    /// Time for batches of several tokens.
    pub prompt: Duration,
    /// Tokens of batches of several.
    pub n_prompt: u32,
    /// Time for single tokens.
    pub generation: Duration,
    /// Single tokens.
    pub n_generation: u32,
    /// How often a computation graph could be used again.
    pub n_reused: u32,
}

impl Context {
    /// The counters since the context was made or they were reset. Corresponds to `llama_perf_context`.
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

/// A time of C's; counters that run backwards are zero.
pub(crate) fn milliseconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value / 1000.0).unwrap_or_default()
}

//! llama.cpp's own counters of a chain.

use core::time::Duration;

/// What a chain has done, as llama.cpp counted it. Corresponds to `llama_perf_sampler_data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SamplerPerf {
    /// Tokens that were accepted.
    pub n_sample: u32,
    /// Time in the samplers.
    pub time: Duration,
}

//! The summary of a generation that has ended.

use core::time::Duration;

use llama_core::plan::MemoryUse;
use serde::{Serialize, Serializer};

use crate::event::{FinishReason, Shortened};

/// The end of a generation: its reason and its figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Finish {
    /// The reason of the end.
    pub reason: FinishReason,
    /// Numbers of tokens.
    pub usage: Usage,
    /// Times of its parts.
    pub timings: Timings,
    /// The memory of its context and model.
    pub memory: MemoryReport,
    /// The seed of its random numbers, given or drawn: the same prompt and parameters with this seed give the same text.
    /// `None` when no token was chosen by chance.
    pub seed: Option<u32>,
    /// Every time that [`WhenFull`](crate::WhenFull) made room, in order. Empty when the whole text fitted.
    pub shortened: Vec<Shortened>,
}

/// Numbers of tokens of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the prompt, special ones included.
    pub prompt_tokens: usize,
    /// Prompt tokens that were in memory already, from an earlier generation or from another completion of the same prompt.
    pub reused_tokens: usize,
    /// Prompt tokens that were computed.
    pub evaluated_tokens: usize,
    /// Generated tokens, including the one that ended the text.
    pub completion_tokens: usize,
}

/// Working times of a generation. The time between an event and the request for the next one does not count.
///
/// Serialised as numbers of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Timings {
    /// Computing the part of the prompt that was not in memory.
    #[serde(serialize_with = "seconds")]
    pub prompt: Duration,
    /// From the start to the first token: tokenising, taking a context, and computing the prompt.
    #[serde(serialize_with = "seconds")]
    pub first_token: Duration,
    /// Computing and choosing the tokens after the first.
    #[serde(serialize_with = "seconds")]
    pub generation: Duration,
    /// Choosing tokens, the first included. It is a part of the other times.
    #[serde(serialize_with = "seconds")]
    pub sampling: Duration,
    /// Computing the requested log-probabilities: see
    /// [`Request::log_probabilities`](crate::Request::log_probabilities) and [`Llama::score`](crate::Llama::score).
    #[serde(serialize_with = "seconds")]
    pub probabilities: Duration,
    /// From the start to the end.
    #[serde(serialize_with = "seconds")]
    pub total: Duration,
}

/// Memory of a generation's context and of its model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemoryReport {
    /// Allocations of llama.cpp on each device: weights, memory of the sequence, intermediate results. Empty when llama.cpp
    /// is a prebuilt library without this report.
    pub devices: Vec<MemoryUse>,
    /// Bytes of checkpoints in the system's memory.
    pub checkpoints: usize,
}

impl Finish {
    /// Returns the computed tokens of the prompt per second.
    #[must_use]
    pub fn prompt_tokens_per_second(&self) -> f64 {
        rate(self.usage.evaluated_tokens, self.timings.prompt)
    }

    /// Returns the generated tokens per second, without the first, which comes from computing the prompt.
    #[must_use]
    pub fn generation_tokens_per_second(&self) -> f64 {
        rate(self.usage.completion_tokens.saturating_sub(1), self.timings.generation)
    }
}

/// Serialises a time as a number of seconds.
fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

#[allow(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
fn rate(count: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

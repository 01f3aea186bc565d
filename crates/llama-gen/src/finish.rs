//! What is said of a generation when it has ended.

use core::time::Duration;

use llama_core::MemoryUse;
use serde::{Serialize, Serializer};

use crate::event::{FinishReason, Shortened};

/// How a generation ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Finish {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens in and out.
    pub usage: Usage,
    /// How long it took.
    pub timings: Timings,
    /// Bytes that it needed.
    pub memory: MemoryReport,
    /// The seed of its random numbers, also when it was drawn: the same prompt and parameters with this seed give the same
    /// text. `None` when no token was chosen by chance.
    pub seed: Option<u32>,
    /// How [`WhenFull`](crate::WhenFull) made room for it, each time. Empty when all of it fitted.
    pub shortened: Vec<Shortened>,
}

/// Tokens of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the prompt, special ones included.
    pub prompt_tokens: usize,
    /// Of these, those that were in memory from an earlier generation.
    pub reused_tokens: usize,
    /// Of these, those that were computed.
    pub evaluated_tokens: usize,
    /// Tokens generated, the one that ended it included.
    pub completion_tokens: usize,
}

/// Times of a generation: the time that it was at work. What passes between two events, until the next one is asked for,
/// does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Timings {
    /// For the prompt: computing what was not in memory.
    #[serde(serialize_with = "seconds")]
    pub prompt: Duration,
    /// From the start to the first token: tokenising, getting a context, and the prompt.
    #[serde(serialize_with = "seconds")]
    pub first_token: Duration,
    /// For the tokens after the first: computing and choosing them.
    #[serde(serialize_with = "seconds")]
    pub generation: Duration,
    /// Of these, and of the first token, the time for choosing.
    #[serde(serialize_with = "seconds")]
    pub sampling: Duration,
    /// For the probabilities that were asked for: see
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
    /// What llama.cpp has allocated on each device: weights, the memory of the sequence, intermediate results. Empty when
    /// llama.cpp is a prebuilt library that cannot tell.
    pub devices: Vec<MemoryUse>,
    /// Bytes of checkpoints, in the system's memory.
    pub checkpoints: usize,
}

impl Finish {
    /// Tokens of the prompt that were computed, per second.
    #[must_use]
    pub fn prompt_tokens_per_second(&self) -> f64 {
        rate(self.usage.evaluated_tokens, self.timings.prompt)
    }

    /// Generated tokens per second, the first not counted: it comes from the prompt's computation.
    #[must_use]
    pub fn generation_tokens_per_second(&self) -> f64 {
        rate(self.usage.completion_tokens.saturating_sub(1), self.timings.generation)
    }
}

/// Writes a time as a number of seconds.
fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

#[allow(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
fn rate(count: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

//! What a generation yields.

use core::time::Duration;

use llama_core::Token;

/// One step of a generation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// More text. All texts of a generation joined are its whole text.
    Text(Text),
    /// The end. It comes once, and last.
    Finish(Finish),
}

impl Event {
    /// The text of a text event; empty for others.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => &text.text,
            Self::Finish(_) => "",
        }
    }
}

/// A piece of text, whole characters only.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Text {
    /// The text.
    pub text: String,
    /// The token that completed it; `None` for what was kept back until the end.
    pub token: Option<Token>,
}

/// How a generation ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finish {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens in and out.
    pub usage: Usage,
    /// How long it took.
    pub timings: Timings,
}

/// Why a generation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended it with this token.
    EndOfGeneration(Token),
    /// As many tokens as were asked for.
    MaxTokens,
    /// This stop string was generated. It is not part of the text.
    StopString(String),
    /// One of [`stop_tokens`](crate::GenerationParams::stop_tokens) was generated. It is not part of the text.
    StopToken(Token),
    /// The text fits the grammar and nothing can follow.
    GrammarFinished,
    /// The user's own criterion.
    Criterion,
    /// It went round in circles: see [`RepetitionGuard`](crate::RepetitionGuard).
    Repetition,
    /// The context has no room for another token.
    ContextFull,
    /// It was cancelled.
    Cancelled,
}

/// Tokens of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the prompt, special ones included.
    pub prompt_tokens: usize,
    /// Tokens generated, the one that ended it included.
    pub completion_tokens: usize,
}

/// Times of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// For the prompt.
    pub prompt: Duration,
    /// From the start to the first token.
    pub first_token: Duration,
    /// For the tokens after the first: computing and choosing them.
    pub generation: Duration,
    /// Of these, and of the first token, the time for choosing.
    pub sampling: Duration,
}

impl Finish {
    /// Tokens of the prompt per second.
    #[must_use]
    pub fn prompt_tokens_per_second(&self) -> f64 {
        rate(self.usage.prompt_tokens, self.timings.prompt)
    }

    /// Generated tokens per second, the first not counted: it comes from the prompt's computation.
    #[must_use]
    pub fn generation_tokens_per_second(&self) -> f64 {
        rate(self.usage.completion_tokens.saturating_sub(1), self.timings.generation)
    }
}

#[allow(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
fn rate(count: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

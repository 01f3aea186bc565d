//! Events of a generation.

use llama_core::Token;
use serde::Serialize;

use crate::error::Result;
use crate::finish::Finish;
use crate::tokenizer::Tokenizer;

/// One step of a generation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A part of the prompt has been computed. Only with [`Request::progress`](crate::Request::progress).
    Progress(Progress),
    /// A token has been chosen; the text that it completes, if any, comes next. Only with
    /// [`Request::tokens`](crate::Request::tokens) or
    /// [`Request::log_probabilities`](crate::Request::log_probabilities).
    Token(ChosenToken),
    /// The next piece of text. All pieces joined are the whole text.
    Text(Text),
    /// The context was full, and [`WhenFull`](crate::WhenFull) has made room.
    Shortened(Shortened),
    /// The end. It comes exactly once, as the last event.
    Finish(Finish),
}

impl Event {
    /// Returns the text of a text event, and an empty string for all others.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => &text.text,
            _ => "",
        }
    }
}

/// A piece of text, of whole characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Text {
    /// The text.
    pub text: String,
    /// The token that completed it; `None` for text that was held back until the end.
    pub token: Option<Token>,
}

/// The progress of computing a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// Tokens in memory, including those of an earlier generation.
    pub done: usize,
    /// Tokens of the prompt.
    pub total: usize,
}

/// A token of the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChosenToken {
    /// The token's id, its bytes and, if requested, its log-probability.
    pub token: TokenProbability,
    /// The likeliest tokens in its place, as many as requested, the likeliest first.
    pub alternatives: Vec<TokenProbability>,
}

/// A token with its log-probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TokenProbability {
    /// The token's id.
    pub id: Token,
    /// The bytes that it stands for, which may end within a character. Empty for special tokens.
    pub bytes: Vec<u8>,
    /// The natural logarithm of the probability that the model gave it, before any sampler. `None` when it was not
    /// requested.
    pub log_probability: Option<f32>,
}

impl TokenProbability {
    pub(crate) fn new(tokenizer: &dyn Tokenizer, id: Token, log_probability: Option<f32>) -> Result<Self> {
        let mut bytes = Vec::new();
        tokenizer.append_token_bytes(id, false, &mut bytes)?;
        Ok(Self { id, bytes, log_probability })
    }
}

/// The numbers of tokens before and after room was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Shortened {
    /// Tokens before.
    pub from: usize,
    /// Tokens afterwards.
    pub to: usize,
}

/// The reason for the end of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended it with this token.
    EndOfGeneration(Token),
    /// The requested number of tokens was generated.
    MaxTokens,
    /// This stop string was generated. It is not part of the text.
    StopString(String),
    /// One of [`stop_tokens`](crate::GenerationParams::stop_tokens) was generated. It is not part of the text.
    StopToken(Token),
    /// The text fits the grammar and nothing can follow.
    GrammarFinished,
    /// The user's own criterion said so.
    Criterion,
    /// The text repeated itself: see [`RepetitionGuard`](crate::RepetitionGuard).
    Repetition,
    /// The context has no room for another token.
    ContextFull,
    /// It was cancelled.
    Cancelled,
    /// The deadline has passed.
    Deadline,
}

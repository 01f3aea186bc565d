//! What a generation yields.

use llama_core::Token;
use serde::Serialize;

use crate::error::Result;
use crate::finish::Finish;
use crate::tokenizer::Tokenizer;

/// One step of a generation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Event {
    /// A part of the prompt has been computed. Only when [`Request::progress`](crate::Request::progress) asks for it.
    Progress(Progress),
    /// A token has been chosen; the text that it completes, if any, comes next. Only when
    /// [`Request::tokens`](crate::Request::tokens) or
    /// [`Request::log_probabilities`](crate::Request::log_probabilities) ask for it.
    Token(ChosenToken),
    /// More text. All texts of a generation joined are its whole text.
    Text(Text),
    /// The context was full, and [`WhenFull`](crate::WhenFull) has made room.
    Shortened(Shortened),
    /// The end. It comes once, and last.
    Finish(Finish),
}

impl Event {
    /// The text of a text event; empty for others.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => &text.text,
            _ => "",
        }
    }
}

/// A piece of text, whole characters only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Text {
    /// The text.
    pub text: String,
    /// The token that completed it; `None` for what was kept back until the end.
    pub token: Option<Token>,
}

/// How much of a prompt has been computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// Tokens in memory now, with those that were there from an earlier generation.
    pub done: usize,
    /// Tokens of the prompt.
    pub total: usize,
}

/// A token of the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChosenToken {
    /// The token's id, its bytes and, if that was asked for, its probability.
    pub token: TokenProbability,
    /// The likeliest tokens in its place, the likeliest first: as many as were asked for.
    pub alternatives: Vec<TokenProbability>,
}

/// A token and how likely it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TokenProbability {
    /// The id.
    pub id: Token,
    /// The bytes that it stands for: any part of a text, also of a character. None for special tokens.
    pub bytes: Vec<u8>,
    /// The natural logarithm of the probability that the model gave it, before any sampler had its say. `None` when it was
    /// not asked for.
    pub log_probability: Option<f32>,
}

impl TokenProbability {
    pub(crate) fn new(tokenizer: &dyn Tokenizer, id: Token, log_probability: Option<f32>) -> Result<Self> {
        let mut bytes = Vec::new();
        tokenizer.append_token_bytes(id, false, &mut bytes)?;
        Ok(Self { id, bytes, log_probability })
    }
}

/// How much shorter a text was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Shortened {
    /// Tokens before.
    pub from: usize,
    /// Tokens afterwards.
    pub to: usize,
}

/// Why a generation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// Its time was over.
    Deadline,
}

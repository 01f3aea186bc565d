//! The answer to a turn.

use llama_core::Token;
use serde::Serialize;

use super::message::{Message, ToolCall};
use crate::event::ChosenToken;
use crate::finish::Finish;

/// A finished answer. It is part of the conversation.
///
/// In JSON it has the fields without [`text`](Self::text), which is part of the message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Reply {
    /// The answer as a message.
    pub message: Message,
    /// The answer as the model wrote it, with the marks around reasoning and tool calls.
    pub raw: String,
    /// The tokens of the prompt, special ones included: the conversation as the model read it.
    pub prompt: Vec<Token>,
    /// The tokens of the answer, including the one that ended it. With
    /// [`Turn::log_probabilities`](super::Turn::log_probabilities) they have log-probabilities and alternatives.
    pub tokens: Vec<ChosenToken>,
    /// Why the answer ended, with token counts and times.
    pub finish: Finish,
    /// The problem with the answer, as in [`Answer::problem`](super::Answer::problem): for example a tool call that was cut
    /// off, and is not in the message. `None` without a problem.
    pub problem: Option<String>,
    #[serde(skip)]
    text: String,
}

impl Reply {
    pub(super) fn new(message: Message, raw: String, finish: Finish, problem: Option<String>) -> Self {
        let text = message.text();
        Self { message, raw, prompt: Vec::new(), tokens: Vec::new(), finish, problem, text }
    }

    /// Returns the text of the answer.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the model's reasoning, empty if there is none.
    #[must_use]
    pub fn reasoning(&self) -> &str {
        self.message.reasoning.as_deref().unwrap_or_default()
    }

    /// Returns the tool calls.
    #[must_use]
    pub fn tool_calls(&self) -> &[ToolCall] {
        &self.message.tool_calls
    }
}

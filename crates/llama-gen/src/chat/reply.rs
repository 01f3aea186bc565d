//! Answers of a conversation.

use llama_core::Token;

use super::message::{Message, ToolCall};
use crate::event::ChosenToken;
use crate::finish::Finish;

/// An answer in a conversation, which it has become a part of.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reply {
    /// The answer as a message.
    pub message: Message,
    /// The answer as the model wrote it, with its thoughts and calls as it marks them.
    pub raw: String,
    /// The tokens of the prompt, special ones included: the conversation as the model has read it.
    pub prompt: Vec<Token>,
    /// The tokens of the answer, the one that ended it included, with their log-probabilities and alternatives where
    /// [`Turn::log_probabilities`](super::Turn::log_probabilities) asked for them.
    pub tokens: Vec<ChosenToken>,
    /// Why it ended, with tokens and times.
    pub finish: Finish,
    /// What is wrong with it, as [`Answer::problem`](super::Answer::problem): a tool call that was cut off, for example,
    /// which the message is without. `None` when nothing is.
    pub problem: Option<String>,
    text: String,
}

impl Reply {
    pub(super) fn new(message: Message, raw: String, finish: Finish, problem: Option<String>) -> Self {
        let text = message.text();
        Self { message, raw, prompt: Vec::new(), tokens: Vec::new(), finish, problem, text }
    }

    /// What the model says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it thought before. Empty when it did not.
    #[must_use]
    pub fn reasoning(&self) -> &str {
        self.message.reasoning.as_deref().unwrap_or_default()
    }

    /// The tools that it calls.
    #[must_use]
    pub fn tool_calls(&self) -> &[ToolCall] {
        &self.message.tool_calls
    }
}

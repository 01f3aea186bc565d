//! Reading answers: thoughts, text and tool calls told apart, whole or while they come.

use std::sync::Arc;

use llama_core::ChatTurn;
use serde::Deserialize;

use super::message::{Message, ToolCall};
use crate::error::Result;

/// An answer, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Shim")]
#[non_exhaustive]
pub struct Answer {
    /// What the model says.
    pub content: String,
    /// What it thought before. Empty when it did not.
    pub reasoning: String,
    /// The tools that it calls.
    pub tool_calls: Vec<ToolCall>,
}

/// As the shim writes it.
#[derive(Deserialize)]
struct Shim {
    content: String,
    reasoning_content: String,
    tool_calls: Vec<ShimCall>,
}

#[derive(Deserialize)]
struct ShimCall {
    id: String,
    name: String,
    arguments: String,
}

impl From<Shim> for Answer {
    fn from(shim: Shim) -> Self {
        let calls = shim.tool_calls.into_iter();
        let tool_calls = calls.map(|call| ToolCall::new(call.id, call.name, call.arguments)).collect();
        Self { content: shim.content, reasoning: shim.reasoning_content, tool_calls }
    }
}

impl From<Answer> for Message {
    fn from(answer: Answer) -> Self {
        let mut message = Self::assistant(answer.content);
        message.reasoning = (!answer.reasoning.is_empty()).then_some(answer.reasoning);
        message.tool_calls = answer.tool_calls;
        message
    }
}

/// A further piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delta {
    /// More of what the model thinks.
    Reasoning(String),
    /// More of what it says.
    Content(String),
    /// A new tool call, or more of the last one.
    ToolCall(ToolCallDelta),
}

/// A further piece of a tool call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolCallDelta {
    /// Which of the answer's calls, from 0.
    pub index: usize,
    /// Its id, when that has become known.
    pub id: Option<String>,
    /// The tool's name, when that has become known.
    pub name: Option<String>,
    /// More of the arguments.
    pub arguments: String,
}

/// Reads an answer while it comes. All deltas joined are the answer that [`finish`](AnswerParser::finish) gives; only a
/// tool call that the model has begun and not ended is among the deltas and not in the answer.
///
/// ```
/// use llama_gen::chat::{ChatRequest, ChatTemplate, Delta, Message};
///
/// # fn main() -> Result<(), llama_gen::Error> {
/// let text = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>";
/// let prompt = ChatTemplate::from_text(text, "", "")?.render(&ChatRequest::new([Message::user("Hello")]))?;
/// let mut parser = prompt.parser();
/// assert_eq!(parser.push("Good "), [Delta::Content("Good ".to_owned())]);
/// assert_eq!(parser.push("day."), [Delta::Content("day.".to_owned())]);
/// let (answer, rest) = parser.finish();
/// assert_eq!(answer?.content, "Good day.");
/// assert!(rest.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AnswerParser {
    turn: Arc<ChatTurn>,
    text: String,
    /// What the deltas so far are joined.
    shown: Answer,
}

impl AnswerParser {
    pub(super) fn new(turn: Arc<ChatTurn>) -> Self {
        Self { turn, text: String::new(), shown: Answer::default() }
    }

    /// Takes the next piece of text; what is new because of it.
    ///
    /// What cannot be read yet is left for later: a piece that could be the beginning of a tag, for example.
    pub fn push(&mut self, text: &str) -> Vec<Delta> {
        self.text.push_str(text);
        // An error may pass with the next piece; `finish` gives the one that stays.
        let answer =
            self.turn.parse(&self.text, true).map_err(Into::into).and_then(|json| super::from_shim(&json));
        answer.map_or_else(|_| Vec::new(), |answer| self.advance(&answer))
    }

    /// The text so far, as the model wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the deltas so far are joined.
    #[must_use]
    pub fn so_far(&self) -> &Answer {
        &self.shown
    }

    /// Ends the answer: the whole of it, and what is new because of the end.
    ///
    /// # Errors
    ///
    /// In place of the answer, [`ErrorKind::Core`](crate::ErrorKind::Core) for one that is not of the template's format:
    /// [`so_far`](Self::so_far) is what could be read of it.
    pub fn finish(&mut self) -> (Result<Answer>, Vec<Delta>) {
        let answer = self.turn.parse(&self.text, false).map_err(Into::into);
        match answer.and_then(|json| super::from_shim::<Answer>(&json)) {
            Ok(answer) => {
                let deltas = self.advance(&answer);
                (Ok(answer), deltas)
            }
            Err(error) => (Err(error), Vec::new()),
        }
    }

    /// Goes on to what is known now. What is not there any more, because it turned out to be something else, cannot be
    /// taken back: it stays.
    fn advance(&mut self, now: &Answer) -> Vec<Delta> {
        let mut deltas = Vec::new();
        if let Some(more) = extend(&mut self.shown.reasoning, &now.reasoning) {
            deltas.push(Delta::Reasoning(more));
        }
        if let Some(more) = extend(&mut self.shown.content, &now.content) {
            deltas.push(Delta::Content(more));
        }
        for (index, call) in now.tool_calls.iter().enumerate() {
            deltas.extend(self.advance_call(index, call).map(Delta::ToolCall));
        }
        deltas
    }

    fn advance_call(&mut self, index: usize, now: &ToolCall) -> Option<ToolCallDelta> {
        // A name that is not known yet is no call.
        if now.name.is_empty() {
            return None;
        }
        if index == self.shown.tool_calls.len() {
            self.shown.tool_calls.push(ToolCall::default());
        }
        let shown = self.shown.tool_calls.get_mut(index)?;
        let delta = ToolCallDelta {
            index,
            id: replace(&mut shown.id, &now.id),
            name: replace(&mut shown.name, &now.name),
            arguments: extend(&mut shown.arguments, &now.arguments).unwrap_or_default(),
        };
        (delta != ToolCallDelta { index, ..ToolCallDelta::default() }).then_some(delta)
    }
}

/// What `now` has more than `shown`, if it begins with it.
fn extend(shown: &mut String, now: &str) -> Option<String> {
    let more = now.strip_prefix(shown.as_str()).filter(|more| !more.is_empty())?.to_owned();
    shown.push_str(&more);
    Some(more)
}

fn replace(shown: &mut String, now: &str) -> Option<String> {
    if now.is_empty() || now == shown {
        return None;
    }
    now.clone_into(shown);
    Some(now.to_owned())
}

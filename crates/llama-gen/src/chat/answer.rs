//! Parsing of answers into reasoning, text and tool calls, whole or while they stream.

mod buffer;
mod call;
mod grammar;
mod judge;
mod leaf;
mod machine;
mod reader;
mod relax;
mod tail;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::buffer::Buffer;
use self::grammar::Grammar;
use self::judge::judge;
use self::machine::{End, Failed, Machine, Outcome, Place};
use self::reader::{Mark, Reader};
use self::tail::Tail;
use super::message::{Message, ToolCall};
use crate::error::{ErrorKind, Result};

/// A parsed answer.
///
/// No text is lost: text that does not fit the format of the template is part of `content`, and `problem` says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Answer {
    /// The text of the answer.
    pub content: String,
    /// The reasoning before the text. Empty if there is none.
    #[serde(rename = "reasoning_content")]
    pub reasoning: String,
    /// The tool calls. The arguments of each are a JSON object: a call that was cut off, or has other arguments, is left
    /// out.
    pub tool_calls: Vec<ToolCall>,
    /// The problem with the answer: a call that was cut off, that has arguments other than an object, or that names a tool
    /// that was not offered; text that does not fit the format of the template. `None` without a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl From<Answer> for Message {
    fn from(answer: Answer) -> Self {
        let mut message = Self::assistant(answer.content);
        message.reasoning = (!answer.reasoning.is_empty()).then_some(answer.reasoning);
        message.tool_calls = answer.tool_calls;
        message
    }
}

/// The next piece of an answer.
///
/// In JSON it is an object with one field, named as in a message: `{"content": "Good "}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Delta {
    /// More of the reasoning.
    #[serde(rename = "reasoning_content")]
    Reasoning(String),
    /// More of the text.
    Content(String),
    /// A new tool call, or more of the last one.
    ToolCall(ToolCallDelta),
}

/// The next piece of a tool call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolCallDelta {
    /// The index of the call among those that have begun, from 0.
    pub index: usize,
    /// The id of the call, in the first delta that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of the tool, in the first delta that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// More of the arguments.
    pub arguments: String,
}

/// The format of the answer to a prompt.
#[derive(Debug)]
pub(super) struct Format {
    grammar: Arc<Grammar>,
    /// The end of the prompt, with which the grammar begins.
    generation_prompt: String,
    /// llama.cpp's name of the format.
    name: String,
    /// The names of the tools that were offered.
    offered: Vec<String>,
}

impl Format {
    /// Reads the grammar that the shim describes.
    pub(super) fn new(
        grammar: &str,
        name: &str,
        generation_prompt: &str,
        offered: Vec<String>,
    ) -> Result<Self> {
        let grammar = Arc::new(Grammar::from_shim(grammar, name)?.relaxed());
        Ok(Self { grammar, generation_prompt: generation_prompt.to_owned(), name: name.to_owned(), offered })
    }
}

/// Parses an answer while it streams, in time proportional to its length.
///
/// The joined deltas are the content and the reasoning that [`finish`](AnswerParser::finish) returns; a delta is never
/// taken back. The deltas may have more tool calls than the answer: a call that turns out to be incomplete is only in the
/// deltas.
///
/// ```
/// use llama_gen::chat::{ChatRequest, ChatTemplate, Delta, Message};
///
/// # fn main() -> Result<(), llama_gen::Error> {
/// let text = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>";
/// let prompt = ChatTemplate::from_jinja_without_model(text, "", "")?.render(&ChatRequest::new([Message::user("Hello")]))?;
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
    /// The error says why there is no grammar.
    format: Result<Arc<Format>, String>,
    machine: Machine,
    /// The rest of the answer, which the grammar does not match.
    tail: Option<Tail>,
    /// The joined deltas so far.
    shown: Answer,
    /// For each call in `shown`, the offset of its arguments in the buffer.
    begins: Vec<usize>,
    agrees: Agreement,
}

/// Lengths up to which the joined deltas are known to equal the parsed answer.
#[derive(Clone, Copy, Debug, Default)]
struct Agreement {
    content: usize,
    reasoning: usize,
    arguments: usize,
}

impl AnswerParser {
    pub(super) fn new(format: Result<Arc<Format>, String>) -> Self {
        let machine = match &format {
            Ok(format) => Machine::new(Arc::clone(&format.grammar), &format.generation_prompt),
            Err(_) => Machine::new(Arc::new(Grammar::content_only()), ""),
        };
        Self {
            format,
            machine,
            tail: None,
            shown: Answer::default(),
            begins: Vec::new(),
            agrees: Agreement::default(),
        }
    }

    /// Takes the next piece of text and returns the new deltas.
    ///
    /// Text that is still ambiguous is kept for later, for example the possible beginning of a mark.
    pub fn push(&mut self, text: &str) -> Vec<Delta> {
        self.machine.input.push_str(text);
        if self.tail.is_some() {
            return self.advance_tail(false);
        }
        match self.machine.run(End::Open) {
            Outcome::Success { end, is_certain: true } => {
                let mut deltas = self.advance();
                self.tail = Some(Tail::after_end(end, self.prompt_length()));
                deltas.extend(self.advance_tail(false));
                deltas
            }
            Outcome::Fail { is_certain: true } => self.give_up(),
            Outcome::Fail { is_certain: false } => Vec::new(),
            Outcome::Success { .. } | Outcome::NeedMore { .. } => self.advance(),
        }
    }

    /// Returns the text so far, as the model wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.machine.input[self.prompt_length()..]
    }

    /// Returns the joined deltas so far. Their tool calls may be incomplete.
    #[must_use]
    pub fn so_far(&self) -> &Answer {
        &self.shown
    }

    /// Ends the answer: returns the whole answer, and the deltas that the end brings.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Chat`](crate::ErrorKind::Chat) in place of the answer when llama.cpp gave no grammar for the template. The
    /// deltas are then the whole text as content.
    pub fn finish(&mut self) -> (Result<Answer>, Vec<Delta>) {
        let mut end = self.clone();
        let deltas = end.read_to_end();
        self.shown.clone_from(&end.shown);
        self.begins.clone_from(&end.begins);
        self.agrees = end.agrees;
        (end.answer(), deltas)
    }

    fn prompt_length(&self) -> usize {
        self.format.as_ref().map_or(0, |format| format.generation_prompt.len())
    }

    fn read_to_end(&mut self) -> Vec<Delta> {
        let mut deltas = Vec::new();
        if self.tail.is_none() {
            deltas = self.read_last();
        }
        deltas.extend(self.advance_tail(true));
        deltas
    }

    fn read_last(&mut self) -> Vec<Delta> {
        let before = self.machine.clone();
        let outcome = self.machine.run(End::Complete);
        let prompt = self.prompt_length();
        match outcome {
            Outcome::Fail { .. } => self.give_up(),
            Outcome::Success { end, .. } => {
                self.tail = Some(Tail::after_end(end, prompt));
                self.advance()
            }
            Outcome::NeedMore { unread }
                if unread < self.machine.input.len() && self.machine.place() == Place::Text =>
            {
                self.read_strictly(before, unread)
            }
            Outcome::NeedMore { .. } => self.advance(),
        }
    }

    /// Ends an answer within a possible mark: the rest is either no mark, or text.
    fn read_strictly(&mut self, mut machine: Machine, unread: usize) -> Vec<Delta> {
        let is_whole =
            matches!(machine.run(End::Strict), Outcome::Success { end, .. } if end == machine.input.len());
        if is_whole {
            let mut strict = Self { machine, ..self.clone() };
            let deltas = strict.advance();
            if strict.agrees() {
                *self = strict;
                return deltas;
            }
        }
        let deltas = self.advance();
        self.tail = Some(Tail::of_misfit(unread, self.prompt_length(), self.format_name()));
        deltas
    }

    /// Goes back to the last position up to which the answer matches, because nothing matches from there on.
    fn give_up(&mut self) -> Vec<Delta> {
        let prompt = self.prompt_length();
        let at = match self.machine.failed.take() {
            Some(Failed { at, reader, mark }) => {
                self.machine.reader = reader;
                self.machine.reader.go_back(&mark);
                at
            }
            None => {
                self.machine.reader = Reader::default();
                prompt
            }
        };
        self.agrees = Agreement::default();
        self.machine.stop();
        let mut deltas = self.advance();
        // Text that was shown beyond that position is the beginning of the rest.
        let at = at.max(prompt);
        let ahead = self.shown.content.get(self.machine.reader.content.len()..).unwrap_or_default();
        let ahead = if self.machine.input[at..].starts_with(ahead) { ahead.len() } else { 0 };
        self.tail = Some(Tail::of_misfit(at, prompt, self.format_name()).from(at + ahead));
        deltas.extend(self.advance_tail(false));
        deltas
    }

    fn format_name(&self) -> &str {
        self.format.as_ref().map_or("", |format| &format.name)
    }

    /// Returns what was parsed since the last call. Deltas that turned out wrong cannot be taken back: they stay.
    fn advance(&mut self) -> Vec<Delta> {
        let mark = self.machine.shown();
        let reader = &mut self.machine.reader;
        let mut deltas = Vec::new();
        let to = if Reader::has_reasoning(&mark) { mark.reasoning } else { 0 };
        if let Some(more) =
            extend(&mut reader.reasoning, to, &mut self.shown.reasoning, &mut self.agrees.reasoning)
        {
            deltas.push(Delta::Reasoning(more));
        }
        let to = mark.content;
        if let Some(more) = extend(&mut reader.content, to, &mut self.shown.content, &mut self.agrees.content)
        {
            deltas.push(Delta::Content(more));
        }
        self.advance_calls(&mark, &mut deltas);
        deltas
    }

    fn advance_calls(&mut self, mark: &Mark, deltas: &mut Vec<Delta>) {
        let agrees = self.agrees.arguments.min(self.machine.reader.arguments.take_low());
        let first = self.begins.partition_point(|begin| *begin < agrees).saturating_sub(1);
        self.agrees.arguments = agrees;
        let reader = &self.machine.reader;
        for (index, (call, (from, to))) in (first..).zip(reader.calls(mark, first)) {
            if index == self.shown.tool_calls.len() {
                self.shown.tool_calls.push(ToolCall::default());
                self.begins.push(from);
            }
            let shown = &mut self.shown.tool_calls[index];
            let known = agrees.saturating_sub(from).min(shown.arguments.len());
            let is_same = self.begins[index] == from
                && from + shown.arguments.len() <= to
                && reader.arguments.has(from + known, &shown.arguments.as_bytes()[known..]);
            let mut delta = ToolCallDelta {
                index,
                id: replace(&mut shown.id, &reader.names.slice(call.id.0, call.id.1)),
                name: replace(&mut shown.name, &judge::name(reader, &call)),
                arguments: String::new(),
            };
            if is_same {
                delta.arguments = reader.arguments.slice(from + shown.arguments.len(), to);
                shown.arguments.push_str(&delta.arguments);
                self.agrees.arguments = to;
            }
            if delta != (ToolCallDelta { index, ..ToolCallDelta::default() }) {
                deltas.push(Delta::ToolCall(delta));
            }
        }
    }

    /// Returns more of the text that the grammar does not match.
    fn advance_tail(&mut self, is_last: bool) -> Vec<Delta> {
        let Some(tail) = &mut self.tail else { return Vec::new() };
        let input = &self.machine.input;
        let text = if is_last { tail.take_last(input) } else { tail.take(input) };
        if text.is_empty() {
            return Vec::new();
        }
        self.shown.content.push_str(text);
        vec![Delta::Content(text.to_owned())]
    }

    /// Returns whether the joined deltas equal the parsed text.
    fn agrees(&self) -> bool {
        let Agreement { content, reasoning, .. } = self.agrees;
        (content, reasoning) == (self.shown.content.len(), self.shown.reasoning.len())
    }

    fn answer(&self) -> Result<Answer> {
        let format = self.format.as_ref().map_err(|reason| ErrorKind::Chat { reason: reason.clone() })?;
        let mark = self.machine.shown();
        let (tool_calls, mut problems) =
            judge(&self.machine.reader, &mark, &self.machine.input, &format.offered);
        let is_cut = match self.machine.place() {
            Place::Call => true,
            Place::Calls => !Reader::has_call(&mark),
            Place::Text => false,
        };
        if is_cut {
            problems.push("the answer ends within a tool call".to_owned());
        }
        problems.extend(self.tail.as_ref().and_then(Tail::problem).map(ToOwned::to_owned));
        Ok(Answer {
            content: self.shown.content.clone(),
            reasoning: self.shown.reasoning.clone(),
            tool_calls,
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
        })
    }
}

/// Appends to `shown` the part of the buffer beyond it, if the buffer begins with `shown`.
fn extend(buffer: &mut Buffer, to: usize, shown: &mut String, agrees: &mut usize) -> Option<String> {
    *agrees = (*agrees).min(buffer.take_low());
    if to < shown.len() || !buffer.has(*agrees, &shown.as_bytes()[*agrees..]) {
        return None;
    }
    let more = buffer.slice(shown.len(), to);
    shown.push_str(&more);
    *agrees = to;
    (!more.is_empty()).then_some(more)
}

fn replace(shown: &mut String, now: &str) -> Option<String> {
    if now.is_empty() || now == shown {
        return None;
    }
    now.clone_into(shown);
    Some(now.to_owned())
}

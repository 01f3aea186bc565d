//! Detection of the parts of a conversation that a template drops.
//!
//! A template is a program that renders a conversation to one text. The text does not tell whether it has a part: a short
//! answer may occur elsewhere, and templates trim, escape and reorder. So an unguessable number is appended to each part,
//! the conversation is rendered once more, and the text is searched for the numbers.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A part of a conversation that the template drops from the prompt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftOut {
    /// The content of a message.
    #[non_exhaustive]
    Content {
        /// The index of the message.
        message: usize,
    },
    /// The reasoning of an answer. Many templates leave it out of earlier turns.
    #[non_exhaustive]
    Reasoning {
        /// The index of the message.
        message: usize,
    },
    /// A tool call.
    #[non_exhaustive]
    ToolCall {
        /// The index of the message.
        message: usize,
        /// The index of the call in the message.
        call: usize,
    },
    /// A tool that the model may call.
    #[non_exhaustive]
    Tool {
        /// The tool's name.
        name: String,
    },
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content { message } => write!(f, "the content of message {message}"),
            Self::Reasoning { message } => write!(f, "the reasoning of message {message}"),
            Self::ToolCall { message, call } => write!(f, "call {call} of message {message}"),
            Self::Tool { name } => write!(f, "the tool {name:?}"),
        }
    }
}

/// A list for an error's message.
pub(crate) struct List<'l>(pub(crate) &'l [LeftOut]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (index, left_out) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{left_out}", if index == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The numbers in a conversation, and the part that each belongs to.
pub(super) struct Numbers {
    number: String,
    items: Vec<LeftOut>,
}

/// The digits of a number's index in the list.
const PLACE: usize = 8;

impl Numbers {
    /// Inserts numbers into a request. Returns `None` when it has no part that could be dropped.
    pub(super) fn insert(request: &mut Value) -> Option<Self> {
        // The standard library's hashers have random keys.
        let random = || RandomState::new().build_hasher().finish();
        let mut numbers = Self { number: format!("{:020}{:020}", random(), random()), items: Vec::new() };
        for (index, message) in array(request, "messages").iter_mut().enumerate() {
            numbers.insert_into_message(index, message);
        }
        for tool in array(request, "tools") {
            if let Some(Value::String(name)) = tool.pointer_mut("/function/name") {
                let left_out = LeftOut::Tool { name: name.clone() };
                numbers.append(name, left_out);
            }
        }
        (!numbers.items.is_empty()).then_some(numbers)
    }

    fn insert_into_message(&mut self, index: usize, message: &mut Value) {
        match message.get_mut("content") {
            Some(Value::String(text)) => self.append(text, LeftOut::Content { message: index }),
            Some(Value::Array(parts)) => {
                for part in parts {
                    if let Some(Value::String(text)) = part.get_mut("text") {
                        self.append(text, LeftOut::Content { message: index });
                    }
                }
            }
            _ => {}
        }
        if let Some(Value::String(text)) = message.get_mut("reasoning_content") {
            self.append(text, LeftOut::Reasoning { message: index });
        }
        for (call, value) in array(message, "tool_calls").iter_mut().enumerate() {
            let left_out = || LeftOut::ToolCall { message: index, call };
            if let Some(Value::String(name)) = value.pointer_mut("/function/name") {
                self.append(name, left_out());
            }
            if let Some(Value::String(arguments)) = value.pointer_mut("/function/arguments")
                && let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(arguments)
                && !fields.is_empty()
            {
                let mut name = String::from("n");
                self.append(&mut name, left_out());
                fields.insert(name, Value::from(1));
                *arguments = Value::Object(fields).to_string();
            }
        }
    }

    /// Appends a number to a text that is more than whitespace.
    fn append(&mut self, text: &mut String, left_out: LeftOut) {
        if !text.trim().is_empty() {
            let place = self.items.len();
            text.push_str(&format!("{}{place:0PLACE$}", self.number));
            self.items.push(left_out);
        }
    }

    /// Returns the parts whose numbers are missing in a rendered text, each once, in the order of the conversation.
    pub(super) fn missing_in(self, text: &str) -> Vec<LeftOut> {
        let places = text.match_indices(self.number.as_str()).filter_map(|(at, number)| {
            let place = text.get(at + number.len()..)?.get(..PLACE)?;
            place.parse::<usize>().ok()
        });
        let found: HashSet<usize> = places.collect();
        let missing = self.items.into_iter().enumerate().filter(|(place, _)| !found.contains(place));
        let mut left_out: Vec<LeftOut> = missing.map(|(_, item)| item).collect();
        left_out.dedup();
        left_out
    }
}

/// Returns the elements of a list field, none if there is no such list.
fn array<'v>(value: &'v mut Value, name: &str) -> &'v mut [Value] {
    value.get_mut(name).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// Returns the dropped parts that a prompt must have: messages of users and tools, answers without tool calls, and all tools
/// when a call is required.
pub(super) fn not_to_be_lost(request: &Value, left_out: &[LeftOut]) -> Vec<LeftOut> {
    let messages = &request["messages"];
    let calls_tools =
        |message: usize| messages[message]["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty());
    let tools = request["tools"].as_array().map_or(0, Vec::len);
    let tools_left_out = left_out.iter().filter(|item| matches!(item, LeftOut::Tool { .. })).count();
    let no_tools = request["tool_choice"] == "required" && tools > 0 && tools_left_out == tools;
    let is_needed = |item: &&LeftOut| match item {
        LeftOut::Content { message } => !calls_tools(*message),
        LeftOut::Tool { .. } => no_tools,
        LeftOut::Reasoning { .. } | LeftOut::ToolCall { .. } => false,
    };
    left_out.iter().filter(is_needed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_no_number_in_the_text_is_missing() {
        let mut request = json!({
            "messages": [
                { "role": "user", "content": "a" },
                { "role": "assistant", "content": " ", "reasoning_content": "b", "tool_calls": [
                    { "function": { "name": "f", "arguments": "{\"x\": 1}" } },
                    { "function": { "name": "g", "arguments": "{}" } },
                ] },
                { "role": "tool", "content": [{ "type": "text", "text": "c" }, { "type": "text", "text": "d" }] },
            ],
            "tools": [{ "function": { "name": "f" } }],
        });
        let numbers = Numbers::insert(&mut request).unwrap();
        assert_eq!(request["messages"][1]["content"], " ");
        let text = |pointer: &str| request.pointer(pointer).unwrap().as_str().unwrap();
        let shown = [
            text("/messages/0/content"),
            text("/messages/1/tool_calls/1/function/name"),
            text("/messages/1/tool_calls/0/function/name"),
            text("/messages/2/content/0/text"),
        ]
        .concat();
        assert_eq!(
            numbers.missing_in(&shown),
            [
                LeftOut::Reasoning { message: 1 },
                LeftOut::ToolCall { message: 1, call: 0 },
                LeftOut::Content { message: 2 },
                LeftOut::Tool { name: "f".to_owned() },
            ]
        );
    }

    #[test]
    fn a_conversation_without_words_has_nothing_to_lose() {
        assert!(Numbers::insert(&mut json!({ "messages": [{ "role": "user", "content": "" }] })).is_none());
    }

    #[test]
    fn words_and_required_tools_may_not_be_lost() {
        let content = |message| LeftOut::Content { message };
        let tool = LeftOut::Tool { name: "f".to_owned() };
        let mut request = json!({
            "messages": [{ "content": "a" }, { "content": "b", "tool_calls": [{}] }],
            "tools": [{}],
            "tool_choice": "auto",
        });
        let left_out = [content(0), content(1), LeftOut::Reasoning { message: 1 }, tool.clone()];
        assert_eq!(not_to_be_lost(&request, &left_out), [content(0)]);
        request["tool_choice"] = json!("required");
        assert_eq!(not_to_be_lost(&request, &left_out), [content(0), tool]);
        request["tools"] = json!([{}, {}]);
        assert_eq!(not_to_be_lost(&request, &left_out), [content(0)]);
    }
}

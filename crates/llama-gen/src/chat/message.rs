//! Messages of a conversation.

use core::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Who speaks.
///
/// In JSON it is OpenAI's name. What comes as JSON may come from a stranger, and some templates make a special token of
/// a role: names that are not among these are refused there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// What the model is told before the conversation.
    System,
    /// The same, from who built the program; for most templates it is [`Role::System`].
    Developer,
    /// Who asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool that the model has called.
    Tool,
    /// A role that the model's template knows by this name. Like the template itself it is trusted: never a stranger's
    /// text.
    Other(String),
}

impl Role {
    /// The name that templates know it by.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = [Self::System, Self::Developer, Self::User, Self::Assistant, Self::Tool];
        let role = known.into_iter().find(|role| role.as_str() == name);
        role.ok_or_else(|| {
            D::Error::custom(format!(
                "role is {name:?}: it is \"system\", \"developer\", \"user\", \"assistant\" or \"tool\""
            ))
        })
    }
}

/// What a message says: a text, or parts of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// A text.
    Text(String),
    /// Parts. Templates that know texts only are given them one to a line.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// A text.
    Text {
        /// The text.
        text: String,
    },
}

impl Content {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Parts(parts) => parts.is_empty(),
        }
    }

    /// The text; that of several parts one to a line.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => {
                let texts: Vec<&str> = parts.iter().map(|Part::Text { text }| text.as_str()).collect();
                texts.join("\n")
            }
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<Part>> for Content {
    fn from(parts: Vec<Part>) -> Self {
        Self::Parts(parts)
    }
}

/// A tool that the model calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OpenAiCall", into = "OpenAiCall")]
#[non_exhaustive]
pub struct ToolCall {
    /// What the call goes by, so that its result can say which it is of. Empty when the model gives none.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments as JSON. In an [`Answer`](super::Answer) they are an object; while they stream, the beginning of one.
    pub arguments: String,
}

impl ToolCall {
    /// A call.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), arguments: arguments.into() }
    }
}

/// How OpenAI's API writes a call.
#[derive(Serialize, Deserialize)]
struct OpenAiCall {
    #[serde(default = "function", deserialize_with = "null_or_function")]
    r#type: String,
    #[serde(default, deserialize_with = "null_or", skip_serializing_if = "String::is_empty")]
    id: String,
    function: OpenAiFunction,
}

#[derive(Serialize, Deserialize)]
struct OpenAiFunction {
    name: String,
    #[serde(default, deserialize_with = "null_or")]
    arguments: String,
}

pub(super) fn function() -> String {
    "function".to_owned()
}

pub(super) fn null_or_function<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(function))
}

impl From<ToolCall> for OpenAiCall {
    fn from(call: ToolCall) -> Self {
        let function = OpenAiFunction { name: call.name, arguments: call.arguments };
        Self { r#type: self::function(), id: call.id, function }
    }
}

impl From<OpenAiCall> for ToolCall {
    fn from(call: OpenAiCall) -> Self {
        Self { id: call.id, name: call.function.name, arguments: call.function.arguments }
    }
}

/// A message. In JSON it is one of OpenAI's chat API.
///
/// ```
/// use llama_gen::chat::Message;
///
/// let message: Message = serde_json::from_str(r#"{"role": "user", "content": [{"type": "text", "text": "Hello"}]}"#)?;
/// assert_eq!(message.text(), "Hello");
/// assert_eq!(serde_json::to_string(&Message::user("Hello"))?, r#"{"role":"user","content":"Hello"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    #[serde(default, deserialize_with = "null_or")]
    pub content: Content,
    /// Who of several speaks in this role; of a tool's result, the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the model thought before it answered. Many templates leave it out of earlier turns.
    #[serde(
        default,
        rename = "reasoning_content",
        alias = "reasoning",
        skip_serializing_if = "Option::is_none"
    )]
    pub reasoning: Option<String>,
    /// The tools that the model calls.
    #[serde(default, deserialize_with = "null_or", skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool's result: the call that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// Reads a field whose `null` is as if it were absent.
pub(super) fn null_or<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Message {
    /// A message in any role.
    #[must_use]
    pub fn new(role: Role, content: impl Into<Content>) -> Self {
        Self {
            role,
            content: content.into(),
            name: None,
            reasoning: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }

    /// What the model is told before the conversation.
    #[must_use]
    pub fn system(content: impl Into<Content>) -> Self {
        Self::new(Role::System, content)
    }

    /// A question.
    #[must_use]
    pub fn user(content: impl Into<Content>) -> Self {
        Self::new(Role::User, content)
    }

    /// An answer.
    #[must_use]
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// The result of the call of that id.
    #[must_use]
    pub fn tool(tool_call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        Self { tool_call_id: Some(tool_call_id.into()), ..Self::new(Role::Tool, content) }
    }

    /// Who of several speaks in this role.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What the model thought.
    #[must_use]
    pub fn reasoning(mut self, reasoning: impl Into<String>) -> Self {
        self.reasoning = Some(reasoning.into());
        self
    }

    /// Adds a call of a tool.
    #[must_use]
    pub fn tool_call(mut self, call: ToolCall) -> Self {
        self.tool_calls.push(call);
        self
    }

    /// What is said, as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.content.text()
    }
}

//! Messages of a conversation.

use core::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The speaker of a message.
///
/// In JSON it is OpenAI's name. Other names are refused there: JSON may come from a stranger, and some templates turn a
/// role into a special token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The operator, who instructs the model before the conversation.
    System,
    /// The author of the program; most templates treat it as [`Role::System`].
    Developer,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// A tool that returns the result of a call.
    Tool,
    /// Another role of the model's template. It is trusted like the template itself: never pass on a stranger's text.
    Other(String),
}

impl Role {
    /// Returns the name that templates use.
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
                "role is {name:?}, but must be \"system\", \"developer\", \"user\", \"assistant\" or \"tool\""
            ))
        })
    }
}

/// The content of a message: a text, or a list of parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Content {
    /// A text.
    Text(String),
    /// Parts. Templates that only support texts get one part per line.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// A text. Created by [`Part::text`].
    #[non_exhaustive]
    Text {
        /// The text.
        text: String,
    },
}

impl Part {
    /// Creates a text part.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

impl Content {
    /// Returns whether the text is empty, or the list has no parts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Parts(parts) => parts.is_empty(),
        }
    }

    /// Returns the text, that of several parts with one part per line.
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

/// A call of a tool by the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OpenAiCall", into = "OpenAiCall")]
#[non_exhaustive]
pub struct ToolCall {
    /// The id of the call, which its result refers to. Empty when the model gives none.
    pub id: String,
    /// The name of the tool.
    pub name: String,
    /// The arguments as JSON: an object in an [`Answer`](super::Answer), the beginning of one while it streams.
    pub arguments: String,
}

impl ToolCall {
    /// Creates a call.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), arguments: arguments.into() }
    }
}

/// A call in the form of OpenAI's API.
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

/// A message of a conversation. In JSON it has the form of OpenAI's chat API.
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
    /// The speaker.
    pub role: Role,
    /// The content.
    #[serde(default, deserialize_with = "null_or")]
    pub content: Content,
    /// The name of the speaker, where several share the role; the name of the tool in a tool's result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The model's reasoning before the answer. Many templates leave it out of earlier turns.
    #[serde(
        default,
        rename = "reasoning_content",
        alias = "reasoning",
        skip_serializing_if = "Option::is_none"
    )]
    pub reasoning: Option<String>,
    /// The model's tool calls.
    #[serde(default, deserialize_with = "null_or", skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The id of the call, in a tool's result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// Reads a field whose `null` counts as absent.
pub(super) fn null_or<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Message {
    /// Creates a message in any role.
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

    /// Creates a system message.
    #[must_use]
    pub fn system(content: impl Into<Content>) -> Self {
        Self::new(Role::System, content)
    }

    /// Creates a user message.
    #[must_use]
    pub fn user(content: impl Into<Content>) -> Self {
        Self::new(Role::User, content)
    }

    /// Creates an answer of the model.
    #[must_use]
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// Creates the result of the call with this id.
    #[must_use]
    pub fn tool(tool_call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        Self { tool_call_id: Some(tool_call_id.into()), ..Self::new(Role::Tool, content) }
    }

    /// Sets the name of the speaker.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the model's reasoning.
    #[must_use]
    pub fn reasoning(mut self, reasoning: impl Into<String>) -> Self {
        self.reasoning = Some(reasoning.into());
        self
    }

    /// Adds a tool call.
    #[must_use]
    pub fn tool_call(mut self, call: ToolCall) -> Self {
        self.tool_calls.push(call);
        self
    }

    /// Returns the content as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.content.text()
    }
}

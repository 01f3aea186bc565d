//! Tools that a model may call.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::message::{function, null_or, null_or_function};

/// A tool that the model may call. In JSON it has the form of OpenAI's chat API.
///
/// ```
/// use llama_gen::chat::Tool;
/// use serde_json::json;
///
/// let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
/// let tool = Tool::new("weather", "The weather in a city now.", schema);
/// assert_eq!(serde_json::to_value(&tool)?["function"]["name"], "weather");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "OpenAiTool", into = "OpenAiTool")]
#[non_exhaustive]
pub struct Tool {
    /// The name that the model calls it by.
    pub name: String,
    /// A description for the model: its purpose, and when to use it.
    pub description: String,
    /// The JSON schema of its arguments, an object.
    pub parameters: Value,
}

impl Tool {
    /// Creates a tool.
    #[must_use]
    pub fn new(name: impl Into<String>, description: impl Into<String>, parameters: Value) -> Self {
        Self { name: name.into(), description: description.into(), parameters }
    }
}

/// The choice between calling tools and not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// The model sees the tools, but must not call one.
    None,
    /// The model must call at least one tool.
    Required,
}

#[derive(Serialize, Deserialize)]
struct OpenAiTool {
    #[serde(default = "function", deserialize_with = "null_or_function")]
    r#type: String,
    function: OpenAiFunction,
}

#[derive(Serialize, Deserialize)]
struct OpenAiFunction {
    name: String,
    #[serde(default, deserialize_with = "null_or")]
    description: String,
    #[serde(default = "no_arguments", deserialize_with = "null_or_no_arguments")]
    parameters: Value,
}

fn null_or_no_arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(no_arguments))
}

fn no_arguments() -> Value {
    serde_json::json!({ "type": "object", "properties": {} })
}

impl From<Tool> for OpenAiTool {
    fn from(tool: Tool) -> Self {
        let Tool { name, description, parameters } = tool;
        Self { r#type: function(), function: OpenAiFunction { name, description, parameters } }
    }
}

impl From<OpenAiTool> for Tool {
    fn from(tool: OpenAiTool) -> Self {
        let OpenAiFunction { name, description, parameters } = tool.function;
        Self { name, description, parameters }
    }
}

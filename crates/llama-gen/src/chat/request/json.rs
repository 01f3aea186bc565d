//! Requests in JSON: absent and null fields have their defaults, unknown names are refused.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ChatRequest;
use crate::chat::continue_answer::ContinueAnswer;
use crate::chat::message::Message;
use crate::chat::tool::{Tool, ToolChoice};

/// The fields of a request as they are read, most of them optional.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    messages: Vec<Message>,
    tools: Option<Vec<Tool>>,
    tool_choice: Option<ToolChoice>,
    parallel_tool_calls: Option<bool>,
    add_generation_prompt: Option<bool>,
    #[serde(rename = "continue_final_message", alias = "continue_answer")]
    continue_answer: Option<ContinueAnswer>,
    #[serde(rename = "enable_thinking", alias = "thinking")]
    thinking: Option<bool>,
    extract_reasoning: Option<bool>,
    #[serde(rename = "json_schema", alias = "response_schema")]
    response_schema: Option<Value>,
    #[serde(rename = "template_kwargs", alias = "chat_template_kwargs", alias = "template_args")]
    template_args: Option<Map<String, Value>>,
}

impl From<Fields> for ChatRequest {
    fn from(fields: Fields) -> Self {
        let default = Self::new(fields.messages);
        Self {
            tools: fields.tools.unwrap_or(default.tools),
            tool_choice: fields.tool_choice.unwrap_or(default.tool_choice),
            parallel_tool_calls: fields.parallel_tool_calls.unwrap_or(default.parallel_tool_calls),
            add_generation_prompt: fields.add_generation_prompt.unwrap_or(default.add_generation_prompt),
            continue_answer: fields.continue_answer.unwrap_or(default.continue_answer),
            thinking: fields.thinking.unwrap_or(default.thinking),
            extract_reasoning: fields.extract_reasoning.unwrap_or(default.extract_reasoning),
            response_schema: fields.response_schema.or(default.response_schema),
            template_args: fields.template_args.unwrap_or(default.template_args),
            messages: default.messages,
        }
    }
}

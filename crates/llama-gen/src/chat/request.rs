//! A request to render a conversation.

mod json;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::continue_answer::ContinueAnswer;
use super::message::Message;
use super::tool::{Tool, ToolChoice};

/// A conversation to render, with its options.
///
/// Messages and tools are not trusted: special tokens that they name stay text. The [arguments](Self::template_arg) of the
/// template are trusted.
///
/// JSON has the names of the fields, or those of chat APIs: `continue_final_message`, `enable_thinking`, `json_schema`,
/// `template_kwargs`, `chat_template_kwargs`. All fields but `messages` may be absent or null. Unknown names are refused,
/// unless the request is flattened into a larger one.
///
/// ```
/// use llama_gen::chat::{ChatRequest, Message};
///
/// let request: ChatRequest =
///     serde_json::from_str(r#"{"messages": [{"role": "user", "content": "Hi"}], "enable_thinking": false}"#)?;
/// assert_eq!(request, ChatRequest::new([Message::user("Hi")]).thinking(false));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "json::Fields")]
#[must_use = "nothing is rendered until `ChatTemplate::render` is called"]
#[non_exhaustive]
pub struct ChatRequest {
    /// The messages, the oldest first.
    pub messages: Vec<Message>,
    /// The tools that the model may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// The choice between calling tools and not.
    pub tool_choice: ToolChoice,
    /// Whether the model may call several tools at once. Default: false.
    pub parallel_tool_calls: bool,
    /// Whether the prompt ends with the beginning of an answer. Default: true.
    pub add_generation_prompt: bool,
    /// The part of the last message, an answer, that is continued. Default: none.
    #[serde(rename = "continue_final_message")]
    pub continue_answer: ContinueAnswer,
    /// Whether the model reasons before it answers, if it can. Default: true.
    #[serde(rename = "enable_thinking")]
    pub thinking: bool,
    /// Whether reasoning is separated from the text of the answer. Default: true.
    pub extract_reasoning: bool,
    /// The JSON schema of the answer. It is part of [`ChatPrompt::grammar`](super::ChatPrompt::grammar).
    #[serde(rename = "json_schema", skip_serializing_if = "Option::is_none")]
    pub response_schema: Option<Value>,
    /// Variables of the template.
    #[serde(rename = "template_kwargs", skip_serializing_if = "Map::is_empty")]
    pub template_args: Map<String, Value>,
}

impl ChatRequest {
    /// Creates a request for an answer to these messages.
    pub fn new(messages: impl Into<Vec<Message>>) -> Self {
        Self {
            messages: messages.into(),
            tools: Vec::new(),
            tool_choice: ToolChoice::default(),
            parallel_tool_calls: false,
            add_generation_prompt: true,
            continue_answer: ContinueAnswer::No,
            thinking: true,
            extract_reasoning: true,
            response_schema: None,
            template_args: Map::new(),
        }
    }

    /// Sets the tools that the model may call.
    pub fn tools(mut self, tools: impl Into<Vec<Tool>>) -> Self {
        self.tools = tools.into();
        self
    }

    /// Sets whether the model may, must or must not call tools.
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.tool_choice = choice;
        self
    }

    /// Sets whether the model may call several tools at once.
    pub fn parallel_tool_calls(mut self, parallel: bool) -> Self {
        self.parallel_tool_calls = parallel;
        self
    }

    /// Sets whether the prompt ends with the beginning of an answer.
    pub fn add_generation_prompt(mut self, add: bool) -> Self {
        self.add_generation_prompt = add;
        self
    }

    /// Continues the last message, an answer: `true`, or [`ContinueAnswer::Content`] or [`ContinueAnswer::Reasoning`] for the
    /// part to continue. The prompt then ends in that part, written as the template writes it in a finished answer.
    ///
    /// The answer that is parsed from the new text begins with the continued text: see
    /// [`ChatPrompt::parser`](super::ChatPrompt::parser).
    pub fn continue_answer(mut self, part: impl Into<ContinueAnswer>) -> Self {
        self.continue_answer = part.into();
        self
    }

    /// Sets whether the model reasons before it answers, if it can.
    pub fn thinking(mut self, thinking: bool) -> Self {
        self.thinking = thinking;
        self
    }

    /// Sets whether reasoning is separated from the text of the answer.
    pub fn extract_reasoning(mut self, extract: bool) -> Self {
        self.extract_reasoning = extract;
        self
    }

    /// Sets the JSON schema of the answer.
    pub fn response_schema(mut self, schema: Value) -> Self {
        self.response_schema = Some(schema);
        self
    }

    /// Sets a variable of the template, such as `reasoning_effort` or `date_string`. It is trusted like the template itself.
    /// Variables that the request has fields for (`messages`, `tools`, `add_generation_prompt`, `enable_thinking`) and the
    /// tokens `bos_token` and `eos_token` are refused.
    pub fn template_arg(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.template_args.insert(name.into(), value.into());
        self
    }
}

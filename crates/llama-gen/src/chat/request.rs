//! What is asked of a template.

mod json;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::continue_answer::ContinueAnswer;
use super::message::Message;
use super::tool::{Tool, ToolChoice};

/// A conversation, and how it is to be rendered.
///
/// Messages and tools are not trusted: what they say is text, whatever special tokens it names. The
/// [arguments](Self::template_arg) of the template are.
///
/// In JSON it has the names of the fields, or those that chat APIs use: `continue_final_message`, `enable_thinking`,
/// `json_schema`, `template_kwargs`, `chat_template_kwargs`. Everything but `messages` may be left out or null; names that
/// are not known are refused, unless it is flattened into a larger request.
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
    /// Whether it calls them.
    pub tool_choice: ToolChoice,
    /// Whether it may call several at once. Default: false.
    pub parallel_tool_calls: bool,
    /// Whether to end with the beginning of an answer. Default: true.
    pub add_generation_prompt: bool,
    /// Whether the last message, an answer, is continued. Default: no.
    #[serde(rename = "continue_final_message")]
    pub continue_answer: ContinueAnswer,
    /// Whether the model thinks before it answers, if it can. Default: true.
    #[serde(rename = "enable_thinking")]
    pub thinking: bool,
    /// Whether what the model thinks is told apart from its answer. Default: true.
    pub extract_reasoning: bool,
    /// The JSON schema that answers are to fit: it is part of [`ChatPrompt::grammar`](super::ChatPrompt::grammar).
    #[serde(rename = "json_schema", skip_serializing_if = "Option::is_none")]
    pub response_schema: Option<Value>,
    /// Variables that the template knows.
    #[serde(rename = "template_kwargs", skip_serializing_if = "Map::is_empty")]
    pub template_args: Map<String, Value>,
}

impl ChatRequest {
    /// A conversation, to be answered.
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

    /// The tools that the model may call.
    pub fn tools(mut self, tools: impl Into<Vec<Tool>>) -> Self {
        self.tools = tools.into();
        self
    }

    /// Whether the model calls tools.
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.tool_choice = choice;
        self
    }

    /// Whether it may call several tools at once.
    pub fn parallel_tool_calls(mut self, parallel: bool) -> Self {
        self.parallel_tool_calls = parallel;
        self
    }

    /// Whether to end with the beginning of an answer.
    pub fn add_generation_prompt(mut self, add: bool) -> Self {
        self.add_generation_prompt = add;
        self
    }

    /// Has the last message, an answer, continued: `true`, or [`ContinueAnswer::Content`] or
    /// [`ContinueAnswer::Reasoning`] for the part that goes on. The prompt then ends in that part, written as the template
    /// writes it in a finished answer.
    ///
    /// The answer that is read from the new text begins with what was continued: see
    /// [`ChatPrompt::parser`](super::ChatPrompt::parser).
    pub fn continue_answer(mut self, go_on: impl Into<ContinueAnswer>) -> Self {
        self.continue_answer = go_on.into();
        self
    }

    /// Whether the model thinks before it answers, if it can.
    pub fn thinking(mut self, thinking: bool) -> Self {
        self.thinking = thinking;
        self
    }

    /// Whether what the model thinks is told apart from its answer.
    pub fn extract_reasoning(mut self, extract: bool) -> Self {
        self.extract_reasoning = extract;
        self
    }

    /// The JSON schema that answers are to fit.
    pub fn response_schema(mut self, schema: Value) -> Self {
        self.response_schema = Some(schema);
        self
    }

    /// Sets a variable that the template knows, such as `reasoning_effort` or `date_string`. It is trusted like the
    /// template itself. Those that a request has fields for (`messages`, `tools`, `add_generation_prompt`,
    /// `enable_thinking`) and the tokens `bos_token` and `eos_token` are refused.
    pub fn template_arg(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.template_args.insert(name.into(), value.into());
        self
    }
}

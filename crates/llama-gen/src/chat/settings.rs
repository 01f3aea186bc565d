//! The settings of a conversation.

use llama_core::Model;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::message::Message;
use super::request::ChatRequest;
use super::template::ChatTemplate;
use super::tool::{Tool, ToolChoice};
use crate::error::Result;
use crate::params::GenerationParams;

/// The settings that hold for all turns, and are saved with them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) system: Option<String>,
    /// The source of a template that is not the model's own.
    pub(super) template: Option<String>,
    pub(super) tools: Vec<Tool>,
    pub(super) tool_choice: ToolChoice,
    pub(super) thinking: bool,
    pub(super) template_args: Map<String, Value>,
    pub(super) params: GenerationParams,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            system: None,
            template: None,
            tools: Vec::new(),
            tool_choice: ToolChoice::default(),
            thinking: true,
            template_args: Map::new(),
            params: GenerationParams::default(),
        }
    }
}

impl Settings {
    pub(super) fn make_template(&self, model: &Model) -> Result<ChatTemplate> {
        match &self.template {
            Some(text) => ChatTemplate::from_jinja(model, text),
            None => ChatTemplate::from_model(model),
        }
    }

    /// Creates the request to render these messages.
    pub(super) fn request<'m>(&self, messages: impl Iterator<Item = &'m Message>) -> ChatRequest {
        let system = self.system.as_deref().map(Message::system);
        let messages: Vec<_> = system.into_iter().chain(messages.cloned()).collect();
        let mut request = ChatRequest::new(messages)
            .tools(self.tools.clone())
            .tool_choice(self.tool_choice)
            .thinking(self.thinking);
        request.template_args.clone_from(&self.template_args);
        request
    }
}

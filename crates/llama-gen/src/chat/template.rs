//! Chat templates.

use std::sync::Arc;

use llama_core::Model;
use llama_core::chat::{ChatTemplates, TemplateLimits};
use once_cell::sync::OnceCell;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prompt::ChatPrompt;
use super::request::ChatRequest;
use super::special::Markers;
use super::template_builder::ChatTemplateBuilder;
use crate::cancel::CancelToken;
use crate::error::{ErrorKind, Result};

/// A chat template: renders conversations to prompts, and knows the format of the answers. Cheap to clone, and usable on
/// several threads at once.
///
/// Creating one takes a few milliseconds, in which trial renderings detect its [capabilities](ChatTemplate::caps). A
/// template is a program that comes with a model: it runs within [`TemplateLimits`], and [`ChatTemplate::builder`] sets
/// other limits.
///
/// ```
/// use llama_gen::Llama;
/// use llama_gen::chat::{ChatRequest, ChatTemplate, Message};
///
/// # fn main() -> Result<(), llama_gen::Error> {
/// # let llm = Llama::load(test_models::smollm2())?;
/// let template = ChatTemplate::from_model(llm.model())?;
/// let prompt = template.render(&ChatRequest::new([Message::user("Name three rivers.")]))?;
/// assert!(prompt.text().ends_with("<|im_start|>user\nName three rivers.<|im_end|>\n<|im_start|>assistant\n"));
/// let completion = llm.generate(prompt.tokens()?).max_tokens(16).complete()?;
/// let answer = prompt.parse(completion.text())?;
/// # let _ = answer.content;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    inner: Arc<Inner>,
}

/// The data that all clones share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) templates: ChatTemplates,
    description: Description,
    model: Option<Model>,
    special: OnceCell<Markers>,
    pub(super) limits: TemplateLimits,
}

/// The shim's description of a template.
#[derive(Debug, Deserialize)]
struct Description {
    source: String,
    is_explicit: bool,
    caps: TemplateCaps,
}

/// Capabilities of a template, detected by trial renderings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TemplateCaps {
    /// Whether the template supports a system role. Without one, the system message is put in front of the first user
    /// message.
    #[serde(rename = "supports_system_role")]
    pub system_role: bool,
    /// Whether the template lists the tools for the model.
    #[serde(rename = "supports_tools")]
    pub tools: bool,
    /// Whether the template renders messages with tool calls.
    #[serde(rename = "supports_tool_calls")]
    pub tool_calls: bool,
    /// Whether the template renders messages with several tool calls.
    #[serde(rename = "supports_parallel_tool_calls")]
    pub parallel_tool_calls: bool,
    /// Whether the template keeps the reasoning of earlier turns.
    #[serde(rename = "supports_preserve_reasoning")]
    pub keeps_reasoning: bool,
    /// Values of `reasoning_effort` that change the prompt, the lowest effort first.
    #[serde(default)]
    pub reasoning_effort_levels: Vec<String>,
}

impl ChatTemplate {
    /// Creates the template that a model comes with. If the model has a separate template for tools, requests with tools
    /// use that one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoChatTemplate`] for a model without one, [`ErrorKind::Core`] for one that cannot be parsed or that
    /// reaches a limit.
    pub fn from_model(model: &Model) -> Result<Self> {
        Self::builder().from_model(model)
    }

    /// Creates one of the model's named templates: see
    /// [`Model::chat_template_names`](llama_core::Model::chat_template_names).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Chat`] for an unknown name, [`ErrorKind::Core`] as [`ChatTemplate::from_model`].
    pub fn from_model_named(model: &Model, name: &str) -> Result<Self> {
        Self::builder().from_model_named(model, name)
    }

    /// Creates a template for a model from Jinja source, as in Hugging Face's `chat_template`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`] for source that cannot be parsed, with the position.
    pub fn from_jinja(model: &Model, source: &str) -> Result<Self> {
        Self::builder().from_jinja(model, source)
    }

    /// Creates a template without a model, from Jinja source and the texts of the begin and end tokens. It renders text,
    /// but no tokens.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::from_jinja`].
    pub fn from_jinja_without_model(source: &str, bos_token: &str, eos_token: &str) -> Result<Self> {
        Self::builder().from_jinja_without_model(source, bos_token, eos_token)
    }

    /// Returns a builder that takes limits and a cancel token before the template is created.
    pub fn builder() -> ChatTemplateBuilder {
        ChatTemplateBuilder::default()
    }

    pub(super) fn make(
        model: Option<&Model>,
        options: &Value,
        limits: TemplateLimits,
        cancel: Option<&CancelToken>,
    ) -> Result<Self> {
        let cancelled = || cancel.is_some_and(CancelToken::is_cancelled);
        let templates = ChatTemplates::new_within(model, options.to_string(), &limits, cancelled)?;
        let description = super::from_shim(&templates.describe()?)?;
        let model = model.cloned();
        let inner = Inner { templates, description, model, special: OnceCell::new(), limits };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns whether the model has a template. llama.cpp falls back to ChatML otherwise.
    pub(super) fn is_explicit(&self) -> bool {
        self.inner.description.is_explicit
    }

    /// Returns the Jinja source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.description.source
    }

    /// Returns the detected capabilities.
    #[must_use]
    pub fn caps(&self) -> &TemplateCaps {
        &self.inner.description.caps
    }

    /// Renders a conversation, within the template's [`TemplateLimits`].
    ///
    /// [`ChatPrompt::left_out`] lists the parts of the conversation that the template does not show.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Core`] with [`Chat`](llama_core::ErrorKind::Chat) for a conversation that the template refuses, such
    ///   as two user messages in a row, and with [`TemplateLimit`](llama_core::ErrorKind::TemplateLimit).
    /// - [`ErrorKind::LostByTemplate`] when the template drops the content of a message, or every tool although the request
    ///   requires a call.
    pub fn render(&self, request: &ChatRequest) -> Result<ChatPrompt> {
        self.render_until(request, None)
    }

    /// Renders a conversation as [`render`](Self::render) does, until `token` is cancelled.
    ///
    /// # Errors
    ///
    /// As [`render`](Self::render), and [`ErrorKind::Core`] with
    /// [`TemplateCancelled`](llama_core::ErrorKind::TemplateCancelled).
    pub fn render_cancellable(&self, request: &ChatRequest, token: &CancelToken) -> Result<ChatPrompt> {
        self.render_until(request, Some(token))
    }

    pub(super) fn render_until(
        &self,
        request: &ChatRequest,
        cancel: Option<&CancelToken>,
    ) -> Result<ChatPrompt> {
        let request = serde_json::to_value(request).map_err(|error| ErrorKind::Chat {
            reason: format!("the conversation cannot be serialized to JSON: {error}"),
        })?;
        ChatPrompt::new(Arc::clone(&self.inner), request, cancel)
    }
}

impl Inner {
    pub(super) fn model(&self) -> Result<&Model> {
        self.model.as_ref().ok_or_else(|| {
            let reason =
                "its template has no model: create it with ChatTemplate::from_model or from_jinja to get tokens";
            ErrorKind::InvalidPrompt { reason: reason.to_owned() }.into()
        })
    }

    /// Returns the special tokens of the model and the markers of the template.
    pub(super) fn special(&self) -> Result<&Markers> {
        let model = self.model()?;
        if let Some(special) = self.special.get() {
            return Ok(special);
        }
        // Created outside of the cell: a log subscriber that runs meanwhile may call this function again.
        let special = Markers::of(model.vocab(), &self.description.source)?;
        Ok(self.special.get_or_init(|| special))
    }
}

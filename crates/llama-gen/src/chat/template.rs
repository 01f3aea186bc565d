//! Chat templates.

use std::sync::Arc;

use llama_core::{ChatTemplates, Model, TemplateLimits};
use once_cell::sync::OnceCell;
use serde::Deserialize;
use serde_json::Value;

use super::prompt::ChatPrompt;
use super::request::ChatRequest;
use super::special::Markers;
use super::template_builder::ChatTemplateBuilder;
use crate::cancel::CancelToken;
use crate::error::{ErrorKind, Result};

/// A chat template: what makes a prompt of a conversation and knows how the answer to it is to be read. Cheap to clone;
/// for several threads.
///
/// Making one takes some milliseconds, in which it is found out what it can do. A template is a program that comes with a
/// model: it is run within [`TemplateLimits`], and [`ChatTemplate::builder`] sets others.
///
/// ```
/// use llama_gen::Llama;
/// use llama_gen::chat::{ChatRequest, ChatTemplate, Message};
///
/// # fn main() -> Result<(), llama_gen::Error> {
/// # let llm = Llama::load(test_models::smollm2())?;
/// let template = ChatTemplate::of(llm.model())?;
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

/// What all clones share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) templates: ChatTemplates,
    description: Description,
    model: Option<Model>,
    special: OnceCell<Markers>,
    pub(super) limits: TemplateLimits,
}

/// What the shim says of a template.
#[derive(Debug, Deserialize)]
struct Description {
    source: String,
    is_explicit: bool,
    caps: TemplateCaps,
}

/// What a template can do, as far as trials have shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct TemplateCaps {
    /// It knows a role for the system. Where it does not, what the system says goes in front of the first question.
    #[serde(rename = "supports_system_role")]
    pub system_role: bool,
    /// It shows the model what tools there are.
    #[serde(rename = "supports_tools")]
    pub tools: bool,
    /// It knows messages that call tools.
    #[serde(rename = "supports_tool_calls")]
    pub tool_calls: bool,
    /// It knows messages with several calls.
    #[serde(rename = "supports_parallel_tool_calls")]
    pub parallel_tool_calls: bool,
    /// It keeps thoughts of earlier turns.
    #[serde(rename = "supports_preserve_reasoning")]
    pub keeps_reasoning: bool,
    /// The values of `reasoning_effort` that make a difference, the least effort first.
    #[serde(default)]
    pub reasoning_effort_levels: Vec<String>,
}

impl ChatTemplate {
    /// The template that a model comes with. When it has several, the one for tools is taken when there are tools.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoChatTemplate`] for a model without one, [`ErrorKind::Core`] for one that cannot be read or that
    /// reaches a limit.
    pub fn of(model: &Model) -> Result<Self> {
        Self::builder().of(model)
    }

    /// One of the templates that a model has under a name: see
    /// [`Model::chat_template_names`](llama_core::Model::chat_template_names).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Chat`] for a name that is none of these. As [`ChatTemplate::of`].
    pub fn named(model: &Model, name: &str) -> Result<Self> {
        Self::builder().named(model, name)
    }

    /// A template of one's own for a model: Jinja, as Hugging Face's `chat_template`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`] for a text that is no template, with the place.
    pub fn with_text(model: &Model, text: &str) -> Result<Self> {
        Self::builder().with_text(model, text)
    }

    /// A template without a model, with the texts of its tokens for the beginning and the end: it makes texts, and no
    /// tokens.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::with_text`].
    pub fn from_text(text: &str, bos_token: &str, eos_token: &str) -> Result<Self> {
        Self::builder().from_text(text, bos_token, eos_token)
    }

    /// Sets limits, or a token that cancels, before a template is made.
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

    /// Whether the model had it, in place of which there is a format that many know otherwise.
    pub(super) fn is_explicit(&self) -> bool {
        self.inner.description.is_explicit
    }

    /// The template's own text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.description.source
    }

    /// What it can do.
    #[must_use]
    pub fn caps(&self) -> &TemplateCaps {
        &self.inner.description.caps
    }

    /// Renders a conversation, within the template's [`TemplateLimits`].
    ///
    /// What the template does not show of it is in [`ChatPrompt::left_out`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`] with [`Chat`](llama_core::ErrorKind::Chat) for a conversation that the template refuses, such as
    /// one in which the same side speaks twice, and with [`TemplateLimit`](llama_core::ErrorKind::TemplateLimit);
    /// [`ErrorKind::LostByTemplate`] when the template does not show what somebody has said, or no tool where one must be
    /// called.
    pub fn render(&self, request: &ChatRequest) -> Result<ChatPrompt> {
        self.render_until(request, None)
    }

    /// Renders a conversation as [`render`](Self::render) does, until `token` cancels.
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
            reason: format!("the conversation cannot be written as JSON: {error}"),
        })?;
        ChatPrompt::new(Arc::clone(&self.inner), request, cancel)
    }
}

impl Inner {
    pub(super) fn model(&self) -> Result<&Model> {
        self.model.as_ref().ok_or_else(|| {
            let reason =
                "its template was made without a model: use ChatTemplate::of or with_text for tokens";
            ErrorKind::InvalidPrompt { reason: reason.to_owned() }.into()
        })
    }

    /// The special tokens of the model, and the markers of the template.
    pub(super) fn special(&self) -> Result<&Markers> {
        let model = self.model()?;
        if let Some(special) = self.special.get() {
            return Ok(special);
        }
        // Made outside of the cell: what is logged meanwhile may come here again.
        let special = Markers::of(model.vocab(), &self.description.source)?;
        Ok(self.special.get_or_init(|| special))
    }
}

//! Chat templates.

use std::sync::Arc;

use llama_core::{ChatTemplates, Model};
use once_cell::sync::OnceCell;
use serde::Deserialize;
use serde_json::{Value, json};

use super::prompt::ChatPrompt;
use super::request::ChatRequest;
use super::special::SpecialTexts;
use crate::error::{ErrorKind, Result};

/// A chat template: what makes a prompt of a conversation and knows how the answer to it is to be read. Cheap to clone;
/// for several threads.
///
/// Making one takes some milliseconds, in which it is found out what it can do. A template is a program: one that loops
/// for ever does so here too.
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
    special: OnceCell<SpecialTexts>,
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
    /// [`ErrorKind::NoChatTemplate`] for a model without one, [`ErrorKind::Core`] for one that cannot be read.
    pub fn of(model: &Model) -> Result<Self> {
        let template = Self::new(Some(model), &json!({}))?;
        if template.inner.description.is_explicit {
            Ok(template)
        } else {
            Err(ErrorKind::NoChatTemplate.into())
        }
    }

    /// One of the templates that a model has under a name: see
    /// [`Model::chat_template_names`](llama_core::Model::chat_template_names).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Chat`] for a name that is none of these. As [`ChatTemplate::of`].
    pub fn named(model: &Model, name: &str) -> Result<Self> {
        let Some(text) = model.chat_template(Some(name))? else {
            let names = model.chat_template_names()?;
            let reason = format!("the model has no chat template {name:?}: its names are {names:?}");
            return Err(ErrorKind::Chat { reason }.into());
        };
        Self::with_text(model, &text)
    }

    /// A template of one's own for a model: Jinja, as Hugging Face's `chat_template`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`] for a text that is no template, with the place.
    pub fn with_text(model: &Model, text: &str) -> Result<Self> {
        Self::new(Some(model), &json!({ "template": text }))
    }

    /// A template without a model, with the texts of its tokens for the beginning and the end: it makes texts, and no
    /// tokens.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::with_text`].
    pub fn from_text(text: &str, bos_token: &str, eos_token: &str) -> Result<Self> {
        Self::new(None, &json!({ "template": text, "bos_token": bos_token, "eos_token": eos_token }))
    }

    fn new(model: Option<&Model>, options: &Value) -> Result<Self> {
        let templates = ChatTemplates::new(model, options.to_string())?;
        let description = super::from_shim(&templates.describe()?)?;
        let inner = Inner { templates, description, model: model.cloned(), special: OnceCell::new() };
        Ok(Self { inner: Arc::new(inner) })
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

    /// Renders a conversation.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`] with [`Chat`](llama_core::ErrorKind::Chat) for a conversation that the template refuses, such as
    /// one in which the same side speaks twice.
    pub fn render(&self, request: &ChatRequest) -> Result<ChatPrompt> {
        let request = serde_json::to_value(request).map_err(|error| ErrorKind::Chat {
            reason: format!("the conversation cannot be written as JSON: {error}"),
        })?;
        ChatPrompt::new(Arc::clone(&self.inner), request)
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

    /// The special tokens of the model.
    pub(super) fn special(&self) -> Result<&SpecialTexts> {
        let model = self.model()?;
        if let Some(special) = self.special.get() {
            return Ok(special);
        }
        // Made outside of the cell: what is logged meanwhile may come here again.
        let special = SpecialTexts::of(model.vocab())?;
        Ok(self.special.get_or_init(|| special))
    }
}

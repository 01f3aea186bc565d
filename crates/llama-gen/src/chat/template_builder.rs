//! How a template is made.

use llama_core::{Model, TemplateLimits};
use serde_json::{Value, json};

use super::template::ChatTemplate;
use crate::cancel::CancelToken;
use crate::error::{ErrorKind, Result};

/// Limits for a template, and a token that cancels its making. Made by [`ChatTemplate::builder`].
///
/// ```
/// use llama_gen::chat::{ChatTemplate, TemplateLimits};
///
/// let limits = TemplateLimits::default().steps(100_000);
/// let looping = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
/// let error = ChatTemplate::builder().limits(limits).from_text(looping, "", "").unwrap_err();
/// assert!(error.to_string().contains("takes more than 100000 steps"));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is made until the template's source is named"]
pub struct ChatTemplateBuilder {
    limits: TemplateLimits,
    cancel: Option<CancelToken>,
}

impl ChatTemplateBuilder {
    /// Sets the limits of making the template and of each conversation that it renders.
    pub fn limits(mut self, limits: TemplateLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets `token` cancel the making of the template. Conversations have
    /// [`ChatTemplate::render_cancellable`].
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Makes the template as [`ChatTemplate::of`] does.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::of`].
    pub fn of(self, model: &Model) -> Result<ChatTemplate> {
        let template = self.make(Some(model), &json!({}))?;
        if template.is_explicit() { Ok(template) } else { Err(ErrorKind::NoChatTemplate.into()) }
    }

    /// Makes the template as [`ChatTemplate::named`] does.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::named`].
    pub fn named(self, model: &Model, name: &str) -> Result<ChatTemplate> {
        let Some(text) = model.chat_template(Some(name))? else {
            let names = model.chat_template_names()?;
            let reason = format!("the model has no chat template {name:?}: its names are {names:?}");
            return Err(ErrorKind::Chat { reason }.into());
        };
        self.with_text(model, &text)
    }

    /// Makes the template as [`ChatTemplate::with_text`] does.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::with_text`].
    pub fn with_text(self, model: &Model, text: &str) -> Result<ChatTemplate> {
        self.make(Some(model), &json!({ "template": text }))
    }

    /// Makes the template as [`ChatTemplate::from_text`] does.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::from_text`].
    pub fn from_text(self, text: &str, bos_token: &str, eos_token: &str) -> Result<ChatTemplate> {
        self.make(None, &json!({ "template": text, "bos_token": bos_token, "eos_token": eos_token }))
    }

    fn make(self, model: Option<&Model>, options: &Value) -> Result<ChatTemplate> {
        ChatTemplate::make(model, options, self.limits, self.cancel.as_ref())
    }
}

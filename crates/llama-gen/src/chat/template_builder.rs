//! Creation of a template with limits and a cancel token.

use llama_core::Model;
use llama_core::chat::TemplateLimits;
use serde_json::{Value, json};

use super::template::ChatTemplate;
use crate::cancel::CancelToken;
use crate::error::{ErrorKind, Result};

/// Limits for a template, and a token that cancels its creation. Created by [`ChatTemplate::builder`].
///
/// ```
/// use llama_gen::chat::{ChatTemplate, TemplateLimits};
///
/// let limits = TemplateLimits::default().steps(100_000);
/// let looping = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
/// let error = ChatTemplate::builder().limits(limits).from_jinja_without_model(looping, "", "").unwrap_err();
/// assert!(error.to_string().contains("takes more than 100000 steps"));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "no template is created until one of the `from_*` methods is called"]
pub struct ChatTemplateBuilder {
    limits: TemplateLimits,
    cancel: Option<CancelToken>,
}

impl ChatTemplateBuilder {
    /// Sets the limits of creating the template and of each rendering.
    pub fn limits(mut self, limits: TemplateLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets `token` cancel the creation of the template. For renderings see [`ChatTemplate::render_cancellable`].
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Creates the template as [`ChatTemplate::from_model`] does.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::from_model`].
    pub fn from_model(self, model: &Model) -> Result<ChatTemplate> {
        let template = self.make(Some(model), &json!({}))?;
        if template.is_explicit() { Ok(template) } else { Err(ErrorKind::NoChatTemplate.into()) }
    }

    /// Creates the template as [`ChatTemplate::from_model_named`] does.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::from_model_named`].
    pub fn from_model_named(self, model: &Model, name: &str) -> Result<ChatTemplate> {
        let Some(source) = model.chat_template(Some(name))? else {
            let names = model.chat_template_names()?;
            let reason =
                format!("the name of the template is {name:?}, but must be one of the model's: {names:?}");
            return Err(ErrorKind::Chat { reason }.into());
        };
        self.from_jinja(model, &source)
    }

    /// Creates the template as [`ChatTemplate::from_jinja`] does.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::from_jinja`].
    pub fn from_jinja(self, model: &Model, source: &str) -> Result<ChatTemplate> {
        self.make(Some(model), &json!({ "template": source }))
    }

    /// Creates the template as [`ChatTemplate::from_jinja_without_model`] does.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::from_jinja_without_model`].
    pub fn from_jinja_without_model(
        self,
        source: &str,
        bos_token: &str,
        eos_token: &str,
    ) -> Result<ChatTemplate> {
        self.make(None, &json!({ "template": source, "bos_token": bos_token, "eos_token": eos_token }))
    }

    fn make(self, model: Option<&Model>, options: &Value) -> Result<ChatTemplate> {
        ChatTemplate::make(model, options, self.limits, self.cancel.as_ref())
    }
}

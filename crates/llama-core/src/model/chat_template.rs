//! The chat templates that a model comes with.

use super::Model;
use crate::error::Result;
use crate::ffi::guard::guarded;
use crate::ffi::string::{from_c, to_c};

/// What the keys of named templates begin with.
const PREFIX: &str = "tokenizer.chat_template.";

impl Model {
    /// The chat template of that name, or the default one: a Jinja text. Corresponds to
    /// `llama_model_chat_template`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InteriorNul`](crate::ErrorKind::InteriorNul) for a name with a NUL byte.
    pub fn chat_template(&self, name: Option<&str>) -> Result<Option<String>> {
        let name = name.map(|name| to_c("template name", name)).transpose()?;
        let name = name.as_ref().map_or(core::ptr::null(), |name| name.as_ptr());
        // SAFETY: the name is NULL or NUL-terminated, and the result is NULL or a string of the model.
        unsafe { Ok(from_c(guarded!(llama_model_chat_template(self.raw(), name))?)) }
    }

    /// The names of the chat templates beside the default one, sorted: `tool_use` and `rag` are common.
    ///
    /// # Errors
    ///
    /// None is expected; an exception inside llama.cpp is reported.
    pub fn chat_template_names(&self) -> Result<Vec<String>> {
        let metadata = self.metadata()?;
        Ok(metadata.iter().filter_map(|(key, _)| Some(key.strip_prefix(PREFIX)?.to_owned())).collect())
    }
}

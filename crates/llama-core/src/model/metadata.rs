//! A model's GGUF metadata as text, including its chat templates.

use super::{KvValue, Model};
use crate::error::Result;
use crate::ffi::guard::guarded;
use crate::ffi::string::{from_c, pairs, read_buffer, to_c};

/// The prefix of the keys of named chat templates.
const TEMPLATE_PREFIX: &str = "tokenizer.chat_template.";

impl Model {
    /// Returns whether the model was loaded with other tokenizer values than its file has.
    pub(crate) fn overrides_tokenizer(&self) -> bool {
        self.params().kv_overrides.iter().any(|entry| entry.key.starts_with("tokenizer."))
    }

    /// Returns the metadata value of a tokenizer key, with the overrides of the loading.
    pub(crate) fn tokenizer_value(&self, key: &str) -> Result<Option<String>> {
        let key = format!("tokenizer.ggml.{key}");
        let told = self.params().kv_overrides.iter().find(|entry| entry.key == key);
        Ok(match told.map(|entry| &entry.value) {
            Some(KvValue::Int(value)) => Some(value.to_string()),
            Some(KvValue::Float(value)) => Some(value.to_string()),
            Some(KvValue::Bool(value)) => Some(value.to_string()),
            Some(KvValue::Str(value)) => Some(value.clone()),
            None => self.metadata_value(&key)?,
        })
    }

    /// Returns the metadata value of a key as text, or `None` if there is no such key or its value is an array.
    /// Corresponds to `llama_model_meta_val_str`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InteriorNul`](crate::ErrorKind::InteriorNul) for a key with a NUL byte.
    pub fn metadata_value(&self, key: &str) -> Result<Option<String>> {
        let key = to_c("metadata key", key)?;
        read_buffer(|buffer, size| {
            // SAFETY: the model is valid, the key is NUL-terminated, and the buffer has `size` bytes.
            unsafe { guarded!(llama_model_meta_val_str(self.raw(), key.as_ptr(), buffer, size)) }
        })
    }

    /// Returns all scalar metadata: keys and values as text, sorted by key. Corresponds to
    /// `llama_model_meta_count`, `llama_model_meta_key_by_index` and `llama_model_meta_val_str_by_index`.
    ///
    /// # Errors
    ///
    /// None is expected. An exception inside llama.cpp is reported.
    pub fn metadata(&self) -> Result<Vec<(String, String)>> {
        let raw = self.raw();
        // SAFETY: the model is valid, every index is below the count, and each buffer has `size` bytes.
        unsafe {
            pairs(
                guarded!(llama_model_meta_count(raw))?,
                |index, buffer, size| guarded!(llama_model_meta_key_by_index(raw, index, buffer, size)),
                |index, buffer, size| guarded!(llama_model_meta_val_str_by_index(raw, index, buffer, size)),
            )
        }
    }

    /// Returns the chat template with that name, or the default one, as Jinja text. Corresponds to
    /// `llama_model_chat_template`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InteriorNul`](crate::ErrorKind::InteriorNul) for a name with a NUL byte.
    pub fn chat_template(&self, name: Option<&str>) -> Result<Option<String>> {
        let name = name.map(|name| to_c("template name", name)).transpose()?;
        let name = name.as_ref().map_or(core::ptr::null(), |name| name.as_ptr());
        // SAFETY: the name is NULL or NUL-terminated, and the result is NULL or a string that the model owns.
        unsafe { Ok(from_c(guarded!(llama_model_chat_template(self.raw(), name))?)) }
    }

    /// Returns the sorted names of the chat templates beside the default one. `tool_use` and `rag` are common.
    ///
    /// # Errors
    ///
    /// None is expected. An exception inside llama.cpp is reported.
    pub fn chat_template_names(&self) -> Result<Vec<String>> {
        let metadata = self.metadata()?;
        Ok(metadata
            .iter()
            .filter_map(|(key, _)| Some(key.strip_prefix(TEMPLATE_PREFIX)?.to_owned()))
            .collect())
    }
}

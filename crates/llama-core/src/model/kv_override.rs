//! Metadata values that replace the file's values.

use core::ffi::c_char;

use llama_gguf::{Metadata, Value};

use super::params::invalid;
use crate::error::Result;
use crate::ffi::string::to_c;

/// The largest size of a key and of a text in bytes. C has 128 for each, the last one for the NUL.
const MAX_BYTES: usize = 127;

/// The value that an override gives to a key. Corresponds to `llama_model_kv_override_type`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum KvValue {
    /// For keys that hold an integer of any width.
    Int(i64),
    /// For keys that hold a float.
    Float(f64),
    /// For keys that hold a boolean.
    Bool(bool),
    /// For keys that hold a text. At most 127 bytes.
    Str(String),
}

/// A key and its value. Corresponds to `llama_model_kv_override`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KvOverride {
    pub(super) key: String,
    pub(super) value: KvValue,
}

macro_rules! from {
    ($($from:ty => $variant:ident;)*) => {
        $(
            impl From<$from> for KvValue {
                fn from(value: $from) -> Self {
                    Self::$variant(value.into())
                }
            }
        )*
    };
}

from! {
    i64 => Int;
    i32 => Int;
    u32 => Int;
    f64 => Float;
    f32 => Float;
    bool => Bool;
    String => Str;
    &str => Str;
}

impl KvOverride {
    pub(super) fn to_raw(&self) -> Result<llama_sys::llama_model_kv_override> {
        use llama_sys::llama_model_kv_override__bindgen_ty_1 as Union;
        use llama_sys::llama_model_kv_override_type as Tag;
        self.check_key()?;
        let (tag, value) = match &self.value {
            KvValue::Int(value) => (Tag::LLAMA_KV_OVERRIDE_TYPE_INT, Union { val_i64: *value }),
            KvValue::Float(value) => (Tag::LLAMA_KV_OVERRIDE_TYPE_FLOAT, Union { val_f64: *value }),
            KvValue::Bool(value) => (Tag::LLAMA_KV_OVERRIDE_TYPE_BOOL, Union { val_bool: *value }),
            KvValue::Str(text) => (
                Tag::LLAMA_KV_OVERRIDE_TYPE_STR,
                Union { val_str: characters("text of a kv_override", text)? },
            ),
        };
        let key = characters("key of a kv_override", &self.key)?;
        Ok(llama_sys::llama_model_kv_override { tag, key, __bindgen_anon_1: value })
    }

    /// Returns the entry after the last one, whose key is empty.
    pub(super) fn end() -> llama_sys::llama_model_kv_override {
        llama_sys::llama_model_kv_override {
            tag: llama_sys::llama_model_kv_override_type::LLAMA_KV_OVERRIDE_TYPE_INT,
            key: [0; MAX_BYTES + 1],
            __bindgen_anon_1: llama_sys::llama_model_kv_override__bindgen_ty_1 {
                val_str: [0; MAX_BYTES + 1],
            },
        }
    }

    fn check_key(&self) -> Result<()> {
        if self.key.is_empty() {
            return Err(invalid(
                "kv_override",
                "\"\"",
                "a key: an empty one ends the list for llama.cpp".to_owned(),
            ));
        }
        // llama.cpp would read other files than the checked ones.
        if self.key.starts_with("split.") {
            let reason =
                "another key, since the parts of a split model follow from its files: use Model::load_splits"
                    .to_owned();
            return Err(invalid("kv_override", &self.key, reason));
        }
        Ok(())
    }

    /// Refuses a value of another type than the file's, which llama.cpp would ignore with a warning.
    pub(super) fn check_type(&self, metadata: &Metadata) -> Result<()> {
        let Some(value) = metadata.value(&self.key) else {
            return Ok(());
        };
        let expected = match value {
            Value::Bool(_) => "a boolean",
            Value::F32(_) | Value::F64(_) => "a float",
            Value::String(_) => "a text",
            Value::Array(_) => "an array, which cannot be overridden",
            _ => "an integer",
        };
        let given = match self.value {
            KvValue::Bool(_) => "a boolean",
            KvValue::Float(_) => "a float",
            KvValue::Str(_) => "a text",
            KvValue::Int(_) => "an integer",
        };
        if expected == given {
            return Ok(());
        }
        let reason = format!("of the type of the file's value, which is {expected}: the override is {given}");
        Err(invalid("kv_override", &self.key, reason))
    }
}

/// Converts a text to a C string in an array. `what` names it in errors.
fn characters(what: &'static str, text: &str) -> Result<[c_char; MAX_BYTES + 1]> {
    let text = to_c(what, text)?;
    let bytes = text.as_bytes();
    if bytes.len() > MAX_BYTES {
        let reason = format!("at most {MAX_BYTES} bytes long (it has {})", bytes.len());
        return Err(invalid(what, &text.to_string_lossy(), reason));
    }
    let mut characters = [0; MAX_BYTES + 1];
    for (character, byte) in characters.iter_mut().zip(bytes) {
        *character = c_char::from_ne_bytes([*byte]);
    }
    Ok(characters)
}

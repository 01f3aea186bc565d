//! Metadata as llama.cpp reads it: the caller's overrides replace the file's values.

use llama_gguf::{Array, Metadata, Text, Value};

use super::kv_override::{KvOverride, KvValue};
use super::params::ModelParams;

/// A file's metadata and the overrides of the parameters.
#[derive(Clone, Copy)]
pub(super) struct Effective<'m> {
    metadata: &'m Metadata,
    overrides: &'m [KvOverride],
}

impl<'m> Effective<'m> {
    pub(super) fn new(metadata: &'m Metadata, params: &'m ModelParams) -> Self {
        Self { metadata, overrides: &params.kv_overrides }
    }

    /// Returns a number of 32 bits. C truncates an override of 64 bits (llama-model-loader.cpp, `try_override`).
    pub(super) fn number(&self, key: &str) -> Option<u32> {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "C truncates the number in this way"
        )]
        match self.overridden(key) {
            Some(KvValue::Int(value)) => Some(*value as u32),
            _ => self.metadata.find(key).ok()?,
        }
    }

    pub(super) fn float(&self, key: &str) -> Option<f32> {
        #[allow(clippy::cast_possible_truncation, reason = "C truncates the number in this way")]
        match self.overridden(key) {
            Some(KvValue::Float(value)) => Some(*value as f32),
            _ => self.metadata.find(key).ok()?,
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&'m str> {
        match self.overridden(key) {
            Some(KvValue::Str(value)) => Some(value),
            _ => self.metadata.find(key).ok()?,
        }
    }

    /// Returns the texts of a list, which cannot be overridden.
    pub(super) fn texts(&self, key: &str) -> Option<&'m [Text]> {
        self.metadata.find(key).ok()?
    }

    /// Returns the integers and booleans of a list, which cannot be overridden, or a number of 32 bits as a list of
    /// one.
    pub(super) fn numbers(&self, key: &str) -> Option<Vec<i64>> {
        if let Some(number) = self.number(key) {
            return Some(vec![number.into()]);
        }
        self.list(key)
    }

    /// Returns the integers and booleans of a list where C accepts nothing but a list (llama-model-loader.cpp, `get_arr`).
    /// Overrides have no effect there.
    pub(super) fn list(&self, key: &str) -> Option<Vec<i64>> {
        match self.metadata.value(key)? {
            Value::Array(Array::U32(values)) => Some(values.iter().copied().map(i64::from).collect()),
            Value::Array(Array::I32(values)) => Some(values.iter().copied().map(i64::from).collect()),
            Value::Array(Array::Bool(values)) => Some(values.iter().copied().map(i64::from).collect()),
            _ => None,
        }
    }

    /// Returns whether the value of the key is a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.overridden(key).is_none() && matches!(self.metadata.value(key), Some(Value::Array(_)))
    }

    /// Returns whether the key has a value of any type.
    pub(super) fn has(&self, key: &str) -> bool {
        self.overridden(key).is_some() || self.metadata.contains(key)
    }

    /// Returns all keys that have a value. Some occur twice.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'m str> {
        let of_file = self.metadata.iter().filter_map(|(key, _)| key.as_str());
        of_file.chain(self.overrides.iter().map(|overridden| overridden.key.as_str()))
    }

    /// Returns the override of a key. The first of several counts (llama-model-loader.cpp, `kv_overrides.insert`).
    fn overridden(&self, key: &str) -> Option<&'m KvValue> {
        self.overrides.iter().find(|overridden| overridden.key == key).map(|overridden| &overridden.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_replace_the_files_values() {
        let mut metadata = Metadata::new();
        metadata.set("number", 7_u32).set("float", 0.5_f32).set("text", "file");
        metadata.set("list", vec![-1_i32, 2]).set("flags", vec![true, false]);
        let plain = ModelParams::default();
        let of_file = Effective::new(&metadata, &plain);
        assert_eq!((of_file.number("number"), of_file.float("float")), (Some(7), Some(0.5)));
        assert_eq!((of_file.text("text"), of_file.number("text")), (Some("file"), None));
        assert_eq!(of_file.numbers("list"), Some(vec![-1, 2]));
        assert_eq!((of_file.list("list"), of_file.list("number")), (Some(vec![-1, 2]), None));
        assert_eq!((of_file.numbers("flags"), of_file.numbers("number")), (Some(vec![1, 0]), Some(vec![7])));
        assert!(of_file.is_list("list") && !of_file.is_list("number") && !of_file.has("missing"));
        let params = ModelParams::default()
            .kv_override("number", (1_i64 << 32) + 3)
            .kv_override("number", 9_i64)
            .kv_override("float", f64::NAN)
            .kv_override("text", "other")
            .kv_override("new", 1_i64)
            .kv_override("flags", 1_i64);
        let other = Effective::new(&metadata, &params);
        assert_eq!((other.numbers("flags"), other.list("flags")), (Some(vec![1]), Some(vec![1, 0])));
        assert_eq!((other.number("number"), other.number("new")), (Some(3), Some(1)));
        assert!(other.float("float").unwrap().is_nan());
        assert_eq!(other.text("text"), Some("other"));
        assert_eq!(other.keys().filter(|key| *key == "number").count(), 3);
    }
}

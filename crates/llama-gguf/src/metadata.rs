//! The key/value pairs at the head of a file.

use std::collections::HashMap;

use crate::error::Error;
use crate::text::Text;
use crate::value::{FromValue, Value};

/// Key/value pairs in the order of the file; keys are unique and not empty.
///
/// ```
/// use llama_gguf::Metadata;
///
/// let mut metadata = Metadata::new();
/// metadata.set("general.architecture", "llama");
/// metadata.set("llama.block_count", 2u32);
/// assert_eq!(metadata.get::<&str>("general.architecture")?, "llama");
/// assert_eq!(metadata.get::<u32>("llama.block_count")?, 2);
/// assert!(metadata.get::<f32>("llama.block_count").is_err());
/// assert_eq!(metadata.find::<u32>("llama.expert_count")?, None);
/// # Ok::<(), llama_gguf::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    pairs: Vec<(Text, Value)>,
    index: HashMap<Text, usize>,
}

impl Metadata {
    /// Creates metadata without any pairs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether the key is present.
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.index.contains_key(key.as_ref())
    }

    /// Returns an iterator over the pairs in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Value)> {
        self.pairs.iter().map(|(key, value)| (key, value))
    }

    /// Returns the value of a key, of any type.
    #[must_use]
    pub fn value(&self, key: impl AsRef<[u8]>) -> Option<&Value> {
        self.index.get(key.as_ref()).map(|&at| &self.pairs[at].1)
    }

    /// Returns the value of a required key as type `T`.
    ///
    /// # Errors
    /// [`Error::MissingKey`], or [`Error::WrongValueType`] with both types.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, Error> {
        self.find(key)?.ok_or_else(|| Error::MissingKey { key: key.to_owned() })
    }

    /// Returns the value of an optional key as type `T`.
    ///
    /// # Errors
    /// [`Error::WrongValueType`] if the key has a value of another type.
    pub fn find<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match T::from_value(value) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::WrongValueType {
                key: key.to_owned(),
                expected: T::EXPECTED,
                found: value.describe(),
            }),
        }
    }

    /// Returns the value of a required key, an integer of any width that is not negative.
    ///
    /// # Errors
    /// [`Error::MissingKey`], or [`Error::WrongValueType`] for other types and negative numbers.
    pub fn unsigned(&self, key: &str) -> Result<u64, Error> {
        let value = self.value(key).ok_or_else(|| Error::MissingKey { key: key.to_owned() })?;
        let number = match *value {
            Value::U8(n) => Some(n.into()),
            Value::U16(n) => Some(n.into()),
            Value::U32(n) => Some(n.into()),
            Value::U64(n) => Some(n),
            Value::I8(n) => n.try_into().ok(),
            Value::I16(n) => n.try_into().ok(),
            Value::I32(n) => n.try_into().ok(),
            Value::I64(n) => n.try_into().ok(),
            _ => None,
        };
        number.ok_or_else(|| Error::WrongValueType {
            key: key.to_owned(),
            expected: "integer that is not negative",
            found: value.describe(),
        })
    }

    /// Adds a pair, or replaces the value of an existing key in its place.
    ///
    /// # Panics
    /// If the key is empty, which no reader accepts.
    pub fn set(&mut self, key: impl Into<Text>, value: impl Into<Value>) -> &mut Self {
        let key = key.into();
        assert!(!key.is_empty(), "a metadata key must not be empty");
        match self.index.get(&key) {
            Some(&at) => self.pairs[at].1 = value.into(),
            None => {
                self.index.insert(key.clone(), self.pairs.len());
                self.pairs.push((key, value.into()));
            }
        }
        self
    }

    /// Removes a pair and returns its value.
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> Option<Value> {
        let at = self.index.remove(key.as_ref())?;
        for place in self.index.values_mut().filter(|place| **place > at) {
            *place -= 1;
        }
        Some(self.pairs.remove(at).1)
    }
}

/// Two values are equal if they hold the same pairs in the same order.
impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.pairs == other.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Metadata {
        let mut metadata = Metadata::new();
        metadata.set("a", 1u16).set("b", vec![1i32, -2]).set("c", "text").set("d", -1i32);
        metadata
    }

    #[test]
    fn errors_name_the_key_and_both_types() {
        let metadata = sample();
        assert_eq!(
            metadata.get::<u32>("a").unwrap_err().to_string(),
            "metadata key \"a\" is of type u16, but must be u32"
        );
        assert_eq!(
            metadata.get::<&[u32]>("b").unwrap_err().to_string(),
            "metadata key \"b\" is of type arr of i32, but must be arr of u32"
        );
        assert_eq!(metadata.get::<u32>("x").unwrap_err().to_string(), "metadata key \"x\" is missing");
    }

    #[test]
    fn values_are_read_as_their_type() {
        let metadata = sample();
        assert_eq!(metadata.get::<u16>("a").unwrap(), 1);
        assert_eq!(metadata.get::<&[i32]>("b").unwrap(), [1, -2]);
        assert_eq!(metadata.get::<&Text>("c").unwrap(), &"text");
        assert_eq!(metadata.find::<bool>("x").unwrap(), None);
        assert_eq!(metadata.unsigned("a").unwrap(), 1);
        assert!(metadata.unsigned("d").is_err());
        assert!(metadata.unsigned("c").is_err());
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error_as_str_only() {
        let mut metadata = Metadata::new();
        metadata.set("k", Text::from(vec![0xff]));
        assert!(metadata.get::<&Text>("k").is_ok());
        assert!(metadata.get::<&str>("k").unwrap_err().to_string().contains("invalid UTF-8"));
    }

    #[test]
    fn order_survives_replacing_and_removing() {
        let mut metadata = sample();
        metadata.set("a", 7u8);
        assert_eq!(metadata.remove("b"), Some(vec![1i32, -2].into()));
        assert_eq!(metadata.remove("b"), None);
        let keys: Vec<_> = metadata.iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(keys, ["a", "c", "d"]);
        assert_eq!(metadata.get::<i32>("d").unwrap(), -1);
        assert_eq!((metadata.len(), metadata.is_empty(), metadata.contains("a")), (3, false, true));
    }
}

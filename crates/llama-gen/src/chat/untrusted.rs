//! Protection against special tokens that messages name.
//!
//! A template renders one text, in which its own special tokens cannot be distinguished from those that a message names. So
//! a conversation that names any is rendered twice: unchanged, and with an unguessable marker inside each name. The second
//! text without the markers must equal the first. Then the markers show which names come from messages, and the text is cut
//! there before it is tokenised. If the texts differ, the template has changed a name or cut a marker, and the conversation
//! is refused.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use serde_json::{Map, Value};

use super::special::SpecialTexts;
use crate::error::Result;

/// An unguessable text of digits, which templates do not trim, escape, or change in case.
#[derive(Debug)]
pub(crate) struct Marker(String);

impl Marker {
    /// Creates a random marker.
    pub(crate) fn new() -> Self {
        // The standard library's hashers have random keys.
        let number = || RandomState::new().build_hasher().finish();
        Self(format!("{:020}{:020}", number(), number()))
    }

    /// Inserts markers into all names of special tokens in a JSON value, including its keys. Returns whether there were any.
    pub(crate) fn insert(&self, value: &mut Value, special: &SpecialTexts) -> Result<bool> {
        match value {
            Value::String(text) => {
                let marked = self.marked(text, special)?;
                Ok(marked.map(|marked| *text = marked).is_some())
            }
            Value::Array(values) => {
                values.iter_mut().try_fold(false, |any, value| Ok(any | self.insert(value, special)?))
            }
            Value::Object(fields) => self.insert_into_fields(fields, special),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(false),
        }
    }

    fn insert_into_fields(&self, fields: &mut Map<String, Value>, special: &SpecialTexts) -> Result<bool> {
        let mut any = false;
        let mut marked = Map::new();
        for (key, mut value) in core::mem::take(fields) {
            any |= self.insert(&mut value, special)?;
            let marked_key = self.marked(&key, special)?;
            any |= marked_key.is_some();
            marked.insert(marked_key.unwrap_or(key), value);
        }
        *fields = marked;
        Ok(any)
    }

    /// Returns the text with markers, or `None` when it needs none.
    fn marked(&self, text: &str, special: &SpecialTexts) -> Result<Option<String>> {
        let breaks = special.breaks(text)?;
        if breaks.is_empty() {
            return Ok(None);
        }
        let mut marked = String::with_capacity(text.len() + breaks.len() * self.0.len());
        let mut rest = 0;
        for at in breaks {
            marked.push_str(&text[rest..at]);
            marked.push_str(&self.0);
            rest = at;
        }
        marked.push_str(&text[rest..]);
        Ok(Some(marked))
    }

    /// Returns the ascending offsets in `plain` at which `marked` has markers. Returns `None` when `marked` without its markers
    /// is not `plain`.
    pub(crate) fn find(&self, marked: &str, plain: &str) -> Option<Vec<usize>> {
        let mut cuts = Vec::new();
        let mut rest = plain;
        let mut parts = marked.split(self.0.as_str());
        rest = rest.strip_prefix(parts.next()?)?;
        for part in parts {
            cuts.push(plain.len() - rest.len());
            rest = rest.strip_prefix(part)?;
        }
        rest.is_empty().then_some(cuts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_found_where_they_were() {
        let marker = Marker("00".to_owned());
        assert_eq!(marker.find("a00bc00", "abc").unwrap(), [1, 3]);
        assert_eq!(marker.find("abc", "abc").unwrap(), [0_usize; 0]);
        assert_eq!(marker.find("a00bc", "ab"), None);
        assert_eq!(marker.find("a0bc", "abc"), None);
        assert_eq!(marker.find("", "abc"), None);
    }

    #[test]
    fn no_two_markers_are_alike() {
        let (one, other) = (Marker::new(), Marker::new());
        assert_eq!(one.0.len(), 40);
        assert_ne!(one.0, other.0);
    }
}

//! Contents that name special tokens, in a template that may do with them what it likes.
//!
//! A template's result is one text, in which its own special tokens cannot be told from those that a message names. So a
//! conversation that names any is rendered twice: as it is, and with an unguessable marker inside each name. Without the
//! markers the second text has to be the first again; then they show where names come from messages, and there the text
//! is cut before it is tokenised. Where it is not the same, the template has looked at the names or cut through a marker,
//! and the conversation is refused.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use serde_json::{Map, Value};

use super::special::SpecialTexts;
use crate::error::Result;

/// What no text has: digits, which no template trims, escapes, or writes in another case.
#[derive(Debug)]
pub(crate) struct Marker(String);

impl Marker {
    /// Another one each time.
    pub(crate) fn new() -> Self {
        // The keys of the standard library's hashes are random.
        let number = || RandomState::new().build_hasher().finish();
        Self(format!("{:020}{:020}", number(), number()))
    }

    /// Puts markers into all names of special tokens in a JSON value, keys included. Whether there were any.
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

    /// The text with markers; `None` when it needs none.
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

    /// Where the markers were in a rendered text, without them: ascending offsets. `None` when it is not the one that was
    /// rendered without markers.
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

//! Strings as GGUF stores them: bytes that are nearly always UTF-8.

use std::borrow::Cow;
use std::fmt;

/// A GGUF string: a key, a tensor name or a string value.
///
/// GGUF does not define an encoding and llama.cpp does not check one: a vocabulary may hold tokens that are half of a
/// UTF-8 character. The type therefore holds bytes, with the usual conversions.
///
/// ```
/// use llama_gguf::Text;
///
/// let text = Text::from("general.name");
/// assert_eq!(text, "general.name");
/// assert_eq!(text.as_str(), Some("general.name"));
/// assert_eq!(Text::from(vec![0xff]).as_str(), None);
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Box<[u8]>);

impl Text {
    /// Returns the bytes, without a terminating NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text, or `None` if the bytes are not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Returns the text with each invalid sequence replaced by U+FFFD.
    #[must_use]
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns at most 64 bytes for error messages, because a hostile file may hold a name of a gigabyte.
    pub(crate) fn excerpt(&self) -> String {
        match self.0.get(..64) {
            Some(head) if self.len() > 64 => format!("{}...", String::from_utf8_lossy(head)),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_str_lossy().fmt(f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl std::borrow::Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_utf8_survives_and_is_shown_escaped() {
        let text = Text::from(&b"a\xff"[..]);
        assert_eq!(text.as_bytes(), b"a\xff");
        assert_eq!(text.to_string(), "a\u{fffd}");
        assert_eq!(format!("{text:?}"), r#""a\xff""#);
        assert_eq!(text.len(), 2);
        assert!(Text::default().is_empty());
        assert_eq!(Text::from("a".repeat(64)).excerpt().len(), 64);
        assert_eq!(Text::from("a".repeat(65)).excerpt(), "a".repeat(64) + "...");
    }
}

//! Continuing the last answer.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The part of the last message, an answer, that is continued, or a new answer instead.
///
/// In JSON it is llama-server's `continue_final_message`: `false`, `true`, `"content"` or `"reasoning_content"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContinueAnswer {
    /// A new answer is begun.
    #[default]
    No,
    /// The answer's content is continued; its reasoning when it has no content.
    Yes,
    /// The answer's content is continued.
    Content,
    /// The answer's reasoning is continued.
    Reasoning,
}

impl From<bool> for ContinueAnswer {
    fn from(go_on: bool) -> Self {
        if go_on { Self::Yes } else { Self::No }
    }
}

impl Serialize for ContinueAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::No => serializer.serialize_bool(false),
            Self::Yes => serializer.serialize_bool(true),
            Self::Content => serializer.serialize_str("content"),
            Self::Reasoning => serializer.serialize_str("reasoning_content"),
        }
    }
}

impl<'de> Deserialize<'de> for ContinueAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Null => Ok(Self::No),
            serde_json::Value::Bool(go_on) => Ok(go_on.into()),
            value if value == "content" => Ok(Self::Content),
            value if value == "reasoning_content" => Ok(Self::Reasoning),
            other => Err(D::Error::custom(format!(
                "continue_final_message is {other}, but must be true, false, \"content\" or \"reasoning_content\""
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_that_of_llama_server() {
        for (value, json) in [
            (ContinueAnswer::No, "false"),
            (ContinueAnswer::Yes, "true"),
            (ContinueAnswer::Content, "\"content\""),
            (ContinueAnswer::Reasoning, "\"reasoning_content\""),
        ] {
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(serde_json::from_str::<ContinueAnswer>(json).unwrap(), value);
        }
        assert!(serde_json::from_str::<ContinueAnswer>("1").is_err());
    }
}

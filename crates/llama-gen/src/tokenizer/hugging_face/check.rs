//! Checks of a `tokenizer.json` that the crate `tokenizers` does not make.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Refuses a file with a number that makes the crate allocate too much: the size of a table that is larger than the file, or
/// an id that no token can have.
pub(super) fn check(json: &[u8]) -> Result<(), String> {
    let Ok(head) = serde_json::from_slice::<Head>(json) else {
        // The crate has the better message.
        return Ok(());
    };
    for added in &head.added_tokens {
        check_id(added.id, &added.content)?;
    }
    if let Some(Model { vocab: Some(Vocabulary::Ids(ids)) }) = &head.model {
        ids.iter().try_for_each(|(text, id)| check_id(*id, text))?;
    }
    head.normalizer.as_ref().map_or(Ok(()), check_normalizer)
}

/// The parts of the file to check.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Added {
    id: u64,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    vocab: Option<Vocabulary>,
}

/// Texts with their ids; Unigram has a list, in the order of the ids.
#[derive(Deserialize)]
#[serde(untagged)]
enum Vocabulary {
    Ids(HashMap<String, u64>),
    #[allow(dead_code, reason = "only the form of the list matters")]
    List(IgnoredAny),
}

fn check_id(id: u64, text: &str) -> Result<(), String> {
    let most = i32::MAX;
    if i32::try_from(id).is_ok() {
        return Ok(());
    }
    Err(format!("the id of {text:?} is {id}, but must be at most {most}"))
}

fn check_normalizer(normalizer: &Value) -> Result<(), String> {
    match normalizer {
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| match value {
            Value::String(map) if key == "precompiled_charsmap" => check_charsmap(map),
            other => check_normalizer(other),
        }),
        Value::Array(items) => items.iter().try_for_each(check_normalizer),
        _ => Ok(()),
    }
}

/// Checks a character map, which begins with the size of a table in bytes, followed by the table.
fn check_charsmap(map: &str) -> Result<(), String> {
    let length = map.trim_end_matches('=').len() * 3 / 4;
    let table = first_number(map).map_or(0, |table| table as usize);
    if length >= 4 && table <= length - 4 {
        return Ok(());
    }
    Err(format!(
        "the table of its precompiled_charsmap has {table} bytes, but must fit into {length} bytes after the first 4: the \
         file is damaged"
    ))
}

/// Decodes the first four bytes of Base64 as a number.
fn first_number(base64: &str) -> Option<u32> {
    let value = |character: u8| {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        Some(u64::from(value))
    };
    let characters = base64.as_bytes().get(..6)?;
    let bits = characters.iter().try_fold(0, |bits, character| Some(bits << 6 | value(*character)?))?;
    u32::try_from(bits >> 4).ok().map(u32::swap_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_base64() {
        // The bytes 1, 2, 3, 4, 5.
        assert_eq!(first_number("AQIDBAU="), Some(0x0403_0201));
        assert_eq!(first_number("/////w=="), Some(u32::MAX));
        assert_eq!(first_number("AQID"), None);
        assert_eq!(first_number("AQ*DBAU="), None);
    }
}

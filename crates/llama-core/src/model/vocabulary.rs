//! Checks of a file's vocabulary before llama.cpp reads it. A wrong one makes llama.cpp assert, divide by zero, or
//! never return.

use core::fmt::Display;
use std::collections::HashMap;

use llama_gguf::Text;

use super::effective::Effective;
use crate::error::{ErrorKind, Result};

/// Refuses a vocabulary that llama.cpp would accept and fail on.
pub(super) fn check(model: &dyn Display, metadata: Effective<'_>) -> Result<()> {
    match flaw(metadata) {
        None => Ok(()),
        Some(reason) => Err(ErrorKind::Vocabulary { model: model.to_string(), reason }.into()),
    }
}

fn flaw(metadata: Effective<'_>) -> Option<String> {
    let kind = metadata.text("tokenizer.ggml.model")?;
    if matches!(kind, "no_vocab" | "none") {
        return None;
    }
    let tokens = metadata.texts("tokenizer.ggml.tokens")?;
    if tokens.is_empty() {
        return Some("it has no tokens, but must have at least one".to_owned());
    }
    duplicate(tokens).or_else(|| if kind == "rwkv" { missing_byte(tokens) } else { None })
}

/// Finds two equal texts: llama.cpp asserts that all texts are different (llama-vocab.cpp, load). It reads them as C
/// strings, and gives empty ones a name.
fn duplicate(tokens: &[Text]) -> Option<String> {
    let mut seen: HashMap<&[u8], usize> = HashMap::with_capacity(tokens.len());
    for (index, token) in tokens.iter().enumerate() {
        let text = c_string(token);
        if text.is_empty() {
            continue;
        }
        if let Some(first) = seen.insert(text, index) {
            let text = String::from_utf8_lossy(text);
            return Some(format!("its tokens {first} and {index} are both {text:?}, but must be different"));
        }
    }
    let is_empty = |(_, token): &(usize, &Text)| c_string(token).is_empty();
    tokens.iter().enumerate().filter(is_empty).find_map(|(index, _)| {
        let name = format!("[EMPTY_{index}]");
        let other = seen.get(name.as_bytes())?;
        Some(format!(
            "its token {index} is empty and its token {other} is {name:?}, which llama.cpp writes for the empty one, but \
             they must be different"
        ))
    })
}

fn c_string(token: &Text) -> &[u8] {
    token.as_bytes().split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Finds a byte without a token. RWKV's tokenizer continues at the end of the longest token that it found. If it
/// found none, it stays at the same place for ever, as for a byte that only begins longer tokens (llama-vocab.cpp,
/// llm_tokenizer_rwkv_session).
fn missing_byte(tokens: &[Text]) -> Option<String> {
    let mut found = [false; 256];
    for token in tokens {
        if let [byte] = unescaped(c_string(token))[..] {
            found[usize::from(byte)] = true;
        }
    }
    let byte = found.iter().position(|found| !found)?;
    Some(format!(
        "it has no token for the byte {byte:#04x}, but must have one for every byte for RWKV's tokenizer"
    ))
}

/// Returns the bytes that a text in RWKV's notation stands for.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b't') => bytes.push(b'\t'),
            Some(b'n') => bytes.push(b'\n'),
            Some(b'r') => bytes.push(b'\r'),
            Some(b'x') => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(digit_value));
                bytes.extend(digits[0].zip(digits[1]).map(|(high, low)| high << 4 | low));
            }
            Some(other) => bytes.push(other),
            None => {}
        }
    }
    bytes
}

/// Returns the value of a digit that llama.cpp reads as hexadecimal.
fn digit_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<Text> {
        texts.iter().map(|text| Text::from(*text)).collect()
    }

    #[test]
    fn duplicates_are_texts_that_c_considers_equal() {
        assert_eq!(duplicate(&texts(&["a", "b", "", ""])), None);
        assert_eq!(
            duplicate(&texts(&["a", "b", "a"])).unwrap(),
            "its tokens 0 and 2 are both \"a\", but must be different"
        );
        assert_eq!(
            duplicate(&texts(&["a\0b", "a\0c"])).unwrap(),
            "its tokens 0 and 1 are both \"a\", but must be different"
        );
        let named = duplicate(&texts(&["[EMPTY_2]", "b", ""])).unwrap();
        assert!(named.starts_with("its token 2 is empty and its token 0 is"), "{named}");
    }

    #[test]
    fn every_byte_needs_a_token() {
        let mut all: Vec<String> = (0..=255_u8).map(|byte| format!("\\x{byte:02x}")).collect();
        assert_eq!(missing_byte(&texts(&all.iter().map(String::as_str).collect::<Vec<_>>())), None);
        all[0x41] = "AB".to_owned();
        let found = missing_byte(&texts(&all.iter().map(String::as_str).collect::<Vec<_>>()));
        assert!(found.unwrap().contains("byte 0x41"));
    }

    #[test]
    fn text_is_unescaped_like_rwkv() {
        assert_eq!(unescaped(br"a\\\n\x00\xff\'"), b"a\\\n\x00\xff'");
        assert_eq!(unescaped(br"\x"), b"");
    }
}

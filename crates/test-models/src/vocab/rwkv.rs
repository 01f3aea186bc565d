//! RWKV: the longest matching token, over bytes, as in `rwkv6`.

use super::words::{WORDS, beginnings};
use super::{Kind, Vocab};

impl Vocab {
    /// Returns a vocabulary of end of text, 256 bytes, beginnings of words with a space in front, and pieces that end
    /// inside a character.
    ///
    /// Every byte has a token of its own, because the tokenizer continues after the token that it found, and never
    /// ends when it finds none.
    pub(crate) fn rwkv() -> Self {
        let mut vocab = Self::new("rwkv");
        let end = vocab.push("<s>", Kind::Control);
        for byte in 0..=u8::MAX {
            vocab.push(escaped(&[byte]), Kind::Normal);
        }
        for beginning in beginnings() {
            vocab.push_new(format!(" {beginning}"));
        }
        for word in WORDS.iter().filter(|word| word.len() == 2) {
            vocab.push_new(*word);
        }
        let character = "漢".as_bytes();
        for bytes in [b"\n\n", &character[..2], character, b"\\n", b"\r\n"] {
            vocab.push_new(escaped(bytes));
        }
        vocab.extra("tokenizer.ggml.eos_token_id", end);
        vocab
    }
}

/// Escapes bytes as in RWKV's files: a byte that is not printable ASCII as `\xHH`, a backslash as two.
fn escaped(bytes: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'\t' => "\\t".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\\' => "\\\\".to_owned(),
        b' '..=b'~' => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_escaped() {
        assert_eq!(escaped(b"a\\b\n\x00\xff"), r"a\\b\n\x00\xff");
    }
}

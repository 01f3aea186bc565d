//! BPE: byte-pair encoding in GPT-2's format.

use super::words::{WORDS, beginnings};
use super::{Kind, Vocab};

impl Vocab {
    /// Returns a vocabulary of 256 bytes, pieces of words with the merges that make them, and control tokens.
    pub(crate) fn bpe() -> Self {
        let mut vocab = Self::new("gpt2");
        for byte in 0..=u8::MAX {
            vocab.push(letter(byte), Kind::Normal);
            if !(b' '..=b'~').contains(&byte) {
                vocab.hide_last();
            }
        }
        let mut merges = Vec::new();
        let space = letter(b' ');
        for first in 'a'..='z' {
            vocab.push_new(format!("{space}{first}"));
            merges.push(format!("{space} {first}"));
        }
        for beginning in beginnings() {
            let (head, last) = beginning.split_at(beginning.len() - 1);
            vocab.push_new(format!("{space}{beginning}"));
            merges.push(format!("{space}{head} {last}"));
        }
        for word in WORDS.iter().filter(|word| word.len() == 2) {
            let (head, last) = word.split_at(1);
            vocab.push_new(*word);
            merges.push(format!("{head} {last}"));
        }
        let end_of_text = vocab.push("<|endoftext|>", Kind::Control);
        vocab.push("<|im_start|>", Kind::Control);
        let end_of_turn = vocab.push("<|im_end|>", Kind::Control);
        vocab.extra("tokenizer.ggml.pre", "gpt-2");
        vocab.extra("tokenizer.ggml.merges", merges);
        vocab.extra("tokenizer.ggml.bos_token_id", end_of_text);
        vocab.extra("tokenizer.ggml.eos_token_id", end_of_turn);
        vocab.extra("tokenizer.ggml.padding_token_id", end_of_text);
        vocab.extra("tokenizer.ggml.add_bos_token", false);
        vocab
    }

    /// Returns a vocabulary of 256 bytes in both spellings, and merges across every border that a pre-tokenizer might
    /// keep.
    pub(crate) fn bpe_with_merges(pre_tokenizer: &str) -> Self {
        // This pre-tokenizer keeps spaces, and needs the tokenizer that drops them.
        let mut vocab = Self::new(if pre_tokenizer == "whitespace" { "whitespace" } else { "gpt2" });
        for byte in 0..=u8::MAX {
            vocab.push(letter(byte), Kind::Normal);
            vocab.push(format!("<0x{byte:02X}>"), Kind::Byte);
        }
        vocab.push_new("▁");
        let (space, newline) = (letter(b' '), letter(b'\n'));
        let spaces = [space.as_str(), "▁", &newline];
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut pair = |left: &str, right: &str| pairs.push((left.to_owned(), right.to_owned()));
        for text in [&space, &newline, "▁", "a", "1", "2", "=", "!", "e"] {
            pair(text, text);
            pair(&text.repeat(2), &text.repeat(2));
            pair(&text.repeat(4), &text.repeat(4));
        }
        for (left, right) in
            [("1", "2"), ("12", "3"), ("t", "h"), ("th", "e"), ("a", "1"), ("7", "a"), ("o", "r")]
        {
            pair(left, right);
        }
        for mark in spaces {
            for other in ["a", "t", "H", "7", "=", "!"] {
                pair(mark, other);
                pair(other, mark);
            }
            pair(&format!("{mark}t"), "h");
            pair("e", mark);
        }
        let mut merges = Vec::new();
        for (left, right) in pairs {
            vocab.push_new(format!("{left}{right}"));
            merges.push(format!("{left} {right}"));
        }
        let end_of_text = vocab.push("<|endoftext|>", Kind::Control);
        vocab.push("<|im_end|>", Kind::Control);
        for text in ["<user>", "\n\n", "\n\n\n"] {
            vocab.push(text, Kind::UserDefined);
        }
        // Tokens that some pre-tokenizers require.
        for text in ["<mask>", "[MASK]", "<unk>"] {
            vocab.push(text, Kind::Control);
        }
        vocab.extra("tokenizer.ggml.pre", pre_tokenizer);
        vocab.extra("tokenizer.ggml.merges", merges);
        vocab.extra("tokenizer.ggml.bos_token_id", end_of_text);
        vocab.extra("tokenizer.ggml.eos_token_id", end_of_text);
        vocab.extra("tokenizer.ggml.unknown_token_id", end_of_text);
        vocab
    }
}

/// Returns the character for a byte: itself if it is printable in Latin-1, else one from U+0100 on.
fn letter(byte: u8) -> String {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte).to_string();
    }
    let before = (0..byte).filter(|&byte| !printable(byte)).count();
    let code = 0x100 + u32::try_from(before).expect("there are 256 bytes");
    char::from_u32(code).expect("U+0100 to U+0143 are characters").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_letters_of_gpt2() {
        assert_eq!([letter(b'a'), letter(b' '), letter(b'\n')], ["a", "Ġ", "Ċ"]);
        assert_eq!([letter(0), letter(0xad), letter(0xff)], ["Ā", "Ń", "ÿ"]);
    }
}

//! SPM: SentencePiece with bytes as the last resort, as in `llama`.

use super::words::{WORDS, beginnings};
use super::{Kind, Vocab};

impl Vocab {
    /// Returns a vocabulary of unknown, begin and end of text, 256 bytes, ChatML's control tokens, letters, words.
    pub(crate) fn spm() -> Self {
        let mut vocab = Self::new("llama");
        let unknown = vocab.push("<unk>", Kind::Unknown);
        let begin = vocab.push("<s>", Kind::Control);
        let end = vocab.push("</s>", Kind::Control);
        for byte in 0..=u8::MAX {
            vocab.push(format!("<0x{byte:02X}>"), Kind::Byte);
        }
        vocab.push("<|im_start|>", Kind::Control);
        vocab.push("<|im_end|>", Kind::Control);
        // Pairs are merged in the order of their scores, which is the order of their numbers. Long words come last,
        // so that their beginnings exist when they are reached.
        vocab.push_new("▁");
        for letter in ('!'..='~').chain("éßñ漢字😀".chars()) {
            vocab.push_new(letter);
        }
        for letter in 'a'..='z' {
            vocab.push_new(format!("▁{letter}"));
        }
        for beginning in beginnings() {
            vocab.push_new(format!("▁{beginning}"));
        }
        for word in WORDS.iter().filter(|word| word.len() == 2) {
            vocab.push_new(*word);
        }
        vocab.falling_scores();
        vocab.extra("tokenizer.ggml.bos_token_id", begin);
        vocab.extra("tokenizer.ggml.eos_token_id", end);
        vocab.extra("tokenizer.ggml.unknown_token_id", unknown);
        vocab.extra("tokenizer.ggml.add_bos_token", true);
        vocab.extra("tokenizer.ggml.add_eos_token", false);
        vocab
    }
}

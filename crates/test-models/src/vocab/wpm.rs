//! WPM: word pieces, as in BERT.

use super::words::WORDS;
use super::{Kind, Vocab};

impl Vocab {
    /// Returns a vocabulary of control tokens, letters at the beginning of a word and inside it, and words.
    pub(crate) fn wpm() -> Self {
        let mut vocab = Self::new("bert");
        let pad = vocab.push("[PAD]", Kind::Control);
        let unknown = vocab.push("[UNK]", Kind::Unknown);
        let class = vocab.push("[CLS]", Kind::Control);
        let separator = vocab.push("[SEP]", Kind::Control);
        let mask = vocab.push("[MASK]", Kind::Control);
        // GGUF marks the beginning of a word instead of its continuation.
        for letter in ('!'..='~').filter(|letter| !letter.is_ascii_uppercase()) {
            vocab.push_new(format!("▁{letter}"));
        }
        for letter in ('a'..='z').chain('0'..='9') {
            vocab.push_new(letter);
        }
        for word in WORDS {
            vocab.push_new(format!("▁{word}"));
        }
        for ending in ["s", "ing", "ed", "er", "ly"] {
            vocab.push_new(ending);
        }
        vocab.extra("tokenizer.ggml.token_type_count", 2u32);
        vocab.extra("tokenizer.ggml.bos_token_id", class);
        vocab.extra("tokenizer.ggml.cls_token_id", class);
        vocab.extra("tokenizer.ggml.eos_token_id", separator);
        vocab.extra("tokenizer.ggml.seperator_token_id", separator);
        vocab.extra("tokenizer.ggml.unknown_token_id", unknown);
        vocab.extra("tokenizer.ggml.padding_token_id", pad);
        vocab.extra("tokenizer.ggml.mask_token_id", mask);
        vocab
    }
}

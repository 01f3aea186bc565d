//! PLaMo: the most likely division into pieces, with bytes as the last resort. PLaMo 3 first cuts the text at its own
//! marks and around runs of one character.

use super::words::WORDS;
use super::{Kind, Vocab};

impl Vocab {
    /// Returns a vocabulary of PLaMo 2's kind.
    pub(crate) fn plamo2() -> Self {
        Self::plamo("plamo2")
    }

    /// Returns a vocabulary of PLaMo 3's kind.
    pub(crate) fn plamo3() -> Self {
        Self::plamo("plamo3")
    }

    /// Returns a vocabulary of four control tokens, 256 bytes, letters, words, runs of spaces and letters.
    fn plamo(model: &'static str) -> Self {
        let mut vocab = Self::new(model);
        let unknown = vocab.push("<|plamo:unk|>", Kind::Unknown);
        let begin = vocab.push("<|plamo:bos|>", Kind::Control);
        let end = vocab.push("<|plamo:eos|>", Kind::Control);
        let pad = vocab.push("<|plamo:pad|>", Kind::Control);
        for byte in 0..=u8::MAX {
            vocab.push(format!("<0x{byte:02X}>"), Kind::Byte);
        }
        for letter in (' '..='~').chain(['\n', '漢', '字']) {
            vocab.push_new(letter);
        }
        for word in WORDS {
            vocab.push_new(*word);
            vocab.push_new(format!(" {word}"));
        }
        for run in ["  ", "   a", "aaaa", "b   "] {
            vocab.push_new(run);
        }
        vocab.extra("tokenizer.ggml.scores", scores(&vocab));
        vocab.extra("tokenizer.ggml.bos_token_id", begin);
        vocab.extra("tokenizer.ggml.eos_token_id", end);
        vocab.extra("tokenizer.ggml.unknown_token_id", unknown);
        vocab.extra("tokenizer.ggml.padding_token_id", pad);
        vocab.extra("tokenizer.ggml.add_bos_token", true);
        vocab
    }
}

/// Returns logarithms of probabilities: a word is more likely than the product of its letters.
fn scores(vocab: &Vocab) -> Vec<f32> {
    let score = |(token, kind): (&String, &Kind)| match kind {
        Kind::Normal if token.chars().count() > 1 => -4.0,
        Kind::Normal => -3.0,
        _ => 0.0,
    };
    vocab.tokens.iter().zip(&vocab.kinds).map(score).collect()
}

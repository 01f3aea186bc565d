//! UGM: SentencePiece's unigram model, as in T5.

use super::words::WORDS;
use super::{Kind, Vocab};

impl Vocab {
    /// Returns a vocabulary of padding, end of text, unknown, words, letters.
    pub(crate) fn ugm() -> Self {
        let mut vocab = Self::new("t5");
        let pad = vocab.push("<pad>", Kind::Control);
        let end = vocab.push("</s>", Kind::Control);
        let unknown = vocab.push("<unk>", Kind::Unknown);
        for word in WORDS {
            vocab.push_new(format!("▁{word}"));
        }
        vocab.push_new("▁");
        for letter in '!'..='~' {
            vocab.push_new(letter);
        }
        vocab.extra("tokenizer.ggml.scores", scores(&vocab));
        vocab.extra("tokenizer.ggml.eos_token_id", end);
        vocab.extra("tokenizer.ggml.unknown_token_id", unknown);
        vocab.extra("tokenizer.ggml.padding_token_id", pad);
        vocab.extra("tokenizer.ggml.add_bos_token", false);
        vocab.extra("tokenizer.ggml.add_eos_token", true);
        vocab.extra("tokenizer.ggml.add_space_prefix", true);
        vocab.extra("tokenizer.ggml.remove_extra_whitespaces", true);
        vocab
    }
}

/// Returns logarithms of probabilities: a word is more likely than the product of its letters.
fn scores(vocab: &Vocab) -> Vec<f32> {
    let score = |(token, kind): (&String, &Kind)| match kind {
        Kind::Normal if token.chars().count() > 1 => -4.0,
        Kind::Normal => -6.0,
        _ => 0.0,
    };
    vocab.tokens.iter().zip(&vocab.kinds).map(score).collect()
}

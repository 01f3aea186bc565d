//! Pre-tokenizers: where each of them surely divides a text, and what a long text costs it.
//!
//! A byte-pair vocabulary names its pre-tokenizer in `tokenizer.ggml.pre`. llama.cpp divides a text by one or several
//! regular expressions for each name (llama-vocab.cpp, `llm_tokenizer_bpe`), some of them by code of its own, the others by
//! `std::regex` (unicode.cpp, `unicode_regex_split`), which recurses for every character of a match.

use crate::vocab::VocabKind;

/// What is known about a tokenizer. The default is a tokenizer about which nothing is known: it is given the whole text
/// at once, on a stack for the worst case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Whether a text is always divided between a letter and a single space before another letter.
    pub(super) words: bool,
    /// Whether a text is always divided after a single newline between text and a letter.
    pub(super) lines: bool,
    /// Whether a match of `std::regex` can be as long as the text.
    pub(super) recurses: bool,
    /// What takes time that grows faster than the text.
    pub(super) quirk: Quirk,
}

/// A part of a text on which a pre-tokenizer's time grows with the square of the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quirk {
    None,
    /// Digits in groups of three from the right: each group looks ahead over all that follow.
    Digits,
    /// As `Digits`, for ASCII digits only, and nothing else is divided than digits from the rest.
    OnlyDigits,
    /// Spaces in front of what is neither a letter nor punctuation: each is tried as the beginning of trailing space.
    TrailingSpace,
    /// Characters that become bytes: the output is copied for each of them (llama-vocab.cpp, `resegment`).
    Bytes,
    /// Spaces in blocks of 512: each block looks for a newline behind all that follow.
    SpaceBlocks,
}

impl Rules {
    const UNKNOWN: Self = Self { words: false, lines: false, recurses: true, quirk: Quirk::None };
    /// Words and lines are divided, by code that does not recurse.
    const SPLIT: Self = Self { words: true, lines: true, recurses: false, quirk: Quirk::None };
    /// Words and lines are divided, by `std::regex`.
    const REGEX: Self = Self { recurses: true, ..Self::SPLIT };
    /// Lines are divided, and what is in one is a single word.
    const LINES: Self = Self { words: false, ..Self::SPLIT };
    /// The text is not divided, and nothing recurses.
    const WHOLE: Self = Self { words: false, lines: false, ..Self::SPLIT };

    /// The rules of a kind that has no pre-tokenizer.
    pub(super) fn of_kind(kind: VocabKind) -> Self {
        match kind {
            VocabKind::Wpm => Self { lines: false, ..Self::SPLIT },
            VocabKind::Spm => Self { lines: false, quirk: Quirk::Bytes, ..Self::SPLIT },
            VocabKind::Bpe | VocabKind::Other(_) => Self::UNKNOWN,
            VocabKind::None | VocabKind::Ugm | VocabKind::Rwkv | VocabKind::Plamo2 | VocabKind::Plamo3 => {
                Self::WHOLE
            }
        }
    }

    /// The rules of a pre-tokenizer by its name; `None` for one that is not known here.
    pub(super) fn of_pre_tokenizer(name: &str) -> Option<Self> {
        Some(match name {
            // Code of llama.cpp's own, or expressions that match one character.
            "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "gigachat" | "jina-v2-es" | "jina-v2-de"
            | "a.x-4.0" | "mellum" | "modern-bert" | "jina-v1-en" | "jina-v2-code" | "roberta-bpe"
            | "exaone4" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" | "starcoder"
            | "refact" | "command-r" | "smollm" | "codeshell" | "exaone" | "minerva-7b" | "mellum2"
            | "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "midm-2.0" | "jina-v5-nano"
            | "lfm2" | "dbrx" | "smaug-bpe" | "chatglm-bpe" | "glm4" | "glm5" | "qwen2"
            | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" | "stablelm2" | "hunyuan"
            | "solar-open" | "qwen35" | "grok-2" | "kimi-k2" | "laguna" | "k2-horizon" | "mmbert" => {
                Self::SPLIT
            }
            "gemma4" | "granite-embed-multi-311m" | "sarvam-moe" | "domyn-small" => Self::LINES,
            "default"
            | "flint"
            | "minicpm5"
            | "deepseek-coder"
            | "deepseek-v3"
            | "spark2_5"
            | "youtu"
            | "falcon"
            | "whitespace"
            | "poro-chat"
            | "viking"
            | "bloom"
            | "gpt3-finnish"
            | "tekken"
            | "pixtral"
            | "chameleon"
            | "gpt-4o"
            | "llama4"
            | "kanana2"
            | "talkie"
            | "minimax-m2"
            | "granite-embed-multi-97m"
            | "tiny_aya"
            | "cohere2moe"
            | "bailingmoe"
            | "bailingmoe2"
            | "llada-moe"
            | "seed-coder"
            | "hunyuan-dense"
            | "hy_v4"
            | "joyai-llm"
            | "ufakzeka"
            | "afmoe"
            | "nemotron-3.5-embed"
            | "soprano" => Self::REGEX,
            // A match goes on behind a space.
            "exaone-moe" => Self { words: false, ..Self::REGEX },
            "deepseek-llm" => Self { quirk: Quirk::TrailingSpace, ..Self::REGEX },
            "jais-2" => Self { quirk: Quirk::SpaceBlocks, ..Self::REGEX },
            "tekken-num3" => Self { quirk: Quirk::Digits, ..Self::REGEX },
            "superbpe" => Self { quirk: Quirk::OnlyDigits, words: false, lines: false, recurses: true },
            _ => return None,
        })
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pre_tokenizer_of_the_tree_has_rules() {
        let names = test_models::pre_tokenizers();
        assert!(names.len() >= 98, "{} names: {names:?}", names.len());
        let unknown: Vec<_> = names.iter().filter(|name| Rules::of_pre_tokenizer(name).is_none()).collect();
        assert!(unknown.is_empty(), "without rules in tokenize/pre.rs: {unknown:?}");
    }
}

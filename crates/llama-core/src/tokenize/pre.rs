//! Pre-tokenizers: where each is certain to divide a text, and what a long text costs.
//!
//! A byte-pair vocabulary names its pre-tokenizer in `tokenizer.ggml.pre`. For each name, llama.cpp divides a text
//! by one or several regular expressions (llama-vocab.cpp, `llm_tokenizer_bpe`). It executes some of them with its
//! own code, the others with `std::regex` (unicode.cpp, `unicode_regex_split`), which recurses for every character
//! of a match.

use crate::vocab::VocabKind;

/// Known properties of a tokenizer. The default is for an unknown tokenizer, which gets the whole text at once, on a
/// stack for the worst case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Whether a text is always divided between a letter and a single space before another letter.
    pub(super) words: bool,
    /// Whether a text is always divided after a single newline between text and a letter.
    pub(super) lines: bool,
    /// Whether a match of `std::regex` can be as long as the text.
    pub(super) recurses: bool,
    /// Kind of text that takes more than linear time.
    pub(super) quirk: Quirk,
}

/// A kind of text on which a pre-tokenizer takes quadratic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quirk {
    None,
    /// Digits in groups of three from the right: each group looks ahead over all following digits.
    Digits,
    /// ASCII digits in groups of three from the right; the only other divisions are between digits and the rest.
    OnlyDigits,
    /// Spaces before a character that is neither a letter nor punctuation: each is tried as the start of trailing
    /// space.
    TrailingSpace,
    /// Characters that become bytes: the output is copied for each of them (llama-vocab.cpp, `resegment`).
    Bytes,
    /// Spaces in blocks of 512: each block searches for a newline after all following spaces.
    SpaceBlocks,
}

impl Rules {
    const UNKNOWN: Self = Self { words: false, lines: false, recurses: true, quirk: Quirk::None };
    /// Words and lines are divided by code that does not recurse.
    const SPLIT: Self = Self { words: true, lines: true, recurses: false, quirk: Quirk::None };
    /// Words and lines are divided by `std::regex`.
    const REGEX: Self = Self { recurses: true, ..Self::SPLIT };
    /// Lines are divided, and each line is a single word.
    const LINES: Self = Self { words: false, ..Self::SPLIT };
    /// The text is not divided, and nothing recurses.
    const WHOLE: Self = Self { words: false, lines: false, ..Self::SPLIT };

    /// Returns the rules of a vocabulary kind that has no pre-tokenizer.
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

    /// Returns the rules of a pre-tokenizer by name, or `None` for an unknown name.
    pub(super) fn of_pre_tokenizer(name: &str) -> Option<Self> {
        Some(match name {
            // llama.cpp's own code, or expressions that match one character.
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
            // A match continues after a space.
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

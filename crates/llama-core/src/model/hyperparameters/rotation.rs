//! The part of a head that is rotated by its position.

use super::Keys;

/// Architectures whose models, or some of them, rotate nothing (llama-model.cpp, `llama_model_rope_type`).
const MAY_ROTATE_NOTHING: &[&str] = &[
    "clip",
    "gpt2",
    "gptj",
    "mpt",
    "refact",
    "bloom",
    "mamba",
    "mamba2",
    "jamba",
    "jina-bert-v2",
    "t5",
    "t5encoder",
    "jais",
    "rwkv6",
    "rwkv6qwen2",
    "rwkv7",
    "arwkv7",
    "wavtokenizer-dec",
    "nemotron_h",
    "nemotron_h_moe",
    "kimi-linear",
    "kimi-k3",
    "glm5-next",
    "bert",
    "granitehybrid",
];

pub(super) fn flaw(keys: Keys<'_>) -> Option<String> {
    let sizes = [
        ("rope.dimension_count", "attention.key_length"),
        ("rope.dimension_count_swa", "attention.key_length_swa"),
    ];
    sizes.into_iter().find_map(|(name, size)| dimensions(keys, name, size)).or_else(|| sections(keys))
}

/// Checks the number of rotated values. With 0, ggml's loop over the other values never advances, and an odd number
/// fails an assertion on ggml's threads (ops.cpp, `ggml_compute_forward_rope`).
fn dimensions(keys: Keys<'_>, name: &str, size: &str) -> Option<String> {
    let value = keys.number(name)?;
    if !value.is_multiple_of(2) || (value == 0 && !keys.is_one_of(MAY_ROTATE_NOTHING)) {
        return Some(keys.wrong(name, value, "an even number of at least 2"));
    }
    let (head, what) = head(keys, size)?;
    (value > head).then(|| {
        keys.wrong(name, value, format_args!("at most the size of a head, which is {head} by {what}"))
    })
}

/// Returns the size of a head, and the keys from which it follows.
pub(super) fn head(keys: Keys<'_>, size: &str) -> Option<(u32, String)> {
    if let Some(head) = keys.number(size) {
        return Some((head, size.to_owned()));
    }
    if let Some(head) = keys.number("attention.key_length") {
        return Some((head, "attention.key_length".to_owned()));
    }
    let heads =
        u32::try_from(*keys.numbers("attention.head_count").first()?).ok().filter(|heads| *heads > 0)?;
    Some((keys.number("embedding_length")? / heads, "embedding_length and attention.head_count".to_owned()))
}

/// Checks the sections of a head. Each pair of a head is rotated by one of up to four positions: ggml cycles through
/// the sections and divides by their sum (ops.cpp, `ggml_mrope_cache_init`).
fn sections(keys: Keys<'_>) -> Option<String> {
    let name = "rope.dimension_sections";
    if !keys.has(name) {
        return None;
    }
    let sections = keys.numbers(name);
    let sum: i64 = sections.iter().sum();
    let is_empty = !sections.is_empty() && sections.iter().all(|section| *section == 0);
    if is_empty && keys.is_one_of(ALWAYS_IN_SECTIONS) {
        return Some(keys.wrong(name, format_args!("{sections:?}"), "a list with a number above 0"));
    }
    let (head, what) = head(keys, "attention.key_length")?;
    (sum > i64::from(head)).then(|| {
        let must = format!("a list whose sum is at most the size of a head, which is {head} by {what}");
        keys.wrong(name, format_args!("{sections:?}"), must)
    })
}

/// Architectures whose positions have four dimensions in every model (llama-model.cpp, `llama_model_rope_type`).
const ALWAYS_IN_SECTIONS: &[&str] =
    &["qwen2vl", "paddleocr", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "clef", "qwen4exp", "qwen3tts"];

#[cfg(test)]
mod tests {
    use llama_gguf::Value;

    use super::super::tests::{assert_known, flaw_of};
    use super::*;

    fn flaw(architecture: &str, name: &str, value: impl Into<Value>) -> Option<String> {
        let size = [("embedding_length", 64_u32.into()), ("attention.head_count", 2_u32.into())];
        let experts = ("expert_used_count", 1_u32.into());
        let [one, other] = size;
        flaw_of(architecture, &[one, other, experts, (name, value.into())])
    }

    #[test]
    fn llama_cpp_knows_every_architecture() {
        assert_known([MAY_ROTATE_NOTHING, ALWAYS_IN_SECTIONS].concat(), []);
    }

    #[test]
    fn rotations_are_even_and_not_empty() {
        let name = "rope.dimension_count";
        assert_eq!(flaw("llama", name, 32_u32), None);
        assert_eq!(flaw("gpt2", name, 0_u32), None);
        for value in [0_u32, 7] {
            let words = format!("llama.{name} is {value}, but must be an even number of at least 2");
            assert_eq!(flaw("llama", name, value), Some(words));
        }
        assert_eq!(
            flaw("qwen2", name, 34_u32).unwrap(),
            "qwen2.rope.dimension_count is 34, but must be at most the size of a head, which is 32 by embedding_length and \
             attention.head_count"
        );
        assert_eq!(
            flaw("qwen2", name, u32::MAX - 1).unwrap(),
            "qwen2.rope.dimension_count is 4294967294, but must be between 0 and 2147483647"
        );
    }

    #[test]
    fn sections_are_not_empty_and_fit_into_a_head() {
        let name = "rope.dimension_sections";
        assert_eq!(flaw("qwen2vl", name, vec![8_i32, 12, 12, 0]), None);
        assert_eq!(flaw("glm4", name, vec![0_i32; 4]), None);
        assert_eq!(
            flaw("qwen2vl", name, vec![0_i32; 4]).unwrap(),
            "qwen2vl.rope.dimension_sections is [0, 0, 0, 0], but must be a list with a number above 0"
        );
        assert_eq!(
            flaw("qwen3vl", name, vec![11_i32, 11, 11, 0]).unwrap(),
            "qwen3vl.rope.dimension_sections is [11, 11, 11, 0], but must be a list whose sum is at most the size of a head, \
             which is 32 by embedding_length and attention.head_count"
        );
    }
}

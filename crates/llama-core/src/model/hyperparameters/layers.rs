//! The number of layers and their kinds.

use super::{Keys, MAX_LAYERS};

/// Architectures with recurrent and other layers. The recurrent layers are those without heads of keys.
const HYBRIDS: &[&str] = &[
    "jamba",
    "plamo2",
    "granitehybrid",
    "lfm2",
    "lfm2moe",
    "lfm3",
    "kimi-linear",
    "kimi-k3",
    "bailingmoe3",
    "glm5-next",
];

pub(super) fn flaw(keys: Keys<'_>) -> Option<String> {
    hybrid(keys)
        .or_else(|| predicted(keys))
        .or_else(|| if keys.architecture.starts_with("t5") { t5(keys) } else { None })
        .or_else(|| compressed(keys))
        .or_else(|| indexers(keys))
        .or_else(|| taps(keys))
}

/// Checks that there are layers of both kinds. If all layers are of one kind, llama.cpp still fills in the inputs of
/// the other kind's layers when it decodes, which then have no memory (llama-graph.cpp,
/// `llm_graph_input_mem_hybrid`).
fn hybrid(keys: Keys<'_>) -> Option<String> {
    if !keys.is_one_of(HYBRIDS) {
        return None;
    }
    let name = "attention.head_count_kv";
    let heads = keys.per_layer(name).unwrap_or_default();
    let layers = &heads[..(keys.n_layer() - predicted_layers(keys)).min(heads.len())];
    let is_hybrid = layers.contains(&0) && layers.iter().any(|heads| *heads != 0);
    (!is_hybrid).then(|| {
        format!(
            "{} must be a list with 0 for recurrent layers and another number for the others, and contain both",
            keys.key(name)
        )
    })
}

fn predicted_layers(keys: Keys<'_>) -> usize {
    keys.number("nextn_predict_layers").map_or(0, |count| count as usize).min(keys.n_layer())
}

/// Checks that other layers precede the layers that predict further tokens.
fn predicted(keys: Keys<'_>) -> Option<String> {
    let name = "nextn_predict_layers";
    let predicted = keys.number(name)?;
    let layers = keys.number("block_count")?;
    (predicted >= layers && predicted > 0)
        .then(|| keys.wrong(name, predicted, format_args!("below block_count, {layers}")))
}

fn t5(keys: Keys<'_>) -> Option<String> {
    let few_or_many = keys.number("attention.relative_buckets_count").and_then(|value| buckets(keys, value));
    few_or_many.or_else(|| keys.number("decoder_block_count").and_then(|value| decoder_blocks(keys, value)))
}

/// Checks the number of buckets. A logarithm of it over the largest distance, 128, gives the row of a tensor
/// (llama-graph.cpp, llama_relative_position_bucket), which is out of bounds for too few or too many buckets.
fn buckets(keys: Keys<'_>, value: u32) -> Option<String> {
    let is_usable = (4..256).contains(&value) && value.is_multiple_of(4);
    (!is_usable).then(|| keys.wrong("attention.relative_buckets_count", value, "a multiple of 4 below 256"))
}

/// Checks the number of decoder layers. llama.cpp creates them without checking it (models/t5.cpp), and its arrays
/// have room for
/// 512. Heads and widths are those of the encoder's layers, of which there must be as many.
fn decoder_blocks(keys: Keys<'_>, value: u32) -> Option<String> {
    let most = u32::try_from(keys.n_layer().min(MAX_LAYERS)).unwrap_or(u32::MAX);
    let is_usable = (1..=most).contains(&value);
    (!is_usable)
        .then(|| keys.wrong("decoder_block_count", value, format_args!("between 1 and block_count, {most}")))
}

/// Checks the compressed layers of `deepseek4`. The cache of layers compressed by 4 is created even if there are
/// none, and divides by the size of their heads (llama-kv-cache.cpp, `attn_rot_k`).
fn compressed(keys: Keys<'_>) -> Option<String> {
    let name = "attention.compress_ratios";
    if keys.architecture != "deepseek4" || !keys.has(name) {
        return None;
    }
    let ratios = keys.numbers(name);
    let layers = keys.n_layer() - predicted_layers(keys);
    (!ratios.iter().take(layers).any(|ratio| *ratio == 4))
        .then(|| keys.wrong(name, format_args!("{ratios:?}"), "a list with a 4 for one of the layers"))
}

/// Architectures in which layers share the tokens that an indexer has chosen, and whose first layer must choose
/// tokens (models/glm-dsa.cpp, dots3note.cpp, glm5-next.cpp).
const INDEXERS: &[&str] = &["glm-dsa", "dots3note", "glm5-next", "mistral-large4", "hy_v4"];

fn indexers(keys: Keys<'_>) -> Option<String> {
    let name = "attention.indexer.types";
    if !keys.is_one_of(INDEXERS) || !keys.has(name) {
        return None;
    }
    let types = keys.numbers(name);
    (types.first().is_none_or(|first| *first == 0))
        .then(|| keys.wrong(name, format_args!("{types:?}"), "a list that begins with a number other than 0"))
}

/// Checks the taps of `limite`. Each layer reads that number of indices from a list (models/limite.cpp).
fn taps(keys: Keys<'_>) -> Option<String> {
    let (name, list) = ("mudd.tap_count", "mudd.tap_indices");
    let taps = keys.number(name).filter(|taps| *taps > 0)?;
    let needed = keys.n_layer().saturating_mul(taps as usize);
    let indices = keys.numbers(list);
    if needed > indices.len() || needed > MAX_LAYERS {
        let must = format!(
            "at most 512 and the length of mudd.tap_indices, {}, divided by block_count",
            indices.len()
        );
        return Some(keys.wrong(name, taps, must));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_known, flaw_of};
    use super::*;

    #[test]
    fn llama_cpp_knows_every_architecture() {
        assert_known([HYBRIDS, INDEXERS].concat(), []);
    }

    #[test]
    fn decoders_have_layers_and_buckets() {
        let flaw = |name: &str, value: u32| {
            let layers = [("block_count", 2_u32.into()), ("attention.head_count", 2_u32.into())];
            let [one, other] = layers;
            flaw_of("t5", &[one, other, (name, value.into())])
        };
        assert_eq!(flaw("decoder_block_count", 2), None);
        for value in [0, 3, 513] {
            let words =
                format!("t5.decoder_block_count is {value}, but must be between 1 and block_count, 2");
            assert_eq!(flaw("decoder_block_count", value), Some(words));
        }
        assert_eq!(flaw("attention.relative_buckets_count", 32), None);
        for value in [0, 1, 2, 3, 30, 256] {
            let words = format!(
                "t5.attention.relative_buckets_count is {value}, but must be a multiple of 4 below 256"
            );
            assert_eq!(flaw("attention.relative_buckets_count", value), Some(words));
        }
    }

    #[test]
    fn layers_are_of_both_kinds() {
        let flaw = |heads: Vec<u32>| {
            let layers = [("block_count", 3_u32.into()), ("attention.head_count", 2_u32.into())];
            let [one, other] = layers;
            flaw_of("lfm2", &[one, other, ("attention.head_count_kv", heads.into())])
        };
        assert_eq!(flaw(vec![0, 2, 0]), None);
        for heads in [vec![0, 0, 0], vec![2, 2, 2], vec![0]] {
            let words = "lfm2.attention.head_count_kv must be a list with 0 for recurrent layers and another number for \
                         the others, and contain both";
            assert_eq!(flaw(heads).unwrap(), words);
        }
    }
    #[test]
    fn lists_of_indexers_begin_with_one() {
        for architecture in ["glm-dsa", "dots3note"] {
            let flaw = |types: Vec<u32>| {
                let types = ("attention.indexer.types", types.into());
                let heads = ("attention.head_count", 2_u32.into());
                flaw_of(architecture, &[("block_count", 3_u32.into()), heads, types])
            };
            assert!(!flaw(vec![1, 0, 0]).unwrap_or_default().contains("indexer.types"));
            for types in [vec![], vec![0, 1, 1]] {
                let words = format!(
                    "{architecture}.attention.indexer.types is {types:?}, but must be a list that begins with a number other \
                     than 0"
                );
                assert_eq!(flaw(types).unwrap(), words);
            }
        }
    }
}

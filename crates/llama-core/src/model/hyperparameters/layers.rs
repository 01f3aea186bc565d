//! The number of layers and their kinds.

use core::fmt::Display;

use super::{Keys, MAX_LAYERS, rotation};

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
    let layers = &heads[..trunk_layers(keys).min(heads.len())];
    let is_hybrid = layers.contains(&0) && layers.iter().any(|heads| *heads != 0);
    (!is_hybrid).then(|| {
        format!(
            "{} must be a list with 0 for recurrent layers and another number for the others, and contain both",
            keys.key(name)
        )
    })
}

/// Returns the number of layers without those that predict further tokens.
fn trunk_layers(keys: Keys<'_>) -> usize {
    let predicted = keys.number("nextn_predict_layers").map_or(0, |count| count as usize);
    keys.n_layer().saturating_sub(predicted)
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
    if keys.architecture != "deepseek4" {
        return None;
    }
    if let Some(flaw) = indexer_heads(keys) {
        return Some(flaw);
    }
    if !keys.has(name) {
        return None;
    }
    let ratios = keys.numbers(name);
    let layers = trunk_layers(keys);
    (!ratios.iter().take(layers).any(|ratio| *ratio == 4))
        .then(|| keys.wrong(name, format_args!("{ratios:?}"), "a list with a 4 for one of the layers"))
}

/// Checks the heads of the indexers of `deepseek4`. All its layers have a window, so the cache of layers without one is empty.
/// If its heads are as long as those of the indexer, llama.cpp treats it as the indexer's cache, and divides by the size of
/// the heads in it, 0 (llama-kv-cache.cpp, `attn_rot_k`). DeepSeek-V4 has heads of 512 and indexers with heads of 128.
fn indexer_heads(keys: Keys<'_>) -> Option<String> {
    let name = "attention.indexer.key_length";
    let indexer = keys.number(name)?;
    let (head, what) = rotation::head(keys, "attention.key_length")?;
    (indexer == head).then(|| {
        keys.wrong(name, indexer, format_args!("another number than the size of a head, {head} by {what}"))
    })
}

/// Architectures in which layers share the tokens that an indexer has chosen, and whose first layer must choose
/// tokens (models/glm-dsa.cpp, mistral-large4.cpp, hy-v4.cpp).
const INDEXERS: &[&str] = &["glm-dsa", "mistral-large4", "hy_v4"];
/// Key of the list with a number other than 0 for each layer that has an indexer.
const TYPES: &str = "attention.indexer.types";

fn indexers(keys: Keys<'_>) -> Option<String> {
    if !keys.has(TYPES) {
        return None;
    }
    match keys.architecture {
        "dots3note" => own_indexers(keys),
        "glm5-next" => first_indexer(keys),
        _ if keys.is_one_of(INDEXERS) => {
            let types = keys.numbers(TYPES);
            let must = "a list that begins with a number other than 0";
            types.first().is_none_or(|first| *first == 0).then(|| wrong_types(keys, &types, must))
        }
        _ => None,
    }
}

fn wrong_types(keys: Keys<'_>, types: &[i64], must: impl Display) -> String {
    keys.wrong(TYPES, format_args!("{types:?}"), must)
}

/// Checks that each layer of `dots3note` without a window has an indexer. The graph reads its tensors, which llama.cpp loads
/// for the layers in the list only (models/dots3note.cpp). Both lists may be shorter than the model, and continue with 0.
/// llama.cpp's converter writes a 1 for exactly the layers without a window.
fn own_indexers(keys: Keys<'_>) -> Option<String> {
    let windows = "attention.sliding_window_pattern";
    let (types, pattern) = (keys.list(TYPES)?, keys.list(windows)?);
    let is_set = |list: &[i64], layer: usize| list.get(layer).is_some_and(|number| *number != 0);
    let layers = 0..trunk_layers(keys);
    if let Some(layer) = layers.clone().find(|layer| !is_set(&pattern, *layer) && !is_set(&types, *layer)) {
        let must =
            format_args!("a list with a number other than 0 for layer {layer}, for which {windows} has 0");
        return Some(wrong_types(keys, &types, must));
    }
    // For a cache without layers llama.cpp sets inputs that are not allocated, or divides by the size of the heads, 0
    // (llama-kv-cache.cpp, `attn_rot_k`).
    let n_windows = layers.clone().filter(|layer| is_set(&pattern, *layer)).count();
    let must = "a list with 0 for some layers and another number for others";
    (n_windows == 0 || n_windows == layers.len())
        .then(|| keys.wrong(windows, format_args!("{pattern:?}"), must))
}

/// Checks that the first layer of `glm5-next` with attention has an indexer, which later layers may share. Recurrent layers
/// have none, whatever the list contains for them (models/glm5-next.cpp; llama-model.cpp, `filter_idx`).
fn first_indexer(keys: Keys<'_>) -> Option<String> {
    let (types, heads) = (keys.per_layer(TYPES)?, keys.per_layer("attention.head_count_kv")?);
    let layer = heads.iter().take(trunk_layers(keys)).position(|heads| *heads != 0)?;
    let must = format_args!("a list with a number other than 0 for layer {layer}, the first with attention");
    types.get(layer).is_none_or(|kind| *kind == 0).then(|| wrong_types(keys, &types, must))
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
    use llama_gguf::Value;

    use super::super::tests::{assert_known, flaw_of};
    use super::*;

    #[test]
    fn llama_cpp_knows_every_architecture() {
        assert_known([HYBRIDS, INDEXERS, &["dots3note", "glm5-next"]].concat(), [TYPES]);
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
        for architecture in INDEXERS {
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

    #[test]
    fn layers_without_a_window_have_an_indexer() {
        let flaw = |pattern: Value, types: Value| {
            let numbers = [("block_count", 4_u32), ("nextn_predict_layers", 1), ("attention.head_count", 2)];
            let mut values: Vec<(&str, Value)> = numbers.map(|(name, value)| (name, value.into())).to_vec();
            values.extend([("attention.sliding_window_pattern", pattern), (TYPES, types)]);
            flaw_of("dots3note", &values)
        };
        // The lists of converted files, which end before the layer that predicts further tokens.
        assert_eq!(flaw(vec![false, true, true].into(), vec![true, false, false].into()), None);
        assert_eq!(flaw(vec![true, false, true].into(), vec![false, true, false].into()), None);
        // Layers with a window may have one too, and lists may be longer than the model.
        assert_eq!(flaw(vec![1_u32, 0, 1, 1, 1].into(), vec![1_u32; 4].into()), None);
        for (pattern, types, layer) in [
            (vec![0_u32, 1, 0], vec![1_u32, 0], 2),
            (vec![0, 1, 0], vec![0, 1, 1], 0),
            (vec![0, 1], vec![1, 0], 2),
            (vec![1, 0, 1], vec![], 1),
            (vec![], vec![1], 1),
        ] {
            let words = format!(
                "dots3note.attention.indexer.types is {types:?}, but must be a list with a number other than 0 for layer \
                 {layer}, for which attention.sliding_window_pattern has 0"
            );
            assert_eq!(flaw(pattern.into(), types.into()), Some(words));
        }
        for pattern in [vec![0_u32; 3], vec![1; 3], vec![0, 0, 0, 1], vec![1, 1, 1, 0]] {
            let words = format!(
                "dots3note.attention.sliding_window_pattern is {pattern:?}, but must be a list with 0 for some layers and \
                 another number for others"
            );
            assert_eq!(flaw(pattern.into(), vec![1_u32; 3].into()), Some(words));
        }
    }

    #[test]
    fn indexers_have_heads_of_another_size() {
        let flaw = |values: &[(&str, u32)]| {
            let values: Vec<(&str, Value)> =
                values.iter().map(|&(name, value)| (name, value.into())).collect();
            flaw_of("deepseek4", &values)
        };
        let heads = [("attention.head_count", 2), ("embedding_length", 256)];
        let with = |more: &[(&'static str, u32)]| [&heads[..], more].concat();
        assert_eq!(
            flaw(&with(&[("attention.key_length", 512), ("attention.indexer.key_length", 128)])),
            None
        );
        assert_eq!(
            flaw(&with(&[("attention.key_length", 64), ("attention.indexer.key_length", 64)])).unwrap(),
            "deepseek4.attention.indexer.key_length is 64, but must be another number than the size of a head, 64 by \
             attention.key_length"
        );
        assert_eq!(
            flaw(&with(&[("attention.indexer.key_length", 128)])).unwrap(),
            "deepseek4.attention.indexer.key_length is 128, but must be another number than the size of a head, 128 by \
             embedding_length and attention.head_count"
        );
    }

    #[test]
    fn the_first_layer_with_attention_has_an_indexer() {
        let flaw = |heads: Vec<u32>, types: Value| {
            let layers = [("block_count", 3_u32.into()), ("attention.head_count", 2_u32.into())];
            let [one, other] = layers;
            flaw_of("glm5-next", &[one, other, ("attention.head_count_kv", heads.into()), (TYPES, types)])
        };
        assert_eq!(flaw(vec![0, 1, 1], vec![0_u32, 1, 0].into()), None);
        assert_eq!(flaw(vec![1, 0, 1], vec![true, false, false].into()), None);
        assert_eq!(flaw(vec![0, 1, 1], 1_u32.into()), None);
        for (heads, types, layer) in [
            (vec![0, 1, 1], vec![1_u32, 0, 1], 1),
            (vec![1, 0, 1], vec![0, 1, 1], 0),
            (vec![0, 0, 1], vec![1, 1], 2),
        ] {
            let words = format!(
                "glm5-next.attention.indexer.types is {types:?}, but must be a list with a number other than 0 for layer \
                 {layer}, the first with attention"
            );
            assert_eq!(flaw(heads, types.into()), Some(words));
        }
    }
}

//! Ranges of single numbers, for all architectures.

use super::{Keys, LAYERS};
use crate::model::tree_names::KEYS;

/// Ranges of numbers, where they are stated: the lowest value, the highest value, and the keys.
const RANGES: &[(u32, u32, &[&str])] = &[
    // Widths and counts that are divisors, or sizes of tensors and loops.
    (1, MAX_SIZE, &["embedding_length", "features_length", "target_hidden_size"]),
    (1, MAX_SIZE, &["ssm.inner_size", "posnet.embedding_length", "convnext.embedding_length"]),
    (1, 65_536, &["wkv.head_size", "kda.head_dim", "ssm.state_size", "ssm.time_step_rank"]),
    (1, 256, &["ssm.conv_kernel", "shortconv.l_cache"]),
    (1, 65_536, &["full_attention_interval", "experts_per_group"]),
    (1, 65_536, &["attention.output_group_count", "conv_group_size", "decision.head_count"]),
    (1, 65_536, &["attention.indexer.block_size", "attention.indexer.kpool"]),
    (1, 4, &["token_shift_count"]),
    (0, 65_536, &["attention.indexer.head_count", "attention.indexer.key_length"]),
    (0, 65_536, &["attention.key_length", "attention.key_length_swa", "attention.key_length_mla"]),
    (0, 65_536, &["attention.value_length", "attention.value_length_swa", "attention.value_length_mla"]),
    (0, 65_536, &["attention.key_length_mla_swa", "attention.value_length_mla_swa"]),
    (0, 4096, &["attention.head_count", "attention.head_count_kv", "ssm.group_count"]),
    (0, MAX_SIZE, &["embedding_length_out", "embedding_length_per_layer_input"]),
    (0, 1 << 30, &["feed_forward_length"]),
    (0, MAX_SIZE, &["expert_feed_forward_length", "expert_shared_feed_forward_length"]),
    // A context requests that number of cells for each of up to 256 sequences, in 32 bits (llama-kv-cache-iswa.cpp).
    (0, (1 << 23), &["attention.sliding_window"]),
    // Each iteration, copy or loop is a part of the graph.
    (0, 256, &["hyper_connection.sinkhorn_iterations", "hyper_connection.count", "num_loops"]),
    (0, LAYERS, &["block_count", "leading_dense_block_count", "nextn_predict_layers"]),
    (0, LAYERS, &["posnet.block_count", "convnext.block_count", "decision.block_count"]),
    (0, LAYERS, &["decision.routing_block_count", "hash_layer_count", "n_deepstack_layers"]),
    (0, LAYERS, &["mudd.tap_count", "attention.shared_kv_layers"]),
];

/// Architectures that read a key (models/*.cpp, `load_arch_hparams`). `llama_model_save_to_file` writes these keys
/// for all architectures, with 0 for those that do not read them.
const READERS: &[(&[&str], &[&str])] = &[
    (
        &["ssm.inner_size", "ssm.state_size", "ssm.time_step_rank"],
        &[
            "clef",
            "falcon-h1",
            "granitehybrid",
            "jamba",
            "mamba",
            "mamba2",
            "nemotron_h",
            "nemotron_h_moe",
            "plamo2",
            "qwen35",
            "qwen35moe",
            "qwen3next",
            "qwen4exp",
        ],
    ),
    (
        &["ssm.conv_kernel"],
        &[
            "bailingmoe3",
            "clef",
            "falcon-h1",
            "glm5-next",
            "granitehybrid",
            "jamba",
            "kimi-k3",
            "kimi-linear",
            "mamba",
            "mamba2",
            "nemotron_h",
            "nemotron_h_moe",
            "plamo2",
            "qwen35",
            "qwen35moe",
            "qwen3next",
            "qwen4exp",
        ],
    ),
    (&["shortconv.l_cache"], &["lfm2", "lfm2moe", "lfm3"]),
    (&["wkv.head_size", "token_shift_count"], &["arwkv7", "rwkv6", "rwkv6qwen2", "rwkv7"]),
    (&["kda.head_dim"], &["bailingmoe3", "glm5-next", "kimi-k3", "kimi-linear"]),
    (&["posnet.embedding_length", "convnext.embedding_length"], &["wavtokenizer-dec"]),
    (&["experts_per_group"], &["grovemoe"]),
    (&["attention.output_group_count"], &["deepseek4", "deepseek41", "dflash"]),
    (&["attention.indexer.block_size"], &["minimax-m3"]),
    (&["attention.indexer.kpool"], &["glm5-next"]),
];

/// Returns whether the number is the 0 of a key that the architecture does not read.
fn is_unused(keys: Keys<'_>, name: &str, value: i64) -> bool {
    let mut readers = READERS.iter().filter(|(names, _)| names.contains(&name));
    value == 0 && readers.any(|(_, architectures)| !keys.is_one_of(architectures))
}

/// The largest width of a tensor, some sixty times the width of the largest models.
const MAX_SIZE: u32 = 1 << 20;

/// Keys whose number is an id of a token or a kind, for which llama.cpp reads all ones as none.
const IDS: &[&str] = &[
    "decoder_start_token_id",
    "pooling_type",
    "adapters.token_ids_activate",
    "adapters.token_ids_substitute",
    "ple.eos_token_id",
    "ple.image_token_id",
    "engram.pad_token_id",
];
/// Keys whose lists contain -1 for none.
const NONE_IS_NEGATIVE: &[&str] =
    &["deepstack_mapping", "mudd.tap_indices", "attention.indexer.candidate_source_layer"];

pub(super) fn flaw(keys: Keys<'_>) -> Option<String> {
    RANGES
        .iter()
        .flat_map(|(low, high, names)| names.iter().map(move |name| (*low, *high, *name)))
        .find_map(|(low, high, name)| {
            let range = i64::from(low)..=i64::from(high);
            let is_wrong = |value: &i64| !range.contains(value) && !is_unused(keys, name, *value);
            let value = keys.numbers(name).into_iter().find(is_wrong)?;
            Some(keys.wrong(name, value, format_args!("between {low} and {high}")))
        })
        .or_else(|| KEYS.iter().find_map(|name| outside_c_int(keys, name)))
        .or_else(|| keys.metadata.keys().find_map(|key| epsilon(key, keys.metadata.float(key)?)))
}

/// Finds a number that does not fit into C's `int`, to which llama.cpp converts most numbers.
fn outside_c_int(keys: Keys<'_>, name: &str) -> Option<String> {
    if IDS.contains(&name) {
        return None;
    }
    let low = if NONE_IS_NEGATIVE.contains(&name) { -1 } else { 0 };
    let range = low..=i64::from(i32::MAX);
    let value = keys.numbers(name).into_iter().find(|value| !range.contains(value))?;
    Some(keys.wrong(name, value, format_args!("between {low} and {}", i32::MAX)))
}

/// Checks the number that is added to a variance before a division. ggml asserts on its threads that it is not
/// negative (ops.cpp, `ggml_compute_forward_norm` and similar functions).
fn epsilon(key: &str, value: f32) -> Option<String> {
    let is_usable = !key.ends_with("epsilon") || (value.is_finite() && value >= 0.0);
    (!is_usable).then(|| format!("{key} is {value}, but must be a finite number of at least 0"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_known, flaw_of};
    use super::*;

    #[test]
    fn llama_cpp_knows_every_key() {
        assert_known([], RANGES.iter().flat_map(|(_, _, names)| names.iter().copied()));
        assert_known([], IDS.iter().chain(NONE_IS_NEGATIVE).copied());
        for (names, architectures) in READERS {
            assert_known(architectures.iter().copied(), names.iter().copied());
        }
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let flaw_in = |architecture: &str, name: &str, value: u32| {
            flaw_of(architecture, &[("attention.head_count", 1_u32.into()), (name, value.into())])
        };
        let flaw = |name: &str, value: u32| flaw_in("llama", name, value);
        for (low, high, names) in RANGES {
            for name in *names {
                let must = format!("but must be between {low} and {high}");
                assert_eq!(flaw(name, high + 1), Some(format!("llama.{name} is {}, {must}", high + 1)));
                if *low == 0 {
                    continue;
                }
                let readers = READERS.iter().find(|(names, _)| names.contains(name));
                let Some((_, architectures)) = readers else {
                    assert_eq!(flaw(name, 0), Some(format!("llama.{name} is 0, {must}")));
                    continue;
                };
                // Files that llama.cpp saves have this 0.
                assert_eq!(flaw(name, 0), None);
                for architecture in *architectures {
                    let expected = format!("{architecture}.{name} is 0, {must}");
                    assert_eq!(flaw_in(architecture, name, 0), Some(expected));
                }
            }
        }
        assert_eq!(
            flaw("vocab_size", 1 << 31).unwrap(),
            "llama.vocab_size is 2147483648, but must be between 0 and 2147483647"
        );
        assert_eq!(flaw("decoder_start_token_id", u32::MAX), None);
    }

    #[test]
    fn every_number_of_a_list_is_checked() {
        let list = vec![8_u32, 0, 4097];
        assert_eq!(
            flaw_of("openelm", &[("attention.head_count", list.into())]).unwrap(),
            "openelm.attention.head_count is 4097, but must be between 0 and 4096"
        );
        let list = vec![-1_i32, 3];
        let heads = ("attention.head_count", 1_u32.into());
        assert_eq!(flaw_of("granite", &[heads, ("deepstack_mapping", list.clone().into())]), None);
        assert_eq!(
            flaw_of("glm4", &[("rope.dimension_sections", list.into())]).unwrap(),
            "glm4.rope.dimension_sections is -1, but must be between 0 and 2147483647"
        );
    }

    #[test]
    fn epsilons_are_not_negative() {
        assert_eq!(epsilon("llama.attention.layer_norm_rms_epsilon", 1e-5), None);
        assert_eq!(epsilon("llama.rope.freq_base", -1.0), None);
        for value in [-1.0, f32::NAN, f32::INFINITY] {
            assert!(epsilon("llama.attention.layer_norm_rms_epsilon", value).is_some(), "{value}");
        }
    }
}

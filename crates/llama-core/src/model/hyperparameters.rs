//! Looks at a file's hyperparameters before llama.cpp does: at those that it uses unseen, where a wrong one reads out of
//! bounds, or never ends.

use core::fmt::Display;

use llama_gguf::TensorInfo;

use super::effective::Effective;
use crate::error::{ErrorKind, Result};

/// Refuses what llama.cpp would take and fail on where the failure cannot be contained.
pub(super) fn check(model: &dyn Display, metadata: Effective<'_>, tensors: &[TensorInfo]) -> Result<()> {
    let flaw = flaw(metadata).or_else(|| tensors.iter().find_map(quantised_row));
    match flaw {
        None => Ok(()),
        Some(reason) => Err(ErrorKind::Hyperparameter { model: model.to_string(), reason }.into()),
    }
}

fn flaw(metadata: Effective<'_>) -> Option<String> {
    // What has another type than it should is refused by llama.cpp.
    let architecture = metadata.text("general.architecture")?;
    let find = |name: &str| {
        let key = format!("{architecture}.{name}");
        let value = metadata.number(&key)?;
        Some((key, value))
    };
    let rotated = ["rope.dimension_count", "rope.dimension_count_swa"];
    let states = ["ssm.conv_kernel", "wkv.head_size"];
    let has_states = states.into_iter().any(|name| find(name).is_some());
    rotated
        .into_iter()
        .filter_map(find)
        .find_map(|(key, value)| rotation(&key, value, has_states))
        .or_else(|| if architecture.starts_with("t5") { t5(find) } else { None })
        .or_else(|| heads(find))
        .or_else(|| if architecture == "jamba" { hybrid(metadata) } else { None })
        .or_else(|| metadata.keys().find_map(|key| epsilon(key, metadata.float(key)?)))
}

/// Each head of keys is shared by as many heads of queries, which ggml asserts when the graph is made (ggml.c,
/// `ggml_can_mul_mat`). Numbers that differ between the layers are lists, and not looked at.
fn heads(find: impl Fn(&str) -> Option<(String, u32)>) -> Option<String> {
    let (_, heads) = find("attention.head_count")?;
    let (key, shared) = find("attention.head_count_kv").filter(|(_, shared)| *shared > 0)?;
    (!heads.is_multiple_of(shared))
        .then(|| format!("{key} is {shared}: it is a divisor of attention.head_count, {heads}"))
}

/// A layer without heads is a recurrent one (models/jamba.cpp). Where all are of one kind, llama.cpp fills in the inputs
/// of the other kind's layers when it decodes, which then have no memory (llama-graph.cpp, `llm_graph_input_mem_hybrid`).
fn hybrid(metadata: Effective<'_>) -> Option<String> {
    let key = "jamba.attention.head_count_kv";
    let recurrent = metadata.zeros(key).unwrap_or_default();
    let n_layer = metadata.number("jamba.block_count").map_or(0, |n| n as usize);
    let layers = &recurrent[..n_layer.min(recurrent.len())];
    let is_hybrid = layers.contains(&true) && layers.contains(&false);
    (!is_hybrid)
        .then(|| format!("{key} is a list with 0 for recurrent layers and another number for the others"))
}

/// What is added to a variance before it is divided by: ggml asserts on its threads that it is not below 0 (ops.cpp,
/// `ggml_compute_forward_norm` and its kin).
fn epsilon(key: &str, value: f32) -> Option<String> {
    let is_usable = !key.ends_with("epsilon") || (value.is_finite() && value >= 0.0);
    (!is_usable).then(|| format!("{key} is {value}: it is a small number, 0 or more"))
}

fn t5(find: impl Fn(&str) -> Option<(String, u32)>) -> Option<String> {
    let few_or_many = find("attention.relative_buckets_count").and_then(|(key, value)| buckets(&key, value));
    few_or_many.or_else(|| find("decoder_block_count").and_then(|(key, value)| decoder_blocks(&key, value)))
}

/// With 0 rotated values ggml's loop over the values that are not never moves on, and an odd number fails an assertion on
/// its threads (ops.cpp, ggml_compute_forward_rope). Models with states that rotate nothing may
/// say so with a 0.
fn rotation(key: &str, value: u32, may_rotate_nothing: bool) -> Option<String> {
    if value.is_multiple_of(2) && (value > 0 || may_rotate_nothing) {
        return None;
    }
    Some(format!("{key} is {value}: it is an even number, at least 2"))
}

/// A logarithm of the buckets over the largest distance, 128, gives the row of a tensor (llama-graph.cpp,
/// llama_relative_position_bucket): outside of the tensor for so few or so many.
fn buckets(key: &str, value: u32) -> Option<String> {
    let is_usable = (4..256).contains(&value) && value.is_multiple_of(4);
    (!is_usable).then(|| format!("{key} is {value}: it is a multiple of 4 below 256"))
}

/// The layers of the decoder are made without a look at their number (models/t5.cpp), and arrays have 512
/// (llama-hparams.h).
fn decoder_blocks(key: &str, value: u32) -> Option<String> {
    const MAX_LAYERS: u32 = 512;
    let is_usable = (1..=MAX_LAYERS).contains(&value);
    (!is_usable).then(|| format!("{key} is {value}: it is between 1 and {MAX_LAYERS}"))
}

/// Of the kinds of tokens llama.cpp takes the first row, and adds it to every token (models/bert.cpp).
pub(super) fn is_added(name: &[u8]) -> bool {
    name == b"token_types.weight"
}

/// Norms and biases are added and multiplied by kernels that have no quantised form, which ggml finds out on its threads
/// (binary-ops.cpp). llama.cpp's own tools quantise matrices only.
fn quantised_row(tensor: &TensorInfo) -> Option<String> {
    let (name, ty) = (tensor.name(), tensor.tensor_type());
    let is_row = tensor.shape().iter().skip(1).all(|size| *size == 1);
    let what = match (is_row, is_added(name.as_bytes())) {
        (true, _) => "has one dimension and the type",
        (_, true) => "is added to the embeddings and has the type",
        _ => return None,
    };
    ty.is_quantized().then(|| format!("tensor {name} {what} {ty}: only matrices can be quantised"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_are_even_and_not_nothing() {
        assert_eq!(rotation("k", 64, false), None);
        assert_eq!(rotation("k", 0, true), None);
        assert_eq!(rotation("k", 0, false).unwrap(), "k is 0: it is an even number, at least 2");
        assert!(rotation("k", 63, true).is_some());
    }

    #[test]
    fn buckets_stay_inside_of_their_tensor() {
        assert_eq!(buckets("k", 32), None);
        for value in [0, 1, 2, 3, 30, 256, u32::MAX] {
            assert!(buckets("k", value).is_some(), "{value}");
        }
    }

    #[test]
    fn variances_stay_above_nothing() {
        assert_eq!(epsilon("llama.attention.layer_norm_rms_epsilon", 1e-5), None);
        assert_eq!(epsilon("llama.rope.freq_base", -1.0), None);
        for value in [-1.0, f32::NAN, f32::INFINITY] {
            assert!(epsilon("llama.attention.layer_norm_rms_epsilon", value).is_some(), "{value}");
        }
    }

    #[test]
    fn heads_are_shared_evenly() {
        assert_eq!(heads_of(4, 2), None);
        assert_eq!(heads_of(4, 0), None);
        assert!(heads_of(4, 3).unwrap().contains("head_count_kv is 3"));
    }

    fn heads_of(all: u32, shared: u32) -> Option<String> {
        heads(|name| {
            let value = if name.ends_with("_kv") { shared } else { all };
            Some((name.to_owned(), value))
        })
    }

    #[test]
    fn decoders_have_layers() {
        assert_eq!(decoder_blocks("k", 512), None);
        assert!(decoder_blocks("k", 0).is_some() && decoder_blocks("k", u32::MAX).is_some());
    }
}

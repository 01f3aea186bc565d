//! Looks at a file's hyperparameters before llama.cpp does: at those that it uses unseen, where a wrong one reads out of
//! bounds, or never ends.

use llama_gguf::{Metadata, TensorInfo};

use super::source::ModelSource;
use crate::error::{ErrorKind, Result};

/// Refuses what llama.cpp would take and fail on where the failure cannot be contained.
pub(super) fn check(source: &ModelSource, metadata: &Metadata, tensors: &[TensorInfo]) -> Result<()> {
    let flaw = flaw(metadata).or_else(|| tensors.iter().find_map(quantised_row));
    match flaw {
        None => Ok(()),
        Some(reason) => Err(ErrorKind::Hyperparameter { model: source.to_string(), reason }.into()),
    }
}

fn flaw(metadata: &Metadata) -> Option<String> {
    // What has another type than it should is refused by llama.cpp.
    let architecture = metadata.find::<&str>("general.architecture").ok()??;
    let find = |name: &str| {
        let key = format!("{architecture}.{name}");
        let value = metadata.find::<u32>(&key).ok()??;
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

/// Norms and biases are added and multiplied by kernels that have no quantised form, which ggml finds out on its threads
/// (binary-ops.cpp). llama.cpp's own tools quantise matrices only.
fn quantised_row(tensor: &TensorInfo) -> Option<String> {
    let is_row = tensor.shape().iter().skip(1).all(|size| *size == 1);
    (is_row && tensor.tensor_type().is_quantized()).then(|| {
        format!(
            "tensor {} has one dimension and the type {}: only matrices can be quantised",
            tensor.name(),
            tensor.tensor_type()
        )
    })
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
    fn decoders_have_layers() {
        assert_eq!(decoder_blocks("k", 512), None);
        assert!(decoder_blocks("k", 0).is_some() && decoder_blocks("k", u32::MAX).is_some());
    }
}

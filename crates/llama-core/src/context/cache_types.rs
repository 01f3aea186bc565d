//! What a model can do with the types of its cached keys and values.

use crate::error::{ErrorKind, Result};
use crate::model::Model;

/// The smallest matrix that quantised keys are multiplied with.
const SMALLEST: u32 = 64;

/// Refuses quantised values where attention adds a bias for each distance, as T5's does: flash attention cannot, and
/// without it llama.cpp transposes the values element by element, which for blocks of several writes outside of its
/// buffers (llama-graph.cpp, build_attn_mha).
pub(super) fn check_values(model: &Model, values: llama_sys::ggml_type) -> Result<()> {
    if !is_quantised(values)
        || metadata_number(model, "attention.relative_buckets_count")?.is_none_or(|n| n == 0)
    {
        return Ok(());
    }
    let reason = "this model's attention adds a bias for each distance, and can do that with values of type f32, f16 and bf16 \
                  only"
        .to_owned();
    Err(ErrorKind::InvalidParameter { name: "type_v", value: "quantised".to_owned(), reason }.into())
}

fn is_quantised(kind: llama_sys::ggml_type) -> bool {
    use llama_sys::ggml_type;
    !matches!(kind, ggml_type::GGML_TYPE_F32 | ggml_type::GGML_TYPE_F16 | ggml_type::GGML_TYPE_BF16)
}

/// Whether llama.cpp can turn cached keys of this type to other positions, as `RoPE` turned them when they were computed.
/// Where it cannot, it fails an assertion on ggml's threads, which
/// cannot be contained (bf16: ggml-cpu/ops.cpp, ggml_compute_forward_rope), or follows a NULL pointer (quantised keys of
/// which no heads are multiplied with a Hadamard matrix: llama-kv-cache.cpp, build_rope_shift).
pub(super) fn can_turn_keys(model: &Model, keys: llama_sys::ggml_type) -> Result<bool> {
    use llama_sys::{ggml_type, llama_rope_type};
    if model.raw_rope_type()? == llama_rope_type::LLAMA_ROPE_TYPE_NONE {
        return Ok(true);
    }
    if is_quantised(keys) { has_matrix(model) } else { Ok(keys != ggml_type::GGML_TYPE_BF16) }
}

/// Whether the heads of all layers are as long as whole matrices, and turned as a whole (llama-kv-cache.cpp, the
/// constructor). The variable switches the matrices off.
fn has_matrix(model: &Model) -> Result<bool> {
    if std::env::var_os("LLAMA_ATTN_ROT_DISABLE").is_some() {
        return Ok(false);
    }
    let head = match metadata_number(model, "attention.key_length")? {
        Some(head) => head,
        None => model.n_embd().checked_div(model.n_head()?).unwrap_or(0),
    };
    let mut is_alike = head > 0 && head.is_multiple_of(SMALLEST);
    for key in ["attention.key_length_swa", "rope.dimension_count", "rope.dimension_count_swa"] {
        is_alike &= metadata_number(model, key)?.is_none_or(|other| other == head);
    }
    Ok(is_alike)
}

/// The value of a key of the model's architecture, where there is one and it is a number.
fn metadata_number(model: &Model, key: &str) -> Result<Option<u32>> {
    let Some(arch) = model.metadata_value("general.architecture")? else { return Ok(None) };
    let value = model.metadata_value(&format!("{arch}.{key}"))?;
    Ok(value.and_then(|value| value.parse().ok()))
}

//! Checks for contexts that a model cannot have: layers, scores and cache types that its file does not support.

use super::params::{ContextParams, PoolingType, invalid};
use crate::error::{ErrorKind, Result};
use crate::model::Model;

/// Length of the smallest Hadamard matrix that quantised keys are multiplied with.
const SMALLEST: u32 = 64;

/// The architecture whose only graph cannot read the memory of an MTP context, which has another type (llama-model.cpp,
/// `create_memory`; models/dots3note.cpp, `build_arch_graph`).
const WITHOUT_MTP: &str = "dots3note";

impl ContextParams {
    /// Refuses parameters that this model does not support.
    pub(super) fn check_for(&self, model: &Model) -> Result<()> {
        check_layers(model, self.is_mtp())?;
        // llama_init_from_model computes this and converts it to an integer.
        let original = f64::from(self.yarn_orig_ctx.max(model.n_ctx_train()));
        if self.rope_freq_scale > 0.0 && original / f64::from(self.rope_freq_scale) > f64::from(u32::MAX) {
            let reason = format!(
                "larger: contexts of {original} tokens would be stretched beyond {} tokens",
                u32::MAX
            );
            return Err(invalid("rope_freq_scale", self.rope_freq_scale, reason));
        }
        Ok(())
    }

    /// Refuses scores for a model without a classifier: llama.cpp would return the first numbers of the hidden state
    /// instead (llama-graph.cpp, `build_pooling`).
    pub(super) fn check_ranks(&self, model: &Model) -> Result<()> {
        let value = match self.pooling_type {
            Some(PoolingType::Rank) => "Rank",
            None if self.embeddings && model.wants_ranks()? => "the model's own, Rank",
            _ => return Ok(()),
        };
        if model.has_classifier() {
            return Ok(());
        }
        let reason = "another type: the model has no classifier (no tensor `cls` or `cls.output`) to give scores, as \
                      rerankers have";
        Err(invalid("pooling_type", value, reason.to_owned()))
    }
}

/// Refuses a context whose layers the model does not have.
fn check_layers(model: &Model, is_mtp: bool) -> Result<()> {
    if is_mtp { check_mtp(model) } else { check_trunk(model) }
}

/// Refuses models without the layers of an MTP context, whose graph asserts that they exist.
fn check_mtp(model: &Model) -> Result<()> {
    let operation = "creating an MTP context";
    if model.architecture()? == WITHOUT_MTP {
        let reason = "llama.cpp has no graph for its layers that predict several tokens (nextn)".to_owned();
        return Err(ErrorKind::Unsupported { operation, reason }.into());
    }
    // SAFETY: the model is valid; the function reads a number.
    let has_layers =
        unsafe { llama_sys::llama_model_n_layer_nextn(model.raw()) } > 0 && has_mtp_tensors(model);
    let reason = match (has_layers, model.params().loads_mtp()) {
        (true, true) => return Ok(()),
        (true, false) => "its MTP layers were not loaded: load it with ModelParams::load_mtp(true)",
        (false, _) => "it has no layers that predict several tokens (nextn)",
    };
    Err(ErrorKind::Unsupported { operation, reason: reason.to_owned() }.into())
}

/// Returns whether the file has the layers that its metadata declares. For a model without a file, llama.cpp creates
/// them.
fn has_mtp_tensors(model: &Model) -> bool {
    let start = format!("blk.{}.", model.n_layer());
    let has = |start: &[u8]| model.tensors().iter().any(|tensor| tensor.name().as_bytes().starts_with(start));
    !has(b"blk.") || has(start.as_bytes())
}

/// Refuses files that have only the layers of an MTP context, with which llama.cpp would compute the other layers
/// anyway.
fn check_trunk(model: &Model) -> Result<()> {
    let has = |start: &[u8]| model.tensors().iter().any(|tensor| tensor.name().as_bytes().starts_with(start));
    if model.n_layer_nextn() == 0 || model.n_layer() == 0 || !has(b"blk.") || has(b"blk.0.") {
        return Ok(());
    }
    let reason = "its file has only the layers that predict several tokens: load the model that they belong to, or create \
                  a context of ContextType::Mtp"
        .to_owned();
    Err(ErrorKind::Unsupported { operation: "creating a context", reason }.into())
}

/// Refuses quantised values if attention adds a bias for each distance, as T5's does: flash attention cannot, and
/// without it llama.cpp transposes the values element by element, which for quantised blocks writes outside of its
/// buffers (llama-graph.cpp, build_attn_mha).
pub(super) fn check_value_type(model: &Model, values: llama_sys::ggml_type) -> Result<()> {
    if !is_quantised(values)
        || metadata_number(model, "attention.relative_buckets_count")?.is_none_or(|n| n == 0)
    {
        return Ok(());
    }
    let reason = "of type f32, f16 or bf16: this model's attention adds a bias for each distance, and cannot do that with other \
                  values"
        .to_owned();
    Err(invalid("type_v", "quantised", reason))
}

fn is_quantised(kind: llama_sys::ggml_type) -> bool {
    use llama_sys::ggml_type;
    !matches!(kind, ggml_type::GGML_TYPE_F32 | ggml_type::GGML_TYPE_F16 | ggml_type::GGML_TYPE_BF16)
}

/// Returns whether llama.cpp can rotate cached keys of this type to other positions. Otherwise it fails an assertion
/// on ggml's threads, which cannot be contained (bf16: ggml-cpu/ops.cpp, ggml_compute_forward_rope), or dereferences
/// a NULL pointer (quantised keys if no heads are multiplied with a Hadamard matrix: llama-kv-cache.cpp,
/// build_rope_shift).
pub(super) fn can_rotate_keys(model: &Model, keys: llama_sys::ggml_type) -> Result<bool> {
    use llama_sys::{ggml_type, llama_rope_type};
    if model.raw_rope_type()? == llama_rope_type::LLAMA_ROPE_TYPE_NONE {
        return Ok(true);
    }
    if is_quantised(keys) { has_matrix(model) } else { Ok(keys != ggml_type::GGML_TYPE_BF16) }
}

/// Returns whether the length of all heads is a multiple of a matrix, and the heads are rotated as a whole
/// (llama-kv-cache.cpp, the constructor). The environment variable switches the matrices off.
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

/// Returns the numeric value of a key of the model's architecture, if there is one.
fn metadata_number(model: &Model, key: &str) -> Result<Option<u32>> {
    let Some(arch) = model.metadata_value("general.architecture")? else { return Ok(None) };
    let value = model.metadata_value(&format!("{arch}.{key}"))?;
    Ok(value.and_then(|value| value.parse().ok()))
}

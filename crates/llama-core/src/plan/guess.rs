//! Sizes of a context that are known without llama.cpp's layout.

use crate::context::ContextParams;
use crate::model::{Model, ModelKind};

/// The bytes that llama.cpp keeps for each token in a cache: position, shift, two-dimensional position, and the set
/// of its sequences (llama-kv-cells.h).
const CELL: u64 = 52;

/// Returns the size in tokens that a context will have, before rounding.
pub(super) fn n_ctx(model: &Model, params: &ContextParams) -> u64 {
    let n_ctx = if params.n_ctx == 0 { model.n_ctx_train() } else { params.n_ctx };
    // Each sequence gets at least 256 tokens (llama-context.cpp).
    u64::from(n_ctx).max(256 * u64::from(params.n_seq_max))
}

/// Returns whether the memory has a cell for every token.
fn has_cells(model: &Model) -> bool {
    !matches!(model.kind(), Ok(ModelKind::Recurrent | ModelKind::Encoder | ModelKind::Diffusion))
}

/// Returns the bytes that llama.cpp allocates beside the buffers that it accounts for.
pub(super) fn overhead(model: &Model, params: &ContextParams) -> u64 {
    let caches = if model.n_swa() > 0 { 2 } else { 1 };
    let cells = if has_cells(model) { n_ctx(model, params) * CELL * caches } else { 0 };
    let row = model.vocab().n_tokens() as u64 + u64::from(model.n_embd_out());
    // Allocated with the context for one result of each sequence, and again for a batch with more.
    let rows = row * 4 * u64::from(params.n_seq_max);
    // An index for each token of a batch (llama-context.cpp, `output_ids`).
    cells + rows + u64::from(params.n_batch) * 4
}

/// Returns an approximate upper bound of a context's memory on all devices. For most models it is several times too
/// large.
pub(super) fn upper_bound(model: &Model, params: &ContextParams) -> u128 {
    let wide = |value: u32| u128::from(value);
    let tokens = u128::from(n_ctx(model, params));
    let at_once = wide(params.n_ubatch.min(params.n_batch));
    let heads = wide(model.n_head().unwrap_or(1)).max(1);
    let width = wide(model.n_embd()).max(heads * u128::from(head_width(model)));
    let layers = wide(model.n_layer().max(1)) + wide(model.n_layer_nextn());
    let cache = if has_cells(model) { tokens * layers * width * 8 } else { 0 };
    let state = wide(params.n_seq_max) * layers * width * 1024;
    let seen = if has_cells(model) { tokens } else { at_once };
    let row = width * 128 + seen * (heads * 4 + 8);
    let logits = wide(params.outputs_at_most()).min(at_once) * model.vocab().n_tokens() as u128 * 4;
    cache + state + at_once * row + logits + u128::from(overhead(model, params))
}

/// Returns the width of a head if the file states it, and otherwise 0: heads then divide the model's width.
fn head_width(model: &Model) -> u64 {
    let value = |key: &str| {
        let architecture = model.architecture().ok()?;
        model.metadata_value(&format!("{architecture}.attention.{key}")).ok()??.parse::<u64>().ok()
    };
    value("key_length").max(value("value_length")).unwrap_or(0).min(1 << 20)
}

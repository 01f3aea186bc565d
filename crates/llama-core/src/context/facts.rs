//! Constant properties of a context, read from C once.

use super::check;
use super::draft::Draft;
use super::params::{self, ContextParams, PoolingType};
use super::raw::RawContext;
use crate::error::Result;
use crate::model::Model;

/// The actual sizes of the context.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) n_ctx: u32,
    pub(super) n_ctx_seq: u32,
    pub(super) n_batch: u32,
    pub(super) n_ubatch: u32,
    pub(super) n_seq_max: u32,
    pub(super) n_outputs_max: u32,
}

/// Properties of the context and its model that every batch is checked against.
pub(super) struct Facts {
    pub(super) has_memory: bool,
    pub(super) n_vocab: i32,
    pub(super) has_encoder: bool,
    pub(super) has_decoder: bool,
    /// Whether the model outputs logits. Among models without memory, encoders such as BERT do not; diffusion models
    /// do, and so do hybrid models that read a whole text at once (llama-model.cpp, create_memory).
    pub(super) gives_logits: bool,
    pub(super) pooling: PoolingType,
    pub(super) is_recurrent: bool,
    pub(super) is_hybrid: bool,
    /// Whether each entry of a batch needs a state embedding.
    pub(super) needs_states: bool,
    /// Whether entries of a batch can be embeddings.
    pub(super) takes_embeddings: bool,
    /// Architecture of a draft model, whose graphs read certain kinds of entries only; `None` for other models.
    pub(super) draft: Option<Draft>,
    /// First invalid position: the number of positions that the model has learned, or the limit of the type.
    pub(super) end_of_positions: i32,
    /// Whether all sequences share one buffer.
    pub(super) is_unified: bool,
    /// Whether cached keys can be rotated to other positions.
    pub(super) rotates_keys: bool,
}

impl Limits {
    pub(super) fn read(raw: &RawContext) -> Self {
        let (context, params) = (raw.as_ptr(), raw.params());
        // SAFETY: the context is valid; the functions read numbers.
        let n_batch = unsafe { llama_sys::llama_n_batch(context) };
        // As resolved in llama-context.cpp.
        let all = params.n_outputs_max == 0 || raw.model().has_encoder();
        // SAFETY: the context is valid; the functions read numbers.
        unsafe {
            Self {
                n_ctx: llama_sys::llama_n_ctx(context),
                n_ctx_seq: llama_sys::llama_n_ctx_seq(context),
                n_batch,
                n_ubatch: llama_sys::llama_n_ubatch(context),
                n_seq_max: llama_sys::llama_n_seq_max(context),
                n_outputs_max: if all { n_batch } else { params.n_outputs_max },
            }
        }
    }
}

impl Facts {
    pub(super) fn read(raw: &RawContext, params: &ContextParams) -> Result<Self> {
        let model = raw.model();
        // SAFETY: the context is valid; its memory is made with it and freed with it (llama-context.cpp).
        let has_memory = !unsafe { llama_sys::llama_get_memory(raw.as_ptr()) }.is_null();
        // SAFETY: the context is valid; the function reads a number that nothing changes.
        let pooling = unsafe { llama_sys::llama_pooling_type_fn(raw.as_ptr()) };
        Ok(Self {
            has_memory,
            n_vocab: model.vocab().n_tokens_raw(),
            has_encoder: model.has_encoder(),
            has_decoder: model.has_decoder(),
            gives_logits: has_memory || model.is_diffusion() || model.is_hybrid(),
            pooling: params::pooling_from_raw(pooling),
            is_recurrent: model.is_recurrent(),
            is_hybrid: model.is_hybrid(),
            needs_states: params.is_mtp(),
            takes_embeddings: takes_embeddings(model),
            draft: Draft::of(model)?,
            end_of_positions: model.n_positions().and_then(|n| i32::try_from(n).ok()).unwrap_or(i32::MAX),
            // With one sequence there is one buffer either way.
            is_unified: raw.params().kv_unified || params.n_seq_max == 1,
            rotates_keys: check::can_rotate_keys(model, raw.params().type_k)?,
        })
    }
}

/// Returns whether the model's graph may accept embeddings. Models that also read token ids are detected when their
/// graph is built; one asserts on tokens while it is built (models/granite-switch.cpp).
fn takes_embeddings(model: &Model) -> bool {
    model.metadata_value("general.architecture").is_ok_and(|name| name.as_deref() != Some("graniteswitch"))
}

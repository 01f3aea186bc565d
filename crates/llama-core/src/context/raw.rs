//! The C object of a context: created from parameters, and freed. It does not check whether it fits into memory, so
//! that a plan can lay out a context without weights.

use std::ptr::NonNull;

use super::hooks::{self, OwnedHooks};
use super::params::ContextParams;
use super::{check, scaling};
use crate::device::Links;
use crate::error::{ErrorKind, Result};
use crate::ffi::exit;
use crate::ffi::guard::{freed, guarded};
use crate::graph::{self, Watch};
use crate::log;
use crate::model::Model;
use crate::observer::Observer;

/// An owned `llama_context`, with the callbacks and the model that it points to.
pub(crate) struct RawContext {
    // First, so that it is freed before the objects that it points to.
    owned: Owned,
    pub(super) hooks: OwnedHooks,
    model: Model,
    params: llama_sys::llama_context_params,
}

/// The pointer, which frees the context when dropped, and the servers that have a part of it.
struct Owned(NonNull<llama_sys::llama_context>, Links);

impl Drop for Owned {
    fn drop(&mut self) {
        if self.1.are_of_parent() {
            // The memory is the parent's to free.
            return;
        }
        let _freeing = exit::freeing();
        // SAFETY: the context is valid and this is its only owner. It is the first field of `RawContext`, which is
        // the first of `Context`: objects whose addresses C has (model, hooks, thread pools, samplers) are dropped
        // after it.
        freed("a context", unsafe { guarded!(llama_free(self.0.as_ptr())) });
    }
}

impl RawContext {
    /// Creates a context. A context of a model without weights can only report its memory use.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`], [`ErrorKind::Unsupported`], [`ErrorKind::UnsupportedGraph`], and
    /// [`ErrorKind::ContextCreation`] if llama.cpp refuses.
    pub(crate) fn create(
        model: &Model,
        params: &ContextParams,
        observer: Option<Box<dyn Observer>>,
    ) -> Result<Self> {
        model.links().check()?;
        let mut raw_params = raw_params(model, params)?;
        let is_observed = observer.is_some();
        let hooks = OwnedHooks::new(observer);
        if is_observed {
            raw_params.cb_eval = Some(hooks::on_tensor);
            raw_params.cb_eval_user_data = hooks.as_data();
            raw_params.abort_callback = Some(hooks::on_abort);
            raw_params.abort_callback_data = hooks.as_data();
        }
        let owned = log::explain(|| {
            let _walk = model.walk_adapters();
            let _watch = Watch::begin();
            // SAFETY: the model is valid and only read (context/scaling.rs); the parameters come from llama.cpp's
            // defaults, and the pointers in them point to the hooks, which live as long as the context.
            let raw = unsafe { guarded!(llama_init_from_model(model.raw(), raw_params)) }?;
            NonNull::new(raw).ok_or_else(|| {
                let (n_ctx, n_batch, n_seq_max) = (params.n_ctx, params.n_batch, params.n_seq_max);
                ErrorKind::ContextCreation { n_ctx, n_batch, n_seq_max }.into()
            })
        })
        .map(|raw| Owned(raw, model.links().clone()));
        if let Some(finding) = graph::found() {
            return Err(finding.violation.into());
        }
        // Takes precedence over the failures that follow from it.
        model.links().check()?;
        let owned = owned?;
        exit::arm();
        Ok(Self { owned, hooks, model: model.clone(), params: raw_params })
    }

    /// Returns the pointer for calls of C, valid as long as `self`.
    pub(crate) fn as_ptr(&self) -> *mut llama_sys::llama_context {
        self.owned.0.as_ptr()
    }

    /// Returns the pointer of [`as_ptr`](Self::as_ptr) as a type that is never NULL.
    pub(super) fn as_non_null(&self) -> NonNull<llama_sys::llama_context> {
        self.owned.0
    }

    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the parameters that were passed to C.
    pub(super) fn params(&self) -> &llama_sys::llama_context_params {
        &self.params
    }
}

/// Returns the parameters for C, after the checks that need the model.
fn raw_params(model: &Model, params: &ContextParams) -> Result<llama_sys::llama_context_params> {
    params.check_for(model)?;
    let mut raw_params = params.resolved_for(model).to_raw()?;
    check::check_value_type(model, raw_params.type_v)?;
    raw_params.pooling_type = params.pooling_for(model)?;
    scaling::leave_model_alone(&mut raw_params, model.origin().scaling());
    // Cross-attention asserts on batches that are divided by sequences, as they are with separate buffers
    // (llama-graph.cpp, llm_graph_input_attn_cross).
    raw_params.kv_unified |= model.has_encoder();
    Ok(raw_params)
}

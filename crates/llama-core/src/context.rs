//! Contexts: a model at work, with its memory and its last results.

mod cache_types;
mod clone;
mod decode;
mod hooks;
mod input;
mod mtp;
mod outputs;
mod params;
#[cfg(test)]
mod poison_tests;
#[cfg(test)]
mod pool_tests;
mod positions;
mod recover;
mod resolved;
mod samplers;
mod scaling;
mod scores;
mod warm_up;

use core::cell::Cell;
use std::ptr::NonNull;

use hooks::OwnedHooks;
use input::Input;
pub(crate) use params::check_threads;
pub use params::{
    AttentionType, CacheType, ContextParams, ContextType, FlashAttention, PoolingType, RopeScaling,
};
use positions::Positions;
pub use resolved::ResolvedParams;
pub use samplers::AttachedSampler;
use samplers::Samplers;

use crate::adapter::LoraAdapter;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::{freed, guarded};
use crate::ffi::{exit, fork};
use crate::graph::{self, Watch};
use crate::log;
use crate::memory::Memory;
use crate::model::Model;
use crate::observer::Observer;
use crate::plan;
use crate::state::Bookkeeping;
use crate::threadpool::Attached;
use crate::token::SeqId;

/// A model at work: the memory of its sequences, and the results of the last batch.
///
/// A context can move to another thread but not be used by two at once: `Send`, not `Sync`. Make one for each
/// thread; they share the model. Functions that compute or change memory take `&mut self`, so that no view of
/// an earlier result outlives it.
///
/// After a call that failed inside llama.cpp (an assertion, an exception) the context is poisoned: later calls
/// return [`ErrorKind::Poisoned`]. The model and other contexts are not affected.
pub struct Context {
    raw: OwnedRaw,
    model: Model,
    params: ContextParams,
    limits: Limits,
    causal: bool,
    embeddings: bool,
    unified: bool,
    /// Whether cached keys can be turned to other positions.
    rotates_keys: bool,
    /// The sequences whose encoder's output the decoder of an encoder-decoder model can work on.
    encoded: Vec<llama_sys::llama_seq_id>,
    /// For each token of the last batch whether it has an output; empty when there is no last batch.
    outputs: Vec<bool>,
    /// What the outputs are rows of.
    computed: Computed,
    /// Whether the rows of the outputs stand in their final order. llama.cpp moves them at the first access.
    ordered: Cell<bool>,
    facts: Facts,
    /// The batch on its way to C; here so that it is not made anew.
    input: Input,
    positions: Positions,
    hooks: OwnedHooks,
    threadpools: Attached,
    poison: Option<String>,
    /// What is known of the context's own states.
    books: Bookkeeping,
    /// The adapters that C has pointers to, with their scales.
    adapters: Vec<(LoraAdapter, f32)>,
    /// The samplers that C has pointers to.
    samplers: Samplers,
    /// Whether the next batch may make C plan its buffers anew, for which it walks through the model's adapters.
    may_plan: bool,
}

/// What the last batch has computed. llama.cpp's buffers also have rows of what it has not, with what was there before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Computed {
    pub(crate) logits: bool,
    pub(crate) embeddings: bool,
}

/// What the context was really created with; constant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) n_ctx: u32,
    pub(crate) n_ctx_seq: u32,
    pub(crate) n_batch: u32,
    pub(crate) n_ubatch: u32,
    pub(crate) n_seq_max: u32,
    pub(crate) n_outputs_max: u32,
}

/// What every batch is checked against and never changes; asked of C once.
struct Facts {
    has_memory: bool,
    n_vocab: i32,
    has_encoder: bool,
    has_decoder: bool,
    /// Whether the model ends in logits. Of those without memory, encoders such as BERT do not, diffusion models do, and
    /// the hybrids that read a whole text at once do (llama-model.cpp, create_memory).
    gives_logits: bool,
    pooling: PoolingType,
    is_recurrent: bool,
    is_hybrid: bool,
    /// Whether each entry of a batch needs a state embedding.
    needs_states: bool,
    /// Whether entries of a batch can be embeddings.
    takes_embeddings: bool,
    /// The first position that there is not: the model has learned so many, or numbers end.
    end_of_positions: i32,
}

// SAFETY: a llama_context is not tied to the thread that made it: its state is in the object and in backends
// whose functions may be called from any one thread at a time (llama-context.cpp keeps no thread-local state;
// ggml's CPU threads belong to the computation or to a pool, which is locked meanwhile). `Context` is not `Sync`, so
// that there is one thread at a time. What it owns of C's (`input`, `hooks`) is memory without a thread, and the
// closures in `hooks` are `Send`, as sampler chains are.
unsafe impl Send for Context {}

/// The owner of the C object.
struct OwnedRaw(NonNull<llama_sys::llama_context>);

impl Drop for OwnedRaw {
    fn drop(&mut self) {
        let _freeing = exit::freeing();
        // SAFETY: the context is valid and this is its only owner. It is the first field of `Context`: what C has the
        // address of (the model, hooks, thread pools, samplers) is dropped after it.
        freed("a context", unsafe { guarded!(llama_free(self.0.as_ptr())) });
    }
}

impl Context {
    /// Makes a context. It keeps the model alive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] for parameters out of range, [`ErrorKind::Unsupported`] for a model that was
    /// loaded without weights, and for [`ContextType::Mtp`] of one without the layers for it, [`ErrorKind::DoesNotFit`]
    /// when memory is short, [`ErrorKind::UnsupportedGraph`] for a model with tensors or hyperparameters that ggml's CPU
    /// backend cannot compute with, [`ErrorKind::ContextCreation`] when llama.cpp refuses.
    ///
    /// Corresponds to `llama_init_from_model`.
    pub fn new(model: &Model, params: &ContextParams) -> Result<Self> {
        Self::of_weights(model, params, None)
    }

    /// Makes a context whose computations are shown to an observer. The context owns it.
    ///
    /// # Errors
    ///
    /// As [`Context::new`].
    ///
    /// Corresponds to `llama_context_params::cb_eval`.
    pub fn with_observer(model: &Model, params: &ContextParams, observer: impl Observer) -> Result<Self> {
        Self::of_weights(model, params, Some(Box::new(observer)))
    }

    fn of_weights(
        model: &Model,
        params: &ContextParams,
        observer: Option<Box<dyn Observer>>,
    ) -> Result<Self> {
        let _inside = exit::enter()?;
        fork::check_devices("creating a context")?;
        model.check_weights("creating a context")?;
        params.check_for(model)?;
        params.to_raw()?;
        plan::refuse_context(model, params)?;
        let mut context = Self::create(model, params, observer)
            .map_err(|error| plan::explain_context(model, params, error))?;
        context.books = Bookkeeping::of_empty(&mut context)?;
        Ok(context)
    }

    /// Makes a context, also of a model without weights: that one can tell how much memory it would take, and nothing
    /// else. What is known of its states is left out: there is nothing to read them from.
    pub(crate) fn create(
        model: &Model,
        params: &ContextParams,
        observer: Option<Box<dyn Observer>>,
    ) -> Result<Self> {
        params.check_for(model)?;
        let mut raw_params = params.resolved_for(model).to_raw()?;
        cache_types::check_values(model, raw_params.type_v)?;
        let rotates_keys = cache_types::can_turn_keys(model, raw_params.type_k)?;
        raw_params.pooling_type = params.pooling_for(model)?;
        scaling::leave_model_alone(&mut raw_params, model.origin().scaling());
        // Cross-attention asserts on batches that are divided by sequences, as those of separate buffers are
        // (llama-graph.cpp, llm_graph_input_attn_cross).
        raw_params.kv_unified |= model.has_encoder();
        let is_observed = observer.is_some();
        let hooks = OwnedHooks::new(observer);
        if is_observed {
            raw_params.cb_eval = Some(hooks::on_tensor);
            raw_params.cb_eval_user_data = hooks.as_data();
            raw_params.abort_callback = Some(hooks::on_abort);
            raw_params.abort_callback_data = hooks.as_data();
        }
        let raw = log::explain(|| {
            let _walk = model.walk_adapters();
            let _watch = Watch::begin();
            // SAFETY: the model is valid and only read (context/scaling.rs); the parameters were made from llama.cpp's
            // defaults, and the pointers in them are of the hooks, which live as long as the context.
            let raw = unsafe { guarded!(llama_init_from_model(model.raw(), raw_params)) }?;
            NonNull::new(raw).ok_or_else(|| {
                let (n_ctx, n_batch, n_seq_max) = (params.n_ctx, params.n_batch, params.n_seq_max);
                ErrorKind::ContextCreation { n_ctx, n_batch, n_seq_max }.into()
            })
        })
        .map(OwnedRaw);
        if let Some(finding) = graph::found() {
            return Err(finding.violation.into());
        }
        let raw = raw?;
        exit::arm();
        // SAFETY: the context is valid; the functions read numbers.
        let (limits, causal) = unsafe {
            (Limits::read(raw.0, &raw_params, model), llama_sys::llama_get_causal_attn(raw.0.as_ptr()))
        };
        // SAFETY: the context is valid; its memory is made with it and freed with it (llama-context.cpp).
        let has_memory = !unsafe { llama_sys::llama_get_memory(raw.0.as_ptr()) }.is_null();
        let facts = Facts {
            has_memory,
            n_vocab: model.vocab().n_tokens_raw(),
            has_encoder: model.has_encoder(),
            has_decoder: model.has_decoder(),
            gives_logits: has_memory || model.is_diffusion() || model.is_hybrid(),
            // SAFETY: the context is valid; the function reads a number that nothing changes.
            pooling: params::pooling_from_raw(unsafe { llama_sys::llama_pooling_type_fn(raw.0.as_ptr()) }),
            is_recurrent: model.is_recurrent(),
            is_hybrid: model.is_hybrid(),
            needs_states: params.is_mtp(),
            takes_embeddings: takes_embeddings(model),
            end_of_positions: model.n_positions().and_then(|n| i32::try_from(n).ok()).unwrap_or(i32::MAX),
        };
        Ok(Self {
            // SAFETY: the context is valid, and `raw` is freed with `input`.
            input: unsafe { Input::new(raw.0) }?,
            raw,
            model: model.clone(),
            params: params.clone(),
            limits,
            causal,
            embeddings: raw_params.embeddings,
            // With one sequence there is one buffer either way.
            unified: raw_params.kv_unified || params.n_seq_max == 1,
            rotates_keys,
            encoded: Vec::new(),
            outputs: Vec::new(),
            computed: Computed::default(),
            ordered: Cell::new(false),
            facts,
            positions: Positions::new(limits.n_seq_max, has_several_dimensions(model)?),
            hooks,
            threadpools: Attached::default(),
            poison: None,
            books: Bookkeeping::default(),
            adapters: Vec::new(),
            samplers: Samplers::default(),
            may_plan: false,
        })
    }

    pub(crate) fn raw(&self) -> *mut llama_sys::llama_context {
        self.raw.0.as_ptr()
    }

    /// The model that is at work. Corresponds to `llama_get_model`.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What the context was made with.
    pub(crate) fn given_params(&self) -> &ContextParams {
        &self.params
    }

    pub(crate) fn books(&self) -> &Bookkeeping {
        &self.books
    }

    pub(crate) fn books_mut(&mut self) -> &mut Bookkeeping {
        &mut self.books
    }

    /// The size in tokens, of all sequences together. Corresponds to `llama_n_ctx`.
    #[must_use]
    pub fn n_ctx(&self) -> u32 {
        self.limits.n_ctx
    }

    /// The size in tokens that one sequence can have. Corresponds to `llama_n_ctx_seq`.
    #[must_use]
    pub fn n_ctx_seq(&self) -> u32 {
        self.limits.n_ctx_seq
    }

    /// The most tokens in one batch. Corresponds to `llama_n_batch`.
    #[must_use]
    pub fn n_batch(&self) -> u32 {
        self.limits.n_batch
    }

    /// The most tokens that are computed at once. Corresponds to `llama_n_ubatch`.
    #[must_use]
    pub fn n_ubatch(&self) -> u32 {
        self.limits.n_ubatch
    }

    /// The number of sequences. Corresponds to `llama_n_seq_max`.
    #[must_use]
    pub fn n_seq_max(&self) -> u32 {
        self.limits.n_seq_max
    }

    /// How embeddings are pooled. Corresponds to `llama_pooling_type`.
    #[must_use]
    pub fn pooling_type(&self) -> PoolingType {
        self.facts.pooling
    }

    /// Threads for one token at a time. Corresponds to `llama_n_threads`.
    #[must_use]
    pub fn n_threads(&self) -> u32 {
        // SAFETY: the context is valid; the function reads a number.
        u32::try_from(unsafe { llama_sys::llama_n_threads(self.raw()) }).unwrap_or(0)
    }

    /// Threads for several tokens at a time. Corresponds to `llama_n_threads_batch`.
    #[must_use]
    pub fn n_threads_batch(&self) -> u32 {
        // SAFETY: the context is valid; the function reads a number.
        u32::try_from(unsafe { llama_sys::llama_n_threads_batch(self.raw()) }).unwrap_or(0)
    }

    /// Sets the threads for one token and for several tokens at a time, each 1..=512.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] for a number out of range, and for more than an attached thread pool has.
    ///
    /// Corresponds to `llama_set_n_threads`.
    pub fn set_n_threads(&mut self, n_threads: u32, n_threads_batch: u32) -> Result<()> {
        self.threadpools.check_threads(n_threads, n_threads_batch)?;
        let n_threads = check_threads("n_threads", n_threads)?;
        let n_threads_batch = check_threads("n_threads_batch", n_threads_batch)?;
        self.call(|raw| {
            // SAFETY: the context is valid and the numbers are in range.
            unsafe { guarded!(llama_set_n_threads(raw, n_threads, n_threads_batch)) }
        })
    }

    /// Whether the next batches compute embeddings. Corresponds to `llama_set_embeddings`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] in a context with fewer [`n_outputs_max`](ContextParams::n_outputs_max) than
    /// `n_ubatch`, [`ErrorKind::Poisoned`].
    pub fn set_embeddings(&mut self, embeddings: bool) -> Result<()> {
        params::check_outputs(self.limits.n_outputs_max, self.limits.n_ubatch, embeddings)?;
        self.call(|raw| {
            // SAFETY: the context is valid.
            unsafe { guarded!(llama_set_embeddings(raw, embeddings)) }
        })?;
        self.embeddings = embeddings;
        Ok(())
    }

    /// Whether the next batches' tokens see only those before them. Corresponds to `llama_set_causal_attn`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`].
    pub fn set_causal_attention(&mut self, causal: bool) -> Result<()> {
        self.call(|raw| {
            // SAFETY: the context is valid.
            unsafe { guarded!(llama_set_causal_attn(raw, causal)) }
        })?;
        self.causal = causal;
        Ok(())
    }

    /// Whether tokens see only those before them. Corresponds to `llama_get_causal_attn`.
    #[must_use]
    pub fn causal_attention(&self) -> bool {
        self.causal
    }

    /// The memory of the sequences: the cache of keys and values, or the recurrent state. Corresponds to
    /// `llama_get_memory`.
    pub fn memory(&mut self) -> Memory<'_> {
        Memory::new(self)
    }

    /// Waits until all computations are finished. Reading results does it by itself. Corresponds to
    /// `llama_synchronize`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`].
    pub fn synchronize(&mut self) -> Result<()> {
        // SAFETY: the context is valid.
        self.call(|raw| unsafe { guarded!(llama_synchronize(raw)) })
    }

    /// Whether an earlier call failed inside llama.cpp, so that the context cannot be used any more.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_some()
    }

    /// Runs a call that may change the context. When it is contained the context is poisoned.
    pub(crate) fn call<R>(
        &mut self,
        call: impl FnOnce(*mut llama_sys::llama_context) -> Result<R>,
    ) -> Result<R> {
        self.check_poison()?;
        let _inside = exit::enter()?;
        // Which changes make C plan anew is its own affair (llama-context.cpp, sched_need_reserve): any may.
        self.may_plan = true;
        let raw = self.raw();
        let result = {
            let _pools = self.threadpools.lock()?;
            log::explain(|| call(raw))
        };
        if let Err(error) = &result {
            self.poison_with(error);
        }
        result
    }

    pub(crate) fn threadpools_mut(&mut self) -> &mut Attached {
        &mut self.threadpools
    }

    pub(crate) fn poison_with(&mut self, error: &Error) {
        if error.is_before_call() {
            return;
        }
        self.outputs.clear();
        self.poison = Some(error.kind().to_string());
    }

    pub(crate) fn check_poison(&self) -> Result<()> {
        match &self.poison {
            None => Ok(()),
            Some(cause) => Err(ErrorKind::Poisoned { object: "context", cause: cause.clone() }.into()),
        }
    }

    /// The adapters that C has pointers to.
    pub(crate) fn attached(&self) -> &[(LoraAdapter, f32)] {
        &self.adapters
    }

    /// The same, to change what is kept alive.
    pub(crate) fn attached_mut(&mut self) -> &mut Vec<(LoraAdapter, f32)> {
        &mut self.adapters
    }

    /// Whether all sequences share one buffer.
    pub(crate) fn is_unified(&self) -> bool {
        self.unified
    }

    /// Whether cached keys can be turned to other positions.
    pub(crate) fn rotates_keys(&self) -> bool {
        self.rotates_keys
    }

    /// The number of floats in a row of logits.
    pub(crate) fn n_vocab(&self) -> usize {
        usize::try_from(self.facts.n_vocab).unwrap_or(0)
    }

    /// For each token of the last batch whether it has an output.
    pub(crate) fn outputs(&self) -> &[bool] {
        &self.outputs
    }

    /// What the last batch has computed.
    pub(crate) fn computed(&self) -> Computed {
        self.computed
    }

    /// Whether the rows of outputs stand in their final order.
    pub(crate) fn ordered(&self) -> &Cell<bool> {
        &self.ordered
    }

    /// Refuses sequence ids that C would index with.
    pub(crate) fn check_seq_id(&self, seq_id: SeqId) -> Result<()> {
        let n_seq_max = self.limits.n_seq_max;
        match u32::try_from(seq_id.get()) {
            Ok(id) if id < n_seq_max => Ok(()),
            _ => Err(ErrorKind::InvalidSeqId { seq_id: seq_id.get(), n_seq_max }.into()),
        }
    }
}

impl Limits {
    /// # Safety
    ///
    /// `raw` is a valid context, made with `params`.
    unsafe fn read(
        raw: NonNull<llama_sys::llama_context>,
        params: &llama_sys::llama_context_params,
        model: &Model,
    ) -> Self {
        let raw = raw.as_ptr();
        // SAFETY: the context is valid; the functions read numbers.
        let n_batch = unsafe { llama_sys::llama_n_batch(raw) };
        // As llama-context.cpp resolves it.
        let all = params.n_outputs_max == 0 || model.has_encoder();
        // SAFETY: the context is valid; the functions read numbers.
        unsafe {
            Self {
                n_ctx: llama_sys::llama_n_ctx(raw),
                n_ctx_seq: llama_sys::llama_n_ctx_seq(raw),
                n_batch,
                n_ubatch: llama_sys::llama_n_ubatch(raw),
                n_seq_max: llama_sys::llama_n_seq_max(raw),
                n_outputs_max: if all { n_batch } else { params.n_outputs_max },
            }
        }
    }
}

/// Whether the model's positions have several dimensions (llama-hparams.cpp, `n_pos_per_embd`).
fn has_several_dimensions(model: &Model) -> Result<bool> {
    use llama_sys::llama_rope_type as Rope;
    let rope = model.raw_rope_type()?;
    Ok(rope == Rope::LLAMA_ROPE_TYPE_MROPE || rope == Rope::LLAMA_ROPE_TYPE_IMROPE)
}

/// Whether the model's graph may take embeddings. Those that read the ids of tokens besides are found when their graph is
/// made; one asserts on tokens while it is made (models/granite-switch.cpp).
fn takes_embeddings(model: &Model) -> bool {
    model.metadata_value("general.architecture").is_ok_and(|name| name.as_deref() != Some("graniteswitch"))
}

impl core::fmt::Debug for Context {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Context")
            .field("model", &self.model)
            .field("limits", &self.limits)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}

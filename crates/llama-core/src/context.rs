//! Contexts: a model with the memory of its sequences and the results of the last batch.

mod abort;
mod check;
mod clone;
mod decode;
mod draft;
mod facts;
mod hooks;
mod input;
mod last_batch;
mod params;
#[cfg(test)]
mod poison_tests;
#[cfg(test)]
mod pool_tests;
mod positions;
mod raw;
mod recover;
mod resolved;
mod samplers;
mod scaling;
mod warm_up;

use core::cell::Cell;

use facts::{Facts, Limits};
use input::Input;
pub(crate) use last_batch::Computed;
use last_batch::LastBatch;
pub(crate) use params::check_threads;
pub use params::{
    AttentionType, CacheType, ContextParams, ContextType, FlashAttention, PoolingType, RopeScaling,
};
use positions::Positions;
pub(crate) use raw::RawContext;
pub use resolved::ResolvedParams;
pub use samplers::AttachedSampler;
use samplers::Samplers;

use crate::adapter::LoraAdapter;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::ffi::{exit, fork};
use crate::log;
use crate::memory::Memory;
use crate::model::Model;
use crate::observer::Observer;
use crate::plan::{self, MemoryUse};
use crate::state::Bookkeeping;
use crate::threadpool::Attached;
use crate::token::SeqId;

/// A model in use, with the memory of its sequences and the results of the last batch.
///
/// A context can move to another thread but cannot be used by two threads at once: `Send`, not `Sync`. Create one
/// for each thread; they share the model. Functions that compute or change memory take `&mut self`, so that no view
/// of an earlier result outlives it.
///
/// After a call that failed inside llama.cpp (an assertion, an exception) the context is poisoned: later calls
/// return [`ErrorKind::Poisoned`]. The model and other contexts are not affected.
pub struct Context {
    // First, so that the C object is freed before the objects that it points to.
    raw: RawContext,
    params: ContextParams,
    limits: Limits,
    facts: Facts,
    settings: Settings,
    last: LastBatch,
    /// The C object that batches are copied into, reused for each batch.
    input: Input,
    positions: Positions,
    attached: Attachments,
    books: Bookkeeping,
    poison: Option<String>,
    /// Whether the next batch may make C plan its buffers again, for which it walks through the model's adapters.
    may_plan: bool,
}

/// Settings that the caller can change between batches.
struct Settings {
    causal: bool,
    embeddings: bool,
}

/// Objects that C has pointers to, kept alive as long as it has them.
#[derive(Default)]
struct Attachments {
    /// The adapters with their scales.
    adapters: Vec<(LoraAdapter, f32)>,
    samplers: Samplers,
    threadpools: Attached,
}

// SAFETY: a llama_context is not tied to the thread that created it: its state is in the object and in backends
// whose functions may be called from any one thread at a time (llama-context.cpp keeps no thread-local state; ggml's
// CPU threads belong to the computation or to a pool, which is locked meanwhile). `Context` is not `Sync`, so there
// is one thread at a time. Its C objects (`input`, `raw.hooks`) are memory that is not tied to a thread, and the
// closures in the hooks are `Send`, as sampler chains are. The pointers in `raw` point to the hooks.
unsafe impl Send for Context {}

impl Context {
    /// Creates a context. It keeps the model alive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] for parameters out of range, [`ErrorKind::Unsupported`] for a model that was
    /// loaded without weights, and for [`ContextType::Mtp`] of a model without the layers for it,
    /// [`ErrorKind::DoesNotFit`] if there is not enough memory, [`ErrorKind::UnsupportedGraph`] for a model with
    /// tensors or hyperparameters that ggml's CPU backend cannot compute with, [`ErrorKind::ContextCreation`] if
    /// llama.cpp refuses.
    ///
    /// Corresponds to `llama_init_from_model`.
    pub fn new(model: &Model, params: &ContextParams) -> Result<Self> {
        Self::of_weights(model, params, None)
    }

    /// Creates a context with an observer of its computations. The context owns the observer.
    ///
    /// # Errors
    ///
    /// The errors of [`Context::new`].
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
        let raw = RawContext::create(model, params, observer)
            .map_err(|error| plan::explain_context(model, params, error))?;
        let mut context = Self::own(raw, params)?;
        context.books = Bookkeeping::of_empty(&mut context)?;
        Ok(context)
    }

    /// Takes ownership of a C object that was created with these parameters.
    fn own(raw: RawContext, params: &ContextParams) -> Result<Self> {
        let (limits, facts) = (Limits::read(&raw), Facts::read(&raw, params)?);
        // SAFETY: the context is valid; the function reads a boolean.
        let causal = unsafe { llama_sys::llama_get_causal_attn(raw.as_ptr()) };
        Ok(Self {
            params: params.clone(),
            limits,
            facts,
            settings: Settings { causal, embeddings: raw.params().embeddings },
            last: LastBatch::default(),
            // SAFETY: the context is valid, and lives as long as `input` is used.
            input: unsafe { Input::new(raw.as_non_null()) }?,
            positions: Positions::new(limits.n_seq_max, raw.model())?,
            attached: Attachments::default(),
            books: Bookkeeping::default(),
            poison: None,
            may_plan: false,
            raw,
        })
    }

    pub(crate) fn raw(&self) -> *mut llama_sys::llama_context {
        self.raw.as_ptr()
    }

    /// Returns the C object, for functions of `llama.h` that this crate does not wrap. The pointer is valid as long as the
    /// context lives.
    ///
    /// Calling such a function is `unsafe`. The caller must ensure that
    ///
    /// - no other thread uses the context meanwhile, and no row of logits or embeddings is borrowed from it;
    /// - the context is not freed, and its callbacks, samplers, adapters and thread pools are not replaced: this crate owns
    ///   and frees those that it has set;
    /// - results of the call are not read with [`logits`](Context::logits) or [`embeddings`](Context::embeddings), which only
    ///   consider batches of [`decode`](Context::decode).
    ///
    /// A failed assertion inside the call ends the process, because no guard contains it.
    #[must_use]
    pub fn as_ptr(&self) -> *mut llama_sys::llama_context {
        self.raw.as_ptr()
    }

    /// Returns the model of the context. Corresponds to `llama_get_model`.
    #[must_use]
    pub fn model(&self) -> &Model {
        self.raw.model()
    }

    /// Returns the parameters with which the context was created.
    pub(crate) fn given_params(&self) -> &ContextParams {
        &self.params
    }

    pub(crate) fn books(&self) -> &Bookkeeping {
        &self.books
    }

    pub(crate) fn books_mut(&mut self) -> &mut Bookkeeping {
        &mut self.books
    }

    /// Returns the size in tokens, of all sequences together. Corresponds to `llama_n_ctx`.
    #[must_use]
    pub fn n_ctx(&self) -> u32 {
        self.limits.n_ctx
    }

    /// Returns the maximum size of one sequence in tokens. Corresponds to `llama_n_ctx_seq`.
    #[must_use]
    pub fn n_ctx_seq(&self) -> u32 {
        self.limits.n_ctx_seq
    }

    /// Returns the maximum number of tokens in one batch. Corresponds to `llama_n_batch`.
    #[must_use]
    pub fn n_batch(&self) -> u32 {
        self.limits.n_batch
    }

    /// Returns the maximum number of tokens that are computed at once. Corresponds to `llama_n_ubatch`.
    #[must_use]
    pub fn n_ubatch(&self) -> u32 {
        self.limits.n_ubatch
    }

    /// Returns the maximum number of sequences. Corresponds to `llama_n_seq_max`.
    #[must_use]
    pub fn n_seq_max(&self) -> u32 {
        self.limits.n_seq_max
    }

    /// Returns how embeddings are pooled. Corresponds to `llama_pooling_type`.
    #[must_use]
    pub fn pooling_type(&self) -> PoolingType {
        self.facts.pooling
    }

    /// Returns the number of threads for one token at a time. Corresponds to `llama_n_threads`.
    #[must_use]
    pub fn n_threads(&self) -> u32 {
        // SAFETY: the context is valid; the function reads a number.
        u32::try_from(unsafe { llama_sys::llama_n_threads(self.raw()) }).unwrap_or(0)
    }

    /// Returns the number of threads for several tokens at a time. Corresponds to `llama_n_threads_batch`.
    #[must_use]
    pub fn n_threads_batch(&self) -> u32 {
        // SAFETY: the context is valid; the function reads a number.
        u32::try_from(unsafe { llama_sys::llama_n_threads_batch(self.raw()) }).unwrap_or(0)
    }

    /// Sets the numbers of threads for one token and for several tokens at a time, each 1..=512.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] for a number out of range, and for more threads than an attached thread pool
    /// has.
    ///
    /// Corresponds to `llama_set_n_threads`.
    pub fn set_n_threads(&mut self, n_threads: u32, n_threads_batch: u32) -> Result<()> {
        self.attached.threadpools.check_threads(n_threads, n_threads_batch)?;
        let n_threads = check_threads("n_threads", n_threads)?;
        let n_threads_batch = check_threads("n_threads_batch", n_threads_batch)?;
        self.call(|raw| {
            // SAFETY: the context is valid and the numbers are in range.
            unsafe { guarded!(llama_set_n_threads(raw, n_threads, n_threads_batch)) }
        })
    }

    /// Sets whether the next batches compute embeddings. Corresponds to `llama_set_embeddings`.
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
        self.settings.embeddings = embeddings;
        Ok(())
    }

    /// Sets whether the tokens of the next batches only attend to earlier ones. Corresponds to
    /// `llama_set_causal_attn`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`].
    pub fn set_causal_attention(&mut self, causal: bool) -> Result<()> {
        self.call(|raw| {
            // SAFETY: the context is valid.
            unsafe { guarded!(llama_set_causal_attn(raw, causal)) }
        })?;
        self.settings.causal = causal;
        Ok(())
    }

    /// Returns whether tokens only attend to earlier ones. Corresponds to `llama_get_causal_attn`.
    #[must_use]
    pub fn causal_attention(&self) -> bool {
        self.settings.causal
    }

    /// Returns the memory of the sequences: the cache of keys and values, or the recurrent state. Corresponds to
    /// `llama_get_memory`.
    pub fn memory(&mut self) -> Memory<'_> {
        Memory::new(self)
    }

    /// Returns the memory that this context and its model use on every device: the sizes of llama.cpp's own buffers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`]; [`ErrorKind::Unsupported`] if a prebuilt library was linked without llama.cpp's
    /// internal headers.
    pub fn memory_use(&self) -> Result<Vec<MemoryUse>> {
        self.check_poison()?;
        plan::memory_use(&self.raw)
    }

    /// Waits until all computations are finished. Reading results does this automatically. Corresponds to
    /// `llama_synchronize`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`].
    pub fn synchronize(&mut self) -> Result<()> {
        // SAFETY: the context is valid.
        self.call(|raw| unsafe { guarded!(llama_synchronize(raw)) })
    }

    /// Returns whether an earlier call failed inside llama.cpp, which makes the context unusable.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_some()
    }

    /// Runs a call that may change the context. A contained failure poisons the context.
    pub(crate) fn call<R>(
        &mut self,
        call: impl FnOnce(*mut llama_sys::llama_context) -> Result<R>,
    ) -> Result<R> {
        self.check_poison()?;
        let _inside = exit::enter()?;
        // Which changes make C plan again is internal to it (llama-context.cpp, sched_need_reserve): any of them
        // may.
        self.may_plan = true;
        let raw = self.raw();
        let result = {
            let _pools = self.attached.threadpools.lock()?;
            log::explain(|| call(raw))
        };
        // What C returns or has done is then not what it was to be.
        let result = result.and_then(|result| self.model().links().check().map(|()| result));
        if let Err(error) = &result {
            self.poison_with(error);
        }
        result
    }

    pub(crate) fn threadpools_mut(&mut self) -> &mut Attached {
        &mut self.attached.threadpools
    }

    pub(crate) fn poison_with(&mut self, error: &Error) {
        if error.is_before_call() {
            return;
        }
        self.last.outputs.clear();
        self.poison = Some(error.kind().to_string());
    }

    pub(crate) fn check_poison(&self) -> Result<()> {
        self.model().links().check()?;
        match &self.poison {
            None => Ok(()),
            Some(cause) => Err(ErrorKind::Poisoned { object: "context", cause: cause.clone() }.into()),
        }
    }

    /// Returns the adapters that C has pointers to.
    pub(crate) fn attached_adapters(&self) -> &[(LoraAdapter, f32)] {
        &self.attached.adapters
    }

    /// Mutable access to the adapters that C has pointers to.
    pub(crate) fn attached_adapters_mut(&mut self) -> &mut Vec<(LoraAdapter, f32)> {
        &mut self.attached.adapters
    }

    /// Returns whether all sequences share one buffer.
    pub(crate) fn is_unified(&self) -> bool {
        self.facts.is_unified
    }

    /// Returns whether cached keys can be rotated to other positions.
    pub(crate) fn rotates_keys(&self) -> bool {
        self.facts.rotates_keys
    }

    /// Returns the number of floats in a row of logits.
    pub(crate) fn n_vocab(&self) -> usize {
        usize::try_from(self.facts.n_vocab).unwrap_or(0)
    }

    /// Returns for each token of the last batch whether it has an output.
    pub(crate) fn outputs(&self) -> &[bool] {
        &self.last.outputs
    }

    /// Returns which results the last batch has computed.
    pub(crate) fn computed(&self) -> Computed {
        self.last.computed
    }

    /// Returns whether the rows of outputs are in their final order.
    pub(crate) fn ordered(&self) -> &Cell<bool> {
        &self.last.ordered
    }

    /// Refuses sequence ids that C would use as indices.
    pub(crate) fn check_seq_id(&self, seq_id: SeqId) -> Result<()> {
        let n_seq_max = self.limits.n_seq_max;
        match u32::try_from(seq_id.get()) {
            Ok(id) if id < n_seq_max => Ok(()),
            _ => Err(ErrorKind::InvalidSeqId { seq_id: seq_id.get(), n_seq_max }.into()),
        }
    }
}

impl core::fmt::Debug for Context {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Context")
            .field("model", self.raw.model())
            .field("limits", &self.limits)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}

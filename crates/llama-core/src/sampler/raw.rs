//! The owner of the C chain.

use std::ptr::NonNull;

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guard;

/// A C chain and everything in it.
pub(super) struct RawChain(NonNull<llama_sys::llama_sampler>);

// SAFETY: a chain and its samplers keep all their state in their own objects (llama-sampler.cpp: every `ctx`
// is allocated by its `init` and freed by its `free`); none of them uses thread-local state. The vocabulary
// that a grammar or infill sampler points to is only read, and is kept alive by the `Sampler` values beside
// this owner.
unsafe impl Send for RawChain {}

impl Drop for RawChain {
    fn drop(&mut self) {
        // SAFETY: the chain is valid and this is its only owner; it frees its samplers.
        if let Err(error) = guard(|| unsafe { llama_sys::llama_sampler_free(self.as_ptr()) }) {
            tracing::error!("freeing a sampler chain failed: {error}");
        }
    }
}

impl RawChain {
    /// An empty chain.
    pub(super) fn new(perf: bool) -> Result<Self> {
        // SAFETY: takes and returns plain values.
        let mut params = unsafe { llama_sys::llama_sampler_chain_default_params() };
        params.no_perf = !perf;
        // SAFETY: the parameters are llama.cpp's own.
        let raw = guard(|| unsafe { llama_sys::llama_sampler_chain_init(params) })?;
        NonNull::new(raw).map(Self).ok_or_else(|| null("chain"))
    }

    /// Adds the sampler that `create` makes; the chain owns it then.
    ///
    /// # Safety
    ///
    /// `create` returns NULL or a new sampler that nobody else owns.
    pub(super) unsafe fn add(
        &mut self,
        name: &'static str,
        create: impl FnOnce() -> *mut llama_sys::llama_sampler,
    ) -> Result<()> {
        let sampler = guard(create)?;
        if sampler.is_null() {
            return Err(null(name));
        }
        // SAFETY: both are valid; the chain takes the sampler over.
        guard(|| unsafe { llama_sys::llama_sampler_chain_add(self.as_ptr(), sampler) })
    }

    /// An independent copy, with the samplers' states. Corresponds to `llama_sampler_clone`.
    pub(super) fn try_clone(&self) -> Result<Self> {
        // SAFETY: the chain is valid and is only read.
        let raw = guard(|| unsafe { llama_sys::llama_sampler_clone(self.as_ptr()) })?;
        NonNull::new(raw).map(Self).ok_or_else(|| null("chain"))
    }

    pub(super) fn as_ptr(&self) -> *mut llama_sys::llama_sampler {
        self.0.as_ptr()
    }
}

/// The error for a sampler that llama.cpp did not make; its log says why.
fn null(name: &'static str) -> Error {
    ErrorKind::Sampler { name, reason: "llama.cpp could not create it".to_owned() }.into()
}

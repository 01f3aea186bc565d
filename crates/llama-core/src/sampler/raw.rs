//! The owner of a C chain.

use core::ffi::CStr;
use std::ptr::NonNull;

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::exit;
use crate::ffi::guard::{freed, guarded};

/// A C chain that owns its samplers.
pub(super) struct RawChain(ChainRef);

/// A C chain owned by something else.
#[derive(Clone, Copy)]
pub(super) struct ChainRef {
    chain: NonNull<llama_sys::llama_sampler>,
    /// Index of the fence sampler, which is not one of `Sampler`: see `add_fence`.
    fence: Option<i32>,
}

impl ChainRef {
    pub(super) fn as_ptr(self) -> *mut llama_sys::llama_sampler {
        self.chain.as_ptr()
    }

    /// Returns the C sampler at an index that the chain has, not counting the fence. Corresponds to
    /// `llama_sampler_chain_get`.
    pub(super) fn sampler(self, index: i32) -> *mut llama_sys::llama_sampler {
        let moved = self.fence.is_some_and(|fence| index >= fence);
        // SAFETY: the chain is valid; the function returns a pointer of its array, or NULL past its end.
        unsafe { llama_sys::llama_sampler_chain_get(self.as_ptr(), index + i32::from(moved)) }
    }
}

// SAFETY: a chain and its samplers keep all their state in their own objects (llama-sampler.cpp: every `ctx`
// is allocated by its `init` and freed by its `free`); none of them uses thread-local state. The vocabulary
// that a grammar or infill sampler points to is only read, and is kept alive by the `Sampler` values beside
// this owner. Custom samplers are `Send` (sampler/custom.rs).
unsafe impl Send for RawChain {}

impl Drop for RawChain {
    fn drop(&mut self) {
        let _freeing = exit::freeing();
        // SAFETY: the chain is valid and this is its only owner; it frees its samplers.
        freed("a sampler chain", unsafe { guarded!(llama_sampler_free(self.as_ptr())) });
    }
}

impl RawChain {
    /// Creates an empty chain.
    pub(super) fn new(perf: bool) -> Result<Self> {
        // SAFETY: takes and returns plain values.
        let mut params = unsafe { guarded!(llama_sampler_chain_default_params()) }?;
        params.no_perf = !perf;
        // SAFETY: the parameters are llama.cpp's own.
        let raw = unsafe { guarded!(llama_sampler_chain_init(params)) }?;
        Self::owned(raw)
    }

    fn owned(raw: *mut llama_sys::llama_sampler) -> Result<Self> {
        NonNull::new(raw).map(|chain| Self(ChainRef { chain, fence: None })).ok_or_else(|| null("chain"))
    }

    /// Adds the sampler that `create` returns; the chain owns it afterwards.
    ///
    /// # Safety
    ///
    /// `create` returns NULL or a new sampler that nobody else owns.
    pub(super) unsafe fn add(
        &mut self,
        name: &'static str,
        create: impl FnOnce() -> Result<*mut llama_sys::llama_sampler>,
    ) -> Result<()> {
        let sampler = create()?;
        if sampler.is_null() {
            return Err(null(name));
        }
        // SAFETY: both are valid; the chain takes the sampler over.
        unsafe { guarded!(llama_sampler_chain_add(self.as_ptr(), sampler)) }
    }

    /// Appends a stateless sampler that is not one of `Sampler`.
    pub(super) fn add_fence(
        &mut self,
        interface: &'static llama_sys::llama_sampler_i,
        index: usize,
    ) -> Result<()> {
        let interface = core::ptr::from_ref(interface).cast_mut();
        // SAFETY: the interface lives as long as the process, and C does not write to it; the sampler is new, and
        // only the chain owns it.
        unsafe {
            self.add("cpu", || guarded!(llama_sampler_init(interface, core::ptr::null_mut())))?;
        }
        self.0.fence = i32::try_from(index).ok();
        Ok(())
    }

    /// Frees `removed` samplers from `index` on, and inserts all samplers of another chain there.
    ///
    /// If the call fails and is contained, samplers are lost from both chains. Corresponds to
    /// `llama_sampler_chain_remove`.
    pub(super) fn exchange(&mut self, index: i32, removed: usize, source: &mut Self) -> Result<()> {
        // SAFETY: both chains are valid and differ.
        unsafe { guarded!(llama_shim_sampler_chain_exchange(self.as_ptr(), index, removed, source.as_ptr())) }
    }

    /// Returns an independent copy, with the samplers' states. Corresponds to `llama_sampler_clone`.
    pub(super) fn try_clone(&self) -> Result<Self> {
        // SAFETY: the chain is valid and is only read.
        Self::owned(unsafe { guarded!(llama_sampler_clone(self.as_ptr())) }?)
    }

    pub(super) fn as_ptr(&self) -> *mut llama_sys::llama_sampler {
        self.0.as_ptr()
    }

    /// Returns a reference to the chain that does not own it.
    pub(super) fn borrow(&self) -> ChainRef {
        self.0
    }

    /// Returns llama.cpp's name of a sampler, or an empty string if a contained failure has removed it.
    pub(super) fn name(&self, index: i32) -> String {
        let sampler = self.0.sampler(index);
        if sampler.is_null() {
            return String::new();
        }
        // SAFETY: the chain has the sampler; the name is a literal or a string of the sampler.
        unsafe { CStr::from_ptr(llama_sys::llama_sampler_name(sampler)) }.to_string_lossy().into_owned()
    }
}

/// Returns the error for a sampler that llama.cpp could not create; its log says why.
fn null(name: &'static str) -> Error {
    ErrorKind::Sampler { name, reason: "llama.cpp could not create it".to_owned() }.into()
}

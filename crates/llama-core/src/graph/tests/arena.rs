//! Graphs of one operation, made by ggml and computed by its CPU backend on this thread, where a failed assertion is
//! contained.

use core::ffi::c_int;
use std::ptr::NonNull;

use llama_sys::{ggml_tensor, ggml_type};

use crate::backend;
use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guard;
use crate::graph::tensor::Tensor;
use crate::graph::{broken_condition, conditions};

/// Room for the tensors of one graph.
pub(super) struct Arena(pub(super) NonNull<llama_sys::ggml_context>);

/// A source that is not there.
pub(super) const NONE: *mut ggml_tensor = core::ptr::null_mut();

impl Arena {
    pub(super) fn new() -> Self {
        backend::init();
        let params = llama_sys::ggml_init_params {
            mem_size: 32 << 20,
            mem_buffer: core::ptr::null_mut(),
            no_alloc: false,
        };
        // SAFETY: the parameters are valid; ggml allocates the memory itself.
        Self(NonNull::new(unsafe { llama_sys::ggml_init(params) }).unwrap())
    }

    pub(super) fn raw(&self) -> *mut llama_sys::ggml_context {
        self.0.as_ptr()
    }

    /// A tensor of zeros.
    pub(super) fn tensor(&self, kind: ggml_type, shape: &[i64]) -> *mut ggml_tensor {
        // SAFETY: the context is valid and has room; ggml asserts on types and shapes, inside the guard of the caller.
        let tensor = unsafe {
            llama_sys::ggml_new_tensor(
                self.raw(),
                kind,
                c_int::try_from(shape.len()).unwrap(),
                shape.as_ptr(),
            )
        };
        // SAFETY: the tensor is valid, and has so many bytes at `data`.
        unsafe { core::ptr::write_bytes((*tensor).data.cast::<u8>(), 0, llama_sys::ggml_nbytes(tensor)) };
        tensor
    }

    /// Computes a tensor. An error is an assertion of ggml's.
    fn compute(&self, tensor: *mut ggml_tensor) -> Result<()> {
        guard(|| {
            // SAFETY: context and tensor are valid. With one thread ggml computes on this one, inside the guard.
            unsafe {
                let graph = llama_sys::ggml_new_graph(self.raw());
                llama_sys::ggml_build_forward_expand(graph, tensor);
                llama_sys::ggml_graph_compute_with_ctx(self.raw(), graph, 1)
            }
        })
        .map(|status| assert_eq!(status, llama_sys::ggml_status::GGML_STATUS_SUCCESS))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: this is the only owner.
        unsafe { llama_sys::ggml_free(self.raw()) };
    }
}

/// What the comparison has seen.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Computed, as the table says.
    pub(super) accepted: usize,
    /// Asserted on, as the table says.
    pub(super) asserted: usize,
    /// Refused by the table for what ggml does not look at.
    pub(super) unlooked: usize,
    /// Not made by ggml.
    pub(super) unmade: usize,
}

impl Tally {
    /// Compares what the table says of an operation with what ggml does with it.
    pub(super) fn compare(&mut self, what: &str, build: impl FnOnce(&Arena) -> *mut ggml_tensor) {
        let arena = Arena::new();
        let Ok(raw) = guard(|| build(&arena)) else {
            self.unmade += 1;
            return;
        };
        // SAFETY: ggml has made the tensor, and nothing changes it.
        let node = Tensor::new(unsafe { &*raw });
        assert!(conditions::of(node.op()).is_some(), "{what}: {} is not in the table", node.operation());
        match broken_condition(node) {
            None => {
                arena.compute(raw).unwrap_or_else(|error| panic!("{what}: accepted, and {error}"));
                self.accepted += 1;
            }
            Some(condition) if condition.covers.is_empty() => self.unlooked += 1,
            Some(condition) => {
                let Err(error) = arena.compute(raw) else {
                    panic!("{what}: refused ({}), and ggml computes it", condition.requires)
                };
                assert!(matches!(error.kind(), ErrorKind::Internal { .. }), "{what}: {error}");
                self.asserted += 1;
            }
        }
    }
}

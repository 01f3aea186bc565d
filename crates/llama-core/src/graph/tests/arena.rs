//! Graphs of one operation, built by ggml and computed by its CPU backend on this thread, where a failed assertion
//! is contained.

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::OnceLock;

use llama_sys::{ggml_tensor, ggml_type};

use crate::backend;
use crate::graph::tensor::Tensor;
use crate::graph::{broken_condition, conditions};

/// Memory for the tensors of one graph.
pub(super) struct Arena(pub(super) NonNull<llama_sys::ggml_context>);

/// A missing source.
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

    /// Creates a tensor of zeros.
    pub(super) fn tensor(&self, kind: ggml_type, shape: &[i64]) -> *mut ggml_tensor {
        // SAFETY: the context is valid and has room; ggml asserts on types and shapes, which the caller contains.
        let tensor = unsafe {
            llama_sys::ggml_new_tensor(
                self.raw(),
                kind,
                c_int::try_from(shape.len()).unwrap(),
                shape.as_ptr(),
            )
        };
        // SAFETY: the tensor is valid, and has `ggml_nbytes` bytes at `data`.
        unsafe { core::ptr::write_bytes((*tensor).data.cast::<u8>(), 0, llama_sys::ggml_nbytes(tensor)) };
        tensor
    }

    /// Computes a tensor. Returns the text of an assertion of ggml that failed.
    fn compute(&self, tensor: *mut ggml_tensor) -> Result<(), String> {
        let status = contained(|| {
            // SAFETY: context and tensor are valid. With one thread, ggml computes on this thread.
            unsafe {
                let graph = llama_sys::ggml_new_graph(self.raw());
                llama_sys::ggml_build_forward_expand(graph, tensor);
                llama_sys::ggml_graph_compute_with_ctx(self.raw(), graph, 1)
            }
        })?;
        assert_eq!(status, llama_sys::ggml_status::GGML_STATUS_SUCCESS);
        Ok(())
    }
}

/// The text of an assertion that unwinds through C++.
struct Asserted(String);

thread_local! {
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Calls functions of ggml, and returns the text of an assertion that failed on this thread meanwhile.
fn contained<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    static BEFORE: OnceLock<llama_sys::ggml_abort_callback_t> = OnceLock::new();
    unsafe extern "C-unwind" fn on_abort(message: *const c_char) {
        if IS_CONTAINED.get() {
            // SAFETY: ggml passes a NUL-terminated text (ggml.c, ggml_abort).
            let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
            resume_unwind(Box::new(Asserted(text)));
        }
        if let Some(Some(before)) = BEFORE.get() {
            // SAFETY: this is the previous callback, of the shim or ggml, called with ggml's text.
            unsafe { before(message) };
        }
    }
    backend::init();
    // SAFETY: the function lives as long as the process, and passes other failures to the previous callback.
    BEFORE.get_or_init(|| unsafe { llama_sys::ggml_set_abort_callback(Some(on_abort)) });
    IS_CONTAINED.set(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    IS_CONTAINED.set(false);
    result.map_err(|payload| match payload.downcast::<Asserted>() {
        Ok(asserted) => asserted.0,
        Err(other) => resume_unwind(other),
    })
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: this is the only owner.
        unsafe { llama_sys::ggml_free(self.raw()) };
    }
}

/// Results of the comparison.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Number of operations that the table accepts and ggml computes.
    pub(super) accepted: usize,
    /// Number of operations that the table refuses and ggml asserts on.
    pub(super) asserted: usize,
    /// Number of operations that the table refuses although ggml does not check them.
    pub(super) unchecked: usize,
    /// Number of operations that ggml did not build.
    pub(super) unbuilt: usize,
}

impl Tally {
    /// Compares the table's answer for an operation with ggml's behaviour.
    pub(super) fn compare(&mut self, what: &str, build: impl FnOnce(&Arena) -> *mut ggml_tensor) {
        let arena = Arena::new();
        let Ok(raw) = contained(|| build(&arena)) else {
            self.unbuilt += 1;
            return;
        };
        // SAFETY: ggml has built the tensor, and nothing changes it.
        let node = Tensor::new(unsafe { &*raw });
        assert!(conditions::of(node.op()).is_some(), "{what}: {} is not in the table", node.operation());
        match broken_condition(node) {
            None => {
                arena.compute(raw).unwrap_or_else(|error| panic!("{what}: accepted, but {error}"));
                self.accepted += 1;
            }
            Some(condition) if condition.covers.is_empty() => self.unchecked += 1,
            Some(condition) => {
                let Err(error) = arena.compute(raw) else {
                    panic!("{what}: refused ({}), but ggml computes it", condition.requires)
                };
                assert!(error.contains("ggml-cpu"), "{what}: {error}");
                self.asserted += 1;
            }
        }
    }
}

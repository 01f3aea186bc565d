//! Raw bindings to [llama.cpp](https://github.com/ggml-org/llama.cpp), and the build that compiles and links it.
//!
//! This crate is for those who write their own wrapper. A sound and typed API over it is `llama-core`, and text
//! generation is `llama-gen`.
//!
//! # What is bound
//!
//! | header | module |
//! |---|---|
//! | `llama.h` | [`llama`] |
//! | `ggml.h` | [`ggml`] |
//! | `ggml-alloc.h` | [`ggml_alloc`] |
//! | `ggml-backend.h` | [`ggml_backend`] |
//! | `ggml-cpu.h` | [`ggml_cpu`]; its functions are missing with feature `dynamic-backends` |
//! | `ggml-opt.h` | [`ggml_opt`] |
//! | `gguf.h` | [`gguf`] |
//! | this crate's `shim/guard.h` | [`shim`] |
//! | this crate's `shim/process.h` | [`shim_process`] |
//! | this crate's `shim/samplers.h` | [`shim_samplers`] |
//! | this crate's `shim/by_address.h` | [`shim_by_address`] |
//! | this crate's `shim/breakdown.h` | [`shim_breakdown`] |
//! | this crate's `shim/architecture.h` | [`shim_architecture`] |
//! | this crate's `shim/file.h` | [`shim_file`] |
//! | this crate's `shim/graph.h` | [`shim_graph`] |
//! | this crate's `shim/regex.h` | [`shim_regex`] |
//! | this crate's `shim/common.h` | `shim_common`, with feature `common` |
//! | this crate's `shim/common_chat.h` | `shim_common_chat`, with feature `common` |
//! | this crate's `shim/template_budget.h` | `shim_template_budget`, with feature `common` |
//!
//! Every item is at the root of the crate too, and there alone with feature `bindgen`, which generates the
//! bindings while building. The headers are the documentation. Functions that llama.cpp has deprecated are left
//! out, as are the headers of single backends: [`ggml_backend_reg_by_name`] reaches each of those.
//!
//! - **Enums** are structs around an integer, with associated constants: `llama_pooling_type::LLAMA_POOLING_TYPE_MEAN`
//!   is a `llama_pooling_type`, and its number is its field `0`. C may return values that this version does not
//!   know, which in a Rust enum would be undefined behaviour. The integer is [`CEnum`], or `c_int` where a value
//!   is negative.
//! - **Names** are those of C. A function that has the name of an enum ends in `_fn`, as [`llama_pooling_type_fn`].
//! - **The ABI** of functions and callbacks is `C-unwind`: C++ exceptions pass through the functions (see below). A Rust
//!   panic must not pass from a callback into C.
//! - **Layouts** are checked while compiling, where pointers have 64 bits.
//!
//! # Failures
//!
//! llama.cpp answers a wrong argument with `GGML_ASSERT`, which aborts the process, and a few functions throw C++
//! exceptions, which Rust cannot catch. The functions of [`call`] make a call in C++, where both are caught, and report
//! them as a value, once [`llama_shim_install_abort_callback`] was called. No exception passes through a frame of Rust, so
//! that this works with `panic = "abort"` too:
//!
//! ```
//! use core::ffi::{CStr, c_char};
//!
//! use llama_sys::llama_shim_outcome;
//!
//! let mut message: [c_char; llama_sys::LLAMA_SHIM_MESSAGE_SIZE as usize] = [0; _];
//! // What fails here is a function for tests: as a GGML_ASSERT does.
//! let (how, text) = (llama_shim_outcome::LLAMA_SHIM_OUTCOME_ASSERTION, c"no such layer");
//! // SAFETY: no other thread uses ggml yet; the text is NUL-terminated; the buffer has the size that is asked for.
//! let outcome = unsafe {
//!     llama_sys::llama_shim_install_abort_callback();
//!     llama_sys::call::llama_shim_fail(message.as_mut_ptr(), &mut (), how, text.as_ptr())
//! };
//! assert_eq!(outcome, llama_shim_outcome::LLAMA_SHIM_OUTCOME_ASSERTION);
//! // SAFETY: for an outcome other than COMPLETED the call has written a NUL-terminated text.
//! let message = unsafe { CStr::from_ptr(message.as_ptr()) };
//! assert_eq!(message.to_str(), Ok("shim/guard.cpp:1: no such layer"));
//! ```
//!
//! There is such a function for every C function that `llama-core` needs one for. Where there is none, the process ends
//! with a failure of the C function: an exception that reaches a caller without a handler ends it too.
//!
//! After a contained failure the objects that took part are in an unknown state: free them, and use them for nothing
//! else. What fails while several threads compute cannot be contained.

#![cfg_attr(
    llama_sys_generated_at_build,
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "bindings that are generated while building are not in modules"
    )
)]

mod c;
pub mod call;

#[cfg(not(llama_sys_generated_at_build))]
#[allow(missing_docs, reason = "the headers of llama.cpp are the documentation")]
#[allow(non_camel_case_types, reason = "the names are those of C")]
mod bindings;

#[cfg(llama_sys_generated_at_build)]
#[allow(missing_docs, reason = "the headers of llama.cpp are the documentation")]
#[allow(non_camel_case_types, reason = "the names are those of C")]
mod bindings {
    use crate::c::FILE;

    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;
pub use c::{CEnum, FILE};

/// The version of llama.cpp's sources that were built; of a prebuilt library, the version that the committed bindings
/// are for. The library itself answers [`llama_version`].
pub const LLAMA_CPP_VERSION: &str = env!("LLAMA_CPP_VERSION");

/// With feature `dynamic-backends`, the folder on the building machine that holds the backends. A program that goes to
/// other machines has them beside its executable, where [`ggml_backend_load_all`] finds them.
pub const BACKEND_DIR: Option<&str> = option_env!("LLAMA_SYS_BACKEND_DIR");

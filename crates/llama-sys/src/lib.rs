//! Raw bindings to [llama.cpp](https://github.com/ggml-org/llama.cpp), and the build that compiles and links it.
//!
//! Use this crate to write your own wrapper. `llama-core` is a sound and typed API over it, and `llama-gen` generates
//! text.
//!
//! # Bindings
//!
//! | header | module |
//! |---|---|
//! | `llama.h` | [`llama`] |
//! | `ggml.h` | [`ggml`] |
//! | `ggml-alloc.h` | [`ggml_alloc`] |
//! | `ggml-backend.h` | [`ggml_backend`] |
//! | `ggml-cpu.h` | [`ggml_cpu`]; its functions are missing with features `dynamic-backends` and `dynamic` |
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
//! | this crate's `shim/rpc.h` | [`shim_rpc`] |
//! | this crate's `shim/common.h` | `shim_common`, with feature `common` |
//! | this crate's `shim/common_chat.h` | `shim_common_chat`, with feature `common` |
//! | this crate's `shim/template_budget.h` | `shim_template_budget`, with feature `common` |
//!
//! Every item is also at the root of the crate, and only there with feature `bindgen`, which generates the bindings
//! during the build. llama.cpp's headers document the items. Deprecated functions are left out, as are the headers of
//! single backends: [`ggml_backend_reg_by_name`] finds each backend.
//!
//! - **Enums** are structs around an integer, with associated constants:
//!   `llama_pooling_type::LLAMA_POOLING_TYPE_MEAN` is a `llama_pooling_type`, and its number is its field `0`. C may
//!   return values that this version does not know, which would be undefined behaviour in a Rust enum. The integer is
//!   [`CEnum`], or `c_int` for enums with negative values.
//! - **Names** are C's. A function with the name of an enum ends in `_fn`, as [`llama_pooling_type_fn`] does.
//! - **The ABI** of functions and callbacks is `C-unwind`, because C++ exceptions pass through the functions (see
//!   below). A Rust panic must not pass from a callback into C.
//! - **Layouts** are checked at compile time on targets with 64-bit pointers.
//!
//! # A library that is loaded when the program runs
//!
//! With feature `dynamic` no libllama is built or linked. `dynamic::load` loads a shared one of version
//! [`LLAMA_CPP_VERSION`], and must have succeeded before any function of llama.cpp is called.
//!
//! # Failures
//!
//! On a wrong argument llama.cpp fails a `GGML_ASSERT`, which aborts the process, and a few functions throw C++
//! exceptions, which Rust cannot catch. The functions of [`call`] make a call in C++, catch both, and report them as
//! a value after [`llama_shim_install_abort_callback`] was called. No exception passes through a Rust frame, so this
//! works with `panic = "abort"` too:
//!
//! ```
//! use core::ffi::{CStr, c_char};
//!
//! use llama_sys::llama_shim_outcome;
//!
//! let mut message: [c_char; llama_sys::LLAMA_SHIM_MESSAGE_SIZE as usize] = [0; _];
//! // A function for tests, which fails as a GGML_ASSERT does.
//! let (how, text) = (llama_shim_outcome::LLAMA_SHIM_OUTCOME_ASSERTION, c"no such layer");
//! # #[cfg(feature = "dynamic")]
//! # unsafe { llama_sys::dynamic::load(None) }.unwrap();
//! // SAFETY: no other thread uses ggml yet; the text is NUL-terminated; the buffer has the required size.
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
//! `call` has a function for every C function that `llama-core` calls with a guard. A failure in any other C function
//! ends the process, also by an exception that reaches a caller without a handler.
//!
//! After a contained failure the objects involved are in an unknown state: free them, and do nothing else with them.
//! A failure while several threads compute cannot be contained.

#![cfg_attr(
    llama_sys_generated_at_build,
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "bindings that are generated while building are not in modules"
    )
)]

mod c;
pub mod call;
#[cfg(feature = "dynamic")]
pub mod dynamic;

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

/// The version of llama.cpp's sources that were built. With a prebuilt library it is the version that its
/// installation names, or that of the committed bindings when it names none; [`llama_version`] returns the version of the
/// library itself.
pub const LLAMA_CPP_VERSION: &str = env!("LLAMA_CPP_VERSION");

/// The folder on the building machine that holds the backends, with feature `dynamic-backends`. A program for other
/// machines ships them beside its executable, where [`ggml_backend_load_all`] finds them.
pub const BACKEND_DIR: Option<&str> = option_env!("LLAMA_SYS_BACKEND_DIR");

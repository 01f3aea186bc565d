//! What llama.cpp can do with an architecture, asked before it throws or asserts half-way and leaks what it had begun.

use core::ffi::c_char;
use std::ffi::CString;

use super::effective::Effective;
use super::params::{ModelParams, invalid};
use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guard;

/// Refuses a division by tensors where the architecture has none.
///
/// Corresponds to `llama_shim_architecture_splits_tensors`.
pub(super) fn check_split(params: &ModelParams, metadata: Effective<'_>) -> Result<()> {
    let Some(name) = metadata.text("general.architecture").filter(|_| params.splits_tensors()) else {
        return Ok(());
    };
    if ask(name, llama_sys::llama_shim_architecture_splits_tensors)? {
        return Ok(());
    }
    let reason = format!(
        "llama.cpp cannot divide models of the architecture `{name}` by tensors: use SplitMode::Layer, or \
         SplitMode::None"
    );
    Err(invalid("split_mode", "Tensor", reason))
}

/// Refuses to save where llama.cpp has no writer for the architecture.
///
/// Corresponds to `llama_shim_architecture_can_be_saved`.
pub(super) fn check_savable(name: &str) -> Result<()> {
    if ask(name, llama_sys::llama_shim_architecture_can_be_saved)? {
        return Ok(());
    }
    let reason = format!("llama.cpp's writer does not know all of the architecture `{name}`");
    Err(ErrorKind::Unsupported { operation: "saving", reason }.into())
}

fn ask(name: &str, question: unsafe extern "C-unwind" fn(*const c_char) -> bool) -> Result<bool> {
    // C reads metadata up to a NUL byte.
    let name = name.split('\0').next().unwrap_or_default();
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: both functions read a NUL-terminated text and keep nothing (shim/architecture.cpp); guarded because they
    // allocate.
    guard(|| unsafe { question(name.as_ptr()) })
}

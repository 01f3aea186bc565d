//! The capabilities of an architecture in llama.cpp, checked before llama.cpp throws or asserts midway and leaks
//! memory.

use std::ffi::CString;

use super::effective::Effective;
use super::params::{ModelParams, invalid};
use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;

/// Refuses a division by tensors if the architecture does not support it.
///
/// Corresponds to `llama_shim_architecture_splits_tensors`.
pub(super) fn check_split(params: &ModelParams, metadata: Effective<'_>) -> Result<()> {
    let Some(name) = metadata.text("general.architecture").filter(|_| params.splits_tensors()) else {
        return Ok(());
    };
    let name_in_c = to_c(name);
    // SAFETY: the text is NUL-terminated, and the function keeps no pointer to it (shim/architecture.cpp).
    if unsafe { guarded!(llama_shim_architecture_splits_tensors(name_in_c.as_ptr())) }? {
        return Ok(());
    }
    let reason = format!(
        "SplitMode::Layer or SplitMode::None: llama.cpp cannot divide models of the architecture `{name}` by tensors"
    );
    Err(invalid("split_mode", "Tensor", reason))
}

/// Refuses to save a model if llama.cpp has no writer for the architecture.
///
/// Corresponds to `llama_shim_architecture_can_be_saved`.
pub(super) fn check_savable(name: &str) -> Result<()> {
    let name_in_c = to_c(name);
    // SAFETY: as in `check_split`.
    if unsafe { guarded!(llama_shim_architecture_can_be_saved(name_in_c.as_ptr())) }? {
        return Ok(());
    }
    let reason = format!("llama.cpp's writer does not support all of the architecture `{name}`");
    Err(ErrorKind::Unsupported { operation: "saving", reason }.into())
}

/// Converts a name like C, which reads it from metadata up to a NUL byte.
fn to_c(name: &str) -> CString {
    CString::new(name.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

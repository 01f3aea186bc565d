//! Regular expressions of C++ (ECMAScript), checked before llama.cpp makes them: an exception in the middle of what it does
//! leaks what it had begun.

use std::ffi::CStr;

use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;

/// Why C++ cannot read a pattern; `None` when it can. It reads by recursion: the caller bounds the length, or gives it a
/// large stack.
///
/// Corresponds to `llama_shim_check_regex`.
pub(crate) fn refusal(pattern: &CStr) -> Result<Option<String>> {
    // SAFETY: the pattern is NUL-terminated and outlives the call.
    match unsafe { guarded!(llama_shim_check_regex(pattern.as_ptr())) } {
        Ok(()) => Ok(None),
        Err(error) => match error.kind() {
            ErrorKind::Exception { message } => Ok(Some(message.clone())),
            _ => Err(error),
        },
    }
}

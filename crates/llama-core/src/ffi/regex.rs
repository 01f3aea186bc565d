//! C++ regular expressions (ECMAScript), checked before llama.cpp compiles them: an exception in the middle of
//! llama.cpp's work would leak memory.

use std::ffi::CStr;

use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;

/// Returns C++'s reason for rejecting a pattern, or `None` if it is valid. C++ parses recursively: the caller must
/// bound the length or provide a large stack.
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

//! Calls into llama.cpp whose failed assertions and C++ exceptions become errors. They are made in C++
//! (`llama_sys::call`), so that nothing is thrown through a Rust frame.

use core::ffi::{CStr, c_char};
use core::fmt;
use core::mem::MaybeUninit;

use crate::error::{Error, ErrorKind};
use crate::ffi::exit;
use crate::log;

/// Message buffer that the shim writes to when a call fails. It stays uninitialised while calls succeed.
type Message = [MaybeUninit<u8>; llama_sys::LLAMA_SHIM_MESSAGE_SIZE as usize];

/// Calls a C function with a guard: `unsafe { guarded!(llama_decode(context, batch)) }` returns the function's
/// result, or an error if it failed an assertion or threw. `cargo xtask codegen` generates the calling function for
/// each name used in this macro.
///
/// # Safety
///
/// The requirements of the C function.
///
/// # Errors
///
/// [`ErrorKind::Internal`] for a failed assertion on this thread, [`ErrorKind::Exception`] and
/// [`ErrorKind::OutOfMemory`] for a C++ exception. The C++ object that the call worked on must then not be used
/// again, only freed. [`ErrorKind::ProcessEnds`] if the process is ending, and `ErrorKind::Library` if the library of
/// feature `dynamic` cannot be loaded, in which cases C++ is not called.
macro_rules! guarded {
    ($function:ident($($argument:expr),* $(,)?)) => {
        $crate::ffi::guard::call(|message, result| llama_sys::call::$function(message, result, $($argument),*))
    };
}

pub(crate) use guarded;

/// Makes a call through a function of `llama_sys::call`: see [`guarded`].
///
/// # Safety
///
/// `function` behaves like those functions: it writes the result if the outcome says that the call completed, and a
/// NUL-terminated message for any other outcome.
#[inline]
pub(crate) unsafe fn call<R>(
    function: impl FnOnce(*mut c_char, *mut R) -> llama_sys::llama_shim_outcome,
) -> Result<R, Error> {
    let _inside = exit::enter()?;
    let mut message: Message = [MaybeUninit::uninit(); llama_sys::LLAMA_SHIM_MESSAGE_SIZE as usize];
    let mut result = MaybeUninit::<R>::uninit();
    let outcome = function(message.as_mut_ptr().cast::<c_char>(), result.as_mut_ptr());
    if outcome == llama_sys::llama_shim_outcome::LLAMA_SHIM_OUTCOME_COMPLETED {
        // SAFETY: the function has written its result, by the caller's promise (shim/calls.cpp). A function without
        // a result has `()`, which needs no writing.
        return Ok(unsafe { result.assume_init() });
    }
    // SAFETY: by the same promise there is a NUL-terminated message (shim/guard.cpp, `caught`).
    let text = unsafe { CStr::from_ptr(message.as_ptr().cast::<c_char>()) };
    Err(contained(outcome, &text.to_string_lossy()))
}

/// Logs a failure to free a C object, in places that cannot return an error.
pub(crate) fn freed(what: impl fmt::Display, result: Result<(), Error>) {
    match result {
        Ok(()) => {}
        // The process frees the memory.
        Err(error) if matches!(error.kind(), ErrorKind::ProcessEnds) => {}
        Err(error) => log::note(&format!("freeing {what} failed: {error}")),
    }
}

/// Returns the result of a call, or logs the error and returns `otherwise`, for functions that cannot return an
/// error.
pub(crate) fn or_logged<R>(result: Result<R, Error>, otherwise: R) -> R {
    result.unwrap_or_else(|error| {
        log::note(&error.to_string());
        otherwise
    })
}

#[cold]
fn contained(outcome: llama_sys::llama_shim_outcome, text: &str) -> Error {
    use llama_sys::llama_shim_outcome as Outcome;
    let kind = match outcome {
        Outcome::LLAMA_SHIM_OUTCOME_ASSERTION => parse_assertion(text),
        Outcome::LLAMA_SHIM_OUTCOME_NO_MEMORY => ErrorKind::OutOfMemory { message: text.to_owned() },
        _ => ErrorKind::Exception { message: text.to_owned() },
    };
    Error::from_kind(kind)
}

/// Parses `file:line: message`. The file name may contain colons.
fn parse_assertion(text: &str) -> ErrorKind {
    for (at, _) in text.match_indices(": ") {
        if let Some((file, line)) = text[..at].rsplit_once(':')
            && let Ok(line) = line.parse()
        {
            let message = text[at + 2..].to_owned();
            return ErrorKind::Internal { file: file.to_owned(), line, message };
        }
    }
    ErrorKind::Internal { file: String::new(), line: 0, message: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use llama_sys::llama_shim_outcome as Outcome;

    use super::*;

    fn fail(how: Outcome, text: &CStr) -> Result<(), Error> {
        crate::backend::init();
        // SAFETY: the text is NUL-terminated.
        unsafe { guarded!(llama_shim_fail(how, text.as_ptr())) }
    }

    fn is_guarded() -> bool {
        // SAFETY: takes no arguments.
        unsafe { llama_sys::llama_shim_is_guarded() }
    }

    #[test]
    fn result_passes_through() {
        // SAFETY: takes no arguments.
        assert!(unsafe { guarded!(llama_max_devices()) }.unwrap() > 0);
    }

    #[test]
    fn assertion_becomes_an_error_with_file_line_and_message() {
        let error = fail(Outcome::LLAMA_SHIM_OUTCOME_ASSERTION, c"it: broke").unwrap_err();
        match error.kind() {
            ErrorKind::Internal { file, line, message } => {
                assert_eq!((file.as_str(), *line, message.as_str()), ("shim/guard.cpp", 1, "it: broke"));
            }
            other => panic!("{other:?}"),
        }
        assert!(!is_guarded());
    }

    #[test]
    fn exceptions_become_errors_whatever_their_type() {
        let kind = |how| fail(how, c"why").unwrap_err().kind().to_string();
        assert_eq!(kind(Outcome::LLAMA_SHIM_OUTCOME_EXCEPTION), "llama.cpp failed: why");
        assert_eq!(
            kind(Outcome::LLAMA_SHIM_OUTCOME_NO_MEMORY),
            "out of memory inside llama.cpp (std::bad_alloc): use a smaller model, context or batch"
        );
        // An exception that is not derived from std::exception.
        assert_eq!(
            kind(llama_sys::llama_shim_outcome(99)),
            "llama.cpp failed: an exception of an unknown type"
        );
        assert!(!is_guarded());
    }

    #[test]
    fn windows_path_keeps_its_colon() {
        match parse_assertion(r"C:\a\b.cpp:12: GGML_ASSERT(x) failed: y") {
            ErrorKind::Internal { file, line, message } => {
                assert_eq!((file.as_str(), line), (r"C:\a\b.cpp", 12));
                assert_eq!(message, "GGML_ASSERT(x) failed: y");
            }
            other => panic!("{other:?}"),
        }
    }
}

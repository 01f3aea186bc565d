//! Runs calls into llama.cpp so that a failed assertion or a C++ exception comes back as an error.

use core::ffi::{CStr, c_char, c_void};
use core::fmt;
use core::mem::MaybeUninit;

use crate::error::{Error, ErrorKind};
use crate::ffi::exit;

/// The message buffer that the shim writes to when a call fails. Left uninitialised while calls succeed.
type Message = [MaybeUninit<u8>; llama_sys::LLAMA_SHIM_MESSAGE_SIZE as usize];

/// The closure and the place for its result, behind one pointer.
struct Call<F, R> {
    body: Option<F>,
    result: Option<R>,
}

/// Runs `body`, which calls llama.cpp, inside the shim's try/catch. Corresponds to `llama_shim_guard`.
///
/// # Errors
///
/// [`ErrorKind::Internal`] for a failed assertion on this thread, [`ErrorKind::Exception`] and
/// [`ErrorKind::OutOfMemory`] for a C++ exception. The C++ object that the call worked on must then not be
/// used again, only freed. [`ErrorKind::ProcessEnds`] when the process ends, and C++ is not called any more.
#[inline]
pub(crate) fn guard<R>(body: impl FnOnce() -> R) -> Result<R, Error> {
    let _inside = exit::enter()?;
    let mut call = Call { body: Some(body), result: None };
    let mut message: Message = [MaybeUninit::uninit(); llama_sys::LLAMA_SHIM_MESSAGE_SIZE as usize];
    let outcome = run(&mut call, &mut message);
    if let (llama_sys::llama_shim_outcome::LLAMA_SHIM_OUTCOME_COMPLETED, Some(result)) =
        (outcome, call.result)
    {
        return Ok(result);
    }
    // SAFETY: for every outcome but COMPLETED the shim has written a NUL-terminated message (guard.h).
    let text = unsafe { CStr::from_ptr(message.as_ptr().cast::<c_char>()) };
    Err(contained(outcome, &text.to_string_lossy()))
}

/// Runs `body`, which frees an object of C's, where there is nobody to return an error to.
pub(crate) fn free(what: impl fmt::Display, body: impl FnOnce()) {
    match guard(body) {
        Ok(()) => {}
        // The memory goes with the process.
        Err(error) if matches!(error.kind(), ErrorKind::ProcessEnds) => {}
        Err(error) => tracing::error!("freeing {what} failed: {error}"),
    }
}

#[inline]
fn run<F: FnOnce() -> R, R>(call: &mut Call<F, R>, message: &mut Message) -> llama_sys::llama_shim_outcome {
    // SAFETY: `invoke` is given the pointer to the call that its types name, the call outlives the shim's
    // frame, and the buffer has LLAMA_SHIM_MESSAGE_SIZE bytes. A panic of the body unwinds through the shim,
    // which lets exceptions of other languages pass (guard.cpp).
    unsafe {
        llama_sys::llama_shim_guard(
            Some(invoke::<F, R>),
            core::ptr::from_mut(call).cast::<c_void>(),
            message.as_mut_ptr().cast::<c_char>(),
        )
    }
}

/// The function that the shim calls. A C++ exception of the body unwinds through it to the shim.
unsafe extern "C-unwind" fn invoke<F: FnOnce() -> R, R>(data: *mut c_void) {
    // SAFETY: `run` passes a pointer to a `Call` of these very types that nobody else uses meanwhile.
    let call = unsafe { &mut *data.cast::<Call<F, R>>() };
    if let Some(body) = call.body.take() {
        call.result = Some(body());
    }
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

/// Takes `file:line: message` apart. The file may hold colons itself.
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
    use super::*;

    fn abort(text: &CStr) {
        // SAFETY: the strings are NUL-terminated and the format takes one string.
        unsafe { llama_sys::ggml_abort(c"some/file.cpp".as_ptr(), 42, c"%s".as_ptr(), text.as_ptr()) };
    }

    #[test]
    fn result_passes_through() {
        assert_eq!(guard(|| 7).unwrap(), 7);
    }

    #[test]
    fn assertion_becomes_an_error_with_file_line_and_message() {
        crate::backend::init();
        let error = guard(|| abort(c"it: broke")).unwrap_err();
        match error.kind() {
            ErrorKind::Internal { file, line, message } => {
                assert_eq!((file.as_str(), *line, message.as_str()), ("some/file.cpp", 42, "it: broke"));
            }
            other => panic!("{other:?}"),
        }
        // SAFETY: takes no arguments.
        assert!(!unsafe { llama_sys::llama_shim_is_guarded() });
    }

    #[test]
    fn destructors_run_when_an_assertion_unwinds() {
        struct Flag<'a>(&'a std::cell::Cell<bool>);
        impl Drop for Flag<'_> {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        crate::backend::init();
        let dropped = std::cell::Cell::new(false);
        let result = guard(|| {
            let _flag = Flag(&dropped);
            abort(c"no");
        });
        assert!(result.is_err());
        assert!(dropped.get());
    }

    #[test]
    fn panic_passes_through() {
        let caught = std::panic::catch_unwind(|| guard(|| panic!("mine")));
        assert_eq!(*caught.unwrap_err().downcast_ref::<&str>().unwrap(), "mine");
        // SAFETY: takes no arguments.
        assert!(!unsafe { llama_sys::llama_shim_is_guarded() });
    }

    #[test]
    fn guards_nest() {
        crate::backend::init();
        let outer = guard(|| {
            assert!(guard(|| abort(c"inner")).is_err());
            5
        });
        assert_eq!(outer.unwrap(), 5);
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

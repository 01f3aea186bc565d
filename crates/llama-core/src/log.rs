//! llama.cpp's log goes to [`tracing`], target `llama_cpp`, and the lines that explain a failure into its error.

use core::ffi::{CStr, c_char, c_void};
use std::cell::RefCell;
use std::panic;

use crate::error::Result;

/// The most lines that an error keeps.
const MAX_LINES: usize = 12;

thread_local! {
    /// Warnings and errors of the call that runs on this thread, while one is captured.
    static CAPTURED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
    /// A line that llama.cpp has begun and not ended.
    static PARTIAL: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Sends llama.cpp's and ggml's log to `tracing`. Corresponds to `llama_log_set`.
pub(crate) fn install() {
    // SAFETY: the callback is valid for the whole life of the process and uses no user data. Called once,
    // before any other use of the library (backend::init).
    unsafe { llama_sys::llama_log_set(Some(on_log), core::ptr::null_mut()) };
}

/// Runs a call and adds what llama.cpp logged meanwhile on this thread to its error. Inside another such call, the
/// lines of a success are left to the outer one: what looks like a success here may be a failure there.
pub(crate) fn explain<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    let outer = CAPTURED.with_borrow_mut(|captured| captured.replace(Vec::new()));
    let result = call();
    let lines = CAPTURED.with_borrow_mut(|captured| core::mem::replace(captured, outer)).unwrap_or_default();
    match result {
        Ok(value) => {
            if !lines.is_empty() {
                lines.into_iter().for_each(keep);
            }
            Ok(value)
        }
        Err(error) => Err(error.with_log(lines)),
    }
}

unsafe extern "C-unwind" fn on_log(level: llama_sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    // A subscriber is the user's code and may panic; a log line is not worth a process.
    let _ = panic::catch_unwind(|| {
        // SAFETY: ggml passes a NUL-terminated string that lives during the call (ggml.c, ggml_log_internal_v).
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        receive(level, &text);
    });
}

/// Joins the parts of a line, which llama.cpp may log one by one, and hands on whole lines.
fn receive(level: llama_sys::ggml_log_level, text: &str) {
    let line = PARTIAL.with_borrow_mut(|partial| {
        partial.push_str(text);
        partial.ends_with('\n').then(|| core::mem::take(partial))
    });
    for line in line.iter().flat_map(|line| line.lines()).filter(|line| !line.trim().is_empty()) {
        capture(level, line);
        emit(level, line);
    }
}

fn capture(level: llama_sys::ggml_log_level, line: &str) {
    use llama_sys::ggml_log_level as Level;
    if level != Level::GGML_LOG_LEVEL_WARN && level != Level::GGML_LOG_LEVEL_ERROR {
        return;
    }
    keep(line.trim().to_owned());
}

/// Adds a line to those of the call that is captured, if there is one.
pub(crate) fn keep(line: String) {
    CAPTURED.with_borrow_mut(|captured| {
        if let Some(lines) = captured {
            if lines.len() == MAX_LINES {
                lines.remove(0);
            }
            lines.push(line);
        }
    });
}

fn emit(level: llama_sys::ggml_log_level, line: &str) {
    use llama_sys::ggml_log_level as Level;
    match level {
        Level::GGML_LOG_LEVEL_ERROR => tracing::error!(target: "llama_cpp", "{line}"),
        Level::GGML_LOG_LEVEL_WARN => tracing::warn!(target: "llama_cpp", "{line}"),
        Level::GGML_LOG_LEVEL_INFO => tracing::info!(target: "llama_cpp", "{line}"),
        Level::GGML_LOG_LEVEL_CONT => tracing::debug!(target: "llama_cpp", "{line}"),
        _ => tracing::debug!(target: "llama_cpp", "{line}"),
    }
}

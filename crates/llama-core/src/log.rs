//! llama.cpp's log goes to [`tracing`], target `llama_cpp`, and the lines that explain a failure into its error.

use core::ffi::{CStr, c_char, c_void};
use std::cell::{Cell, RefCell};
use std::panic;

use crate::error::Result;

/// The most lines that an error keeps.
const MAX_LINES: usize = 12;

/// What is captured on a thread.
#[derive(Clone, Copy)]
struct Captured {
    /// The calls that are captured, one inside the other.
    calls: u32,
    /// The lines since the outermost of them began, with those that there was no room for.
    lines: usize,
}

thread_local! {
    /// Apart from the lines: a call that logs nothing, as nearly all do, needs only these numbers.
    static CAPTURED: Cell<Captured> = const { Cell::new(Captured { calls: 0, lines: 0 }) };
    /// The last warnings and errors of the calls that are captured.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
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
#[inline]
pub(crate) fn explain<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    let capture = Capture::begin();
    call().map_err(|error| error.with_log(capture.take()))
}

/// A call that is captured; to drop it ends that, also when the call panics.
struct Capture {
    before: Captured,
}

impl Capture {
    #[inline]
    fn begin() -> Self {
        CAPTURED.with(|captured| {
            let before = captured.get();
            captured.set(Captured { calls: before.calls + 1, ..before });
            Self { before }
        })
    }

    /// The lines of this call, which are then not those of calls around it.
    #[cold]
    fn take(&self) -> Vec<String> {
        let captured = CAPTURED.get();
        CAPTURED.set(Captured { lines: self.before.lines, ..captured });
        let own = captured.lines - self.before.lines;
        LINES.with_borrow_mut(|lines| lines.split_off(lines.len().saturating_sub(own)))
    }
}

impl Drop for Capture {
    #[inline]
    fn drop(&mut self) {
        let lines = CAPTURED.with(|captured| {
            let Captured { lines, .. } = captured.get();
            let inside = self.before.calls > 0;
            captured.set(Captured { lines: if inside { lines } else { 0 }, ..self.before });
            if inside { 0 } else { lines }
        });
        if lines > 0 {
            forget();
        }
    }
}

#[cold]
fn forget() {
    LINES.with_borrow_mut(Vec::clear);
}

unsafe extern "C-unwind" fn on_log(level: llama_sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    // A subscriber is the user's code and may panic; a log line is not worth a process.
    let received = panic::catch_unwind(|| {
        // SAFETY: ggml passes a NUL-terminated string that lives during the call (ggml.c, ggml_log_internal_v).
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        receive(level, &text);
    });
    // Dropping what the subscriber panicked with may panic as well.
    core::mem::forget(received);
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
    let captured = CAPTURED.get();
    if captured.calls == 0 {
        return;
    }
    CAPTURED.set(Captured { lines: captured.lines + 1, ..captured });
    LINES.with_borrow_mut(|lines| {
        if lines.len() == MAX_LINES {
            lines.remove(0);
        }
        lines.push(line);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn fail() -> Result<()> {
        Err(ErrorKind::EmptyBatch.into())
    }

    fn say(line: &str) {
        keep(line.to_owned());
    }

    fn lines(result: Result<()>) -> Vec<String> {
        result.unwrap_err().log().to_vec()
    }

    #[test]
    fn failure_has_the_lines_of_its_call_only() {
        say("before");
        explain(|| {
            say("of a success");
            Ok(())
        })
        .unwrap();
        let failed = explain(|| {
            say("one");
            say("two");
            fail()
        });
        assert_eq!(lines(failed), ["one", "two"]);
        assert!(lines(explain(fail)).is_empty());
    }

    #[test]
    fn lines_of_an_inner_success_are_left_to_the_outer_failure_and_those_of_an_inner_failure_are_not() {
        let failed = explain(|| {
            say("outer");
            let _ = explain(|| {
                say("inner success");
                Ok(())
            });
            let inner = explain(|| {
                say("inner failure");
                fail()
            });
            assert_eq!(lines(inner), ["inner failure"]);
            say("after");
            fail()
        });
        assert_eq!(lines(failed), ["outer", "inner success", "after"]);
    }

    #[test]
    fn last_lines_are_kept() {
        let failed = explain(|| {
            say("outer");
            (0..MAX_LINES).for_each(|n| say(&n.to_string()));
            let inner = explain(|| {
                (0..2 * MAX_LINES).for_each(|n| say(&n.to_string()));
                fail()
            });
            assert_eq!(lines(inner), (MAX_LINES..2 * MAX_LINES).map(|n| n.to_string()).collect::<Vec<_>>());
            say("after");
            fail()
        });
        // Those of the outer call had no room.
        assert_eq!(lines(failed), ["after"]);
    }

    #[test]
    fn panic_ends_the_capture() {
        let _ = panic::catch_unwind(|| {
            explain(|| -> Result<()> {
                say("of a panic");
                panic!("mine")
            })
        });
        assert_eq!(CAPTURED.get().calls, 0);
        assert!(lines(explain(fail)).is_empty());
    }
}

//! llama.cpp's log: lines go to [`tracing`] with target `llama_cpp`, and lines that explain a failure into its
//! error.

use core::ffi::{CStr, c_char, c_void};
use std::cell::{Cell, RefCell};
use std::panic;

use crate::error::Result;

/// Maximum number of lines that an error keeps.
const MAX_LINES: usize = 12;

/// State of the capture on a thread.
#[derive(Clone, Copy)]
struct Captured {
    /// Depth of nested captured calls.
    calls: u32,
    /// Number of lines since the outermost call started, including dropped ones.
    lines: usize,
}

thread_local! {
    /// Separate from the lines: a call that logs nothing, which is the usual case, only needs these numbers. It
    /// needs no destructor and is therefore never destroyed.
    static CAPTURED: Cell<Captured> = const { Cell::new(Captured { calls: 0, lines: 0 }) };
    /// The last warnings and errors of the captured calls. Like the two variables below, it no longer exists when a
    /// destructor of another thread-local calls llama.cpp at the end of the thread: errors then have no lines, parts
    /// of lines are passed on separately, and nothing is deferred.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// A line that llama.cpp has started but not ended.
    static PARTIAL: RefCell<String> = const { RefCell::new(String::new()) };
    /// Lines that wait for the end of [`defer`].
    static DEFERRED: RefCell<Deferred> = const { RefCell::new(Deferred { calls: 0, lines: Vec::new() }) };
}

/// Lines that have not been passed to the subscriber yet.
struct Deferred {
    /// Depth of nested calls of [`defer`].
    calls: u32,
    lines: Vec<(llama_sys::ggml_log_level, String)>,
}

/// Redirects llama.cpp's and ggml's log to `tracing`. Corresponds to `llama_log_set`.
pub(crate) fn install() {
    // SAFETY: the callback is valid for the whole life of the process and uses no user data. Called once, before any
    // other use of the library (backend::init).
    unsafe { llama_sys::llama_log_set(Some(on_log), core::ptr::null_mut()) };
}

/// Runs a call and adds the lines that llama.cpp logged on this thread meanwhile to its error. In nested calls, the
/// lines of a successful inner call are kept for the outer one, for which they may explain a failure.
#[inline]
pub(crate) fn explain<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    let capture = Capture::begin();
    call().map_err(|error| error.with_log(capture.take()))
}

/// A captured call, which ends when this is dropped, even by a panic.
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

    /// Takes the lines of this call, which are then no longer those of outer calls.
    #[cold]
    fn take(&self) -> Vec<String> {
        let captured = CAPTURED.get();
        CAPTURED.set(Captured { lines: self.before.lines, ..captured });
        let own = captured.lines - self.before.lines;
        let lines = LINES.try_with(|lines| {
            let mut lines = lines.borrow_mut();
            let first = lines.len().saturating_sub(own);
            lines.split_off(first)
        });
        lines.unwrap_or_default()
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
    let _ = LINES.try_with(|lines| lines.borrow_mut().clear());
}

/// Runs a call while a lock is held. Lines that llama.cpp logs on this thread meanwhile are passed to the subscriber
/// afterwards: a subscriber is user code and might wait for the same lock.
pub(crate) fn defer<T>(call: impl FnOnce() -> T) -> T {
    let _deferring = Deferring::begin();
    call()
}

/// A call of [`defer`]; dropping it passes the lines on, even after a panic.
struct Deferring;

impl Deferring {
    fn begin() -> Self {
        let _ = DEFERRED.try_with(|deferred| deferred.borrow_mut().calls += 1);
        Self
    }
}

impl Drop for Deferring {
    fn drop(&mut self) {
        let lines = DEFERRED.try_with(|deferred| {
            let mut deferred = deferred.borrow_mut();
            deferred.calls -= 1;
            if deferred.calls == 0 { core::mem::take(&mut deferred.lines) } else { Vec::new() }
        });
        for (level, line) in lines.unwrap_or_default() {
            emit_quietly(level, &line);
        }
    }
}

unsafe extern "C-unwind" fn on_log(level: llama_sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    // Nothing may unwind into C.
    let received = panic::catch_unwind(|| {
        // SAFETY: ggml passes a NUL-terminated string that lives during the call (ggml.c, ggml_log_internal_v).
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        receive(level, &text);
    });
    // Dropping the subscriber's panic payload may panic as well.
    core::mem::forget(received);
}

/// Joins the parts of a line, which llama.cpp may log separately, and passes on whole lines.
fn receive(level: llama_sys::ggml_log_level, text: &str) {
    let line = PARTIAL.try_with(|partial| {
        let mut partial = partial.borrow_mut();
        partial.push_str(text);
        partial.ends_with('\n').then(|| core::mem::take(&mut *partial))
    });
    let line = line.unwrap_or_else(|_| Some(text.to_owned()));
    for line in line.iter().flat_map(|line| line.lines()).filter(|line| !line.trim().is_empty()) {
        capture(level, line);
        if !is_deferred(level, line) {
            emit_quietly(level, line);
        }
    }
}

/// Logs an error of this crate like one of llama.cpp. Code that holds locks logs with this function.
pub(crate) fn note(error: &str) {
    let level = llama_sys::ggml_log_level::GGML_LOG_LEVEL_ERROR;
    if !is_deferred(level, error) {
        tracing::error!("{error}");
    }
}

/// Stores a line for the end of [`defer`] if the thread is inside it, and returns whether it did.
fn is_deferred(level: llama_sys::ggml_log_level, line: &str) -> bool {
    let deferred = DEFERRED.try_with(|deferred| {
        let mut deferred = deferred.borrow_mut();
        if deferred.calls > 0 {
            deferred.lines.push((level, line.to_owned()));
        }
        deferred.calls > 0
    });
    deferred.unwrap_or(false)
}

/// Passes a line to the subscriber. It is user code and may panic, but a log line must not end the process.
fn emit_quietly(level: llama_sys::ggml_log_level, line: &str) {
    let _ = panic::catch_unwind(|| emit(level, line));
}

fn capture(level: llama_sys::ggml_log_level, line: &str) {
    use llama_sys::ggml_log_level as Level;
    if level != Level::GGML_LOG_LEVEL_WARN && level != Level::GGML_LOG_LEVEL_ERROR {
        return;
    }
    keep(line.trim().to_owned());
}

/// Adds a line to those of the captured call, if there is one.
pub(crate) fn keep(line: String) {
    let captured = CAPTURED.get();
    if captured.calls == 0 {
        return;
    }
    let kept = LINES.try_with(|lines| {
        let mut lines = lines.borrow_mut();
        if lines.len() == MAX_LINES {
            lines.remove(0);
        }
        lines.push(line);
    });
    if kept.is_ok() {
        CAPTURED.set(Captured { lines: captured.lines + 1, ..captured });
    }
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
        // There was no room for the lines of the outer call.
        assert_eq!(lines(failed), ["after"]);
    }

    #[test]
    fn deferred_lines_come_in_order_after_the_outermost_call() {
        use std::sync::{Arc, Mutex};

        use tracing::{Event, Metadata, Subscriber, field, span};

        /// Records the messages, and whether a lock was free when they arrived.
        struct Keeper {
            said: Arc<Mutex<Vec<(String, bool)>>>,
            lock: Arc<parking_lot::Mutex<()>>,
        }

        struct Message(String);

        impl field::Visit for Message {
            fn record_debug(&mut self, field: &field::Field, value: &dyn core::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }

        impl Subscriber for Keeper {
            fn enabled(&self, _: &Metadata<'_>) -> bool {
                true
            }
            fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
                span::Id::from_u64(1)
            }
            fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
            fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
            fn event(&self, event: &Event<'_>) {
                let mut message = Message(String::new());
                event.record(&mut message);
                self.said.lock().unwrap().push((message.0, self.lock.try_lock().is_some()));
            }
            fn enter(&self, _: &span::Id) {}
            fn exit(&self, _: &span::Id) {}
        }

        let (said, lock) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<parking_lot::Mutex<()>>::default());
        let keeper = Keeper { said: Arc::clone(&said), lock: Arc::clone(&lock) };
        let level = llama_sys::ggml_log_level::GGML_LOG_LEVEL_WARN;
        tracing::subscriber::with_default(keeper, || {
            let failed = explain(|| {
                defer(|| {
                    let _locked = lock.lock();
                    receive(level, "one\n");
                    defer(|| receive(level, "two\nth"));
                    receive(level, "ree\n");
                });
                receive(level, "four\n");
                fail()
            });
            assert_eq!(lines(failed), ["one", "two", "three", "four"]);
        });
        let expected = ["one", "two", "three", "four"].map(|line| (line.to_owned(), true));
        assert_eq!(*said.lock().unwrap(), expected);
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

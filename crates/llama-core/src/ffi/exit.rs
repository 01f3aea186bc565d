//! The end of the process. When `main` returns or `exit` is called, C++ destroys objects that llama.cpp needs to
//! compute, load and tokenise (for example the list of kernels for rearranged weights: ggml-cpu.cpp) while other
//! threads may be using them. Therefore the process waits for their calls into llama.cpp to end, and refuses new
//! ones.

use core::cell::Cell;
use core::ffi::c_int;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::library;

/// Longest time that the end of a process waits: a call may itself wait for something that has already ended.
const LIMIT: Duration = Duration::from_secs(10);

/// Maximum number of registered handlers.
const HANDLERS: usize = 1000;

static GATE: Gate = Gate::new(if cfg!(feature = "dynamic") { UNLOADED } else { OPEN });

/// The gate's states: calls pass.
const OPEN: u8 = 0;
/// The library is not loaded yet. The next call loads it.
const UNLOADED: u8 = 1;
/// The process is ending.
const CLOSED: u8 = 2;

thread_local! {
    // It needs no destructor, so that it exists in the destructors of other thread-locals too.
    static OWN: Own = const {
        Own { depth: Cell::new(0), calls: Cell::new(0), aborting: Cell::new(0), freeing: Cell::new(0) }
    };
}

/// State of a thread.
struct Own {
    /// Depth of nested calls: callbacks may call again.
    depth: Cell<usize>,
    /// Number of calls made, excluding nested ones.
    calls: Cell<usize>,
    /// Depth of running abort callbacks.
    aborting: Cell<usize>,
    /// Depth of running destructors.
    freeing: Cell<usize>,
}

/// A guard that increments a counter of the thread and decrements it when dropped.
pub(crate) struct Raised(fn(&Own) -> &Cell<usize>);

impl Raised {
    fn new(which: fn(&Own) -> &Cell<usize>) -> Self {
        OWN.with(|own| which(own).set(which(own).get() + 1));
        Self(which)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        OWN.with(|own| self.0(own).set(self.0(own).get() - 1));
    }
}

/// Marks the thread as running an abort callback: until the guard is dropped, calls into llama.cpp are refused. ggml
/// calls it between two operations of a computation, with OpenMP inside a parallel region (ggml-cpu.c,
/// `ggml_graph_compute_thread`). An exception must not leave that region, so a failed assertion would end the
/// process (shim/guard.cpp).
pub(crate) fn aborting() -> Raised {
    Raised::new(|own| &own.aborting)
}

/// Marks the thread as running a destructor, which may free C objects at any time.
pub(crate) fn freeing() -> Raised {
    Raised::new(|own| &own.freeing)
}

unsafe extern "C" {
    safe fn atexit(handler: extern "C" fn()) -> c_int;
}

/// The gate that calls pass from when the library is loaded until the process ends.
struct Gate {
    /// Number of threads that are inside a call.
    inside: AtomicUsize,
    state: AtomicU8,
}

/// A running call into llama.cpp.
pub(crate) struct Inside<'g>(&'g Gate);

impl Gate {
    const fn new(state: u8) -> Self {
        Self { inside: AtomicUsize::new(0), state: AtomicU8::new(state) }
    }

    /// Begins a call. Nested calls are allowed even if the gate is closed.
    #[inline]
    fn enter(&self) -> Result<Inside<'_>> {
        OWN.with(|own| {
            if own.aborting.get() > 0 && own.freeing.get() == 0 {
                return Err(inside_abort_callback());
            }
            let depth = own.depth.get();
            own.depth.set(depth + 1);
            let inside = Inside(self);
            if depth == 0 {
                own.calls.set(own.calls.get().wrapping_add(1));
                self.inside.fetch_add(1, Ordering::SeqCst);
                // Counted first, so that either the closing thread sees this call, or this call sees that the gate
                // is closed.
                if self.state.load(Ordering::SeqCst) != OPEN {
                    self.pass_shut()?;
                }
            }
            Ok(inside)
        })
    }

    /// Loads the library if that has not been done, and refuses the call if the process is ending.
    #[cold]
    fn pass_shut(&self) -> Result<()> {
        if self.state.load(Ordering::SeqCst) == UNLOADED {
            library::ensure()?;
        }
        match self.state.load(Ordering::SeqCst) {
            CLOSED => Err(ErrorKind::ProcessEnds.into()),
            _ => Ok(()),
        }
    }

    /// Waits until no other thread is inside a call. Returns false if that takes longer than `limit`.
    fn close(&self, limit: Duration) -> bool {
        self.state.store(CLOSED, Ordering::SeqCst);
        let begin = Instant::now();
        while self.inside.load(Ordering::SeqCst) > usize::from(depth() > 0) {
            if begin.elapsed() > limit {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        OWN.with(|own| {
            let depth = own.depth.get() - 1;
            own.depth.set(depth);
            if depth > 0 {
                return;
            }
            self.0.inside.fetch_sub(1, Ordering::SeqCst);
            if own.calls.get().is_power_of_two() {
                arm();
            }
        });
    }
}

/// Lets calls pass, because the library is loaded.
#[cfg(feature = "dynamic")]
pub(crate) fn open() {
    let _ = GATE.state.compare_exchange(UNLOADED, OPEN, Ordering::SeqCst, Ordering::SeqCst);
}

#[cold]
fn inside_abort_callback() -> Error {
    let reason = "an abort callback runs in the middle of a computation, where a failure cannot be contained: return \
                  true to stop, and call when decode or encode has returned";
    ErrorKind::InCallback { operation: "calling llama.cpp", reason }.into()
}

/// Forgets the calls of threads that do not exist in a forked child.
#[cfg(unix)]
pub(super) fn forget_other_threads() {
    GATE.inside.store(usize::from(depth() > 0), Ordering::SeqCst);
}

fn depth() -> usize {
    OWN.with(|own| own.depth.get())
}

/// Begins a call, possibly a nested one, unless the process is ending.
#[inline]
pub(crate) fn enter() -> Result<Inside<'static>> {
    GATE.enter()
}

/// Makes the end of the process not wait for the calls of this thread, which serves others until then.
#[cfg(feature = "rpc")]
pub(crate) fn unawaited() {
    // A call of the thread is then a nested one, which is not counted.
    OWN.with(|own| own.depth.set(own.depth.get() + 1));
}

/// Registers a handler that makes the process wait at its end. Handlers run in reverse order of registration, and so
/// do the destructors of objects that C++ creates on first use, so the handler must be registered after those: this
/// is repeated, ever more rarely. A gap remains: a process that ends while an object is created for the first time
/// destroys it first.
#[cold]
pub(crate) fn arm() {
    static ARMED: AtomicUsize = AtomicUsize::new(0);
    if ARMED.fetch_add(1, Ordering::Relaxed) < HANDLERS && atexit(on_exit) != 0 {
        tracing::warn!("the end of the process may not wait for other threads: no room for a handler");
    }
}

extern "C" fn on_exit() {
    GATE.close(LIMIT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_waits_for_running_calls_and_refuses_new_ones() {
        static GATE: Gate = Gate::new(OPEN);
        let running = GATE.enter().unwrap();
        let ended = thread::spawn(|| GATE.close(Duration::from_secs(60)));
        while GATE.state.load(Ordering::SeqCst) == OPEN {
            thread::yield_now();
        }
        let refused = thread::spawn(|| GATE.enter().err().unwrap()).join().unwrap();
        assert!(matches!(refused.kind(), ErrorKind::ProcessEnds), "{refused:?}");
        assert!(!ended.is_finished());
        drop(running);
        assert!(ended.join().unwrap());
        assert_eq!(GATE.inside.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn the_end_does_not_wait_for_itself_or_for_ever() {
        static GATE: Gate = Gate::new(OPEN);
        let own = GATE.enter().unwrap();
        let nested = GATE.enter().unwrap();
        assert_eq!(GATE.inside.load(Ordering::SeqCst), 1);
        assert!(GATE.close(Duration::ZERO));
        assert!(!thread::spawn(|| GATE.close(Duration::ZERO)).join().unwrap());
        // Nested calls are still allowed.
        drop(GATE.enter().unwrap());
        drop(nested);
        drop(own);
        assert!(GATE.enter().is_err());
        assert_eq!((GATE.inside.load(Ordering::SeqCst), depth()), (0, 0));
    }
}

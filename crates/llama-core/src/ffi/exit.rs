//! The end of the process. When `main` returns or `exit` is called, C++ destroys what llama.cpp computes, loads and tokenises
//! with (the list of its kernels for rearranged weights, for one: ggml-cpu.cpp) while other threads may be in the middle of
//! it. So the process waits for their calls into llama.cpp, and lets no other one begin.

use core::cell::Cell;
use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// The longest that the end of a process waits: a call may itself wait for what has ended already.
const LIMIT: Duration = Duration::from_secs(10);

/// The most handlers that are registered.
const HANDLERS: usize = 1000;

static GATE: Gate = Gate::new();

thread_local! {
    // There is nothing in it to drop, so that it is there in the destructors of other thread-locals too.
    static OWN: Own = const {
        Own { depth: Cell::new(0), calls: Cell::new(0), aborting: Cell::new(0), freeing: Cell::new(0) }
    };
}

/// A thread's own.
struct Own {
    /// The calls that it is in the middle of: callbacks call again.
    depth: Cell<usize>,
    /// The calls that it has made, without those inside of others.
    calls: Cell<usize>,
    /// The abort callbacks that it is in the middle of.
    aborting: Cell<usize>,
    /// The destructors that it is in the middle of.
    freeing: Cell<usize>,
}

/// A number that is one higher until this is dropped.
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

/// Notes that the thread runs an abort callback: until it ends, calls into llama.cpp are refused. ggml asks it between two
/// operations of a computation, with OpenMP inside a parallel region (ggml-cpu.c, `ggml_graph_compute_thread`). What is
/// thrown there must not leave the region, so that a failed assertion would end the process (shim/guard.cpp).
pub(crate) fn aborting() -> Raised {
    Raised::new(|own| &own.aborting)
}

/// Notes that the thread runs a destructor, which may free what C has made at any time.
pub(crate) fn freeing() -> Raised {
    Raised::new(|own| &own.freeing)
}

unsafe extern "C" {
    safe fn atexit(handler: extern "C" fn()) -> c_int;
}

/// What calls pass until the process ends.
struct Gate {
    /// The threads that are in the middle of a call.
    inside: AtomicUsize,
    is_closed: AtomicBool,
}

/// A call into llama.cpp.
pub(crate) struct Inside<'g>(&'g Gate);

impl Gate {
    const fn new() -> Self {
        Self { inside: AtomicUsize::new(0), is_closed: AtomicBool::new(false) }
    }

    /// What is inside goes on, whatever happens to the gate.
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
                // Counted first: whoever closes sees this one, or this one sees that it is closed.
                if self.is_closed.load(Ordering::SeqCst) {
                    return Err(ErrorKind::ProcessEnds.into());
                }
            }
            Ok(inside)
        })
    }

    /// Waits until no other thread is in the middle of a call. False when that takes longer than `limit`.
    fn close(&self, limit: Duration) -> bool {
        self.is_closed.store(true, Ordering::SeqCst);
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

#[cold]
fn inside_abort_callback() -> Error {
    let reason = "an abort callback runs in the middle of a computation, where a failure could not be contained: return \
                  true to stop, and call when decode or encode has returned";
    ErrorKind::InCallback { operation: "calling llama.cpp", reason }.into()
}

/// Forgets the calls of threads that a child of the process does not have.
#[cfg(unix)]
pub(super) fn forget_other_threads() {
    GATE.inside.store(usize::from(depth() > 0), Ordering::SeqCst);
}

fn depth() -> usize {
    OWN.with(|own| own.depth.get())
}

/// Begins a call, or one inside of another, unless the process ends.
#[inline]
pub(crate) fn enter() -> Result<Inside<'static>> {
    GATE.enter()
}

/// Has the process wait at its end. A window is left: a process that ends while something is made for the very first time
/// destroys it first. Handlers run in the reverse order of their registration, among them those that destroy
/// what C++ makes when it is needed first, so that this has to come after: it is done again and again, ever more rarely.
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
    fn the_end_waits_for_what_runs_and_lets_nothing_begin() {
        static GATE: Gate = Gate::new();
        let running = GATE.enter().unwrap();
        let ended = thread::spawn(|| GATE.close(Duration::from_secs(60)));
        while !GATE.is_closed.load(Ordering::SeqCst) {
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
        static GATE: Gate = Gate::new();
        let own = GATE.enter().unwrap();
        let nested = GATE.enter().unwrap();
        assert_eq!(GATE.inside.load(Ordering::SeqCst), 1);
        assert!(GATE.close(Duration::ZERO));
        assert!(!thread::spawn(|| GATE.close(Duration::ZERO)).join().unwrap());
        // What has begun may go on.
        drop(GATE.enter().unwrap());
        drop(nested);
        drop(own);
        assert!(GATE.enter().is_err());
        assert_eq!((GATE.inside.load(Ordering::SeqCst), depth()), (0, 0));
    }
}

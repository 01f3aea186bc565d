//! The end of the process. When `main` returns or `exit` is called, C++ destroys what ggml computes with (the list of its
//! kernels for rearranged weights, for one: ggml-cpu.cpp) while other threads may be in the middle of a computation. So
//! the process waits for them, and lets no other one begin.

use core::cell::Cell;
use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, Result};

/// The longest that the end of a process waits: a computation may itself wait for what has ended already.
const LIMIT: Duration = Duration::from_secs(10);

static GATE: Gate = Gate::new();

thread_local! {
    /// Computations of this thread, for one that ends the process from inside of one.
    static OWN: Cell<usize> = const { Cell::new(0) };
}

unsafe extern "C" {
    safe fn atexit(handler: extern "C" fn()) -> c_int;
}

/// What computations pass until the process ends.
struct Gate {
    inside: AtomicUsize,
    is_closed: AtomicBool,
}

/// A computation that runs.
pub(crate) struct Computation<'g>(&'g Gate);

impl Gate {
    const fn new() -> Self {
        Self { inside: AtomicUsize::new(0), is_closed: AtomicBool::new(false) }
    }

    #[inline]
    fn enter(&self) -> Result<Computation<'_>> {
        self.inside.fetch_add(1, Ordering::SeqCst);
        OWN.set(OWN.get() + 1);
        let computation = Computation(self);
        // Counted first: whoever closes sees this one, or this one sees that it is closed.
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(ErrorKind::ProcessEnds.into());
        }
        Ok(computation)
    }

    /// Waits until nothing is computed in other threads. False when that takes longer than `limit`.
    fn close(&self, limit: Duration) -> bool {
        self.is_closed.store(true, Ordering::SeqCst);
        let begin = Instant::now();
        while self.inside.load(Ordering::SeqCst) > OWN.get() {
            if begin.elapsed() > limit {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Drop for Computation<'_> {
    fn drop(&mut self) {
        OWN.set(OWN.get() - 1);
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Begins a computation, unless the process ends.
#[inline]
pub(crate) fn enter() -> Result<Computation<'static>> {
    GATE.enter()
}

/// Has the process wait at its end. What is registered last runs first, so that this has to come after ggml has made what
/// it computes with: after a context was made, and again after a first computation.
#[inline]
pub(crate) fn arm(after: After) {
    static ARMED: [Once; 2] = [Once::new(), Once::new()];
    let armed = &ARMED[after as usize];
    if !armed.is_completed() {
        armed.call_once(|| {
            if atexit(on_exit) != 0 {
                tracing::warn!(
                    "the end of the process will not wait for computations: no room for a handler"
                );
            }
        });
    }
}

/// What has just happened for the first time.
#[derive(Clone, Copy)]
pub(crate) enum After {
    Context,
    Computation,
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
        let refused = GATE.enter().err().unwrap();
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
        assert!(GATE.close(Duration::ZERO));
        assert!(!thread::spawn(|| GATE.close(Duration::ZERO)).join().unwrap());
        drop(own);
    }
}

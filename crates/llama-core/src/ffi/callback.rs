//! Rust closures that llama.cpp calls back: their panics are caught, stored, and resumed after the C call.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

/// A closure that is passed through C, and its panic, if it has panicked.
pub(crate) struct Callback<F> {
    pub(crate) closure: F,
    panic: Option<Box<dyn Any + Send>>,
}

impl<F> Callback<F> {
    pub(crate) fn new(closure: F) -> Self {
        Self { closure, panic: None }
    }

    /// Runs the closure. After a panic it does not run again: the result is `fallback` from then on.
    pub(crate) fn call<R>(&mut self, fallback: R, run: impl FnOnce(&mut F) -> R) -> R {
        if self.panic.is_some() {
            return fallback;
        }
        match panic::catch_unwind(AssertUnwindSafe(|| run(&mut self.closure))) {
            Ok(result) => result,
            Err(payload) => {
                self.panic = Some(payload);
                fallback
            }
        }
    }

    /// Resumes the caught panic, if there is one, and allows the closure to be called again afterwards. For
    /// callbacks that outlive a call.
    #[inline]
    pub(crate) fn resume_and_keep(&mut self) {
        if let Some(payload) = self.panic.take() {
            panic::resume_unwind(payload);
        }
    }

    /// Resumes the caught panic, if there is one. To be called when C has returned.
    pub(crate) fn resume(self) {
        if let Some(payload) = self.panic {
            panic::resume_unwind(payload);
        }
    }
}

//! Rust closures that llama.cpp calls back: their panics are caught, kept, and resumed after the C call.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

/// A closure on its way through C, and the panic that it may have ended in.
pub(crate) struct Callback<F> {
    pub(crate) closure: F,
    panic: Option<Box<dyn Any + Send>>,
}

impl<F> Callback<F> {
    pub(crate) fn new(closure: F) -> Self {
        Self { closure, panic: None }
    }

    /// Runs the closure. After a panic it is not run again: `fallback` is the answer from then on.
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

    /// Goes on with the panic that was caught, if there was one, and lets the closure be called again afterwards. For
    /// callbacks that outlive a call.
    #[inline]
    pub(crate) fn resume_and_keep(&mut self) {
        if let Some(payload) = self.panic.take() {
            panic::resume_unwind(payload);
        }
    }

    /// Goes on with the panic that was caught, if there was one. Called when C has returned.
    pub(crate) fn resume(self) {
        if let Some(payload) = self.panic {
            panic::resume_unwind(payload);
        }
    }
}

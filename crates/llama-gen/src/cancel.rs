//! Cancelling from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cancels generations. Clones cancel the same ones, from any thread.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that has not cancelled anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels: generations that were given the token end with
    /// [`FinishReason::Cancelled`](crate::FinishReason::Cancelled) before their next token or part of the prompt.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

//! Runs deeply recursive code on a thread with a large stack.

use std::thread;

use crate::error::{ErrorKind, Result};

/// Runs `body` on a new thread with a stack of `bytes` and waits for it. Only touched pages use memory. `name` is
/// the thread's name, `purpose` is used in the error if the thread cannot be started.
pub(crate) fn run<R: Send>(
    name: &str,
    purpose: &str,
    bytes: usize,
    body: impl FnOnce() -> R + Send,
) -> Result<R> {
    // Log events of the new thread go to the caller's subscriber.
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let body = || tracing::dispatcher::with_default(&dispatch, body);
    thread::scope(|scope| {
        let spawned = thread::Builder::new().name(name.to_owned()).stack_size(bytes);
        let handle = spawned.spawn_scoped(scope, body).map_err(|error| ErrorKind::OutOfMemory {
            message: format!("a thread with a stack of {} MiB for {purpose}: {error}", bytes >> 20),
        })?;
        handle.join().map_or_else(|panic| std::panic::resume_unwind(panic), Ok)
    })
}

//! The set of adapters that C keeps in a model, and its lock.
//!
//! Loading an adapter adds it to the set and freeing one removes it (llama-adapter.cpp). Contexts that are being
//! created or that plan their buffers iterate over the set (llama-context.cpp, `graph_max_nodes`). Meanwhile user
//! callbacks may run on the same thread: observers, abort callbacks, log subscribers. None of them may wait for the
//! set:
//!
//! - A nested walk over the set never waits for a thread that wants to change it.
//! - Freeing never waits: if the set is being iterated over, the iterating thread frees the adapter afterwards.
//! - Loading waits, and is refused if the thread itself iterates over a set.
//! - Messages that llama.cpp logs while the set is being changed are passed to the subscriber afterwards.

use core::cell::Cell;
use std::ptr::NonNull;

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{ErrorKind, Result};
use crate::ffi::exit;
use crate::ffi::guard::{freed, guarded};
use crate::log;

thread_local! {
    /// The number of walks of this thread over the sets of all models. The value needs no drop.
    static WALKS: Cell<usize> = const { Cell::new(0) };
}

/// The lock of a model's set of adapters.
#[derive(Default)]
pub(super) struct Adapters {
    lock: RwLock<()>,
    /// Adapters without an owner that could not be freed at once. Freeing the model frees the remaining ones
    /// (llama-model.cpp, `~llama_model`).
    abandoned: Mutex<Vec<Raw>>,
}

/// An adapter that is no longer used.
struct Raw(NonNull<llama_sys::llama_adapter_lora>);

// SAFETY: an adapter consists of maps, vectors and buffers that are not bound to a thread (llama-adapter.h), and this is its only owner.
unsafe impl Send for Raw {}

/// The right to iterate over the set.
pub(crate) struct Walk<'m> {
    adapters: &'m Adapters,
    /// `None` only while the value is being dropped.
    guard: Option<RwLockReadGuard<'m, ()>>,
}

/// The right to add to the set.
pub(crate) struct Change<'m> {
    adapters: &'m Adapters,
    /// `None` only while the value is being dropped.
    guard: Option<RwLockWriteGuard<'m, ()>>,
}

impl Adapters {
    /// Waits until no thread changes the set. Changes are short.
    pub(super) fn walk(&self) -> Walk<'_> {
        let walks = WALKS.get();
        WALKS.set(walks + 1);
        // Counts the walks over all models: two threads might each be in a walk for which the other's loading waits.
        let guard = if walks > 0 { self.lock.read_recursive() } else { self.lock.read() };
        Walk { adapters: self, guard: Some(guard) }
    }

    /// Waits until no thread iterates over the set.
    pub(super) fn change(&self) -> Result<Change<'_>> {
        if WALKS.get() > 0 {
            let reason = "it would wait for the computation or the creation of a context that the callback is part of: \
                          load it before or afterwards, or note in the callback that it is needed";
            return Err(ErrorKind::InCallback { operation: "loading an adapter", reason }.into());
        }
        Ok(Change { adapters: self, guard: Some(self.lock.write()) })
    }

    /// Frees an adapter, now or when no thread iterates over the set any more.
    ///
    /// # Safety
    ///
    /// The adapter is in this model's set, and nothing uses it any more.
    pub(super) unsafe fn free(&self, adapter: NonNull<llama_sys::llama_adapter_lora>) {
        self.abandoned.lock().push(Raw(adapter));
        self.sweep();
    }

    /// Frees what can be freed without waiting. The rest is left to the holders of the lock, who sweep after
    /// releasing it.
    fn sweep(&self) {
        while !self.abandoned.lock().is_empty() {
            let Some(locked) = self.lock.try_write() else { return };
            let adapters = core::mem::take(&mut *self.abandoned.lock());
            let _freeing = exit::freeing();
            let free = |Raw(adapter): Raw| {
                // SAFETY: `free` guarantees that the adapter is in the model's set, which is locked, and that nothing uses it.
                // The model is alive, since it owns `self`.
                unsafe { guarded!(llama_adapter_lora_free(adapter.as_ptr())) }
            };
            let freed_all: Vec<_> = log::defer(|| {
                let freed_all = adapters.into_iter().map(free).collect();
                drop(locked);
                freed_all
            });
            freed_all.into_iter().for_each(|result| freed("an adapter", result));
        }
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        drop(self.guard.take());
        WALKS.set(WALKS.get() - 1);
        self.adapters.sweep();
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        drop(self.guard.take());
        self.adapters.sweep();
    }
}

//! The set of adapters that C keeps in a model, and who may use it when.
//!
//! Loading an adapter adds it to the set and freeing one takes it out (llama-adapter.cpp); contexts that are being created or
//! that plan their buffers walk through the set (llama-context.cpp, `graph_max_nodes`). While they do, callbacks of the user
//! may run on the same thread: observers, abort callbacks, log subscribers. None of them may wait for the set:
//!
//! - Walking inside of a walk never waits for who wants to change the set.
//! - Freeing never waits at all: when the set is being walked through, whoever does it frees the adapter afterwards.
//! - Loading waits, and is refused where the thread itself walks through a set.
//! - What llama.cpp logs while the set is being changed is handed to the subscriber afterwards.

use core::cell::Cell;
use std::ptr::NonNull;

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{ErrorKind, Result};
use crate::ffi::exit;
use crate::ffi::guard::{freed, guarded};
use crate::log;

thread_local! {
    /// The sets that this thread is walking through, of all models. There is nothing in it to drop.
    static WALKS: Cell<usize> = const { Cell::new(0) };
}

/// The lock of a model's set of adapters.
#[derive(Default)]
pub(super) struct Adapters {
    lock: RwLock<()>,
    /// Adapters without an owner that could not be freed at once. Freeing the model frees those that are left
    /// (llama-model.cpp, `~llama_model`).
    abandoned: Mutex<Vec<Raw>>,
}

/// An adapter that nobody uses any more.
struct Raw(NonNull<llama_sys::llama_adapter_lora>);

// SAFETY: an adapter is maps, vectors and buffers without a tie to a thread (llama-adapter.h), and this is its only owner.
unsafe impl Send for Raw {}

/// The right to walk through the set.
pub(crate) struct Walk<'m> {
    adapters: &'m Adapters,
    /// `None` only while this is being dropped.
    guard: Option<RwLockReadGuard<'m, ()>>,
}

/// The right to add to the set.
pub(crate) struct Change<'m> {
    adapters: &'m Adapters,
    /// `None` only while this is being dropped.
    guard: Option<RwLockWriteGuard<'m, ()>>,
}

impl Adapters {
    /// Waits until nobody changes the set, which nobody does for long.
    pub(super) fn walk(&self) -> Walk<'_> {
        let walks = WALKS.get();
        WALKS.set(walks + 1);
        // Of several models too: two threads might each be in a walk that the other's loading waits for.
        let guard = if walks > 0 { self.lock.read_recursive() } else { self.lock.read() };
        Walk { adapters: self, guard: Some(guard) }
    }

    /// Waits until nobody walks through the set.
    pub(super) fn change(&self) -> Result<Change<'_>> {
        if WALKS.get() > 0 {
            let reason = "it would wait for the computation or the creation of a context that the callback is part of: \
                          load it before or afterwards, or note in the callback that it is needed";
            return Err(ErrorKind::InCallback { operation: "loading an adapter", reason }.into());
        }
        Ok(Change { adapters: self, guard: Some(self.lock.write()) })
    }

    /// Frees an adapter, now or when the set is not walked through any more.
    ///
    /// # Safety
    ///
    /// The adapter is in this model's set, and nobody uses it any more.
    pub(super) unsafe fn free(&self, adapter: NonNull<llama_sys::llama_adapter_lora>) {
        self.abandoned.lock().push(Raw(adapter));
        self.sweep();
    }

    /// Frees what can be freed without waiting. What cannot is left to those that hold the lock, who sweep after they have
    /// given it back.
    fn sweep(&self) {
        while !self.abandoned.lock().is_empty() {
            let Some(locked) = self.lock.try_write() else { return };
            let adapters = core::mem::take(&mut *self.abandoned.lock());
            let _freeing = exit::freeing();
            let free = |Raw(adapter): Raw| {
                // SAFETY: by the promise of `free` it is in the model's set, which is locked, and nobody uses it; the model is
                // alive, since it owns this.
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

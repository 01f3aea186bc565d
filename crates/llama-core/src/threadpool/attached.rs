//! The pools of a context.

use core::cell::Cell;
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::Threadpool;
use crate::context::Context;
use crate::error::{Error, ErrorKind, ParameterProblem, Result};
use crate::ffi::guard::guarded;

/// The most pools that a context holds: two that are attached, and two that were before.
const MOST: usize = 4;

/// The pools that a context computes with, and those that its CPU backend may still have the address of: it pauses the
/// last one that it used when it is given another (ggml-cpu.cpp, `ggml_backend_cpu_set_threadpool`).
#[derive(Default)]
pub(crate) struct Attached {
    current: Option<Pair>,
    /// Whether a computation has begun with the current ones.
    used: bool,
    /// Those of earlier computations, until one has come to its end without them.
    earlier: Vec<Threadpool>,
    /// All of them once, in the order of their addresses, in which they are locked: so no two contexts wait for each
    /// other.
    all: Vec<Threadpool>,
}

#[derive(Clone)]
struct Pair {
    generation: Threadpool,
    batch: Threadpool,
}

thread_local! {
    /// The contexts that this thread computes with their pools' threads, one inside a callback of the other. There is nothing
    /// in it to drop.
    static COMPUTING: Cell<usize> = const { Cell::new(0) };
}

/// The right to compute with a context's pools.
pub(crate) struct Locked<'a> {
    _pools: [Option<MutexGuard<'a, ()>>; MOST],
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        COMPUTING.set(COMPUTING.get() - 1);
    }
}

impl Attached {
    /// Waits until no other context computes with these pools. `None` without pools.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InCallback`] where the thread would wait while others may wait for it, or for itself,
    /// [`ErrorKind::Forked`] for pools whose threads this process does not have.
    #[inline]
    pub(crate) fn lock(&self) -> Result<Option<Locked<'_>>> {
        if self.all.is_empty() { Ok(None) } else { self.lock_all().map(Some) }
    }

    fn lock_all(&self) -> Result<Locked<'_>> {
        self.all.iter().try_for_each(Threadpool::check_process)?;
        let computing = COMPUTING.get();
        let mut pools = [const { None }; MOST];
        for (lock, pool) in pools.iter_mut().zip(&self.all) {
            // In a callback of a computation the thread has locks that others may wait for.
            let locked = if computing == 0 { Some(pool.lock()) } else { pool.try_lock() };
            *lock = Some(locked.ok_or_else(in_use)?);
        }
        COMPUTING.set(computing + 1);
        Ok(Locked { _pools: pools })
    }

    /// Notes that a computation begins.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.used |= self.current.is_some();
    }

    /// Notes that a computation has come to its end, so that the backend has the address of a current pool or of none.
    #[inline]
    pub(crate) fn end(&mut self) {
        if !self.earlier.is_empty() {
            self.earlier.clear();
            self.all = sorted(self.current.as_ref(), &[]);
        }
    }

    fn replace(&mut self, pair: Option<Pair>) -> Result<()> {
        let mut earlier = self.earlier.clone();
        if let Some(pair) = self.current.as_ref().filter(|_| self.used) {
            earlier.extend([pair.generation.clone(), pair.batch.clone()]);
        }
        let all = sorted(pair.as_ref(), &earlier);
        if all.len() > MOST {
            let reason = "the context has yet to compute with those that it was given before".to_owned();
            return Err(ErrorKind::Unsupported { operation: "attaching another thread pool", reason }.into());
        }
        *self = Self { current: pair, used: false, earlier, all };
        Ok(())
    }

    /// Refuses more threads than the pools have: with OpenMP, ggml would look for them behind the end of the pool
    /// (ggml-cpu.c, `ggml_graph_compute`).
    pub(crate) fn check_threads(&self, n_threads: u32, n_threads_batch: u32) -> Result<()> {
        self.current.as_ref().map_or(Ok(()), |pair| pair.check_threads(n_threads, n_threads_batch))
    }
}

#[cold]
fn in_use() -> Error {
    let reason = "another computation, perhaps the one that the callback is part of, uses the thread pool: give the context a \
                  pool of its own, or none";
    ErrorKind::InCallback { operation: "computing with this thread pool", reason }.into()
}

fn sorted(pair: Option<&Pair>, earlier: &[Threadpool]) -> Vec<Threadpool> {
    let pair = pair.into_iter().flat_map(|pair| [&pair.generation, &pair.batch]);
    let mut all: Vec<Threadpool> = pair.chain(earlier).cloned().collect();
    all.sort_by_key(|pool| Arc::as_ptr(&pool.0).addr());
    all.dedup_by(|one, other| one.is_same(other));
    all
}

impl Pair {
    fn check_threads(&self, n_threads: u32, n_threads_batch: u32) -> Result<()> {
        let check = |name, threads: u32, pool: &Threadpool| -> Result<()> {
            if threads <= pool.n_threads() {
                return Ok(());
            }
            let expected = format!(
                "at most {}, the threads of the pool: use a larger pool, or set fewer threads with Context::set_n_threads",
                pool.n_threads()
            );
            Err(ParameterProblem::new(name, threads, expected).into())
        };
        check("n_threads", n_threads, &self.generation)?;
        check("n_threads_batch", n_threads_batch, &self.batch)
    }
}

impl Context {
    /// Computes with a pool's threads from now on: single tokens with `generation`, several at a time with `batch`, or
    /// also with `generation` where that is `None`. As many of them as [`n_threads`](Context::n_threads) and
    /// [`n_threads_batch`](Context::n_threads_batch) say. The context keeps the pools alive.
    ///
    /// While one of two pools is in use the other is paused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] when the context uses more threads than the pools have,
    /// [`ErrorKind::Unsupported`] when pools are exchanged several times while computations fail,
    /// [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_attach_threadpool`.
    pub fn attach_threadpool(&mut self, generation: &Threadpool, batch: Option<&Threadpool>) -> Result<()> {
        self.check_poison()?;
        let pair = Pair { generation: generation.clone(), batch: batch.unwrap_or(generation).clone() };
        pair.check_threads(self.n_threads(), self.n_threads_batch())?;
        let (generation, batch) = (pair.generation.raw(), pair.batch.raw());
        // Held before C has the address, and beyond a failure.
        self.threadpools_mut().replace(Some(pair))?;
        self.call(|raw| {
            // SAFETY: the context is valid and keeps the pools.
            unsafe { guarded!(llama_attach_threadpool(raw, generation, batch)) }
        })
    }

    /// Computes without a pool again. Its threads may wait for the next computation before they end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_detach_threadpool`.
    pub fn detach_threadpool(&mut self) -> Result<()> {
        // SAFETY: the context is valid.
        self.call(|raw| unsafe { guarded!(llama_detach_threadpool(raw)) })?;
        self.threadpools_mut().replace(None)
    }
}

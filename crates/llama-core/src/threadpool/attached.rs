//! The pools of a context.

use core::cell::Cell;
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::Threadpool;
use crate::context::Context;
use crate::error::{Error, ErrorKind, ParameterProblem, Result};
use crate::ffi::guard::guarded;

/// Maximum number of pools that a context holds: two attached ones and two earlier ones.
const MOST: usize = 4;

/// The pools with which a context computes, and those whose addresses its CPU backend may still hold: when the
/// backend gets another pool, it pauses the previous one (ggml-cpu.cpp, `ggml_backend_cpu_set_threadpool`).
#[derive(Default)]
pub(crate) struct Attached {
    current: Option<Pair>,
    /// Whether a computation has started with the current pools.
    used: bool,
    /// Pools of earlier computations, kept until a computation without them has ended.
    earlier: Vec<Threadpool>,
    /// All pools without duplicates, in the order in which they are locked. It is the order of their addresses, so
    /// that no two contexts deadlock.
    all: Vec<Threadpool>,
}

#[derive(Clone)]
struct Pair {
    generation: Threadpool,
    batch: Threadpool,
}

thread_local! {
    /// Number of contexts that this thread computes with pools, nested by callbacks. It needs no destructor.
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
    /// Waits until no other context computes with these pools. Returns `None` without pools.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InCallback`] if the thread would wait while others may wait for it, or for itself,
    /// [`ErrorKind::Forked`] for pools whose threads do not exist in this process.
    #[inline]
    pub(crate) fn lock(&self) -> Result<Option<Locked<'_>>> {
        if self.all.is_empty() { Ok(None) } else { self.lock_all().map(Some) }
    }

    fn lock_all(&self) -> Result<Locked<'_>> {
        self.all.iter().try_for_each(Threadpool::check_process)?;
        let computing = COMPUTING.get();
        let mut pools = [const { None }; MOST];
        for (lock, pool) in pools.iter_mut().zip(&self.all) {
            // In a callback of a computation, the thread holds locks that others may wait for.
            let locked = if computing == 0 { Some(pool.lock()) } else { pool.try_lock() };
            *lock = Some(locked.ok_or_else(in_use)?);
        }
        COMPUTING.set(computing + 1);
        Ok(Locked { _pools: pools })
    }

    /// Records that a computation starts.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.used |= self.current.is_some();
    }

    /// Records that a computation has ended, so that the backend has the address of a current pool or of none.
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
            let reason =
                "the context has not yet computed with the pools that it was given before".to_owned();
            return Err(ErrorKind::Unsupported { operation: "attaching another thread pool", reason }.into());
        }
        *self = Self { current: pair, used: false, earlier, all };
        Ok(())
    }

    /// Refuses more threads than the pools have: with OpenMP, ggml would read past the end of the pool (ggml-cpu.c,
    /// `ggml_graph_compute`).
    pub(crate) fn check_threads(&self, n_threads: u32, n_threads_batch: u32) -> Result<()> {
        self.current.as_ref().map_or(Ok(()), |pair| pair.check_threads(n_threads, n_threads_batch))
    }
}

#[cold]
fn in_use() -> Error {
    let reason = "another computation, perhaps the one that the callback is part of, uses the thread pool: give the context \
                  its own pool, or none";
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
    /// Attaches pools with whose threads the context computes from now on: single tokens with `generation`, several
    /// at a time with `batch`, or with `generation` too if `batch` is `None`. The numbers of threads are
    /// [`n_threads`](Context::n_threads) and [`n_threads_batch`](Context::n_threads_batch). The context keeps the
    /// pools alive.
    ///
    /// While one of two pools is in use, the other one is paused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] if the context uses more threads than the pools have,
    /// [`ErrorKind::Unsupported`] if pools are exchanged several times while computations fail,
    /// [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_attach_threadpool`.
    pub fn attach_threadpool(&mut self, generation: &Threadpool, batch: Option<&Threadpool>) -> Result<()> {
        self.check_poison()?;
        let pair = Pair { generation: generation.clone(), batch: batch.unwrap_or(generation).clone() };
        pair.check_threads(self.n_threads(), self.n_threads_batch())?;
        let (generation, batch) = (pair.generation.raw(), pair.batch.raw());
        // Held before C has the address, and even if the call fails.
        self.threadpools_mut().replace(Some(pair))?;
        self.call(|raw| {
            // SAFETY: the context is valid and keeps the pools.
            unsafe { guarded!(llama_attach_threadpool(raw, generation, batch)) }
        })
    }

    /// Detaches the pools. Their threads may wait for the next computation before they end.
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

//! Pools of ggml's CPU threads.

mod attached;
mod host;

use core::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use once_cell::sync::OnceCell;
use parking_lot::{Mutex, MutexGuard};

pub(crate) use attached::Attached;

use crate::backend;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::ffi::guard::{freed, guarded};
use crate::ffi::{exit, fork};

/// Scheduling priority of threads. Corresponds to `ggml_sched_priority`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThreadPriority {
    /// Below that of other programs.
    Low,
    /// Equal to that of other programs.
    #[default]
    Normal,
    /// Above that of other programs. From this priority on, Linux and macOS use real-time scheduling, for which a
    /// process needs permission, and which blocks other programs while ggml's threads wait for work.
    Medium,
    /// Above `Medium`.
    High,
    /// Above everything else.
    Realtime,
}

/// Parameters of a [`Threadpool`]. Corresponds to `ggml_threadpool_params`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadpoolParams {
    n_threads: u32,
    priority: ThreadPriority,
    poll: u32,
    cpus: Vec<u32>,
    strict_cpu: bool,
    paused: bool,
}

impl ThreadpoolParams {
    /// Creates parameters for a pool of `n_threads` threads, 1..=512, including the thread that decodes.
    #[must_use]
    pub fn new(n_threads: u32) -> Self {
        Self {
            n_threads,
            priority: ThreadPriority::default(),
            poll: 50,
            cpus: Vec::new(),
            strict_cpu: false,
            paused: true,
        }
    }

    /// Sets the priority of the threads. Default: normal.
    #[must_use]
    pub fn priority(mut self, priority: ThreadPriority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how long idle threads spin before they sleep, from 0 (not at all) to 100 (over a second). Default: 50.
    /// With the feature `openmp`, OpenMP decides instead (`GOMP_SPINCOUNT`, `OMP_WAIT_POLICY`).
    #[must_use]
    pub fn poll(mut self, poll: u32) -> Self {
        self.poll = poll;
        self
    }

    /// Sets the processors to run on, each 0..512, as the operating system counts them. Default: none, which means
    /// all that the process may use. Linux only; Windows uses the first 64.
    #[must_use]
    pub fn cpus(mut self, cpus: impl IntoIterator<Item = u32>) -> Self {
        self.cpus = cpus.into_iter().collect();
        self
    }

    /// Sets whether each thread is bound to one of the [`cpus`](ThreadpoolParams::cpus), rather than to all of them.
    /// Default: false.
    #[must_use]
    pub fn strict_cpu(mut self, strict: bool) -> Self {
        self.strict_cpu = strict;
        self
    }

    /// Sets whether the threads sleep until the first computation. Default: true. Otherwise they spin from the
    /// start, and the thread that creates the pool gets its priority and processors. Only without the feature
    /// `openmp`.
    #[must_use]
    pub fn paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
    }

    fn to_raw(&self) -> Result<llama_sys::ggml_threadpool_params> {
        use llama_sys::ggml_sched_priority as Raw;
        self.check()?;
        // SAFETY: takes a number and returns a struct.
        let mut raw = unsafe { guarded!(ggml_threadpool_params_default(c_int(self.n_threads))) }?;
        raw.prio = match self.priority {
            ThreadPriority::Low => Raw::GGML_SCHED_PRIO_LOW,
            ThreadPriority::Normal => Raw::GGML_SCHED_PRIO_NORMAL,
            ThreadPriority::Medium => Raw::GGML_SCHED_PRIO_MEDIUM,
            ThreadPriority::High => Raw::GGML_SCHED_PRIO_HIGH,
            ThreadPriority::Realtime => Raw::GGML_SCHED_PRIO_REALTIME,
        };
        raw.poll = self.poll;
        raw.strict_cpu = self.strict_cpu;
        raw.paused = self.paused;
        for cpu in &self.cpus {
            raw.cpumask[*cpu as usize] = true;
        }
        Ok(raw)
    }

    fn check(&self) -> Result<()> {
        crate::context::check_threads("n_threads", self.n_threads)?;
        let invalid =
            |name, value: u32, reason: String| Err(ParameterProblem::new(name, value, reason).into());
        if self.poll > 100 {
            return invalid("poll", self.poll, "from 0 to 100".to_owned());
        }
        if let Some(cpu) = self.cpus.iter().find(|cpu| **cpu >= llama_sys::GGML_MAX_N_THREADS) {
            let reason = format!("a processor that ggml knows (0..{})", llama_sys::GGML_MAX_N_THREADS);
            return invalid("cpus", *cpu, reason);
        }
        host::check_cpus(&self.cpus)?;
        host::check_priority(self.priority)
    }
}

/// A pool of CPU threads with which contexts compute: [`Context::attach_threadpool`]. Without a pool, ggml uses
/// OpenMP's threads (feature `openmp`), or starts and ends threads with every computation.
///
/// Cheap to clone; clones share the pool. Several contexts can share a pool: they compute one after the other, even
/// in different threads. A callback of one context must not use another context of the same pool, which would wait
/// for itself.
///
/// The thread that decodes is one of the pool's: it gets their priority and processors, and keeps them.
///
/// With the feature `openmp` the threads are OpenMP's, and the pool sets their priority and processors.
///
/// After a failure inside llama.cpp that is returned as an error, other contexts can still use the pool, since the
/// failure has not reached its threads.
///
/// ggml itself pauses and resumes pools (`ggml_threadpool_pause`, `ggml_threadpool_resume`): it resumes a pool that
/// computes, and pauses the one that a context has used before another.
///
/// Corresponds to `ggml_threadpool`.
///
/// [`Context::attach_threadpool`]: crate::Context::attach_threadpool
#[derive(Clone)]
pub struct Threadpool(Arc<Pool>);

struct Pool {
    raw: NonNull<llama_sys::ggml_threadpool>,
    params: ThreadpoolParams,
    /// Held by the context that computes. A pool runs one graph at a time and must not be used by two threads
    /// (ggml-cpu.c, `ggml_graph_compute`).
    busy: Mutex<()>,
    /// Generation of the process that has the threads.
    generation: u32,
}

// SAFETY: ggml's pool consists of a mutex, atomics and its own threads; it is not tied to the thread that created
// it. It is used by the thread that holds `busy`, and freed by the last owner, when no context has it any more.
unsafe impl Send for Pool {}
// SAFETY: as for `Send`: a shared pool can only be locked, or its parameters read.
unsafe impl Sync for Pool {}

impl Threadpool {
    /// Starts a pool.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] for parameters out of range and processors that the machine does not have,
    /// [`ErrorKind::Unsupported`] for a priority that the process may not set, [`ErrorKind::Internal`] if threads
    /// cannot be started.
    ///
    /// Corresponds to `ggml_threadpool_new`.
    pub fn new(params: &ThreadpoolParams) -> Result<Self> {
        let functions = Functions::get()?;
        let mut raw_params = params.to_raw()?;
        // SAFETY: the parameters are in range, and the function copies what it keeps of them.
        let raw =
            unsafe { guarded!(llama_shim_threadpool_new(functions.new.as_ptr(), &raw mut raw_params)) }?;
        let raw = NonNull::new(raw).ok_or_else(|| ErrorKind::OutOfMemory {
            message: "ggml_threadpool_new returned NULL".to_owned(),
        })?;
        let (busy, generation) = (Mutex::new(()), fork::generation());
        Ok(Self(Arc::new(Pool { raw, params: params.clone(), busy, generation })))
    }

    /// Returns the parameters of the pool.
    #[must_use]
    pub fn params(&self) -> &ThreadpoolParams {
        &self.0.params
    }

    /// Returns the number of threads, including the thread that decodes.
    #[must_use]
    pub fn n_threads(&self) -> u32 {
        self.0.params.n_threads
    }

    /// Returns whether two handles refer to the same pool.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn raw(&self) -> *mut llama_sys::ggml_threadpool {
        self.0.raw.as_ptr()
    }

    /// Returns the C object, for functions of ggml that this crate does not wrap. The pointer is valid as long as a handle
    /// of the pool lives.
    ///
    /// Calling such a function is `unsafe`. The caller must ensure that the pool is not freed, and that no context with this
    /// pool computes meanwhile: ggml's functions for a pool take no lock, and this crate's lock is not held.
    #[must_use]
    pub fn as_ptr(&self) -> *mut llama_sys::ggml_threadpool {
        self.raw()
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.busy.lock()
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, ()>> {
        self.0.busy.try_lock()
    }

    /// Refuses a pool that was created before the process was forked. A pool of one thread has no threads of its
    /// own.
    fn check_process(&self) -> Result<()> {
        if self.0.generation == fork::generation() || self.n_threads() == 1 {
            return Ok(());
        }
        let reason = format!(
            "the {} threads of the thread pool are in the parent process: create a new pool with Threadpool::new, or \
             compute without one in a new context",
            self.n_threads()
        );
        Err(ErrorKind::Forked { operation: "computing with this thread pool", reason }.into())
    }
}

impl core::fmt::Debug for Threadpool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Threadpool").field(&self.0.params).finish()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            // Freeing joins its threads, which are in the parent process (ggml-cpu.c, `ggml_threadpool_free`).
            return;
        }
        let Ok(functions) = Functions::get() else { return };
        let _freeing = exit::freeing();
        // SAFETY: this is the last owner, and contexts keep a pool as long as ggml may access it. The threads are
        // between computations, even after a contained failure (shim/computing.h), and are joined.
        let result =
            unsafe { guarded!(llama_shim_threadpool_free(functions.free.as_ptr(), self.raw.as_ptr())) };
        freed("a thread pool", result);
    }
}

/// Addresses of functions of the CPU backend. They come from the registry, since with the feature `dynamic-backends`
/// the backend is a module that is loaded at run time.
#[derive(Clone, Copy)]
struct Functions {
    new: NonNull<c_void>,
    free: NonNull<c_void>,
}

// SAFETY: the addresses of functions, which every thread may call.
unsafe impl Send for Functions {}
// SAFETY: as for `Send`.
unsafe impl Sync for Functions {}

impl Functions {
    fn get() -> Result<Self> {
        static FUNCTIONS: OnceCell<Functions> = OnceCell::new();
        // Initialised outside of the cell: it may log, and a subscriber may call this function.
        backend::init();
        FUNCTIONS
            .get_or_try_init(|| {
                // The functions with these names, declared in ggml-cpu.h (ggml-cpu.cpp,
                // ggml_backend_cpu_get_proc_address).
                Ok(Self {
                    new: backend::cpu_function(c"ggml_threadpool_new")?,
                    free: backend::cpu_function(c"ggml_threadpool_free")?,
                })
            })
            .copied()
    }
}

/// Converts a number of threads, at most 512, to C's type.
fn c_int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

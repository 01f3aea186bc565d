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

/// How much of the processor the operating system gives to threads. Corresponds to `ggml_sched_priority`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThreadPriority {
    /// Less than others.
    Low,
    /// As others.
    #[default]
    Normal,
    /// More than others. From here on, Linux and macOS use real-time scheduling, for which a process needs permission,
    /// and which keeps other programs from running while ggml's threads wait for work.
    Medium,
    /// Still more.
    High,
    /// Before everything else.
    Realtime,
}

/// How a [`Threadpool`] is made. Corresponds to `ggml_threadpool_params`.
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
    /// A pool of that many threads, 1..=512; the thread that decodes is one of them.
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

    /// The threads' priority. Default: normal.
    #[must_use]
    pub fn priority(mut self, priority: ThreadPriority) -> Self {
        self.priority = priority;
        self
    }

    /// How long threads spin before they sleep when there is nothing to do, from 0 (not at all) to 100 (over a second).
    /// Default: 50. With feature `openmp` it is OpenMP that decides (`GOMP_SPINCOUNT`, `OMP_WAIT_POLICY`).
    #[must_use]
    pub fn poll(mut self, poll: u32) -> Self {
        self.poll = poll;
        self
    }

    /// The processors to run on, each 0..512, as the operating system counts them. Default: none, for those that the
    /// process may use. Linux only; Windows takes the first 64.
    #[must_use]
    pub fn cpus(mut self, cpus: impl IntoIterator<Item = u32>) -> Self {
        self.cpus = cpus.into_iter().collect();
        self
    }

    /// Whether each thread has one of the [`cpus`](ThreadpoolParams::cpus) for itself, rather than the choice among all
    /// of them. Default: false.
    #[must_use]
    pub fn strict_cpu(mut self, strict: bool) -> Self {
        self.strict_cpu = strict;
        self
    }

    /// Whether the threads sleep until the first computation. Default: true. Otherwise they spin from the start, and the
    /// thread that makes the pool gets its priority and processors; without feature `openmp` only.
    #[must_use]
    pub fn paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
    }

    fn to_raw(&self) -> Result<llama_sys::ggml_threadpool_params> {
        use llama_sys::ggml_sched_priority as Raw;
        self.check()?;
        // SAFETY: takes a number and returns a struct.
        let mut raw = unsafe { llama_sys::ggml_threadpool_params_default(c_int(self.n_threads)) };
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

/// A pool of CPU threads that contexts compute with: [`Context::attach_threadpool`]. Without one, ggml uses OpenMP's
/// threads (feature `openmp`), or starts and ends threads with every computation.
///
/// Cheap to clone; clones are the same pool. Several contexts can have the same pool: they compute one after the other,
/// also in different threads. A callback of one context must not use another context of the same pool: it would wait
/// for itself.
///
/// The thread that decodes is one of the pool's: it gets their priority and processors, and keeps them.
///
/// With feature `openmp` the threads are OpenMP's, and the pool has their priority and processors.
///
/// A failure inside llama.cpp that is an error has not reached the threads, so that other contexts go on with the pool.
///
/// Pausing and resuming (`ggml_threadpool_pause`, `ggml_threadpool_resume`) are ggml's own affair: it resumes a pool that
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
    /// Held by the context that computes. A pool has one graph at a time and is not made for two threads
    /// (ggml-cpu.c, `ggml_graph_compute`).
    busy: Mutex<()>,
    /// The process that has the threads.
    generation: u32,
}

// SAFETY: ggml's pool is a mutex, atomics and threads of its own; it is not tied to the thread that made it. It is used
// by the thread that holds `busy`, and freed by the last owner, when no context has it any more.
unsafe impl Send for Pool {}
// SAFETY: as for `Send`: everything that can be done with a shared pool is to lock it, or read its parameters.
unsafe impl Sync for Pool {}

impl Threadpool {
    /// Starts a pool.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] for parameters out of range and processors that the machine does not have,
    /// [`ErrorKind::Unsupported`] for a priority that the process may not set, [`ErrorKind::Internal`] when threads
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

    /// The parameters that the pool was made with.
    #[must_use]
    pub fn params(&self) -> &ThreadpoolParams {
        &self.0.params
    }

    /// The number of threads, that of the decoding thread included.
    #[must_use]
    pub fn n_threads(&self) -> u32 {
        self.0.params.n_threads
    }

    /// Whether two handles are of the same pool.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn raw(&self) -> *mut llama_sys::ggml_threadpool {
        self.0.raw.as_ptr()
    }

    /// Returns the C object, for functions of ggml that this crate does not offer. The pointer is valid as long as a handle
    /// of the pool lives.
    ///
    /// Calling such a function is `unsafe`, and its caller sees to it that the pool is not freed, and that no context with
    /// this pool computes meanwhile: ggml's functions for a pool take no lock, and this crate's lock is not held.
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

    /// Refuses a pool that was made before the process was forked. A pool of one thread has none of its own.
    fn check_process(&self) -> Result<()> {
        if self.0.generation == fork::generation() || self.n_threads() == 1 {
            return Ok(());
        }
        let reason = format!(
            "the {} threads of the thread pool are in the parent process: make a new pool with Threadpool::new, or compute \
             without one in a new context",
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
        // SAFETY: this is the last owner, and contexts keep a pool as long as ggml may look at it. The threads are
        // between computations, also after a contained failure (shim/computing.h), and are joined.
        let result =
            unsafe { guarded!(llama_shim_threadpool_free(functions.free.as_ptr(), self.raw.as_ptr())) };
        freed("a thread pool", result);
    }
}

/// The addresses of functions of the CPU backend, which is a module that is loaded when the program runs with feature
/// `dynamic-backends`: asked of the registry in any case.
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
        // Before, and not inside: it may log, and a subscriber may come here.
        backend::init();
        FUNCTIONS
            .get_or_try_init(|| {
                // The functions of these names, declared in ggml-cpu.h (ggml-cpu.cpp,
                // ggml_backend_cpu_get_proc_address).
                Ok(Self {
                    new: backend::cpu_function(c"ggml_threadpool_new")?,
                    free: backend::cpu_function(c"ggml_threadpool_free")?,
                })
            })
            .copied()
    }
}

/// A number of threads, at most 512.
fn c_int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

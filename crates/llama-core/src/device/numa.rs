//! Machines with non-uniform memory access.

use crate::backend;
use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::library;

/// The distribution of threads over the nodes of a machine with non-uniform memory access. Corresponds to
/// `ggml_numa_strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NumaStrategy {
    /// Distributes threads over all nodes.
    Distribute,
    /// Keeps threads on the node that the calling thread runs on.
    Isolate,
    /// Uses the configuration with which `numactl` started the program.
    Numactl,
}

/// Initialises the library like [`init`](crate::init), and lets ggml distribute its CPU threads over NUMA nodes.
/// Linux only; elsewhere, and on machines with one node, this changes nothing.
///
/// Call this before everything else, since it changes data that running computations read. On machines with several
/// nodes, threads that decode may afterwards run on every processor, whatever they were bound to before.
///
/// # Errors
///
/// [`ErrorKind::TooLate`] if the library is already in use, or NUMA is initialised.
///
/// Corresponds to `llama_numa_init`.
pub fn init_numa(strategy: NumaStrategy) -> Result<()> {
    use llama_sys::ggml_numa_strategy as Raw;
    let strategy = match strategy {
        NumaStrategy::Distribute => Raw::GGML_NUMA_STRATEGY_DISTRIBUTE,
        NumaStrategy::Isolate => Raw::GGML_NUMA_STRATEGY_ISOLATE,
        NumaStrategy::Numactl => Raw::GGML_NUMA_STRATEGY_NUMACTL,
    };
    library::ensure()?;
    // SAFETY: takes a number. The library is initialised and nobody else has used it yet, so nobody reads what the
    // function writes.
    let initialised = backend::init_and(|| unsafe { guarded!(llama_numa_init(strategy)) });
    initialised.unwrap_or_else(|| {
        let reason = "the library is in use: call init_numa once, before every other function";
        Err(ErrorKind::TooLate { operation: "initialising NUMA", reason }.into())
    })
}

/// Returns whether [`init_numa`] has found several nodes. Corresponds to `ggml_is_numa`.
#[must_use]
pub fn is_numa() -> bool {
    backend::init();
    let Ok(address) = backend::cpu_function(c"ggml_backend_cpu_is_numa") else { return false };
    // SAFETY: the address is that of ggml_is_numa (ggml-cpu.cpp, ggml_backend_cpu_get_proc_address), which reads a
    // number that was written before every other use of the library.
    unsafe {
        let is_numa: unsafe extern "C-unwind" fn() -> bool = core::mem::transmute(address);
        is_numa()
    }
}

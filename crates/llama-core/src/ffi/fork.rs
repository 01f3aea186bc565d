//! Forked child processes. A child has only the thread that called `fork`, and lacks everything that needs other
//! threads: OpenMP's team, with which llama.cpp computes, thread pools, and devices.

#[cfg(unix)]
pub(crate) use unix::{check_devices, check_threads, generation, lacks_team_to_load, note_team, watch};

#[cfg(unix)]
mod unix {
    use core::cell::Cell;
    use core::ffi::c_int;
    use core::sync::atomic::{AtomicU32, Ordering};

    use crate::device::{Device, DeviceKind};
    use crate::error::{ErrorKind, Result};
    use crate::ffi::exit;

    /// Number of forks between the process in which llama.cpp was initialised and this one.
    static GENERATION: AtomicU32 = AtomicU32::new(0);

    thread_local! {
        /// Whether this thread has computed with other threads, and whether that was before a fork.
        static TEAM: Cell<Team> = const { Cell::new(Team::None) };
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Team {
        None,
        /// OpenMP keeps the threads for this thread's next parallel region.
        Started,
        /// OpenMP would wait for the parent's threads, which do not exist in this process.
        Lost,
    }

    type Handler = Option<extern "C" fn()>;

    unsafe extern "C" {
        safe fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int;
    }

    /// Registers a handler that tells children about the fork. Called once, when llama.cpp is initialised.
    pub(crate) fn watch() {
        if pthread_atfork(None, None, Some(in_child)) != 0 {
            tracing::warn!("children of this process cannot be told from it: no memory for a handler");
        }
    }

    /// Records a fork. Only writes to atomics and to thread-locals without destructors, which is allowed between
    /// `fork` and `exec`.
    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        if TEAM.get() == Team::Started {
            TEAM.set(Team::Lost);
        }
        exit::forget_other_threads();
    }

    /// Returns the number of forks since llama.cpp was initialised. An object with threads belongs to one
    /// generation.
    #[inline]
    pub(crate) fn generation() -> u32 {
        GENERATION.load(Ordering::Relaxed)
    }

    /// Records that this thread computes with `n_threads` threads.
    #[inline]
    pub(crate) fn note_team(n_threads: i32) {
        if n_threads > 1 && TEAM.get() == Team::None {
            TEAM.set(Team::Started);
        }
    }

    /// Refuses several threads if OpenMP would wait for those of the parent process forever. GCC's libgomp keeps a
    /// pool for each thread that has opened a parallel region and does not notice a fork (ggml-cpu.c,
    /// `ggml_graph_compute`, opens one when it is given more than one thread). ggml's own threads are started for
    /// each computation.
    #[inline]
    pub(crate) fn check_threads(operation: &'static str, n_threads: i32) -> Result<()> {
        if cfg!(feature = "openmp") && n_threads > 1 && TEAM.get() == Team::Lost {
            return lost_team(operation, n_threads);
        }
        Ok(())
    }

    #[cold]
    fn lost_team(operation: &'static str, n_threads: i32) -> Result<()> {
        let reason = format!(
            "the thread that forked had computed with several threads, which are in the parent process, but the \
             context is to use {n_threads}: call Context::set_n_threads(1, 1), use the context in a new thread, or fork \
             before computing"
        );
        Err(ErrorKind::Forked { operation, reason }.into())
    }

    /// Returns whether weights must not be rearranged for AMX, because that uses several threads
    /// (ggml-cpu/amx/common.h, `parallel_for`) for which this one would wait. Otherwise records that loading may
    /// have started them.
    pub(crate) fn lacks_team_to_load() -> bool {
        if !cfg!(feature = "openmp") || !crate::system_info().contains("AMX_INT8 = 1") {
            return false;
        }
        note_team(2);
        TEAM.get() == Team::Lost
    }

    /// Refuses devices whose drivers were initialised in the parent process: they do not work in its children.
    #[inline]
    pub(crate) fn check_devices(operation: &'static str) -> Result<()> {
        if generation() == 0 { Ok(()) } else { check_devices_of_child(operation) }
    }

    #[cold]
    fn check_devices_of_child(operation: &'static str) -> Result<()> {
        let other = |device: &Device| !matches!(device.kind(), DeviceKind::Cpu | DeviceKind::Accelerator);
        match crate::device::devices().into_iter().find(other) {
            None => Ok(()),
            Some(device) => {
                let reason = format!(
                    "{} was initialised in the parent process and cannot be used in its child: fork before llama.cpp \
                     is used, or start a new program",
                    device.name()
                );
                Err(ErrorKind::Forked { operation, reason }.into())
            }
        }
    }
}

#[cfg(not(unix))]
pub(crate) use elsewhere::{check_devices, check_threads, generation, lacks_team_to_load, note_team, watch};

/// Stubs for systems without `fork`.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere they can fail")]
mod elsewhere {
    use crate::error::Result;

    pub(crate) fn watch() {}

    #[inline]
    pub(crate) fn generation() -> u32 {
        0
    }

    #[inline]
    pub(crate) fn note_team(_: i32) {}

    pub(crate) fn lacks_team_to_load() -> bool {
        false
    }

    #[inline]
    pub(crate) fn check_threads(_: &'static str, _: i32) -> Result<()> {
        Ok(())
    }

    #[inline]
    pub(crate) fn check_devices(_: &'static str) -> Result<()> {
        Ok(())
    }
}

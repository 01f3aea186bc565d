//! The library's one-time initialisation, which happens automatically before the first use.

use core::ffi::{CStr, c_void};
#[cfg(any(feature = "dynamic-backends", feature = "dynamic"))]
use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Once;

use crate::error::{ErrorKind, Result};
use crate::ffi::guard::{guarded, or_logged};
use crate::{ffi, graph, library, log};

static INIT: Once = Once::new();

/// Initialises llama.cpp and ggml, once: the log, the abort callback of the guard, and the backends.
///
/// Every function of this crate that needs the initialisation performs it. Call this only to move the cost, some
/// milliseconds without GPUs, to another moment. Corresponds to `llama_backend_init`.
pub fn init() {
    init_and(|| ());
}

/// Initialises the library, and then runs code that must precede every use of it. Returns `None` if the library is
/// already in use.
pub(crate) fn init_and<R>(then: impl FnOnce() -> R) -> Option<R> {
    // Without the library nothing can be initialised. Each call into it will say why.
    if INIT.is_completed() || library::ensure().is_err() {
        return None;
    }
    let mut result = None;
    // Log lines are passed on afterwards: a subscriber that loads a model would wait for this very thread.
    log::defer(|| INIT.call_once(|| result = Some(initialise(then))));
    result
}

fn initialise<R>(then: impl FnOnce() -> R) -> R {
    ffi::fork::watch();
    log::install();
    // SAFETY: both functions take no pointers; `Once` makes this the first use of the library in this process and lets no
    // other thread pass before it is done.
    let initialised = unsafe {
        llama_sys::llama_shim_install_abort_callback();
        guarded!(llama_backend_init())
    };
    or_logged(initialised, ());
    #[cfg(any(feature = "dynamic-backends", feature = "dynamic"))]
    load_modules();
    graph::prepare();
    let result = then();
    // SAFETY: takes no arguments; the backends are loaded, and no other thread computes yet.
    or_logged(unsafe { guarded!(llama_shim_learn_computation()) }, false);
    // Creates the registry of devices before the exit handler is registered, so that the handler runs first.
    // SAFETY: takes no arguments.
    or_logged(unsafe { guarded!(ggml_backend_dev_count()) }, 0);
    ffi::exit::arm();
    result
}

/// Returns the address of a function of the CPU backend. Not all of its functions are linked: with the feature
/// `dynamic-backends` it is a module. Corresponds to `ggml_backend_reg_get_proc_address`, `ggml_backend_dev_by_type`
/// and `ggml_backend_dev_backend_reg`.
pub(crate) fn cpu_function(name: &CStr) -> Result<NonNull<c_void>> {
    let kind = llama_sys::ggml_backend_dev_type::GGML_BACKEND_DEVICE_TYPE_CPU;
    // SAFETY: takes a number; devices live as long as the process.
    let device = unsafe { guarded!(ggml_backend_dev_by_type(kind)) }?;
    let address = if device.is_null() {
        core::ptr::null_mut()
    } else {
        // SAFETY: the device is valid and so is its registry; the name is NUL-terminated.
        unsafe {
            let registry = llama_sys::ggml_backend_dev_backend_reg(device);
            guarded!(ggml_backend_reg_get_proc_address(registry, name.as_ptr()))?
        }
    };
    NonNull::new(address).ok_or_else(|| {
        let reason = format!("the CPU backend is missing, or has no {}", name.to_string_lossy());
        ErrorKind::Unsupported { operation: "using the CPU backend", reason }.into()
    })
}

/// Loads the backends' modules, unless the library contains its backends: from the executable's folder, or if there are
/// none, from the folder where they were built, or that of the library. Corresponds to `ggml_backend_load_all` and
/// `ggml_backend_load_all_from_path`.
#[cfg(any(feature = "dynamic-backends", feature = "dynamic"))]
fn load_modules() {
    // SAFETY: takes no arguments.
    let has_devices = || or_logged(unsafe { guarded!(ggml_backend_dev_count()) }, 0) > 0;
    if cfg!(feature = "dynamic") && has_devices() {
        return;
    }
    // SAFETY: takes no arguments.
    or_logged(unsafe { guarded!(ggml_backend_load_all()) }, ());
    if let Some(folder) = modules_folder().filter(|_| !has_devices()) {
        // SAFETY: the path is NUL-terminated and lives through the call.
        or_logged(unsafe { guarded!(ggml_backend_load_all_from_path(folder.as_ptr())) }, ());
    }
}

/// Returns the folder where the modules were built.
#[cfg(feature = "dynamic-backends")]
fn modules_folder() -> Option<CString> {
    CString::new(llama_sys::BACKEND_DIR?).ok()
}

/// Returns the folder of the loaded library.
#[cfg(all(feature = "dynamic", not(feature = "dynamic-backends")))]
fn modules_folder() -> Option<CString> {
    ffi::string::path_to_c(library::path()?.parent()?).ok()
}

/// Returns llama.cpp's version, `major.minor.patch`. Corresponds to `llama_version`.
#[must_use]
pub fn version() -> String {
    // SAFETY: takes no arguments.
    let text = or_logged(unsafe { guarded!(llama_version()) }, core::ptr::null());
    // SAFETY: NULL or a string literal (llama.cpp).
    unsafe { ffi::string::from_c(text) }.unwrap_or_default()
}

/// Returns the instruction sets and options of the CPU backend and others, built in or found at run time, as
/// llama.cpp's tools print them. Corresponds to `llama_print_system_info`.
#[must_use]
pub fn system_info() -> String {
    static LOCK: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
    init();
    // A subscriber that receives a failure may call this function.
    log::defer(|| {
        // The C function writes to a static string.
        let _lock = LOCK.lock();
        // SAFETY: takes no arguments; the lock excludes other callers.
        let text = or_logged(unsafe { guarded!(llama_print_system_info()) }, core::ptr::null());
        // SAFETY: NULL or a NUL-terminated string that lives until the next call, which the lock excludes.
        unsafe { ffi::string::from_c(text) }.unwrap_or_default()
    })
}

/// Returns whether model files can be memory-mapped. Corresponds to `llama_supports_mmap`.
#[must_use]
pub fn supports_mmap() -> bool {
    // SAFETY: takes no arguments and reads a constant.
    or_logged(unsafe { guarded!(llama_supports_mmap()) }, false)
}

/// Returns whether memory can be locked against swapping. Corresponds to `llama_supports_mlock`.
#[must_use]
pub fn supports_mlock() -> bool {
    // SAFETY: takes no arguments and reads a constant.
    or_logged(unsafe { guarded!(llama_supports_mlock()) }, false)
}

/// Returns whether layers can be offloaded to a GPU or another device. Corresponds to `llama_supports_gpu_offload`.
#[must_use]
pub fn supports_gpu_offload() -> bool {
    init();
    // SAFETY: takes no arguments; reads the registry that `init` has filled.
    or_logged(unsafe { guarded!(llama_supports_gpu_offload()) }, false)
}

/// Returns whether devices of other machines can be used. Corresponds to `llama_supports_rpc`.
#[must_use]
pub fn supports_rpc() -> bool {
    init();
    // SAFETY: takes no arguments; reads the registry that `init` has filled.
    or_logged(unsafe { guarded!(llama_supports_rpc()) }, false)
}

/// Returns the maximum number of devices for one model. Corresponds to `llama_max_devices`.
#[must_use]
pub fn max_devices() -> usize {
    // SAFETY: takes no arguments and returns a constant.
    or_logged(unsafe { guarded!(llama_max_devices()) }, 0)
}

/// Returns the maximum number of patterns that place tensors of one model. Corresponds to
/// `llama_max_tensor_buft_overrides`.
#[must_use]
pub fn max_tensor_overrides() -> usize {
    // SAFETY: takes no arguments and returns a constant.
    or_logged(unsafe { guarded!(llama_max_tensor_buft_overrides()) }, 0)
}

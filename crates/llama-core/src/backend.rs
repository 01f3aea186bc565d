//! The library's one-time initialisation. It happens by itself, before the first use.

use std::sync::Once;

use crate::{ffi, log};

static INIT: Once = Once::new();

/// Initialises llama.cpp and ggml, once: the log, the abort callback of the guard, and the backends.
///
/// Every function of this crate that needs it calls it, so that calling it is only of use to move the cost,
/// some milliseconds without GPUs, to another moment. Corresponds to `llama_backend_init`.
pub fn init() {
    INIT.call_once(|| {
        log::install();
        // SAFETY: both functions take no pointers; `Once` makes this the first use of the library in this
        // process and lets no other thread pass before it is done.
        unsafe {
            llama_sys::llama_shim_install_abort_callback();
            llama_sys::llama_backend_init();
        }
        #[cfg(feature = "dynamic-backends")]
        load_modules();
    });
}

/// Loads the backends' modules from beside the executable, and when there are none, from where they were built.
/// Corresponds to `ggml_backend_load_all` and `ggml_backend_load_all_from_path`.
#[cfg(feature = "dynamic-backends")]
fn load_modules() {
    // SAFETY: takes no arguments.
    unsafe { llama_sys::ggml_backend_load_all() };
    // SAFETY: takes no arguments.
    let found = unsafe { llama_sys::ggml_backend_dev_count() } > 0;
    let built = llama_sys::BACKEND_DIR.and_then(|folder| std::ffi::CString::new(folder).ok());
    if let Some(folder) = built.filter(|_| !found) {
        // SAFETY: the path is NUL-terminated and lives through the call.
        unsafe { llama_sys::ggml_backend_load_all_from_path(folder.as_ptr()) };
    }
}

/// llama.cpp's version, `major.minor.patch`. Corresponds to `llama_version`.
#[must_use]
pub fn version() -> String {
    // SAFETY: returns a string literal (llama.cpp).
    unsafe { ffi::string::from_c(llama_sys::llama_version()) }.unwrap_or_default()
}

/// The instruction sets and options that the CPU backend and others were built with and found at run time, as
/// llama.cpp's tools print it. Corresponds to `llama_print_system_info`.
#[must_use]
pub fn system_info() -> String {
    static LOCK: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
    init();
    // The C function writes to a static string.
    let _lock = LOCK.lock();
    // SAFETY: returns a NUL-terminated string that lives until the next call, which the lock keeps away.
    unsafe { ffi::string::from_c(llama_sys::llama_print_system_info()) }.unwrap_or_default()
}

/// Whether model files can be memory-mapped. Corresponds to `llama_supports_mmap`.
#[must_use]
pub fn supports_mmap() -> bool {
    // SAFETY: takes no arguments and reads a constant.
    unsafe { llama_sys::llama_supports_mmap() }
}

/// Whether memory can be locked against swapping. Corresponds to `llama_supports_mlock`.
#[must_use]
pub fn supports_mlock() -> bool {
    // SAFETY: takes no arguments and reads a constant.
    unsafe { llama_sys::llama_supports_mlock() }
}

/// Whether layers can be put on a GPU or another device than the CPU. Corresponds to
/// `llama_supports_gpu_offload`.
#[must_use]
pub fn supports_gpu_offload() -> bool {
    init();
    // SAFETY: takes no arguments; reads the registry that `init` has filled.
    unsafe { llama_sys::llama_supports_gpu_offload() }
}

/// Whether devices of other machines can be used. Corresponds to `llama_supports_rpc`.
#[must_use]
pub fn supports_rpc() -> bool {
    init();
    // SAFETY: takes no arguments; reads the registry that `init` has filled.
    unsafe { llama_sys::llama_supports_rpc() }
}

/// The most devices that one model can be divided among. Corresponds to `llama_max_devices`.
#[must_use]
pub fn max_devices() -> usize {
    // SAFETY: takes no arguments and returns a constant.
    unsafe { llama_sys::llama_max_devices() }
}

/// The most patterns that tensors of one model can be placed by. Corresponds to `llama_max_tensor_buft_overrides`.
#[must_use]
pub fn max_tensor_overrides() -> usize {
    // SAFETY: takes no arguments and returns a constant.
    unsafe { llama_sys::llama_max_tensor_buft_overrides() }
}

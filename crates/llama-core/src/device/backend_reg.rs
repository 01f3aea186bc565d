//! ggml's backends, which provide the devices.

use core::fmt;
use std::ffi::CString;

use crate::device::Device;
use crate::ffi::guard::{guarded, or_logged};
use crate::{backend, ffi};

/// A backend registered in ggml. Cheap to copy; backends live as long as the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackendReg {
    raw: llama_sys::ggml_backend_reg_t,
}

// SAFETY: an entry of ggml's registry, which only grows and is never freed (ggml-backend-reg.cpp; this crate does
// not unload backends), and its functions read constants.
unsafe impl Send for BackendReg {}
// SAFETY: as for `Send`: no function of this type changes the backend.
unsafe impl Sync for BackendReg {}

/// A feature that a backend was compiled with or has found on this machine, for example `AVX2` with the value `1`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BackendFeature {
    /// Name of the feature.
    pub name: String,
    /// Value of the feature: `1` or a number.
    pub value: String,
}

/// Returns all backends. Corresponds to `ggml_backend_reg_count` and `ggml_backend_reg_get`.
#[must_use]
pub fn backend_regs() -> Vec<BackendReg> {
    backend::init();
    // SAFETY: takes no arguments.
    let count = or_logged(unsafe { guarded!(ggml_backend_reg_count()) }, 0);
    let backend = |index| {
        // SAFETY: every index is below the count, and the registry never shrinks.
        let raw = unsafe { guarded!(ggml_backend_reg_get(index)) };
        BackendReg::from_raw(or_logged(raw, core::ptr::null_mut()))
    };
    (0..count).filter_map(backend).collect()
}

impl BackendReg {
    /// Returns the backend with the given name, or `None` if there is none or the name has a NUL byte.
    /// Corresponds to `ggml_backend_reg_by_name`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        backend::init();
        let name = CString::new(name).ok()?;
        // SAFETY: the name is NUL-terminated; the result is NULL or an entry of the registry.
        let raw = unsafe { guarded!(ggml_backend_reg_by_name(name.as_ptr())) };
        Self::from_raw(or_logged(raw, core::ptr::null_mut()))
    }

    /// Wraps a backend that C has returned; NULL becomes `None`.
    pub(crate) fn from_raw(raw: llama_sys::ggml_backend_reg_t) -> Option<Self> {
        (!raw.is_null()).then_some(Self { raw })
    }

    /// Returns the C object, for functions of ggml that this crate does not wrap. The pointer is valid as long as the
    /// process. Calling such a function is `unsafe`. The caller must keep the backend loaded.
    #[must_use]
    pub fn as_ptr(&self) -> llama_sys::ggml_backend_reg_t {
        self.raw
    }

    /// Returns the name, for example `CPU` or `CUDA`. Corresponds to `ggml_backend_reg_name`.
    #[must_use]
    pub fn name(&self) -> String {
        // SAFETY: backends live forever; the name is a NUL-terminated string of the backend.
        unsafe { ffi::string::from_c(llama_sys::ggml_backend_reg_name(self.raw)) }.unwrap_or_default()
    }

    /// Returns the backend's devices. Corresponds to `ggml_backend_reg_dev_count` and `ggml_backend_reg_dev_get`.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        // SAFETY: backends live forever.
        let count = or_logged(unsafe { guarded!(ggml_backend_reg_dev_count(self.raw)) }, 0);
        let device = |index| {
            // SAFETY: backends live forever, and every index is below the count.
            let raw = unsafe { guarded!(ggml_backend_reg_dev_get(self.raw, index)) };
            Device::from_raw(or_logged(raw, core::ptr::null_mut()))
        };
        (0..count).filter_map(device).collect()
    }

    /// Returns the features that the backend was compiled with or has found: the instruction sets of the CPU, the
    /// architectures of GPUs. Empty for backends that do not report them. Corresponds to
    /// `ggml_backend_reg_get_proc_address`.
    #[must_use]
    pub fn features(&self) -> Vec<BackendFeature> {
        // SAFETY: backends live forever, and the name is NUL-terminated.
        let address = unsafe {
            guarded!(ggml_backend_reg_get_proc_address(self.raw, c"ggml_backend_get_features".as_ptr()))
        };
        let address = or_logged(address, core::ptr::null_mut());
        if address.is_null() {
            return Vec::new();
        }
        let mut features = Vec::new();
        // SAFETY: the function belongs to this backend. The list is static and created thread-safely by the first
        // call (ggml-cpu.cpp, ggml-cuda.cu), and ends with a NULL name; names and values are NUL-terminated.
        unsafe {
            let list = guarded!(llama_shim_get_features(address, self.raw));
            let mut entry = or_logged(list, core::ptr::null_mut()).cast_const();
            while !entry.is_null() && !(*entry).name.is_null() {
                let text = |text| ffi::string::from_c(text).unwrap_or_default();
                features.push(BackendFeature { name: text((*entry).name), value: text((*entry).value) });
                entry = entry.add(1);
            }
        }
        features
    }
}

impl fmt::Debug for BackendReg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendReg").field("name", &self.name()).field("devices", &self.devices()).finish()
    }
}

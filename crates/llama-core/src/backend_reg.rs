//! The backends that ggml has: what makes the devices.

use core::ffi::c_void;
use core::fmt;
use std::ffi::CString;

use crate::device::Device;
use crate::{backend, ffi};

/// A backend, as ggml has registered it. Cheap to copy; backends live as long as the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backend {
    raw: llama_sys::ggml_backend_reg_t,
}

// SAFETY: an entry of ggml's registry, which is only added to and never freed (ggml-backend-reg.cpp; this crate does not
// unload backends), and its functions read constants.
unsafe impl Send for Backend {}
// SAFETY: as for `Send`: no function of this type changes the backend.
unsafe impl Sync for Backend {}

/// Something that a backend was compiled with or has found on this machine, for example `AVX2` with the value `1`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BackendFeature {
    /// Its name.
    pub name: String,
    /// `1` or a number.
    pub value: String,
}

/// All backends. Corresponds to `ggml_backend_reg_count` and `ggml_backend_reg_get`.
#[must_use]
pub fn backends() -> Vec<Backend> {
    backend::init();
    // SAFETY: takes no arguments.
    let count = unsafe { llama_sys::ggml_backend_reg_count() };
    // SAFETY: every index is below the count, and the registry never shrinks.
    (0..count)
        .filter_map(|index| Backend::from_raw(unsafe { llama_sys::ggml_backend_reg_get(index) }))
        .collect()
}

impl Backend {
    /// The backend of that name, `None` when there is none or the name has a NUL byte. Corresponds to
    /// `ggml_backend_reg_by_name`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        backend::init();
        let name = CString::new(name).ok()?;
        // SAFETY: the name is NUL-terminated; the result is NULL or an entry of the registry.
        Self::from_raw(unsafe { llama_sys::ggml_backend_reg_by_name(name.as_ptr()) })
    }

    /// A backend that C has returned; NULL is none.
    pub(crate) fn from_raw(raw: llama_sys::ggml_backend_reg_t) -> Option<Self> {
        (!raw.is_null()).then_some(Self { raw })
    }

    /// The name, for example `CPU` or `CUDA`. Corresponds to `ggml_backend_reg_name`.
    #[must_use]
    pub fn name(&self) -> String {
        // SAFETY: the backend lives for ever; the name is a NUL-terminated string of it.
        unsafe { ffi::string::from_c(llama_sys::ggml_backend_reg_name(self.raw)) }.unwrap_or_default()
    }

    /// Its devices. Corresponds to `ggml_backend_reg_dev_count` and `ggml_backend_reg_dev_get`.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        // SAFETY: the backend lives for ever.
        let count = unsafe { llama_sys::ggml_backend_reg_dev_count(self.raw) };
        let device = |index| {
            // SAFETY: the backend lives for ever, and every index is below the count.
            Device::from_raw(unsafe { llama_sys::ggml_backend_reg_dev_get(self.raw, index) })
        };
        (0..count).filter_map(device).collect()
    }

    /// What it was compiled with and found: the instruction sets of the CPU, the architectures of GPUs. Empty for
    /// backends that do not say. Corresponds to `ggml_backend_reg_get_proc_address`.
    #[must_use]
    pub fn features(&self) -> Vec<BackendFeature> {
        type GetFeatures = unsafe extern "C-unwind" fn(
            llama_sys::ggml_backend_reg_t,
        ) -> *mut llama_sys::ggml_backend_feature;
        // SAFETY: the backend lives for ever, and the name is NUL-terminated.
        let address: *mut c_void = unsafe {
            llama_sys::ggml_backend_reg_get_proc_address(self.raw, c"ggml_backend_get_features".as_ptr())
        };
        // SAFETY: the function of this name has this type (`ggml_backend_get_features_t` in ggml-backend.h), and a NULL
        // address is `None`.
        let get_features = unsafe { core::mem::transmute::<*mut c_void, Option<GetFeatures>>(address) };
        let Some(get_features) = get_features else {
            return Vec::new();
        };
        let mut features = Vec::new();
        // SAFETY: the backend is the one that the function belongs to. The list is a static one that is made at the
        // first call, in a thread-safe way (ggml-cpu.cpp, ggml-cuda.cu), and ends with a name that is NULL; names and
        // values are NUL-terminated.
        unsafe {
            let mut entry = get_features(self.raw).cast_const();
            while !entry.is_null() && !(*entry).name.is_null() {
                let text = |text| ffi::string::from_c(text).unwrap_or_default();
                features.push(BackendFeature { name: text((*entry).name), value: text((*entry).value) });
                entry = entry.add(1);
            }
        }
        features
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("name", &self.name()).field("devices", &self.devices()).finish()
    }
}

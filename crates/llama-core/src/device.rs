//! The devices that models can be put on.

use core::fmt;

use crate::{backend, ffi};

/// What kind of hardware a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// The CPU with the system's memory.
    Cpu,
    /// A GPU with memory of its own.
    Gpu,
    /// A GPU that uses the system's memory.
    IntegratedGpu,
    /// An accelerator that works beside the CPU on the system's memory, for example a BLAS library.
    Accelerator,
    /// A kind that this version does not know, with llama.cpp's number.
    Other(i64),
}

/// A device, as ggml has found it. Cheap to copy; devices live as long as the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    raw: llama_sys::ggml_backend_dev_t,
}

// SAFETY: a device is an entry of ggml's registry, which is only added to and never freed
// (ggml-backend-reg.cpp), and its functions read constants or query the driver.
unsafe impl Send for Device {}
// SAFETY: as for `Send`: no function of this type changes the device.
unsafe impl Sync for Device {}

/// All devices, in ggml's order: the CPU is last. Corresponds to `ggml_backend_dev_count` and
/// `ggml_backend_dev_get`.
#[must_use]
pub fn devices() -> Vec<Device> {
    backend::init();
    // SAFETY: takes no arguments.
    let count = unsafe { llama_sys::ggml_backend_dev_count() };
    // SAFETY: every index is below the count, and the registry never shrinks.
    (0..count).map(|index| Device { raw: unsafe { llama_sys::ggml_backend_dev_get(index) } }).collect()
}

impl Device {
    /// A short name, for example `CPU` or `CUDA0`. Corresponds to `ggml_backend_dev_name`.
    #[must_use]
    pub fn name(&self) -> String {
        // SAFETY: the device lives for ever; the name is a NUL-terminated string of it.
        unsafe { ffi::string::from_c(llama_sys::ggml_backend_dev_name(self.raw)) }.unwrap_or_default()
    }

    /// The hardware's name as the driver says it. Corresponds to `ggml_backend_dev_description`.
    #[must_use]
    pub fn description(&self) -> String {
        // SAFETY: as for `name`.
        unsafe { ffi::string::from_c(llama_sys::ggml_backend_dev_description(self.raw)) }.unwrap_or_default()
    }

    /// What kind of hardware it is. Corresponds to `ggml_backend_dev_type`.
    #[must_use]
    pub fn kind(&self) -> DeviceKind {
        use llama_sys::ggml_backend_dev_type as Type;
        // SAFETY: the device lives for ever.
        match unsafe { llama_sys::ggml_backend_dev_type_fn(self.raw) } {
            Type::GGML_BACKEND_DEVICE_TYPE_CPU => DeviceKind::Cpu,
            Type::GGML_BACKEND_DEVICE_TYPE_GPU => DeviceKind::Gpu,
            Type::GGML_BACKEND_DEVICE_TYPE_IGPU => DeviceKind::IntegratedGpu,
            Type::GGML_BACKEND_DEVICE_TYPE_ACCEL => DeviceKind::Accelerator,
            other => DeviceKind::Other(i64::from(other.0)),
        }
    }

    /// Whether it does not use the system's memory.
    pub(crate) fn has_own_memory(&self) -> bool {
        self.kind() == DeviceKind::Gpu
    }

    /// Free and total memory in bytes, as the driver says now. Corresponds to `ggml_backend_dev_memory`.
    #[must_use]
    pub fn memory(&self) -> DeviceMemory {
        let (mut free, mut total) = (0, 0);
        // SAFETY: the device lives for ever and both pointers are valid for the call.
        unsafe { llama_sys::ggml_backend_dev_memory(self.raw, &raw mut free, &raw mut total) };
        DeviceMemory { free, total }
    }
}

/// The largest alignment and the smallest limit of one allocation, in bytes, over the buffers of all devices.
pub(crate) fn buffer_limits() -> (usize, usize) {
    devices().iter().fold((1, usize::MAX), |(alignment, largest), device| {
        // SAFETY: the device lives for ever, and so does its buffer type.
        let buffer = unsafe { llama_sys::ggml_backend_dev_buffer_type(device.raw) };
        if buffer.is_null() {
            return (alignment, largest);
        }
        // SAFETY: the buffer type is valid; the functions read numbers.
        let (align, most) = unsafe {
            use llama_sys::{ggml_backend_buft_get_alignment, ggml_backend_buft_get_max_size};
            (ggml_backend_buft_get_alignment(buffer), ggml_backend_buft_get_max_size(buffer))
        };
        (alignment.max(align), largest.min(most))
    })
}

/// A device's memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Bytes not in use by anybody.
    pub free: usize,
    /// All bytes.
    pub total: usize,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("name", &self.name())
            .field("description", &self.description())
            .field("kind", &self.kind())
            .finish()
    }
}

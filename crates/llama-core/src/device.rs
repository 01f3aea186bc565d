//! Devices on which models can be placed.

mod backend_reg;
pub(crate) mod host_memory;
mod links;
mod numa;
mod system;

use core::fmt;

use crate::ffi::guard::{guarded, or_logged};
use crate::{backend, ffi};
use host_memory::HostMemory;

pub use crate::backend::{max_devices, supports_gpu_offload, supports_mlock, supports_mmap, supports_rpc};
pub use backend_reg::{BackendFeature, BackendReg, backend_regs};
pub(crate) use links::Links;
pub use numa::{NumaStrategy, init_numa, is_numa};
pub use system::{BackendReport, DeviceReport, SystemReport};

/// The kind of hardware of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum DeviceKind {
    /// The CPU with the system's memory.
    Cpu,
    /// A GPU with its own memory.
    Gpu,
    /// A GPU that uses the system's memory.
    IntegratedGpu,
    /// An accelerator that supports the CPU on the system's memory, for example a BLAS library.
    Accelerator,
    /// A kind unknown to this version, with llama.cpp's number.
    Other(i64),
}

/// A device found by ggml. Cheap to copy; devices live as long as the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    raw: llama_sys::ggml_backend_dev_t,
}

// SAFETY: a device is an entry of ggml's registry, which only grows and is never freed (ggml-backend-reg.cpp), and
// its functions read constants or query the driver.
unsafe impl Send for Device {}
// SAFETY: as for `Send`: no function of this type changes the device.
unsafe impl Sync for Device {}

/// Returns all devices, in ggml's order: the CPU is last. Corresponds to `ggml_backend_dev_count` and
/// `ggml_backend_dev_get`.
#[must_use]
pub fn devices() -> Vec<Device> {
    backend::init();
    // SAFETY: takes no arguments.
    let count = or_logged(unsafe { guarded!(ggml_backend_dev_count()) }, 0);
    let device = |index| {
        // SAFETY: every index is below the count, and the registry never shrinks.
        let raw = unsafe { guarded!(ggml_backend_dev_get(index)) };
        Device::from_raw(or_logged(raw, core::ptr::null_mut()))
    };
    (0..count).filter_map(device).collect()
}

impl Device {
    /// Returns the device with the given name, or `None` if there is none or the name has a NUL byte. Corresponds to
    /// `ggml_backend_dev_by_name`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        backend::init();
        let name = std::ffi::CString::new(name).ok()?;
        // SAFETY: the name is NUL-terminated; the result is NULL or an entry of the registry.
        let raw = unsafe { guarded!(ggml_backend_dev_by_name(name.as_ptr())) };
        Self::from_raw(or_logged(raw, core::ptr::null_mut()))
    }

    /// Returns the CPU, or `None` if its backend is a module that could not be loaded. Corresponds to
    /// `ggml_backend_dev_by_type`.
    #[must_use]
    pub fn cpu() -> Option<Self> {
        use llama_sys::ggml_backend_dev_type as Type;
        backend::init();
        // SAFETY: takes a number; the result is NULL or an entry of the registry.
        let raw = unsafe { guarded!(ggml_backend_dev_by_type(Type::GGML_BACKEND_DEVICE_TYPE_CPU)) };
        Self::from_raw(or_logged(raw, core::ptr::null_mut()))
    }

    /// Wraps a device that C has returned; NULL becomes `None`.
    pub(crate) fn from_raw(raw: llama_sys::ggml_backend_dev_t) -> Option<Self> {
        (!raw.is_null()).then_some(Self { raw })
    }

    pub(crate) fn raw(&self) -> llama_sys::ggml_backend_dev_t {
        self.raw
    }

    /// Returns the C object, for functions of ggml that this crate does not wrap. The pointer is valid as long as the
    /// process. Calling such a function is `unsafe`. The caller must keep the backend loaded.
    #[must_use]
    pub fn as_ptr(&self) -> llama_sys::ggml_backend_dev_t {
        self.raw
    }

    /// Returns the type of buffer for tensors by default. Corresponds to `ggml_backend_dev_buffer_type`.
    pub(crate) fn buffer_type(&self) -> llama_sys::ggml_backend_buffer_type_t {
        // SAFETY: devices live forever, and so do their buffer types.
        or_logged(unsafe { guarded!(ggml_backend_dev_buffer_type(self.raw)) }, core::ptr::null_mut())
    }

    /// Returns a short name, for example `CPU` or `CUDA0`. Corresponds to `ggml_backend_dev_name`.
    #[must_use]
    pub fn name(&self) -> String {
        // SAFETY: devices live forever; the name is a NUL-terminated string of the device.
        unsafe { ffi::string::from_c(llama_sys::ggml_backend_dev_name(self.raw)) }.unwrap_or_default()
    }

    /// Returns the driver's name of the hardware, or the address of the server for a device of another machine.
    /// Corresponds to `ggml_backend_dev_description`.
    #[must_use]
    pub fn description(&self) -> String {
        // ggml only knows the address of the relay.
        #[cfg(feature = "rpc")]
        if let Some(link) = crate::rpc::Link::of(*self) {
            return link.address().to_owned();
        }
        // SAFETY: as for `name`.
        unsafe {
            let text = or_logged(guarded!(ggml_backend_dev_description(self.raw)), core::ptr::null());
            ffi::string::from_c(text).unwrap_or_default()
        }
    }

    /// Returns the kind of hardware. Corresponds to `ggml_backend_dev_type`.
    #[must_use]
    pub fn kind(&self) -> DeviceKind {
        use llama_sys::ggml_backend_dev_type as Type;
        // SAFETY: devices live forever.
        match unsafe { llama_sys::ggml_backend_dev_type_fn(self.raw) } {
            Type::GGML_BACKEND_DEVICE_TYPE_CPU => DeviceKind::Cpu,
            Type::GGML_BACKEND_DEVICE_TYPE_GPU => DeviceKind::Gpu,
            Type::GGML_BACKEND_DEVICE_TYPE_IGPU => DeviceKind::IntegratedGpu,
            Type::GGML_BACKEND_DEVICE_TYPE_ACCEL => DeviceKind::Accelerator,
            other => DeviceKind::Other(i64::from(other.0)),
        }
    }

    /// Returns whether the device has its own memory rather than the system's.
    pub(crate) fn has_own_memory(&self) -> bool {
        self.kind() == DeviceKind::Gpu
    }

    /// Returns the current free and total memory in bytes. For the CPU it is what this process can get: on Linux,
    /// the system's available memory within the limits of control groups. It is 0 for a device of a machine that is
    /// lost. Corresponds to `ggml_backend_dev_memory`.
    #[must_use]
    pub fn memory(&self) -> DeviceMemory {
        if self.kind() != DeviceKind::Cpu {
            return self.reported_memory();
        }
        let host = HostMemory::now();
        let limit = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        DeviceMemory { free: limit(host.available), total: limit(host.total) }
    }

    /// Returns the memory as reported by ggml.
    pub(crate) fn reported_memory(&self) -> DeviceMemory {
        let links = Links::of(core::iter::once(*self));
        let memory =
            if links.check().is_ok() { self.asked_memory() } else { DeviceMemory { free: 0, total: 0 } };
        if links.check().is_ok() { memory } else { DeviceMemory { free: 0, total: 0 } }
    }

    fn asked_memory(&self) -> DeviceMemory {
        let (mut free, mut total) = (0, 0);
        // SAFETY: devices live forever and both pointers are valid for the call.
        let asked = unsafe { guarded!(ggml_backend_dev_memory(self.raw, &raw mut free, &raw mut total)) };
        or_logged(asked, ());
        DeviceMemory { free, total }
    }

    /// Returns an identifier of the hardware; for a PCI device its address, for example `0000:c1:00.0`.
    /// Corresponds to `ggml_backend_dev_get_props`.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        // SAFETY: the id is NULL or a NUL-terminated string of the device, which lives forever.
        unsafe { ffi::string::from_c(self.props().device_id) }
    }

    /// Returns the device's capabilities besides computing.
    #[must_use]
    pub fn capabilities(&self) -> DeviceCapabilities {
        let caps = self.props().caps;
        DeviceCapabilities {
            asynchronous: caps.async_,
            host_buffer: caps.host_buffer,
            buffer_from_host_ptr: caps.buffer_from_host_ptr,
            events: caps.events,
            mmap: caps.mmap_support,
        }
    }

    /// Returns the backend that the device belongs to. Corresponds to `ggml_backend_dev_backend_reg`.
    #[must_use]
    pub fn backend_reg(&self) -> Option<BackendReg> {
        // SAFETY: devices live forever; the result is NULL or an entry of the registry.
        BackendReg::from_raw(unsafe { llama_sys::ggml_backend_dev_backend_reg(self.raw) })
    }

    fn props(&self) -> llama_sys::ggml_backend_dev_props {
        let mut props = core::mem::MaybeUninit::zeroed();
        // SAFETY: devices live forever; the function fills the struct (ggml-backend.cpp), for which zeros are valid,
        // as it consists of pointers, numbers and booleans.
        unsafe {
            or_logged(guarded!(ggml_backend_dev_get_props(self.raw, props.as_mut_ptr())), ());
            props.assume_init()
        }
    }
}

/// Capabilities of a device besides computing. Corresponds to `ggml_backend_dev_caps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DeviceCapabilities {
    /// Whether it computes asynchronously to the caller.
    pub asynchronous: bool,
    /// Whether it has pinned host memory to copy from.
    pub host_buffer: bool,
    /// Whether it computes on memory of the caller.
    pub buffer_from_host_ptr: bool,
    /// Whether it has events, which can be waited for.
    pub events: bool,
    /// Whether it computes on memory-mapped files.
    pub mmap: bool,
}

#[cfg(feature = "serde")]
impl serde::Serialize for Device {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

/// Returns the largest alignment and the smallest limit of one allocation, in bytes, over the buffers of all
/// devices.
pub(crate) fn buffer_limits() -> (usize, usize) {
    devices().iter().fold((1, usize::MAX), |(alignment, largest), device| {
        let buffer = device.buffer_type();
        if buffer.is_null() {
            return (alignment, largest);
        }
        // SAFETY: the buffer type is valid; the functions query the device for numbers.
        let (align, most) = unsafe {
            (
                or_logged(guarded!(ggml_backend_buft_get_alignment(buffer)), 1),
                or_logged(guarded!(ggml_backend_buft_get_max_size(buffer)), usize::MAX),
            )
        };
        (alignment.max(align), largest.min(most))
    })
}

/// A device's memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DeviceMemory {
    /// Number of unused bytes.
    pub free: usize,
    /// Total number of bytes.
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

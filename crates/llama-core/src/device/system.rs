//! A report about this library, its build, and the devices of this machine, for bug reports.

use core::fmt;

use crate::backend;
use crate::device::max_devices;
use crate::device::{BackendFeature, BackendReg, backend_regs};
use crate::device::{Device, DeviceCapabilities, DeviceKind, DeviceMemory};
use crate::ffi::guard::{guarded, or_logged};
use crate::ffi::string::from_c;
use crate::plan::Bytes;

/// A report about this library, its build, and the devices of this machine. [`Display`](fmt::Display) formats it for
/// people; with the feature `serde` it can be serialised.
///
/// ```
/// let report = llama_core::device::SystemReport::new();
/// assert_eq!(report.llama_cpp, llama_core::version());
/// println!("{report}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SystemReport {
    /// The version of this crate.
    pub llama_core: String,
    /// The version of llama.cpp.
    pub llama_cpp: String,
    /// The version of ggml.
    pub ggml: String,
    /// The commit that ggml was built from, `unknown` if it was built from a package.
    pub ggml_commit: String,
    /// The platform, for example `linux x86_64`.
    pub target: String,
    /// Whether this crate was compiled with debug assertions.
    pub debug: bool,
    /// The cargo features that affect how llama.cpp is built.
    pub features: Vec<&'static str>,
    /// Number of processors that this process may use.
    pub processors: usize,
    /// Whether model files can be memory-mapped.
    pub mmap: bool,
    /// Whether memory can be locked against swapping.
    pub mlock: bool,
    /// Whether there is a device to which layers can be offloaded.
    pub gpu_offload: bool,
    /// Whether devices of other machines can be used.
    pub rpc: bool,
    /// Maximum number of devices for one model.
    pub max_devices: usize,
    /// The backends, in ggml's order.
    pub backends: Vec<BackendReport>,
}

/// The part of a [`SystemReport`] about one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BackendReport {
    /// Name of the backend, for example `CPU`.
    pub name: String,
    /// Features that the backend was compiled with or has found: for the CPU, the instruction sets.
    pub features: Vec<BackendFeature>,
    /// Devices of the backend.
    pub devices: Vec<DeviceReport>,
}

/// The part of a [`SystemReport`] about one device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DeviceReport {
    /// Short name, for example `CPU` or `CUDA0`.
    pub name: String,
    /// Name of the hardware.
    pub description: String,
    /// Kind of hardware.
    pub kind: DeviceKind,
    /// Identifier of the hardware, if there is one.
    pub id: Option<String>,
    /// Memory in bytes.
    pub memory: DeviceMemory,
    /// Capabilities besides computing.
    pub capabilities: DeviceCapabilities,
}

impl SystemReport {
    /// Creates a report about this machine now. Corresponds to `ggml_version` and `ggml_commit`, and to the
    /// functions of its parts.
    #[must_use]
    pub fn new() -> Self {
        backend::init();
        // SAFETY: both take no arguments.
        let (ggml, commit) = unsafe { (guarded!(ggml_version()), guarded!(ggml_commit())) };
        let text = |address| {
            let address = or_logged(address, core::ptr::null());
            // SAFETY: NULL or a string literal (ggml.c).
            unsafe { from_c(address) }.unwrap_or_default()
        };
        Self {
            llama_core: env!("CARGO_PKG_VERSION").to_owned(),
            llama_cpp: crate::version(),
            ggml: text(ggml),
            ggml_commit: text(commit),
            target: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            debug: cfg!(debug_assertions),
            features: features(),
            processors: std::thread::available_parallelism().map_or(1, core::num::NonZero::get),
            mmap: crate::device::supports_mmap(),
            mlock: crate::device::supports_mlock(),
            gpu_offload: crate::device::supports_gpu_offload(),
            rpc: crate::device::supports_rpc(),
            max_devices: max_devices(),
            backends: backend_regs().iter().map(BackendReport::new).collect(),
        }
    }

    /// Returns the devices of all backends.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceReport> {
        self.backends.iter().flat_map(|backend| &backend.devices)
    }
}

impl Default for SystemReport {
    fn default() -> Self {
        Self::new()
    }
}

impl BackendReport {
    fn new(backend: &BackendReg) -> Self {
        let devices = backend.devices().iter().map(DeviceReport::new).collect();
        Self { name: backend.name(), features: backend.features(), devices }
    }
}

impl DeviceReport {
    fn new(device: &Device) -> Self {
        Self {
            name: device.name(),
            description: device.description(),
            kind: device.kind(),
            id: device.id(),
            memory: device.memory(),
            capabilities: device.capabilities(),
        }
    }
}

/// Returns the features of this crate that llama-sys passes on to llama.cpp's build.
fn features() -> Vec<&'static str> {
    let all = [
        ("cuda", cfg!(feature = "cuda")),
        ("hip", cfg!(feature = "hip")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("metal", cfg!(feature = "metal")),
        ("blas", cfg!(feature = "blas")),
        ("rpc", cfg!(feature = "rpc")),
        ("openmp", cfg!(feature = "openmp")),
        ("native", cfg!(feature = "native")),
        ("shared", cfg!(feature = "shared")),
        ("dynamic-backends", cfg!(feature = "dynamic-backends")),
        ("dynamic", cfg!(feature = "dynamic")),
    ];
    all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
}

impl fmt::Display for SystemReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let debug = if self.debug { ", with debug assertions" } else { "" };
        writeln!(f, "llama-core {} on {}{debug}", self.llama_core, self.target)?;
        writeln!(f, "llama.cpp {}, ggml {} ({})", self.llama_cpp, self.ggml, self.ggml_commit)?;
        writeln!(f, "built with: {}", or_none(&self.features.join(", ")))?;
        let supported = [
            ("mmap", self.mmap),
            ("mlock", self.mlock),
            ("GPU offload", self.gpu_offload),
            ("RPC", self.rpc),
        ];
        let supported: Vec<_> = supported.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        writeln!(f, "supports: {}", or_none(&supported.join(", ")))?;
        write!(f, "processors: {}", self.processors)?;
        self.backends.iter().try_for_each(|backend| write!(f, "\n{backend}"))
    }
}

impl fmt::Display for BackendReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backend {}", self.name)?;
        for (index, feature) in self.features.iter().enumerate() {
            write!(f, "{} {feature}", if index == 0 { ":" } else { "," })?;
        }
        self.devices.iter().try_for_each(|device| write!(f, "\n  {device}"))
    }
}

impl fmt::Display for BackendFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.as_str() {
            "1" => write!(f, "{}", self.name),
            value => write!(f, "{}={value}", self.name),
        }
    }
}

impl fmt::Display for DeviceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, description, memory, .. } = self;
        write!(f, "{name}: {description}, ")?;
        if let Some(id) = &self.id {
            write!(f, "{id}, ")?;
        }
        write!(f, "{} of {} free", Bytes(memory.free as u64), Bytes(memory.total as u64))
    }
}

fn or_none(list: &str) -> &str {
    if list.is_empty() { "nothing" } else { list }
}

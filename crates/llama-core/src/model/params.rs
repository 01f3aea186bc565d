//! How a model is loaded.

use core::fmt;
use core::str::FromStr;

use super::kv_override::{KvOverride, KvValue};
use super::raw_params::RawModelParams;
use super::tensor_override::{TensorOverride, TensorPlace};
use crate::device::Device;
use crate::error::{Error, ParameterProblem, Result};

/// How tensors are read from the file. Corresponds to `llama_load_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadMode {
    /// llama.cpp's choice for the devices in use.
    #[default]
    Auto,
    /// Read into memory. With [`LazyMode::Off`] nothing is read from the file once the model is loaded, so that it may change
    /// or go.
    Read,
    /// Map the file: fast to start, and shared between processes.
    ///
    /// The file must stay as it is while the model lives. One that is written to changes the model; when one is shortened, the
    /// system ends the process (SIGBUS) at the next access to a page that is gone, which no check can prevent. Replacing a
    /// file by another one with a rename is harmless. For files that may change use [`LoadMode::Read`] with
    /// [`LazyMode::Off`]; [`LoadMode::Auto`] may map too.
    Mmap,
    /// Read into memory and keep it from being swapped out.
    Mlock,
    /// Map the file and keep it from being swapped out.
    MmapMlock,
    /// Read around the system's cache, where possible.
    DirectIo,
}

impl LoadMode {
    const ALL: [Self; 6] = [Self::Auto, Self::Read, Self::Mmap, Self::Mlock, Self::MmapMlock, Self::DirectIo];

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Read => "none",
            Self::Mmap => "mmap",
            Self::Mlock => "mlock",
            Self::MmapMlock => "mmap+mlock",
            Self::DirectIo => "dio",
        }
    }

    /// Whether tensors may stay in the mapped file instead of memory of their own.
    pub(crate) fn maps(self) -> bool {
        matches!(self, Self::Auto | Self::Mmap | Self::MmapMlock)
    }
}

/// llama.cpp's name of the mode. Corresponds to `llama_load_mode_name`.
impl fmt::Display for LoadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Reads llama.cpp's name of a mode. Corresponds to `llama_load_mode_from_str`, which aborts for others.
impl FromStr for LoadMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            invalid("load_mode", &text, format!("one of {names}"))
        })
    }
}

/// Whether large tensors that few rows are needed of are read on demand: the embeddings of single tokens and layers
/// that some architectures have. Corresponds to `llama_lazy_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LazyMode {
    /// Never.
    Off,
    /// Those over 4 GiB, where files can be mapped.
    #[default]
    Auto,
    /// Always, where files can be mapped.
    On,
}

/// How a model is divided among several GPUs. Corresponds to `llama_split_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitMode {
    /// One GPU, the main one.
    None,
    /// Whole layers, with their part of the memory.
    #[default]
    Layer,
    /// Rows of the weight matrices.
    Row,
    /// Tensor parallelism. Some architectures cannot: they are refused when they are loaded.
    Tensor,
}

/// How a model is loaded. The defaults are llama.cpp's. Corresponds to `llama_model_params`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelParams {
    pub(super) devices: Option<Vec<Device>>,
    pub(super) n_gpu_layers: i32,
    pub(super) split_mode: SplitMode,
    pub(super) main_gpu: u32,
    pub(super) tensor_split: Vec<f32>,
    pub(super) tensor_overrides: Vec<TensorOverride>,
    pub(super) kv_overrides: Vec<KvOverride>,
    pub(super) load_mode: LoadMode,
    pub(super) lazy_mode: LazyMode,
    pub(super) vocab_only: bool,
    pub(super) no_alloc: bool,
    pub(super) check_tensors: bool,
    pub(super) use_extra_bufts: bool,
    pub(super) no_host: bool,
    pub(super) load_mtp: bool,
}

impl Default for ModelParams {
    fn default() -> Self {
        Self {
            devices: None,
            n_gpu_layers: -1,
            split_mode: SplitMode::default(),
            main_gpu: 0,
            tensor_split: Vec::new(),
            tensor_overrides: Vec::new(),
            kv_overrides: Vec::new(),
            load_mode: LoadMode::default(),
            lazy_mode: LazyMode::default(),
            vocab_only: false,
            no_alloc: false,
            check_tensors: false,
            use_extra_bufts: true,
            no_host: false,
            load_mtp: false,
        }
    }
}

impl ModelParams {
    /// The GPUs to use, in this order. Without it, all that there are; an empty list is none. The CPU always takes part
    /// and is not named; a device is named once.
    #[must_use]
    pub fn devices(mut self, devices: impl IntoIterator<Item = Device>) -> Self {
        self.devices = Some(devices.into_iter().collect());
        self
    }

    /// How many layers to put on GPUs, from the last one. `None`, the default: all. `Some(0)`: none.
    #[must_use]
    pub fn n_gpu_layers(mut self, layers: Option<u32>) -> Self {
        self.n_gpu_layers = layers.map_or(-1, |layers| i32::try_from(layers).unwrap_or(i32::MAX));
        self
    }

    /// How to divide the model among several GPUs. Default: by layers.
    #[must_use]
    pub fn split_mode(mut self, mode: SplitMode) -> Self {
        self.split_mode = mode;
        self
    }

    /// The GPU for everything when the model is not divided, an index into the GPUs. Default: 0.
    #[must_use]
    pub fn main_gpu(mut self, gpu: u32) -> Self {
        self.main_gpu = gpu;
        self
    }

    /// The parts of the model that the GPUs get, in proportion to each other: `[3.0, 1.0]` is three quarters and one.
    /// At most [`max_devices`](crate::max_devices) numbers, none negative. Default, and what all zeros mean: by
    /// their free memory.
    #[must_use]
    pub fn tensor_split(mut self, proportions: impl Into<Vec<f32>>) -> Self {
        self.tensor_split = proportions.into();
        self
    }

    /// Where to put the tensors whose name a pattern matches anywhere; the first of several patterns that match
    /// counts. The pattern is an ECMAScript regular expression as C++ has it, at most 256 bytes; it is matched with
    /// names such as `blk.0.ffn_down_exps.weight`. At most
    /// [`max_tensor_overrides`](crate::max_tensor_overrides) of them.
    ///
    /// A pattern that backtracks a lot, such as `(a+)+$`, makes loading slow.
    #[must_use]
    pub fn tensor_override(mut self, pattern: impl Into<String>, place: impl Into<TensorPlace>) -> Self {
        self.tensor_overrides.push(TensorOverride { pattern: pattern.into(), place: place.into() });
        self
    }

    /// Keeps the experts of a mixture-of-experts model on the CPU: most of its weights, of which each token needs few.
    #[must_use]
    pub fn experts_on_cpu(self) -> Self {
        self.tensor_override(r"\.ffn_[a-z_]*exps\.", TensorPlace::Cpu)
    }

    /// Reads a metadata value as if the file had another one, or had it at all. The key has at most 127 bytes, as has
    /// a text; the value is of the type that the file and llama.cpp have for the key. Overrides are not seen in
    /// [`Model::metadata`](crate::Model::metadata). Of several for one key the first counts.
    ///
    /// Nobody checks that the model makes sense with the value: it may compute nonsense, or compute for ever.
    #[must_use]
    pub fn kv_override(mut self, key: impl Into<String>, value: impl Into<KvValue>) -> Self {
        self.kv_overrides.push(KvOverride { key: key.into(), value: value.into() });
        self
    }

    /// How to read the file. Default: llama.cpp's choice.
    #[must_use]
    pub fn load_mode(mut self, mode: LoadMode) -> Self {
        self.load_mode = mode;
        self
    }

    /// Whether to read large lookup tables on demand. Default: those over 4 GiB.
    #[must_use]
    pub fn lazy_mode(mut self, mode: LazyMode) -> Self {
        self.lazy_mode = mode;
        self
    }

    /// Loads no weights, only metadata and vocabulary. Such a model cannot make contexts. What it says of itself is read
    /// from the metadata and the list of tensors: numbers that the file does not state are 0, and what has no number for
    /// that is refused or `None`. Default: false.
    #[must_use]
    pub fn vocab_only(mut self, vocab_only: bool) -> Self {
        self.vocab_only = vocab_only;
        self
    }

    /// Read everything but the data of the tensors: layers, sizes and parameters are known, and no memory is taken for
    /// weights. Such a model cannot make contexts. Default: false.
    #[must_use]
    pub fn no_alloc(mut self, no_alloc: bool) -> Self {
        self.no_alloc = no_alloc;
        self
    }

    /// Look at every value of every tensor for NaN and infinities while loading. Slow. Default: false.
    #[must_use]
    pub fn check_tensors(mut self, check: bool) -> Self {
        self.check_tensors = check;
        self
    }

    /// Whether weights may be rearranged for the instructions of this CPU where that is faster, which takes them out of the
    /// mapped file. Such weights cannot be read back, as [`Model::save`](crate::Model::save) has to. Default: true.
    #[must_use]
    pub fn use_extra_bufts(mut self, use_extra_bufts: bool) -> Self {
        self.use_extra_bufts = use_extra_bufts;
        self
    }

    /// Whether weights on the CPU avoid memory that is pinned for a GPU, so that they may be rearranged
    /// ([`use_extra_bufts`](ModelParams::use_extra_bufts)). Default: false.
    #[must_use]
    pub fn no_host(mut self, no_host: bool) -> Self {
        self.no_host = no_host;
        self
    }

    /// Whether to load the layers that predict several tokens at once, where the model has them. Default: false.
    #[must_use]
    pub fn load_mtp(mut self, load_mtp: bool) -> Self {
        self.load_mtp = load_mtp;
        self
    }

    /// Whether only the vocabulary is loaded.
    #[must_use]
    pub fn is_vocab_only(&self) -> bool {
        self.vocab_only
    }

    /// Whether everything but the weights is loaded.
    #[must_use]
    pub fn is_no_alloc(&self) -> bool {
        self.no_alloc
    }

    /// Whether the layers that predict several tokens at once are loaded, where the model has them.
    #[must_use]
    pub fn loads_mtp(&self) -> bool {
        self.load_mtp
    }

    /// Whether the rows of tensors are divided among devices.
    pub(crate) fn splits_tensors(&self) -> bool {
        self.split_mode == SplitMode::Tensor
    }

    /// Whether metadata overrides set a key with such an end.
    pub(super) fn overrides_key(&self, end: &str) -> bool {
        self.kv_overrides.iter().any(|overridden| overridden.key.ends_with(end))
    }

    /// Refuses metadata overrides of another type than the file's values.
    pub(super) fn check_types(&self, metadata: &llama_gguf::Metadata) -> Result<()> {
        self.kv_overrides.iter().try_for_each(|overridden| overridden.check_type(metadata))
    }

    /// Whether weights on the CPU may stay in the mapped file.
    pub(crate) fn maps_files(&self) -> bool {
        self.load_mode.maps() && crate::supports_mmap()
    }

    /// The parameters as C wants them, with what they point to.
    ///
    /// # Errors
    ///
    /// What C asserts on, ignores or misreads.
    pub(crate) fn to_raw(&self) -> Result<RawModelParams> {
        RawModelParams::new(self)
    }
}

pub(super) fn invalid(name: &'static str, value: &(impl fmt::Display + ?Sized), expected: String) -> Error {
    ParameterProblem::new(name, value, expected).into()
}

//! The parameters with which a model is loaded.

use core::fmt;
use core::str::FromStr;

use super::kv_override::{KvOverride, KvValue};
use super::raw_params::RawModelParams;
use super::tensor_override::{TensorOverride, TensorPlace};
use crate::device::{Device, Links};
use crate::error::{Error, ParameterProblem, Result};

/// The way in which tensors are read from the file. Corresponds to `llama_load_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadMode {
    /// llama.cpp's choice for the devices in use.
    #[default]
    Auto,
    /// Read into memory. With [`LazyMode::Off`] nothing is read from the file after the model is loaded, so the file
    /// may change or be deleted.
    Read,
    /// Map the file: fast to start, and shared between processes.
    ///
    /// The file must not change while the model lives. Writing to it changes the model. If it is shortened, the
    /// system ends the process (SIGBUS) at the next access to a missing page, which no check can prevent. Replacing
    /// the file by a rename is harmless. For files that may change use [`LoadMode::Read`] with [`LazyMode::Off`];
    /// [`LoadMode::Auto`] may also map.
    Mmap,
    /// Read into memory and keep it from being swapped out.
    Mlock,
    /// Map the file and keep it from being swapped out.
    MmapMlock,
    /// Read while bypassing the system's cache, where possible.
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

    /// Returns whether tensors may stay in the mapped file instead of in separate memory.
    pub(crate) fn maps(self) -> bool {
        matches!(self, Self::Auto | Self::Mmap | Self::MmapMlock)
    }
}

/// Writes llama.cpp's name of the mode. Corresponds to `llama_load_mode_name`.
impl fmt::Display for LoadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Parses llama.cpp's name of a mode. Corresponds to `llama_load_mode_from_str`, which aborts for other texts.
impl FromStr for LoadMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            invalid("load_mode", &text, format!("one of {names}"))
        })
    }
}

/// The choice of large tensors that are read on demand because few of their rows are needed: the embeddings of
/// single tokens and layers in some architectures. Corresponds to `llama_lazy_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LazyMode {
    /// None.
    Off,
    /// Tensors of more than 4 GiB, where files can be mapped.
    #[default]
    Auto,
    /// All such tensors, where files can be mapped.
    On,
}

/// The way in which a model is divided among several GPUs. Corresponds to `llama_split_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitMode {
    /// One GPU, the main GPU.
    None,
    /// Whole layers, with their part of the memory.
    #[default]
    Layer,
    /// Rows of the weight matrices.
    Row,
    /// Tensor parallelism. Models of architectures that do not support it are refused when they are loaded.
    Tensor,
}

/// The parameters with which a model is loaded. The defaults are llama.cpp's. Corresponds to `llama_model_params`.
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
    /// Sets the GPUs to use, in this order. An empty list means none. The CPU always takes part and must not be
    /// named, and each device may be named only once. Default: all GPUs.
    #[must_use]
    pub fn devices(mut self, devices: impl IntoIterator<Item = Device>) -> Self {
        self.devices = Some(devices.into_iter().collect());
        self
    }

    /// Sets the number of layers to put on GPUs, from the last one. `None` means all layers. Default: `None`.
    #[must_use]
    pub fn n_gpu_layers(mut self, layers: Option<u32>) -> Self {
        self.n_gpu_layers = layers.map_or(-1, |layers| i32::try_from(layers).unwrap_or(i32::MAX));
        self
    }

    /// Sets how the model is divided among several GPUs. Default: by layers.
    #[must_use]
    pub fn split_mode(mut self, mode: SplitMode) -> Self {
        self.split_mode = mode;
        self
    }

    /// Sets the GPU for everything if the model is not divided, as an index into the GPUs. Default: 0.
    #[must_use]
    pub fn main_gpu(mut self, gpu: u32) -> Self {
        self.main_gpu = gpu;
        self
    }

    /// Sets the parts of the model that the GPUs get, in proportion to each other: `[3.0, 1.0]` means three quarters
    /// and one quarter. At most [`max_devices`](crate::device::max_devices) numbers, none negative. All zeros mean the
    /// default. Default: in proportion to their free memory.
    #[must_use]
    pub fn tensor_split(mut self, proportions: impl Into<Vec<f32>>) -> Self {
        self.tensor_split = proportions.into();
        self
    }

    /// Sets the place of the tensors whose name contains a match of a pattern. The first of several matching
    /// patterns counts. The pattern is a C++ regular expression (ECMAScript) of at most 256 bytes; it is matched
    /// with names such as `blk.0.ffn_down_exps.weight`. At most
    /// [`max_tensor_overrides`](crate::model::max_tensor_overrides) patterns can be set.
    ///
    /// A pattern that backtracks a lot, such as `(a+)+$`, makes loading slow.
    #[must_use]
    pub fn tensor_override(mut self, pattern: impl Into<String>, place: impl Into<TensorPlace>) -> Self {
        self.tensor_overrides.push(TensorOverride { pattern: pattern.into(), place: place.into() });
        self
    }

    /// Keeps the experts of a mixture-of-experts model on the CPU. They are most of its weights, and each token
    /// needs few of them.
    #[must_use]
    pub fn experts_on_cpu(self) -> Self {
        self.tensor_override(r"\.ffn_[a-z_]*exps\.", TensorPlace::Cpu)
    }

    /// Replaces a metadata value of the file, or adds one. The key has at most 127 bytes, and so has a text. The
    /// value must have the type that the file and llama.cpp have for the key. Overrides do not appear in
    /// [`Model::metadata`](crate::Model::metadata). The first of several for one key counts.
    ///
    /// The value is not checked against the model: a wrong one may compute nonsense, or compute for ever.
    #[must_use]
    pub fn kv_override(mut self, key: impl Into<String>, value: impl Into<KvValue>) -> Self {
        self.kv_overrides.push(KvOverride { key: key.into(), value: value.into() });
        self
    }

    /// Sets how the file is read. Default: llama.cpp's choice.
    #[must_use]
    pub fn load_mode(mut self, mode: LoadMode) -> Self {
        self.load_mode = mode;
        self
    }

    /// Sets which large lookup tables are read on demand. Default: tables of more than 4 GiB.
    #[must_use]
    pub fn lazy_mode(mut self, mode: LazyMode) -> Self {
        self.lazy_mode = mode;
        self
    }

    /// Sets whether to load only metadata and vocabulary, without weights. Such a model cannot create contexts. Its
    /// properties are read from the metadata and the list of tensors: numbers that the file does not state are 0,
    /// and properties that cannot be 0 are refused or `None`. Default: false.
    #[must_use]
    pub fn vocab_only(mut self, vocab_only: bool) -> Self {
        self.vocab_only = vocab_only;
        self
    }

    /// Sets whether to read everything except the data of the tensors: layers, sizes and parameters are known, and
    /// no memory is taken for weights. Such a model cannot create contexts. Default: false.
    #[must_use]
    pub fn no_alloc(mut self, no_alloc: bool) -> Self {
        self.no_alloc = no_alloc;
        self
    }

    /// Sets whether every value of every tensor is checked for NaN and infinities while loading, which is slow.
    /// Default: false.
    #[must_use]
    pub fn check_tensors(mut self, check: bool) -> Self {
        self.check_tensors = check;
        self
    }

    /// Sets whether weights may be rearranged for the instructions of this CPU if that is faster, which takes them
    /// out of the mapped file. Such weights cannot be read back, which [`Model::save`](crate::Model::save) needs.
    /// Default: true.
    #[must_use]
    pub fn use_extra_bufts(mut self, use_extra_bufts: bool) -> Self {
        self.use_extra_bufts = use_extra_bufts;
        self
    }

    /// Sets whether weights on the CPU are kept out of memory that is pinned for a GPU, so that they may be
    /// rearranged ([`use_extra_bufts`](ModelParams::use_extra_bufts)). Default: false.
    #[must_use]
    pub fn no_host(mut self, no_host: bool) -> Self {
        self.no_host = no_host;
        self
    }

    /// Sets whether to load the layers that predict several tokens at once, if the model has them. Default: false.
    #[must_use]
    pub fn load_mtp(mut self, load_mtp: bool) -> Self {
        self.load_mtp = load_mtp;
        self
    }

    /// Returns the servers of the devices that are named.
    pub(super) fn links(&self) -> Links {
        let named = self.devices.iter().flatten().copied();
        let overridden = self.tensor_overrides.iter().filter_map(|tensors| match tensors.place {
            TensorPlace::Device(device) => Some(device),
            TensorPlace::Cpu => None,
        });
        Links::of(named.chain(overridden))
    }

    /// Returns whether only the vocabulary is loaded.
    #[must_use]
    pub fn is_vocab_only(&self) -> bool {
        self.vocab_only
    }

    /// Returns whether everything except the weights is loaded.
    #[must_use]
    pub fn is_no_alloc(&self) -> bool {
        self.no_alloc
    }

    /// Returns whether the layers that predict several tokens at once are loaded, if the model has them.
    #[must_use]
    pub fn loads_mtp(&self) -> bool {
        self.load_mtp
    }

    /// Returns whether the rows of tensors are divided among devices.
    pub(crate) fn splits_tensors(&self) -> bool {
        self.split_mode == SplitMode::Tensor
    }

    /// Returns whether a metadata override sets a key with this suffix.
    pub(super) fn overrides_key(&self, end: &str) -> bool {
        self.kv_overrides.iter().any(|overridden| overridden.key.ends_with(end))
    }

    /// Refuses metadata overrides of another type than the file's values.
    pub(super) fn check_types(&self, metadata: &llama_gguf::Metadata) -> Result<()> {
        self.kv_overrides.iter().try_for_each(|overridden| overridden.check_type(metadata))
    }

    /// Returns whether weights on the CPU may stay in the mapped file.
    pub(crate) fn maps_files(&self) -> bool {
        self.load_mode.maps() && crate::device::supports_mmap()
    }

    /// Converts to C's parameters, together with the data to which they point.
    ///
    /// # Errors
    ///
    /// Values that C asserts on, ignores or misreads.
    pub(crate) fn to_raw(&self) -> Result<RawModelParams> {
        RawModelParams::new(self)
    }
}

pub(super) fn invalid(name: &'static str, value: &(impl fmt::Display + ?Sized), expected: String) -> Error {
    ParameterProblem::new(name, value, expected).into()
}

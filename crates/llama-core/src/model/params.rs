//! How a model is loaded.

use crate::error::{ErrorKind, Result};

/// How tensors are read from the file. Corresponds to `llama_load_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadMode {
    /// llama.cpp's choice for the devices in use.
    #[default]
    Auto,
    /// Read into memory.
    Read,
    /// Map the file: fast to start, and shared between processes.
    Mmap,
    /// Read into memory and keep it from being swapped out.
    Mlock,
    /// Map the file and keep it from being swapped out.
    MmapMlock,
    /// Read around the system's cache, where possible.
    DirectIo,
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
    /// Tensor parallelism.
    Tensor,
}

/// How a model is loaded. The defaults are llama.cpp's. Corresponds to `llama_model_params`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelParams {
    n_gpu_layers: i32,
    split_mode: SplitMode,
    main_gpu: u32,
    load_mode: LoadMode,
    vocab_only: bool,
    check_tensors: bool,
    extra_buffers: bool,
}

impl Default for ModelParams {
    fn default() -> Self {
        Self {
            n_gpu_layers: -1,
            split_mode: SplitMode::default(),
            main_gpu: 0,
            load_mode: LoadMode::default(),
            vocab_only: false,
            check_tensors: false,
            extra_buffers: true,
        }
    }
}

impl ModelParams {
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

    /// How to read the file. Default: llama.cpp's choice.
    #[must_use]
    pub fn load_mode(mut self, mode: LoadMode) -> Self {
        self.load_mode = mode;
        self
    }

    /// Load no weights, only metadata and vocabulary. Such a model cannot make contexts. Default: false.
    #[must_use]
    pub fn vocab_only(mut self, vocab_only: bool) -> Self {
        self.vocab_only = vocab_only;
        self
    }

    /// Look at every value of every tensor for NaN and infinities while loading. Slow. Default: false.
    #[must_use]
    pub fn check_tensors(mut self, check: bool) -> Self {
        self.check_tensors = check;
        self
    }

    /// Rearrange weights for the instructions of this CPU where that is faster. Such weights cannot be read back,
    /// as [`Model::save`](crate::Model::save) has to. Default: true.
    #[must_use]
    pub fn extra_buffers(mut self, extra: bool) -> Self {
        self.extra_buffers = extra;
        self
    }

    /// Whether only the vocabulary is loaded.
    #[must_use]
    pub fn is_vocab_only(&self) -> bool {
        self.vocab_only
    }

    /// Whether weights may be rearranged.
    pub(crate) fn has_extra_buffers(&self) -> bool {
        self.extra_buffers
    }

    pub(crate) fn to_raw(&self) -> Result<llama_sys::llama_model_params> {
        use llama_sys::{llama_load_mode as Load, llama_split_mode as Split};
        // SAFETY: takes no arguments and returns a struct of constants.
        let mut raw = unsafe { llama_sys::llama_model_default_params() };
        raw.n_gpu_layers = self.n_gpu_layers;
        raw.split_mode = match self.split_mode {
            SplitMode::None => Split::LLAMA_SPLIT_MODE_NONE,
            SplitMode::Layer => Split::LLAMA_SPLIT_MODE_LAYER,
            SplitMode::Row => Split::LLAMA_SPLIT_MODE_ROW,
            SplitMode::Tensor => Split::LLAMA_SPLIT_MODE_TENSOR,
        };
        raw.main_gpu = i32::try_from(self.main_gpu).map_err(|_| ErrorKind::InvalidParameter {
            name: "main_gpu",
            value: self.main_gpu.to_string(),
            reason: format!("it is an index of a GPU, 0..{}", i32::MAX),
        })?;
        raw.load_mode = match self.load_mode {
            LoadMode::Auto => Load::LLAMA_LOAD_MODE_AUTO,
            LoadMode::Read => Load::LLAMA_LOAD_MODE_NONE,
            LoadMode::Mmap => Load::LLAMA_LOAD_MODE_MMAP,
            LoadMode::Mlock => Load::LLAMA_LOAD_MODE_MLOCK,
            LoadMode::MmapMlock => Load::LLAMA_LOAD_MODE_MMAP_MLOCK,
            LoadMode::DirectIo => Load::LLAMA_LOAD_MODE_DIRECT_IO,
        };
        raw.vocab_only = self.vocab_only;
        raw.check_tensors = self.check_tensors;
        raw.use_extra_bufts = self.extra_buffers;
        Ok(raw)
    }
}

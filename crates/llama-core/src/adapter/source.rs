//! Where an adapter comes from, and C's functions for it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use llama_gguf::Gguf;

use crate::error::Result;
use crate::ffi::file::CFile;
use crate::ffi::guard::guard;
use crate::ffi::string::path_to_c;
use crate::model::Model;

/// A GGUF file, by itself or inside a larger one.
pub(super) enum AdapterSource {
    File(PathBuf),
    Embedded { path: PathBuf, offset: u64 },
    Handle { file: File, offset: u64 },
}

impl AdapterSource {
    /// The file, `None` for an open one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Embedded { path, .. } => Some(path),
            Self::Handle { .. } => None,
        }
    }

    /// What errors call it.
    pub(super) fn name(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Embedded { path, offset } => format!("byte {offset} of {}", path.display()).into(),
            Self::Handle { offset, .. } => format!("byte {offset} of an open file").into(),
        }
    }

    /// Refuses what is missing, not whole or malformed; the head otherwise.
    pub(super) fn check(&self) -> Result<Gguf, llama_gguf::Error> {
        match self {
            Self::File(path) => llama_gguf::validate_structure(path),
            Self::Embedded { offset, .. } | Self::Handle { offset, .. } => {
                llama_gguf::validate_embedded(&mut self.open()?, *offset)
            }
        }
    }

    /// Has C load it for a model that has weights, under the lock of its adapters; NULL when C refuses it, and its log
    /// says why. Corresponds to `llama_adapter_lora_init` and `llama_adapter_lora_init_from_file_ptr`.
    pub(super) fn init(&self, model: &Model) -> Result<*mut llama_sys::llama_adapter_lora> {
        if let Self::File(path) = self {
            let path = path_to_c(path)?;
            // SAFETY: the model is valid and the path NUL-terminated.
            return guard(|| unsafe { llama_sys::llama_adapter_lora_init(model.raw(), path.as_ptr()) });
        }
        let failed = |error| super::file_error(self, error);
        let stream = CFile::open(self.open().map_err(failed)?, self.offset());
        let stream = stream.map_err(|cause| failed(cannot_read(cause)))?;
        // SAFETY: the model is valid; the stream is open and C reads all of the adapter from it during the call
        // (llama-adapter.cpp).
        guard(|| unsafe { llama_sys::llama_adapter_lora_init_from_file_ptr(model.raw(), stream.raw()) })
    }

    fn open(&self) -> Result<File, llama_gguf::Error> {
        match self {
            Self::File(path) | Self::Embedded { path, .. } => Ok(llama_gguf::open_regular(path)?.0),
            Self::Handle { file, .. } => file.try_clone().map_err(cannot_read),
        }
    }

    fn offset(&self) -> u64 {
        match self {
            Self::File(_) => 0,
            Self::Embedded { offset, .. } | Self::Handle { offset, .. } => *offset,
        }
    }
}

fn cannot_read(cause: io::Error) -> llama_gguf::Error {
    llama_gguf::Error::Read { offset: 0, cause }
}

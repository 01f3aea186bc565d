//! Where an adapter comes from, which is where models come from too, and C's functions for it.

use std::path::PathBuf;

use llama_gguf::Gguf;

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::ffi::string::path_to_c;
use crate::model::{Model, ModelSource};

/// What errors call it.
pub(super) fn name(source: &ModelSource) -> PathBuf {
    match source {
        ModelSource::File(path) => path.clone(),
        _ => source.to_string().into(),
    }
}

pub(super) fn file_error(of: &ModelSource, source: llama_gguf::Error) -> Error {
    ErrorKind::AdapterFile { path: name(of), source }.into()
}

/// Refuses what is missing, not whole or malformed; the head otherwise.
pub(super) fn check(source: &ModelSource) -> Result<Gguf> {
    let checked = match source {
        ModelSource::File(path) => {
            // Paths that C cannot be given have errors of their own.
            path_to_c(path)?;
            llama_gguf::validate_structure(path)
        }
        _ => source.open().and_then(|mut file| llama_gguf::validate_embedded(&mut file, source.offset())),
    };
    checked.map_err(|error| file_error(source, error))
}

/// Has C load it for a model that has weights, under the lock of its adapters; NULL when C refuses it, and its log says why.
///
/// Corresponds to `llama_adapter_lora_init` and `llama_adapter_lora_init_from_file_ptr`.
pub(super) fn init(source: &ModelSource, model: &Model) -> Result<*mut llama_sys::llama_adapter_lora> {
    if let ModelSource::File(path) = source {
        let path = path_to_c(path)?;
        // SAFETY: the model is valid and has weights, its set of adapters is locked (`load`), the path is NUL-terminated.
        return unsafe { guarded!(llama_adapter_lora_init(model.raw(), path.as_ptr())) };
    }
    let stream = source.stream().map_err(|error| file_error(source, error))?;
    // SAFETY: the model as above; the stream is open and C reads all of the adapter from it during the call
    // (llama-adapter.cpp).
    unsafe { guarded!(llama_adapter_lora_init_from_file_ptr(model.raw(), stream.raw())) }
}

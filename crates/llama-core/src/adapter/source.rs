//! Where an adapter comes from, which is where models come from too, and C's functions for it.

use std::path::PathBuf;

use llama_gguf::Gguf;

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::ffi::string::path_to_c;
use crate::model::{Model, ModelSource, Opened, cannot_read};

/// What errors call it.
pub(super) fn name(source: &ModelSource) -> PathBuf {
    match source {
        ModelSource::File(path) => path.clone(),
        _ => source.to_string().into(),
    }
}

pub(super) fn file_error(of: &ModelSource, source: llama_gguf::Error) -> Error {
    ErrorKind::AdapterFile { path: name(of), cause: source }.into()
}

/// Opens it, and refuses what is missing, not whole or malformed; the file and its head otherwise.
pub(super) fn check(source: &ModelSource) -> Result<(Opened, Gguf)> {
    if let ModelSource::File(path) = source {
        // Paths that C cannot be given have errors of their own.
        path_to_c(path)?;
    }
    let checked = source.open().and_then(|opened| {
        let head = match source {
            ModelSource::File(path) => llama_gguf::validate_open_structure(path, opened.file()),
            _ => llama_gguf::validate_embedded(&mut opened.file(), source.offset()),
        };
        Ok((opened, head?))
    });
    checked.map_err(|error| file_error(source, error))
}

/// Has C load it for a model that has weights, under the lock of its adapters; NULL when C refuses it, and its log says why.
///
/// Corresponds to `llama_adapter_lora_init` and `llama_adapter_lora_init_from_file_ptr`.
pub(super) fn init(
    source: &ModelSource,
    opened: &Opened,
    model: &Model,
) -> Result<*mut llama_sys::llama_adapter_lora> {
    let stream = opened.stream(source.offset()).map_err(|cause| file_error(source, cannot_read(cause)))?;
    // SAFETY: the model is valid and has weights, and its set of adapters is locked (`load`); the stream is open, it is of the
    // file that was checked, and C reads all of the adapter from it during the call (llama-adapter.cpp,
    // `llama_adapter_lora_init_impl`).
    unsafe { guarded!(llama_adapter_lora_init_from_file_ptr(model.raw(), stream.raw())) }
}

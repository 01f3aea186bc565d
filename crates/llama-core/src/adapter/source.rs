//! Sources of adapters, which are those of models, and C's functions for them.

use std::path::PathBuf;

use llama_gguf::Gguf;

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::ffi::string::path_to_c;
use crate::model::{Model, ModelSource, Opened, cannot_read};

/// Returns the name of a source in error messages.
pub(super) fn name(source: &ModelSource) -> PathBuf {
    match source {
        ModelSource::File(path) => path.clone(),
        _ => source.to_string().into(),
    }
}

pub(super) fn file_error(of: &ModelSource, source: llama_gguf::Error) -> Error {
    ErrorKind::AdapterFile { path: name(of), cause: source }.into()
}

/// Opens a source, refuses a file that is missing, incomplete or malformed, and returns the file and its header.
pub(super) fn check(source: &ModelSource) -> Result<(Opened, Gguf)> {
    if let ModelSource::File(path) = source {
        // Paths that cannot be passed to C have their own errors.
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

/// Loads the adapter in C for a model that has weights, while its set of adapters is locked. Returns NULL if C
/// refuses it; C's log says why.
///
/// Corresponds to `llama_adapter_lora_init` and `llama_adapter_lora_init_from_file_ptr`.
pub(super) fn init(
    source: &ModelSource,
    opened: &Opened,
    model: &Model,
) -> Result<*mut llama_sys::llama_adapter_lora> {
    let stream = opened.stream(source.offset()).map_err(|cause| file_error(source, cannot_read(cause)))?;
    // SAFETY: the model is valid and has weights, and its set of adapters is locked (`load`); the stream is open and
    // belongs to the file that was checked, and C reads all of the adapter from it during the call
    // (llama-adapter.cpp, `llama_adapter_lora_init_impl`).
    unsafe { guarded!(llama_adapter_lora_init_from_file_ptr(model.raw(), stream.raw())) }
}

//! Model files that differ from the tiny models in their metadata.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::path::PathBuf;

use llama_gguf::{Gguf, Metadata, Writer};
use tempfile::TempDir;
use test_models::Tiny;

/// Returns a copy of a tiny model with other metadata.
pub(crate) fn with_metadata(tiny: Tiny, change: impl FnOnce(&mut Metadata)) -> Vec<u8> {
    let bytes = tiny.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let mut metadata = gguf.metadata().clone();
    change(&mut metadata);
    let mut writer = Writer::new();
    *writer.metadata_mut() = metadata;
    for tensor in gguf.tensors() {
        let name = tensor.name().to_string();
        let data = gguf.tensor_data(&bytes, &name).unwrap();
        writer.tensor(name, tensor.tensor_type(), tensor.shape(), data).unwrap();
    }
    let mut out = Vec::new();
    writer.write_to(&mut out).unwrap();
    out
}

/// Returns a folder with one model file.
pub(crate) fn saved(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

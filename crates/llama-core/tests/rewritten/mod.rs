//! Model files that differ from the tiny models in a few places.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::path::{Path, PathBuf};

use llama_gguf::{Gguf, Metadata, Split, Writer};
use tempfile::TempDir;
use test_models::Tiny;

/// Returns a copy of a tiny model with other metadata.
pub(crate) fn with_metadata(tiny: Tiny, change: impl FnOnce(&mut Metadata)) -> Vec<u8> {
    let bytes = tiny.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let mut metadata = gguf.metadata().clone();
    change(&mut metadata);
    let names: Vec<String> = gguf.tensors().iter().map(|tensor| tensor.name().to_string()).collect();
    write(&bytes, &gguf, metadata, &names)
}

/// Returns a folder with one model file.
pub(crate) fn saved(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Returns the parts of a tiny model, the metadata in the first. `change` is given the number of each part and its
/// metadata.
pub(crate) fn parts(tiny: Tiny, count: u16, mut change: impl FnMut(u16, &mut Metadata)) -> Vec<Vec<u8>> {
    let bytes = tiny.bytes();
    let gguf = Gguf::from_bytes(&bytes).unwrap();
    let names: Vec<String> = gguf.tensors().iter().map(|tensor| tensor.name().to_string()).collect();
    let tensors = i32::try_from(names.len()).unwrap();
    let share = names.len().div_ceil(usize::from(count));
    (0..count)
        .zip(names.chunks(share))
        .map(|(number, names)| {
            let mut metadata = if number == 0 { gguf.metadata().clone() } else { Metadata::new() };
            metadata.set(Split::NUMBER, number).set(Split::COUNT, count).set(Split::TENSORS, tensors);
            change(number, &mut metadata);
            write(&bytes, &gguf, metadata, names)
        })
        .collect()
}

/// Writes parts under the names that llama.cpp gives them, and returns the folder and the paths.
pub(crate) fn saved_parts(parts: &[Vec<u8>]) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let count = u32::try_from(parts.len()).unwrap();
    let name = |index| llama_core::split_path(folder.path().join("model"), index, count).unwrap();
    let paths: Vec<PathBuf> = (0..count).map(name).collect();
    write_all(&paths, parts);
    (folder, paths)
}

pub(crate) fn write_all(paths: &[impl AsRef<Path>], parts: &[Vec<u8>]) {
    for (path, bytes) in paths.iter().zip(parts) {
        std::fs::write(path, bytes).unwrap();
    }
}

fn write(bytes: &[u8], gguf: &Gguf, metadata: Metadata, names: &[String]) -> Vec<u8> {
    let mut writer = Writer::new();
    *writer.metadata_mut() = metadata;
    for name in names {
        let info = gguf.tensor(name).unwrap();
        let data = gguf.tensor_data(bytes, name).unwrap();
        writer.tensor(name.as_str(), info.tensor_type(), info.shape(), data).unwrap();
    }
    let mut file = Vec::new();
    writer.write_to(&mut file).unwrap();
    file
}

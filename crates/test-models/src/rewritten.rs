//! Model files that differ from the tiny models in a few places.

use std::path::{Path, PathBuf};

use llama_gguf::{Gguf, Metadata, Split, Writer};
use tempfile::TempDir;

use crate::Tiny;

/// Returns the bytes of a tiny model whose metadata `change` has edited.
///
/// # Panics
/// If the changed metadata makes no valid file.
pub fn with_metadata(tiny: Tiny, change: impl FnOnce(&mut Metadata)) -> Vec<u8> {
    let bytes = tiny.bytes();
    let gguf = parsed(&bytes);
    let mut metadata = gguf.metadata().clone();
    change(&mut metadata);
    file(&bytes, &gguf, metadata, &tensor_names(&gguf))
}

/// Writes a model file to a temporary folder, and returns the folder and the path of the file.
///
/// # Panics
/// If the file cannot be written.
#[must_use]
pub fn saved(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = temporary_folder();
    let path = folder.path().join("model.gguf");
    write(&path, bytes);
    (folder, path)
}

/// Returns a tiny model in `count` parts, with its metadata in the first. `change` may edit the metadata of each part and
/// is given the number of the part, counted from 0.
///
/// # Panics
/// If the model has fewer tensors than parts, or the changed metadata makes no valid file.
pub fn parts(tiny: Tiny, count: u16, mut change: impl FnMut(u16, &mut Metadata)) -> Vec<Vec<u8>> {
    let bytes = tiny.bytes();
    let gguf = parsed(&bytes);
    let names = tensor_names(&gguf);
    let tensors = i32::try_from(names.len()).expect("tiny models have few tensors");
    let share = names.len().div_ceil(usize::from(count));
    (0..count)
        .zip(names.chunks(share))
        .map(|(number, names)| {
            let mut metadata = if number == 0 { gguf.metadata().clone() } else { Metadata::new() };
            metadata.set(Split::NUMBER, number).set(Split::COUNT, count).set(Split::TENSORS, tensors);
            change(number, &mut metadata);
            file(&bytes, &gguf, metadata, names)
        })
        .collect()
}

/// Writes the parts of a model to a temporary folder, under the names that llama.cpp expects. Returns the folder and the
/// paths.
///
/// # Panics
/// If a file cannot be written.
#[must_use]
pub fn saved_parts(parts: &[Vec<u8>]) -> (TempDir, Vec<PathBuf>) {
    let folder = temporary_folder();
    let name = |number| format!("model-{number:05}-of-{:05}.gguf", parts.len());
    let paths: Vec<PathBuf> = (1..=parts.len()).map(|number| folder.path().join(name(number))).collect();
    write_all(&paths, parts);
    (folder, paths)
}

/// Writes each part to the path at the same index.
///
/// # Panics
/// If a file cannot be written.
pub fn write_all(paths: &[impl AsRef<Path>], parts: &[Vec<u8>]) {
    paths.iter().zip(parts).for_each(|(path, bytes)| write(path.as_ref(), bytes));
}

fn parsed(bytes: &[u8]) -> Gguf {
    Gguf::from_bytes(bytes).unwrap_or_else(|error| panic!("{error}"))
}

fn tensor_names(gguf: &Gguf) -> Vec<String> {
    gguf.tensors().iter().map(|tensor| tensor.name().to_string()).collect()
}

/// Returns a file with this metadata and the tensors of these names.
fn file(bytes: &[u8], gguf: &Gguf, metadata: Metadata, names: &[String]) -> Vec<u8> {
    let mut writer = Writer::new();
    *writer.metadata_mut() = metadata;
    for name in names {
        let info = gguf.tensor(name).expect("the names are those of this file");
        let data = gguf.tensor_data(bytes, name).unwrap_or_else(|error| panic!("{error}"));
        writer
            .tensor(name.as_str(), info.tensor_type(), info.shape(), data)
            .unwrap_or_else(|error| panic!("{error}"));
    }
    let mut file = Vec::new();
    writer.write_to(&mut file).unwrap_or_else(|error| panic!("{error}"));
    file
}

fn temporary_folder() -> TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("cannot create a temporary folder: {error}"))
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

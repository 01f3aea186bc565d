//! What a model was made from, as far as it is needed after loading: llama.cpp's API tells neither the shapes of a
//! model's tensors nor the types of its metadata.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use llama_gguf::{Gguf, Metadata, Split, TensorInfo, Text, Value};

use crate::error::{ErrorKind, Result};

/// The elements of each dimension, 1 for those that are not there.
pub(crate) type Shape = [u64; 4];

/// Shapes of tensors, and the metadata that is not about the model's computation.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    shapes: HashMap<Text, Shape>,
    /// Single values under `general.` and `tokenizer.`: names, licences, chat templates.
    remarks: Metadata,
}

impl Origin {
    /// That of a file, of which `gguf` is the head, and of the files that it is continued in.
    pub(crate) fn of_file(path: &Path, gguf: &Gguf) -> Result<Self> {
        let mut origin = Self { shapes: HashMap::new(), remarks: remarks(gguf.metadata()) };
        origin.add_shapes(gguf);
        for part in later_parts(path, gguf.metadata()) {
            let gguf = llama_gguf::validate_structure(&part)
                .map_err(|source| ErrorKind::File { path: path.to_owned(), source })?;
            origin.add_shapes(&gguf);
        }
        Ok(origin)
    }

    /// That of a model made in memory; its tensors are added as llama.cpp makes them.
    pub(crate) fn of_metadata(metadata: &Metadata) -> Self {
        Self { shapes: HashMap::new(), remarks: remarks(metadata) }
    }

    fn add_shapes(&mut self, gguf: &Gguf) {
        self.shapes.extend(gguf.tensors().iter().map(|info| (info.name().clone(), shape_of(info))));
    }

    pub(crate) fn add_shape(&mut self, name: &[u8], shape: Shape) {
        self.shapes.insert(Text::from(name), shape);
    }

    /// The shape of the tensor of that name.
    pub(crate) fn shape(&self, name: &str) -> Option<Shape> {
        self.shapes.get(name.as_bytes()).copied()
    }

    /// Whether the table of the tokens' embeddings is the output matrix too: llama.cpp takes it where there is no other.
    pub(crate) fn ties_embeddings(&self) -> bool {
        self.shape("output.weight").is_none()
    }

    /// The metadata that says something about the model but is not needed to compute it.
    pub(crate) fn remarks(&self) -> &Metadata {
        &self.remarks
    }
}

/// The shape with all of its dimensions.
pub(crate) fn shape_of(info: &TensorInfo) -> Shape {
    let mut shape = [1; 4];
    for (to, from) in shape.iter_mut().zip(info.shape()) {
        *to = *from;
    }
    shape
}

fn remarks(metadata: &Metadata) -> Metadata {
    let mut remarks = Metadata::new();
    for (key, value) in metadata.iter() {
        let kept = key.as_bytes().starts_with(b"general.") || key.as_bytes().starts_with(b"tokenizer.");
        if kept && !matches!(value, Value::Array(_)) {
            remarks.set(key.clone(), value.clone());
        }
    }
    remarks
}

/// The second and later files of a model in several, by the names that llama.cpp expects (llama.cpp,
/// `llama_get_list_splits`). None for a name that does not follow the pattern: llama.cpp then refuses it.
fn later_parts(path: &Path, metadata: &Metadata) -> Vec<PathBuf> {
    let Ok(Some(split)) = Split::of(metadata) else { return Vec::new() };
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(prefix) = name.strip_suffix(&format!("-00001-of-{:05}.gguf", split.count)) else {
        return Vec::new();
    };
    (2..=split.count)
        .map(|number| path.with_file_name(format!("{prefix}-{number:05}-of-{:05}.gguf", split.count)))
        .collect()
}

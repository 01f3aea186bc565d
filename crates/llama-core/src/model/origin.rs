//! What a model was made from, as far as it is needed after loading: llama.cpp's API tells neither the shapes of a
//! model's tensors nor the types of its metadata.

use std::collections::HashMap;

use llama_gguf::{Metadata, TensorInfo, Text, Value};

/// The elements of each dimension, 1 for those that are not there.
pub(crate) type Shape = [u64; 4];

/// Shapes of tensors, and the metadata that is not about the model's computation.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    shapes: HashMap<Text, Shape>,
    /// Single values under `general.` and `tokenizer.`: names, licences, chat templates.
    remarks: Metadata,
    /// The keys of lists that are about the computation: numbers for each layer.
    lists: Vec<Text>,
}

impl Origin {
    /// That of files: the metadata of the first and the tensors of all.
    pub(crate) fn of_files(metadata: &Metadata, tensors: &[TensorInfo]) -> Self {
        let shapes = tensors.iter().map(|info| (info.name().clone(), shape_of(info))).collect();
        Self { shapes, remarks: remarks(metadata), lists: lists(metadata) }
    }

    /// That of a model made in memory; its tensors are added as llama.cpp makes them.
    pub(crate) fn of_metadata(metadata: &Metadata) -> Self {
        Self { shapes: HashMap::new(), remarks: remarks(metadata), lists: lists(metadata) }
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

    /// Whether the key has a list of values, one for each layer.
    pub(crate) fn is_list(&self, key: &str) -> bool {
        self.lists.iter().any(|list| list.as_bytes() == key.as_bytes())
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

fn lists(metadata: &Metadata) -> Vec<Text> {
    let is_list = |(key, value): &(&Text, &Value)| {
        matches!(value, Value::Array(_)) && !key.as_bytes().starts_with(b"tokenizer.")
    };
    metadata.iter().filter(is_list).map(|(key, _)| key.clone()).collect()
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

//! The facts about a model's files that are needed after loading. llama.cpp's API reports neither the shapes of a
//! model's tensors nor the types of its metadata.

use std::collections::HashMap;

use llama_gguf::{Metadata, TensorInfo, Text, Value};

use super::effective::Effective;
use super::params::ModelParams;

/// The elements of each dimension, 1 for missing dimensions.
pub(crate) type Shape = [u64; 4];

/// The shapes of tensors, and the metadata that is not needed for the computation.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    shapes: HashMap<Text, Shape>,
    /// Single values under `general.` and `tokenizer.`: names, licences, chat templates.
    remarks: Metadata,
    /// The keys of lists that concern the computation: numbers for each layer.
    lists: Vec<Text>,
    scaling: Scaling,
}

/// The scaling of positions that the model's contexts use by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scaling {
    /// Whether the type is YaRN.
    pub(crate) is_yarn: bool,
    /// Whether the extrapolation factor is the model's own.
    pub(crate) has_ext_factor: bool,
}

impl Scaling {
    /// Reads it as llama-model.cpp does (`load_hparams`). The factor is read only in models/grok.cpp.
    fn of(metadata: Effective<'_>) -> Self {
        let architecture = metadata.text("general.architecture").unwrap_or_default();
        let is_yarn = metadata.text(&format!("{architecture}.rope.scaling.type")) == Some("yarn");
        let factor = metadata.float(&format!("{architecture}.rope.scaling.yarn_ext_factor"));
        let has_ext_factor = architecture == "grok" && factor.is_some_and(|factor| factor >= 0.0);
        Self { is_yarn, has_ext_factor }
    }
}

impl Origin {
    /// Collects the facts from files: the metadata of the first with the overrides, and the tensors of all.
    pub(crate) fn of_files(metadata: &Metadata, params: &ModelParams, tensors: &[TensorInfo]) -> Self {
        let shapes = tensors.iter().map(|info| (info.name().clone(), shape_of(info))).collect();
        Self { shapes, ..Self::of_metadata(metadata, params) }
    }

    /// Collects the facts of a model created in memory. Its tensors are added when llama.cpp creates them.
    pub(crate) fn of_metadata(metadata: &Metadata, params: &ModelParams) -> Self {
        let scaling = Scaling::of(Effective::new(metadata, params));
        Self { shapes: HashMap::new(), remarks: remarks(metadata), lists: lists(metadata), scaling }
    }

    /// Returns the scaling of positions that the model's contexts use by default.
    pub(crate) fn scaling(&self) -> Scaling {
        self.scaling
    }

    pub(crate) fn add_shape(&mut self, name: &[u8], shape: Shape) {
        self.shapes.insert(Text::from(name), shape);
    }

    /// Returns the shape of the tensor with that name.
    pub(crate) fn shape(&self, name: &str) -> Option<Shape> {
        self.shapes.get(name.as_bytes()).copied()
    }

    /// Returns whether the table of token embeddings is also the output matrix: llama.cpp uses it if there is no
    /// other.
    pub(crate) fn ties_embeddings(&self) -> bool {
        self.shape("output.weight").is_none()
    }

    /// Returns whether the key has a list of values, one for each layer.
    pub(crate) fn is_list(&self, key: &str) -> bool {
        self.lists.iter().any(|list| list.as_bytes() == key.as_bytes())
    }

    /// Returns the metadata that describes the model but is not needed to compute it.
    pub(crate) fn remarks(&self) -> &Metadata {
        &self.remarks
    }
}

/// Returns the shape with all four dimensions.
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

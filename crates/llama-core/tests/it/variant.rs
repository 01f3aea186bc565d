//! Tiny models turned into other architectures with the same tensors.

use llama_core::{Model, ModelParams, TensorType};
use llama_gguf::{Gguf, Value, Writer};
use tempfile::TempDir;
use test_models::Tiny;

/// A tensor to write.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) kind: TensorType,
    pub(crate) shape: Vec<u64>,
    pub(crate) data: Vec<u8>,
}

impl Tensor {
    /// Returns the variant under another name.
    pub(crate) fn named(&self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self.clone() }
    }
}

/// The parts of a tiny model.
pub(crate) struct Parts {
    pub(crate) metadata: Vec<(String, Value)>,
    pub(crate) tensors: Vec<Tensor>,
}

impl Parts {
    /// Splits a model into parts, with another name for its architecture.
    pub(crate) fn new(tiny: Tiny, architecture: &str) -> Self {
        let bytes = tiny.bytes();
        let gguf = Gguf::from_bytes(&bytes).unwrap();
        let old: String = gguf.metadata().get::<&str>("general.architecture").unwrap().to_owned();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let rename = |key: String| match key.strip_prefix(&format!("{old}.")) {
            Some(rest) => format!("{architecture}.{rest}"),
            None => key,
        };
        let pairs = gguf.metadata().iter();
        let mut parts = Self {
            metadata: pairs.map(|(key, value)| (rename(text(key.as_bytes())), value.clone())).collect(),
            tensors: Vec::new(),
        };
        parts.set("general.architecture", architecture);
        for info in gguf.tensors() {
            let name = text(info.name().as_bytes());
            let data = gguf.tensor_data(&bytes, &name).unwrap().to_vec();
            parts.tensors.push(Tensor { name, kind: info.tensor_type(), shape: info.shape().to_vec(), data });
        }
        parts
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.metadata.retain(|(old, _)| old != key);
        self.metadata.push((key.to_owned(), value.into()));
    }

    pub(crate) fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.iter().find(|tensor| tensor.name == name).unwrap()
    }

    /// Writes the file and loads it.
    pub(crate) fn load(self, folder: &TempDir, params: &ModelParams) -> Model {
        let mut writer = Writer::new();
        for (key, value) in self.metadata {
            writer.set(key.as_str(), value);
        }
        for tensor in self.tensors {
            writer.tensor(tensor.name.as_str(), tensor.kind, &tensor.shape, tensor.data).unwrap();
        }
        let path = folder.path().join("variant.gguf");
        writer.write_file(&path).unwrap();
        Model::load(&path, params).unwrap()
    }
}

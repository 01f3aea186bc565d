//! GGUF files whose parts are changed one at a time.

use llama_gguf::{Array, Gguf, Metadata, TensorType, Value, Writer};

/// The parts of a file.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<Tensor>,
}

/// A tensor of the file.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) kind: TensorType,
    pub(crate) shape: Vec<u64>,
    pub(crate) data: Vec<u8>,
}

impl Parts {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let gguf = Gguf::from_bytes(bytes).unwrap();
        let tensors = gguf.tensors().iter().map(|info| {
            let name = info.name().to_string();
            let data = gguf.tensor_data(bytes, &name).unwrap().to_vec();
            Tensor { name, kind: info.tensor_type(), shape: info.shape().to_vec(), data }
        });
        Self { metadata: gguf.metadata().clone(), tensors: tensors.collect() }
    }

    /// Returns the file, if it can be written.
    fn bytes(self) -> Option<Vec<u8>> {
        let mut writer = Writer::new();
        *writer.metadata_mut() = self.metadata;
        for Tensor { name, kind, shape, data } in self.tensors {
            writer.tensor(name, kind, &shape, data).ok()?;
        }
        let mut bytes = Vec::new();
        writer.write_to(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// Returns values of every type, all of them wrong.
pub(crate) fn odd_values() -> Vec<Value> {
    vec![
        Value::U32(0),
        Value::U32(3),
        Value::U32(u32::MAX),
        Value::I32(-1),
        Value::F32(0.0),
        Value::F32(-1.0),
        Value::F32(f32::NAN),
        Value::Bool(true),
        Value::String("".into()),
        Value::String("\0a\u{ffff}".into()),
        Value::Array(Array::U32(Vec::new())),
        Value::Array(Array::F32(vec![f32::NAN; 1000])),
    ]
}

/// Returns the file without each piece of metadata, and with other values.
pub(crate) fn metadata_changed(parts: &Parts) -> impl Iterator<Item = (String, Metadata)> + '_ {
    let keys = parts.metadata.iter().map(|(key, _)| key.clone());
    keys.flat_map(move |key| {
        let without = (format!("without {key}"), {
            let mut metadata = parts.metadata.clone();
            metadata.remove(&key);
            metadata
        });
        let others = odd_values().into_iter().map(move |value| {
            let mut metadata = parts.metadata.clone();
            let name = format!("{key} is {value:.40?}");
            metadata.set(key.clone(), value);
            (name, metadata)
        });
        core::iter::once(without).chain(others)
    })
}

/// Returns the file without each tensor, with duplicates, and with other names, types, shapes and values.
pub(crate) fn tensors_changed(parts: &Parts) -> Vec<(String, Parts)> {
    let mut all = Vec::new();
    for index in 0..parts.tensors.len() {
        let mut change = |what: &str, change: &dyn Fn(&mut Vec<Tensor>)| {
            let mut changed = parts.clone();
            change(&mut changed.tensors);
            all.push((format!("{what} {}", parts.tensors[index].name), changed));
        };
        change("without", &|tensors| _ = tensors.remove(index));
        for name in ["", "x", "a\0b", "direction.0", "direction.4294967296", "direction.-1", "direction.512"]
        {
            change("renamed", &|tensors| tensors[index].name = name.to_owned());
        }
        for end in [".lora_a", ".lora_b", "\0", ".weight"] {
            change("renamed", &|tensors| tensors[index].name += end);
        }
        change("transposed", &|tensors| tensors[index].shape.reverse());
        change("flattened", &|tensors| tensors[index].shape = vec![tensors[index].shape.iter().product()]);
        change("deeper", &|tensors| tensors[index].shape.extend([1, 1]));
        change("empty", &|tensors| {
            tensors[index].shape[0] = 0;
            tensors[index].data.clear();
        });
        change("halved", &|tensors| {
            let tensor = &mut tensors[index];
            tensor.shape[0] /= 2;
            tensor.data.truncate(tensor.data.len() / 2);
        });
        change("doubled", &|tensors| {
            let tensor = &mut tensors[index];
            *tensor.shape.last_mut().unwrap() *= 2;
            tensor.data.extend_from_within(..);
        });
        change("several", &|tensors| {
            let tensor = &mut tensors[index];
            tensor.shape.resize(3, 1);
            tensor.shape[2] = 2;
            tensor.data.extend_from_within(..);
        });
        for kind in [TensorType::F16, TensorType::F64, TensorType::I32, TensorType::I8, TensorType::Q8_0] {
            change("retyped", &|tensors| {
                let elements: u64 = tensors[index].shape.iter().product();
                let size = elements / kind.block_size() * kind.block_bytes();
                tensors[index].kind = kind;
                tensors[index].data = vec![0x3c; usize::try_from(size).unwrap()];
            });
        }
        for number in [f32::NAN, f32::INFINITY, f32::MIN, 1e-40] {
            change("filled", &|tensors| {
                let data = &mut tensors[index].data;
                *data = number.to_ne_bytes().repeat(data.len() / 4);
            });
        }
    }
    all
}

/// Returns all changed versions of a file.
pub(crate) fn changed(good: &[u8]) -> Vec<(String, Vec<u8>)> {
    let parts = Parts::of(good);
    let metadata = metadata_changed(&parts)
        .map(|(what, metadata)| (what, Parts { metadata, tensors: parts.tensors.clone() }));
    metadata.chain(tensors_changed(&parts)).filter_map(|(what, parts)| Some((what, parts.bytes()?))).collect()
}

//! Checks for contents of an adapter's file on which llama.cpp would assert or exceed its memory.

use std::collections::HashMap;

use llama_gguf::{Gguf, Metadata, TensorInfo, TensorType, Text};

use crate::model::{Model, Shape, shape_of};

/// Keys that C reads as text without checking their type (llama-adapter.cpp, `get_kv_str`).
const TEXTS: [&str; 3] = ["general.type", "general.architecture", "adapter.type"];

/// Name of the embedding table; C compares the ends of names.
const EMBEDDINGS: &str = "token_embd.weight";

/// Checks the types of the keys that C asserts on, and returns alpha if there is one.
pub(super) fn keys(metadata: &Metadata) -> Result<Option<f32>, llama_gguf::Error> {
    for key in TEXTS {
        metadata.find::<&Text>(key)?;
    }
    metadata.find::<f32>("adapter.lora.alpha")
}

/// Refuses an alpha that is not finite, with which every logit would be NaN.
pub(super) fn alpha(alpha: f32) -> Result<(), String> {
    match alpha.is_finite() {
        true => Ok(()),
        false => Err(format!("its adapter.lora.alpha is {alpha}, but must be finite")),
    }
}

/// The matrices of each adapted tensor, by the name of that tensor.
pub(super) struct Pairs<'g>(HashMap<String, Pair<'g>>);

#[derive(Default)]
struct Pair<'g> {
    a: Option<&'g TensorInfo>,
    b: Option<&'g TensorInfo>,
}

/// Finds the matrices by the names that C derives. C refuses tensors with other names.
pub(super) fn pairs(gguf: &Gguf) -> Result<Pairs<'_>, String> {
    let mut pairs: HashMap<String, Pair<'_>> = HashMap::new();
    for info in gguf.tensors() {
        // C would cut the name off at a NUL byte, and see another name.
        let name = info.name().as_str().filter(|name| !name.contains('\0'));
        let name = name.ok_or_else(|| format!("the tensor name {:?} is not text", info.name()))?;
        let (suffix, is_a) = match name {
            _ if name.ends_with(".lora_a") => (".lora_a", true),
            _ if name.ends_with(".lora_b") => (".lora_b", false),
            _ => continue,
        };
        let pair = pairs.entry(name.replace(suffix, "")).or_default();
        let place = if is_a { &mut pair.a } else { &mut pair.b };
        if place.replace(info).is_some() {
            return Err(format!(
                "two of its tensors are the matrix {suffix} of the same tensor; the second is \"{name}\""
            ));
        }
    }
    Ok(Pairs(pairs))
}

impl Pairs<'_> {
    /// Returns whether the adapter changes the embeddings of tokens.
    pub(super) fn changes_embeddings(&self) -> bool {
        self.0.keys().any(|name| name.ends_with(EMBEDDINGS))
    }

    /// Returns a tensor that the adapter is for but the model's file does not have, if there is one.
    pub(super) fn unknown_to(&self, model: &Model) -> Option<&str> {
        self.0.keys().find(|name| model.origin().shape(name).is_none()).map(String::as_str)
    }

    /// Checks the matrices against the tensors of a model. C compares only the first two dimensions and no types;
    /// other mismatches would fail, or read past the end of the weights, on ggml's threads while decoding. C refuses
    /// tensors that the model does not have and matrices without their other half.
    pub(super) fn check_against(&self, model: &Model) -> Result<(), String> {
        for (name, pair) in &self.0 {
            for info in [pair.a, pair.b].into_iter().flatten() {
                check_type(info)?;
                if let Some(base) = model.origin().shape(name) {
                    check_shape(info, base)?;
                }
            }
            if let (Some(a), Some(b)) = (pair.a, pair.b) {
                check_embeddings(name, shape_of(a), shape_of(b))?;
            }
        }
        Ok(())
    }
}

/// Accepts the types that ggml multiplies with on every device, at least on the CPU: those with a `vec_dot`
/// (ggml-cpu.c).
fn check_type(info: &TensorInfo) -> Result<(), String> {
    let ty = info.tensor_type();
    let good = match ty {
        TensorType::F32 | TensorType::F16 | TensorType::BF16 => true,
        // These two are only the right-hand side of products.
        TensorType::Q8_1 | TensorType::Q8_K => false,
        _ => ty.is_quantized(),
    };
    match good {
        true => Ok(()),
        false => Err(format!(
            "its tensor \"{}\" has type {ty}, which cannot be multiplied: convert it to f32, f16, bf16 or q8_0",
            info.name()
        )),
    }
}

fn check_shape(info: &TensorInfo, base: Shape) -> Result<(), String> {
    let shape = shape_of(info);
    if shape.contains(&0) {
        return Err(format!("its tensor \"{}\" with shape {:?} is empty", info.name(), info.shape()));
    }
    if shape[2..] != base[2..] {
        return Err(format!(
            "its tensor \"{}\" with shape {:?} is for {} matrices, but the model's tensor has {}",
            info.name(),
            info.shape(),
            shape[2] * shape[3],
            base[2] * base[3]
        ));
    }
    Ok(())
}

/// Compares the ranks of the embedding table's matrices, which C does not (llama-adapter.cpp, `is_token_embd`).
fn check_embeddings(name: &str, a: Shape, b: Shape) -> Result<(), String> {
    match name.ends_with(EMBEDDINGS) && a[0] != b[0] {
        false => Ok(()),
        true => Err(format!(
            "the matrices of \"{name}\" have ranks {} and {}, but must have the same",
            a[0], b[0]
        )),
    }
}

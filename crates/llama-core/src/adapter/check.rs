//! What llama.cpp would assert on, or compute with beyond its memory, in the file of an adapter.

use std::collections::HashMap;

use llama_gguf::{Gguf, Metadata, TensorInfo, TensorType, Text};

use crate::model::{Model, Shape, shape_of};

/// The keys that C reads as text without looking at their type (llama-adapter.cpp, `get_kv_str`).
const TEXTS: [&str; 3] = ["general.type", "general.architecture", "adapter.type"];

/// The table of the tokens' embeddings; C compares ends of names.
const EMBEDDINGS: &str = "token_embd.weight";

/// Checks the types of the keys that C asserts on, and returns alpha if there is one.
pub(super) fn keys(metadata: &Metadata) -> Result<Option<f32>, llama_gguf::Error> {
    for key in TEXTS {
        metadata.find::<&Text>(key)?;
    }
    metadata.find::<f32>("adapter.lora.alpha")
}

/// Every logit would be NaN.
pub(super) fn alpha(alpha: f32) -> Result<(), String> {
    match alpha.is_finite() {
        true => Ok(()),
        false => Err(format!("its adapter.lora.alpha is {alpha}, which is no number to scale with")),
    }
}

/// The matrices of each adapted tensor, by that tensor's name.
pub(super) struct Pairs<'g>(HashMap<String, Pair<'g>>);

#[derive(Default)]
struct Pair<'g> {
    a: Option<&'g TensorInfo>,
    b: Option<&'g TensorInfo>,
}

/// Finds the matrices, with the names that C makes of theirs. What has another name is C's to refuse.
pub(super) fn pairs(gguf: &Gguf) -> Result<Pairs<'_>, String> {
    let mut pairs: HashMap<String, Pair<'_>> = HashMap::new();
    for info in gguf.tensors() {
        // C would cut the name off there, and see another one than we do.
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
                "two of its tensors are the matrix {suffix} of one tensor, \"{name}\" is the second"
            ));
        }
    }
    Ok(Pairs(pairs))
}

impl Pairs<'_> {
    /// Whether the adapter changes the embeddings of tokens.
    pub(super) fn changes_embeddings(&self) -> bool {
        self.0.keys().any(|name| name.ends_with(EMBEDDINGS))
    }

    /// A tensor that the adapter is for and that the model's file does not have, if there is one.
    pub(super) fn unknown_to(&self, model: &Model) -> Option<&str> {
        self.0.keys().find(|name| model.origin().shape(name).is_none()).map(String::as_str)
    }

    /// Checks the matrices against the tensors of a model. C compares the first two dimensions and no others, and no
    /// types; the rest would fail, or read beyond the weights, on ggml's threads while decoding. Tensors that the model
    /// does not have and matrices without their other half are C's to refuse.
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

/// Types that ggml multiplies with on every device, at the latest on the CPU: those with a `vec_dot` (ggml-cpu.c).
fn check_type(info: &TensorInfo) -> Result<(), String> {
    let ty = info.tensor_type();
    let good = match ty {
        TensorType::F32 | TensorType::F16 | TensorType::BF16 => true,
        // These two are what others are multiplied with.
        TensorType::Q8_1 | TensorType::Q8_K => false,
        _ => ty.is_quantized(),
    };
    match good {
        true => Ok(()),
        false => Err(format!(
            "its tensor \"{}\" is of type {ty}, which is not multiplied with: convert it to f32, f16, bf16 or q8_0",
            info.name()
        )),
    }
}

fn check_shape(info: &TensorInfo, base: Shape) -> Result<(), String> {
    let shape = shape_of(info);
    if shape.contains(&0) {
        return Err(format!("its tensor \"{}\" of shape {:?} is empty", info.name(), info.shape()));
    }
    if shape[2..] != base[2..] {
        return Err(format!(
            "its tensor \"{}\" of shape {:?} is for {} matrices, and the model's tensor has {}",
            info.name(),
            info.shape(),
            shape[2] * shape[3],
            base[2] * base[3]
        ));
    }
    Ok(())
}

/// Of the table of embeddings C does not compare the ranks (llama-adapter.cpp, `is_token_embd`).
fn check_embeddings(name: &str, a: Shape, b: Shape) -> Result<(), String> {
    match name.ends_with(EMBEDDINGS) && a[0] != b[0] {
        false => Ok(()),
        true => Err(format!(
            "the matrices of \"{name}\" are of ranks {} and {}, which must be the same",
            a[0], b[0]
        )),
    }
}

//! The tensors of unchanged models.

use core::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use llama_core::{Error, Model, ModelParams, TensorType};

use crate::base;

/// A tensor to write.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) kind: TensorType,
    pub(crate) shape: Vec<u64>,
    pub(crate) filling: Filling,
}

/// The contents of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filling {
    /// Small numbers around 0, or around 1 in norms.
    Numbers,
    NaN,
    Infinity,
    Zeros,
    /// Bytes without meaning.
    Noise,
}

thread_local! {
    /// The tensors of each requested architecture.
    static KNOWN: RefCell<HashMap<&'static str, Vec<Tensor>>> = RefCell::default();
}

/// Returns the tensors that llama.cpp makes of an architecture's unchanged metadata. In some rounds rare factors are
/// left out, and fused tensors are replaced by their parts.
pub(crate) fn of(architecture: &'static str, round: u64) -> Vec<Tensor> {
    let mut tensors = KNOWN
        .with_borrow_mut(|known| known.entry(architecture).or_insert_with(|| make(architecture)).clone());
    // Where it is, the layers are computed in another way, for which tensors are missing.
    tensors.retain(|tensor| architecture != "rwkv6qwen2" || !tensor.name.ends_with("time_mix_first.weight"));
    if architecture == "eagle3" {
        // llama.cpp makes none, because drafts may use that of another model.
        let shape = vec![u64::from(base::N_EMBD), u64::from(base::N_VOCAB)];
        let name = "token_embd.weight".to_owned();
        tensors.push(Tensor { name, kind: TensorType::F32, shape, filling: Filling::Numbers });
    }
    if !round.is_multiple_of(3) {
        tensors
            .retain(|tensor| !tensor.name.ends_with("scale") || tensor.name.ends_with("ffn_gate_inp.scale"));
    }
    if round % 4 == 3 {
        tensors = tensors.into_iter().flat_map(divided).collect();
    }
    tensors
}

/// Makes a model that llama.cpp does not compute with, to see the tensors.
fn make(architecture: &str) -> Vec<Tensor> {
    let mut tensors: Vec<Tensor> = Vec::new();
    let none: [(&str, TensorType); 0] = [];
    // What llama.cpp refuses has no tensors, or those up to the reason.
    let _ = Model::from_metadata(&base::metadata(architecture), none, &ModelParams::default(), |view, _| {
        if !tensors.iter().any(|tensor| tensor.name == view.name()) {
            let (name, shape) = (view.name().to_owned(), view.shape().to_vec());
            tensors.push(Tensor { name, kind: view.tensor_type(), shape, filling: Filling::Numbers });
        }
        Ok::<(), Error>(())
    });
    tensors
}

/// Returns the parts of a fused tensor, or the tensor itself.
fn divided(tensor: Tensor) -> Vec<Tensor> {
    let parts: &[&str] = if tensor.name.contains(".attn_qkv.") {
        &[".attn_q.", ".attn_k.", ".attn_v."]
    } else if tensor.name.contains(".ffn_gate_up_exps.") {
        &[".ffn_gate_exps.", ".ffn_up_exps."]
    } else {
        return vec![tensor];
    };
    // The width is that of all parts: the second dimension, or the only one of a bias.
    let axis = usize::from(tensor.shape.len() > 1);
    let fused = if parts.len() == 3 { ".attn_qkv." } else { ".ffn_gate_up_exps." };
    let part = |name: &&str| {
        let mut part = tensor.clone();
        part.name = part.name.replace(fused, name);
        part.shape[axis] = (part.shape[axis] / parts.len() as u64).max(1);
        part
    };
    parts.iter().map(part).collect()
}

/// Fills a tensor's bytes.
pub(crate) fn data(name: &str, kind: TensorType, filling: Filling, bytes: &mut [u8]) {
    let float = |value: f32, bytes: &mut [u8]| match kind {
        TensorType::F32 => repeat(bytes, &value.to_le_bytes()),
        TensorType::F64 => repeat(bytes, &f64::from(value).to_le_bytes()),
        TensorType::BF16 => repeat(bytes, &value.to_le_bytes()[2..]),
        TensorType::F16 => repeat(bytes, &half::f16::from_f32(value).to_le_bytes()),
        _ => repeat(bytes, &[0xff, 0x7f]),
    };
    match filling {
        Filling::Zeros => bytes.fill(0),
        Filling::NaN => float(f32::NAN, bytes),
        Filling::Infinity => float(f32::INFINITY, bytes),
        Filling::Noise => bytes.iter_mut().zip(0_u32..).for_each(|(byte, at)| {
            *byte = (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0];
        }),
        Filling::Numbers if kind == TensorType::F32 => numbers(name, bytes),
        Filling::Numbers => repeat(bytes, &[1, 2, 4, 8, 16, 24, 28, 30]),
    }
}

fn repeat(bytes: &mut [u8], value: &[u8]) {
    for chunk in bytes.chunks_mut(value.len()) {
        chunk.copy_from_slice(&value[..chunk.len()]);
    }
}

fn numbers(name: &str, bytes: &mut [u8]) {
    let around_one = name.contains("norm") || name.ends_with("scale") || name.starts_with("rope_f");
    let pattern = &PATTERNS[usize::from(around_one)];
    for chunk in bytes.chunks_mut(pattern.len()) {
        chunk.copy_from_slice(&pattern[..chunk.len()]);
    }
}

/// The patterns: numbers around 0, and around 1.
static PATTERNS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    [0.0, 1.0].map(|mean| {
        let spread = |at: u16| f32::from(at.wrapping_mul(40_503) >> 8) / 128.0 - 1.0;
        (0..4096).flat_map(|at| (mean + spread(at) * 0.1_f32).to_le_bytes()).collect()
    })
});

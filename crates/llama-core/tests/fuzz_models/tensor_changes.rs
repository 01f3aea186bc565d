//! Makes tensors wrong.

use std::collections::BTreeSet;

use llama_core::TensorType;

use crate::case::Source;
use crate::random::Random;
use crate::tensors::{Filling, Tensor};
use crate::tree_names::ARCHITECTURES;

/// Changes one of the tensors, or those of its name in all layers, and describes the change. There must be a tensor.
pub(crate) fn apply(random: &mut Random, source: Source, tensors: &mut Vec<Tensor>) -> String {
    let name = tensors[random.below(tensors.len())].name.clone();
    let everywhere = random.once_in(3);
    let is_meant = |tensor: &Tensor| {
        if everywhere { without_layer(&tensor.name) == without_layer(&name) } else { tensor.name == name }
    };
    let what = if everywhere { without_layer(&name) } else { name.clone() };
    // llama.cpp alone decides on the tensors of a model that is made of metadata, and on their shapes.
    match random.below(if source == Source::File { 10 } else { 5 }) {
        0..=3 => {
            let kind = random.pick(TensorType::ALL);
            tensors.iter_mut().filter(|tensor| is_meant(tensor)).for_each(|tensor| tensor.kind = kind);
            format!("{what} in {kind}")
        }
        4 => {
            let filling = random.pick(&[Filling::NaN, Filling::Infinity, Filling::Zeros, Filling::Noise]);
            tensors.iter_mut().filter(|tensor| is_meant(tensor)).for_each(|tensor| tensor.filling = filling);
            format!("{what} of {filling:?}")
        }
        5..=7 => {
            tensors.retain(|tensor| !is_meant(tensor));
            format!("without {what}")
        }
        8 => {
            let old = tensors.iter().find(|tensor| tensor.name == name).unwrap().shape.clone();
            let shape = reshaped(random, &old);
            tensors
                .iter_mut()
                .filter(|tensor| is_meant(tensor))
                .for_each(|tensor| tensor.shape.clone_from(&shape));
            format!("{what} of {shape:?}")
        }
        _ => extra(random, tensors),
    }
}

/// Leaves out all tensors of a kind, selected by number, and describes them.
pub(crate) fn leave_out(tensors: &mut Vec<Tensor>, index: usize) -> String {
    let kinds: BTreeSet<String> = tensors.iter().map(|tensor| without_layer(&tensor.name)).collect();
    match kinds.iter().nth(index) {
        Some(kind) => {
            tensors.retain(|tensor| without_layer(&tensor.name) != *kind);
            format!("without {kind}")
        }
        None => {
            tensors.clear();
            "without any tensor".to_owned()
        }
    }
}

/// Returns a name without the layer's number.
fn without_layer(name: &str) -> String {
    let parts = name.split('.').map(|part| if part.parse::<u32>().is_ok() { "*" } else { part });
    parts.collect::<Vec<_>>().join(".")
}

fn reshaped(random: &mut Random, old: &[u64]) -> Vec<u64> {
    let mut shape = old.to_vec();
    let at = random.below(shape.len());
    match random.below(7) {
        0 => shape.reverse(),
        1 => shape[at] += 1,
        2 => shape[at] = (shape[at] / 2).max(1),
        3 => shape[at] = 1,
        4 if shape.len() < 4 => shape.push(2),
        5 => _ = (shape.len() > 1).then(|| shape.pop()),
        _ => shape[at] *= 2,
    }
    shape
}

/// Adds a tensor of another architecture.
fn extra(random: &mut Random, tensors: &mut Vec<Tensor>) -> String {
    let other = crate::tensors::of(random.pick(ARCHITECTURES), 1);
    if other.is_empty() {
        return "nothing".to_owned();
    }
    let tensor = other[random.below(other.len())].clone();
    let change = format!("with {} of {:?}", tensor.name, tensor.shape);
    tensors.retain(|old| old.name != tensor.name);
    tensors.push(tensor);
    change
}

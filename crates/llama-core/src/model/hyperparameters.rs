//! Checks of a model's hyperparameters and tensors before llama.cpp reads them. Covers the values that llama.cpp
//! uses unchecked, where a wrong one divides by zero, reads out of bounds, or never ends. Faults of a model's graph
//! are found by `crate::graph` when the graph is built.

mod heads;
mod layers;
mod numbers;
mod rotation;
mod tensors;

use core::fmt::Display;

use llama_gguf::TensorInfo;
pub(super) use tensors::{is_added, is_weight_type};

use super::effective::Effective;
use super::tree_names::ARCHITECTURES;
use crate::error::{ErrorKind, Result};

/// Refuses hyperparameters that llama.cpp would accept and fail on. `tensors` are the tensors of a file, and `None`
/// for a model created from metadata, for which llama.cpp creates all tensors.
pub(super) fn check(
    model: &dyn Display,
    metadata: Effective<'_>,
    tensors: Option<&[TensorInfo]>,
) -> Result<()> {
    let flaw = flaw(metadata).or_else(|| match tensors {
        Some(tensors) => tensors::flaw(metadata, tensors),
        None => tensors::flaw_of_all(metadata),
    });
    match flaw {
        None => Ok(()),
        Some(reason) => Err(ErrorKind::Hyperparameter { model: model.to_string(), reason }.into()),
    }
}

fn flaw(metadata: Effective<'_>) -> Option<String> {
    // llama.cpp refuses a value of a wrong type.
    let keys = Keys { architecture: metadata.text("general.architecture")?, metadata };
    if !ARCHITECTURES.contains(&keys.architecture) {
        // llama.cpp reports the unknown architecture.
        return None;
    }
    numbers::flaw(keys)
        .or_else(|| heads::flaw(keys))
        .or_else(|| rotation::flaw(keys))
        .or_else(|| layers::flaw(keys))
}

/// The keys of an architecture, by their names without the architecture's prefix.
#[derive(Clone, Copy)]
struct Keys<'m> {
    architecture: &'m str,
    metadata: Effective<'m>,
}

impl Keys<'_> {
    /// Returns the whole key.
    fn key(self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// Returns a number of 32 bits.
    fn number(self, name: &str) -> Option<u32> {
        self.metadata.number(&self.key(name))
    }

    /// Returns the numbers of a list, or a number as a list of one.
    fn numbers(self, name: &str) -> Vec<i64> {
        self.metadata.numbers(&self.key(name)).unwrap_or_default()
    }

    /// Returns the numbers of a list where C accepts nothing but a list.
    fn list(self, name: &str) -> Option<Vec<i64>> {
        self.metadata.list(&self.key(name))
    }

    /// Returns whether the key has a value of any type.
    fn has(self, name: &str) -> bool {
        self.metadata.has(&self.key(name))
    }

    fn is_one_of(self, architectures: &[&str]) -> bool {
        architectures.contains(&self.architecture)
    }

    /// Returns the number of layers, 0 if it is not stated.
    fn n_layer(self) -> usize {
        self.number("block_count").map_or(0, |count| count as usize)
    }

    /// Returns a number for each layer, from a list or one number for all. `None` if the file has neither.
    fn per_layer(self, name: &str) -> Option<Vec<i64>> {
        let numbers = self.numbers(name);
        match (numbers.as_slice(), self.metadata.is_list(&self.key(name))) {
            ([], _) => None,
            ([one], false) => Some(vec![*one; self.n_layer().min(MAX_LAYERS)]),
            _ => Some(numbers),
        }
    }

    /// Describes a wrong value. All errors of this module use this wording.
    fn wrong(self, name: &str, value: impl Display, must: impl Display) -> String {
        format!("{} is {value}, but must be {must}", self.key(name))
    }

    /// Describes a missing key.
    fn missing(self, name: &str, must: impl Display) -> String {
        format!("{} is missing, but must be {must}", self.key(name))
    }
}

/// The number of layers for which llama.cpp's arrays have room (llama-hparams.h, `LLAMA_MAX_LAYERS`).
const MAX_LAYERS: usize = LAYERS as usize;

/// The number of layers for which llama.cpp has room, as a value of a key.
const LAYERS: u32 = 512;

#[cfg(test)]
mod tests {
    use llama_gguf::{Metadata, Value};

    use super::super::ModelParams;
    use super::super::tree_names::KEYS;
    use super::*;

    /// Returns the flaw of metadata with this architecture and these values.
    pub(super) fn flaw_of(architecture: &str, values: &[(&str, Value)]) -> Option<String> {
        let mut metadata = Metadata::new();
        metadata.set("general.architecture", architecture);
        for (name, value) in values {
            metadata.set(format!("{architecture}.{name}"), value.clone());
        }
        flaw(Effective::new(&metadata, &ModelParams::default()))
    }

    #[track_caller]
    pub(super) fn assert_known<'n>(
        architectures: impl IntoIterator<Item = &'n str>,
        keys: impl IntoIterator<Item = &'n str>,
    ) {
        for name in architectures {
            assert!(ARCHITECTURES.contains(&name), "llama.cpp has no architecture {name}");
        }
        for key in keys {
            assert!(KEYS.contains(&key), "llama.cpp has no key {key}");
        }
    }

    #[test]
    fn a_model_without_an_architecture_is_left_to_llama_cpp() {
        assert_eq!(flaw(Effective::new(&Metadata::new(), &ModelParams::default())), None);
    }
}

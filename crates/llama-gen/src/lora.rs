//! LoRA adapters of single generations.

use std::path::Path;

use llama_core::{Context, LoraAdapter};

use crate::error::Result;
use crate::model::Llama;

/// The adapters that a generation wants, and no others, each with its scale.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adapters(Vec<(LoraAdapter, f32)>);

impl Adapters {
    pub(crate) fn push(&mut self, adapter: &LoraAdapter, scale: f32) {
        self.0.push((adapter.clone(), scale));
    }

    /// Whether these are the context's.
    pub(crate) fn are_set(&self, context: &Context) -> bool {
        let is_same = |(ours, theirs): (&(LoraAdapter, f32), (&LoraAdapter, f32))| {
            ours.0.is_same(theirs.0) && ours.1.to_bits() == theirs.1.to_bits()
        };
        context.adapters().len() == self.0.len() && self.0.iter().zip(context.adapters()).all(is_same)
    }

    /// Makes them the context's.
    pub(crate) fn set(&self, context: &mut Context) -> Result<()> {
        let list: Vec<_> = self.0.iter().map(|(adapter, scale)| (adapter, *scale)).collect();
        Ok(context.set_adapters(&list)?)
    }
}

impl Llama {
    /// Loads a LoRA adapter for this model, to be used by [`Generate::lora`](crate::Generate::lora). Loading it once is
    /// enough for any number of generations; it stays loaded as long as somebody has it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`](crate::ErrorKind::Core) for a file that is no adapter, or one for another model.
    pub fn load_lora(&self, path: impl AsRef<Path>) -> Result<LoraAdapter> {
        Ok(LoraAdapter::load(self.model(), path)?)
    }
}

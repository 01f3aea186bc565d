//! LoRA adapters of single generations.

use std::path::Path;

use llama_core::LoraAdapter;

use crate::error::Result;
use crate::model::Llama;

/// The adapters that a generation wants, and no others, each with its scale.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adapters(Vec<(LoraAdapter, f32)>);

impl Adapters {
    pub(crate) fn push(&mut self, adapter: &LoraAdapter, scale: f32) {
        self.0.push((adapter.clone(), scale));
    }

    pub(crate) fn list(&self) -> &[(LoraAdapter, f32)] {
        &self.0
    }
}

impl Llama {
    /// Loads a LoRA adapter for this model, to be used by [`Request::lora`](crate::Request::lora). Loading it once is
    /// enough for any number of generations; it stays loaded as long as somebody has it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`](crate::ErrorKind::Core) for a file that is no adapter, or one for another model.
    pub fn load_lora(&self, path: impl AsRef<Path>) -> Result<LoraAdapter> {
        Ok(LoraAdapter::load(self.model(), path)?)
    }
}

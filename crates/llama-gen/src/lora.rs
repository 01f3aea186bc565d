//! LoRA adapters of a generation.

use std::path::Path;

use llama_core::LoraAdapter;

use crate::error::Result;
use crate::model::Llama;

/// The adapters of a generation, each with its scale.
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
    /// Loads a LoRA adapter for this model, to be used with [`Request::lora`](crate::Request::lora). One load is enough for
    /// any number of generations; the adapter stays loaded as long as a clone of it exists.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Core`](crate::ErrorKind::Core) for a file that is not an adapter, or is one for another model.
    pub fn load_lora(&self, path: impl AsRef<Path>) -> Result<LoraAdapter> {
        Ok(LoraAdapter::load(self.model(), path)?)
    }
}

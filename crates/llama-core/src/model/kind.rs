//! The kind of a model, from its architecture.

use super::Model;
use crate::error::Result;
use crate::ffi::guard::guarded;

/// The way in which a model works, which decides what it can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ModelKind {
    /// Continues text, with a cache of keys and values: most models.
    Decoder,
    /// Reads its whole input at once and keeps nothing between batches: BERT and other embedding models.
    Encoder,
    /// An encoder to whose output a decoder attends, like T5.
    EncoderDecoder,
    /// Continues text with a state of fixed size, like Mamba and RWKV.
    Recurrent,
    /// Has [`Decoder`](ModelKind::Decoder) layers and [`Recurrent`](ModelKind::Recurrent) layers, like Jamba.
    Hybrid,
    /// Fills in text in any order, like LLaDA and Dream. Keeps nothing between batches.
    Diffusion,
}

/// The way in which positions enter attention. Corresponds to `llama_rope_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum RopeType {
    /// No rotation.
    None,
    /// Rotated pairs are neighbours.
    Norm,
    /// Rotated pairs are half a head apart.
    Neox,
    /// [`Neox`](RopeType::Neox) with a position of several dimensions.
    Mrope,
    /// [`Mrope`](RopeType::Mrope) with interleaved dimensions.
    Imrope,
    /// The rotation for images.
    Vision,
    /// A type that this version does not know, with llama.cpp's number.
    Other(i32),
}

/// The architectures for which llama.cpp creates no memory and which it does not count as diffusion
/// (llama-model.cpp, `llama_model::create_memory`). No function of llama.cpp reports this before there is a context.
const WITHOUT_MEMORY: &[&str] = &[
    "bert",
    "clef",
    "eurobert",
    "gemma-embedding",
    "gemma-embedding2",
    "jina-bert-v2",
    "jina-bert-v3",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "wavtokenizer-dec",
];

impl Model {
    /// Returns the architecture's name in the file, for example `llama` or `qwen3moe`, or an empty text if there is
    /// none.
    ///
    /// # Errors
    ///
    /// None is expected. An exception inside llama.cpp is reported.
    pub fn architecture(&self) -> Result<String> {
        Ok(self.metadata_value("general.architecture")?.unwrap_or_default())
    }

    /// Returns the kind of the model.
    ///
    /// # Errors
    ///
    /// The errors of [`Model::architecture`].
    pub fn kind(&self) -> Result<ModelKind> {
        Ok(if self.is_diffusion() {
            ModelKind::Diffusion
        } else if self.is_recurrent() {
            ModelKind::Recurrent
        } else if self.is_hybrid() {
            ModelKind::Hybrid
        } else if self.has_encoder() && self.has_decoder() {
            ModelKind::EncoderDecoder
        } else if self.has_encoder() || WITHOUT_MEMORY.contains(&self.architecture()?.as_str()) {
            ModelKind::Encoder
        } else {
            ModelKind::Decoder
        })
    }

    /// Returns the way in which positions enter attention. Corresponds to `llama_model_rope_type`.
    ///
    /// # Errors
    ///
    /// None is expected. An assertion inside llama.cpp is reported instead of aborting.
    pub fn rope_type(&self) -> Result<RopeType> {
        use llama_sys::llama_rope_type as Raw;
        Ok(match self.raw_rope_type()? {
            Raw::LLAMA_ROPE_TYPE_NONE => RopeType::None,
            Raw::LLAMA_ROPE_TYPE_NORM => RopeType::Norm,
            Raw::LLAMA_ROPE_TYPE_NEOX => RopeType::Neox,
            Raw::LLAMA_ROPE_TYPE_MROPE => RopeType::Mrope,
            Raw::LLAMA_ROPE_TYPE_IMROPE => RopeType::Imrope,
            Raw::LLAMA_ROPE_TYPE_VISION => RopeType::Vision,
            other => RopeType::Other(other.0),
        })
    }

    /// Returns C's number for [`Model::rope_type`].
    pub(crate) fn raw_rope_type(&self) -> Result<llama_sys::llama_rope_type> {
        // SAFETY: the handle owns a valid model; the function aborts for unknown architectures.
        unsafe { guarded!(llama_model_rope_type(self.raw())) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree_names::ARCHITECTURES;
    use super::WITHOUT_MEMORY;

    #[test]
    fn llama_cpp_knows_every_architecture() {
        let unknown: Vec<&&str> =
            WITHOUT_MEMORY.iter().filter(|name| !ARCHITECTURES.contains(*name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

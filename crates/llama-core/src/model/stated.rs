//! The properties of a model that was loaded with `vocab_only`, from its file. llama.cpp then reads no
//! hyperparameters (llama-model.cpp, `load_hparams`) and returns zeros.

use core::str::FromStr;

use llama_gguf::TensorInfo;

use super::Model;
use crate::error::{ErrorKind, Result};

/// A model whose properties are read from its file.
#[derive(Clone, Copy)]
pub(super) struct Stated<'m>(&'m Model);

impl Model {
    /// Returns the properties from the file for a model loaded with `vocab_only`, and `None` for a completely loaded
    /// model.
    pub(super) fn stated(&self) -> Option<Stated<'_>> {
        self.params().is_vocab_only().then_some(Stated(self))
    }
}

impl Stated<'_> {
    /// Returns the value of a key of the architecture.
    fn value<T: FromStr>(self, key: &str) -> Option<T> {
        let architecture = self.0.architecture().ok()?;
        self.0.metadata_value(&format!("{architecture}.{key}")).ok()??.parse().ok()
    }

    /// Returns a count, 0 if the file does not state it.
    fn count(self, key: &str) -> u32 {
        self.value(key).unwrap_or(0)
    }

    /// Returns a count, and refuses one that the file does not state or states for each layer.
    fn known(self, key: &str) -> Result<u32> {
        self.value(key).ok_or_else(|| {
            let reason = format!(
                "it was loaded with vocab_only, and the metadata have no single number `{key}`: load it with no_alloc"
            );
            ErrorKind::Unsupported { operation: "telling the number of heads", reason }.into()
        })
    }

    pub(super) fn n_ctx_train(self) -> u32 {
        self.count("context_length")
    }

    pub(super) fn n_embd(self) -> u32 {
        self.count("embedding_length")
    }

    pub(super) fn n_embd_inp(self) -> u32 {
        self.n_embd().saturating_mul(1 + self.count("n_deepstack_layers"))
    }

    pub(super) fn n_embd_out(self) -> u32 {
        self.value("embedding_length_out").filter(|width| *width > 0).unwrap_or_else(|| self.n_embd())
    }

    pub(super) fn n_layer(self) -> u32 {
        self.count("block_count").saturating_sub(self.n_layer_nextn())
    }

    pub(super) fn n_layer_nextn(self) -> u32 {
        self.count("nextn_predict_layers")
    }

    pub(super) fn n_head(self) -> Result<u32> {
        self.known("attention.head_count")
    }

    pub(super) fn n_head_kv(self) -> Result<u32> {
        let architecture = self.0.architecture()?;
        let key = "attention.head_count_kv";
        let is_stated =
            self.value::<u32>(key).is_some() || self.0.origin().is_list(&format!("{architecture}.{key}"));
        if is_stated { self.known(key) } else { self.n_head() }
    }

    pub(super) fn n_swa(self) -> u32 {
        self.count("attention.sliding_window")
    }

    pub(super) fn n_params(self) -> u64 {
        let elements = |tensor: &TensorInfo| tensor.shape().iter().copied().fold(1_u64, u64::saturating_mul);
        self.0.tensors().iter().map(elements).fold(0, u64::saturating_add)
    }

    pub(super) fn size(self) -> u64 {
        self.0.tensors().iter().map(TensorInfo::bytes).fold(0, u64::saturating_add)
    }

    /// Returns the number of the file type.
    pub(super) fn file_type(self) -> Option<i32> {
        self.0.metadata_value("general.file_type").ok()??.parse().ok()
    }

    pub(super) fn description(self) -> String {
        let architecture = self.0.architecture().unwrap_or_default();
        let file_type = self.0.file_type().map(|file_type| format!(" {file_type}")).unwrap_or_default();
        format!("{architecture}{file_type}, vocabulary only")
    }

    pub(super) fn rope_freq_scale_train(self) -> f32 {
        let factor = self.value("rope.scaling.factor").or_else(|| self.value("rope.scale_linear"));
        factor.filter(|factor| *factor != 0.0).map_or(1.0, |factor: f32| 1.0 / factor)
    }

    pub(super) fn decoder_start_token(self) -> Option<i32> {
        self.value("decoder_start_token_id").filter(|token| *token >= 0)
    }

    /// Returns the rows of the classifier's last matrix.
    pub(super) fn n_classifier_outputs(self) -> Option<u32> {
        let [_, rows, ..] = self.0.origin().shape("cls.output.weight")?;
        u32::try_from(rows).ok()
    }
}

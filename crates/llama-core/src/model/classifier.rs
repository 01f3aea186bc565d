//! Models that end in a classifier: rerankers and other models that return scores.

use super::Model;
use crate::error::Result;
use crate::ffi::string::from_c;

impl Model {
    /// Returns the number of a classifier's scores, see [`PoolingType::Rank`](crate::context::PoolingType::Rank). `None` for
    /// a model without a classifier, and for a model loaded with [`vocab_only`](crate::ModelParams::vocab_only)
    /// whose file does not state it. Corresponds to `llama_model_n_cls_out`, whose result has no meaning for those
    /// models.
    ///
    /// # Errors
    ///
    /// None is expected. An exception inside llama.cpp is reported.
    pub fn n_classifier_outputs(&self) -> Result<Option<u32>> {
        if !self.is_classifier()? {
            return Ok(None);
        }
        if let Some(stated) = self.stated() {
            return Ok(stated.n_classifier_outputs());
        }
        // SAFETY: the handle owns a valid model; the function reads a number.
        Ok(Some(unsafe { llama_sys::llama_model_n_cls_out(self.raw()) }))
    }

    /// Returns the names of a classifier's scores, in their order. Empty if the file names none, and for a model
    /// loaded with [`vocab_only`](crate::ModelParams::vocab_only). Corresponds to `llama_model_cls_label`.
    #[must_use]
    pub fn classifier_labels(&self) -> Vec<String> {
        // SAFETY: the handle owns a valid model; the function checks the index, and the model owns the label.
        (0..)
            .map_while(|index| unsafe { from_c(llama_sys::llama_model_cls_label(self.raw(), index)) })
            .collect()
    }

    /// Returns whether the file has a classifier's tensors, names its outputs, or requests its pooling.
    fn is_classifier(&self) -> Result<bool> {
        let has_tensors =
            || self.tensors().iter().any(|tensor| tensor.name().as_bytes().starts_with(b"cls."));
        // SAFETY: as in `classifier_labels`.
        let has_label = !unsafe { llama_sys::llama_model_cls_label(self.raw(), 0) }.is_null();
        if has_label || has_tensors() {
            return Ok(true);
        }
        self.wants_ranks()
    }

    /// Returns whether the file requests the pooling of a classifier.
    pub(crate) fn wants_ranks(&self) -> Result<bool> {
        let pooling = self.metadata_value(&format!("{}.pooling_type", self.architecture()?))?;
        let rank = llama_sys::llama_pooling_type::LLAMA_POOLING_TYPE_RANK.0.to_string();
        Ok(pooling.is_some_and(|pooling| pooling == rank))
    }

    /// Returns whether the model has a classifier's weights. Without any of them llama.cpp's graph ends in the
    /// hidden state (llama-graph.cpp, `build_pooling`).
    pub(crate) fn has_classifier(&self) -> bool {
        ["cls.weight", "cls.output.weight"].iter().any(|name| self.origin().shape(name).is_some())
    }
}

//! Embeddings of the last batch.

use crate::context::{Context, PoolingType};
use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::logits::no_output;
use crate::token::SeqId;

/// Scales a vector to length 1 (the root of the sum of squares), so that the dot product of two such vectors is
/// their cosine similarity. A vector of zeros is unchanged.
///
/// ```
/// let mut row = [3.0, 4.0];
/// llama_core::embeddings::normalize_l2(&mut row);
/// assert_eq!(row, [0.6, 0.8]);
/// ```
pub fn normalize_l2(row: &mut [f32]) {
    let length = row.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
    if length > 0.0 {
        for value in row {
            #[allow(clippy::cast_possible_truncation, reason = "rounds to the nearest float")]
            {
                *value = (f64::from(*value) / length) as f32;
            }
        }
    }
}

impl Context {
    /// Returns the embedding of the token at `index` in the last batch, `n_embd_out` floats. For contexts with
    /// [`PoolingType::None`] that compute embeddings.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoOutput`], [`ErrorKind::Unsupported`] for a context that pools, [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_get_embeddings_ith`.
    pub fn embeddings(&self, index: impl Into<Option<usize>>) -> Result<&[f32]> {
        self.check_not_pooled()?;
        let index = self.check_output(index.into(), "embeddings")?;
        if !self.computed().embeddings {
            return Err(no_output(index, "embeddings", "create the context with embeddings(true)"));
        }
        let raw = self.raw();
        // SAFETY: the context is valid and the index has an output (`check_output`).
        let row = self.read(|| unsafe { guarded!(llama_get_embeddings_ith(raw, index)) })?;
        if row.is_null() {
            return Err(no_output(index, "embeddings", "create the context with embeddings(true)"));
        }
        // SAFETY: the row has n_embd_out floats (llama-context.cpp, get_embeddings_ith) in a buffer that
        // moves or changes only in functions that take `&mut self`.
        Ok(unsafe { core::slice::from_raw_parts(row, self.model().n_embd_out() as usize) })
    }

    /// Returns the embeddings of all tokens of the last batch that have an output, in the batch's order, each with
    /// its index in the batch. For contexts with [`PoolingType::None`] that compute embeddings.
    ///
    /// # Errors
    ///
    /// The errors of [`Context::embeddings`].
    ///
    /// Corresponds to `llama_get_embeddings`.
    pub fn embeddings_rows(&self) -> Result<impl Iterator<Item = (usize, &[f32])>> {
        self.check_not_pooled()?;
        if !self.outputs().is_empty() && !self.computed().embeddings {
            return Err(no_output(0, "embeddings", "create the context with embeddings(true)"));
        }
        let raw = self.raw();
        // SAFETY: the context is valid; the function returns the start of its rows, which `rows` has put in order.
        self.rows("embeddings", self.model().n_embd_out() as usize, move || unsafe {
            guarded!(llama_get_embeddings(raw))
        })
    }

    fn check_not_pooled(&self) -> Result<()> {
        if self.pooling_type() == PoolingType::None {
            return Ok(());
        }
        let reason = "the context pools embeddings: use embeddings_seq".to_owned();
        Err(ErrorKind::Unsupported { operation: "the embedding of a token", reason }.into())
    }

    /// Returns the pooled embedding of a sequence of the last batch: `n_embd_out` floats, or the class scores of a
    /// reranker.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSeqId`], [`ErrorKind::NoOutput`] if the sequence was not in the last batch,
    /// [`ErrorKind::Unsupported`] for a context that does not pool, [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_get_embeddings_seq`.
    pub fn embeddings_seq(&self, seq_id: SeqId) -> Result<&[f32]> {
        self.check_poison()?;
        self.check_seq_id(seq_id)?;
        let width = match self.pooling_type() {
            PoolingType::None => {
                let reason = "the context does not pool: use embeddings, or set a pooling type".to_owned();
                return Err(
                    ErrorKind::Unsupported { operation: "the embedding of a sequence", reason }.into()
                );
            }
            // SAFETY: the model is valid, and a reranker: the function is only called for those.
            PoolingType::Rank => unsafe { llama_sys::llama_model_n_cls_out(self.model().raw()) },
            _ => self.model().n_embd_out(),
        };
        if self.outputs().is_empty() {
            return Err(no_output(0, "embeddings", "no batch was decoded"));
        }
        let raw = self.raw();
        // SAFETY: the context is valid; the function looks the id up in a map.
        let row = self.read(|| unsafe { guarded!(llama_get_embeddings_seq(raw, seq_id.get())) })?;
        if row.is_null() {
            return Err(no_output(0, "embeddings", "the sequence was not in the last batch"));
        }
        // SAFETY: the vector in the map has `width` floats (llama-context.cpp, decode) and changes only in functions
        // that take `&mut self`.
        Ok(unsafe { core::slice::from_raw_parts(row, width as usize) })
    }
}

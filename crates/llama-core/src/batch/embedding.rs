//! Entries of a batch that are, or carry, rows of floats.

use super::Batch;
use crate::error::{ParameterProblem, Result};
use crate::token::{Pos, SeqId, Token};

/// The position of an embedding: a position in the sequence and, for models with `RoPE` in several dimensions
/// (Qwen2-VL and its successors), a position in an image or video. Other models use only the first number.
///
/// A plain [`Pos`] converts to the position that a token would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MultiPos(pub(crate) [llama_sys::llama_pos; 4]);

impl MultiPos {
    /// Creates a position from the position in the sequence (time), the row, the column, and a fourth number, which
    /// is 0 for all known models.
    #[must_use]
    pub const fn new(t: Pos, y: Pos, x: Pos, z: Pos) -> Self {
        Self([t.get(), y.get(), x.get(), z.get()])
    }
}

impl From<Pos> for MultiPos {
    /// Extends a position as llama.cpp does for a token (llama-batch.cpp, `llama_batch_allocr::init`).
    fn from(pos: Pos) -> Self {
        Self([pos.get(), pos.get(), pos.get(), 0])
    }
}

/// Rows of equal length.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    /// Number of floats in a row; 0 as long as there is no row.
    pub(crate) width: usize,
    pub(crate) values: Vec<f32>,
}

/// The entry of a row, and its position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) index: usize,
    pub(crate) pos: [llama_sys::llama_pos; 4],
}

impl Rows {
    pub(super) const fn new() -> Self {
        Self { width: 0, values: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.width = 0;
        self.values.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the number of rows.
    pub(crate) fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// Refuses rows of another width, and values that are not finite: an infinity becomes NaN in the model's first
    /// normalisation, and ggml sorts the scores of experts with a comparison that NaN breaks (ops.cpp,
    /// `cmp_argsort`).
    fn check(&self, name: &'static str, row: &[f32]) -> Result<()> {
        let invalid =
            |value: String, expected: String| Err(ParameterProblem::new(name, value, expected).into());
        if row.is_empty() || (self.width != 0 && row.len() != self.width) {
            let reason = match self.width {
                0 => "as wide as the model takes it, see Model::n_embd_inp".to_owned(),
                width => format!("{width} floats wide, as the rows before it in the batch"),
            };
            return invalid(format!("a row of {} floats", row.len()), reason);
        }
        match row.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => invalid(format!("{} at index {at}", row[at]), "finite".to_owned()),
        }
    }

    fn push(&mut self, row: &[f32]) {
        self.width = row.len();
        self.values.extend_from_slice(row);
    }
}

impl Batch {
    /// Adds an embedding in place of a token: [`Model::n_embd_inp`](crate::Model::n_embd_inp) finite floats. Returns
    /// its index in the batch.
    ///
    /// Most models accept batches that mix tokens and embeddings. Others, and all models in
    /// [`ContextType::Mtp`](crate::context::ContextType::Mtp), refuse them with
    /// [`DecodeError::InvalidBatch`](crate::DecodeError::InvalidBatch).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`](crate::ErrorKind::InvalidParameter) for an empty list of sequences, for a row of another width than earlier ones,
    /// and for values that are not finite. The width, ids and positions are checked when the batch is decoded.
    ///
    /// Corresponds to `llama_batch_ext_add`, `llama_batch_ext_add_embd` and `llama_batch_ext_set_pos`.
    pub fn push_embedding(
        &mut self,
        embedding: &[f32],
        pos: impl Into<MultiPos>,
        seq_ids: &[SeqId],
        output: bool,
    ) -> Result<usize> {
        self.rows.check("embedding", embedding)?;
        let MultiPos(pos) = pos.into();
        let index = self.push_entry(llama_sys::LLAMA_TOKEN_NULL, Pos::new(pos[0]), seq_ids, output)?;
        self.rows.push(embedding);
        self.places.push(Place { index, pos });
        Ok(index)
    }

    /// Adds a token together with an embedding, for models that use both, such as draft models; other models ignore
    /// the embedding. Either all entries of a batch are of this kind, or none. Returns its index in the batch.
    ///
    /// # Errors
    ///
    /// The errors of [`push_embedding`](Batch::push_embedding), and [`ErrorKind::InvalidParameter`](crate::ErrorKind::InvalidParameter) for a negative
    /// token.
    ///
    /// Corresponds to `llama_batch_ext_set_embd_token`.
    pub fn push_token_and_embedding(
        &mut self,
        token: Token,
        embedding: &[f32],
        pos: Pos,
        seq_ids: &[SeqId],
        output: bool,
    ) -> Result<usize> {
        if token.get() < 0 {
            let expected = "at least 0: for an embedding alone use push_embedding";
            return Err(ParameterProblem::new("token", token, expected).into());
        }
        self.rows.check("embedding", embedding)?;
        let index = self.push(token, pos, seq_ids, output)?;
        self.rows.push(embedding);
        self.places.push(Place { index, pos: MultiPos::from(pos).0 });
        Ok(index)
    }

    /// Adds the state embedding of the next entry that has none: the hidden state of an earlier stage, for contexts
    /// of [`ContextType::Mtp`](crate::context::ContextType::Mtp), [`Model::n_embd_out`](crate::Model::n_embd_out) finite
    /// floats. Call it once for each entry, in order.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`](crate::ErrorKind::InvalidParameter) if all entries have a state, for a row of another width than earlier ones,
    /// and for values that are not finite.
    ///
    /// Corresponds to `llama_batch_ext_set_embd_state`.
    pub fn push_state(&mut self, state: &[f32]) -> Result<()> {
        if self.states.len() == self.len() {
            return Err(ParameterProblem::new(
                "state",
                format_args!("row {}", self.states.len()),
                format!("one of {} rows: each entry of the batch has its state", self.len()),
            )
            .into());
        }
        self.states.check("state", state)?;
        self.states.push(state);
        Ok(())
    }
}

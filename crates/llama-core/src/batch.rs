//! Batches: the input of one call of [`Context::decode`](crate::Context::decode).

mod embedding;

pub use embedding::MultiPos;
pub(crate) use embedding::{Place, Rows};

use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::token::{Pos, SeqId, Token};

/// Tokens to decode, each with its position, its sequences, and whether its outputs are wanted.
///
/// An entry can also be an embedding instead of a token: a row of floats that replaces the model's own embedding,
/// for example a part of an image encoded by another model ([`push_embedding`](Batch::push_embedding)).
///
/// A batch is memory owned by Rust: it grows as needed, and [`clear`](Batch::clear) keeps the memory. It is checked
/// against the context when it is decoded. Corresponds to `llama_batch` and `llama_batch_ext`.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Token ids; `LLAMA_TOKEN_NULL` for entries that are only an embedding.
    pub(crate) tokens: Vec<llama_sys::llama_token>,
    /// Positions in the sequence; for embeddings the first of their positions.
    pub(crate) positions: Vec<llama_sys::llama_pos>,
    /// Number of sequences of each entry.
    pub(crate) seq_id_counts: Vec<i32>,
    /// The sequences of all entries, concatenated.
    pub(crate) seq_ids: Vec<llama_sys::llama_seq_id>,
    /// 1 for each entry whose outputs are wanted, 0 otherwise.
    pub(crate) outputs: Vec<i8>,
    /// The embeddings.
    pub(crate) rows: Rows,
    /// The entry of each row of `rows`, in ascending order.
    pub(crate) places: Vec<Place>,
    /// The state embeddings, either of no entry or of all.
    pub(crate) states: Rows,
}

impl Batch {
    /// Creates an empty batch.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            tokens: Vec::new(),
            positions: Vec::new(),
            seq_id_counts: Vec::new(),
            seq_ids: Vec::new(),
            outputs: Vec::new(),
            rows: Rows::new(),
            places: Vec::new(),
            states: Rows::new(),
        }
    }

    /// Creates an empty batch with capacity for `tokens` tokens of one sequence each. If there is not enough memory,
    /// the batch starts without capacity and grows as needed.
    #[must_use]
    pub fn with_capacity(tokens: usize) -> Self {
        let mut batch = Self::new();
        let reserved = batch
            .tokens
            .try_reserve(tokens)
            .and_then(|()| batch.positions.try_reserve(tokens))
            .and_then(|()| batch.seq_id_counts.try_reserve(tokens))
            .and_then(|()| batch.seq_ids.try_reserve(tokens))
            .and_then(|()| batch.outputs.try_reserve(tokens));
        if reserved.is_ok() { batch } else { Self::new() }
    }

    /// Returns the number of tokens and embeddings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Returns whether there are no tokens and no embeddings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Removes all tokens and embeddings but keeps the allocated memory. Corresponds to `llama_batch_ext_clear`.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.seq_id_counts.clear();
        self.seq_ids.clear();
        self.outputs.clear();
        self.rows.clear();
        self.places.clear();
        self.states.clear();
    }

    /// Adds a token at a position of one or more sequences; `output` says whether its logits (and embeddings) are
    /// wanted. Returns its index in the batch, which identifies its outputs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] for an empty list of sequences. Ids and positions are checked when the batch
    /// is decoded.
    ///
    /// Corresponds to `llama_batch_ext_add_token`, `llama_batch_ext_add_seq`, `llama_batch_ext_set_pos`,
    /// `llama_batch_ext_set_output_logits` and `llama_batch_ext_set_output_embd`; the last two are equivalent.
    pub fn push(&mut self, token: Token, pos: Pos, seq_ids: &[SeqId], output: bool) -> Result<usize> {
        self.push_entry(token.get(), pos, seq_ids, output)
    }

    fn push_entry(&mut self, token: i32, pos: Pos, seq_ids: &[SeqId], output: bool) -> Result<usize> {
        let count = i32::try_from(seq_ids.len()).unwrap_or(i32::MAX);
        if count == 0 {
            return Err(ParameterProblem::new("seq_ids", "[]", "a list of at least one sequence").into());
        }
        self.tokens.push(token);
        self.positions.push(pos.get());
        self.seq_id_counts.push(count);
        match seq_ids {
            // Most tokens have one sequence: pushing one number is faster than copying a slice.
            [seq_id] => self.seq_ids.push(seq_id.get()),
            _ => self.seq_ids.extend(seq_ids.iter().map(|seq_id| seq_id.get())),
        }
        self.outputs.push(i8::from(output));
        Ok(self.tokens.len() - 1)
    }

    /// Adds the tokens of one sequence from a position on, with outputs for the last one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPosition`] if a position would exceed 2147483647.
    pub fn push_prompt(&mut self, tokens: &[Token], seq_id: SeqId, first: Pos) -> Result<()> {
        let end = i64::from(first.get()).saturating_add(i64::try_from(tokens.len()).unwrap_or(i64::MAX));
        if end > i64::from(i32::MAX) {
            return Err(ErrorKind::InvalidPosition {
                pos: first.get(),
                seq_id: seq_id.get(),
                reason: format!(
                    "with {} tokens from there on, positions would exceed {}",
                    tokens.len(),
                    i32::MAX
                ),
            }
            .into());
        }
        // `tokens` comes first in the zip: an empty slice then asks for no position after the last.
        for ((index, token), pos) in tokens.iter().enumerate().zip(first.get()..) {
            self.push(*token, Pos::new(pos), &[seq_id], index + 1 == tokens.len())?;
        }
        Ok(())
    }

    /// Sets whether the outputs of a token are wanted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] for an index that is not in the batch.
    pub fn set_output(&mut self, index: usize, output: bool) -> Result<()> {
        let len = self.len();
        match self.outputs.get_mut(index) {
            Some(slot) => {
                *slot = i8::from(output);
                Ok(())
            }
            None => Err(ParameterProblem::new(
                "index",
                index,
                format!("an index of the batch's {len} tokens (0..{len})"),
            )
            .into()),
        }
    }

    /// Returns the index of the last token whose outputs are wanted.
    #[must_use]
    pub fn last_output(&self) -> Option<usize> {
        self.outputs.iter().rposition(|output| *output != 0)
    }

    /// Returns the tokens. An entry that is an embedding has the id -1.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = Token> {
        self.tokens.iter().map(|token| Token::new(*token))
    }

    /// Returns the sequences and positions of the entries, in order.
    #[inline]
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut seq_ids = self.seq_ids.as_slice();
        self.positions.iter().zip(&self.seq_id_counts).map(move |(pos, count)| {
            // The counts of all entries add up to the length of `seq_ids` (`push_entry`).
            let (own, rest) = seq_ids.split_at(usize::try_from(*count).unwrap_or(0).min(seq_ids.len()));
            seq_ids = rest;
            Entry { pos: *pos, seq_ids: own }
        })
    }
}

/// An entry's position and sequences.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'b> {
    pub(crate) pos: llama_sys::llama_pos,
    pub(crate) seq_ids: &'b [llama_sys::llama_seq_id],
}

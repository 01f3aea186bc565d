//! Batches: the tokens of one call of [`Context::decode`](crate::Context::decode).

use crate::error::{ErrorKind, Result};
use crate::token::{Pos, SeqId, Token};

/// Tokens to compute, each with its position, its sequences, and whether its results are wanted.
///
/// A batch is Rust's own memory: it grows as needed, and [`clear`](Batch::clear) keeps it for the next use. It
/// is checked against the context when it is decoded. Corresponds to `llama_batch`.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) tokens: Vec<llama_sys::llama_token>,
    pub(crate) positions: Vec<llama_sys::llama_pos>,
    /// For each token the number of its sequences.
    pub(crate) seq_id_counts: Vec<i32>,
    /// The sequences of all tokens, one after the other.
    pub(crate) seq_ids: Vec<llama_sys::llama_seq_id>,
    /// For each token 1 when its results are wanted.
    pub(crate) outputs: Vec<i8>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            tokens: Vec::new(),
            positions: Vec::new(),
            seq_id_counts: Vec::new(),
            seq_ids: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// An empty batch with room for that many tokens of one sequence each.
    #[must_use]
    pub fn with_capacity(tokens: usize) -> Self {
        Self {
            tokens: Vec::with_capacity(tokens),
            positions: Vec::with_capacity(tokens),
            seq_id_counts: Vec::with_capacity(tokens),
            seq_ids: Vec::with_capacity(tokens),
            outputs: Vec::with_capacity(tokens),
        }
    }

    /// The number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are no tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Removes all tokens and keeps the memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.seq_id_counts.clear();
        self.seq_ids.clear();
        self.outputs.clear();
    }

    /// Adds a token at a position of one or more sequences; `output` says whether its logits (and embeddings) are
    /// wanted. Returns its index in the batch, by which the results are found.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] for no sequence at all. Ids and positions are checked when the batch is
    /// decoded.
    pub fn push(&mut self, token: Token, pos: Pos, seq_ids: &[SeqId], output: bool) -> Result<usize> {
        let count = i32::try_from(seq_ids.len()).unwrap_or(i32::MAX);
        if count == 0 {
            return Err(ErrorKind::InvalidParameter {
                name: "seq_ids",
                value: "[]".to_owned(),
                reason: "a token belongs to at least one sequence".to_owned(),
            }
            .into());
        }
        self.tokens.push(token.get());
        self.positions.push(pos.get());
        self.seq_id_counts.push(count);
        self.seq_ids.extend(seq_ids.iter().map(|seq_id| seq_id.get()));
        self.outputs.push(i8::from(output));
        Ok(self.tokens.len() - 1)
    }

    /// Adds the tokens of one sequence from a position on, with results for the last of them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPosition`] when a position would pass 2147483647.
    pub fn push_prompt(&mut self, tokens: &[Token], seq_id: SeqId, first: Pos) -> Result<()> {
        let end = i64::from(first.get()).saturating_add(i64::try_from(tokens.len()).unwrap_or(i64::MAX));
        if end > i64::from(i32::MAX) {
            return Err(ErrorKind::InvalidPosition {
                pos: first.get(),
                seq_id: seq_id.get(),
                reason: format!("with {} tokens from there, positions would pass {}", tokens.len(), i32::MAX),
            }
            .into());
        }
        for (pos, (index, token)) in (first.get()..).zip(tokens.iter().enumerate()) {
            self.push(*token, Pos::new(pos), &[seq_id], index + 1 == tokens.len())?;
        }
        Ok(())
    }

    /// Sets whether the results of a token are wanted.
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
            None => Err(ErrorKind::InvalidParameter {
                name: "index",
                value: index.to_string(),
                reason: format!("the batch has {len} tokens"),
            }
            .into()),
        }
    }

    /// The index of the last token whose results are wanted.
    #[must_use]
    pub fn last_output(&self) -> Option<usize> {
        self.outputs.iter().rposition(|output| *output != 0)
    }

    /// The tokens.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = Token> {
        self.tokens.iter().map(|token| Token::new(*token))
    }
}

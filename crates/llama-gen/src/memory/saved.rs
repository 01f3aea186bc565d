//! Contexts that are copied, and whose memory is saved to a file and loaded from it.

use std::path::Path;
use std::sync::Arc;

use llama_core::state::StatePart;
use llama_core::{Context, Token};

use super::board::Board;
use super::executor::{ContextExecutor, Executor as _};
use super::idle::{Idle, ONLY};
use super::lease::Lease;
use crate::error::Result;

impl Idle {
    /// Copies a context with what is in its memory, for another pool of the same kind. Checkpoints are not copied.
    pub(crate) fn try_clone(self: &Arc<Self>, board: &mut Board) -> Result<Lease> {
        let context = board.executor.context.try_clone()?;
        let mut clone = Board::new(ContextExecutor::new(context), 1, self.checkpoint_bytes())?;
        clone.fill_as(board);
        Ok(Lease::new(clone, Arc::clone(self)))
    }

    /// Creates a context with the memory that [`Board::save`] has written. `None` when the file holds another text than
    /// these tokens.
    pub(crate) fn load(self: &Arc<Self>, path: &Path, tokens: &[Token]) -> Result<Option<Lease>> {
        let mut board = self.new_board(self.params())?;
        let sequence = board.cells(ONLY).sequence();
        let context: &mut Context = &mut board.executor.context;
        let saved = context.load_seq_state(path, sequence, StatePart::All)?;
        let last = board.executor.last_position(sequence)?;
        if saved != tokens || last != tokens.len().checked_sub(1) {
            return Ok(None);
        }
        board.fill(saved);
        Ok(Some(Lease::new(board, Arc::clone(self))))
    }
}

impl Board {
    /// Saves the memory of the first sequence with its tokens.
    pub(crate) fn save(&mut self, path: &Path) -> Result<()> {
        let cells = self.cells(ONLY);
        let (sequence, tokens) = (cells.sequence(), cells.tokens().to_vec());
        Ok(self.executor.context.save_seq_state(path, sequence, StatePart::All, &tokens)?)
    }
}

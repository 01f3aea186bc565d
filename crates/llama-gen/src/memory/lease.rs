//! A context that is in use and goes back to its pool when it is dropped.

use core::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::board::Board;
use super::idle::Idle;

/// A board of one sequence, on loan from a pool. Dropping it gives it back with what is in its memory.
#[derive(Debug)]
pub(crate) struct Lease {
    /// `None` only while it is being given back.
    board: Option<Board>,
    pool: Arc<Idle>,
}

impl Lease {
    pub(super) fn new(board: Board, pool: Arc<Idle>) -> Self {
        Self { board: Some(board), pool }
    }

    /// Makes it go to another pool when it is dropped.
    #[cfg(feature = "chat")]
    pub(crate) fn move_to(&mut self, pool: &Arc<Idle>) {
        self.pool = Arc::clone(pool);
    }
}

impl Deref for Lease {
    type Target = Board;

    fn deref(&self) -> &Board {
        self.board.as_ref().expect("the board is there until the lease is dropped")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Board {
        self.board.as_mut().expect("the board is there until the lease is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(mut board) = self.board.take()
            && board.unwatch().is_ok()
        {
            self.pool.put(board);
        }
    }
}

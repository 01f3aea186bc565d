//! The pool of contexts that no generation uses now.

use core::cell::RefCell;
use std::sync::Arc;

use llama_core::plan::MemoryUse;
use llama_core::{Context, ContextParams, Model, Token};
use parking_lot::ReentrantMutex;

use super::board::{Board, SequenceIndex};
use super::executor::ContextExecutor;
use super::lease::Lease;
use crate::error::Result;
use crate::lora::Adapters;

/// The only sequence of a board in a pool.
pub(crate) const ONLY: SequenceIndex = 0;

/// Contexts of one model that no generation uses now, each with the tokens in its memory.
#[derive(Debug)]
pub(crate) struct Idle {
    model: Model,
    params: ContextParams,
    /// The most contexts that are kept.
    most: usize,
    /// The most bytes of checkpoints of each.
    checkpoint_bytes: usize,
    /// The least recently used first. A thread that comes here again while it looks through them, from a log subscriber,
    /// finds none.
    boards: ReentrantMutex<RefCell<Vec<Board>>>,
}

impl Idle {
    /// Creates an empty pool. Its contexts have room for the logits of one token of a batch, which is all that a
    /// generation needs.
    pub(crate) fn new(model: Model, params: ContextParams, most: usize, checkpoint_bytes: usize) -> Self {
        let params = params.plan_outputs(1);
        Self { model, params, most, checkpoint_bytes, boards: ReentrantMutex::default() }
    }

    /// Takes a context without adapters and with room for the logits of `n_outputs` tokens of a batch. Its memory may hold
    /// something.
    pub(crate) fn take_for_outputs(self: &Arc<Self>, n_outputs: u32) -> Result<Lease> {
        let (found, oldest) = self.find_room(n_outputs);
        // Its memory is freed before more is taken.
        drop(oldest);
        let board = match found {
            Some(board) => board,
            None => self.new_board(&self.params.clone().plan_outputs(n_outputs))?,
        };
        self.lend(board, &Adapters::default())
    }

    /// Takes the context that holds the longest prefix of the prompt, or a new one, and attaches these adapters.
    pub(crate) fn take_with(self: &Arc<Self>, prompt: &[Token], adapters: &Adapters) -> Result<Lease> {
        let board = match self.find_prefix(prompt, adapters)? {
            Some(board) => board,
            None => self.new_board(&self.params)?,
        };
        self.lend(board, adapters)
    }

    fn lend(self: &Arc<Self>, board: Board, adapters: &Adapters) -> Result<Lease> {
        let mut lease = Lease::new(board, Arc::clone(self));
        lease.adapt(adapters)?;
        Ok(lease)
    }

    pub(super) fn new_board(&self, params: &ContextParams) -> Result<Board> {
        let context = Context::new(&self.model, params)?;
        Board::new(ContextExecutor::new(context), 1, self.checkpoint_bytes)
    }

    /// Creates a context of its own with `n_sequences` sequences that share what they have in common, and with room for
    /// `n_cells` tokens of all of them and the logits of one token of each.
    pub(crate) fn new_shared(
        &self,
        n_sequences: usize,
        n_cells: usize,
        adapters: &Adapters,
    ) -> Result<Board> {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let params = self.params.clone();
        let params = params
            .n_ctx(number(n_cells))
            .n_seq_max(number(n_sequences))
            .plan_outputs(number(n_sequences))
            .kv_unified(true);
        let context = Context::new(&self.model, &params)?;
        let mut board = Board::new(ContextExecutor::new(context), n_sequences, 0)?;
        board.adapt(adapters)?;
        Ok(board)
    }

    /// Creates an empty pool of the same kind, with room for one context.
    #[cfg(feature = "chat")]
    pub(crate) fn alone(&self) -> Arc<Self> {
        Arc::new(Self::new(self.model.clone(), self.params.clone(), 1, self.checkpoint_bytes))
    }

    /// Takes the least recently used context, if there is one.
    #[cfg(feature = "chat")]
    pub(crate) fn take_oldest(self: &Arc<Self>) -> Option<Lease> {
        let boards = self.boards.lock();
        let mut boards = boards.try_borrow_mut().ok()?;
        (!boards.is_empty()).then(|| Lease::new(boards.remove(0), Arc::clone(self)))
    }

    #[cfg(feature = "chat")]
    pub(super) fn params(&self) -> &ContextParams {
        &self.params
    }

    #[cfg(feature = "chat")]
    pub(super) fn checkpoint_bytes(&self) -> usize {
        self.checkpoint_bytes
    }

    /// Takes out a context with room for the logits of `n_outputs` tokens, or else the one that must go for a new one.
    fn find_room(&self, n_outputs: u32) -> (Option<Board>, Option<Board>) {
        let boards = self.boards.lock();
        let Ok(mut boards) = boards.try_borrow_mut() else { return (None, None) };
        if let Some(index) = boards.iter().position(|board| board.has_room_for_outputs(n_outputs)) {
            return (Some(boards.remove(index)), None);
        }
        let is_full = !boards.is_empty() && boards.len() >= self.most;
        (None, is_full.then(|| boards.remove(0)))
    }

    /// Takes out the context with the longest prefix of the prompt. `None` when another context is to be made so that
    /// nothing in memory is lost: while there is room for one, and the prefix is less than half of what is in memory.
    fn find_prefix(&self, prompt: &[Token], adapters: &Adapters) -> Result<Option<Board>> {
        let boards = self.boards.lock();
        let Ok(mut boards) = boards.try_borrow_mut() else { return Ok(None) };
        let mut best = None;
        for (index, board) in boards.iter_mut().enumerate() {
            let reusable = if board.has_adapters(adapters) { board.reusable(ONLY, prompt)? } else { 0 };
            if best.is_none_or(|(_, most)| reusable > most) {
                best = Some((index, reusable));
            }
        }
        let Some((index, reusable)) = best else { return Ok(None) };
        if boards.len() < self.most && reusable * 2 < boards[index].cells(ONLY).len() {
            return Ok(None);
        }
        Ok(Some(boards.remove(index)))
    }

    /// Takes a context back for the next prompt, with what is in its memory.
    pub(super) fn put(&self, board: Board) {
        if board.is_broken() || self.most == 0 {
            return;
        }
        // Freeing a context takes a while, and is done when the lock is free again.
        drop(self.exchange(board));
    }

    /// Adds a context. Returns the one that has to go for it.
    fn exchange(&self, board: Board) -> Option<Board> {
        let boards = self.boards.lock();
        let Ok(mut boards) = boards.try_borrow_mut() else { return Some(board) };
        let oldest = (boards.len() >= self.most).then(|| boards.remove(0));
        boards.push(board);
        oldest
    }
}

impl Board {
    /// The context itself, for whoever computes more than one token at a time. The ledgers must be emptied before and
    /// afterwards.
    pub(crate) fn context(&mut self) -> &mut Context {
        &mut self.executor.context
    }

    fn has_room_for_outputs(&self, n_outputs: u32) -> bool {
        let params = self.executor.context.params();
        params.n_outputs_max >= n_outputs.min(params.n_batch)
    }

    pub(crate) fn has_memory(&self) -> bool {
        self.executor.context.has_memory()
    }

    /// Stops the computation in the middle, on the CPU, when the callback returns true.
    pub(crate) fn watch(&mut self, is_over: impl FnMut() -> bool + Send + 'static) -> Result<()> {
        self.executor.context.set_abort_callback(is_over)?;
        self.is_watched = true;
        Ok(())
    }

    pub(super) fn unwatch(&mut self) -> Result<()> {
        if self.is_watched {
            self.executor.context.clear_abort_callback()?;
            self.is_watched = false;
        }
        Ok(())
    }

    /// Returns the memory that the context and its model use. Empty when a prebuilt library cannot tell.
    pub(crate) fn memory_use(&self) -> Vec<MemoryUse> {
        self.executor.context.memory_use().unwrap_or_default()
    }
}

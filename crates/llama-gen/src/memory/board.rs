//! A context with the ledgers of its sequences and the batch that is being filled.

use llama_core::{Logits, SeqId, Token};

use super::cells::{Cells, Gap};
use super::executor::{ContextExecutor, DecodeStop, Entry, Executor, Limits};
use crate::error::{Error, Result};
use crate::lora::Adapters;

/// The number of a sequence of a board, from 0.
pub(crate) type SequenceIndex = usize;

/// An executor with one ledger for each of its sequences.
#[derive(Debug)]
pub(crate) struct Board<E = ContextExecutor> {
    pub(super) executor: E,
    limits: Limits,
    cells: Vec<Cells>,
    batch: Vec<Entry>,
    /// Which sequences the batch is for, and where in it each part ends.
    parts: Vec<(SequenceIndex, usize)>,
    /// Whether an abort callback is set.
    pub(super) is_watched: bool,
    /// Whether a batch is being computed. It stays true when a panic of a callback ends that: the ledgers are not true then.
    is_decoding: bool,
}

/// A batch that was not computed to its end.
#[derive(Debug)]
pub(crate) struct DecodeFailure {
    pub(crate) error: Error,
    /// Whether the abort callback stopped it.
    pub(crate) is_aborted: bool,
    /// For each part of the batch, in its order, the last tokens of the sequence that are not in memory now.
    pub(crate) lost: Vec<Vec<Token>>,
}

impl<E: Executor> Board<E> {
    /// Creates a board of an executor with `n_sequences` empty sequences. `budget` is the most bytes of checkpoints of
    /// each.
    pub(crate) fn new(mut executor: E, n_sequences: usize, budget: usize) -> Result<Self> {
        let traits = executor.traits()?;
        let sequence = |index: usize| SeqId::new(i32::try_from(index).unwrap_or(i32::MAX));
        let cells = |index| Cells::new(sequence(index), n_sequences == 1, traits, budget);
        Ok(Self {
            limits: executor.limits(),
            cells: (0..n_sequences).map(cells).collect(),
            executor,
            batch: Vec::new(),
            parts: Vec::new(),
            is_watched: false,
            is_decoding: false,
        })
    }

    /// Allows each sequence at most `n_ctx` tokens, although the context could hold more.
    pub(crate) fn limit_sequences(&mut self, n_ctx: usize) {
        self.limits.n_ctx = self.limits.n_ctx.min(n_ctx);
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// The ledger of a sequence.
    pub(crate) fn cells(&self, index: SequenceIndex) -> &Cells {
        &self.cells[index]
    }

    /// Whether it is not known what the memory holds.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_decoding || self.executor.is_poisoned()
    }

    /// Notes that the first sequence holds these tokens, which were loaded from a file.
    #[cfg(feature = "chat")]
    pub(super) fn fill(&mut self, tokens: Vec<Token>) {
        self.cells[0].fill(tokens);
    }

    /// Notes that the first sequence holds what that of another board does, of which this one is a copy.
    #[cfg(feature = "chat")]
    pub(super) fn fill_as(&mut self, other: &Self) {
        self.cells[0].fill_as(&other.cells[0]);
    }

    /// Keeps the longest possible prefix of a prompt in a sequence. Returns its length.
    pub(crate) fn prepare(&mut self, index: SequenceIndex, prompt: &[Token]) -> Result<usize> {
        self.cells[index].prepare(&mut self.executor, prompt)
    }

    /// Returns how many tokens of a prompt can stay in a sequence.
    pub(crate) fn reusable(&mut self, index: SequenceIndex, prompt: &[Token]) -> Result<usize> {
        self.cells[index].reusable(&mut self.executor, prompt)
    }

    /// Empties a sequence.
    pub(crate) fn forget(&mut self, index: SequenceIndex) -> Result<()> {
        self.cells[index].forget(&mut self.executor)
    }

    /// Drops a range of tokens of a sequence and moves the rest down.
    pub(crate) fn shift(&mut self, index: SequenceIndex, gap: Gap) -> Result<()> {
        self.cells[index].shift(&mut self.executor, gap)
    }

    /// Keeps a checkpoint of a sequence.
    pub(crate) fn checkpoint(&mut self, index: SequenceIndex) -> Result<()> {
        self.cells[index].checkpoint(&mut self.executor)
    }

    /// Makes the sequence `to` hold what `from` holds; what it held before is forgotten.
    pub(crate) fn fork(&mut self, from: SequenceIndex, to: SequenceIndex) -> Result<()> {
        if self.cells[to].len() > 0 {
            self.forget(to)?;
        }
        if let Ok([from, to]) = self.cells.get_disjoint_mut([from, to]) {
            from.fork(&mut self.executor, to)?;
        }
        Ok(())
    }

    /// Whether exactly these adapters are attached.
    pub(crate) fn has_adapters(&self, adapters: &Adapters) -> bool {
        self.executor.has_adapters(adapters)
    }

    /// Attaches these adapters and no others. Sequences that were computed with others are emptied.
    pub(crate) fn adapt(&mut self, adapters: &Adapters) -> Result<()> {
        if self.executor.has_adapters(adapters) {
            return Ok(());
        }
        for index in 0..self.cells.len() {
            self.forget(index)?;
        }
        self.executor.set_adapters(adapters)
    }

    /// Begins an empty batch.
    pub(crate) fn clear_batch(&mut self) {
        self.batch.clear();
        self.parts.clear();
    }

    /// The number of tokens that fit into the batch.
    pub(crate) fn room(&self) -> usize {
        self.limits.n_batch - self.batch.len()
    }

    /// Adds tokens to the batch that come after those of a sequence. With `output`, the logits after the last one are
    /// wanted. Returns the index of the last one in the batch.
    pub(crate) fn push(&mut self, index: SequenceIndex, tokens: &[Token], output: bool) -> usize {
        let cells = &self.cells[index];
        let (first, sequence) = (cells.len(), cells.sequence());
        let last = tokens.len() - 1;
        self.batch.extend(tokens.iter().enumerate().map(|(at, token)| Entry {
            token: *token,
            position: first + at,
            sequence,
            output: output && at == last,
        }));
        self.parts.push((index, self.batch.len()));
        self.batch.len() - 1
    }

    /// Computes the batch. Afterwards the ledgers hold what is really in memory, also after a failure.
    pub(crate) fn decode(&mut self) -> Result<(), DecodeFailure> {
        self.is_decoding = true;
        let result = self.executor.decode(&self.batch);
        self.is_decoding = false;
        let mut first = 0;
        for (index, end) in &self.parts {
            for entry in &self.batch[first..*end] {
                self.cells[*index].decoded(entry.token);
            }
            first = *end;
        }
        result.map_err(|stop| self.recover(stop))
    }

    fn recover(&mut self, stop: DecodeStop) -> DecodeFailure {
        let (mut error, mut is_aborted) = match stop {
            DecodeStop::Aborted(error) => (error, true),
            DecodeStop::Failed(error) => (error, false),
        };
        let mut lost = Vec::new();
        for (index, _) in &self.parts {
            let tokens = self.cells[*index].recover(&mut self.executor).unwrap_or_else(|other| {
                (error, is_aborted) = (other, false);
                Vec::new()
            });
            lost.push(tokens);
        }
        DecodeFailure { error, is_aborted, lost }
    }

    /// Waits until the device has computed everything.
    pub(crate) fn synchronize(&mut self) -> Result<()> {
        self.executor.synchronize()
    }

    /// Returns the logits after a token of the last batch, by its index.
    pub(crate) fn logits(&self, index: usize) -> Result<Logits<'_>> {
        self.executor.logits(index)
    }
}

#[cfg(test)]
impl<E> Board<E> {
    pub(crate) fn n_sequences(&self) -> usize {
        self.cells.len()
    }

    pub(crate) fn executor(&self) -> &E {
        &self.executor
    }

    pub(crate) fn executor_mut(&mut self) -> &mut E {
        &mut self.executor
    }
}

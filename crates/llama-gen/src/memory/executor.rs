//! The interface between the ledgers of sequences and the context that computes them.

use llama_core::state::StatePart;
use llama_core::{
    Batch, Context, DecodeError, Error as CoreError, ErrorKind as CoreErrorKind, Logits, Pos, SeqId, Token,
};

use crate::error::{Error, Result};
use crate::lora::Adapters;

/// One token of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) token: Token,
    pub(crate) position: usize,
    pub(crate) sequence: SeqId,
    /// Whether the logits after this token are wanted.
    pub(crate) output: bool,
}

/// Sizes of a context, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The most tokens of one sequence.
    pub(crate) n_ctx: usize,
    /// The most tokens of one batch.
    pub(crate) n_batch: usize,
    /// The most tokens of one part of a prompt: what a device computes at once.
    pub(crate) n_chunk: usize,
}

/// Properties of a memory that decide how a sequence can go back in its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryTraits {
    /// Whether a state sums up what was read (recurrent and hybrid models), so that no part can be removed.
    pub(crate) is_state: bool,
    /// The size of the sliding window in tokens; 0 without one.
    pub(crate) n_swa: usize,
    /// How many of the last tokens a recurrent memory can be rolled back by.
    pub(crate) n_rollback: usize,
    /// Whether positions can be moved.
    pub(crate) can_shift: bool,
    /// Whether checkpoints of a part of the memory are possible.
    pub(crate) has_partial_state: bool,
}

/// Why a batch was not computed.
#[derive(Debug)]
pub(crate) enum DecodeStop {
    /// The abort callback said so.
    Aborted(Error),
    Failed(Error),
}

/// Computes batches and holds the memory of several sequences: a context, or a fake of one in tests.
pub(crate) trait Executor {
    fn limits(&self) -> Limits;

    fn traits(&mut self) -> Result<MemoryTraits>;

    /// Decodes a batch. After an error, the memory holds what [`Executor::last_position`] says.
    fn decode(&mut self, entries: &[Entry]) -> Result<(), DecodeStop>;

    /// Waits until the device has computed everything.
    fn synchronize(&mut self) -> Result<()>;

    /// Returns the logits after the entry with this index in the last batch.
    fn logits(&self, entry: usize) -> Result<Logits<'_>>;

    /// Whether an earlier failure has left the memory in an unknown state.
    fn is_poisoned(&self) -> bool;

    /// Empties the memory of all sequences.
    fn clear(&mut self) -> Result<()>;

    /// Removes the positions `from..to` of a sequence, or all from `from` on. False where this memory cannot do that.
    fn remove(&mut self, sequence: SeqId, from: usize, to: Option<usize>) -> Result<bool>;

    /// Moves the positions from `from` on down by `by`.
    fn move_down(&mut self, sequence: SeqId, from: usize, by: usize) -> Result<()>;

    /// Makes the sequence `to`, which is empty, hold what `from` holds.
    fn copy(&mut self, from: SeqId, to: SeqId) -> Result<()>;

    /// The first position that a sequence holds.
    fn first_position(&mut self, sequence: SeqId) -> Result<Option<usize>>;

    /// The last position that a sequence holds.
    fn last_position(&mut self, sequence: SeqId) -> Result<Option<usize>>;

    /// The size in bytes of a sequence's partial state, which cannot be computed again from the rest of its memory.
    fn state_size(&mut self, sequence: SeqId) -> Result<usize>;

    /// Copies a sequence's partial state.
    fn state(&mut self, sequence: SeqId) -> Result<Vec<u8>>;

    /// Restores a partial state. False when the rest of the memory that it needs is no longer there.
    fn set_state(&mut self, sequence: SeqId, state: &[u8]) -> Result<bool>;

    /// Whether exactly these adapters are attached.
    fn has_adapters(&self, adapters: &Adapters) -> bool;

    /// Attaches these adapters and no others.
    fn set_adapters(&mut self, adapters: &Adapters) -> Result<()>;
}

/// A context, with a batch that is reused.
#[derive(Debug)]
pub(crate) struct ContextExecutor {
    pub(super) context: Context,
    batch: Batch,
}

impl ContextExecutor {
    pub(super) fn new(context: Context) -> Self {
        Self { context, batch: Batch::new() }
    }
}

impl Executor for ContextExecutor {
    fn limits(&self) -> Limits {
        let n_batch = self.context.n_batch().max(1) as usize;
        let n_chunk = (self.context.n_ubatch() as usize).clamp(1, n_batch);
        Limits { n_ctx: self.context.n_ctx_seq() as usize, n_batch, n_chunk }
    }

    fn traits(&mut self) -> Result<MemoryTraits> {
        let model = self.context.model();
        let (is_state, n_swa) = (model.is_recurrent() || model.is_hybrid(), model.n_swa() as usize);
        if !self.context.has_memory() {
            return Ok(MemoryTraits { is_state, n_swa, ..MemoryTraits::default() });
        }
        Ok(MemoryTraits {
            is_state,
            n_swa,
            n_rollback: self.context.n_rs_seq() as usize,
            can_shift: self.context.memory().can_shift()?,
            has_partial_state: self.context.has_partial_state(),
        })
    }

    fn decode(&mut self, entries: &[Entry]) -> Result<(), DecodeStop> {
        self.batch.clear();
        for entry in entries {
            let position = Pos::new(number(entry.position));
            let pushed = self.batch.push(entry.token, position, &[entry.sequence], entry.output);
            pushed.map_err(|error| DecodeStop::Failed(error.into()))?;
        }
        self.context.decode(&self.batch).map_err(|error| {
            let is_aborted = matches!(error.kind(), CoreErrorKind::Decode(DecodeError::Aborted));
            if is_aborted { DecodeStop::Aborted(error.into()) } else { DecodeStop::Failed(error.into()) }
        })
    }

    fn synchronize(&mut self) -> Result<()> {
        Ok(self.context.synchronize()?)
    }

    fn logits(&self, entry: usize) -> Result<Logits<'_>> {
        Ok(self.context.logits(entry)?)
    }

    fn is_poisoned(&self) -> bool {
        self.context.is_poisoned()
    }

    fn clear(&mut self) -> Result<()> {
        Ok(self.context.memory().clear(false)?)
    }

    fn remove(&mut self, sequence: SeqId, from: usize, to: Option<usize>) -> Result<bool> {
        let from = number(from);
        let mut memory = self.context.memory();
        let removed = match to {
            Some(to) => memory.seq_rm(sequence, from..number(to)),
            None => memory.seq_rm(sequence, from..),
        };
        possible(removed, |kind| matches!(kind, CoreErrorKind::Unsupported { .. }))
    }

    fn move_down(&mut self, sequence: SeqId, from: usize, by: usize) -> Result<()> {
        Ok(self.context.memory().seq_add(sequence, number(from).., -number(by))?)
    }

    fn copy(&mut self, from: SeqId, to: SeqId) -> Result<()> {
        Ok(self.context.memory().seq_cp(from, to, ..)?)
    }

    fn first_position(&mut self, sequence: SeqId) -> Result<Option<usize>> {
        Ok(self.context.memory().seq_pos_min(sequence)?.map(place))
    }

    fn last_position(&mut self, sequence: SeqId) -> Result<Option<usize>> {
        Ok(self.context.memory().seq_pos_max(sequence)?.map(place))
    }

    fn state_size(&mut self, sequence: SeqId) -> Result<usize> {
        Ok(self.context.seq_state_size(sequence, StatePart::Partial)?)
    }

    fn state(&mut self, sequence: SeqId) -> Result<Vec<u8>> {
        let mut state = Vec::new();
        self.context.seq_state_data(sequence, StatePart::Partial, &mut state)?;
        Ok(state)
    }

    fn set_state(&mut self, sequence: SeqId, state: &[u8]) -> Result<bool> {
        let set = self.context.set_seq_state_data(sequence, StatePart::Partial, state);
        possible(set, |kind| matches!(kind, CoreErrorKind::InvalidPosition { .. }))
    }

    fn has_adapters(&self, adapters: &Adapters) -> bool {
        let (wanted, attached) = (adapters.list(), self.context.adapters());
        let is_same = |(ours, theirs): (&(_, f32), (&llama_core::LoraAdapter, f32))| {
            theirs.0.is_same(&ours.0) && ours.1.to_bits() == theirs.1.to_bits()
        };
        attached.len() == wanted.len() && wanted.iter().zip(attached).all(is_same)
    }

    fn set_adapters(&mut self, adapters: &Adapters) -> Result<()> {
        let list: Vec<_> = adapters.list().iter().map(|(adapter, scale)| (adapter, *scale)).collect();
        Ok(self.context.set_adapters(&list)?)
    }
}

/// False in place of the errors that only say that a memory cannot do something.
fn possible(result: Result<(), CoreError>, is_impossible: impl Fn(&CoreErrorKind) -> bool) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if is_impossible(error.kind()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A number of tokens as llama.cpp counts them; contexts are never larger than that.
fn number(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn place(position: Pos) -> usize {
    usize::try_from(position.get()).unwrap_or(0)
}

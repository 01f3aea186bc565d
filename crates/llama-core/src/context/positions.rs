//! The check whether the positions of a batch continue those in memory. llama.cpp refuses others as an invalid batch
//! without naming the token (llama-batch.cpp, `llama_batch_allocr::init`).

use crate::batch::{Batch, Entry};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::model::Model;

/// The check, with its memory for each sequence, created once for a context.
pub(super) struct Positions {
    sequences: Vec<Sequence>,
    /// The sequences of the batch, without duplicates.
    seen: Vec<i32>,
    /// Whether the model's positions have several dimensions, so that they may have gaps.
    several_dimensions: bool,
}

/// The positions of a sequence.
#[derive(Clone, Copy, Default)]
struct Sequence {
    /// Its last position so far in the batch, `None` before its first entry.
    last: Option<i32>,
    /// Its last position in memory, -1 if it has none.
    memory: i32,
}

impl Positions {
    pub(super) fn new(n_seq_max: u32, model: &Model) -> Result<Self> {
        let n_seq_max = n_seq_max as usize;
        Ok(Self {
            sequences: vec![Sequence::default(); n_seq_max],
            seen: Vec::with_capacity(n_seq_max),
            several_dimensions: has_several_dimensions(model)?,
        })
    }

    /// Refuses positions that do not continue each other and those in memory. The ids of the batch have been
    /// checked. A NULL memory is empty.
    #[inline]
    pub(super) fn check(&mut self, memory: llama_sys::llama_memory_t, batch: &Batch) -> Result<()> {
        // The fast path for one step of a generation.
        if let ([pos], [seq_id]) = (batch.positions.as_slice(), batch.seq_ids.as_slice()) {
            // SAFETY: the memory is NULL or that of the context, and the id is one of its sequences.
            let last = unsafe { guarded!(llama_memory_seq_pos_max(memory, *seq_id)) }?;
            if last < 0 || *pos == last + 1 {
                return Ok(());
            }
        }
        self.check_entries(memory, batch)
    }

    fn check_entries(&mut self, memory: llama_sys::llama_memory_t, batch: &Batch) -> Result<()> {
        for seq_id in self.seen.drain(..) {
            self.sequences[slot(seq_id)].last = None;
        }
        for (entry, token) in batch.entries().zip(&batch.tokens) {
            // The ids of entries without a token have been checked to be embeddings.
            let is_embedding = *token == llama_sys::LLAMA_TOKEN_NULL;
            for seq_id in entry.seq_ids {
                self.check_one(memory, *seq_id, entry.pos, is_embedding)?;
            }
            if is_shared(entry) {
                check_shared(memory, entry)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn check_one(
        &mut self,
        memory: llama_sys::llama_memory_t,
        seq_id: i32,
        pos: i32,
        row: bool,
    ) -> Result<()> {
        let several = self.several_dimensions;
        let sequence = &mut self.sequences[slot(seq_id)];
        let possible = if let Some(last) = sequence.last {
            pos >= last && (several || pos - last <= 1)
        } else {
            self.seen.push(seq_id);
            // SAFETY: the memory is NULL or that of the context, and the id is one of its sequences.
            sequence.memory = unsafe { guarded!(llama_memory_seq_pos_max(memory, seq_id)) }?;
            let last = sequence.memory;
            // An embedding of an image may start where the text before it ended.
            last < 0 || if several { pos > last || (row && pos == last) } else { pos == last + 1 }
        };
        if possible {
            sequence.last = Some(pos);
            return Ok(());
        }
        Err(does_not_follow(sequence, several, seq_id, pos))
    }
}

/// Returns whether the model's positions have several dimensions (llama-hparams.cpp, `n_pos_per_embd`).
fn has_several_dimensions(model: &Model) -> Result<bool> {
    use llama_sys::llama_rope_type as Rope;
    let rope = model.raw_rope_type()?;
    Ok(rope == Rope::LLAMA_ROPE_TYPE_MROPE || rope == Rope::LLAMA_ROPE_TYPE_IMROPE)
}

/// Refuses a token of several sequences if these have different positions in memory.
fn check_shared(memory: llama_sys::llama_memory_t, entry: Entry<'_>) -> Result<()> {
    let span = |seq_id: i32| -> Result<(i32, i32)> {
        // SAFETY: the memory is NULL or that of the context; for NULL both functions return -1 (llama-context.cpp).
        // The ids are of its sequences.
        unsafe {
            Ok((
                guarded!(llama_memory_seq_pos_min(memory, seq_id))?,
                guarded!(llama_memory_seq_pos_max(memory, seq_id))?,
            ))
        }
    };
    let say = |seq_id: i32, span| match span {
        (_, -1) => format!("sequence {seq_id} is empty"),
        (start, end) => format!("sequence {seq_id} has {start}..={end}"),
    };
    let first = entry.seq_ids[0];
    let expected = span(first)?;
    for other in entry.seq_ids {
        let found = span(*other)?;
        if found != expected {
            let reason = format!(
                "it shares a token with sequence {first}, but their positions in memory differ ({}, {})",
                say(first, expected),
                say(*other, found)
            );
            return Err(ErrorKind::InvalidPosition { pos: entry.pos, seq_id: *other, reason }.into());
        }
    }
    Ok(())
}

/// Returns whether an entry is in several sequences.
#[inline]
pub(super) fn is_shared(entry: Entry<'_>) -> bool {
    entry.seq_ids.len() > 1 && entry.seq_ids.iter().any(|seq_id| *seq_id != entry.seq_ids[0])
}

#[cold]
fn does_not_follow(sequence: &Sequence, several_dimensions: bool, seq_id: i32, pos: i32) -> Error {
    let reason = match (sequence.last, sequence.memory) {
        (Some(last), _) if pos < last => {
            format!("the token before it is at {last}: positions must not go back")
        }
        (Some(last), _) => format!("the token before it is at {last}: positions must not have gaps"),
        (None, last) if several_dimensions => {
            format!("the sequence ends at {last} in memory: the next position must be above that")
        }
        (None, last) => format!(
            "the sequence ends at {last} in memory: the next position must be {}. To go back, remove the end with \
             Memory::seq_rm",
            i64::from(last) + 1
        ),
    };
    ErrorKind::InvalidPosition { pos, seq_id, reason }.into()
}

/// Returns the index of a sequence whose id has been checked.
fn slot(seq_id: i32) -> usize {
    usize::try_from(seq_id).unwrap_or(0)
}

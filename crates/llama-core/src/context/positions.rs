//! Whether the positions of a batch follow those in memory: what llama.cpp refuses as an invalid batch without saying
//! which token is the wrong one (llama-batch.cpp, `llama_batch_allocr::init`).

use crate::batch::{Batch, Entry};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::model::Model;

/// The check, and the memory that it needs for each sequence: made once for a context.
pub(super) struct Positions {
    sequences: Vec<Sequence>,
    /// The sequences of the batch, each once.
    seen: Vec<i32>,
    /// Whether the model's positions have several dimensions, so that they may leave some out.
    several_dimensions: bool,
}

/// What is known of a sequence.
#[derive(Clone, Copy, Default)]
struct Sequence {
    /// Where it is in the batch: its position so far, `None` before its first entry.
    last: Option<i32>,
    /// Its last position in memory, -1 for none.
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

    /// Refuses positions that do not follow each other and those in memory. The ids of the batch are checked. A
    /// memory that is NULL is empty.
    #[inline]
    pub(super) fn check(&mut self, memory: llama_sys::llama_memory_t, batch: &Batch) -> Result<()> {
        // A step of a generation, which is to be quick.
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
            // Of an entry without a token the ids are checked: it is an embedding.
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
            // An embedding of an image may begin where the text before it ended.
            last < 0 || if several { pos > last || (row && pos == last) } else { pos == last + 1 }
        };
        if possible {
            sequence.last = Some(pos);
            return Ok(());
        }
        Err(does_not_follow(sequence, several, seq_id, pos))
    }
}

/// Whether the model's positions have several dimensions (llama-hparams.cpp, `n_pos_per_embd`).
fn has_several_dimensions(model: &Model) -> Result<bool> {
    use llama_sys::llama_rope_type as Rope;
    let rope = model.raw_rope_type()?;
    Ok(rope == Rope::LLAMA_ROPE_TYPE_MROPE || rope == Rope::LLAMA_ROPE_TYPE_IMROPE)
}

/// Sequences that share a token must have the same positions in memory.
fn check_shared(memory: llama_sys::llama_memory_t, entry: Entry<'_>) -> Result<()> {
    let span = |seq_id: i32| -> Result<(i32, i32)> {
        // SAFETY: the memory is NULL or that of the context, for which both functions return -1 (llama-context.cpp), and
        // the ids are of its sequences.
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
                "it is in one token with sequence {first}, and their positions in memory are not the same ({}, {})",
                say(first, expected),
                say(*other, found)
            );
            return Err(ErrorKind::InvalidPosition { pos: entry.pos, seq_id: *other, reason }.into());
        }
    }
    Ok(())
}

/// Whether an entry is in several sequences.
#[inline]
pub(super) fn is_shared(entry: Entry<'_>) -> bool {
    entry.seq_ids.len() > 1 && entry.seq_ids.iter().any(|seq_id| *seq_id != entry.seq_ids[0])
}

#[cold]
fn does_not_follow(sequence: &Sequence, several_dimensions: bool, seq_id: i32, pos: i32) -> Error {
    let reason = match (sequence.last, sequence.memory) {
        (Some(last), _) if pos < last => {
            format!("the token before it is at {last}: positions do not go back")
        }
        (Some(last), _) => format!("the token before it is at {last}: positions have no gaps"),
        (None, last) if several_dimensions => {
            format!("the sequence ends at {last} in memory: the next position is above that")
        }
        (None, last) => format!(
            "the sequence ends at {last} in memory: the next position is {}. To go back, remove the end with \
             Memory::seq_rm",
            i64::from(last) + 1
        ),
    };
    ErrorKind::InvalidPosition { pos, seq_id, reason }.into()
}

/// The index of a sequence whose id is checked.
fn slot(seq_id: i32) -> usize {
    usize::try_from(seq_id).unwrap_or(0)
}

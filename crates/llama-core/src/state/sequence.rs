//! The state of one sequence, in memory.

use super::layout::Layout;
use super::payload::{self, Contents, Frame};
use crate::context::Context;
use crate::error::{ErrorKind, Removed, Result, StateError};
use crate::ffi::guard::guarded;
use crate::log;
use crate::token::{Pos, SeqId};

/// The part of a sequence that a state contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatePart {
    /// The whole sequence, which can be restored into any sequence.
    #[default]
    All,
    /// Only the parts that cannot be rewound: recurrent states and sliding windows. Much smaller, for going back to
    /// a position in a sequence that still has all positions up to it. Corresponds to
    /// `LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY`.
    Partial,
}

impl StatePart {
    pub(super) fn flags(self) -> llama_sys::llama_state_seq_flags {
        match self {
            Self::All => llama_sys::LLAMA_STATE_SEQ_FLAGS_NONE,
            Self::Partial => llama_sys::LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY,
        }
    }
}

impl Context {
    /// Returns whether there is a [`StatePart::Partial`]: for recurrent and hybrid models and those with a sliding
    /// window. Other models can be rewound by [`Memory::seq_rm`](crate::Memory::seq_rm) alone.
    #[must_use]
    pub fn has_partial_state(&self) -> bool {
        self.has_memory() && self.books().layout.has_partial()
    }

    /// Returns the size in bytes of the state of one sequence.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSeqId`], [`ErrorKind::Unsupported`] without memory and for a part that the model does not
    /// have, [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_state_seq_get_size_ext` and `llama_state_seq_get_size`.
    pub fn seq_state_size(&mut self, seq_id: SeqId, part: StatePart) -> Result<usize> {
        self.check_sequence_state(seq_id, part)?;
        self.sequence_size(seq_id.get(), part.flags())
    }

    pub(super) fn sequence_size(
        &mut self,
        seq_id: i32,
        flags: llama_sys::llama_state_seq_flags,
    ) -> Result<usize> {
        // SAFETY: the context is valid and the id is checked; the function adds sizes up.
        self.size_of_state(|raw| unsafe { guarded!(llama_state_seq_get_size_ext(raw, seq_id, flags)) })
    }

    /// Writes the state of one sequence into a vector, replacing its contents. Like the bytes of
    /// [`state_data`](Context::state_data), they have no header. They can be restored under any sequence id.
    ///
    /// # Errors
    ///
    /// The errors of [`seq_state_size`](Context::seq_state_size) and [`state_data`](Context::state_data).
    ///
    /// Corresponds to `llama_state_seq_get_data_ext` and `llama_state_seq_get_data`.
    pub fn seq_state_data(&mut self, seq_id: SeqId, part: StatePart, data: &mut Vec<u8>) -> Result<()> {
        self.check_sequence_state(seq_id, part)?;
        self.check_settled()?;
        self.write_seq_state(seq_id.get(), part, data)
    }

    pub(super) fn write_seq_state(&mut self, seq_id: i32, part: StatePart, data: &mut Vec<u8>) -> Result<()> {
        let size = self.sequence_size(seq_id, part.flags())?;
        self.fill(data, size, |raw, to, size| {
            // SAFETY: the context is valid, the id is checked and there is room for `size` bytes (`fill`).
            unsafe { guarded!(llama_state_seq_get_data_ext(raw, to, size, seq_id, part.flags())) }
        })
    }

    /// Replaces a sequence by one from [`seq_state_data`](Context::seq_state_data) of the same model and part. Other
    /// sequences and the results of the last batch are unchanged.
    ///
    /// A [`StatePart::Partial`] takes the sequence back to the position where the state was made: later positions
    /// are removed.
    ///
    /// # Errors
    ///
    /// These errors leave the context unchanged: [`StateError::Corrupt`], [`StateError::Unsettled`],
    /// [`ErrorKind::InvalidSeqId`], [`ErrorKind::Unsupported`], and [`ErrorKind::InvalidPosition`] for a partial
    /// state of a position that the sequence does not have. [`StateError::Refused`] if llama.cpp finds that
    /// something does not fit or there is no room; the sequence is empty then. [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_state_seq_set_data_ext` and `llama_state_seq_set_data`.
    pub fn set_seq_state_data(&mut self, seq_id: SeqId, part: StatePart, data: &[u8]) -> Result<()> {
        self.check_sequence_state(seq_id, part)?;
        let end = self.check_sequence(data, part, true)?.map(|contents| contents.end);
        self.restore_sequence(seq_id, part, end, data, part.flags())
    }

    /// Replaces a sequence. `data` has been checked to be a state of one sequence; `end` is its last position, if
    /// known.
    pub(super) fn restore_sequence(
        &mut self,
        seq_id: SeqId,
        part: StatePart,
        end: Option<Option<i32>>,
        data: &[u8],
        flags: llama_sys::llama_state_seq_flags,
    ) -> Result<()> {
        self.check_no_copies()?;
        let back = part == StatePart::Partial && self.books().layout.partial_is_less();
        if back && let Some(Some(end)) = end {
            self.check_can_go_back(seq_id, end)?;
        }
        log::explain(|| {
            // If the state has no tokens, C leaves those of the sequence (llama-kv-cache.cpp, state_read).
            if !back || end == Some(None) {
                self.memory().seq_rm(seq_id, ..)?;
            }
            let read = self.call(|raw| {
                // SAFETY: the context is valid, the id is checked, and C reads at most `data.len()` bytes
                // (llama-context.cpp, llama_io_read_host). With the flag for the device, the bytes are those that
                // this context wrote last for that sequence (`DeviceState`).
                unsafe {
                    guarded!(llama_state_seq_set_data_ext(
                        raw,
                        data.as_ptr(),
                        data.len(),
                        seq_id.get(),
                        flags,
                    ))
                }
            })?;
            if read == data.len() && self.restored(seq_id.get()..seq_id.get() + 1)? {
                return if back { self.forget_after_end(seq_id) } else { Ok(()) };
            }
            self.memory().seq_rm(seq_id, ..)?;
            let error = StateError::Refused { removed: Removed::Sequence(seq_id.get()) }.into();
            // Cells with negative positions cannot be removed.
            if !self.restored(seq_id.get()..seq_id.get() + 1)? {
                self.poison_with(&error);
            }
            Err(error)
        })
    }

    /// Removes everything after the sequence's end from the part of the memory that a partial state leaves out.
    fn forget_after_end(&mut self, seq_id: SeqId) -> Result<()> {
        match self.memory().seq_pos_max(seq_id)? {
            Some(end) => self.memory().seq_rm(seq_id, end.get() + 1..),
            None => self.memory().seq_rm(seq_id, ..),
        }
    }

    fn check_can_go_back(&mut self, seq_id: SeqId, pos: i32) -> Result<()> {
        let end = self.memory().seq_pos_max(seq_id)?.map(Pos::get);
        if end.is_some_and(|end| end >= pos) {
            return Ok(());
        }
        let found = end.map_or("is empty".to_owned(), |end| format!("ends at position {end}"));
        let reason = format!(
            "a partial state needs a sequence that has all positions up to it, but this one {found}: use \
             StatePart::All"
        );
        Err(ErrorKind::InvalidPosition { pos, seq_id: seq_id.get(), reason }.into())
    }

    pub(super) fn check_sequence_state(&mut self, seq_id: SeqId, part: StatePart) -> Result<()> {
        self.check_poison()?;
        self.check_seq_id(seq_id)?;
        let operation = "the state of a sequence";
        if !self.has_memory() {
            let reason = "it keeps no memory between batches".to_owned();
            return Err(ErrorKind::Unsupported { operation, reason }.into());
        }
        if part == StatePart::Partial && !self.has_partial_state() {
            let reason = "its memory has no part that cannot be rewound: use StatePart::All, or only \
                          Memory::seq_rm"
                .to_owned();
            return Err(ErrorKind::Unsupported { operation, reason }.into());
        }
        Ok(())
    }

    /// Refuses bytes that are not a state of one sequence; returns the contents, if the memory can be parsed.
    pub(super) fn check_sequence(
        &mut self,
        data: &[u8],
        part: StatePart,
        tensors: bool,
    ) -> Result<Option<Contents>> {
        let magic = self.books().layout.magic();
        let memory =
            data.get(Layout::SEQUENCE_HEADER..).filter(|_| data.starts_with(&magic)).ok_or_else(|| {
                let reason = "expected the magic number of a sequence's state".to_owned();
                StateError::Corrupt { offset: 0, reason }
            })?;
        let frame = Frame { tensors, ..self.frame()? };
        match self.books().layout.sections(part) {
            Some(sections) => payload::check(memory, sections, frame)
                .map(Some)
                .map_err(|error| error.moved(Layout::SEQUENCE_HEADER as u64).into()),
            None => Ok(None),
        }
    }
}

//! Saving and restoring the memory of a context: in memory, in files, and on the device.
//!
//! | | all sequences | one sequence |
//! |---|---|---|
//! | to memory and back | [`Context::state_data`], [`Context::set_state_data`] | [`Context::seq_state_data`], [`Context::set_seq_state_data`] |
//! | to a file and back | [`Context::save_state`], [`Context::load_state`] | [`Context::save_seq_state`], [`Context::load_seq_state`] |
//! | on the device | | [`Context::keep_seq_state`], [`Context::restore_seq_state`] |
//! | llama.cpp's own files | [`Context::save_session`], [`Context::load_session`] | [`Context::save_seq_session`], [`Context::load_seq_session`] |
//! | as another context | [`Context::try_clone`] | |

mod cursor;
mod device;
mod file;
mod fingerprint;
mod header;
mod layout;
mod payload;
mod sequence;
mod session;
mod shape;

pub use device::DeviceState;
pub use header::{StateInfo, StateKind};
pub use sequence::StatePart;

use crate::context::Context;
use crate::error::{ErrorKind, Result};
pub use crate::error::{Removed, StateError};
use crate::ffi::guard::guarded;
use crate::log;
use device::Kept;
use layout::Layout;
use payload::Frame;

/// A context's knowledge about its states.
#[derive(Debug, Default)]
pub(crate) struct Bookkeeping {
    layout: Layout,
    kept: Kept,
    /// Whether sequences were copied between buffers since the last batch: llama.cpp records such copies, and makes
    /// them when the next batch is decoded (llama-kv-cache.cpp, `seq_cp` and `update`).
    copies: bool,
    /// Whether positions were moved since the last batch (`seq_add`, `seq_div`).
    moves: bool,
}

impl Bookkeeping {
    /// Creates the bookkeeping of a context whose memory is empty.
    pub(crate) fn of_empty(context: &mut Context) -> Result<Self> {
        Ok(Self { layout: Layout::read(context)?, kept: Kept::new(), ..Self::default() })
    }

    /// Records that a batch was decoded, which completes all recorded copies and moves.
    pub(crate) fn settle(&mut self) {
        (self.copies, self.moves) = (false, false);
    }

    /// Records that a sequence was copied to another one's buffer.
    pub(crate) fn note_copy(&mut self) {
        self.copies = true;
    }

    /// Records that the memory was cleared. Recorded copies are made nevertheless.
    pub(crate) fn note_clear(&mut self) {
        self.moves = false;
    }

    /// Records that positions were moved.
    pub(crate) fn note_move(&mut self) {
        self.moves = true;
    }

    /// Returns whether keys have to be moved to new positions before the next batch is computed.
    pub(crate) fn has_moves(&self) -> bool {
        self.moves
    }
}

impl Context {
    /// Returns the size in bytes of the state of all sequences.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_state_get_size`.
    pub fn state_size(&mut self) -> Result<usize> {
        // SAFETY: the context is valid; the function adds sizes up.
        self.size_of_state(|raw| unsafe { guarded!(llama_state_get_size(raw)) })
    }

    /// Returns a size computed by C. No state is empty: C returns 0 after an exception, which it has logged.
    fn size_of_state(
        &mut self,
        size: impl FnOnce(*mut llama_sys::llama_context) -> Result<usize>,
    ) -> Result<usize> {
        log::explain(|| match self.call(size)? {
            0 => Err(ErrorKind::Exception { message: "the state has no size".to_owned() }.into()),
            size => Ok(size),
        })
    }

    /// Writes the state of all sequences into a vector, replacing its contents and reusing its memory.
    ///
    /// The bytes have no header: they are for contexts of the same model, parameters and version of llama.cpp. Use
    /// [`save_state`](Context::save_state) for states that are to be kept. The used part of the memory is copied,
    /// from the device if it is there.
    ///
    /// A state is the memory of the sequences: keys and values, recurrent states, positions. It contains no results
    /// of batches, no output of an encoder, no adapters and no settings. A context of an encoder-decoder model must
    /// encode its text before it restores a state, since llama.cpp does not encode positions that are in memory.
    ///
    /// A context that restores the state continues as this one would have. Logits are equal to the last bit as long
    /// as the tokens are stored in the same cells as here. They may differ in the last bits, because sums are
    /// computed in another order, in these cases: if there were gaps between the tokens, if a sequence is stored
    /// beside others, and with sliding windows, once the first tokens have left the window: llama.cpp continues at
    /// the first free cell, which is theirs.
    ///
    /// ```
    /// use llama_core::{Batch, Context, ContextParams, Model, ModelParams, Pos, SeqId, TokenizeOptions};
    ///
    /// # fn main() -> Result<(), llama_core::Error> {
    /// # let path = test_models::Tiny::Llama.path();
    /// let model = Model::load(path, &ModelParams::default())?;
    /// let tokens = model.vocab().tokenize("Once upon a time", TokenizeOptions::default())?;
    /// let params = ContextParams::default();
    /// let mut context = Context::new(&model, &params)?;
    /// let mut batch = Batch::new();
    /// batch.push_prompt(&tokens, SeqId::new(0), Pos::new(0))?;
    /// context.decode(&batch)?;
    /// let mut state = Vec::new();
    /// context.state_data(&mut state)?;
    ///
    /// // Later, or elsewhere: the prompt is not computed again.
    /// let mut other = Context::new(&model, &params)?;
    /// other.set_state_data(&state)?;
    /// assert_eq!(other.memory().seq_pos_max(SeqId::new(0))?, context.memory().seq_pos_max(SeqId::new(0))?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StateError::Unsettled`] after [`Memory::seq_cp`](crate::Memory::seq_cp) between buffers,
    /// [`seq_add`](crate::Memory::seq_add) or [`seq_div`](crate::Memory::seq_div) until a batch is decoded, since
    /// their effects are not in memory yet. [`ErrorKind::OutOfMemory`], [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_state_get_data`.
    pub fn state_data(&mut self, data: &mut Vec<u8>) -> Result<()> {
        self.check_settled()?;
        self.write_state(data)
    }

    pub(crate) fn write_state(&mut self, data: &mut Vec<u8>) -> Result<()> {
        let size = self.state_size()?;
        self.fill(data, size, |raw, to, size| {
            // SAFETY: the context is valid and there is room for `size` bytes (`fill`).
            unsafe { guarded!(llama_state_get_data(raw, to, size)) }
        })
    }

    /// Fills a vector with the bytes of a state that a C function writes.
    fn fill(
        &mut self,
        data: &mut Vec<u8>,
        size: usize,
        write: impl FnOnce(*mut llama_sys::llama_context, *mut u8, usize) -> Result<usize>,
    ) -> Result<()> {
        data.clear();
        reserve(data, size)?;
        let to = data.as_mut_ptr();
        log::explain(|| {
            let written = self.call(|raw| write(raw, to, size))?;
            if written != size {
                let message = format!("{written} of {size} bytes of the state were written");
                return Err(ErrorKind::Exception { message }.into());
            }
            // SAFETY: C reports that it has written `written` bytes from the start on (llama-context.cpp,
            // llama_io_write_host), and there is room for them.
            unsafe { data.set_len(written) };
            Ok(())
        })
    }

    /// Replaces all sequences in memory by those of a state from [`state_data`](Context::state_data). The results of
    /// the last batch are discarded.
    ///
    /// Lengths, positions and sequences are checked before llama.cpp sees them, so that any bytes may be passed. It
    /// cannot be checked that the state is of the same model, but different sizes are detected.
    ///
    /// # Errors
    ///
    /// [`StateError::Corrupt`] and [`StateError::Unsettled`] leave the context unchanged. [`StateError::Refused`] if
    /// llama.cpp finds that something does not fit, such as the type of cached keys; the memory is empty then.
    /// [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_state_set_data`.
    pub fn set_state_data(&mut self, data: &[u8]) -> Result<()> {
        self.check_no_copies()?;
        self.check_whole(data)?;
        self.discard_outputs()?;
        log::explain(|| {
            let read = self.call(|raw| {
                // SAFETY: the context is valid and C reads at most `data.len()` bytes (llama-context.cpp,
                // llama_io_read_host).
                unsafe { guarded!(llama_state_set_data(raw, data.as_ptr(), data.len())) }
            })?;
            if read == data.len() && self.restored(0..self.n_seq_max_raw())? {
                self.books_mut().note_clear();
                return Ok(());
            }
            if self.has_memory() {
                self.memory().clear(true)?;
            }
            Err(StateError::Refused { removed: Removed::All }.into())
        })
    }

    /// Refuses bytes that are not a state of all sequences of this context.
    fn check_whole(&mut self, data: &[u8]) -> Result<()> {
        let layout = &self.books().layout;
        // C reads a length and allocates as much, up to 4 GiB, before it compares (llama-io.cpp, read_string).
        let Some(memory) = data.strip_prefix(layout.architecture()) else {
            let architecture = layout.architecture().get(4..).unwrap_or_default().escape_ascii();
            let reason = format!("expected the name of the architecture, {architecture}");
            return Err(StateError::Corrupt { offset: 0, reason }.into());
        };
        let start = layout.architecture().len() as u64;
        let frame = Frame { whole: true, ..self.frame()? };
        match self.books().layout.sections(StatePart::All) {
            Some(sections) => {
                payload::check(memory, sections, frame).map(drop).map_err(|error| error.moved(start).into())
            }
            None => Ok(()),
        }
    }

    /// Returns the constraints that the state of one sequence must fit.
    fn frame(&self) -> Result<Frame> {
        use llama_sys::llama_rope_type as Rope;
        let rope = self.model().raw_rope_type()?;
        Ok(Frame {
            n_seq_max: self.n_seq_max(),
            n_cells: self.n_ctx_seq(),
            whole: false,
            extended: [Rope::LLAMA_ROPE_TYPE_MROPE, Rope::LLAMA_ROPE_TYPE_IMROPE].contains(&rope),
            tensors: true,
        })
    }

    /// Returns whether restored sequences have positions that this crate would have accepted. For kinds of memory
    /// whose states are not parsed, this is the only check of positions.
    fn restored(&mut self, ids: core::ops::Range<i32>) -> Result<bool> {
        if !self.has_memory() {
            return Ok(true);
        }
        self.call(|raw| {
            for id in ids {
                // SAFETY: the context is valid and has a memory, and the ids are below n_seq_max.
                let (first, last) = unsafe {
                    let memory = llama_sys::llama_get_memory(raw);
                    (
                        guarded!(llama_memory_seq_pos_min(memory, id))?,
                        guarded!(llama_memory_seq_pos_max(memory, id))?,
                    )
                };
                if (first, last) != (-1, -1) && !(0 <= first && first <= last && last < i32::MAX) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    fn n_seq_max_raw(&self) -> i32 {
        i32::try_from(self.n_seq_max()).unwrap_or(i32::MAX)
    }

    /// Refuses to save a state while llama.cpp has recorded copies or moves to make.
    fn check_settled(&mut self) -> Result<()> {
        self.check_poison()?;
        let books = self.books();
        if books.copies || books.moves {
            return Err(StateError::Unsettled.into());
        }
        Ok(())
    }

    /// Refuses to restore a state while llama.cpp has recorded copies, which would overwrite or copy it.
    fn check_no_copies(&mut self) -> Result<()> {
        self.check_poison()?;
        if self.books().copies {
            return Err(StateError::Unsettled.into());
        }
        Ok(())
    }
}

/// Reserves memory in an empty vector, or returns an error.
fn reserve(data: &mut Vec<u8>, size: usize) -> Result<()> {
    data.try_reserve_exact(size).map_err(|error| {
        ErrorKind::OutOfMemory { message: format!("{size} bytes for a state: {error}") }.into()
    })
}

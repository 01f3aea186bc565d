//! The C object in which batches are handed to llama.cpp.

use std::ptr::NonNull;

use crate::batch::Batch;
use crate::error::{DecodeError, ErrorKind, Result};
use crate::ffi::guard::{free, guard};

/// An owned `llama_batch_ext`, filled anew for each batch. C keeps its arrays between batches; the older `llama_decode`
/// makes such an object for each call.
pub(super) struct Input {
    raw: NonNull<llama_sys::llama_batch_ext>,
}

impl Input {
    /// Corresponds to `llama_batch_ext_init`.
    ///
    /// # Safety
    ///
    /// The context is valid, and lives as long as `fill` and the C functions are given the result.
    pub(super) unsafe fn new(context: NonNull<llama_sys::llama_context>) -> Result<Self> {
        // SAFETY: the context is valid by the caller's promise; the function reads numbers and pointers of it.
        let raw = guard(|| unsafe { llama_sys::llama_batch_ext_init(context.as_ptr()) })?;
        NonNull::new(raw).map(|raw| Self { raw }).ok_or_else(|| {
            ErrorKind::OutOfMemory { message: "llama_batch_ext_init returned NULL".to_owned() }.into()
        })
    }

    pub(super) fn raw(&self) -> *mut llama_sys::llama_batch_ext {
        self.raw.as_ptr()
    }

    /// Copies a batch, whose tokens, sequences and size are checked, into the C object. To be called inside the guard.
    ///
    /// # Errors
    ///
    /// For embeddings and states of a width that the context does not take.
    pub(super) fn fill(&mut self, batch: &Batch) -> Result<()> {
        // SAFETY: the object is valid and nobody else uses it.
        unsafe { llama_sys::llama_batch_ext_clear(self.raw()) };
        // A step of a generation, which is to be quick.
        if let ([token], [pos], []) = (&*batch.tokens, &*batch.positions, &*batch.places)
            && batch.states.is_empty()
        {
            self.add(0, *token, &batch.seq_ids)?;
            self.set_pos(0, &[*pos; 4]);
            self.set_output(0, batch.outputs[0]);
            return Ok(());
        }
        let mut rows = batch.places.iter().zip(batch.rows.iter());
        let mut next = rows.next();
        for (index, entry) in batch.entries().enumerate() {
            self.add(index, batch.tokens[index], entry.seq_ids)?;
            let row = next.filter(|(place, _)| place.index == index);
            if let Some((place, row)) = row {
                self.set_embedding(index, row)?;
                self.set_pos(index, &place.pos);
                next = rows.next();
            } else {
                self.set_pos(index, &[entry.pos; 4]);
            }
            self.set_output(index, batch.outputs[index]);
        }
        if batch.states.is_empty() {
            return Ok(());
        }
        batch.states.iter().enumerate().try_for_each(|(index, row)| self.set_state(index, row))
    }

    fn set_pos(&mut self, index: usize, pos: &[llama_sys::llama_pos; 4]) {
        // SAFETY: the object is valid and has the entry, of which C reads at most four positions (llama-batch.cpp,
        // set_token_pos).
        unsafe { llama_sys::llama_batch_ext_set_pos(self.raw(), c_index(index), pos.as_ptr()) };
    }

    fn set_output(&mut self, index: usize, output: i8) {
        if output != 0 {
            // SAFETY: the object is valid and has the entry.
            unsafe { llama_sys::llama_batch_ext_set_output_logits(self.raw(), c_index(index), true) };
        }
    }

    fn add(&mut self, index: usize, token: i32, seq_ids: &[i32]) -> Result<()> {
        let (raw, first) = (self.raw(), seq_ids.first().copied().unwrap_or(-1));
        // SAFETY: the object is valid; C checks what it is given and pushes to vectors of its own.
        let added = unsafe {
            if token == llama_sys::LLAMA_TOKEN_NULL {
                llama_sys::llama_batch_ext_add(raw, first)
            } else {
                llama_sys::llama_batch_ext_add_token(raw, first, token)
            }
        };
        if added != c_index(index) {
            return Err(ErrorKind::Decode(DecodeError::InvalidBatch).into());
        }
        for seq_id in seq_ids.iter().skip(1) {
            // SAFETY: as above.
            unsafe { llama_sys::llama_batch_ext_add_seq(raw, added, *seq_id) };
        }
        Ok(())
    }

    fn set_embedding(&mut self, index: usize, row: &[f32]) -> Result<()> {
        // SAFETY: C copies as many floats as the row says it has.
        if unsafe { llama_sys::llama_batch_ext_set_embd_token(self.raw(), c_index(index), embd(row)) } {
            return Ok(());
        }
        let reason = "the model takes another width, see Model::n_embd_inp".to_owned();
        Err(ErrorKind::InvalidParameter { name: "embedding", value: floats(row), reason }.into())
    }

    fn set_state(&mut self, index: usize, row: &[f32]) -> Result<()> {
        // SAFETY: as in `set_embedding`.
        if unsafe { llama_sys::llama_batch_ext_set_embd_state(self.raw(), c_index(index), embd(row)) } {
            return Ok(());
        }
        let reason = "only contexts of ContextType::Mtp take states, of Model::n_embd_out floats".to_owned();
        Err(ErrorKind::InvalidParameter { name: "state", value: floats(row), reason }.into())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // SAFETY: this is the only owner. The destructor frees C's vectors and does not look at the context.
        free("a batch", || unsafe { llama_sys::llama_batch_ext_free(self.raw()) });
    }
}

/// An index as C wants it; batches are not longer than `n_batch`, an `i32`.
fn c_index(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

fn embd(row: &[f32]) -> llama_sys::llama_embd {
    llama_sys::llama_embd { data: row.as_ptr(), n_rows: 1, n_embd: row.len() }
}

fn floats(row: &[f32]) -> String {
    format!("a row of {} floats", row.len())
}

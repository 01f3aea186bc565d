//! The C object that passes batches to llama.cpp.

use std::ptr::NonNull;

use crate::batch::Batch;
use crate::error::{DecodeError, Error, ErrorKind, ParameterProblem, Result};
use crate::ffi::exit;
use crate::ffi::guard::{freed, guarded};

/// An owned `llama_batch_ext`, refilled for each batch. C keeps its arrays between batches; the older `llama_decode`
/// creates such an object for each call.
pub(super) struct Input {
    raw: NonNull<llama_sys::llama_batch_ext>,
}

impl Input {
    /// Creates the object. Corresponds to `llama_batch_ext_init`.
    ///
    /// # Safety
    ///
    /// The context is valid, and lives as long as `fill` and the C functions use the result.
    pub(super) unsafe fn new(context: NonNull<llama_sys::llama_context>) -> Result<Self> {
        // SAFETY: the context is valid by the caller's promise; the function reads numbers and pointers of it.
        let raw = unsafe { guarded!(llama_batch_ext_init(context.as_ptr())) }?;
        NonNull::new(raw).map(|raw| Self { raw }).ok_or_else(|| {
            ErrorKind::OutOfMemory { message: "llama_batch_ext_init returned NULL".to_owned() }.into()
        })
    }

    pub(super) fn raw(&self) -> *mut llama_sys::llama_batch_ext {
        self.raw.as_ptr()
    }

    /// Copies a batch, whose tokens, sequences and size have been checked, into the C object, computes it, and
    /// returns C's code.
    ///
    /// # Errors
    ///
    /// For embeddings and states of a width that the context does not support, and the errors of containment.
    pub(super) fn process(
        &mut self,
        context: NonNull<llama_sys::llama_context>,
        process: llama_sys::llama_process_type,
        batch: &Batch,
    ) -> Result<i32> {
        let entries = llama_sys::llama_shim_entries {
            tokens: batch.tokens.as_ptr(),
            positions: batch.positions.as_ptr(),
            n_seq_ids: batch.seq_id_counts.as_ptr(),
            seq_ids: batch.seq_ids.as_ptr(),
            outputs: batch.outputs.as_ptr(),
            n_entries: batch.len(),
        };
        let mut given = &raw const entries;
        if !(batch.places.is_empty() && batch.states.is_empty()) {
            self.fill(&entries, batch)?;
            given = core::ptr::null();
        }
        // SAFETY: the context and its batch are valid, and the arrays have the required lengths: a `Batch` has one
        // element in each for each entry, and as many sequences as it counts. The conditions of assertions on the
        // numbers have been checked (`Context::check_batch`); a failed assertion that was overlooked becomes an
        // error.
        let code = unsafe { guarded!(llama_shim_process(context.as_ptr(), process, self.raw(), given)) }?;
        if code == llama_sys::LLAMA_SHIM_ENTRIES_REFUSED {
            return Err(refused());
        }
        Ok(code)
    }

    /// Copies a batch with embeddings or states into the C object.
    fn fill(&mut self, entries: &llama_sys::llama_shim_entries, batch: &Batch) -> Result<()> {
        // SAFETY: as in `process`.
        if !unsafe { guarded!(llama_shim_batch_fill(self.raw(), entries)) }? {
            return Err(refused());
        }
        for (place, row) in batch.places.iter().zip(batch.rows.iter()) {
            self.set_embedding(place.index, row)?;
            let (index, pos) = (c_index(place.index), place.pos.as_ptr());
            // SAFETY: the object is valid and has the entry, for which C reads at most four positions
            // (llama-batch.cpp, set_token_pos).
            unsafe { guarded!(llama_batch_ext_set_pos(self.raw(), index, pos)) }?;
        }
        batch.states.iter().enumerate().try_for_each(|(index, row)| self.set_state(index, row))
    }

    fn set_embedding(&mut self, index: usize, row: &[f32]) -> Result<()> {
        // SAFETY: C copies as many floats as the row has.
        if unsafe { guarded!(llama_batch_ext_set_embd_token(self.raw(), c_index(index), embd(row))) }? {
            return Ok(());
        }
        let expected = "as wide as the model takes it, see Model::n_embd_inp";
        Err(ParameterProblem::new("embedding", floats(row), expected).into())
    }

    fn set_state(&mut self, index: usize, row: &[f32]) -> Result<()> {
        // SAFETY: as in `set_embedding`.
        if unsafe { guarded!(llama_batch_ext_set_embd_state(self.raw(), c_index(index), embd(row))) }? {
            return Ok(());
        }
        let expected =
            "left out but in contexts of ContextType::Mtp, and there Model::n_embd_out floats wide";
        Err(ParameterProblem::new("state", floats(row), expected).into())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let _freeing = exit::freeing();
        // SAFETY: this is the only owner. The destructor frees C's vectors and does not access the context.
        freed("a batch", unsafe { guarded!(llama_batch_ext_free(self.raw())) });
    }
}

/// Returns the error for entries that C refuses although their numbers were checked.
#[cold]
fn refused() -> Error {
    ErrorKind::Decode(DecodeError::InvalidBatch).into()
}

/// Converts an index to C's type; batches are not longer than `n_batch`, an `i32`.
fn c_index(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

fn embd(row: &[f32]) -> llama_sys::llama_embd {
    llama_sys::llama_embd { data: row.as_ptr(), n_rows: 1, n_embd: row.len() }
}

fn floats(row: &[f32]) -> String {
    format!("a row of {} floats", row.len())
}

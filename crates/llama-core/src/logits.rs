//! Rows of logits of the last batch.

mod probability;
mod processor;
mod softmax;

use core::ops::Deref;

pub use probability::Softmax;
pub use processor::{LogitsProcessor, LogitsProcessors};
pub(crate) use softmax::{Normaliser, largest};

use crate::context::Context;
use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::token::Token;

/// A row of logits: one float for each token of the vocabulary. It borrows from the context, so it must be dropped
/// before the next batch is decoded.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'c> {
    row: &'c [f32],
}

impl<'c> Logits<'c> {
    /// Creates a view of any row, for example of modified logits.
    #[must_use]
    pub fn from_slice(row: &'c [f32]) -> Self {
        Self { row }
    }

    /// Returns the row, `n_vocab` floats.
    #[must_use]
    pub fn as_slice(&self) -> &'c [f32] {
        self.row
    }

    /// Returns the logit of a token, or `None` outside of the vocabulary.
    #[must_use]
    pub fn get(&self, token: Token) -> Option<f32> {
        usize::try_from(token.get()).ok().and_then(|index| self.row.get(index)).copied()
    }

    /// Returns the token with the largest logit, the first one among equals. NaN is skipped.
    #[must_use]
    pub fn argmax(&self) -> Token {
        let index = index_of(largest(self.row), self.row).unwrap_or(0);
        Token::new(i32::try_from(index).unwrap_or(i32::MAX))
    }
}

/// Number of logits that are compared at once: the compiler vectorises this, but not a loop that stops early.
const LANES: usize = 16;

/// Returns the first index of a value.
#[allow(clippy::float_cmp, reason = "the value is one of the row")]
fn index_of(value: f32, row: &[f32]) -> Option<usize> {
    let (chunks, _) = row.as_chunks::<LANES>();
    let has_it = |chunk: &[f32; LANES]| chunk.iter().fold(false, |found, logit| found | (*logit == value));
    let before = chunks.iter().position(has_it).unwrap_or(chunks.len()) * LANES;
    row[before..].iter().position(|logit| *logit == value).map(|index| before + index)
}

impl Deref for Logits<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.row
    }
}

impl Context {
    /// Returns the logits of the token at `index` in the last batch, `n_vocab` floats. [`Batch::last_output`] can be
    /// passed as `index`.
    ///
    /// Several rows can be borrowed at once: llama.cpp reorders its rows at the first access after a batch, and
    /// never again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoOutput`] if the token is not in the last batch or has no output, or if its sequence is
    /// [sampled](Context::set_sampler) on the device. [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_get_logits_ith`.
    ///
    /// [`Batch::last_output`]: crate::Batch::last_output
    pub fn logits(&self, index: impl Into<Option<usize>>) -> Result<Logits<'_>> {
        let n_vocab = self.n_vocab();
        let row = self.logits_row(index.into())?;
        // SAFETY: the row has n_vocab floats in the context's output buffer (llama-context.cpp,
        // get_logits_ith), which moves or changes only in functions that take `&mut self`.
        Ok(Logits { row: unsafe { core::slice::from_raw_parts(row, n_vocab) } })
    }

    /// Returns the start of a row of logits, `n_vocab` floats.
    fn logits_row(&self, index: Option<usize>) -> Result<*mut f32> {
        let index = self.check_output(index, "logits")?;
        if self.sampled_seq(index).is_some() {
            return Err(no_output(index, "logits", "a sampler keeps them on the device: use `sampled`"));
        }
        if !self.computed().logits {
            return Err(no_output(index, "logits", "the last batch computed embeddings only"));
        }
        let raw = self.raw();
        // SAFETY: the context is valid and the index has an output (`check_output`).
        let row = self.read(|| unsafe { guarded!(llama_get_logits_ith(raw, index)) })?;
        if row.is_null() {
            return Err(no_output(index, "logits", "this context computes embeddings only"));
        }
        Ok(row)
    }

    /// Returns the logits of all tokens of the last batch that have an output, in the batch's order, each with its
    /// index in the batch. Excludes sequences that are [sampled](Context::set_sampler) on the device.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoOutput`] in a context that computes embeddings only, [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_get_logits`.
    pub fn logits_rows(&self) -> Result<impl Iterator<Item = (usize, Logits<'_>)>> {
        if !self.outputs().is_empty() && !self.computed().logits {
            return Err(no_output(0, "logits", "the last batch computed embeddings only"));
        }
        let n_vocab = self.n_vocab();
        let raw = self.raw();
        // SAFETY: the context is valid; the function returns the start of its rows, which `read` has put in order.
        let rows = self.rows("logits", n_vocab, move || unsafe { guarded!(llama_get_logits(raw)) })?;
        // Logits that are sampled on the device are not copied from there.
        let is_here =
            |(index, _): &(usize, _)| i32::try_from(*index).is_ok_and(|it| self.sampled_seq(it).is_none());
        Ok(rows.filter(is_here).map(|(index, row)| (index, Logits { row })))
    }

    /// Returns C's consecutive rows of `width` floats for all tokens that have an output.
    pub(crate) fn rows(
        &self,
        what: &'static str,
        width: usize,
        start: impl FnOnce() -> Result<*mut f32>,
    ) -> Result<impl Iterator<Item = (usize, &[f32])>> {
        self.check_poison()?;
        let with_results =
            || self.outputs().iter().enumerate().filter(|(_, output)| **output).map(|(index, _)| index);
        let n_rows = with_results().count();
        let start = if n_rows == 0 { core::ptr::null_mut() } else { self.read(start)? };
        if start.is_null() && n_rows > 0 {
            return Err(no_output(0, what, "this context does not compute them"));
        }
        let rows = if start.is_null() {
            &[]
        } else {
            // SAFETY: the buffer has a row of that many floats for each output, in the batch's order (llama-context.cpp,
            // output_reserve and output_reorder), and moves or changes only in functions that take `&mut self`.
            unsafe { core::slice::from_raw_parts(start, n_rows * width) }
        };
        Ok(with_results().zip(rows.chunks_exact(width.max(1))))
    }

    /// Refuses indices that have no row in the output buffer.
    pub(crate) fn check_output(&self, index: Option<usize>, what: &'static str) -> Result<i32> {
        self.check_poison()?;
        let Some(index) = index else {
            return Err(no_output(
                0,
                what,
                "no token of the batch asked for results: push it with output true",
            ));
        };
        match self.outputs().get(index) {
            Some(true) => Ok(i32::try_from(index).unwrap_or(i32::MAX)),
            Some(false) => {
                let reason = "it did not ask for results: push it with output true";
                Err(ErrorKind::NoOutput { index, what, reason }.into())
            }
            None => {
                let reason = "the last batch has fewer tokens, or there is none";
                Err(ErrorKind::NoOutput { index, what, reason }.into())
            }
        }
    }

    /// Runs a call that reads results. The first one after a batch reorders the rows; no row can be borrowed at that
    /// time, because the batch was decoded with `&mut self`.
    pub(crate) fn read<R>(&self, read: impl FnOnce() -> Result<R>) -> Result<R> {
        let raw = self.raw();
        // A single row needs no reordering.
        let reorder = !self.ordered().replace(true) && self.outputs().len() > 1;
        if reorder {
            // SAFETY: the context is valid. Orders all rows, logits and embeddings (llama-context.cpp,
            // output_reorder), and leaves nothing to reorder for later calls.
            unsafe { guarded!(llama_get_logits(raw)) }?;
        }
        let result = read()?;
        self.model().links().check().map(|()| result)
    }
}

pub(crate) fn no_output(index: i32, what: &'static str, reason: &'static str) -> crate::Error {
    ErrorKind::NoOutput { index: usize::try_from(index).unwrap_or(0), what, reason }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argmax(row: &[f32]) -> i32 {
        Logits { row }.argmax().get()
    }

    #[test]
    fn largest_is_found_at_any_index() {
        for length in [1, 2, 15, 16, 17, 31, 32, 33, 100] {
            let row = |at: usize| (0..length).map(|i| if i == at { 3.0 } else { -1.0 }).collect::<Vec<_>>();
            for at in 0..length {
                assert_eq!(argmax(&row(at)), i32::try_from(at).unwrap(), "of {length}");
            }
        }
    }

    #[test]
    fn first_of_equal_logits_is_taken_and_nan_is_not() {
        let mut row = vec![f32::NAN; 40];
        assert_eq!(argmax(&row), 0);
        row[5] = f32::NEG_INFINITY;
        (row[20], row[37], row[39]) = (-2.5, -2.5, -2.5);
        assert_eq!(argmax(&row), 20);
        (row[3], row[38]) = (-0.0, 0.0);
        assert_eq!(argmax(&row), 3);
        row[39] = f32::INFINITY;
        assert_eq!(argmax(&row), 39);
        assert_eq!(argmax(&[]), 0);
    }
}

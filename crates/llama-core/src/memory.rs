//! The memory of a context's sequences: a cache of keys and values, a recurrent state, or both.

use core::ops::{Bound, RangeBounds, RangeFull};

use crate::context::Context;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::ffi::guard::guarded;
use crate::token::{Pos, SeqId};

/// A view of a context's memory. Each function returns an error for operations that the model's kind of memory does
/// not support.
///
/// Ranges of positions are Rust ranges over [`Pos`] or `i32` ([`PosRange`]): `..` is the whole sequence, and `5..` and
/// `Pos::new(5)..` are all positions from 5 on.
///
/// For models without memory, such as BERT, every function returns [`ErrorKind::Unsupported`].
#[derive(Debug)]
pub struct Memory<'c> {
    context: &'c mut Context,
}

/// A range of positions: a Rust range over [`Pos`] or `i32`, or `..` for all positions.
///
/// It is implemented for ranges only, so that functions of [`Memory`] can be given what
/// [`seq_pos_max`](Memory::seq_pos_max) returns as well as a number.
pub trait PosRange: sealed::Sealed + Sized {
    /// Returns the bounds as numbers.
    #[doc(hidden)]
    fn bounds(self) -> (Bound<i32>, Bound<i32>);
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for RangeFull {}

impl PosRange for RangeFull {
    fn bounds(self) -> (Bound<i32>, Bound<i32>) {
        (Bound::Unbounded, Bound::Unbounded)
    }
}

macro_rules! pos_range {
    ($($range:ident)*) => {$(
        impl sealed::Sealed for core::ops::$range<i32> {}

        impl PosRange for core::ops::$range<i32> {
            fn bounds(self) -> (Bound<i32>, Bound<i32>) {
                (self.start_bound().cloned(), self.end_bound().cloned())
            }
        }

        impl sealed::Sealed for core::ops::$range<Pos> {}

        impl PosRange for core::ops::$range<Pos> {
            fn bounds(self) -> (Bound<i32>, Bound<i32>) {
                (self.start_bound().cloned().map(Pos::get), self.end_bound().cloned().map(Pos::get))
            }
        }
    )*};
}

pos_range!(Range RangeFrom RangeTo RangeInclusive RangeToInclusive);

impl sealed::Sealed for (Bound<i32>, Bound<i32>) {}

impl PosRange for (Bound<i32>, Bound<i32>) {
    fn bounds(self) -> (Bound<i32>, Bound<i32>) {
        self
    }
}

impl sealed::Sealed for (Bound<Pos>, Bound<Pos>) {}

impl PosRange for (Bound<Pos>, Bound<Pos>) {
    fn bounds(self) -> (Bound<i32>, Bound<i32>) {
        (self.0.map(Pos::get), self.1.map(Pos::get))
    }
}

/// A checked range in C's form; an end of -1 means open.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Span {
    start: i32,
    end: i32,
}

impl Span {
    fn new(range: impl PosRange) -> Result<Self> {
        let (start, end) = range.bounds();
        let start = match start {
            Bound::Included(start) => i64::from(start),
            Bound::Excluded(start) => i64::from(start) + 1,
            Bound::Unbounded => 0,
        };
        let end = match end {
            // No position comes after the last one.
            Bound::Included(i32::MAX) | Bound::Unbounded => None,
            Bound::Included(end) => Some(i64::from(end) + 1),
            Bound::Excluded(end) => Some(i64::from(end)),
        };
        let last = end.unwrap_or(i64::from(i32::MAX));
        let refuse = |reason| Err(ErrorKind::InvalidRange { start, end: last, reason }.into());
        if start < 0 || last < 0 {
            return refuse("it must start at position 0 or later");
        }
        if start > last {
            return refuse("the start must not be after the end");
        }
        match (i32::try_from(start), end.map(i32::try_from).transpose()) {
            (Ok(start), Ok(end)) => Ok(Self { start, end: end.unwrap_or(-1) }),
            _ => refuse("positions must be at most 2147483647"),
        }
    }

    fn is_empty(self) -> bool {
        self.start == self.end
    }

    fn is_whole(self) -> bool {
        self.start == 0 && self.end == -1
    }

    /// Returns the range after this one.
    fn rest(self) -> Self {
        Self { start: if self.end == -1 { i32::MAX } else { self.end }, end: -1 }
    }

    fn contains(self, pos: i32) -> bool {
        pos >= self.start && (self.end == -1 || pos < self.end)
    }
}

impl<'c> Memory<'c> {
    pub(crate) fn new(context: &'c mut Context) -> Self {
        Self { context }
    }

    /// Removes all sequences. With `data`, the buffers are cleared too, which takes longer and only protects against
    /// somebody who reads them. Corresponds to `llama_memory_clear`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] without memory, [`ErrorKind::Poisoned`].
    pub fn clear(&mut self, data: bool) -> Result<()> {
        // SAFETY: `call` passes the memory of a valid context.
        self.call(|memory| unsafe { guarded!(llama_memory_clear(memory, data)) })?;
        self.context.books_mut().note_clear();
        Ok(())
    }

    /// Removes the positions of a range from a sequence. Corresponds to `llama_memory_seq_rm`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if a recurrent or hybrid memory would have to forget a part of its accumulated
    /// state, or for the end of a sequence if the sliding window no longer has the new end: remove the whole
    /// sequence instead. [`ErrorKind::InvalidSeqId`], [`ErrorKind::InvalidRange`], [`ErrorKind::Poisoned`].
    pub fn seq_rm(&mut self, seq_id: SeqId, range: impl PosRange) -> Result<()> {
        self.context.check_seq_id(seq_id)?;
        let span = Span::new(range)?;
        if span.is_empty() {
            return self.check();
        }
        self.check_window(seq_id, span, "removing the end of a sequence")?;
        let possible = self.can_remove(seq_id, span)?;
        let seq_id = seq_id.get();
        // SAFETY: the memory is valid and the id and range are checked.
        let remove = |memory| unsafe { guarded!(llama_memory_seq_rm(memory, seq_id, span.start, span.end)) };
        if possible && self.call(remove)? {
            return Ok(());
        }
        let reason =
            "its memory accumulates a state and cannot forget a part of it: remove the whole sequence with \
                      `..` and decode again"
                .to_owned();
        Err(ErrorKind::Unsupported { operation: "removing a part of a sequence", reason }.into())
    }

    /// Returns whether the range can be removed, as far as this is known here. A recurrent memory only refuses to
    /// forget its end; asked to forget earlier positions it does nothing and reports success
    /// (llama-memory-recurrent.cpp, seq_rm), and a hybrid one would forget them in only one half.
    fn can_remove(&mut self, seq_id: SeqId, span: Span) -> Result<bool> {
        if span.is_whole() || !self.accumulates() {
            return Ok(true);
        }
        let last = self.seq_pos_max(seq_id)?.map_or(-1, Pos::get);
        Ok(span.start > last || span.contains(last))
    }

    /// Refuses to leave a sequence with an end that the sliding window no longer has: in the layers with a window it
    /// would be shorter than in the others, or empty, and the next tokens would see nothing of it
    /// (llama-kv-cache.cpp, `find_slot` reuses the cells of positions outside the window). `span` is the removed
    /// range.
    fn check_window(&mut self, seq_id: SeqId, span: Span, operation: &'static str) -> Result<()> {
        let width = i64::from(self.context.model().n_swa());
        if width == 0 || span.start == 0 {
            return Ok(());
        }
        let (Some(first), Some(last)) = (self.seq_pos_min(seq_id)?, self.seq_pos_max(seq_id)?) else {
            return Ok(());
        };
        let needed = (i64::from(span.start) - width + 1).max(0);
        if span.start > last.get() || !span.contains(last.get()) || i64::from(first.get()) <= needed {
            return Ok(());
        }
        let reason = format!(
            "its sliding window needs position {needed} to continue there, but holds {first} to {last}: remove the whole \
             sequence with `..` and decode again, or create the context with swa_full(true)"
        );
        Err(ErrorKind::Unsupported { operation, reason }.into())
    }

    /// Returns whether the memory accumulates a state, which has no parts.
    fn accumulates(&self) -> bool {
        let model = self.context.model();
        model.is_recurrent() || model.is_hybrid()
    }

    /// Makes the positions of a range of one sequence part of another one too, without computing or, with
    /// [`kv_unified`](crate::ContextParams::kv_unified), copying anything. The earlier contents of the other
    /// sequence are kept in contexts with `kv_unified`, and removed in those without and for models that accumulate
    /// a state. Corresponds to `llama_memory_seq_cp`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for a part of a sequence where only whole ones can be copied: for recurrent and
    /// hybrid models, and in contexts without `kv_unified`; and for a prefix whose end the sliding window no longer
    /// has. [`ErrorKind::InvalidSeqId`], [`ErrorKind::InvalidRange`], [`ErrorKind::Poisoned`].
    pub fn seq_cp(&mut self, from: SeqId, to: SeqId, range: impl PosRange) -> Result<()> {
        self.context.check_seq_id(from)?;
        self.context.check_seq_id(to)?;
        let span = Span::new(range)?;
        if span.is_empty() || from == to {
            return self.check();
        }
        if !span.is_whole() {
            self.check_partial_copy()?;
            self.check_window(from, span.rest(), "copying the beginning of a sequence")?;
        }
        if self.accumulates() {
            // The cache of a hybrid model keeps its contents, but the state does not: they would end at different
            // positions.
            self.seq_rm(to, ..)?;
        }
        let (from, to) = (from.get(), to.get());
        // SAFETY: the memory is valid, the ids and the range are checked, and a part is only copied inside one
        // buffer (llama-kv-cache.cpp, seq_cp).
        self.call(|memory| unsafe { guarded!(llama_memory_seq_cp(memory, from, to, span.start, span.end)) })?;
        if !self.context.is_unified() && !self.context.model().is_recurrent() {
            self.context.books_mut().note_copy();
        }
        Ok(())
    }

    fn check_partial_copy(&self) -> Result<()> {
        let reason = if self.accumulates() {
            "its memory accumulates a state and has no parts: copy the whole sequence with `..`"
        } else if self.context.is_unified() {
            return Ok(());
        } else {
            "its sequences have separate buffers: copy the whole sequence with `..`, or create the context with \
             kv_unified(true)"
        };
        let operation = "copying a part of a sequence";
        Err(ErrorKind::Unsupported { operation, reason: reason.to_owned() }.into())
    }

    /// Removes all other sequences. Corresponds to `llama_memory_seq_keep`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSeqId`], [`ErrorKind::Unsupported`] without memory, [`ErrorKind::Poisoned`].
    pub fn seq_keep(&mut self, seq_id: SeqId) -> Result<()> {
        self.context.check_seq_id(seq_id)?;
        let others = i32::try_from(self.context.n_seq_max()).unwrap_or(i32::MAX);
        let (keep, unified) = (seq_id.get(), self.context.is_unified());
        self.call(|memory| {
            // SAFETY: the memory is valid and all ids are below n_seq_max. If sequences have separate buffers, C
            // only processes the buffer of the kept one (llama-kv-cache.cpp, seq_keep).
            unsafe {
                guarded!(llama_memory_seq_keep(memory, keep))?;
                for other in (0..others).filter(|other| !unified && *other != keep) {
                    guarded!(llama_memory_seq_rm(memory, other, -1, -1))?;
                }
                Ok(())
            }
        })
    }

    /// Moves the positions of a range by `delta`. Corresponds to `llama_memory_seq_add`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where [`can_shift`](Memory::can_shift) is false, and for a part of a sequence in
    /// recurrent and hybrid models; [`ErrorKind::InvalidPosition`] if a position would become negative or exceed
    /// 2147483646, in sliding-window and hybrid models also if the start of the range would;
    /// [`ErrorKind::InvalidSeqId`], [`ErrorKind::InvalidRange`], [`ErrorKind::Poisoned`].
    pub fn seq_add(&mut self, seq_id: SeqId, range: impl PosRange, delta: i32) -> Result<()> {
        self.context.check_seq_id(seq_id)?;
        let span = Span::new(range)?;
        self.check_shift("moving positions")?;
        if span.is_empty() || delta == 0 {
            return Ok(());
        }
        self.check_undivided(seq_id, span, "moving a part of a sequence")?;
        self.check_moved(seq_id, span, delta)?;
        let seq_id = seq_id.get();
        // SAFETY: the memory is valid and can shift, and the id, the range and the moved positions are checked.
        self.call(|memory| unsafe {
            guarded!(llama_memory_seq_add(memory, seq_id, span.start, span.end, delta))
        })?;
        self.note_move();
        Ok(())
    }

    fn check_moved(&mut self, seq_id: SeqId, span: Span, delta: i32) -> Result<()> {
        let (Some(first), Some(last)) = (self.seq_pos_min(seq_id)?, self.seq_pos_max(seq_id)?) else {
            return Ok(());
        };
        // A window may have lost a prefix that other layers still have, and a hybrid memory only knows where its
        // state is.
        let model = self.context.model();
        let is_beginning_known = model.n_swa() == 0 && !model.is_hybrid();
        let first = if is_beginning_known { first.get().max(span.start) } else { span.start };
        let last = if span.end == -1 { last.get() } else { last.get().min(span.end - 1) };
        for pos in [first, last] {
            if first <= last && span.contains(pos) && is_outside(pos.checked_add(delta)) {
                let reason = format!("moved by {delta} it would be outside of 0..{}", i32::MAX);
                return Err(ErrorKind::InvalidPosition { pos, seq_id: seq_id.get(), reason }.into());
            }
        }
        Ok(())
    }

    /// Refuses a part of a sequence if the cache would move but the state beside it would not.
    fn check_undivided(&mut self, seq_id: SeqId, span: Span, operation: &'static str) -> Result<()> {
        if span.is_whole() || !self.accumulates() {
            return Ok(());
        }
        match self.seq_pos_max(seq_id)? {
            Some(last) if span.start <= last.get() && !(span.start == 0 && span.contains(last.get())) => {
                let reason =
                    "its memory accumulates a state and has no parts: use the whole sequence with `..`";
                Err(ErrorKind::Unsupported { operation, reason: reason.to_owned() }.into())
            }
            _ => Ok(()),
        }
    }

    /// Divides the positions of a range by `divisor`, rounding down. Corresponds to `llama_memory_seq_div`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`] for a divisor below 1, and the errors of [`seq_add`](Memory::seq_add).
    pub fn seq_div(&mut self, seq_id: SeqId, range: impl PosRange, divisor: i32) -> Result<()> {
        self.context.check_seq_id(seq_id)?;
        let span = Span::new(range)?;
        if divisor < 1 {
            return Err(ParameterProblem::new("divisor", divisor, "at least 1").into());
        }
        self.check_shift("dividing positions")?;
        if span.is_empty() || divisor == 1 {
            return Ok(());
        }
        self.check_undivided(seq_id, span, "dividing a part of a sequence")?;
        let seq_id = seq_id.get();
        // SAFETY: the memory is valid and can shift, and the id, the range and the divisor are checked.
        self.call(|memory| unsafe {
            guarded!(llama_memory_seq_div(memory, seq_id, span.start, span.end, divisor))
        })?;
        self.note_move();
        Ok(())
    }

    /// Records moved positions. Keys are rotated to them when the next batch is decoded; a recurrent state has no
    /// keys.
    fn note_move(&mut self) {
        if !self.context.model().is_recurrent() {
            self.context.books_mut().note_move();
        }
    }

    /// Returns the smallest position of a sequence that is in memory, or `None` if there is none. It is above 0 in
    /// sliding-window and recurrent memories. Corresponds to `llama_memory_seq_pos_min`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSeqId`], [`ErrorKind::Unsupported`] without memory, [`ErrorKind::Poisoned`].
    pub fn seq_pos_min(&mut self, seq_id: SeqId) -> Result<Option<Pos>> {
        self.context.check_seq_id(seq_id)?;
        // SAFETY: the memory is valid and the id is checked.
        let pos = self.call(|memory| unsafe { guarded!(llama_memory_seq_pos_min(memory, seq_id.get())) })?;
        Ok((pos >= 0).then_some(Pos::new(pos)))
    }

    /// Returns the largest position of a sequence that is in memory, or `None` if there is none; the next token has
    /// one more. Corresponds to `llama_memory_seq_pos_max`.
    ///
    /// # Errors
    ///
    /// The errors of [`seq_pos_min`](Memory::seq_pos_min).
    pub fn seq_pos_max(&mut self, seq_id: SeqId) -> Result<Option<Pos>> {
        self.context.check_seq_id(seq_id)?;
        // SAFETY: the memory is valid and the id is checked.
        let pos = self.call(|memory| unsafe { guarded!(llama_memory_seq_pos_max(memory, seq_id.get())) })?;
        Ok((pos >= 0).then_some(Pos::new(pos)))
    }

    /// Returns whether positions can be moved and divided. This is not possible in every kind of memory, not with
    /// keys of [`CacheType::Bf16`](crate::context::CacheType::Bf16), and with quantised keys only if the length of heads is a
    /// multiple of 64. Corresponds to `llama_memory_can_shift`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] without memory, [`ErrorKind::Poisoned`].
    pub fn can_shift(&mut self) -> Result<bool> {
        // SAFETY: the memory is valid.
        let can = self.call(|memory| unsafe { guarded!(llama_memory_can_shift(memory)) })?;
        Ok(can && self.context.rotates_keys())
    }

    fn check_shift(&mut self, operation: &'static str) -> Result<()> {
        if self.can_shift()? {
            return Ok(());
        }
        let reason = if self.context.rotates_keys() {
            "positions are part of its memory's contents"
        } else {
            "llama.cpp cannot rotate cached keys of this type: create the context with type_k(CacheType::F16)"
        };
        let reason = reason.to_owned();
        Err(ErrorKind::Unsupported { operation, reason }.into())
    }

    /// Checks that there is a memory, for calls that have nothing to do.
    fn check(&mut self) -> Result<()> {
        self.call(|_| Ok(()))
    }

    fn call<R>(&mut self, call: impl FnOnce(llama_sys::llama_memory_t) -> Result<R>) -> Result<R> {
        self.context.check_poison()?;
        if !self.context.has_memory() {
            let reason = "it keeps no memory between batches".to_owned();
            return Err(ErrorKind::Unsupported { operation: "using the memory", reason }.into());
        }
        self.context.call(|raw| {
            // SAFETY: the context is valid, and its memory lives as long as it does.
            call(unsafe { llama_sys::llama_get_memory(raw) })
        })
    }
}

/// Returns whether a moved position is invalid. The next position must be representable too: llama.cpp computes it.
fn is_outside(moved: Option<i32>) -> bool {
    moved.is_none_or(|moved| !(0..i32::MAX).contains(&moved))
}

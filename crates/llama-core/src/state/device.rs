//! The state of one sequence, kept on the device of the memory.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;

use super::payload::Contents;
use super::sequence::StatePart;
use crate::context::{CacheType, Context};
use crate::device;
use crate::error::{ErrorKind, Result, StateError};
use crate::ffi::guard::guarded;
use crate::token::{Pos, SeqId};

/// The state of a sequence whose tensors a context keeps on the device beside its memory, so that nothing is copied
/// to the CPU. Created by [`Context::keep_seq_state`].
///
/// It can be restored into the context that created it, any number of times and under any sequence id, until the
/// context creates another one of the same sequence. llama.cpp keeps the tensors until then or until the context is
/// dropped; dropping this value does not free them.
#[derive(Debug)]
pub struct DeviceState {
    /// Number of the context that has the tensors.
    context: u64,
    /// The sequence under whose id the context keeps them.
    seq_id: i32,
    /// Number of this state among those kept under that id.
    generation: u64,
    part: StatePart,
    /// The last position, if known.
    end: Option<Option<i32>>,
    /// The bytes that llama.cpp wrote: everything except the contents of the tensors.
    data: Vec<u8>,
}

impl DeviceState {
    /// Returns the sequence whose state was kept.
    #[must_use]
    pub fn seq_id(&self) -> SeqId {
        SeqId::new(self.seq_id)
    }

    /// Returns which part of the sequence was kept.
    #[must_use]
    pub fn part(&self) -> StatePart {
        self.part
    }

    /// Returns the last position in the state, or `None` if there is none or it is unknown.
    #[must_use]
    pub fn end(&self) -> Option<Pos> {
        self.end.flatten().map(Pos::new)
    }
}

/// A context's knowledge about the states that it keeps on the device.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Number of the context, unique in this process.
    context: u64,
    /// Number of the current state of each sequence.
    generations: BTreeMap<i32, u64>,
    last: u64,
    /// The reason why no further state can be kept, if there is one.
    refusal: Option<&'static str>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { context: NEXT.fetch_add(1, Ordering::Relaxed), ..Self::default() }
    }

    /// Prepares for another state of a sequence, which invalidates the previous one.
    fn next(&mut self, seq_id: i32) -> u64 {
        self.last += 1;
        self.generations.insert(seq_id, self.last);
        self.last
    }
}

/// Returns the flags for a state on the device.
fn flags(part: StatePart) -> llama_sys::llama_state_seq_flags {
    part.flags() | llama_sys::LLAMA_STATE_SEQ_FLAGS_ON_DEVICE
}

impl Context {
    /// Keeps the state of a sequence on the device, to go back to it quickly, for example before a draft that may be
    /// rejected. This invalidates the state that was kept of this sequence before.
    ///
    /// The memory for it is allocated by the first call and reused. When a device has no memory left, llama.cpp ends
    /// the process instead of returning an error; therefore a state that does not fit into the free memory that the
    /// devices report is refused.
    ///
    /// # Errors
    ///
    /// The errors of [`seq_state_data`](Context::seq_state_data), and [`ErrorKind::Unsupported`] where llama.cpp's
    /// implementation is faulty: for quantised caches of keys and values (it copies only a part of them), and for
    /// states with such caches if flash attention is off (it runs out of the memory that it has allocated if the
    /// sequence's cells are arranged differently). Recurrent states can always be kept.
    ///
    /// Corresponds to `llama_state_seq_get_data_ext` with `LLAMA_STATE_SEQ_FLAGS_ON_DEVICE`.
    pub fn keep_seq_state(&mut self, seq_id: SeqId, part: StatePart) -> Result<DeviceState> {
        self.check_sequence_state(seq_id, part)?;
        self.check_settled()?;
        self.check_can_keep(seq_id, part)?;
        let id = seq_id.get();
        // From here on the earlier state is lost, whatever happens.
        let generation = self.books_mut().kept.next(id);
        let size = self.sequence_size(id, flags(part))?;
        let mut data = Vec::new();
        self.fill(&mut data, size, |raw, to, size| {
            // SAFETY: the context is valid, the id is checked and there is room for `size` bytes (`fill`).
            unsafe { guarded!(llama_state_seq_get_data_ext(raw, to, size, id, flags(part))) }
        })?;
        let contents = self.check_sequence(&data, part, false)?;
        if let Some(refusal) = contents.as_ref().and_then(refusal) {
            self.books_mut().kept.refusal = Some(refusal);
            return Err(cannot_keep(refusal));
        }
        let (context, end) = (self.books().kept.context, contents.map(|contents| contents.end));
        Ok(DeviceState { context, seq_id: id, generation, part, end, data })
    }

    /// Replaces a sequence by a state from [`keep_seq_state`](Context::keep_seq_state).
    ///
    /// # Errors
    ///
    /// [`StateError::OtherContext`], [`StateError::Superseded`], and the errors of
    /// [`set_seq_state_data`](Context::set_seq_state_data).
    ///
    /// Corresponds to `llama_state_seq_set_data_ext` with `LLAMA_STATE_SEQ_FLAGS_ON_DEVICE`.
    pub fn restore_seq_state(&mut self, seq_id: SeqId, state: &DeviceState) -> Result<()> {
        self.check_sequence_state(seq_id, state.part)?;
        let kept = &self.books().kept;
        if kept.context != state.context {
            return Err(StateError::OtherContext.into());
        }
        if kept.generations.get(&state.seq_id) != Some(&state.generation) {
            return Err(StateError::Superseded { seq_id: state.seq_id }.into());
        }
        self.restore_sequence(seq_id, state.part, state.end, &state.data, flags(state.part))
    }

    /// Refuses states whose copy would fail: llama.cpp copies the tensors in destructors, where an exception ends
    /// the process (llama-context.cpp, llama_io_write_device).
    fn check_can_keep(&mut self, seq_id: SeqId, part: StatePart) -> Result<()> {
        if let Some(refusal) = self.books().kept.refusal {
            return Err(cannot_keep(refusal));
        }
        let Some(sections) = self.books().layout.sections(part) else {
            return Err(cannot_keep("the layout of its kind of memory is unknown: use seq_state_data"));
        };
        let cached = sections.iter().any(super::layout::Section::is_cache);
        if cached && self.given_params().cache_types().iter().any(is_quantised) {
            return Err(cannot_keep("the cache of keys or values is quantised: use seq_state_data"));
        }
        let size = self.sequence_size(seq_id.get(), part.flags())?;
        let tight = |device: &device::Device| device.has_own_memory() && device.memory().free < size;
        if device::devices().iter().any(tight) {
            let message = format!("the device has less than the {size} bytes that a state needs");
            return Err(ErrorKind::OutOfMemory { message }.into());
        }
        Ok(())
    }
}

/// Returns why a second state with these contents could fail although the first did not. The memory of the first is
/// reused if the second has as many bytes, but those may be in more pieces, each of which is padded.
fn refusal(contents: &Contents) -> Option<&'static str> {
    let (alignment, largest) = device::buffer_limits();
    if contents.transposed {
        return Some("values are stored column by column: use flash attention, or seq_state_data");
    }
    if contents.rows.iter().any(|row| row % alignment as u64 != 0) {
        return Some("rows of keys and values are not aligned as the device requires: use seq_state_data");
    }
    (contents.bytes > largest as u64)
        .then_some("it is larger than one allocation of the device: use seq_state_data")
}

fn cannot_keep(reason: &str) -> crate::Error {
    ErrorKind::Unsupported { operation: "keeping a state on the device", reason: reason.to_owned() }.into()
}

fn is_quantised(cache: &CacheType) -> bool {
    !matches!(cache, CacheType::F32 | CacheType::F16 | CacheType::Bf16)
}

//! The state of one sequence, kept where the memory is.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;

use super::payload::Contents;
use super::sequence::StatePart;
use crate::context::{CacheType, Context};
use crate::device;
use crate::error::{ErrorKind, Result, StateError};
use crate::ffi::guard::guarded;
use crate::token::{Pos, SeqId};

/// The state of a sequence whose tensors a context keeps beside its memory, on the device: nothing crosses to the CPU.
/// Made by [`Context::keep_seq_state`].
///
/// It can be restored into the context that made it, any number of times and under any sequence id, until the
/// context makes another of the same sequence. llama.cpp keeps the tensors until then or until the context is dropped;
/// dropping this does not give them back.
#[derive(Debug)]
pub struct DeviceState {
    /// The context that has the tensors.
    context: u64,
    /// The sequence under whose id it has them.
    seq_id: i32,
    /// Which of the states that it has had under that id.
    generation: u64,
    part: StatePart,
    /// The last position, where that is known.
    end: Option<Option<i32>>,
    /// What llama.cpp wrote: everything but the contents of the tensors.
    data: Vec<u8>,
}

impl DeviceState {
    /// The sequence that it was made of.
    #[must_use]
    pub fn seq_id(&self) -> SeqId {
        SeqId::new(self.seq_id)
    }

    /// How much of the sequence it has.
    #[must_use]
    pub fn part(&self) -> StatePart {
        self.part
    }

    /// The last position in it. `None` when it has none, or where that cannot be told.
    #[must_use]
    pub fn end(&self) -> Option<Pos> {
        self.end.flatten().map(Pos::new)
    }
}

/// What a context knows of the states that it keeps on the device.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// A number that no other context of this process has.
    context: u64,
    /// For each sequence the number of the state that it has.
    generations: BTreeMap<i32, u64>,
    last: u64,
    /// Why there can be no more of them.
    refusal: Option<&'static str>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { context: NEXT.fetch_add(1, Ordering::Relaxed), ..Self::default() }
    }

    /// Makes way for another state of a sequence; the one that there was is not good any more.
    fn next(&mut self, seq_id: i32) -> u64 {
        self.last += 1;
        self.generations.insert(seq_id, self.last);
        self.last
    }
}

/// Both on the device and not the whole sequence.
fn flags(part: StatePart) -> llama_sys::llama_state_seq_flags {
    part.flags() | llama_sys::LLAMA_STATE_SEQ_FLAGS_ON_DEVICE
}

impl Context {
    /// Keeps the state of a sequence on the device, for going back to it quickly: before a draft that may be rejected,
    /// for example. The one that was kept of this sequence before is not good any more.
    ///
    /// The memory for it is allocated at the first call and used again. When a device has none left, llama.cpp ends
    /// the process instead of saying so; what does not fit into the free memory that the devices report is
    /// refused here.
    ///
    /// # Errors
    ///
    /// As [`seq_state_data`](Context::seq_state_data), and [`ErrorKind::Unsupported`] where llama.cpp does not do it
    /// right: for quantised caches of keys and values (it copies a part of them only), and when such caches are in it
    /// and flash attention is off (it runs out of the memory that it has allocated when the sequence's cells come to
    /// lie differently). Recurrent states can always be kept.
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
            // SAFETY: the context is valid, the id is checked and there is room for that many bytes (`fill`).
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

    /// Replaces a sequence by a state that [`keep_seq_state`](Context::keep_seq_state) has kept.
    ///
    /// # Errors
    ///
    /// [`StateError::OtherContext`], [`StateError::Superseded`], otherwise as
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

    /// llama.cpp copies the tensors in destructors, where an exception ends the process (llama-context.cpp,
    /// llama_io_write_device): what would fail there must not begin.
    fn check_can_keep(&mut self, seq_id: SeqId, part: StatePart) -> Result<()> {
        if let Some(refusal) = self.books().kept.refusal {
            return Err(cannot_keep(refusal));
        }
        let Some(sections) = self.books().layout.sections(part) else {
            return Err(cannot_keep("its kind of memory was not looked into: use seq_state_data"));
        };
        let cached = sections.iter().any(super::layout::Section::is_cache);
        if cached && self.given_params().cache_types().iter().any(is_quantised) {
            return Err(cannot_keep("the cache of keys or values is quantised: use seq_state_data"));
        }
        let size = self.sequence_size(seq_id.get(), part.flags())?;
        let tight = |device: &device::Device| device.has_own_memory() && device.memory().free < size;
        if device::devices().iter().any(tight) {
            let message = format!("{size} bytes for a state are not free on the device");
            return Err(ErrorKind::OutOfMemory { message }.into());
        }
        Ok(())
    }
}

/// Why a second state of these contents could fail where the first did not. The memory of the first is used again when
/// the second has as many bytes, but it may be in more pieces, each of which is padded.
fn refusal(contents: &Contents) -> Option<&'static str> {
    let (alignment, largest) = device::buffer_limits();
    if contents.transposed {
        return Some("values are stored column by column: use flash attention, or seq_state_data");
    }
    if contents.rows.iter().any(|row| row % alignment as u64 != 0) {
        return Some("rows of keys and values are not aligned as the device needs it: use seq_state_data");
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

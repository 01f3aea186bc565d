//! The layout of the state of a context's memory, learned from the state of the empty memory.

use super::cursor::Cursor;
use crate::context::Context;
use crate::error::Result;
use crate::state::StatePart;

/// The most sequences that a context can have (`LLAMA_MAX_SEQ` in llama-cparams.h), and so the most buffers.
const MAX_STREAMS: u32 = 256;

/// The sections of a state, in the order in which llama.cpp writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Sections of the whole memory or of a whole sequence. `None` for kinds of memory that are not parsed.
    all: Option<Vec<Section>>,
    /// Sections of a sequence with [`StatePart::Partial`].
    partial: Option<Vec<Section>>,
    /// Magic number of the state of a sequence (`io_magic` in llama-context.cpp).
    magic: [u8; 4],
    /// The architecture's name with its length in front, with which the state of the whole memory begins.
    architecture: Vec<u8>,
}

/// A section of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// Keys and values (llama-kv-cache.cpp).
    Cache {
        /// Number of buffers: one for all sequences, or one for each.
        n_stream: u32,
    },
    /// A recurrent state (llama-memory-recurrent.cpp).
    Recurrent {
        /// Whether the tensors are transposed, and the number of layers, in written form.
        dimensions: [u8; 8],
        /// Type and row size of each tensor, in written form.
        tensors: Vec<[u8; 12]>,
    },
}

impl Section {
    /// Returns whether the section has keys and values.
    pub(crate) fn is_cache(&self) -> bool {
        matches!(self, Self::Cache { .. })
    }
}

impl Layout {
    /// Learns the layout. The context's memory must be empty.
    pub(crate) fn read(context: &mut Context) -> Result<Self> {
        let mut data = Vec::new();
        context.write_state(&mut data)?;
        let name = data.first_chunk().map_or(0, |length| u32::from_ne_bytes(*length)) as usize;
        let memory = data.split_off(data.len().min(4 + name));
        let mut layout = Self { all: sections(&memory), architecture: data, ..Self::default() };
        if context.has_memory() {
            let mut data = Vec::new();
            context.write_seq_state(0, StatePart::Partial, &mut data)?;
            layout.magic = data.first_chunk().copied().unwrap_or_default();
            layout.partial = sections(data.get(Self::SEQUENCE_HEADER..).unwrap_or_default());
        }
        Ok(layout)
    }

    /// Number of bytes before a sequence's state: the magic number and the id of the sequence.
    pub(crate) const SEQUENCE_HEADER: usize = 8;

    /// Returns the sections of a sequence's state; for [`StatePart::All`], they are also those of the whole memory.
    pub(crate) fn sections(&self, part: StatePart) -> Option<&[Section]> {
        match part {
            StatePart::All => self.all.as_deref(),
            StatePart::Partial => self.partial.as_deref(),
        }
    }

    /// Returns whether a partial state would contain anything.
    pub(crate) fn has_partial(&self) -> bool {
        self.partial.as_ref().is_none_or(|sections| !sections.is_empty())
    }

    /// Returns whether a partial state leaves out a part of the memory.
    pub(crate) fn partial_is_less(&self) -> bool {
        self.all != self.partial || self.all.is_none()
    }

    pub(crate) fn magic(&self) -> [u8; 4] {
        self.magic
    }

    pub(crate) fn architecture(&self) -> &[u8] {
        &self.architecture
    }
}

/// Parses the state of an empty memory, if all of its sections are known.
fn sections(bytes: &[u8]) -> Option<Vec<Section>> {
    let mut cursor = Cursor::new(bytes);
    let mut sections = Vec::new();
    while !cursor.is_at_end() {
        sections.push(match cursor.u32().ok()? {
            // The number of cells.
            0 => recurrent(&mut cursor)?,
            n_stream => cache(&mut cursor, n_stream)?,
        });
    }
    Some(sections)
}

/// Parses a cache: its number of buffers, each of which has no cells.
fn cache(cursor: &mut Cursor<'_>, n_stream: u32) -> Option<Section> {
    let empty = n_stream <= MAX_STREAMS && (0..n_stream).all(|_| cursor.u32().is_ok_and(|cells| cells == 0));
    empty.then_some(Section::Cache { n_stream })
}

/// Parses a recurrent memory, which lists its tensors even without cells. It is the last section in all known kinds
/// of memory.
fn recurrent(cursor: &mut Cursor<'_>) -> Option<Section> {
    let dimensions = *cursor.take(8).ok()?.first_chunk()?;
    let mut tensors = Vec::new();
    while !cursor.is_at_end() {
        let tensor: [u8; 12] = *cursor.take(12).ok()?.first_chunk()?;
        // An apparent row of no bytes belongs to something else.
        (row_size(&tensor) > 0).then_some(())?;
        tensors.push(tensor);
    }
    Some(Section::Recurrent { dimensions, tensors })
}

/// Returns the size in bytes of a row of a recurrent tensor.
pub(crate) fn row_size(tensor: &[u8; 12]) -> u64 {
    tensor.last_chunk().map_or(0, |size| u64::from_ne_bytes(*size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    #[test]
    fn kinds_are_told_apart() {
        let cache = |n_stream| Section::Cache { n_stream };
        assert_eq!(sections(&[]), Some(vec![]));
        assert_eq!(sections(&bytes(&[1, 0])), Some(vec![cache(1)]));
        assert_eq!(sections(&bytes(&[3, 0, 0, 0, 3, 0, 0, 0])), Some(vec![cache(3), cache(3)]));
        let found = sections(&bytes(&[1, 0, 0, 0, 2, 0, 64, 0])).unwrap();
        let Section::Recurrent { dimensions, tensors } = &found[1] else { panic!("{found:?}") };
        assert_eq!((&dimensions[..], tensors.len()), (&bytes(&[0, 2])[..], 1));
        assert_eq!(row_size(&tensors[0]), 64);
    }

    #[test]
    fn unknown_kinds_are_not_guessed() {
        // A number that is not a count of buffers, cells in a buffer, a cache after a recurrent state, half a
        // number.
        for other in [&[0xD5F4_0001, 1, 0][..], &[1, 5], &[0, 0, 2, 0, 64, 0, 2, 0, 0]] {
            assert_eq!(sections(&bytes(other)), None, "{other:?}");
        }
        assert_eq!(sections(&[1, 0, 0]), None);
    }
}

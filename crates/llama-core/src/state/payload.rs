//! Checks of a state before llama.cpp sees any of it.
//!
//! llama.cpp checks lengths, types and sizes, but accepts positions and sequences unchecked, asserts on some, and
//! has often changed the memory when it detects an error. Here a state is read as llama.cpp would read it, without
//! changing anything; the contents of tensors are skipped.

use super::cursor::Cursor;
use super::layout::{Section, row_size};
use crate::error::StateError;

type Result<T> = core::result::Result<T, StateError>;

/// The constraints that a state must fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Number of sequences of the context.
    pub(crate) n_seq_max: u32,
    /// Number of tokens that one buffer can hold.
    pub(crate) n_cells: u32,
    /// Whether it is the state of all sequences rather than of one.
    pub(crate) whole: bool,
    /// Whether the model has positions of several dimensions.
    pub(crate) extended: bool,
    /// Whether it includes the contents of tensors, which are on the device otherwise.
    pub(crate) tensors: bool,
}

/// The contents of a checked state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The last position.
    pub(crate) end: Option<i32>,
    /// Whether there are cached values and they are transposed.
    pub(crate) transposed: bool,
    /// Sizes in bytes of the rows of cached keys and values.
    pub(crate) rows: Vec<u64>,
    /// Size in bytes of all tensors.
    pub(crate) bytes: u64,
}

/// Properties of a state that depend on the model and are not in the bytes.
#[derive(Clone, Copy, Debug)]
struct Variant {
    /// Whether each cell has a position in two dimensions and a token (llama-kv-cache.cpp, `has_cell_ext`).
    extended: bool,
    /// Whether there are values beside keys (false with multi-head latent attention).
    values: bool,
}

/// The size of `llama_kv_cell_ext` (llama-kv-cells.h).
const EXTENSION: usize = 12;

/// Reads the state of a memory with these sections to its end.
///
/// # Errors
///
/// [`StateError::Corrupt`] with the error that occurs farthest into the state, among the variants of a model.
pub(crate) fn check(bytes: &[u8], sections: &[Section], frame: Frame) -> Result<Contents> {
    let read = |extended, values| {
        let variant = Variant { extended, values };
        let mut reader = Reader { cursor: Cursor::new(bytes), frame, variant, contents: Contents::default() };
        match reader.read(sections) {
            Ok(()) => Ok(reader.contents),
            Err(error) => Err((reader.cursor.at(), error)),
        }
    };
    let usual = frame.extended;
    read(usual, true)
        .or_else(|with| read(usual, false).map_err(|without| if without.0 > with.0 { without } else { with }))
        // Some architectures have the token for other reasons.
        .or_else(|first| read(!usual, true).or_else(|_| read(!usual, false)).map_err(|_| first))
        .map_err(|(_, error)| error)
}

struct Reader<'b> {
    cursor: Cursor<'b>,
    frame: Frame,
    variant: Variant,
    contents: Contents,
}

impl Reader<'_> {
    fn read(&mut self, sections: &[Section]) -> Result<()> {
        for section in sections {
            match section {
                Section::Cache { n_stream } => self.cache(*n_stream)?,
                Section::Recurrent { dimensions, tensors } => self.recurrent(dimensions, tensors)?,
            }
        }
        if self.cursor.is_at_end() {
            return Ok(());
        }
        Err(self.cursor.flaw("the state ends, but more bytes follow".to_owned()))
    }

    /// Reads a cache like llama-kv-cache.cpp, `state_read`.
    fn cache(&mut self, n_stream: u32) -> Result<()> {
        let found = self.cursor.u32()?;
        if found != n_stream {
            let reason = format!(
                "the cache has {found} buffers, but that of the context has {n_stream}: see kv_unified and n_seq_max"
            );
            return Err(self.cursor.flaw_before(reason));
        }
        let mut filled = 0;
        for stream in 0..n_stream {
            let cells = self.cursor.u32()?;
            if cells == 0 {
                continue;
            }
            filled += 1;
            if cells > self.frame.n_cells {
                let reason =
                    format!("there are {cells} tokens, but the context has room for {}", self.frame.n_cells);
                return Err(self.cursor.flaw_before(reason));
            }
            if !self.frame.whole && filled > 1 {
                return Err(self.cursor.flaw_before("one sequence is in several buffers".to_owned()));
            }
            (0..cells).try_for_each(|_| self.cell(stream, n_stream))?;
            self.keys_and_values(u64::from(cells))?;
        }
        Ok(())
    }

    fn cell(&mut self, stream: u32, n_stream: u32) -> Result<()> {
        self.position()?;
        let count = self.cursor.u32()?;
        let most = if self.frame.whole && n_stream == 1 { self.frame.n_seq_max } else { 1 };
        if !(1..=most).contains(&count) {
            let reason = format!("a token is in {count} sequences, but must be in 1 to {most}");
            return Err(self.cursor.flaw_before(reason));
        }
        if self.variant.extended {
            self.cursor.skip(1, EXTENSION as u64)?;
        }
        let mut ids = 0..self.frame.n_seq_max;
        for _ in 0..count {
            self.sequence(&mut ids, (n_stream > 1).then_some(stream))?;
        }
        Ok(())
    }

    fn position(&mut self) -> Result<()> {
        let pos = self.cursor.i32()?;
        if !(0..i32::MAX).contains(&pos) {
            return Err(self
                .cursor
                .flaw_before(format!("the position of a token is {pos}, but must be in 0..{}", i32::MAX)));
        }
        self.contents.end = self.contents.end.max(Some(pos));
        Ok(())
    }

    /// Reads a sequence id from the range of ids that may follow. If each sequence has a buffer, it must be the
    /// buffer's. In the state of one sequence the id is ignored: llama.cpp replaces it.
    fn sequence(&mut self, ids: &mut core::ops::Range<u32>, stream: Option<u32>) -> Result<()> {
        let found = self.cursor.i32()?;
        if !self.frame.whole {
            return Ok(());
        }
        let allowed = |id: &u32| ids.contains(id) && stream.is_none_or(|stream| stream == *id);
        let Some(id) = u32::try_from(found).ok().filter(allowed) else {
            let n_seq_max = self.frame.n_seq_max;
            let reason = format!(
                "sequence {found} is out of range (0..{n_seq_max}), out of order, or in another sequence's buffer"
            );
            return Err(self.cursor.flaw_before(reason));
        };
        ids.start = id + 1;
        Ok(())
    }

    /// Reads keys and values like llama-kv-cache.cpp, `state_read_data`.
    fn keys_and_values(&mut self, cells: u64) -> Result<()> {
        let transposed = self.cursor.u32()?;
        if transposed > 1 {
            return Err(self.cursor.flaw_before(format!("a flag is {transposed}, but must be 0 or 1")));
        }
        let n_layer = self.cursor.u32()?;
        let _rotations = self.cursor.u64()?;
        (0..n_layer).try_for_each(|_| self.rows(cells))?;
        if !self.variant.values {
            return Ok(());
        }
        self.contents.transposed |= transposed == 1;
        (0..n_layer).try_for_each(|_| if transposed == 1 { self.columns(cells) } else { self.rows(cells) })
    }

    /// Reads a type, the size of a row, and a row for each cell.
    fn rows(&mut self, cells: u64) -> Result<()> {
        let _type = self.cursor.u32()?;
        let row = self.cursor.u64()?;
        self.contents.rows.push(row);
        self.tensor(cells, row)
    }

    /// Reads a type, the size of an element, the number of elements of a row, and the elements column by column.
    fn columns(&mut self, cells: u64) -> Result<()> {
        let _type = self.cursor.u32()?;
        let element = self.cursor.u32()?;
        let count = self.cursor.u32()?;
        self.tensor(cells, u64::from(element) * u64::from(count))
    }

    fn tensor(&mut self, cells: u64, row: u64) -> Result<()> {
        if self.frame.tensors {
            self.cursor.skip(cells, row)?;
        }
        self.contents.bytes = self.contents.bytes.saturating_add(cells.saturating_mul(row));
        Ok(())
    }

    /// Reads a recurrent memory like llama-memory-recurrent.cpp, `state_read`.
    fn recurrent(&mut self, dimensions: &[u8], tensors: &[[u8; 12]]) -> Result<()> {
        let cells = self.cursor.u32()?;
        // A sequence has one cell: llama.cpp asserts on more.
        let most = if self.frame.whole { self.frame.n_seq_max } else { 1 };
        if cells > most {
            let reason = format!("there are {cells} recurrent states, but the context has room for {most}");
            return Err(self.cursor.flaw_before(reason));
        }
        let mut seen = [false; 256];
        for _ in 0..cells {
            self.recurrent_cell(&mut seen)?;
        }
        if self.cursor.take(dimensions.len())? != dimensions {
            return Err(self.cursor.flaw_before("the layers differ from those of the model".to_owned()));
        }
        for tensor in tensors {
            if self.cursor.take(tensor.len())? != tensor {
                return Err(self
                    .cursor
                    .flaw_before("the width of a recurrent tensor differs from the model's".to_owned()));
            }
            self.tensor(u64::from(cells), row_size(tensor))?;
        }
        Ok(())
    }

    fn recurrent_cell(&mut self, seen: &mut [bool; 256]) -> Result<()> {
        self.position()?;
        let count = self.cursor.u32()?;
        let allowed = if self.frame.whole { 1..=self.frame.n_seq_max } else { 0..=0 };
        if !allowed.contains(&count) {
            return Err(self.cursor.flaw_before(format!("a recurrent state belongs to {count} sequences")));
        }
        let mut ids = 0..self.frame.n_seq_max;
        for _ in 0..count {
            self.sequence(&mut ids, None)?;
            // The id that was read precedes those that may follow.
            let slot = seen.get_mut((ids.start - 1) as usize);
            if slot.is_none_or(|seen| core::mem::replace(seen, true)) {
                return Err(self.cursor.flaw_before("a sequence has two recurrent states".to_owned()));
            }
        }
        Ok(())
    }
}

//! States in this crate's own files.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use llama_gguf::AtomicFile;

use super::header::{self, StateInfo, StateKind};
use super::sequence::StatePart;
use super::shape;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, StateError};
use crate::token::{SeqId, Token};

impl StatePart {
    fn kind(self) -> StateKind {
        match self {
            Self::All => StateKind::Sequence,
            Self::Partial => StateKind::PartialSequence,
        }
    }
}

impl Context {
    /// Saves the state of all sequences to a file, together with the tokens that it represents, which
    /// [`load_state`](Context::load_state) returns.
    ///
    /// The file contains the version of llama.cpp, a fingerprint of the model, the shape of the context, and
    /// checksums. It is written under another name and renamed when it is complete, so there is never an incomplete
    /// file of this name. The state is held in memory while it is written.
    ///
    /// # Errors
    ///
    /// The errors of [`state_data`](Context::state_data), and [`ErrorKind::StateFile`] if the file cannot be
    /// written.
    ///
    /// For `llama_state_save_file` itself see [`save_session`](Context::save_session).
    pub fn save_state(&mut self, path: impl AsRef<Path>, tokens: &[Token]) -> Result<()> {
        let mut state = Vec::new();
        self.state_data(&mut state)?;
        self.write_state_file(path.as_ref(), StateKind::All, tokens, &state)
    }

    /// Replaces all sequences in memory by those of a file from [`save_state`](Context::save_state). Returns the
    /// tokens that were saved with it.
    ///
    /// Before llama.cpp sees any of the file, all of it is read and checked: its checksums, that version, model and
    /// shape of the context match, and that its positions and sequences are possible in this memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::StateFile`] with a [`StateError`] that names the problem, with both values if two values differ.
    /// Except for [`StateError::Refused`], the context is unchanged. [`ErrorKind::Poisoned`].
    pub fn load_state(&mut self, path: impl AsRef<Path>) -> Result<Vec<Token>> {
        let path = path.as_ref();
        let (info, state) = self.read_state_file(path, StateKind::All)?;
        self.set_state_data(&state).map_err(|error| in_file(error, path))?;
        Ok(info.into_tokens())
    }

    /// Saves the state of one sequence to a file, in the format of [`save_state`](Context::save_state).
    ///
    /// # Errors
    ///
    /// The errors of [`seq_state_data`](Context::seq_state_data), and [`ErrorKind::StateFile`] if the file cannot be
    /// written.
    ///
    /// For `llama_state_seq_save_file` itself see [`save_seq_session`](Context::save_seq_session).
    pub fn save_seq_state(
        &mut self,
        path: impl AsRef<Path>,
        seq_id: SeqId,
        part: StatePart,
        tokens: &[Token],
    ) -> Result<()> {
        let mut state = Vec::new();
        self.seq_state_data(seq_id, part, &mut state)?;
        self.write_state_file(path.as_ref(), part.kind(), tokens, &state)
    }

    /// Replaces a sequence by the one of a file from [`save_seq_state`](Context::save_seq_state), under any sequence
    /// id. Returns the tokens that were saved with it.
    ///
    /// The context may have another size than the one that saved the state, if there is room for the sequence, and
    /// another number of sequences if they share a buffer.
    ///
    /// # Errors
    ///
    /// The errors of [`load_state`](Context::load_state) and [`set_seq_state_data`](Context::set_seq_state_data).
    pub fn load_seq_state(
        &mut self,
        path: impl AsRef<Path>,
        seq_id: SeqId,
        part: StatePart,
    ) -> Result<Vec<Token>> {
        let path = path.as_ref();
        self.check_sequence_state(seq_id, part)?;
        let (info, state) = self.read_state_file(path, part.kind())?;
        self.set_seq_state_data(seq_id, part, &state).map_err(|error| in_file(error, path))?;
        Ok(info.into_tokens())
    }

    fn write_state_file(&self, path: &Path, kind: StateKind, tokens: &[Token], state: &[u8]) -> Result<()> {
        let head = header::encode(kind, &shape::facts(self)?, tokens, state);
        write_file(path, &[&head, state])
    }

    fn read_state_file(&mut self, path: &Path, kind: StateKind) -> Result<(StateInfo, Vec<u8>)> {
        self.check_poison()?;
        let (info, state) = header::read(path).map_err(|error| in_file(error.into(), path))?;
        info.check_kind(kind).map_err(|error| in_file(error.into(), path))?;
        shape::check(info.saved(), kind, self).map_err(|error| in_file(error, path))?;
        Ok((info, state))
    }
}

/// Writes a file that appears under its name only when it is complete.
pub(super) fn write_file(path: &Path, parts: &[&[u8]]) -> Result<()> {
    let write = || {
        let file = AtomicFile::create(path)?;
        parts.iter().try_for_each(|part| file.as_file().write_all(part))?;
        file.commit()
    };
    write().map_err(|error| in_file(StateError::io("write")(error).into(), path))
}

/// Adds the path of the file to an error about its state.
pub(super) fn in_file(error: Error, path: &Path) -> Error {
    error.map_kind(|kind| match kind {
        ErrorKind::State(cause) => ErrorKind::StateFile { path: path.to_owned(), cause },
        other => other,
    })
}

/// Opens a regular file, and returns it with its length.
pub(super) fn open_file(path: &Path) -> core::result::Result<(File, u64), StateError> {
    let file = File::open(path).map_err(StateError::io("open"))?;
    let metadata = file.metadata().map_err(StateError::io("read"))?;
    if !metadata.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        return Err(StateError::Io { operation: "read", cause: source });
    }
    Ok((file, metadata.len()))
}

/// Reads `length` bytes of a file that was seen to have them, and appends them.
pub(super) fn read_bytes(
    file: &mut File,
    length: u64,
    bytes: &mut Vec<u8>,
) -> core::result::Result<(), StateError> {
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(size).map_err(|error| StateError::io("read")(io::Error::other(error)))?;
    let found = file.take(length).read_to_end(bytes).map_err(StateError::io("read"))? as u64;
    if found < length {
        return Err(StateError::Truncated { expected: length, found });
    }
    Ok(())
}

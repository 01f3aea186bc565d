//! States in llama.cpp's own files: session files and those of single sequences.
//!
//! Such a file has a magic number, a version, the tokens, and the state without its first bytes. It does not
//! identify the model or the context, and has no checksum.

use std::path::Path;

use super::cursor::Cursor;
use super::file::{in_file, open_file, read_bytes, write_file};
use super::layout::Layout;
use super::sequence::StatePart;
use crate::context::Context;
use crate::error::{ErrorKind, ParameterProblem, Result, StateError};
use crate::token::{SeqId, Token};

/// One of the two file formats.
#[derive(Clone, Copy, Debug)]
struct Format {
    name: &'static str,
    magic: u32,
    version: u32,
}

const SESSION: Format = Format {
    name: "llama.cpp's session files",
    magic: llama_sys::LLAMA_SESSION_MAGIC,
    version: llama_sys::LLAMA_SESSION_VERSION,
};

const SEQUENCE: Format = Format {
    name: "llama.cpp's sequence state files",
    magic: llama_sys::LLAMA_STATE_SEQ_MAGIC,
    version: llama_sys::LLAMA_STATE_SEQ_VERSION,
};

impl Context {
    /// Saves the state of all sequences to a session file for llama.cpp's tools. If only this crate reads the file,
    /// use [`save_state`](Context::save_state) instead, whose files can be checked when they are loaded.
    ///
    /// # Errors
    ///
    /// The errors of [`save_state`](Context::save_state).
    ///
    /// Corresponds to `llama_state_save_file`, but the file is complete when it appears under its name.
    pub fn save_session(&mut self, path: impl AsRef<Path>, tokens: &[Token]) -> Result<()> {
        let mut state = Vec::new();
        self.state_data(&mut state)?;
        SESSION.write(path.as_ref(), tokens, &state)
    }

    /// Replaces all sequences in memory by those of a session file of llama.cpp. Returns the tokens that were saved
    /// with it.
    ///
    /// Such a file has no checksum and does not identify its model. Only the checks of
    /// [`set_state_data`](Context::set_state_data) are made: a file of another model with the same sizes is restored
    /// silently, and so are damaged keys and values.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::StateFile`] for a file that cannot be read, is not a session file or of another version, or has
    /// fewer bytes than its tokens need, and with the errors of [`set_state_data`](Context::set_state_data).
    ///
    /// Corresponds to `llama_state_load_file`.
    pub fn load_session(&mut self, path: impl AsRef<Path>) -> Result<Vec<Token>> {
        let path = path.as_ref();
        self.check_poison()?;
        let (tokens, bytes, start) = SESSION.read(path)?;
        let state = bytes.get(start..).unwrap_or_default();
        self.set_state_data(state).map_err(|error| in_file(moved(error, start as u64), path))?;
        Ok(tokens)
    }

    /// Saves the state of one sequence to a file in the format of llama.cpp's server. If only this crate reads the
    /// file, use [`save_seq_state`](Context::save_seq_state) instead.
    ///
    /// # Errors
    ///
    /// The errors of [`save_seq_state`](Context::save_seq_state).
    ///
    /// Corresponds to `llama_state_seq_save_file`, but the file is complete when it appears under its name.
    pub fn save_seq_session(
        &mut self,
        path: impl AsRef<Path>,
        seq_id: SeqId,
        tokens: &[Token],
    ) -> Result<()> {
        let mut state = Vec::new();
        self.seq_state_data(seq_id, StatePart::All, &mut state)?;
        SEQUENCE.write(path.as_ref(), tokens, state.get(Layout::SEQUENCE_HEADER..).unwrap_or_default())
    }

    /// Replaces a sequence by that of a file that llama.cpp's server has saved, under any sequence id. Returns the
    /// tokens that were saved with it. The file is checked as by [`load_session`](Context::load_session).
    ///
    /// # Errors
    ///
    /// The errors of [`load_session`](Context::load_session) and
    /// [`set_seq_state_data`](Context::set_seq_state_data).
    ///
    /// Corresponds to `llama_state_seq_load_file`.
    pub fn load_seq_session(&mut self, path: impl AsRef<Path>, seq_id: SeqId) -> Result<Vec<Token>> {
        let path = path.as_ref();
        self.check_sequence_state(seq_id, StatePart::All)?;
        let (tokens, mut bytes, start) = SEQUENCE.read(path)?;
        // The file leaves out the header of a state in memory, and has at least as many bytes in front.
        let header = start - Layout::SEQUENCE_HEADER;
        let mut first = self.books().layout.magic().to_vec();
        first.extend(seq_id.get().to_ne_bytes());
        bytes[header..start].copy_from_slice(&first);
        let restored = self.set_seq_state_data(seq_id, StatePart::All, &bytes[header..]);
        restored.map_err(|error| in_file(moved(error, header as u64), path))?;
        Ok(tokens)
    }
}

impl Format {
    /// Number of bytes before the tokens.
    const HEAD: usize = 12;

    fn write(self, path: &Path, tokens: &[Token], state: &[u8]) -> Result<()> {
        let count = u32::try_from(tokens.len()).map_err(|_| {
            let value = format_args!("a list of {}", tokens.len());
            ParameterProblem::new("tokens", value, format!("a list of at most {}", u32::MAX))
        })?;
        let mut head = Vec::with_capacity(Self::HEAD + 4 * tokens.len());
        head.extend([self.magic, self.version, count].iter().flat_map(|number| number.to_ne_bytes()));
        head.extend(tokens.iter().flat_map(|token| token.get().to_ne_bytes()));
        write_file(path, &[&head, state])
    }

    /// Returns the tokens of a file, all of its bytes, and the offset of the state.
    fn read(self, path: &Path) -> Result<(Vec<Token>, Vec<u8>, usize)> {
        let read = || {
            let (mut file, length) = open_file(path)?;
            let mut bytes = Vec::new();
            let head = length.min(Self::HEAD as u64);
            read_bytes(&mut file, head, &mut bytes)?;
            // Checked before the rest, which may be large, is read.
            self.check_head(&bytes)?;
            read_bytes(&mut file, length - head, &mut bytes)?;
            let tokens = self.tokens(&bytes)?;
            let start = Self::HEAD + 4 * tokens.len();
            Ok((tokens, bytes, start))
        };
        read().map_err(|error: StateError| in_file(error.into(), path))
    }

    /// Checks the first bytes, and returns the number of tokens.
    fn check_head(self, bytes: &[u8]) -> core::result::Result<u32, StateError> {
        let mut cursor = Cursor::new(bytes);
        let head = (cursor.u32(), cursor.u32(), cursor.u32());
        if !matches!(head.0, Ok(magic) if magic == self.magic) {
            return Err(StateError::not_a_state(
                bytes,
                "one of the files in which llama.cpp saves such states",
            ));
        }
        let (Ok(found), Ok(count)) = (head.1, head.2) else {
            return Err(StateError::Truncated { expected: Self::HEAD as u64, found: bytes.len() as u64 });
        };
        if found != self.version {
            return Err(StateError::UnsupportedVersion { format: self.name, found, supported: self.version });
        }
        Ok(count)
    }

    fn tokens(self, bytes: &[u8]) -> core::result::Result<Vec<Token>, StateError> {
        let length = u64::from(self.check_head(bytes)?) * 4;
        let mut cursor = Cursor::new(bytes);
        cursor.take(Self::HEAD)?;
        let tokens = usize::try_from(length).ok().and_then(|length| cursor.take(length).ok());
        let truncated =
            || StateError::Truncated { expected: Self::HEAD as u64 + length, found: bytes.len() as u64 };
        let (tokens, _) = tokens.ok_or_else(truncated)?.as_chunks();
        Ok(tokens.iter().map(|token| Token::new(i32::from_ne_bytes(*token))).collect())
    }
}

/// Makes offsets in errors count from the beginning of the file.
fn moved(error: crate::Error, start: u64) -> crate::Error {
    error.map_kind(|kind| match kind {
        ErrorKind::State(source) => ErrorKind::State(source.moved(start)),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::guard::guarded;
    use crate::ffi::string::path_to_c;
    use crate::{Batch, ContextParams, Model, ModelParams, Pos};
    use test_models::Tiny;

    const TOKENS: [i32; 5] = [300, 301, 302, 303, 304];

    fn started(tiny: Tiny) -> Context {
        let model = Model::load(tiny.path(), &ModelParams::default()).unwrap();
        let params = ContextParams::default().n_ctx(512).n_seq_max(2).n_threads(1);
        let mut context = Context::new(&model, &params).unwrap();
        let mut batch = Batch::new();
        batch.push_prompt(&TOKENS.map(Token::new), SeqId::new(1), Pos::new(0)).unwrap();
        context.decode(&batch).unwrap();
        context
    }

    /// Tests that C and this module write the same bytes and read each other's files.
    #[test]
    fn session_files_equal_those_of_llama_cpp() {
        for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
            let folder = tempfile::tempdir().unwrap();
            let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("ours"));
            let (c_theirs, c_ours) = (path_to_c(&theirs).unwrap(), path_to_c(&ours).unwrap());
            let mut context = started(tiny);
            let raw = context.raw();
            // SAFETY: the context is valid, the path is NUL-terminated, and the length is that of the tokens.
            let done = unsafe {
                guarded!(llama_state_save_file(raw, c_theirs.as_ptr(), TOKENS.as_ptr(), TOKENS.len()))
            }
            .unwrap();
            assert!(done);
            context.save_session(&ours, &TOKENS.map(Token::new)).unwrap();
            assert_eq!(std::fs::read(&theirs).unwrap(), std::fs::read(&ours).unwrap(), "{tiny}");
            context.memory().clear(true).unwrap();
            assert_eq!(context.load_session(&theirs).unwrap(), TOKENS.map(Token::new), "{tiny}");
            assert_eq!(context.memory().seq_pos_max(SeqId::new(1)).unwrap(), Some(Pos::new(4)), "{tiny}");
            context.memory().clear(true).unwrap();
            let (mut tokens, mut count) = ([0; 9], 0);
            // SAFETY: as above, and there is room for nine tokens.
            let done = unsafe {
                guarded!(llama_state_load_file(raw, c_ours.as_ptr(), tokens.as_mut_ptr(), 9, &raw mut count))
            }
            .unwrap();
            assert!(done);
            assert_eq!((&tokens[..5], count), (&TOKENS[..], 5), "{tiny}");
            assert_eq!(context.memory().seq_pos_max(SeqId::new(1)).unwrap(), Some(Pos::new(4)), "{tiny}");
        }
    }

    #[test]
    fn sequence_files_equal_those_of_llama_cpp() {
        for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
            let folder = tempfile::tempdir().unwrap();
            let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("ours"));
            let (c_theirs, c_ours) = (path_to_c(&theirs).unwrap(), path_to_c(&ours).unwrap());
            let mut context = started(tiny);
            let raw = context.raw();
            // SAFETY: the context is valid, the path is NUL-terminated, and the length is that of the tokens.
            let size = unsafe {
                guarded!(llama_state_seq_save_file(raw, c_theirs.as_ptr(), 1, TOKENS.as_ptr(), TOKENS.len()))
            }
            .unwrap();
            context.save_seq_session(&ours, SeqId::new(1), &TOKENS.map(Token::new)).unwrap();
            let bytes = std::fs::read(&ours).unwrap();
            assert_eq!((std::fs::read(&theirs).unwrap() == bytes, bytes.len()), (true, size), "{tiny}");
            let tokens = context.load_seq_session(&theirs, SeqId::new(0)).unwrap();
            assert_eq!(tokens, TOKENS.map(Token::new), "{tiny}");
            assert_eq!(context.memory().seq_pos_max(SeqId::new(0)).unwrap(), Some(Pos::new(4)), "{tiny}");
            context.memory().clear(true).unwrap();
            let (mut tokens, mut count) = ([0; 9], 0);
            // SAFETY: as above, and there is room for nine tokens.
            let read = unsafe {
                guarded!(llama_state_seq_load_file(
                    raw,
                    c_ours.as_ptr(),
                    0,
                    tokens.as_mut_ptr(),
                    9,
                    &raw mut count,
                ))
            }
            .unwrap();
            assert_eq!((&tokens[..5], count, read), (&TOKENS[..], 5, size), "{tiny}");
            assert_eq!(context.memory().seq_pos_max(SeqId::new(0)).unwrap(), Some(Pos::new(4)), "{tiny}");
        }
    }
}

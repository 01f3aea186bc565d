//! Errors of saving, reading and restoring states.

use std::io;

use super::{Error, ErrorKind};

/// The reason why a state was not saved, read or restored. In an [`ErrorKind::State`], or for a file in an
/// [`ErrorKind::StateFile`].
///
/// All errors except [`Refused`](StateError::Refused) leave the context unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The operating system failed to read or write the file.
    #[error("cannot {operation} it: {cause}")]
    #[non_exhaustive]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The system's error.
        cause: io::Error,
    },
    /// The file is not a state file of the expected kind.
    #[error("it begins with \"{begins}\", so it is not {expected}")]
    #[non_exhaustive]
    NotAState {
        /// The first bytes, with unprintable ones escaped.
        begins: String,
        /// The expected kind of file.
        expected: &'static str,
    },
    /// The version of the file's format is not supported.
    #[error("version {found} of {format} is not supported, but must be {supported}: save the state again")]
    #[non_exhaustive]
    UnsupportedVersion {
        /// The format.
        format: &'static str,
        /// The file's version.
        found: u32,
        /// The version that can be read.
        supported: u32,
    },
    /// The file is too short.
    #[error("it is truncated: it has {found} bytes, but must have {expected}; copy or save it again")]
    #[non_exhaustive]
    Truncated {
        /// Number of bytes that the file should have.
        expected: u64,
        /// Number of bytes that the file has.
        found: u64,
    },
    /// The contents of the file differ from what was written.
    #[error(
        "it is damaged: the checksum of its {part} is {computed:#018x}, but must be {saved:#018x}; copy or save it again"
    )]
    #[non_exhaustive]
    Checksum {
        /// The damaged part of the file.
        part: &'static str,
        /// The checksum in the file.
        saved: u64,
        /// The checksum of the file's contents.
        computed: u64,
    },
    /// The bytes cannot be a state of this context's kind of memory. Detected before llama.cpp has seen any of them.
    #[error("it is not a state for this context: at byte {offset}, {reason}")]
    #[non_exhaustive]
    Corrupt {
        /// Offset from the beginning of the file or of the given bytes.
        offset: u64,
        /// The problem at that offset.
        reason: String,
    },
    /// The state was made with another model, by another version, or in a context of another shape.
    #[error("its {field} is {saved}, but must be {expected} here")]
    #[non_exhaustive]
    Mismatch {
        /// Name of the differing value.
        field: &'static str,
        /// Value with which the state was made.
        saved: String,
        /// Value of the context into which it would be restored.
        expected: String,
    },
    /// llama.cpp has started to restore the state and given up; the error's log says why. The data that was to be
    /// replaced is lost.
    #[error("llama.cpp could not restore it; {removed}")]
    #[non_exhaustive]
    Refused {
        /// The data that was removed from memory.
        removed: Removed,
    },
    /// llama.cpp has not yet made the changes that [`Memory`](crate::Memory) functions have requested.
    #[error(
        "positions or sequences were moved since the last batch, but llama.cpp does this when the next one is decoded: \
             decode a batch first"
    )]
    Unsettled,
    /// The state on the device no longer exists.
    #[error(
        "a later state of sequence {seq_id} has replaced it on the device: a context keeps one for each \
             sequence"
    )]
    #[non_exhaustive]
    Superseded {
        /// The sequence whose state it was.
        seq_id: i32,
    },
    /// The state on the device belongs to another context.
    #[error(
        "it is kept on the device by another context: it can only be restored into the context that created it"
    )]
    OtherContext,
}

/// The data that a failed restore has removed from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Removed {
    /// All sequences: the memory is empty.
    All,
    /// The sequence with this id; other sequences are unchanged.
    Sequence(i32),
}

impl core::fmt::Display for Removed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::All => write!(f, "the context's memory is empty now"),
            Self::Sequence(seq_id) => write!(f, "sequence {seq_id} is empty now"),
        }
    }
}

impl StateError {
    pub(crate) fn io(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { operation, cause }
    }

    /// Adds `start` to the offset in the error.
    pub(crate) fn moved(self, start: u64) -> Self {
        match self {
            Self::Corrupt { offset, reason } => Self::Corrupt { offset: offset + start, reason },
            other => other,
        }
    }

    pub(crate) fn not_a_state(bytes: &[u8], expected: &'static str) -> Self {
        let begins = bytes[..bytes.len().min(8)].escape_ascii().to_string();
        Self::NotAState { begins, expected }
    }
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        ErrorKind::from(error).into()
    }
}

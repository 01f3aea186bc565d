//! Why a state was not saved, read or restored.

use std::io;

use super::{Error, ErrorKind};

/// Why a state was not saved, read or restored. In an [`ErrorKind::State`], or for a file in an
/// [`ErrorKind::StateFile`].
///
/// All but [`Refused`](StateError::Refused) leave the context as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The operating system failed to read or write the file.
    #[error("cannot {operation} it: {cause}")]
    #[non_exhaustive]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// The file is of another kind.
    #[error("it begins with \"{begins}\" and is not {expected}")]
    #[non_exhaustive]
    NotAState {
        /// The first bytes, with unprintable ones escaped.
        begins: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The file is of a version of its format that is not supported.
    #[error("version {found} of {format} is not supported, only {supported}: save the state again")]
    #[non_exhaustive]
    UnsupportedVersion {
        /// The format.
        format: &'static str,
        /// The file's version.
        found: u32,
        /// The version that can be read.
        supported: u32,
    },
    /// The file ends too early.
    #[error("it is truncated: {found} of {expected} bytes are there; copy or save it again")]
    #[non_exhaustive]
    Truncated {
        /// The bytes that there should be.
        expected: u64,
        /// The bytes that there are.
        found: u64,
    },
    /// What is in the file is not what was written.
    #[error(
        "it is damaged: the checksum of its {part} is {computed:#018x} and was {saved:#018x}; copy or save it again"
    )]
    #[non_exhaustive]
    Checksum {
        /// The part of the file.
        part: &'static str,
        /// The checksum in the file.
        saved: u64,
        /// The checksum of what is there.
        computed: u64,
    },
    /// Something that no state of this context's kind of memory may contain. Found before llama.cpp has seen any
    /// of it.
    #[error("it is no state for this context: at byte {offset}, {reason}")]
    #[non_exhaustive]
    Corrupt {
        /// Where, counted from the beginning of the file or of the bytes that were given.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The state was made with another model, by another version, or in a context of another shape.
    #[error("its {field} is {saved} and not {expected} as here")]
    #[non_exhaustive]
    Mismatch {
        /// What differs.
        field: &'static str,
        /// What the state was made with.
        saved: String,
        /// What it would be restored into.
        expected: String,
    },
    /// llama.cpp has begun to restore the state and given up; the error's log says why. What was to be replaced is
    /// gone.
    #[error("llama.cpp could not restore it; {removed}")]
    #[non_exhaustive]
    Refused {
        /// What is not in memory any more.
        removed: Removed,
    },
    /// llama.cpp has yet to do what [`Memory`](crate::Memory) functions have ordered.
    #[error(
        "positions or sequences were moved since the last batch, which llama.cpp does when the next one is decoded: \
             decode a batch first"
    )]
    Unsettled,
    /// A state on the device is not there any more.
    #[error(
        "a later state of sequence {seq_id} has taken its place on the device: a context keeps one for each \
             sequence"
    )]
    #[non_exhaustive]
    Superseded {
        /// The sequence that it was made of.
        seq_id: i32,
    },
    /// A state on the device belongs to another context.
    #[error(
        "it is on the device for another context: such a state can only be restored into the context that made it"
    )]
    OtherContext,
}

/// What a failed restore has removed from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Removed {
    /// All sequences: the memory is empty.
    All,
    /// The sequence of this id; others are as they were.
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

    /// The same, with the offset counted from `start` bytes earlier.
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

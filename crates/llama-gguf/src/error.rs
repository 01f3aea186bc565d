//! What can go wrong, and where in the file.

use std::io;
use std::path::PathBuf;

use crate::flaw::Flaw;

/// Everything that reading, checking and writing can fail with.
///
/// The messages are meant to be shown: they name the value, the limit and, where there is one, the way out.
/// [`Error::offset`] says at which byte of the file the trouble is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Any of the others, with the file it happened in.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What went wrong in it.
        error: Box<Error>,
    },

    /// There is no such file.
    #[error("no such file; check the path")]
    NotFound,

    /// The path names a directory.
    #[error("is a directory; name the .gguf file inside it")]
    Directory,

    /// The path names a pipe, a device or a socket.
    #[error("is not a regular file; GGUF files are read at random, so copy it to disk first")]
    NotRegular,

    /// There are no bytes at all.
    #[error("the file is empty; download or copy it again")]
    Empty,

    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it begins with \"{begins}\" instead of \"GGUF\"; {hint}")]
    NotGguf {
        /// The first bytes, with unprintable ones escaped.
        begins: String,
        /// What the file looks like instead.
        hint: &'static str,
    },

    /// The numbers in the file are stored with their highest byte first.
    #[error(
        "the file is big-endian (its version reads as {version:#010x} at byte 4); \
         convert it with gguf-py's gguf_convert_endian.py"
    )]
    BigEndian {
        /// The version as it reads on this side.
        version: u32,
    },

    /// A version of the format that is too old or too new.
    #[error(
        "GGUF version {version} at byte 4 is not supported, only {} and {}; convert the model again",
        crate::reader::OLDEST_VERSION,
        crate::reader::VERSION
    )]
    UnsupportedVersion {
        /// The version found.
        version: u32,
    },

    /// The file ends inside the header, the metadata or the tensor table.
    #[error(
        "truncated at byte {offset}: {item} takes {needed} bytes, but only {available} are left; \
         download or copy the file again"
    )]
    Truncated {
        /// Where the item begins.
        offset: u64,
        /// What was being read.
        item: String,
        /// Its size in bytes.
        needed: u64,
        /// The bytes that are left from `offset` on.
        available: u64,
    },

    /// The file ends before the data of a tensor does.
    #[error(
        "truncated: tensor \"{name}\" takes bytes {offset} to {end}, but the file ends at byte {length}; \
         download or copy the file again"
    )]
    TruncatedData {
        /// The first tensor that is not whole.
        name: String,
        /// Where its data begins in the file.
        offset: u64,
        /// Where its data ends.
        end: u64,
        /// The length of the file in bytes.
        length: u64,
    },

    /// Something that no GGUF file may contain.
    #[error("corrupt at byte {offset}: {flaw}")]
    Corrupt {
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        flaw: Flaw,
    },

    /// What a [`Writer`](crate::Writer) was asked to write is no valid file.
    #[error("cannot write this as GGUF: {flaw}")]
    Unwritable {
        /// What is wrong.
        flaw: Flaw,
    },

    /// A metadata key that must be there is not.
    #[error("metadata key \"{key}\" is missing")]
    MissingKey {
        /// The key.
        key: String,
    },

    /// A metadata value has another type than asked for.
    #[error("metadata key \"{key}\" is of type {found}, expected {expected}")]
    WrongValueType {
        /// The key.
        key: String,
        /// The type asked for.
        expected: &'static str,
        /// The type of the value.
        found: String,
    },

    /// A tensor that was asked for is not in the file.
    #[error("there is no tensor \"{name}\" in the file")]
    MissingTensor {
        /// The name asked for.
        name: String,
    },

    /// The operating system failed to read.
    #[error("cannot read at byte {offset}: {cause}")]
    Read {
        /// Where in the file.
        offset: u64,
        /// The system's reason.
        cause: io::Error,
    },

    /// The operating system failed to write, or a closure that yields tensor data did.
    #[error("cannot write: {cause}")]
    Write {
        /// The system's reason.
        cause: io::Error,
    },
}

impl Error {
    /// The byte of the file that the error is about, where there is one.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::InFile { error, .. } => error.offset(),
            Self::Empty | Self::NotGguf { .. } => Some(0),
            Self::BigEndian { .. } | Self::UnsupportedVersion { .. } => Some(4),
            Self::Truncated { offset, .. }
            | Self::TruncatedData { offset, .. }
            | Self::Corrupt { offset, .. }
            | Self::Read { offset, .. } => Some(*offset),
            _ => None,
        }
    }

    /// The error without the file name around it, for matching.
    #[must_use]
    pub fn without_path(&self) -> &Self {
        match self {
            Self::InFile { error, .. } => error.without_path(),
            other => other,
        }
    }

    pub(crate) fn in_file(self, path: impl Into<PathBuf>) -> Self {
        Self::InFile { path: path.into(), error: Box::new(self) }
    }
}

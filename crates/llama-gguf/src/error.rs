//! Errors, with the place in the file.

use std::io;
use std::path::PathBuf;

use crate::flaw::Flaw;

/// The error of every function that reads, checks or writes.
///
/// The messages are meant for users: they name the value, the limit and, if there is one, the remedy.
/// [`Error::offset`] returns the place in the file that the error is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of another kind, with the file in which it occurred.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// The error.
        error: Box<Error>,
    },

    /// The file does not exist.
    #[error("no such file; check the path")]
    NotFound,

    /// The path names a directory.
    #[error("is a directory; name the .gguf file inside it")]
    Directory,

    /// The path names a pipe, a device or a socket.
    #[error("is not a regular file; GGUF files are read at random, so copy it to disk first")]
    NotRegular,

    /// The file has no bytes.
    #[error("the file is empty; download or copy it again")]
    Empty,

    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it begins with \"{begins}\" instead of \"GGUF\"; {hint}")]
    NotGguf {
        /// The first bytes, with unprintable ones escaped.
        begins: String,
        /// The format that the file seems to have.
        hint: &'static str,
    },

    /// The numbers in the file are stored with the highest byte first.
    #[error(
        "the file is big-endian (its version reads as {version:#010x} at byte 4); \
         convert it with gguf-py's gguf_convert_endian.py"
    )]
    BigEndian {
        /// The version as a little-endian number.
        version: u32,
    },

    /// The version of the format is too old or too new.
    #[error(
        "GGUF version {version} at byte 4 is not supported, only {} and {}; convert the model again",
        crate::reader::OLDEST_VERSION,
        crate::reader::VERSION
    )]
    UnsupportedVersion {
        /// The version in the file.
        version: u32,
    },

    /// The file ends inside the header, the metadata or the tensor table.
    #[error(
        "truncated at byte {offset}: {item} takes {needed} bytes, but only {available} are left; \
         download or copy the file again"
    )]
    Truncated {
        /// The offset of the item in the file, in bytes.
        offset: u64,
        /// The item that was being read.
        item: String,
        /// Its size in bytes.
        needed: u64,
        /// The number of bytes from `offset` to the end.
        available: u64,
    },

    /// The file ends before the end of a tensor's data.
    #[error(
        "truncated: tensor \"{name}\" takes bytes {offset} to {end}, but the file ends at byte {length}; \
         download or copy the file again"
    )]
    TruncatedData {
        /// The first incomplete tensor.
        name: String,
        /// The offset of its data in the file, in bytes.
        offset: u64,
        /// The offset of the end of its data in the file, in bytes.
        end: u64,
        /// The length of the file in bytes.
        length: u64,
    },

    /// The file contradicts the format.
    #[error("corrupt at byte {offset}: {flaw}")]
    Corrupt {
        /// The offset of the flaw in the file, in bytes.
        offset: u64,
        /// The flaw.
        flaw: Flaw,
    },

    /// The data given to a [`Writer`](crate::Writer) does not make a valid file.
    #[error("cannot write this as GGUF: {flaw}")]
    Unwritable {
        /// The flaw.
        flaw: Flaw,
    },

    /// A required metadata key is missing.
    #[error("metadata key \"{key}\" is missing")]
    MissingKey {
        /// The key.
        key: String,
    },

    /// A metadata value has a type other than the requested one.
    #[error("metadata key \"{key}\" is of type {found}, but must be {expected}")]
    WrongValueType {
        /// The key.
        key: String,
        /// The requested type.
        expected: &'static str,
        /// The type of the value.
        found: String,
    },

    /// A requested tensor is not in the file.
    #[error("there is no tensor \"{name}\" in the file")]
    MissingTensor {
        /// The requested name.
        name: String,
    },

    /// The operating system failed to read.
    #[error("cannot read at byte {offset}: {cause}")]
    Read {
        /// The offset in the file at which reading failed, in bytes.
        offset: u64,
        /// The system's reason.
        cause: io::Error,
    },

    /// The operating system, or a closure that yields tensor data, failed to write.
    #[error("cannot write: {cause}")]
    Write {
        /// The reason, from the system or the closure.
        cause: io::Error,
    },
}

impl Error {
    /// Returns the offset in the file that the error is about, in bytes, if there is one.
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

    /// Returns the error without the file name around it, for matching.
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

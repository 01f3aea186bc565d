//! Reads numbers from bytes, with the offset in errors.

use crate::error::StateError;

/// A position in bytes that are read from front to back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

type Result<T> = core::result::Result<T, StateError>;

impl<'b> Cursor<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> u64 {
        self.at as u64
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'b [u8]> {
        let rest = &self.bytes[self.at..];
        match rest.split_at_checked(length) {
            Some((taken, _)) => {
                self.at += length;
                Ok(taken)
            }
            None => Err(self.flaw(format!("{length} bytes are expected, but only {} are left", rest.len()))),
        }
    }

    /// Skips `count` times `size` bytes.
    pub(crate) fn skip(&mut self, count: u64, size: u64) -> Result<()> {
        let length = count.checked_mul(size).and_then(|length| usize::try_from(length).ok());
        match length.filter(|length| *length <= self.left()) {
            Some(length) => {
                self.at += length;
                Ok(())
            }
            None => Err(self.flaw(format!(
                "{count} rows of {size} bytes are expected, but only {} bytes are left",
                self.left()
            ))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Reads an unsigned number in the machine's byte order, which llama.cpp writes.
    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    /// Reads a signed number in the machine's byte order.
    pub(crate) fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_ne_bytes)
    }

    /// Reads an unsigned 64-bit number in the machine's byte order.
    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    /// Reads a little-endian number, as in the headers of this crate.
    pub(crate) fn u32_le(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads a little-endian 64-bit number.
    pub(crate) fn u64_le(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Returns the error for the current position.
    pub(crate) fn flaw(&self, reason: String) -> StateError {
        StateError::Corrupt { offset: self.at as u64, reason }
    }

    /// Returns the error for the four bytes before the current position.
    pub(crate) fn flaw_before(&self, reason: String) -> StateError {
        StateError::Corrupt { offset: self.at.saturating_sub(4) as u64, reason }
    }
}

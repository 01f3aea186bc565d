//! Reads untrusted bytes within bounds.

use std::fmt::Arguments;
use std::io::{self, Read};

use crate::error::Error;
use crate::flaw::Flaw;
use crate::text::Text;

/// The longest string that llama.cpp reads, in bytes.
const MAX_STRING: u64 = 1 << 30;

/// The number of array elements that are read at once.
const CHUNK: usize = 8192;

/// A reader that knows its position, and never allocates more than a small multiple of the bytes that it has read.
pub(crate) struct Source<R> {
    reader: R,
    offset: u64,
    length: Option<u64>,
}

impl<R: Read> Source<R> {
    /// Creates a source; `length` is the length of the whole input, if known.
    pub(crate) fn new(reader: R, length: Option<u64>) -> Self {
        Self { reader, offset: 0, length }
    }

    /// Returns the number of bytes read so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads up to `limit` bytes; fewer only at the end of the input.
    pub(crate) fn up_to(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        // `read_to_end` grows its buffer with the bytes that arrive, not with `limit`.
        let read = self.reader.by_ref().take(limit).read_to_end(&mut bytes);
        let read = read.map_err(|cause| self.failed(cause))?;
        self.offset += read as u64;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self, item: Arguments<'_>) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, item)?;
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self, item: Arguments<'_>) -> Result<u32, Error> {
        self.array(item).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, item: Arguments<'_>) -> Result<u64, Error> {
        self.array(item).map(u64::from_le_bytes)
    }

    /// Reads a length and that many bytes.
    pub(crate) fn text(&mut self, item: Arguments<'_>) -> Result<Text, Error> {
        let at = self.offset;
        let length = self.u64(format_args!("the length of {item}"))?;
        if length > MAX_STRING {
            let flaw = Flaw::StringLength { item: item.to_string(), length, limit: MAX_STRING };
            return Err(Error::Corrupt { offset: at, flaw });
        }
        self.require(length, item)?;
        let at = self.offset;
        let bytes = self.up_to(length)?;
        let available = bytes.len() as u64;
        if available < length {
            return Err(truncated(at, item, length, available));
        }
        Ok(bytes.into())
    }

    /// Reads `count` numbers of `N` bytes each.
    pub(crate) fn numbers<T, const N: usize>(
        &mut self,
        count: u64,
        from_le: fn([u8; N]) -> T,
        item: Arguments<'_>,
    ) -> Result<Vec<T>, Error> {
        self.require(count.saturating_mul(N as u64), item)?;
        let mut values = Vec::new();
        let mut buffer = vec![[0; N]; CHUNK.min(usize::try_from(count).unwrap_or(CHUNK))];
        let mut left = count;
        while left > 0 {
            let now = buffer.len().min(usize::try_from(left).unwrap_or(CHUNK));
            self.fill(buffer[..now].as_flattened_mut(), item)?;
            values.extend(buffer[..now].iter().copied().map(from_le));
            left -= now as u64;
        }
        Ok(values)
    }

    /// Returns an error early when the input is known to have fewer than `needed` bytes left.
    pub(crate) fn require(&self, needed: u64, item: Arguments<'_>) -> Result<(), Error> {
        match self.length.map(|length| length.saturating_sub(self.offset)) {
            Some(available) if available < needed => Err(truncated(self.offset, item, needed, available)),
            _ => Ok(()),
        }
    }

    fn fill(&mut self, buffer: &mut [u8], item: Arguments<'_>) -> Result<(), Error> {
        let needed = buffer.len() as u64;
        self.require(needed, item)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => return Err(truncated(self.offset, item, needed, filled as u64)),
                Ok(read) => filled += read,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.failed(cause)),
            }
        }
        self.offset += needed;
        Ok(())
    }

    fn failed(&self, cause: io::Error) -> Error {
        Error::Read { offset: self.offset, cause }
    }
}

fn truncated(offset: u64, item: Arguments<'_>, needed: u64, available: u64) -> Error {
    Error::Truncated { offset, item: item.to_string(), needed, available }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a string whose length is far greater than the bytes that follow.
    fn text_of_a_gigabyte() -> Vec<u8> {
        let mut bytes = MAX_STRING.to_le_bytes().to_vec();
        bytes.extend(b"short");
        bytes
    }

    #[test]
    fn a_lying_length_is_found_before_reading_when_the_input_length_is_known() {
        let bytes = text_of_a_gigabyte();
        let mut source = Source::new(bytes.as_slice(), Some(bytes.len() as u64));
        let error = source.text(format_args!("a name")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "truncated at byte 8: a name takes 1073741824 bytes, but only 5 are left; \
             download or copy the file again"
        );
    }

    #[test]
    fn a_lying_length_costs_nothing_when_the_input_length_is_unknown() {
        let bytes = text_of_a_gigabyte();
        let error = Source::new(bytes.as_slice(), None).text(format_args!("a name")).unwrap_err();
        assert!(matches!(error, Error::Truncated { available: 5, .. }), "{error}");
        let mut numbers = Source::new(&[0u8; 20][..], None);
        let error = numbers.numbers(1 << 30, u64::from_le_bytes, format_args!("numbers")).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{error}");
    }

    #[test]
    fn a_string_over_the_limit_is_refused() {
        let bytes = (MAX_STRING + 1).to_le_bytes();
        let error = Source::new(&bytes[..], None).text(format_args!("a name")).unwrap_err();
        assert!(matches!(error, Error::Corrupt { offset: 0, .. }), "{error}");
    }

    #[test]
    fn numbers_cross_chunks() {
        let wanted: Vec<u16> = (0..20_000).collect();
        let bytes: Vec<u8> = wanted.iter().flat_map(|n| n.to_le_bytes()).collect();
        let mut source = Source::new(bytes.as_slice(), None);
        assert_eq!(source.numbers(20_000, u16::from_le_bytes, format_args!("n")).unwrap(), wanted);
        assert_eq!(source.offset(), 40_000);
    }
}

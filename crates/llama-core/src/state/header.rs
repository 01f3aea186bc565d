//! The header of a state file.
//!
//! Numbers are little-endian. A text is its length in two bytes, followed by UTF-8.
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | `\x93LCSTATE` |
//! | 8..12 | version of the format, 1 |
//! | 12..16 | kind: 0 all sequences, 1 one sequence, 2 a part of one |
//! | 16..24 | length of the header; the state itself follows |
//! | 24..32 | checksum of the header without these 8 bytes |
//! | 32..40 | length of the state |
//! | 40..48 | checksum of the state |
//! | 48.. | 4 bytes: number of facts; two texts for each: name and value |
//! | | 8 bytes: number of tokens; 4 bytes for each: its id |
//!
//! Checksums are XXH3 with 64 bits and seed 0. The state is llama.cpp's output, in the machine's byte order.

use std::fs::File;
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::cursor::Cursor;
use super::file::{open_file, read_bytes};
use crate::error::{ErrorKind, Result, StateError};
use crate::token::Token;

const MAGIC: [u8; 8] = *b"\x93LCSTATE";
const VERSION: u32 = 1;
const FORMAT: &str = "this crate's state files";
/// Number of bytes before the facts.
const FIXED: usize = 48;
/// Position of the header's checksum.
const CHECKSUM: core::ops::Range<usize> = 24..32;

/// The kind of state in a state file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum StateKind {
    /// All sequences of a context.
    All,
    /// One sequence.
    Sequence,
    /// The part of one sequence that cannot be rewound.
    PartialSequence,
}

impl StateKind {
    fn number(self) -> u32 {
        match self {
            Self::All => 0,
            Self::Sequence => 1,
            Self::PartialSequence => 2,
        }
    }
}

impl core::fmt::Display for StateKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::All => "all sequences",
            Self::Sequence => "one sequence",
            Self::PartialSequence => "a part of one sequence",
        })
    }
}

/// The header of a state file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StateInfo {
    kind: StateKind,
    facts: Vec<(String, String)>,
    tokens: Vec<Token>,
    length: u64,
    checksum: u64,
}

impl StateInfo {
    /// Reads the header of a state file, which shows whether it is worth loading.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::StateFile`] if the file cannot be read, is not a state file of this version, or if its header is
    /// damaged or incomplete. The state itself is not read.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        read_head(path)
            .map(|(info, _)| info)
            .map_err(|cause| ErrorKind::StateFile { path: path.to_owned(), cause }.into())
    }

    /// Returns the kind of state.
    #[must_use]
    pub fn kind(&self) -> StateKind {
        self.kind
    }

    /// Returns the tokens that were saved with the state.
    #[must_use]
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Returns the properties with which the state was made, as names and values: the version of llama.cpp, the
    /// model, and the context's shape.
    pub fn facts(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.facts.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the size of the state in bytes.
    #[must_use]
    pub fn state_size(&self) -> u64 {
        self.length
    }

    pub(super) fn saved(&self) -> &[(String, String)] {
        &self.facts
    }

    pub(super) fn into_tokens(self) -> Vec<Token> {
        self.tokens
    }

    pub(super) fn check_kind(&self, expected: StateKind) -> core::result::Result<(), StateError> {
        if self.kind == expected {
            return Ok(());
        }
        let (saved, expected) = (self.kind.to_string(), expected.to_string());
        Err(StateError::Mismatch { field: "kind", saved, expected })
    }
}

/// Encodes the header for a state.
pub(super) fn encode(kind: StateKind, facts: &[(&str, String)], tokens: &[Token], state: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(FIXED + 1024 + 4 * tokens.len());
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend(kind.number().to_le_bytes());
    // The length and the checksum of the header, which are known at the end.
    head.extend([0; 16]);
    head.extend((state.len() as u64).to_le_bytes());
    head.extend(xxh3_64(state).to_le_bytes());
    head.extend(u32::try_from(facts.len()).unwrap_or(u32::MAX).to_le_bytes());
    for text in facts.iter().flat_map(|(name, value)| [*name, value.as_str()]) {
        // Descriptions are single lines; texts longer than 65535 bytes do not occur.
        let text = text.get(..usize::from(u16::MAX)).unwrap_or(text);
        head.extend(u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
        head.extend(text.as_bytes());
    }
    head.extend((tokens.len() as u64).to_le_bytes());
    head.extend(tokens.iter().flat_map(|token| token.get().to_le_bytes()));
    let length = head.len() as u64;
    head[16..24].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(&head);
    head[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// Returns the checksum of a header, excluding the bytes of the checksum itself.
fn checksum(head: &[u8]) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(&head[..CHECKSUM.start]);
    hash.update(&head[CHECKSUM.end..]);
    hash.digest()
}

/// Reads a whole file and checks that it is unchanged.
pub(super) fn read(path: &Path) -> core::result::Result<(StateInfo, Vec<u8>), StateError> {
    let (info, mut file) = read_head(path)?;
    let mut state = Vec::new();
    read_bytes(&mut file, info.length, &mut state)?;
    let computed = xxh3_64(&state);
    if computed != info.checksum {
        return Err(StateError::Checksum { part: "state", saved: info.checksum, computed });
    }
    Ok((info, state))
}

/// Reads the header of a file, whose position is at the state afterwards.
fn read_head(path: &Path) -> core::result::Result<(StateInfo, File), StateError> {
    let (mut file, available) = open_file(path)?;
    let mut head = Vec::new();
    read_bytes(&mut file, available.min(FIXED as u64), &mut head)?;
    let length = check_fixed(&head, available)?;
    read_bytes(&mut file, length - FIXED as u64, &mut head)?;
    check_checksum(&head)?;
    let info = decode(&head)?;
    let expected = length.saturating_add(info.length);
    if available < expected {
        return Err(StateError::Truncated { expected, found: available });
    }
    if available > expected {
        let reason = format!("the state ends, but {} more bytes follow", available - expected);
        return Err(StateError::Corrupt { offset: expected, reason });
    }
    Ok((info, file))
}

/// Checks the first bytes, and returns the length of the header.
fn check_fixed(bytes: &[u8], available: u64) -> core::result::Result<u64, StateError> {
    let begins = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(begins) || begins.is_empty() {
        return Err(StateError::not_a_state(bytes, "a state file of this crate"));
    }
    if bytes.len() < FIXED {
        return Err(StateError::Truncated { expected: FIXED as u64, found: available });
    }
    let mut cursor = Cursor::new(&bytes[MAGIC.len()..]);
    let found = cursor.u32_le()?;
    if found != VERSION {
        return Err(StateError::UnsupportedVersion { format: FORMAT, found, supported: VERSION });
    }
    let _kind = cursor.u32_le()?;
    let length = cursor.u64_le()?;
    if length < FIXED as u64 {
        return Err(StateError::Corrupt { offset: 16, reason: format!("the header has {length} bytes") });
    }
    if length > available {
        return Err(StateError::Truncated { expected: length, found: available });
    }
    Ok(length)
}

fn check_checksum(head: &[u8]) -> core::result::Result<(), StateError> {
    let saved = Cursor::new(&head[CHECKSUM]).u64_le()?;
    let computed = checksum(head);
    if saved != computed {
        return Err(StateError::Checksum { part: "header", saved, computed });
    }
    Ok(())
}

/// Decodes a header whose checksum is correct.
fn decode(head: &[u8]) -> core::result::Result<StateInfo, StateError> {
    let mut cursor = Cursor::new(head);
    cursor.take(12)?;
    let kind = match cursor.u32_le()? {
        0 => StateKind::All,
        1 => StateKind::Sequence,
        2 => StateKind::PartialSequence,
        other => return Err(cursor.flaw_before(format!("{other} is not a kind of state"))),
    };
    cursor.take(16)?;
    let (length, checksum) = (cursor.u64_le()?, cursor.u64_le()?);
    let count = cursor.u32_le()?;
    let facts = (0..count)
        .map(|_| Ok((text(&mut cursor)?, text(&mut cursor)?)))
        .collect::<core::result::Result<_, _>>()?;
    let count = cursor.u64_le()?;
    // Bounded by the header's length, so that a number alone does not cause an allocation.
    let bytes = usize::try_from(count.saturating_mul(4)).unwrap_or(usize::MAX);
    let (tokens, _) = cursor.take(bytes)?.as_chunks();
    let tokens = tokens.iter().map(|token| Token::new(i32::from_le_bytes(*token))).collect();
    if !cursor.is_at_end() {
        return Err(cursor.flaw("the header has unexpected bytes at its end".to_owned()));
    }
    Ok(StateInfo { kind, facts, tokens, length, checksum })
}

fn text(cursor: &mut Cursor<'_>) -> core::result::Result<String, StateError> {
    let length = cursor.take(2)?.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let bytes = cursor.take(length)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| cursor.flaw("a text is not UTF-8".to_owned()))
}

//! The stack that trigger patterns need.

use crate::error::Result;
use crate::ffi::stack;

/// The stack that a pattern needs before it has seen any text: to compile it, and for counted repetitions,
/// which `std::regex` unrolls.
const BASE: usize = 64 << 20;
/// The largest stack that is asked for. Only what is touched becomes memory.
pub(super) const LIMIT: usize = 512 << 20;
/// A frame of the executor of libstdc++ was 200 bytes and less; doubled for other compilers.
const FRAME: usize = 512;

/// How much stack `std::regex` may need for each byte of text: it recurses for each group, alternative and
/// repetition that it passes on the way to the next byte.
pub(super) fn per_byte(pattern: &str) -> usize {
    let marks = pattern.bytes().filter(|byte| b"(|*+?{".contains(byte)).count();
    (marks + 2) * FRAME
}

/// The stack for a text of that length.
pub(super) fn needed(per_byte: usize, text: usize) -> usize {
    BASE.saturating_add(per_byte.saturating_mul(text))
}

/// Runs `body` on a new thread with a stack of `bytes`, and waits for it.
pub(super) fn run<R: Send>(bytes: usize, body: impl FnOnce() -> R + Send) -> Result<R> {
    stack::run("llama-grammar", "a trigger pattern", bytes, body)
}

//! The stack size that trigger patterns need.

use crate::error::Result;
use crate::ffi::stack;

/// Stack that a pattern needs before it reads any text: to compile it, and for counted repetitions, which
/// `std::regex` unrolls.
const BASE: usize = 64 << 20;
/// Largest stack that is requested. Only touched pages use memory.
pub(super) const LIMIT: usize = 512 << 20;
/// Bytes per stack frame. Frames of libstdc++'s executor were measured at 200 bytes or less; doubled for other
/// compilers.
const FRAME: usize = 512;

/// Returns how much stack `std::regex` may need per byte of text: it recurses for each group, alternative and
/// repetition that it passes on the way to the next byte.
pub(super) fn per_byte(pattern: &str) -> usize {
    let marks = pattern.bytes().filter(|byte| b"(|*+?{".contains(byte)).count();
    (marks + 2) * FRAME
}

/// Returns the stack size for a text of the given length.
pub(super) fn needed(per_byte: usize, text: usize) -> usize {
    BASE.saturating_add(per_byte.saturating_mul(text))
}

/// Runs `body` on a new thread with a stack of `bytes` and waits for it.
pub(super) fn run<R: Send>(bytes: usize, body: impl FnOnce() -> R + Send) -> Result<R> {
    stack::run("llama-grammar", "a trigger pattern", bytes, body)
}

//! The work that both layers do alike and that is not compared.

/// The size of both contexts.
pub(crate) const N_CTX: u32 = 1024;

/// The first token of the text, which every vocabulary has.
pub(crate) const FIRST: i32 = 65;

/// Returns the first of the largest logits. A separate function, so that its instructions can be left out.
#[inline(never)]
pub(crate) fn largest_logit(row: &[f32]) -> i32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, value) in (0..).zip(row) {
        if *value > best.1 {
            best = (index, *value);
        }
    }
    best.0
}

//! What both layers do alike and is therefore not compared.

/// The size of both contexts.
pub(crate) const N_CTX: u32 = 1024;

/// Where the text begins: a token of every vocabulary.
pub(crate) const FIRST: i32 = 65;

/// The first of the largest logits. A function of its own, so that what is counted can leave it out.
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

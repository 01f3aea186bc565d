//! Passes over whole rows, compiled for several sets of vector instructions, one of which is taken at run time.
//!
//! All of them compute the same: no operation is fused or put in another order than is written here.

use multiversion::multiversion;

use super::exp::exp;
use super::ordered_sum::{OrderedSum, SIZE};

/// Rows are looked at in blocks of this many logits.
pub(super) const BLOCK: usize = 256;
/// The logits of a block whose index is the same modulo this number are a lane.
pub(super) const LANES: usize = 16;
/// The widest sums and maxima.
const WIDE: usize = 64;

/// Finds the largest logit of each block and of each of its lanes, and whether there is NaN, which is passed over.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn maxima(row: &[f32], lanes: &mut [f32], blocks: &mut [f32]) -> bool {
    let mut bits = [0_u32; WIDE];
    let (whole, rest) = row.as_chunks::<BLOCK>();
    let mut last = [f32::NEG_INFINITY; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    let all = whole.iter().chain(core::iter::once(&last));
    for ((block, lanes), max) in all.zip(lanes.as_chunks_mut::<LANES>().0).zip(blocks) {
        let mut wide = [f32::NEG_INFINITY; WIDE];
        for part in block.as_chunks::<WIDE>().0 {
            for lane in 0..WIDE {
                wide[lane] = larger(part[lane], wide[lane]);
                bits[lane] = bits[lane].max(part[lane].to_bits() & 0x7fff_ffff);
            }
        }
        for lane in 0..LANES {
            let first = larger(wide[lane], wide[lane + LANES]);
            let second = larger(wide[lane + 2 * LANES], wide[lane + 3 * LANES]);
            lanes[lane] = larger(first, second);
        }
        *max = lanes.iter().fold(f32::NEG_INFINITY, |max, lane| larger(*lane, max));
    }
    bits.iter().any(|bits| *bits > f32::INFINITY.to_bits())
}

/// The larger one; the right one if the left one is NaN.
#[inline(always)]
fn larger(left: f32, right: f32) -> f32 {
    if left > right { left } else { right }
}

/// Calls `found` for the logits that are at least `limit`, in order, with their indices.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn at_least(row: &[f32], blocks: &[f32], limit: f32, found: &mut dyn FnMut(usize, f32)) {
    for (block, _) in blocks.iter().enumerate().filter(|(_, max)| **max >= limit) {
        let start = block * BLOCK;
        let logits = &row[start..row.len().min(start + BLOCK)];
        for (part, start) in logits.chunks(LANES).zip((start..).step_by(LANES)) {
            if !part.iter().fold(false, |any, logit| any | (*logit >= limit)) {
                continue;
            }
            for (index, logit) in (start..).zip(part).filter(|(_, logit)| **logit >= limit) {
                found(index, *logit);
            }
        }
    }
}

/// Divides a row.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn divide(row: &mut [f32], divisor: f32) {
    row.iter_mut().for_each(|logit| *logit /= divisor);
}

/// Sums of the exponentials of the logits' distances to `max`, one for each block. `max` is in the terms of the
/// divided logits.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn exponential_sums(row: &[f32], divisor: f32, max: f32, sums: &mut [f64]) {
    let (whole, rest) = row.as_chunks::<BLOCK>();
    let mut last = [f32::NEG_INFINITY; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    for (block, sum) in whole.iter().chain(core::iter::once(&last)).zip(sums) {
        let mut wide = [0.0_f32; WIDE];
        for part in block.as_chunks::<WIDE>().0 {
            if divisor == 1.0 {
                for lane in 0..WIDE {
                    wide[lane] += exp(part[lane] - max);
                }
            } else {
                for lane in 0..WIDE {
                    wide[lane] += exp(part[lane] / divisor - max);
                }
            }
        }
        let mut narrow = [0.0_f64; LANES];
        for lane in 0..LANES {
            let first = f64::from(wide[lane]) + f64::from(wide[lane + LANES]);
            let second = f64::from(wide[lane + 2 * LANES]) + f64::from(wide[lane + 3 * LANES]);
            narrow[lane] = first + second;
        }
        *sum = narrow.iter().sum();
    }
}

/// The sum of the same exponentials in single precision, from the first to the last.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn exponential_sum_in_order(row: &[f32], divisor: f32, max: f32) -> f32 {
    let mut sum = OrderedSum::default();
    let (whole, rest) = row.as_chunks::<SIZE>();
    let mut last = [f32::NEG_INFINITY; SIZE];
    last[..rest.len()].copy_from_slice(rest);
    for block in whole.iter().chain(core::iter::once(&last)) {
        let mut values = [0.0; SIZE];
        if divisor == 1.0 {
            for lane in 0..SIZE {
                values[lane] = exp(block[lane] - max);
            }
        } else {
            for lane in 0..SIZE {
                values[lane] = exp(block[lane] / divisor - max);
            }
        }
        sum.add(&values);
    }
    sum.get()
}

/// The sum of the logits that are not masked in single precision, from the first to the last, and their number.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn sum_in_order(row: &[f32]) -> (f32, usize) {
    let mut sum = OrderedSum::default();
    let mut masked = 0;
    for block in row.chunks(SIZE) {
        let mut values = [0.0; SIZE];
        values[..block.len()].copy_from_slice(block);
        let mut count = 0_u32;
        for value in &mut values {
            let is_masked = *value == f32::NEG_INFINITY;
            count += u32::from(is_masked);
            *value = if is_masked { 0.0 } else { *value };
        }
        masked += count as usize;
        sum.add_signed(&values);
    }
    (sum.get(), row.len() - masked)
}

/// The sum of the squares of the distances of logits that are not masked to `mean`, from the first to the last, in
/// single precision but for the single step.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn squares_in_order(row: &[f32], mean: f32) -> f32 {
    let mut sum = OrderedSum::default();
    for block in row.chunks(SIZE) {
        let mut values = [mean; SIZE];
        values[..block.len()].copy_from_slice(block);
        for value in &mut values {
            *value = if *value == f32::NEG_INFINITY { 0.0 } else { *value - mean };
        }
        sum.add_squares(&values);
    }
    sum.get()
}

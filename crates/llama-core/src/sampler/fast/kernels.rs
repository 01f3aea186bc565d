//! Passes over whole rows, compiled for several sets of vector instructions; one is chosen at run time.
//!
//! All versions compute the same result: operations are neither fused nor reordered. The innermost loops go over the
//! lanes of a block, so that the compiler vectorises them; `cargo xtask bench sample` shows immediately if it does
//! not.

use multiversion::multiversion;

use super::exp::exp;
use super::ordered_sum::OrderedSum;

/// Number of logits in a block.
pub(super) const BLOCK: usize = LANES * LANES;
/// Number of lanes. The logits of a block whose index is equal modulo this number form a lane.
pub(super) const LANES: usize = 16;

/// Returns the blocks of a row; the last one is padded.
#[inline(always)]
fn blocks<'a>(
    row: &'a [f32],
    last: &'a mut [f32; BLOCK],
) -> impl Iterator<Item = &'a [f32; BLOCK]> + use<'a> {
    let (whole, rest) = row.as_chunks::<BLOCK>();
    last[..rest.len()].copy_from_slice(rest);
    whole.iter().chain(core::iter::once(&*last))
}

/// Finds the largest logit of each lane of each block, and returns whether there is a NaN; NaNs are skipped.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn maxima(row: &[f32], lanes: &mut [f32]) -> bool {
    let mut not_numbers = 0;
    let mut last = [f32::NEG_INFINITY; BLOCK];
    for (block, maxima) in blocks(row, &mut last).zip(lanes.as_chunks_mut::<LANES>().0) {
        let mut largest = [f32::NEG_INFINITY; LANES];
        let mut nan = [0; LANES];
        for part in block.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                largest[lane] = larger(part[lane], largest[lane]);
                nan[lane] |= u32::from(part[lane].is_nan());
            }
        }
        *maxima = largest;
        for nan in nan {
            not_numbers |= nan;
        }
    }
    not_numbers != 0
}

/// Returns the larger number, or the right one if the left one is NaN.
#[inline(always)]
fn larger(left: f32, right: f32) -> f32 {
    if left > right { left } else { right }
}

/// Computes the maxima of the lanes of 16 blocks.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn join_maxima(lanes: &[f32], joined: &mut [f32]) {
    let mut last = [f32::NEG_INFINITY; BLOCK];
    for (block, maxima) in blocks(lanes, &mut last).zip(joined.as_chunks_mut::<LANES>().0) {
        let mut largest = [f32::NEG_INFINITY; LANES];
        for part in block.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                largest[lane] = larger(part[lane], largest[lane]);
            }
        }
        *maxima = largest;
    }
}

/// Calls `found` with index and value of the logits that are at least `limit`, in order. `found` returns the limit
/// from there on, which must not be lower.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn at_least(row: &[f32], lanes: &[f32], mut limit: f32, found: &mut dyn FnMut(usize, f32) -> f32) {
    for (block, maxima) in lanes.as_chunks::<LANES>().0.iter().enumerate() {
        if !any_at_least(maxima, limit) {
            continue;
        }
        let start = block * BLOCK;
        let (parts, rest) = row[start..row.len().min(start + BLOCK)].as_chunks::<LANES>();
        for (part, start) in parts.iter().zip((start..).step_by(LANES)) {
            if any_at_least(part, limit) {
                limit = each_at_least(part, start, limit, found);
            }
        }
        limit = each_at_least(rest, start + parts.len() * LANES, limit, found);
    }
}

#[inline(always)]
fn each_at_least(
    part: &[f32],
    start: usize,
    mut limit: f32,
    found: &mut dyn FnMut(usize, f32) -> f32,
) -> f32 {
    for (index, logit) in (start..).zip(part) {
        if *logit >= limit {
            limit = found(index, *logit);
        }
    }
    limit
}

#[inline(always)]
fn any_at_least(part: &[f32; LANES], limit: f32) -> bool {
    let mut any = 0;
    for logit in part {
        any |= u32::from(*logit >= limit);
    }
    any != 0
}

/// Divides a row by a number.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn divide(row: &mut [f32], divisor: f32) {
    row.iter_mut().for_each(|logit| *logit /= divisor);
}

/// Computes the sum of `exp(logit / divisor - max)` for each block. `max` is the largest logit after the division.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn exponential_sums(row: &[f32], divisor: f32, max: f32, sums: &mut [f64]) {
    if divisor == 1.0 {
        sums_of::<false>(row, divisor, max, sums);
    } else {
        sums_of::<true>(row, divisor, max, sums);
    }
}

#[inline(always)]
fn sums_of<const DIVIDE: bool>(row: &[f32], divisor: f32, max: f32, sums: &mut [f64]) {
    let mut last = [f32::NEG_INFINITY; BLOCK];
    for (block, sum) in blocks(row, &mut last).zip(sums) {
        let mut lanes = [0.0_f64; LANES];
        for parts in block.as_chunks::<{ 4 * LANES }>().0 {
            let mut few = [0.0_f32; LANES];
            for part in parts.as_chunks::<LANES>().0 {
                for lane in 0..LANES {
                    let logit = if DIVIDE { part[lane] / divisor } else { part[lane] };
                    few[lane] += exp(logit - max);
                }
            }
            for lane in 0..LANES {
                lanes[lane] += f64::from(few[lane]);
            }
        }
        *sum = lanes.iter().sum();
    }
}

/// Computes the sum of the same exponentials over the whole row, in single precision and in order.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn exponential_sum_in_order(row: &[f32], divisor: f32, max: f32) -> f32 {
    if divisor == 1.0 { sum_of::<false>(row, divisor, max) } else { sum_of::<true>(row, divisor, max) }
}

#[inline(always)]
fn sum_of<const DIVIDE: bool>(row: &[f32], divisor: f32, max: f32) -> f32 {
    let mut sum = OrderedSum::default();
    let mut last = [f32::NEG_INFINITY; BLOCK];
    for block in blocks(row, &mut last) {
        let mut values = [0.0; BLOCK];
        for index in 0..BLOCK {
            let logit = if DIVIDE { block[index] / divisor } else { block[index] };
            values[index] = exp(logit - max);
        }
        sum.add(&values);
    }
    sum.get()
}

/// Returns the sum of the unmasked logits, in single precision and in order, and their number.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn sum_in_order(row: &[f32]) -> (f32, usize) {
    let mut sum = OrderedSum::default();
    let (mut blocks_seen, mut masked) = (0, 0);
    let mut last = [f32::NEG_INFINITY; BLOCK];
    for block in blocks(row, &mut last) {
        let mut values = [0.0; BLOCK];
        let mut count = 0;
        for index in 0..BLOCK {
            let is_masked = block[index] == f32::NEG_INFINITY;
            count += u32::from(is_masked);
            values[index] = if is_masked { 0.0 } else { block[index] };
        }
        blocks_seen += 1;
        masked += count as usize;
        sum.add_signed(&values);
    }
    (sum.get(), blocks_seen * BLOCK - masked)
}

/// Returns the sum of the squared distances of the unmasked logits to `mean`, in order. The sum is in single
/// precision, each step in double precision.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn squares_in_order(row: &[f32], mean: f32) -> f32 {
    let mut sum = OrderedSum::default();
    let mut last = [f32::NEG_INFINITY; BLOCK];
    for block in blocks(row, &mut last) {
        let mut values = [0.0; BLOCK];
        for index in 0..BLOCK {
            let logit = block[index];
            values[index] = if logit == f32::NEG_INFINITY { 0.0 } else { logit - mean };
        }
        sum.add_squares(&values);
    }
    sum.get()
}

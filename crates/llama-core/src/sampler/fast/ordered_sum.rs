//! Sums in single precision, equal to adding the numbers in order, without the latency of sequential additions.
//!
//! While a sum stays between two powers of two, its possible values are evenly spaced. Adding a number then adds the
//! number rounded to a multiple of that spacing, whatever the sum is. Such rounded numbers can be added in any
//! order, exactly. Sequential additions remain for blocks in which the sum passes a power of two, and for blocks
//! with a number exactly between two multiples, whose rounding depends on the sum.

use super::kernels::{BLOCK, LANES};
use super::list::add_square;

/// Smallest sum for the fast path. Below it, the spacing may not be representable.
const SMALLEST: f32 = 1e-30;
/// Half the spacing of numbers from a power of two on, relative to that power.
const HALF_SPACE: f32 = 1.0 / 16_777_216.0;

/// A running sum, and the largest power of two that is not above it.
#[derive(Clone, Copy, Default)]
pub(super) struct OrderedSum {
    sum: f32,
    base: f32,
}

impl OrderedSum {
    pub(super) fn get(self) -> f32 {
        self.sum
    }

    /// Adds non-negative numbers.
    #[inline(always)]
    pub(super) fn add(&mut self, values: &[f32; BLOCK]) {
        let base = self.base;
        let half = base * HALF_SPACE;
        let (mut total, mut between) = ([0.0; LANES], [0; LANES]);
        for part in values.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                let rounded = (base + part[lane]) - base;
                total[lane] += rounded;
                between[lane] |= u32::from((part[lane] - rounded).abs() == half);
            }
        }
        let next = self.sum + joined(total);
        if base > SMALLEST && next < 2.0 * base && !any(between) {
            self.sum = next;
        } else {
            self.one_by_one(values, |sum, value| sum + value);
        }
    }

    /// Adds numbers of either sign.
    #[inline(always)]
    pub(super) fn add_signed(&mut self, values: &[f32; BLOCK]) {
        let base = self.base;
        let (middle, half) = (1.5 * base, base * HALF_SPACE);
        let (mut total, mut size, mut between) = ([0.0; LANES], [0.0; LANES], [0; LANES]);
        for part in values.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                let rounded = (middle + part[lane]) - middle;
                total[lane] += rounded;
                size[lane] += part[lane].abs();
                between[lane] |= u32::from((part[lane] - rounded).abs() == half);
            }
        }
        // Slightly more than the sum can move on the way.
        let size = 1.001 * joined(size) + base * 1e-4;
        let stays = size < 0.5 * base && self.sum.abs() - size > base && self.sum.abs() + size < 2.0 * base;
        if base > SMALLEST && stays && !any(between) {
            self.sum += joined(total);
        } else {
            self.one_by_one(values, |sum, value| sum + value);
        }
    }

    /// Adds the squares of numbers; each addition is done in double precision and rounded.
    #[inline(always)]
    pub(super) fn add_squares(&mut self, values: &[f32; BLOCK]) {
        let base = self.base;
        let half = f64::from(base * HALF_SPACE);
        let (mut total, mut between) = ([0.0; LANES], [0; LANES]);
        for part in values.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                let exact = f64::from(base) + f64::from(part[lane]) * f64::from(part[lane]);
                #[allow(clippy::cast_possible_truncation, reason = "this is the rounding in question")]
                let rounded = exact as f32;
                total[lane] += rounded - base;
                between[lane] |= u32::from((exact - f64::from(rounded)).abs() == half);
            }
        }
        let next = self.sum + joined(total);
        if base > SMALLEST && next < 2.0 * base && !any(between) {
            self.sum = next;
        } else {
            self.one_by_one(values, add_square);
        }
    }

    #[cold]
    #[inline(never)]
    fn one_by_one(&mut self, values: &[f32; BLOCK], add: impl Fn(f32, f32) -> f32) {
        self.sum = values.iter().fold(self.sum, |sum, value| add(sum, *value));
        self.base = f32::from_bits(self.sum.to_bits() & 0x7f80_0000);
    }
}

/// Returns the sum of all lanes.
#[inline(always)]
fn joined(lanes: [f32; LANES]) -> f32 {
    let mut sums = [0.0; LANES / 4];
    for lane in 0..LANES / 4 {
        sums[lane] = (lanes[lane] + lanes[lane + 4]) + (lanes[lane + 8] + lanes[lane + 12]);
    }
    (sums[0] + sums[2]) + (sums[1] + sums[3])
}

#[inline(always)]
fn any(lanes: [u32; LANES]) -> bool {
    let mut any = 0;
    for lane in lanes {
        any |= lane;
    }
    any != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Yields pseudo-random numbers from 0 to below 1.
    fn numbers() -> impl Iterator<Item = f32> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        core::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 16_777_216.0
        })
    }

    /// Returns rows of several scales, some with many numbers exactly between two multiples of the spacing.
    fn rows() -> Vec<Vec<f32>> {
        let row = |map: fn(f32) -> f32| numbers().take(40 * BLOCK).map(map).collect::<Vec<f32>>();
        vec![
            row(|it| it),
            row(|it| (it * 40.0 - 35.0).exp()),
            row(|it| (it * 8.0).floor() * 0.125),
            row(|it| if it < 0.999 { it * 1e-7 } else { 1e3 }),
            row(|it| it * 1e-35),
            row(|it| it * 1e34),
            row(|_| 0.1),
            row(|_| 0.0),
        ]
    }

    fn added(row: &[f32], add: fn(&mut OrderedSum, &[f32; BLOCK])) -> f32 {
        let mut sum = OrderedSum::default();
        row.as_chunks().0.iter().for_each(|block| add(&mut sum, block));
        sum.get()
    }

    #[test]
    fn sums_equal_those_of_sequential_additions() {
        for row in rows() {
            let expected = row.iter().fold(0.0, |sum, value| sum + value);
            assert_eq!(added(&row, OrderedSum::add), expected);
            let expected = row.iter().fold(0.0, |sum, value| add_square(sum, *value));
            assert_eq!(added(&row, OrderedSum::add_squares), expected);
            for shift in [0.0, 0.3, 0.5, 1.0] {
                let row: Vec<f32> = row.iter().map(|value| value - shift).collect();
                let expected = row.iter().fold(0.0, |sum, value| sum + value);
                assert_eq!(added(&row, OrderedSum::add_signed), expected);
            }
        }
    }
}

//! Sums of single precision from the first to the last number, without waiting for one addition after the other.
//!
//! While a sum stays between two powers of two, the numbers that it can be are evenly spaced, and adding a number
//! adds a multiple of that space: the number rounded to it, whatever the sum is. Numbers rounded so can be added in
//! any order, exactly. What is left to do one by one are the blocks in which the sum passes a power of two, and those
//! with a number right between two multiples, which is rounded up or down by what the sum is.

use super::list::add_square;

/// How many numbers are added at once.
pub(super) const SIZE: usize = 64;
const LANES: usize = 16;
/// Sums below this are added to one by one: there, spaces may not be numbers any more.
const SMALLEST: f32 = 1e-30;

/// A sum, and what has been added to it.
#[derive(Clone, Copy, Default)]
pub(super) struct OrderedSum(f32);

impl OrderedSum {
    pub(super) fn get(self) -> f32 {
        self.0
    }

    /// The power of two that the sum's size is at least.
    #[inline(always)]
    fn base(self) -> f32 {
        f32::from_bits(self.0.to_bits() & 0x7f80_0000)
    }

    /// Adds numbers that are not negative.
    #[inline(always)]
    pub(super) fn add(&mut self, values: &[f32; SIZE]) {
        let base = self.base();
        let half = base * HALF_SPACE;
        let mut total = [0.0_f32; LANES];
        let mut between = [0_u32; LANES];
        for part in values.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                let rounded = (base + part[lane]) - base;
                between[lane] |= u32::from((part[lane] - rounded).abs() == half);
                total[lane] += rounded;
            }
        }
        let next = self.0 + total.iter().sum::<f32>();
        if base > SMALLEST && next < 2.0 * base && between.iter().all(|it| *it == 0) {
            self.0 = next;
        } else {
            values.iter().for_each(|value| self.0 += value);
        }
    }

    /// Adds numbers of either sign.
    #[inline(always)]
    pub(super) fn add_signed(&mut self, values: &[f32; SIZE]) {
        let base = self.base();
        let (middle, half) = (1.5 * base, base * HALF_SPACE);
        let (mut total, mut size) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        let mut between = [0_u32; LANES];
        for part in values.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                let rounded = (middle + part[lane]) - middle;
                between[lane] |= u32::from((part[lane] - rounded).abs() == half);
                total[lane] += rounded;
                size[lane] += part[lane].abs();
            }
        }
        // A little more than the sum can move on the way.
        let size = 1.001 * size.iter().sum::<f32>() + base * 1e-4;
        let stays = size < 0.5 * base && self.0.abs() - size > base && self.0.abs() + size < 2.0 * base;
        if base > SMALLEST && stays && between.iter().all(|it| *it == 0) {
            self.0 += total.iter().sum::<f32>();
        } else {
            values.iter().for_each(|value| self.0 += value);
        }
    }

    /// Adds the squares of numbers, each addition being done in double precision and rounded.
    #[inline(always)]
    pub(super) fn add_squares(&mut self, values: &[f32; SIZE]) {
        let base = self.base();
        let half = f64::from(base * HALF_SPACE);
        let mut total = [0.0_f32; LANES];
        let mut between = [0_u32; LANES];
        for part in values.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                let value = f64::from(part[lane]);
                let exact = f64::from(base) + value * value;
                #[allow(clippy::cast_possible_truncation, reason = "this is the rounding in question")]
                let rounded = exact as f32;
                between[lane] |= u32::from((exact - f64::from(rounded)).abs() == half);
                total[lane] += rounded - base;
            }
        }
        let next = self.0 + total.iter().sum::<f32>();
        if base > SMALLEST && next < 2.0 * base && between.iter().all(|it| *it == 0) {
            self.0 = next;
        } else {
            values.iter().for_each(|value| self.0 = add_square(self.0, *value));
        }
    }
}

/// Half the space between numbers from a power of two on, in parts of that power.
const HALF_SPACE: f32 = 1.0 / 16_777_216.0;

//! Passes over a row for its softmax, compiled for several sets of vector instructions; one is chosen at run time.
//!
//! All versions compute the same result: operations are neither fused nor reordered.

use multiversion::multiversion;

use crate::sampler::exp;

/// Number of logits that are processed at once: enough that no instruction waits for the previous one.
const LANES: usize = 64;

/// The value that is subtracted from a logit to get its log-probability: the logarithm of the sum of all
/// `exp(logit)`, in two parts so that it is exact for infinite logits too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normaliser {
    max: f32,
    log_sum: f64,
}

impl Normaliser {
    /// Sums up a row. NaN counts as negative infinity.
    pub(crate) fn of(row: &[f32]) -> Self {
        Self::with_max(row, largest(row))
    }

    /// Sums up a row whose largest logit is known.
    #[allow(clippy::cast_precision_loss, reason = "rows have fewer than 2^31 logits")]
    pub(crate) fn with_max(row: &[f32], max: f32) -> Self {
        let sum = if max.is_infinite() {
            // Infinite logits share all of the probability.
            row.iter().filter(|logit| **logit == max).count() as f64
        } else {
            exponential_sum(row, max)
        };
        Self { max, log_sum: sum.ln() }
    }

    /// Returns the log-probability of a logit of the row.
    #[allow(clippy::cast_possible_truncation, reason = "this is the rounding to the result")]
    pub(crate) fn log_probability(self, logit: f32) -> f32 {
        if logit.is_nan() || logit == f32::NEG_INFINITY {
            return f32::NEG_INFINITY;
        }
        // Also if both are infinite.
        #[allow(clippy::float_cmp, reason = "the largest is one of the logits")]
        let below = if logit == self.max { 0.0 } else { f64::from(logit) - f64::from(self.max) };
        (below - self.log_sum) as f32
    }

    /// Writes the log-probabilities of a whole row, which is as long as `values`.
    pub(crate) fn log_probabilities(self, row: &[f32], values: &mut [f32]) {
        if self.max.is_infinite() {
            let all = values.iter_mut().zip(row);
            return all.for_each(|(value, logit)| *value = self.log_probability(*logit));
        }
        normalise(row, f64::from(self.max), self.log_sum, values);
    }
}

/// Returns the largest logit that is not NaN, or negative infinity if there is none.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(crate) fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(chunk[lane], lanes[lane]);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |best, logit| larger(*logit, best))
}

/// Returns the larger number, or the right one if the left one is NaN.
#[inline(always)]
fn larger(left: f32, right: f32) -> f32 {
    if left > right { left } else { right }
}

/// Returns the sum of `exp(logit - max)` over the row, where `max` is the finite largest logit.
///
/// The relative error is at most `2.7e-7 + 6e-8 * ln(row.len())`: four exponentials are added in single precision,
/// and each distance is rounded once.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn exponential_sum(row: &[f32], max: f32) -> f64 {
    const FEW: usize = LANES / 4;
    let mut sums = [0.0_f64; FEW];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        let mut few = [0.0_f32; FEW];
        for part in chunk.as_chunks::<FEW>().0 {
            for lane in 0..FEW {
                few[lane] += exp(part[lane] - max);
            }
        }
        for lane in 0..FEW {
            sums[lane] += f64::from(few[lane]);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|logit| f64::from(exp(logit - max))).sum::<f64>()
}

/// Writes `logit - max - log_sum` for each logit, and negative infinity for NaN.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
#[allow(clippy::cast_possible_truncation, reason = "this is the rounding to the result")]
fn normalise(row: &[f32], max: f64, log_sum: f64, values: &mut [f32]) {
    for (value, logit) in values.iter_mut().zip(row) {
        let normalised = ((f64::from(*logit) - max) - log_sum) as f32;
        *value = if logit.is_nan() { f32::NEG_INFINITY } else { normalised };
    }
}

/// Calls `found` with index and value of the logits above `limit`, in order. `found` returns the limit from there
/// on, which must not be lower.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn above(row: &[f32], mut limit: f32, found: &mut dyn FnMut(usize, f32) -> f32) {
    let (chunks, rest) = row.as_chunks::<LANES>();
    for (chunk, start) in chunks.iter().zip((0..).step_by(LANES)) {
        let mut any = 0;
        for logit in chunk {
            any |= u32::from(*logit > limit);
        }
        if any != 0 {
            limit = each_above(chunk, start, limit, found);
        }
    }
    each_above(rest, row.len() - rest.len(), limit, found);
}

#[inline(always)]
fn each_above(part: &[f32], start: usize, mut limit: f32, found: &mut dyn FnMut(usize, f32) -> f32) -> f32 {
    for (index, logit) in (start..).zip(part) {
        if *logit > limit {
            limit = found(index, *logit);
        }
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the log-probabilities of the row in double precision.
    fn exact(row: &[f32]) -> Vec<f64> {
        let wide = |logit: &f32| if logit.is_nan() { f64::NEG_INFINITY } else { f64::from(*logit) };
        let max = row.iter().map(wide).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|logit| (wide(logit) - max).exp()).sum();
        row.iter().map(|logit| wide(logit) - max - sum.ln()).collect()
    }

    /// Returns the largest distance to the exact values, beyond the rounding of the result.
    fn error(row: &[f32]) -> f64 {
        let normaliser = Normaliser::of(row);
        let mut values = vec![7.0; row.len()];
        normaliser.log_probabilities(row, &mut values);
        let both = values.iter().zip(exact(row)).zip(row);
        both.fold(0.0, |worst, ((value, exact), logit)| {
            assert_eq!(value.to_bits(), normaliser.log_probability(*logit).to_bits());
            if exact == f64::NEG_INFINITY {
                assert_eq!(*value, f32::NEG_INFINITY);
                return worst;
            }
            let rounding = f64::from(value.abs()) * f64::from(f32::EPSILON) / 2.0;
            f64::max(worst, (f64::from(*value) - exact).abs() - rounding)
        })
    }

    fn bound(length: usize) -> f64 {
        2.7e-7 + 6e-8 * (length as f64).ln()
    }

    /// Yields pseudo-random numbers from 0 to below 1.
    fn numbers(seed: u64) -> impl Iterator<Item = f32> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ seed;
        core::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 16_777_216.0
        })
    }

    #[test]
    fn errors_are_within_the_bound() {
        for length in [1, 2, 3, 63, 64, 65, 127, 1000, 49_152, 151_936, 262_144] {
            let row = |map: fn(f32) -> f32| numbers(length as u64).take(length).map(map).collect::<Vec<_>>();
            let mut peaked = row(|it| it.powi(4) * 20.0 - 7.0);
            peaked[length / 2] = 24.7;
            let rows = [
                row(|it| it),
                row(|it| it * 12.0 - 30.0),
                row(|it| it.powi(3) * 40.0),
                row(|it| (it - 0.5) * 2e4),
                row(|it| (it - 0.5) * 2.0 * 3e38),
                row(|it| it * 1e-40),
                row(|_| -7.25),
                row(|it| if it < 0.3 { f32::NAN } else { it * 9.0 }),
                row(|it| if it < 0.9 { f32::NEG_INFINITY } else { it * 9.0 }),
                peaked,
            ];
            for (index, row) in rows.iter().enumerate() {
                let error = error(row);
                assert!(error <= bound(length), "{length} {index}: {error}");
            }
        }
    }

    #[test]
    fn rows_of_equal_logits_share_the_probability() {
        for (length, value) in [(1, 3.5), (4, -1e38), (64, 0.0), (100_000, 1e-45), (7, f32::INFINITY)] {
            let row = vec![value; length];
            let expected = -(length as f64).ln();
            for id in [0, length / 2, length - 1] {
                let found = f64::from(Normaliser::of(&row).log_probability(row[id]));
                assert!((found - expected).abs() <= 1e-6, "{length} of {value}: {found} {expected}");
            }
        }
    }

    #[test]
    fn nan_and_infinity() {
        let of = |row: &[f32]| {
            let mut values = vec![7.0; row.len()];
            Normaliser::of(row).log_probabilities(row, &mut values);
            values
        };
        let (nan, low, high) = (f32::NAN, f32::NEG_INFINITY, f32::INFINITY);
        let half = -core::f32::consts::LN_2;
        assert_eq!(of(&[]), [0.0; 0]);
        assert_eq!(of(&[nan, low]), [low, low]);
        assert_eq!(of(&[low; 100]), [low; 100]);
        assert_eq!(of(&[5.0, nan, low]), [0.0, low, low]);
        assert_eq!(of(&[high, 3e38, nan, high, low]), [half, low, low, half, low]);
        assert_eq!(of(&[f32::MAX, f32::MIN, f32::MAX]), [half, low, half]);
        assert_eq!(of(&[f32::from_bits(1), -f32::from_bits(1)]), [half, half]);
    }

    #[test]
    fn largest_skips_nan() {
        for length in [0, 1, 63, 64, 65, 200] {
            let mut row = vec![f32::NAN; length];
            assert_eq!(largest(&row), f32::NEG_INFINITY);
            for at in 0..length {
                row[at] = at as f32 - 70.0;
                assert_eq!(largest(&row), at as f32 - 70.0, "of {length}");
            }
        }
    }
}

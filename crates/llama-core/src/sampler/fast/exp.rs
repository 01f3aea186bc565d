//! A vectorisable exponential function.

/// Bound on the relative difference between a sum of [`exp`]s, in groups of four numbers in single precision, and
/// the sum of C's `expf`s of the same numbers: 0.85e-7 for [`exp`], 0.6e-7 for `expf`, 1.8e-7 for three additions.
pub(super) const EXP_ERROR: f64 = 3.5e-7;
/// Smallest argument; below it [`exp`] returns zero.
const LOWEST: f32 = -87.0;

/// Returns the exponential of a number that is at most zero. It uses only additions and multiplications in single
/// precision, so that the compiler can vectorise it.
#[inline(always)]
pub(crate) fn exp(value: f32) -> f32 {
    /// Rounds a small number to an integer when added to it; the integer is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// The logarithm of two, split into a part with few bits, whose small multiples are exact, and the rest.
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if value > LOWEST { value } else { LOWEST };
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let count = shifted - ROUND;
    let r = (x - count * LN_2_HIGH) - count * LN_2_LOW;
    let mut polynomial = 1.0 / 5040.0;
    polynomial = polynomial * r + 1.0 / 720.0;
    polynomial = polynomial * r + 1.0 / 120.0;
    polynomial = polynomial * r + 1.0 / 24.0;
    polynomial = polynomial * r + 1.0 / 6.0;
    polynomial = polynomial * r + 0.5;
    let result = (polynomial * r * r + r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if value > LOWEST { result * power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the largest relative error of a function over many numbers from -87 to 0.
    fn worst(function: fn(f32) -> f32) -> f64 {
        let (nearest, farthest) = ((-1e-9_f32).to_bits(), LOWEST.to_bits());
        (nearest..farthest).step_by(499).map(f32::from_bits).fold(0.0, |worst, value| {
            let exact = f64::from(value).exp();
            f64::max(worst, ((f64::from(function(value)) - exact) / exact).abs())
        })
    }

    #[test]
    fn errors_are_below_the_assumed_bound() {
        let (ours, theirs) = (worst(exp), worst(f32::exp));
        assert!(ours < 0.9e-7, "{ours}");
        assert!(ours + theirs + 1.8e-7 < EXP_ERROR, "{ours} {theirs}");
    }

    #[test]
    fn ends() {
        assert_eq!([0.0, -0.0].map(exp), [1.0, 1.0]);
        assert_eq!([-87.0, -88.0, -1e30, f32::NEG_INFINITY].map(exp), [0.0; 4]);
    }
}

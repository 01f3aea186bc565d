//! The exponential function, for vectors.

/// How far a sum of [`exp`]s, of four numbers in single precision each, and the sum of C's `expf`s of the same numbers
/// are apart at most, as a part of the sum: 0.85e-7 for [`exp`], 0.6e-7 for `expf`, 1.8e-7 for three additions.
pub(super) const EXP_ERROR: f64 = 3.5e-7;
/// Below, [`exp`] is zero.
const LOWEST: f32 = -87.0;

/// The exponential of a number that is not above zero. Made of nothing but additions and multiplications of single
/// precision, so that the compiler makes vector instructions of it.
#[inline(always)]
pub(crate) fn exp(value: f32) -> f32 {
    /// Adding it to a small number rounds it to an integer, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// The logarithm of two: a part of few bits, so that its small multiples are exact, and the rest.
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

    /// The largest error of a function, as a part of the value, over many numbers from -87 to 0.
    fn worst(function: fn(f32) -> f32) -> f64 {
        let (nearest, farthest) = ((-1e-9_f32).to_bits(), LOWEST.to_bits());
        (nearest..farthest).step_by(499).map(f32::from_bits).fold(0.0, |worst, value| {
            let exact = f64::from(value).exp();
            f64::max(worst, ((f64::from(function(value)) - exact) / exact).abs())
        })
    }

    #[test]
    fn errors_are_below_what_is_counted_on() {
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

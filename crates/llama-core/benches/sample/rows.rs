//! Rows like those of models: logits around a mean, and a few outliers.

/// Returns a random row, which is always the same for the same seed.
pub(crate) fn random(length: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 16_777_216.0
    };
    // The sum of twelve numbers is nearly normally distributed.
    let mut row: Vec<f32> =
        (0..length).map(|_| 2.5 * ((0..12).map(|_| uniform()).sum::<f32>() - 6.0) - 1.0).collect();
    // A few outliers, spread over the row.
    for (rank, logit) in (0..30_u8).zip(row.iter_mut().skip(7).step_by(length / 30)) {
        *logit = 16.0 - f32::from(rank) * 0.2 + uniform();
    }
    row
}

/// Returns the row rounded to 16 bits per logit, for the usual size of logits.
pub(crate) fn rounded(row: &[f32]) -> Vec<f32> {
    row.iter().map(|logit| (logit * 128.0).round() / 128.0).collect()
}

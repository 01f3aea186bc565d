//! Drawn tokens have the expected probabilities.

use super::*;

const DRAWS: usize = 100_000;

/// Returns Pearson's chi-squared of counts, and the degrees of freedom. Tokens expected less than ten times form one
/// class.
fn chi_squared(counts: &[usize], probabilities: &[f64]) -> (f64, f64) {
    let draws = counts.iter().sum::<usize>() as f64;
    let (mut statistic, mut classes) = (0.0, 0.0);
    let (mut rare, mut rare_expected) = (0.0, 0.0);
    for (count, p) in counts.iter().zip(probabilities) {
        let expected = p * draws;
        if expected < 10.0 {
            rare += *count as f64;
            rare_expected += expected;
        } else {
            statistic += (*count as f64 - expected).powi(2) / expected;
            classes += 1.0;
        }
    }
    if rare_expected > 1.0 {
        statistic += (rare - rare_expected).powi(2) / rare_expected;
        classes += 1.0;
    }
    (statistic, classes - 1.0)
}

/// Draws tokens, and compares them with the probabilities of the chain's candidates. The seeds are fixed, so that
/// every run gives the same result.
#[track_caller]
fn check(builder: SamplerChainBuilder, row: &[f32], draws: usize) {
    let mut candidates = Candidates::from_logits(row);
    builder.clone().build().unwrap().apply(&mut candidates).unwrap();
    let mut probabilities = vec![0.0; row.len()];
    for candidate in candidates.as_slice() {
        probabilities[index(candidate.token)] = f64::from(candidate.p);
    }
    let mut sampler = builder.build_row().unwrap();
    let mut counts = vec![0; row.len()];
    for _ in 0..draws {
        counts[index(sampler.sample_row(row).unwrap())] += 1;
    }
    for (id, p) in probabilities.iter().enumerate() {
        assert!(*p > 0.0 || counts[id] == 0, "{id} was drawn {} times", counts[id]);
    }
    // With these, a right sampler is outside once in a hundred thousand times.
    let (statistic, freedom) = chi_squared(&counts, &probabilities);
    assert!(statistic < freedom + 4.5 * (2.0 * freedom).sqrt() + 10.0, "{statistic} {freedom}");
    assert!(freedom < 3.0 || statistic > freedom - 4.5 * (2.0 * freedom).sqrt(), "{statistic} {freedom}");
}

#[test]
fn of_a_list() {
    let row = rows::peaked(150, 5);
    let new = SamplerChain::builder;
    check(new().dist(1), &row, DRAWS);
    check(new().top_k(40).top_p(0.95).min_p(0.05).temperature(1.5).dist(2), &row, DRAWS);
    check(new().temperature(2.0).top_p(0.8).dist(3), &row, DRAWS);
}

#[test]
fn of_a_whole_row() {
    let row = rows::peaked(1025, 6);
    check(SamplerChain::builder().temperature(2.5).dist(4), &row, DRAWS);
}

#[test]
fn of_what_is_cut_from_a_row() {
    let row = rows::peaked(1025, 6);
    let new = SamplerChain::builder;
    // Some seconds in a debug build.
    let draws = DRAWS / if effort() == 1 && cfg!(debug_assertions) { 5 } else { 1 };
    check(new().temperature(1.7).top_p(0.9).dist(5), &row, draws);
    check(new().top_k(40).temperature(1.5).dist(6), &row, draws);
    check(new().top_n_sigma(2.5).temperature(1.5).dist(7), &row, draws);
}

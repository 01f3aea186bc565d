//! Equal logits: their order decides, and equals that of GCC's C++ library.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use super::rows::Random;
use super::*;

/// Returns rows in which many logits are equal.
fn tied(length: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random::new(seed);
    let mut steps = |count: usize, width: f32| -> Vec<f32> {
        (0..length).map(|_| random.below(count) as f32 * width - 3.0).collect()
    };
    let mut rows = vec![
        vec![0.0; length],
        vec![-2.5; length],
        steps(2, 1.0),
        steps(7, 0.5),
        steps(40, 0.25),
        steps(300, 0.03125),
        (0..length).map(|index| (index / 3) as f32 * 1e-3).collect(),
        (0..length).rev().map(|index| (index / 3) as f32 * 1e-3).collect(),
        (0..length).map(|index| if index % 2 == 0 { 0.0 } else { -0.0 }).collect(),
    ];
    let gap = |(index, logit): (usize, &f32)| if index % 5 == 0 { *logit } else { f32::NEG_INFINITY };
    rows.push(rows[4].iter().enumerate().map(gap).collect());
    rows.extend([0.0, 12.0, -14.0].map(|mean| rounded(length, mean, seed)));
    rows
}

/// Returns a row like logits of half precision.
fn rounded(length: usize, mean: f32, seed: u64) -> Vec<f32> {
    rows::normal(length, mean, 2.5, seed).iter().map(|logit| (logit * 64.0).round() / 64.0).collect()
}

fn chains(seed: u32) -> Vec<SamplerChainBuilder> {
    let new = SamplerChain::builder;
    vec![
        new().greedy(),
        new().dist(seed),
        new().top_k(1).dist(seed),
        new().top_k(40).dist(seed),
        new().top_k(128).dist(seed),
        new().top_k(129).dist(seed),
        new().top_k(1000).dist(seed),
        new().temperature(0.7).top_k(500).dist(seed),
        new().temperature(1.3).top_p(0.5).dist(seed),
        new().top_n_sigma(1.5).top_k(300).dist(seed),
        new().top_p(0.05).dist(seed),
        new().top_p(0.7).dist(seed),
        new().min_p(0.3).dist(seed),
        new().min_p(0.3).top_k(40).dist(seed),
        new().min_p(0.3).top_p(0.5).dist(seed),
        new().top_n_sigma(1.0).top_k(40).dist(seed),
        new().top_n_sigma(0.5).top_p(0.5).dist(seed),
        new().top_k(200).temperature(0.7).penalties(equality::penalties()).top_p(0.8).dist(seed),
        new().temperature(0.3).top_k(50).dist(seed),
        new().xtc(0.7, 0.01, seed).dist(seed),
        new().temperature(3e5).top_k(50).dist(seed),
        new().temperature(1e30).top_k(50).dist(seed),
        new().temperature(1e30).greedy(),
        new().temperature(0.0).top_k(50).top_p(0.9).dist(seed),
    ]
}

#[test]
fn equal_logits_are_ordered_as_in_the_chain() {
    for (length, rounds) in [(10, 4), (100, 3), (700, 1), (5000, 1), (20_000, 1)] {
        for round in 0..rounds * effort() {
            let rows = tied(length, round as u64);
            for chain in chains(u32::try_from(round).unwrap()) {
                let mut pair = Pair::of(chain);
                pair.check_all(&rows);
                pair.check_all(&rows);
            }
        }
    }
}

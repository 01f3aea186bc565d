//! The usual chains, on rows as long as the vocabularies of real models.

use super::*;
use llama_core::sampler::{Penalties, Xtc};

pub(crate) const VOCABULARIES: [usize; 4] = [32_000, 49_152, 151_936, 262_144];

fn temperatures() -> [f32; 5] {
    [0.0, 0.3, 0.8, 1.0, 2.0]
}

pub(crate) fn penalties() -> Penalties {
    Penalties::default().last_n(16).repeat(1.2).frequency(0.1).presence(0.3)
}

/// Returns the usual chains, and single samplers on the whole row.
fn usual(temperature: f32, seed: u32) -> Vec<SamplerChainBuilder> {
    let new = SamplerChain::builder;
    vec![
        new().greedy(),
        new().top_k(40).top_p(0.95).min_p(0.05).temperature(temperature).dist(seed),
        new().penalties(penalties()).top_k(40).top_p(0.95).min_p(0.05).temperature(temperature).dist(seed),
        new().temperature(temperature).top_p(0.9).dist(seed),
        new().top_p(0.6).temperature(temperature).dist(seed),
        new().min_p(0.02).temperature(temperature).dist(seed),
        new().temperature(temperature).min_p(0.1).dist(seed),
        new().temperature(temperature).top_k(64).dist(seed),
        new().top_n_sigma(1.5).temperature(temperature).dist(seed),
        new().temperature(temperature).top_n_sigma(1.0).top_k(100).dist(seed),
        new().temperature(temperature).dist(seed),
        new().top_k(1000).top_p(0.99).dist(seed),
        new().top_k(300).xtc(0.5, 0.05, seed).temperature(temperature).dist(seed),
        new().temperature(temperature).greedy(),
    ]
}

#[test]
fn usual_chains() {
    for n_vocab in VOCABULARIES {
        for (round, temperature) in temperatures().iter().enumerate() {
            let rows: Vec<_> =
                (0..effort()).flat_map(|extra| rows::kinds(n_vocab, (round + 10 * extra) as u64)).collect();
            let chains = usual(*temperature, u32::try_from(round).unwrap());
            for (index, chain) in chains.into_iter().enumerate() {
                let mut pair = Pair::of(chain);
                // Without `effort`, each chain sees some of the rows, and all chains all of them.
                let skipped = (index + round) % 4;
                match effort() {
                    1 if n_vocab > 100_000 => pair.check_all(rows.iter().skip(skipped).step_by(8)),
                    1 => pair.check_all(rows.iter().skip(skipped).step_by(4)),
                    _ => pair.check_all(&rows),
                }
            }
        }
    }
}

#[test]
fn many_draws_from_one_row() {
    let row = rows::peaked(32_000, 7);
    let new = SamplerChain::builder;
    for chain in [
        new().top_k(40).top_p(0.95).min_p(0.05).temperature(1.2).dist(1),
        new().top_k(200).penalties(penalties()).temperature(1.5).dist(2),
        new().min_p(0.001).xtc(0.3, 0.1, 5).dist(3),
    ] {
        let mut pair = Pair::of(chain);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 * effort() {
            seen.insert(pair.check(&row));
        }
        assert!(seen.len() > 5, "{}", seen.len());
    }
}

#[test]
fn truncation_keeps_what_it_is_told_to() {
    let new = SamplerChain::builder;
    let keep = |samplers: [Sampler; 1]| builder(&samplers).dist(3);
    for length in [600, 5000] {
        let rows = rows::kinds(length, 3);
        for min_keep in [0, 2, 50, 300, 4000, 100_000] {
            for chain in [
                keep([Sampler::TopP { p: 0.3, min_keep }]),
                keep([Sampler::TopP { p: 0.0, min_keep }]),
                keep([Sampler::MinP { p: 0.4, min_keep }]),
                keep([Sampler::MinP { p: 1.0, min_keep }]),
                keep([Sampler::Xtc(Xtc::new(1.0, 0.01).min_keep(min_keep).seed(4))]),
                new().top_k(130).push(Sampler::MinP { p: 0.4, min_keep }).dist(8),
                new().top_k(30).push(Sampler::TopP { p: 0.4, min_keep }).dist(8),
                new().temperature(0.0).push(Sampler::TopP { p: 0.4, min_keep }).xtc(1.0, 0.1, 9).dist(8),
                new().temperature(0.0).push(Sampler::MinP { p: 0.4, min_keep }).xtc(1.0, 0.1, 9).dist(8),
            ] {
                let mut pair = Pair::of(chain);
                pair.check_all(&rows);
                pair.check_all(&rows);
            }
        }
    }
}

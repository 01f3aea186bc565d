//! Properties that hold for any row.

use super::*;
use proptest::prelude::*;

/// Generates logits, some of them masked, some equal.
fn logit() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -20.0_f32..20.0,
        2 => (-8_i8..8).prop_map(f32::from),
        1 => Just(f32::NEG_INFINITY),
        1 => prop::num::f32::NORMAL,
    ]
}

/// Generates rows long enough for both methods.
fn row() -> impl Strategy<Value = Vec<f32>> {
    let lengths = prop_oneof![1_usize..40, 1000_usize..3000];
    let row =
        (lengths, prop::collection::vec(logit(), 1..200), any::<u64>()).prop_map(|(length, some, seed)| {
            let mut random = rows::Random::new(seed);
            (0..length).map(|_| some[random.below(some.len())]).collect::<Vec<f32>>()
        });
    row.prop_filter("there is something to select", |row| row.iter().any(|logit| *logit > f32::NEG_INFINITY))
}

fn step() -> impl Strategy<Value = Sampler> {
    prop_oneof![
        (0_u32..60).prop_map(|k| Sampler::TopK { k }),
        (0.0_f32..1.0, 0_usize..20).prop_map(|(p, min_keep)| Sampler::TopP { p, min_keep }),
        (0.0_f32..1.0, 0_usize..20).prop_map(|(p, min_keep)| Sampler::MinP { p, min_keep }),
        prop_oneof![Just(0.0), 0.05_f32..3.0].prop_map(|temperature| Sampler::Temperature { temperature }),
        (0.0_f32..4.0).prop_map(|n| Sampler::TopNSigma { n }),
        (0.0_f32..1.0, 0.01_f32..0.6, any::<u32>()).prop_map(|(probability, threshold, seed)| {
            Sampler::Xtc(llama_core::sampler::Xtc::new(probability, threshold).min_keep(1).seed(seed))
        }),
        Just(Sampler::Penalties(equality::penalties())),
    ]
}

/// Returns the logits in falling order.
fn falling(row: &[f32]) -> Vec<f32> {
    let mut sorted = row.to_vec();
    sorted.sort_by(|left, right| right.total_cmp(left));
    sorted
}

fn selected(builder: SamplerChainBuilder, row: &[f32]) -> f32 {
    row[index(builder.build_row().unwrap().sample_row(row).unwrap())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_a_masked_token(
        row in row(), steps in prop::collection::vec(step(), 0..5), greedy: bool, seed: u32,
    ) {
        let chain = steps.iter().cloned().fold(SamplerChain::builder(), SamplerChainBuilder::push);
        let chain = if greedy { chain.greedy() } else { chain.dist(seed) };
        let mut sampler = chain.build_row().unwrap();
        for _ in 0..3 {
            // Penalties and division can make numbers infinite.
            if let Ok(token) = sampler.sample_row(&row) {
                prop_assert!(row[index(token)] > f32::NEG_INFINITY);
            }
        }
    }

    #[test]
    fn greedy_selects_the_first_of_the_largest(row in row()) {
        let mut sampler = SamplerChain::builder().greedy().build_row().unwrap();
        let found = index(sampler.sample_row(&row).unwrap());
        let largest = falling(&row)[0];
        prop_assert_eq!(Some(found), row.iter().position(|logit| *logit == largest));
    }

    #[test]
    fn never_outside_top_k(row in row(), k in 1_u32..60, seed: u32) {
        let found = selected(SamplerChain::builder().top_k(k).dist(seed), &row);
        let sorted = falling(&row);
        prop_assert!(found >= sorted[(k as usize).min(sorted.len()) - 1]);
    }

    #[test]
    fn the_mass_of_top_p_is_respected(row in row(), p in 0.01_f32..0.99, seed: u32) {
        let found = selected(SamplerChain::builder().top_p(p).dist(seed), &row);
        // Without what is less likely than the selected token, the sum is below p: it was needed.
        let largest = falling(&row)[0];
        let exponential = |logit: f32| (f64::from(logit) - f64::from(largest)).exp();
        let sum: f64 = row.iter().map(|logit| exponential(*logit)).sum();
        let above: f64 = row.iter().filter(|logit| **logit > found).map(|logit| exponential(*logit)).sum();
        prop_assert!(above / sum < f64::from(p) + 1e-3, "{} {p}", above / sum);
    }

    #[test]
    fn never_less_likely_than_min_p(row in row(), p in 0.01_f32..1.0, seed: u32) {
        let found = selected(SamplerChain::builder().min_p(p).dist(seed), &row);
        prop_assert!(found >= falling(&row)[0] + p.ln());
    }

    #[test]
    fn temperature_zero_is_greedy(row in row(), seed: u32) {
        let mut cold = SamplerChain::builder().temperature(0.0).dist(seed).build_row().unwrap();
        let mut greedy = SamplerChain::builder().greedy().build_row().unwrap();
        prop_assert_eq!(cold.sample_row(&row).unwrap(), greedy.sample_row(&row).unwrap());
    }
}

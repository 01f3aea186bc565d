//! Rows that no model should produce.

use super::*;

const NOT_NUMBERS: &str = "some logits are NaN: the computation before it went wrong";
const ALL_MASKED: &str = "no logit is above negative infinity: there is nothing to select from";
const NO_PROBABILITIES: &str = "the probabilities are NaN: the logits or the biases are too large";

fn chains() -> Vec<RowSampler> {
    let new = SamplerChain::builder;
    let chains = [
        new().greedy(),
        new().dist(1),
        new().top_k(40).top_p(0.95).min_p(0.05).temperature(0.8).dist(1),
        new().penalties(equality::penalties()).top_p(0.9).dist(1),
        new().top_n_sigma(1.0).dist(1),
        new().temperature(0.5).min_p(0.1).greedy(),
        new().temperature(0.0).dist(1),
        new().xtc(1.0, 0.1, 1).dist(1),
    ];
    chains.into_iter().map(|chain| chain.build_row().unwrap()).collect()
}

#[test]
fn nan_is_refused_wherever_it_is() {
    for length in [1, 17, 1024, 1025, 5000] {
        for place in [0, length / 2, length - 1] {
            for nan in [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)] {
                let mut row = rows::peaked(length, 3);
                row[place] = nan;
                for mut sampler in chains() {
                    assert_eq!(reason(sampler.sample_row(&row)), NOT_NUMBERS, "{length} {place} {sampler:?}");
                }
            }
        }
    }
}

#[test]
fn rows_without_candidates_are_refused() {
    for mut sampler in chains() {
        assert_eq!(reason(sampler.sample_row(&[])), "it has 0 logits");
        for length in [1, 2, 1024, 3000] {
            let error = reason(sampler.sample_row(&vec![f32::NEG_INFINITY; length]));
            let penalised = matches!(sampler.samplers()[0], Sampler::Penalties(_)) && length > 1024;
            assert_eq!(error, if penalised { "every candidate has been masked" } else { ALL_MASKED });
        }
    }
}

#[test]
fn rows_of_another_length_are_refused() {
    let model = vocabulary(100);
    let mut sampler =
        SamplerChain::builder().logit_bias(&model, [(token(1), 1.0)]).greedy().build_row().unwrap();
    assert_eq!(sampler.sample_row(&[0.0; 100]).unwrap(), token(1));
    for length in [0, 1, 99, 101, 5000] {
        let expected = format!(
            "it has {length} logits, but the sampler was made for a vocabulary of 100 tokens: use the same model"
        );
        assert_eq!(reason(sampler.sample_row(&vec![0.0; length])), expected);
    }
    for outside in [-1, 100, i32::MAX] {
        let error = sampler.accept(token(outside)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidToken { n_vocab: 100, .. }), "{error:?}");
    }
}

#[test]
fn infinite_logits_have_no_probabilities_but_a_largest() {
    for length in [3, 2000] {
        for place in [0, length - 1] {
            let mut row = rows::normal(length, 0.0, 1.0, 4);
            row[place] = f32::INFINITY;
            let expected = token(i32::try_from(place).unwrap());
            let new = SamplerChain::builder;
            for chain in [
                new().greedy(),
                new().top_k(1).dist(1),
                new().min_p(0.1).dist(1),
                new().temperature(0.5).greedy(),
                new().top_k(2).greedy(),
                new().penalties(equality::penalties()).greedy(),
            ] {
                assert_eq!(chain.build_row().unwrap().sample_row(&row).unwrap(), expected);
            }
            for chain in [new().dist(1), new().temperature(0.7).top_p(0.9).dist(1), new().top_k(2).dist(1)] {
                assert_eq!(reason(chain.build_row().unwrap().sample_row(&row)), NO_PROBABILITIES);
            }
        }
    }
}

#[test]
fn infinite_logits_that_a_bias_forbids_are_not_numbers() {
    for length in [100, 3000] {
        let model = vocabulary(length);
        let mut row = vec![0.0; length];
        row[7] = f32::INFINITY;
        let new = || SamplerChain::builder().top_k(0);
        let forbid =
            |chain: SamplerChainBuilder| chain.logit_bias(&model, [(token(7), f32::NEG_INFINITY)]).greedy();
        for chain in [forbid(new()), forbid(new().top_k(5))] {
            assert_eq!(reason(chain.build_row().unwrap().sample_row(&row)), NOT_NUMBERS);
        }
    }
}

#[test]
fn one_candidate_is_selected_whatever_the_samplers() {
    for length in [1, 900, 40_000] {
        for place in [0, length / 3, length - 1] {
            let mut row = vec![f32::NEG_INFINITY; length];
            for logit in [0.0, -1e30, 1e30, 1e-40] {
                row[place] = logit;
                for mut sampler in chains() {
                    let found = sampler.sample_row(&row);
                    assert_eq!(found.unwrap(), token(i32::try_from(place).unwrap()), "{logit} {sampler:?}");
                }
            }
        }
    }
}

#[test]
fn a_forbidden_first_candidate_is_passed_over() {
    for length in [50, 3000] {
        let model = vocabulary(length);
        let mut row = rows::normal(length, 0.0, 1.0, 8);
        row[5] = 20.0;
        let forbid = [(token(5), f32::NEG_INFINITY)];
        let builder = SamplerChain::builder().top_k(3).logit_bias(&model, forbid).dist(1);
        // The chain compares all with the first.
        assert!(builder.clone().build().unwrap().sample_logits(&row).is_err());
        let mut sampler = builder.build_row().unwrap();
        for _ in 0..50 {
            let token = sampler.sample_row(&row).unwrap();
            assert!(token.get() != 5 && row[index(token)] > 1.5, "{token}");
        }
        let builder = SamplerChain::builder().top_k(1).logit_bias(&model, forbid).dist(1);
        assert_eq!(reason(builder.build_row().unwrap().sample_row(&row)), "every candidate has been masked");
    }
}

#[test]
fn the_largest_and_smallest_numbers() {
    for length in [40, 3000] {
        let mut row = vec![f32::MIN; length];
        row[2] = f32::MAX;
        for mut sampler in chains() {
            assert_eq!(sampler.sample_row(&row).unwrap(), token(2), "{sampler:?}");
        }
        // Dividing makes both infinite.
        let chain = SamplerChain::builder().temperature(1e-5).dist(1);
        assert_eq!(reason(chain.build_row().unwrap().sample_row(&row)), NO_PROBABILITIES);
    }
}

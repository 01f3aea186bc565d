//! Every subset of the samplers, in llama.cpp's order and in others.

use super::equality::penalties;
use super::rows::Random;
use super::*;
use llama_core::sampler::Xtc;

/// Returns all samplers that do not select, in the order of llama.cpp's own programs.
fn samplers(model: &Model, random: &mut Random) -> [Sampler; 8] {
    let n_vocab = model.vocab().n_tokens();
    let mut biases: BTreeMap<Token, f32> = BTreeMap::new();
    for bias in [f32::NEG_INFINITY, -3.0, 2.0, 9.5] {
        biases.insert(token(i32::try_from(random.below(n_vocab)).unwrap()), bias);
    }
    let of = |random: &mut Random, values: &[f32]| values[random.below(values.len())];
    [
        Sampler::Penalties(penalties()),
        Sampler::LogitBias { model: model.clone(), biases: biases.into_iter().collect() },
        Sampler::TopNSigma { n: of(random, &[0.5, 1.0, 3.0]) },
        Sampler::TopK { k: [1, 5, 40, 128, 129, 500][random.below(6)] },
        Sampler::TopP { p: of(random, &[0.1, 0.5, 0.9, 0.95, 0.999]), min_keep: [1, 10][random.below(2)] },
        Sampler::MinP { p: of(random, &[0.001, 0.05, 0.5]), min_keep: [1, 10][random.below(2)] },
        Sampler::Xtc(Xtc::new(0.5, of(random, &[0.02, 0.1, 0.3])).min_keep(1).seed(6)),
        Sampler::Temperature { temperature: of(random, &[0.0, 0.2, 0.7, 1.0, 1.3, 2.0]) },
    ]
}

fn subset(samplers: &[Sampler], number: usize) -> Vec<Sampler> {
    let chosen = samplers.iter().enumerate().filter(|(index, _)| number & (1 << index) != 0);
    let mut chosen: Vec<_> = chosen.map(|(_, sampler)| sampler.clone()).collect();
    let seed = u32::try_from(number).unwrap();
    chosen.push(if number % 7 == 6 { Sampler::Greedy } else { Sampler::Dist { seed: seed.into() } });
    chosen
}

/// Checks the subset on some rows, other ones than the last subset had.
fn check(samplers: &[Sampler], rows: &[Vec<f32>], random: &mut Random, count: usize) {
    let mut pair = Pair::new(samplers);
    pair.bias_may_come_late = true;
    let (first, step) = (random.below(rows.len()), 1 + random.below(rows.len() - 1));
    pair.check_all((0..count).map(|index| &rows[(first + index * step) % rows.len()]));
}

#[test]
fn every_subset_in_the_usual_order() {
    for (length, count) in [(500, 6), (32_000, 2)] {
        let mut random = Random::new(11);
        let model = vocabulary(length);
        let rows = rows::kinds(length, 21);
        for number in 0..256 {
            let samplers = samplers(&model, &mut random);
            check(&subset(&samplers, number), &rows, &mut random, count * effort());
        }
    }
}

#[test]
fn subsets_in_other_orders() {
    for (length, tries) in [(300, 400), (3000, 300), (32_000, 60)] {
        let mut random = Random::new(12);
        let model = vocabulary(length);
        let rows = rows::kinds(length, 22);
        for _ in 0..tries * effort() {
            let mut samplers = samplers(&model, &mut random).to_vec();
            for index in (1..samplers.len()).rev() {
                samplers.swap(index, random.below(index + 1));
            }
            let number = random.below(256);
            check(&subset(&samplers, number), &rows, &mut random, 4);
        }
    }
}

#[test]
fn samplers_more_than_once() {
    let mut random = Random::new(13);
    let model = vocabulary(4000);
    let rows = rows::kinds(4000, 23);
    for _ in 0..200 * effort() {
        let mut all = samplers(&model, &mut random).to_vec();
        all.extend(samplers(&model, &mut random));
        let mut samplers: Vec<_> = (0..6).map(|_| all[random.below(all.len())].clone()).collect();
        samplers.push(Sampler::Dist { seed: 5.into() });
        check(&samplers, &rows, &mut random, 4);
    }
}

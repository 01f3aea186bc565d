//! Every seed reproduces, including `u32::MAX`, and a drawn seed is reported and reproduces.

use crate::greedy::{self, SEQ, load, params, tokens};
use llama_core::sampler::{SamplerChainBuilder, Seed};
use llama_core::{Context, Model, SamplerChain, Token};
use test_models::Tiny;

const SEEDS: [u32; 6] = [0, 1, 0x7fff_fffe, 0x7fff_ffff, u32::MAX - 1, u32::MAX];

/// A name, and the function that makes a chain from a seed.
type Kind = (&'static str, fn(&Model, Seed) -> SamplerChainBuilder);

/// The samplers that use random numbers, each in a chain.
const KINDS: [Kind; 5] = [
    ("dist", |_, seed| SamplerChain::builder().dist(seed)),
    ("xtc", |_, seed| SamplerChain::builder().xtc(0.5, 0.001, seed).greedy()),
    ("mirostat", |model, seed| SamplerChain::builder().mirostat(model, 5.0, 0.1, seed)),
    ("mirostat-v2", |_, seed| SamplerChain::builder().mirostat_v2(5.0, 0.1, seed)),
    ("adaptive-p", |_, seed| SamplerChain::builder().adaptive_p(0.3, 0.9, seed)),
];

/// Returns a row as long as the vocabulary of the tiny model. Probabilities fall with the rank, as those of words do.
fn row(model: &Model) -> Vec<f32> {
    let n_vocab = model.vocab().n_tokens();
    (0..n_vocab).map(|id| ((id * 7919 % n_vocab + 1) as f32).ln() * -1.1).collect()
}

fn draw(chain: &mut SamplerChain, row: &[f32]) -> Vec<Token> {
    (0..40).map(|_| chain.sample_logits(row).unwrap()).collect()
}

#[test]
fn every_seed_reproduces() {
    let model = load(Tiny::Llama);
    let row = row(&model);
    for (name, kind) in KINDS {
        let mut found = Vec::new();
        for seed in SEEDS {
            let built = || kind(&model, seed.into()).build().unwrap();
            let (mut first, mut second) = (built(), built());
            let tokens = draw(&mut first, &row);
            assert_eq!(draw(&mut second, &row), tokens, "{name} {seed}");
            assert_eq!(first.seed(), Some(seed), "{name}");
            first.reset().unwrap();
            assert_eq!(draw(&mut first, &row), tokens, "{name} {seed}");
            found.push(tokens);
        }
        // llama.cpp has no random numbers for u32::MAX: they are those of 2147483647.
        assert_eq!(found[5], found[3], "{name}");
        found.pop();
        let all = found.len();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), all, "{name}");
    }
}

#[test]
fn every_seed_reproduces_in_rows() {
    let model = load(Tiny::Llama);
    let row = row(&model);
    for (name, kind) in KINDS.into_iter().take(2) {
        for seed in SEEDS {
            let mut sampler = kind(&model, seed.into()).build_row().unwrap();
            let mut chain = kind(&model, seed.into()).build().unwrap();
            let expected = draw(&mut chain, &row);
            for _ in 0..2 {
                let tokens: Vec<_> = (0..40).map(|_| sampler.sample_row(&row).unwrap()).collect();
                assert_eq!(tokens, expected, "{name} {seed}");
                assert_eq!(sampler.seed(), Some(seed));
                sampler.reset();
            }
        }
    }
}

#[test]
fn a_drawn_seed_is_told_and_reproduces() {
    let model = load(Tiny::Llama);
    let row = row(&model);
    for (name, kind) in KINDS {
        let mut random = kind(&model, Seed::Random).build().unwrap();
        let other = kind(&model, Seed::Random).build().unwrap();
        let mut seeds = vec![random.seed().unwrap()];
        assert_ne!(other.seed(), random.seed(), "{name}");
        for round in 0..3 {
            let seed = random.seed().unwrap();
            let mut again = kind(&model, seed.into()).build().unwrap();
            let mut copy = random.try_clone().unwrap();
            assert_eq!(copy.seed(), Some(seed));
            let tokens = draw(&mut random, &row);
            assert_eq!(draw(&mut again, &row), tokens, "{name} {round}");
            assert_eq!(draw(&mut copy, &row), tokens, "{name} {round}");
            random.reset().unwrap();
            seeds.push(random.seed().unwrap());
        }
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 4, "{name}: a reset draws another seed");
        assert!(!seeds.contains(&u32::MAX));
    }
}

#[test]
fn seeds_go_with_states_and_places() {
    let model = load(Tiny::Llama);
    let row = row(&model);
    let built = || SamplerChain::builder().temperature(0.9).dist(Seed::Random).build().unwrap();
    let (mut chain, source) = (built(), built());
    chain.copy_state_from(&source).unwrap();
    assert_eq!(chain.seed(), source.seed());
    let mut again = SamplerChain::builder().temperature(0.9).dist(source.seed()).build().unwrap();
    assert_eq!(draw(&mut chain, &row), draw(&mut again, &row));
    let seed = chain.seed();
    let xtc =
        llama_core::Sampler::Xtc(llama_core::sampler::Xtc::new(0.5, 0.001).min_keep(1).seed(Seed::Random));
    chain.insert(0, xtc).unwrap();
    assert_eq!(chain.seed(), seed, "that of the last sampler with random numbers");
    chain.replace(2, llama_core::Sampler::Greedy).unwrap();
    assert_ne!(chain.seed(), seed);
    assert!(chain.seed().is_some());
    chain.remove(0).unwrap();
    assert_eq!(chain.seed(), None);
}

#[test]
fn the_seeds_of_samplers_on_a_device_reproduce_too() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, "Hello world");
    let text = |context: &mut Context| -> Vec<Token> {
        context.memory().clear(false).unwrap();
        greedy::decode(context, &prompt, SEQ, 0);
        let mut found = vec![context.sample(prompt.len() - 1).unwrap()];
        while found.len() < 12 {
            greedy::decode(context, &found[found.len() - 1..], SEQ, prompt.len() + found.len() - 1);
            found.push(context.sample(0).unwrap());
        }
        found
    };
    let sampled = |seed: Seed| {
        let mut context = Context::new(&model, &params()).unwrap();
        let chain = SamplerChain::builder().top_k(40).dist(seed).build().unwrap();
        context.set_sampler(SEQ, chain).unwrap();
        context
    };
    let first = text(&mut sampled(u32::MAX.into()));
    assert_eq!(text(&mut sampled(u32::MAX.into())), first);
    let mut random = sampled(Seed::Random);
    for _ in 0..2 {
        let seed = random.sampler(SEQ).unwrap().seed().unwrap();
        let tokens = text(&mut random);
        assert_eq!(text(&mut sampled(seed.into())), tokens);
        random.sampler_mut(SEQ).unwrap().reset().unwrap();
        assert_ne!(random.sampler(SEQ).unwrap().seed(), Some(seed));
    }
}

//! Chains on the device, compared with chains on the CPU.

use std::cell::RefCell;

use crate::greedy;
use llama_core::sampler::{Candidates, DynamicTemperature};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

#[test]
fn greedy_on_the_device_is_the_largest_logit() {
    for tiny in
        [Tiny::Llama, Tiny::LlamaQ8, Tiny::Qwen2, Tiny::Qwen3Moe, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba]
    {
        let model = load(tiny);
        let expected = greedy::fresh_continuation(&model, &tokens(&model, PROMPT), 12);
        let mut context = sampling(&model, SamplerChain::builder().greedy());
        assert_eq!(sampled_text(&mut context, 12), expected, "{}", tiny.name());
    }
}

#[test]
fn random_numbers_and_penalties_are_those_of_the_cpu() {
    let model = load(Tiny::Llama);
    let penalties = Penalties::default().last_n(16).repeat(1.3).frequency(0.2).presence(0.1);
    for builder in [
        SamplerChain::builder().dist(42),
        SamplerChain::builder().temperature(0.7).dist(1),
        SamplerChain::builder().penalties(penalties).temperature(0.5).dist(7),
        SamplerChain::builder().penalties(penalties).greedy(),
        SamplerChain::builder().top_p(0.9).temperature(0.5).dist(7),
        SamplerChain::builder().min_p(0.3).dist(9),
        SamplerChain::builder().temperature(0.0).dist(9),
        SamplerChain::builder().logit_bias(&model, [(Token::new(77), 9.0), (Token::new(5), -1.0)]).dist(3),
    ] {
        let expected = cpu_text(&model, builder.clone(), 30);
        let mut context = sampling(&model, builder.clone());
        assert_eq!(sampled_text(&mut context, 30), expected, "{builder:?}");
        // All of it was done there.
        let chain = context.sampler(SEQ).unwrap();
        assert_eq!(chain.n_on_device(), chain.len());
        assert!(chain.names().iter().all(|name| name.starts_with('+')), "{:?}", chain.names());
    }
}

#[test]
fn real_text_is_that_of_the_cpu() {
    let model = greedy::load_smollm2();
    let penalties = Penalties::default().last_n(64).repeat(1.1).frequency(0.0).presence(0.0);
    let builder =
        SamplerChain::builder().penalties(penalties).top_k(40).top_p(0.95).temperature(0.8).dist(42);
    let expected = cpu_text(&model, builder.clone(), 16);
    assert_eq!(sampled_text(&mut sampling(&model, builder), 16), expected);
}

#[test]
fn what_is_left_is_read_back() {
    let model = load(Tiny::Llama);
    let n_vocab = model.vocab().n_tokens();
    let prompt = tokens(&model, PROMPT);
    let mut plain = Context::new(&model, &params()).unwrap();
    let row = greedy::logits_after(&mut plain, &prompt, SEQ, 0);

    let mut context = sampling(&model, SamplerChain::builder().greedy());
    greedy::decode(&mut context, &prompt, SEQ, 0);
    let sampled = context.sampled(prompt.len() - 1).unwrap();
    assert_eq!(sampled.logits(), row);
    assert_eq!(sampled.tokens().len(), n_vocab);
    assert!((0..).zip(sampled.tokens()).all(|(id, token)| token.get() == id));
    assert_eq!(sampled.probabilities(), None);
    assert_eq!(sampled.token(), Some(plain.logits(prompt.len() - 1).unwrap().argmax()));

    let mut context = sampling(&model, SamplerChain::builder().top_k(5).dist(1));
    greedy::decode(&mut context, &prompt, SEQ, 0);
    let sampled = context.sampled(prompt.len() - 1).unwrap();
    let candidates: Vec<Candidate> = sampled.iter().collect();
    let best = applied(SamplerChain::builder().top_k(5).greedy(), &row);
    assert_eq!(candidates.len(), 5);
    let total: f32 = sampled.probabilities().unwrap().iter().sum();
    assert!((total - 1.0).abs() < 1e-6, "{total}");
    for (token, logit) in best {
        assert!(candidates.iter().any(|it| it.token == token && it.logit.to_bits() == logit.to_bits()));
    }
    let token = sampled.token().unwrap();
    assert!(candidates.iter().any(|candidate| candidate.token == token));
    assert_eq!(context.sample(prompt.len() - 1).unwrap(), token);
}

/// Returns the candidates that a chain on the CPU leaves of a row.
fn applied(builder: SamplerChainBuilder, row: &[f32]) -> Vec<(Token, f32)> {
    let mut candidates = Candidates::from_logits(row);
    built(builder).apply(&mut candidates).unwrap();
    left(candidates.as_slice().iter().copied())
}

/// Returns the unmasked candidates by token.
fn left(candidates: impl Iterator<Item = Candidate>) -> Vec<(Token, f32)> {
    let mut left: Vec<_> = candidates
        .filter(|candidate| candidate.logit > f32::NEG_INFINITY)
        .map(|candidate| (candidate.token, candidate.logit))
        .collect();
    left.sort_by_key(|(token, _)| *token);
    left
}

#[test]
fn samplers_without_a_device_go_on_where_the_others_ended() {
    let model = load(Tiny::Llama);
    let n_vocab = model.vocab().n_tokens();
    let cases = [
        (SamplerChain::builder().top_k(30).typical_p(0.8).xtc(0.5, 0.05, 3).dist(1), 1),
        (SamplerChain::builder().temperature(0.8).top_k(30).top_p(0.9).mirostat_v2(5.0, 0.1, 1), 3),
        // Two lists are as many as the graph can be made with.
        (SamplerChain::builder().top_k(30).top_k(20).top_k(10).dist(1), 2),
        (SamplerChain::builder().top_k(30).logit_bias(&model, [(Token::new(3), 1.0)]).dist(1), 1),
        (SamplerChain::builder().min_p(1.0).dist(1), 0),
        (SamplerChain::builder().temperature(0.5).min_p(0.95).dist(1), 1),
        (SamplerChain::builder().push(Sampler::TopP { p: 0.9, min_keep: 7 }).dist(1), 0),
        (SamplerChain::builder().top_p(0.9).temperature_ext(1.0, 0.5, 1.0).dist(1), 1),
        (SamplerChain::builder().top_k(1).temperature_ext(1.0, 0.5, 1.0).dist(1), 1),
        (SamplerChain::builder().temperature_ext(1.0, 0.5, 1.0).dist(1), 2),
        (SamplerChain::builder().top_k(0).top_p(1.0).min_p(0.0).typical_p(1.0).greedy(), 5),
        (SamplerChain::builder().top_k(u32::MAX).greedy(), 2),
        (SamplerChain::builder().grammar(&model, "root ::= [a-z]+", "root").top_k(3).greedy(), 0),
    ];
    for (builder, n) in cases {
        let mut context = Context::new(&model, &params()).unwrap();
        let chain = built(builder.clone());
        assert_eq!(context.n_samplers_for_device(&chain), n, "{builder:?}");
        if n == 0 {
            let error = context.set_sampler(SEQ, chain).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
            continue;
        }
        context.set_sampler(SEQ, chain).unwrap();
        let chain = context.sampler(SEQ).unwrap();
        assert_eq!((chain.n_on_device(), chain.names().len()), (n, chain.len()));
        for token in sampled_text(&mut context, 8) {
            assert!(usize::try_from(token.get()).unwrap() < n_vocab);
        }
    }
}

/// Generates a sampler that a device could run, with values of all kinds.
fn any_sampler(model: Model) -> impl Strategy<Value = Sampler> {
    let p = prop_oneof![Just(0.0_f32), Just(1.0), 0.0_f32..1.0];
    let keep = prop_oneof![9 => Just(1_usize), 1 => 0_usize..20];
    let temperature = prop_oneof![Just(0.0_f32), Just(1.0), 1e-5_f32..3.0];
    let id = 0..i32::try_from(model.vocab().n_tokens()).unwrap();
    let bias = prop_oneof![Just(f32::NEG_INFINITY), -9.0_f32..9.0, Just(50.0)];
    prop_oneof![
        prop_oneof![Just(1), 0_u32..600, any::<u32>()].prop_map(|k| Sampler::TopK { k }),
        (p.clone(), keep.clone()).prop_map(|(p, min_keep)| Sampler::TopP { p, min_keep }),
        (p.clone(), keep).prop_map(|(p, min_keep)| Sampler::MinP { p, min_keep }),
        temperature.clone().prop_map(|temperature| Sampler::Temperature { temperature }),
        (temperature, 0.0_f32..2.0, 0.0_f32..3.0).prop_map(|(temperature, delta, exponent)| {
            Sampler::DynamicTemperature(
                DynamicTemperature::default().temperature(temperature).delta(delta).exponent(exponent),
            )
        }),
        (prop_oneof![0_u32..40, Just(5000)], 0.1_f32..3.0, -2.0_f32..2.0, -2.0_f32..2.0).prop_map(
            |(last_n, repeat, frequency, presence)| {
                Sampler::Penalties(
                    Penalties::default()
                        .last_n(last_n)
                        .repeat(repeat)
                        .frequency(frequency)
                        .presence(presence),
                )
            }
        ),
        proptest::collection::vec((id, bias), 0..4).prop_map(move |biases| {
            let mut biases: Vec<_> = biases.into_iter().map(|(id, bias)| (Token::new(id), bias)).collect();
            biases.sort_by_key(|(token, _)| *token);
            biases.dedup_by_key(|(token, _)| *token);
            Sampler::LogitBias { model: model.clone(), biases }
        }),
    ]
}

/// Any chain leaves the same candidates on the device as on the CPU, without an assertion.
#[test]
fn random_chains_leave_what_they_leave_on_the_cpu() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, PROMPT);
    let mut plain = Context::new(&model, &params()).unwrap();
    let row = greedy::logits_after(&mut plain, &prompt, SEQ, 0);
    // Which of equal candidates are kept is another matter.
    let tied = (0_u16..).map(f32::from).zip(&row).zip(0..).filter(|((_, logit), _)| **logit == 0.0);
    let biases: Vec<_> = tied.map(|((n, _), id)| (Token::new(id), n / -150.0 - 0.005)).collect();
    let without_ties = Sampler::LogitBias { model: model.clone(), biases };
    let shared = RefCell::new(Context::new(&model, &params()).unwrap());
    let chains = (proptest::collection::vec(any_sampler(model.clone()), 0..6), any::<bool>());
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    // The same chains in every run: what is compared is rounded, and random chains would be off now and then.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&chains, |(samplers, chance)| {
        let mut context = shared.borrow_mut();
        let start = SamplerChain::builder().push(without_ties.clone());
        let builder = samplers.iter().cloned().fold(start, SamplerChainBuilder::push);
        let mut cpu = built(if chance { builder.dist(5) } else { builder.greedy() });
        cpu.accept_prompt(&prompt).unwrap();
        let n = context.n_samplers_for_device(&cpu);
        if n == 0 {
            return Ok(());
        }
        context.set_sampler(SEQ, cpu.try_clone().unwrap()).unwrap();
        context.memory().seq_rm(SEQ, ..).unwrap();
        greedy::decode(&mut context, &prompt, SEQ, 0);
        // The samplers of the device alone, and one that selects and changes nothing.
        let mut same = cpu.try_clone().unwrap();
        while same.len() > n + 1 {
            same.remove(n).unwrap();
        }
        same.replace(same.len() - 1, Sampler::Greedy).unwrap();
        let mut candidates = Candidates::from_logits(&row);
        same.apply(&mut candidates).unwrap();
        let expected = left(candidates.as_slice().iter().copied());
        let found = left(context.sampled(prompt.len() - 1).unwrap().iter());
        assert_alike(&found, &expected);
        match context.sample(prompt.len() - 1) {
            Ok(token) => prop_assert!(expected.iter().any(|(left, _)| *left == token)),
            // Biases divided by a low temperature are too large for the exponential function.
            Err(_) => prop_assert!(cpu.sample_logits(&row).is_err()),
        }
        prop_assert!(!context.is_poisoned());
        Ok(())
    });
    result.unwrap();
}

/// Asserts equal tokens, except for one at the edge of the kept ones, and equal logits except for rounding, which a
/// low temperature magnifies.
#[track_caller]
fn assert_alike(found: &[(Token, f32)], expected: &[(Token, f32)]) {
    let logit_of = |all: &[(Token, f32)], token| all.iter().find(|it| it.0 == token).map(|it| it.1);
    let missing = expected.iter().filter(|(token, _)| logit_of(found, *token).is_none()).count();
    let added = found.iter().filter(|(token, _)| logit_of(expected, *token).is_none()).count();
    assert!(missing + added <= 1, "{missing} are missing and {added} are new of {}", expected.len());
    for (token, logit) in found {
        let Some(expected) = logit_of(expected, *token) else { continue };
        let tolerance = 1e-3_f32.max(expected.abs() * 2e-2);
        assert!((logit - expected).abs() <= tolerance, "{token}: {logit} and {expected}");
    }
}

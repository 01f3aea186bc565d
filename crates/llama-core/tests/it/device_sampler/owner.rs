//! The ownership of samplers, and the state in which they are returned.

use crate::greedy;
use llama_core::sampler::{CandidatesMut, CustomSampler, LazyTriggers};

use super::*;

#[test]
fn sampler_comes_back_in_the_state_that_it_is_in() {
    let model = load(Tiny::Llama);
    let penalties = Penalties::default().last_n(32).repeat(1.4).frequency(0.3).presence(0.2);
    let chain =
        || SamplerChain::builder().penalties(penalties).temperature(0.6).top_k(64).top_p(0.9).dist(11);
    let expected = cpu_text(&model, chain(), 20);
    // The list of top-k is in another order, but sorted again by top-p.
    let mut context = sampling(&model, chain());
    let prompt = tokens(&model, PROMPT);
    let found = sampled_text(&mut context, 10);
    assert_eq!(found, expected[..10]);
    let copy = context.sampler(SEQ).unwrap().try_clone().unwrap();
    let mut own = context.remove_sampler(SEQ).unwrap().unwrap();
    assert!(context.remove_sampler(SEQ).unwrap().is_none());
    assert!(context.sampler(SEQ).is_none() && context.sampler_mut(SEQ).is_none());
    assert_eq!((own.n_on_device(), own.names()), (0, copy.names()));
    assert_eq!(own.names(), ["penalties", "temp", "top-k", "top-p", "dist"]);
    // On the CPU, and then on the device again.
    let mut rest = found.clone();
    for step in 10..20 {
        if step == 15 {
            assert!(context.set_sampler(SEQ, own.try_clone().unwrap()).unwrap().is_none());
        }
        greedy::decode(&mut context, &rest[step - 1..step], SEQ, prompt.len() + step - 1);
        rest.push(if step < 15 { own.sample(&context, 0).unwrap() } else { context.sample(0).unwrap() });
    }
    assert_eq!(rest, expected);
}

#[test]
fn sampler_is_told_of_tokens_reset_and_replaced() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, PROMPT);
    let penalties = Penalties::default().last_n(8).repeat(1.0).frequency(0.0).presence(1000.0);
    let mut context = sampling(&model, SamplerChain::builder().penalties(penalties).greedy());
    let again = |context: &mut Context| {
        context.memory().seq_rm(SEQ, ..).unwrap();
        greedy::decode(context, &prompt, SEQ, 0);
        context.sample(prompt.len() - 1).unwrap()
    };
    let first = again(&mut context);
    let second = again(&mut context);
    assert_ne!(first, second);
    context.sampler_mut(SEQ).unwrap().reset().unwrap();
    assert_eq!(again(&mut context), first);
    context.sampler_mut(SEQ).unwrap().reset().unwrap();
    context.sampler_mut(SEQ).unwrap().accept_prompt(&[first]).unwrap();
    assert_eq!(again(&mut context), second);
    context.sampler_mut(SEQ).unwrap().reset().unwrap();
    context.sampler_mut(SEQ).unwrap().accept(first).unwrap();
    assert_eq!(again(&mut context), second);
    let n_vocab = i32::try_from(model.vocab().n_tokens()).unwrap();
    for id in [-1, n_vocab, i32::MAX] {
        let error = context.sampler_mut(SEQ).unwrap().accept(Token::new(id)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidToken { .. }), "{error:?}");
    }
    let before = context.set_sampler(SEQ, built(SamplerChain::builder().greedy())).unwrap().unwrap();
    assert_eq!(before.names(), ["penalties", "greedy"]);
    assert_eq!(again(&mut context), first);
    assert_eq!(context.sampler_mut(SEQ).unwrap().names(), ["+greedy"]);
}

/// Sets and removes chains between batches, at reused addresses.
#[test]
fn context_outlives_chains_and_chains_models() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, PROMPT);
    let expected = greedy::fresh_continuation(&model, &prompt, 1)[0];
    let mut context = Context::new(&model, &params().n_seq_max(3)).unwrap();
    let other = load(Tiny::Llama);
    for round in 0..12 {
        let id = seq(round % 3);
        let chain = SamplerChain::builder().logit_bias(&other, [(Token::new(0), 0.5)]).dist(1);
        drop(context.set_sampler(id, built(chain.clone())).unwrap());
        if round % 2 == 0 {
            drop(context.set_sampler(id, built(SamplerChain::builder().greedy())).unwrap().unwrap());
        }
        context.memory().seq_rm(id, ..).unwrap();
        greedy::decode(&mut context, &prompt, id, 0);
        let token = context.sample(prompt.len() - 1).unwrap();
        if round % 2 == 0 {
            assert_eq!(token, expected);
        } else {
            drop(context.remove_sampler(id).unwrap().unwrap());
        }
    }
    drop((model, other));
    let moved = std::thread::spawn(move || {
        context.memory().seq_rm(seq(1), ..).unwrap();
        greedy::decode(&mut context, &prompt, seq(1), 0);
        drop(context);
    });
    moved.join().unwrap();
}

#[test]
fn clone_of_a_context_has_no_samplers() {
    let model = load(Tiny::Llama);
    let mut context = sampling(&model, SamplerChain::builder().greedy());
    sampled_text(&mut context, 2);
    let clone = context.try_clone().unwrap();
    assert!(clone.sampler(SEQ).is_none());
}

#[derive(Clone)]
struct Panics;

impl CustomSampler for Panics {
    fn name(&self) -> &str {
        "panics"
    }

    fn apply(&mut self, _: &mut CandidatesMut<'_>) {
        panic!("as it says");
    }
}

#[test]
fn panic_of_a_custom_sampler_leaves_the_context_usable() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, PROMPT);
    let mut context = sampling(&model, SamplerChain::builder().top_k(4).custom(Panics).greedy());
    greedy::decode(&mut context, &prompt, SEQ, 0);
    for _ in 0..2 {
        let sample = std::panic::AssertUnwindSafe(|| context.sample(prompt.len() - 1));
        let payload = std::panic::catch_unwind(sample).unwrap_err();
        assert_eq!(*payload.downcast_ref::<&str>().unwrap(), "as it says");
    }
    let mut chain = context.remove_sampler(SEQ).unwrap().unwrap();
    chain.remove(1).unwrap();
    context.set_sampler(SEQ, chain).unwrap();
    context.memory().seq_rm(SEQ, ..).unwrap();
    let expected = greedy::fresh_continuation(&model, &prompt, 3);
    assert_eq!(sampled_text(&mut context, 3), expected);
}

/// Uses a chain whose second sampler finds on the CPU that the text after the trigger does not fit.
#[test]
fn sampler_that_cannot_go_on_is_reset_replaced_or_dropped() {
    let model = load(Tiny::Llama);
    let prompt = tokens(&model, PROMPT);
    let first = greedy::fresh_continuation(&model, &prompt, 1)[0];
    let triggers = LazyTriggers::default().tokens([first]);
    let builder = SamplerChain::builder()
        .top_k(40)
        .grammar_lazy(&model, "root ::= \"\\x01\"", "root", triggers)
        .greedy();
    let mut context = sampling(&model, builder.clone());
    greedy::decode(&mut context, &prompt, SEQ, 0);
    let refuse = |context: &mut Context| {
        let error = context.sample(prompt.len() - 1).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::DeadEnd { name: "grammar", .. }), "{error:?}");
    };
    refuse(&mut context);
    refuse(&mut context);
    context.sampler_mut(SEQ).unwrap().reset().unwrap();
    refuse(&mut context);
    assert!(context.remove_sampler(SEQ).is_err());
    assert!(context.sampler(SEQ).is_none());
    context.set_sampler(SEQ, built(builder)).unwrap();
    context.memory().seq_rm(SEQ, ..).unwrap();
    greedy::decode(&mut context, &prompt, SEQ, 0);
    refuse(&mut context);
    assert!(context.set_sampler(SEQ, built(SamplerChain::builder().greedy())).unwrap().is_none());
    context.memory().seq_rm(SEQ, ..).unwrap();
    greedy::decode(&mut context, &prompt, SEQ, 0);
    assert_eq!(context.sample(prompt.len() - 1).unwrap(), first);
}

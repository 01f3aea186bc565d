//! Changing chains, and copying their states.

use llama_core::sampler::{AdaptiveP, GrammarState, Xtc};

use super::*;

const ROW: [f32; 4] = [1.0, 4.0, 3.0, 2.0];

fn biased(model: &Model, id: i32, bias: f32) -> Sampler {
    Sampler::LogitBias { model: model.clone(), biases: vec![(token(id), bias)] }
}

#[test]
fn samplers_are_inserted_replaced_and_removed_and_the_others_keep_their_states() {
    let penalties = Penalties::default().last_n(8).repeat(1.0).frequency(0.0).presence(10.0);
    let mut chain = SamplerChain::builder().penalties(penalties).greedy().build().unwrap();
    assert_eq!(chain.sample_logits(&ROW).unwrap(), token(1));
    chain.insert(1, Sampler::TopK { k: 3 }).unwrap();
    chain.insert(0, Sampler::TopK { k: 0 }).unwrap();
    assert_eq!(chain.names(), ["?top-k", "penalties", "top-k", "greedy"]);
    assert_eq!(chain.sample_logits(&ROW).unwrap(), token(2));
    assert_eq!(chain.replace(3, Sampler::Dist { seed: 7.into() }).unwrap(), Sampler::Greedy);
    assert_eq!((chain.seed(), chain.len()), (Some(7), 4));
    assert_eq!(chain.replace(3, Sampler::Greedy).unwrap(), Sampler::Dist { seed: 7.into() });
    assert_eq!(chain.sample_logits(&ROW).unwrap(), token(3));
    assert_eq!(chain.remove(1).unwrap(), Sampler::Penalties(penalties));
    assert_eq!(chain.names(), ["?top-k", "top-k", "greedy"]);
    assert_eq!(chain.sample_logits(&ROW).unwrap(), token(1));
    let values: Vec<&str> = chain.samplers().iter().map(Sampler::name).collect();
    assert_eq!(values, ["top-k", "top-k", "greedy"]);
}

#[test]
fn what_would_not_be_a_chain_is_refused_and_changes_nothing() {
    let model = tiny();
    let mut chain = SamplerChain::builder().top_k(2).greedy().build().unwrap();
    for result in [
        chain.insert(3, Sampler::TopK { k: 1 }),
        chain.remove(2).map(drop),
        chain.replace(usize::MAX, Sampler::Greedy).map(drop),
    ] {
        let error = result.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidParameter(problem) if problem.name == "index"),
            "{error:?}"
        );
    }
    for result in [
        chain.insert(2, Sampler::TopK { k: 1 }),
        chain.insert(0, Sampler::Greedy),
        chain.remove(1).map(drop),
        chain.replace(1, Sampler::TopK { k: 1 }).map(drop),
        chain.replace(0, Sampler::TopP { p: f32::NAN, min_keep: 1 }).map(drop),
        chain.insert(0, Sampler::Infill { model: model.clone() }),
        chain.insert(0, biased(&model, -1, 0.0)),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidSamplers { .. }), "{error:?}");
    }
    // Refused by C, when the new sampler is made.
    let triggers = LazyTriggers::default().patterns(["(a"]);
    let grammar = Grammar::new(&model, "root ::= \"a\"", "root").triggers(triggers);
    assert!(chain.replace(0, Sampler::Grammar(grammar)).is_err());
    assert_eq!(chain.names(), ["top-k", "greedy"]);
    assert_eq!(chain.sample_logits(&ROW).unwrap(), token(1));
    assert!(!chain.is_poisoned());
}

#[test]
fn sampler_with_a_vocabulary_binds_the_chain_to_it() {
    let model = tiny();
    let mut chain = SamplerChain::builder().greedy().build().unwrap();
    assert_eq!(chain.sample_logits(&ROW).unwrap(), token(1));
    chain.insert(0, biased(&model, 1, -9.0)).unwrap();
    assert!(chain.sample_logits(&ROW).is_err());
    let mut row = vec![0.0; model.vocab().n_tokens()];
    row[..4].copy_from_slice(&ROW);
    assert_eq!(chain.sample_logits(&row).unwrap(), token(2));
    drop(model);
    chain.remove(0).unwrap();
    assert_eq!(chain.sample_logits(&row).unwrap(), token(1));
}

#[test]
fn grammar_is_added_and_taken_away_in_the_middle_of_a_text() {
    let model = tiny();
    let [a, x, open] = ["a", "x", "{"].map(|text| letter(&model, text));
    let row = row_for(&model, &[x, a]);
    let grammar = |triggers| {
        Sampler::Grammar(Grammar::new(&model, "root ::= \"{\" [ab]* \"}\"", "root").triggers(triggers))
    };
    let patterns = LazyTriggers::default().patterns(["(\\{)"]);
    let mut chain = SamplerChain::builder().greedy().build().unwrap();
    chain.insert(0, grammar(Some(patterns))).unwrap();
    assert_eq!(chain.grammar_state().unwrap(), Some(GrammarState::Waiting));
    assert_eq!(chain.sample_logits(&row).unwrap(), x);
    chain.accept(open).unwrap();
    assert_eq!(chain.grammar_state().unwrap(), Some(GrammarState::Incomplete));
    // Other samplers' coming and going is nothing to it.
    chain.insert(0, Sampler::TopK { k: 0 }).unwrap();
    assert_eq!(chain.sample_logits(&row).unwrap(), a);
    chain.remove(1).unwrap();
    assert_eq!(chain.grammar_state().unwrap(), None);
    assert_eq!(chain.sample_logits(&row).unwrap(), x);
    chain.insert(1, grammar(None)).unwrap();
    assert_eq!(chain.sample_logits(&row_for(&model, &[x, open])).unwrap(), open);
}

#[test]
fn state_is_copied_as_often_as_needed() {
    let model = tiny();
    let build = || {
        let penalties = Penalties::default().last_n(8).repeat(1.0).frequency(0.7).presence(0.0);
        SamplerChain::builder()
            .grammar(&model, "root ::= [a-z]*", "root")
            .penalties(penalties)
            .push(Sampler::Xtc(Xtc::new(0.5, 0.1).min_keep(1).seed(3)))
            .dist(9)
            .build()
            .unwrap()
    };
    let row = vec![0.0; model.vocab().n_tokens()];
    let draw = |chain: &mut SamplerChain, n: usize| -> Vec<Token> {
        (0..n)
            .map(|_| chain.sample_logits(&row).unwrap())
            .take_while(|it| !model.vocab().is_eog(*it))
            .collect()
    };
    let mut chain = build();
    draw(&mut chain, 5);
    let kept = chain.try_clone().unwrap();
    let first = draw(&mut chain, 20);
    for _ in 0..3 {
        chain.copy_state_from(&kept).unwrap();
        assert_eq!(draw(&mut chain, 20), first);
    }
    let mut other = SamplerChain::builder().dist(9).build().unwrap();
    let error = other.copy_state_from(&chain).unwrap_err();
    assert!(error.to_string().contains("differ: copy between a chain and its copies"), "{error}");
    assert!(!other.is_poisoned());
}

#[test]
fn state_is_not_copied_between_selecting_and_accepting() {
    let build = || SamplerChain::builder().top_k(3).adaptive_p(0.5, 0.9, 1).build().unwrap();
    let (mut source, mut target) = (build(), build());
    let candidates = applied(&mut source, &ROW);
    assert!(target.copy_state_from(&source).is_err());
    // A chain that lost the sampler in question has nothing to wait for.
    assert!(source.try_clone().is_err());
    source.remove(0).unwrap();
    assert!(source.try_clone().is_err());
    let again = Sampler::AdaptiveP(AdaptiveP::new(0.5, 0.9).seed(1));
    source.replace(0, again).unwrap();
    assert!(source.try_clone().is_ok());
    source.accept(token(selected(&candidates))).unwrap();
}

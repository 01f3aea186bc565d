//! Whether a grammar allows another token.

use super::*;

/// Returns whether the chain is finished before the text and after each of its letters.
fn states(grammar: &str, triggers: Option<LazyTriggers>, text: &str) -> Vec<bool> {
    let model = tiny();
    let builder = SamplerChain::builder().top_k(40);
    let builder = match triggers {
        None => builder.grammar(&model, grammar, "root"),
        Some(triggers) => builder.grammar_lazy(&model, grammar, "root", triggers),
    };
    let mut chain = builder.greedy().build().unwrap();
    let mut states = vec![chain.is_finished().unwrap()];
    for character in text.chars() {
        chain.accept(letter(&model, &character.to_string())).unwrap();
        states.push(chain.is_finished().unwrap());
    }
    states
}

#[test]
fn a_grammar_is_finished_when_nothing_can_follow() {
    assert_eq!(states(r#"root ::= "ab""#, None, "ab"), [false, false, true]);
    assert_eq!(states(r#"root ::= "a" | "ab""#, None, "ab"), [false, false, true], "the end or more");
    assert_eq!(states("root ::= [a-z]*", None, "ab"), [false, false, false], "there can always be more");
    assert_eq!(states(r#"root ::= """#, None, ""), [true], "nothing is allowed from the beginning");
}

#[test]
fn a_lazy_grammar_is_not_finished_before_its_trigger() {
    let triggers = LazyTriggers::default().words(["x"]);
    assert_eq!(states(r#"root ::= "x" "y""#, Some(triggers), "axy"), [false, false, false, true]);
}

#[test]
fn a_chain_without_a_grammar_is_never_finished() {
    let mut chain = SamplerChain::builder().greedy().build().unwrap();
    assert!(!chain.is_finished().unwrap());
}

#[test]
fn asking_changes_nothing() {
    let model = tiny();
    let mut chain =
        SamplerChain::builder().grammar(&model, r#"root ::= "ab""#, "root").greedy().build().unwrap();
    let row = vec![0.0; model.vocab().n_tokens()];
    let mut other = chain.try_clone().unwrap();
    for _ in 0..3 {
        chain.is_finished().unwrap();
        assert_eq!(chain.sample_logits(&row).unwrap(), other.sample_logits(&row).unwrap());
    }
}

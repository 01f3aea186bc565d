//! Grammars: allowed tokens, ends, and refusals.

use llama_core::sampler::{GrammarPosition, GrammarState};

use super::*;

#[test]
fn grammar_allows_nothing_else_and_then_the_end() {
    let model = tiny();
    let eos = model.vocab().eos().unwrap();
    let grammar = r#"root ::= "ab" [0-9] "c""#;
    let mut chain = SamplerChain::builder().grammar(&model, grammar, "root").dist(4).build().unwrap();
    for _ in 0..5 {
        let mut tokens = Vec::new();
        loop {
            let token = chain.sample_logits(&vec![0.0; model.vocab().n_tokens()]).unwrap();
            if model.vocab().is_eog(token) {
                break;
            }
            tokens.push(token);
        }
        let text = text_of(&model, &tokens);
        assert_eq!((text.len(), &text[..2], &text[3..]), (4, "ab", "c"));
        assert!(text.as_bytes()[2].is_ascii_digit());
        // After the end there is nothing but the end.
        assert!(chain.accept(eos).is_ok());
        chain.reset().unwrap();
    }
}

/// The three ends of a grammar have distinct types: finished, a dead end, and unreadable.
#[test]
fn finished_dead_end_and_unreadable_are_told_apart() {
    let model = tiny();
    let [a, b, x] = ["a", "b", "x"].map(|text| letter(&model, text));
    let build = |grammar| SamplerChain::builder().grammar(&model, grammar, "root").greedy().build();

    let mut chain = build(r#"root ::= "a" "b"?"#).unwrap();
    let row = row_for(&model, &[a, b]);
    assert_eq!(chain.grammar_state().unwrap(), Some(GrammarState::Incomplete));
    assert_eq!(chain.sample_logits(&row).unwrap(), a);
    assert_eq!(chain.grammar_state().unwrap(), Some(GrammarState::Complete));
    assert_eq!(chain.sample_logits(&row).unwrap(), b);
    assert_eq!(chain.grammar_state().unwrap(), Some(GrammarState::Finished));
    assert!(model.vocab().is_eog(chain.sample_logits(&row).unwrap()));
    assert_eq!(chain.grammar_state().unwrap(), Some(GrammarState::Finished));

    let mut chain = build(r#"root ::= "a""#).unwrap();
    let mut masked = vec![f32::NEG_INFINITY; row.len()];
    masked[index(x.get())] = 1.0;
    match chain.sample_logits(&masked).unwrap_err().kind() {
        ErrorKind::DeadEnd { name, .. } => assert_eq!(*name, "grammar"),
        other => panic!("{other:?}"),
    }
    assert_eq!(chain.sample_logits(&row).unwrap(), a);

    match build("root ::= \"a\" |\n  other").unwrap_err().kind() {
        ErrorKind::InvalidSamplers { problems, .. } => {
            assert_eq!(problems.len(), 1);
            assert_eq!((problems[0].index, problems[0].sampler), (0, "grammar"));
            assert!(matches!(problems[0].position, Some(GrammarPosition { line: 2, column: 3, .. })));
            assert_eq!(
                problems[0].to_string(),
                "the grammar is not valid: line 2, column 3: the rule `other` is not defined"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn state_is_that_of_all_grammars_together() {
    let model = tiny();
    let [a, b] = ["a", "b"].map(|text| letter(&model, text));
    let mut chain = SamplerChain::builder()
        .grammar(&model, "root ::= [ab]+", "root")
        .grammar(&model, "root ::= [bc]*", "root")
        .greedy()
        .build()
        .unwrap();
    assert_eq!(chain.grammar_state().unwrap(), Some(GrammarState::Incomplete));
    assert_eq!(chain.sample_logits(&row_for(&model, &[a, b])).unwrap(), b);
    assert_eq!(chain.grammar_state().unwrap(), Some(GrammarState::Complete));
    chain.insert(0, biased_to_nothing(&model)).unwrap();
    assert_eq!(chain.grammar_state().unwrap(), Some(GrammarState::Complete));
    let mut plain = SamplerChain::builder().greedy().build().unwrap();
    assert_eq!(plain.grammar_state().unwrap(), None);
}

fn biased_to_nothing(model: &Model) -> Sampler {
    Sampler::LogitBias { model: model.clone(), biases: Vec::new() }
}

#[test]
fn token_that_a_grammar_does_not_allow_is_refused_and_changes_nothing() {
    let model = tiny();
    let [a, b, x] = ["a", "b", "x"].map(|text| letter(&model, text));
    let mut chain =
        SamplerChain::builder().grammar(&model, r#"root ::= "ab""#, "root").greedy().build().unwrap();
    let error = chain.accept(x).unwrap_err();
    assert_eq!(error.to_string(), format!("sampler grammar: it does not allow token {x} (\"x\") here"));
    assert!(chain.accept(model.vocab().eos().unwrap()).is_err());
    chain.accept(a).unwrap();
    // The prompt is not the grammar's.
    chain.accept_prompt(&[x, x]).unwrap();
    chain.accept(b).unwrap();
    chain.accept(model.vocab().eos().unwrap()).unwrap();
    assert!(!chain.is_poisoned());
}

#[test]
fn dead_end_is_an_error_and_reset_begins_anew() {
    let model = tiny();
    let [a, x] = ["a", "x"].map(|text| letter(&model, text));
    let row = row_for(&model, &[x]);
    for build in
        [SamplerChain::builder().top_k(1), SamplerChain::builder().top_k(1).penalties(Penalties::default())]
    {
        let mut chain = build.grammar(&model, r#"root ::= "a""#, "root").dist(1).build().unwrap();
        let error = chain.sample_logits(&row).unwrap_err();
        assert!(
            error.to_string().starts_with("sampler grammar: no candidate fits the grammar here"),
            "{error}"
        );
        assert!(!chain.is_poisoned());
        chain.reset().unwrap();
        assert_eq!(chain.sample_logits(&row_for(&model, &[a])).unwrap(), a);
    }
}

#[test]
fn bad_grammars_are_refused_with_line_and_column() {
    let model = tiny();
    let build = |grammar: &str| SamplerChain::builder().grammar(&model, grammar, "root").greedy().build();
    for (grammar, reason) in [
        ("root ::= \"a\" |\n  other", "line 2, column 3: the rule `other` is not defined"),
        ("root = \"a\"", "line 1, column 6: expected `::=` after the name of the rule"),
        ("start ::= \"a\"", "the grammar has no root rule `root`"),
        ("", "the grammar has no rules"),
        ("root ::= root \"a\"", "the rule `root` is left-recursive: it can begin with itself without end"),
        (
            "root ::= \"a\"{5,2}",
            "line 1, column 13: repeats from 5 up to 2 times, but the second must not be less",
        ),
        ("root ::= <[999999]>", "line 1, column 10: token 999999 is out of range"),
        ("root ::= <no such token>", "line 1, column 10: <no such token> must be one token, but is"),
    ] {
        let text = sampler_error(build(grammar));
        let expected = format!("sampler grammar: the grammar is not valid: {reason}");
        assert!(text.starts_with(&expected), "{grammar}: {text}");
    }
    assert!(sampler_error(build("root ::= \"a\0\"")).contains("NUL byte at position 11"));
    // llama.cpp's own limit, in its own words.
    let mut chained = String::from("root ::= r0\n");
    for index in 0..300 {
        chained.push_str(&format!("r{index} ::= r{}\n", index + 1));
    }
    chained.push_str("r300 ::= \"x\"");
    let text = sampler_error(build(&chained));
    assert!(
        text.contains("llama.cpp: unsupported grammar: grammar rules are chained more than 256 levels"),
        "{text}"
    );
}

#[test]
fn grammar_names_tokens() {
    let model = tiny();
    let start = one(&model, "<|im_start|>");
    let mut chain = SamplerChain::builder()
        .grammar(&model, "root ::= <|im_start|> \"a\"", "root")
        .greedy()
        .build()
        .unwrap();
    assert_eq!(chain.sample_logits(&row_for(&model, &[letter(&model, "a"), start])).unwrap(), start);
    assert_eq!(
        chain.sample_logits(&row_for(&model, &[start, letter(&model, "a")])).unwrap(),
        letter(&model, "a")
    );
}

pub(crate) fn lazy(model: &Model, triggers: LazyTriggers) -> SamplerChain {
    let grammar = "root ::= \"{\" [ab]* \"}\"";
    SamplerChain::builder().grammar_lazy(model, grammar, "root", triggers).greedy().build().unwrap()
}

#[test]
fn lazy_grammar_holds_from_the_trigger_on() {
    let model = tiny();
    let [a, x, open] = ["a", "x", "{"].map(|text| letter(&model, text));
    let row = row_for(&model, &[x, a]);
    for triggers in [
        LazyTriggers::default().words(["{"]),
        LazyTriggers::default().patterns(["[\\s\\S]*?(\\{)"]),
        LazyTriggers::default().tokens([open]),
    ] {
        let mut chain = lazy(&model, triggers.clone());
        for _ in 0..20 {
            assert_eq!(chain.sample_logits(&row).unwrap(), x, "{triggers:?}");
        }
        let mut waiting = chain.try_clone().unwrap();
        chain.accept(open).unwrap();
        assert_eq!(chain.sample_logits(&row).unwrap(), a, "{triggers:?}");
        assert!(chain.accept(x).is_err());
        assert_eq!(waiting.sample_logits(&row).unwrap(), x, "{triggers:?}");
        chain.reset().unwrap();
        assert_eq!(chain.sample_logits(&row).unwrap(), x, "{triggers:?}");
    }
}

/// A token that does not fit after a trigger is a dead end until a reset. llama.cpp finds out by throwing, when a
/// part of the chain has accepted the token.
#[test]
fn misfit_after_a_trigger_is_a_dead_end_until_the_chain_is_reset() {
    let model = tiny();
    let [a, x, open] = ["a", "x", "{"].map(|text| letter(&model, text));
    let row = row_for(&model, &[x, a]);
    for triggers in [
        LazyTriggers::default().words(["a"]),
        LazyTriggers::default().patterns(["x*(a)"]),
        LazyTriggers::default().tokens([a]),
    ] {
        let mut chain = lazy(&model, triggers);
        let before = chain.try_clone().unwrap();
        chain.accept(x).unwrap();
        let results = [
            chain.accept(a),
            chain.accept(open),
            chain.accept_prompt(&[a]),
            chain.sample_logits(&row).map(drop),
            chain.grammar_state().map(drop),
            chain.try_clone().map(drop),
            chain.remove(0).map(drop),
        ];
        for result in results {
            let error = result.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::DeadEnd { name: "grammar", .. }), "{error:?}");
            assert!(
                error.to_string().contains("the text after the trigger does not fit the grammar"),
                "{error}"
            );
        }
        assert!(!chain.is_poisoned());
        chain.reset().unwrap();
        assert_eq!(chain.sample_logits(&row).unwrap(), x);
        chain.accept(a).unwrap_err();
        chain.copy_state_from(&before).unwrap();
        assert_eq!(chain.sample_logits(&row).unwrap(), x);
    }
}

#[test]
fn lazy_triggers_are_checked() {
    let model = tiny();
    let build = |triggers: LazyTriggers| {
        SamplerChain::builder().grammar_lazy(&model, "root ::= \"a\"", "root", triggers).greedy().build()
    };
    let none = sampler_error(build(LazyTriggers::default()));
    assert_eq!(
        none,
        "sampler grammar: there is no trigger, so the grammar would never be active: give a word, pattern or token"
    );
    let broken = LazyTriggers::default().patterns(["(a"]);
    let text = sampler_error(build(broken));
    assert!(text.contains("a trigger pattern must be a regular expression (C++, ECMAScript)"), "{text}");
    let bad = LazyTriggers::default()
        .words([String::new()])
        .patterns(["(".repeat(65), "x".repeat(5000), "a\0".to_owned()])
        .tokens([token(-1)]);
    let text = sampler_error(build(bad));
    for part in [
        "trigger word 0 is 0 bytes long, but must be from 1 to 256 bytes long",
        "trigger pattern 0 must have at most 64 groups",
        "trigger pattern 1 is 5000 bytes long",
        "trigger pattern 2 has a NUL byte at position 1",
        "token -1 is out of range",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Waiting for a pattern does not overflow a thread's small stack, as `std::regex` would after a few hundred of these
/// bytes.
#[test]
fn waiting_for_a_pattern_does_not_overflow_the_stack() {
    let model = tiny();
    let [a, x, open] = ["a", "x", "{"].map(|text| letter(&model, text));
    let pattern = "^(?:(?:(?:(?:a|b|x))))*(\\{)$".to_owned();
    let triggers = LazyTriggers::default().patterns([pattern]);
    let row = row_for(&model, &[x, a]);
    let run = move || {
        let mut chain = lazy(&model, triggers);
        for _ in 0..1500 {
            assert_eq!(chain.sample_logits(&row).unwrap(), x);
        }
        chain.accept(open).unwrap();
        assert_eq!(chain.sample_logits(&row).unwrap(), a);
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn waiting_for_a_pattern_has_a_limit_and_the_grammar_none() {
    let model = tiny();
    let [a, x, open] = ["a", "x", "{"].map(|text| letter(&model, text));
    // 512 MiB of stack are enough for few bytes of this.
    let pattern = format!("{}(\\{{)", "y|".repeat(2000));
    let triggers = LazyTriggers::default().patterns([pattern]).tokens([open]);
    let mut chain = lazy(&model, triggers);
    let results: Vec<_> = (0..600).map(|_| chain.accept(x)).collect();
    let accepted = results.iter().take_while(|result| result.is_ok()).count();
    assert!((100..600).contains(&accepted), "{accepted}");
    let error = results[accepted].as_ref().unwrap_err().to_string();
    assert!(error.contains("and the patterns cannot be searched in a longer text"), "{error}");
    assert!(!chain.is_poisoned());
    chain.reset().unwrap();
    chain.accept(open).unwrap();
    for _ in 0..600 {
        chain.accept(a).unwrap();
    }
    assert!(chain.accept(x).is_err());
}

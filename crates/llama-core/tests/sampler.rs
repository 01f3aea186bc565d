//! Sampler chains: what each sampler does to rows with known results, what is refused, and what happens when
//! llama.cpp fails.

use llama_core::{
    Batch, Candidates, Context, ContextParams, Dry, ErrorKind, Grammar, LazyTriggers, Mirostat, Model,
    ModelParams, Penalties, Pos, Sampler, SamplerChain, SeqId, Token, TokenizeOptions, Xtc,
};
use test_models::Tiny;

fn tiny() -> Model {
    Model::load(Tiny::Llama.path(), &ModelParams::default()).unwrap()
}

fn token(id: i32) -> Token {
    Token::new(id)
}

fn index(id: i32) -> usize {
    usize::try_from(id).unwrap()
}

/// Logits of these probabilities.
fn logits(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|p| p.ln()).collect()
}

fn applied(chain: &mut SamplerChain, row: &[f32]) -> Candidates {
    let mut candidates = Candidates::from_logits(row);
    chain.apply(&mut candidates).unwrap();
    candidates
}

fn ids(candidates: &Candidates) -> Vec<i32> {
    candidates.as_slice().iter().map(|candidate| candidate.token.get()).collect()
}

fn selected(candidates: &Candidates) -> i32 {
    candidates.selected().unwrap().token.get()
}

/// The token of a text that is one token.
fn one(model: &Model, text: &str) -> Token {
    let options = TokenizeOptions::default().add_special(false).parse_special(true);
    match model.vocab().tokenize(text, options).unwrap().as_slice() {
        [token] => *token,
        tokens => panic!("{text:?} is {tokens:?}"),
    }
}

/// The token of a letter or mark, without a space before it.
fn letter(model: &Model, text: &str) -> Token {
    let vocab = model.vocab();
    let all = (0..i32::try_from(vocab.n_tokens()).unwrap()).rev().map(Token::new);
    let is_text = |token: &Token| vocab.token_to_bytes(*token, false).unwrap() == text.as_bytes();
    all.into_iter().find(is_text).unwrap_or_else(|| panic!("no token {text:?}"))
}

fn text_of(model: &Model, tokens: &[Token]) -> String {
    let bytes: Vec<u8> =
        tokens.iter().flat_map(|token| model.vocab().token_to_bytes(*token, false).unwrap()).collect();
    String::from_utf8(bytes).unwrap()
}

/// A row for the model in which these tokens stand out, the first of them most.
fn row_for(model: &Model, tokens: &[Token]) -> Vec<f32> {
    let mut row = vec![0.0; model.vocab().n_tokens()];
    for (rank, token) in tokens.iter().enumerate() {
        row[index(token.get())] = 20.0 - rank as f32;
    }
    row
}

fn sampler_error(result: Result<SamplerChain, llama_core::Error>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Sampler { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn greedy_selects_the_first_of_the_largest() {
    let mut chain = SamplerChain::builder().greedy().build().unwrap();
    assert_eq!(selected(&applied(&mut chain, &[0.5, 2.0, -1.0, 2.0])), 1);
    assert_eq!(chain.sample_logits(&[0.5, 2.0, 7.0]).unwrap(), token(2));
    assert_eq!(chain.sample_logits(&[f32::NEG_INFINITY, -3.0]).unwrap(), token(1));
}

#[test]
fn top_k_keeps_k_sorted() {
    let mut chain = SamplerChain::builder().top_k(2).greedy().build().unwrap();
    let candidates = applied(&mut chain, &[1.0, 3.0, 2.0, 0.0]);
    assert_eq!(ids(&candidates), [1, 2]);
    assert!(candidates.is_sorted());
    // More than there are, past 128, where llama.cpp sorts by buckets, and all.
    let row: Vec<f32> = (0..1000_u16).map(|id| f32::from((id * 37) % 1000) / 50.0 - 9.0).collect();
    let mut by_logit: Vec<i32> = (0..1000).collect();
    by_logit.sort_by(|a, b| row[index(*b)].total_cmp(&row[index(*a)]));
    for (k, kept) in [(200_u32, 200), (5000, 1000), (u32::MAX, 1000)] {
        let mut chain = SamplerChain::builder().top_k(k).greedy().build().unwrap();
        assert_eq!(ids(&applied(&mut chain, &row)), by_logit[..kept], "{k}");
    }
    let mut off = SamplerChain::builder().top_k(0).greedy().build().unwrap();
    assert_eq!(applied(&mut off, &row).len(), 1000);
    assert_eq!(off.names(), ["?top-k", "greedy"]);
}

#[test]
fn top_p_keeps_the_mass() {
    let row = logits(&[0.1, 0.4, 0.3, 0.2]);
    for (p, kept) in
        [(0.0, vec![1]), (0.35, vec![1]), (0.6, vec![1, 2]), (0.85, vec![1, 2, 3]), (1.0, vec![0, 1, 2, 3])]
    {
        let mut chain = SamplerChain::builder().top_p(p).greedy().build().unwrap();
        assert_eq!(ids(&applied(&mut chain, &row)), kept, "{p}");
    }
    let chain = SamplerChain::builder().push(Sampler::TopP { p: 0.1, min_keep: 3 }).greedy().build();
    assert_eq!(ids(&applied(&mut chain.unwrap(), &row)), [1, 2, 3]);
}

#[test]
fn min_p_keeps_what_is_near_the_top() {
    let row = logits(&[0.1, 0.4, 0.3, 0.2]);
    for (p, kept) in [(0.0, vec![0, 1, 2, 3]), (0.45, vec![1, 2, 3]), (0.7, vec![1, 2]), (1.0, vec![1])] {
        let mut chain = SamplerChain::builder().min_p(p).greedy().build().unwrap();
        assert_eq!(ids(&applied(&mut chain, &row)), kept, "{p}");
    }
    let chain = SamplerChain::builder().push(Sampler::MinP { p: 0.9, min_keep: 2 }).greedy().build();
    assert_eq!(ids(&applied(&mut chain.unwrap(), &row)), [1, 2]);
}

#[test]
fn typical_prefers_the_expected_surprise() {
    // The entropy is 1.06 nats. The surprise of 0.2 is 1.61, of 0.6 is 0.51, of 0.15 is 1.90, of 0.05 is 3.0.
    let row = logits(&[0.2, 0.6, 0.15, 0.05]);
    for (p, kept) in [(0.1, vec![0]), (0.5, vec![0, 1]), (0.85, vec![0, 1, 2]), (1.0, vec![0, 1, 2, 3])] {
        let mut chain = SamplerChain::builder().typical_p(p).greedy().build().unwrap();
        assert_eq!(ids(&applied(&mut chain, &row)), kept, "{p}");
    }
    let chain = SamplerChain::builder().push(Sampler::Typical { p: 0.1, min_keep: 3 }).greedy().build();
    assert_eq!(ids(&applied(&mut chain.unwrap(), &row)), [0, 1, 2]);
    // Among many unlikely ones a likely token is not typical: 0.4, of surprise 0.92, at an entropy of 3.02.
    let flat: Vec<f32> = logits(&[vec![0.4], vec![0.012; 50]].concat());
    let mut chain = SamplerChain::builder().typical_p(0.3).greedy().build().unwrap();
    assert!(!ids(&applied(&mut chain, &flat)).contains(&0));
}

#[test]
fn temperature_divides_and_zero_is_greedy() {
    let mut chain = SamplerChain::builder().temperature(0.5).greedy().build().unwrap();
    let candidates = applied(&mut chain, &[1.0, 2.0, -3.0]);
    assert_eq!(candidates.as_slice().iter().map(|it| it.logit).collect::<Vec<_>>(), [2.0, 4.0, -6.0]);
    let mut chain = SamplerChain::builder().temperature(0.0).dist(1).build().unwrap();
    let candidates = applied(&mut chain, &[1.0, 2.0, 2.0, -3.0]);
    assert_eq!(selected(&candidates), 1);
    let masked = candidates.as_slice().iter().filter(|it| it.logit == f32::NEG_INFINITY).count();
    assert_eq!(masked, 3);
    for _ in 0..50 {
        assert_eq!(chain.sample_logits(&[1.0, 2.0, 2.0, -3.0]).unwrap(), token(1));
    }
}

#[test]
fn dynamic_temperature_follows_the_entropy() {
    // Two equal candidates have all the entropy there can be: the upper end.
    let mut chain = SamplerChain::builder().temperature_ext(1.0, 0.5, 1.0).greedy().build().unwrap();
    let candidates = applied(&mut chain, &[3.0, 3.0]);
    assert!(candidates.as_slice().iter().all(|it| (it.logit - 2.0).abs() < 1e-5), "{candidates:?}");
    // One candidate that has everything: the lower end, also where llama.cpp alone would divide by nothing
    // and select the least likely.
    let mut chain = SamplerChain::builder().temperature_ext(1.0, 0.5, 1.0).greedy().build().unwrap();
    let candidates = applied(&mut chain, &[60.0, 0.0]);
    assert!((candidates.as_slice()[0].logit - 120.0).abs() < 1e-2, "{candidates:?}");
    let mut chain = SamplerChain::builder().temperature_ext(1.0, 1.0, 1.0).dist(3).build().unwrap();
    for gap in [1.0, 20.0, 60.0, 80.0, 87.0, 90.0, 95.0, 100.0, 103.0, 120.0] {
        for _ in 0..20 {
            let drawn = chain.sample_logits(&[10.0 - gap, 10.0, 10.0 - gap]).unwrap();
            assert!(gap < 20.0 || drawn == token(1), "gap {gap}");
        }
    }
}

#[test]
fn dist_follows_the_probabilities_and_the_seed() {
    let row = logits(&[0.5, 0.3, 0.2]);
    let mut chain = SamplerChain::builder().dist(42).build().unwrap();
    let mut again = SamplerChain::builder().dist(42).build().unwrap();
    let mut other = SamplerChain::builder().dist(43).build().unwrap();
    let draw =
        |chain: &mut SamplerChain| (0..3000).map(|_| chain.sample_logits(&row).unwrap()).collect::<Vec<_>>();
    let first = draw(&mut chain);
    assert_eq!(first, draw(&mut again));
    assert_ne!(first, draw(&mut other));
    for (id, p) in [(0, 0.5), (1, 0.3), (2, 0.2)] {
        let share = first.iter().filter(|it| it.get() == id).count() as f64 / 3000.0;
        assert!((share - p).abs() < 0.03, "{id}: {share}");
    }
    chain.reset().unwrap();
    assert_eq!(first, draw(&mut chain));
    assert_eq!(chain.seed(), Some(42));
    let p: f32 = applied(&mut chain, &row).as_slice().iter().map(|it| it.p).sum();
    assert!((p - 1.0).abs() < 1e-5);
}

#[test]
fn random_seeds_are_drawn_and_told() {
    let chain = SamplerChain::builder().dist(SamplerChain::RANDOM_SEED).build().unwrap();
    let other = SamplerChain::builder().dist(SamplerChain::RANDOM_SEED).build().unwrap();
    assert_ne!(chain.seed().unwrap(), SamplerChain::RANDOM_SEED);
    assert_ne!(chain.seed(), other.seed());
    assert_eq!(SamplerChain::builder().greedy().build().unwrap().seed(), None);
}

#[test]
fn xtc_removes_the_top_choices() {
    let row = logits(&[0.15, 0.5, 0.3, 0.05]);
    // At least 0.1 are 0.5, 0.3 and 0.15: the least likely of them stays.
    let mut chain = SamplerChain::builder().xtc(1.0, 0.1, 7).greedy().build().unwrap();
    let candidates = applied(&mut chain, &row);
    assert_eq!(ids(&candidates), [0, 3]);
    assert_eq!(selected(&candidates), 0);
    let chain = Sampler::Xtc(Xtc { probability: 1.0, threshold: 0.1, min_keep: 3, seed: 7 });
    let mut chain = SamplerChain::builder().push(chain).greedy().build().unwrap();
    assert_eq!(ids(&applied(&mut chain, &row)), [1, 2, 0, 3]);
    let mut never = SamplerChain::builder().xtc(0.0, 0.1, 7).greedy().build().unwrap();
    assert_eq!(selected(&applied(&mut never, &row)), 1);
    let mut sometimes = SamplerChain::builder().xtc(0.5, 0.1, 7).greedy().build().unwrap();
    let removed = (0..1000).filter(|_| sometimes.sample_logits(&row).unwrap() == token(0)).count();
    assert!((430..570).contains(&removed), "{removed}");
}

#[test]
fn top_n_sigma_masks_what_is_far_below() {
    // Mean 2, standard deviation 4: 10 - 4 = 6.
    let row = [10.0, 0.0, 0.0, 0.0, 0.0];
    let mut chain = SamplerChain::builder().top_n_sigma(1.0).greedy().build().unwrap();
    let masked = |candidates: &Candidates| {
        candidates.as_slice().iter().map(|it| it.logit == f32::NEG_INFINITY).collect::<Vec<_>>()
    };
    assert_eq!(masked(&applied(&mut chain, &row)), [false, true, true, true, true]);
    let mut chain = SamplerChain::builder().top_n_sigma(3.0).greedy().build().unwrap();
    assert_eq!(masked(&applied(&mut chain, &row)), [false; 5]);
}

#[test]
fn mirostat_steers_the_surprise() {
    let model = tiny();
    let n_vocab = model.vocab().n_tokens();
    // Zipf's law, which mirostat assumes.
    let row: Vec<f32> = (1..=n_vocab).map(|rank| -(rank as f32).ln()).collect();
    let total: f32 = row.iter().map(|logit| logit.exp()).sum();
    let mean_surprise = |mut chain: SamplerChain| {
        let surprise = |token: Token| -((row[index(token.get())].exp() / total).log2());
        (0..2000).map(|_| surprise(chain.sample_logits(&row).unwrap())).sum::<f32>() / 2000.0
    };
    let low = mean_surprise(SamplerChain::builder().mirostat_v2(2.0, 0.1, 1).build().unwrap());
    let high = mean_surprise(SamplerChain::builder().mirostat_v2(4.0, 0.1, 1).build().unwrap());
    assert!(low < high - 1.0, "{low} {high}");
    let low = mean_surprise(SamplerChain::builder().mirostat(&model, 2.0, 0.1, 1).build().unwrap());
    let high = mean_surprise(SamplerChain::builder().mirostat(&model, 4.0, 0.1, 1).build().unwrap());
    assert!(low < high - 1.0, "{low} {high}");
    // One candidate is all there is to select, also for the estimate from neighbours.
    for mut chain in [
        SamplerChain::builder().mirostat(&model, 5.0, 0.1, 1).build().unwrap(),
        SamplerChain::builder().mirostat_v2(5.0, 0.1, 1).build().unwrap(),
    ] {
        let mut alone: Candidates = [(token(9), 1.5)].into_iter().collect();
        chain.apply(&mut alone).unwrap();
        assert_eq!(selected(&alone), 9);
    }
}

#[test]
fn adaptive_p_selects_near_the_target() {
    let row = logits(&[0.6, 0.25, 0.1, 0.05]);
    let mean = |target: f32| {
        let mut chain = SamplerChain::builder().adaptive_p(target, 0.9, 5).build().unwrap();
        let p = |token: Token| [0.6, 0.25, 0.1, 0.05][index(token.get())];
        (0..2000).map(|_| p(chain.sample_logits(&row).unwrap())).sum::<f32>() / 2000.0
    };
    let (low, high) = (mean(0.1), mean(0.55));
    assert!(low < 0.3 && high > 0.4, "{low} {high}");
}

#[test]
fn penalties_lower_what_has_occurred() {
    let penalties = Penalties { last_n: 2, repeat: 2.0, frequency: 0.25, presence: 0.5 };
    let mut chain = SamplerChain::builder().penalties(penalties).greedy().build().unwrap();
    for id in [3, 0, 0] {
        chain.accept(token(id)).unwrap();
    }
    // Token 3 is out of the last two. Twice token 0: 4 / 2 - 2 * 0.25 - 0.5.
    let after = |chain: &mut SamplerChain, row: &[f32]| {
        applied(chain, row).as_slice().iter().map(|it| it.logit).collect::<Vec<_>>()
    };
    assert_eq!(after(&mut chain, &[4.0, 2.0, 1.0, 3.0]), [1.0, 2.0, 1.0, 3.0]);
    assert_eq!(after(&mut chain, &[-1.0, 2.0, 1.0, 3.0]), [-3.0, 2.0, 1.0, 3.0]);
    chain.reset().unwrap();
    assert_eq!(after(&mut chain, &[4.0, 2.0, 1.0, 3.0]), [4.0, 2.0, 1.0, 3.0]);
    // Sampling accepts, once.
    assert_eq!(chain.sample_logits(&[4.0, 3.0, 0.0, 0.0]).unwrap(), token(0));
    assert_eq!(after(&mut chain, &[4.0, 3.0, 0.0, 0.0]), [1.25, 3.0, 0.0, 0.0]);
    chain.reset().unwrap();
    chain.accept_prompt(&[token(1), token(1), token(1)]).unwrap();
    assert_eq!(after(&mut chain, &[4.0, 3.0, 0.0, 0.0]), [4.0, 0.5, 0.0, 0.0]);
}

#[test]
fn logit_bias_forces_and_forbids() {
    let model = tiny();
    let row = row_for(&model, &[token(300), token(301)]);
    let mut forced =
        SamplerChain::builder().logit_bias(&model, [(token(5), 1000.0)]).dist(1).build().unwrap();
    assert_eq!(forced.sample_logits(&row).unwrap(), token(5));
    let mut forbidden = SamplerChain::builder()
        .logit_bias(&model, [(token(300), f32::NEG_INFINITY)])
        .greedy()
        .build()
        .unwrap();
    assert_eq!(forbidden.sample_logits(&row).unwrap(), token(301));
    // Also where candidates are not in the order of the vocabulary.
    let mut after_top_k = SamplerChain::builder().top_k(2).logit_bias(&model, [(token(301), 5.0)]).greedy();
    assert_eq!(after_top_k.build().unwrap().sample_logits(&row).unwrap(), token(301));
    after_top_k = SamplerChain::builder().logit_bias(&model, []).greedy();
    assert_eq!(after_top_k.build().unwrap().sample_logits(&row).unwrap(), token(300));
}

#[test]
fn dry_lowers_what_would_continue_a_repetition() {
    let model = tiny();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|text| letter(&model, text));
    let dry =
        Dry { multiplier: 1.0, base: 2.0, allowed_length: 2, last_n: 64, breakers: vec!["\n".to_owned()] };
    let mut chain = SamplerChain::builder().dry(&model, dry.clone()).greedy().build().unwrap();
    let row = row_for(&model, &[d, c]);
    let logit_of = |chain: &mut SamplerChain, token: Token| {
        let candidates = applied(chain, &row);
        candidates.as_slice().iter().find(|it| it.token == token).unwrap().logit
    };
    // a b c d a b c: the next d makes it a repetition of four, three of which are there: 1 * 2^(3 - 2).
    for token in [a, b, c, d, a, b, c] {
        chain.accept(token).unwrap();
    }
    assert_eq!(logit_of(&mut chain, d), 18.0);
    assert_eq!(logit_of(&mut chain, c), 19.0);
    // A breaker in between ends the repetition.
    chain.reset().unwrap();
    let newline = letter(&model, "\n");
    for token in [a, b, c, d, a, newline, c] {
        chain.accept(token).unwrap();
    }
    assert_eq!(logit_of(&mut chain, d), 20.0);
    let mut off =
        SamplerChain::builder().dry(&model, Dry { multiplier: 0.0, ..dry }).greedy().build().unwrap();
    off.accept_prompt(&[a, b, a, b, a, b]).unwrap();
    assert_eq!(off.names(), ["?dry", "greedy"]);
}

#[test]
fn infill_joins_candidates_that_begin_alike() {
    let model = tiny();
    let [a, b] = ["a", "b"].map(|text| letter(&model, text));
    let longer = (0..i32::try_from(model.vocab().n_tokens()).unwrap())
        .map(Token::new)
        .find(|it| {
            let bytes = model.vocab().token_to_bytes(*it, false).unwrap();
            bytes.len() > 1 && bytes.starts_with(b"a")
        })
        .unwrap();
    let mut chain = SamplerChain::builder().top_k(3).infill(&model).greedy().build().unwrap();
    let mut candidates: Candidates =
        [(a, 0.45_f32.ln()), (longer, 0.35_f32.ln()), (b, 0.2_f32.ln())].into_iter().collect();
    chain.apply(&mut candidates).unwrap();
    assert_eq!(selected(&candidates), a.get());
    assert!(candidates.as_slice().iter().all(|it| it.token != longer), "{candidates:?}");
    // An end that is likely enough wins.
    let eos = model.vocab().eos().unwrap();
    let mut candidates: Candidates = [(a, 0.5_f32.ln()), (eos, 0.5_f32.ln())].into_iter().collect();
    chain.apply(&mut candidates).unwrap();
    assert_eq!(selected(&candidates), eos.get());
}

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
        ("start ::= \"a\"", "the grammar has no rule named `root`, which is the root"),
        ("", "the grammar has no rules"),
        (
            "root ::= root \"a\"",
            "the rule `root` is left-recursive: it can begin with itself, which has no end",
        ),
        (
            "root ::= \"a\"{5,2}",
            "line 1, column 13: repeats from 5 up to 2 times: the second must not be less",
        ),
        ("root ::= <[999999]>", "line 1, column 10: token 999999 is out of range"),
        ("root ::= <no such token>", "line 1, column 10: <no such token> is not one token but"),
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

fn lazy(model: &Model, triggers: LazyTriggers) -> SamplerChain {
    let grammar = "root ::= \"{\" [ab]* \"}\"";
    SamplerChain::builder().grammar_lazy(model, grammar, "root", triggers).greedy().build().unwrap()
}

#[test]
fn lazy_grammar_holds_from_the_trigger_on() {
    let model = tiny();
    let [a, x, open] = ["a", "x", "{"].map(|text| letter(&model, text));
    let row = row_for(&model, &[x, a]);
    for triggers in [
        LazyTriggers { words: vec!["{".to_owned()], ..LazyTriggers::default() },
        LazyTriggers { patterns: vec!["[\\s\\S]*?(\\{)".to_owned()], ..LazyTriggers::default() },
        LazyTriggers { tokens: vec![open], ..LazyTriggers::default() },
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

#[test]
fn lazy_triggers_are_checked() {
    let model = tiny();
    let build = |triggers: LazyTriggers| {
        SamplerChain::builder().grammar_lazy(&model, "root ::= \"a\"", "root", triggers).greedy().build()
    };
    let none = sampler_error(build(LazyTriggers::default()));
    assert_eq!(
        none,
        "sampler grammar: there is no trigger, so the grammar would never hold: give a word, pattern or token"
    );
    let broken = LazyTriggers { patterns: vec!["(a".to_owned()], ..LazyTriggers::default() };
    let text = sampler_error(build(broken));
    assert!(text.contains("a trigger pattern is not a regular expression (C++, ECMAScript)"), "{text}");
    let bad = LazyTriggers {
        words: vec![String::new()],
        patterns: vec!["(".repeat(65), "x".repeat(5000), "a\0".to_owned()],
        tokens: vec![token(-1)],
    };
    let text = sampler_error(build(bad));
    for part in [
        "trigger word 0 has 0 bytes: must be 1 to 256",
        "trigger pattern 0 has more than 64 groups",
        "trigger pattern 1 has 5000 bytes",
        "trigger pattern 2 has a NUL byte at position 1",
        "token -1 is out of range",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// On a thread with a small stack `std::regex` would overflow it after a few hundred of these bytes.
#[test]
fn waiting_for_a_pattern_does_not_overflow_the_stack() {
    let model = tiny();
    let [a, x, open] = ["a", "x", "{"].map(|text| letter(&model, text));
    let pattern = "^(?:(?:(?:(?:a|b|x))))*(\\{)$".to_owned();
    let triggers = LazyTriggers { patterns: vec![pattern], ..LazyTriggers::default() };
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
    let triggers = LazyTriggers { patterns: vec![pattern], tokens: vec![open], ..LazyTriggers::default() };
    let mut chain = lazy(&model, triggers);
    let results: Vec<_> = (0..600).map(|_| chain.accept(x)).collect();
    let accepted = results.iter().take_while(|result| result.is_ok()).count();
    assert!((100..600).contains(&accepted), "{accepted}");
    let error = results[accepted].as_ref().unwrap_err().to_string();
    assert!(error.contains("and the patterns cannot be looked for in more"), "{error}");
    assert!(!chain.is_poisoned());
    chain.reset().unwrap();
    chain.accept(open).unwrap();
    for _ in 0..600 {
        chain.accept(a).unwrap();
    }
    assert!(chain.accept(x).is_err());
}

#[test]
fn failure_inside_llama_cpp_poisons_the_chain() {
    let model = tiny();
    let [a, open] = ["a", "{"].map(|text| letter(&model, text));
    // The trigger's text does not fit the grammar, which llama.cpp finds out by throwing.
    let triggers = LazyTriggers { words: vec!["a".to_owned()], ..LazyTriggers::default() };
    let mut chain = lazy(&model, triggers);
    let copy = chain.try_clone().unwrap();
    let error = chain.accept(a).unwrap_err();
    match error.kind() {
        ErrorKind::Exception { message } => {
            assert!(message.contains("Unexpected empty grammar stack"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert!(chain.is_poisoned());
    let mut candidates = Candidates::from_logits(&[1.0]);
    let results = [
        chain.accept(open),
        chain.accept_prompt(&[open]),
        chain.apply(&mut candidates),
        chain.reset(),
        chain.sample_logits(&vec![0.0; model.vocab().n_tokens()]).map(drop),
        chain.try_clone().map(drop),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Poisoned { .. }), "{error:?}");
        assert!(error.to_string().contains("Unexpected empty grammar stack"), "{error}");
    }
    assert!(!copy.is_poisoned());
    drop(chain);
}

#[test]
fn chain_must_end_with_a_selecting_sampler() {
    let text = sampler_error(SamplerChain::builder().top_k(40).top_p(0.9).build());
    assert!(
        text.starts_with("sampler top-p: it is the last of the chain and does not select a token"),
        "{text}"
    );
    let text = sampler_error(SamplerChain::builder().build());
    assert!(text.starts_with("sampler chain: it is empty"), "{text}");
    let text = sampler_error(SamplerChain::builder().greedy().top_k(3).dist(1).build());
    assert_eq!(text, "sampler greedy: it selects the token and must be the last of the chain");
    let text = sampler_error(SamplerChain::builder().infill(&tiny()).greedy().build());
    assert!(text.contains("put a top_k before it"), "{text}");
}

#[test]
fn all_problems_are_in_one_error() {
    let model = tiny();
    let n_vocab = i32::try_from(model.vocab().n_tokens()).unwrap();
    let chain = SamplerChain::builder()
        .dist(1)
        .top_p(1.5)
        .min_p(f32::NAN)
        .typical_p(-0.1)
        .temperature(-1.0)
        .temperature(1e-6)
        .temperature_ext(1.0, f32::INFINITY, -1.0)
        .xtc(2.0, 0.0, 1)
        .top_n_sigma(-1.0)
        .penalties(Penalties { last_n: u32::MAX, repeat: 0.0, frequency: f32::NAN, presence: 1e9 })
        .dry(
            &model,
            Dry {
                multiplier: -1.0,
                base: 0.5,
                allowed_length: u32::MAX,
                last_n: u32::MAX,
                breakers: vec![String::new(), "x".repeat(41)],
            },
        )
        .logit_bias(&model, [(token(n_vocab), f32::NAN), (token(0), f32::INFINITY), (token(0), 0.0)])
        .grammar(&model, "root ::= ", "toor")
        .push(Sampler::Mirostat(Mirostat { model: model.clone(), tau: 0.0, eta: 2.0, m: 1, seed: 0 }))
        .mirostat_v2(f32::NAN, -1.0, 0)
        .adaptive_p(-0.5, 1.0, 0)
        .top_k(3);
    let text = sampler_error(chain.build());
    let expected = [
        "problems:",
        "sampler 0 (dist): it selects the token and must be the last of the chain",
        "sampler 1 (top-p): p is 1.5: must be 0 to 1",
        "sampler 2 (min-p): p is NaN: must be 0 to 1",
        "sampler 3 (typical): p is -0.1: must be 0 to 1",
        "sampler 4 (temp): temperature is -1: must be 0, or finite and at least 0.00001",
        "sampler 5 (temp): temperature is 0.000001",
        "sampler 6 (temp-ext): delta is inf",
        "sampler 6 (temp-ext): exponent is -1",
        "sampler 7 (xtc): probability is 2: must be 0 to 1",
        "sampler 7 (xtc): threshold is 0: must be above 0 and at most 1",
        "sampler 8 (top-n-sigma): n is -1",
        "sampler 9 (penalties): last_n is 4294967295: must be 0 to 16777216",
        "sampler 9 (penalties): repeat is 0: must be 0.001 to 1000",
        "sampler 9 (penalties): frequency is NaN",
        "sampler 9 (penalties): presence is 1000000000",
        "sampler 10 (dry): multiplier is -1",
        "sampler 10 (dry): base is 0.5",
        "sampler 10 (dry): allowed_length is 4294967295",
        "sampler 10 (dry): last_n is 4294967295",
        "sampler 10 (dry): breaker 0 has 0 bytes: must be 1 to 40",
        "sampler 10 (dry): breaker 1 has 41 bytes",
        &format!("sampler 11 (logit-bias): token {n_vocab} is out of range"),
        "sampler 11 (logit-bias): the bias of token 0 is inf",
        "sampler 11 (logit-bias): token 0 has two biases: give their sum",
        "sampler 12 (grammar): the grammar is not valid",
        "sampler 13 (mirostat): tau is 0",
        "sampler 13 (mirostat): eta is 2",
        "sampler 13 (mirostat): m is 1",
        "sampler 14 (mirostat-v2): tau is NaN",
        "sampler 14 (mirostat-v2): eta is -1",
        "sampler 15 (adaptive-p): target is -0.5",
        "sampler 15 (adaptive-p): decay is 1: must be 0 to 0.99",
        "sampler 16 (top-k): it is the last of the chain and does not select a token",
    ];
    for part in expected {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn rows_that_make_no_sense_are_refused_and_leave_the_chain_usable() {
    let mut chain = SamplerChain::builder().top_k(5).temperature(0.7).dist(1).build().unwrap();
    let error = chain.sample_logits(&[1.0, f32::NAN]).unwrap_err();
    assert!(error.to_string().contains("not numbers (NaN)"), "{error}");
    let error = chain.sample_logits(&[f32::NEG_INFINITY; 4]).unwrap_err();
    assert!(error.to_string().contains("no logit is above negative infinity"), "{error}");
    let error = chain.sample_logits(&[f32::INFINITY, 0.0]).unwrap_err();
    assert!(error.to_string().contains("the probabilities are not numbers"), "{error}");
    assert!(chain.sample_logits(&[]).is_err());
    assert!(chain.apply(&mut Candidates::new()).is_err());
    let mut negative: Candidates = [(token(-1), 0.0)].into_iter().collect();
    assert!(chain.apply(&mut negative).is_err());
    assert!(chain.accept(token(-1)).is_err());
    assert!(chain.accept_prompt(&[token(0), token(i32::MIN)]).is_err());
    assert_eq!(chain.sample_logits(&[0.0, 90.0]).unwrap(), token(1));
}

#[test]
fn vocabularies_must_agree() {
    let llama = tiny();
    let qwen = Model::load(Tiny::Qwen2.path(), &ModelParams::default()).unwrap();
    assert_ne!(llama.vocab().n_tokens(), qwen.vocab().n_tokens());
    let chain = SamplerChain::builder().logit_bias(&llama, []).mirostat(&qwen, 5.0, 0.1, 1);
    let text = sampler_error(chain.build());
    assert!(text.starts_with("sampler mirostat: its model has a vocabulary of"), "{text}");
    let mut chain = SamplerChain::builder().logit_bias(&llama, []).greedy().build().unwrap();
    let mut context = decoded(&qwen, "the");
    let error = chain.sample(&mut context, 0).unwrap_err();
    assert!(error.to_string().contains("it was made for a vocabulary of"), "{error}");
    let n_vocab = i32::try_from(llama.vocab().n_tokens()).unwrap();
    let error = chain.accept(token(n_vocab)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidToken { .. }), "{error:?}");
    let mut outside: Candidates = [(token(n_vocab), 0.0)].into_iter().collect();
    assert!(matches!(chain.apply(&mut outside).unwrap_err().kind(), ErrorKind::InvalidToken { .. }));
}

/// A context that has decoded one token, with logits for it.
fn decoded(model: &Model, text: &str) -> Context {
    let tokens = model.vocab().tokenize(text, TokenizeOptions::default()).unwrap();
    let mut context = Context::new(model, &ContextParams::default().n_ctx(64)).unwrap();
    let mut batch = Batch::new();
    batch.push_prompt(&tokens[..1], SeqId::new(0), Pos::new(0)).unwrap();
    context.decode(&batch).unwrap();
    context
}

#[test]
fn samples_from_a_context() {
    let model = tiny();
    let mut context = decoded(&model, "the");
    let mut chain = SamplerChain::builder().greedy().build().unwrap();
    let expected = context.logits(0).unwrap().argmax();
    assert_eq!(chain.sample(&mut context, 0).unwrap(), expected);
    assert_eq!(chain.sample(&mut context, Some(0)).unwrap(), expected);
    for index in [None, Some(1), Some(usize::MAX)] {
        let error = chain.sample(&mut context, index).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NoOutput { .. }), "{error:?}");
    }
    let mut fresh = Context::new(&model, &ContextParams::default().n_ctx(64)).unwrap();
    assert!(matches!(chain.sample(&mut fresh, 0).unwrap_err().kind(), ErrorKind::NoOutput { .. }));
}

#[test]
fn chain_outlives_the_model_handle() {
    let model = tiny();
    let [a, b] = ["a", "b"].map(|text| letter(&model, text));
    let row = row_for(&model, &[b, a]);
    let build = || {
        SamplerChain::builder()
            .grammar(&model, r#"root ::= "a" [b]*"#, "root")
            .dry(&model, Dry::default())
            .top_k(10)
            .infill(&model)
            .greedy()
            .build()
            .unwrap()
    };
    let (mut chain, mut copy) = (build(), build().try_clone().unwrap());
    drop(model);
    assert_eq!(chain.sample_logits(&row).unwrap(), a);
    let moved = std::thread::spawn(move || copy.sample_logits(&row).unwrap());
    assert_eq!(moved.join().unwrap(), a);
}

#[test]
fn copy_is_independent_and_in_the_same_state() {
    let row = logits(&[0.4, 0.3, 0.2, 0.1]);
    let penalties = Penalties { last_n: 8, repeat: 1.0, frequency: 0.3, presence: 0.0 };
    let mut chain = SamplerChain::builder().penalties(penalties).xtc(0.5, 0.1, 3).dist(9).build().unwrap();
    for _ in 0..10 {
        chain.sample_logits(&row).unwrap();
    }
    let mut copy = chain.try_clone().unwrap();
    let draw =
        |chain: &mut SamplerChain| (0..100).map(|_| chain.sample_logits(&row).unwrap()).collect::<Vec<_>>();
    let mine = draw(&mut chain);
    assert_eq!(mine, draw(&mut copy));
    assert_eq!(chain.names(), copy.names());
    copy.reset().unwrap();
    assert_ne!(draw(&mut copy), draw(&mut chain));
}

#[test]
fn adaptive_p_is_not_copied_between_selecting_and_accepting() {
    let row = logits(&[0.6, 0.4]);
    let mut chain = SamplerChain::builder().adaptive_p(0.5, 0.9, 1).build().unwrap();
    chain.sample_logits(&row).unwrap();
    chain.try_clone().unwrap().sample_logits(&row).unwrap();
    let candidates = applied(&mut chain, &row);
    assert!(chain.try_clone().is_err());
    chain.accept(token(selected(&candidates))).unwrap();
    assert!(chain.try_clone().is_ok());
}

#[test]
fn names_seeds_and_counters() {
    let model = tiny();
    let mut chain = SamplerChain::builder()
        .perf(true)
        .top_k(40)
        .top_p(0.95)
        .min_p(0.05)
        .typical_p(0.9)
        .temperature(0.8)
        .temperature_ext(0.8, 0.2, 1.0)
        .xtc(0.1, 0.2, 1)
        .top_n_sigma(2.0)
        .penalties(Penalties { repeat: 1.1, ..Penalties::default() })
        .dry(&model, Dry::default())
        .logit_bias(&model, [(token(1), 1.0)])
        .infill(&model)
        .mirostat_v2(5.0, 0.1, 77)
        .build()
        .unwrap();
    let names = [
        "top-k",
        "top-p",
        "min-p",
        "typical",
        "temp",
        "temp-ext",
        "xtc",
        "top-n-sigma",
        "penalties",
        "dry",
        "logit-bias",
        "infill",
        "mirostat-v2",
    ];
    assert_eq!(chain.names(), names);
    let given: Vec<&str> = chain.samplers().iter().map(Sampler::name).collect();
    assert_eq!(given, names);
    assert_eq!((chain.len(), chain.seed()), (13, Some(77)));
    chain.accept(token(7)).unwrap();
    chain.accept(token(8)).unwrap();
    assert_eq!(chain.perf().unwrap().n_sample, 2);
    chain.perf_reset();
    assert_eq!(chain.perf().unwrap().n_sample, 0);
    assert_eq!(SamplerChain::builder().greedy().build().unwrap().perf(), None);
}

#[test]
fn extreme_values_in_range_do_not_abort() {
    let model = tiny();
    let n_vocab = model.vocab().n_tokens();
    let rows = [
        vec![0.0; n_vocab],
        (0..n_vocab).map(|id| if id == 3 { 0.0 } else { f32::NEG_INFINITY }).collect(),
        (0..n_vocab).map(|id| if id % 2 == 0 { f32::MAX } else { f32::MIN }).collect(),
        (0..n_vocab).map(|id| id as f32 * 1e30).collect(),
        (0..n_vocab).map(|id| -(id as f32) * 1e-40).collect(),
    ];
    let all = [
        Sampler::TopK { k: u32::MAX },
        Sampler::TopP { p: 0.0, min_keep: 0 },
        Sampler::TopP { p: 0.999, min_keep: usize::MAX },
        Sampler::MinP { p: 1.0, min_keep: usize::MAX },
        Sampler::MinP { p: f32::MIN_POSITIVE, min_keep: 0 },
        Sampler::Typical { p: 0.0, min_keep: 0 },
        Sampler::Typical { p: 0.5, min_keep: usize::MAX },
        Sampler::Temperature { temperature: 1e-5 },
        Sampler::Temperature { temperature: f32::MAX },
        Sampler::TopNSigma { n: 1e6 },
        Sampler::Xtc(Xtc { probability: 1.0, threshold: f32::MIN_POSITIVE, min_keep: 0, seed: 0 }),
        Sampler::Penalties(Penalties { last_n: 1 << 24, repeat: 1e3, frequency: -1e4, presence: 1e4 }),
        Sampler::Penalties(Penalties { last_n: 1, repeat: 1e-3, frequency: 1e4, presence: -1e4 }),
        Sampler::Dry {
            model: model.clone(),
            params: Dry { multiplier: 1e6, base: 1e6, allowed_length: 0, last_n: 3, breakers: vec![] },
        },
        Sampler::LogitBias {
            model: model.clone(),
            biases: vec![(token(3), f32::NEG_INFINITY), (token(4), -1e6)],
        },
    ];
    for sampler in all {
        for last in [
            Sampler::Greedy,
            Sampler::Dist { seed: 1 },
            Sampler::Mirostat(Mirostat {
                model: model.clone(),
                tau: 100.0,
                eta: 1.0,
                m: u32::MAX / 2,
                seed: 1,
            }),
            Sampler::Mirostat(Mirostat { model: model.clone(), tau: 1e-20, eta: 0.0, m: 2, seed: 1 }),
        ] {
            let mut chain = SamplerChain::builder().push(sampler.clone()).push(last.clone()).build().unwrap();
            for row in &rows {
                for _ in 0..4 {
                    if let Err(error) = chain.sample_logits(row) {
                        assert!(
                            matches!(error.kind(), ErrorKind::Sampler { .. }),
                            "{sampler:?} {last:?}: {error:?}"
                        );
                    }
                }
            }
            assert!(!chain.is_poisoned());
        }
    }
}

#[test]
fn masked_tokens_are_never_selected() {
    let model = tiny();
    let n_vocab = model.vocab().n_tokens();
    let allowed = [5_usize, 17, 300];
    let row: Vec<f32> = (0..n_vocab)
        .map(|id| if allowed.contains(&id) { id as f32 / 100.0 } else { f32::NEG_INFINITY })
        .collect();
    let chains = [
        SamplerChain::builder().dist(1),
        SamplerChain::builder().greedy(),
        SamplerChain::builder().top_k(40).top_p(0.99).min_p(0.01).temperature(2.0).dist(1),
        SamplerChain::builder().min_p(0.001).typical_p(0.9).dist(1),
        SamplerChain::builder().xtc(1.0, 0.01, 1).dist(1),
        SamplerChain::builder().top_n_sigma(1.0).mirostat_v2(5.0, 0.1, 1),
        SamplerChain::builder().mirostat(&model, 5.0, 0.1, 1),
        SamplerChain::builder().adaptive_p(0.01, 0.5, 1),
        SamplerChain::builder().temperature_ext(1.0, 1.0, 1.0).dist(1),
    ];
    for builder in chains {
        let mut chain = builder.build().unwrap();
        for _ in 0..200 {
            let token = chain.sample_logits(&row).unwrap();
            assert!(allowed.contains(&index(token.get())), "{chain:?}: {token}");
        }
    }
}

#[test]
fn grammar_is_a_value_too() {
    let model = tiny();
    let grammar = Grammar {
        model: model.clone(),
        grammar: "other ::= \"b\"\nroot ::= \"a\"".to_owned(),
        root: "other".to_owned(),
        triggers: None,
    };
    let mut chain = SamplerChain::builder().push(Sampler::Grammar(grammar)).greedy().build().unwrap();
    let [a, b] = ["a", "b"].map(|text| letter(&model, text));
    assert_eq!(chain.sample_logits(&row_for(&model, &[a, b])).unwrap(), b);
}

#[test]
fn candidates_are_reused() {
    let mut candidates = Candidates::from_logits(&[0.0, 1.0]);
    let mut chain = SamplerChain::builder().top_k(1).greedy().build().unwrap();
    chain.apply(&mut candidates).unwrap();
    assert_eq!((candidates.len(), candidates.is_sorted(), selected(&candidates)), (1, true, 1));
    candidates.set_logits(&[3.0, 1.0, 2.0]);
    assert_eq!((candidates.len(), candidates.is_sorted(), candidates.selected()), (3, false, None));
    chain.apply(&mut candidates).unwrap();
    candidates.as_mut_slice()[0].logit = 9.0;
    assert_eq!((candidates.is_sorted(), candidates.selected()), (false, None));
    candidates.clear();
    candidates.push(token(8), -1.0);
    chain.apply(&mut candidates).unwrap();
    assert_eq!(selected(&candidates), 8);
}

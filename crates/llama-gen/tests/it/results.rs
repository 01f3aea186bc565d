//! Everything that was requested is in the result or is refused; no option is ignored silently.

use futures::StreamExt as _;
use futures::executor::block_on;
use llama_core::{ModelParams, Token, TokenizeOptions};
use llama_gen::{
    BeamParams, Completion, Error, ErrorKind, Event, FinishReason, GenerationBuilder, GrammarParams, Llama,
    RepetitionGuard, SamplingParams, SoFar, WhenFull,
};
use test_models::Tiny;

const PROMPT: &str = "Once upon a time";

fn load() -> Llama {
    Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap()
}

fn greedy(llm: &Llama) -> GenerationBuilder {
    llm.generate(PROMPT).max_tokens(12).ignore_eos(true).temperature(0.0).cache_prompt(false)
}

fn prompt_of(llm: &Llama) -> Vec<Token> {
    llm.model().vocab().tokenize(PROMPT, TokenizeOptions::default()).unwrap()
}

/// The problems of refused parameters.
fn problems(error: &Error) -> Vec<String> {
    let ErrorKind::InvalidParameters { problems, .. } = error.kind() else { panic!("{error:?}") };
    problems.iter().map(ToString::to_string).collect()
}

/// Completes a generation and checks that its events have the same tokens and text.
fn from_events(generate: GenerationBuilder) -> Completion {
    let completion = generate.clone().complete().unwrap();
    let events: Vec<Event> = generate.tokens(true).stream().unwrap().map(Result::unwrap).collect();
    let tokens = events.iter().filter_map(|event| match event {
        Event::Token(token) => Some(token.clone()),
        _ => None,
    });
    assert_eq!(completion.tokens, tokens.collect::<Vec<_>>());
    assert_eq!(completion.text, events.iter().map(Event::text).collect::<String>());
    completion
}

#[test]
fn a_completion_has_its_tokens_and_its_prompt() {
    let llm = load();
    let completion = from_events(greedy(&llm));
    assert_eq!(completion.prompt, prompt_of(&llm));
    assert_eq!(completion.token_ids().len(), completion.finish.usage.completion_tokens);
    assert_eq!(completion.token_ids().len(), 12);
    let bytes: Vec<u8> = completion.tokens.iter().flat_map(|token| token.token.bytes.clone()).collect();
    assert_eq!(String::from_utf8_lossy(&bytes), completion.text);
    // Nobody asked for probabilities.
    assert!(
        completion.tokens.iter().all(|it| it.token.log_probability.is_none() && it.alternatives.is_empty())
    );
    assert_eq!(completion.finish.timings.probabilities, core::time::Duration::ZERO);
    // The one that ends it is a token too.
    let end = completion.token_ids().nth(3).unwrap();
    let mut params = llama_gen::GenerationParams::default();
    params.stop_tokens.push(end);
    params.sampling.temperature = Some(0.0);
    let ended = llm.generate(PROMPT).params(params).complete().unwrap();
    assert_eq!(ended.finish.reason, FinishReason::StopToken(end));
    assert_eq!(ended.token_ids().last(), Some(end));
}

#[test]
fn probabilities_that_were_asked_for_come_with_the_whole_text() {
    let llm = load();
    for n in [0, 3] {
        let asked = || greedy(&llm).log_probabilities(n);
        let whole = from_events(asked());
        assert!(whole.finish.timings.probabilities > core::time::Duration::ZERO);
        let awaited = block_on(asked().complete_async()).unwrap();
        assert_eq!(
            (&awaited.tokens, &awaited.prompt, &awaited.text),
            (&whole.tokens, &whole.prompt, &whole.text)
        );
        let together = asked().completions(2).unwrap().complete().unwrap();
        assert_eq!(together.len(), 2);
        for one in [&whole, &together[0], &together[1]] {
            assert_eq!(one.prompt, prompt_of(&llm));
            assert_eq!(one.token_ids().len(), 12);
            for chosen in &one.tokens {
                assert_eq!(chosen.alternatives.len(), n);
                let log_probability = chosen.token.log_probability.unwrap();
                assert!(log_probability <= 0.0);
                // Greedy takes the likeliest.
                if let Some(first) = chosen.alternatives.first() {
                    assert_eq!((first.id, first.log_probability), (chosen.token.id, Some(log_probability)));
                }
            }
        }
    }
}

#[test]
fn a_prompt_can_be_seen_before_and_while_it_is_answered() {
    let llm = load();
    let expected = prompt_of(&llm);
    assert_eq!(greedy(&llm).prompt_tokens().unwrap(), expected);
    assert_eq!(llm.generate(expected.as_slice()).prompt_tokens().unwrap(), expected);
    assert_eq!(greedy(&llm).stream().unwrap().prompt(), expected);
    assert_eq!(greedy(&llm).completions(2).unwrap().prompt(), expected);
    let mut stream = greedy(&llm).stream_async().unwrap();
    block_on(stream.next()).unwrap().unwrap();
    assert_eq!(stream.prompt(), Some(expected.as_slice()));
    let error = llm.generate("").prompt_tokens();
    assert!(error.is_ok() || matches!(error.unwrap_err().kind(), ErrorKind::InvalidPrompt { .. }));
}

#[test]
fn what_was_shortened_is_told_with_the_end() {
    let llm = load();
    let long = "the river said hello to a stone ".repeat(60);
    let generate = llm.generate(long).max_tokens(300).ignore_eos(true).temperature(0.0);
    let generate = generate.when_full(WhenFull::Shift { keep: 4 });
    let told = generate.clone().stream().unwrap().filter_map(|event| match event.unwrap() {
        Event::Shortened(shortened) => Some(shortened),
        _ => None,
    });
    let told: Vec<_> = told.into_iter().collect();
    let completion = generate.complete().unwrap();
    assert!(told.len() > 1);
    assert_eq!(completion.finish.shortened, told);
    assert_eq!(completion.prompt.len(), told[0].from, "as it was before");
}

#[test]
fn a_grammar_is_one_call() {
    let llm = load();
    let rules = r#"root ::= "yes" | "no""#;
    let answer = llm.generate("Yes or no?").grammar(rules).complete().unwrap();
    assert!(["yes", "no"].contains(&answer.text()), "{answer:?}");
    assert_eq!(answer.finish.reason, FinishReason::GrammarFinished);
    let other = GrammarParams::new(r#"answer ::= "maybe""#).root("answer");
    assert_eq!(llm.generate("Yes or no?").grammar(other).complete().unwrap().text(), "maybe");
}

#[test]
fn progress_comes_with_events_and_is_refused_without() {
    let llm = load();
    let asked = || greedy(&llm).progress(true);
    let expected =
        ["progress is true, but must be false for `complete`, which returns no events: use `stream` or \
                     `stream_async`"];
    assert_eq!(problems(&asked().complete().unwrap_err()), expected);
    assert_eq!(problems(&block_on(asked().complete_async()).unwrap_err()), expected);
    let error = asked().completions(2).unwrap().complete().unwrap_err();
    assert_eq!(
        problems(&error),
        [
            "progress is true, but must be false for `complete`, which returns no events: iterate over the completions"
        ]
    );
    let long = "the river said hello to a stone ".repeat(20);
    let llm = Llama::builder(Tiny::Llama.path());
    let params = llama_core::ContextParams::default().n_ubatch(64).n_threads(1);
    let llm = llm.context_params(params).n_ctx(512).load().unwrap();
    let events = llm.generate(long).max_tokens(2).progress(true).completions(2).unwrap();
    let total = events.prompt().len();
    let progress = events.map(Result::unwrap).filter_map(|(number, event)| match event {
        Event::Progress(progress) => Some((number, progress.done, progress.total)),
        _ => None,
    });
    let progress: Vec<_> = progress.into_iter().collect();
    let expected: Vec<_> = (1..=total.div_ceil(64)).map(|part| (0, total.min(part * 64), total)).collect();
    assert!(expected.len() > 2);
    assert_eq!(progress, expected);
}

#[test]
fn beams_have_the_probabilities_of_their_tokens() {
    let llm = load();
    let beams = greedy(&llm).log_probabilities(0).tokens(true);
    let beams = beams.beam_search(&BeamParams::default().width(3)).unwrap();
    for beam in &beams {
        assert_eq!(beam.token_log_probabilities.len(), beam.tokens.len());
        let sum: f64 = beam.token_log_probabilities.iter().copied().map(f64::from).sum();
        assert!((sum - beam.log_probability).abs() < 1e-9);
    }
    let best = greedy(&llm).beam_search(&BeamParams::default().width(1)).unwrap();
    let completion = greedy(&llm).log_probabilities(0).complete().unwrap();
    let log_probabilities = completion.tokens.iter().map(|it| it.token.log_probability.unwrap());
    for (found, expected) in best[0].token_log_probabilities.iter().zip(log_probabilities) {
        assert!((found - expected).abs() < 1e-3, "{found} {expected}");
    }
}

#[test]
fn what_beam_search_does_not_do_is_refused() {
    let llm = load();
    let plain = || llm.generate(PROMPT).max_tokens(4);
    let sampling = |sampling: SamplingParams| plain().sampling(sampling);
    let criterion = plain().stop_when(|_: &SoFar<'_>| false);
    let cases: Vec<(GenerationBuilder, &[&str])> = vec![
        (plain().temperature(0.7), &["temperature"]),
        (plain().top_k(5).seed(1), &["top_k", "seed"]),
        (plain().top_p(0.5).min_p(0.1), &["top_p", "min_p"]),
        (sampling(SamplingParams::default().repeat_penalty(1.1)), &["repeat_penalty"]),
        (sampling(SamplingParams::default().mirostat(2)), &["mirostat"]),
        (plain().grammar("root ::= [a-z]"), &["grammar"]),
        (criterion, &["stop_when"]),
        (plain().progress(true), &["progress"]),
        (
            {
                let mut params = llama_gen::GenerationParams::default();
                params.repetition_guard = Some(RepetitionGuard::default());
                plain().params(params)
            },
            &["repetition_guard"],
        ),
    ];
    for (generate, names) in cases {
        let error = generate.beam_search(&BeamParams::default()).unwrap_err();
        let expected = names.iter().map(|name| {
            format!("{name} is set, but must be left out of a beam search: use `complete` or `completions` with it")
        });
        assert_eq!(problems(&error), expected.collect::<Vec<_>>());
    }
    let error = plain().log_probabilities(2).beam_search(&BeamParams::default()).unwrap_err();
    assert_eq!(problems(&error), ["log_probabilities is 2, but must be 0 in a beam search"]);
    // What says nothing else than beam search does.
    plain().temperature(0.0).seed(None).beam_search(&BeamParams::default().width(1)).unwrap();
    let full = llm.generate("the river said hello ".repeat(40)).when_full(WhenFull::Error).ignore_eos(true);
    let error = full.beam_search(&BeamParams::default().width(2)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ContextFull { n_ctx: 256, .. }), "{error}");
}

#[test]
fn what_has_no_meaning_is_refused() {
    let llm = load();
    let checkpoint = || greedy(&llm).checkpoint_at(2);
    let expected =
        ["checkpoint_at is [2], but must be unset for completions and beam search, whose contexts keep no \
                     checkpoints"];
    assert_eq!(problems(&checkpoint().completions(2).map(drop).unwrap_err()), expected);
    assert_eq!(problems(&checkpoint().beam_search(&BeamParams::default()).unwrap_err()), expected);
    checkpoint().complete().unwrap();
    let tokens = prompt_of(&llm);
    let error = llm.generate(tokens).parse_special(true).complete().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the prompt is not valid: its tokens cannot be changed by parse_special: leave parse_special false"
    );
}

#[test]
fn an_infill_shows_its_prompt() {
    let keys = [("fim_pre", 270_i64), ("fim_suf", 271), ("fim_mid", 272)];
    let params = keys.iter().fold(ModelParams::default(), |params, (key, id)| {
        params.kv_override(format!("tokenizer.ggml.{key}_token_id"), *id)
    });
    let llm = Llama::builder(Tiny::Llama.path()).model_params(params).n_ctx(256).n_threads(1).load().unwrap();
    let infill = llm.infill("fn add(", ") {}");
    let tokens = infill.prompt_tokens().unwrap();
    assert_eq!(infill.generate().unwrap().prompt_tokens().unwrap(), tokens);
    assert!(tokens.contains(&llm.model().vocab().fim_mid().unwrap()));
}

#[test]
fn a_score_tells_its_times() {
    let llm = load();
    let score = llm.score("the river said hello to a stone").unwrap();
    let timings = score.timings;
    assert!(!timings.prompt.is_zero() && !timings.probabilities.is_zero());
    assert!(timings.prompt + timings.probabilities <= timings.total);
}

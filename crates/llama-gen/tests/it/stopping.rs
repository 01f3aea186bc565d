//! Every way in which a text ends, on a tiny model whose greedy text is pinned.

use llama_core::{Token, TokenizeOptions};
use llama_gen::{
    Completion, Event, FinishReason, GenerationBuilder, GenerationParams, Llama, RepetitionGuard,
    SamplingParams, SoFar,
};
use test_models::Tiny;

fn tiny() -> Llama {
    Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap()
}

fn greedy(llm: &Llama) -> GenerationBuilder {
    llm.generate("hello").max_tokens(8).temperature(0.0)
}

const TEXT: &str = " they2 can f\\m ot f";

fn run(generate: GenerationBuilder) -> (String, FinishReason) {
    let Completion { text, finish, .. } = generate.complete().unwrap();
    (text, finish.reason)
}

fn with(llm: &Llama, change: impl FnOnce(&mut GenerationParams)) -> Completion {
    let mut params = GenerationParams::default();
    params.sampling.temperature = Some(0.0);
    params.max_tokens = Some(8);
    change(&mut params);
    llm.generate("hello").params(params).complete().unwrap()
}

/// Returns the tokens of a text, without the tokenizer's own.
fn tokens(llm: &Llama, text: &str) -> Vec<Token> {
    llm.model().vocab().tokenize(text, TokenizeOptions::default().add_special(false)).unwrap()
}

#[test]
fn the_greedy_text_is_pinned() {
    assert_eq!(run(greedy(&tiny())), (TEXT.to_owned(), FinishReason::MaxTokens));
}

#[test]
fn stop_strings_are_found_wherever_they_begin_and_end() {
    let llm = tiny();
    // In one token, across two, from inside one into another, one a beginning of another, one the end of another.
    for (stops, stop, shown) in [
        (&[" can"][..], " can", " they2"),
        (&["2 c"], "2 c", " they"),
        (&["ey2 ca"], "ey2 ca", " th"),
        (&["can f", "can"], "can", " they2 "),
        (&["an", "can"], "can", " they2 "),
        (&["they2 cat", "2 can"], "2 can", " they"),
    ] {
        let generate = stops.iter().fold(greedy(&llm), |generate, stop| generate.stop(*stop));
        assert_eq!(run(generate), (shown.to_owned(), FinishReason::StopString(stop.to_owned())), "{stops:?}");
    }
}

#[test]
fn what_may_be_a_stop_string_waits_and_is_shown_when_it_is_none() {
    let llm = tiny();
    let mut texts = Vec::new();
    for event in greedy(&llm).stop("2 can foolish").stream().unwrap() {
        if let Event::Text(text) = event.unwrap() {
            texts.push(text.text);
        }
    }
    assert_eq!(texts.concat(), TEXT);
    assert_eq!(texts[..2], [" they", "2 can f\\"]);
    // Also when the end comes before the doubt is gone.
    assert_eq!(run(greedy(&llm).stop("ot f.")), (TEXT.to_owned(), FinishReason::MaxTokens));
}

#[test]
fn stop_tokens_end_the_text_before_them() {
    let llm = tiny();
    let can = tokens(&llm, "can").pop().unwrap();
    let completion = with(&llm, |params| params.stop_tokens = vec![Token::new(0), can]);
    assert_eq!(completion.text, " they2");
    assert_eq!(completion.finish.reason, FinishReason::StopToken(can));
    assert_eq!(completion.finish.usage.completion_tokens, 3, "the token that ended it is counted");
}

#[test]
fn a_finished_grammar_ends_the_text_at_once() {
    let llm = tiny();
    let with = |grammar: &str, max_tokens| {
        let sampling = SamplingParams::default().temperature(0.0).grammar(grammar);
        llm.generate("hello").sampling(sampling).max_tokens(max_tokens).complete().unwrap()
    };
    let completion = with(r#"root ::= " yes" | " no!""#, 64);
    assert!([" yes", " no!"].contains(&completion.text()), "{completion:?}");
    assert_eq!(completion.finish.reason, FinishReason::GrammarFinished);
    // Nothing was computed beyond the text: the last token is the text's own.
    let vocab = llm.model().vocab();
    assert!(completion.finish.usage.completion_tokens <= completion.text.len());
    // A grammar that can go on does not end by itself.
    let open = with("root ::= [a-z ]+", 8);
    assert_eq!(open.finish.reason, FinishReason::MaxTokens);
    assert!(open.text.bytes().all(|byte| byte == b' ' || byte.is_ascii_lowercase()), "{open:?}");
    // The grammar comes before the limit when both are reached.
    let length = completion.finish.usage.completion_tokens;
    let both = with(r#"root ::= " yes" | " no!""#, u32::try_from(length).unwrap());
    assert_eq!(both.finish.reason, FinishReason::GrammarFinished);
    assert!(!vocab.is_eog(Token::new(0)));
}

#[test]
fn a_lazy_grammar_does_not_end_what_it_does_not_hold_for() {
    let llm = tiny();
    let grammar = llama_gen::GrammarParams::new("root ::= \"2\" \" yes\"")
        .triggers(llama_gen::GrammarTriggers::new().word("2"));
    let sampling = SamplingParams::default().temperature(0.0).grammar(grammar);
    let completion = llm.generate("hello").sampling(sampling).max_tokens(16).complete().unwrap();
    assert_eq!(completion.text, " they2 yes");
    assert_eq!(completion.finish.reason, FinishReason::GrammarFinished);
    let never = llama_gen::GrammarParams::new("root ::= \"a\"")
        .triggers(llama_gen::GrammarTriggers::new().word("never"));
    let sampling = SamplingParams::default().temperature(0.0).grammar(never);
    let completion = llm.generate("hello").sampling(sampling).max_tokens(8).complete().unwrap();
    assert_eq!((completion.text.as_str(), completion.finish.reason), (TEXT, FinishReason::MaxTokens));
}

#[test]
fn ignored_ends_are_never_chosen() {
    let llm = tiny();
    let eos = llm.model().vocab().eos().unwrap();
    let bias = || vec![llama_gen::LogitBias::new(eos, 1e6)];
    let ended = with(&llm, |params| params.sampling.logit_bias = Some(bias()));
    assert_eq!(ended.finish.reason, FinishReason::EndOfGeneration(eos));
    assert_eq!(ended.text, "");
    let ignored = with(&llm, |params| {
        params.sampling.logit_bias = Some(bias());
        params.ignore_eos = true;
    });
    assert_eq!((ignored.text.as_str(), ignored.finish.reason), (TEXT, FinishReason::MaxTokens));
}

#[test]
fn a_criterion_of_ones_own_ends_the_text_after_the_token() {
    let llm = tiny();
    let space = |so_far: &SoFar<'_>| so_far.text.matches(' ').count() == 2;
    assert_eq!(run(greedy(&llm).stop_when(space)), (" they2 can".to_owned(), FinishReason::Criterion));
    let third = |so_far: &SoFar<'_>| so_far.tokens.len() == 3;
    let generate = greedy(&llm).stop_when(third);
    // A description can be used twice, and the criterion begins anew.
    assert_eq!(run(generate.clone()), run(generate));
    // What was kept back for a stop string is part of the text that the criterion sees, and is shown.
    let generate = greedy(&llm).stop("can f\\").stop_when(space);
    assert_eq!(run(generate), (" they2 can".to_owned(), FinishReason::Criterion));
    let mut calls = 0;
    let counting = move |_: &SoFar<'_>| {
        calls += 1;
        calls == 2
    };
    assert_eq!(run(greedy(&llm).stop_when(counting)), (" they2".to_owned(), FinishReason::Criterion));
}

#[test]
fn a_text_that_goes_round_in_circles_ends() {
    let llm = tiny();
    let looping = |grammar: &str, guard: RepetitionGuard| {
        let mut params = GenerationParams::default();
        params.sampling = SamplingParams::default().temperature(0.0).grammar(grammar);
        params.max_tokens = Some(100);
        params.repetition_guard = Some(guard);
        params.ignore_eos = true;
        let completion = llm.generate("hello").params(params).complete().unwrap();
        (completion.finish.usage.completion_tokens, completion.finish.reason)
    };
    // Tokens by their ids, since a text may be made of one token or of several.
    let one = "root ::= <[300]>+";
    assert_eq!(looping(one, RepetitionGuard::default()), (64, FinishReason::Repetition));
    assert_eq!(looping(one, RepetitionGuard::default().min_tokens(0)), (4, FinishReason::Repetition));
    // Three tokens, after one that is not part of it.
    let three = "root ::= <[300]> (<[301]> <[302]> <[303]>)+";
    let guard = RepetitionGuard::default().min_tokens(0).repeats(3);
    assert_eq!(looping(three, guard), (1 + 9, FinishReason::Repetition));
    assert_eq!(looping(three, guard.min_tokens(12)), (1 + 12, FinishReason::Repetition));
    assert_eq!(looping(three, guard.max_period(3)), (1 + 9, FinishReason::Repetition));
    assert_eq!(looping(three, guard.max_period(2)).1, FinishReason::MaxTokens);
}

#[test]
fn time_that_is_over_ends_the_text() {
    let completion = with(&tiny(), |params| params.max_time = Some(std::time::Duration::ZERO));
    assert_eq!((completion.text.as_str(), completion.finish.reason), ("", FinishReason::Deadline));
}

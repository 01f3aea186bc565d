//! Requests without a model, and results as JSON.

use std::panic::{AssertUnwindSafe, catch_unwind};

use llama_gen::{BeamParams, FinishReason, GenerationParams, Llama, Request, SamplingParams, SoFar};
use serde_json::json;
use test_models::Tiny;

const PROMPT: &str = "hello world, the river";

fn load(model: Tiny) -> Llama {
    Llama::builder(model.path()).n_ctx(256).n_threads(1).load().unwrap()
}

#[test]
fn a_request_goes_to_several_models() {
    let request = Request::new(PROMPT).max_tokens(6).temperature(0.0).ignore_eos(true).log_probabilities(1);
    for model in [Tiny::Llama, Tiny::Qwen2] {
        let llm = load(model);
        let fluent = llm.generate(PROMPT).max_tokens(6).temperature(0.0).ignore_eos(true);
        let completion = llm.generate(request.clone()).complete().unwrap();
        assert_eq!(completion.text(), fluent.complete().unwrap().text());
        assert!(completion.tokens.iter().all(|token| token.alternatives.len() == 1));
        let again = llm.generate(request.clone()).into_request();
        assert_eq!(llm.generate(again).complete().unwrap().text(), completion.text());
    }
}

#[test]
fn parameters_that_were_set_before_stay_where_new_ones_are_open() {
    let llm = load(Tiny::Llama);
    let params = GenerationParams::default().ignore_eos(true).sampling(SamplingParams::default().seed(5));
    let first =
        llm.generate(PROMPT).max_tokens(3).temperature(1.0).params(params.clone()).complete().unwrap();
    let last = llm.generate(PROMPT).params(params).max_tokens(3).temperature(1.0).complete().unwrap();
    assert_eq!((first.text(), first.finish.usage.completion_tokens), (last.text(), 3));
    assert_eq!(first.finish.seed, Some(5));
    let sampling = SamplingParams::default().temperature(0.0);
    let both = llm.generate(PROMPT).max_tokens(2).seed(9).sampling(sampling).complete().unwrap();
    assert_eq!((both.finish.seed, both.finish.usage.completion_tokens), (None, 2));
}

#[test]
fn results_are_json() {
    let llm = load(Tiny::Llama);
    let generate = || llm.generate(PROMPT).max_tokens(2).temperature(0.0).ignore_eos(true);
    let completion = generate().log_probabilities(1).complete().unwrap();
    let value = serde_json::to_value(&completion).unwrap();
    assert_eq!(value["prompt"], json!(completion.prompt.iter().map(|token| token.get()).collect::<Vec<_>>()));
    assert_eq!(value["text"], completion.text);
    assert_eq!(value["tokens"][1]["token"]["id"], completion.tokens[1].token.id.get());
    assert_eq!(value["tokens"][1]["alternatives"][0]["id"], completion.tokens[1].alternatives[0].id.get());
    assert_eq!(value["finish"]["reason"], "max_tokens");
    assert_eq!(value["finish"]["usage"]["completion_tokens"], 2);
    assert_eq!(value["finish"]["timings"]["total"], completion.finish.timings.total.as_secs_f64());
    assert_eq!(
        value["finish"]["memory"]["devices"][0]["weights"],
        completion.finish.memory.devices[0].weights
    );

    let stopped = generate().stop_when(|_: &SoFar<'_>| true).complete().unwrap();
    assert_eq!(serde_json::to_value(&stopped.finish).unwrap()["reason"], "criterion");
    let event = generate().stream().unwrap().next().unwrap().unwrap();
    assert_eq!(serde_json::to_value(&event).unwrap()["text"]["text"], event.text());
    let beams = generate().beam_search(&BeamParams::default().width(2)).unwrap();
    assert_eq!(serde_json::to_value(&beams).unwrap()[1]["text"], beams[1].text);
    let score = llm.score(PROMPT).unwrap();
    assert_eq!(serde_json::to_value(&score).unwrap()["tokens"][0]["log_probability"], json!(null));
}

#[test]
fn a_panic_of_a_criterion_gives_the_context_back_unharmed() {
    let llm = load(Tiny::Llama);
    let generate = || llm.generate(PROMPT).max_tokens(8).temperature(0.0).ignore_eos(true);
    let expected = generate().complete().unwrap();
    let panicking = generate().stop_when(|so_far: &SoFar<'_>| {
        assert!(so_far.tokens.len() < 3, "on purpose");
        false
    });
    let panic = catch_unwind(AssertUnwindSafe(|| panicking.complete())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    let after = generate().complete().unwrap();
    assert_eq!((after.text(), &after.finish.reason), (expected.text(), &FinishReason::MaxTokens));
    assert!(after.finish.usage.reused_tokens > 0, "{:?}", after.finish.usage);
}

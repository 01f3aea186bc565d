//! Several answers to one prompt: each equals the answer of a single generation.

use llama_core::ContextParams;
use llama_core::context::{CacheType, FlashAttention};
use llama_gen::{
    CancelToken, Completion, ErrorKind, Event, FinishReason, GenerationBuilder, Llama, SoFar, WhenFull,
};
use test_models::{Tiny, Tuned};

/// Loads a model with a memory of 32 bits, because rounding depends on how many tokens are computed at once.
fn load(path: std::path::PathBuf, n_ctx: u32) -> Llama {
    let params = ContextParams::default().type_k(CacheType::F32).type_v(CacheType::F32);
    let params = params.flash_attention(FlashAttention::Disabled);
    Llama::builder(path).context_params(params).n_ctx(n_ctx).n_threads(1).load().unwrap()
}

fn tiny() -> Llama {
    load(Tiny::Llama.path(), 256)
}

const PROMPT: &str = "hello world, the river and the stone";

fn texts(completions: Vec<Completion>) -> Vec<(String, FinishReason)> {
    completions.into_iter().map(|completion| (completion.text, completion.finish.reason)).collect()
}

/// Runs `n` generations one after the other.
fn one_by_one(generate: &GenerationBuilder, n: u32, seed: u32) -> Vec<(String, FinishReason)> {
    let run = |seed| generate.clone().seed(seed).cache_prompt(false).complete().unwrap();
    texts((seed..seed + n).map(run).collect())
}

#[test]
fn each_is_what_it_would_be_alone() {
    for path in [
        Tiny::Llama.path(),
        Tiny::LlamaQ8.path(),
        Tiny::Qwen2.path(),
        Tiny::Gemma3.path(),
        Tiny::Mamba.path(),
        Tiny::Jamba.path(),
    ] {
        let llm = load(path.clone(), 256);
        let generate = llm.generate(PROMPT).max_tokens(24).temperature(1.0).ignore_eos(true);
        let together = texts(generate.clone().seed(7).completions(5).unwrap().complete().unwrap());
        assert_eq!(together, one_by_one(&generate, 5, 7), "{}", path.display());
        assert_ne!(together[0], together[1]);
    }
}

#[test]
fn each_ends_by_itself() {
    let llm = tiny();
    let long = |so_far: &SoFar<'_>| so_far.text.len() > 12;
    let generate = llm.generate(PROMPT).max_tokens(40).temperature(1.3).stop("e").stop_when(long);
    let together = texts(generate.clone().seed(1).completions(12).unwrap().complete().unwrap());
    assert_eq!(together, one_by_one(&generate, 12, 1));
    let reasons = |wanted: fn(&FinishReason) -> bool| together.iter().filter(|(_, it)| wanted(it)).count();
    assert!(reasons(|it| matches!(it, FinishReason::StopString(_))) > 0, "{together:?}");
    assert!(reasons(|it| !matches!(it, FinishReason::StopString(_))) > 0, "{together:?}");
}

#[test]
fn the_prompt_is_computed_once() {
    let llm = tiny();
    let n_prompt = llm.generate(PROMPT).max_tokens(1).complete().unwrap().finish.usage.prompt_tokens;
    let three = llm.generate(PROMPT).max_tokens(4).ignore_eos(true).completions(3).unwrap();
    let usages: Vec<_> = three.complete().unwrap().iter().map(|it| it.finish.usage).collect();
    for (index, usage) in usages.iter().enumerate() {
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (n_prompt, 4));
        let expected = if index == 0 { (0, n_prompt) } else { (n_prompt, 0) };
        assert_eq!((usage.reused_tokens, usage.evaluated_tokens), expected);
    }
}

#[test]
fn events_come_with_their_numbers_and_tokens_with_their_probabilities() {
    let llm = tiny();
    let generate = llm.generate(PROMPT).max_tokens(6).temperature(0.0).ignore_eos(true);
    let mut tokens = vec![Vec::new(); 2];
    let mut ends = Vec::new();
    for event in generate.clone().log_probabilities(2).completions(2).unwrap() {
        match event.unwrap() {
            (index, Event::Token(token)) => tokens[index].push(token),
            (index, Event::Finish(_)) => ends.push(index),
            _ => {}
        }
    }
    assert_eq!(ends, [0, 1]);
    let mut alone = Vec::new();
    for event in generate.log_probabilities(2).cache_prompt(false).stream().unwrap() {
        if let Event::Token(token) = event.unwrap() {
            alone.push(token);
        }
    }
    for of_one in tokens {
        assert_eq!(of_one.len(), 6);
        for (left, right) in of_one.iter().zip(&alone) {
            assert_eq!((left.token.id, &left.token.bytes), (right.token.id, &right.token.bytes));
            let far = left.token.log_probability.unwrap() - right.token.log_probability.unwrap();
            assert!(far.abs() < 1e-3, "{far}");
        }
    }
}

#[test]
fn a_full_context_ends_each_where_it_would_end_alone() {
    let llm = tiny();
    let generate = llm.generate(PROMPT).temperature(1.0).ignore_eos(true);
    let together = generate.clone().seed(1).completions(2).unwrap().complete().unwrap();
    for completion in &together {
        assert_eq!(completion.finish.reason, FinishReason::ContextFull);
        let usage = completion.finish.usage;
        assert_eq!(usage.prompt_tokens + usage.completion_tokens, 256 + 1);
    }
    // Two rows at once are rounded otherwise than one, which some day draws another token: not among the first.
    let start = |(text, reason): (String, FinishReason)| (text.chars().take(100).collect::<String>(), reason);
    let starts = |all: Vec<_>| all.into_iter().map(start).collect::<Vec<_>>();
    assert_eq!(starts(texts(together)), starts(one_by_one(&generate, 2, 1)));
    let error = generate.when_full(WhenFull::Error).completions(2).unwrap().complete().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ContextFull { .. }), "{error}");
}

#[test]
fn cancelling_ends_all_with_what_they_have() {
    let llm = tiny();
    let cancel = CancelToken::new();
    let mut events = llm
        .generate(PROMPT)
        .max_tokens(100)
        .temperature(1.0)
        .ignore_eos(true)
        .cancel_token(&cancel)
        .completions(3)
        .unwrap();
    events.next().unwrap().unwrap();
    cancel.cancel();
    for completion in events.complete().unwrap() {
        assert_eq!(completion.finish.reason, FinishReason::Cancelled);
        assert_eq!(completion.finish.usage.completion_tokens, 1);
    }
    let over = llm.generate(PROMPT).timeout(std::time::Duration::ZERO).completions(2).unwrap();
    for completion in over.complete().unwrap() {
        assert_eq!(completion.finish.reason, FinishReason::Deadline);
    }
}

#[test]
fn adapters_are_those_of_the_generation() {
    let llm = load(Tuned::Base.path(), 256);
    let adapter = llm.load_lora(Tuned::Lora.path()).unwrap();
    let generate = llm.generate(PROMPT).max_tokens(12).temperature(1.0).ignore_eos(true).lora(&adapter, 1.0);
    let together = texts(generate.clone().seed(3).completions(3).unwrap().complete().unwrap());
    assert_eq!(together, one_by_one(&generate, 3, 3));
}

#[test]
fn what_cannot_be_is_refused() {
    let llm = tiny();
    let problem = |generate: GenerationBuilder, n| generate.completions(n).unwrap_err().to_string();
    assert!(problem(llm.generate(PROMPT), 0).contains("completions is 0, but must be from 1 to 256"));
    assert!(problem(llm.generate(PROMPT), 257).contains("completions is 257"));
    let shifting = llm.generate(PROMPT).when_full(WhenFull::Shift { keep: 0 });
    assert!(problem(shifting, 2).contains("when_full is Shift { keep: 0 }"));
    assert!(problem(llm.generate("hello ".repeat(300)), 2).contains("shorter than the context of 256"));
    assert!(problem(llm.generate(PROMPT).top_p(7.0), 2).contains("top_p is 7"));
}

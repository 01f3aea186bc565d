//! Ending a generation from outside: immediately, also in the middle of a prompt, and with a reusable memory.

#![allow(clippy::print_stdout, reason = "the measured times are shown with --nocapture")]

use core::time::Duration;
use std::time::Instant;

use futures::StreamExt;
use futures::executor::block_on;
use llama_core::{Token, TokenizeOptions};
use llama_gen::{CancelToken, Event, Finish, FinishReason, GenerationBuilder, Llama};
use test_models::{Tiny, rewritten, smollm2};

/// Returns a prompt of 4,000 tokens, and a model that reads it in some seconds.
fn long_prompt() -> (Llama, Vec<Token>) {
    let llm = Llama::builder(smollm2()).n_ctx(4352).n_threads(1).load().unwrap();
    let text = "The river rose all night, and in the morning the bridge was gone. ".repeat(300);
    let tokens = llm.model().vocab().tokenize(&text, TokenizeOptions::default()).unwrap()[..4000].to_vec();
    (llm, tokens)
}

fn end(event: Event) -> Option<Finish> {
    if let Event::Finish(finish) = event { Some(finish) } else { None }
}

fn shown(what: &str, time: Duration, finish: &Finish) {
    let (ms, tokens) = (time.as_secs_f64() * 1000.0, finish.usage.evaluated_tokens);
    println!("cancelled by {what}: {ms:.1} ms, with {tokens} of 4000 tokens in memory");
}

#[test]
fn a_long_prompt_is_cancelled_in_the_middle_of_a_part() {
    let (llm, prompt) = long_prompt();
    let cancel = CancelToken::new();
    let generate = llm.generate(&prompt[..]).max_tokens(1).progress(true).cancel_token(&cancel);
    let finish = block_on(async {
        let mut events = generate.stream_async().unwrap();
        assert!(matches!(events.next().await, Some(Ok(Event::Progress(_)))));
        // In the middle of the next part.
        std::thread::sleep(Duration::from_millis(40));
        let cancelled = Instant::now();
        cancel.cancel();
        let mut finish = None;
        while let Some(event) = events.next().await {
            finish = end(event.unwrap());
        }
        let finish = finish.unwrap();
        shown("token", cancelled.elapsed(), &finish);
        finish
    });
    assert_eq!(finish.reason, FinishReason::Cancelled);
    assert_eq!(finish.usage.completion_tokens, 0);
    // No part was begun after that: of 512 tokens each, the second or, on a busy machine, a later one.
    assert!(finish.usage.evaluated_tokens < 4000, "{:?}", finish.usage);
    assert_eq!(finish.usage.evaluated_tokens % 512, 0, "{:?}", finish.usage);
    // What was computed is used again.
    let reused = finish.usage.evaluated_tokens;
    let mut again = llm.generate(&prompt[..]).max_tokens(1).progress(true).stream().unwrap();
    let Some(Ok(Event::Progress(progress))) = again.next() else { panic!("no progress") };
    assert_eq!(progress.done, reused + 512);
}

#[test]
fn a_dropped_stream_stops_in_the_middle_of_a_prompt() {
    let (llm, prompt) = long_prompt();
    let mut events = llm.generate(&prompt[..]).progress(true).stream_async().unwrap();
    assert!(matches!(block_on(events.next()), Some(Ok(Event::Progress(_)))));
    let dropped = Instant::now();
    drop(events);
    let time = dropped.elapsed();
    let finish = llm.generate(&prompt[..600]).max_tokens(1).complete().unwrap().finish;
    println!("dropped in {:.1} ms", time.as_secs_f64() * 1000.0);
    // The context came back with what it had.
    assert!(finish.usage.reused_tokens >= 512, "{:?}", finish.usage);
}

#[test]
fn a_deadline_ends_a_long_prompt() {
    let (llm, prompt) = long_prompt();
    let timeout = Duration::from_millis(150);
    let finish = llm.generate(&prompt[..]).timeout(timeout).complete().unwrap().finish;
    assert_eq!(finish.reason, FinishReason::Deadline);
    assert!(finish.timings.total >= timeout, "{:?}", finish.timings);
    shown("deadline", finish.timings.total - timeout, &finish);
    assert_eq!(finish.usage.completion_tokens, 0);
    assert!(finish.usage.evaluated_tokens < 4000, "{:?}", finish.usage);
}

/// Returns a model that can generate and whose pre-tokenizer is slow.
fn slow_tokenizer() -> Llama {
    let bytes = rewritten::with_metadata(Tiny::Qwen2, |metadata| {
        _ = metadata.set("tokenizer.ggml.pre", "deepseek-llm");
    });
    let (_folder, path) = rewritten::saved(&bytes);
    Llama::builder(path).n_ctx(256).n_threads(1).load().unwrap()
}

#[test]
fn tokenising_a_long_prompt_is_cancelled_too() {
    let llm = slow_tokenizer();
    let text = "hello world ".repeat(1 << 20);
    let cancel = CancelToken::new();
    cancel.cancel();
    let checked = |finish: &Finish, reason| {
        assert_eq!(finish.reason, reason);
        assert_eq!((finish.usage.prompt_tokens, finish.usage.evaluated_tokens), (0, 0));
    };
    let cancelled = llm.generate(&text).cancel_token(&cancel).complete().unwrap();
    checked(&cancelled.finish, FinishReason::Cancelled);
    assert_eq!(cancelled.text(), "");
    let late = llm.generate(&text).timeout(Duration::ZERO).complete().unwrap();
    checked(&late.finish, FinishReason::Deadline);
    for completion in llm.generate(&text).cancel_token(&cancel).completions(2).unwrap().complete().unwrap() {
        assert_eq!(completion.finish.reason, FinishReason::Cancelled);
        assert_eq!(completion.finish.usage.prompt_tokens, 0);
    }
    // The context is as good as before.
    assert_eq!(llm.generate("hello").max_tokens(2).complete().unwrap().finish.usage.completion_tokens, 2);
}

#[test]
fn a_word_of_any_length_ends_no_process() {
    let llm = slow_tokenizer();
    let error = llm.generate("a".repeat(100_000)).max_tokens(1).complete().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the prompt has 100000 tokens, but must be shorter than the context of 256"),
        "{error}"
    );
}

#[test]
fn a_deadline_that_has_passed_leaves_no_time_at_all() {
    let llm = Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap();
    let late = |generate: GenerationBuilder| {
        let completion = generate.complete().unwrap();
        assert_eq!(completion.finish.reason, FinishReason::Deadline);
        let usage = completion.finish.usage;
        assert_eq!((completion.text(), usage.completion_tokens, usage.evaluated_tokens), ("", 0, 0));
    };
    late(llm.generate("hello").deadline(Instant::now()));
    late(llm.generate("hello").timeout(Duration::ZERO));
    // The earlier of two counts; one that is too far away is none.
    late(llm.generate("hello").deadline(Instant::now()).timeout(Duration::from_secs(3600)));
    let far = llm.generate("hello").max_tokens(3).timeout(Duration::MAX).complete().unwrap();
    assert_eq!(far.finish.usage.completion_tokens, 3);
}

#[test]
fn a_memory_is_as_good_as_new_after_an_end_anywhere() {
    for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
        let llm = Llama::builder(tiny.path()).n_ctx(1024).n_threads(1).load().unwrap();
        let text = "The quick brown fox jumps over the lazy dog and runs away ".repeat(20);
        let prompt = llm.model().vocab().tokenize(&text, TokenizeOptions::default()).unwrap()[..500].to_vec();
        let run = |generate: GenerationBuilder| {
            generate.max_tokens(12).temperature(0.0).ignore_eos(true).complete().unwrap()
        };
        let whole = run(llm.generate(&prompt[..]).cache_prompt(false));
        let mut ends = [0, 0];
        for step in 0..24 {
            // Somewhere in a prompt of which nothing is in memory, or its answer.
            run(llm.generate(&prompt[1..3]).cache_prompt(false));
            let all = whole.finish.timings.total;
            let finish = run(llm.generate(&prompt[..]).timeout(all * step / 20)).finish;
            ends[usize::from(finish.reason == FinishReason::Deadline)] += 1;
            let after = run(llm.generate(&prompt[..]));
            assert_eq!(after.text, whole.text, "{tiny}: after {:?}", finish.usage);
        }
        println!("{tiny}: {} in time, {} not", ends[0], ends[1]);
        assert!(ends[1] > 0, "{tiny}: a timeout of zero is over at once");
    }
}

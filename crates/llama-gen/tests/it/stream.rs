//! Events as an iterator and as an asynchronous stream, and their contents.

use core::time::Duration;
use std::thread::sleep;

use futures::executor::block_on;
use futures::{Stream, StreamExt};
use llama_core::{ContextParams, Token, TokenizeOptions};
use llama_gen::{
    CancelToken, ErrorKind, Event, Finish, FinishReason, GenerationBuilder, Llama, Result, WhenFull,
};
use test_models::{Tiny, smollm2};

fn tiny() -> Llama {
    Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap()
}

fn real() -> Llama {
    Llama::builder(smollm2()).n_ctx(512).n_threads(1).load().unwrap()
}

/// Formats an event without its times, which differ in every run.
fn without_times(event: Result<Event>) -> String {
    match event.unwrap() {
        Event::Finish(Finish { reason, usage, .. }) => format!("{reason:?} {usage:?}"),
        other => format!("{other:?}"),
    }
}

/// Something of every kind of event.
fn all_events(llm: &Llama) -> GenerationBuilder {
    let prompt = "Once upon a time 🦙 there was ".repeat(6);
    let generate = llm.generate(prompt).max_tokens(24).temperature(0.0).ignore_eos(true).cache_prompt(false);
    generate.progress(true).log_probabilities(3)
}

#[test]
fn asynchronous_events_are_the_blocking_ones() {
    for llm in [tiny(), real()] {
        let blocking: Vec<_> = all_events(&llm).stream().unwrap().map(without_times).collect();
        let stream = all_events(&llm).stream_async().unwrap();
        let alike: Vec<_> = block_on(stream.map(without_times).collect());
        assert_eq!(alike, blocking);
        // On other runtimes too.
        let run = || async {
            let stream = all_events(&llm).stream_async().unwrap();
            stream.map(without_times).collect::<Vec<_>>().await
        };
        let single = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(single.block_on(run()), blocking);
        let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let (handle, generate) = (multi.handle(), all_events(&llm));
        let spawned = handle.spawn(async move {
            let stream = generate.stream_async().unwrap();
            stream.map(without_times).collect::<Vec<_>>().await
        });
        assert_eq!(multi.block_on(spawned).unwrap(), blocking);
    }
}

#[test]
fn a_completion_can_be_awaited() {
    let llm = tiny();
    let generate = llm.generate("hello").max_tokens(12).temperature(0.0);
    let blocking = generate.clone().complete().unwrap();
    let awaited = block_on(generate.complete_async()).unwrap();
    assert_eq!((awaited.text(), &awaited.finish.reason), (blocking.text(), &blocking.finish.reason));
}

#[test]
fn tokens_come_with_their_bytes_and_before_their_text() {
    let llm = real();
    let generate = llm.generate("Emoji: 🦙🦙🦙🦙 🦙").max_tokens(24).temperature(0.0).tokens(true);
    let events: Vec<Event> = generate.clone().stream().unwrap().map(Result::unwrap).collect();
    let (mut bytes, mut text, mut last) = (Vec::new(), String::new(), None);
    for event in &events {
        match event {
            Event::Token(chosen) => {
                assert_eq!(chosen.token.log_probability, None, "it was not asked for");
                assert!(chosen.alternatives.is_empty());
                bytes.extend(&chosen.token.bytes);
                last = Some(chosen.token.id);
            }
            Event::Text(piece) => {
                assert!(piece.token.is_none() || piece.token == last, "{piece:?} comes after its token");
                text.push_str(&piece.text);
            }
            _ => {}
        }
    }
    assert_eq!(String::from_utf8_lossy(&bytes), text);
    assert_eq!(text, generate.complete().unwrap().text);
    let n_tokens = events.iter().filter(|event| matches!(event, Event::Token(_))).count();
    assert_eq!(n_tokens, 24);
    // Nothing of it without being asked for.
    let plain = llm.generate("Emoji").max_tokens(4).stream().unwrap().map(Result::unwrap);
    assert!(plain.into_iter().all(|event| matches!(event, Event::Text(_) | Event::Finish(_))));
}

#[test]
fn probabilities_are_those_of_the_model() {
    let llm = real();
    let generate = llm.generate("The capital of France is").max_tokens(3).temperature(0.0);
    let chosen = |generate: GenerationBuilder| -> Vec<_> {
        let events = generate.stream().unwrap().map(Result::unwrap);
        events.filter_map(|event| if let Event::Token(token) = event { Some(token) } else { None }).collect()
    };
    let all = chosen(generate.clone().log_probabilities(5));
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].token.bytes, b" Paris");
    for step in &all {
        let values: Vec<f32> = step.alternatives.iter().map(|other| other.log_probability.unwrap()).collect();
        assert_eq!(values.len(), 5);
        assert!(values.is_sorted_by(|left, right| left >= right), "{values:?}");
        assert!(values.iter().map(|value| value.exp()).sum::<f32>() <= 1.0, "{values:?}");
        // Greedy: the likeliest.
        assert_eq!(step.token, step.alternatives[0]);
    }
    // From the model, whatever the samplers do: the same row, and a token that is not among the listed.
    let hot = generate.clone().temperature(1.5).top_k(0).top_p(1.0).min_p(0.0).seed(7).log_probabilities(5);
    let hot = chosen(hot);
    assert_eq!(hot[0].alternatives, all[0].alternatives);
    assert!(hot.iter().any(|step| !step.alternatives.contains(&step.token)), "{hot:?}");
    assert!(hot.iter().all(|step| step.token.log_probability.is_some_and(|value| value < 0.0)));
    // Without alternatives only its own.
    let own = chosen(generate.log_probabilities(0));
    assert!(own.iter().all(|step| step.alternatives.is_empty()));
    let value = |steps: &[llama_gen::ChosenToken]| -> Vec<_> {
        steps.iter().map(|step| step.token.log_probability).collect()
    };
    assert_eq!(value(&own), value(&all));
}

#[test]
fn progress_tells_of_every_part_of_the_prompt() {
    let params = ContextParams::default().n_ubatch(32);
    let llm =
        Llama::builder(Tiny::Llama.path()).context_params(params).n_ctx(256).n_threads(1).load().unwrap();
    let words = "hello world ".repeat(60);
    let prompt = llm.model().vocab().tokenize(&words, TokenizeOptions::default()).unwrap()[..100].to_vec();
    let progress = |prompt: &[Token]| -> Vec<(usize, usize)> {
        let generate = llm.generate(prompt).max_tokens(1).progress(true);
        let events = generate.stream().unwrap().map(Result::unwrap);
        let parts = events.filter_map(|event| match event {
            Event::Progress(progress) => Some((progress.done, progress.total)),
            _ => None,
        });
        parts.collect()
    };
    assert_eq!(progress(&prompt), [(32, 100), (64, 100), (96, 100), (100, 100)]);
    // With what is in memory.
    assert_eq!(progress(&prompt), [(100, 100)]);
    assert_eq!(
        progress(&[&prompt[..50], &prompt[..]].concat()),
        [(82, 150), (114, 150), (146, 150), (150, 150)]
    );
}

#[test]
fn nobody_takes_the_events_and_the_generation_waits() {
    let llm = tiny();
    let cancel = CancelToken::new();
    let generate = llm.generate("hello").max_tokens(100_000).temperature(0.0).ignore_eos(true).tokens(true);
    let endless = generate.when_full(WhenFull::Shift { keep: 0 }).cancel_token(&cancel);
    let mut stream = endless.stream_async().unwrap();
    assert!(matches!(block_on(stream.next()), Some(Ok(_))));
    // Enough for thousands of tokens.
    sleep(Duration::from_millis(300));
    cancel.cancel();
    let rest: Vec<Event> = block_on(stream.map(Result::unwrap).collect());
    let Some(Event::Finish(finish)) = rest.last() else { panic!("{rest:?}") };
    assert_eq!(finish.reason, FinishReason::Cancelled);
    // Sixteen events wait, one waits for its place, and each token has made at most two.
    assert!(finish.usage.completion_tokens <= 20, "{}", finish.usage.completion_tokens);
}

#[test]
fn a_dropped_stream_gives_its_context_back() {
    let llm = tiny();
    let prompt = "hello world ".repeat(10);
    let mut stream = llm.generate(prompt.as_str()).ignore_eos(true).stream_async().unwrap();
    block_on(stream.next()).unwrap().unwrap();
    drop(stream);
    let usage = llm.generate(prompt).max_tokens(1).complete().unwrap().finish.usage;
    assert_eq!(usage.evaluated_tokens, 1);
    // In whatever state it is.
    for _ in 0..20 {
        drop(llm.generate("hello").ignore_eos(true).stream_async().unwrap());
        drop(llm.generate("hello").ignore_eos(true).complete_async());
    }
    assert_eq!(llm.generate("hello").max_tokens(3).complete().unwrap().finish.usage.completion_tokens, 3);
}

#[test]
fn errors_come_at_once_or_as_the_only_item() {
    let llm = tiny();
    let error = llm.generate("x").max_tokens(0).stream_async().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidParameters { .. }), "{error}");
    let items: Vec<_> = block_on(llm.generate("he\0llo").stream_async().unwrap().collect());
    assert_eq!(items.len(), 1);
    let error = items.into_iter().next().unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidPrompt { .. }), "{error}");
    let error = block_on(llm.generate("hello ".repeat(300)).complete_async()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::PromptTooLong { .. }), "{error}");
}

#[test]
fn a_panic_on_the_thread_passes_to_whoever_waits() {
    let llm = tiny();
    let generate = llm.generate("hello").ignore_eos(true).when_full(WhenFull::compact(|_| panic!("oh")));
    let stream = generate.stream_async().unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block_on(stream.count())));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "oh");
}

#[test]
fn a_stream_can_go_anywhere() {
    fn anywhere<S: Stream + Send + Unpin + 'static>(_: &S) {}
    fn sends<T: Send + 'static>(_: &T) {}
    let llm = tiny();
    anywhere(&llm.generate("hello").stream_async().unwrap());
    sends(&llm.generate("hello").stream().unwrap());
    sends(&llm.generate("hello").complete_async());
}

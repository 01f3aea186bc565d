//! Generation on the real model and the tiny ones: text, ends, limits, and refusals.

use llama_gen::{CancelToken, ErrorKind, Event, FinishReason, Llama};
use test_models::{Tiny, smollm2};

fn llama() -> Llama {
    Llama::builder(smollm2()).n_ctx(512).n_threads(2).load().unwrap()
}

fn tiny() -> Llama {
    Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap()
}

/// Returns the texts of a stream, and the reason for its end.
fn collect(events: impl Iterator<Item = llama_gen::Result<Event>>) -> (Vec<String>, llama_gen::Finish) {
    let mut texts = Vec::new();
    for event in events {
        match event.unwrap() {
            Event::Text(text) => texts.push(text.text),
            Event::Finish(finish) => return (texts, finish),
            other => panic!("{other:?}"),
        }
    }
    panic!("no finish event");
}

#[test]
fn the_capital_of_france_is_paris() {
    let completion =
        llama().generate("The capital of France is").max_tokens(8).temperature(0.0).complete().unwrap();
    assert_eq!(completion.text(), " Paris.\n\nThe United States has");
    assert_eq!(completion.finish.reason, FinishReason::MaxTokens);
    assert_eq!(completion.finish.usage.prompt_tokens, 5);
    assert_eq!(completion.finish.usage.completion_tokens, 8);
    assert!(completion.finish.timings.prompt <= completion.finish.timings.first_token);
    assert!(completion.finish.generation_tokens_per_second() > 0.0);
}

#[test]
fn streamed_texts_joined_are_the_completion() {
    let llm = llama();
    let generate = llm.generate("Emoji: 🦙🦙🦙🦙 🦙").max_tokens(24).temperature(0.0);
    let whole = generate.clone().complete().unwrap();
    let (texts, finish) = collect(generate.stream().unwrap());
    assert_eq!(texts.concat(), whole.text());
    assert_eq!(finish.usage.completion_tokens, whole.finish.usage.completion_tokens);
    assert!(!texts.concat().contains('\u{fffd}'), "no half characters: {texts:?}");
}

#[test]
fn a_stop_string_ends_the_text_and_is_not_shown() {
    let generate = llama().generate("The capital of France is").max_tokens(32).temperature(0.0);
    let (texts, finish) = collect(generate.stop(".\n\nThe Uni").stream().unwrap());
    assert_eq!(texts.concat(), " Paris");
    assert_eq!(finish.reason, FinishReason::StopString(".\n\nThe Uni".to_owned()));
}

#[test]
fn an_end_of_generation_token_ends_the_text() {
    let llm = llama();
    let prompt = "<|im_start|>user\nSay only: yes<|im_end|>\n<|im_start|>assistant\n";
    let completion =
        llm.generate(prompt).parse_special(true).max_tokens(128).temperature(0.0).complete().unwrap();
    let FinishReason::EndOfGeneration(token) = completion.finish.reason else {
        panic!("{:?}", completion.finish)
    };
    assert!(llm.model().vocab().is_eog(token));
    assert!(!completion.text().contains("<|im_end|>"), "{completion:?}");
}

#[test]
fn special_tokens_in_a_prompt_are_text_unless_asked_for() {
    let llm = tiny();
    let prompt = "<|im_end|>";
    let plain = llm.generate(prompt).max_tokens(1).complete().unwrap();
    let special = llm.generate(prompt).parse_special(true).max_tokens(1).complete().unwrap();
    assert!(plain.finish.usage.prompt_tokens > special.finish.usage.prompt_tokens);
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_another() {
    let llm = llama();
    let run = |seed| {
        let generate = llm.generate("Once upon a time").max_tokens(16).temperature(1.0).seed(seed);
        generate.complete().unwrap().text
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_full_context_ends_the_text() {
    let llm = tiny();
    let completion = llm.generate("hello").temperature(0.0).ignore_eos(true).complete().unwrap();
    assert_eq!(completion.finish.reason, FinishReason::ContextFull);
    let usage = completion.finish.usage;
    // The last token is chosen from the logits of the one that filled the context.
    assert_eq!(usage.prompt_tokens + usage.completion_tokens, 256 + 1);
}

#[test]
fn a_cancelled_generation_ends_with_what_it_has() {
    let cancel = CancelToken::new();
    let llm = llama();
    let mut stream =
        llm.generate("One, two, three,").temperature(0.0).cancel_token(&cancel).stream().unwrap();
    assert!(matches!(stream.next(), Some(Ok(Event::Text(_)))));
    cancel.cancel();
    let (_, finish) = collect(stream);
    assert_eq!(finish.reason, FinishReason::Cancelled);
    assert_eq!(finish.usage.completion_tokens, 1);
}

#[test]
fn a_dropped_generation_gives_its_context_back() {
    let llm = llama();
    let first = llm.generate("The capital of France is").max_tokens(8).temperature(0.0);
    let whole = first.clone().complete().unwrap();
    let mut stream = llm.generate("Something else entirely").temperature(0.0).stream().unwrap();
    stream.next().unwrap().unwrap();
    drop(stream);
    assert_eq!(first.complete().unwrap().text, whole.text, "nothing of the dropped one is left in memory");
}

#[test]
fn generations_in_several_threads_do_not_disturb_each_other() {
    let llm = tiny();
    let alone = llm.generate("hello").max_tokens(16).temperature(0.0).complete().unwrap().text;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| llm.generate("hello").max_tokens(16).temperature(0.0).complete().unwrap().text)
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}

#[test]
fn every_generative_tiny_model_generates() {
    for model in
        [Tiny::Llama, Tiny::LlamaQ8, Tiny::Qwen2, Tiny::Qwen3Moe, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba]
    {
        let llm = Llama::builder(model.path()).n_ctx(256).n_threads(1).load().unwrap();
        let run = || {
            let generate = llm.generate("hello").max_tokens(12).temperature(0.0).ignore_eos(true);
            generate.complete().unwrap()
        };
        let completion = run();
        assert_eq!(completion.finish.usage.completion_tokens, 12, "{model:?}");
        assert_eq!(completion.text, run().text, "{model:?}");
    }
}

#[test]
fn models_that_do_not_generate_are_refused() {
    for model in [Tiny::Bert, Tiny::BertReranker, Tiny::T5] {
        let error = Llama::load(model.path()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotGenerative { .. }), "{model:?}: {error}");
        assert!(error.to_string().contains(model.name()), "{error}");
    }
}

#[test]
fn all_problems_of_the_parameters_are_in_one_error() {
    let error =
        tiny().generate("x").max_tokens(0).temperature(f32::NAN).top_p(1.5).stop("").stream().unwrap_err();
    let ErrorKind::InvalidParameters { problems, .. } = error.kind() else { panic!("{error}") };
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "temperature is NaN, but must be 0, or at least 0.00001",
            "top_p is 1.5, but must be above 0 and at most 1",
            "max_tokens is 0, but must be at least 1, or None for no limit",
            "stop[0] is \"\", but must be at least one character long: an empty text would end every generation at once",
        ]
    );
}

#[test]
fn a_prompt_longer_than_the_context_is_refused_with_both_numbers() {
    let error = tiny().generate("hello ".repeat(300)).stream().unwrap_err();
    let ErrorKind::PromptTooLong { n_prompt, n_ctx, .. } = *error.kind() else { panic!("{error}") };
    assert!(n_prompt > 300, "{n_prompt}");
    assert_eq!(n_ctx, 256);
}

#[test]
fn a_prompt_with_a_nul_byte_is_refused_with_its_position() {
    let error = tiny().generate("he\0llo").stream().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidPrompt { .. }));
    assert!(error.to_string().contains("NUL byte at position 2"), "{error}");
}

#[test]
fn a_huge_thread_count_is_refused() {
    let error = Llama::builder(Tiny::Llama.path()).n_threads(1_000_000).load().unwrap_err();
    assert_eq!(error.to_string(), "n_threads is 1000000, but must be from 1 to 512");
}

#[test]
fn a_missing_model_is_named() {
    let error = Llama::load("no/such/model.gguf").unwrap_err();
    assert!(error.to_string().contains("no/such/model.gguf"), "{error}");
}

#[test]
fn a_generator_can_move_to_another_thread() {
    let llm = tiny();
    let stream = llm.generate("hello").max_tokens(4).temperature(0.0).stream().unwrap();
    let (texts, _) = std::thread::spawn(move || collect(stream)).join().unwrap();
    assert_eq!(texts.concat(), llm.generate("hello").max_tokens(4).temperature(0.0).complete().unwrap().text);
}

//! LoRA adapters of single generations: a given list replaces the active one.

use llama_core::{LoraAdapter, TokenizeOptions};
use llama_gen::{ErrorKind, Event, GenerationBuilder, Llama};
use test_models::{Tiny, Tuned};

fn load(path: std::path::PathBuf) -> Llama {
    Llama::builder(path).n_ctx(256).n_threads(1).load().unwrap()
}

const PROMPT: &str = "hello world, the river and the stone";

/// The greedy text, and for each of its tokens the log-probability.
fn run(generate: GenerationBuilder) -> (String, Vec<f32>, usize) {
    let generate = generate.max_tokens(16).temperature(0.0).ignore_eos(true).log_probabilities(1);
    let (mut text, mut probabilities) = (String::new(), Vec::new());
    for event in generate.stream().unwrap() {
        match event.unwrap() {
            Event::Text(more) => text.push_str(&more.text),
            Event::Token(token) => probabilities.push(token.token.log_probability.unwrap()),
            Event::Finish(finish) => return (text, probabilities, finish.usage.reused_tokens),
            _ => {}
        }
    }
    panic!("no finish event");
}

fn assert_near(left: &(String, Vec<f32>, usize), right: &(String, Vec<f32>, usize)) {
    assert_eq!(left.0, right.0);
    let far = left.1.iter().zip(&right.1).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
    assert!(far < 1e-3, "{far}");
}

#[test]
fn an_adapter_is_as_if_it_were_merged() {
    let base = load(Tuned::Base.path());
    let (first, second) =
        (base.load_lora(Tuned::Lora.path()).unwrap(), base.load_lora(Tuned::SecondLora.path()).unwrap());
    let plain = run(base.generate(PROMPT));
    let with_first = run(base.generate(PROMPT).lora(&first, 1.0));
    assert_near(&with_first, &run(load(Tuned::Merged.path()).generate(PROMPT)));
    let with_both = run(base.generate(PROMPT).lora(&first, 1.0).lora(&second, 0.5));
    assert_near(&with_both, &run(load(Tuned::MergedBoth.path()).generate(PROMPT)));
    assert_ne!(plain.0, with_first.0);
    assert_ne!(with_first.0, with_both.0);
    // The list given is the list active: none is none, and what others left in memory is not used.
    let again = run(base.generate(PROMPT));
    assert_eq!((&again.0, &again.1, again.2), (&plain.0, &plain.1, 0));
    assert_eq!(run(base.generate(PROMPT).lora(&first, 0.0)).0, plain.0);
}

#[test]
fn memory_is_used_again_with_the_same_adapters() {
    let base = Llama::builder(Tuned::Base.path()).n_ctx(256).n_threads(1).idle_contexts(2).load().unwrap();
    let adapter = base.load_lora(Tuned::Lora.path()).unwrap();
    let n_prompt = base.model().vocab().tokenize(PROMPT, TokenizeOptions::default()).unwrap().len();
    let plain = run(base.generate(PROMPT));
    let adapted = run(base.generate(PROMPT).lora(&adapter, 1.0));
    assert_eq!((plain.2, adapted.2), (0, 0));
    let (plain_again, adapted_again) =
        (run(base.generate(PROMPT)), run(base.generate(PROMPT).lora(&adapter, 1.0)));
    assert_eq!((plain_again.2, adapted_again.2), (n_prompt - 1, n_prompt - 1), "a context for each");
    assert_eq!((plain_again.0, adapted_again.0), (plain.0, adapted.0));
    let half = run(base.generate(PROMPT).lora(&adapter, 0.5));
    assert_eq!(half.2, 0, "another scale is another model");
}

#[test]
fn adapters_that_cannot_be_are_refused_and_leave_all_as_it_was() {
    let base = load(Tuned::Base.path());
    let adapter = base.load_lora(Tuned::Lora.path()).unwrap();
    let plain = run(base.generate(PROMPT));
    let other = load(Tiny::Llama.path());
    let foreign = LoraAdapter::load(other.model(), Tuned::Lora.path()).unwrap();
    for (generate, expected) in [
        (base.generate(PROMPT).lora(&foreign, 1.0), "was loaded for another model than the context's"),
        (base.generate(PROMPT).lora(&adapter, f32::NAN), "scale"),
        (base.generate(PROMPT).lora(&adapter, 1.0).lora(&adapter, 1.0), "must be a list without duplicates"),
    ] {
        let error = generate.stream().unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Core(_)) && error.to_string().contains(expected),
            "{error}"
        );
    }
    assert_eq!(run(base.generate(PROMPT)).0, plain.0);
    assert!(base.load_lora(Tuned::WrongArchitecture.path()).is_err());
    assert!(base.load_lora("no/such/adapter.gguf").unwrap_err().to_string().contains("no/such/adapter.gguf"));
}

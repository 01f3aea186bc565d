//! Every seed reproduces its text, and a drawn seed is reported at the end.

use llama_gen::{Completion, GenerationBuilder, GenerationParams, Llama, SamplingParams};
use test_models::Tiny;

fn load() -> Llama {
    Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap()
}

fn hot(llm: &Llama) -> GenerationBuilder {
    let generate = llm.generate("Once upon a time").max_tokens(24).ignore_eos(true).cache_prompt(false);
    generate.temperature(1.5).top_k(0).top_p(1.0).min_p(0.0)
}

/// Returns every way to choose randomly.
fn ways() -> Vec<(&'static str, SamplingParams)> {
    let hot = || SamplingParams::default().temperature(1.5).top_k(0).top_p(1.0).min_p(0.0);
    vec![
        ("dist", hot()),
        ("chain", hot().typical_p(0.99)),
        ("xtc", hot().xtc_probability(0.5).xtc_threshold(0.001)),
        ("mirostat", hot().mirostat(1)),
        ("mirostat 2", hot().mirostat(2)),
        ("adaptive-p", {
            let samplers = vec![llama_gen::SamplerName::MinP, llama_gen::SamplerName::AdaptiveP];
            hot().samplers(samplers).adaptive_target(0.3)
        }),
    ]
}

fn run(llm: &Llama, sampling: SamplingParams) -> Completion {
    hot(llm).sampling(sampling).complete().unwrap()
}

#[test]
fn every_seed_gives_its_text_again() {
    let llm = load();
    for (name, sampling) in ways() {
        for seed in [0, 1, u32::MAX - 1, u32::MAX] {
            let first = run(&llm, sampling.clone().seed(seed));
            let second = run(&llm, sampling.clone().seed(seed));
            assert_eq!(first.text, second.text, "{name} {seed}");
            assert_eq!(first.finish.seed, Some(seed), "{name}");
        }
    }
}

#[test]
fn a_drawn_seed_is_told_and_gives_the_text_again() {
    let llm = load();
    for (name, sampling) in ways() {
        let drawn = run(&llm, sampling.clone());
        let other = run(&llm, sampling.clone());
        assert_ne!(drawn.finish.seed, other.finish.seed, "{name}");
        assert_ne!(drawn.text, other.text, "{name}");
        let again = run(&llm, sampling.seed(drawn.finish.seed));
        assert_eq!(again.text, drawn.text, "{name}");
        assert_eq!(again.finish.seed, drawn.finish.seed, "{name}");
    }
    // Nothing is left to chance.
    assert_eq!(hot(&llm).temperature(0.0).complete().unwrap().finish.seed, None);
}

#[test]
fn completions_count_up_from_the_seed_and_past_the_last_one() {
    let llm = load();
    let seeds = |all: &[Completion]| all.iter().map(|one| one.finish.seed.unwrap()).collect::<Vec<_>>();
    let three = |seed: Option<u32>| hot(&llm).seed(seed).completions(3).unwrap().complete().unwrap();
    let texts = |all: &[Completion]| all.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
    let last = three(Some(u32::MAX - 1));
    assert_eq!(seeds(&last), [u32::MAX - 1, u32::MAX, 0]);
    assert_eq!(texts(&three(Some(u32::MAX - 1))), texts(&last));
    let drawn = three(None);
    let first = drawn[0].finish.seed;
    assert_eq!(seeds(&drawn)[1], first.unwrap().wrapping_add(1));
    assert_eq!(texts(&three(first)), texts(&drawn));
}

#[test]
fn seeds_in_json() {
    let read = |text: &str| serde_json::from_str::<GenerationParams>(text).map(|it| it.sampling.seed);
    assert_eq!(read(r#"{"seed": -1}"#).unwrap(), None);
    assert_eq!(read(r#"{"seed": null}"#).unwrap(), None);
    assert_eq!(read("{}").unwrap(), None);
    assert_eq!(read(r#"{"seed": 4294967295}"#).unwrap(), Some(u32::MAX));
    let mut params = GenerationParams::default();
    params.sampling.seed = Some(u32::MAX);
    let text = serde_json::to_string(&params).unwrap();
    assert_eq!(text, r#"{"seed":4294967295}"#);
    assert_eq!(serde_json::from_str::<GenerationParams>(&text).unwrap(), params);
}

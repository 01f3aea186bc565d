//! Ends the answers to one prompt in several ways.
//! `cargo run -p llama-examples --example stopping -- model.gguf "Once upon a time"`.

#![allow(clippy::print_stdout, reason = "a command-line program talks to its user")]

use std::env;
use std::time::Duration;

use llama_gen::{GenerationParams, Llama, RepetitionGuard, SamplingParams, SoFar};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [model, prompt] = args.as_slice() else { anyhow::bail!("give a model and a prompt") };
    let llm = Llama::load(model)?;
    let generate = llm.generate(prompt).max_tokens(200).temperature(0.0);
    let three_words = |so_far: &SoFar<'_>| so_far.text.split_whitespace().count() > 3;
    let choice = SamplingParams::default().temperature(0.0).grammar(r#"root ::= " yes" | " no""#);
    let mut circles = GenerationParams::default();
    circles.sampling.temperature = Some(0.0);
    circles.ignore_eos = true;
    circles.max_tokens = Some(200);
    circles.repetition_guard = Some(RepetitionGuard::default().min_tokens(12));
    for (what, generate) in [
        ("limit", generate.clone().max_tokens(8)),
        ("string", generate.clone().stop(" a")),
        ("criterion", generate.clone().stop_when(three_words)),
        ("grammar", generate.clone().sampling(choice)),
        ("circles", generate.clone().params(circles)),
        ("time", generate.timeout(Duration::from_millis(20))),
    ] {
        let completion = generate.complete()?;
        println!("{what}: {:?} by {:?}", completion.text, completion.finish.reason);
    }
    Ok(())
}

//! Measures a generation alternately as an iterator and as an asynchronous stream, and the ratio of their speeds.
//! `cargo run --release -p llama-benches --bin stream -- --model model.gguf --threads 2`.

#![allow(clippy::print_stdout, reason = "the result is what the program is for")]

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use futures::StreamExt as _;
use futures::executor::block_on;
use llama_gen::{Event, Finish, GenerationBuilder, Llama, Result};

#[derive(Parser)]
struct Args {
    /// A GGUF file.
    #[arg(long)]
    model: PathBuf,
    /// The number of tokens to generate.
    #[arg(long, default_value_t = 128)]
    tokens: u32,
    /// The number of rounds; each runs both, one after the other.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// The number of CPU threads.
    #[arg(long)]
    threads: u32,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let llm = Llama::builder(&args.model).n_ctx(1024).n_threads(args.threads).load()?;
    let generate = llm.generate("Once upon a time").max_tokens(args.tokens).temperature(0.0).ignore_eos(true);
    let mut speeds = [Vec::new(), Vec::new()];
    let mut ratios = Vec::new();
    // The first round warms up.
    for round in 0..=args.rounds {
        let (blocking, asynchronous) = (speed(blocking, &generate)?, speed(asynchronous, &generate)?);
        if round > 0 {
            speeds[0].push(blocking);
            speeds[1].push(asynchronous);
            ratios.push(asynchronous / blocking);
        }
    }
    println!("| blocking (t/s) | asynchronous (t/s) | asynchronous / blocking |");
    println!("|---:|---:|---:|");
    let [blocking, asynchronous] = speeds.map(|values| spread(values, 1));
    println!("| {blocking} | {asynchronous} | {} |", spread(ratios, 3));
    Ok(())
}

/// Returns the tokens per second by the wall clock, including the waits for events.
fn speed(
    run: fn(GenerationBuilder) -> Result<Option<Finish>>,
    generate: &GenerationBuilder,
) -> anyhow::Result<f64> {
    let start = std::time::Instant::now();
    let finish = run(generate.clone())?.context("the generation has no end")?;
    let tokens = u32::try_from(finish.usage.completion_tokens)?;
    Ok(f64::from(tokens) / start.elapsed().as_secs_f64())
}

fn blocking(generate: GenerationBuilder) -> Result<Option<Finish>> {
    let mut finish = None;
    for event in generate.stream()? {
        finish = end(event?);
    }
    Ok(finish)
}

fn asynchronous(generate: GenerationBuilder) -> Result<Option<Finish>> {
    let mut events = generate.stream_async()?;
    block_on(async {
        let mut finish = None;
        while let Some(event) = events.next().await {
            finish = end(event?);
        }
        Ok(finish)
    })
}

fn end(event: Event) -> Option<Finish> {
    if let Event::Finish(finish) = event { Some(finish) } else { None }
}

/// Formats median, lowest and highest value.
fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let (low, middle, high) = (at(0), at(values.len() / 2), at(values.len().saturating_sub(1)));
    format!("{middle:.digits$} ({low:.digits$} to {high:.digits$})")
}

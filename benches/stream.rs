//! Measures a generation as an iterator and as an asynchronous stream, and the ratio of their speeds.
//! `cargo run --release -p llama-benches --bin stream -- --model model.gguf --threads 2`.
//!
//! Both run alternately, each in a process of its own: a thread that has computed keeps OpenMP's team of threads, and with
//! more threads than processors OpenMP lets them sleep at every barrier.

#![allow(clippy::print_stdout, reason = "the result is what the program is for")]

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
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
    /// The number of rounds; each runs both, one after the other, and every second round the other way around.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// The number of generations in each round, after one that warms up.
    #[arg(long, default_value_t = 3)]
    generations: u32,
    /// The number of CPU threads.
    #[arg(long)]
    threads: u32,
    /// Measure one way in this process, and print its tokens per second.
    #[arg(long)]
    only: Option<Way>,
}

/// A way to receive events.
#[derive(Clone, Copy, ValueEnum)]
enum Way {
    Blocking,
    Asynchronous,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(way) = args.only {
        println!("{}", speed_of(&args, way)?);
        return Ok(());
    }
    let mut speeds = [Vec::new(), Vec::new()];
    for round in 0..args.rounds {
        let mut ways = [Way::Blocking, Way::Asynchronous];
        if round % 2 == 1 {
            ways.reverse();
        }
        for way in ways {
            speeds[way as usize].push(in_own_process(way)?);
        }
    }
    let ratios = speeds[1].iter().zip(&speeds[0]).map(|(asynchronous, blocking)| asynchronous / blocking);
    let ratios = spread(ratios.collect(), 3);
    println!("| blocking (t/s) | asynchronous (t/s) | asynchronous / blocking |");
    println!("|---:|---:|---:|");
    let [blocking, asynchronous] = speeds.map(|values| spread(values, 1));
    println!("| {blocking} | {asynchronous} | {ratios} |");
    Ok(())
}

/// Runs this program again with the same arguments and `--only`. Returns its tokens per second.
fn in_own_process(way: Way) -> anyhow::Result<f64> {
    let name = way.to_possible_value().context("every way has a name")?;
    let output = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .args(["--only", name.get_name()])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Returns the median speed of some generations in this process.
fn speed_of(args: &Args, way: Way) -> anyhow::Result<f64> {
    let llm = Llama::builder(&args.model).n_ctx(1024).n_threads(args.threads).load()?;
    let generate = llm.generate("Once upon a time").max_tokens(args.tokens).temperature(0.0).ignore_eos(true);
    let run = match way {
        Way::Blocking => blocking,
        Way::Asynchronous => asynchronous,
    };
    speed(run, &generate)?;
    let mut speeds =
        (0..args.generations).map(|_| speed(run, &generate)).collect::<anyhow::Result<Vec<_>>>()?;
    speeds.sort_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).copied().context("no generation was measured")
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

//! Completes every line of a file, several at a time, and prints the answers in order. Each worker computes the
//! common beginning of all prompts once.
//! `cargo run -p llama-examples --example batch -- --model model.gguf --prompts lines.txt`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to its user")]

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use clap::Parser;
use llama_gen::{Completion, Llama};

/// Completes every line of a file.
#[derive(Parser)]
struct Args {
    /// A GGUF file.
    #[arg(long)]
    model: PathBuf,
    /// A file with a prompt on each line.
    #[arg(long)]
    prompts: PathBuf,
    /// The beginning of every prompt.
    #[arg(long, default_value = "")]
    prefix: String,
    /// The number of prompts to complete at a time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    parallel: u32,
    /// The most tokens of each answer.
    #[arg(long, default_value_t = 32)]
    max_tokens: u32,
    /// The number of CPU threads for all of them together; by default the processors that this process may use.
    #[arg(long)]
    threads: Option<u32>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let text = fs::read_to_string(&args.prompts)?;
    let prompts: Vec<String> = text.lines().map(|line| format!("{}{line}", args.prefix)).collect();
    let processors = u32::try_from(thread::available_parallelism()?.get())?;
    // More threads than processors would only wait for each other.
    let n_threads = (args.threads.unwrap_or(processors) / args.parallel).max(1);
    let llm = Llama::builder(&args.model)
        .n_threads(n_threads)
        .idle_contexts(usize::try_from(args.parallel)?)
        .load()?;

    let start = Instant::now();
    let answers = complete_all(&llm, &prompts, &args)?;
    for answer in &answers {
        println!("{:?}", answer.text());
    }
    let sum = |count: fn(&Completion) -> usize| answers.iter().map(count).sum::<usize>();
    eprintln!(
        "{} prompts in {:.1} s: {} tokens reused, {} evaluated, {} generated",
        answers.len(),
        start.elapsed().as_secs_f64(),
        sum(|answer| answer.finish.usage.reused_tokens),
        sum(|answer| answer.finish.usage.evaluated_tokens),
        sum(|answer| answer.finish.usage.completion_tokens),
    );
    Ok(())
}

/// Runs workers that each take the next prompt until there is none, and returns the answers in the order of the
/// prompts.
fn complete_all(llm: &Llama, prompts: &[String], args: &Args) -> anyhow::Result<Vec<Completion>> {
    let next = Mutex::new(prompts.iter().enumerate());
    let work = || -> anyhow::Result<Vec<(usize, Completion)>> {
        let mut done = Vec::new();
        loop {
            let Some((index, prompt)) = next.lock().map_err(|_| anyhow::anyhow!("a worker failed"))?.next()
            else {
                return Ok(done);
            };
            let generate = llm.generate(prompt).max_tokens(args.max_tokens).temperature(0.0);
            done.push((index, generate.complete()?));
        }
    };
    let mut answers = thread::scope(|scope| {
        let workers: Vec<_> = (0..args.parallel).map(|_| scope.spawn(work)).collect();
        let results = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.collect::<anyhow::Result<Vec<_>>>()
    })?
    .concat();
    answers.sort_by_key(|(index, _)| *index);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

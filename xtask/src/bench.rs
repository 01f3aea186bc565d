//! `cargo xtask bench`: compares our decode loop with llama.cpp's own `llama-bench`, from one build, in one run, and
//! sampling with `llama_sampler_sample`.

mod build;
mod report;
mod sample;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use self::build::Programs;
use self::report::{Report, Speeds};
use crate::progress::Step;
use crate::setup::{self, Item, models};
use crate::workspace;

/// The number of tokens of the prompt, and of generated tokens, as in llama.cpp's own tables.
const PROMPT: &str = "512";
const GENERATED: &str = "64";

/// Compares llama-core with llama-bench, round by round, and prints a table.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    which: Option<Which>,
    /// The number of rounds; each runs both programs, one after the other.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The number of computing threads; by default the processors that are available.
    #[arg(long)]
    threads: Option<usize>,
    /// Write the table into this file, between its markers.
    #[arg(long, num_args = 0..=1, value_name = "FILE", default_missing_value = "docs/benchmarks.md")]
    write: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Which {
    /// Run the criterion benchmarks: tokenising, sampling, building batches.
    Criterion {
        /// Arguments for criterion.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Compare sampling from rows with llama_sampler_sample, for several vocabularies and chains, and print a table.
    Sample(sample::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.which {
        Some(Which::Criterion { arguments }) => return criterion(arguments),
        Some(Which::Sample(args)) => return sample::run(args),
        None => {}
    }
    setup::ensure(&[Item::Pin, Item::Tools, Item::Smollm2])?;
    let programs = build::build()?;
    let threads = args.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let report = measure(&programs, threads, args.rounds)?;
    let table = report.to_string();
    println!("{table}");
    if let Some(file) = &args.write {
        report::put_into(&workspace::root().join(file), "cargo xtask bench", &table)?;
    }
    Ok(())
}

fn criterion(arguments: &[String]) -> Result<()> {
    setup::ensure(setup::ALL)?;
    let mut command = workspace::cargo();
    command.args(["bench", "-p", "llama-benches", "--"]).args(arguments);
    workspace::run_inheriting(&mut command)
}

/// Runs both programs alternately, so that other load and the machine's temperature affect both.
fn measure(programs: &Programs, threads: usize, rounds: u32) -> Result<Report> {
    let model = models::SMOLLM2.path();
    let mut report = Report::new(threads, setup::pin::describe()?);
    for round in 1..=rounds {
        let step = Step::spinner(format!("round {round} of {rounds}"));
        let (theirs, cpu) = llama_bench(&programs.llama_bench, &model, threads)?;
        let ours = decode(&programs.decode, &model, threads)?;
        step.done(&format!("ours/theirs {}", ours.relative_to(theirs)));
        report.add(theirs, ours, cpu);
    }
    Ok(report)
}

fn llama_bench(program: &Path, model: &Path, threads: usize) -> Result<(Speeds, String)> {
    let mut command = Command::new(program);
    command.arg("-m").arg(model).args(["-p", PROMPT, "-n", GENERATED, "-r", "1", "-o", "json"]);
    command.args(["-t", &threads.to_string()]);
    let printed = workspace::capture(&mut command)?;
    parse_llama_bench(&printed)
        .with_context(|| format!("`{}` printed\n{printed}", workspace::command_line(&command)))
}

fn decode(program: &Path, model: &Path, threads: usize) -> Result<Speeds> {
    let mut command = Command::new(program);
    command.arg("--model").arg(model).args(["--pp", PROMPT, "--tg", GENERATED, "--json"]);
    command.args(["--threads", &threads.to_string()]);
    let printed = workspace::capture(&mut command)?;
    parse_decode(&printed)
        .with_context(|| format!("`{}` printed\n{printed}", workspace::command_line(&command)))
}

/// Returns the speeds and the processor from llama-bench's output.
fn parse_llama_bench(printed: &str) -> Result<(Speeds, String)> {
    #[derive(Deserialize)]
    struct Test {
        n_prompt: u32,
        n_gen: u32,
        avg_ts: f64,
        cpu_info: String,
    }
    let tests: Vec<Test> = serde_json::from_str(printed).context("llama-bench printed no list of tests")?;
    let prompt = tests.iter().find(|test| test.n_prompt > 0 && test.n_gen == 0).context("no prompt test")?;
    let generation =
        tests.iter().find(|test| test.n_gen > 0 && test.n_prompt == 0).context("no generation test")?;
    Ok((Speeds { prompt: prompt.avg_ts, generation: generation.avg_ts }, prompt.cpu_info.clone()))
}

/// Returns the speeds from the one line that the harness prints.
fn parse_decode(printed: &str) -> Result<Speeds> {
    #[derive(Deserialize)]
    struct Line {
        pp_tps: f64,
        tg_tps: f64,
    }
    let line = printed
        .lines()
        .rev()
        .find(|line| line.starts_with('{'))
        .context("the harness printed no JSON line")?;
    let Line { pp_tps, tg_tps } = serde_json::from_str(line)?;
    Ok(Speeds { prompt: pp_tps, generation: tg_tps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_llama_bench_prints_is_understood() {
        let printed = r#"[
          {"cpu_info": "Some CPU", "n_prompt": 512, "n_gen": 0, "avg_ts": 780.5, "samples_ts": [780.5]},
          {"cpu_info": "Some CPU", "n_prompt": 0, "n_gen": 64, "avg_ts": 61.25, "samples_ts": [61.25]}
        ]"#;
        let (speeds, cpu) = parse_llama_bench(printed).unwrap();
        assert_eq!(speeds, Speeds { prompt: 780.5, generation: 61.25 });
        assert_eq!(cpu, "Some CPU");
        assert!(parse_llama_bench("[]").is_err());
    }

    #[test]
    fn what_the_harness_prints_is_understood() {
        let speeds = parse_decode("warming up\n{\"pp_tps\": 700.0, \"tg_tps\": 60.5}\n").unwrap();
        assert_eq!(speeds, Speeds { prompt: 700.0, generation: 60.5 });
        assert!(parse_decode("nothing").is_err());
    }
}

//! `cargo xtask fuzz`: inputs that nobody thought of.

mod models;
mod targets;

use anyhow::{Result, bail};

use crate::progress;

/// The kind of input that is made by this workspace and not by libFuzzer.
const MODELS: &str = "models";

/// Runs fuzz targets, each for a while, or models. A target that fails leaves its input under `target/fuzz/failures`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The targets of `fuzz/`, all when none is named, or `models`: hostile models of every architecture.
    targets: Vec<String>,
    /// For how long each target runs.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How many models are tried.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    cases: u64,
    /// The number of the first model. With `--cases 1` a model that failed is tried alone.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Try, of every architecture, models that lack one tensor, instead of random ones.
    #[arg(long, conflicts_with_all = ["cases", "first"])]
    missing_tensors: bool,
    /// Only name the targets.
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let all = targets::all()?;
    if args.list {
        println!("{}\n{MODELS}", all.join("\n"));
        return Ok(());
    }
    let unknown = |target: &&String| *target != MODELS && !all.contains(target);
    if let Some(unknown) = args.targets.iter().find(unknown) {
        bail!("there is no fuzz target {unknown}: the targets are {}, {MODELS}", all.join(", "));
    }
    let chosen: Vec<String> = args.targets.iter().filter(|target| *target != MODELS).cloned().collect();
    if args.targets.is_empty() {
        targets::run(&all, args.seconds)?;
    } else if !chosen.is_empty() {
        targets::run(&chosen, args.seconds)?;
    }
    if chosen.len() < args.targets.len() {
        models::run(args)?;
    }
    let count = if args.targets.is_empty() { all.len() } else { args.targets.len() };
    progress::note("fuzz", &format!("{count} targets, nothing found"));
    Ok(())
}

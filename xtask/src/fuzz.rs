//! `cargo xtask fuzz`: runs generated inputs.

mod models;
mod targets;

use anyhow::{Result, bail};

use crate::progress;

/// The kind of input that this workspace generates, not libFuzzer.
const MODELS: &str = "models";

/// Runs fuzz targets, each for some time, or models. A target that fails leaves its input under
/// `target/fuzz/failures`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The targets of `fuzz/`, all when none is named; or `models`, hostile models of every architecture.
    targets: Vec<String>,
    /// The seconds that each target runs.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// The number of models to try.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    cases: u64,
    /// The number of the first model. With `--cases 1` it is the only one.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Instead of random models, try models of every architecture that lack one tensor.
    #[arg(long, conflicts_with_all = ["cases", "first"])]
    missing_tensors: bool,
    /// Only print the names of the targets.
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

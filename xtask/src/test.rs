//! `cargo xtask test`: runs all checks and tests, on a bare machine, in the order that fails soonest.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

use crate::{codegen, docs, native, progress, setup, tidy, workspace};

/// Sets up what is missing and runs all checks and tests. Stops at the first step that fails.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out clippy and rustdoc.
    #[arg(long)]
    fast: bool,
    /// Run only this step; may be given several times.
    #[arg(long, value_enum, value_name = "STEP", conflicts_with = "fast")]
    only: Vec<Step>,
    /// Run 20,000 random sequences of calls instead of 500, which takes minutes.
    #[arg(long)]
    long: bool,
}

/// The number of random sequences of `--long`, and the variable that sets it.
const LONG: (&str, &str) = ("LLAMA_SEQUENCES", "20000");

/// A step, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Step {
    /// The source is formatted.
    Format,
    /// The sources keep the rules of this workspace that no other tool knows.
    Tidy,
    /// The committed bindings and generated tables match the pinned tree and the manifests.
    Codegen,
    /// Everything builds, llama.cpp included.
    Build,
    /// Clippy gives no warnings.
    Clippy,
    /// Unit, integration and documentation tests.
    Test,
    /// Failures inside C++ are errors with `panic = "abort"` too.
    Abort,
    /// The documentation builds without a warning.
    Doc,
}

/// The outcome of one step.
struct Outcome {
    name: String,
    passed: bool,
    time: Duration,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut outcomes = Vec::new();
    let result = run_steps(args, &mut outcomes);
    println!("\n{}", summary(&outcomes));
    result
}

fn run_steps(args: &Args, outcomes: &mut Vec<Outcome>) -> Result<()> {
    timed("setup", outcomes, || setup::ensure(setup::ALL))?;
    for step in args.steps() {
        timed(&step.name(), outcomes, || step.run(args.long))?;
    }
    Ok(())
}

fn timed(name: &str, outcomes: &mut Vec<Outcome>, step: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("\n==> {name}");
    let started = Instant::now();
    let result = step();
    let time = started.elapsed();
    outcomes.push(Outcome { name: name.to_owned(), passed: result.is_ok(), time });
    result.with_context(|| match name {
        "setup" => "setup failed".to_owned(),
        _ => format!("step `{name}` failed; `cargo xtask test --only {name}` runs it alone"),
    })
}

impl Args {
    fn steps(&self) -> Vec<Step> {
        let wanted = |step: &Step| match self.only.as_slice() {
            [] => !(self.fast && matches!(step, Step::Clippy | Step::Doc)),
            only => only.contains(step),
        };
        Step::value_variants().iter().copied().filter(wanted).collect()
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn run(self, long: bool) -> Result<()> {
        match self {
            Self::Format => workspace::run(&mut cargo("fmt --all --check"))
                .context("the source is not formatted: run `cargo fmt --all`"),
            Self::Tidy => tidy::check(),
            Self::Codegen => {
                codegen::run(&codegen::Args { check: true })?;
                docs::run(&docs::Args { check: true })
            }
            // xtask is left out, because Windows does not allow a running program to be replaced.
            Self::Build => {
                native::build("building the workspace", &mut cargo("build --workspace --exclude xtask"))
            }
            Self::Clippy => workspace::run(&mut cargo("clippy --workspace --all-targets -- -D warnings")),
            Self::Test => {
                let mut tests = cargo("test --workspace --no-fail-fast");
                tests.envs(long.then_some(LONG));
                workspace::run_inheriting(&mut tests)
            }
            Self::Abort => workspace::run_inheriting(&mut cargo(
                "run --profile abort --package llama-core --features common --example contained_failures",
            )),
            Self::Doc => {
                workspace::run(cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings"))
            }
        }
    }
}

fn cargo(arguments: &str) -> Command {
    let mut command = workspace::cargo();
    command.args(arguments.split(' '));
    eprintln!("cargo {arguments}");
    command
}

fn summary(outcomes: &[Outcome]) -> String {
    let width = outcomes.iter().map(|outcome| outcome.name.len()).max().unwrap_or_default();
    let line = |outcome: &Outcome| {
        let result = if outcome.passed { "ok" } else { "FAILED" };
        format!("  {:width$}  {result:6}  {}", outcome.name, progress::duration(outcome.time))
    };
    outcomes.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &Args) -> Vec<String> {
        args.steps().into_iter().map(Step::name).collect()
    }

    #[test]
    fn all_steps_run_unless_told_otherwise() {
        let all = names(&Args { fast: false, only: vec![], long: false });
        assert_eq!(all, ["format", "tidy", "codegen", "build", "clippy", "test", "abort", "doc"]);
        let fast = names(&Args { fast: true, only: vec![], long: false });
        assert_eq!(fast, ["format", "tidy", "codegen", "build", "test", "abort"]);
        let only = names(&Args { fast: false, only: vec![Step::Test, Step::Tidy], long: true });
        assert_eq!(only, ["tidy", "test"], "in their own order");
    }

    #[test]
    fn the_step_that_failed_is_named_with_how_to_run_it_alone() {
        let mut outcomes = Vec::new();
        let error = timed("tidy", &mut outcomes, || anyhow::bail!("2 findings")).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "step `tidy` failed; `cargo xtask test --only tidy` runs it alone: 2 findings"
        );
        timed("doc", &mut outcomes, || Ok(())).unwrap();
        assert_eq!(summary(&outcomes), "  tidy  FAILED  0.0 s\n  doc   ok      0.0 s");
    }
}

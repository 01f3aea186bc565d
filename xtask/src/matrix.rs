//! `cargo xtask matrix`: builds and runs every set of features where the toolchain exists, and otherwise skips it
//! with the reason.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::{progress, setup, workspace};

/// The beginning of `llama-sys`'s list of missing tools.
const INCOMPLETE: &str = "the toolchain for the chosen features is not complete:";

/// Builds and tests each set of features, and reports which were built, run or skipped, and why.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Only rows whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only print the names of the rows.
    #[arg(long)]
    list: bool,
}

/// The work done for a set of features.
#[derive(Clone, Copy)]
enum Suite {
    /// Runs the tests of a package.
    Test(&'static str),
    /// Runs the tests of a package with `panic = "abort"`, each in its own process, without the tests of panics.
    Abort(&'static str, &'static [&'static str]),
    /// Only builds, because running needs a device.
    Build(&'static str),
    /// Only checks Rust, without native code.
    Check(&'static str),
    /// Expects the build to refuse the combination with this sentence.
    Refuse(&'static str),
}

/// A row of the matrix.
struct Row {
    name: &'static str,
    cargo: &'static str,
    suite: Suite,
}

const fn row(name: &'static str, cargo: &'static str, suite: Suite) -> Row {
    Row { name, cargo, suite }
}

const LINK: &str = "llama-sys";
const CORE: &str = "llama-core";
const GEN: &str = "llama-gen";
const NO_DEVICE: &str = "no device is assumed";

/// The rows, which together contain every feature.
const ROWS: &[Row] = &[
    row("default", "", Suite::Test(CORE)),
    row("no features", "--no-default-features", Suite::Test(LINK)),
    row("openmp, not native", "--no-default-features --features openmp", Suite::Test(LINK)),
    row("common, rpc", "--features common,rpc", Suite::Test(LINK)),
    row("bindgen", "--features bindgen", Suite::Test(LINK)),
    row("shared", "--features shared,common", Suite::Test(LINK)),
    row("dynamic-backends", "--features dynamic-backends,common", Suite::Test(CORE)),
    row("blas", "--features blas", Suite::Test(LINK)),
    row("vulkan", "--features vulkan", Suite::Build(NO_DEVICE)),
    row("cuda", "--features cuda", Suite::Build(NO_DEVICE)),
    row("hip", "--features hip", Suite::Build(NO_DEVICE)),
    metal(),
    row("panic = abort, core", "--features common", Suite::Abort(CORE, LEFT_OUT_OF_CORE)),
    row("panic = abort, gen", "", Suite::Abort(GEN, LEFT_OUT_OF_GEN)),
    row("tokenizers", "--features tokenizers", Suite::Test(GEN)),
    row("nothing native", "", Suite::Check(GEN)),
    row("cuda with hip", "--features cuda,hip", Suite::Refuse("features `cuda` and `hip`")),
];

#[cfg(target_vendor = "apple")]
const fn metal() -> Row {
    row("metal", "--features metal", Suite::Test(CORE))
}

#[cfg(not(target_vendor = "apple"))]
const fn metal() -> Row {
    row("metal off Apple", "--features metal", Suite::Refuse("feature `metal` needs an Apple target"))
}

/// Tests of llama-core that are left out with `panic = "abort"`, most because panics do not pass through a call there.
const LEFT_OUT_OF_CORE: &[&str] = &[
    "a_panic_of_the_caller_goes_on_afterwards",
    "a_panic_of_the_caller_is_passed_on",
    "a_panic_of_the_callback_arrives",
    "a_panic_of_the_function_is_resumed",
    // It looks at exit codes, and the harness runs each test in a process with a code of its own.
    "a_process_ends_as_it_should_whatever_its_threads_do",
    "custom_sampler_beside_a_lazy_grammar",
    // Its closures panic, and its log callback, which is Rust code, lets an exception pass.
    "every_function_survives",
    // It compiles programs, which has nothing to do with panics, and takes minutes.
    "lifetimes_and_threads",
    "panic_ends_the_capture",
    "panic_of_a_custom_sampler_leaves_the_context_usable",
    "panic_of_the_callback_is_resumed",
    "panics_arrive_and_leave_nothing_of_the_batch",
    "panics_go_on_after_the_call_and_leave_the_chain_usable",
    "panics_of_copying_and_dropping_stay_contained",
    "what_processors_leave_is_checked_when_it_is_sampled",
];

/// Tests of llama-gen that are left out with `panic = "abort"`.
const LEFT_OUT_OF_GEN: &[&str] = &[
    "a_panic_of_a_compactor_passes_and_harms_nobody",
    "a_panic_of_a_criterion_gives_the_context_back_unharmed",
    "a_panic_on_the_thread_passes_to_whoever_waits",
];

/// The outcome of a row.
#[derive(Serialize)]
struct Outcome {
    name: &'static str,
    result: &'static str,
    note: String,
    seconds: u64,
}

impl Outcome {
    fn failed(&self) -> bool {
        self.result == "FAILED"
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let rows =
        ROWS.iter().filter(|row| args.only.as_ref().is_none_or(|text| row.name.contains(text.as_str())));
    if args.list {
        rows.for_each(|row| println!("{}", row.name));
        return Ok(());
    }
    setup::ensure(setup::ALL)?;
    let mut outcomes = Vec::new();
    for row in rows {
        eprintln!("==> {}", row.name);
        let outcome = row.run()?;
        eprintln!("    {}: {}", outcome.result, outcome.note);
        outcomes.push(outcome);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcomes)?);
    } else {
        println!("{}", table(&outcomes));
    }
    let failed: Vec<&str> =
        outcomes.iter().filter(|outcome| outcome.failed()).map(|outcome| outcome.name).collect();
    if failed.is_empty() { Ok(()) } else { bail!("these rows failed: {}", failed.join(", ")) }
}

impl Row {
    fn run(&self) -> Result<Outcome> {
        let started = Instant::now();
        let output = self.command().output().context("could not start cargo")?;
        let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        let log = workspace::target().join("matrix").join(format!("{}.log", self.name));
        fs::write(&log, text.as_bytes()).with_context(|| format!("cannot write {}", log.display()))?;
        let (result, note) = self.judge(output.status.success(), &text);
        let note = if result == "FAILED" { format!("{note}; see {}", log.display()) } else { note };
        Ok(Outcome { name: self.name, result, note, seconds: started.elapsed().as_secs() })
    }

    fn command(&self) -> Command {
        let folder = workspace::target().join("matrix");
        // An error appears later, when the log is written.
        let _ = fs::create_dir_all(&folder);
        let (verb, package) = match self.suite {
            Suite::Test(package) | Suite::Abort(package, _) => ("test", package),
            Suite::Build(_) | Suite::Refuse(_) => ("build", LINK),
            Suite::Check(package) => ("check", package),
        };
        let mut command = workspace::cargo();
        command.args([verb, "--package", package]).args(self.cargo.split_whitespace());
        if let Suite::Abort(_, skipped) = self.suite {
            // Cargo otherwise builds tests with `unwind`, also with the stable compiler.
            command.env("RUSTC_BOOTSTRAP", "1");
            command.args([
                "-Zpanic-abort-tests",
                "--profile",
                "abort",
                "--lib",
                "--tests",
                "--no-fail-fast",
                "--",
            ]);
            command.args(skipped.iter().flat_map(|name| ["--skip", name]));
        }
        // A separate folder, so that a row does not evict the files that the next `cargo test` needs.
        command.env("CARGO_TARGET_DIR", folder.join("target"));
        if matches!(self.suite, Suite::Check(_)) {
            command.env("LLAMA_SYS_NO_BUILD", "1");
        }
        command
    }

    /// Returns the row's status and remark for the end of the command.
    fn judge(&self, success: bool, text: &str) -> (&'static str, String) {
        if let Some(missing) = missing_tools(text).filter(|_| !success) {
            return ("skipped", missing);
        }
        match (self.suite, success) {
            (Suite::Refuse(sentence), false) if text.contains(sentence) => {
                ("refused", "as it should be".to_owned())
            }
            (Suite::Refuse(_), _) => {
                ("FAILED", "the build was expected to refuse this combination".to_owned())
            }
            (Suite::Test(_) | Suite::Abort(..), true) => ("run", format!("{} tests passed", passed(text))),
            (Suite::Build(reason), true) => ("built", format!("not run: {reason}")),
            (Suite::Check(_), true) => ("checked", "Rust only".to_owned()),
            (_, false) => ("FAILED", "the command failed".to_owned()),
        }
    }
}

/// Returns the lines in which `llama-sys` names missing tools.
fn missing_tools(text: &str) -> Option<String> {
    let (_, list) = text.split_once(INCOMPLETE)?;
    let lines = list.lines().skip(1).map(str::trim).take_while(|line| line.starts_with("feature `"));
    Some(lines.collect::<Vec<_>>().join("; "))
}

/// Returns the number of tests that cargo counted as passed.
fn passed(text: &str) -> usize {
    let counts = text.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    counts.filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok()).sum()
}

fn table(outcomes: &[Outcome]) -> String {
    let head = "| features | result | note | time |\n|---|---|---|---:|".to_owned();
    let line = |outcome: &Outcome| {
        let time = progress::duration(std::time::Duration::from_secs(outcome.seconds));
        format!("| {} | {} | {} | {time} |", outcome.name, outcome.result, outcome.note)
    };
    std::iter::once(head).chain(outcomes.iter().map(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_of_llama_sys_is_in_a_row() {
        let manifest = fs::read_to_string(workspace::root().join("crates/llama-sys/Cargo.toml")).unwrap();
        let features = manifest.split_once("[features]\n").unwrap().1.split("\n[").next().unwrap();
        let names = features.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
        let defaults = ["default", "native"];
        for name in names.filter(|name| !defaults.contains(name)) {
            let named = |row: &Row| row.cargo.split([' ', ',']).any(|word| word == name);
            assert!(ROWS.iter().any(named), "feature `{name}` is in no row of the matrix");
        }
    }

    #[test]
    fn missing_tools_are_the_reason_for_skipping() {
        let text = format!("x\nllama-sys: {INCOMPLETE}\n  feature `cuda`: nvcc was not found\n\nmore");
        let cuda = row("cuda", "--features cuda", Suite::Build(NO_DEVICE));
        assert_eq!(cuda.judge(false, &text), ("skipped", "feature `cuda`: nvcc was not found".to_owned()));
        assert_eq!(cuda.judge(false, "error").0, "FAILED");
        assert_eq!(cuda.judge(true, "").0, "built");
    }

    #[test]
    fn a_refusal_without_its_sentence_is_a_failure() {
        let both = row("both", "", Suite::Refuse("no"));
        assert_eq!(both.judge(false, "says no").0, "refused");
        assert_eq!(both.judge(false, "crash").0, "FAILED");
        assert_eq!(both.judge(true, "no").0, "FAILED");
    }

    #[test]
    fn passed_tests_of_all_suites_are_counted() {
        assert_eq!(passed("test result: ok. 3 passed; 0 failed\nx\ntest result: ok. 4 passed; 0"), 7);
    }
}

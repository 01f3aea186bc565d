//! Runs hostile models, which a test program of `llama-core` makes and tries in child processes.

use anyhow::{Context as _, Result};

use super::Args;
use crate::{setup, workspace};

/// The test program with the test that tries models.
const PROGRAM: &str = "fuzz_models";
const TEST: &str = "no_model_ends_the_process";

/// Tries the requested number of models and prints a table of outcomes by architecture.
pub(super) fn run(args: &Args) -> Result<()> {
    setup::ensure(setup::ALL)?;
    let mut command = workspace::cargo();
    command.args([
        "test",
        "--package",
        "llama-core",
        "--test",
        PROGRAM,
        "--",
        "--exact",
        TEST,
        "--nocapture",
    ]);
    if args.missing_tensors {
        command.env("LLAMA_FUZZ_MISSING", "1");
    } else {
        command
            .env("LLAMA_FUZZ_FIRST", args.first.to_string())
            .env("LLAMA_FUZZ_CASES", args.cases.to_string());
    }
    workspace::run_inheriting(&mut command).context(
        "a model ended the process, or would have ended it with several threads. The numbers are listed above; \
         `cargo xtask fuzz models --cases 1 --first <number>` tries it alone",
    )
}

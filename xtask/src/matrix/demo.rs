//! The text of the demo with the features of a row.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use super::row::{Row, Suite};
use super::{command, standard_library};
use crate::setup::models::SMOLLM2;
use crate::workspace;

/// The prompt, which is not part of the text.
pub(super) const PROMPT: &str = "Once upon a time";

/// The number of tokens, always the most likely ones.
const TOKENS: &str = "24";

/// Whether the demo can run with the features of the row: the row runs tests, and `llama-gen` has its features.
pub(super) fn has_one(row: &Row) -> bool {
    matches!(row.suite, Suite::Test(_) | Suite::Topics(..)) && !row.has_feature("bindgen")
}

/// Runs the demo and returns its text. Everything else that it prints goes to the row's log.
pub(super) fn run(row: &Row, environment: &[(&'static str, OsString)]) -> Result<String> {
    let path = command::log(row);
    let log = OpenOptions::new().append(true).open(&path);
    let log = log.with_context(|| format!("cannot write {}", path.display()))?;
    let mut cargo = command::cargo();
    cargo.args(row.target.and_then(standard_library::flag));
    cargo.args(["run", "--quiet", "--package", "llama-examples", "--example", "demo"]);
    cargo.args(["--no-default-features", "--features", &features(row).join(",")]);
    cargo.args(row.target.into_iter().flat_map(|target| ["--target", target]));
    cargo.args(["--", "--prompt", PROMPT, "--max-tokens", TOKENS, "--temperature", "0", "--model"]);
    cargo.arg(SMOLLM2.path()).envs(environment.iter().map(|(name, value)| (name, value)));
    let output = cargo.stderr(Stdio::from(log)).output();
    let output = output.with_context(|| workspace::could_not_start(&cargo))?;
    if !output.status.success() {
        bail!("the demo failed ({})", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if text.is_empty() {
        bail!("the demo wrote no text");
    }
    Ok(text)
}

/// Returns the features of `llama-examples` that stand for the row's.
fn features(row: &Row) -> Vec<&'static str> {
    let mut features = if row.has_defaults() { vec!["openmp", "native"] } else { Vec::new() };
    if row.has_defaults() && matches!(row.suite, Suite::Test("llama-gen")) {
        features.push("chat");
    }
    // llama-gen has the common library under another name.
    features.extend(row.named_features().map(|name| if name == "common" { "chat" } else { name }));
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_built_with_the_features_of_the_row() {
        let of = |features_of_row, suite| features(&Row::new("x", features_of_row, suite, 1)).join(" ");
        let core = Suite::Test("llama-core");
        assert_eq!(of("", core), "openmp native");
        assert_eq!(of("--features rpc,common", core), "openmp native rpc chat");
        assert_eq!(of("--no-default-features --features native", core), "native");
        assert_eq!(of("--no-default-features", core), "");
        assert_eq!(of("", Suite::Test("llama-gen")), "openmp native chat");
    }

    #[test]
    fn rows_that_run_nothing_have_no_demo() {
        let has = |features, suite| has_one(&Row::new("x", features, suite, 1));
        assert!(has("", Suite::Test("p")) && has("", Suite::Topics("p", &[])));
        assert!(!has("--features bindgen", Suite::Test("p")), "llama-gen has no such feature");
        assert!(!has("", Suite::Build("p", "no device")) && !has("", Suite::Refuse("no")));
    }
}

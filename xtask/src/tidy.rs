//! `cargo xtask tidy`: checks the sources for the rules of this workspace that no other tool knows.

mod code;
mod features;
mod graph;
mod hostile;
mod language;
mod modules;
mod package;
mod source;
mod tracked;
mod workflow;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::progress;
use crate::workspace;

/// Checks the layering, the places of `unsafe`, file sizes and names, the language of summaries and errors, the
/// contents of published crates, the features of the layers, the workflow, and that every function has a case with
/// hostile arguments.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// A breach of a rule, with its place.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Relative to the workspace.
    path: PathBuf,
    line: usize,
    sentence: String,
}

impl Finding {
    fn new(path: impl AsRef<Path>, line: usize, sentence: impl Into<String>) -> Self {
        Self { path: path.as_ref().to_path_buf(), line, sentence: sentence.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path.display(), self.line, self.sentence)
    }
}

pub(crate) fn run(_: &Args) -> Result<()> {
    check()
}

/// Runs every check and prints every finding.
pub(crate) fn check() -> Result<()> {
    let root = workspace::root();
    let packages = graph::Package::all()?;
    let mut findings = graph::check(root, &packages);
    findings.extend(package::check(root, &packages));
    findings.extend(features::check(root, &packages)?);
    findings.extend(workflow::check(root)?);
    findings.extend(source::check(root)?);
    findings.extend(hostile::check(root)?);
    findings.extend(tracked::check()?);
    if findings.is_empty() {
        progress::note("tidy", "nothing found");
        return Ok(());
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    bail!(
        "{} findings, listed above: correct each; the rules are those of docs/contributing.md",
        findings.len()
    )
}

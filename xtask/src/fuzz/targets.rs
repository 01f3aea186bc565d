//! Runs the targets in `fuzz/`, for which libFuzzer generates inputs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{progress, setup, workspace};

/// The flags that let libFuzzer see which code an input reaches: LLVM's own instrumentation, as cargo-fuzz sets it.
/// These flags are stable. An address sanitizer needs an unstable flag and would find no errors in targets without
/// `unsafe`.
const FLAGS: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Ccodegen-units=1",
];

/// Runs the named targets, each for this many seconds.
pub(super) fn run(targets: &[String], seconds: u32) -> Result<()> {
    if cfg!(windows) {
        bail!("Rust's compilers for Windows do not contain libFuzzer: run this on Linux or macOS");
    }
    setup::ensure(setup::ALL)?;
    let built = build()?;
    targets.iter().try_for_each(|target| fuzz(&built, target, seconds))
}

/// Returns the names of all targets, sorted: each has a file of its name.
pub(super) fn all() -> Result<Vec<String>> {
    Ok(workspace::rust_files(&folder().join("fuzz_targets"))?.into_iter().collect())
}

fn folder() -> PathBuf {
    workspace::root().join("fuzz")
}

/// Builds all targets and returns the folder of the programs.
fn build() -> Result<PathBuf> {
    let target = workspace::target().join("fuzz/build");
    // With a named target the flags apply only to the programs, not to build scripts and macros.
    let host = workspace::capture(Command::new("rustc").arg("--print=host-tuple"))?;
    let host = host.trim();
    let mut command = workspace::cargo();
    command.args(["build", "--release", "--bins", "--target", host, "--manifest-path"]);
    command.arg(folder().join("Cargo.toml")).arg("--target-dir").arg(&target);
    command.env_remove("CARGO_TARGET_DIR").env("RUSTFLAGS", FLAGS.join(" "));
    workspace::run(&mut command).context("the fuzz targets could not be built")?;
    Ok(target.join(host).join("release"))
}

fn fuzz(built: &Path, target: &str, seconds: u32) -> Result<()> {
    let found = workspace::target().join("fuzz");
    let (corpus, failures) = (found.join("corpus").join(target), found.join("failures"));
    for folder in [&corpus, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    }
    let time = progress::duration(Duration::from_secs(seconds.into()));
    eprintln!("\n==> {target} for {time}");
    let mut command = Command::new(built.join(target));
    command
        .arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{target}-", failures.display()))
        .args(["-print_final_stats=1", "-verbosity=0"]);
    workspace::run(&mut command).with_context(|| {
        format!(
            "target {target} failed; its input is in {}, and the same program runs it again",
            failures.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_named_in_the_manifest() {
        let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
        let names = all().unwrap();
        assert!(names.contains(&"stop_matcher".to_owned()), "{names:?}");
        for name in names {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no [[bin]]");
        }
    }
}

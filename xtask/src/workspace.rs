//! The location of the workspace, and running other programs from it.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

/// Returns the folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        // At run time cargo tells the package's location, also after the checkout was moved.
        let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let package = PathBuf::from(package);
        package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
    })
}

/// Returns the folder of models, tools and downloads: the workspace's `target/`, whatever cargo's own target folder
/// is.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Returns the folder that an environment variable names, as an absolute path. `None` when the variable is unset or
/// empty.
///
/// Cargo passes values of `.cargo/config.toml` as absolute paths; a value that a user types is relative to the
/// current folder.
pub(crate) fn folder_from_env(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name).filter(|value| !value.is_empty())?;
    Some(std::path::absolute(&value).unwrap_or_else(|_| value.into()))
}

/// Returns a command for the cargo that runs this program, in the workspace root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // `cargo run` sets these variables for this program. Build scripts that watch them would see a change and rebuild
    // their packages without need.
    for (name, _) in env::vars_os().filter(|(name, _)| describes_a_package(name)) {
        command.env_remove(name);
    }
    // Build scripts and tests run in the folders of their packages, where a relative path would point elsewhere.
    for name in ["LLAMA_CPP_DIR", "LLAMA_TEST_MODELS"] {
        if let Some(folder) = folder_from_env(name) {
            command.env(name, folder);
        }
    }
    command
}

/// Runs a command to its end, with its standard output on standard error, because this program's standard output is
/// for results.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    command.stdout(Stdio::from(io::stderr()));
    run_inheriting(command)
}

/// Runs a command to its end with this program's standard output.
pub(crate) fn run_inheriting(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| could_not_start(command))?;
    if !status.success() {
        bail!("`{}` failed ({status})", command_line(command));
    }
    Ok(())
}

/// Runs a command to its end and returns its output. An error contains its standard error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| could_not_start(command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({})\n{}", command_line(command), output.status, said.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the beginning of the error for a program that does not exist or must not be run.
pub(crate) fn could_not_start(command: &Command) -> String {
    format!("could not start `{}`", command_line(command))
}

/// Returns the command as a user would type it, preceded by the variables set for it.
pub(crate) fn command_line(command: &Command) -> String {
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quoted(value?))));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
    set.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.is_empty() || word.contains([' ', '"', '\'']) { format!("{word:?}") } else { word.into_owned() }
}

fn describes_a_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_BIN_")
}

/// Returns the names of the Rust files in a folder, without extension.
pub(crate) fn rust_files(folder: &Path) -> Result<BTreeSet<String>> {
    let could_not_read = || format!("could not read {}", folder.display());
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(could_not_read)? {
        let path = entry.with_context(could_not_read)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("xtask").join("Cargo.toml").is_file());
    }

    #[test]
    fn errors_carry_the_exact_command_line() {
        let mut command = Command::new("no-such-program");
        command.arg("--flag").arg("two words").env("SOME", "value").env_remove("OTHER");
        let error = run(&mut command).unwrap_err();
        assert_eq!(error.to_string(), "could not start `SOME=value no-such-program --flag \"two words\"`");
    }
}

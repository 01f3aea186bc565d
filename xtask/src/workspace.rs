//! Where the workspace is, and how other programs are run from it.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        // Cargo says at run time where the package is, also when the checkout was moved after a build.
        let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let package = PathBuf::from(package);
        package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
    })
}

/// Where models, tools and downloads are kept: `target/` of the workspace, wherever cargo itself builds.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// A folder given by an environment variable, absolute. `None` when the variable is unset or empty.
///
/// Cargo hands `.cargo/config.toml` values over absolute; what a user types counts from the current folder.
pub(crate) fn folder_from_env(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name).filter(|value| !value.is_empty())?;
    Some(std::path::absolute(&value).unwrap_or_else(|_| value.into()))
}

/// The cargo that runs this program, started in the workspace root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What `cargo run` tells this program about itself would look like a changed environment to the
    // build scripts that watch these variables, and rebuild their packages for nothing.
    for (name, _) in env::vars_os().filter(|(name, _)| describes_a_package(name)) {
        command.env_remove(name);
    }
    // Build scripts and tests run in the folders of their packages, from where a relative path leads elsewhere.
    for name in ["LLAMA_CPP_DIR", "LLAMA_TEST_MODELS"] {
        if let Some(folder) = folder_from_env(name) {
            command.env(name, folder);
        }
    }
    command
}

/// Runs a command to its end. Its standard output goes to standard error, for ours is kept for results.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    command.stdout(Stdio::from(io::stderr()));
    run_inheriting(command)
}

/// Runs a command to its end with this program's own standard output.
pub(crate) fn run_inheriting(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| could_not_start(command))?;
    if !status.success() {
        bail!("`{}` failed ({status})", command_line(command));
    }
    Ok(())
}

/// Runs a command to its end and returns what it printed. What it said on standard error is in the error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| could_not_start(command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({})\n{}", command_line(command), output.status, said.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts the error of a program that is not there or may not run.
pub(crate) fn could_not_start(command: &Command) -> String {
    format!("could not start `{}`", command_line(command))
}

/// The command as one would type it, with the variables set for it in front.
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

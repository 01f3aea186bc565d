//! The cargo command of a row, and its run with a log.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::row::{Row, Suite, Value};
use super::{libraries, standard_library};
use crate::{setup, workspace};

/// The variable by which the system finds shared libraries.
const LIBRARY_PATH: &str = if cfg!(target_os = "windows") {
    "PATH"
} else if cfg!(target_vendor = "apple") {
    "DYLD_LIBRARY_PATH"
} else {
    "LD_LIBRARY_PATH"
};

/// The end of a row's command.
pub(super) struct Run {
    pub(super) success: bool,
    /// Everything that the command printed.
    pub(super) text: String,
}

/// Returns the folder of logs, results and builds of the matrix.
pub(super) fn folder() -> PathBuf {
    workspace::target().join("matrix")
}

/// Returns the log of a row.
pub(super) fn log(row: &Row) -> PathBuf {
    folder().join(format!("{}.log", row.slug()))
}

/// Runs the row with its output in its log, which grows while the row runs.
pub(super) fn run(row: &Row, environment: &[(&'static str, OsString)], build_only: bool) -> Result<Run> {
    let path = log(row);
    let failed = || format!("cannot write {}", path.display());
    let file = File::create(&path).with_context(failed)?;
    let mut command = cargo();
    command
        .args(row.target.and_then(standard_library::flag))
        .args(words(row, build_only))
        .envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdout(file.try_clone().with_context(failed)?).stderr(file);
    let status = command.status().with_context(|| workspace::could_not_start(&command))?;
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Run { success: status.success(), text: String::from_utf8_lossy(&bytes).into_owned() })
}

/// Appends an error to the log of a row.
pub(super) fn log_error(row: &Row, error: &str) -> Result<PathBuf> {
    let path = log(row);
    let failed = || format!("cannot write {}", path.display());
    let mut file = File::options().create(true).append(true).open(&path).with_context(failed)?;
    writeln!(file, "{error}").with_context(failed)?;
    Ok(path)
}

/// Returns the variables of a row, after making the libraries that they name.
pub(super) fn environment(row: &Row) -> Result<Vec<(&'static str, OsString)>> {
    let path = folder();
    fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut variables = Vec::new();
    match row.suite {
        // Cargo otherwise builds tests with `unwind`, also with the stable compiler.
        Suite::Abort(..) => variables.push(("RUSTC_BOOTSTRAP", "1".into())),
        Suite::Check(_) => variables.push(("LLAMA_SYS_NO_BUILD", "1".into())),
        _ => {}
    }
    if let Some(target) = row.target {
        variables.extend(standard_library::variables(target));
    }
    for (name, value) in row.env {
        let value = match value {
            Value::Text(text) => text.into(),
            Value::Tree => setup::pin::tree().into_os_string(),
            Value::Installed(features) => {
                let folder = libraries::installed(features)?;
                variables.push(search_first(&folder));
                folder.into_os_string()
            }
            Value::OfVersion(version) => libraries::of_version(version)?.into_os_string(),
        };
        variables.push((name, value));
    }
    Ok(variables)
}

/// Returns cargo with a target folder of the matrix, so that a row does not evict the files that the next `cargo test`
/// needs.
pub(super) fn cargo() -> Command {
    let mut command = workspace::cargo();
    command.env("CARGO_TARGET_DIR", folder().join("target"));
    command
}

/// Returns the variable with which the system finds the libraries in a folder, and its value.
pub(crate) fn search_first(folder: &Path) -> (&'static str, OsString) {
    (LIBRARY_PATH, searched_first(folder))
}

/// Returns the list of folders for shared libraries with this one at its head.
fn searched_first(folder: &Path) -> OsString {
    let others = env::var_os(LIBRARY_PATH).unwrap_or_default();
    let folders = std::iter::once(folder.to_path_buf()).chain(env::split_paths(&others));
    // A folder with the separator in its name cannot be in the list anyway.
    env::join_paths(folders).unwrap_or_else(|_| folder.into())
}

/// Returns the arguments of cargo for a row. With `build_only` the tests are built and do not run.
pub(super) fn words(row: &Row, build_only: bool) -> Vec<&'static str> {
    let mut words = match row.suite {
        Suite::Test(package) => vec!["test", "--package", package],
        Suite::Topics(package, _) => vec!["test", "--package", package, "--test", "it"],
        Suite::Abort(package, _) => {
            vec![
                "test",
                "--package",
                package,
                "-Zpanic-abort-tests",
                "--profile",
                "abort",
                "--lib",
                "--tests",
            ]
        }
        Suite::Build(package, _) => vec!["build", "--package", package],
        Suite::Check(Some(package)) => vec!["check", "--package", package],
        Suite::Check(None) => vec!["check", "--workspace"],
        Suite::Refuse(_) => vec!["build", "--package", "llama-sys"],
        Suite::Outside(outside) => vec![outside.verb()],
        Suite::TwoVersions(_) => vec!["generate-lockfile"],
    };
    words.extend(row.features.split_whitespace());
    words.extend(row.target.into_iter().flat_map(|target| ["--target", target]));
    let runs = matches!(row.suite, Suite::Test(_) | Suite::Topics(..) | Suite::Abort(..));
    if runs && build_only {
        words.push("--no-run");
    } else if runs {
        words.push("--no-fail-fast");
        match row.suite {
            Suite::Topics(_, topics) => {
                words.push("--");
                words.extend(topics);
            }
            Suite::Abort(_, skipped) => {
                words.push("--");
                words.extend(skipped.iter().flat_map(|name| ["--skip", name]));
            }
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(row: &Row) -> String {
        words(row, false).join(" ")
    }

    #[test]
    fn a_row_is_one_cargo_command() {
        let row = |suite| Row::new("x", "--features a,b", suite, 1);
        assert_eq!(line(&row(Suite::Test("p"))), "test --package p --features a,b --no-fail-fast");
        let topics = row(Suite::Topics("p", &["one::", "two::"]));
        assert_eq!(line(&topics), "test --package p --test it --features a,b --no-fail-fast -- one:: two::");
        assert_eq!(words(&topics, true).join(" "), "test --package p --test it --features a,b --no-run");
        assert_eq!(line(&row(Suite::Build("p", "why"))), "build --package p --features a,b");
        let check = row(Suite::Check(None)).target("some-target");
        assert_eq!(line(&check), "check --workspace --features a,b --target some-target");
        assert!(line(&row(Suite::Abort("p", &["one"]))).ends_with("--no-fail-fast -- --skip one"));
    }

    #[test]
    fn a_row_sets_its_variables() {
        let row = Row::new("x", "", Suite::Check(None), 1).env(&[("SOME", Value::Text("value"))]);
        let expected = [("LLAMA_SYS_NO_BUILD", "1".into()), ("SOME", "value".into())];
        assert_eq!(environment(&row).unwrap(), expected);
    }

    #[test]
    fn a_library_of_a_row_is_found_before_others() {
        let folder = Path::new("first");
        let list = searched_first(folder);
        assert_eq!(env::split_paths(&list).next().as_deref(), Some(folder));
    }
}
